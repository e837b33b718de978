"""SAC's update, by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _sac import CONTINUOUS, DISCRETE, GAMMA, inside, quick, small
from _shared import close

from jaxrl_reward.agents.common import replay
from jaxrl_reward.agents.common.base import as_leaves


def dense(params, x):
    """A network of one hidden layer, in NumPy."""
    layers = jax.tree.map(np.asarray, params["params"])
    first, second = layers["Dense_0"], layers["Dense_1"]
    hidden = np.maximum(x @ first["kernel"] + first["bias"][None], 0.0)
    return hidden @ second["kernel"] + second["bias"][None]


def one_of(params, i):
    """Critics are a tuple, or a stack where targets are of a subset."""
    return params[i] if isinstance(params, tuple) else jax.tree.map(lambda x: x[i], params)


def batch_of(agent, rng, size):
    made = inside(agent).learner
    width = agent.env.observation_space.shape[0]
    if made.discrete:
        choice = rng.integers(0, made.dist.num_actions, size).astype(np.int32)
    else:
        choice = rng.uniform(-1, 1, (size, made.dist.dim)).astype(np.float32)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    weight = np.where(rng.uniform(size=size) < 0.3, 0.0, GAMMA).astype(np.float32)
    return replay.Batch(normal(size, width), choice, normal(size), weight, normal(size, width))


def soft_values(agent, params, critics, inputs, noise, reduce):
    """Value and entropy of the policy, row by row."""
    made, out = inside(agent).learner, dense(params["actor"], inputs)
    if made.discrete:
        probs = np.exp(out) / np.exp(out).sum(1, keepdims=True)
        q = reduce(np.stack([dense(critic, inputs) for critic in critics]))
        return (probs * q).sum(1), -(probs * np.log(probs)).sum(1)
    mean, log_std = np.split(out, 2, axis=1)
    raw = (mean + np.exp(log_std) * noise).astype(np.float64)  # for the tanh's slope, if steep
    log_prob = -0.5 * (noise**2 + np.log(2 * np.pi)) - log_std - np.log(1 - np.tanh(raw) ** 2)
    pair = np.concatenate([inputs, np.tanh(raw)], 1)
    q = reduce(np.stack([dense(critic, pair)[:, 0] for critic in critics]))
    return q, -log_prob.sum(1)


@pytest.mark.parametrize("env,critics,subset", [(CONTINUOUS, 4, 2), (DISCRETE, 2, 2)])
def test_the_update_is_the_papers(env, critics, subset):
    agent = small(env, critics=critics, subset=subset, hidden=(4,))
    made, settings = inside(agent).learner, as_leaves(agent.config)

    @quick
    def start(key):
        inputs = jnp.zeros((1, *agent.env.observation_space.shape))
        return made.init(settings, inputs, key, key)

    @quick
    def steps(settings, learner, batch, key):
        return (
            made.target(settings, learner[0], batch, key),
            made.critic_step(settings, learner, (batch, key)),
            made.actor_step(settings, learner, batch.inputs, key),
        )

    first, opt_state = start(jax.random.key(0))
    key, rng = jax.random.key(3), np.random.default_rng(0)
    jitter = lambda x: x + rng.normal(size=x.shape).astype(np.float32) * 0.3  # noqa: E731
    params = {name: jax.tree.map(jitter, first[name]) for name in first}
    alpha, batch = np.exp(params["log_temperature"]), batch_of(agent, rng, 16)

    key_noise, key_subset = jax.random.split(key)
    chosen = jax.random.permutation(key_subset, critics)[:subset] if subset < critics else range(2)
    assert len(set(np.asarray(chosen).tolist())) == subset
    targets = [one_of(params["target"], int(i)) for i in chosen]
    noise = np.asarray(made.dist.noise(key_noise, (16,)))
    low = lambda q: q.min(0)  # noqa: E731
    value, entropy = soft_values(agent, params, targets, batch.next_inputs, noise, low)
    expected = batch.reward + batch.weight * (value + alpha * entropy)
    target, critic_step, actor_step = steps(settings, (params, opt_state), batch, key)
    target = np.asarray(target)
    np.testing.assert_allclose(target, expected, rtol=2e-4, atol=2e-4)
    assert np.array_equal(target[batch.weight == 0], batch.reward[batch.weight == 0])

    # The critics: the loss, and the first step of Adam, which is the gradient's sign.
    (after, _), metrics = critic_step
    pair = batch.inputs if made.discrete else np.concatenate([batch.inputs, batch.choice], 1)
    q = np.stack([dense(one_of(params["critic"], i), pair) for i in range(critics)])
    q = q[:, np.arange(16), batch.choice] if made.discrete else q[..., 0]
    np.testing.assert_allclose(
        metrics["q_loss"], 0.5 * ((q - expected) ** 2).mean(), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(metrics["q_mean"], q.mean(), rtol=1e-3, atol=1e-4)
    each = lambda p: [one_of(p, i)["params"]["Dense_1"]["bias"] for i in range(critics)]  # noqa: E731
    name = lambda p: np.stack(each(p))  # noqa: E731
    moved = name(after["critic"]) - name(params["critic"])
    gradient = (q - expected)[:, :, None] * (
        np.eye(made.dist.num_actions)[batch.choice] if made.discrete else np.ones((16, 1))
    )
    np.testing.assert_allclose(moved, -1e-3 * np.sign(gradient.sum(1)), rtol=1e-2)
    slow = name(params["target"]) + 0.005 * (name(after["critic"]) - name(params["target"]))
    np.testing.assert_allclose(name(after["target"]), slow, rtol=1e-4, atol=1e-6)
    close(after["actor"], params["actor"], 0.0, 0.0)

    # The policy and the temperature.
    noise = np.asarray(made.dist.noise(key, (16,)))
    all_critics = [one_of(params["critic"], i) for i in range(critics)]
    over = low if subset == critics else lambda q: q.mean(0)
    value, entropy = soft_values(agent, params, all_critics, batch.inputs, noise, over)
    (after, _), metrics = actor_step
    np.testing.assert_allclose(
        metrics["actor_loss"], -(value + alpha * entropy).mean(), rtol=1e-3, atol=2e-4
    )
    np.testing.assert_allclose(metrics["entropy"], entropy.mean(), rtol=1e-3, atol=1e-4)
    goal = 0.98 * math.log(2) if made.discrete else -1.0
    change = float(after["log_temperature"] - params["log_temperature"])
    np.testing.assert_allclose(change, -3e-4 * np.sign(entropy.mean() - goal), rtol=1e-2)
    close(after["critic"], params["critic"], 0.0, 0.0)
