"""How different two rewards are where nothing is known but samples: STARC and EPIC.

Canonical forms are estimated under the distribution of the samples, with potentials
that are linear in features of the observation: shaping by one that they cannot express
is removed in part. Where successors are random, several are drawn for each state and
action, so that S'-redistribution averages out. All estimates are of the samples'
states: what they do not visit does not count.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl_reward import rewards as rw
from jaxrl_reward import rounding
from jaxrl_reward.envs.bounds import random_action
from jaxrl_reward.envs.registry import Env
from jaxrl_reward.envs.vector import VectorState, vectorize
from jaxrl_reward.envs.vector import step as step_one
from jaxrl_reward.rewards.core.tabulate import remembers
from jaxrl_reward.types import Array, Transition, UserError


class Features(struct.PyTreeNode):
    """Of an observation: itself, standardised, a constant, and random cosines.

    Attributes:
      mean: of the samples, `[F]`.
      scale: 1 over their spread, 0 where there is none, `[F]`.
      frequency: `[F, n]`.
      phase: `[n]`.
    """

    mean: Array
    scale: Array
    frequency: Array
    phase: Array

    def __call__(self, obs: Array) -> Array:
        """`[B, 1 + F + n]` from `[B, F]`."""
        at = (obs - self.mean[None]) * self.scale[None]
        waves = jnp.cos(at @ self.frequency + self.phase[None])
        return jnp.concatenate([jnp.ones_like(at[..., :1]), at, waves], -1)


def collect(
    env: Env, key: Array, steps: int, *, num_envs: int = 16, successors: int = 4
) -> Transition:
    """Steps of random actions, each with several successors drawn anew.

    Args:
      env: one environment.
      key: a typed key.
      steps: of each of the environments, T.
      num_envs: side by side, N; episodes follow one another.
      successors: how many are drawn, M; the first one is where the episode goes on.

    Returns:
      Leaves `[T, N, M, ...]`.
    """
    vector = vectorize(env, num_envs)
    key_init, key_steps = jax.random.split(key)

    def draw(keys: Array, env_state: object, obs: Array, first: Array, action: Array) -> Transition:
        each = lambda one: step_one(env, one, env_state, obs, first, action)[1]  # noqa: E731
        return jax.vmap(each)(keys)

    def step(state: VectorState, key: Array) -> tuple[VectorState, Transition]:
        key_action, key_step = jax.random.split(key)
        action = jax.vmap(partial(random_action, env.action_space))(
            jax.random.split(key_action, num_envs)
        )
        keys = jax.random.split(key_step, (num_envs, successors))
        drawn = jax.vmap(draw)(keys, state.env_state, state.obs, state.first, action)
        return vector.step(state, keys[:, 0], action)[0], drawn

    return jax.lax.scan(step, vector.init(key_init), jax.random.split(key_steps, steps))[1]


def pay(reward: rw.RewardTransform, samples: Transition) -> Array:
    """What an expression pays for each sample, in the shape of `samples.env_reward`.

    A learned term is read as it is before it has learned.

    Raises:
      UserError: the expression remembers, or pays several rewards.
    """
    refuse_memory(reward)
    shape = samples.env_reward.shape
    # [1, B]: one step of B environments.
    block = jax.tree.map(lambda x: x.reshape(1, -1, *x.shape[len(shape) :]), samples)
    paid = reward.apply(reward.init(jax.random.key(0), block), block).reward
    if paid.ndim > 2:
        raise UserError(f"{reward} pays {paid.shape[-1]} rewards; end it with weighted_sum(...)")
    return paid.reshape(shape)


def refuse_memory(reward: rw.RewardTransform) -> None:
    """Raises a `UserError` if one step does not tell what an expression pays."""
    needs = remembers(reward)
    if needs is not None:
        raise UserError(
            f"{needs} depends on more than one step; compare rewards of single transitions"
        )


def features(key: Array, samples: Transition, count: int = 200) -> Features:
    """Features that fit the samples' observations; three scales of cosines."""
    obs = _flat(samples.obs, samples)
    spread, varies = obs.std(0), rounding.varies(obs, axis=0)
    key_frequency, key_phase = jax.random.split(key)
    size = obs.shape[-1]
    length = jnp.sqrt(1.0 * size) * jnp.array([0.5, 1.0, 2.0])[jnp.arange(count) % 3]
    return Features(
        mean=obs.mean(0),
        scale=jnp.where(varies, 1 / jnp.where(varies, spread, 1.0), 0.0),
        frequency=jax.random.normal(key_frequency, (size, count), obs.dtype) / length[None],
        phase=jax.random.uniform(key_phase, (count,), obs.dtype, 0, 2 * jnp.pi),
    )


def minimal(
    samples: Transition, paid: Array, gamma: Array | float, basis: Features, ridge: float = 1e-8
) -> Array:
    """`canonical.minimal` under the samples' distribution, `[B]`, a value for each (s, a).

    Least squares over potentials; nothing follows a termination.

    Args:
      samples: leaves `[..., M, ...]`, M successors of each state and action.
      paid: `[..., M]`.
      gamma: the discount.
      basis: what potentials are linear in.
      ridge: on their weights, as a share of the features' size.
    """
    slope, mean = _slope(samples, gamma, basis), _mean(paid)
    gram = slope.T @ slope
    damp = ridge * jnp.trace(gram) / len(gram) * jnp.eye(len(gram), dtype=gram.dtype)
    return mean - slope @ jnp.linalg.solve(gram + damp, slope.T @ mean)


def val(
    samples: Transition, paid: Array, gamma: Array | float, basis: Features, ridge: float = 1e-8
) -> Array:
    """`canonical.val` of random actions, `[B]`, with values from LSTD (Bradtke and Barto 1996).

    Arguments as for `minimal`.
    """
    slope, mean = _slope(samples, gamma, basis), _mean(paid)
    before = basis(_flat(samples.obs, samples)[:: samples.env_reward.shape[-1]])
    matrix = before.T @ -slope
    damp = ridge * jnp.trace(matrix) / len(matrix) * jnp.eye(len(matrix), dtype=matrix.dtype)
    return mean + slope @ jnp.linalg.solve(matrix + damp, before.T @ mean)


def epic(
    reward: rw.RewardTransform,
    samples: Transition,
    gamma: Array | float,
    key: Array,
    *,
    draws: int = 64,
) -> Array:
    """`canonical.epic` on the samples' first successors, `[B]`.

    S and S' are drawn from their observations and A from their actions, independently
    (Gleave et al. 2021, appendix on the sample-based approximation). So the reward is
    asked about transitions that never happened, of which the environment's reward is
    not known: the result is NaN where an expression needs it.
    """
    rows = first_successors(samples)
    count = len(rows.env_reward)
    key_after, key_action = jax.random.split(key)
    after = rows.next_obs[jax.random.randint(key_after, (draws,), 0, count)]
    action = rows.action[jax.random.randint(key_action, (draws,), 0, count)]

    def mean(obs: Array) -> Array:
        """`E[R(s, A, S')]` of each observation, `[B]`."""
        many = jax.tree.map(lambda x: jnp.repeat(x, draws, 0), rows)
        unknown = jnp.full(count * draws, jnp.nan, rows.env_reward.dtype)
        asked = many.replace(
            obs=jnp.repeat(obs, draws, 0),
            action=jnp.tile(action, (count, *(1,) * (action.ndim - 1))),
            next_obs=jnp.tile(after, (count, *(1,) * (after.ndim - 1))),
            env_reward=unknown,
            reward=unknown,
            first=jnp.zeros(count * draws, bool),
            terminated=jnp.zeros(count * draws, bool),
            truncated=jnp.zeros(count * draws, bool),
        )
        return pay(reward, asked).reshape(count, draws).mean(1)

    here, next_ = mean(rows.obs), mean(rows.next_obs)
    next_ = jnp.where(rows.terminated, 0.0, next_)
    return pay(reward, rows) + gamma * next_ - here - gamma * here.mean()


def first_successors(samples: Transition) -> Transition:
    """The steps of the episodes themselves, leaves `[B, ...]`."""
    axis = samples.env_reward.ndim - 1
    return jax.tree.map(
        lambda x: jnp.take(x, 0, axis=axis).reshape(-1, *x.shape[axis + 1 :]), samples
    )


def distance(first: Array, second: Array, *, centred: bool = False) -> Array:
    """Half the l2 distance of two canonical rewards `[B]`, each at norm 1; 0 to 1.

    What random successors leave of noise in the means counts as content.
    With `centred`, which EPIC takes, Pearson's distance.
    """
    scaled = []
    for each in (first, second):
        whole = jnp.sqrt((each**2).sum())
        each = each - each.mean() if centred else each
        length = jnp.sqrt((each**2).sum())
        nothing = length <= rounding.ulps(whole)  # what is not known stays NaN
        scaled.append(jnp.where(nothing, 0.0, each / jnp.where(nothing, 1.0, length)))
    return jnp.sqrt(((scaled[0] - scaled[1]) ** 2).sum()) / 2


def _flat(leaf: Array, samples: Transition) -> Array:
    """`[B M, F]`."""
    return leaf.reshape(samples.env_reward.size, -1)


def _mean(paid: Array) -> Array:
    return paid.mean(-1).reshape(-1)


def _slope(samples: Transition, gamma: Array | float, basis: Callable[[Array], Array]) -> Array:
    """What a canonical reward gains from each feature of a potential, `[B, n]`."""
    many = samples.env_reward.shape[-1]
    after = basis(_flat(samples.next_obs, samples))
    after = jnp.where(samples.terminated.reshape(-1, 1), 0.0, after)
    after = after.reshape(-1, many, after.shape[-1]).mean(1)
    return gamma * after - basis(_flat(samples.obs, samples)[::many])
