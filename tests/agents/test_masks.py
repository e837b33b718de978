"""Actions that are not allowed are never taken, nor counted on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _masked import Bandit, Chain, looks, made, trained
from hypothesis import given
from hypothesis import strategies as st

from jaxrl_reward import agents, envs, spaces
from jaxrl_reward.agents.common import replay
from jaxrl_reward.envs import masks
from jaxrl_reward.types import UserError

KEY = jax.random.key(0)
LEARNED = {
    "ppo": dict(num_envs=16, num_steps=8, hidden=(32,), learning_rate=0.01, normalize_obs=True),
    "subpo": dict(num_envs=32, hidden=(32,), learning_rate=0.02),
    "dqn": dict(num_envs=8, hidden=(32,), learning_starts=64, epsilon_steps=1e3, gamma=0.5),
    "sac": dict(num_envs=8, hidden=(32,), learning_starts=64, learning_rate=0.01, gamma=0.5,
                target_entropy_scale=0.1, batch_size=64, normalize_obs=True),
    "eta": dict(num_envs=8, hidden=(32,), learning_starts=64, epsilon_steps=1e3, gamma=0.5,
                quantiles=4, stock_low=(-1.0,), stock_high=(1.0,), c0=(0.0,)),
}  # fmt: skip
ITERATIONS = {"ppo": 30, "subpo": 120, "dqn": 200, "sac": 250, "eta": 250}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("subpo", "eta")]


@pytest.mark.parametrize("name", ["ppo", "dqn", "sac", *SLOW])
def test_the_best_allowed_arm_is_found_and_no_other_ever_pulled(name):
    agent, state, metrics = trained(name, Bandit, ITERATIONS[name], **LEARNED[name])
    # One pull of an arm that is not allowed would make a mean infinite.
    assert np.isfinite(metrics["episode_return"].total).all()
    assert metrics["episode_return"].count.sum() == ITERATIONS[name] * agent.steps_per_iteration
    returns, lengths = jax.jit(agent.evaluate, static_argnums=2)(state, KEY, 64)
    assert set(np.unique(returns).tolist()) == {np.float32(0.5), np.float32(0.9)}
    assert (lengths == 1).all()


@pytest.mark.parametrize("name", ["ppo", "dqn", "sac"])
def test_what_is_known_of_a_choice_is_of_what_is_allowed(name):
    agent = agents.make(name, made(Bandit), **LEARNED[name])
    shell = agent.init.__self__

    @jax.jit
    def play(key):
        state = agent.init(key)
        if hasattr(shell, "play"):
            return shell.play(state, key, key)[2].block
        keys = jax.random.split(key, (8, agent.config.num_envs))
        noise = shell.learner.noise(state, key, keys.shape)
        return shell.player.rollout(state, shell.learner, state.memory, noise, keys)[2].block

    block = play(KEY)
    count = block.obs[..., :4].sum(-1)
    # All start near uniform: the entropy is the log of how many actions are allowed.
    atol = 1e-6 if name == "dqn" else 1e-3
    np.testing.assert_allclose(block.policy["entropy"], np.log(count), atol=atol)
    np.testing.assert_allclose(block.policy["log_prob"], -np.log(count), atol=50 * atol)
    assert jnp.isfinite(block.policy["value"]).all()


def test_nothing_allowed_is_all_allowed():
    mask = masks.Mask(1, (3,))
    obs = jnp.array([[9.0, 1, 0, 1, 9], [9, 0, 0, 0, 9]])
    np.testing.assert_array_equal(mask.allowed(obs), [[True, False, True], [True] * 3])
    several = masks.Mask(0, (2, 3))
    obs = jnp.array([[0.0, 0, 0, 1, 0], [1, 0, 0, 0, 0]])
    wanted = [[True, True, False, True, False], [True, False, True, True, True]]
    np.testing.assert_array_equal(several.allowed(obs), wanted)


@given(st.lists(st.booleans(), min_size=1, max_size=9).filter(any))
def test_random_allowed_choices_are_all_as_likely(allowed):
    uniform = (jnp.arange(360 * 7) + 0.5) / (360 * 7)  # a multiple of 1 to 9 of them
    rows = jnp.broadcast_to(jnp.array(allowed), (uniform.size, len(allowed)))
    counts = np.bincount(masks.draw(rows, uniform), minlength=len(allowed))
    np.testing.assert_array_equal(counts, np.array(allowed) * uniform.size // sum(allowed))
    assert allowed[int(masks.draw(jnp.array(allowed), jnp.float32(1 - 2**-23)))]


def test_the_best_is_allowed_whatever_the_scores():
    allowed = jnp.array([False, True, True])
    for scores in ([5.0, 1, 2], [5, -jnp.inf, -jnp.inf], [jnp.inf, -3, -4], [jnp.nan, 0, 1]):
        assert masks.best(jnp.array(scores), allowed) in (1, 2)
    assert masks.best(jnp.array([5.0, 1, 2]), allowed) == 2


# ---- bootstrapping --------------------------------------------------------------------


def _batch(learner, looks):
    count = looks.shape[0]
    nothing = jnp.zeros(count)
    return replay.Batch(looks, nothing.astype(jnp.int32), nothing + 0.25, nothing + 0.5, looks)


@pytest.mark.parametrize("double", [True, False])
def test_the_bootstrap_of_dqn_is_of_allowed_actions(double):
    agent = agents.make("dqn", made(Bandit), double=double, hidden=(8,))
    learner, state = agent.init.__self__.learner, agent.init(KEY)
    other = agent.init(jax.random.key(5)).params["online"]
    params, seen = {**state.params, "target": other}, looks(agent.env)
    found = learner.target(state.config, params, _batch(learner, seen))[:, 0]
    slow, fast = (np.array(learner.quantiles(params[k], seen)[:, 0]) for k in ("target", "online"))
    for row, kind in enumerate(Bandit.allowed):
        legal = [a for a in range(4) if kind[a]]
        best = max(legal, key=lambda a: (fast if double else slow)[row, a])
        np.testing.assert_allclose(found[row], 0.25 + 0.5 * slow[row, best], rtol=1e-6)


def test_the_soft_value_of_sac_is_an_expectation_over_allowed_actions():
    agent = agents.make("sac", made(Bandit), hidden=(8,), temperature=0.3)
    learner, state = agent.init.__self__.learner, agent.init(KEY)
    seen = looks(agent.env)
    found = learner.target(state.config, state.params, _batch(learner, seen), KEY)
    logits = np.float64(learner.actor.apply(state.params["actor"], seen))
    q = np.float64(learner.critic.apply(state.params["target"], seen)).min(0)
    for row, kind in enumerate(np.array(Bandit.allowed, bool)):
        prob = np.exp(logits[row][kind])
        prob /= prob.sum()
        soft = (prob * q[row][kind]).sum() - 0.3 * (prob * np.log(prob)).sum()
        np.testing.assert_allclose(found[row], 0.25 + 0.5 * soft, rtol=1e-5)
    goal = 0.98 * (np.log(3) + np.log(2)) / 2
    np.testing.assert_allclose(learner.target_entropy(seen), goal, rtol=1e-6)


def _values(gamma):
    """Of the chain's allowed actions, by value iteration; others are nan."""
    q = np.zeros((4, 3))
    for _ in range(2000):
        value = np.append([q[s][np.array(Chain.allowed[s], bool)].max() for s in range(3)], 0.0)
        for s in range(3):
            for a in range(3):
                q[s, a] = Chain.paid[s][a] + gamma * value[Chain.after[s][a]]
    return np.where(np.array(Chain.allowed, bool), q[:3], np.nan)


def test_dqn_learns_the_values_of_allowed_actions():
    found = dict(num_envs=8, hidden=(64,), epsilon_end=1.0, gamma=0.8, buffer_size=4000)
    found |= dict(learning_starts=64, n_step=1, target_rate=0.1, updates=4)
    agent, state, _ = trained("dqn", Chain, 400, **found)
    learner, seen = agent.init.__self__.learner, looks(agent.env, 3)
    q = np.array(learner.quantiles(state.params["online"], seen)[:, 0])
    wanted = _values(0.8)
    np.testing.assert_allclose(np.where(np.isnan(wanted), np.nan, q), wanted, atol=0.05)
    stored = jax.tree.map(lambda x: x[:400], state.replay.items["step"])  # in those filled
    assert np.take_along_axis(stored.obs[..., :3], stored.action[..., None], -1).all()


# ---- where the mask lies --------------------------------------------------------------


def test_an_observation_of_parts_is_one_vector():
    env = made(Bandit)
    assert env.observation_space.shape == (8,) and env.mask.start == 0
    assert [(part.name, part.start) for part in env.parts] == [
        ("action_mask", 0), ("kind", 4), ("place", 6)
    ]  # fmt: skip
    obs, state = env.reset(KEY)
    kind = int(state.kind)
    place = [3.0 * (kind + 1), 40.0 * (kind + 1)]
    np.testing.assert_array_equal(obs, [*Bandit.allowed[kind], kind == 0, kind == 1, *place])
    after = env.step(KEY, state, jnp.int32(0))[0]
    np.testing.assert_array_equal(after, [0, 0, 0, 0, kind == 0, kind == 1, *place])


class Missing(Bandit):
    name = "Missing"

    def see(self, kind):
        return {"kind": kind}


class Wide(Bandit):
    name = "Wide"

    def see(self, kind):
        return {**super().see(kind), "place": jnp.zeros(3)}


def test_an_observation_without_its_parts_is_told():
    with pytest.raises(UserError, match=r"apart as observation_space says fails: .*action_mask"):
        made(Missing)
    with pytest.raises(UserError, match=r"\(9,\) as obs, and the shape \(8,\) of observ"):
        made(Wide)


# ---- what is no mask ------------------------------------------------------------------


class Odd(Bandit):
    name = "Odd"
    mask, actions = spaces.Box(0, 1, (3,)), spaces.Discrete(4)

    def see(self, kind):
        return {"action_mask": jnp.ones(self.mask.shape)}

    def ended(self, kind):
        return self.see(kind)

    def pay(self, kind, action):
        return jnp.float32(0.0)

    def observation_space(self, params):
        return spaces.Dict({"action_mask": self.mask})

    def action_space(self, params):
        return self.actions


class OddBox(Odd):
    actions = spaces.Box(-1.0, 1.0, (3,))


class OddTwo(Odd):
    def see(self, kind):
        return {"a": super().see(kind), "b": super().see(kind)}

    def observation_space(self, params):
        each = super().observation_space(params)
        return spaces.Dict({"a": each, "b": each})


@pytest.mark.parametrize(
    "environment,message",
    [
        (Odd, "action_mask of 3 numbers; its Discrete actions have 4 choices"),
        (OddBox, "action_mask, which Box actions do not have"),
        (OddTwo, r"observes a\.action_mask and b\.action_mask; give one"),
    ],
)
def test_a_mask_is_one_and_of_the_actions(environment, message):
    with pytest.raises(UserError, match=message):
        agents.make("ppo", envs.given(environment()))
