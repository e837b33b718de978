"""The experiments on designed rewards run, and judge what they measured."""

import json

import numpy as np
import pytest

from jaxrl_reward.training.experiments import experiment as experiments


@pytest.mark.slow
@pytest.mark.parametrize("name", ["barfi", "reward_design"])
def test_the_smallest_preset_runs(tmp_path, name):
    loaded = experiments.load(name)
    outcome = experiments.run(loaded, "smoke", out=tmp_path / "run", progress=False)
    assert outcome.verdicts and set(outcome.results) == set(loaded.presets["smoke"].arms or ())
    for result in outcome.results.values():
        steps, values = result.curves.curve("share")
        assert (
            values.shape == (2, len(steps))
            and (values >= -1e-6).all()
            and (values < 1 + 1e-5).all()
        )
        np.testing.assert_allclose(values[:, 0], values[0, 0], rtol=1e-5)  # all start alike
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["env_steps"] > 0
    assert "figure.png" in (tmp_path / "run" / "report.md").read_text()
