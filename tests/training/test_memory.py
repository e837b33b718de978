"""A state that cannot fit is refused, with its sizes, before a program is compiled."""

import jax
import jax.numpy as jnp
import pytest

from jaxrl_reward import agents, training
from jaxrl_reward.training.devices import memory, sharding
from jaxrl_reward.types import UserError


def test_what_cannot_fit_is_refused_before_compiling(monkeypatch):
    def compiled(*_, **__):
        raise AssertionError("it was compiled")

    monkeypatch.setattr(sharding, "_compile", compiled)
    monkeypatch.setattr(memory, "available", lambda devices: 10**9)
    agent = agents.make("sac", "gymnax:Pendulum-v1", "env", buffer_size=10_000_000, num_envs=2)
    # A step: two observations of 3, an action, a reward and flags, above 32 bytes.
    with pytest.raises(UserError, match=r"^the state of sac takes [2-9]\d GB, \d+ MB for") as found:
        training.train(agent, seeds=64, total_steps=1000, progress=False)
    line = str(found.value)
    assert "and there are 1 GB; lower --buffer-size (10000000)" in line
    assert line.endswith("--num-envs (2), --seeds")


def test_sizes_are_those_of_the_arrays():
    state = {"a": jnp.zeros((3, 5)), "b": jnp.zeros(7, bool), "c": jnp.zeros((2, 0))}
    assert memory.size(state) == sum(each.nbytes for each in state.values()) == 67
    assert memory.size(jax.random.split(jax.random.key(0), 3)) == 3 * 8


def test_the_memory_of_the_machine_is_known_and_a_container_may_have_less(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_LIMIT", tmp_path / "memory.max")
    whole = memory.available(jax.devices())
    assert whole is not None and whole > 10**8
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available(jax.devices()) == whole
    (tmp_path / "memory.max").write_text("1000000\n")
    assert memory.available(jax.devices()) == 10**6
