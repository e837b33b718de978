"""The experiment `robust_iql`: data made once, many arms in one program, its report."""

import json

import numpy as np
import pytest

from jaxrl_reward.training import load_config
from jaxrl_reward.training.experiments import experiment as experiments

TASK = "Pendulum-v1"


@pytest.mark.slow
def test_the_smallest_preset_runs_and_is_resumed(tmp_path):
    loaded = experiments.load("robust_iql")
    found = experiments.run(loaded, "smoke", out=tmp_path, progress=False)
    for method, count in (("IQL", 9), ("RIQL", 9), ("BC", 9), ("EDAC", 3), ("-Huber", 3)):
        assert len([arm for arm in found.results if arm.startswith(f"{TASK} {method}:")]) == count
    assert all(result.returns.shape == (2,) for result in found.results.values())
    claims = {verdict.claim for verdict in found.verdicts}
    assert f"{TASK}: RIQL is above IQL where successors are wrong by chance" in claims
    assert len(claims) == 14
    report = (tmp_path / "report.md").read_text()
    assert "2,000 rows (random); 30% of them wrong by up to 1 standard" in report
    assert "| random dynamics |" in report and "Kurtosis" in report
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    arms = load_config(tmp_path)["arms"]
    arm = arms[f"{TASK} RIQL: random dynamics"]
    assert arm["config"]["source"] == 4 and arm["pack"]["lanes"] == 30
    assert len(set(arm["data"]["checksums"])) == 9

    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("data/*/*.npz")}
    assert len(made) == 9
    again = experiments.run(loaded, "smoke", out=tmp_path, resume=True, progress=False)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    for name, result in found.results.items():
        np.testing.assert_array_equal(again.results[name].returns, result.returns)
    json.dumps(again.summary)
