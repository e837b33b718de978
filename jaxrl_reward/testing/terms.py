"""The laws of the algebra, of one term on random blocks.

Each law is a function of a term as it is tested and a seed, so that they can be swept: by
`check_term` over a few seeds, by the package's own tests over random ones.
"""

import dataclasses
from functools import cached_property, partial
from typing import Any, cast

import jax
import numpy as np

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import rollout
from jaxrl_reward.envs.bounds import random_action
from jaxrl_reward.rewards.core.base import RewardTransform
from jaxrl_reward.rewards.core.operators import no_reward
from jaxrl_reward.testing.same import LawError, same
from jaxrl_reward.types import Array, Transition, UserError

T, N, D = 6, 3, 2  # of a block: steps, environments, numbers observed without an environment
# What runs for microseconds need not be compiled for seconds.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def check_term(term: RewardTransform, env: Any = None, *, seeds: int = 3) -> None:
    """Tries every law of the algebra on a term, or on an expression.

    A block may be cut anywhere; permuting environments permutes rewards; episodes do not
    leak into each other; replay recomputes what was earned; sums scale; the state keeps
    its types and gets no gradient; `vmap` over seeds and numbers is a loop; the text of a
    registered term reads as the term.

    Args:
      term: for a vector of rewards give `stack(...) | term`.
      env: whose observations and actions it is for; without one there are two numbers to
        observe and two actions.
      seeds: how many random blocks.

    Raises:
      UserError: the term does not keep the contract, in shapes alone.
      LawError: a law does not hold on a block; the message has its seed.
    """
    if not isinstance(term, RewardTransform):
        raise UserError(f"check_term takes a term, not {no_reward(term)}")
    tested = Tested(term, None if env is None else envs.given(env))
    rw.trial.parts(term, tested.example)
    for seed in range(seeds):
        for law in LAWS:
            law(tested, seed)


@dataclasses.dataclass(eq=False)
class Tested:
    """A term with its blocks, and with programs that are compiled once.

    Attributes:
      term: what is tested.
      env: whose observations and actions its blocks have, or None.
      any_parameters: whether learned ones are drawn in place of those of `init`, which
        may take seconds to compile.
    """

    term: RewardTransform
    env: envs.Env | None = None
    any_parameters: bool = False
    traced: int = 0

    def __post_init__(self) -> None:
        self.whole = rw.needs_episodes(self.term)
        scopes = rw.scopes(self.term)
        self.pairs = "pair" in scopes
        self.groups = "group" in scopes or self.pairs
        self.program = quick(self._apply)
        self.relabel = quick(self.term.relabel)
        self.one_by_one = quick(self._one_by_one)
        self._states: dict[int, Any] = {}

    def _apply(self, term: RewardTransform, state: Any, block: Transition) -> Any:
        self.traced += 1
        return term.apply(state, block)

    def apply(self, state: Any, block: Transition, term: RewardTransform | None = None) -> Any:
        """What a block earns. Numbers are arguments: one program serves all values of them."""
        term = jax.tree.map(np.float32, self.term if term is None else term)
        return jax.tree.map(np.asarray, self.program(term, state, block))

    def _one_by_one(self, state: Any, block: Transition) -> Any:
        def step(local: Any, transition: Transition) -> Any:
            row = jax.tree.map(lambda x: x[None], transition)
            out = self.term.apply(state.replace(local=local), row)
            return out.state.local, out.reward[0]

        return jax.lax.scan(step, state.local, block)

    def start(self, seed: int = 0) -> Any:
        """The state before the first step."""
        if seed not in self._states:
            self._states[seed] = self._started(seed)
        return self._states[seed]

    def _started(self, seed: int) -> Any:
        key = jax.random.key(seed)
        if not (self.any_parameters and isinstance(self.term, rw.Learned)):
            return jax.tree.map(np.asarray, self.term.init(key, self.example))
        state, rng = jax.eval_shape(self.term.init, key, self.example), np.random.default_rng(seed)
        state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), state)
        draw = lambda x: rng.normal(size=x.shape).astype(x.dtype)  # noqa: E731
        params = jax.tree.map(draw, state.shared.params)
        return state.replace(shared=state.shared.replace(params=params))

    @cached_property
    def example(self) -> Transition:
        """A block, of which only shapes and dtypes count."""
        return self.block(0)

    def block(self, seed: int) -> Transition:
        """A random block; of whole episodes, or of pairs, for a term that needs them."""
        if self.pairs:
            return rw.pairs.block_of(random_pairs(seed))
        return random_block(seed, self.whole, self.env)


def random_block(seed: int, whole: bool = False, env: envs.Env | None = None) -> Transition:
    """A block `[T, N]` whose episodes end, in both ways, within it; all of them if `whole`."""
    rng = np.random.default_rng(seed)
    terminated, truncated = rng.random((T, N)) < 0.2, rng.random((T, N)) < 0.2
    terminated[-1] |= whole
    first = np.concatenate([np.ones((1, N), bool), (terminated | truncated)[:-1]])
    reward = rng.normal(size=(T, N)).astype(np.float32)
    shape = (D,) if env is None else env.observation_space.shape
    next_obs, fresh = rng.normal(size=(2, T, N, *shape)).astype(np.float32)
    before = np.concatenate([fresh[:1], next_obs[:-1]])
    obs = np.where(first.reshape(T, N, *(1 for _ in shape)), fresh, before)
    action = rng.integers(0, 2, (T, N)).astype(np.int32) if env is None else _actions(env, seed)
    policy = {"entropy": rng.random((T, N)).astype(np.float32)}
    ends = (terminated, truncated)
    if env is None:  # as of an agent with a reference
        policy["reference"] = np.log(np.full((T, N, 2), 0.5, np.float32))
        policy["log_prob"] = -rng.random((T, N)).astype(np.float32)
    made: Any = Transition  # of numpy's arrays
    block = made(obs, action, reward, reward, next_obs, first, *ends, policy=policy)
    if env is None:
        return block
    known = rollout.example(env, N, T)
    return block.replace(info=known.info, policy={**known.policy, **policy})


def random_pairs(seed: int) -> rw.Pairs:
    """N pairs of responses of at most T tokens, by policies that are not far apart."""
    rng, made = np.random.default_rng(seed), cast(Any, rw.pairs.side)  # of numpy's arrays

    def side() -> rw.Side:
        alive = np.arange(T) < rng.integers(1, T + 1, (N, 1))
        reference = -rng.random((N, T)).astype(np.float32) - 0.1
        log_probs = [np.minimum(reference + 0.3 * rng.normal(size=(N, T)), -1e-3) for _ in range(3)]
        policy, old, guide = (np.where(alive, x, 0.0).astype(np.float32) for x in log_probs)
        found = dict(old=old, guide=guide, reward=rng.normal(size=N).astype(np.float32))
        found["credit"] = rng.uniform(-0.5, 0.5, (N, T)).astype(np.float32)
        found["collision"] = -rng.random((N, T)).astype(np.float32)
        return made(policy, np.where(alive, reference, np.float32(0.0)), alive, **found)

    label, agreement = rng.random((2, N)).astype(np.float32)
    known = dict(label=label, agreement=agreement, calibration=side(), shifted=(side(), side()))
    return jax.tree.map(np.asarray, rw.pairs.pairs(side(), side(), **known))


def _actions(env: envs.Env, seed: int) -> np.ndarray:
    keys = jax.random.split(jax.random.key(seed), (T, N))
    draw = partial(random_action, env.action_space)
    return np.asarray(jax.vmap(jax.vmap(draw))(keys))


def _said(tested: Tested, law: str, seed: int) -> str:
    return f"{tested.term}: {law} (block of seed {seed})"


# ---- blocks ----------------------------------------------------------------------------


def block_invariance(tested: Tested, seed: int) -> None:
    """Steps one by one earn what the block earns, from the same shared state."""
    if tested.whole:
        return
    block, state = tested.block(seed), tested.start()
    whole = tested.apply(state, block)
    local, rewards = tested.one_by_one(state, block)
    same(_said(tested, "a block earns what its steps earn one by one", seed), whole.reward, rewards)
    same(
        _said(tested, "a block leaves the memory that its steps leave", seed),
        whole.state.local,
        local,
    )


def equivariance(tested: Tested, seed: int) -> None:
    """Permuting environments permutes rewards, below the scope of groups."""
    if tested.groups:
        return  # which may be numbered
    block, state = tested.block(seed), tested.start()
    order = np.random.default_rng(seed).permutation(N)
    moved = tested.apply(
        state.replace(local=rows(state.local, order)),
        jax.tree.map(lambda x: x[:, order], block),
    )
    law = _said(tested, "permuting the environments permutes the rewards", seed)
    same(law, moved.reward, tested.apply(state, block).reward[:, order])


def isolation(tested: Tested, seed: int) -> None:
    """What is before a boundary does not depend on what is after it, nor after on before."""
    if tested.pairs:
        return  # each is over after a step
    block, other, state = tested.block(seed), tested.block(seed + 1), tested.start()
    ends = np.flatnonzero(block.last[:-1, 0])
    boundary = int(ends[0]) + 1 if ends.size else T
    out = tested.apply(state, block).reward
    later = tested.apply(state, edit(block, other, np.arange(boundary, T))).reward
    law = _said(tested, "a later episode changes nothing before it", seed)
    same(law, later[:boundary, 0], out[:boundary, 0])
    earlier = tested.apply(state, edit(block, other, np.arange(boundary))).reward
    law = _said(tested, "an earlier episode changes nothing after it", seed)
    same(law, earlier[boundary:, 0], out[boundary:, 0])


def relabelling(tested: Tested, seed: int) -> None:
    """Replay, in any order, gives what was earned."""
    if tested.whole or not all(map(_relabels, rw.terms(tested.term))):
        return
    block, state = tested.block(seed), tested.start()
    out = tested.apply(state, block)
    order = np.random.default_rng(seed).permutation(T * N)
    batch, features = jax.tree.map(
        lambda x: x.reshape(T * N, *x.shape[2:])[order], (block, out.features)
    )
    again = tested.relabel(state.shared, batch, features)
    wanted = out.reward.reshape(T * N, *out.reward.shape[2:])[order]
    same(_said(tested, "replay gives what was earned", seed), again, wanted)


def _relabels(term: RewardTransform) -> bool:
    return type(term).relabel is not RewardTransform.relabel


def rows(tree: Any, which: Any) -> Any:
    """Some rows of each leaf."""
    return jax.tree.map(lambda x: x[which], tree)


def edit(block: Transition, other: Transition, which: Any) -> Transition:
    """`block` with those rows of environment 0 that `which` selects from `other`."""

    def leaf(x: Any, y: Any) -> np.ndarray:
        x = np.array(x)
        x[which, 0] = np.asarray(y)[which, 0]
        return x

    return jax.tree.map(leaf, block, other).replace(first=block.first)


# ---- the algebra -----------------------------------------------------------------------


class Once(RewardTransform):
    """A term whose one compiled program serves every expression around it."""

    tested: Any = rw.static()

    def apply(self, state: Any, block: Transition) -> Any:
        return self.tested.apply(state, block)


def pair(a: Any, b: Any) -> rw.State:
    """The state of `a + b` or `a | b`."""
    return rw.State((a.shared, b.shared), (a.local, b.local))


def sums(tested: Tested, seed: int) -> None:
    """Sums commute, and scaling distributes over them."""
    block, state, unit = tested.block(seed), tested.start(), no_memory()
    reward = tested.apply(state, block).reward
    if reward.ndim > 2:
        return  # a vector adds to vectors
    k, env, both, term = rw.constant(0.5), rw.env(), pair(state, unit), Once(tested)
    law = _said(tested, "a + b is b + a", seed)
    same(law, earned(term + env, both, block), reward + block.reward)
    same(law, earned(env + term, pair(unit, state), block), reward + block.reward)
    # k * (a + b) has the state (k, (a, b)), and k * a + k * b ((k, a), (k, b)).
    law = _said(tested, "k*(a + b) is k*a + k*b", seed)
    scaled = earned(k * (term + env), pair(unit, both), block)
    same(law, scaled, earned(k * term + k * env, pair(pair(unit, state), pair(unit, unit)), block))
    same(law, scaled, 0.5 * (reward + block.reward))


def units(tested: Tested, seed: int) -> None:
    """`env` is the unit of the chain, and 0 that of the sum."""
    block, state, unit = tested.block(seed), tested.start(), no_memory()
    reward, term = tested.apply(state, block).reward, Once(tested)
    law = _said(tested, "env is the unit of |", seed)
    same(law, earned(term | rw.env(), pair(state, unit), block), reward)
    same(law, earned(rw.env() | term, pair(unit, state), block), reward)
    if reward.ndim == 2:
        law = _said(tested, "0 is the unit of +", seed)
        same(law, earned(term + 0, pair(state, unit), block), reward)


def no_memory() -> rw.State:
    """The state of `env`, or of a number."""
    return rw.State((), np.zeros((N, 0), np.float32))


def earned(expression: RewardTransform, state: Any, block: Transition) -> Array:
    """The rewards of a block."""
    return expression.apply(state, block).reward


# ---- state, seeds, numbers -------------------------------------------------------------


def stability(tested: Tested, seed: int) -> None:
    """The state keeps its shapes and dtypes, as it plays and as it learns."""
    block, state = tested.block(seed), tested.start()
    after = tested.apply(state, block).state
    learned, _ = jax.eval_shape(tested.term.learn, after, jax.random.key(1), block)
    kinds = [jax.tree.map(lambda x: (x.shape, x.dtype), s) for s in (state, after, learned)]
    for what, found in zip(("apply", "learn"), kinds[1:], strict=True):
        if found != kinds[0]:
            law = _said(tested, f"{what} keeps the types of the state", seed)
            raise LawError(f"{law}: {found}, not {kinds[0]}")


def no_gradient(tested: Tested, seed: int) -> None:
    """No gradient of what a learned term pays reaches its parameters."""
    block, state, term = tested.block(seed), tested.start(), tested.term
    if not isinstance(term, rw.Learned):
        return

    def total(params: Any, scale: Array) -> Array:
        shared = state.shared.replace(params=params)
        return scale * term.apply(state.replace(shared=shared), block).reward.sum()

    # A gradient is in proportion to the scale, also where it is the same for all parameters.
    traced = jax.make_jaxpr(jax.grad(total))(state.shared.params, np.float32(1.0))
    if uses_its_input(traced.jaxpr):
        law = _said(tested, "no gradient of a reward reaches its parameters", seed)
        raise LawError(f"{law}: one does; use jax.lax.stop_gradient in apply")


def uses_its_input(jaxpr: Any) -> bool:
    """Whether any output of a traced program depends on any input: zeros do not.

    Tracing a gradient takes a hundredth of the time of compiling it.
    """
    needed = set(map(id, jaxpr.outvars))
    for equation in reversed(jaxpr.eqns):
        if needed & set(map(id, equation.outvars)):
            needed |= set(map(id, equation.invars))
    return bool(needed & set(map(id, jaxpr.invars)))


def beginning(tested: Tested, seed: int) -> None:
    """To begin an episode twice is to begin it once."""
    if type(tested.term).begin is RewardTransform.begin:
        return
    block, state = tested.block(seed), tested.start()
    begin = quick(lambda state: tested.term.begin(state, block.obs[0], block.first[0]))
    once = begin(state)
    same(_said(tested, "to begin twice is to begin once", seed), begin(once), once)


def mapped(tested: Tested, seed: int) -> None:
    """`vmap` over seeds and numbers is a loop, and one program serves all numbers."""
    # One seed at two values, and one value at two seeds.
    lanes = [(1.0, seed), (1.5, seed), (1.5, seed + 1)]
    terms = [jax.tree.map(lambda x, k=k: np.float32(x * k), tested.term) for k, _ in lanes]
    blocks = [tested.block(i) for _, i in lanes]
    if tested.any_parameters and isinstance(tested.term, rw.Learned):
        states = [tested.start(i) for _, i in lanes]
    else:
        keys = [jax.random.key(i) for _, i in lanes]
        states = [t.init(k, b) for t, k, b in zip(terms, keys, blocks, strict=True)]
    traced = tested.traced
    each = [
        tested.apply(state, block, term)
        for term, state, block in zip(terms, states, blocks, strict=True)
    ]
    if tested.traced > traced + 1:
        law = _said(tested, "another number needs no other program", seed)
        raise LawError(f"{law}: {tested.traced - traced} were traced; make it a field of a number")
    stacked = jax.tree.map(lambda *x: np.stack(x), *zip(terms, states, blocks, strict=True))
    many = quick(jax.vmap(lambda term, state, block: term.apply(state, block).reward))
    law = _said(tested, "vmap over seeds and numbers is a loop", seed)
    same(law, many(*stacked), np.stack([out.reward for out in each]))
    seeds = jax.random.split(jax.random.key(0), 2)
    alone = jax.eval_shape(tested.term.init, seeds[0], blocks[0])
    both = jax.eval_shape(jax.vmap(lambda key: tested.term.init(key, blocks[0])), seeds)
    shape = lambda add: lambda x: np.array((*add, *x.shape))  # noqa: E731
    same(law, jax.tree.map(shape(()), both), jax.tree.map(shape((2,)), alone))


def round_trip(tested: Tested, seed: int) -> None:
    """The text of an expression of registered terms reads as the expression."""
    del seed
    text, known = str(tested.term), {entry.build for entry in rw.entries()}
    if "<" in text or not all(type(each) in known for each in rw.terms(tested.term)):
        return
    read = rw.parse(text)
    if str(read) != text or jax.tree.structure(read) != jax.tree.structure(tested.term):
        raise LawError(f"{text}: a text reads as the term: it reads as {read}")


LAWS = (
    stability,
    block_invariance,
    equivariance,
    isolation,
    relabelling,
    sums,
    units,
    no_gradient,
    beginning,
    mapped,
    round_trip,
)
