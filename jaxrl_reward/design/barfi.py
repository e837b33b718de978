"""BARFI: how much of a heuristic to follow, learnt through what it makes a policy do.

Gupta, Chandak, Jordan, Thomas and da Silva 2023, "Behavior Alignment via Reward Function
Optimization". A policy theta follows the behaviour alignment reward and its discount,

    r_phi(s, a) = phi_1 + phi_2 r(s, a) + phi_3 heuristic(s, a),    gamma_phi

and phi is judged by the task's own return of the policy that this brings about:

    max_phi J_{r, gamma}(theta*(phi)) - price gamma_phi,
    theta*(phi): the fixed point of the inner update, where Delta(theta, phi) = 0.

So `d theta*/d phi = -(d Delta/d theta)^-1 d Delta/d phi`, by `preferences.hypergradient`
(conjugate gradients or a Neumann series). Delta is exact on a known MDP (`inner`), and
estimated from episodes otherwise (`sampled`), as in the paper.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxrl_reward.design.episodes import Episodes, play, returns
from jaxrl_reward.preferences import hypergradient
from jaxrl_reward.tabular import planning
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import Array


class Mixing(struct.PyTreeNode):
    """phi: weights of the parts of the reward, scalars or tables `[S, A]`.

    Attributes:
      bias: phi_1.
      primary: phi_2, of the task's reward.
      heuristic: phi_3.
      discount: the logit of gamma_phi, a scalar.
    """

    bias: Array
    primary: Array
    heuristic: Array
    discount: Array


class Settings(struct.PyTreeNode):
    """How to align.

    Attributes:
      solver: of the implicit gradient: `cg`, `neumann`, or `exact` where S A is small.
      iterations: of the solver.
      horizon: the longest episode.
      episodes: played between two updates.
      align: whether phi is learnt; else it stays as it was.
      rate: of the policy's gradient steps.
      outer_rate: of Adam on phi.
      regular: the weight of `|theta|^2 / 2`, which keeps the inner optimum finite.
      damping: added to the Hessian's diagonal where it is inverted.
      step: of the Neumann series.
      price: of gamma_phi: a shorter horizon that does as well is preferred.
      gamma: the task's discount.
    """

    solver: Literal["exact", "cg", "neumann"] = struct.field(pytree_node=False, default="cg")
    iterations: int = struct.field(pytree_node=False, default=10)
    horizon: int = struct.field(pytree_node=False, default=30)
    episodes: int = struct.field(pytree_node=False, default=32)
    align: bool = struct.field(pytree_node=False, default=True)
    rate: float | Array = 1.0
    outer_rate: float | Array = 0.1
    regular: float | Array = 0.01
    damping: float | Array = 0.0
    step: float | Array = 0.1
    price: float | Array = 0.0
    gamma: float | Array = 0.95


class Task(struct.PyTreeNode):
    """A task and a heuristic for it.

    Attributes:
      mdp: the task.
      heuristic: r_aux, `[S, A]`.
    """

    mdp: MDP
    heuristic: Array


class State(struct.PyTreeNode):
    """What is learnt.

    Attributes:
      logits: of the policy, `[S, A]`.
      mixing: phi.
      opt_state: of Adam on phi.
      last: the episodes of the update before, from which Delta is estimated.
    """

    logits: Array
    mixing: Mixing
    opt_state: Any
    last: Episodes


def naive(shape: tuple[int, ...], gamma: float | Array, heuristic: float | Array = 1.0) -> Mixing:
    """`r + heuristic`, where alignment starts; with `heuristic=0` the task's own reward."""
    gamma = jnp.asarray(gamma, jnp.float32)
    one = jnp.ones(shape, jnp.float32)
    return Mixing(0.0 * one, one, heuristic * one, jnp.log(gamma) - jnp.log1p(-gamma))


def reward(mixing: Mixing, task: Task) -> Array:
    """r_phi, `[S, A]`."""
    own = task.mdp.expected_reward()
    return mixing.bias + mixing.primary * own + mixing.heuristic * task.heuristic


def discount(mixing: Mixing) -> Array:
    """gamma_phi, in (0, 1)."""
    return jax.nn.sigmoid(mixing.discount)


# ---- on a known MDP ---------------------------------------------------------------------


def inner(settings: Settings, task: Task, mixing: Mixing, logits: Array) -> Array:
    """What the policy maximises: its return of r_phi, less `regular |theta|^2 / 2`."""
    policy = jax.nn.softmax(logits)
    visits = planning.occupancy(task.mdp, policy, discount(mixing))
    found = (visits * reward(mixing, task)).sum()
    return found - 0.5 * settings.regular * (logits**2).sum()


def outer(settings: Settings, task: Task, mixing: Mixing, logits: Array) -> Array:
    """What phi is judged by: the policy's return in the task, less the price of gamma_phi."""
    policy = jax.nn.softmax(logits)
    visits = planning.occupancy(task.mdp, policy, settings.gamma)
    found = (visits * task.mdp.expected_reward()).sum()
    return found - settings.price * discount(mixing)


def gradient(settings: Settings, task: Task, mixing: Mixing, logits: Array) -> Mixing:
    """`d outer / d phi` through the inner optimum, which `logits` must be at."""
    return hypergradient(
        lambda mixing, logits: outer(settings, task, mixing, logits),
        lambda mixing, logits: inner(settings, task, mixing, logits),
        mixing,
        logits,
        **_solver(settings),
    )


def _solver(settings: Settings) -> dict[str, Any]:
    """Both problems are maximised: damping must make the Hessian more negative."""
    return {
        "solver": settings.solver,
        "iterations": settings.iterations,
        "damping": -jnp.asarray(settings.damping),
        "step": settings.step,
    }


# ---- from episodes ----------------------------------------------------------------------


def sampled(settings: Settings, task: Task, mixing: Mixing, logits: Array, seen: Episodes) -> Array:
    """A function of the logits whose gradient is Delta, as the episodes `[H, B]` show it.

    `mean_b sum_t log pi(a_t|s_t) (G_t - mean_b G_t) - regular |theta|^2 / 2`, with G the
    return of r_phi from step t on. That the episodes are another policy's is not corrected
    for: the paper's inner learner may be biased, and alignment takes that into account.
    """
    found = seen.live * reward(mixing, task)[seen.state, seen.action]
    score = _score(logits, seen, returns(found, discount(mixing)))
    return score - 0.5 * settings.regular * (logits**2).sum()


def judged(settings: Settings, task: Task, mixing: Mixing, logits: Array, seen: Episodes) -> Array:
    """A function whose gradient is that of `outer`, from episodes of this very policy."""
    score = _score(logits, seen, returns(seen.of(task.mdp.reward), settings.gamma))
    return score - settings.price * discount(mixing)


def _score(logits: Array, seen: Episodes, gain: Array) -> Array:
    alive = jnp.maximum(seen.live.sum(1, keepdims=True), 1.0)
    better = gain - (seen.live * gain).sum(1, keepdims=True) / alive
    chosen = jax.nn.log_softmax(logits)[seen.state, seen.action]
    return (seen.live * chosen * better).sum() / seen.state.shape[1]


def start(settings: Settings, task: Task, mixing: Mixing, key: Array) -> State:
    """A uniform policy, and its first episodes."""
    logits = jnp.zeros(task.heuristic.shape)
    seen = play(key, task.mdp, jax.nn.softmax(logits), settings.horizon, settings.episodes)
    params: Any = mixing
    return State(logits, mixing, optax.adam(settings.outer_rate).init(params), seen)


def update(settings: Settings, task: Task, state: State, key: Array) -> State:
    """Plays, aligns phi, and takes a step of the policy on r_phi.

    The new episodes judge phi, those of the update before say how the policy follows it:
    alignment costs no episode.
    """
    policy = jax.nn.softmax(state.logits)
    seen = play(key, task.mdp, policy, settings.horizon, settings.episodes)
    mixing: Any = state.mixing
    opt_state = state.opt_state
    if settings.align:
        slope = hypergradient(
            lambda mixing, logits: judged(settings, task, mixing, logits, seen),
            lambda mixing, logits: sampled(settings, task, mixing, logits, state.last),
            mixing,
            state.logits,
            **_solver(settings),
        )
        change, opt_state = optax.adam(settings.outer_rate).update(
            jax.tree.map(jnp.negative, slope), opt_state, mixing
        )
        mixing = optax.apply_updates(mixing, change)
    push = jax.grad(sampled, argnums=3)(settings, task, mixing, state.logits, seen)
    return State(state.logits + settings.rate * push, mixing, opt_state, seen)
