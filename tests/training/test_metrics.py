"""Rows, and where they go."""

import json
import sys
import time
import types

import numpy as np
import pytest

from jaxrl_reward.training.record import metrics
from jaxrl_reward.training.record.metrics import Row, Rows
from jaxrl_reward.types import UserError


def example():
    first = Rows.at("env", [3, 4], 8, {"return": [1.0, 2.0], "loss": [np.nan, 0.5]})
    later = Rows.at("env", [3, 4], 16, {"return": [3.0, 5.0]})
    return Rows.concatenate([first, later, Rows.at("other", [3], 8, {"return": [9.0]})])


def test_rows_read_as_a_sequence():
    rows = example()
    expected = [
        Row("env", 4, 8, "loss", 0.5),
        Row("env", 3, 8, "return", 1.0),
        Row("env", 4, 8, "return", 2.0),
        Row("env", 3, 16, "return", 3.0),
        Row("env", 4, 16, "return", 5.0),
        Row("other", 3, 8, "return", 9.0),
    ]
    assert list(rows) == expected == [rows[i] for i in range(len(rows))]
    assert rows[-1] == expected[-1]
    assert rows[1:3] == expected[1:3]
    assert list(rows.where(arm="env", seed=3)) == [expected[1], expected[3]]
    assert Rows() == Rows.concatenate([]) == rows.where(arm="absent")
    with pytest.raises(IndexError):
        rows[6]


def test_a_curve_is_seeds_by_points():
    steps, values = example().curve("return", arm="env")
    assert steps.tolist() == [8, 16]
    assert values.tolist() == [[1.0, 3.0], [2.0, 5.0]]
    _, loss = example().where(arm="env").curve("loss")
    assert loss.tolist() == [[0.5]]


def test_averages_have_no_value_where_nothing_counted():
    total, count = np.float32([[6.0, 1.0], [0.0, 2.0]]), np.float32([[3.0, 1.0], [0.0, 4.0]])
    means = metrics.averages(total, count, ["a", "b"])
    np.testing.assert_array_equal(means["a"], [2.0, np.nan])
    np.testing.assert_array_equal(means["b"], [1.0, 0.5])


def test_tensorboard_gets_means_over_seeds(tmp_path):
    pytest.importorskip("tensorboardX")
    sink = metrics.TensorBoard(tmp_path)
    sink.write(example())
    sink.close()
    found = {}
    for arm in ("env", "other"):
        (events,) = (tmp_path / arm).iterdir()
        for event in read_events(events.read_bytes()):
            for value in event.summary.value:
                found[arm, value.tag, event.step] = value.simple_value
    assert found == {
        ("env", "loss", 8): 0.5,
        ("env", "return", 8): 1.5,
        ("env", "return", 16): 4.0,
        ("other", "return", 8): 9.0,
    }


def read_events(content):
    """TensorBoard's records: length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    while content:
        length = int.from_bytes(content[:8], "little")
        yield Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]


def test_wandb_works_without_a_network(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    sink = metrics.WandB("project", group="run", mode="offline", folder=tmp_path)
    sink.write(example())
    sink.close()
    logs = list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert len(logs) == 2  # one for each arm
    assert all(within(10.0, lambda log=log: b"return" in log.read_bytes()) for log in logs)


def by_turns(step):
    return [metrics.Row(arm, 0, step, "return", 1.0) for arm in ("a", "b", "c")]


def test_wandb_has_one_run_for_each_arm_that_reports_by_turns(tmp_path, monkeypatch):
    """Also when the run is resumed: its arms go on in W&B's runs of before."""
    logged, configs = {}, []
    arms = {
        name: {"env": "e", "config": {"gamma": i, "hidden": [4]}} for i, name in enumerate("abc")
    }
    (tmp_path / "config.json").write_text(json.dumps({"arms": arms}))

    class Run:
        def __init__(self, id, name, reinit, allow_val_change, config, **_):
            assert reinit == "create_new" and allow_val_change
            configs.append(config)
            self.steps = logged.setdefault((id, name), [])
            self.open = True

        def define_metric(self, *_, **__): ...

        def log(self, row):
            assert self.open
            self.steps.append(row["step"])

        def finish(self):
            self.open = False

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=lambda **o: Run(**o)))
    for steps in ((0, 100, 200), (200, 300)):
        sink = metrics.WandB("project", folder=tmp_path, config={"command": "it"})
        for step in steps:
            sink.write(by_turns(step))
        sink.close()
    said = {"env": "e", "hidden": [4], "command": "it"}
    assert configs == 2 * [{"gamma": i, **said} for i in range(3)]
    assert sorted(name for _, name in logged) == ["a", "b", "c"]
    assert all(steps == [0, 100, 200, 200, 300] for steps in logged.values())
    sink = metrics.WandB("project", folder=tmp_path / "another")
    sink.write(by_turns(0))
    assert len(logged) == 6 and configs[-1] == {}


def test_wandb_itself_keeps_several_runs_open(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    sink = metrics.WandB("project", group="run", mode="offline", folder=tmp_path)
    for step in (0, 100, 200):
        sink.write(by_turns(step))
    sink.close()
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 3


def test_tensorboard_shows_a_resumed_step_once(tmp_path):
    pytest.importorskip("tensorboardX")
    for steps in ((0, 100, 200), (200, 300)):
        sink = metrics.TensorBoard(tmp_path)
        for step in steps:
            sink.write(by_turns(step))
        sink.close()
    for arm in "abc":
        files = sorted((tmp_path / arm).iterdir(), key=lambda file: file.stat().st_mtime_ns)
        events = [event for file in files for event in read_events(file.read_bytes())]
        # TensorBoard forgets what is at or after the step of a START it meets.
        shown = []
        for event in events:
            if event.HasField("session_log") and event.session_log.status == 1:
                shown = [step for step in shown if step < event.step]
            shown += [event.step] * len(event.summary.value)
        assert shown == [0, 100, 200, 300]


def test_a_dashboard_that_fails_ends_no_run():
    class Broken:
        def write(self, rows):
            raise OSError("no network\nat all")

    class Good(list):
        def write(self, rows):
            self.append(rows)

    good = Good()
    with pytest.warns(UserWarning, match="Broken is dropped: no network at all"):
        assert metrics.show(by_turns(0), (Broken(), good)) == (good,)
    assert good == [by_turns(0)]


def within(seconds, holds):
    """Whether it becomes true in time: wandb writes from another process."""
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.05)
    return holds()


@pytest.mark.parametrize(
    ("sink", "module", "extra"),
    [
        (metrics.TensorBoard, "tensorboardX", "tensorboard"),
        (metrics.WandB, "wandb", "wandb"),
    ],
)
def test_a_missing_extra_is_named(monkeypatch, sink, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"pip install 'jaxrl-reward\[{extra}\]'"):
        sink("anywhere")
