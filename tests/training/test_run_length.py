"""Settings that follow the length of a run: learning rates that fall to 0 by its end."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, training
from jaxrl_reward import data as datasets
from jaxrl_reward.training import lanes, loop
from jaxrl_reward.training.experiments import experiment
from jaxrl_reward.training.search import Range, search
from jaxrl_reward.types import UserError

ENV = "gymnax:CartPole-v1"
SMALL = {"num_envs": 2, "num_steps": 8, "epochs": 1, "minibatches": 1, "hidden": (4,)}
RUN = {"seeds": 1, "evals": 1, "eval_episodes": 1, "progress": False}


def ppo(**settings):
    return agents.make("ppo", ENV, anneal=True, **SMALL, **settings)


def same(a, b):
    return all(map(np.array_equal, bits(a), bits(b)))


def bits(tree):
    keys = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)  # noqa: E731
    return [jax.random.key_data(x) if keys(x) else x for x in jax.tree.leaves(tree)]


def test_annealing_ends_with_the_run():
    """Each of these lengths is a lane of one program; the last is never reached."""
    lengths = {"anneal_steps": [-1.0, 64.0, 32.0, 1e6]}
    result = training.train(ppo(), total_steps=64, vary=lengths, **RUN)
    assert result.state.config.anneal_steps.tolist() == [64.0, 64.0, 32.0, 1e6]
    params = [training.select_seed(result.state, i).params for i in range(4)]
    assert same(params[0], params[1]) and not same(params[0], params[2])
    more = jax.jit(jax.vmap(ppo().iterate))(result.state)[0]
    still = [same(params[i], training.select_seed(more, i).params) for i in range(4)]
    assert still == [True, True, True, False]


def test_a_rounded_run_is_annealed_to_its_real_end(tmp_path):
    training.train(ppo(), total_steps=50, out=tmp_path, **RUN)
    config = json.loads((tmp_path / "config.json").read_text())["arms"]["ppo"]["config"]
    assert config["anneal_steps"] == 64.0
    loaded = training.load(ppo(), tmp_path)
    assert loaded.state.config.anneal_steps == 64.0


def test_a_resumed_run_is_annealed_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)
    options = {**RUN, "evals": 4}
    whole = training.train(ppo(), total_steps=64, **options)

    class Stop(BaseException): ...

    class StopsAt:
        def write(self, rows):
            if rows.table["step"].to_pylist()[-1] >= 48:
                raise Stop

        def close(self): ...

    with pytest.raises(Stop):
        training.train(ppo(), total_steps=64, out=tmp_path, sinks=[StopsAt()], **options)
    again = training.train(ppo(), total_steps=64, out=tmp_path, resume=True, **options)
    assert same(whole.state.params, again.state.params)


def test_a_finished_run_is_made_longer_to_the_bit(tmp_path):
    """With its evaluations twice as many the curve of returns is that of the longer run too."""
    agent = agents.make("ppo", ENV, "env + 0.1*counts()", **SMALL)
    options = {**RUN, "vary": {"learning_rate": [1e-3, 1e-2]}}
    training.train(agent, total_steps=30, out=tmp_path, **{**options, "evals": 2})
    assert (tmp_path / "summary.json").exists()
    options["evals"] = 4
    whole = training.train(agent, total_steps=64, **options)
    longer = training.train(agent, total_steps=64, out=tmp_path, resume=True, **options)
    assert same(whole.state, longer.state) and np.array_equal(whole.returns, longer.returns)
    for metric in ("return", "length"):
        rows = [each.curves.where(metric=metric) for each in (whole, longer)]
        assert rows[0] == rows[1]
    assert longer.summary["env_steps"] == whole.summary["env_steps"] == 128
    arms = training.load_config(tmp_path)["arms"].values()
    assert [(arm["total_steps"], arm["evals"]) for arm in arms] == [(64, 4)] * 2
    with pytest.raises(UserError, match="was started with total_steps = 64, not 48"):
        training.train(agent, total_steps=48, out=tmp_path, resume=True, **options)


def test_a_run_that_is_longer_in_vain_is_left_as_it_was(tmp_path):
    training.train(ppo(gamma=0.9), total_steps=32, out=tmp_path, **RUN)
    before = {name: (tmp_path / name).read_bytes() for name in ("config.json", "summary.json")}
    others = {
        "anneal_steps = 32, which would have been 64 in the longer": ppo(gamma=0.9),
        "with config.gamma = 0.9, not 0.8": ppo(gamma=0.8, anneal_steps=32.0),
    }
    for line, agent in others.items():
        with pytest.raises(UserError, match=line):
            training.train(agent, total_steps=64, out=tmp_path, resume=True, **RUN)
    assert before == {name: (tmp_path / name).read_bytes() for name in before}
    agent = ppo(gamma=0.9, anneal_steps=32.0)
    longer = training.train(agent, total_steps=64, out=tmp_path, resume=True, **RUN)
    assert same(longer.state, training.train(agent, total_steps=64, **RUN).state)


def test_points_of_an_agent_without_a_run_are_annealed():
    agent = ppo()
    points = training.points(agent, {"learning_rate": [1e-3, 1e-2]})
    result = training.train(agent, total_steps=64, vary=points, **RUN)
    assert result.state.config.anneal_steps.tolist() == [64.0, 64.0]


def test_an_experiment_and_a_search_anneal(tmp_path):
    points = lambda agent: training.points(agent, {"gamma": [0.9, 0.99]})  # noqa: E731
    arms = [experiment.Arm("plain"), experiment.Arm("half", share=0.5, points=points)]
    made = experiment.Experiment(
        *("name", "title", "claim", "source", ENV, arms),
        {"smoke": experiment.Preset(1, 64, evals=1, eval_episodes=1)},
        lambda results: [],
        config={**SMALL, "anneal": True},
    )
    experiment.run(made, "smoke", out=tmp_path / "run", progress=False)
    found = json.loads((tmp_path / "run/config.json").read_text())["arms"]
    lengths = {name: arm["config"]["anneal_steps"] for name, arm in found.items()}
    assert lengths == {"plain": 64.0, "gamma=0.9": 32.0, "gamma=0.99": 32.0}
    pytest.importorskip("optuna")
    options = {key: RUN[key] for key in ("seeds", "evals", "eval_episodes", "progress")}
    space = {"gamma": Range(0.9, 0.99)}
    search(ppo(), space, trials=2, batch=2, total_steps=32, out=tmp_path / "found", **options)
    found = json.loads((tmp_path / "found/config.json").read_text())["arms"]
    assert [arm["config"]["anneal_steps"] for arm in found.values()] == [32.0, 32.0]


def test_another_length_compiles_nothing():
    iterate = jax.jit(ppo().iterate)
    for steps in (64, 96, 1000):
        agent = lanes.of_length(ppo(), steps)
        iterate(agent.init(jax.random.key(0)))
    assert iterate._cache_size() == 1  # pyright: ignore[reportFunctionMemberAccess]


def test_without_a_run_a_length_must_be_given():
    with pytest.raises(UserError, match="is the length of a run"):
        ppo().init(jax.random.key(0))
    ppo(anneal_steps=100.0).init(jax.random.key(0))
    agents.make("ppo", ENV, **SMALL).init(jax.random.key(0))  # it is not annealed
    for wrong in (-2.0, 0.0, 0.5):
        with pytest.raises(UserError, match="anneal_steps must be at least 1"):
            ppo(anneal_steps=wrong)


@pytest.mark.parametrize("name", ["bc", "iql"])
def test_the_policys_rate_falls_to_0_by_the_end(name):
    rng = np.random.default_rng(0)
    rows = {"obs": rng.normal(size=(40, 3)), "next_obs": rng.normal(size=(40, 3))}
    flags = {"terminated": np.zeros(40), "truncated": np.arange(40) % 10 == 9}
    action = rng.uniform(-2.0, 2.0, size=(40, 1))
    data = datasets.make({**rows, **flags, "action": action, "reward": rng.normal(size=40)})
    small = {"updates": 4, "batch_size": 8, "hidden": (4,)}
    agent = agents.make(name, "gymnax:Pendulum-v1,max_steps_in_episode=5", data=data, **small)
    result = training.train(agent, total_steps=8, **RUN)
    one = training.select_seed(result.state, 0)
    more = jax.jit(agent.iterate)(one, data=agent.data)[0]
    policy = [each.params["policy"] if name == "iql" else each.params for each in (one, more)]
    assert same(*policy)
    assert result.state.config.policy_decay == 8.0
