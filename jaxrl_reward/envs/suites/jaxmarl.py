"""JaxMARL's cooperative tasks (extra `jaxmarl`): a team as one, and a clock of our own.

The team's observation is a `Dict` with a part for each of its agents, sorted by name; its
action has a number for each of them, in the same order. Some of JaxMARL's tasks say `done`
when their time is up, some a step later; here they are played without a time limit, and
the clock truncates after as many steps as the limit says. No step resets.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward import spaces
from jaxrl_reward.envs.suites import clocks, jaxmarl_tasks
from jaxrl_reward.types import Array

_MASKS = {"HeuristicEnemySMAX": "get_avail_actions", "hanabi": "get_legal_moves"}


class JaxMARL(clocks.Clocked):
    """A team of JaxMARL as one agent.

    `info` has each agent's reward, `reward/AGENT`, and what JaxMARL tells of the step.

    Args:
      name: the task's.
      env: without its time limit.
      params: the time limit.
      shown: what its observations are made by, which may show the time limit.
      mean: pays the mean of the agents' rewards, and not the sum.

    Attributes:
      agents: the team's, sorted.
    """

    def __init__(self, name: str, env: Any, params: Any, shown: Any, mean: bool):
        super().__init__(name, env, params)
        self._mean, self._shown = mean, None if shown is env else shown
        # The prey of FACMAC's moves by a script, whatever action it is given.
        team = env.adversaries if "facmac" in name else env.agents
        self.agents = tuple(sorted(team))
        self._asked = {agent: env.action_space(agent) for agent in env.agents}
        self._mask = getattr(env, _MASKS[name]) if name in _MASKS else None
        self._obs = jax.eval_shape(lambda key: self.reset_env(key, None)[0], jax.random.key(0))

    def reset_env(self, key: Array, params: Any) -> tuple[Any, Any]:
        del params
        obs, state = self.suite.reset(key)
        return self._observe(obs, state), clocks.State(state, jnp.int32(0))

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Any, Any, Array, Array, dict[Any, Any]]:
        del params
        given = {agent: jnp.zeros(x.shape, x.dtype) for agent, x in self._asked.items()}
        given |= dict(zip(self.agents, self._split(action), strict=True))
        obs, after, rewards, dones, told = self.suite.step_env(key, state.suite, given)
        info = _scalars(getattr(after, "metrics", told), self.agents)
        each = jnp.stack([jnp.asarray(rewards[agent], jnp.float32) for agent in self.agents])
        info |= {f"reward/{agent}": each[i] for i, agent in enumerate(self.agents)}
        reward = each.mean() if self._mean else each.sum()
        ends = jnp.asarray(dones["__all__"], bool)
        return self._observe(obs, after), clocks.State(after, state.time + 1), reward, ends, info

    def observation_space(self, params: Any) -> Any:
        return spaces.Dict({part: clocks.real(x.shape) for part, x in self._obs.items()})

    def action_space(self, params: Any = None) -> Any:
        each = [self._asked[agent] for agent in self.agents]
        if hasattr(each[0], "n"):
            values = [int(one.n) for one in each]
            return spaces.MultiDiscrete(values) if len(values) > 1 else spaces.Discrete(values[0])
        low, high = (
            np.concatenate([np.broadcast_to(getattr(x, end), x.shape) for x in each])
            for end in ("low", "high")
        )
        return spaces.Box(jnp.float32(low), jnp.float32(high), low.shape, jnp.float32)

    def _split(self, action: Any) -> list[Array]:
        """Each agent's part of the team's action."""
        each = [self._asked[agent] for agent in self.agents]
        if hasattr(each[0], "n"):
            return list(jnp.atleast_1d(action))
        return jnp.split(action, np.cumsum([one.shape[0] for one in each])[:-1])

    def _observe(self, obs: Any, state: Any) -> dict[str, Array]:
        if self._shown is not None:
            obs = self._shown.get_obs(state)
        seen = {agent: jnp.asarray(obs[agent], jnp.float32) for agent in self.agents}
        if self._mask is not None:
            masks = self._mask(state)
            seen[spaces.MASK] = jnp.stack([masks[agent] > 0 for agent in self.agents])
        return seen


def names() -> list[str]:
    """The cooperative tasks of JaxMARL."""
    return list(jaxmarl_tasks.NAMES)


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """A task of JaxMARL and its parameters.

    Args:
      name: one of `names()`.
      options: `reward`, "sum" or "mean" of the agents' rewards; `max_steps`, in brax's tasks
        `episode_length`; and what the task is built with, such as `num_agents`; SMAX has a
        `scenario`, such as 3m, and overcooked a `layout`, such as cramped_room.

    Raises:
      UserError: JaxMARL is not installed, or an option is unknown or does not fit.
    """
    env, shown, limit, mean = jaxmarl_tasks.build(name, options)
    params = clocks.timed(limit)
    return JaxMARL(name, env, params, shown, mean), params


def _scalars(told: Any, agents: tuple[str, ...]) -> dict[str, Array]:
    """The numbers of the step, those of each agent by its name; parts joined by slashes."""
    found = {}
    for path, value in jax.tree.leaves_with_path(told):
        name = "/".join(str(getattr(part, "key", part)) for part in path)
        x = jnp.asarray(value, jnp.float32)
        if x.ndim == 0:
            found[name] = x
        elif x.shape == (len(agents),):
            found |= {f"{name}/{agent}": x[i] for i, agent in enumerate(agents)}
    return found
