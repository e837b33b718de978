"""Of `curation`: responses of which the gold is known, labels of which some are wrong, judges.

A response should be the string of its prompt, of eight; gold is the share of right letters. Each
letter of a response is right with probability 1/2, else any of eight. Two responses to a prompt
whose gold differs are a pair, and their `reward` is their gold: of no one's knowledge but ours.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.data import pairs as of_pairs
from jaxrl_reward.data.pairs import PairSet
from jaxrl_reward.preferences import curation, judges, losses
from jaxrl_reward.training.experiments.experiment import Arm, Measured, Preset
from jaxrl_reward.types import Array

LETTERS, PROMPTS, BEST_OF = 8, 8, 16
SETTINGS: Mapping[str, Any] = {
    "length": 4,
    "flips": 0.3,
    "verified": 80,
    "share": 0.3,
    "budget": 0.1,
    "tested": 512,
    "width": 16,
    "members": 3,
    "steps": 400,
}


class World:
    """A seed's strings, its pairs and what is known of them.

    Attributes:
      noisy: the pairs, of which a share is flipped.
      trusted: those of them whose labels are verified, and right.
      tested: other pairs, labelled rightly.
    """

    def __init__(self, seed: int, count: int, s: Mapping[str, Any]):
        self.rng, self.s = np.random.default_rng(seed), s
        self.wanted = self.rng.integers(1, LETTERS + 1, (PROMPTS, s["length"]))
        clean = self.pairs(count)
        key = jax.random.key(int(self.rng.integers(2**31)))
        flipped = of_pairs.flip(clean, key, s["flips"])
        known = np.arange(count) < s["verified"]
        first, _ = (np.asarray(x.reward).T for x in (flipped, clean))
        wrong = known & (first[0] < first[1])
        self.noisy = of_pairs.swap(flipped, wrong, f"the first {known.sum()} verified")
        self.trusted = of_pairs.select(self.noisy, known, "verified")
        self.clean, self.tested = clean, self.pairs(s["tested"])

    def written(self, prompts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Responses to prompts `[B]`, `[B, L + 1]`, and their gold, `[B]`."""
        right = self.wanted[prompts]
        guess = self.rng.integers(1, LETTERS + 1, right.shape)
        tokens = np.where(self.rng.random(right.shape) < 0.5, right, guess)
        end = np.zeros((len(tokens), 1), int)
        return np.concatenate([tokens, end], 1), (tokens == right).mean(1)

    def pairs(self, count: int) -> PairSet:
        """So many, the one with more gold first."""
        prompts = self.rng.integers(0, PROMPTS, 3 * count)
        (one, gold), (two, other) = self.written(prompts), self.written(prompts)
        rows = np.flatnonzero(gold != other)[:count]
        assert len(rows) == count, "three times as many were too few"
        better = (gold > other)[rows, None]
        chosen, rejected = (
            np.where(better, *both) for both in ((one[rows], two[rows]), (two[rows], one[rows]))
        )
        reward = np.stack([np.maximum(gold, other), np.minimum(gold, other)], 1)[rows]
        prompt = prompts[rows, None] + 1
        origin = of_pairs.PairOrigin(source="random strings", rater="gold")
        return of_pairs.make(prompt, chosen, rejected, reward=reward, origin=origin)

    @cached_property
    def slates(self) -> tuple[np.ndarray, np.ndarray]:
        """Texts of `BEST_OF` responses to each of 64 prompts, `[64 * BEST_OF, 1 + L + 1]`."""
        prompts = np.repeat(self.rng.integers(0, PROMPTS, 64), BEST_OF)
        tokens, gold = self.written(prompts)
        return np.concatenate([prompts[:, None] + 1, tokens], 1), gold


def design(s: Mapping[str, Any]) -> judges.Design:
    """Of the judges."""
    return judges.Design(LETTERS + 1, 1, s["length"] + 1, width=s["width"])


def stacked(sets: Sequence[PairSet], rows: int) -> tuple[PairSet, Array]:
    """Sets of the seeds, each filled up to so many rows, and how many of these count."""
    plain = [each.replace(origin=of_pairs.PairOrigin()) for each in sets]
    filled = [jax.tree.map(lambda x: jnp.resize(x, (rows, *x.shape[1:])), each) for each in plain]
    return jax.tree.map(lambda *x: jnp.stack(x), *filled), jnp.array([len(x) for x in sets])


def fitted(keys: Array, sets: Sequence[PairSet], rows: int, members: int, loss: Any, s: Any) -> Any:
    """A judge for each seed, leaves `[S, members, ...]`."""
    pairs, sizes = stacked(sets, rows)
    return _fit(keys, pairs, sizes, members, loss, s["steps"], design(s))


@partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _fit(keys: Array, pairs: PairSet, sizes: Array, *how: Any) -> Any:
    members, loss, steps, made = how

    def one(key: Array, pairs: PairSet, size: Array) -> Any:
        start, learn = jax.random.split(key)
        model = judges.init(start, made, members)
        return judges.fit(model, learn, pairs, size=size, steps=steps, loss=loss)[0]

    return jax.vmap(one)(keys, pairs, sizes)


@jax.jit
def margins(model: Any, pairs: PairSet) -> Array:
    """Of each seed's judges on its pairs, `[S, members, B]`."""

    def one(model: Any, pairs: PairSet) -> Array:
        chosen, rejected = (
            model.scores(judges.texts(pairs.prompt, x)) for x in (pairs.chosen, pairs.rejected)
        )
        return chosen - rejected

    return jax.vmap(one)(model, pairs)


@jax.jit
def best(model: Any, texts: Array, gold: Array) -> Array:
    """Mean gold of the responses that each seed's judge finds best of `BEST_OF`, `[S]`."""

    def one(model: Any, text: Array, gold: Array) -> Array:
        found = model.scores(text)[0].reshape(-1, BEST_OF)
        return jnp.take_along_axis(gold.reshape(found.shape), found.argmax(1)[:, None], 1).mean()

    return jax.vmap(one)(model, texts, gold)


def curated(how: str, world: World, gold: np.ndarray, now: np.ndarray) -> PairSet:
    """What is left of a seed's pairs, and how it is labelled.

    Args:
      how: the arm.
      world: the seed's.
      gold: margins of the judge of the trusted pairs, `[B]`.
      now: those of an ensemble fitted to all, `[M, B]`.
    """
    s, noisy = world.s, world.noisy
    strong = curation.strengthen(noisy, now, "an ensemble of all pairs")
    asked = np.asarray(noisy.reward[:, 0] > noisy.reward[:, 1], float)
    agreed = partial(curation.keep_agreed, noisy, gold, now.mean(0), by="the two judges")
    return {
        "all": lambda: noisy,
        "trusted": lambda: world.trusted,
        "filter": lambda: agreed(against="drop"),
        "filter and flip": lambda: agreed(against="flip"),
        "drop the weakest": lambda: curation.drop_weakest(strong, s["share"]),
        "flip the weakest": lambda: curation.flip_weakest(strong, s["share"]),
        "doubt": lambda: curation.doubt(strong, s["flips"]),
        "margin": lambda: strong,
        "ask again": lambda: curation.ask_again(
            noisy, now.mean(0), asked, round(s["budget"] * len(noisy)), by="an expert"
        ),
        "clean": lambda: world.clean,
    }[how]()


LOSSES: Mapping[str, Callable[..., Array]] = {"margin": losses.margin}


def measure(
    arms: Sequence[Arm], preset: Preset, keys: Array, tick: Callable[[int, int], None]
) -> Mapping[str, Measured]:
    """Every arm's judge, fitted to what it makes of a quarter of the pairs, and of all."""
    s = {**SETTINGS, **preset.config}
    counts, numbers = (preset.total_steps // 4, preset.total_steps), jax.random.key_data(keys)
    ticks = [len(counts) * (len(arms) + 1), 0]

    def done() -> None:
        tick(ticks[1], ticks[0])
        ticks[1] += 1

    found = []
    for count in counts:
        worlds = [World(int(number), count, s) for number in np.asarray(numbers)[:, -1]]
        found.append(measured(arms, worlds, keys, count, s, done))
    tick(ticks[0], ticks[0])
    values = {
        arm.name: {name: np.stack([x[arm.name][name] for x in found], 1) for name in TOLD}
        for arm in arms
    }
    return {name: Measured(each, counts) for name, each in values.items()}


TOLD = ("accuracy", "best of 16", "pairs", "wrong labels")


def measured(
    arms: Sequence[Arm],
    worlds: Sequence[World],
    keys: Array,
    count: int,
    s: Mapping[str, Any],
    done: Callable[[], None],
) -> Mapping[str, Mapping[str, np.ndarray]]:
    """What is told of each arm at one number of pairs, `[S]` each."""
    done()
    one, two, three = jax.vmap(partial(jax.random.split, num=3))(keys).swapaxes(0, 1)
    plain, members = losses.bradley_terry, s["members"]
    known = fitted(one, [w.trusted for w in worlds], count, members, plain, s)
    now = fitted(two, [w.noisy for w in worlds], count, members, plain, s)
    whole, _ = stacked([w.noisy for w in worlds], count)
    gold, current = (np.asarray(margins(model, whole)) for model in (known, now))
    tested, _ = stacked([w.tested for w in worlds], s["tested"])
    slates = [jnp.stack([jnp.asarray(w.slates[i]) for w in worlds]) for i in (0, 1)]
    found = {}
    for arm in arms:
        done()
        judged = zip(worlds, gold.mean(1), current, strict=True)
        sets = [curated(arm.name, *each) for each in judged]
        model = fitted(three, sets, count, 1, LOSSES.get(arm.name, plain), s)
        right = np.asarray(margins(model, tested))[:, 0] > 0  # a tie is not
        wrong = [np.asarray(x.reward[:, 0] < x.reward[:, 1]).mean() for x in sets]
        told = (right.mean(1), best(model, *slates), [len(x) for x in sets], wrong)
        found[arm.name] = {k: np.asarray(v, float) for k, v in zip(TOLD, told, strict=True)}
    return found
