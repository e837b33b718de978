"""The four ways to write a reward term; each does the plumbing for its kind.

`pointwise`  a function of one transition
`Causal`     `begin` and `step` of one environment, with memory
`episodic`   a function of whole episodes
`Learned`    parameters, a reward and a loss
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxrl_reward.rewards.core.base import Applied, RewardTransform, State, no_state, static
from jaxrl_reward.rewards.core.checks import Count, NotNegative
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.types import Array, Metrics, Transition

# ---- pointwise ------------------------------------------------------------------


class Pointwise(RewardTransform):
    """A term that needs one transition only. Override `reward`."""

    def reward(self, transition: Transition) -> Array:
        """The reward of ONE transition (leaves without `[T, N]`), a scalar."""
        raise NotImplementedError

    def apply(self, state: State, block: Transition) -> Applied:
        return Applied(state, _float(jax.vmap(jax.vmap(self.reward))(block)), {}, ())

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del shared, features
        return _float(jax.vmap(self.reward)(batch))


def pointwise(function: Callable[..., Array]) -> type[Pointwise]:
    """Makes a term from a function of one transition.

    The function's further arguments become the term's: those with a float
    default are leaves (sweep them with `vmap`), the others are static. The
    term is registered under the function's name.

    >>> import jaxrl_reward.rewards as rw
    >>> @rw.pointwise
    ... def action_cost(transition, weight=0.1):
    ...     "Minus the squared length of the action."
    ...     return -weight * (transition.action**2).sum()
    >>> print(rw.env() + action_cost(weight=0.5))
    env + action_cost(weight=0.5)
    """

    def reward(self: Any, transition: Transition) -> Array:
        return function(transition, **_arguments(self))

    return _from_function(function, Pointwise, {"reward": reward}, skip=1)


# ---- causal ---------------------------------------------------------------------


class Affine(NamedTuple):
    """An effect `gain * r + bonus` on the running reward `r`.

    Return it from `Causal.step` when the output follows the running reward:
    replay then stores gain and bonus, and stays exact when an earlier learned
    stage has moved on.
    """

    gain: Array
    bonus: Array


class Causal(RewardTransform):
    """A term with a memory of the running episode. Override `begin_one`, `step`.

    Set `reads_history = True` when the memory holds earlier *running rewards*.
    """

    scope = "causal"

    def begin_one(self, shared: Any, obs: Array) -> Any:
        """The memory of one environment whose episode starts at `obs`."""
        raise NotImplementedError

    def step(self, shared: Any, local: Any, transition: Transition) -> tuple[Any, Array | Affine]:
        """One step of one environment: the new memory and the reward."""
        raise NotImplementedError

    def view(self, local: Any) -> Array:
        """What the policy may see of one environment's memory, `[F]`."""
        del local
        return jnp.zeros((0,), jnp.float32)

    def init(self, key: Array, example: Transition) -> State:
        del key
        obs = jnp.zeros(example.obs.shape[1:], example.obs.dtype)
        return State((), jax.vmap(lambda o: self.begin_one((), o))(obs))

    def begin(self, state: State, obs: Array, first: Array) -> State:
        def begin_one(local: Any, obs: Array, first: Array) -> Any:
            fresh = self.begin_one(state.shared, obs)
            return jax.tree.map(lambda new, old: jnp.where(first, new, old), fresh, local)

        return state.replace(local=jax.vmap(begin_one)(state.local, obs, first))

    def apply(self, state: State, block: Transition) -> Applied:
        def step(local: Any, transition: Transition) -> tuple[Any, Affine]:
            begun = self.begin(State(state.shared, local), transition.obs, transition.first)
            return jax.vmap(one)(begun.local, transition)

        def one(local: Any, transition: Transition) -> tuple[Any, Affine]:
            local, effect = self.step(state.shared, local, transition)
            if not isinstance(effect, Affine):
                effect = Affine(jnp.zeros(()), _float(effect))
            return local, Affine(*map(_float, effect))

        local, effect = jax.lax.scan(step, state.local, block)
        reward = self.relabel(state.shared, block, effect)
        return Applied(state.replace(local=local), reward, {}, effect)

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del shared
        return features.gain * batch.reward + features.bonus

    def observe(self, local: Any) -> Array:
        return jax.vmap(self.view)(local)


# ---- episodic -------------------------------------------------------------------


class Episodes(NamedTuple):
    """The episodes of a block, for rules over whole ones.

    Attributes:
      index: which episode of its environment a step is in, `[T, N]` int32.
    """

    index: Array

    def sum(self, values: Array) -> Array:
        """The episode's total of `values[T, N]`, at each of its steps, `[T, N]`."""

        def one(values: Array, index: Array) -> Array:
            return jax.ops.segment_sum(values, index, values.shape[0])[index]

        return jax.vmap(one, in_axes=1, out_axes=1)(_float(values), self.index)

    def length(self) -> Array:
        """The number of steps of the episode, at each of its steps, `[T, N]`."""
        return self.sum(jnp.ones(self.index.shape))


class Episodic(RewardTransform):
    """A term that needs whole episodes: each in the block starts and ends in it."""

    scope = "episodic"

    def reward(self, block: Transition, episodes: Episodes) -> Array:
        """The reward of all steps of a block of whole episodes, `[T, N]`."""
        raise NotImplementedError

    def apply(self, state: State, block: Transition) -> Applied:
        first = jnp.asarray(block.first).at[0].set(True)
        index = jnp.cumsum(first, axis=0, dtype=jnp.int32) - 1
        return Applied(state, _float(self.reward(block, Episodes(index))), {}, ())


def episodic(function: Callable[..., Array]) -> type[Episodic]:
    """Makes a term from `function(block, episodes, ...)`, as `pointwise` does.

    The block's leaves are `[T, N, ...]`, and `episodes.sum(x)` gives every
    step its episode's total. Agents that cannot give whole episodes refuse it.
    """

    def reward(self: Any, block: Transition, episodes: Episodes) -> Array:
        return function(block, episodes, **_arguments(self))

    return _from_function(function, Episodic, {"reward": reward}, skip=2)


# ---- learned --------------------------------------------------------------------


class LearnedState(struct.PyTreeNode):
    """Parameters and the optimiser's state of a learned reward.

    Attributes:
      stats: of what it has seen, where it is told on their scale.
    """

    params: Any
    opt_state: Any
    stats: Any = ()


class Learned(RewardTransform):
    """A term with trained parameters. Override `init_params`, `reward`, `loss`.

    One `learn` takes `updates` Adam steps, each on `batch_size` transitions
    drawn with replacement from the block.
    """

    scope = "learned"
    varies = True

    learning_rate: NotNegative = 1e-3
    updates: Count = static(default=4)
    batch_size: Count = static(default=256)

    def init_params(self, key: Array, example: Transition) -> Any:
        """Parameters; `example` is one transition of zeros."""
        raise NotImplementedError

    def reward(self, params: Any, transition: Transition) -> Array:
        """The reward of ONE transition, a scalar."""
        raise NotImplementedError

    def loss(self, params: Any, key: Array, batch: Transition) -> Array:
        """The scalar loss on a batch `[B, ...]`."""
        raise NotImplementedError

    def settle(self, params: Any) -> Any:
        """The parameters after each step of the optimiser: for targets that follow slowly."""
        return params

    def init(self, key: Array, example: Transition) -> State:
        one = jax.tree.map(lambda x: jnp.zeros(x.shape[2:], x.dtype), example)
        params = self.init_params(key, one)
        return no_state(example, LearnedState(params, optax.adam(self.learning_rate).init(params)))

    def apply(self, state: State, block: Transition) -> Applied:
        reward = jax.vmap(jax.vmap(lambda t: self.reward(state.shared.params, t)))(block)
        # The policy's loss must never train the reward.
        return Applied(state, jax.lax.stop_gradient(_float(reward)), {}, ())

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del features
        reward = jax.vmap(lambda t: self.reward(shared.params, t))(batch)
        return jax.lax.stop_gradient(_float(reward))

    def learn(self, state: State, key: Array, block: Transition) -> tuple[State, Metrics]:
        steps = block.first.shape[0] * block.first.shape[1]
        flat = jax.tree.map(lambda x: x.reshape(steps, *x.shape[2:]), block)
        optimiser = optax.adam(self.learning_rate)

        def update(learned: LearnedState, key: Array) -> tuple[LearnedState, Array]:
            key_rows, key_loss = jax.random.split(key)
            rows = jax.random.randint(key_rows, (self.batch_size,), 0, steps)
            batch = jax.tree.map(lambda x: x[rows], flat)
            loss, grads = jax.value_and_grad(self.loss)(learned.params, key_loss, batch)
            change, opt_state = optimiser.update(grads, learned.opt_state, learned.params)
            params = self.settle(optax.apply_updates(learned.params, change))
            return learned.replace(params=params, opt_state=opt_state), loss

        learned, losses = jax.lax.scan(update, state.shared, jax.random.split(key, self.updates))
        return state.replace(shared=learned), {
            f"{self.name or type(self).__name__}/loss": losses.mean()
        }


# ---- plumbing -------------------------------------------------------------------


def _float(x: Array) -> Array:
    return jnp.asarray(x, jnp.float32)


def _arguments(term: Any) -> dict[str, Any]:
    return {field.name: getattr(term, field.name) for field in dataclasses.fields(term)}


def _from_function(function: Callable, base: type, methods: dict[str, Any], skip: int) -> Any:
    """A registered subclass of `base` whose fields are the function's arguments."""
    fields: dict[str, Any] = {}
    annotations: dict[str, Any] = {}
    for parameter in list(inspect.signature(function).parameters.values())[skip:]:
        default = parameter.default
        required = default is inspect.Parameter.empty
        declared = parameter.annotation
        unknown = declared is inspect.Parameter.empty or isinstance(declared, str)
        annotations[parameter.name] = Any if unknown else declared
        if isinstance(default, float):
            fields[parameter.name] = default
        else:
            fields[parameter.name] = static() if required else static(default=default)
    name = function.__name__
    body = {**fields, **methods, "__annotations__": annotations, "__doc__": function.__doc__}
    cls = type(name, (base,), {**body, "__module__": function.__module__})
    return register(name)(cast(Any, cls))
