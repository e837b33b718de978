"""Actions of several whole numbers: what PPO learns of them, and what else handles them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _masked import Pair, Team, looks, made, trained

import jaxrl_reward as jr
from jaxrl_reward import agents, deploy, spaces
from jaxrl_reward.collecting import record
from jaxrl_reward.envs import masks
from jaxrl_reward.render import rollout
from jaxrl_reward.testing import check_agent, check_env
from jaxrl_reward.types import UserError

KEY = jax.random.key(0)
SMALL = dict(num_envs=16, num_steps=8, hidden=(32,), learning_rate=0.01)
CURIOUS = "env + 0.01*icm(actions=3, width=8) + 0.01*empowerment(actions=3, width=8)"


@pytest.fixture(scope="module")
def pair():
    return trained("ppo", Pair, 40, **SMALL)


def test_ppo_finds_the_best_pair_and_never_takes_what_is_not_allowed(pair):
    agent, state, metrics = pair
    assert np.isfinite(metrics["episode_return"].total).all()
    assert agent.act(state, looks(agent.env)).tolist() == [list(best) for best in Pair.best]
    assert agent.act(state, looks(agent.env)).dtype == np.int32
    drawn = agent.act(state, jnp.tile(looks(agent.env)[1:], (500, 1)), KEY)
    assert drawn[:, 1].max() == 1


def test_it_goes_where_policies_go(pair, tmp_path):
    agent, state, _ = pair
    policy = deploy.policy.Policy(agent, state)
    seen = np.asarray(looks(agent.env))
    assert policy(seen[0]).tolist() == [0, 2]
    parts = {
        "action_mask": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]], bool),
        "kind": np.arange(2),
    }
    np.testing.assert_array_equal(policy(parts), policy(seen))
    one = {"action_mask": parts["action_mask"][1], "kind": 1}
    assert policy(one).tolist() == [1, 1]
    with pytest.raises(UserError, match=r"takes action_mask \[5\], kind \[\], or N of each"):
        policy({"kind": 1})
    file = deploy.exporting.export(policy, tmp_path / "policy.jax")
    alone = jax.export.deserialize(bytearray(file.read_bytes()))
    np.testing.assert_array_equal(alone.call(seen), policy(seen))


def test_random_play_keeps_to_what_is_allowed():
    env = made(Pair)
    seen = jnp.repeat(looks(env), 300, axis=0)
    action = record.anything(KEY, env, seen)
    assert action.shape == (600, 2) and action.dtype == jnp.int32
    of_kind = [{tuple(each) for each in rows.tolist()} for rows in (action[:300], action[300:])]
    assert of_kind[1] == {(0, 0), (0, 1), (1, 0), (1, 1)} and len(of_kind[0]) == 6
    played = rollout.play(env, rollout.random(env), max_steps=1)
    assert np.isfinite(played.rewards).all()


def test_its_environment_keeps_the_laws():
    check_env(made(Pair), beside=False)


@pytest.mark.slow
def test_an_agent_that_is_curious_about_it_keeps_the_laws():
    check_agent(agents.make("ppo", made(Pair), CURIOUS, num_envs=4, num_steps=4, hidden=(8,)))


def test_a_team_learns_by_shared_parameters():
    found = dict(num_envs=32, num_steps=8, hidden=(32,), learning_rate=0.01, network="shared")
    agent, state, _ = trained("ppo", Team, 50, **found)
    returns, _ = agent.evaluate(state, KEY, 32)
    assert returns.mean() > 2.9  # of 3; by chance 0.75
    sees = looks(agent.env, 64)
    wanted = jnp.arange(64)[:, None] // 4 ** jnp.arange(3)[None] % 4
    assert (agent.act(state, sees) == wanted).mean() > 0.97


@pytest.mark.parametrize("name", ["dqn", "sac", "td3", "eta"])
def test_others_say_what_to_do(name):
    with pytest.raises(UserError, match="MultiDiscrete: use ppo, or give few combinations as one"):
        agents.make(name, made(Pair))


def test_choices_of_spaces():
    assert masks.choices(spaces.MultiDiscrete([2, 3])) == (2, 3)
    assert masks.choices(spaces.Discrete(4)) == (4,)
    assert masks.choices(spaces.Box(0.0, 1.0, (2,))) == ()
    assert jr.envs.make("gymnax:CartPole-v1").mask is None
