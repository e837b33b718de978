"""PPO with a GRU: what differs where the networks remember the episode.

Actor and critic have a memory each, zero where an episode begins. A block is
learned from as it was played: from the memory before it, which is kept, whole
environments in a minibatch, so that gradients flow through time as far as the
block goes (Hausknecht and Stone 2015, arXiv:1507.06527, "sequential updates").
"""

from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward.agents import actions, batching, ppo, rollout
from jaxrl_reward.agents import state as common
from jaxrl_reward.gru import Recurrent, gru
from jaxrl_reward.types import Array


class RecurrentPpo(ppo.Ppo):
    """The functions of PPO where a network's output depends on the steps before."""

    @cached_property
    def actor(self) -> Recurrent:
        sizes = (*self.config.hidden, actions.out_size(self.dist))
        return gru(sizes, self.config.activation, 0.01)

    @cached_property
    def critic(self) -> Recurrent:
        return gru((*self.config.hidden, 1), self.config.activation)

    def memory(self, num: int) -> dict[str, Array]:
        return {"actor": self.actor.start(num), "critic": self.critic.start(num)}

    def acting(self, state: ppo.State, num: int = 0) -> rollout.Recurrent:
        def choose(memory: Any, inputs: Array, first: Array, noise: Array | None) -> Any:
            inputs, params = common.normalize(state, inputs), state.params
            actor, out = self.actor.step(params["actor"], memory["actor"], inputs, first)
            critic, value = self.critic.step(params["critic"], memory["critic"], inputs, first)
            policy = actions.with_std(self.dist, params, out)
            action, raw = actions.draw(self.player.env.action_space, self.dist, policy, noise)
            memory = {"actor": actor, "critic": critic}
            return memory, action, (raw, policy, value[:, 0], critic)

        return rollout.Recurrent(choose, self.memory(num))

    def judge(self, state: ppo.State, inputs: Array, extra: Any) -> dict[str, Array]:
        raw, policy, value, _ = extra
        return {
            "log_prob": self.dist.log_prob(policy, raw),
            "entropy": self.dist.entropy(policy, raw),
            "value": value,
        }

    def next_value(self, state: ppo.State, played: rollout.Rollout) -> Array:
        """By one step of the critic from its memory after each step.

        At a time limit too, where the memory of the next row is another episode's.
        """

        def value_of(inputs: Array, memory: Array) -> Array:
            lead, inputs = inputs.shape[:-1], common.normalize(state, inputs)
            memory, inputs = (x.reshape(-1, x.shape[-1]) for x in (memory, inputs))
            first = jnp.zeros(inputs.shape[0], bool)
            value = self.critic.step(state.params["critic"], memory, inputs, first)[1]
            return value.reshape(lead)

        return batching.by_steps(value_of, played.next_inputs, played.extra[3])

    def rows(self, state: ppo.State, played: rollout.Rollout, batch: ppo.Batch) -> ppo.Batch:
        """Environments, each with its steps: `[N, T, ...]`."""
        by_env = jax.tree.map(lambda x: x.swapaxes(0, 1), batch)
        return by_env._replace(recalled=(state.memory, played.block.first.swapaxes(0, 1)))

    def replay(self, params: dict[str, Any], batch: ppo.Batch) -> tuple[Array, Array]:
        memory, first = batch.recalled
        seen = (batch.inputs.swapaxes(0, 1), first.swapaxes(0, 1))
        out = self.actor.unroll(params["actor"], memory["actor"], *seen)[1].swapaxes(0, 1)
        value = self.critic.unroll(params["critic"], memory["critic"], *seen)[1].swapaxes(0, 1)
        return actions.with_std(self.dist, params, out), value[..., 0]
