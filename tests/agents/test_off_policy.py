"""What every agent that learns from replay must do, whatever it learns."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _shared import STORING

from jaxrl_reward import agents, training
from jaxrl_reward import rewards as rw
from jaxrl_reward.types import UserError

AGENTS = ("dqn", "eta", "sac", "td3")
SMALL = {**STORING, "n_step": 1, "layer_norm": False}


def small(name, reward=None, **overrides):
    env = "probe:action_continuous" if name == "td3" else "probe:delayed"
    settings = {**SMALL, **overrides}
    if name == "td3":
        settings = {**settings, "policy_delay": 1}
    return agents.make(name, env, reward, **settings)


@pytest.mark.parametrize("name", AGENTS)
def test_rewards_that_replay_cannot_give_are_refused(name):
    class unrepeatable(rw.RewardTransform):  # noqa: N801
        def apply(self, state, block):
            return rw.env().apply(state, block)

    @rw.episodic
    def total_return(block, episodes):
        return episodes.sum(block.reward)

    for reward, message in (
        (total_return(), f"{name} plays fixed blocks, and total_return.. needs whole episodes"),
        ("rnd() | delay()", f"{name} learns from replay, and delay.. remembers rewards of a stage"),
        (unrepeatable(), f"{name} learns from replay, and unrepeatable cannot be recomputed"),
    ):
        with pytest.raises(UserError, match=message) as error:
            small(name, reward)
        assert "\n" not in str(error.value)
    small(name, "delay() | rnd()")  # nothing before the delay changes


@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("dqn", "eta", "td3")), "sac"]
)
def test_a_store_costs_no_copies(name):
    """Nor with several seeds, whose predicates and rows are arrays."""
    agent = small(name, buffer_size=80_000)
    state = jax.eval_shape(jax.vmap(agent.init), jax.random.split(jax.random.key(0), 2))
    ring = jax.tree.leaves(state.replay)
    size = sum(math.prod(x.shape) * x.dtype.itemsize for x in ring)
    iterate = jax.vmap(lambda state: agent.iterate(state)[0])
    run = lambda state: jax.lax.fori_loop(0, 3, lambda _, s: iterate(s), state)  # noqa: E731
    program = jax.jit(run, donate_argnums=0).lower(state).compile()
    assert program.memory_analysis().temp_size_in_bytes < size / 5


@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("dqn", "eta", "td3")), "sac"]
)
def test_a_resumed_run_ends_as_one_that_was_never_cut(name, tmp_path):
    """The store and what it holds are in the checkpoint."""
    agent = small(name, "env + 0.1*counts(buckets=8)", buffer_size=48, updates=1)
    settings = {"seeds": 2, "total_steps": 80, "evals": 2, "eval_episodes": 1, "log_points": 4}

    class Stop:
        def write(self, *args, **kwargs):
            raise KeyboardInterrupt

        def close(self):
            pass

    whole = training.train(agent, out=tmp_path / "whole", progress=False, **settings)
    with pytest.raises(KeyboardInterrupt):
        training.train(agent, out=tmp_path / "cut", progress=False, sinks=[Stop()], **settings)
    resumed = training.train(agent, out=tmp_path / "cut", progress=False, resume=True, **settings)
    data = lambda x: (  # noqa: E731
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(data(a), data(b)), whole.state, resumed.state
    )
    assert resumed.curves == whole.curves
    assert whole.state.replay.filled.tolist() == [12, 12]


@pytest.mark.parametrize("name", AGENTS)
def test_a_warm_up_beyond_the_run_is_refused(name, tmp_path):
    agent = small(name, learning_starts=64)
    with pytest.raises(UserError) as error:
        training.train(agent, seeds=2, total_steps=50, out=tmp_path / "run")
    # Rounded up to whole iterations, as the run is.
    assert str(error.value) == (
        f"{name}'s learning_starts=64 is beyond the run's 56 steps per seed: "
        "lower it, or raise total_steps"
    )
    assert not (tmp_path / "run").exists()
