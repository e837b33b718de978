"""Bounded rewards: what cannot be large cannot be exploited without end.

`par` and `log_sigmoid` centre a score on what a reference policy gets; their
sums stay informative where raw scores would drown one another.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward.rewards.core.checks import Duration, Finite, Finites, Positive
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Causal, Episodes, Pointwise, episodic
from jaxrl_reward.types import Array, Transition


@register("tanh", {"scale": 0.5})
class tanh(Pointwise):  # noqa: N801
    """`tanh(r / scale)`, in (-1, 1); close to `r / scale` where that is small."""

    scale: Positive = 1.0

    def reward(self, transition: Transition) -> Array:
        return jnp.tanh(transition.reward / self.scale)


@register("par", {"reference": (-0.5, 0.5), "slope": 2.0})
class par(Pointwise):  # noqa: N801
    """`mean_m sigmoid(slope * (r - reference_m))`, in (0, 1): steep at the reference.

    Preference as reward (Fu et al. 2025, "Reward Shaping to Mitigate Reward
    Hacking in RLHF"): how likely the score is to be preferred to those of a
    reference policy. `reference` is one number or several, up to 10 there.
    """

    reference: Finites = 0.0
    slope: Positive = 1.0

    def reward(self, transition: Transition) -> Array:
        reference = jnp.asarray(self.reference, jnp.float32).reshape(-1)
        return jax.nn.sigmoid(self.slope * (transition.reward - reference)).mean()


@register("log_sigmoid", {"reference": 0.5})
class log_sigmoid(Pointwise):  # noqa: N801
    """`log sigmoid(r - reference)`, below 0: concave, so it pays most to mend what is poor.

    Wang et al. 2024, "Transforming and Combining Rewards for Aligning Large
    Language Models": of a Bradley-Terry score it is the log-probability
    of being better than the reference, and a sum of several is that of all being
    better, a logical AND. The reference there is `gaussian_quantile` at 0.85.
    """

    reference: Finite = 0.0

    def reward(self, transition: Transition) -> Array:
        return jax.nn.log_sigmoid(transition.reward - self.reference)


def gaussian_quantile(mean: Any, std: Any, q: float = 0.85) -> Array:
    """`mean + Phi^-1(q) * std`, the reference of `log_sigmoid` from few samples.

    At the default `q` it is `mean + 1.036 * std`. Any shapes that broadcast.
    """
    return mean + jax.scipy.special.ndtri(q) * std


@register("shortfall", {"below": 0.5})
class shortfall(Pointwise):  # noqa: N801
    """`min(r - below, 0)`: what is missing, never a surplus that could be repeated.

    The Clip mechanism of Gao et al. 2024, "On Designing Effective RL Reward at
    Training Time for LLM Reasoning": a sum over any number of steps is at most 0.
    """

    below: Finite = 0.0

    def reward(self, transition: Transition) -> Array:
        return jnp.minimum(transition.reward - self.below, 0.0)


@episodic
def delta(block: Transition, episodes: Episodes) -> Array:
    """`r_k - r_{k+1}`; at the last step but one `r_k`, at the last one 0.

    The Delta mechanism of Gao et al. 2024: what is left from step k on sums to
    r_k, however many steps follow, so scores cannot be farmed. The last step is
    the answer, which only the outcome judges. It is no potential-based shaping.
    """
    del episodes
    none, yes = jnp.zeros_like(block.reward[:1]), jnp.ones_like(block.last[:1])
    later = jnp.concatenate([block.reward[1:], none])
    last_but_one = jnp.concatenate([block.last[1:], yes])
    kept = block.reward - jnp.where(last_but_one, 0.0, later)
    return jnp.where(block.last, 0.0, kept)


@register("proximity", {"scale": 2.0, "density": 0.5})
class proximity(Pointwise):  # noqa: N801
    """`exp(-|r| / (2 scale dispersion)) ** (1 / density)` of a distance r, in (0, 1].

    Moschopoulos et al. 2023, "Lucy-SKG": `scale` is the largest distance
    that matters, and `dispersion` and `density` shape how it falls off.
    """

    scale: Positive = 1.0
    dispersion: Positive = 1.0
    density: Positive = 1.0

    def reward(self, transition: Transition) -> Array:
        near = jnp.exp(-0.5 * jnp.abs(transition.reward) / (self.scale * self.dispersion))
        return near ** (1.0 / self.density)


@register("terminal", {"value": -2.0})
class terminal(Pointwise):  # noqa: N801
    """`value` on the step that terminates the episode, else 0; truncation is no end.

    The hint at hard infractions of Jaeger et al. 2025, "CaRL".
    """

    value: Finite = -1.0

    def reward(self, transition: Transition) -> Array:
        return jnp.where(transition.terminated, self.value, 0.0)


@register("hold", {"steps": 2.0})
class hold(Causal):  # noqa: N801
    """A penalty factor below 1 stays for `steps` further steps: the least one counts.

    For `progress * (factor | hold(500))`, the soft penalties of Jaeger et al. 2025,
    "CaRL", which multiply what is earned and so cannot be traded for it.
    With `steps=inf` a factor of 0 ends all pay, as if the episode had terminated.
    The policy may see the factor held.
    """

    steps: Duration = 500.0
    reads_history = True

    def begin_one(self, shared: Any, obs: Array) -> Array:
        del shared, obs
        return jnp.array([1.0, 0.0])  # the factor held, and for how many steps

    def step(self, shared: Any, local: Array, transition: Transition) -> tuple[Array, Array]:
        del shared
        violated = transition.reward < 1.0
        factor = jnp.minimum(transition.reward, self.view(local)[0])
        held = jnp.where(violated, factor, local[0])
        left = jnp.where(violated, self.steps, jnp.maximum(local[1] - 1.0, 0.0))
        return jnp.stack([held, left]), factor

    def view(self, local: Array) -> Array:
        return jnp.where(local[1] > 0.0, local[0], 1.0)[None]
