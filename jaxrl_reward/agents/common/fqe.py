"""Fitted-Q evaluation (Le, Voloshin and Yue 2019, arXiv:1903.08738): a policy's value from data.

Regression of Q on `r + gamma Q_slow(s', pi(s'))` over the data's steps, with the policy held
fixed; its value is the mean of Q where episodes begin. Nothing is played, and so the number
is only as good as the data: where the policy leaves them Q is extrapolated, most often
upwards; a network that is not done fitting (`fqe/td_error`) is off as well; and there is no
interval. It ranks policies that stay near the data, and proves none of them.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrl_reward.agents.common import actions
from jaxrl_reward.envs import spaces
from jaxrl_reward.nn import networks
from jaxrl_reward.types import Array

RATE = 1e-3  # Adam's, falling to 0 along a cosine
FOLLOW = 0.05  # how far the slow copy follows at each step: n steps are n / 20 iterations
CHECKED = 2048  # rows that `td_error` is a mean over, at most


def network(learner: Any) -> networks.Network:
    """From inputs with a Box action behind to `[..., 1]`; of a Discrete to the values of all."""
    config, discrete = learner.config, isinstance(learner.space, spaces.Discrete)
    return learner.dense((*config.hidden, int(learner.space.n) if discrete else 1), 0.01)


def evaluate(
    learner: Any,
    params: Any,
    gamma: Array,
    rows: Any,
    starts: Array,
    checked: Any,
    key: Array,
    steps: int,
    batch: int,
) -> dict[str, Array]:
    """The value of the learner's greedy policy, on the data's own reward.

    Args:
      learner: has `greedy(params, inputs)`, `dense`, `space` and `config`, see `shells.from_data`.
      params: what it has learned.
      gamma: the discount per step.
      rows: `rows(key, size)`, of random steps `(inputs, choice, reward, weight, next_inputs)`,
        where `weight` is 0 after a termination and 1 else.
      starts: inputs of the states that episodes begin in, `[M, D]`.
      checked: steps likewise, held out if some are.
      key: for the network and the batches.
      steps: gradient steps, n.
      batch: rows of each.

    Returns:
      `fqe`, the mean value, and `fqe/td_error`, the mean absolute error of `checked`.
    """
    made = network(learner)
    discrete = isinstance(learner.space, spaces.Discrete)

    def value(q: Any, inputs: Array, choice: Array) -> Array:
        if discrete:
            return actions.chosen(made.apply(q, inputs), choice)
        return made.apply(q, jnp.concatenate([inputs, choice], axis=-1))[..., 0]

    def error(q: Any, slow: Any, found: Any) -> Array:
        inputs, choice, reward, weight, after = found
        later = value(slow, after, learner.greedy(params, after))
        target = jax.lax.stop_gradient(reward + gamma * weight * later)
        return target - value(q, inputs, choice)

    def step(carry: Any, i: Array) -> tuple[Any, None]:
        q, slow, adam = carry
        found = rows(jax.random.fold_in(key_rows, i), batch)
        gradient = jax.grad(lambda q: 0.5 * jnp.square(error(q, slow, found)).mean())(q)
        change, adam = optax.scale_by_adam().update(gradient, adam)
        rate = RATE * 0.5 * (1.0 + jnp.cos(jnp.pi * i / steps))
        q = jax.tree.map(lambda x, d: x - rate * d, q, change)
        return (q, optax.incremental_update(q, slow, FOLLOW), adam), None

    key_init, key_rows = jax.random.split(key)
    width = starts.shape[-1] + (0 if discrete else actions.size(learner.space))
    q = made.init(key_init, jnp.zeros((1, width)))
    carry = (q, q, optax.scale_by_adam().init(q))
    (q, _, _), _ = jax.lax.scan(step, carry, jnp.arange(steps))
    worth = value(q, starts, learner.greedy(params, starts))
    return {"fqe": worth.mean(), "fqe/td_error": jnp.abs(error(q, q, checked)).mean()}
