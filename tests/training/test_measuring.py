"""Experiments that train no agent: what their arms measured becomes results like all others."""

import json

import jax
import numpy as np
import pytest

from jaxrl_reward import cli
from jaxrl_reward.training.experiments import experiment as experiments
from jaxrl_reward.training.experiments.experiment import Arm, Experiment, Measured, Preset
from jaxrl_reward.training.record.result import NonFiniteError
from jaxrl_reward.training.record.run_folder import load_rows
from jaxrl_reward.types import UserError

WORDS = {"name": "x", "title": "X", "claim": "c", "source": "s", "metric": "regret"}


def measure(arms, preset, keys, tick):
    """A draw per key, less for every step, over what the arm divides it by."""
    noise = np.asarray(jax.vmap(jax.random.uniform)(keys))[:, None]
    at = [1, preset.total_steps]
    tick(2, 2)
    return {
        arm.name: Measured({"regret": noise / arm.config["by"] - np.array(at), "n": noise + at}, at)
        for arm in arms
    }


def made(**changes):
    parts = {
        "arms": (Arm("a", config={"by": 1.0}), Arm("b", config={"by": 2.0})),
        "presets": {"quick": Preset(4, 10, seed=3)},
        "verdict": lambda found: [experiments.compare(found, "a", "b", claim="c", source="s")],
        "measure": measure,
        "env": "",
        "axis": "Updates",
    }
    return Experiment(**{**WORDS, **parts, **changes})


def test_arms_are_measured_with_the_same_keys_and_reported(tmp_path, capsys):
    outcome = experiments.run(made(), out=tmp_path / "run")
    noise = np.asarray([jax.random.uniform(jax.random.key(seed)) for seed in range(3, 7)])
    np.testing.assert_allclose(outcome.results["a"].returns, noise - 10, rtol=1e-6)
    np.testing.assert_allclose(outcome.results["b"].returns, noise / 2 - 10, rtol=1e-6)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["arms"]["a"]["metric"] == "regret" and summary["env_steps"] == 0
    assert summary["verdicts"][0]["status"] == outcome.verdicts[0].status
    rows = load_rows(tmp_path / "run")
    steps, values = rows.curve("n", arm="b")
    assert steps.tolist() == [1, 10] and values.shape == (4, 2)
    report = (tmp_path / "run" / "report.md").read_text()
    assert "Regret over updates" in report and "greedy" not in report and "by" in report
    assert (tmp_path / "run" / "figure.png").stat().st_size > 10_000
    assert "x: 2/2" in capsys.readouterr().err  # the line of the progress bar


def test_other_seeds_are_asked_for_by_the_first(tmp_path):
    """They are those that a run from there has, and a run on others does not go on with them."""
    quick = {"out": tmp_path / "run", "progress": False, "seeds": 2, "seed": 1000}
    outcome = experiments.run(made(), **quick)
    noise = np.asarray([jax.random.uniform(jax.random.key(seed)) for seed in (1000, 1001)])
    np.testing.assert_allclose(outcome.results["a"].returns, noise - 10, rtol=1e-6)
    assert set(load_rows(tmp_path / "run").table["seed"].to_pylist()) == {1000, 1001}
    report = (tmp_path / "run" / "report.md").read_text()
    assert "--preset quick --seeds 2 --seed 1000" in report
    again = experiments.run(made(), **quick, resume=True)
    assert again.verdicts == outcome.verdicts
    with pytest.raises(UserError, match=r"arm 'a' was started with seed = 1000, not 3"):
        experiments.run(made(), **{**quick, "seed": None}, resume=True)
    with pytest.raises(UserError, match="seed must be between 0 and 4294967294, got 4294967295"):
        experiments.run(made(), **{**quick, "seed": 2**32 - 1, "out": tmp_path / "no"})
    assert not (tmp_path / "no").exists()


def test_a_resumed_run_measures_again_to_the_bit(tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    whole = experiments.run(made(), out=tmp_path / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        experiments.run(made(measure=interrupted), out=tmp_path / "cut", progress=False)
    again = experiments.run(made(), out=tmp_path / "cut", resume=True, progress=False)
    assert load_rows(tmp_path / "cut") == load_rows(tmp_path / "whole")
    assert again.verdicts == whole.verdicts
    with pytest.raises(UserError, match=r"started with config\.by = 1\.0, not 5"):
        other = made(arms=(Arm("a", config={"by": 5.0}), Arm("b", config={"by": 2.0})))
        experiments.run(other, out=tmp_path / "cut", resume=True, progress=False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "measured nothing for arm 'a'"),
        ({"a": Measured({"n": np.zeros((4, 1))}, [0])}, "measured n, but no 'regret'"),
        (
            {"a": Measured({"regret": np.zeros((4, 2))}, [0])},
            r"'regret' of arm 'a' must be \[4 seeds, 1 points\], not \(4, 2\)",
        ),
    ],
)
def test_what_a_measure_gives_is_checked(tmp_path, given, message):
    with pytest.raises(UserError, match=message):
        experiments.run(made(measure=lambda *_: given), out=tmp_path / "run", progress=False)


def test_a_final_value_that_is_not_finite_stops_the_run(tmp_path):
    values = np.array([[0.0, 1.0], [0.0, np.nan], [0.0, 1.0], [0.0, 1.0]])
    bad = made(measure=lambda *_: {"a": Measured({"regret": values}, [0, 7])})
    with pytest.raises(NonFiniteError, match=r"regret is not finite \(seed 4, step 7\)"):
        experiments.run(bad, out=tmp_path / "run", progress=False)


def test_there_is_no_agent_to_evaluate(tmp_path, capsys):
    experiments.run(made(), out=tmp_path / "run", progress=False)
    assert cli.main(["evaluate", str(tmp_path / "run")]) == 2
    assert "was measured and trained no agent" in capsys.readouterr().err
