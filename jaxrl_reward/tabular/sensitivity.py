"""How far a best policy moves when its reward does: not at all, or all the way, or smoothly.

Where two actions tie, the least change of the reward turns the greedy policy over; a price on
entropy makes the way there smooth, and bounds its slope (Xu 2025, "The Policy Cliff").
Policies are `[S, A]`, rewards those of an `MDP`.
"""

from typing import NamedTuple

import jax.numpy as jnp

from jaxrl_reward.tabular import checks, objectives, planning
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import Array, UserError


class Shift(NamedTuple):
    """How far apart the best policies of two rewards are, the furthest of all states.

    Attributes:
      moved: the total variation between the policies.
      by_values: the most that their action values allow, `tanh(max |dQ| / (2 alpha))`.
      by_rewards: the most that the rewards allow, `max |dR| / (2 alpha (1 - gamma))`.
    """

    moved: Array
    by_values: Array
    by_rewards: Array


@checks.arguments(gamma=checks.FOREVER, temperature=checks.POSITIVE)
def soft_shift(
    mdp: MDP,
    other: MDP,
    gamma: Array | float,
    temperature: Array | float,
    *,
    iterations: int = 500,
) -> Shift:
    """The shift of the one policy that is best with a price on entropy, and its two bounds.

    Args:
      mdp: an MDP.
      other: the same with another reward.
      gamma: the discount, below 1.
      temperature: alpha, what a nat of entropy is worth.
      iterations: backups; values are right to `gamma^iterations` of their size.

    Raises:
      UserError: the two differ in more than the reward, or a number is out of range.
    """
    _same("soft_shift", mdp, other)
    plans = [
        objectives.soft_planning(each, gamma, temperature, iterations=iterations)
        for each in (mdp, other)
    ]
    values = jnp.abs(plans[0].q - plans[1].q).max()
    change = jnp.abs(mdp.expected_reward() - other.expected_reward()).max()
    return Shift(
        moved=total_variation(plans[0].policy, plans[1].policy).max(),
        by_values=jnp.tanh(values / (2.0 * temperature)),
        by_rewards=bound(change, gamma, temperature),
    )


@checks.arguments(change=checks.TOLERANCE, gamma=checks.FOREVER, temperature=checks.POSITIVE)
def bound(change: Array | float, gamma: Array | float, temperature: Array | float) -> Array:
    """`max |dR| / (2 alpha (1 - gamma))`: no state's soft policy moves further.

    Args:
      change: the largest change of an action's expected reward.
      gamma: the discount, below 1.
      temperature: alpha, the price of entropy.
    """
    return jnp.asarray(change / (2.0 * temperature * (1.0 - gamma)))


@checks.arguments(gamma=checks.DISCOUNT, tolerance=checks.TOLERANCE)
def greedy_shift(
    mdp: MDP, other: MDP, gamma: Array | float, *, tolerance: Array | float = 1e-4
) -> Array:
    """The total variation of the greedy policies, in each state, `[S]`: ties share alike.

    1 where no action is best under both rewards. No bound on the change of the reward makes it
    small where actions tie.

    Args:
      mdp: an MDP.
      other: the same with another reward.
      gamma: the discount.
      tolerance: what counts as a tie, see `planning.optimal_actions`.

    Raises:
      UserError: the two differ in more than the reward.
    """
    _same("greedy_shift", mdp, other)
    best = [planning.optimal_set(each, gamma, tolerance=tolerance) for each in (mdp, other)]
    shares = [each / each.sum(-1, keepdims=True) for each in best]
    return total_variation(shares[0], shares[1])


def effective_reward(rewards: Array, weights: Array) -> Array:
    """`R_eff = sum_k w_k R_k`: the one reward that training on a mixture of tasks climbs.

    What one task's reward decides for itself, the mixture may leave tied.

    Args:
      rewards: of each task, `[K, ...]`.
      weights: how often each is met, `[K]`, of sum 1.

    Raises:
      UserError: weights that are no distribution, or of another length.
    """
    checks.distributions("effective_reward", "weights", weights)
    rewards, weights = jnp.asarray(rewards), jnp.asarray(weights)
    if weights.shape != rewards.shape[:1]:
        raise UserError(
            f"effective_reward: {list(weights.shape)} weights of {list(rewards.shape)} rewards"
        )
    return jnp.tensordot(weights, rewards, 1)


def total_variation(first: Array, second: Array) -> Array:
    """Half the sum of the differences of two laws `[..., A]`, `[...]`."""
    return jnp.abs(first - second).sum(-1) / 2.0


def _same(where: str, mdp: MDP, other: MDP) -> None:
    checks.mdp(where, other)
    if mdp.reward.shape != other.reward.shape:
        shapes = f"{list(mdp.reward.shape)} and {list(other.reward.shape)}"
        raise UserError(f"{where} needs one MDP with two rewards, not of {shapes}")
