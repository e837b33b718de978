"""Test-wide settings: two CPU devices, strict shapes, how hard hypothesis tries."""

import gc
import os
import pathlib
import signal
import tempfile
from collections.abc import Iterator

# Programs run for milliseconds here, and would be optimised for seconds. Those that
# processes have in common (commands, resumed runs, workers) are compiled once.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="jaxrl-reward-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"

# Tests press Ctrl-C. A shell's background jobs, and what they start, would ignore it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis
import jax
import pytest

from jaxrl_reward.plugins import imports
from jaxrl_reward.training.devices import sharding

# Before the first computation: programs are tested on a mesh of two devices.
jax.config.update("jax_num_cpu_devices", 2)

# Programs compile inside examples, so a deadline would only measure that.
hypothesis.settings.register_profile("ci", max_examples=25, deadline=None)
hypothesis.settings.register_profile("full", max_examples=200, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# In these simulators `[B, 3] + [3]` is common; a test's name says which it runs.
LOOSE_SHAPES = ("brax", "Swimmer")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """`[T, N] * [N]` must be written out, in the package and in its tests."""
    loose = item.get_closest_marker("loose_shapes")
    loose = loose or any(name in item.nodeid for name in LOOSE_SHAPES)
    with jax.numpy_rank_promotion("allow" if loose else "raise"):
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory) -> Iterator[None]:
    """What a user has vouched for is kept out of the home of who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def registers(monkeypatch) -> None:
    """What a test registers and imports is gone after it."""
    from jaxrl_reward.agents import table  # brings the simulators along, which start JAX
    from jaxrl_reward.data import formats
    from jaxrl_reward.envs import registry as environments
    from jaxrl_reward.envs import sequence
    from jaxrl_reward.nn import parts
    from jaxrl_reward.rewards.core import registry as terms

    monkeypatch.setattr(terms, "_ENTRIES", dict(terms._ENTRIES))
    monkeypatch.setattr(environments, "_FAMILIES", dict(environments._FAMILIES))
    monkeypatch.setattr(sequence, "TASKS", dict(sequence.TASKS))
    monkeypatch.setattr(table, "_OWN", dict(table._OWN))
    monkeypatch.setattr(formats, "_OWN", dict(formats._OWN))
    monkeypatch.setattr(parts, "ENCODERS", dict(parts.ENCODERS))
    monkeypatch.setattr(imports, "_LOADED", {})


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[dict]:
    """Most runs here are of a few programs: compiling them again would take most of the time."""
    compiled = {}
    compile_program = sharding._compile

    def compile_once(lowered, once):
        # An argument that is not used is no part of the text.
        key = (lowered.as_text(), lowered.in_tree, lowered.out_tree, str(lowered.in_avals))
        if key not in compiled:
            compiled[key] = compile_program(lowered, once)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "_compile", compile_once)
        yield compiled


@pytest.fixture(scope="module", autouse=True)
def programs_freed(compiled_once) -> Iterator[None]:
    """A process has 65,530 mapped regions on Linux, and a program takes six: past that it is lost.

    The first training takes 1,700 of them, what is kept in `compiled_once` the most of the rest.
    """
    yield
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > 30_000:
        compiled_once.clear()
        jax.clear_caches()
        gc.collect()
