"""Seeds over devices."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents
from jaxrl_reward.training.devices import layout, sharding
from jaxrl_reward.types import Mean


@pytest.mark.parametrize(
    ("seeds", "devices", "used"),
    [(16, 4, 4), (6, 4, 3), (7, 4, 1), (2, 4, 2), (1, 4, 1), (9, 1, 1)],
)
def test_the_mesh_is_the_largest_that_divides(monkeypatch, seeds, devices, used):
    fakes = jax.local_devices()[:1] * devices
    monkeypatch.setattr(jax, "local_devices", lambda: fakes)
    monkeypatch.setattr(layout, "Mesh", lambda found, *_, **__: found)
    assert len(layout.seeds_mesh(seeds)) == used


@pytest.mark.parametrize(
    ("name", "num_envs", "lanes", "axis"),
    [
        ("ppo", 128, 1, "envs"),
        ("ppo", 128, 2, "seeds"),  # one for each device
        ("ppo", 126, 1, "seeds"),  # too few
        ("sac", 128, 1, "seeds"),  # would learn everything on each device
    ],
)
def test_what_fills_the_devices_is_split(name, num_envs, lanes, axis):
    agent = agents.make(name, "probe:constant", num_envs=num_envs)
    assert layout.Layout(agent, lanes, "auto").mesh.axis_names == (axis,)


def test_an_agent_is_traced_once_for_all_programs(fake_agent):
    traced = []

    class Counted(fake_agent):
        def iterate(self, state):
            traced.append("iterate")
            return super().iterate(state)

        def init(self, *args):
            traced.append("init")
            return super().init(*args)

    programs = sharding.Programs(Counted(), seeds=2, seed=0, episodes=1)
    programs.compile("init")
    programs.compile("advance")
    assert sorted(traced) == ["init", "iterate"]


def test_something_else_is_done_beside_compiling(fake_agent):
    programs, done = sharding.Programs(fake_agent(), seeds=2, seed=0, episodes=1), []
    sharding.compile_together([programs], lambda: done.append("loaded"))
    assert done == ["loaded"]
    assert programs.compile("advance") == programs.compile("init") == 0.0  # they are already
    with pytest.raises(OSError, match="not readable"):
        sharding.compile_together([], lambda: (_ for _ in ()).throw(OSError("not readable")))


def test_a_tally_counts_and_remembers_the_first_bad_iteration():
    tally = sharding.Tally.empty(2, 2)
    for iteration, value in enumerate([1.0, jnp.nan, jnp.inf, 2.0], start=1):
        each = {
            "b": Mean(jnp.array([value, 3.0]), jnp.array([1.0, 2.0])),
            "a": Mean(jnp.ones(2), jnp.zeros(2)),
        }
        tally = tally.add(each, jnp.int32(iteration))
    assert tally.first_bad.tolist() == [[0, 2], [0, 0]]
    np.testing.assert_array_equal(tally.total, [[4.0, jnp.nan], [4.0, 12.0]])
    assert tally.counted.tolist() == [[0.0, 4.0], [0.0, 8.0]]


def test_evaluation_keys_are_none_that_an_agent_splits_off():
    key = jax.random.key(0)
    split = np.asarray(jax.random.key_data(jax.random.split(key, 10_000)))

    def among_them(folded):
        return (split == np.asarray(jax.random.key_data(folded))).all(axis=1).any()

    assert among_them(jax.random.fold_in(key, 2))  # why the tag is large
    assert not among_them(jax.random.fold_in(key, sharding.EVALUATION_TAG))


def test_metrics_must_be_means_of_scalars(fake_agent):
    class Wrong(fake_agent):
        def iterate(self, state):
            return state, {"loss": state.weights.sum()}

    with pytest.raises(TypeError, match="metric 'loss' must be a Mean of scalars"):
        sharding.Programs(Wrong(), seeds=1, seed=0, episodes=1)


@pytest.mark.parametrize(
    ("version", "backend", "says"),
    [
        ("0.9.2", "cpu", None),
        ("0.10.0", "cpu", "can hang on several CPU devices"),
        ("0.10.2", "cpu", "can hang on several CPU devices"),
        ("0.10.1", "gpu", None),
        ("0.11.0", "cpu", "can hang on several CPU devices"),
        ("0.11.1", "cpu", None),
        ("0.11.2", "cpu", None),
        ("0.12.0.1", "cpu", None),
        ("0.13.0", "cpu", "newer than any"),
        ("1.0.0rc1", "gpu", "newer than any"),
    ],
)
def test_a_jaxlib_that_hangs_or_is_not_known_is_told(monkeypatch, version, backend, says):
    monkeypatch.setattr(sharding.metadata, "version", {"jaxlib": version}.get)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    warning = sharding.jaxlib_warning()
    assert (warning is None) == (says is None)
    if warning:
        assert version in warning and says in warning


CORES = """
import os
import jax
from jaxrl_reward.training import use_all_cores
print(use_all_cores(), jax.local_device_count("cpu"))
"""


@pytest.mark.parametrize("environment", [{}, {"JAX_NUM_CPU_DEVICES": "3"}])
def test_every_core_becomes_a_device(environment):
    chosen = ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
    inherited = {name: value for name, value in os.environ.items() if name not in chosen}
    output = subprocess.run(
        [sys.executable, "-c", CORES],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    asked, devices = map(int, output.split())
    if environment:
        assert (asked, devices) == (0, 3)
    else:
        assert asked == devices == sharding._available_cores()


def test_a_jaxlib_that_hangs_on_several_devices_gets_one(monkeypatch):
    asked = []
    monkeypatch.setattr(jax.config, "update", lambda *given: asked.append(given))
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
    for version, devices in (("0.10.2", 0), ("0.11.0", 0), ("0.11.2", 5), ("0.9.2", 5)):
        monkeypatch.setattr(sharding.metadata, "version", {"jaxlib": version}.get)
        assert sharding.use_all_cores(5) == devices
    assert asked == [("jax_num_cpu_devices", 5)] * 2


def test_a_program_that_has_started_keeps_its_devices(monkeypatch):
    before = jax.local_device_count()
    monkeypatch.setattr(sharding, "_available_cores", lambda: 63)
    assert sharding.use_all_cores() == 0
    assert jax.local_device_count() == before


def test_a_container_quota_counts(monkeypatch):
    monkeypatch.setattr(sharding.Path, "read_text", lambda _: "150000 100000\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert sharding._available_cores() == 2
    monkeypatch.setattr(sharding.Path, "read_text", lambda _: "max 100000\n")
    assert sharding._available_cores() == 64


def test_sac_on_two_devices_is_that_of_one_seed_by_seed(monkeypatch):
    """Sixteen seeds, to 1e-5 of each leaf's size, while they play and learn."""
    sizes = {"hidden": (8,), "batch_size": 8, "buffer_size": 32, "learning_starts": 4}
    agent = agents.make("sac", "gymnax:Pendulum-v1", **sizes)
    states = []
    for devices in (1, 2):
        mesh = layout._mesh(jax.devices()[:devices], "seeds")
        monkeypatch.setattr(layout, "seeds_mesh", lambda _, mesh=mesh: mesh)
        programs = sharding.Programs(agent, seeds=16, seed=0, episodes=1)
        assert programs.layout.mesh.size == devices
        states.append(programs.advance(programs.init(), 0, 12).state)
    one, two = (jax.tree.leaves(state) for state in states)
    for a, b in zip(one, two, strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5 * max(np.abs(a).max(initial=0), 1))
