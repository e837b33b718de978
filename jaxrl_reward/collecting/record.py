"""What is played, as rows: by a policy that is frozen, or by an agent as it learns."""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward import envs
from jaxrl_reward.agents.common.base import Agent
from jaxrl_reward.data.dataset import FIELDS
from jaxrl_reward.envs import masks, spaces
from jaxrl_reward.envs.bounds import scale_action
from jaxrl_reward.types import Array, Transition, UserError

Block = dict[str, np.ndarray]  # `FIELDS`, `[T, N, ...]`
UNLIMITED = 1000  # steps in which an episode is to end where there is no time limit


def check(agent: Agent, recorded: bool) -> None:
    """Raises a `UserError` if the agent's policy cannot be played, or its training recorded."""
    if agent.policy is None:
        raise UserError(f"{agent.name} has no policy that can be played")
    if recorded and not can_record(agent):
        raise UserError(
            f"medium-replay needs an agent with a replay, such as sac; not {agent.name}"
        )


def can_record(agent: Agent) -> bool:
    """Whether what is played in training can be read from the agent's state."""
    return agent.newest is not None


# ---- an agent that learns ----------------------------------------------------------


def begin(agent: Agent, key: Array) -> Any:
    """The agent's first state, without weak types: those would compile all else twice."""

    def strong(leaf: Array) -> Array:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return leaf if is_key else jax.lax.convert_element_type(leaf, leaf.dtype)

    return jax.jit(lambda key: jax.tree.map(strong, agent.init(key)))(key)


def kept(agent: Agent, state: Any) -> Any:
    """A copy of as much of an agent's state as acts and is evaluated."""
    return _copy(agent.frozen(state))


@jax.jit
def _copy(tree: Any) -> Any:
    return jax.tree.map(jnp.copy, tree)


class Advance(NamedTuple):
    """Does some iterations: the state after, what was played, and the seconds that it took."""

    program: Callable[[Any], tuple[Any, dict[str, Array]]]

    def __call__(self, state: Any) -> tuple[Any, Block, float]:
        began = time.perf_counter()
        state, block = self.program(state)
        block = jax.tree.map(np.asarray, block)
        jax.block_until_ready(state.iteration)
        return state, block, time.perf_counter() - began


def advance(agent: Agent, length: int, recorded: bool) -> Advance:
    """`length` iterations; the state before is given up.

    What is played is read from the agent's replay as it is written there, so that a
    ring that is too small for the run loses nothing.
    """

    def newest(state: Any) -> dict[str, Array]:
        return _fields(agent.newest(state)) if recorded and agent.newest else {}

    @partial(jax.jit, donate_argnums=0)
    def program(state: Any) -> Any:
        def one(state: Any, _: Any) -> Any:
            state = agent.iterate(state)[0]
            return state, newest(state)

        state, blocks = jax.lax.scan(one, state, None, length)
        return state, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), blocks)

    return Advance(program)


# ---- a policy that is frozen -------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Player:
    """Plays a policy in `num_envs` environments, `steps` steps of each in one call."""

    agent: Agent
    num_envs: int
    steps: int
    begin: Callable[..., Any]
    advance: Callable[..., Any]

    def calls(self, rows: int, episodes: int = 0) -> int:
        """Calls after which `rows` steps are in episodes that begun early enough to end.

        Rows are taken in the order in which episodes begin. With a time limit all
        of them end but the last, so that none is left out for being long. For so many
        `episodes`, in place of rows, likewise.
        """
        limit = self.agent.env.max_steps
        time = -(-rows // self.num_envs) + (limit or 0)
        if episodes:
            time = -(-episodes // self.num_envs) * (limit or UNLIMITED)
        return -(-time // self.steps)

    def play(
        self,
        state: Any,
        key: Array,
        rows: int,
        uniform: bool,
        advanced: Callable[[int, float], Any],
        episodes: int = 0,
    ) -> Block:
        """`rows` steps `[rows, ...]` of a policy, or of uniform actions; or whole `episodes`.

        Raises:
          UserError: one of the episodes did not end; there is no time limit.
        """
        key_begin, key_steps = jax.random.split(key)
        state, now = self.begin(state, key_begin)
        parts = []
        for call in range(self.calls(rows, episodes)):
            began = time.perf_counter()
            own = jax.random.fold_in(key_steps, call)
            now, block = self.advance(state, now, own, jnp.bool_(uniform))
            parts.append(jax.tree.map(np.asarray, block))
            advanced(call + 1, time.perf_counter() - began)
        found = flatten(joined(parts))
        if episodes:
            return first_episodes(found, episodes, self.agent.env.name)
        return {name: rows_of[:rows] for name, rows_of in found.items()}


def player(agent: Agent, num_envs: int, greedy: bool, steps: int) -> Player:
    """What plays the agent's policies; one program for them and for uniform actions."""
    env, policy_of = agent.env, agent.policy
    assert policy_of is not None  # see `check`
    vector = envs.vectorize(env, num_envs)

    @jax.jit
    def begin(state: Any, key: Array) -> Any:
        key_prepare, key_start = jax.random.split(jax.random.fold_in(key, 1))
        state = agent.prepare_eval(state, key_prepare)
        return state, (vector.init(key), policy_of(state).start(key_start, num_envs))

    @partial(jax.jit, donate_argnums=1)
    def advance(state: Any, now: Any, key: Array, uniform: Array) -> Any:
        policy = policy_of(state)

        def one(now: Any, key: Array) -> Any:
            env_state, memory = now
            key_act, key_any, key_step = jax.random.split(key, 3)
            drawn = None if greedy else key_act
            memory, chosen, extra = policy.act(memory, env_state.obs, env_state.first, drawn)
            action: Any = jnp.where(uniform, anything(key_any, env, env_state.obs), chosen)
            keys = jax.random.split(key_step, num_envs)
            env_state, step, _ = vector.step(env_state, keys, action)
            return (env_state, policy.see(memory, step, extra)), _fields(step)

        return jax.lax.scan(one, now, jax.random.split(key, steps))

    return Player(agent, num_envs, steps, begin, advance)


def anything(key: Array, env: envs.Env, obs: Array) -> Array:
    """Uniform actions for observations `[N, ...]`, of those allowed.

    They reach as far as -1 and 1 of the unit numbers where they are open.
    """
    space, count = env.action_space, obs.shape[0]
    if masks.of(env) is not None or isinstance(space, spaces.MultiDiscrete):
        return jax.vmap(partial(masks.random_action, env))(obs, jax.random.split(key, count))
    if isinstance(space, spaces.Discrete):
        return jax.random.randint(key, (count,), 0, space.n).astype(space.dtype)
    shape = (count, int(np.prod(space.shape)))
    unit = jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
    return scale_action(space, unit)


# ---- rows --------------------------------------------------------------------------


def joined(blocks: list[Block]) -> Block:
    """Blocks in a row as one, `[T, N, ...]`."""
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def flatten(block: Block, until: int | None = None, rows: int | None = None) -> Block:
    """A block as rows, episode after episode in the order in which they begin.

    Args:
      block: `[T, N, ...]`, whose first step begins an episode everywhere.
      until: only so many of its first steps.
      rows: if there are more, some episodes are left out, so that what is kept is
        of all times alike, and the last is cut.
    """
    block = {name: value[:until] for name, value in block.items()}
    time = block["first"].shape[0]
    flat = {
        name: np.swapaxes(value, 0, 1).reshape(-1, *value.shape[2:])
        for name, value in block.items()
    }
    starts = np.flatnonzero(flat["first"])
    stops = np.append(starts[1:], len(flat["first"]))
    order = np.lexsort((starts // time, starts % time))
    if rows is not None and rows < len(flat["first"]):
        order = _spread(order, (stops - starts)[order], rows)
    spans = list(zip(starts.tolist(), stops.tolist(), strict=True))
    index = np.concatenate([np.arange(*spans[i]) for i in order.tolist()])[:rows]
    return {name: value[index] for name, value in flat.items()}


def first_episodes(rows: Block, count: int, env: str) -> Block:
    """The first episodes, all of them whole, of rows in order.

    Raises:
      UserError: they are fewer, or one did not end; the message names `env`.
    """
    starts = np.flatnonzero(rows["first"])
    stops = np.append(starts[1:], len(rows["first"]))
    ended = (rows["terminated"] | rows["truncated"])[stops - 1][:count]
    if len(ended) < count or not ended.all():
        found = len(ended) if ended.all() else int(np.argmin(ended))
        raise UserError(
            f"{env} has no time limit, and only {found} of {count} episodes ended in time; "
            "collect rows in place of episodes"
        )
    return {name: value[: stops[count - 1]] for name, value in rows.items()}


def _spread(order: np.ndarray, lengths: np.ndarray, rows: int) -> np.ndarray:
    """Some of the episodes, of all times alike, that have at least `rows` steps together.

    At each episode the share of rows left to fill, of those left to come, is added
    up; one is kept whenever the sum has reached one more. It starts at one.
    """
    coming = lengths[::-1].cumsum()[::-1]
    left, owed, kept = rows, 1.0, []
    for episode, length, after in zip(order, lengths, coming, strict=True):
        owed += max(left, 0) / after
        if owed >= 1.0 and left > 0:
            kept.append(episode)
            owed, left = owed - 1.0, left - length
    return np.asarray(kept, np.int64)


def _fields(steps: Transition) -> dict[str, Array]:
    given = steps.replace(reward=steps.env_reward)
    return {name: getattr(given, name) for name in FIELDS}
