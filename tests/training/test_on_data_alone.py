"""Runs on data without an environment: spaces, held-out episodes, fitted-Q evaluation, folders."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrl_reward as jr
from jaxrl_reward import agents, training
from jaxrl_reward import data as datasets
from jaxrl_reward.agents.common import offline_data
from jaxrl_reward.envs import recorded, spaces
from jaxrl_reward.types import UserError

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
SMALL = {"updates": 4, "batch_size": 8, "hidden": (4,), "fqe_steps": 5}
RUN = {"seeds": 2, "total_steps": 16, "evals": 2, "log_points": 4, "progress": False}


def dataset(rows=60, seed=0, discrete=False, environment="", **changes):
    """Random steps in episodes of 6."""
    rng = np.random.default_rng(seed)
    action = rng.integers(0, 3, rows) if discrete else rng.uniform(-1.0, 1.0, (rows, 2))
    arrays = {
        "obs": rng.normal(size=(rows, 3)),
        "action": action,
        "next_obs": rng.normal(size=(rows, 3)),
        "reward": rng.normal(size=rows),
        "terminated": np.zeros(rows),
        "truncated": np.arange(rows) % 6 == 5,
    }
    return datasets.make({**arrays, **changes}, datasets.Provenance(environment=environment))


# ---- spaces ----------------------------------------------------------------------------


def test_actions_are_of_the_space_that_data_say_have_or_are_told():
    found, assumed = recorded.actions_of(np.array([[0.5, -1.0], [0.1, 1.0]]))
    assert (found.low, found.high, found.shape) == (-1.0, 1.0, (2,)) and "-1 and 1" in assumed
    found, assumed = recorded.actions_of(np.array([[0.0, -3.0], [2.0, 5.0]]))
    assert found.low.tolist() == [0.0, -3.0] and found.high.tolist() == [2.0, 5.0]
    assert assumed == "actions lie between the data's ends, -3 and 5"
    found, assumed = recorded.actions_of(np.array([0, 4, 2]))
    assert found.n == 5 and assumed == "actions are 0 to 4, the largest of the data"
    made = agents.make("bc", None, data=dataset(), actions=(-2.0, 2.0), **SMALL)
    kept = ~offline_data._held("bc", dataset(), 0.1, 0)
    halves = np.asarray(dataset().steps.action)[kept] / 2.0
    np.testing.assert_allclose(made.data.rows[:, 3:5], halves, atol=1e-6)
    assert (
        agents.make("cql", None, data=dataset(discrete=True), actions=5, **SMALL).env.action_space.n
        == 5
    )
    boxes = [spaces.Box(-1.0, 1.0, (2,)), spaces.Box(jnp.zeros(2), jnp.array([1.0, 3.0]), (2,))]
    for space in (*boxes, spaces.Discrete(4)):
        again = recorded.space_of(json.loads(json.dumps(recorded.described(space))))
        assert recorded.described(again) == recorded.described(space)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"actions": (1.0, -1.0)}, "actions need bounds with low < high"),
        ({"actions": "x"}, r"actions must be a number of choices, or two bounds of \[2\], not x"),
        ({"actions": 3}, r"actions=3 are of shape \[\], the data's \[2\]"),
        ({"holdout": 1.0}, "iql's holdout must be at least 0 and below 1, not 1"),
        ({"holdout": -0.5}, "iql's holdout must be at least 0 and below 1, not -0.5"),
        ({"holdout": 0.0, "fqe_steps": 0}, "with holdout=0 and fqe_steps=0 nothing is measured"),
        ({"data": dataset(6)}, "holdout sets whole episodes aside, and the data is one"),
        ({"data": None}, "iql needs an environment, such as gymnax:Pendulum-v1, or data=..."),
        ({"data": dataset(action=np.ones((60, 2), int))}, "are 2 whole numbers at once"),
        ({"env": "gymnax:Pendulum-v1", "actions": (-1, 1)}, "are those of the environment"),
    ],
)
def test_what_cannot_be_is_one_line(given, line):
    given = {"env": None, "data": dataset(), **SMALL, **given}
    with pytest.raises(UserError, match=line) as error:
        agents.make("iql", given.pop("env"), **given)
    assert "\n" not in str(error.value)


def test_an_agent_of_box_actions_alone_refuses_choices_and_the_other_way_round():
    with pytest.raises(UserError, match="edac needs Box actions; data has Discrete"):
        agents.make("edac", None, data=dataset(discrete=True), **SMALL)
    with pytest.raises(UserError, match="cql needs Discrete actions; data has Box: use bc, edac"):
        agents.make("cql", None, data=dataset(), **SMALL)


def test_an_environment_that_is_known_plays_and_one_that_is_not_is_told():
    data = dataset(environment="gymnax:Pendulum-v1", action=np.zeros((60, 1)))
    made = agents.make("bc", None, data=data, **SMALL)
    assert made.env.playable and made.metric == "return" and made.config.holdout == 0.0
    assert (
        agents.make("bc", "gymnax:Pendulum-v1", data=data, **{**SMALL, "fqe_steps": -1}).judge
        is None
    )
    with pytest.warns(UserWarning, match="of mine:robot, which is not known here: nothing is pl"):
        made = agents.make("bc", None, data=dataset(environment="mine:robot"), **SMALL)
    assert made.env.name == "mine:robot" and made.metric == "fqe"
    with pytest.raises(UserError, match="there is none to play in"):
        made.evaluate(None, None, 1)


# ---- held-out episodes -----------------------------------------------------------------


def test_whole_episodes_are_set_aside_by_their_own_seed():
    data = dataset()
    made = agents.make("iql", None, data=data, holdout=0.3, **SMALL)
    held = made.data.held
    assert (made.data.count, held.count) == (42, 18)
    rows = np.concatenate([made.data.rows, held.rows])
    every = agents.make("iql", None, data=data, holdout=0.0, **SMALL).data.rows
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, np.asarray(every).tolist()))
    # Each is an episode of six steps, which the data has in a row.
    first = np.asarray(held.rows).reshape(3, 6, -1)
    at = [int(np.flatnonzero((np.asarray(every) == each[0]).all(1))[0]) for each in first]
    assert all(start % 6 == 0 for start in at)
    for each, start in zip(first, at, strict=True):
        np.testing.assert_array_equal(each, every[start : start + 6])
    assert held.starts.tolist() == [[0, 6, 12]]
    assert held.clock.tolist() == list(range(6)) * 3
    np.testing.assert_array_equal(held.mean, made.data.mean)
    other = agents.make("iql", None, data=data, holdout=0.3, holdout_seed=1, **SMALL).data.held
    assert not np.array_equal(other.rows, held.rows)


def judged(made, steps=1, key=0):
    state = quick(made.init)(jax.random.key(key))
    for _ in range(steps):
        state, _ = quick(made.iterate)(state, made.data)
    return state, {
        k: float(v) for k, v in quick(made.judge)(state, jax.random.key(9), made.data).items()
    }


def test_held_out_numbers_are_those_of_the_rows():
    """BC's, of choices: log-probabilities by hand, and what the data's episodes pay."""
    data = dataset(discrete=True)
    made = agents.make("bc", None, data=data, holdout=0.4, gamma=0.9, **SMALL)
    state, found = judged(made)
    held = np.asarray(made.data.held.rows)
    logits = np.asarray(made.init.__self__.learner.policy(state.params, held[:, :3]))
    log_prob = jax.nn.log_softmax(logits)[np.arange(24), held[:, 3].astype(int)]
    np.testing.assert_allclose(found["held_out/log_prob"], log_prob.mean(), rtol=1e-5)
    same = logits.argmax(1) == held[:, 3]
    np.testing.assert_allclose(found["held_out/agreement"], same.mean(), rtol=1e-5)
    paid = held[:, 7].reshape(4, 6) @ 0.9 ** np.arange(6)
    np.testing.assert_allclose(found["held_out/return"], paid.mean(), rtol=1e-5)


@pytest.mark.parametrize("name", ["cql", "iql"])
def test_held_out_td_errors_are_those_of_the_rows(name):
    data = dataset(discrete=True)
    made = agents.make(name, None, data=data, holdout=0.4, **SMALL)
    state, found = judged(made)
    held, learner = np.asarray(made.data.held.rows), made.init.__self__.learner
    obs, action, after, reward = held[:, :3], held[:, 3].astype(int), held[:, 4:7], held[:, 7]
    if name == "cql":
        q = np.asarray(learner.network.apply(state.params["online"], obs))[None]
        best = np.asarray(learner.network.apply(state.params["online"], after)).argmax(1)
        later = np.asarray(learner.network.apply(state.params["target"], after))[
            np.arange(24), best
        ]
    else:
        q = np.asarray(learner.critic.apply(state.params["critic"], obs))
        later = np.asarray(learner.value.apply(state.params["value"], after))[:, 0]
    error = reward + 0.99 * later - q[:, np.arange(24), action]
    np.testing.assert_allclose(found["held_out/td_error"], np.abs(error).mean(), rtol=1e-4)


# ---- fitted-Q evaluation ---------------------------------------------------------------


def test_fitted_q_evaluation_is_the_policys_exact_value():
    """Five states in a ring, each action in the data: the cloned policy's value by equations."""
    rng, states, gamma = np.random.default_rng(1), 5, 0.8
    after = rng.integers(0, states, (states, 2))
    paid = rng.normal(size=(states, 2))
    # Cloned is the action that the data has twice.
    often = rng.integers(0, 2, states)
    state = np.tile(np.repeat(np.arange(states), 3), 20)
    action = np.stack([often, often, 1 - often], 1).ravel()[np.arange(len(state)) % (3 * states)]
    one_hot = np.eye(states, dtype=np.float32)
    flags = {"terminated": np.zeros(len(state)), "truncated": np.ones(len(state))}
    data = datasets.make(
        {
            "obs": one_hot[state],
            "action": action,
            "reward": paid[state, action],
            "next_obs": one_hot[after[state, action]],
            **flags,
        }
    )
    made = agents.make(
        "bc", None, data=data, hidden=(), updates=400, learning_rate=1e-2, gamma=gamma,
        fqe_steps=8000, batch_size=64,
    )  # fmt: skip
    state, found = judged(made)
    assert made.act(state, one_hot).tolist() == often.tolist()
    step = np.zeros((states, states))
    step[np.arange(states), after[np.arange(states), often]] = 1.0
    value = np.linalg.solve(np.eye(states) - gamma * step, paid[np.arange(states), often])
    at = np.asarray(made.data.held.rows)[np.asarray(made.data.held.starts[0]), :states].argmax(1)
    np.testing.assert_allclose(found["fqe"], value[at].mean(), atol=0.02)
    assert found["fqe/td_error"] < 0.02


# ---- runs ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bc", pytest.param("iql", marks=pytest.mark.slow)])
def test_a_run_reports_resumes_and_is_loaded(name, tmp_path):
    data = dataset(environment="D4RL/robot-v0", discrete=name == "iql")
    made = agents.make(name, None, data=data, **SMALL)
    whole = training.train(made, out=tmp_path / "whole", **RUN)
    arm = whole.summary["arms"][name]
    assert arm["metric"] == "fqe" and np.isfinite(arm["iqm"])
    names = set(whole.curves.table["metric"].unique().to_pylist())
    assert {"fqe", "fqe/td_error", "held_out/return", "held_out/policy_loss"} <= names
    assert "return" not in names and len(whole.curves.curve("fqe")[0]) == 3

    class Stop:
        def write(self, *args):
            raise KeyboardInterrupt

        def close(self):
            pass

    with pytest.raises(KeyboardInterrupt):
        training.train(made, out=tmp_path / "cut", sinks=[Stop()], **RUN)
    resumed = training.train(made, out=tmp_path / "cut", resume=True, **RUN)
    assert resumed.curves == whole.curves
    report = (tmp_path / "whole/report.md").read_text()
    assert "## On data" in report and "it has no interval" in report
    assert "Taken to be so, as the data do not say: actions" in report
    known = training.load_config(tmp_path / "whole")["arms"][name]
    assert known["env"] == "D4RL/robot-v0" and known["config"]["holdout"] == 0.1
    policy = jr.load(tmp_path / "whole", seed=1)
    state = training.select_seed(whole.state, 1)
    obs = np.asarray(data.steps.obs)[:4]
    np.testing.assert_allclose(policy(obs), made.act(state, obs), atol=1e-6)
    other = agents.make(name, None, data=data, **{**SMALL, "holdout": 0.2})
    with pytest.raises(UserError, match=r"holds another run: .*started with"):
        training.train(other, out=tmp_path / "cut", resume=True, **RUN)


def test_a_study_on_data_alone():
    settings = {"slow": {"learning_rate": 1e-3}, "fast": {"learning_rate": 1e-2}}
    made = agents.make("cql", None, data=dataset(discrete=True), **SMALL)
    runs = [
        jr.Run(name, made, settings=made.config.replace(**each), total_steps=8, evals=1)
        for name, each in settings.items()
    ]
    found = jr.study(runs, progress=False)
    assert found["fast"].summary["arms"]["fast"]["metric"] == "fqe"
    assert found["fast"].returns != found["slow"].returns


# ---- scores ----------------------------------------------------------------------------


def test_scores_are_in_rows_summary_table_and_report(tmp_path):
    """By the references that the data have, of this environment alone."""
    env = "gymnax:Pendulum-v1,max_steps_in_episode=5"
    data = dataset(environment="gymnax:Pendulum-v1", action=np.zeros((60, 1)))
    data = data.replace_provenance(random_return=-40.0, expert_return=-10.0)
    made = agents.make("bc", env, data=data, **{**SMALL, "fqe_steps": 0})
    assert made.references == (-40.0, -10.0)
    run = training.train(made, out=tmp_path / "run", eval_episodes=2, **RUN)
    scores = run.curves.curve("score")[1]
    expected = 100.0 * (run.curves.curve("return")[1] + 40.0) / 30.0
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    score = json.loads((tmp_path / "run/summary.json").read_text())["arms"]["bc"]["score"]
    assert score["iqm"] == pytest.approx(scores[:, -1].mean())
    assert (score["random"], score["expert"]) == (-40.0, -10.0)
    report = (tmp_path / "run/report.md").read_text()
    assert "| Arm | IQM return | 95 % interval | Seeds | Score |" in report
    assert "Scores are 0 for a return of -40 and 100 for -10" in report
    known = training.load_config(tmp_path / "run")["arms"]["bc"]
    assert known["data"]["references"] == [-40.0, -10.0]
    # Another simulator's references are none of this one's.
    with pytest.warns(UserWarning, match="is another task"):
        other = data.replace_provenance(environment="hopper-medium-v2")
        assert agents.make("bc", env, data=other, **SMALL).references is None
