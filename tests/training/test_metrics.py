"""Rows, and where they go."""

import sys
import time

import numpy as np
import pytest

from jaxrl_reward.training import metrics
from jaxrl_reward.training.metrics import Row, Rows
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
    assert all(within(10.0, lambda log=log: b"env_steps" in log.read_bytes()) for log in logs)


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
