"""Search: what it finds, and that a broken one asks for what it would have asked for."""

import json
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import training
from jaxrl_reward.training import search as searching
from jaxrl_reward.training.devices import sharding
from jaxrl_reward.training.search import Range, search
from jaxrl_reward.types import UserError

SPACE = {"rate": Range(0.01, 10.0, log=True)}
SMALL = {"trials": 6, "batch": 3, "seeds": 2, "total_steps": 32, "evals": 1, "eval_episodes": 2}
SMALL |= {"progress": False}


def asked(folder):
    arms = training.load_config(folder)["arms"]
    return {name: arm["config"]["rate"] for name, arm in arms.items()}


@pytest.fixture(autouse=True)
def has_optuna():
    pytest.importorskip("optuna")


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr(searching, "write_up", lambda *_, **__: None)


@pytest.fixture(scope="module")
def peaked(fake_agent):
    """An agent whose return is highest at rate 1, and not finite above 5."""

    class Peaked(fake_agent):
        def iterate(self, state):
            state, metrics = super().iterate(state)
            loss = jnp.where(state.config.rate > 5.0, jnp.nan, 0.0)
            return state, metrics | {"loss": metrics["loss"].of(loss)}

        def evaluate(self, state, key, num_episodes):
            del key
            gain = -jnp.square(jnp.log(state.config.rate))
            return jnp.full(num_episodes, gain), jnp.full(num_episodes, 1, jnp.int32)

    return Peaked()


@pytest.mark.filterwarnings("ignore:arm .* ends:UserWarning")
def test_it_learns_where_to_ask_and_compiles_once(peaked, tmp_path, monkeypatch):
    compiled, compile_program = [], sharding._compile
    monkeypatch.setattr(
        sharding, "_compile", lambda low, once: compiled.append(low) or compile_program(low, once)
    )
    found = search(peaked, SPACE, out=tmp_path, **{**SMALL, "trials": 30})
    assert len(compiled) == 3
    rates = asked(tmp_path)
    returns = {arm: entry["iqm"] for arm, entry in found.summary["arms"].items()}
    assert found.best == max(returns, key=returns.__getitem__)
    assert found.values == {"rate": rates[found.best]}
    assert returns[found.best] > -0.1
    stopped = {arm for arm, rate in rates.items() if rate > 5.0}
    assert stopped == set(found.summary.get("stopped", {}))
    assert returns.keys() | stopped == rates.keys()
    distance = np.abs(np.log([rates[f"trial {i}"] for i in range(30)]))
    assert np.median(distance[15:]) < np.median(distance[:15])
    assert json.loads((tmp_path / "summary.json").read_text())["best"]["arm"] == found.best


@pytest.mark.parametrize("writes", [3, 9])
def test_resume_equals_an_uninterrupted_search(peaked, stop_after, stopped, tmp_path, writes):
    space = {"rate": Range(0.01, 4.0, log=True)}
    whole = search(peaked, space, out=tmp_path / "whole", **SMALL)
    with pytest.raises(stopped):
        search(peaked, space, out=tmp_path / "cut", sinks=[stop_after(writes)], **SMALL)
    with open(tmp_path / "cut/study.log", "a") as log:
        log.write('{"op_code": 4, "wor')  # a power cut in the middle of a line
    (tmp_path / "cut/study.log.lock").touch()
    resumed = search(peaked, space, out=tmp_path / "cut", resume=True, **SMALL)
    assert asked(tmp_path / "cut") == asked(tmp_path / "whole")
    assert resumed.curves == whole.curves
    assert (resumed.best, resumed.values) == (whole.best, whole.values)


def test_more_trials_continue_a_search(peaked, tmp_path):
    space = {"rate": [0.1, 0.5, 2.0]}
    first = search(peaked, space, out=tmp_path, sampler="random", **SMALL)
    more = search(
        peaked, space, out=tmp_path, sampler="random", resume=True, **{**SMALL, "trials": 9}
    )
    assert len(more.summary["arms"]) == 9
    assert more.summary["arms"].items() >= first.summary["arms"].items()
    assert set(asked(tmp_path).values()) <= {0.1, 0.5, 2.0}
    with pytest.raises(UserError, match="another space or sampler"):
        search(peaked, SPACE, out=tmp_path, resume=True, **SMALL)


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        ({}, {}, "nothing to search over"),
        ({"width": Range(1, 2)}, {}, "fake's width shapes the program"),
        ({"rate": Range(2, 1)}, {}, "rate must go from a number to a higher one, not from 2 to 1"),
        ({"rate": Range(0, 1, log=True)}, {}, "from a number above 0 to a higher one"),
        (SPACE, {"trials": 7}, "trials=7 is no multiple of batch=3; use 9"),
        (SPACE, {"sampler": "tpee"}, "unknown sampler 'tpee', did you mean 'tpe'"),
    ],
)
def test_bad_input_is_one_line(peaked, tmp_path, space, options, message):
    with pytest.raises(UserError, match=message) as caught:
        search(peaked, space, out=tmp_path / "run", **{**SMALL, **options})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_missing_optuna_names_the_extra(peaked, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'jaxrl-reward\[search\]'"):
        search(peaked, SPACE, out=tmp_path, **SMALL)
