"""One job over devices and processes: the numbers of one device, up to rounding."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrl_reward import training
from jaxrl_reward.agents.common.base import make
from jaxrl_reward.training.devices import layout, processes
from jaxrl_reward.types import UserError

REWARD = "env + 0.1*counts() | normalize(gamma=0.99)"
PPO = {"num_envs": 8, "num_steps": 8, "epochs": 1, "minibatches": 2, "hidden": (8,)}
PPO |= {"normalize_obs": True}
RUN = {"seeds": 1, "total_steps": 256, "evals": 1, "eval_episodes": 4, "log_points": 4}
RUN |= {"progress": False}

CHILD = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import jax
from jax._src.lib import xla_client
# Gloo listens on the address of the host's name otherwise.
made = xla_client._xla.make_gloo_tcp_collectives
xla_client._xla.make_gloo_tcp_collectives = lambda **k: made(**k, hostname="127.0.0.1")
jax.config.update("jax_num_cpu_devices", int(sys.argv[2]))
from jaxrl_reward import training
from jaxrl_reward.types import UserError
training.join_processes()
assert jax.device_count() == 4
import numpy as np
from jaxrl_reward.training.record import checkpoint
from jaxrl_reward.training.devices import sharding
from test_mesh import PPO, REWARD, RUN, make

class Interrupt:
    "Presses Ctrl-C in the first process at its third write."
    writes = 0
    def write(self, rows):
        self.writes += 1
        if self.writes == 3:
            os.kill(os.getpid(), signal.SIGINT)
    def close(self):
        pass

compiled, compile_program = {}, sharding._compile
def compile_once(lowered, once):
    text = lowered.as_text()
    if text not in compiled:
        compiled[text] = compile_program(lowered, once)
    return compiled[text]
sharding._compile = compile_once

agent = make("ppo", "gymnax:CartPole-v1", REWARD, **PPO)
options = {**RUN, "shard": "envs", "out": "run"}
if jax.process_count() > 1:
    try:
        training.train(agent, **options, sinks=[Interrupt()])
        raise AssertionError("not interrupted")
    except KeyboardInterrupt:
        assert 0 < max(checkpoint.steps("run/checkpoints/ppo")) < 256
    result = training.train(agent, **options, resume=True)
    try:
        training.train(agent, **options)
        raise AssertionError("not refused")
    except UserError as error:
        print(error)
else:
    result = training.train(agent, **options)
obs = result.state.env_state.obs
assert obs.sharding.shard_shape(obs.shape) == (1, 2, 4)
if training.is_first_process():
    params = [np.asarray(leaf) for leaf in jax.tree.leaves(result.state.params)]
    np.savez("numbers.npz", result.curves.table["value"].to_numpy(), *params)
"""


@pytest.fixture(scope="module")
def one_device():
    """The same run on one device: rows and parameters."""
    result = training.train(make("ppo", "gymnax:CartPole-v1", REWARD, **PPO), **RUN)
    assert len(jax.tree.leaves(result.state.params)[0].sharding.device_set) == 1
    rows = result.curves.table["value"].to_numpy()
    return [rows, *(np.asarray(leaf) for leaf in jax.tree.leaves(result.state.params))]


def children(folder, count, devices):
    """Runs `count` processes of `devices` devices each; what each printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    chosen = ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in chosen}
    paths = [str(Path(training.__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    if count > 1:
        environment |= {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}"}
        environment |= {"JAX_NUM_PROCESSES": str(count)}
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(devices)]
    started = []
    try:
        for i in range(count):
            own = {**environment, "JAX_PROCESS_ID": str(i)} if count > 1 else environment
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            started.append(subprocess.Popen(command, cwd=folder, env=own, **pipes))
        printed = [each.communicate(timeout=250)[0] for each in started]
    finally:
        for each in started:
            if each.poll() is None:
                each.send_signal(signal.SIGKILL)
                each.wait()
    assert [each.returncode for each in started] == [0] * count, printed
    return printed


def test_environments_over_two_devices(one_device):
    agent = make("ppo", "gymnax:CartPole-v1", REWARD, **PPO)
    result = training.train(agent, **RUN, shard="envs")
    obs = result.state.env_state.obs
    assert obs.sharding.shard_shape(obs.shape) == (1, 4, 4)
    params = (np.asarray(leaf) for leaf in jax.tree.leaves(result.state.params))
    for a, b in zip(one_device, [result.curves.table["value"].to_numpy(), *params], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("count", "devices"), [(1, 4), (2, 2)])
def test_environments_over_four_devices(one_device, tmp_path, count, devices):
    printed = children(tmp_path, count, devices)
    with np.load(tmp_path / "numbers.npz") as found:
        for a, b in zip(one_device, found.values(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert training.load_rows(tmp_path / "run").table.num_rows == len(one_device[0])
    assert (tmp_path / "run/summary.json").exists()
    if count > 1:
        assert "run holds another run" in printed[0]
        assert "the first process has stopped" in printed[1]


def test_what_doubles_with_the_environments_is_split():
    agent = make("ppo", "gymnax:CartPole-v1", REWARD, **{**PPO, "hidden": (16,), "num_envs": 16})
    state = jax.eval_shape(agent.init, jax.random.key(0))
    axes = jax.tree.unflatten(
        jax.tree.structure(state),
        layout.env_axes(agent, [leaf.shape for leaf in jax.tree.leaves(state)]),
    )
    assert set(jax.tree.leaves((axes.env_state, axes.reward_state.local))) == {0}
    assert axes.episode_reward == 0
    # Sixteen hidden units are no environments.
    assert not jax.tree.leaves((axes.params, axes.obs_stats, axes.reward_state.shared, axes.key))


@pytest.mark.slow
def test_sac_over_two_devices():
    sizes = {"num_envs": 4, "num_steps": 4, "updates": 2, "batch_size": 8, "hidden": (8,)}
    agent = make("sac", "gymnax:Pendulum-v1", **sizes, buffer_size=256, learning_starts=32)
    two, one = (training.train(agent, **RUN, shard=shard) for shard in ("envs", "seeds"))
    replay = jax.tree.leaves(two.state.replay.items)[0]
    assert len(replay.sharding.device_set) == 2 and not replay.sharding.is_fully_replicated
    a, b = (each.curves.table["value"].to_numpy() for each in (two, one))
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_environments_must_divide():
    agent = make("ppo", "gymnax:CartPole-v1", **{**PPO, "num_envs": 3, "minibatches": 1})
    with pytest.raises(
        UserError, match="num_envs=3 is no multiple of the 2 devices; use num_envs=4"
    ):
        training.train(agent, **RUN, shard="envs")
    with pytest.raises(UserError, match="unknown shard 'env', did you mean 'envs'"):
        training.train(agent, **RUN, shard="env")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"ADDRESS": "nowhere"}, "JAX_COORDINATOR_ADDRESS must be host:port"),
        ({"ADDRESS": "127.0.0.1:1", "PROCESSES": "two"}, "JAX_NUM_PROCESSES must be a whole"),
        ({"ADDRESS": "127.0.0.1:1", "PROCESSES": "2", "ID": "2"}, "between 0 and 1, not 2"),
    ],
)
def test_a_wrong_environment_is_one_line(monkeypatch, environment, message):
    names = {"ADDRESS": "JAX_COORDINATOR_ADDRESS", "PROCESSES": "JAX_NUM_PROCESSES"}
    names |= {"ID": "JAX_PROCESS_ID"}
    for short, value in environment.items():
        monkeypatch.setenv(names[short], value)
    with pytest.raises(UserError, match=message):
        processes.join()
