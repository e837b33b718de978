"""Canonical forms of rewards: one representative of those that differ in what does not matter.

Two rewards order all policies alike if and only if they differ by potential shaping, a
positive factor and S'-redistribution, which pays each successor otherwise with the same
mean for the action (Skalse et al. 2024, STARC, section 2). A canonicalisation is linear
and removes shaping; those of STARC remove redistribution too. Rewards are `[S, A, S']`,
one world and one reward at a time; `vmap` for more.
"""

import jax
import jax.numpy as jnp

from jaxrl_reward.tabular import dynamics as worlds
from jaxrl_reward.tabular.types import Dynamics
from jaxrl_reward.types import Array


def identity(dynamics: Dynamics, reward: Array) -> Array:
    """The reward as it is: removes nothing."""
    del dynamics
    return reward


@jax.jit
def val(dynamics: Dynamics, reward: Array, policy: Array | None = None) -> Array:
    """Value-adjusted levelling, `E[R(s,a,S') + gamma V(S') - V(s)]` for every successor.

    V is the value of `policy` (uniform) under the reward, so this is its advantage:
    it removes shaping and redistribution (Skalse et al. 2024, STARC, definition of VAL).
    """
    mean = dynamics.level(reward)
    value = worlds.values(dynamics, dynamics.uniform() if policy is None else policy, mean)
    advantage = worlds.q_values(dynamics, mean, value) - value[:, None]
    return jnp.broadcast_to(advantage[..., None], reward.shape)


@jax.jit
def val_potential(dynamics: Dynamics, reward: Array, policy: Array | None = None) -> Array:
    """`R(s,a,s') + gamma V(s') - V(s)`: removes shaping, and leaves redistribution.

    STARC's VALPotential. With a norm that only sees means of actions it would be `val`.
    """
    policy = dynamics.uniform() if policy is None else policy
    value = worlds.values(dynamics, policy, dynamics.level(reward))
    return shaped(dynamics, reward, value)


@jax.jit
def minimal(dynamics: Dynamics, reward: Array, weights: Array | None = None) -> Array:
    """The smallest reward, in weighted L2, that orders all policies as this one does.

    Smallest over all potentials and redistributions, so it removes both (STARC,
    "minimal" canonicalisations). It is a small least-squares problem: with the mean
    `q(s,a)` given, the smallest reward is `q tau / w / sum(tau^2 / w)`, of squared
    size `q^2 / sum(tau^2 / w)`, and q is affine in the potential.

    Args:
      dynamics: the world, with `tau = dynamics.transition`.
      reward: `[S, A, S']`.
      weights: `w[S, A, S']` of the squared norm, positive where s' can follow; 1 by
        default.
    """
    tau = dynamics.transition
    share = tau if weights is None else jnp.where(tau > 0, tau / jnp.where(tau > 0, weights, 1), 0)
    size = (tau * share).sum(-1)  # [S, A]
    # q = mean + slope @ potential
    slope = dynamics.gamma * tau - jnp.eye(dynamics.states, dtype=tau.dtype)[:, None]
    mean = dynamics.level(reward)
    weighed = slope / size[..., None]
    matrix = jnp.einsum("sax,say->xy", weighed, slope)
    potential = jnp.linalg.solve(matrix, -jnp.einsum("sax,sa->x", weighed, mean))
    q = mean + slope @ potential
    return (q / size)[..., None] * share


@jax.jit
def minimal_potential(dynamics: Dynamics, reward: Array, weights: Array | None = None) -> Array:
    """The smallest `R(s,a,s') + gamma phi(s') - phi(s)` over potentials, in weighted L2.

    Removes shaping, and leaves redistribution. With `w(s,a) tau(s'|s,a)` as weights it
    is what a batch of transitions can give (`reward_samples`).

    Args:
      dynamics: the world.
      reward: `[S, A, S']`.
      weights: of the squared norm, `[S, A, S']`; 1 by default. A state that no weight
        touches keeps potential 0.
    """
    gamma = dynamics.gamma
    weights = jnp.ones_like(reward) if weights is None else weights
    between = weights.sum(1)  # [S, S']
    leaving, reached = between.sum(1), between.sum(0)
    matrix = jnp.diag(leaving + gamma**2 * reached) - gamma * (between + between.T)
    untouched = jnp.diag((leaving + reached == 0).astype(reward.dtype))
    paid = weights * reward
    target = paid.sum((1, 2)) - gamma * paid.sum((0, 1))
    return shaped(dynamics, reward, jnp.linalg.solve(matrix + untouched, target))


@jax.jit
def epic(
    dynamics: Dynamics,
    reward: Array,
    states: Array | None = None,
    actions: Array | None = None,
) -> Array:
    """`R(s,a,s') + E[gamma R(s',A,S') - R(s,A,S') - gamma R(S,A,S')]`.

    S and S' are drawn from `states[S]`, A from `actions[A]` (both uniform), whatever
    the dynamics are, so transitions that cannot happen count: it removes shaping, and
    leaves redistribution (Gleave et al. 2021, EPIC, definition 4.1).
    """
    states = _uniform(dynamics.states, reward) if states is None else states
    actions = _uniform(dynamics.actions, reward) if actions is None else actions
    mean = jnp.einsum("a,t,sat->s", actions, states, reward)  # E[R(s, A, S')]
    return shaped(dynamics, reward, mean) - dynamics.gamma * states @ mean


@jax.jit
def dard(dynamics: Dynamics, reward: Array, actions: Array | None = None) -> Array:
    """`R(s,a,s') + E[gamma R(s',A,S'') - R(s,A,S') - gamma R(S',A,S'')]`.

    A is drawn from `actions[A]` (uniform), S' and S'' follow (s, A) and (s', A): it
    removes shaping with transitions that are nearer to those that happen, and leaves
    redistribution (Wulfe et al. 2022, DARD, definition of the canonical reward).
    """
    actions = _uniform(dynamics.actions, reward) if actions is None else actions
    tau = dynamics.transition
    mean = dynamics.level(reward) @ actions  # E[R(s, A, S') | s]
    # E[R(S', A, S'') | s, s']: S' follows s and S'' follows s', with the same action.
    across = jnp.einsum("a,sax,xay,tay->st", actions, tau, reward, tau, optimize="optimal")
    return shaped(dynamics, reward, mean) - dynamics.gamma * across[:, None]


def shaped(dynamics: Dynamics, reward: Array, potential: Array) -> Array:
    """`R(s,a,s') + gamma phi(s') - phi(s)`, from a potential `[S]`."""
    after, before = dynamics.gamma * potential, potential
    return reward + after[None, None, :] - before[:, None, None]


def redistributed(dynamics: Dynamics, reward: Array, change: Array) -> Array:
    """The reward with `change[S, A, S']`, less its mean under the dynamics for each action."""
    return reward + change - dynamics.level(change)[..., None]


def _uniform(count: int, like: Array) -> Array:
    return jnp.full(count, 1.0 / count, like.dtype)
