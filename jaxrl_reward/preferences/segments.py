"""What a preference between two pieces of behaviour says about the reward.

By the *partial return* the piece with more reward is preferred; by the *regret*,
the one that deviates less from what is optimal. The second knows where a piece leads
to: rewards that differ by a constant give the same partial returns to pieces of
one length, and may yet have other optimal policies.
"""

import jax
import jax.numpy as jnp

from jaxrl_reward.tabular import planning
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import Array


def partial_return(rewards: Array, mask: Array | None = None) -> Array:
    """`sum_t r_t` of each piece, `[..., T] -> [...]`; steps where `mask` is false do not count."""
    return rewards.sum(-1) if mask is None else jnp.where(mask, rewards, 0.0).sum(-1)


def regret(values: Array, q: Array, states: Array, actions: Array) -> Array:
    """`sum_t V(s_t) - Q(s_t, a_t)` of each piece, at least 0.

    Knox et al. 2022, "Models of human preference for learning reward functions", for
    transitions with chance; where there is none, it is `deterministic_regret`.

    Args:
      values: the optimal value of each state, `[S]`.
      q: of each action, `[S, A]`.
      states: `[..., T]` int.
      actions: `[..., T]` int.
    """
    return (values[states] - q[states, actions]).sum(-1)


def deterministic_regret(
    values: Array, rewards: Array, states: Array, ended: Array | bool = False
) -> Array:
    """`V(s_0) - (sum_t r_t + V(s_T))` of each piece.

    The same paper's definition without discounting, for transitions without chance.

    Args:
      values: the optimal value of each state, `[S]`.
      rewards: `[..., T]`.
      states: those before each step, and the last one reached, `[..., T + 1]` int.
      ended: whether the piece ended the episode, so that nothing follows, `[...]`.
    """
    rest = jnp.where(ended, 0.0, values[states[..., -1]])
    return values[states[..., 0]] - (rewards.sum(-1) + rest)


def soft_values(mdp: MDP, gamma: float, temperature: float, iterations: int) -> tuple[Array, Array]:
    """Values `[S]` and q `[S, A]` by soft backups, which a gradient of the reward passes.

    `V(s) = temperature * logsumexp(q(s, .) / temperature)`; as the temperature goes to
    0, the optimal ones. Fit a reward by regret preferences through this.
    """

    def backup(values: Array, _: None) -> tuple[Array, None]:
        q = planning.q_values(mdp, values, gamma)
        return temperature * jax.nn.logsumexp(q / temperature, axis=-1), None

    start = jnp.zeros(mdp.states)
    values, _ = jax.lax.scan(backup, start, None, length=iterations)
    return values, planning.q_values(mdp, values, gamma)
