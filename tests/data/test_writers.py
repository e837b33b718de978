"""Whatever is written is read again to the last bit, and others can read it too."""

import dataclasses
import os
import warnings

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxrl_reward import UserError, spaces
from jaxrl_reward import data as datasets
from jaxrl_reward.data import described, formats

h5py = pytest.importorskip("h5py")  # the extra `dev` installs it

KINDS = {
    "box": spaces.Box(-2.0, 2.0, (2,)),
    "bytes": spaces.Box(0, 255, (3, 2), np.uint8),
    "discrete": spaces.Discrete(4),
    "dict": spaces.Dict({"place": spaces.Box(-2.0, 2.0, (2,)), "goal": spaces.Discrete(3)}),
}
ACTIONS = {
    "box": spaces.Box(-2.0, 2.0, (2,)),
    "discrete": spaces.Discrete(4),
    "several": spaces.MultiDiscrete([2, 3]),
}


def drawn(rng, space, rows):
    """Values of a space as rows."""
    if isinstance(space, spaces.Box):
        if space.dtype == np.uint8:
            return rng.integers(0, 256, (rows, *space.shape)).astype(np.uint8)
        return rng.uniform(-2, 2, (rows, *space.shape)).astype(np.float32)
    if isinstance(space, spaces.Discrete):
        return rng.integers(0, space.n, rows)
    if isinstance(space, spaces.MultiDiscrete):
        return np.stack([rng.integers(0, n, rows) for n in space.nvec], axis=1)
    return {name: drawn(rng, each, rows) for name, each in space.spaces.items()}


def some(seed, seen, acted, whole=False, chained=True):
    """A random set: one to five episodes, ended in every way; `whole` ones are not cut inside."""
    rng = np.random.default_rng(seed)
    observed, acts = described.of(KINDS[seen]), described.of(ACTIONS[acted])
    parts = []
    count = int(rng.integers(1, 6))
    for i in range(count):
        rows = int(rng.integers(1, 6))
        obs = described.observations(observed, drawn(rng, KINDS[seen], rows + 1), "obs")
        end = rng.choice(
            ["goal", "clock", "both"]
            if whole and i < count - 1
            else ["goal", "clock", "both", "cut"]
        )
        last = np.arange(rows) == rows - 1
        after = obs[1:].copy()
        if not chained:
            after[:] = obs[rng.integers(0, rows + 1, rows)]
        parts.append(
            {
                "obs": obs[:-1],
                "next_obs": after,
                "action": described.actions(acts, drawn(rng, ACTIONS[acted], rows), "action"),
                "reward": rng.normal(size=rows).astype(np.float32),
                "first": np.arange(rows) == 0,
                "terminated": last & (end in ("goal", "both")),
                "truncated": last & (end in ("clock", "both")),
            }
        )
    known = datasets.Provenance(
        environment="counter",
        behaviour="sac",
        level="medium",
        corruption="random reward",
        versions=(("jax", "0.9.2"),),
        random_return=-1.0,
        expert_return=3.0,
        assumed=("nothing",),
        observation_space=described.text(observed),
        action_space=described.text(acts),
    )
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return datasets.make(arrays, known)


def check_same(found, given):
    for name, (a, b) in {
        name: (getattr(found.steps, name), getattr(given.steps, name))
        for name in datasets.dataset.FIELDS
    }.items():
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes() and a.shape == b.shape, name
    assert found.provenance.checksum == given.provenance.checksum
    np.testing.assert_array_equal(found.returns(), given.returns())


ROUND = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@ROUND
@given(
    st.integers(0, 2**31),
    st.sampled_from(list(KINDS)),
    st.sampled_from(list(ACTIONS)),
    st.booleans(),
    st.sampled_from(["npz:a.npz", "d4rl:a.hdf5"]),
)
def test_our_own_and_d4rls_hold_everything(tmp_path, seed, seen, acted, chained, target):
    data = some(seed, seen, acted, chained=chained)
    name, _, place = target.partition(":")
    written = formats.write(data, f"{name}:{tmp_path / place}")
    found = datasets.read(written)
    check_same(found, data)
    assert found.provenance == data.provenance


@settings(ROUND, max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from(list(KINDS)), st.sampled_from(list(ACTIONS)))
@pytest.mark.filterwarnings("ignore")
def test_minari_holds_everything(store, seed, seen, acted):
    """In its own spaces: parts are parts again, and Minari's library finds every value in them."""
    minari = pytest.importorskip("minari")
    data = some(seed, seen, acted)
    name = f"test/{seen}-{acted}-{seed}-v0"
    if (store / name).exists():
        return
    datasets.minari.write(data, name)
    found = datasets.read(f"minari:{name}")
    check_same(found, data)
    kept = dataclasses.asdict(found.provenance)
    given = dataclasses.asdict(data.provenance) | {"source": f"minari:{name}"}
    for each in ("format", "format_version"):
        given[each] = kept[each]
    assert kept == given
    loaded = minari.load_dataset(name)
    for space, known in (
        (loaded.observation_space, given["observation_space"]),
        (loaded.action_space, given["action_space"]),
    ):
        assert described.of(space) == described.read(known)
    for each in loaded.iterate_episodes():
        for i in range(len(each.rewards)):
            value = jax.tree.map(lambda x, i=i: x[i], each.observations)
            assert loaded.observation_space.contains(value)
            assert loaded.action_space.contains(each.actions[i])
    assert loaded.storage.metadata["ref_max_score"] == 3.0
    assert "counter medium random reward (jax 0.9.2)" in loaded.storage.metadata["description"]


def test_d4rls_own_loop_finds_the_steps(tmp_path):
    """As `qlearning_dataset` goes through a file: the next row follows, timeouts are skipped."""
    data = some(3, "box", "box", whole=True)
    datasets.write(data, f"d4rl:{tmp_path / 'a.hdf5'}")
    with h5py.File(tmp_path / "a.hdf5") as file:
        arrays = {
            name: np.asarray(value) for name, value in file.items() if hasattr(value, "shape")
        }
        assert file["metadata/environment"].asstr()[()] == "counter"
    assert set(arrays) == {
        *("observations", "actions", "rewards", "terminals", "timeouts", "next_observations"),
    }
    count, kept = len(arrays["rewards"]), 0
    for i in range(count - 1):
        if arrays["timeouts"][i] or arrays["terminals"][i]:
            continue
        kept += 1
        np.testing.assert_array_equal(arrays["observations"][i + 1], data.steps.next_obs[i])
    assert kept > 3


def test_a_cut_in_the_middle_ends_a_trajectory_for_others(tmp_path):
    many = [some(seed, "box", "box") for seed in range(20)]
    data = next(x for x in many if not all(each.whole for each in x.episodes()[:-1]))
    datasets.write(data, f"d4rl:{tmp_path / 'a.hdf5'}")
    stops = [each.stop - 1 for each in data.episodes()]
    with h5py.File(tmp_path / "a.hdf5") as file:
        over = np.asarray(file["timeouts"]) | np.asarray(file["terminals"])
    assert over[stops[:-1]].all() and over.sum() == len(stops) - (not data.episodes()[-1].whole)
    check_same(datasets.read(tmp_path / "a.hdf5"), data)


def test_what_is_left_out_is_kept(tmp_path):
    rows = np.arange(6)
    with h5py.File(tmp_path / "theirs.hdf5", "w") as file:
        for name, value in {"observations": rows[:, None], "actions": rows[:, None] / 9}.items():
            file[name] = value.astype(np.float32)
        file["rewards"], file["terminals"] = rows * 1.0, rows < 0
        file["timeouts"] = rows % 3 == 2
    data = datasets.read(tmp_path / "theirs.hdf5")
    datasets.write(data, f"d4rl:{tmp_path / 'ours.hdf5'}")
    found = datasets.read(tmp_path / "ours.hdf5")
    check_same(found, data)
    np.testing.assert_array_equal(found.returns(), [3, 12])
    assert found.provenance == data.provenance


def test_bounds_that_do_not_hold_are_opened(store):
    minari = pytest.importorskip("minari")
    data = some(0, "box", "box")
    beyond = data.replace(steps=data.steps.replace(action=data.steps.action * 5))
    with pytest.warns(UserWarning, match="actions go beyond their space"):
        datasets.minari.write(beyond, "a-v0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = minari.load_dataset("a-v0")
    assert np.isinf(loaded.action_space.high).all() and loaded.observation_space.high[0] == 2


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("a.npz", "is no place to write to; it is like npz:..., d4rl:..., minari:..."),
        ("csv:a.csv", "is no place to write to"),
        ("d4rl:a.npz", "must end in .hdf5"),
        ("npz:a.hdf5", "must end in .npz"),
        ("minari:no name", "is no name of a data set"),
    ],
)
def test_where_nothing_can_be_written(dataset, store, tmp_path, monkeypatch, target, line):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        formats.write(dataset, target)
    assert line in str(caught.value) and not list(tmp_path.glob("a.*"))


def test_an_interrupted_write_leaves_the_old_file(dataset, tmp_path, monkeypatch):
    path = tmp_path / "a.hdf5"
    datasets.write(dataset, f"d4rl:{path}")
    before = path.read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        datasets.write(dataset.replace_provenance(level="other"), f"d4rl:{path}")
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
