"""Points beside seeds: each lane is the plain run with its numbers, in one program."""

import os
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrl_reward import training
from jaxrl_reward.agents.common.base import make
from jaxrl_reward.training.devices import sharding
from jaxrl_reward.training.record import metrics
from jaxrl_reward.types import UserError

SIZES = {"num_envs": 2, "num_steps": 8, "epochs": 1, "minibatches": 2, "hidden": (4,)}
RUN = {"seeds": 2, "total_steps": 48, "evals": 1, "eval_episodes": 2, "log_points": 3}
RUN |= {"progress": False}
TEXT = "env + {weight}*counts()"


def agent(reward="env + 0.1*counts()", **settings):
    return make("ppo", "gymnax:CartPole-v1", reward, **{**SIZES, **settings})


def short(fake, **options):
    settings = {"seeds": 2, "total_steps": 400, "evals": 4, "log_points": 10, "eval_episodes": 3}
    return training.train(fake, **{**settings, "progress": False, **options})


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Two learning rates times two weights, in a folder."""
    folder = tmp_path_factory.mktemp("packed") / "run"
    points = training.points(
        agent(), {"learning_rate": [1e-3, 1e-2], "weight": [0.1, 2.0]}, template=TEXT
    )
    return training.train(agent(), vary=points, out=folder, **RUN), folder


def test_a_lane_equals_the_plain_run_with_its_numbers(packed):
    result, _ = packed
    assert len(result.arms) == 4 and result.returns.shape == (8,)
    name = "learning_rate=0.01, weight=2.0"
    mine = result.by_arm()[name]
    plain = training.train(agent(TEXT.format(weight=2.0), learning_rate=0.01), **RUN)
    for metric in ("return", "episode_return", "policy_loss", "value_loss", "reward"):
        a, b = (each.curves.curve(metric)[1] for each in (mine, plain))
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6)
    assert mine.summary["arms"][name]["per_seed"] == plain.summary["arms"]["ppo"]["per_seed"]
    for a, b in zip(jax.tree.leaves(mine.state), jax.tree.leaves(plain.state), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
    losses = result.curves.curve("value_loss", "learning_rate=0.01, weight=0.1")[1]
    assert not np.allclose(losses, mine.curves.curve("value_loss")[1])


def test_one_program_for_all_points(fake_agent, monkeypatch):
    compiled = []
    compile_program = sharding._compile
    monkeypatch.setattr(
        sharding, "_compile", lambda low, once: compiled.append(low) or compile_program(low, once)
    )
    short(fake_agent(), vary={"rate": [0.1, 0.2, 0.3]})
    assert len(compiled) == 3  # init, advance and evaluate


def test_its_folder_has_an_arm_for_each_point(packed):
    result, folder = packed
    arms = training.load_config(folder)["arms"]
    assert list(arms) == list(result.arms) == list(training.load_rows(folder).by_arm())
    name = "learning_rate=0.01, weight=2.0"
    assert arms[name]["config"]["learning_rate"] == 0.01
    assert arms[name]["reward"] == "env + 2*counts()"
    loaded = training.load(agent(), folder, name)
    mine = result.by_arm()[name].state
    np.testing.assert_array_equal(loaded.state.episode_reward, mine.episode_reward)
    np.testing.assert_allclose(loaded.state.config.learning_rate, [0.01, 0.01], rtol=1e-6)
    assert training.merge_summaries(r.summary for r in result.by_arm().values())[
        "env_steps"
    ] == pytest.approx(result.summary["env_steps"])


def test_the_hosts_work_grows_no_faster_than_the_arms(fake_agent, monkeypatch, tmp_path):
    """Files written and tables made are as many for any number of arms; rows that are looked
    through, an arm's own share of them is as large."""

    def work(arms):
        found, looked = Counter(), 0

        def replace(partial, final, replace=os.replace):
            found[Path(final).name] += 1
            return replace(partial, final)

        def of_arms(arms, *args, make=metrics.Rows.of_arms):
            found["tables"] += 1
            return make(arms, *args)

        def where(rows, find=metrics.Rows.where, **columns):
            nonlocal looked
            looked += len(rows)
            return find(rows, **columns)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace)
            patch.setattr(metrics.Rows, "of_arms", of_arms)
            patch.setattr(metrics.Rows, "where", where)
            numbers = [i / 100 for i in range(arms)]
            out = tmp_path / str(arms)
            result = short(fake_agent(), vary={"rate": numbers}, seeds=1, out=out)
            parts = result.by_arm()
        assert len(parts) == arms and all(len(each.curves) for each in parts.values())
        assert sum(len(each.curves) for each in parts.values()) == len(result.curves)
        return found, looked / arms

    (few, share), (many, same) = work(3), work(24)
    # Log points and evaluations, the latter with rows, and in the end the summary.
    assert few == many and few["config.json"] == few["summary.json"] == 1
    assert few["tables"] == 10 + 5 and same <= 1.1 * share


def test_points_resume_to_the_bit(fake_agent, stop_after, stopped, assert_same, tmp_path):
    vary = {"rate": [0.1, 0.2, 0.3]}
    whole = short(fake_agent(), vary=vary)
    with pytest.raises(stopped):
        short(fake_agent(), vary=vary, out=tmp_path, sinks=[stop_after(7)])
    resumed = short(fake_agent(), vary=vary, out=tmp_path, resume=True)
    assert resumed.curves == whole.curves
    assert_same(resumed.state, whole.state)
    with pytest.raises(UserError, match="holds another run"):
        short(fake_agent(), vary={"rate": [0.3, 0.2, 0.1]}, out=tmp_path, resume=True)


def test_an_arm_that_is_not_finite_ends_alone(fake_agent, stop_after, stopped, tmp_path):
    class Fragile(fake_agent):
        def iterate(self, state):
            state, metrics = super().iterate(state)
            bad = (state.config.rate > 0.5) & (state.iteration >= 17)
            return state, metrics | {"loss": metrics["loss"].of(jax.numpy.where(bad, np.nan, 1.0))}

    vary = {"rate": [0.1, 1.0]}
    with pytest.warns(UserWarning, match=r"arm 'rate=1.0' ends: loss is not finite \(seed 0"):
        whole = short(Fragile(), vary=vary)
    assert list(whole.summary["arms"]) == ["rate=0.1"]
    assert whole.summary["stopped"] == {"rate=1.0": "loss is not finite (seed 0, step 136)"}
    assert np.isnan(whole.returns).tolist() == [False, False, True, True]
    assert max(row.step for row in whole.curves.where(arm="rate=1.0")) < 17 * 8
    with pytest.warns(UserWarning, match="ends"), pytest.raises(stopped):
        short(Fragile(), vary=vary, out=tmp_path, sinks=[stop_after(9)])
    resumed = short(Fragile(), vary=vary, out=tmp_path, resume=True)
    assert resumed.curves == whole.curves
    with (
        pytest.warns(UserWarning, match="ends"),
        pytest.raises(training.NonFiniteError, match="loss is not finite"),
    ):
        short(Fragile(), vary={"rate": [2.0, 1.0]})


@pytest.mark.parametrize(
    ("vary", "template", "message"),
    [
        ({"num_envs": [2, 4]}, None, "ppo's num_envs shapes the program.*these can: learning_rate"),
        ({"learning_rat": [1.0]}, None, "no 'learning_rat' to vary, did you mean 'learning_rate'"),
        ({"gamma": [0.9, 1.5]}, None, "gamma must be between 0 and 1, not 1.5"),
        ({"gamma": ["high"]}, None, "gamma must be a number, got 'high'"),
        ({"gamma": []}, None, "gamma needs a list"),
        ({"gamma": [0.9, 0.9]}, None, "two points are 'gamma=0.9'"),
        ({}, None, "needs a list"),
        ([], None, "at least one"),
        ({"reward": ["env + 1*counts()", "env"]}, None, "differ in more than their numbers"),
        ({"weight": [1.0]}, "env + {wieght}*counts()", "no 'weight' to vary"),
        ({"gamma": [0.9]}, TEXT, "the reward has {weight} in it"),
    ],
)
def test_what_cannot_vary_is_refused(vary, template, message):
    with pytest.raises(UserError, match=message) as caught:
        training.points(agent(), vary, template)
    assert "\n" not in str(caught.value)


def test_points_are_a_grid_or_a_list():
    grid = training.points(agent(), {"gamma": [0.9, 0.99], "clip": [0.1, 0.2]})
    assert [each.name for each in grid][:2] == ["gamma=0.9, clip=0.1", "gamma=0.9, clip=0.2"]
    listed = training.points(agent(), [{"gamma": 0.9, "clip": 0.1}, {"gamma": 0.99, "clip": 0.2}])
    assert [(each.settings.gamma, each.settings.clip) for each in listed] == [
        (0.9, 0.1),
        (0.99, 0.2),
    ]
    rewards = training.points(agent(), {"reward": ["env + 1*counts()", "env + 5.0*counts()"]})
    assert [str(each.reward) for each in rewards] == [each.name for each in rewards]
