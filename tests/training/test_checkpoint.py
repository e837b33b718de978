"""A checkpoint comes back whole, or is recognised as damaged."""

import logging
import os
import random
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest
from flax import struct

from jaxrl_reward.training.record import checkpoint
from jaxrl_reward.types import UserError


class Inner(NamedTuple):
    key: jax.Array
    empty: jax.Array


class State(struct.PyTreeNode):
    a: jax.Array
    inner: Inner
    extras: dict
    size: int = struct.field(pytree_node=False, default=2)


def example(scale: float = 1.0) -> State:
    return State(
        a=scale * jnp.arange(6.0).reshape(2, 3),
        inner=Inner(jax.random.split(jax.random.key(7), 2), jnp.zeros((2, 0))),
        extras={
            "half": jnp.ones((2, 1), jnp.bfloat16),
            "count": jnp.array([1, 2**31], jnp.uint32),
            "flag": jnp.array([True, False]),
            "bounds": jnp.array([-jnp.inf, jnp.nan]),
            "nothing": None,
        },
    )


def abstract(state):
    return jax.eval_shape(lambda: state)


def test_every_kind_of_leaf_comes_back(tmp_path, assert_same):
    checkpoint.save(tmp_path, 8, example(), {"a": [1, 2.5]}, files={"note": b"\0text"})
    restored = checkpoint.restore(tmp_path, abstract(example()))
    assert restored is not None
    assert_same(restored.tree, example())
    assert (restored.step, restored.meta, restored.read("note")) == (8, {"a": [1, 2.5]}, b"\0text")


def test_the_newest_are_kept_and_later_ones_dropped(tmp_path):
    for step in (0, 9, 10, 100):
        checkpoint.save(tmp_path, step, example(), {})
    assert checkpoint.steps(tmp_path) == [10, 100]
    checkpoint.save(tmp_path, 50, example(), {}, keep=3)
    assert checkpoint.steps(tmp_path) == [10, 50]
    checkpoint.save(tmp_path, 50, example(2.0), {}, keep=1)
    assert checkpoint.steps(tmp_path) == [50]
    restored = checkpoint.restore(tmp_path, abstract(example()))
    assert restored is not None
    assert restored.tree.a[1, 2] == 10.0


def test_what_is_no_checkpoint_is_left_alone(tmp_path):
    for name in ("2023", "2030", ".partial-notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "photo").touch()
    (tmp_path / ".partial-3").mkdir()
    for step in (5, 6, 7):
        checkpoint.save(tmp_path, step, example(), {})
    with pytest.raises(UserError, match="2023 is no checkpoint; choose another folder"):
        checkpoint.save(tmp_path, 2023, example(), {})
    kept = {path.name for path in tmp_path.iterdir()} - {".partial-2023"}
    assert kept == {"2023", "2030", ".partial-notes", "6", "7"}
    assert all((tmp_path / name / "photo").exists() for name in ("2023", "2030", ".partial-notes"))


def test_nothing_there_is_none(tmp_path):
    assert checkpoint.restore(tmp_path / "absent", abstract(example())) is None
    (tmp_path / ".partial-5").mkdir()
    assert checkpoint.restore(tmp_path, abstract(example())) is None


def corrupt(path, rng):
    """One change to one file of a checkpoint, of a kind that disks and crashes make."""
    files = sorted(each for each in path.rglob("*") if each.is_file())
    file = rng.choice(files)
    content = bytearray(file.read_bytes())
    kind = rng.choice(["flip", "truncate", "append", "delete", "zero", "swap", "extra"])
    if kind == "flip":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == "truncate":
        del content[rng.randrange(len(content)) :]
    elif kind == "append":
        content += b"\0"
    elif kind == "zero":
        content[:] = bytes(len(content))
    elif kind == "swap":
        content[:] = b"other" + content
    file.write_bytes(content)
    if kind == "delete":
        file.unlink()
    if kind == "extra":
        (file.parent / "extra").write_bytes(b"")
    return f"{kind} {file.name}"


def test_a_hundred_corruptions_are_recognised(tmp_path):
    good = checkpoint.save(tmp_path, 8, example(), {"rows": 3}, files={"rows": b"12345"})
    assert checkpoint.damage(good) is None
    for number in range(100):
        copy = tmp_path / "copy"
        shutil.copytree(good, copy)
        what = corrupt(copy, random.Random(number))
        assert checkpoint.damage(copy) is not None, what
        shutil.rmtree(copy)


def test_every_bit_of_the_manifest_counts(tmp_path):
    good = checkpoint.save(tmp_path, 8, example(), {})
    content = (good / "manifest.json").read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        (good / "manifest.json").write_bytes(changed)
        assert checkpoint.damage(good) is not None, content[place - 20 : place + 20]


@pytest.mark.parametrize("number", range(4))
def test_the_previous_good_one_is_used_with_a_warning(tmp_path, assert_same, number):
    checkpoint.save(tmp_path, 4, example(4.0), {})
    corrupt(checkpoint.save(tmp_path, 8, example(8.0), {}), random.Random(number))
    message = "8 is damaged .* using the one at step 4"
    with pytest.warns(checkpoint.CheckpointWarning, match=message):
        restored = checkpoint.restore(tmp_path, abstract(example()))
    assert restored is not None
    assert_same(restored.tree, example(4.0))


def test_only_damaged_ones_are_an_error(tmp_path):
    for step in (4, 8):
        (checkpoint.save(tmp_path, step, example(), {}) / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"no readable checkpoint .*8: manifest.json is missing"):
        checkpoint.restore(tmp_path, abstract(example()))


def test_a_checkpoint_moved_to_another_step_is_not_used(tmp_path):
    checkpoint.save(tmp_path, 4, example(), {}).rename(tmp_path / "8")
    with pytest.raises(UserError, match="it is of step 4"):
        checkpoint.restore(tmp_path, abstract(example()))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (example().replace(a=jnp.ones((2, 4))), r"a is \[2, 3\] float32 there, \[2, 4\] float32"),
        (example().replace(a=jnp.ones((2, 3), int)), "float32 there, .* int32 here"),
        (example().replace(extras={}), "extras.bounds is .* there, absent here"),
        (example().replace(extras=jnp.ones(2)), "extras is absent there"),
        (
            example().replace(inner=Inner(jnp.ones((2, 2), jnp.uint32), jnp.zeros((2, 0)))),
            r"inner.key is \[2\] key<fry> there",
        ),
    ],
)
def test_a_checkpoint_of_another_agent_is_one_line(tmp_path, other, message):
    checkpoint.save(tmp_path, 4, example(), {})
    with pytest.raises(UserError, match=message) as caught:
        checkpoint.restore(tmp_path, abstract(other))
    assert "\n" not in str(caught.value)


def test_a_crash_at_any_write_leaves_the_previous_checkpoint(tmp_path, monkeypatch, assert_same):
    """The process may end before any call that makes something durable or visible."""
    checkpoint.save(tmp_path, 4, example(4.0), {})
    real = {name: getattr(os, name) for name in ("fsync", "replace")}
    crashed = 0
    while True:
        left = [crashed]

        def call(name, *args, left=left):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return real[name](*args)

        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, lambda *args, name=name: call(name, *args))
            try:
                checkpoint.save(tmp_path, 8, example(8.0), {})
                break
            except KeyboardInterrupt:
                crashed += 1
        restored = checkpoint.restore(tmp_path, abstract(example()))
        assert restored is not None
        assert_same(restored.tree, example(float(restored.step)))
        if restored.step == 8:
            shutil.rmtree(tmp_path / "8")
    assert crashed > 10
    assert checkpoint.steps(tmp_path) == [4, 8]
    assert not list(tmp_path.glob(".*"))


def test_logging_is_left_as_it_was(tmp_path, caplog):
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("absl").level)
    with caplog.at_level(logging.INFO):
        caplog.clear()
        checkpoint.save(tmp_path, 4, example(), {})
        checkpoint.restore(tmp_path, abstract(example()))
    assert before == (root.level, list(root.handlers), logging.getLogger("absl").level)
    assert not [record for record in caplog.records if record.name == "absl"]
