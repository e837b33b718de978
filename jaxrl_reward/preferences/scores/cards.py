"""All that pairs tell of one judge, with intervals: what `jaxrl-reward judge` prints."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.data.pairs import PairSet
from jaxrl_reward.nn.response_models import ResponseModel
from jaxrl_reward.preferences.judges.fitting import both_texts
from jaxrl_reward.preferences.scores import comparisons, contrasts
from jaxrl_reward.preferences.scores.probing import probe
from jaxrl_reward.preferences.scores.rivals import rivals
from jaxrl_reward.report.calibration import calibration
from jaxrl_reward.types import Array, UserError

AGAINST = (3, 9)  # wrong responses that a right one meets
ENOUGH = 20  # prompts of which an interval is made; with fewer it is one of pairs
RESAMPLES = 1000
BLOCKS = 4096  # of pairs that are resampled together, at most
_ROWS = 4096  # texts that are read at once


class Line(NamedTuple):
    """One number of a judge.

    Attributes:
      name: what it is.
      value: over `count` comparisons.
      low: of its 95 % bootstrap interval; NaN where there is none.
      high: likewise.
      chance: what a judge gets that knows nothing; NaN where that says nothing.
      count: how many comparisons there were.
    """

    name: str
    value: float
    low: float
    high: float
    chance: float
    count: int


class Card(NamedTuple):
    """What is known of a judge, and of what the intervals are made: prompts or pairs."""

    lines: tuple[Line, ...]
    resampled: str
    pairs: int

    def named(self, name: str) -> Line:
        """The line of that name; KeyError if there is none."""
        return {line.name: line for line in self.lines}[name]


def card(
    model: ResponseModel,
    pairs: PairSet,
    seed: int = 0,
    against: tuple[int, ...] = AGAINST,
    factors: Mapping[str, Any] | None = None,
) -> Card:
    """Scores a judge, the mean of its members, on pairs that it was not fitted to.

    Of pairs whose label is 1/2 or of which a response is missing nothing is said. A judge that
    compares is asked in both orders. Against k wrong ones are those responses to the same
    prompt that have less `reward`, where the pairs tell that and have so many.

    Args:
      model: the judge.
      pairs: what is better than what.
      seed: of what is drawn.
      against: the numbers k.
      factors: what is true of each response, bool `[B, 2]` by name, for probes of what the
        judge reads of it; that it is longer than the median is always one.

    Raises:
      UserError: the judge reads other texts, or needs more than texts; or no pair is decided.
    """
    design = model.design
    if design.given:
        raise UserError(
            f"this judge is told {design.given} numbers beside a text, which pairs in a file have "
            "not; use jr.preferences.scores on its scores"
        )
    text = np.asarray(both_texts(design, pairs))
    if text.max() > design.vocabulary:
        raise UserError(
            f"these pairs have a token number {text.max()}, and the judge knows "
            f"{design.vocabulary}: they are of another task"
        )
    label = np.asarray(pairs.label)
    use = np.asarray(pairs.there).all(1) & (label != 0.5)
    if not use.any():
        raise UserError("no pair here has both responses and a label that is not 1/2")
    first = np.where(label > 0.5, 0, 1)[use]
    rows = np.arange(use.sum())
    better, worse = text[use][rows, first], text[use][rows, 1 - first]
    prompt = better[:, : design.prompt]
    _, cluster = np.unique(prompt, axis=0, return_inverse=True)
    cluster = cluster.reshape(-1)
    by_prompt = cluster.max() + 1 >= ENOUGH
    blocks = np.random.default_rng(seed).permutation(len(rows)) % BLOCKS  # of one, if few
    table = _Table(cluster if by_prompt else blocks, seed)
    scorer = _Scorer(model)

    forward, backward = scorer.gap(better, worse), scorer.gap(worse, better)
    if design.relative:
        outcome, consistent = comparisons.both_orders(jnp.asarray(forward), jnp.asarray(backward))
    else:
        outcome = comparisons.pairwise(jnp.asarray(forward), jnp.zeros(len(rows)))
        consistent = None
    right = np.asarray(outcome.right)
    table.add("pairwise accuracy", right, rows, 0.5)
    table.add("ties", np.asarray(outcome.tied), rows)
    if consistent is not None:
        table.add("same verdict in both orders", np.asarray(consistent), rows)
        prefers = 0.5 * ((forward > 0) + 1.0 * (backward > 0))
        table.add("prefers the one it reads first", prefers, rows, 0.5)
    size = [(x[:, design.prompt :] < design.vocabulary).sum(1) for x in (better, worse)]
    for name, where in (
        ("accuracy, the better is longer", size[0] > size[1]),
        ("accuracy, the better is shorter", size[0] < size[1]),
    ):
        if where.any() and not where.all():
            table.add(name, right[where], rows[where], 0.5)
    user = np.asarray(pairs.user)[use]
    kinds = np.unique(user)
    if 1 < len(kinds) <= 8:
        for each in kinds:
            where = user == each
            table.add(f"accuracy, user {each}", right[where], rows[where], 0.5)
    # Both orders: what is right in one is wrong in the other.
    chance = jax.nn.sigmoid(jnp.asarray(np.concatenate([forward, backward])))
    truth = jnp.concatenate([jnp.ones(len(rows)), jnp.zeros(len(rows))])
    told = calibration(chance, truth)
    halves = np.asarray((chance - truth) ** 2).reshape(2, -1).mean(0)
    table.add("Brier score", halves, rows, 0.25)
    table.lines.append(
        Line("calibration error", float(told.error), np.nan, np.nan, np.nan, len(rows))
    )
    if cluster.max() > 0 and not design.relative:
        key = jax.random.key(seed)
        other = np.asarray(contrasts.other_prompts(key, jnp.asarray(prompt)))
        moved = np.concatenate([prompt[other], better[:, design.prompt :]], 1)
        contrast = comparisons.pairwise(*map(jnp.asarray, (scorer(better), scorer(moved))))
        table.add("prompt contrast C_ins", np.asarray(contrast.right), rows, 0.5)
        table.add("prompt contrast, ties", np.asarray(contrast.tied), rows)
    lengths = (text[:, :, design.prompt :] < design.vocabulary).sum(2)
    every = {"longer than the median": lengths > np.median(lengths[use]), **(factors or {})}
    for name, there in every.items():
        table.probe(name, scorer, text[use], np.asarray(there)[use], rows, seed)
    for k in against:
        table.against(k, scorer, text, pairs, better, first, use, seed)
    return Card(tuple(table.lines), "prompts" if by_prompt else "pairs", len(rows))


class _Table:
    """Lines, each with the bootstrap interval of a mean over clusters of rows."""

    def __init__(self, cluster: np.ndarray, seed: int):
        self.lines: list[Line] = []
        self.cluster = cluster
        count = cluster.max() + 1
        rng = np.random.default_rng(seed)
        self.draws = rng.multinomial(count, np.full(count, 1.0 / count), size=RESAMPLES)

    def add(self, name: str, values: np.ndarray, rows: np.ndarray, chance: float = np.nan) -> None:
        """A mean over `values` of the comparisons in `rows`."""
        clusters = self.cluster[rows]
        count = self.draws.shape[1]
        sums, sizes = (np.bincount(clusters, x, count) for x in (values, np.ones(len(values))))
        totals = self.draws @ sizes
        means = (self.draws @ sums)[totals > 0] / totals[totals > 0]
        several = len(np.unique(clusters)) > 1
        low, high = np.quantile(means, [0.025, 0.975]) if several else (np.nan, np.nan)
        mean = float(np.mean(values))
        self.lines.append(Line(name, mean, float(low), float(high), chance, len(values)))

    def probe(
        self,
        name: str,
        scorer: "_Scorer",
        text: np.ndarray,
        there: np.ndarray,
        rows: np.ndarray,
        seed: int,
    ) -> None:
        """A line of how well a plane in what the judge reads tells a factor of half the pairs
        from the other half; of texts `[N, 2, P + T]` and truths `[N, 2]`."""
        order = np.random.default_rng(seed).permutation(len(rows))
        train, test = order[: len(order) // 2], order[len(order) // 2 :]
        if len(np.unique(there[train])) < 2:
            return
        known = jnp.asarray(scorer.features(text.reshape(-1, text.shape[-1])))
        known = known.reshape(*there.shape, -1)
        seen, asked = known[train].reshape(-1, known.shape[-1]), known[test]
        plane = probe(seen, jnp.asarray(there[train].reshape(-1)))
        told = np.asarray(plane.logits(asked.reshape(-1, asked.shape[-1])) > 0)
        right = (told.reshape(-1, 2) == there[test]).mean(1)
        share = float(there[test].mean())
        self.add(f"probe: {name}", right, rows[test], max(share, 1.0 - share))

    def against(
        self,
        k: int,
        scorer: "_Scorer",
        text: np.ndarray,
        pairs: PairSet,
        better: np.ndarray,
        first: np.ndarray,
        use: np.ndarray,
        seed: int,
    ) -> None:
        """Lines of the better response against k others to the same prompt that have less."""
        reward = np.asarray(pairs.reward)
        own = reward[use][np.arange(len(first)), first]
        prompts = scorer.model.design.prompt
        rows, wrong = rivals(text, reward, np.asarray(pairs.there), prompts, better, own, k, seed)
        if not len(rows):
            return
        right, others = scorer.against(better[rows], wrong)
        outcome = comparisons.one_against(right, others)
        named = f"1 against {k}"
        self.add(named, np.asarray(outcome.right), rows, 1.0 / (k + 1))
        self.add(f"{named}, ties", np.asarray(outcome.tied), rows)
        if k == 3:
            best = np.asarray(comparisons.best_of(right, others))
            self.add("best of 4, ties split", best, rows, 0.25)
        rank = np.asarray(comparisons.reciprocal_rank(right, others))
        expected = float((1.0 / np.arange(1, k + 2)).mean())
        self.add(f"mean reciprocal rank of {k + 1}", rank, rows, expected)


class _Scorer:
    """The mean of a judge's members, in parts of one size."""

    def __init__(self, model: ResponseModel):
        self.model = model
        self._plain = jax.jit(lambda text: model.scores(text).mean(0))
        aside = lambda known: known.swapaxes(0, 1).reshape(known.shape[1], -1)  # noqa: E731
        self._read = jax.jit(lambda text: aside(model.judge(text).features))
        self._read_beside = jax.jit(lambda text, o: aside(model.judge(text, other=o).features))
        self._other = jax.jit(lambda text, other: model.scores(text, other=other).mean(0))

    def __call__(self, text: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
        """Of texts `[N, P + T]`, `[N]`."""
        if other is None:
            return _by_parts(self._plain, text)
        return _by_parts(self._other, text, other)

    def features(self, text: np.ndarray) -> np.ndarray:
        """What the members read of texts `[N, P + T]`, side by side, `[N, members * H]`."""
        if self.model.design.relative:  # with any other: it is not in what is read of one's own
            return _by_parts(self._read_beside, text, text[:, self.model.design.prompt :])
        return _by_parts(self._read, text)

    def gap(self, one: np.ndarray, two: np.ndarray) -> np.ndarray:
        """By how much the first is better; what a judge that compares says of it."""
        if self.model.design.relative:
            return self(one, two[:, self.model.design.prompt :])
        return self(one) - self(two)

    def against(self, right: np.ndarray, wrong: np.ndarray) -> tuple[Array, Array]:
        """Scores `[N]` and `[N, k]` of texts `[N, P + T]` and `[N, k, P + T]`."""
        count, k = wrong.shape[:2]
        flat = wrong.reshape(count * k, -1)
        if not self.model.design.relative:
            return jnp.asarray(self(right)), jnp.asarray(self(flat).reshape(count, k))
        # A response that loses to it in the mean of both orders is below it.
        again = np.repeat(right, k, 0)
        ahead = 0.5 * (self.gap(again, flat) - self.gap(flat, again))
        return jnp.zeros(count), jnp.asarray(-ahead.reshape(count, k))


def _by_parts(read: Any, *given: np.ndarray) -> np.ndarray:
    """A function of rows, of parts of one size, so that it is compiled once."""
    count, found = len(given[0]), []
    size = min(_ROWS, count)
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        now = read(*(jnp.asarray(x[rows]) for x in given))
        found.append(np.asarray(now)[: count - start])
    return np.concatenate(found)
