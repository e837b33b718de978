"""Replay: a ring of stored steps, as a pytree.

Leaves are `[R, N, ...]`: R rows of time, N environments, each with the type it
came in. A block `[T, N, ...]` is written in one piece, and R is a multiple of T,
so a block never wraps. A sample is a *window*: up to n steps in a row of one
environment, which ends where the episode ends, or where the data does.
"""

import dataclasses
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from flax import struct
from jax.interpreters import partial_eval
from jax.typing import ArrayLike

from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import rollout
from jaxrl_reward.agents.common.state import normalize
from jaxrl_reward.types import Array, Transition, UserError


class ReplayState(struct.PyTreeNode):
    """What is stored.

    Attributes:
      items: the stored steps, leaves `[R, N, ...]`.
      row: where the next block goes, int32; the oldest row once all are filled.
      filled: rows that hold something, int32.
    """

    items: Any
    row: Array
    filled: Array

    @property
    def size(self) -> Array:
        """How many steps are stored, int32."""
        return self.filled * jax.tree.leaves(self.items)[0].shape[1]


class Window(NamedTuple):
    """A sample: windows of n steps, of which the first always counts.

    Attributes:
      items: leaves `[n, B, ...]`.
      inside: which steps belong to the window, `[n, B]` bool: true, then false.
    """

    items: Any
    inside: Array


def rows(agent: str, config: Any) -> int:
    """The rows R of a ring for `buffer_size` steps, rounded down to whole blocks.

    Args:
      agent: whose it is, for messages.
      config: has `buffer_size`, `num_steps`, `num_envs` and `batch_size`.

    Raises:
      UserError: there is no room for a block or for a batch, or int32 cannot
        number the steps.
    """
    capacity, batch_size = config.buffer_size, config.batch_size
    block = config.num_steps * config.num_envs
    room = capacity // block * block
    least = max(block, -(-batch_size // block) * block)
    if room < least:
        what = f"a batch of {batch_size}" if batch_size > room >= block else f"a block of {block}"
        raise UserError(
            f"{agent}'s buffer_size={capacity} has no room for {what} steps "
            f"(num_envs={config.num_envs} x num_steps={config.num_steps} at a time); "
            f"use at least {least}"
        )
    if room >= 2**31:
        raise UserError(f"{agent}'s buffer_size must be below {2**31}, not {capacity}")
    return room // config.num_envs


def init(rows: int, example: Any) -> ReplayState:
    """An empty ring of `rows` rows for blocks like `example`, leaves `[T, N, ...]`."""
    chex.assert_tree_shape_prefix(example, jax.tree.leaves(example)[0].shape[:2])
    items = jax.tree.map(lambda x: jnp.zeros((rows, *x.shape[1:]), x.dtype), example)
    return ReplayState(items, jnp.int32(0), jnp.int32(0))


def add(state: ReplayState, block: Any) -> ReplayState:
    """Writes a block `[T, N, ...]` over the oldest rows; T must divide R."""
    chex.assert_trees_all_equal_dtypes(state.items, block)
    stored, steps = (jax.tree.leaves(tree)[0].shape[0] for tree in (state.items, block))
    chex.assert_is_divisible(stored, steps)

    def write(ring: Array, new: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(ring, new, state.row, axis=0)

    return ReplayState(
        items=jax.tree.map(write, state.items, block),
        row=(state.row + steps) % stored,
        filled=jnp.minimum(state.filled + steps, stored),
    )


def newest(state: ReplayState, steps: int) -> Any:
    """The block of so many steps that was written last, leaves `[T, N, ...]`."""
    stored = jax.tree.leaves(state.items)[0].shape[0]
    start = (state.row - steps) % stored
    cut = lambda ring: jax.lax.dynamic_slice_in_dim(ring, start, steps)  # noqa: E731
    return jax.tree.map(cut, state.items)


def sample(
    state: ReplayState,
    key: Array,
    batch_size: int,
    n_step: int = 1,
    last: Callable[[Any], Array] | None = None,
) -> Window:
    """Windows that start at steps drawn uniformly, with replacement.

    Every stored step may be drawn. Near the newest row a window is shorter,
    rather than reaching over the write position into the oldest data.

    Args:
      state: a ring that is not empty.
      key: a key.
      batch_size: how many windows, B.
      n_step: steps of a window, n, at most.
      last: the ends of episodes, from items; needed where `n_step > 1`.

    Returns:
      Windows `[n, B, ...]`.
    """
    stored, num_envs = jax.tree.leaves(state.items)[0].shape[:2]
    index = jax.random.randint(key, (batch_size,), 0, state.size)
    age, env = index // num_envs, index % num_envs  # counted from the oldest row
    oldest = jnp.where(state.filled < stored, 0, state.row)
    later = jnp.arange(n_step, dtype=jnp.int32)[:, None]
    row = (oldest + age)[None] + later
    # No remainder by R: the sum is below 2 R, as far as it is inside.
    row = jnp.where(row >= stored, row - stored, row)
    exists = age[None] + later < state.filled
    flat = jnp.where(exists, row * num_envs + env[None], 0)

    def read(ring: Array) -> Array:
        ring = ring.reshape(stored * num_envs, *ring.shape[2:])
        return ring.at[flat].get(mode="promise_in_bounds")

    items = jax.tree.map(read, state.items)
    if n_step == 1:
        return Window(items, exists)
    if last is None:
        raise TypeError("sample needs `last` to end windows where episodes end")
    ends = jnp.cumsum(last(items), axis=0, dtype=jnp.int32)
    before = jnp.concatenate([jnp.zeros_like(ends[:1]), ends[:-1]])
    return Window(items, exists & (before == 0))


def at_end(window: Window) -> Any:
    """The last step of each window, leaves `[B, ...]`."""
    steps, batch = window.inside.shape
    if steps == 1:
        return jax.tree.map(lambda x: x[0], window.items)
    index = window.inside.sum(0, dtype=jnp.int32) - 1
    return jax.tree.map(lambda x: x[index, jnp.arange(batch)], window.items)


def n_step_return(
    reward: Array, inside: Array, terminated: Array, gamma: ArrayLike
) -> tuple[Array, Array]:
    """`sum_i gamma^i r_i` over windows, and the weight of the value that follows.

    Args:
      reward: `[n, B]`, or `[n, B, m]`.
      inside: which steps count, `[n, B]` bool.
      terminated: whether the last step of the window ended the task, `[B]` bool.
      gamma: discount per step.

    Returns:
      The sums `[B]` (`[B, m]`), and `gamma^k` for a window of k steps, 0 after a
      termination, `[B]` (Sutton and Barto 2018, section 7.1).
    """
    chex.assert_equal_shape_prefix([reward, inside], 2)

    def wide(x: Array) -> Array:
        return x.reshape(*x.shape, *(1,) * (reward.ndim - x.ndim - 1))

    total, weight = jnp.zeros(reward.shape[1:]), jnp.ones(inside.shape[1:])
    for i in range(reward.shape[0]):
        total = total + jnp.where(wide(inside[i]), wide(weight) * reward[i], 0.0)
        weight = jnp.where(inside[i], weight * gamma, weight)
    return total, jnp.where(terminated, 0.0, weight)


# ---- with a reward -----------------------------------------------------------------


class Batch(NamedTuple):
    """What an agent learns from, `[B, ...]`.

    Attributes:
      inputs: what the policy saw, not normalised, `[B, D]`.
      choice: the action as the policy gave it.
      reward: the discounted rewards of the window.
      weight: that of the value of `next_inputs`: the discount, 0 after a
        termination.
      next_inputs: what it saw after the window.
    """

    inputs: Array
    choice: Array
    reward: Array
    weight: Array
    next_inputs: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Recorder:
    """What an agent stores of its play, and how that is rewarded anew.

    Attributes:
      example: transitions of zeros, `[1, 1, ...]`.
      read: which parts of a transition `relabel` or `learn` reads, a
        `Transition` of bools. Of `info` and `policy`, nothing else is stored.
      normalize: `normalize(state, inputs) -> inputs`, as the networks see them.
    """

    example: Transition
    read: Transition
    normalize: Callable[[Any, Array], Array] = normalize

    def items(self, played: rollout.Rollout, choice: Array) -> dict[str, Any]:
        """What is stored of a block, leaves `[T, N, ...]`."""
        block, keep = played.block, lambda read, x: x if read else ()
        size = math.prod(block.obs.shape[2:])
        return {
            "step": block.replace(
                reward=(),
                info=jax.tree.map(keep, self.read.info, block.info),
                policy=jax.tree.map(keep, self.read.policy, block.policy),
            ),
            "features": played.features,
            "choice": choice,
            # The reward's, that the policy sees behind the observation.
            "memory": played.inputs[..., size:],
            "next_memory": played.next_inputs[..., size:],
        }

    def batches(
        self, state: Any, shared: Any, stored: ReplayState, key: Array
    ) -> tuple[Batch, Transition]:
        """What the agent and the reward learn from in one iteration.

        The reward learns once an iteration, as the one `shared` rewards all that
        is drawn for it; how many steps it takes is its own setting.

        Args:
          state: the agent's; its config says how many of what.
          shared: what the reward knows now, which rewards them.
          stored: the ring.
          key: for what is drawn.

        Returns:
          Batches `[updates, batch_size, ...]` as the networks see them, and the
          steps that they start with, as the block `[1, updates * batch_size, ...]`
          that `reward.learn` takes.
        """
        config = state.config
        shape = (config.updates, config.batch_size)
        last = lambda items: items["step"].last  # noqa: E731
        window = sample(stored, key, math.prod(shape), config.n_step, last)
        steps = self.transitions(state.reward, shared, window)
        end, start = at_end(window), jax.tree.map(lambda x: x[0], window.items)
        total, weight = n_step_return(
            jax.lax.stop_gradient(steps.reward),
            window.inside,
            end["step"].terminated,
            config.gamma,
        )
        inputs = rollout.policy_input(start["step"].obs, start["memory"])
        next_inputs = rollout.policy_input(end["step"].next_obs, end["next_memory"])
        batch = Batch(
            inputs=self.normalize(state, inputs),
            choice=start["choice"],
            reward=total,
            weight=weight,
            next_inputs=self.normalize(state, next_inputs),
        )
        batches = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), batch)
        return batches, jax.tree.map(lambda x: x[:1], steps)

    def transitions(self, reward: Any, shared: Any, window: Window) -> Transition:
        """The windows' steps `[n, B, ...]`, rewarded under the given `shared`.

        What was not stored, because the reward does not read it, is zero.
        """
        step, shape = window.items["step"], window.inside.shape

        def fill(read: bool, x: Array, like: Array) -> Array:
            return x if read else jnp.zeros((*shape, *like.shape[2:]), like.dtype)

        step = step.replace(
            reward=step.env_reward,
            info=jax.tree.map(fill, self.read.info, step.info, self.example.info),
            policy=jax.tree.map(fill, self.read.policy, step.policy, self.example.policy),
        )
        flat = jax.tree.map(
            lambda x: x.reshape(shape[0] * shape[1], *x.shape[2:]), (step, window.items["features"])
        )
        rewards = reward.relabel(shared, *flat)
        return step.replace(reward=rewards.reshape(*shape, *rewards.shape[1:]))


def recorder(
    agent: str, player: rollout.Player, reward: rw.RewardTransform, store: str = "replay"
) -> Recorder:
    """What `agent` stores of what `player` plays; `store` is what it learns from.

    Raises:
      UserError: the reward of a stored step cannot be computed anew.
    """
    problem = rw.replay_problem(reward)
    if problem:
        raise UserError(f"{agent} learns from {store}, and {problem}; use ppo")
    example, key = player.example(1, 1), jax.random.key(0)

    def parts() -> Any:
        state = reward.init(key, example)
        features = reward.apply(state, example).features
        return state, *jax.tree.map(lambda x: x[0], (example, features))

    state, one, features = jax.eval_shape(parts)
    try:
        relabelled = read_by(
            lambda shared, features, step: reward.relabel(shared, step, features),
            *(state.shared, features, one),
        )
    except NotImplementedError as error:
        raise UserError(f"{agent} learns from {store}, and {error}; use ppo") from None
    learned = read_by(lambda state, block: reward.learn(state, key, block), state, example)
    return Recorder(example, jax.tree.map(operator.or_, relabelled, learned))


def read_by(function: Callable[..., Any], *trees: Any) -> Any:
    """Which leaves of the last of `trees` a function's results depend on, as bools.

    What is not read need not be stored.
    """
    jaxpr = jax.make_jaxpr(function)(*trees).jaxpr
    _, used = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    leaves, structure = jax.tree.flatten(trees[-1])
    return jax.tree.unflatten(structure, used[len(used) - len(leaves) :])
