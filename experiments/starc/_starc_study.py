"""Of the experiment `starc`: random worlds, pairs of rewards, their distances and regrets.

The worlds are those of STARC's published code: 32 states, 4 actions, a discount of
0.95, about a sixth of the transitions possible; two random rewards, sometimes sparse,
scaled, moved or shaped, and rewards on the line from the first to the second. What is
different: impossible transitions have probability 0 there only up to rounding, and
regrets are computed exactly instead of from rollouts.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.tabular.comparing import canonical, regret
from jaxrl_reward.tabular.comparing import reward_distance as distances
from jaxrl_reward.tabular.types import Dynamics
from jaxrl_reward.training.experiments.experiment import Arm, Measured, Preset
from jaxrl_reward.types import Array


class Form(NamedTuple):
    """A metric: a canonical form, and the norm that it is divided by and measured with."""

    canonical: Callable[[Dynamics, Array], Array]
    norm: str = "l2"
    weights: Callable[[Dynamics], Array] | None = None


def possible(dynamics: Dynamics) -> Array:
    """Transitions that happen, by their probability after a uniform state and action."""
    return dynamics.transition


def dard(dynamics: Dynamics, reward: Array) -> Array:
    """Less its mean where transitions happen: then the distance is Pearson's."""
    found = canonical.dard(dynamics, reward)
    return found - (dynamics.transition * found).sum() / dynamics.transition.sum()


def minimal_possible(dynamics: Dynamics, reward: Array) -> Array:
    """The smallest reward where transitions happen."""
    return canonical.minimal(dynamics, reward, dynamics.transition)


FORMS = {
    "no canonical form": Form(canonical.identity),
    "EPIC": Form(canonical.epic),
    "EPIC, possible": Form(canonical.epic, weights=possible),
    "DARD": Form(dard, weights=possible),
    "DARD, all": Form(canonical.dard),
    "VALPotential": Form(canonical.val_potential),
    "VALPotential, possible": Form(canonical.val_potential, weights=possible),
    "VAL": Form(canonical.val),
    "VAL, l1": Form(canonical.val, "l1"),
    "VAL, linf": Form(canonical.val, "linf"),
    "VAL, visited": Form(canonical.val, weights=distances.coverage),
    "minimal": Form(canonical.minimal),
    "minimal, possible": Form(minimal_possible, weights=possible),
}
STARC = tuple(name for name in FORMS if name.startswith(("VAL", "minimal")) and "Pot" not in name)
ORDERS = ("policy order", "rollout order")
ARMS = (*FORMS, *ORDERS)
BOUNDED = ("VAL", "VAL, l1", "VAL, linf", "VAL, visited")  # with a constant that is known

# What is done to a reward that leaves the task, and what then turns it round.
CHANGES = ("scaled", "shaped", "redistributed", "opposite")


# ---- worlds and rewards ---------------------------------------------------------------


def random_world(key: Array, states: int, actions: int, gamma: float) -> Dynamics:
    """Normal logits, of which those below 1 are impossible; but the largest is left."""
    logits = jax.random.normal(key, (states, actions, states))
    keep = (logits > 1.0) | (logits == logits.max(-1, keepdims=True))
    transition = jax.nn.softmax(jnp.where(keep, logits, -jnp.inf), -1)
    return Dynamics(transition, jnp.full(states, 1.0 / states), gamma)


def random_reward(key: Array, dynamics: Dynamics) -> Array:
    """Normal; sparse with probability 0.2, scaled 0.7, moved 0.3, shaped 0.5."""
    keys = jax.random.split(key, 6)
    shape = dynamics.transition.shape
    chances = jnp.array([0.2, 0.7, 0.3, 0.5])
    use = jax.random.uniform(keys[0], (4,)) < chances
    sparse, scaled, moved, shaped = use[0], use[1], use[2], use[3]
    size = jax.random.uniform(keys[1], (4,))
    reward = jax.random.normal(keys[2], shape)
    reward = jnp.where(~sparse | (reward >= 3.0), reward, 0.0)
    reward = jnp.where(scaled, 10 * size[0] * reward, reward)
    reward = jnp.where(moved, reward + 10 * size[1], reward)
    potential = 10 * size[2] * jax.random.normal(keys[3], shape[:1]) + size[3]
    return jnp.where(shaped, canonical.shaped(dynamics, reward, potential), reward)


def changed(key: Array, dynamics: Dynamics, reward: Array) -> Array:
    """The reward after each of `CHANGES`, `[4, S, A, S']`; the last after all, and negated."""
    keys = jax.random.split(key, 3)
    shape = reward.shape
    factor = jnp.exp(jax.random.normal(keys[0]))
    potential = 10 * jax.random.normal(keys[1], shape[:1])
    change = jax.random.normal(keys[2], shape) * jnp.abs(reward).max()
    shaped = canonical.shaped(dynamics, reward, potential)
    everything = factor * canonical.redistributed(dynamics, shaped, change)
    moved = canonical.redistributed(dynamics, reward, change)
    return jnp.stack([factor * reward, shaped, moved, -everything])


def hidden(key: Array, dynamics: Dynamics, reward: Array) -> Array:
    """Two rewards that are opposite where transitions happen, and large and equal elsewhere."""
    noise = 100 * jnp.abs(reward).max() * jax.random.normal(key, reward.shape)
    own: Array = canonical.val(dynamics, reward)
    return jnp.stack([jnp.where(dynamics.possible, each, noise) for each in (own, -own)])


# ---- one world ------------------------------------------------------------------------


class Sizes(NamedTuple):
    """How much of it."""

    states: int = 32
    actions: int = 4
    gamma: float = 0.95
    steps: int = 8  # rewards on the line
    policies: int = 64
    rollouts: int = 64
    length: int = 60


def world(key: Array, sizes: Sizes) -> dict[str, Any]:
    """One world and one pair of rewards: all distances and regrets along the line."""
    keys = jax.random.split(key, 8)
    dynamics = random_world(keys[0], sizes.states, sizes.actions, sizes.gamma)
    first, second = (random_reward(each, dynamics) for each in keys[1:3])
    share = jnp.arange(1, sizes.steps + 1)[:, None, None, None] / sizes.steps
    line = first[None] + share * (second - first)[None]
    others = jnp.concatenate([line, changed(keys[3], dynamics, first)])
    secret = hidden(keys[4], dynamics, first)
    found = {
        name: _distances(dynamics, form, first, others, secret) for name, form in FORMS.items()
    }
    policies = distances.random_policies(keys[5], dynamics, sizes.policies)
    rollouts = distances.random_rollouts(keys[6], dynamics, sizes.rollouts, sizes.length)
    orders = (
        lambda x, y: distances.policy_order(dynamics, x, y, policies),
        lambda x, y: distances.rollout_order(x, y, rollouts, sizes.gamma),
    )
    for name, order in zip(ORDERS, orders, strict=True):
        found[name] = jax.vmap(order)(
            jnp.concatenate([jnp.broadcast_to(first, others.shape), secret[:1]]),
            jnp.concatenate([others, secret[1:]]),
        )
    return {"distance": found, **_regrets(dynamics, first, line, found)}


def _distances(dynamics: Dynamics, form: Form, first: Array, others: Array, secret: Array) -> Array:
    """From the first reward to each of the others, and between the two of a secret, `[B + 1]`."""
    weights = None if form.weights is None else form.weights(dynamics)
    stand = partial(
        distances.standardise, canonical=form.canonical, norm=form.norm, weights=weights
    )
    scaled = jax.vmap(lambda reward: stand(dynamics, reward))(
        jnp.concatenate([first[None], others, secret])
    )
    apart = jnp.concatenate([scaled[1:-2] - scaled[:1], scaled[-1:] - scaled[-2:-1]])
    return jax.vmap(lambda x: distances.size(x, form.norm, weights))(apart) / 2


def _regrets(
    dynamics: Dynamics, first: Array, line: Array, found: Mapping[str, Array]
) -> dict[str, Any]:
    """Regrets of the pairs on the line, and by how much the worst is above its bound.

    Both rewards count in turn, and the two losses are averaged, as distances are
    symmetric.
    """
    mean, means = dynamics.level(first), jax.vmap(dynamics.level)(line)
    same = jnp.broadcast_to(mean[None], means.shape)
    pairs = jnp.concatenate([same, means]), jnp.concatenate([means, same])
    worst = jax.vmap(partial(regret.worst_case, dynamics))(*pairs)
    optimum = jax.vmap(partial(regret.of_optimum, dynamics))(*pairs)
    halves = worst.regret.reshape(2, -1)
    ranges = worst.range.reshape(2, -1)  # of the first reward, and of those on the line
    tables = jnp.stack([jnp.broadcast_to(first[None], line.shape), line])
    indifferent = ranges <= 1e-9 * jnp.abs(tables).max((2, 3, 4))
    excess = {}
    for name in BOUNDED:
        form = FORMS[name]
        weights = None if form.weights is None else form.weights(dynamics)
        own = form.canonical(dynamics, first)
        most = regret.bound(dynamics, own, worst.range[0], form.norm, weights)
        # A reward that values all policies alike has no regret, and no bound.
        over = halves[0] - most * found[name][: len(line)]
        excess[name] = over.max(initial=-1.0, where=jnp.isfinite(over))
    return {
        "regret": halves.mean(0),
        "optimum": optimum.reshape(2, -1).mean(0),
        # A sparse reward may pay only where nothing happens: it has no opposite.
        "indifferent": indifferent[0, 0],
        "tasks": ~indifferent.any(0),
        "gap": worst.gap.max(),
        "excess": excess,
    }


# ---- all of them ----------------------------------------------------------------------


@partial(jax.jit, static_argnames="sizes")
def chunk(keys: Array, sizes: Sizes) -> dict[str, Any]:
    """Several worlds, one after another: `[C, ...]` of what `world` gives."""
    return jax.lax.map(partial(world, sizes=sizes), keys)


def measure(
    arms: Sequence[Arm], preset: Preset, keys: Array, tick: Callable[[int, int], None]
) -> dict[str, Measured]:
    """Every metric's rank correlation with regret, over `total_steps` worlds for each seed."""
    sizes, worlds = Sizes(**preset.config), preset.total_steps
    parts = []
    with jax.enable_x64(True):  # shaping is to cancel to 1e-5, at any scale
        for i, key in enumerate(keys):
            tick(i, len(keys))
            parts.append(jax.device_get(chunk(jax.random.split(key, worlds), sizes)))
    tick(len(keys), len(keys))
    found = jax.tree.map(lambda *x: np.stack(x), *parts)  # [seeds, worlds, ...]
    return {arm.name: _measured(arm.name, found, sizes.steps) for arm in arms}


def _measured(name: str, found: Mapping[str, Any], steps: int) -> Measured:
    """Distances and regrets of all pairs in turn; the rest at the last of them."""
    every = np.asarray(found["distance"][name])
    pairs = every[..., :steps].reshape(len(every), -1)
    losses = {kind: np.asarray(found[kind]).reshape(pairs.shape) for kind in ("regret", "optimum")}
    tasks = np.asarray(found["tasks"]).reshape(pairs.shape)
    last = {
        "correlation": _spearman(pairs, losses["regret"]),
        "correlation of optima": _spearman(pairs, losses["optimum"]),
        "correlation of tasks": _spearman(pairs, losses["regret"], tasks),
        "hidden": every[..., -1].max(1),
        "gap": found["gap"].max(1),
    }
    for i, change in enumerate(CHANGES):
        to = every[..., steps + i]
        if change == "opposite":
            last[change] = np.where(found["indifferent"], 1.0, to).min(1)
        else:
            last[change] = to.max(1)
    if name in found["excess"]:
        last["excess"] = found["excess"][name].max(1)
    values = {"distance": pairs, **losses}
    for metric, each in last.items():
        values[metric] = np.full(pairs.shape, np.nan)
        values[metric][:, -1] = each
    return Measured(values, range(1, pairs.shape[1] + 1))


def _spearman(x: np.ndarray, y: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """Of each row, `[S]`, where told; ties share their mean rank."""
    from scipy.stats import spearmanr

    where = np.ones(x.shape, bool) if where is None else where
    rows = zip(x, y, where, strict=True)
    return np.array([spearmanr(a[kept], b[kept])[0] for a, b, kept in rows])
