"""Data that are read a window at a time: what windows hold, runs, resuming, refusals."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, training
from jaxrl_reward import data as datasets
from jaxrl_reward.agents.offline import streaming
from jaxrl_reward.data.streamed import Streamed
from jaxrl_reward.types import UserError

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
SMALL = {"updates": 2, "batch_size": 8, "hidden": (4,), "fqe_steps": 0, "policy_decay": 0.0}
RUN = {"seeds": 2, "total_steps": 24, "evals": 3, "log_points": 3, "progress": False}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(streaming, "BLOCK", 8)


@pytest.fixture
def file(tmp_path):
    """200 steps in episodes of 5; the first number of an observation is the row's."""
    rng, rows = np.random.default_rng(0), 200
    arrays = {
        "obs": np.stack([np.arange(rows), rng.normal(size=rows)], 1),
        "action": rng.uniform(-1.0, 1.0, (rows, 1)),
        "next_obs": rng.normal(size=(rows, 2)),
        "reward": rng.normal(size=rows),
        "terminated": np.zeros(rows),
        "truncated": np.arange(rows) % 5 == 4,
    }
    return datasets.save(datasets.make(arrays), tmp_path / "mine.npz")


def made(file, **settings):
    return agents.make("bc", None, data=file, **{**SMALL, "stream": 32, **settings})


def numbers(data):
    return np.asarray(data.rows)[:, 0].astype(int)


def test_windows_hold_each_row_once_a_round_and_are_the_same_again(file):
    agent = made(file)
    stream = agent.stream
    held = set(numbers(agent.data.held).tolist())
    assert len(held) == 20 and {row // 5 for row in held} == {
        row // 5 for row in held if row % 5 == 0
    }
    assert stream.every == 2 and agent.data.count == 32
    # 180 rows are 22 blocks, and five windows of four blocks are a round.
    windows = [numbers(stream.window(i)) for i in range(10)]
    for start in (0, 5):
        seen = np.concatenate(windows[start : start + 5])
        assert len(set(seen.tolist())) == 160 and not held & set(seen.tolist())
    assert not np.array_equal(np.concatenate(windows[:5]), np.concatenate(windows[5:]))
    for i in (7, 3, 4):
        np.testing.assert_array_equal(numbers(made(file).stream.window(i)), windows[i])


def test_rows_and_statistics_are_those_of_the_file(file):
    whole = agents.make("bc", None, data=file, holdout=0.0, hidden=(4,), fqe_steps=5)
    agent = made(file)
    window = agent.stream.window(2)
    np.testing.assert_array_equal(window.rows, np.asarray(whole.data.rows)[numbers(window)])
    # Of all of it, the steps that are set aside too.
    np.testing.assert_allclose(agent.data.mean, whole.data.mean, rtol=1e-5)
    np.testing.assert_allclose(agent.data.std, whole.data.std, rtol=1e-5)
    first = np.asarray(datasets.read(file).steps.first)
    np.testing.assert_array_equal(Streamed(file).first, first)


def test_a_run_learns_from_its_windows_in_turn_and_resumes_to_the_bit(file, tmp_path):
    agent = made(file)
    whole = training.train(agent, out=tmp_path / "whole", **RUN)
    state, iterate = agent.init(jax.random.key(0)), quick(agent.iterate)
    for i in range(12):
        state, _ = iterate(state, agent.stream.window(i // 2))
    alike = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(alike, training.select_seed(whole.state, 0).params, state.params)

    class Stop:
        def write(self, rows):
            if rows[0].step >= 8:
                raise KeyboardInterrupt

        def close(self):
            pass

    with pytest.raises(KeyboardInterrupt):
        training.train(agent, out=tmp_path / "cut", sinks=[Stop()], **RUN)
    resumed = training.train(made(file), out=tmp_path / "cut", resume=True, **RUN)
    assert resumed.curves == whole.curves
    same = np.testing.assert_array_equal
    jax.tree.map(same, whole.state.params, resumed.state.params)


def test_what_cannot_be_is_one_line(file, tmp_path):
    loaded = datasets.read(file)
    packed, cut = tmp_path / "packed.npz", tmp_path / "cut.npz"
    np.savez_compressed(packed, **dict(np.load(file)))
    cut.write_bytes(file.read_bytes()[:-500])
    changed = tmp_path / "changed.npz"
    content = bytearray(file.read_bytes())
    at = Streamed(file).fields["reward"].at
    content[at : at + 4] = np.float32(7.0).tobytes()
    changed.write_bytes(content)
    for data, settings, line in (
        (loaded, {}, "stream reads one file of data.save; give its path as data"),
        ([file, file], {}, "stream reads one file of data.save"),
        (tmp_path / "no.npz", {}, "no.npz does not exist; stream reads a file of data.save"),
        (packed, {}, "obs is compressed; write it with data.save"),
        (cut, {}, "cut.npz cannot be read"),
        (changed, {}, "checksum does not fit the fields: the file was changed"),
        (file, {"stream": 1000}, "bc's stream=1000 is more than the 180 rows"),
        (file, {"stream": -1}, "bc's stream must be"),
        (file, {"reward": "delay(2)"}, "the reward reads all steps in order; leave that term"),
        (file, {"holdout": 0.0, "fqe_steps": 2}, "fqe_steps with stream needs a holdout above 0"),
    ):
        with pytest.raises(UserError, match=line) as error:
            made(data, **settings)
        assert "\n" not in str(error.value)
    assert jnp.isfinite(made(file, reward="env + potential('first')").data.rows).all()
