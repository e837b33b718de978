"""What agents that learn from data have in common: the data, rewards, runs, refusals."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import spaces

from jaxrl_reward import agents, training
from jaxrl_reward import data as datasets
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import base, replay
from jaxrl_reward.agents.from_data import edac
from jaxrl_reward.agents.shells.from_data import State
from jaxrl_reward.types import UserError

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
ENV = "gymnax:Pendulum-v1,max_steps_in_episode=5"
SMALL = {"updates": 4, "batch_size": 8, "hidden": (4,)}
NAMES = ("bc", "edac", "iql", "riql")


def dataset(rows=40, seed=0, environment=ENV, **changes):
    """Random steps of a task like the pendulum, in episodes of 10."""
    rng = np.random.default_rng(seed)
    arrays = {
        "obs": rng.normal(size=(rows, 3)),
        "action": rng.uniform(-2.0, 2.0, size=(rows, 1)),
        "next_obs": rng.normal(size=(rows, 3)),
        "reward": rng.normal(size=rows),
        "terminated": np.zeros(rows),
        "truncated": np.arange(rows) % 10 == 9,
    }
    return datasets.make({**arrays, **changes}, datasets.Provenance(environment=environment))


def small(name, data=None, reward=None, **settings):
    extra = {"critics": 2} if name == "edac" else {}
    data = dataset() if data is None else data
    return agents.make(name, ENV, reward, data=data, **{**SMALL, **extra, **settings})


@cache
def compiled(name):
    """An agent, and its `init` and `iterate`, to which data and numbers are arguments."""
    made = small(name)
    return made, quick(made.init), quick(made.iterate)


def assert_close(a, b, **tolerance):
    jax.tree.map(partial(np.testing.assert_allclose, **tolerance), a, b)


# ---- the data --------------------------------------------------------------------------


def test_data_is_an_argument_and_no_part_of_the_program_or_state():
    """Nor is it copied for each seed."""
    data = dataset(20_000)
    made = small("bc", data)
    size = made.data.rows.size
    states = jax.eval_shape(jax.vmap(made.init), jax.random.split(jax.random.key(0), 4))
    assert sum(x.size for x in jax.tree.leaves(states)) < size / 10
    run = jax.vmap(made.iterate, in_axes=(0, None))
    program = quick(run).lower(states, made.data).compile()
    memory = program.memory_analysis()
    assert memory.argument_size_in_bytes >= 4 * size
    assert memory.temp_size_in_bytes < 4 * size / 2
    assert memory.generated_code_size_in_bytes < 4 * size


def test_actions_are_stretched_from_and_to_their_bounds():
    made = small("iql")
    state = jax.eval_shape(made.init, jax.random.key(0))
    assert jax.eval_shape(made.act, state, jnp.zeros((5, 3))).shape == (5, 1)
    column = np.asarray(made.data.rows)[:, 3]
    close(column, np.asarray(dataset().steps.action)[:, 0] / 2.0)
    beyond = dataset(action=np.full((40, 1), 5.0))
    worse = beyond.replace_provenance(corruption="random action")
    close(np.asarray(small("iql", worse).data.rows)[:, 3], 2.5)
    with pytest.warns(UserWarning, match="have 40 of 40 actions beyond the bounds of gymnax:Pend"):
        small("iql", beyond)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("hopper-medium-v2", "of hopper-medium-v2, and gymnax:Pendulum-v1 is another task: none"),
        ("walker2d_medium", "`collect sac gymnax:Pendulum-v1` makes data that fit"),
        ("D4RL/pen/human-v2", "another task: none of `list envs` is that one"),
        ("Hopper-v5", "another task: none of `list envs` is that one"),
        ("brax:reacher", "another task: name brax:reacher in place of it"),
    ],
)
def test_data_of_another_task_are_noticed(said, line):
    with pytest.warns(UserWarning, match=line) as found:
        small("bc", dataset(environment=said))
    assert len(found) == 1


@pytest.mark.parametrize(
    "said", ["", "set", "my_data", "gymnax:Pendulum-v1", "Pendulum-v1", "pendulum"]
)
def test_data_of_the_task_or_that_say_nothing_are_taken(said):
    small("bc", dataset(environment=said))


def test_where_terminations_led_is_asked_only_by_rewards_that_look():
    """A potential is 0 after the end; novelty is of the observation there."""
    data = dataset(terminated=np.arange(40) % 10 == 4).replace_provenance(terminal_next_obs=False)
    small("bc", data, "env + potential('first')")
    small("bc", data, "env")
    with pytest.warns(UserWarning, match="do not say where terminated steps led: there .*bonus"):

        @rw.pointwise
        def bonus(transition):
            "Where it led."
            return transition.next_obs[0]

        small("bc", data, bonus())


def test_bootstrapping_stops_at_the_goal_and_goes_on_at_the_clock():
    """In a trajectory that goes on at its goal, which is one and not many."""
    goal, first = np.isin(np.arange(40), (3, 4, 5, 39)), np.arange(40) % 20 == 0
    ends = {"terminated": goal, "truncated": np.arange(40) % 20 == 19, "first": first}
    data = dataset(**ends)
    assert data.lengths().tolist() == [20, 20]
    made = small("iql", data)
    inside, key = made.init.__self__, jax.random.key(0)
    state = made.init(key)
    batch, _ = inside.batch(state, state.reward_state.shared, made.data, jnp.arange(40))
    close(batch.weight, 0.99 * ~goal)


# ---- rewards ---------------------------------------------------------------------------


def rewards_of(made, reward_state=None):
    """The rewards that an agent gives all of its rows, in order, and that for which state."""
    inside = made.init.__self__

    @quick
    def run(data, given):
        fresh = made.reward.init(jax.random.key(0), inside.recorder.example)
        given, features = inside.read_in_order(made.reward, given or fresh, data, jnp.int32(0))
        config = base.as_leaves(made.config)
        state = State(config, made.reward, (), (), (), features, jnp.zeros(3), jnp.ones(3), (), 0)
        return inside.batch(state, given.shared, data, jnp.arange(data.count))[0].reward, given

    return run(made.data, reward_state)


def test_data_is_rewarded_by_the_expression():
    data = dataset()
    steps = jax.tree.map(np.asarray, data.steps)
    text = "2*env + 0.5*potential('first') + action_size() | clip(-1, 1)"

    @rw.pointwise
    def action_size(transition, weight=0.1):
        "What the action costs."
        return -weight * jnp.abs(transition.action).sum()

    going_on = 0.99 * ~steps.terminated
    shaped = going_on * steps.next_obs[:, 0] - steps.obs[:, 0]
    expected = 2 * steps.env_reward + 0.5 * shaped - 0.1 * np.abs(steps.action[:, 0])
    close(rewards_of(small("iql", reward=text))[0], np.clip(expected, -1, 1))


def test_what_a_term_remembers_is_read_from_the_data_in_order():
    """A delayed reward comes at the end of its three steps, or of the episode."""
    data = dataset()
    reward, last = np.asarray(data.steps.env_reward), np.asarray(data.steps.last)
    expected, held = np.zeros(40), 0.0
    for i in range(40):
        held += reward[i]
        if i % 10 % 3 == 2 or last[i]:
            expected[i], held = held, 0.0
    close(rewards_of(small("bc", reward="delay(3)"))[0], expected)
    scaled, _ = rewards_of(small("bc", reward="env | normalize(gamma=0.5)", gamma=0.5))
    returns, running = [], 0.0
    for i in range(40):
        running = (0.0 if i % 10 == 0 else 0.5 * running) + reward[i]
        returns.append(running)
    np.testing.assert_allclose(scaled, reward / np.std(returns), rtol=1e-4)


@pytest.mark.slow
def test_a_learned_reward_learns_from_the_batches():
    made = small("bc", reward="env + rnd(width=4, features=2, batch_size=8)")
    state = quick(made.init)(jax.random.key(0))
    before, _ = rewards_of(made, state.reward_state)
    state, metrics = quick(made.iterate)(state)
    after, _ = rewards_of(made, state.reward_state)
    paid = np.asarray(dataset().steps.env_reward)
    assert (after - paid).mean() < 0.97 * (before - paid).mean()
    assert metrics["reward/rnd/loss"].count == 4


def test_rewards_that_data_cannot_give_are_refused():
    @rw.episodic
    def return_of_all(block, episodes):
        return episodes.sum(block.reward)

    @rw.pointwise
    def entropy_bonus(transition):
        return transition.policy["entropy"]

    for reward, message in (
        (return_of_all(), "iql plays fixed blocks, and return_of_all.. needs whole episodes"),
        ("rnd() | delay(2)", "iql learns from data, and delay.* remembers rewards of a stage"),
        ("scheduled(1, 0, 9)*env", "iql plays no steps, and scheduled.* changes with them; leave"),
        (entropy_bonus(), "iql learns from data without policy.'entropy'., which the reward reads"),
    ):
        with pytest.raises(UserError, match=message) as error:
            small("iql", reward=reward)
        assert "\n" not in str(error.value)


# ---- agents ----------------------------------------------------------------------------


@pytest.mark.slow
def test_bc_is_iql_without_advantages():
    bc, init, iterate = compiled("bc")
    iql, init_iql, iterate_iql = compiled("iql")
    config = base.as_leaves(iql.config.replace(beta=0.0))
    cloned = iterate(init(jax.random.key(3), base.as_leaves(bc.config)))[0]
    weighed = iterate_iql(init_iql(jax.random.key(3), config))[0]
    assert_close(cloned.params, weighed.params["policy"], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_gaussian_policy_learns_its_spread():
    data = dataset(action=np.ones((40, 1)))
    made = small("bc", data, policy="gaussian", learning_rate=3e-2, updates=200, policy_decay=0.0)
    state, _ = quick(made.iterate)(made.init(jax.random.key(0)))
    mean = made.act(state, data.steps.obs)
    drawn = made.act(state, data.steps.obs, jax.random.key(1))
    np.testing.assert_allclose(mean, 1.0, atol=0.2)
    assert state.params["log_std"][0] < -1.0
    assert 0.01 < np.std(np.asarray(drawn) - np.asarray(mean)) < 0.5


def test_how_alike_critics_are():
    """By a loop over pairs; parallel gradients give K, opposite ones -1 for two."""
    slopes = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    unit = slopes / np.linalg.norm(slopes, axis=-1, keepdims=True)
    pairs = [(unit[i] * unit[j]).sum(-1) for i in range(4) for j in range(4) if i != j]
    close(edac.diversity(jnp.asarray(slopes)), np.sum(pairs, axis=0).mean() / 3)
    close(edac.diversity(jnp.ones((4, 5, 3))), 4.0)
    close(edac.diversity(jnp.stack([jnp.ones((5, 3)), -jnp.ones((5, 3))])), -2.0)


@pytest.mark.slow
def test_edac_spreads_the_gradients_of_its_critics():
    """With two actions: the direction of a single one has no gradient."""
    config = edac.Config(critics=3, hidden=(16,), critic_learning_rate=1e-2)
    learner = edac.Learner(config, spaces.Box(-1.0, 1.0, (2,)))
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    batch = replay.Batch(draw(32, 3), jnp.tanh(draw(32, 2)), draw(32), jnp.zeros(32), draw(32, 3))

    @quick
    def run(eta):
        settings = base.as_leaves(config.replace(eta=eta))
        start = learner.init(settings, batch.inputs[:1], jax.random.key(0))
        step = lambda carry, i: learner.update(settings, carry, batch, jax.random.key(1), i)  # noqa: E731
        return jax.lax.scan(step, start, jnp.arange(60))[1]["alike"]

    apart, free = run(10.0), run(0.0)
    close(apart[0], free[0])
    assert apart[-1] < free[-1] - 0.2


@pytest.mark.slow
def test_an_attacker_is_the_mean_critic_and_the_policy():
    made, init, _ = compiled("edac")
    state, inside = init(jax.random.key(0)), made.init.__self__
    attacker = edac.attacker(made, state)
    obs, action = dataset().steps.obs, dataset().steps.action
    batch, _ = inside.batch(state, state.reward_state.shared, made.data, jnp.arange(40))
    q, slopes = inside.learner.slopes(state.params["critic"], batch.inputs, batch.choice)
    close(attacker.value(obs, action), q.mean(0))
    close(attacker.value(obs[3], action[3]), q.mean(0)[3])
    # Its gradients are those that the diversity is made of; the action is twice as long.
    by_action = jax.grad(lambda action: attacker.value(obs, action).sum())(action)
    np.testing.assert_allclose(2.0 * by_action, slopes.mean(0), rtol=1e-3, atol=1e-5)
    close(attacker.policy(obs), made.act(state, obs))


@pytest.mark.slow
def test_iql_finds_what_is_better_than_the_data():
    """Uniform actions, of which 0.5 is the best: 0 is their mean, and worth 0.75."""
    name, rows = "probe:action_continuous", 4000
    action = np.random.default_rng(0).uniform(-1.0, 1.0, size=(rows, 1))
    nothing = np.zeros((rows, 1))
    reward = 1.0 - np.square(action[:, 0] - 0.5)
    flags = {"terminated": np.ones(rows), "truncated": np.zeros(rows)}
    data = datasets.make(
        {"obs": nothing, "next_obs": nothing, "action": action, "reward": reward, **flags}
    )
    settings = {"data": data, "updates": 3000, "hidden": (32,), "learning_rate": 3e-3}
    settings |= {"batch_size": 64, "policy_decay": 3000.0}
    # The policy is the mean of actions, weighed by the exponential of their advantage.
    weights = np.exp(10.0 * reward)
    best = (weights * action[:, 0]).sum() / weights.sum()
    for agent, expected, more in (("bc", 0.0, {}), ("iql", best, {"beta": 10.0})):
        made = agents.make(agent, name, **settings, **more)
        state, metrics = quick(made.iterate)(quick(made.init)(jax.random.key(0)))
        played = float(made.act(state, jnp.zeros((1, 1)))[0, 0])
        np.testing.assert_allclose(played, expected, atol=0.1)
    assert best > 0.4
    # V is the 0.7-expectile of the rewards, where the two sides balance.
    value = float(made.init.__self__.learner.value.apply(state.params["value"], jnp.zeros(1))[0])
    above, below = np.maximum(reward - value, 0).mean(), np.maximum(value - reward, 0).mean()
    np.testing.assert_allclose(0.7 * above, 0.3 * below, atol=0.02)
    assert metrics["weight_mean"].total > metrics["weight_mean"].count


# ---- runs ------------------------------------------------------------------------------

RUN = {"seeds": 1, "total_steps": 16, "evals": 2, "eval_episodes": 1, "log_points": 4}


@pytest.mark.parametrize(
    "name", ["bc", *(pytest.param(name, marks=pytest.mark.slow) for name in ("edac", "riql"))]
)
def test_a_resumed_run_ends_as_one_that_was_never_cut(name, tmp_path):
    """Here of two data sets side by side."""

    class Stop:
        def write(self, *args, **kwargs):
            raise KeyboardInterrupt

        def close(self):
            pass

    made = small(name, [dataset(), dataset(seed=1)], "delay(3)", normalize_obs=True)
    points = training.points(made, {"source": [0, 1]})
    settings = {**RUN, "vary": points, "progress": False}
    train = partial(training.train, made, **settings)
    whole = train(out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(out=tmp_path / "cut", sinks=[Stop()])
    resumed = train(out=tmp_path / "cut", resume=True)
    data = lambda x: (  # noqa: E731
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(data(a), data(b)), whole.state, resumed.state
    )
    assert resumed.curves == whole.curves
    assert whole.state.iteration.tolist() == [4, 4]
    assert whole.arms == ("source=0", "source=1")
    assert not np.allclose(whole.state.mean[0], whole.state.mean[1])

    other = small(name, [dataset(), dataset(seed=2)], "delay(3)", normalize_obs=True)
    with pytest.raises(UserError, match=r"was started with data.checksums = .*use the same") as no:
        training.train(other, out=tmp_path / "cut", resume=True, **settings)
    assert "\n" not in str(no.value)


def test_what_a_run_of_several_sets_refuses():
    made, settings = small("riql", [dataset(), dataset(seed=1)]), {**RUN, "progress": False}
    for values, message in (
        ([2], "source=2: riql was given 2 data sets"),
        ([0.5], "source must be a whole number, got 0.5"),
    ):
        with pytest.raises(UserError, match=message):
            training.train(made, vary={"source": values}, **settings)
    with pytest.raises(UserError, match="riql learns from data and has no environments to split"):
        training.train(made, shard="envs", **settings)


# ---- refusals --------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_one_line(name, tmp_path):
    make = partial(agents.make, name)
    for call, message in (
        (
            partial(make, "gymnax:MountainCarContinuous-v0", data=dataset()),
            f"{name}'s data has obs of shape \\[3\\], and",
        ),
        (
            partial(make, "gymnax:CartPole-v1", data=dataset()),
            "edac needs Box actions; gymnax"
            if name == "edac"
            else f"{name}'s data has obs of shape \\[3\\], and gymnax:CartPole-v1 of shape",
        ),
        (partial(make, ENV, data=[dataset(), dataset(30)]), "sets of as many rows each, not of"),
        (partial(make, ENV, data=[]), f"{name} needs at least one data set"),
        (partial(make, ENV, data=3), "data must be a Dataset or the path of one, not int"),
        (partial(make, ENV, data=tmp_path / "no.npz"), "no.npz does not exist; give a file"),
        (partial(make, None), f"{name} needs an environment, such as"),
        (partial(make, ENV, data=dataset(), updates=0), f"{name}'s updates must be a positive"),
        (partial(make, ENV, data=dataset(), source=1), f"{name}'s source must be one of the 1"),
        (partial(agents.make, "sac", ENV, data=dataset()), "sac plays and takes no data; these"),
    ):
        with pytest.raises(UserError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def test_without_data_an_agent_acts_but_does_not_learn():
    made = agents.make("iql", ENV, **SMALL)
    state = jax.eval_shape(made.init, jax.random.key(0))
    assert jax.eval_shape(made.act, state, jnp.zeros((2, 3))).shape == (2, 1)
    with pytest.raises(UserError, match="iql learns from data: make it with data="):
        made.iterate(state)
    assert agents.make("iql", None, data=dataset(), **SMALL).env.name == ENV
