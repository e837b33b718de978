"""The term that first made a value that is not finite is named, whatever the metrics say."""

from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import pytest
from flax import struct
from gymnax.environments import environment, spaces

from jaxrl_reward import agents, training
from jaxrl_reward import rewards as rw
from jaxrl_reward.training import culprit, loop

ENV = "probe:truncation"  # ends by a clock of ten
SMALL = {"num_envs": 2, "num_steps": 12, "hidden": (4,)}
ONCE = {"minibatches": 1, "epochs": 1}


class late(rw.Causal):  # noqa: N801
    """Infinite from the tenth step of an episode on."""

    def begin_one(self, shared, obs):
        return jnp.int32(0)

    def step(self, shared, memory, transition):
        return memory + 1, jnp.where(memory < 9, 0.0, jnp.inf)


class root(rw.Learned):  # noqa: N801
    """Its loss has no slope where it begins."""

    def init_params(self, key, example):
        return jnp.zeros(1)

    def reward(self, params, transition):
        return transition.obs @ params

    def loss(self, params, key, batch):
        return jnp.sqrt(jnp.square(params)).mean()


@struct.dataclass
class Params:
    max_steps_in_episode: int = 100


class Cliff(environment.Environment):
    """Pays nothing, and in the end what is no number."""

    @property
    def default_params(self):
        return Params()

    def reset_env(self, key, params):
        return jnp.zeros(1), environment.EnvState(jnp.int32(0))

    def step_env(self, key, state, action, params):
        after = environment.EnvState(state.time + 1)
        reward = jnp.where(after.time < 10, 0.0, jnp.nan)
        return jnp.zeros(1), after, reward, jnp.bool_(False), {}

    def observation_space(self, params):
        return spaces.Box(-1.0, 1.0, (1,))

    def action_space(self, params=None):
        return spaces.Discrete(2)


def found(name, env, reward, **settings):
    """What is found in the first iteration."""
    agent = agents.make(name, env, reward, **SMALL, **settings)
    return culprit.find(agent, jax.jit(agent.init)(jax.random.key(0)))


@pytest.mark.parametrize("placement", ["block", pytest.param("step", marks=pytest.mark.slow)])
def test_a_term_that_plays(placement):
    """The terms before it are innocent, and so are those that only hand it on."""
    reward = rw.env() + 0.1 * rw.counts(buckets=4) + late() * 2 | rw.scale(3.0)
    told = found("ppo", ENV, reward, placement=placement, **ONCE)
    assert told == "reward term late() gives a value"


def test_a_term_that_learns():
    told = found("ppo", ENV, rw.env() + 0.1 * root(), **ONCE)
    assert told == "reward term root() learns a parameter"


@pytest.mark.slow
def test_with_a_store():
    settings = {"batch_size": 8, "buffer_size": 64, "learning_starts": 8, "updates": 1}
    assert found("dqn", ENV, rw.env() + late(), **settings) == "reward term late() gives a value"


def test_the_environment():
    told = found("ppo", Cliff(), rw.env() | rw.scale(2.0), **ONCE)
    assert told == "the environment Cliff gives a reward or an observation"


def test_all_is_well():
    assert found("ppo", ENV, rw.env() + rw.counts(buckets=4), **ONCE) is None


def test_a_long_way_back_is_not_taken():
    run = SimpleNamespace(saved=2, iteration_seconds=loop.AGAIN / 8)
    assert loop.Training.culprit(cast(Any, run), 0, 11) is None


def test_the_way_back_begins_at_the_last_checkpoint(tmp_path, monkeypatch):
    """The whole run: blocks of four steps, of which the third has the tenth step of an episode."""
    agent = agents.make("ppo", ENV, rw.env() + late(), **{**SMALL, "num_steps": 4}, **ONCE)
    seen, find = [], culprit.find
    monkeypatch.setattr(culprit, "find", lambda *args: seen.append(args[1]) or find(*args))
    with pytest.raises(training.NonFiniteError) as error:
        training.train(agent, seed=3, total_steps=32, evals=4, progress=False, out=tmp_path / "run")
    told = str(error.value)
    assert told.startswith("reward term late() gives a value that is not finite (seed 3, step 24)")
    assert told.endswith("checkpoints/ppo/16")
    assert error.value.culprit == "reward term late() gives a value"
    assert seen[0].iteration == 2  # of the two that are good
