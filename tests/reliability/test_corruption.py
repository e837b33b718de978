"""A checkpoint that is damaged in any way is recognised, and the one before is used."""

import random
import shutil
import warnings

import jax
import pytest

from jaxrl_reward import agents, training
from jaxrl_reward.training.devices.sharding import Programs
from jaxrl_reward.training.record import checkpoint

pytestmark = pytest.mark.slow  # quick ones are in tests/training/test_checkpoint.py

KINDS = ("flip", "truncate", "delete", "torn", "swap", "stale", "empty", "extra", "half deleted")


def corrupt(path, previous, kind, rng):
    """Changes a checkpoint as disks and crashes do; `previous` is the one before it."""
    files = sorted(each for each in path.rglob("*") if each.is_file())
    full = [each for each in files if each.stat().st_size]
    file = rng.choice(full)
    content = bytearray(file.read_bytes())
    if kind == "flip":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == "truncate":
        del content[rng.randrange(len(content)) :]
    elif kind == "torn":  # some of the pages never reached the disk
        start = rng.randrange(len(content))
        if not any(content[start:]):
            start = 0
        content[start:] = bytes(len(content) - start)
    elif kind == "empty":
        content = bytearray()
    elif kind == "swap":
        other = rng.choice([each for each in full if each.read_bytes() != bytes(content)])
        file.write_bytes(other.read_bytes())
        file, content = other, content
    elif kind == "stale":  # a file of the checkpoint before
        names = [each.relative_to(path) for each in full]
        old = [name for name in names if (previous / name).exists()]
        old = [name for name in old if (previous / name).read_bytes() != (path / name).read_bytes()]
        name = rng.choice(old)
        file, content = path / name, (previous / name).read_bytes()
    elif kind == "extra":
        file, content = file.with_name("another"), b"1"
    file.write_bytes(content)
    if kind == "delete":
        file.unlink()
    if kind == "half deleted":
        shutil.rmtree(path / "state")
    return f"{kind} {file.relative_to(path)}"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run's folder with two checkpoints, what to restore, and the state in the first."""
    folder = tmp_path_factory.mktemp("run")
    sizes = {"num_envs": 2, "num_steps": 16, "epochs": 2, "minibatches": 2, "hidden": (8,)}
    reward = "env + 0.1*counts() | normalize(gamma=0.99)"
    agent = agents.make("ppo", "gymnax:CartPole-v1", reward, normalize_obs=True, **sizes)
    options = {"evals": 2, "eval_episodes": 3, "log_points": 6, "progress": False}
    training.train(agent, seeds=2, total_steps=32 * 6, out=folder, **options)
    target = Programs(agent, seeds=2, seed=0, episodes=3).abstract
    checkpoints = folder / "checkpoints/ppo"
    newest = checkpoint.steps(checkpoints)[-1]
    aside = shutil.move(checkpoints / str(newest), folder / "aside")
    first = checkpoint.restore(checkpoints, target)
    shutil.move(aside, checkpoints / str(newest))
    return checkpoints, target, first


def bits(tree):
    keys = (jax.dtypes.prng_key, jax.random.key_data)
    leaves = (
        keys[1](leaf) if jax.numpy.issubdtype(leaf.dtype, keys[0]) else leaf
        for leaf in jax.tree.leaves(tree)
    )
    return [(str(leaf.dtype), leaf.shape, jax.device_get(leaf).tobytes()) for leaf in leaves]


def recognised(saved, tmp_path, number):
    """Whether a damaged copy is passed over for the one before, with a warning that says so."""
    checkpoints, target, first = saved
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(checkpoints, copy)
    earlier, newest = checkpoint.steps(copy)
    kind = KINDS[number % len(KINDS)]
    what = corrupt(copy / str(newest), copy / str(earlier), kind, random.Random(number))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        restored = checkpoint.restore(copy, target)
    assert restored.step == earlier, what
    assert bits(restored.tree) == bits(first.tree), what
    assert restored.read("rows.parquet") == first.read("rows.parquet"), what
    (warning,) = [each for each in told if each.category is training.CheckpointWarning]
    assert f"{newest} is damaged (" in str(warning.message), what
    assert f"using the one at step {earlier}" in str(warning.message), what
    return True


@pytest.mark.parametrize("number", range(len(KINDS)), ids=KINDS)
def test_the_previous_checkpoint_is_used(saved, tmp_path, number):
    assert recognised(saved, tmp_path, number)


@pytest.mark.timeout(1800)
def test_a_hundred_damaged_checkpoints_are_recognised(saved, tmp_path):
    found = sum(recognised(saved, tmp_path, number) for number in range(100, 200))
    print(f"{found} of 100 recognised")
    assert found == 100
