"""Whose a folder is, and that what is in it is never half written."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import struct

from jaxrl_reward.training.record import run_folder
from jaxrl_reward.training.record.metrics import Rows
from jaxrl_reward.training.record.run_folder import RunFolder, load_config, load_rows
from jaxrl_reward.types import UserError


def rows(arm, step=8, value=1.5):
    return Rows.at(arm, range(2), step, {"loss": [value, 2.0], "return": [3.0, np.nan]})


def run(path, resume=False, arm="env", finish=True, **config):
    with RunFolder.claim(path, resume=resume) as folder:
        folder.register({arm: {"seeds": 4, **config}})
        if finish:
            folder.write_rows(rows(arm))
            folder.write_summary({"arms": {}})


def test_a_new_or_empty_folder_is_taken(tmp_path):
    run(tmp_path / "a/b/c")
    assert load_config(tmp_path / "a/b/c")["arms"] == {"env": {"seeds": 4}}
    (tmp_path / "notes.txt").touch()
    run(tmp_path)


def test_another_run_is_refused(tmp_path):
    run(tmp_path, more={"rate": 1})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for config in ({"more": {"rate": 1}}, {"seeds": 5}):
        with pytest.raises(UserError, match="holds another run; choose another --out"):
            run(tmp_path, **config)
    with pytest.raises(UserError, match="started with seeds = 4, not 5"):
        run(tmp_path, resume=True, seeds=5)
    with pytest.raises(UserError, match=r"with more\.rate = 1, not 2"):
        run(tmp_path, resume=True, more={"rate": 2})
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run(tmp_path, resume=True, more={"rate": 1})


def test_a_run_that_never_started_is_replaced(tmp_path):
    run(tmp_path, finish=False)
    run(tmp_path, seeds=5)
    assert load_config(tmp_path)["arms"]["env"] == {"seeds": 5}


def test_results_without_a_configuration_cannot_be_resumed(tmp_path):
    run(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"no config\.json to resume from"):
        run(tmp_path, resume=True)
    (tmp_path / "config.json").write_text('{"arms": ')
    with pytest.raises(UserError, match="cannot be read"):
        run(tmp_path, resume=True)


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file/inside"):
        with pytest.raises(UserError, match="is not a folder"):
            run(path)


def test_two_processes_cannot_share_a_folder(tmp_path):
    program = (
        "import sys, time; from jaxrl_reward.training.record.run_folder import RunFolder\n"
        f"RunFolder.claim({str(tmp_path)!r}); print('claimed', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "claimed\n"
            with pytest.raises(UserError, match="another process is running"):
                run(tmp_path)
        finally:
            other.kill()
    run(tmp_path)  # the claim ended with the process


def test_an_arm_is_named_once(tmp_path):
    with RunFolder.claim(tmp_path) as folder:
        folder.register({"env": {}})
        with pytest.raises(UserError, match="two arms are called 'env'"):
            folder.register({"env": {}})
        with pytest.raises(UserError, match="needs a name"):
            folder.register({"": {}})


def test_rows_of_an_arm_are_replaced_in_place(tmp_path):
    with RunFolder.claim(tmp_path) as folder:
        folder.write_rows(rows("b"))
        folder.write_rows(rows("a"))
        folder.write_rows(rows("b", value=9.0))
        assert load_rows(tmp_path) == Rows.concatenate([rows("b", value=9.0), rows("a")])
        (tmp_path / "metrics.parquet").write_bytes(b"PAR1")
        with pytest.warns(UserWarning, match="it is written again"):
            folder.write_rows(rows("a"))
    assert load_rows(tmp_path / "metrics.parquet") == rows("a")
    with pytest.raises(UserError, match="does not exist"):
        load_rows(tmp_path / "nothing")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_crash_leaves_the_old_file(tmp_path, monkeypatch, call):
    def crash(*_):
        raise KeyboardInterrupt

    with RunFolder.claim(tmp_path) as folder:
        folder.write_rows(rows("env"))
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, call, crash)
            folder.write_rows(rows("env", value=9.0))
        assert load_rows(tmp_path) == rows("env")
        folder.register({"env": {}})
    assert not list(tmp_path.glob(".partial-*"))


def test_what_a_killed_run_was_writing_is_removed_and_nothing_else(tmp_path):
    run(tmp_path)
    mine = [".partial-notes", ".partial-7-notes.txt", ".partial-x-config.json"]
    for name in (*mine, ".partial-7-config.json", ".partial-7-figure.png"):
        (tmp_path / name).touch()
    (tmp_path / ".partial-7-metrics.parquet").mkdir()
    RunFolder.claim(tmp_path, resume=True).close()
    left = {path.name for path in tmp_path.glob(".partial-*")}
    assert left == {*mine, ".partial-7-metrics.parquet"}


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "report.md",
        "figure.png",
        "notes.png",
        "metrics.parquet",
        "summary.json",
        "sweep.json",
        "study.log",
        "trials",
    ],
)
def test_files_that_are_no_runs_are_refused_and_left(tmp_path, name, resume):
    (tmp_path / name).write_bytes(b'{"hidden_size": 768}')
    with pytest.raises(UserError, match="choose") as caught:
        run(tmp_path, resume=resume)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert (tmp_path / name).read_bytes() == b'{"hidden_size": 768}'
    assert {path.name for path in tmp_path.iterdir()} == {name, ".lock"}


def test_a_folder_that_is_a_users_checkpoints_is_refused(tmp_path):
    (tmp_path / "checkpoints/ppo/2024").mkdir(parents=True)
    (tmp_path / "checkpoints/ppo/2024/photo").touch()
    with pytest.raises(UserError, match="choose another --out"):
        run(tmp_path)
    assert (tmp_path / "checkpoints/ppo/2024/photo").exists()


def test_a_run_does_not_go_into_a_sweep_or_a_search(tmp_path):
    for mark, what in run_folder.MARKS.items():
        folder = tmp_path / what
        with RunFolder.claim(folder, mark=mark):
            (folder / mark).touch()
        for resume in (False, True):
            with pytest.raises(UserError, match=f"holds a {what}; choose another --out"):
                run(folder, resume=resume)
            with pytest.raises(UserError, match="holds a"):
                RunFolder.claim(tmp_path / "sweep", resume=resume, mark="study.log")
        with pytest.raises(UserError, match=f"holds another {what}.* --resume"):
            RunFolder.claim(folder, mark=mark)
        RunFolder.claim(folder, mark=mark, resume=True).close()


def test_a_resumed_run_has_all_arms_that_were_there(tmp_path):
    run(tmp_path, arm="ppo")
    with RunFolder.claim(tmp_path, resume=True) as folder:
        folder.expect(["ppo", "sac"])
        with pytest.raises(UserError, match="holds another run, with an arm 'ppo'"):
            folder.expect(["sac"])


def test_configuration_becomes_json():
    class Config(struct.PyTreeNode):
        rate: float = 0.1
        sizes: tuple = (64, 64)
        table: object = None

    value = run_folder.plain({1: Config(table=np.float32([0.5])), "type": int})
    assert json.loads(run_folder.to_json(value)) == {
        "1": {"rate": 0.1, "sizes": [64, 64], "table": [0.5]},
        "type": "<class 'int'>",
    }


def test_other_versions_are_a_warning(tmp_path):
    run(tmp_path)
    config = load_config(tmp_path)
    now = config["packages"].pop("flax")
    config["packages"]["jax"], config["python"] = "0.1", "3.9.9"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.warns(UserWarning, match="may go on as another would") as told:
        run(tmp_path, resume=True)
    said = [f"jax 0.1 (now {jax.__version__})", "python 3.9.9 (now 3.", f"flax absent (now {now})"]
    assert all(part in str(told[0].message) for part in said)
    assert "optax" not in str(told[0].message)  # which is as it was


def test_summaries_of_arms_add_up():
    common = {"env_steps": 100, "compile_seconds": 1.0, "wall_seconds": 9.0, "device": "cpu"}
    merged = run_folder.merge_summaries(
        [
            {**common, "arms": {"a": {"iqm": 1}}, "steps_per_second": 50.0},
            {**common, "arms": {"b": {"iqm": 2}}, "steps_per_second": 100.0},
        ],
        [{"claim": "a < b", "status": "holds"}],
    )
    assert merged["arms"] == {"a": {"iqm": 1}, "b": {"iqm": 2}}
    assert merged["steps_per_second"] == pytest.approx(200 / 3)
    assert (merged["env_steps"], merged["wall_seconds"]) == (200, 18.0)
    assert merged["verdicts"][0]["status"] == "holds"


@pytest.mark.parametrize("arm", ["a/b", "..", ".", "env + 0.1*counts() | clip(-1, 1)", "x" * 300])
def test_any_arm_has_a_folder_of_its_own(tmp_path, arm):
    folder = run_folder.checkpoints_of(tmp_path, arm)
    folder.mkdir(parents=True)
    assert folder.resolve().parent == (tmp_path / "checkpoints").resolve()
    assert run_folder.checkpoints_of(tmp_path, arm + "y") != folder
