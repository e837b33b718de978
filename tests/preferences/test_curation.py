"""Curation of pairs: each rule on pairs of which everything is known, and what is recorded."""

import numpy as np
import pytest

from jaxrl_reward.data import pairs
from jaxrl_reward.errors import UserError
from jaxrl_reward.preferences import curation

ROWS = 8
MARGINS = np.array([3.0, -3.0, 0.5, -0.5, 2.0, -2.0, 1.0, 0.0])


def made(count=ROWS, **known):
    """Pair i has chosen tokens (i, i) and rejected (i + 100, i + 100)."""
    chosen = np.repeat(np.arange(1, count + 1)[:, None], 2, 1)
    return pairs.make(np.arange(count)[:, None], chosen, chosen + 100, **known)


def names(found):
    """Of each pair, which of the first ones it is, below 0 if it was flipped."""
    first = np.asarray(found.chosen)[:, 0]
    return [int(x) if x < 100 else -int(x - 100) for x in first]


def test_strength_is_the_ensembles_mean_towards_the_label():
    label = np.array([1, 1, 1, 1, 1, 1, 1, 0.5], np.float32)
    found = curation.strengthen(made(label=label), np.stack([MARGINS, 3 * MARGINS]), "twins")
    np.testing.assert_allclose(found.strength, [*(2 * MARGINS[:-1]), 0.0])
    assert found.origin.changes == ("strength of 2 judges (twins)",)
    assert found.origin.rows == ROWS and found.origin.checksum != made().origin.checksum


def test_only_the_weakest_that_are_below_zero_are_flipped_dropped_or_doubted():
    strong = curation.strengthen(made(), MARGINS, "one")
    flipped = curation.flip_weakest(strong, 0.25)  # two of eight
    assert names(flipped) == [1, -2, 3, 4, 5, -6, 7, 8]
    np.testing.assert_allclose(flipped.strength, [3, 3, 0.5, -0.5, 2, 2, 1, 0])
    assert "flipped 2 of the weakest 0.25" in flipped.origin.changes
    assert names(curation.flip_weakest(strong, 1.0)) == [1, -2, 3, -4, 5, -6, 7, 8]
    assert names(curation.drop_weakest(strong, 0.25)) == [1, 3, 4, 5, 7, 8]
    doubted = curation.doubt(strong, 0.1)
    np.testing.assert_allclose(doubted.label, [1, 0.9, 1, 0.9, 1, 0.9, 1, 1])
    assert names(doubted) == names(strong)


def test_two_judges_keep_flip_or_drop():
    other = np.array([1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 0.0, 1.0])
    found = curation.agreement(MARGINS, other)
    np.testing.assert_array_equal(np.sum(found, axis=0), 1)  # just one of the three
    assert found.split.tolist() == [False, False, True, True, False, False, True, True]
    both = curation.keep_agreed(made(), MARGINS, other, by="gold and mine")
    assert names(both) == [1, -2, 5, -6]
    assert both.origin.changes == (
        "flipped 2 that gold and mine are against",
        "kept 4 of 8 on which gold and mine agree",
    )
    assert names(curation.keep_agreed(made(), MARGINS, other, against="drop")) == [1, 5]
    # Flipping twice by the same judges, whose margins turn with the pairs, changes nothing.
    rows = [0, 1, 4, 5]
    turned = np.array([1, -1, 1, -1])
    again = curation.keep_agreed(both, MARGINS[rows] * turned, other[rows] * turned)
    assert names(again) == names(both)


def test_what_is_flipped_takes_all_that_is_its_own_along():
    reward = np.stack([np.arange(ROWS), -np.arange(ROWS)], 1).astype(np.float32)
    found = curation.keep_agreed(made(reward=reward), MARGINS, MARGINS)
    for row, name in enumerate(names(found)):
        at = abs(name) - 1
        np.testing.assert_array_equal(found.reward[row], reward[at] * np.sign(name))
        assert int(found.prompt[row, 0]) == at


def test_the_least_sure_are_asked_about_and_no_others():
    answers = np.full(ROWS, np.nan)
    answers[[7, 2, 3]] = 0.2, 1.0, 0.5
    found = curation.ask_again(made(), MARGINS, answers, 3, by="an expert")
    assert names(found) == [1, 2, 3, 4, 5, 6, 7, -8]
    np.testing.assert_allclose(found.label, [1, 1, 1, 0.5, 1, 1, 1, 0.8])
    assert curation.ask_again(made(), MARGINS, answers, 0, by="x").label.tolist() == [1.0] * ROWS


def lengths(found):
    return [pairs.lengths(np.asarray(x)) for x in (found.chosen, found.rejected)]


def test_balanced_lengths_tell_nothing():
    rng = np.random.default_rng(0)
    size = rng.integers(1, 9, (2, 400))
    size.sort(0)
    longer = rng.random(400) < 0.8  # the chosen one, in four of five
    size = np.where(longer, size[::-1], size)
    tokens = [np.where(np.arange(10)[None] < x[:, None] - 1, 3, 0) for x in size]
    for x, length in zip(tokens, size, strict=True):
        x[np.arange(10)[None] >= length[:, None]] = 9
    whole = pairs.make(np.zeros((400, 1)), *tokens)
    more = np.subtract(*lengths(whole))
    assert (more > 0).sum() > 2 * (more < 0).sum() > 0
    found = curation.balance_lengths(whole, seed=1)
    more = np.subtract(*lengths(found))
    for k in range(1, 9):
        assert (more == k).sum() == (more == -k).sum()
    before = np.subtract(*lengths(whole))
    assert (more == 0).sum() == (before == 0).sum()
    expected = sum(2 * min((before == k).sum(), (before == -k).sum()) for k in range(1, 9))
    assert len(found) == expected + (before == 0).sum()
    other = curation.balance_lengths(whole, seed=2)
    assert len(other) == len(found) and other.origin.checksum != found.origin.checksum


def test_curated_pairs_are_saved_with_what_was_done_to_them(tmp_path):
    strong = curation.strengthen(made(), MARGINS, "one")
    path = pairs.save(curation.flip_weakest(strong, 0.25), tmp_path / "pairs.npz")
    assert pairs.load(path).origin.changes[:2] == (
        "strength of 1 judges (one)",
        "flipped 2 of the weakest 0.25",
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda p: curation.strengthen(p, MARGINS[:3], "x"), "must be of 8 pairs"),
        (lambda p: curation.strengthen(p, MARGINS * np.nan, "x"), "not finite"),
        (lambda p: curation.flip_weakest(p, 1.5), "share must be from 0 to 1, not 1.5"),
        (lambda p: curation.doubt(p, -0.1), "flips must be from 0 to 1"),
        (lambda p: curation.keep_agreed(p, MARGINS, MARGINS, against="keep"), "'flip' or 'drop'"),
        (lambda p: curation.keep_agreed(p, MARGINS, -MARGINS), "no pair is left"),
        (lambda p: curation.ask_again(p, MARGINS, MARGINS, 3, "x"), "must be probabilities"),
        (lambda p: curation.ask_again(p, MARGINS, MARGINS, -1, "x"), "at least 0"),
        (lambda p: curation.ask_again(p, MARGINS, [0.5], 1, "x"), r"answers must be \[8\]"),
    ],
)
def test_what_does_not_fit_is_said(wrong, said):
    with pytest.raises(UserError, match=said):
        wrong(made())
