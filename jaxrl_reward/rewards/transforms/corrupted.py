"""Corrupted rewards: noise, flips and replacements, so that robustness is one expression.

What is drawn does not depend on the reward but on a key, and replay stores it:
the same step is corrupted in the same way whenever it is drawn again. The key of
a draw is the term's own (from `init`), plus
  `per="step"`: the environment's number and its count of steps, so that draws
    are independent. The count is in the memory and goes on from episode to episode;
  `per="transition"`: what the step shows (observations, action and reward), so
    that the same transition always gets the same corruption, as a broken sensor
    or a wrong label would give it, and averaging over visits does not help.
"""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.rewards.core import checks
from jaxrl_reward.rewards.core.base import Applied, RewardTransform, State, static
from jaxrl_reward.rewards.core.checks import Finite, NotNegative, OneOf, Share
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Affine
from jaxrl_reward.types import Array, Transition

PER = ("step", "transition")


class Corrupted(RewardTransform):
    """Draws an effect `gain * r + bonus` at every step. Override `draw`."""

    scope = "causal"

    def draw(self, key: Array) -> Affine:
        """The effect on one step's reward, from a key of its own."""
        raise NotImplementedError

    def init(self, key: Array, example: Transition) -> State:
        number = jnp.arange(example.first.shape[1], dtype=jnp.uint32)
        return State(jax.random.key_data(key), jnp.stack([number, jnp.zeros_like(number)], -1))

    def apply(self, state: State, block: Transition) -> Applied:
        steps = block.first.shape[0]
        if getattr(self, "per", "step") == "transition":
            first = jax.vmap(jax.vmap(content))(block)
            second = jnp.zeros_like(first)
        else:
            passed = jnp.arange(steps, dtype=jnp.uint32)[:, None]
            second = state.local[:, 1][None] + passed
            first = jnp.broadcast_to(state.local[:, 0][None], second.shape)

        def one(first: Array, second: Array) -> Affine:
            return self.draw(numbered_key(state.shared, first, second))

        effect = jax.vmap(jax.vmap(one))(first, second)
        local = state.local.at[:, 1].add(jnp.uint32(steps))
        reward = self.relabel((), block, effect)
        return Applied(state.replace(local=local), reward, {}, effect)

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del shared
        return features.gain * batch.reward + features.bonus


def numbered_key(own: Array, first: Array, second: Array) -> Array:
    """A key of its own for each pair of uint32, from the data of a key.

    The generator is a function of key and counter, so keys that differ give independent
    draws; folding the numbers in one by one would take two draws more, at every step.
    """
    return jax.random.wrap_key_data(own.at[:2].add(jnp.stack([first, second])))


def content(transition: Transition) -> Array:
    """A uint32 that mixes all that one step shows."""
    parts = (transition.obs, transition.action, transition.next_obs, transition.env_reward)
    flat = jnp.concatenate([jnp.asarray(x, jnp.float32).reshape(-1) for x in parts])
    bits = jax.lax.bitcast_convert_type(flat + 0.0, jnp.uint32)  # -0.0 becomes 0.0
    odd = np.random.default_rng(1).integers(1, 2**32, bits.size, dtype=np.uint32) | np.uint32(1)
    x = (bits ^ (bits >> 15)) * odd
    return (x ^ (x >> 16)).sum(dtype=jnp.uint32)


@register("gaussian_noise", {"std": 0.5}, {"std": 0.5, "per": "transition"})
class gaussian_noise(Corrupted):  # noqa: N801
    """`r + std * z`, z standard normal, for every step anew or `per="transition"`."""

    std: NotNegative = 0.1
    per: Annotated[str, OneOf(PER)] = static(default="step")

    def draw(self, key: Array) -> Affine:
        return Affine(jnp.float32(1.0), self.std * jax.random.normal(key))


@register("uniform_noise")
class uniform_noise(Corrupted):  # noqa: N801
    """`r + u`, u uniform in [low, high), for every step anew or `per="transition"`."""

    low: Finite = -0.1
    high: Finite = 0.1
    per: Annotated[str, OneOf(PER)] = static(default="step")

    def validate(self) -> None:
        checks.rising(self, "low", "high")

    def draw(self, key: Array) -> Affine:
        share = jax.random.uniform(key)
        return Affine(jnp.float32(1.0), self.low + share * (self.high - self.low))


@register("flip_sign", {"probability": 0.3})
class flip_sign(Corrupted):  # noqa: N801
    """`-r` with `probability`, else r: on average (1 - 2 probability) of the reward is left."""

    probability: Share = 0.1
    per: Annotated[str, OneOf(PER)] = static(default="step")

    def draw(self, key: Array) -> Affine:
        hit = jax.random.uniform(key) < self.probability
        return Affine(jnp.where(hit, -1.0, 1.0), jnp.float32(0.0))


@register("flip_binary", {"probability": 0.3})
class flip_binary(flip_sign):  # noqa: N801
    """`1 - r` with `probability`, else r: false positives and negatives of a 0/1 reward.

    Lv et al. 2025, "The Climb Carves Wisdom Deeper Than the Summit": up to 0.4 is learnt
    from, and 0.5 is no signal at all. There, one coin is tossed for a whole group.
    """

    def draw(self, key: Array) -> Affine:
        hit = jax.random.uniform(key) < self.probability
        return Affine(jnp.where(hit, -1.0, 1.0), jnp.where(hit, 1.0, 0.0))


@register("replaced", {"probability": 0.3})
class replaced(flip_sign):  # noqa: N801
    """A uniform number in [low, high) with `probability`, else r; at low = high = 0, dropped."""

    low: Finite = -1.0
    high: Finite = 1.0

    def validate(self) -> None:
        checks.rising(self, "low", "high")

    def draw(self, key: Array) -> Affine:
        draws = jax.random.uniform(key, (2,))
        hit = draws[0] < self.probability
        fake = self.low + draws[1] * (self.high - self.low)
        return Affine(jnp.where(hit, 0.0, 1.0), jnp.where(hit, fake, 0.0))
