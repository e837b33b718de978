"""Of `transforms`: responses of tokens, worth something in three ways, and their judges.

The last four tokens are fillers: they are worth less than nothing, but raters like them, as some
like length, so that all judges are taught the same mistake. A judge is a network whose hidden
layer is drawn, not learnt, its torso; its head is fitted to comparisons. All scores are
standardised on the reference's responses (mean 0, deviation 1).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from jaxrl_reward import rewards as rw
from jaxrl_reward.preferences import labels, losses, overoptimization
from jaxrl_reward.training.experiments.experiment import Arm, Measured, Preset
from jaxrl_reward.types import Array

TOKENS, FILLERS, LENGTH = 24, 4, 12
LIKED = 1.0  # deviations that raters give for a filler
SKILL, LUCK = 1.0, 1.0  # how the reference's logits follow what tokens are worth, and chance
RANKED = (1.0, 0.5, 0.25)  # what the three worths count for in "ranked"
UNITS = (1.0, 20.0, 0.05)  # other units of the three
MARGINS = (0.3, 0.3, 0.3)  # of HERON's levels, in deviations
SETTINGS: Mapping[str, Any] = {
    "pairs": 400,
    "wrong": 0.2,
    "width": 64,
    "members": 5,
    "steps": 300,
    "kl_weight": 0.1,
    "points": 20,
    "batch_size": 128,
    "samples": 512,
}
GOLDS = ("first", "fillers", "both", "ranked")  # the ways in which a response is looked at


class World(struct.PyTreeNode):
    """What tokens are worth in three ways `[V, 3]`, and the reference's logits `[L, V]`.

    Attributes:
      torsos: weights and biases of the torsos, `[J, V + 1, H]`.
      heads: of the judges, `[J, H]`.
      location, scale: of all scores of the reference, `[K]`.
      medians: of the first two worths of the reference, `[2]`.
    """

    worth: Array
    reference: Array
    torsos: Array
    heads: Array
    location: Array
    scale: Array
    medians: Array

    def worths(self, tokens: Array) -> Array:
        """Of responses `[B, L]`, in deviations of the reference's, `[B, 3]`."""
        chance = jax.nn.softmax(self.reference[0])
        mean = chance @ self.worth
        spread = jnp.sqrt(LENGTH * (chance @ (self.worth - mean[None]) ** 2))
        return (self.worth[tokens] - mean[None, None]).sum(1) / spread[None]

    def raw(self, tokens: Array) -> Array:
        """All scores, before they are standardised: the judges', and weighted sums, `[B, K]`."""
        seen = features(self.torsos, tokens)
        judged = jnp.einsum("jbh,jh->bj", seen, self.heads)
        worths, ranked = self.worths(tokens), jnp.array(RANKED)
        sums = [worths @ ranked, worths @ (ranked * jnp.array(UNITS))]
        return jnp.concatenate([judged, jnp.stack(sums, 1)], 1)

    def scores(self, tokens: Array) -> Array:
        """What an expression reads of responses, `[B, K]`."""
        return (self.raw(tokens) - self.location[None]) / self.scale[None]

    def golds(self, tokens: Array) -> Array:
        """Of responses, by `GOLDS`, `[B, 4]`."""
        worths = self.worths(tokens)
        fillers = (tokens >= TOKENS - FILLERS).mean(1)
        both = (worths[:, :2] > self.medians[None]).all(1)
        return jnp.stack([worths[:, 0], fillers, both * 1.0, worths @ jnp.array(RANKED)], 1)


def features(torsos: Array, tokens: Array) -> Array:
    """Of responses by each torso, `[J, B, H]`."""
    counts = jax.nn.one_hot(tokens, TOKENS).sum(1)
    seen = jnp.concatenate([counts, jnp.ones_like(counts[:, :1])], 1)
    return jax.nn.relu(jnp.einsum("bv,jvh->jbh", seen, torsos)) / torsos.shape[-1] ** 0.5


def head(key: Array, first: Array, second: Array, label: Array, steps: int) -> Array:
    """A head `[H]` fitted to features `[B, H]` of pairs, on batches drawn anew (its own seed)."""
    start, order = jax.random.split(key)
    optimiser = optax.adam(0.02)

    def loss(weights: Array, rows: Array) -> Array:
        one, two = first[rows] @ weights, second[rows] @ weights
        return losses.centred(one, two, label[rows]).mean() + 1e-3 * (weights**2).sum()

    def step(carry: Any, key: Array) -> tuple[Any, None]:
        weights, state = carry
        rows = jax.random.randint(key, (64,), 0, label.shape[0])
        change, state = optimiser.update(jax.grad(loss)(weights, rows), state)
        return (optax.apply_updates(weights, change), state), None

    begin = 0.1 * jax.random.normal(start, first.shape[1:])
    (weights, _), _ = jax.lax.scan(
        step, (begin, optimiser.init(begin)), jax.random.split(order, steps)
    )
    return weights


def world(key: Array, pairs: int, wrong: float, width: int, members: int, steps: int) -> World:
    """A world and its judges: `members` of one torso, as many of their own (the first is the
    same), one of the second worth, and one of HERON's labels."""
    keys = jax.random.split(key, 9)
    first = jax.random.normal(keys[0], (TOKENS, 3))
    # What is good in the first way tends to be bad in the second.
    worth = first.at[:, 1].set(0.8 * first[:, 1] - 0.6 * first[:, 0])
    worth = worth.at[TOKENS - FILLERS :, 0].set(-0.5)
    logits = SKILL * worth[:, 0] + LUCK * jax.random.normal(keys[1], (TOKENS,))
    reference = jnp.broadcast_to(logits[None], (LENGTH, TOKENS))
    judges = 2 * members + 1
    torsos = jax.random.normal(keys[2], (members, TOKENS + 1, width)) / 3.0
    own = jnp.concatenate([jnp.zeros(members, int), jnp.arange(1, members), jnp.zeros(2, int)])
    torsos = torsos[own]
    none = jnp.zeros(judges + 2)
    made = World(worth, reference, torsos, jnp.zeros((judges, width)), none, none + 1, none[:2])
    one, two = (overoptimization.draw(k, reference, pairs) for k in keys[3:5])
    gap = made.worths(one) - made.worths(two)
    fillers = (one >= TOKENS - FILLERS).sum(1) - (two >= TOKENS - FILLERS).sum(1)
    told = labels.hierarchical(made.worths(one), made.worths(two), jnp.array(MARGINS))
    ways = jnp.stack([(gap[:, 0] + LIKED * fillers > 0) * 1.0, (gap[:, 1] > 0) * 1.0])
    ways = labels.flip(keys[5], ways, wrong)
    ranked = jnp.where(told.decided, told.first, 0.5)
    of = jnp.concatenate([jnp.broadcast_to(ways[:1], (judges - 2, pairs)), ways[1:], ranked[None]])
    better, worse = (features(torsos, tokens) for tokens in (one, two))
    fit = jax.vmap(partial(head, steps=steps))
    heads = fit(jax.random.split(keys[6], judges), better, worse, of)
    made = made.replace(heads=heads)
    base = overoptimization.draw(keys[7], reference, 2048)
    raw = made.raw(base)
    return made.replace(
        location=raw.mean(0), scale=raw.std(0), medians=jnp.median(made.worths(base)[:, :2], 0)
    )


def measure(
    arms: Sequence[Arm], preset: Preset, keys: Array, tick: Callable[[int, int], None]
) -> Mapping[str, Measured]:
    """Every arm's path up a gradient, in the same worlds."""
    s = {**SETTINGS, **preset.config}
    tick(0, len(arms) + 1)
    make = partial(world, **{k: s[k] for k in ("pairs", "wrong", "width", "members", "steps")})
    worlds = jax.block_until_ready(jax.jit(jax.vmap(make))(keys))
    updates = max(1, preset.total_steps // s["points"])
    at = tuple(range(0, updates * s["points"] + 1, updates))
    found = {}
    for done, arm in enumerate(arms):
        tick(done + 1, len(arms) + 1)
        term, weight = rw.parse(arm.reward), arm.config.get("kl_weight", s["kl_weight"])

        def search(key: Array, made: World, term: Any = term, weight: float = weight) -> Any:
            return overoptimization.climb(
                jax.random.fold_in(key, 1),
                term,
                made.scores,
                made.golds,
                made.reference,
                points=s["points"],
                updates=updates,
                batch_size=s["batch_size"],
                kl_weight=weight,
                samples=s["samples"],
            )

        path = jax.jit(jax.vmap(search))(keys, worlds)
        golds = np.moveaxis(np.asarray(path.gold), -1, 0)
        values = dict(zip(GOLDS, golds, strict=True))
        found[arm.name] = Measured({"root_kl": path.root_kl, "proxy": path.proxy, **values}, at)
    tick(len(arms) + 1, len(arms) + 1)
    return found


def at_divergence(result: Any, metric: str, root_kl: np.ndarray) -> np.ndarray:
    """A metric where each seed's path is as far from the reference as told, `[S]`."""
    found = result.study.values
    rows = zip(root_kl, np.asarray(found["root_kl"]), np.asarray(found[metric]), strict=True)
    return np.array([np.interp(x, np.maximum.accumulate(far), y) for x, far, y in rows])
