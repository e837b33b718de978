"""Runs in processes of their own, to be killed at any moment and resumed.

Imported by the tests from this folder, and by the processes that they start.
"""

import hashlib
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple


class Spec(NamedTuple):
    """A run of a few seconds: what to train, and for how long."""

    agent: tuple[str, str, str]
    settings: dict[str, Any]
    total_steps: int


# Both rewards have a state of their own: a trained network with its optimiser,
# memories of episodes, running statistics. SAC has its replay, too.
SPECS = {
    "ppo": Spec(
        ("ppo", "gymnax:CartPole-v1", "env + 0.1*rnd() + 0.1*counts() | normalize(gamma=0.99)"),
        {"num_envs": 4, "num_steps": 16, "minibatches": 2, "hidden": (16,), "normalize_obs": True},
        total_steps=64 * 200,
    ),
    "sac": Spec(
        ("sac", "gymnax:Pendulum-v1", "env + 0.1*rnd() + 0.1*counts()"),
        {
            **{"num_steps": 8, "updates": 4, "batch_size": 32, "buffer_size": 2000},
            **{"learning_starts": 64, "hidden": (16, 16)},
        },
        total_steps=8 * 200,
    ),
}


def train(spec: Spec, out: str) -> None:
    """What a process does: one run, continued if there is something to continue.

    In the end it writes `digest.json` beside the results: every leaf of the
    final state, as the last checkpoint brings it back.
    """
    import jax

    jax.config.update("jax_num_cpu_devices", 2)
    from jaxrl_reward import agents, training
    from jaxrl_reward.training import loop

    loop.SLICE_SECONDS = 0.1
    agent = agents.make(*spec.agent, **spec.settings)
    result = training.train(
        agent,
        seeds=2,
        total_steps=spec.total_steps,
        evals=8,
        eval_episodes=2,
        out=out,
        resume=True,
        progress=False,
        checkpoint_seconds=1.0,  # so that many kills hit one that is being written
    )
    digest = _digest(result.state)
    assert digest == _digest(training.load(agent, out).state)
    content = {"leaves": digest, "per_seed": result.returns.tolist()}
    (Path(out) / "digest.json").write_text(json.dumps(content))


def _digest(state: Any) -> dict[str, str]:
    import jax

    found = {}
    for path, leaf in jax.tree.flatten_with_path(state)[0]:
        if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        digest = hashlib.sha256(jax.device_get(leaf).tobytes()).hexdigest()
        found[jax.tree_util.keystr(path)] = f"{leaf.dtype}{list(leaf.shape)} {digest}"
    return found


def processes(cache: Path) -> Any:
    """A context whose processes start with the packages loaded, and share what XLA compiled."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # loading a program from there is not quiet
    context = multiprocessing.get_context("forkserver")
    # Not the simulators: they start JAX, which does not survive a fork.
    context.set_forkserver_preload(["jaxrl_reward.training", "seaborn", "flax", "optax"])
    return context


def whole(context: Any, spec: Spec, out: Path) -> float:
    """A run that nothing stops; the seconds from its first checkpoint to its end."""
    process = context.Process(target=train, args=(spec, str(out)))
    process.start()
    began = _until(lambda: any(out.glob("checkpoints/*/*/manifest.json")), process)
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - began


def killed(context: Any, spec: Spec, out: Path, after: float) -> bool:
    """A run that is killed so many seconds after its `config.json`; whether it was."""
    process = context.Process(target=train, args=(spec, str(out)))
    process.start()
    _until(lambda: (out / "config.json").exists(), process)
    process.join(after)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL and not (out / "digest.json").exists()


def outcome(out: Path) -> tuple[Any, bytes]:
    """The final state and returns by digest, and the rows as they are on disk."""
    return json.loads((out / "digest.json").read_text()), (out / "metrics.parquet").read_bytes()


def _until(condition: Any, process: Any) -> float:
    while not condition():
        assert process.is_alive(), "the process ended too early"
        time.sleep(0.01)
    return time.monotonic()
