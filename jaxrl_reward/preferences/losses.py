"""What a pair of scores costs, given which of the two was preferred.

All take the difference `d = score of the first - score of the second` and the
probability `label` that the first is preferred (1, 0, 0.5 for a tie), of any one shape,
and give the loss of each pair.
"""

import jax
import jax.numpy as jnp

from jaxrl_reward.types import Array


def bradley_terry(difference: Array, label: Array | float = 1.0) -> Array:
    """`-label log sigmoid(d) - (1 - label) log sigmoid(-d)` (Bradley and Terry 1952)."""
    return -label * jax.nn.log_sigmoid(difference) - (1 - label) * jax.nn.log_sigmoid(-difference)


def smoothed(difference: Array, label: Array | float = 1.0, flips: Array | float = 0.1) -> Array:
    """`bradley_terry` where a share `flips` of the labels is expected to be wrong.

    Wang et al. 2024, "Secrets of RLHF in Large Language Models Part II", the
    conservative label `(1 - flips) label + flips (1 - label)`.
    """
    return bradley_terry(difference, label + flips * (1.0 - 2.0 * label))


def margin(difference: Array, label: Array | float, strength: Array) -> Array:
    """`bradley_terry` of `d - strength` towards the preferred side.

    The first must win by the strength of the preference (Touvron et al. 2023; Wang
    et al. 2024 take the mean difference of an ensemble, `labels.strength`).
    """
    return bradley_terry(difference - strength * (2.0 * label - 1.0), label)


def scaled(difference: Array, label: Array | float, strength: Array) -> Array:
    """`strength * bradley_terry`: a pair counts by the strength of its preference.

    Wang et al. 2024, "HelpSteer2-Preference", the scaled Bradley-Terry loss.
    """
    return strength * bradley_terry(difference, label)


def centred(first: Array, second: Array, label: Array | float = 1.0, weight: float = 0.01) -> Array:
    """`bradley_terry + weight * (first + second)^2`, of the scores themselves.

    Eisenstein et al. 2023, "Helping or Herding": a pair fixes no origin, and members of
    an ensemble can only be compared if they share one.
    """
    return bradley_terry(first - second, label) + weight * (first + second) ** 2


def both_orders(first: Array, second: Array, label: Array | float = 1.0) -> Array:
    """The cross-entropy of "yes, it is better", asked of either one of a pair; their mean.

    For judges that compare: `first` is the logit of yes for the first when it is compared with
    the second, and `second` that of the second compared with the first, so that no order is
    favoured (Wu et al. 2025, "RewardDance": the probability of yes is the reward).
    """
    return 0.5 * (bradley_terry(first, label) + bradley_terry(second, 1.0 - label))


def regression(first: Array, second: Array, reward: Array) -> Array:
    """The squared error of both scores against ratings `reward[..., 2]`, a mean.

    What "HelpSteer2-Preference" (Wang et al. 2024) begins with, before `scaled` on the same
    judge: ratings fix the origin and the scale, preferences the order.
    """
    return 0.5 * ((first - reward[..., 0]) ** 2 + (second - reward[..., 1]) ** 2)


def auxiliary(
    outputs: Array, label: Array | float, facts: Array, weight: Array | float = 1.0
) -> Array:
    """`bradley_terry` of the first output, and `weight` times the error of what others predict.

    A tool's results or known features of the domain, as in Li et al. 2024, "Tool-Augmented
    Reward Modeling": what must be told to predict them is not lost on the score.

    Args:
      outputs: of both of a pair, `[..., 2, 1 + C]`.
      label: `[...]`.
      facts: what the others should be, `[..., 2, C]`.
      weight: of the mean squared error.
    """
    scores, told = outputs[..., 0], outputs[..., 1:]
    error = ((told - facts) ** 2).mean((-2, -1))
    return bradley_terry(scores[..., 0] - scores[..., 1], label) + weight * error


def hedged(difference: Array, label: Array | float, weights: Array) -> Array:
    """The loss of a mixture: `-log sum_k w_k sigmoid(d_k)` for a preferred first.

    MiCRo (Shen et al. 2025, "MiCRo: Mixture Modeling and Context-aware Routing"), the
    likelihood of K heads of which a router chooses with probability w_k.

    Args:
      difference: of each head, `[..., K]`.
      label: `[...]`.
      weights: the router's, `[..., K]`, sum to 1.
    """
    agree, against = (
        jax.nn.logsumexp(jax.nn.log_sigmoid(d), axis=-1, b=weights)
        for d in (difference, -difference)
    )
    return -label * agree - (1 - label) * against


def rerouted(weights: Array, losses: Array, rate: Array | float = 1.0) -> Array:
    """A router's weights after the heads' losses on a few labels of one context.

    `w_k exp(-rate * sum_b loss_kb)`, normalised: Hedge (Freund and Schapire 1997).
    So MiCRo's second stage adapts to a context; this exact form is not confirmed.

    Args:
      weights: before, `[..., K]`, sum to 1.
      losses: of each head on each label, `[..., K, B]`, as by `bradley_terry`.
      rate: how fast it learns.
    """
    log_weights = jnp.where(weights > 0.0, _log(weights), -jnp.inf)
    return jax.nn.softmax(log_weights - rate * losses.sum(-1), -1)


def balance(weights: Array) -> Array:
    """`sum_k w_k log w_k` of a router's weights `[..., K]`, to be added (0.5 times in MiCRo).

    Lowest, `-log K`, where all heads are used alike.
    """
    return (weights * _log(weights)).sum(-1)


def _log(weights: Array) -> Array:
    """The logarithm; 0 where a weight is 0, so that no slope is NaN."""
    return jnp.log(jnp.where(weights > 0.0, weights, 1.0))
