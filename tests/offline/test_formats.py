"""D4RL's, OGBench's and Minari's layouts, written here as their own tools write them."""

import builtins
import os
import sys

import numpy as np
import pytest

from jaxrl_reward import UserError, offline
from jaxrl_reward.offline import d4rl, minari, ogbench

# The extra `dev` installs both.
h5py = pytest.importorskip("h5py")
minari_library = pytest.importorskip("minari")


def rows(*values):
    """Rows whose first entry tells them apart."""
    return np.stack([np.asarray(values, np.float64), np.ones(len(values))], axis=1)


# ---- D4RL --------------------------------------------------------------------------

# Two episodes: the first terminates in its third step, the second times out in its
# fourth; then the file ends in the middle of a third.
D4RL = {
    "observations": rows(0, 1, 2, 10, 11, 12, 13, 20, 21),
    "actions": rows(*range(9)).astype(np.float32),
    "rewards": np.arange(9, dtype=np.float32),
    "terminals": np.arange(9) == 2,
    "timeouts": np.arange(9) == 6,
}
NEXT = rows(1, 2, 3, 11, 12, 13, 14, 21, 22)


def hdf5(path, **changes):
    with h5py.File(path, "w") as file:
        for name, value in {**D4RL, **changes}.items():
            if value is not None:
                file[name] = value
        file["infos/qpos"] = np.zeros((9, 4))
        file["metadata/algorithm"] = "SAC"
    return path


def test_d4rl_without_successors_drops_the_last_step_of_a_timeout(tmp_path):
    found = d4rl.read(hdf5(tmp_path / "hopper_medium_replay-v2.hdf5"))
    steps = found.steps
    # Row 6 timed out and row 8 is the file's last: where they led is not known.
    np.testing.assert_array_equal(steps.reward, [0, 1, 2, 3, 4, 5, 7])
    np.testing.assert_array_equal(steps.obs[:, 0], [0, 1, 2, 10, 11, 12, 20])
    np.testing.assert_array_equal(steps.next_obs[:, 0], [1, 2, 2, 11, 12, 13, 21])
    np.testing.assert_array_equal(steps.terminated, [0, 0, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(steps.truncated, [0, 0, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(steps.first, [1, 0, 0, 1, 0, 0, 1])
    assert [each.whole for each in found.episodes()] == [True, True, False]


def test_d4rl_agrees_with_a_plain_loop(tmp_path):
    rng = np.random.default_rng(1)
    count = 200
    given = {
        "observations": rng.normal(size=(count, 2)),
        "actions": rng.normal(size=(count, 1)),
        "rewards": rng.normal(size=count),
        "terminals": rng.random(count) < 0.1,
        "timeouts": rng.random(count) < 0.1,
    }
    given["timeouts"][-1] = True
    kept = [i for i in range(count) if given["terminals"][i] or not given["timeouts"][i]]
    steps = d4rl.read(hdf5(tmp_path / "a.hdf5", **given)).steps
    np.testing.assert_array_equal(steps.reward, np.float32(given["rewards"][kept]))
    for row, i in enumerate(kept):
        after = given["observations"][i if given["terminals"][i] else i + 1]
        np.testing.assert_array_equal(steps.next_obs[row], np.float32(after))
        dropped = i + 1 < count and i + 1 not in kept
        ends = given["terminals"][i] and given["timeouts"][i]
        assert steps.truncated[row] == (ends or (dropped and not given["terminals"][i]))


def test_d4rl_with_successors_keeps_every_step(tmp_path):
    steps = d4rl.read(hdf5(tmp_path / "a.hdf5", next_observations=NEXT)).steps
    assert steps.reward.shape == (9,)
    np.testing.assert_array_equal(steps.next_obs, NEXT)
    np.testing.assert_array_equal(steps.truncated, D4RL["timeouts"])


def test_d4rl_knows_its_reference_returns(tmp_path):
    found = d4rl.read(hdf5(tmp_path / "walker2d_medium_replay-v2.hdf5"))
    assert found.references() == offline.D4RL_RETURNS["walker2d"]
    assert (found.provenance.level, found.provenance.seed) == ("medium-replay", None)
    assert d4rl.read(hdf5(tmp_path / "maze.hdf5")).provenance.random_return is None


def test_an_old_file_of_d4rl_needs_its_clock(tmp_path):
    path = hdf5(tmp_path / "a.hdf5", timeouts=None)
    with pytest.raises(UserError, match="no field 'timeouts'; give max_steps"):
        d4rl.read(path)
    # The clock runs out in rows 6 and, had the file gone on, 10.
    np.testing.assert_array_equal(d4rl.read(path, 4).steps.reward, [0, 1, 2, 3, 4, 5, 7])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": None}, "has no field 'actions'"),
        ({"rewards": np.arange(8.0)}, "observations has 9 rows, but rewards has 8"),
        ({"observations": D4RL["observations"] * np.nan}, "obs holds a NaN or an infinity"),
        ({name: value[:0] for name, value in D4RL.items()}, "has no field 'next_obs'"),
    ],
)
def test_a_bad_file_of_d4rl_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError) as caught:
        d4rl.read(hdf5(tmp_path / "a.hdf5", **changes))
    assert message in str(caught.value) and "a.hdf5" in str(caught.value)


def test_a_file_of_one_cut_step_has_no_data(tmp_path):
    one = {name: value[3:4] for name, value in D4RL.items()}
    with pytest.raises(UserError, match="no row that has a successor"):
        d4rl.read(hdf5(tmp_path / "a.hdf5", **one))


# ---- OGBench -----------------------------------------------------------------------

# Two trajectories of three and two steps: four and three rows.
OGBENCH = {
    "observations": rows(0, 1, 2, 3, 10, 11, 12).astype(np.float32),
    "actions": rows(*range(7)).astype(np.float32),
    "terminals": np.array([0, 0, 0, 1, 0, 0, 1], np.float32),
    "qpos": np.zeros((7, 5)),
}
REWARDED = {**OGBENCH, "rewards": np.zeros(7)}


def npz(path, **changes):
    arrays = {k: v for k, v in {**OGBENCH, **changes}.items() if v is not None}
    np.savez(path, **arrays)
    return path


def check_ogbench(steps):
    np.testing.assert_array_equal(steps.obs[:, 0], [0, 1, 2, 10, 11])
    np.testing.assert_array_equal(steps.next_obs[:, 0], [1, 2, 3, 11, 12])
    np.testing.assert_array_equal(steps.action[:, 0], [0, 1, 2, 4, 5])
    np.testing.assert_array_equal(steps.truncated, [0, 0, 1, 0, 1])
    assert not steps.terminated.any()


def test_ogbench_has_a_row_more_than_steps(tmp_path):
    with pytest.warns(UserWarning, match="has no rewards: they are 0"):
        found = ogbench.read(npz(tmp_path / "antmaze-medium-navigate-v0.npz"))
    check_ogbench(found.steps)
    assert found.provenance.environment == "antmaze-medium-navigate-v0"
    np.testing.assert_array_equal(found.returns(), [0, 0])


def test_ogbench_in_its_other_forms(tmp_path):
    compact = {"terminals": np.array([0, 0, 1, 1, 0, 1, 1]), "rewards": np.arange(7.0)}
    compact |= {"valids": 1 - OGBENCH["terminals"]}
    found = ogbench.read(npz(tmp_path / "a.npz", **compact))
    check_ogbench(found.steps)
    np.testing.assert_array_equal(found.returns(), [0 + 1 + 2, 4 + 5])
    kept = OGBENCH["terminals"] == 0
    regular = {name: value[kept] for name, value in OGBENCH.items()}
    regular["next_observations"] = OGBENCH["observations"][[1, 2, 3, 5, 6]]
    regular["terminals"] = np.array([0, 0, 1, 0, 1])
    check_ogbench(ogbench.read(npz(tmp_path / "b.npz", **regular, rewards=np.zeros(5))).steps)
    # Made for one task: it is done after the first step, and the trajectory goes on.
    masks = np.array([0, 1, 1, 1, 1])
    steps = ogbench.read(npz(tmp_path / "c.npz", **regular, rewards=masks - 1.0, masks=masks)).steps
    np.testing.assert_array_equal(steps.terminated, [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(steps.first, [1, 1, 0, 1, 0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"terminals": None}, "has no field 'terminals'"),
        ({"actions": OGBENCH["actions"][:6]}, "actions has 6 rows, but observations has 7"),
        ({name: value[3:4] for name, value in REWARDED.items()}, "no row that has a successor"),
        ({name: value[:0] for name, value in REWARDED.items()}, "observations is empty"),
    ],
)
def test_a_bad_file_of_ogbench_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError) as caught:
        ogbench.read(npz(tmp_path / "a.npz", **{**REWARDED, **changes}))
    assert message in str(caught.value) and "a.npz" in str(caught.value)


# ---- Minari ------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty local store."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def test_minari_gives_back_what_was_written(dataset, store):
    minari.write(dataset, "test/medium-v0")
    found = offline.read("minari:test/medium-v0")
    for name in offline.dataset.FIELDS:
        np.testing.assert_array_equal(getattr(found.steps, name), getattr(dataset.steps, name))
    assert found.provenance.checksum == dataset.provenance.checksum
    assert found.references() == (1.0, 31.0) and found.provenance.behaviour == "sac"
    with pytest.raises(UserError, match="has a data set 'test/medium-v0' already"):
        minari.write(dataset, "test/medium-v0")
    with pytest.raises(UserError, match="did you mean 'test/medium-v0'"):
        minari.read("test/medum-v0")


def test_minari_with_spaces_of_other_kinds(store):
    spaces = pytest.importorskip("gymnasium").spaces
    observed = spaces.Dict({"goal": spaces.Discrete(3), "place": spaces.Box(0, 9, (2,))})
    episode = minari_library.data_collector.EpisodeBuffer(
        observations={"goal": np.array([1, 1, 2]), "place": np.arange(6.0).reshape(3, 2)},
        actions=np.array([0, 4]),
        rewards=[1.0, 2.0],
        terminations=[False, False],
        truncations=[False, True],
    )
    with pytest.warns(UserWarning):
        minari_library.create_dataset_from_buffers(
            "test/dict-v0", [episode], observation_space=observed, action_space=spaces.Discrete(5)
        )
    steps = minari.read("test/dict-v0").steps
    np.testing.assert_array_equal(steps.obs, [[0, 1, 0, 0, 1], [0, 1, 0, 2, 3]])
    np.testing.assert_array_equal(steps.next_obs[1], [0, 0, 1, 4, 5])
    np.testing.assert_array_equal(steps.action, [0, 4])
    np.testing.assert_array_equal(steps.truncated, [False, True])


def test_minari_cannot_hold_corrupted_successors(dataset, store):
    other = dataset.replace(steps=dataset.steps.replace(next_obs=dataset.steps.next_obs + 1))
    with pytest.raises(UserError, match="next_obs of episode 0 is not the next row's obs"):
        minari.write(other, "test/bad-v0")
    with pytest.raises(UserError, match="cannot be written"):
        minari.write(dataset, "not a name")
    assert not [each for each in store.rglob("*.hdf5")]


# ---- whatever it is ----------------------------------------------------------------


def test_the_format_is_told_by_the_content(dataset, tmp_path, store):
    ours = offline.save(dataset, tmp_path / "ours.npz")
    assert offline.read(ours).provenance == dataset.provenance
    theirs = npz(tmp_path / "theirs.npz", rewards=np.zeros(7))
    assert len(offline.read(str(theirs))) == 5
    assert len(offline.read(hdf5(tmp_path / "no_suffix"))) == 7


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", b"hello", "cannot be read as .npz"),
        ("a.csv", b"hello", "has no format that is known"),
        ("a.hdf5", d4rl.MAGIC + b"hello", "cannot be read as HDF5"),
        ("a.npz", None, "does not exist"),
        ("minari:none-v0", None, "no data set 'none-v0', there is none"),
    ],
)
def test_what_is_no_dataset_is_refused(tmp_path, store, monkeypatch, name, content, message):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        offline.read(name)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_zip_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(UserError, match="is not a dataset of jaxrl-reward"):
        offline.read(tmp_path / "a.npz")


@pytest.mark.parametrize(("package", "extra"), [("h5py", "offline"), ("minari", "minari")])
def test_a_missing_package_names_its_extra(monkeypatch, tmp_path, package, extra):
    load = builtins.__import__

    def without(name, *args, **kwargs):
        if name == package:
            raise ImportError(f"No module named {name!r}")
        return load(name, *args, **kwargs)

    path = hdf5(tmp_path / "a.hdf5")
    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, package)
    with pytest.raises(UserError, match=rf"pip install \"jaxrl-reward\[{extra}\]\""):
        offline.read(path if package == "h5py" else "minari:a-v0")


def test_nothing_is_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    np.savez(tmp_path / "a.npz", observations=np.array([Evil()], object), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read"):
        offline.read(tmp_path / "a.npz")
    assert not (tmp_path / "made").exists()
