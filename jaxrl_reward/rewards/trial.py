"""Each term of an expression, tried on shapes alone: what it gives, and what is wanted.

Nothing is compiled. The terms of this package are known to keep the contract, so of them
only what they give is looked at; of a user's own each method is called by itself, so that
an error names it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward.checks import difference, is_number, is_real, on_shapes, reason, shown
from jaxrl_reward.rewards.core.base import Applied, RewardTransform, State
from jaxrl_reward.rewards.core.ways import Affine, Causal, Episodes, Episodic, Learned, Pointwise
from jaxrl_reward.rewards.groups.ways import Grouped, groups_of
from jaxrl_reward.types import Array, Metrics, Transition, UserError

PACKAGE = __name__.partition(".")[0]


def parts(reward: RewardTransform, example: Transition) -> tuple[int, ...]:
    """How many numbers a step earns: `()` for one, `(K,)` for a vector of K.

    Args:
      reward: the expression.
      example: a block `[T, N, ...]`, of which only shapes and dtypes count.

    Raises:
      UserError: a term does not keep the contract; the message names it.
    """
    tried = around(reward, Tried)

    def earned(key: Array, block: Transition) -> Array:
        return tried.apply(tried.init(key, block), block).reward

    return jax.eval_shape(earned, jax.random.key(0), example).shape[2:]


def around(
    reward: RewardTransform, wrap: Callable[[RewardTransform], RewardTransform]
) -> RewardTransform:
    """The expression with each of its terms put into a wrapper."""
    if not reward.children():
        return wrap(reward)
    names = [field.name for field in dataclasses.fields(reward)]  # type: ignore[arg-type]
    return reward.replace(**{name: _inside(getattr(reward, name), wrap) for name in names})


def _inside(value: Any, wrap: Any) -> Any:
    if type(value) is tuple:
        return tuple(_inside(each, wrap) for each in value)
    return around(value, wrap) if isinstance(value, RewardTransform) else value


class Wrapper(RewardTransform):
    """A term in an expression that is looked at: it does what the term does."""

    term: RewardTransform

    def init(self, key: Array, example: Transition) -> State:
        return self.term.init(key, example)

    def begin(self, state: State, obs: Array, first: Array) -> State:
        return self.term.begin(state, obs, first)

    def apply(self, state: State, block: Transition) -> Applied:
        return self.term.apply(state, block)

    def learn(self, state: State, key: Array, block: Transition) -> tuple[State, Metrics]:
        return self.term.learn(state, key, block)

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        return self.term.relabel(shared, batch, features)

    def observe(self, local: Any) -> Array:
        return self.term.observe(local)

    def text(self) -> tuple[str, int]:
        return self.term.text()


class Tried(Wrapper):
    """Refuses, as it is traced, a term that does not keep the contract."""

    def init(self, key: Array, example: Transition) -> State:
        term = self.term
        if is_own(term):
            _check_first(term, key, example)
        state = _guarded(term, "init(key, example)", lambda: term.init(key, example))
        if not isinstance(state, State):
            raise UserError(f"{term}: init gives {shown(state)}, and a rewards.State is wanted")
        return state

    def apply(self, state: State, block: Transition) -> Applied:
        term, own = self.term, is_own(self.term)
        if own:
            _check_methods(term, state, block)
        out = _guarded(term, "apply(state, block)", lambda: term.apply(state, block))
        if not isinstance(out, Applied):
            raise UserError(f"{term}: apply gives {shown(out)}, and a rewards.Applied is wanted")
        _check_reward(term, out.reward, block)
        if own:
            _check_state(term, "apply", state, out.state)
            _check_learning(term, state, block)
            _check_view(term, state, block)
        return out


def is_own(term: RewardTransform) -> bool:
    """Whether a term is a user's, not of this package."""
    return str(type(term).__module__).partition(".")[0] != PACKAGE


# ---- one method at a time ----------------------------------------------------------------


def _method(term: Any, kind: type, name: str, words: str, *args: Any) -> Any:
    """What a method that a user is to write gives, on shapes."""
    if getattr(type(term), name) is getattr(kind, name):
        raise UserError(f"{term} has no method {name}({words})")
    return on_shapes(str(term), getattr(term, name), f"{name}({words})", *args)


def _check_first(term: Any, key: Array, example: Transition) -> None:
    """What is called before the first step."""
    if isinstance(term, Causal) and type(term).init is Causal.init:
        _method(term, Causal, "begin_one", "shared, obs", (), _rows(example.obs, 2))
    if isinstance(term, Learned) and type(term).init is Learned.init:
        one = _rows(example, 2)
        params = _method(term, Learned, "init_params", "key, example", key, one)
        for leaf in jax.tree.leaves(params):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise UserError(
                    f"{term}: init_params gives {leaf.dtype}, and floats are wanted, which "
                    "have gradients"
                )


def _check_methods(term: Any, state: State, block: Transition) -> None:
    """What is called at every step."""
    one = _rows(block, 2)
    if isinstance(term, Pointwise) and type(term).apply is Pointwise.apply:
        given = _method(term, Pointwise, "reward", "transition", one)
        _check_number(term, "reward(transition)", given, one.reward)
    elif isinstance(term, Causal) and type(term).apply is Causal.apply:
        _check_causal(term, state, one)
    elif isinstance(term, Learned) and type(term).apply is Learned.apply:
        given = _method(term, Learned, "reward", "params, transition", state.shared.params, one)
        _check_number(term, "reward(params, transition)", given, one.reward)
    elif isinstance(term, Episodic) and type(term).apply is Episodic.apply:
        index: Any = jax.ShapeDtypeStruct(block.first.shape, jnp.int32)
        given = _method(term, Episodic, "reward", "block, episodes", block, Episodes(index))
        _check_steps(term, "reward(block, episodes)", given, [block.first.shape])
    elif isinstance(term, Grouped) and type(term).apply is Grouped.apply:
        groups = jax.eval_shape(groups_of, block)
        given = _method(term, Grouped, "rule", "block, groups", block, groups)
        _check_steps(term, "rule(block, groups)", given, [block.first.shape[1:], block.first.shape])


def _check_causal(term: Any, state: State, one: Transition) -> None:
    memory = _method(term, Causal, "begin_one", "shared, obs", state.shared, one.obs)
    words = "shared, memory, transition"
    given = _method(term, Causal, "step", words, state.shared, memory, one)
    if not isinstance(given, tuple) or len(given) != 2:
        raise UserError(
            f"{term}: step({words}) gives {shown(given)}, and (memory, reward) is wanted"
        )
    after, effect = given
    if (apart := difference(memory, after)) is not None:
        raise UserError(f"{term}: step({words}) changes the memory that begin_one gives, {apart}")
    for each in effect if isinstance(effect, Affine) else [effect]:
        _check_number(term, f"step({words})", each, one.reward)


def _check_number(term: Any, words: str, given: Any, running: Any) -> None:
    """One number a step, or several where the running reward is a vector of as many."""
    if is_number(given) or (running.ndim and is_real(given) and given.shape == running.shape):
        return
    fix = ": index or sum it" if getattr(given, "shape", ()) else ""
    raise UserError(f"{term}: {words} gives {shown(given)}, and one real number is wanted{fix}")


def _check_steps(term: Any, words: str, given: Any, shapes: list[tuple[int, ...]]) -> None:
    if not is_real(given) or given.shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise UserError(
            f"{term}: {words} gives {shown(given)}, and one of shape {wanted} is wanted"
        )


# ---- all of it ---------------------------------------------------------------------------


def _guarded(term: Any, words: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except UserError:
        raise
    except NotImplementedError as error:
        if is_own(term):
            raise UserError(f"{term} has no method {words}") from error
        raise
    except Exception as error:
        raise UserError(f"{term}: {words} fails: {reason(error)}") from error


def _check_reward(term: Any, reward: Any, block: Transition) -> None:
    """One number a step; a term of this package or of the most general kind may give several."""
    steps = block.first.shape
    shape: Any = getattr(reward, "shape", None)
    general = not is_own(term) or type(term).__mro__[1] is RewardTransform
    several = general and len(shape or ()) == 3 and shape[:2] == steps and shape[2] > 1
    if is_real(reward) and (shape in (steps, block.reward.shape) or several):
        return
    raise UserError(
        f"{term} gives {shown(reward)} for {steps[0]} steps of {steps[1]} environments, and one "
        f"real number a step is wanted, {steps}"
    )


def _check_state(term: Any, method: str, before: Any, after: Any) -> None:
    if not isinstance(after, State):
        raise UserError(
            f"{term}: {method} gives {shown(after)} as the state, and a State is wanted"
        )
    if (apart := difference(before, after)) is not None:
        raise UserError(f"{term}: {method} changes the state, {apart}")


def _check_learning(term: Any, state: State, block: Transition) -> None:
    if type(term).learn is RewardTransform.learn:
        return
    key = jax.random.key(0)
    if isinstance(term, Learned) and type(term).learn is Learned.learn:
        _check_loss(term, state.shared.params, key, block)
        return
    scored = block.replace(reward=jax.ShapeDtypeStruct(block.first.shape, jnp.float32))
    given = on_shapes(str(term), term.learn, "learn(state, key, block)", state, key, scored)
    if not isinstance(given, tuple) or len(given) != 2 or not isinstance(given[1], dict):
        raise UserError(f"{term}: learn gives {shown(given)}, and (state, metrics) is wanted")
    _check_state(term, "learn", state, given[0])


def _check_loss(term: Any, params: Any, key: Array, block: Transition) -> None:
    """What `Learned.learn` asks: its own steps, around the loss, need not be traced."""
    row = lambda x: jax.ShapeDtypeStruct((term.batch_size, *x.shape[2:]), x.dtype)  # noqa: E731
    paid: Any = jax.ShapeDtypeStruct((term.batch_size,), jnp.float32)
    batch = jax.tree.map(row, block).replace(reward=paid)
    loss = _method(term, Learned, "loss", "params, key, batch", params, key, batch)
    if not is_number(loss) or not jnp.issubdtype(loss.dtype, jnp.floating):
        raise UserError(
            f"{term}: loss(params, key, batch) gives {shown(loss)}, and one real number is "
            "wanted: take the mean"
        )
    settled = on_shapes(str(term), term.settle, "settle(params)", params)
    if (apart := difference(params, settled)) is not None:
        raise UserError(f"{term}: settle(params) changes their types, {apart}")


def _check_view(term: Any, state: State, block: Transition) -> None:
    """What the policy may see of the memory, and the beginning of an episode."""
    whose = str(term)
    if type(term).begin is not RewardTransform.begin:
        words = "begin(state, obs, first)"
        begun = on_shapes(whose, term.begin, words, state, block.obs[0], block.first[0])
        _check_state(term, "begin", state, begun)
    if isinstance(term, Causal) and type(term).view is not Causal.view:
        seen = on_shapes(whose, term.view, "view(memory)", _rows(state.local, 1))
        if getattr(seen, "ndim", None) != 1 or not is_real(seen):
            raise UserError(f"{term}: view(memory) gives {shown(seen)}, and an array [F] is wanted")
    elif type(term).observe not in (RewardTransform.observe, Causal.observe):
        seen = on_shapes(whose, term.observe, "observe(local)", state.local)
        if getattr(seen, "ndim", None) != 2 or seen.shape[0] != block.first.shape[1]:
            raise UserError(f"{term}: observe(local) gives {shown(seen)}, and [N, F] is wanted")


def _rows(tree: Any, axes: int) -> Any:
    """The shapes of what is behind the first axes."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[axes:], x.dtype), tree)
