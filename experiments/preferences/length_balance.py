"""Pairs of which the longer response wins more often than not, and the same balanced by length.

A response should begin with the three letters of its prompt, of eight; gold is the share of them
that is right, and up to four letters more, fillers, are worth nothing. A rater prefers the first
of two with probability sigmoid(4 x (difference of gold) + 0.6 x (difference of lengths)). Judges
are fitted to "all" of these pairs; to "balanced" ones, as many of which have the longer response
chosen by k tokens as rejected, for every k; to "as few" pairs drawn at random, for as many
steps; and to all with labels of a rater who does not care for length, "by gold".

`filler` is what a judge pays for one letter more, over the deviation of its scores. The best of
16 by a judge stand for a policy that is trained on it: their gold, and by how many tokens they are
longer than what they are chosen from. `accuracy` is that on pairs of the same length.

The rater's 4 and 0.6 were settled beforehand, the number of pairs on seeds 1000 to 1003. Seeds to
report begin at 0; the margins are 0 of fillers and tokens, and 0.02 of gold.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import _by_count
import _curation_world as curated
import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.data import pairs as of_pairs
from jaxrl_reward.data.pairs import PairSet
from jaxrl_reward.preferences import curation, losses
from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Measured,
    Preset,
    Results,
    Verdict,
    above,
)
from jaxrl_reward.types import Array

SOURCE = "InternLM-XComposer2.5-Reward (2025), BaseReward (2025)"
ASKED, LONGEST, LETTERS, NOTHING = 3, 7, curated.LETTERS, curated.LETTERS + 1
FOR_GOLD, FOR_LENGTH, GOLD_MARGIN = 4.0, 0.6, 0.02
SETTINGS = {"length": LONGEST, "width": 16, "steps": 500, "tested": 512}
ARMS = ("all", "balanced", "as few", "by gold")
TOLD = ("filler", "best longer by", "best gold", "accuracy", "pairs")


class World:
    """A seed's prompts, and what is written and preferred in it."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.wanted = self.rng.integers(1, LETTERS + 1, (curated.PROMPTS, ASKED))

    def written(self, prompts: np.ndarray, size: Any = None) -> tuple[np.ndarray, ...]:
        """Responses to prompts `[B]`, `[B, LONGEST + 1]`, their gold and their lengths, `[B]`."""
        count = len(prompts)
        tokens = self.rng.integers(1, LETTERS + 1, (count, LONGEST + 1))
        known = self.rng.random((count, ASKED)) < 0.5
        tokens[:, :ASKED] = np.where(known, self.wanted[prompts], tokens[:, :ASKED])
        gold = (tokens[:, :ASKED] == self.wanted[prompts]).mean(1)
        sizes = self.rng.integers(ASKED, LONGEST + 1, count) if size is None else size
        return ended(tokens, sizes), gold, sizes

    def pairs(self, count: int, for_length: float, alike: bool = False) -> PairSet:
        """Pairs labelled by a rater; of right labels and the same length if they are `alike`."""
        prompts = self.rng.integers(0, curated.PROMPTS, 4 * count)
        one, gold, size = self.written(prompts)
        two, other, its = self.written(prompts, size if alike else None)
        rows = np.flatnonzero(gold != other if alike else np.ones(len(gold), bool))[:count]
        margin = FOR_GOLD * (gold - other) + for_length * (size - its)
        coin = np.full(len(gold), 0.5) if alike else self.rng.random(len(gold))
        wins = (coin < 1 / (1 + np.exp(-margin)))[rows, None]
        both = np.where(wins, one[rows], two[rows]), np.where(wins, two[rows], one[rows])
        reward = np.stack([gold, other], 1)[rows]
        reward = np.where(wins, reward, reward[:, ::-1])
        origin = of_pairs.PairOrigin(source="random strings", rater="gold and length")
        return of_pairs.make(prompts[rows, None] + 1, *both, reward=reward, origin=origin)

    def slates(self) -> tuple[np.ndarray, ...]:
        """Texts of 16 responses to each of 64 prompts, their gold and lengths, and one with a
        filler more of each that has room, with its row."""
        prompts = np.repeat(self.rng.integers(0, curated.PROMPTS, 64), curated.BEST_OF)
        tokens, gold, sizes = self.written(prompts)
        longer = tokens.copy()
        at = np.arange(len(tokens)), np.minimum(sizes, LONGEST - 1)
        longer[at] = self.rng.integers(1, LETTERS + 1, len(tokens))
        longer = np.where((sizes < LONGEST)[:, None], ended(longer, sizes + 1), tokens)
        texts = (np.concatenate([prompts[:, None] + 1, x], 1) for x in (tokens, longer))
        return (*texts, gold, sizes.astype(float))


def ended(tokens: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The first tokens of each row, the end, and nothing behind."""
    place = np.arange(tokens.shape[1])[None]
    sizes = np.minimum(sizes, LONGEST)[:, None]
    return np.where(place < sizes, tokens, np.where(place == sizes, 0, NOTHING))


@jax.jit
def told_of(model: Any, texts: Array, longer: Array, gold: Array, sizes: Array) -> Any:
    """What a filler is paid, and how much longer and how good the best are, of each seed `[S]`."""

    def one(model: Any, texts: Array, longer: Array, gold: Array, sizes: Array) -> Any:
        plain, more = model.scores(texts)[0], model.scores(longer)[0]
        room = sizes < LONGEST
        filler = ((more - plain) * room).sum() / room.sum() / plain.std()
        by_slate = lambda x: x.reshape(-1, curated.BEST_OF)  # noqa: E731
        at = by_slate(plain).argmax(1)[:, None]
        best = lambda x: jnp.take_along_axis(by_slate(x), at, 1).mean()  # noqa: E731
        return filler, best(sizes) - sizes.mean(), best(gold)

    return jax.vmap(one)(model, texts, longer, gold, sizes)


def chosen(arm: str, world: World, count: int, pairs: PairSet, balanced: PairSet) -> PairSet:
    """A seed's pairs that an arm's judge is fitted to."""
    few = np.arange(count) < len(balanced)
    return {
        "all": lambda: pairs,
        "balanced": lambda: balanced,
        "as few": lambda: of_pairs.select(pairs, few, "as few"),
        "by gold": lambda: world.pairs(count, 0.0),
    }[arm]()


def measure(
    arms: Sequence[Arm], preset: Preset, keys: Array, tick: Callable[[int, int], None]
) -> Mapping[str, Measured]:
    """Each arm's judges, fitted to its pairs."""
    s, count = {**SETTINGS, **preset.config}, preset.total_steps
    numbers = np.asarray(jax.random.key_data(keys))[:, -1]
    worlds = [World(int(number)) for number in numbers]
    pairs = [world.pairs(count, FOR_LENGTH) for world in worlds]
    balanced = [curation.balance_lengths(each, seed=i) for i, each in enumerate(pairs)]
    tested = [world.pairs(s["tested"], 0.0, alike=True) for world in worlds]
    slates = jax.tree.map(lambda *x: jnp.stack(x), *(world.slates() for world in worlds))
    whole, _ = curated.stacked(tested, s["tested"])
    found = {}
    for i, arm in enumerate(arms):
        tick(i, len(arms))
        drawn = zip(worlds, pairs, balanced, strict=True)
        sets = [chosen(arm.name, world, count, *both) for world, *both in drawn]
        model = curated.fitted(keys, sets, count, 1, losses.bradley_terry, s)
        right = np.asarray(curated.margins(model, whole))[:, 0] > 0  # a tie is not
        values = (*told_of(model, *slates), right.mean(1), [len(x) for x in sets])
        columns = (np.asarray(x, float)[:, None] for x in values)
        found[arm.name] = Measured(dict(zip(TOLD, columns, strict=True)), [count])
    tick(len(arms), len(arms))
    return found


def verdict(results: Results) -> Sequence[Verdict]:
    """Whether balanced pairs make judges that care less for length, and at what cost."""
    count = next(iter(results.values())).study.at[-1]
    of = partial(_by_count.at, results, count=count)
    told = []
    claims = (
        ("all", "filler", "the judge pays less for a filler than of all pairs"),
        ("as few", "filler", "and than of as few pairs"),
        ("all", "best longer by", "the best of 16 are longer by fewer tokens"),
        ("as few", "best longer by", "and by fewer than of as few pairs"),
    )
    for other, metric, claim in claims:
        if other in results:
            values = of(other, metric) - of("balanced", metric)
            what = f"{metric} of {other} less that of balanced"
            told.append(above(f"Balanced pairs: {claim}", what, values, 0.0, source=SOURCE))
    less = of("balanced", "best gold") - of("all", "best gold")
    claim = f"Balanced pairs: the best of 16 have no less gold, to {GOLD_MARGIN:g}"
    what = "gold of the best of balanced less that of all"
    return [*told, above(claim, what, less, -GOLD_MARGIN, source=SOURCE)]


def present(results: Results, path: Path) -> Sequence[str]:
    """What judges pay for length, as a figure, and the numbers."""
    from matplotlib.figure import Figure

    from jaxrl_reward.report import plots, statistics

    figure = Figure(figsize=(8.0, 0.35 * len(results) + 1.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    count = next(iter(results.values())).study.at[-1]
    at = np.arange(len(results))[::-1]
    titles = {"filler": "Paid for a filler, in deviations", "best longer by": "Best of 16: tokens"}
    for axes, (metric, title) in zip(panels, titles.items(), strict=True):
        found = [
            statistics.stratified_bootstrap(_by_count.at(results, arm, metric, count))
            for arm in results
        ]
        middle = np.array([each.estimate for each in found])
        ends = np.array([[x.estimate - x.low, x.high - x.estimate] for x in found]).T
        axes.errorbar(middle, at, xerr=ends, fmt="o", color=plots.look(0)[0], markersize=4)
        axes.set_title(title, fontsize=10)
        axes.grid(color=plots.GRID, linewidth=0.6)
    panels[0].set_yticks(at, list(results))
    figure.savefig(path / "figure.png", dpi=150)
    return [
        "![What judges pay for length](figure.png)",
        "Interquartile means over seeds, with 95 % intervals in the figure; the number is that of "
        "the pairs before balancing.",
        _by_count.table(results, "Pairs", {name: name for name in TOLD}),
    ]


experiment = Experiment(
    name="length_balance",
    title="Pairs balanced by length",
    claim="Of pairs balanced by length a judge learns less that longer is better, and what it "
    "chooses is longer by less",
    source=SOURCE,
    env="",
    arms=tuple(Arm(name, "") for name in ARMS),
    presets={
        "smoke": Preset(
            seeds=2,
            total_steps=96,
            config={"steps": 10, "width": 4, "tested": 32},
            arms=["all", "balanced"],
        ),
        "quick": Preset(seeds=16, total_steps=2048),
        "paper": Preset(seeds=128, total_steps=16384, config={"steps": 3000, "width": 32}),
    },
    verdict=verdict,
    present=present,
    measure=measure,
    metric="filler",
    axis="Pairs",
)
