"""D4RL's and OGBench's layouts, written here as their own tools write them."""

import builtins
import os
import sys

import numpy as np
import pytest

from jaxrl_reward import UserError
from jaxrl_reward import data as datasets
from jaxrl_reward.data import d4rl, files, formats, ogbench

h5py = pytest.importorskip("h5py")  # the extra `dev` installs it


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
    assert found.references() == datasets.D4RL_RETURNS["walker2d"]
    assert (found.provenance.level, found.provenance.seed) == ("medium-replay", None)
    assert d4rl.read(hdf5(tmp_path / "maze.hdf5")).provenance.random_return is None


def test_an_old_file_of_d4rl_needs_its_clock(tmp_path):
    path = hdf5(tmp_path / "a.hdf5", timeouts=None)
    with pytest.raises(UserError, match=r"say the task's clock, as in 'a\.hdf5,max_steps=1000'"):
        datasets.read(path)
    # The clock runs out in rows 6 and, had the file gone on, 10.
    for found in (datasets.read(path, max_steps=4), datasets.read(f"{path},max_steps=4")):
        np.testing.assert_array_equal(found.steps.reward, [0, 1, 2, 3, 4, 5, 7])
        np.testing.assert_array_equal(found.returns(), [0 + 1 + 2, 3 + 4 + 5 + 6])
    # Or there was none: the file's end cuts the second episode.
    found = datasets.read(f"{path},ends=terminals")
    np.testing.assert_array_equal(found.steps.first, np.isin(np.arange(8), (0, 3)))
    np.testing.assert_array_equal(found.returns(), [0 + 1 + 2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": None}, "has no field 'actions'"),
        ({"rewards": np.arange(8.0)}, "observations has 9 rows, but rewards has 8"),
        ({"observations": D4RL["observations"] * np.nan}, "obs holds a NaN or an infinity"),
        ({name: value[:0] for name, value in D4RL.items()}, "rewards is empty"),
        ({"terminals": np.full(9, 2)}, "terminals must be true or false"),
        ({"timeouts": np.full(9, np.nan)}, "timeouts must be true or false"),
        ({"timeouts": np.zeros((9, 2))}, "timeouts must have the shape [N], not [9, 2]"),
        ({"rewards": np.where(np.arange(9) == 6, np.nan, 0)}, "reward holds a NaN"),
        ({"masks": np.ones(9)}, "OGBench's masks beside D4RL's terminals, and they differ"),
    ],
)
def test_a_bad_file_of_d4rl_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError) as caught:
        d4rl.read(hdf5(tmp_path / "a.hdf5", **changes))
    assert message in str(caught.value) and "a.hdf5" in str(caught.value)


def test_an_array_without_values_is_refused(tmp_path):
    path = tmp_path / "empty.hdf5"
    hdf5(path, rewards=h5py.Empty("f4"))
    with pytest.raises(UserError, match="cannot be read as HDF5"):
        datasets.read(path)


@pytest.mark.parametrize("options", ["max_steps=x", "max_steps=0", "ends=goal", "end=both"])
def test_bad_options_behind_a_file_are_one_line(tmp_path, options):
    path = hdf5(tmp_path / "a.hdf5", timeouts=None)
    with pytest.raises(UserError, match=options[:3]) as caught:
        datasets.read(f"{path},{options}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "line"), [("max_steps=9", "has timeouts"), ("ends=terminals", "row 6")]
)
def test_options_that_a_file_contradicts_are_refused(tmp_path, option, line):
    with pytest.raises(UserError, match=line):
        datasets.read(f"{hdf5(tmp_path / 'a.hdf5')},{option}")


def test_the_last_reward_of_a_timeout_counts(tmp_path):
    """Episodes of 2 (a termination), 1 and 3 (timeouts), 1 and 2 steps, and the start of one."""
    ends = np.isin(np.arange(10), (2, 5, 6, 8))
    reward = 2.0 ** np.arange(10)
    fields = {name: value.repeat(2, axis=0)[:10] for name, value in D4RL.items()}
    fields |= {"terminals": np.arange(10) == 1, "timeouts": ends, "rewards": reward}
    found = d4rl.read(hdf5(tmp_path / "a.hdf5", **fields))
    np.testing.assert_array_equal(found.steps.reward, reward[[0, 1, 3, 4, 7]])
    np.testing.assert_array_equal(found.returns(), [1 + 2, 4, 8 + 16 + 32, 64, 128 + 256])
    np.testing.assert_array_equal(found.lengths(), [2, 1, 3, 1, 2])
    about = found.summary()
    assert (about["rows"], about["episodes"], about["left_out"]) == (5, 5, 5)
    again = datasets.load(datasets.save(found, tmp_path / "a.npz"))
    np.testing.assert_array_equal(again.returns(), found.returns())
    assert again.provenance == found.provenance


def test_a_timeout_of_a_single_row_counts_too(tmp_path):
    one = {name: value[[6, 0, 1, 6]] for name, value in D4RL.items()}
    found = d4rl.read(hdf5(tmp_path / "a.hdf5", **one))
    np.testing.assert_array_equal(found.returns(), [6, 0 + 1 + 6])
    np.testing.assert_array_equal(found.lengths(), [1, 3])


def test_a_file_says_whether_it_knows_where_terminations_led(tmp_path):
    known = lambda **more: d4rl.read(hdf5(tmp_path / "a.hdf5", **more)).provenance  # noqa: E731
    assert not known().terminal_next_obs
    assert known(next_observations=NEXT).terminal_next_obs
    assert known(terminals=np.zeros(9)).terminal_next_obs


@pytest.mark.parametrize("following", [None, NEXT])
def test_flags_and_rewards_may_be_columns(tmp_path, following):
    columns = {name: D4RL[name][:, None] for name in ("rewards", "terminals", "timeouts")}
    wide = d4rl.read(hdf5(tmp_path / "a.hdf5", next_observations=following, **columns))
    flat = d4rl.read(hdf5(tmp_path / "a.hdf5", next_observations=following))
    assert wide.provenance.checksum == flat.provenance.checksum


# Two trajectories of 6 steps that reach their goals in rows 3 and 10; at 3 the first leaves.
GOAL = {
    "observations": rows(*range(12)),
    "actions": np.zeros((12, 1)),
    "rewards": np.isin(np.arange(12), (3, 5, 10, 11)) * 1.0,
    "terminals": np.isin(np.arange(12), (3, 5, 10, 11)),
    "timeouts": np.isin(np.arange(12), (5, 11)),
}


def check_goal(found):
    np.testing.assert_array_equal(found.returns(), [2, 2])
    np.testing.assert_array_equal(found.lengths(), [6, 6])
    np.testing.assert_array_equal(found.steps.terminated, GOAL["terminals"])
    np.testing.assert_array_equal(found.steps.truncated, GOAL["timeouts"])
    assert found.summary()["episodes"] == 2
    inner = ~GOAL["timeouts"]
    np.testing.assert_array_equal(found.steps.next_obs[inner, 0], np.arange(1, 13)[inner])


@pytest.mark.parametrize("name", ["antmaze-umaze-v2.hdf5", "Ant_maze_big_sparse.hdf5"])
def test_a_trajectory_of_antmaze_goes_on_at_its_goal(tmp_path, name):
    found = datasets.read(hdf5(tmp_path / name, **GOAL))
    check_goal(found)
    again = datasets.load(datasets.save(found, tmp_path / "a.npz"))
    check_goal(again)
    path = hdf5(tmp_path / name, **{**GOAL, "timeouts": None})
    check_goal(datasets.read(f"{path},max_steps=6"))


@pytest.mark.parametrize("following", [None, rows(*range(1, 9))])
def test_a_trajectory_that_is_cut_after_its_goal_is_not_whole(tmp_path, following):
    """Its last step that anyone can learn from is at the goal, and it went on."""
    cut = {name: value[3:11] for name, value in GOAL.items()}
    cut["observations"] = rows(*range(8))
    cut["terminals"] = np.arange(8) == 6
    path = hdf5(tmp_path / "antmaze.hdf5", **cut, next_observations=following)
    found = datasets.read(path)
    assert [each.whole for each in found.episodes()] == [True, False]
    np.testing.assert_array_equal(found.lengths(), [3])
    assert found.summary()["cut_episodes"] == 1


def test_two_terminals_in_a_row_need_a_word(tmp_path):
    path = hdf5(tmp_path / "maze.hdf5", **GOAL)
    with pytest.raises(UserError, match=r"rows 10 and 11: say 'maze\.hdf5,ends=timeouts' if"):
        datasets.read(path)
    check_goal(datasets.read(path, ends="timeouts"))
    found = datasets.read(path, ends="both")
    np.testing.assert_array_equal(found.lengths(), [4, 2, 5, 1])
    # Where a file says that such a row does not follow the one before, it is told.
    after = rows(*range(1, 13))
    after[[3, 5, 10, 11]] += 0.5
    told = datasets.read(hdf5(tmp_path / "maze.hdf5", **GOAL, next_observations=after))
    np.testing.assert_array_equal(told.lengths(), [4, 2, 5, 1])
    assert told.provenance.terminal_next_obs


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
    np.testing.assert_array_equal(steps.first, [1, 0, 0, 1, 0])


def test_a_trajectory_of_ogbench_stands_at_its_goal(tmp_path):
    """Rewards of -1 until the goal, where it stays or which it passes."""
    ends = np.isin(np.arange(12), (5, 11)) * 1.0
    fields = {**GOAL, "terminals": ends, "timeouts": None, "rewards": GOAL["rewards"] - 1}
    fields |= {"masks": 1 - GOAL["rewards"], "next_observations": rows(*range(1, 13)), "qpos": None}
    found = datasets.read(npz(tmp_path / "cube-single-play-singletask-v0.npz", **fields))
    np.testing.assert_array_equal(found.returns(), [-4, -4])
    np.testing.assert_array_equal(found.lengths(), [6, 6])
    np.testing.assert_array_equal(found.steps.terminated, GOAL["terminals"])
    np.testing.assert_array_equal(found.steps.truncated, ends)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"terminals": None}, "has no field 'terminals'"),
        ({"actions": OGBENCH["actions"][:6]}, "actions has 6 rows, but observations has 7"),
        ({name: value[3:4] for name, value in REWARDED.items()}, "no row that has a successor"),
        ({name: value[:0] for name, value in REWARDED.items()}, "observations is empty"),
        ({"terminals": np.full(7, 0.5)}, "terminals must be true or false"),
        ({"masks": np.full(7, 0.5)}, "masks must be true or false"),
        ({"valids": np.full(7, -1)}, "valids must be true or false"),
    ],
)
def test_a_bad_file_of_ogbench_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError) as caught:
        ogbench.read(npz(tmp_path / "a.npz", **{**REWARDED, **changes}))
    assert message in str(caught.value) and "a.npz" in str(caught.value)


# ---- whatever it is ----------------------------------------------------------------


def test_the_format_is_told_by_the_content(dataset, tmp_path, store):
    ours = datasets.save(dataset, tmp_path / "ours.npz")
    assert datasets.read(ours).provenance == dataset.provenance
    theirs = npz(tmp_path / "theirs.npz", rewards=np.zeros(7))
    assert len(datasets.read(str(theirs))) == 5
    assert len(datasets.read(hdf5(tmp_path / "no_suffix"))) == 7


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", b"hello", "cannot be read as .npz"),
        ("a.csv", b"hello", "has no format that is known"),
        ("a.hdf5", files.HDF5 + b"hello", "cannot be read as HDF5"),
        ("a.npz", None, "does not exist"),
        ("minari:none-v0", None, "no data set 'none-v0', there is none"),
    ],
)
def test_what_is_no_dataset_is_refused(tmp_path, store, monkeypatch, name, content, message):
    if name.startswith("minari:"):
        pytest.importorskip("minari")
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        datasets.read(name)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_npz_of_d4rls_names_is_d4rls(tmp_path):
    for more in ({}, {"next_observations": NEXT}):
        npz_path, hdf5_path = tmp_path / "hopper-medium-v2.npz", tmp_path / "hopper-medium-v2.hdf5"
        np.savez(npz_path, **D4RL, **more)
        found, same = datasets.read(npz_path), d4rl.read(hdf5(hdf5_path, **more))
        assert found.provenance.checksum == same.provenance.checksum
        assert found.references() == datasets.D4RL_RETURNS["hopper"]
        np.testing.assert_array_equal(found.returns(), [0 + 1 + 2, 3 + 4 + 5 + 6])


def test_an_npz_that_may_be_either_is_refused(tmp_path):
    """Rewards, which OGBench's have with masks alone, and no timeouts, which D4RL's have."""
    np.savez(tmp_path / "a.npz", **{k: v for k, v in D4RL.items() if k != "timeouts"})
    with pytest.raises(UserError, match="has no field 'timeouts'"):
        datasets.read(tmp_path / "a.npz")


def test_ogbenchs_names_in_hdf5_are_ogbenchs(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        for name, value in REWARDED.items():
            file[name] = value
    check_ogbench(datasets.read(tmp_path / "a.hdf5").steps)


def test_a_zip_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(UserError, match="is not a dataset of jaxrl-reward"):
        datasets.read(tmp_path / "a.npz")


@pytest.mark.parametrize(("package", "extra"), [("h5py", "offline"), ("minari", "minari")])
def test_a_missing_package_names_its_extra(monkeypatch, tmp_path, package, extra):
    load = builtins.__import__

    def without(name, *args, **kwargs):
        if name == package:
            raise ImportError(f"No module named {name!r}")
        return load(name, *args, **kwargs)

    path = hdf5(tmp_path / "a.hdf5")
    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, package, raising=False)  # it need not be installed
    with pytest.raises(UserError, match=rf"pip install \"jaxrl-reward\[{extra}\]\""):
        datasets.read(path if package == "h5py" else "minari:a-v0")


def test_nothing_is_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    np.savez(tmp_path / "a.npz", observations=np.array([Evil()], object), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read"):
        datasets.read(tmp_path / "a.npz")
    assert not (tmp_path / "made").exists()


# ---- formats of one's own ------------------------------------------------------------


def simple(path):
    "Rewards, a line each."
    reward = np.array(path.read_text().split(), np.float32)
    obs = np.zeros((len(reward), 1), np.float32)
    ends = np.arange(len(reward)) == len(reward) - 1
    arrays = {"obs": obs, "next_obs": obs, "action": obs, "reward": reward}
    return datasets.make({**arrays, "terminated": ends, "truncated": ~ends & False})


@pytest.fixture
def lines(registers, tmp_path):
    (tmp_path / "a.lines").write_text("1 2 3")
    (tmp_path / "a.txt").write_text("4 5")
    return datasets.register("lines", simple, suffix=".lines")


def test_a_format_of_ones_own_is_told_by_suffix_or_name(lines, tmp_path):
    assert lines is simple and "lines" in formats.names()
    assert formats.summary("lines") == "Rewards, a line each."
    found = datasets.read(tmp_path / "a.lines")
    assert found.steps.reward.tolist() == [1, 2, 3] and found.provenance.source == "a.lines"
    assert datasets.read(f"lines:{tmp_path / 'a.txt'}").steps.reward.tolist() == [4, 5]
    assert formats.stamp(f"lines:{tmp_path / 'a.txt'}")[0][0] == str(tmp_path / "a.txt")
    datasets.register("lines", simple)  # again, and without its suffix
    with pytest.raises(UserError, match=r"a.lines has no format that .* lines:PATH, or mi"):
        datasets.read(tmp_path / "a.lines")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("lines:{}/no.txt", r"^/.*/no.txt does not exist; give a file"),
        ("{}/no.lines", r"^/.*/no.lines does not exist; give a file"),
        ("lines:{}/bad.txt", r"^/.*/bad.txt cannot be read as lines: ValueError: could not conv"),
        (
            "{}/a.lines,ends=timeouts",
            r"a.lines is read as 'lines', which has no options; leave them out",
        ),
        ("other:{}/a.txt", r"^format 'other' must give a Dataset, see data.make, and gives str"),
    ],
)
def test_what_it_cannot_read_is_one_line(lines, tmp_path, source, message):
    datasets.register("other", lambda path: path.read_text())
    (tmp_path / "bad.txt").write_text("x")
    with pytest.raises(UserError, match=message):
        datasets.read(source.format(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("d4rl", simple),
            r"format name 'd4rl' is taken by jaxrl_reward\.data\.formats\.d4rl; choose",
        ),
        (("lines", str), r"format name 'lines' is taken by .*test_formats.py; choose another"),
        (("c", simple), "format name 'c' is not an identifier of two letters or more"),
        (("x y", simple), "format name 'x y' is not an identifier of two letters or more"),
        (("more", simple, "csv"), "the suffix of format 'more' must be like .csv, not 'csv'"),
        (("more", simple, ".npz"), ".npz files are told by what they hold; leave the suffix out"),
        (("more", simple, ".lines"), ".lines files are read as 'lines'; choose another suffix"),
    ],
)
def test_a_format_that_cannot_be(lines, arguments, message):
    with pytest.raises(UserError, match=message):
        datasets.register(*arguments)
    assert "more" not in formats.names()
