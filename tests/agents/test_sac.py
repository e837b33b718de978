"""SAC: an iteration, rewards that change, many at once, what it refuses."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _sac import CONTINUOUS, DISCRETE, METRICS, SLOPES, after, inside, quick, repeat, rich, small
from _shared import close

from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import replay
from jaxrl_reward.agents.common.base import as_leaves
from jaxrl_reward.types import UserError

# ---- one iteration ---------------------------------------------------------------------


@pytest.mark.parametrize("env", [CONTINUOUS, pytest.param(DISCRETE, marks=pytest.mark.slow)])
def test_an_iteration_keeps_shapes_and_stays_finite(env):
    agent, state, metrics = after(env, 4)
    before = after(env, 0)[1]
    assert jax.tree.structure(state) == jax.tree.structure(before)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(state)] == [
        (x.shape, x.dtype) for x in jax.tree.leaves(before)
    ]
    assert set(metrics) == METRICS | SLOPES | {"reward/normalize/std", "reward/rnd/loss"}
    for name, mean in metrics.items():
        assert mean.total.shape == mean.count.shape == ()
        assert np.isfinite(mean.total) and (mean.count > 0 or "episode" in name), name
    floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert all(np.isfinite(x).all() for x in floats)
    assert state.iteration == 4 and agent.steps_per_iteration == 8
    # The policy learns once in `policy_delay` updates.
    assert metrics["q_loss"].count == 2
    assert metrics["actor_loss"].count == 2 / agent.config.policy_delay


def test_nothing_is_learned_before_the_warm_up_is_over():
    """And until then actions are random, whatever the policy is."""
    _, _, iterate = rich(DISCRETE)
    start = after(DISCRETE, 0)[1]
    layers = start.params["actor"]["params"]
    last = {**layers["Dense_1"], "bias": layers["Dense_1"]["bias"].at[0].set(1e3)}
    actor = {"params": {**layers, "Dense_1": last}}  # which would always choose 0
    state, metrics = iterate(start.replace(params={**start.params, "actor": actor}))
    close(state.params, {**start.params, "actor": actor}, 0.0, 0.0)
    assert metrics["q_loss"].count == metrics["actor_loss"].count == 0
    assert int(state.replay.size) == 8
    state, metrics = iterate(state)
    assert metrics["q_loss"].count == 2 and metrics["actor_loss"].count == 1
    state, _ = iterate(state)
    actions = np.asarray(state.replay.items["step"].action)
    assert actions.shape == (16, 4)
    assert 2 < actions[:4].sum() < 14 and actions[4:6].sum() == 0


def test_warm_up_actions_fill_their_bounds():
    agent, state, _ = after(CONTINUOUS, 0)
    made, keys = inside(agent), jax.random.split(jax.random.key(3), 64)

    @quick
    @jax.vmap
    def play(key):
        return made.items(made.play(state, key, key)[2])

    items = play(keys)
    actions = np.asarray(items["step"].action)
    np.testing.assert_allclose(np.quantile(actions, [0.25, 0.5, 0.75]), [-1, 0, 1], atol=0.25)
    assert np.abs(actions).max() <= 2.0 and np.ptp(actions) > 3.9
    np.testing.assert_allclose(actions, 2.0 * np.asarray(items["choice"]), 1e-5, 1e-6)


# ---- rewards that change ---------------------------------------------------------------


class rising(rw.Causal):  # noqa: N801
    """Doubles the reward of every other step of an episode, and adds to it."""

    def begin_one(self, shared, obs):
        return jnp.float32(0.0)

    def step(self, shared, local, transition):
        return local + 1, rw.Affine(1.0 + local % 2, 0.1 * local)

    def view(self, local):
        return local[None]


class linear(rw.Learned):  # noqa: N801
    """The running reward, amplified, and a function of the successor, both learned."""

    name = "linear"

    def init_params(self, key, example):
        return jnp.zeros(example.next_obs.size)

    def reward(self, params, transition):
        return transition.reward * (1.0 + params[0]) + transition.next_obs @ params

    def loss(self, params, key, batch):
        goal = batch.next_obs @ jnp.array([1.0, -2.0, 0.5])
        return ((batch.next_obs @ params - goal) ** 2).mean()


@pytest.mark.parametrize("placement", ["block", pytest.param("step", marks=pytest.mark.slow)])
def test_replayed_rewards_are_todays(placement):
    """What remembers is as recorded, between stages that learn: as if played anew today.

    The chain is learned, history, learned, moving statistics, bounded.
    """
    text = "rnd(width=4, features=2) + 0.1*counts(buckets=8)"
    reward = rw.parse(text) | rising() | linear(learning_rate=0.1) | rw.parse("normalize()")
    reward = reward | rw.clip(-5, 5)
    agent = small(CONTINUOUS, reward, placement=placement, learning_starts=64, buffer_size=64)
    made = inside(agent)

    @quick
    def replayed(first, state):
        """Of four blocks of two steps: under `first`, today, and today in order."""
        items = state.replay.items
        window = replay.Window(
            jax.tree.map(lambda x: x[:8].reshape(1, 32, *x.shape[2:]), items),
            jnp.ones((1, 32), bool),
        )
        then, now = (
            made.recorder.transitions(state.reward, shared, window)
            for shared in (first.reward_state.shared, state.reward_state.shared)
        )
        block = jax.tree.map(lambda x: x[0].reshape(8, 4, *x.shape[2:]), now)
        fresh = state.reward.init(jax.random.key(0), made.player.example(4, 8))
        anew = fresh.replace(shared=state.reward_state.shared)
        played = state.reward.apply(anew, block.replace(reward=block.env_reward)).reward
        return then.reward.reshape(8, 4), now.reward.reshape(8, 4), played

    iterate = quick(agent.iterate)
    first, _ = iterate(quick(agent.init)(jax.random.key(0)))
    state = first
    for _ in range(3):
        state, _ = iterate(state)
    then, now, played = map(np.asarray, replayed(first, state))
    np.testing.assert_allclose(now, played, rtol=1e-4, atol=1e-5)
    assert np.abs(now - then).max() > 0.1  # learning moves what is stored
    assert np.abs(now).max() < 5.0 and np.ptp(now) > 0.1  # and the bound hides nothing


class watched(linear):  # noqa: N801
    """Also logs what it is shown."""

    def learn(self, state, key, block):
        steps = jax.tree.map(lambda x: x[0], block.replace(reward=block.env_reward))
        today = jax.vmap(lambda step: self.reward(state.shared.params, step))(steps)
        same = (steps.next_obs[:, None] == steps.next_obs[None]).all(-1)
        shown = {
            "steps": jnp.float32(block.first.size),
            "distinct": (1.0 / same.sum(1)).sum(),
            "wrong": jnp.abs(block.reward[0] - today).max(),
            "extra": block.info["discount"].min(),
        }
        state, metrics = linear.learn(self, state, key, block)
        return state, metrics | shown


def test_a_learned_reward_learns_from_the_whole_store():
    """Though one step is played at a time; it converges on a linear reward."""
    agent = small(CONTINUOUS, watched(learning_rate=0.05), num_envs=1, num_steps=1, n_step=2)
    run = quick(lambda key: repeat(agent.iterate, 200)(agent.init(key)))
    state, metrics = run(jax.random.key(0))
    weights = state.reward_state.shared.params
    np.testing.assert_allclose(weights, [1.0, -2.0, 0.5], atol=0.02)
    shown = {name: float(m.value) for name, m in metrics.items() if "reward/" in name}
    assert shown["reward/linear/loss"] < 1e-3
    # 32 draws from a store of 64, with replacement: of about 25 different steps.
    assert shown["reward/steps"] == 32 and 18 < shown["reward/distinct"] <= 32.1
    # As rewarded today; and what it reads of `info` was stored, and nothing else was.
    assert shown["reward/wrong"] < 1e-4 and shown["reward/extra"] == 1.0
    step = state.replay.items["step"]
    assert step.info["discount"].shape == (64, 1) and not jax.tree.leaves(step.policy)


def test_what_rewards_read_of_info_is_stored_and_nothing_else():
    class reader(rw.Pointwise):  # noqa: N801
        def reward(self, transition):
            return transition.info["discount"] + transition.policy["log_prob"]

    agent = small(CONTINUOUS, rw.env() + reader())
    step = jax.eval_shape(agent.init, jax.random.key(0)).replay.items["step"]
    assert step.policy["log_prob"].shape == (16, 4) and step.info["discount"].shape == (16, 4)
    assert step.policy["value"] == () and step.reward == ()
    plain = jax.eval_shape(small().init, jax.random.key(0)).replay.items["step"]
    assert not jax.tree.leaves((plain.policy, plain.info))


# ---- many at once ----------------------------------------------------------------------


def observable(state):
    return state.replace(env_state=state.env_state.replace(spare=(), used=()))


@pytest.mark.parametrize("env", [DISCRETE, pytest.param(CONTINUOUS, marks=pytest.mark.slow)])
def test_several_seeds_and_numbers_at_once_are_as_many_single_runs(env):
    """In one program, from before the first update until after the ring is full."""
    agent, init, iterate = rich(env)
    traces = []

    @quick
    @jax.vmap
    def run(key, config, reward):
        traces.append(1)
        return repeat(agent.iterate, 9)(agent.init(key, config, reward))[0]

    def scaled(i):
        """Other numbers for each: of the agent's, and of the reward's."""
        config = agent.config.replace(learning_rate=[3e-4, 3e-3][i % 2], gamma=0.9 + 0.04 * i)
        return as_leaves(config), jax.tree.map(lambda x: x * (1 - 0.1 * i), as_leaves(agent.reward))

    keys = jnp.stack([jax.random.key(i) for i in (0, 0, 2)])
    many = run(keys, *jax.tree.map(lambda *x: jnp.stack(x), *map(scaled, range(3))))
    assert len(traces) == 1
    for i in range(3):
        alone = init(keys[i], *scaled(i))
        for _ in range(9):
            alone, _ = iterate(alone)
        close(jax.tree.map(lambda x, i=i: x[i], observable(many)), observable(alone), 1e-2, 1e-3)
    actor = np.asarray(many.params["actor"]["params"]["Dense_0"]["kernel"])
    assert np.abs(actor[0] - actor[1]).max() > 1e-4  # the same seed, other numbers
    assert np.abs(actor[0] - actor[2]).max() > 0.1


# ---- acting and evaluating -------------------------------------------------------------


def test_greedy_and_drawn_actions():
    agent, state, _ = after(CONTINUOUS, 4)
    obs = jnp.zeros((1000, 3))
    assert np.abs(agent.act(state, obs)).max() < 0.2
    drawn = agent.act(state, obs, jax.random.key(1))
    assert drawn.shape == (1000, 1) and np.abs(drawn).max() <= 2.0 and np.ptp(drawn) > 3.5
    agent, state, _ = after(DISCRETE, 4)
    obs = jnp.zeros((500, 4))
    greedy = agent.act(state, obs)
    assert greedy.dtype == jnp.int32 and len(set(greedy.tolist())) == 1
    assert 150 < int(agent.act(state, obs, jax.random.key(1)).sum()) < 350


def test_evaluation_is_the_environments_own_reward():
    agent, state, _ = after(DISCRETE, 4)
    returns, lengths = quick(partial(agent.evaluate, num_episodes=3))(state, jax.random.key(5))
    assert lengths.dtype == jnp.int32
    np.testing.assert_array_equal(returns, lengths)  # CartPole pays 1 a step


# ---- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides,message",
    [
        (
            {"buffer_size": 12, "learning_starts": 0},
            "sac's buffer_size=12 has no room for a batch of 16 steps "
            "(num_envs=4 x num_steps=2 at a time); use at least 16",
        ),
        ({"learning_starts": 65}, "sac's learning_starts must be between 0 and 64, not 65"),
        # In whole blocks of eight, the ring holds 56.
        (
            {"learning_starts": 60, "buffer_size": 63},
            "sac's learning_starts must be between 0 and 56, not 60",
        ),
        ({"target_rate": -1.0}, "sac's target_rate must be between 0 and 1, not -1.0"),
        ({"n_step": 0}, "sac's n_step must be a positive integer, not 0"),
        ({"hidden": (8, 0)}, "sac's hidden must be a positive integer, not 0"),
        ({"gamma": 1.5}, "sac's gamma must be between 0 and 1, not 1.5"),
        ({"temperature": -1.0}, "sac's temperature must be at least 0, not -1.0"),
        (
            {"temperature": 0.0, "tune_temperature": True},
            "sac's temperature cannot be tuned from 0, which it never leaves; use one above 0, "
            "or tune_temperature=False",
        ),
        (
            {"hidden": (8, 1), "layer_norm": True},
            "sac's hidden=(8, 1) has a layer of one unit, which normalised is always 0; "
            "use wider layers, or layer_norm=False",
        ),
        ({"placement": "steps"}, "sac has no placement 'steps', did you mean 'step'?"),
        ({"batchsize": 3}, "sac has no setting 'batchsize', did you mean 'batch_size'?"),
    ],
)
def test_bad_settings_name_their_fix(overrides, message):
    with pytest.raises(UserError) as error:
        small(**overrides)
    assert str(error.value) == message
