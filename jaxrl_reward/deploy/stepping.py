"""A trained policy step by step, from observations alone and what the last step paid.

A policy that sees its reward's memory has to be told what its action led to. That is the
next observation, so it is told then; an episode that goes on has not ended.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.agents.common import base, replay, rollout
from jaxrl_reward.types import Array, Transition, UserError


class Memory(NamedTuple):
    """What is remembered of N episodes, leaves `[N, ...]`; all is `()` in a policy without.

    Attributes:
      own: the policy's.
      last: the step before, `(obs, first, action, extra)`, where `own` has to see it.
    """

    own: Any
    last: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Stepper:
    """How an agent acts, as pure functions of its state.

    Attributes:
      agent: made as for training.
      read: which parts of a step its memory is made of, a `Transition` of bools.
    """

    agent: base.Agent
    read: Transition

    @property
    def sees(self) -> bool:
        """Whether it has to see what its actions led to."""
        return any(jax.tree.leaves(self.read))

    @property
    def paid(self) -> bool:
        """Whether it has to be told the environment's reward."""
        return bool(self.read.env_reward or self.read.reward)

    def shapes(self, state: Any) -> Memory:
        """The memory of one episode, as shapes `[1, ...]`."""
        memory = _first(self.agent, state)
        return memory if self.sees else memory._replace(last=())

    def step(
        self,
        state: Any,
        memory: Memory,
        obs: Array,
        first: Array,
        reward: Array | None = None,
        key: Array | None = None,
    ) -> tuple[Array, Memory]:
        """Actions `[N, ...]`, and the memory after.

        Args:
          state: the agent's, of one seed.
          memory: that of N episodes; anything where they begin.
          obs: `[N, *obs_shape]` float32.
          first: where an episode begins, `[N]` bool.
          reward: what the environment paid for the step before, `[N]`.
          key: for actions to be drawn; the likeliest without.
        """
        policy = self.agent.policy(state)  # pyright: ignore[reportOptionalCall]
        own = memory.own
        if self.sees:
            own = policy.see(own, self.transition(memory.last, obs, reward), memory.last[3])
        fresh = policy.start(jax.random.key(0), 1)
        own = jax.tree.map(lambda new, old: _where(first, new, old), fresh, own)
        own, action, extra = policy.act(own, obs, first, key)
        return action, Memory(own, (obs, first, action, extra) if self.sees else ())

    def transition(self, last: Any, obs: Array, reward: Array | None) -> Transition:
        """The step that led to an observation, `[N, ...]`."""
        before, first, action, _ = last
        paid = jnp.zeros(first.shape) if reward is None else reward
        nothing = jnp.zeros(first.shape, bool)
        info = {
            name: jnp.zeros((*first.shape, *like.shape[2:]), like.dtype)
            for name, like in _example(self.agent).info.items()
        }
        return Transition(before, action, paid, paid, obs, first, nothing, nothing, info)


def of(agent: base.Agent, state: Any) -> Stepper:
    """How an agent in such a state acts.

    Raises:
      UserError: it never acts, or remembers what only the environment's `info` says.
    """
    if agent.policy is None:
        raise UserError(f"{agent.name} has no policy that acts on observations")
    read = _read(agent, state)
    if names := sorted(name for name, read in read.info.items() if any(jax.tree.leaves(read))):
        raise UserError(
            f"the policy sees a memory of {agent.reward}, which reads info[{names[0]!r}]: that "
            "only the environment knows; play it by agent.policy(state)"
        )
    return Stepper(agent, read)


def nothing(shapes: Memory, count: Any) -> Memory:
    """The memory of N episodes that begin: zeros, which `Stepper.step` looks past."""
    return jax.tree.map(lambda x: jnp.zeros((count, *x.shape[1:]), x.dtype), shapes)


def _read(agent: base.Agent, state: Any) -> Transition:
    """Which parts of a step the policy's memory is made of."""
    memory, example = _first(agent, state), jax.tree.map(lambda x: x[0], _example(agent))

    def see(own: Any, extra: Any, step: Transition) -> Any:
        return agent.policy(state).see(own, step, extra)  # pyright: ignore[reportOptionalCall]

    return replay.read_by(see, memory.own, memory.last[3], example.replace(policy={}))


def _first(agent: base.Agent, state: Any) -> Memory:
    """The memory of one episode after its first step, with that step, as shapes `[1, ...]`."""

    def act(state: Any) -> Memory:
        policy, obs = agent.policy(state), _example(agent).obs[0]  # pyright: ignore[reportOptionalCall]
        first = jnp.ones(1, bool)
        own, action, extra = policy.act(policy.start(jax.random.key(0), 1), obs, first)
        return Memory(own, (obs, first, action, extra))

    return jax.eval_shape(act, state)


def _example(agent: base.Agent) -> Transition:
    return rollout.example(agent.env, 1, 1)


def _where(first: Array, new: Array, old: Array) -> Array:
    return jnp.where(first.reshape(-1, *(1,) * (old.ndim - 1)), new, old)
