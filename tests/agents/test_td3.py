"""TD3: its update by hand, what it learns, what it refuses."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _sac import GAMMA, inside, quick, small
from _shared import STORING, close

from jaxrl_reward import agents
from jaxrl_reward.agents.common import replay
from jaxrl_reward.agents.common.base import as_leaves
from jaxrl_reward.types import UserError


def dense(params, x):
    """A network of one hidden layer, in NumPy."""
    layers = jax.tree.map(np.asarray, params["params"])
    first, second = layers["Dense_0"], layers["Dense_1"]
    hidden = np.maximum(x @ first["kernel"] + first["bias"][None], 0.0)
    return hidden @ second["kernel"] + second["bias"][None]


def test_the_update_is_the_papers():
    """The target's clipped noise, the first critic's slope, and slow copies that move late."""
    agent = small(name="td3", hidden=(4,))
    made, numbers = inside(agent).learner, {"target_noise": 0.3, "noise_clip": 0.2}
    settings = as_leaves(agent.config.replace(**numbers))

    @quick
    def steps(batch, key):
        inputs = jnp.zeros((1, *agent.env.observation_space.shape))
        params, opt_state = made.init(settings, inputs, key, key)
        # Slow copies that are not what they follow, as after some steps.
        for name in ("target_critic", "target_actor"):
            params[name] = jax.tree.map(lambda x: 3.0 * x, params[name])
        between, critics = made.critic_step(settings, (params, opt_state), (batch, key))
        after, actor = made.actor_step(settings, between, batch.inputs, key)
        target, noise = made.target(settings, params, batch, key), made.dist.noise(key, (16,))
        return target, noise, params, between[0], after[0], critics | actor

    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    choice = rng.uniform(-1, 1, (16, 1)).astype(np.float32)
    weight = np.where(rng.uniform(size=16) < 0.3, 0.0, GAMMA).astype(np.float32)
    batch = replay.Batch(normal(16, 3), choice, normal(16), weight, normal(16, 3))
    target, noise, params, between, after, metrics = steps(batch, jax.random.key(1))
    noise = np.clip(0.3 * np.asarray(noise), -0.2, 0.2)
    assert np.abs(noise).max() == np.float32(0.2)
    action = np.clip(np.tanh(dense(params["target_actor"], batch.next_inputs)) + noise, -1, 1)
    pair = np.concatenate([batch.next_inputs, action], 1)
    q = np.stack([dense(each, pair)[:, 0] for each in params["target_critic"]]).min(0)
    np.testing.assert_allclose(target, batch.reward + batch.weight * q, rtol=1e-3, atol=1e-4)
    pair = np.concatenate([batch.inputs, batch.choice], 1)
    q = np.stack([dense(each, pair)[:, 0] for each in params["critic"]])
    error = 0.5 * np.square(q - np.asarray(target)).mean()
    np.testing.assert_allclose(metrics["q_loss"], error, rtol=1e-3)
    np.testing.assert_allclose(metrics["q_mean"], q.mean(), rtol=1e-3)
    action = np.tanh(dense(params["actor"], batch.inputs))
    climbed = dense(between["critic"][0], np.concatenate([batch.inputs, action], 1)).mean()
    np.testing.assert_allclose(metrics["actor_loss"], -climbed, rtol=1e-3, atol=1e-5)
    for name in ("critic", "actor"):
        slow = f"target_{name}"
        close(between[slow], params[slow], 0.0, 0.0)
        goal = jax.tree.map(lambda x, y: y + 0.005 * (x - y), after[name], params[slow])
        close(after[slow], goal, 1e-4, 1e-6)


def test_it_plays_at_random_first_and_then_with_noise():
    agent = small(name="td3", learning_starts=16, exploration_noise=0.05, learning_rate=0.0)
    state, iterate = quick(agent.init)(jax.random.key(0)), quick(agent.iterate)
    for _ in range(4):
        state, metrics = iterate(state)
    played = np.asarray(state.replay.items["choice"])[:8, :, 0]
    assert np.ptp(played[:4]) > 1.0 and 0.01 < np.ptp(played[4:]) < 0.5
    assert metrics["q_loss"].count == 2 and metrics["actor_loss"].count == 1


@pytest.mark.slow
def test_the_best_of_a_continuum_of_actions():
    """The policy climbs the critics, and these know the action."""
    sizes = {"num_envs": 8, "updates": 4, "batch_size": 64, "buffer_size": 2048, "hidden": (32,)}
    numbers = {"learning_rate": 3e-3, "critic_learning_rate": 1e-2, "target_rate": 0.05}
    settings = {**STORING, **sizes, **numbers, "gamma": GAMMA}
    agent = agents.make("td3", "probe:action_continuous", **settings)

    @quick
    def train(key):
        return jax.lax.fori_loop(0, 250, lambda _, s: agent.iterate(s)[0], agent.init(key))

    state = train(jax.random.key(0))
    np.testing.assert_allclose(agent.act(state, jnp.zeros((1, 1)))[0], 0.5, atol=0.1)
    q = inside(agent).learner.value_of(
        state.params["critic"], jnp.zeros((1, 1)), jnp.full((1, 1), 0.5)
    )
    np.testing.assert_allclose(q, 1.0, atol=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policy_delay": 3}, "td3's policy_delay=3 must divide updates=2"),
        ({"noise_clip": -1.0}, "td3's noise_clip must be at least 0, not -1.0"),
        ({"env": "gymnax:CartPole-v1"}, "td3 needs Box actions; gymnax:CartPole-v1 has Discrete"),
    ],
)
def test_bad_settings_name_their_fix(settings, message):
    with pytest.raises(UserError) as error:
        partial(small, name="td3")(**settings)
    assert str(error.value) == message
