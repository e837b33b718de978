"""PPO with a GRU: its memory through blocks, ends and updates; what only it can learn."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents
from jaxrl_reward.nn import running_statistics
from jaxrl_reward.render import rollout as render
from jaxrl_reward.types import UserError

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
SMALL = {"num_envs": 4, "num_steps": 12, "hidden": (8,), "epochs": 2, "minibatches": 2}
CLOCK = "gymnax:Pendulum-v1,max_steps_in_episode=5"  # truncates within a block


def small(env=CLOCK, reward=None, **overrides):
    return agents.make("ppo", env, reward, **{**SMALL, "network": "gru", **overrides})


@cache
def played(placement="block"):
    """The functions, a state inside of episodes, and the block played from it."""
    agent = small(reward="env + 0.1*counts(buckets=16)", normalize_obs=True, placement=placement)
    made, player = agent.init.__self__.learner, agent.init.__self__.player

    @quick
    def play(key):
        key, key_memory, key_noise, key_env = jax.random.split(key, 4)
        state = agent.init(key)
        random = lambda x: 0.5 * jax.random.normal(key_memory, x.shape)  # noqa: E731
        inside = state.env_state.replace(first=jnp.array([False, False, True, False]))
        seen = 0.5 + 2.0 * jax.random.normal(key_memory, (64, *state.obs_stats.mean.shape))
        stats = running_statistics.update(state.obs_stats, seen)
        memory = jax.tree.map(random, state.memory)
        state = state.replace(memory=memory, env_state=inside, obs_stats=stats)
        noise = made.dist.noise(key_noise, (12, 4))
        keys = jax.random.split(key_env, (12, 4))
        block = player.rollout(state, made, state.memory, noise, keys)[2]
        batch = made.batch(state, block, noise)
        return state, block, batch, made.replay(state.params, batch), made.next_value(state, block)

    return made, *play(jax.random.key(0))


@pytest.mark.parametrize("placement", ["block", pytest.param("step", marks=pytest.mark.slow)])
def test_what_is_replayed_is_what_was_played(placement):
    """Densities and values of whole sequences, from the kept memory, over resets."""
    made, _, block, batch, (policy, value), _ = played(placement)
    assert block.block.first[1:].any() and block.block.truncated.any()
    np.testing.assert_allclose(made.dist.log_prob(policy, batch.raw), batch.log_prob, atol=1e-5)
    np.testing.assert_allclose(value, batch.value, atol=1e-5)


def test_values_after_each_step_are_the_critics_with_its_memory():
    """Inside an episode the next row's value; at a time limit that of the true successor."""
    made, state, block, _, _, found = played()
    value, flags = block.block.policy["value"], block.block
    goes_on = ~np.asarray(flags.last)[:-1]
    np.testing.assert_allclose(found[:-1][goes_on], value[1:][goes_on], atol=1e-5)
    # By hand for environment 0: unroll its first whole episode and the true successor.
    begin = int(np.argmax(np.asarray(flags.first)[:, 0]))  # after one that was running
    end = begin + int(np.argmax(np.asarray(flags.truncated)[begin:, 0]))
    assert 0 < end < 11 and bool(flags.truncated[end, 0])
    inputs = jnp.concatenate([block.inputs[begin : end + 1, :1], block.next_inputs[end, None, :1]])
    inputs = (inputs - state.obs_stats.mean[None, None]) / state.obs_stats.std[None, None]
    critic, first = made.critic.network, jnp.zeros((len(inputs), 1), bool)
    alone = quick(critic.unroll)(state.params["critic"], critic.start(1), inputs, first)[1]
    np.testing.assert_allclose(found[end, 0], alone[-1, 0, 0], atol=1e-4)
    assert abs(found[end, 0] - value[end + 1, 0]) > 1e-3  # which is another episode's


@pytest.mark.slow
def test_seeds_and_rates_at_once_are_each_alone():
    agent = small("gymnax:CartPole-v1")

    def run(key, rate):
        state = agent.init(key, agent.config.replace(learning_rate=rate))
        return jax.lax.fori_loop(0, 3, lambda _, s: agent.iterate(s)[0], state).params

    keys, rates = jax.random.split(jax.random.key(0), 2), jnp.array([1e-3, 1e-2])
    many, one = quick(jax.vmap(run))(keys, rates), quick(run)
    for i in range(2):
        alone = one(keys[i], rates[i])
        jax.tree.map(
            lambda x, y, i=i: np.testing.assert_allclose(x[i], y, rtol=1e-3, atol=1e-4), many, alone
        )


def test_minibatches_are_of_whole_environments():
    with pytest.raises(UserError, match=r"minibatches=3 does not divide num_envs=4.*; use 2 or 4"):
        small(minibatches=3)
    with pytest.raises(UserError, match="ppo has no network 'gur', did you mean 'gru'"):
        small(network="gur")
    assert small("probe:recall", minibatches=4).config.network == "gru"


# ---- learning --------------------------------------------------------------------------


@cache
def trained(network):
    config = {"num_envs": 16, "num_steps": 16, "hidden": (16,), "learning_rate": 1e-2}
    agent = agents.make("ppo", "probe:recall", network=network, entropy_coef=0.0, **config)

    @quick
    def train(key):
        state = agent.init(key)
        state = jax.lax.fori_loop(0, 60, lambda _, s: agent.iterate(s)[0], state)
        return state, agent.evaluate(state, key, 64)[0]

    return agent, *train(jax.random.key(0))


@pytest.mark.slow
def test_a_gru_recalls_what_it_saw_once():
    _, _, returns = trained("gru")
    assert returns.mean() == 1.0


@pytest.mark.slow
def test_without_a_memory_nothing_can_be_recalled():
    assert abs(trained("mlp")[2].mean()) < 0.5  # 64 signs: 4 standard deviations


def test_a_drawing_carries_the_memory_along():
    agent, state, _ = trained("gru")
    policy = render.greedy(agent, state)
    rewards = {render.play(agent.env, policy, seed=i).rewards[-1] for i in range(3)}
    assert rewards == {1.0}


def test_act_is_for_first_steps():
    agent, state, _ = trained("gru")
    obs = jnp.array([[1.0], [-1.0]])
    policy = agent.policy(state)
    memory = policy.start(jax.random.key(0), 2)
    _, action, _ = policy.act(memory, obs, jnp.ones(2, bool))
    np.testing.assert_array_equal(agent.act(state, obs), action)
