"""Policies that act on noisy observations, and what is then certain of their returns."""

from typing import Any

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxrl_reward.agents.common import base, playing
from jaxrl_reward.agents.common.policies import Policy
from jaxrl_reward.report import certificates
from jaxrl_reward.types import Array, UserError


def smoothed(policy: Policy, sigma: Array | float, key: Array) -> Policy:
    """The policy as it sees `o + xi`, `xi ~ N(0, sigma^2)` anew at every step.

    Args:
      policy: what acts.
      sigma: standard deviation of the noise on each number of an observation.
      key: of the noise; the same key gives the same noise.
    """

    def start(start_key: Array, num: int) -> Any:
        return jnp.zeros((), jnp.int32), policy.start(start_key, num)

    def act(memory: Any, obs: Array, first: Array, key_act: Array | None = None) -> Any:
        step, inner = memory
        noise = jax.random.normal(jax.random.fold_in(key, step), obs.shape, jnp.float32)
        inner, action, extra = policy.act(inner, obs + sigma * noise, first, key_act)
        return (step + 1, inner), action, extra

    def see(memory: Any, transition: Any, extra: Any) -> Any:
        return memory[0], policy.see(memory[1], transition, extra)

    return Policy(start, act, see)


def certify(
    agent: base.Agent,
    state: Any,
    sigma: float,
    budget: ArrayLike,
    episodes: int,
    *,
    key: Array,
    thresholds: ArrayLike,
    lowest: float = 0.0,
    confidence: float = 0.95,
) -> certificates.Certificate:
    """What is certain of an agent's returns when its observations are attacked.

    The agent acts greedily on noisy observations, so it should have been trained on such too
    (`envs.noisy`). See `report.certificates` for the theorem.

    Args:
      agent: what acts; it must know its policy in whole episodes.
      state: its state.
      sigma: the noise's standard deviation.
      budget: B, the length of all attacks of an episode together, `[P]`.
      episodes: how many are played; the bound is never above `(1 - confidence)^(1 / episodes)`.
      key: of the episodes and the noise.
      thresholds: returns tau, chosen before.
      lowest: no episode returns less.
      confidence: that all of it is right.

    Raises:
      UserError: the agent is only evaluated, or a number is out of range.
    """
    if agent.policy is None:
        raise UserError(f"{agent.name} cannot be certified: it is only evaluated")
    if not sigma > 0:
        raise UserError(f"sigma must be above 0, not {sigma}")
    key_noise, key_play = jax.random.split(key)

    @jax.jit
    def play(state: Any, sigma: Array) -> Array:
        policy = smoothed(agent.policy(state), sigma, key_noise)  # type: ignore[misc]
        return playing.evaluate(agent.env, policy, key_play, episodes).returns

    returns = play(agent.prepare_eval(state, key_noise), jnp.float32(sigma))
    settings: dict[str, Any] = {"thresholds": thresholds, "lowest": lowest}
    return certificates.certify(
        jax.device_get(returns), sigma, budget, **settings, confidence=confidence
    )
