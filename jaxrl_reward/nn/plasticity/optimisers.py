"""Optax transformations for learning that does not stop: kept norms, and suppressed steps."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrl_reward.types import Array, UserError


class Norms(NamedTuple):
    """The norm of each leaf as training began."""

    norms: Any


def project_norms() -> optax.GradientTransformation:
    """After each step `W <- W |W0| / |W|`, of each leaf with two axes or more.

    Where layers are normalised, the scale of W changes nothing but the effective rate
    `eta / |W|^2`, which would fall as W grows (Lyle et al. 2024, "Normalization and effective
    learning rates in reinforcement learning"). Last in a chain; its update needs the parameters.
    """

    def init_fn(params: Any) -> Norms:
        return Norms(jax.tree.map(jnp.linalg.norm, jax.tree.map(jnp.ravel, params)))

    def update_fn(updates: Any, state: Any, params: Any = None) -> tuple[Any, Norms]:
        if params is None:
            raise UserError("project_norms needs the parameters: update(updates, state, params)")

        def project(update: Array, weight: Array, norm: Array) -> Any:
            if weight.ndim < 2:
                return update
            moved = weight + update
            now: Any = jnp.linalg.norm(moved.ravel())
            return moved * jnp.where(now > 0, norm / jnp.maximum(now, 1e-30), 1.0) - weight

        return jax.tree.map(project, updates, params, state.norms), state

    return optax.GradientTransformation(init_fn, update_fn)


class Sums(NamedTuple):
    """S of each weight."""

    sums: Any


def classp(
    learning_rate: Any, threshold: Any = 0.5, power: Any = 1.0, eps: Any = 1e-5
) -> optax.GradientTransformation:
    """Where `g^2 > tau`: `S += |g|^p`, `w -= eta g / (eps + S)^(1/p)`; else nothing moves.

    Ludwig 2024, "CLASSP", element by element as in its pseudo-code. The threshold is on the
    square of the gradient, so it is `sqrt(tau)` on its size.

    Args:
      learning_rate: eta.
      threshold: tau; of losses of reinforcement learning a quantile of `g^2`.
      power: p; 2 without a threshold is AdaGrad.
      eps: inside the root.
    """

    def init_fn(params: Any) -> Sums:
        return Sums(jax.tree.map(jnp.zeros_like, params))

    def update_fn(updates: Any, state: Any, params: Any = None) -> tuple[Any, Sums]:
        del params
        sums = jax.tree.map(
            lambda g, s: jnp.where(g**2 > threshold, s + jnp.abs(g) ** power, s),
            updates,
            state.sums,
        )

        def step(g: Array, s: Array) -> Any:
            return jnp.where(g**2 > threshold, -learning_rate * g / (eps + s) ** (1 / power), 0.0)

        return jax.tree.map(step, updates, sums), Sums(sums)

    return optax.GradientTransformation(init_fn, update_fn)
