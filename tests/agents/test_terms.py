"""Which kinds of reward terms each agent takes, and PPO on terms of whole episodes."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, cli, envs
from jaxrl_reward import data as datasets
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import returns, rollout
from jaxrl_reward.agents.on_policy import ppo
from jaxrl_reward.cli.commands import listing
from jaxrl_reward.types import UserError

CARTPOLE, PENDULUM = "gymnax:CartPole-v1", "gymnax:Pendulum-v1"
TERMS = {
    "pointwise": "env | clip(-1, 1)",
    "causal": "env + counts()",
    "learned": "env + rnd(width=4, features=2)",
    "episodic": "env | spread_return()",
    "group": "env | grpo()",
    "pair": "dpo()",
}
BOX = ("sac", "td3", "bc", "iql", "riql", "edac")
SMALL = {"num_envs": 4, "hidden": (4,), "epochs": 1, "minibatches": 2}
LIMITED = f"{CARTPOLE},max_steps_in_episode=16"


def data(obs=3, action=np.float32):
    rows = np.zeros(8, np.float32)
    flags = {"terminated": rows > 0, "truncated": np.arange(8) == 7}
    obs = np.zeros((8, obs), np.float32)
    action = np.zeros((8, 1), action) if action is np.float32 else np.zeros(8, action)
    return datasets.make({"obs": obs, "next_obs": obs, "action": action, "reward": rows, **flags})


def make(name, reward, env=None, **settings):
    writes = name in ("group_pg", "pair_pg")
    env = env or ("sequence:sum" if writes else PENDULUM if name in BOX else CARTPOLE)
    given = None
    if agents.learns_from_data(name):
        given = data() if name in BOX else data(4, np.int32)
    return agents.make(name, env, reward, data=given, **settings)


@pytest.mark.parametrize("name", agents.names())
def test_an_agent_takes_what_its_table_says_and_refuses_the_others(name):
    assert set(agents.terms(name)) >= {"pointwise", "causal", "learned"}
    for kind, text in TERMS.items():
        assert rw.scopes(rw.parse(text)) - {"pointwise", "operator"} == {kind} - {"pointwise"}
        if kind in agents.terms(name):
            # The others are raters here, and say what pairs are worth.
            make(name, f"{text} | dpo()" if name == "pair_pg" and kind != "pair" else text)
            continue
        known = [each for each in agents.names() if kind in agents.terms(each)]
        with pytest.raises(UserError, match=f"use {', '.join(known)}$") as error:
            make(name, text)
        assert "\n" not in str(error.value)


def test_the_readme_has_the_table_that_the_command_prints(capsys):
    readme = Path(__file__).parents[2] / "README.md"
    assert cli.main(["list", "agents"]) == 0
    assert listing.terms() in capsys.readouterr().out
    assert f"\n{listing.terms()}\n" in readme.read_text()


# ---- PPO on whole episodes ------------------------------------------------------------


def played(reward, **settings):
    """An agent, its state, and the block that its first iteration plays."""
    agent = make("ppo", reward, LIMITED, **SMALL, **settings)
    learner, player = ppo.Learner(agent.config, agent.env.action_space), agent.init.__self__.player

    @jax.jit
    def play(key):
        state = agent.init(key)
        shape = (agent.config.num_steps, agent.config.num_envs)
        noise = learner.noise(state, jax.random.key(1), shape)
        keys = jax.random.split(jax.random.key(2), shape)
        block = player.rollout(state, learner, state.memory, noise, keys)[2]
        return state, block, learner.batch(state, block, noise)

    return agent, learner, *play(jax.random.key(0))


def by_hand(block):
    """Each environment's first episode as a list of its rows."""
    last = np.asarray(block.last)
    return [(n, range(int(np.argmax(last[:, n])) + 1)) for n in range(last.shape[1])]


@pytest.mark.parametrize("network", ["mlp", "gru"])
def test_rewards_are_the_term_on_each_whole_episode(network):
    text = "env + 0.5*potential('first', gamma=0.9) | spread_return()"
    _, learner, state, found, batch = played(text, gamma=0.9, network=network)
    block, alive = found.block, np.zeros((16, 4), bool)
    assert np.asarray(block.last[-1]).all()  # nothing goes on beyond the block
    for n, rows in by_hand(block):
        alive[list(rows), n] = True
        phi = [np.asarray(x)[list(rows), n, 0] for x in (block.obs, block.next_obs)]
        ended = np.asarray(block.terminated)[list(rows), n]
        paid = 1.0 + 0.5 * (0.9 * np.where(ended, 0.0, phi[1]) - phi[0])
        np.testing.assert_allclose(block.reward[list(rows), n], paid.mean(), rtol=1e-5)
    assert 4 < alive.sum() < 64
    np.testing.assert_array_equal(found.alive, alive)
    # What is learned from: advantages of each episode by itself, and no other row.
    weight = np.asarray(batch.weight).reshape(4, 16).T if network == "gru" else batch.weight
    np.testing.assert_array_equal(np.asarray(weight).reshape(16, 4), alive)
    after = learner.next_value(state, found)
    for n, rows in by_hand(block):
        parts = (block.reward, block.policy["value"], after, block.terminated, block.truncated)
        own = [x[list(rows), n : n + 1] for x in parts]
        numbers = (0.9, learner.config.gae_lambda)
        advantage = returns.gae(*own, *numbers)[0][:, 0]  # pyright: ignore[reportCallIssue]
        given = np.asarray(batch.advantage)
        given = given.T if network == "gru" else given.reshape(16, 4)
        np.testing.assert_allclose(given[list(rows), n], advantage, rtol=1e-4, atol=1e-5)


def test_rows_that_do_not_count_change_nothing():
    """The gradient is that of the rows that count, however the others look."""
    _, learner, state, _, batch = played("env | spread_return()")
    rows = jnp.arange(64)
    config = state.config

    def gradient(batch, rows):
        fair = learner.standardize(config, ppo.weighed(batch, rows), rows)
        part = jax.tree.map(lambda x: x[rows], fair)
        return jax.grad(learner.loss, argnums=1, has_aux=True)(config, state.params, part)

    alive = np.flatnonzero(np.asarray(batch.weight))
    few = batch._replace(weight=())
    wild = jnp.where(batch.weight > 0.0, 0.0, 1e30)
    odd = batch._replace(
        advantage=batch.advantage + wild, log_prob=batch.log_prob - wild, target=batch.target
    )
    wanted = gradient(few, jnp.asarray(alive))
    for each in (batch, odd):
        for a, b in zip(
            jax.tree.leaves(wanted), jax.tree.leaves(gradient(each, rows)), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_metrics_and_evaluation_are_the_environments_own():
    agent = make("ppo", "env | spread_return()", LIMITED, **SMALL)
    assert agent.steps_per_iteration == 64 and agent.config.num_steps == 16
    state, metrics = jax.jit(agent.iterate)(agent.init(jax.random.key(0)))
    mean = {name: float(each.total / each.count) for name, each in metrics.items()}
    # CartPole pays 1 a step, and so does its spread return.
    assert mean["reward"] == 1.0
    assert mean["episode_return"] == mean["episode_length"] > 4.0
    assert np.isfinite(list(mean.values())).all()
    returns_, lengths = jax.jit(agent.evaluate, static_argnums=2)(state, jax.random.key(1), 3)
    np.testing.assert_array_equal(returns_, lengths)


def test_seeds_are_lanes():
    agent = make("ppo", "env | spread_return()", LIMITED, **SMALL)

    def two_iterations(seed):
        state = agent.iterate(agent.init(jax.random.key(seed)))[0]
        state, metrics = agent.iterate(state)
        return state.params, metrics

    both = jax.jit(jax.vmap(two_iterations))(jnp.arange(2))
    one = jax.jit(two_iterations)(1)
    for lane, alone in zip(jax.tree.leaves(both), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(lane[1], alone, rtol=1e-3, atol=1e-5)


def test_subpo_takes_them_too():
    agent = make("subpo", "env | spread_return()", LIMITED, num_envs=4, placement="block")
    metrics = jax.jit(agent.iterate)(agent.init(jax.random.key(0)))[1]
    assert float(metrics["reward"].total / metrics["reward"].count) == 1.0


def test_a_block_that_cannot_hold_whole_episodes_is_refused_or_told(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(envs.Env, "max_steps", None)
        with pytest.raises(UserError, match=r"needs whole episodes, and those of .* may never end"):
            make("ppo", "env | spread_return()")
    with pytest.raises(UserError, match=r"minibatches=3 does not divide .* num_steps=16"):
        make("ppo", "env | spread_return()", LIMITED, **SMALL | {"minibatches": 3})
    with pytest.warns(UserWarning, match=r"num_steps is 16, their time limit, not 8"):
        agent = make("ppo", "env | spread_return()", LIMITED, **SMALL, num_steps=8)
    assert agent.config.num_steps == 16
    assert make("ppo", "env", LIMITED, **SMALL, num_steps=8).config.num_steps == 8


def test_the_end_of_a_block_cuts_what_still_runs():
    flags = [[True, False, False], [False, True, False]]  # of two environments
    last = jnp.array(flags).T
    block = rw.one_step.block(jnp.zeros((3, 2)))
    block = block.replace(terminated=last, truncated=jnp.zeros_like(last))
    found = rollout.cut(block)
    np.testing.assert_array_equal(found.truncated, [[0, 0], [0, 0], [1, 1]])
    np.testing.assert_array_equal(found.terminated, last)
    alive = rollout.first_episode(found.last)
    np.testing.assert_array_equal(alive, [[1, 1], [0, 1], [0, 0]])
