"""Paths and texts as users give them, and files that are replaced whole or not at all."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import data as datasets
from jaxrl_reward import files, training
from jaxrl_reward.files import read_text, replacing, user_path, write_atomic
from jaxrl_reward.nn import reward_models
from jaxrl_reward.report import plots
from jaxrl_reward.rewards.imitation.demonstrations import demonstrations
from jaxrl_reward.training.experiments import experiment
from jaxrl_reward.training.record import checkpoint, metrics
from jaxrl_reward.training.sweeps import sweep_spec
from jaxrl_reward.types import Transition, UserError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, beside the one that is worked in."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    yield tmp_path / "home"
    assert not [name for name in os.listdir() if name.startswith("~")]


def test_a_tilde_is_the_home_folder(home):
    assert user_path("~") == user_path(Path("~")) == home
    assert user_path("~/a/b.npz") == user_path(Path("~/a/b.npz")) == home / "a/b.npz"
    if (other := os.path.expanduser("~root")) != "~root":  # where there is a list of users
        assert user_path("~root/x") == Path(other) / "x"
    for plain in ("a/~/b", "a~", "/~", "."):
        assert user_path(plain) == Path(plain)


def test_a_folder_that_is_called_so_is_written_with_a_dot(home):
    found = user_path("./~/a")
    assert found == home.parent / "work/~/a" == user_path(found)


@pytest.mark.parametrize("path", ["", "a\0b", b"a", "~nobody-of-this-name/x"])
def test_what_is_no_path_is_one_line(path):
    with pytest.raises(UserError) as caught:
        user_path(path)
    assert "\n" not in str(caught.value) and "\0" not in str(caught.value)


def dataset():
    rows = np.arange(4, dtype=np.float32)
    flags = {"terminated": rows == 3, "truncated": rows == 9}
    action = np.zeros(4, np.int32)
    return datasets.make(
        {"obs": rows[:, None], "next_obs": rows[:, None], "action": action, "reward": rows, **flags}
    )


def step():
    zero = jnp.zeros(())
    return Transition(
        obs=jnp.zeros(1), action=jnp.int32(0), env_reward=zero, reward=zero,
        next_obs=jnp.zeros(1), first=zero > 0, terminated=zero > 0, truncated=zero > 0,
    )  # fmt: skip


def test_data_is_saved_and_read_under_the_home_folder(home):
    assert datasets.save(dataset(), "~/x.npz") == home / "x.npz"
    for read in (datasets.load, datasets.read):
        assert len(read("~/x.npz")) == len(read(Path("~/x.npz"))) == 4
    assert len(demonstrations("~/x.npz").obs) == len(demonstrations(Path("~/x.npz")).obs) == 4
    with pytest.raises(UserError, match=str(home)):
        datasets.read("~/absent.hdf5")


KEY = jax.random.key(0)


def test_a_reward_model_is_saved_and_read_under_the_home_folder(home):
    reward_models.init(KEY, step(), width=4).save("~/m.npz")
    assert reward_models.load("~/m.npz").width == 4
    assert os.listdir(home) == ["m.npz"]


def test_runs_and_figures_are_written_under_the_home_folder(home):
    with training.RunFolder.claim("~/run") as folder:
        folder.register({"env": {"seeds": 1}})
        folder.write_rows(metrics.Rows.at("env", [0], 8, {"return": [1.0]}))
    assert training.load_config("~/run")["arms"] == {"env": {"seeds": 1}}
    rows = training.load_rows("~/run")
    assert plots.learning_curves(rows.table, "~/f.png") == home / "f.png"
    checkpoint.save("~/c", 3, {"a": jnp.ones(2)}, {})
    assert checkpoint.steps("~/c") == checkpoint.steps(home / "c") == [3]
    (home / "s.toml").write_text("[grid]")
    with pytest.raises(UserError, match=rf"^{home}/s\.toml: "):
        sweep_spec.read("~/s.toml")
    (home / "e.py").write_text("")
    with pytest.raises(UserError, match=rf"^{home}/e\.py must define one"):
        experiment.load("~/e.py")


TEXT = 'env = "gymnax:CartPole-v1"\r\nname = "\u00e9"\r\n'


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_text_may_begin_with_a_mark(tmp_path, codec):
    (tmp_path / "a.toml").write_bytes(TEXT.encode(codec))
    assert read_text(tmp_path / "a.toml") == TEXT


def test_big_endian_marks(tmp_path):
    for mark, codec in ((b"\xfe\xff", "utf-16-be"), (b"\0\0\xfe\xff", "utf-32-be")):
        (tmp_path / "a").write_bytes(mark + TEXT.encode(codec))
        assert read_text(tmp_path / "a") == TEXT


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    file = tmp_path / "a"
    write_atomic(file, b"old")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), replacing(file) as partial:
            partial.write_bytes(b"half")
            raise error
    assert file.read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]
    write_atomic(file, b"new")
    assert file.read_bytes() == b"new"


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far/a")
    write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "far/a").read_bytes() == b"new"


def test_no_folder_and_no_device_is_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UserError, match="is no file that can be replaced"):
            write_atomic(path, b"")
    assert (tmp_path / "pipe").is_fifo() and files.PARTIAL
