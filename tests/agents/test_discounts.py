"""Whose discount a reward's terms take, and which environments its functions are for."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import base
from jaxrl_reward.training import grids, lanes
from jaxrl_reward.types import UserError

CAR = "gymnax:MountainCar-v0"


def make(reward, env=CAR, agent="ppo", **settings):
    return agents.make(agent, env, reward, **settings)


def settled(agent, config=None, reward=None):
    check = agents.module(agent.name).check
    return base.settle(agent, check, config, reward)[1]


def test_a_term_without_a_discount_prints_none_and_takes_0_99_by_itself():
    for text in ("normalize()", "potential(function='norm')", "env + stock() | popart()"):
        assert str(rw.parse(text)) == text
    block = rw.one_step.block(jnp.zeros((1, 1)))
    block = block.replace(obs=block.obs + 1, next_obs=block.obs + 3, terminated=block.truncated)
    reward = rw.potential("norm").relabel((), jax.tree.map(lambda x: x[0], block), ())
    np.testing.assert_allclose(reward, 0.99 * -3.0 + 1.0, rtol=1e-6)


def test_every_discount_is_bound_and_nothing_else():
    """`copo`'s gamma is no discount."""
    kinds = {
        entry.name
        for entry in rw.entries()
        if "gamma" in entry.arguments and entry.arguments["gamma"] is None
    }
    assert kinds == {
        *("airl", "dynamic_potential", "gail", "hop_potential", "learned_potential"),
        *("look_ahead", "look_back", "mistaken_potential", "normalize", "percentile_scale"),
        *("popart", "potential", "stock", "stock_utility"),
    }
    for name in kinds:
        (entry,) = (each for each in rw.entries() if each.name == name)
        term = entry.build(**{k: v for k, v in entry.examples[0].items() if k != "gamma"})
        nested = rw.env() | rw.named("it", 2 * term + 1) | rw.clip()
        bound = rw.discounts.bind(nested, 0.5)
        assert "gamma=0.5" in str(bound) and "gamma" not in str(nested)
        assert rw.discounts.bind(bound, 0.7) is bound


def test_the_agents_discount_is_the_terms_and_follows_it():
    agent = make("env + potential('norm') | normalize()", gamma=0.9)
    assert "gamma" not in str(agent.reward)

    def gammas(reward):
        potential, normalize = reward.parts[0].parts[1], reward.parts[1]
        return [np.asarray(each.gamma) for each in (potential, normalize)]

    np.testing.assert_allclose(gammas(settled(agent)), 0.9)
    other = agent.config.replace(gamma=0.5)
    np.testing.assert_allclose(gammas(settled(agent, other)), 0.5)
    swept = agent.config.replace(gamma=jnp.float32([0.5, 0.7]))
    axes = jax.tree.map(lambda x: 0 if jnp.ndim(x) else None, swept)
    found = jax.vmap(lambda config: settled(agent, config), in_axes=(axes,))(swept)
    np.testing.assert_allclose(gammas(found), [[0.5, 0.7]] * 2)
    # A reward with one of its own is of the same structure, and keeps it.
    own = settled(agent, other, rw.parse("env + potential('norm', gamma=0.2) | normalize()"))
    np.testing.assert_allclose(gammas(own), [0.2, 0.5])


def test_a_discount_that_varies_is_each_points_own():
    agent = make("env + potential('norm')")
    points = grids.points(agent, {"gamma": [0.9, 0.99]})
    configs, rewards = lanes.numbers([run.made() for run in points], seeds=2)
    np.testing.assert_allclose(rewards.parts[1].gamma, [0.9, 0.9, 0.99, 0.99])
    np.testing.assert_allclose(configs.gamma, rewards.parts[1].gamma)
    with pytest.warns(UserWarning, match="discounts by 0.99, and potential.*gamma=0.5"):
        both = grids.points(agent, {"reward": ["env + potential('norm', gamma=0.5)", agent.reward]})
    numbers = lanes.numbers([run.made() for run in both], 1)[1]
    np.testing.assert_allclose(numbers.parts[1].gamma, [0.5, 0.99])


def test_rewards_that_vary_may_have_terms_without_a_discount_of_one():
    """What they have in common is asked without one."""
    agent = make("rnd() | normalize(episodic=False)")
    other = "rnd() | normalize(epsilon=0.1, episodic=False)"
    runs = grids.points(agent, {"reward": [agent.reward, other]})
    both = lanes.numbers([run.made() for run in runs], 1)[1].parts[1]
    np.testing.assert_allclose([both.gamma, both.epsilon], [[0.99, 0.99], [1e-8, 0.1]])


@pytest.mark.parametrize(
    ("agent", "env", "settings"),
    [
        ("ppo", CAR, {}),
        ("ppo", CAR, {"network": "gru", "minibatches": 1}),
        ("subpo", "grid:nests", {}),
        ("dqn", CAR, {}),
        ("sac", "gymnax:Pendulum-v1", {}),
        ("td3", "gymnax:Pendulum-v1", {}),
        ("iql", "gymnax:Pendulum-v1", {}),
        ("eta", CAR, {}),
    ],
)
def test_every_agent_binds_it(agent, env, settings):
    made = make("env + potential('norm')", env, agent, gamma=0.75, **settings)
    state = jax.eval_shape(made.init, jax.random.key(0))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(state.reward)]
    assert any(path.endswith("parts[1].gamma") for path in paths)


def test_an_agent_that_sums_all_rewards_alike_has_discount_one():
    made = make("env | normalize()", "sequence:copy", "group_pg")
    np.testing.assert_allclose(settled(made).parts[1].gamma, 1.0)


def test_another_discount_is_told_once():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make("env + potential('norm', gamma=0.99) | normalize()")
        make("env + potential('norm', gamma=0.9)", gamma=0.9)
    with pytest.warns(
        UserWarning, match=r"discounts by 0.9, and potential.*0.99.*, popart"
    ) as told:
        make("env + potential('norm', gamma=0.99) | popart(gamma=0.5)", gamma=0.9)
    assert len(told) == 1
    broken = "policies are no longer preserved and the scale is not that of the agent's returns; "
    assert f"by a gamma of its own, so that optimal {broken}leave that out" in str(told[0].message)
    agent = make("env | normalize(gamma=0.99)")
    with pytest.warns(UserWarning, match="discounts by 0.5, and normalize") as told:
        grids.points(agent, {"gamma": [0.5, 0.6, 0.99]})
    assert len(told) == 1
    with pytest.warns(UserWarning, match="discounts by 0.7, and normalize") as told:
        grids.points(make("env | normalize(gamma=0.99)", gamma=0.7), {"gamma": [0.5, 0.6]})
    assert len(told) == 1


def test_every_term_says_what_another_discount_breaks():
    """But for the mistakes, which break it with any."""
    for entry in rw.entries():
        term = entry.build(**entry.examples[0])
        takes = entry.arguments.get("gamma", 0.0) is None
        assert bool(term.other_gamma) == (takes and entry.name != "mistaken_potential"), entry.name


def test_a_discount_that_the_term_cannot_have_is_refused_with_the_agent():
    with pytest.raises(UserError, match="stock's gamma must be above 0 and at most 1, not 0"):
        make("env | stock()", gamma=0.0)
    with pytest.raises(UserError, match="normalize's gamma must be below 1 with episodic=False"):
        make("rnd() | normalize(episodic=False)", gamma=1.0)


@pytest.mark.parametrize(
    ("text", "env", "message"),
    [
        ("potential('mountain_car_energy')", "gymnax:CartPole-v1", "cartpole_upright, first, norm"),
        ("1 - 2*potential('cartpole_upright')", CAR, "mountain_car_energy, mountain_car_height"),
        ("state_bonus('pendulum_upright')", "gymnax:Acrobot-v1", "acrobot_height, first, norm"),
        ("hop_potential('acrobot_height')", CAR, "observations of Acrobot, not of gymnax:Moun"),
        ("look_back('mountain_car_push')", "gymnax:MountainCarContinuous-v0", "action, sum_to_one"),
        ("env | named('x', dynamic_potential('mountain_car_height'))", "grid:two_rooms", "first"),
    ],
)
def test_a_function_of_another_environment_is_refused(text, env, message):
    with pytest.raises(UserError, match=message) as error:
        make(text, env)
    assert "\n" not in str(error.value)


def test_functions_of_this_environment_are_taken():
    make("potential('mountain_car_energy') + look_back('mountain_car_push')")
    make("potential('mountain_car_height')", "gymnax:MountainCarContinuous-v0")
    make("potential('first')", "gymnax:CartPole-v1")
    make(rw.potential(rw.potentials.mountain_car_energy), "gymnax:Pendulum-v1")  # as one likes
    assert envs.make(CAR).name == CAR


def test_numbers_are_checked_again_where_a_reward_is_given():
    agent = make("env | normalize(epsilon=0.1)")
    bad = jax.tree.map(lambda x: -x, agent.reward)
    with pytest.raises(UserError, match="epsilon must be at least 0"):
        agent.init(jax.random.key(0), reward=bad)
