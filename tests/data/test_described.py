"""Spaces as text, and their values as rows: against gymnasium and against `spaces.flatten`."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl_reward import UserError, spaces
from jaxrl_reward.data import described

theirs = pytest.importorskip("gymnasium").spaces

LEAVES = st.one_of(
    st.builds(
        lambda shape, low, kind: theirs.Box(low, low + 9, shape, kind),
        st.lists(st.integers(1, 3), max_size=3).map(tuple),
        st.sampled_from([-3, 0]),
        st.sampled_from([np.float32, np.float64, np.int32]),
    ),
    st.builds(lambda n: theirs.Box(0, 255, (n, 3), np.uint8), st.integers(1, 3)),
    st.builds(
        lambda low: theirs.Box(np.float32([low, -np.inf]), np.float32([1, np.inf])),
        st.sampled_from([-1.5, 0.0]),
    ),
    st.builds(lambda n, s: theirs.Discrete(n, start=s), st.integers(1, 5), st.integers(-2, 2)),
    st.builds(theirs.MultiDiscrete, st.lists(st.integers(1, 4), min_size=1, max_size=3)),
    st.builds(theirs.MultiBinary, st.integers(1, 3)),
)
SPACES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(theirs.Dict),
        st.lists(inner, min_size=1, max_size=3).map(theirs.Tuple),
    ),
    max_leaves=4,
)


def stacked(space, samples):
    """Samples of a space as a data set has them: arrays within mappings and tuples."""
    if isinstance(space, theirs.Dict):
        return {k: stacked(s, [x[k] for x in samples]) for k, s in space.spaces.items()}
    if isinstance(space, theirs.Tuple):
        return tuple(stacked(s, [x[i] for x in samples]) for i, s in enumerate(space.spaces))
    return np.stack([np.asarray(x) for x in samples])


def same(a, b):
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a.dtype == b.dtype and np.array_equal(a, b)


def shifted(space, value):
    """A value as `spaces.flatten` takes it: numbers from 0 on, mappings and tuples of arrays."""
    if isinstance(space, theirs.Dict):
        return {k: shifted(s, value[k]) for k, s in space.spaces.items()}
    if isinstance(space, theirs.Tuple):
        return tuple(shifted(s, value[i]) for i, s in enumerate(space.spaces))
    return value - space.start if isinstance(space, theirs.Discrete) else value


@settings(max_examples=60, deadline=None)
@given(SPACES, st.integers(0, 2**31 - 1))
def test_rows_of_a_space_and_back(space, seed):
    space.seed(seed)
    samples = [space.sample() for _ in range(3)]
    known = described.read(described.text(described.of(space)))
    assert described.to_gymnasium(known) == space
    value = stacked(space, samples)
    rows = described.observations(known, value, "x")
    exact = rows.dtype != np.float32 or not _doubles(known)
    if exact:
        assert same(described.structured(known, rows), value)
    else:
        assert [x.shape for x in jax.tree.leaves(described.structured(known, rows))]
    acted = described.actions(known, value, "x")
    if exact or known["kind"] == "Box":
        assert same(described.structured(known, acted, action=True), value)
    # Every number is where `spaces.parts` says that it is.
    ours = described.space(known)
    assert rows[0].size == sum(part.size for part in spaces.parts(ours)) == described.width(known)
    for row, sample in zip(rows, samples, strict=True):
        flat = spaces.flatten(ours, shifted(space, sample))
        np.testing.assert_array_equal(np.ravel(row).astype(np.float32), flat)


def _doubles(known):
    return any(each.get("dtype") == "float64" for _, each in described.leaves(known))


def test_our_own_spaces_are_described():
    space = spaces.Dict({"b": spaces.Discrete(3), "a": spaces.Box(-1.0, 2.0, (2,))})
    known = described.read(described.text_of(space))
    assert described.short(known) == "Dict(a: Box(-1.0, 2.0, (2,)), b: Discrete(3))"
    assert [(p.name, p.size) for p in spaces.parts(described.space(known))] == [("a", 2), ("b", 3)]
    assert described.text_of("no space") == ""


@pytest.mark.parametrize(
    ("space", "kind"),
    [
        (theirs.Text(4), "the space is Text"),
        (theirs.Dict({"a": theirs.Dict({"b": theirs.Text(4)})}), r"the space\.a\.b is Text"),
        (theirs.Sequence(theirs.Discrete(2)), "Sequence"),
        (theirs.Graph(theirs.Discrete(2), None), "Graph"),
        (theirs.OneOf([theirs.Discrete(2)]), "OneOf"),
    ],
)
def test_what_is_no_array_is_refused_by_name(space, kind):
    with pytest.raises(UserError, match=f"{kind}.*no array of a fixed size"):
        described.of(space)


def test_many_values_are_one_hot_only_where_they_fit():
    known = described.of(theirs.Discrete(20_000))
    few = described.observations(known, np.array([0, 19_999, 5]), "x")
    assert few.nbytes == 3 * 20_000 * 4 and few[1, -1] == 1 and few.sum() == 3
    many = np.zeros(10_000, np.int64)
    with pytest.raises(UserError, match=r"take 1\.5 GiB as one-hot; say discrete=index"):
        described.observations(known, many, "x")
    kept = described.observations(known, many + 7, "x", index=True)
    assert kept.shape == (10_000, 1) and (kept == 7).all()
    assert described.short(described.indexed(known)) == "Box(0, 19999, (1,))"


@pytest.mark.parametrize(
    ("space", "value", "line"),
    [
        (theirs.Discrete(3, start=1), [0], r"x go beyond their space, Discrete\(3, start=1\)"),
        (theirs.MultiDiscrete([2, 3]), [[0, 3]], r"go beyond their space, MultiDiscrete"),
        (theirs.MultiDiscrete([2, 3]), [[0]], "have 1 numbers a row, and their space has 2"),
        (theirs.Discrete(3), [0.5], "must be whole numbers, not float64"),
        (theirs.Box(0, 1, (2,)), [[0.5]], r"have the shape \[1\], and their space \[2\]"),
        (theirs.Dict({"a": theirs.Discrete(2)}), {"b": [0]}, "have no part 'a'"),
    ],
)
def test_values_of_another_space_are_refused(space, value, line):
    value = value if isinstance(value, dict) else np.array(value)
    with pytest.raises(UserError, match=line):
        described.observations(described.of(space), value, "x")


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"kind": "Box"}', '{"kind": "Graph"}', "3"])
def test_what_describes_no_space_is_one_line(line):
    with pytest.raises(UserError, match=r"describes no space|no space is a"):
        described.read(line)
