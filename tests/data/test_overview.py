"""What the overview says of data whose every number is known, and the command that prints it."""

import json

import numpy as np
import pytest

from jaxrl_reward import UserError, cli
from jaxrl_reward import data as datasets
from jaxrl_reward.data import overview, traps


def test_an_overview_of_ten_steps(dataset):
    about = json.loads(json.dumps(overview.overview(dataset, ("beware",)), allow_nan=False))
    assert (about["steps"], about["rows"], about["episodes"]) == (10, 10, 2)
    assert about["ends"] == {"terminated": 1, "truncated": 1, "both": 0, "cut": 1}
    assert about["return"]["mean"] == 14 and about["return"]["quantiles"]["1"] == 22
    assert about["length"]["quantiles"]["0"] == 4
    assert about["reward"] == {"low": 0, "high": 9, "mean": 4.5}
    obs = np.asarray(dataset.steps.obs)
    assert about["obs"]["shape"] == [3] and about["obs"]["lows"] == obs.min(0).tolist()
    assert about["score"] == pytest.approx(100 * 13 / 30)
    assert (about["nan"], about["duplicates"], about["warnings"]) == (0, 0, ["beware"])


@pytest.mark.parametrize("kind", [np.float32, np.uint8])
def test_duplicates_are_counted(arrays, kind):
    """Rows 1 and 2 are row 0 again, and row 5 differs from it in a single number."""
    made = {name: np.array(value) for name, value in arrays.items()}
    for name in ("obs", "next_obs"):
        made[name] = (10 * made[name]).astype(kind)
    for name in ("obs", "action", "reward", "next_obs"):
        made[name][[1, 2, 5]] = made[name][0]
    made["next_obs"][5, 2] += 1
    assert traps.duplicates(datasets.make(made)) == 2


def test_one_array_for_all_rows_is_told(arrays):
    same = np.repeat([0, 1, 2], [4, 4, 2])[:, None] * np.ones((1, 3), np.float32)
    data = datasets.make({**arrays, "obs": same, "next_obs": same})
    assert any("one array may have been kept" in line for line in traps.found(data))


def test_an_invented_step_is_told():
    """As a vector environment that resets itself records: an end, then a step from there."""
    obs = np.array([0, 1, 2, 3, 10, 11, 12, 20, 21], np.float32)[:, None]
    after = np.array([1, 2, 3, 10, 11, 12, 20, 21, 22], np.float32)[:, None]
    rows = np.arange(9)
    arrays = {"obs": obs, "next_obs": after, "action": np.ones((9, 1), np.float32)}
    arrays |= {"terminated": np.isin(rows, (2, 5)), "truncated": np.zeros(9, bool)}
    reward = np.where(np.isin(rows, (3, 6)), 0.0, 1.0)
    told = traps.found(datasets.make({**arrays, "reward": reward}))
    assert any("an automatic reset invented" in line for line in told)
    assert not traps.found(datasets.make({**arrays, "reward": reward + 1}))


def test_steps_without_a_reset_and_without_an_end_are_told(arrays):
    ends = np.arange(10) >= 3
    data = datasets.make({**arrays, "terminated": ends, "truncated": ~ends & False})
    assert any("6 of 7 episodes have one step" in line for line in traps.found(data))
    none = np.zeros(10, bool)
    data = datasets.make({**arrays, "terminated": none, "truncated": none})
    assert traps.found(data) == ("no episode ends in the data: returns and lengths are of none",)


def test_plain_data_have_no_marks(dataset):
    assert traps.found(dataset) == ()


def test_the_command_prints_draws_and_converts(dataset, tmp_path, capsys):
    pytest.importorskip("h5py")
    path = datasets.save(dataset, tmp_path / "a.npz")
    out, to = tmp_path / "figure.png", tmp_path / "b.hdf5"
    assert cli.main(["data", str(path), "--out", str(out), "--to", f"d4rl:{to}"]) == 0
    said = capsys.readouterr()
    assert "episodes      2 whole; ends: 1 terminated, 1 truncated, 1 cut" in said.out
    assert f"{out} shows returns and lengths" in said.err and out.read_bytes()[:4] == b"\x89PNG"
    assert cli.main(["data", str(to), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["checksum"] == dataset.provenance.checksum


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["none.npz"], "none.npz does not exist"),
        (["a.npz", "--to", "csv:x"], "is no place to write to; it is like npz:..."),
        (["a.npz", "--to", "npz:x.txt"], "x.txt must end in .npz"),
        (["a.npz", "--out", "x.txt"], "x.txt must end in .png"),
    ],
)
def test_what_the_command_cannot_do_is_one_line(
    dataset, tmp_path, capsys, monkeypatch, words, line
):
    monkeypatch.chdir(tmp_path)
    datasets.save(dataset, "a.npz")
    assert cli.main(["data", *words]) == 2
    assert line in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["a.npz"]


def test_a_figure_needs_a_whole_episode(arrays, tmp_path):
    none = np.zeros(10, bool)
    data = datasets.make({**arrays, "terminated": none, "truncated": none})
    with pytest.raises(UserError, match="the data have none"):
        overview.draw(data, tmp_path / "a.png")
