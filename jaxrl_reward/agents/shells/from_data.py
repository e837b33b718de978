"""Agents that learn from fixed data: how it lies on the device, and their functions.

One `iterate` takes `updates` gradient steps, each on a batch of rows drawn
uniformly, rewarded anew by the expression and what that has learned since. The
data is no part of the state: it is an argument of `iterate`, of which all seeds
read the same copy. Several sets of as many rows lie behind each other, and the
setting `source` says from which of them a lane learns.
"""

import dataclasses
import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import (
    actions,
    base,
    held_out,
    replay,
    rollout,
    shared_settings,
)
from jaxrl_reward.agents.common.offline_data import Blank, load, references, stream
from jaxrl_reward.agents.offline.packed_data import Data
from jaxrl_reward.agents.shells import shell
from jaxrl_reward.envs import spaces
from jaxrl_reward.nn import distributions
from jaxrl_reward.types import Array, Mean, Transition, UserError

SMALLEST_STD = 1e-3  # added to that of observations, as is usual for offline data


class State(struct.PyTreeNode):
    """All that changes, and the numbers that may differ between runs.

    Attributes:
      config: the settings, their leaves float32 arrays.
      reward: the reward expression, likewise.
      params: the networks'.
      opt_state: the optimisers'.
      reward_state: the reward's.
      features: what the reward needs beside each row of its set, `[N]`.
      mean: subtracted from observations, `[O]`.
      scale: then multiplies them, `[O]`.
      key: for all that is random from here on.
      iteration: how many are over, int32.
    """

    config: Any
    reward: Any
    params: Any
    opt_state: Any
    reward_state: Any
    features: Any
    mean: Array
    scale: Array
    key: Array
    iteration: Array


class Learner(shell.Learner):
    """What one agent has of its own.

    Attributes:
      measured: which of what `held_out` gives is reported where nothing else can be.
    """

    spaces = (spaces.Box,)
    measured: ClassVar[str] = "td_error"

    @property
    def dist(self) -> Any:
        """The distribution of actions, before they are stretched to their bounds."""
        raise NotImplementedError

    def normalize(self, state: Any, inputs: Array) -> Array:
        return normalize(state, inputs)

    def init(self, config: Any, inputs: Array, key: Array) -> tuple[Any, Any]:
        """Parameters and the optimisers' state, from an example `[1, O]`."""
        raise NotImplementedError

    def policy(self, params: Any, inputs: Array) -> Array:
        """The distribution's parameters, from inputs `[..., O]`."""
        raise NotImplementedError

    def update(
        self, config: Any, learned: Any, batch: replay.Batch, key: Array, step: Array
    ) -> tuple[Any, dict[str, Array]]:
        """One gradient step, the number `step` from 0: what is learned after, scalars to log."""
        raise NotImplementedError

    def greedy(self, params: Any, inputs: Array) -> Array:
        """The likeliest actions as rows of data have them, from normalised inputs `[B, O]`."""
        return self.dist.to_action(self.dist.mode(self.policy(params, inputs)))

    def held_out(
        self, config: Any, params: Any, batch: replay.Batch, key: Array
    ) -> dict[str, Array]:
        """Scalars that say how well a batch is known that was not learned from."""
        del config, params, batch, key
        return {}

    def noise(self, state: Any, key: Array, shape: tuple[int, ...]) -> Any:
        # A policy that knows no chance has none to draw from.
        deterministic = isinstance(self.dist, distributions.TanhPoint)
        return None if deterministic else self.dist.noise(key, shape)

    def act(self, state: Any, memory: Any, inputs: Array, first: Array, noise: Any) -> Any:
        params = self.policy(state.params, normalize(state, inputs))
        return memory, *actions.draw(self.space, self.dist, params, noise)


class _Player(NamedTuple):
    """What `rollout.player` reads of a config, for one environment."""

    num_envs: int = 1
    num_steps: int = 1
    placement: str = "block"
    reset: str = "fresh"


def make(
    name: str,
    config: Any,
    env: envs.Env,
    reward: rw.RewardTransform | None,
    data: Any,
    learner: Callable[..., Learner],
    check: Callable[[Any], None],
) -> base.Agent:
    """The agent, as the table of agents has it.

    Args:
      name: its name.
      config: its settings.
      env: what it is evaluated in.
      reward: what it learns from.
      data: a `Dataset` or a path to one, or several of them; None for an agent
        that is to act and be evaluated only.
      learner: its networks and gradient steps, a `Learner`.
      check: raises a `UserError` for a config that cannot be.

    Raises:
      UserError: a setting is out of range, or the data, the environment and the
        reward do not fit each other.
    """
    check(config)
    env = envs.given(env)
    config = _resolved(name, config, env)
    reward = base.check_reward(name, config, env, reward)
    kinds = getattr(learner, "spaces", Learner.spaces)
    base.check_actions(name, env, kinds, "bc, edac, iql or riql")
    player = rollout.player(name, _Player(), env, reward)
    recorder = replay.recorder(name, player, reward, store="data")
    sequential = _read_in_order(name, recorder, reward)
    aside = (getattr(config, "holdout", 0.0), getattr(config, "holdout_seed", 0))
    found = windows = None
    if getattr(config, "stream", 0) and data is not None and not isinstance(data, Blank):
        windows = stream(name, env, recorder.read, sequential, data, config)
        found = (windows.first, (windows.origin,))
    elif data is not None:
        found = load(name, env, recorder.read, sequential, data, aside)
    if found is not None and not 0 <= int(config.source) < len(found[1]):
        count = len(found[1])
        raise UserError(f"{name}'s source must be one of the {count} given, 0 to {count - 1}")
    if found is not None and not all(each.terminal_next_obs for each in found[1]):
        _warn_of_unknown(name, recorder, reward)
    made = FromData(
        *(name, config, reward, player, shell.learner_of(name, config, env, learner), check),
        *(recorder, sequential, found and found[0]),
    )

    def remake(config: Any, other: rw.RewardTransform | None = None) -> base.Agent:
        return make(name, config, env, reward if other is None else other, data, learner, check)

    given: dict[str, Any] = {}
    if found is not None:
        given = {"data": found[0], "data_origin": found[1], "stream": windows}
        given["references"] = references(env, found[1])
        if aside[0] or getattr(config, "fqe_steps", 0):
            given["judge"] = partial(held_out.judge, made)
    if not env.playable:
        evaluated = bool(getattr(config, "fqe_steps", 0))
        given["metric"] = "fqe" if evaluated else f"held_out/{made.learner.measured}"
    return made.agent(config.updates, remake=remake, **given)


def _resolved(name: str, config: Any, env: envs.Env) -> Any:
    """The config with what depends on whether there is an environment to play in.

    Raises:
      UserError: there is none, and nothing that would be measured.
    """
    known = {"holdout": shared_settings.HOLDOUT, "fqe_steps": shared_settings.FQE_STEPS}
    unsaid = {key: value for key, value in known.items() if getattr(config, key, 0.0) < 0}
    changes = {key: 0 * value if env.playable else value for key, value in unsaid.items()}
    config = config.replace(**changes) if changes else config
    if not env.playable and not any(getattr(config, key, 0.0) for key in known):
        raise UserError(
            f"{name} has no environment, and with holdout=0 and fqe_steps=0 nothing is measured; "
            "leave one of them out, or name an environment"
        )
    return config


@dataclasses.dataclass(frozen=True, eq=False)
class FromData(shell.Shell):
    """See `shell.Shell`.

    Attributes:
      recorder: what knows how rows are rewarded.
      sequential: what the reward reads of all rows in order.
      data: what `init` and `iterate` are given by default.
    """

    recorder: replay.Recorder
    sequential: Transition
    data: Data | None

    def init(
        self, key: Array, config: Any = None, reward: Any = None, data: Data | None = None
    ) -> State:
        """The state before the first update; the same key gives the same run.

        Raises:
          UserError: `config` or `reward` differs from the agent's in more than its
            numbers, or a number is out of range.
        """
        base.check_key(key)
        settings, reward = base.settle(self, self.check, config, reward)
        data = self.data if data is None else data
        key, key_reward, key_learner = jax.random.split(key, 3)
        size = math.prod(self.player.env.observation_space.shape)
        mean, scale = jnp.zeros(size), jnp.ones(size)
        reward_state, features = reward.init(key_reward, self.recorder.example), ()
        if data is not None:
            source = _index(settings.source)
            on = jnp.asarray(settings.normalize_obs) > 0
            mean = jnp.where(on, data.mean[source], mean)
            scale = jnp.where(on, 1.0 / (data.std[source] + SMALLEST_STD), scale)
            reward_state, features = self.read_in_order(reward, reward_state, data, source)
        params, opt_state = self.learner.init(settings, jnp.zeros((1, size)), key_learner)
        return State(
            config=settings,
            reward=reward,
            params=params,
            opt_state=opt_state,
            reward_state=reward_state,
            features=features,
            mean=mean,
            scale=scale,
            key=key,
            iteration=jnp.int32(0),
        )

    def iterate(self, state: State, data: Data | None = None) -> tuple[State, dict[str, Mean]]:
        """`updates` gradient steps; the metrics are means over them.

        Raises:
          UserError: the agent was made without data.
        """
        data = self.data if data is None else data
        if data is None:
            raise UserError(f"{self.name} learns from data: make it with data=... (--data FILE)")
        shape = (self.config.updates, self.config.batch_size)
        key, key_rows, key_step, key_learn = jax.random.split(state.key, 4)
        rows = jax.random.randint(key_rows, shape, 0, data.count)

        def update(carry: Any, xs: tuple[Array, Array]) -> tuple[Any, dict[str, Array]]:
            learner, reward_state = carry
            rows, i = xs
            batch, block = self.batch(state, reward_state.shared, data, rows)
            # Not in int32, which ends where the learning rate would begin anew.
            step = state.iteration.astype(jnp.float32) * shape[0] + i
            key = jax.random.fold_in(key_step, i)
            learner, metrics = self.learner.update(state.config, learner, batch, key, step)
            reward_state, learned = state.reward.learn(
                reward_state, jax.random.fold_in(key_learn, i), block
            )
            for name, value in learned.items():
                metrics[f"reward/{name.removeprefix('reward/')}"] = value
            return (learner, reward_state), metrics | {"reward": batch.reward.mean()}

        carry = (state.params, state.opt_state), state.reward_state
        (learner, reward_state), metrics = jax.lax.scan(update, carry, (rows, jnp.arange(shape[0])))
        state = state.replace(
            params=learner[0],
            opt_state=learner[1],
            reward_state=reward_state,
            key=key,
            iteration=state.iteration + 1,
        )
        return state, {name: Mean.of(value) for name, value in metrics.items()}

    # ---- data and rewards ---------------------------------------------------------

    def batch(
        self, state: State, shared: Any, data: Data, rows: Array
    ) -> tuple[replay.Batch, Transition]:
        """What one update learns from, `[B, ...]`, and the block `[1, B]` for the reward.

        Args:
          state: the agent's.
          shared: what the reward knows now.
          data: where the rows are.
          rows: which of the set, `[B]` int32.
        """
        at = _index(state.config.source) * data.count + rows
        found = data.rows.at[at].get(mode="promise_in_bounds")
        size, (obs, action, after, reward, ended) = rows.shape[0], self.parts(found)
        extra = jax.tree.map(lambda x: x[at], data.extra)
        items = {"step": self.steps(obs, action, after, reward, ended, extra, (1, size))}
        items["features"] = jax.tree.map(lambda x: x[rows][None], state.features)
        window = replay.Window(items, jnp.ones((1, size), bool))
        block = self.recorder.transitions(state.reward, shared, window)
        batch = replay.Batch(
            inputs=normalize(state, obs),
            choice=self.choice(action),
            reward=jax.lax.stop_gradient(block.reward[0]),
            weight=state.config.gamma * (1.0 - ended),
            next_inputs=normalize(state, after),
        )
        return batch, block

    def read_in_order(self, reward: Any, state: Any, data: Data, source: Array) -> tuple[Any, Any]:
        """The reward's state and features after all of a set, as one block `[N, 1]`."""
        features = jax.eval_shape(reward.apply, state, self.recorder.example).features
        if not any(jax.tree.leaves(self.sequential)) and not jax.tree.leaves(features):
            return state, features
        count = data.count
        cut = lambda x: jax.lax.dynamic_slice_in_dim(x, source * count, count)  # noqa: E731
        obs, action, after, paid, ended = self.parts(cut(data.rows))
        extra = jax.tree.map(cut, data.extra)
        block = self.steps(obs, action, after, paid, ended, extra, (count, 1))
        zero = lambda x: jnp.zeros((count, 1, *x.shape[2:]), x.dtype)  # noqa: E731
        example = self.recorder.example
        block = block.replace(
            reward=block.env_reward,
            info=jax.tree.map(zero, example.info),
            policy=jax.tree.map(zero, example.policy),
        )
        applied = reward.apply(state, block)
        features = jax.tree.map(lambda x: x[:, 0], applied.features)
        return state.replace(shared=applied.state.shared), features

    def parts(self, rows: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Observation, action, next observation, reward and end, of rows `[B, ...]`."""
        env = self.player.env
        size = math.prod(env.observation_space.shape)
        ends = np.cumsum([size, math.prod(env.action_space.shape), size])
        obs, action, after, rest = jnp.split(rows, ends, axis=-1)
        return obs, action, after, rest[:, 0], rest[:, 1]

    def choice(self, action: Array) -> Array:
        """Actions of rows `[B, A]` as learners take them; of a Discrete whole numbers `[B]`."""
        discrete = isinstance(self.player.env.action_space, spaces.Discrete)
        return action[:, 0].astype(jnp.int32) if discrete else action

    def steps(
        self,
        obs: Array,
        action: Array,
        after: Array,
        reward: Array,
        ended: Array,
        extra: Transition,
        shape: tuple[int, int],
    ) -> Transition:
        """Rows `[B, ...]` as the block of that shape, as `replay` stores them.

        What the reward does not read is `()` in `extra`, and zero here.
        """
        example = self.recorder.example

        def field(name: str) -> Array:
            like, found = getattr(example, name), getattr(extra, name)
            if isinstance(found, tuple):
                return jnp.zeros((*shape, *like.shape[2:]), like.dtype)
            return found.reshape(*shape, *found.shape[1:])

        return Transition(
            obs=obs.reshape(*shape, *example.obs.shape[2:]),
            action=field("action"),
            env_reward=reward.reshape(shape),
            reward=(),  # pyright: ignore[reportArgumentType]
            next_obs=after.reshape(*shape, *example.obs.shape[2:]),
            first=field("first"),
            terminated=ended.reshape(shape) > 0.5,
            truncated=field("truncated"),
            info=jax.tree.map(lambda _: (), example.info),
            policy=jax.tree.map(lambda _: (), example.policy),
        )


def normalize(state: State, inputs: Array) -> Array:
    """Observations `[..., O]` as the networks see them."""
    lead = range(inputs.ndim - 1)
    return (inputs - jnp.expand_dims(state.mean, lead)) * jnp.expand_dims(state.scale, lead)


def _index(source: Any) -> Array:
    return jnp.asarray(source).astype(jnp.int32)


def _read_in_order(agent: str, recorder: replay.Recorder, reward: rw.RewardTransform) -> Transition:
    """Which parts of all rows in order a reward reads, before the first update.

    Raises:
      UserError: a term changes with the steps that are played, and none are.
    """
    example, key = recorder.example, jax.random.key(0)
    for term in rw.terms(reward):
        state = jax.eval_shape(partial(term.init, key, example))

        def after(state: Any, block: Transition, term: Any = term) -> Any:
            return term.apply(state, block).state.shared

        jaxpr = jax.make_jaxpr(after)(state, example).jaxpr
        before = jaxpr.invars[: len(jaxpr.outvars)]
        moves = any(new is not old for new, old in zip(jaxpr.outvars, before, strict=True))
        if moves and not any(jax.tree.leaves(replay.read_by(after, state, example))):
            raise UserError(f"{agent} plays no steps, and {term} changes with them; leave it out")

    def result(state: Any, block: Transition) -> Any:
        applied = reward.apply(state, block)
        return applied.state.shared, applied.features

    state = jax.eval_shape(partial(reward.init, key, example))
    return replay.read_by(result, state, example)


def _warn_of_unknown(agent: str, recorder: replay.Recorder, reward: rw.RewardTransform) -> None:
    """One line if a reward changes with where a terminated step led, which data do not say.

    Most that read successors do not look there: a potential is 0 after the end.
    """
    if not recorder.read.next_obs:
        return
    step = jax.tree.map(jnp.zeros_like, recorder.example)
    step = step.replace(terminated=jnp.ones_like(step.terminated))
    state = reward.init(jax.random.key(0), recorder.example)
    paid = [
        reward.apply(state, step.replace(next_obs=jnp.full_like(step.next_obs, value))).reward
        for value in (0.0, 0.7, 3.0)
    ]
    if any(not np.array_equal(paid[0], each, equal_nan=True) for each in paid[1:]):
        warnings.warn(
            f"{agent}'s data do not say where terminated steps led: there {reward} reads the "
            "observation before in place of the one after",
            stacklevel=3,
        )
