"""The experiment `starc`: its worlds, its smallest preset, and its report."""

import jax
import numpy as np
import pytest

from jaxrl_reward.training.experiments import experiment as experiments


@pytest.mark.slow
def test_the_smallest_preset_runs(tmp_path):
    loaded = experiments.load("starc")
    found = experiments.run(loaded, "smoke", out=tmp_path, progress=False)
    assert len(found.results) == 15
    for result in found.results.values():
        assert result.returns.shape == (2,) and (np.abs(result.returns) <= 1).all()
    status = {verdict.claim: verdict.status for verdict in found.verdicts}
    sure = [claim for claim in status if "STARC" in claim or "turned round" in claim]
    assert len(sure) == 5 and all(status[claim] == "holds" for claim in sure)
    report = (tmp_path / "report.md").read_text()
    assert "| VAL, linf | STARC |" in report and "18 pairs of rewards" in report
    assert (tmp_path / "figure.png").stat().st_size > 10_000

    again = experiments.run(loaded, "smoke", out=tmp_path, resume=True, progress=False)
    for name, result in found.results.items():
        np.testing.assert_array_equal(again.results[name].returns, result.returns)
        values = result.study.values
        assert values["regret"].shape == values["distance"].shape == (2, 9)
    assert jax.config.read("jax_enable_x64") is False
