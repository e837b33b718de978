"""Corrupted data: random and adversarial, in observations, actions, rewards, dynamics.

The protocol of Yang et al. (ICLR 2024, arXiv:2310.12955) and of its public program.
Each step is chosen by itself with probability `rate`; `scale` is in standard
deviations of the field, taken in each dimension over all N steps. A dimension that
never varies is never changed, actions are not clipped, and all that is not named
stays as it is, bit by bit: the successor of one step, `next_obs`, is corrupted apart
from the observation of the next. Flags are never touched.

Everything is pure, and `vmap`s over `key`, `rate` and `scale`.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jaxrl_reward.checks import check_choice, check_number
from jaxrl_reward.data.dataset import Dataset
from jaxrl_reward.intervals import Interval
from jaxrl_reward.types import Array, Transition, UserError

KINDS = ("random", "adversarial")
FIELDS = ("obs", "action", "reward", "dynamics")
MIXED = "mixed"
REWARD_RANGE = 30.0  # of random rewards, per unit of scale
RELATIVE_RANGE = 7.0  # our convention where D4RL's rewards are no measure, times mean |r|
ATTACK_STEPS, ATTACK_RATE = 100, 0.01  # of the box's half-width a step
CHUNK = 4096  # steps attacked at once
_LEAVES = {"obs": "obs", "action": "action", "dynamics": "next_obs"}


class Attacker(NamedTuple):
    """What adversarial corruption makes look bad.

    Attributes:
      value: `value(obs[B, ...], action[B, ...]) -> [B]`: the mean over critics
        trained on the clean data, of observations as they are stored.
      policy: `policy(obs[B, ...]) -> action[B, ...]`, deterministic; attacks on the
        dynamics look through it.
    """

    value: Callable[[Array, Array], Array]
    policy: Callable[[Array], Array]


def corrupt(
    dataset: Dataset,
    key: Array,
    kind: str = "random",
    field: str = "dynamics",
    rate: Any = 0.3,
    scale: Any = 1.0,
    attacker: Attacker | None = None,
    reward_range: Any = REWARD_RANGE,
    chunk: int = CHUNK,
) -> Dataset:
    """The data with a share of its steps corrupted.

    Args:
      dataset: clean, or corrupted in another field.
      key: decides which steps, and how.
      kind: `random`, or `adversarial`: what `attacker` then values least.
      field: `obs`, `action`, `reward`, `dynamics` (`next_obs`), or `mixed`, one
        after the other in this order, each with its own steps.
      rate: the probability that a step is corrupted; where it is a number that is
        known when this is traced, an attack computes only about that many steps.
      scale: how far, in standard deviations of the field.
      attacker: needed by adversarial attacks, but for the one on rewards.
      reward_range: a random reward is drawn from `reward_range * scale * [-1, 1]`;
        see `relative_range`.
      chunk: steps that an attack takes at once: memory.

    Raises:
      UserError: an unknown kind or field, a rate or scale out of range, no
        attacker, or a field that is not of real numbers.
    """
    check_choice("corruption", "kind", kind, KINDS)
    check_choice("corruption", "field", field, (*FIELDS, MIXED))
    check_number("corruption", "rate", rate, Interval(0.0, 1.0))
    check_number("corruption", "scale", scale, Interval(0.0))
    check_number("corruption", "reward_range", reward_range, Interval(0.0))
    check_number("corruption", "chunk", chunk, Interval(1, whole=True))
    fields = FIELDS if field == MIXED else (field,)
    keys = jax.random.split(key, len(FIELDS)) if field == MIXED else [key]
    steps = dataset.steps
    for each, own in zip(fields, keys, strict=True):
        _check_field(steps, each)
        if kind == "random":
            steps = randomize(steps, own, each, rate, scale, reward_range)
        else:
            steps = attack(steps, own, each, rate, scale, attacker, chunk)
    words = f"{dataset.provenance.corruption}, {kind} {field}".removeprefix(", ")
    return dataset.replace(steps=steps).replace_provenance(corruption=words, checksum="")


def chosen(key: Array, rate: Any, count: int) -> Array:
    """Which of `count` steps a corruption of ONE field with this key changes, `[N]` bool."""
    return jax.random.bernoulli(jax.random.split(key)[0], rate, (count,))


def relative_range(steps: Transition) -> Array:
    """Seven times the mean absolute reward: a range for rewards of another size than D4RL's."""
    return RELATIVE_RANGE * jnp.abs(steps.env_reward).mean()


def spread(x: Array) -> Array:
    """The standard deviation of `[N, ...]` over its rows, 0 exactly where all are the same."""
    varies = x.max(0) > x.min(0)
    return jnp.where(varies, x.std(0), 0.0)


# ---- random ------------------------------------------------------------------------


@partial(jax.jit, static_argnames="field")
def randomize(
    steps: Transition,
    key: Array,
    field: str,
    rate: Any,
    scale: Any,
    reward_range: Any = REWARD_RANGE,
) -> Transition:
    """`x + u * std(x)` with u uniform within `scale`, or a reward drawn anew."""
    mask = chosen(key, rate, steps.env_reward.shape[0])
    key_noise = jax.random.split(key)[1]
    if field == "reward":
        noise = jax.random.uniform(key_noise, mask.shape, minval=-1.0, maxval=1.0)
        return _with_reward(steps, mask, reward_range * scale * noise)
    x = getattr(steps, _LEAVES[field])
    noise = scale * jax.random.uniform(key_noise, x.shape, x.dtype, minval=-1.0, maxval=1.0)
    return steps.replace(**{_LEAVES[field]: _where(mask, move(x, noise), x)})


def move(x: Array, z: Array, std: Array | None = None) -> Array:
    """`x + z * std`: z in standard deviations of `x [N, ...]`, or of those given."""
    std = spread(x) if std is None else std
    return x + z * jnp.broadcast_to(std, x.shape)


# ---- adversarial -------------------------------------------------------------------


def attack(
    steps: Transition,
    key: Array,
    field: str,
    rate: Any,
    scale: Any,
    attacker: Attacker | None = None,
    chunk: int = CHUNK,
) -> Transition:
    """The point within `scale` standard deviations that the attacker values least.

    Found by `descend` from a uniform start. On rewards: `-scale * r`.
    """
    steps = jax.tree.map(jnp.asarray, steps)  # of the host
    count = steps.env_reward.shape[0]
    mask, key_start = chosen(key, rate, count), jax.random.split(key)[1]
    if field == "reward":
        return _with_reward(steps, mask, -scale * steps.env_reward)
    if attacker is None:
        raise UserError(f"an adversarial corruption of {field} needs an attacker; give one")
    x = getattr(steps, _LEAVES[field])
    std, given = spread(x), (x, steps.obs, steps.action)
    # Only what was chosen is computed, where it is known how much that can be.
    room = _room(rate, count)
    chunk = min(chunk, room)
    rows = jnp.nonzero(mask, size=room, fill_value=count)[0]
    parts = -(-room // chunk)
    rows = jnp.concatenate([rows, jnp.full(parts * chunk - room, count)])

    def one(part: tuple[Array, Array]) -> Array:
        index, key = part
        here, obs, action = (jnp.take(v, index, axis=0, mode="clip") for v in given)

        def objective(z: Array) -> Array:
            moved = move(here, z, std)
            if field == "obs":
                return attacker.value(moved, action)
            if field == "action":
                return attacker.value(obs, moved)
            return attacker.value(moved, attacker.policy(moved))

        start = scale * jax.random.uniform(key, here.shape, here.dtype, minval=-1.0, maxval=1.0)
        return move(here, descend(objective, start, scale), std)

    keys = jax.random.split(key_start, parts)
    found = jax.lax.map(one, (rows.reshape(parts, chunk), keys))
    attacked = x.at[rows].set(found.reshape(parts * chunk, *x.shape[1:]), mode="drop")
    return steps.replace(**{_LEAVES[field]: attacked})


def descend(objective: Callable[[Array], Array], z: Array, scale: Any) -> Array:
    """Steps by the gradient's signs, kept in the box: `z - 0.01 scale g / (|g| + 1e-8)`.

    What an Adam that is new at every step does, as in the public program.

    Args:
      objective: from `[B, ...]` to `[B]`, each of its row alone.
      z: where to start, `[B, ...]`.
      scale: the box's half-width.
    """
    gradient = jax.grad(lambda z: objective(z).sum())

    def step(_: Any, z: Array) -> Array:
        g = gradient(z)
        return jnp.clip(z - ATTACK_RATE * scale * g / (jnp.abs(g) + 1e-8), -scale, scale)

    return jax.lax.fori_loop(0, ATTACK_STEPS, step, z)


def _room(rate: Any, count: int) -> int:
    """How many of `count` steps can be chosen: all but one time in 10^9, if `rate` is known."""
    if isinstance(rate, Tracer) or jnp.ndim(rate):
        return count
    rate = float(rate)
    return min(count, math.ceil(rate * count + 6 * math.sqrt(rate * (1 - rate) * count)) + 1)


# ---- shared ------------------------------------------------------------------------


def _where(mask: Array, new: Array, old: Array) -> Array:
    return jnp.where(mask.reshape(mask.shape + (1,) * (old.ndim - 1)), new, old)


def _with_reward(steps: Transition, mask: Array, new: Array) -> Transition:
    reward = jnp.where(mask, new, steps.env_reward)
    return steps.replace(reward=reward, env_reward=reward)


def _check_field(steps: Transition, field: str) -> None:
    if field == "reward":
        return
    dtype = getattr(steps, _LEAVES[field]).dtype
    if not jnp.issubdtype(dtype, jnp.floating):
        name = _LEAVES[field]
        raise UserError(f"corruption of {field} needs {name} of real numbers, not {dtype}")
