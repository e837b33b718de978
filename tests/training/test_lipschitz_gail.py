"""The experiment `lipschitz_gail`: its arms, how it judges, and its smallest preset."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward.training.experiments import experiment as experiments
from jaxrl_reward.training.record.metrics import Rows


def result(arm, returns, known, **late):
    """As a run would give it, each metric the same in all of its ten log points."""
    seeds = range(len(returns))
    rows = [
        Rows.at(arm, seeds, step, {name: np.asarray(x, float) for name, x in late.items()})
        for step in range(10)
    ]
    returns = np.asarray(returns, float)
    rows.append(Rows.at(arm, seeds, 0, {"return": np.full_like(returns, known.random)}))
    rows += [Rows.at(arm, seeds, 5, {"return": 2 * returns - known.random})]
    rows += [Rows.at(arm, seeds, 10, {"return": returns})]
    fields = {"returns": returns, "study": known}
    return SimpleNamespace(**fields, curves=Rows.concatenate(rows))


def results(beside):
    """A constraint that works, none that does not; the sign decides how long one lives."""
    known = beside("_lipschitz_gail_data").Known
    swing, pole = known(-1200.0, -200.0, 200.0), known(20.0, 500.0, 500.0)
    rng = np.random.default_rng(0)
    found = {}
    for method, mean, slope in (("none", -900, 9), ("wgan", -300, 1), ("wgan 0.01", -700, 4)):
        arm, noise = f"Pendulum-v1, SAC: {method}", rng.normal(size=6)
        measured = {"reward_slope": slope + 0.1 * noise, "q_slope": 10 * slope + noise}
        found[arm] = result(arm, mean + 9 * noise, swing, **measured, length=np.full(6, 200))
    for method, mean in (("positive", 480), ("negative", 30), ("negative, absorbing", 470)):
        arm, noise = f"CartPole-v1, PPO: {method}", rng.normal(size=6)
        found[arm] = result(arm, mean + noise, pole, length=mean + noise)
    return found


def test_verdicts_follow_scores_and_slopes(beside):
    loaded = experiments.load("lipschitz_gail")
    status = {verdict.claim: verdict.status for verdict in loaded.verdict(results(beside))}
    assert len(status) == 7 and set(status.values()) == {"holds"}
    assert "Pendulum-v1, SAC: with a gradient penalty the imitator reaches 70 % of the expert" in (
        status
    )
    assert "CartPole-v1, PPO: absorbing states mend the negative form" in status


def test_the_report_has_a_table_for_each_task_and_a_figure(beside, tmp_path):
    parts = beside("_lipschitz_gail_report").present(results(beside), tmp_path)
    text = "\n".join(parts)
    lines = [line for line in text.splitlines() if line.startswith("| wgan |")]
    # (-300 + 1200) / 1000, twice that half-way, its slopes, no accuracy, and the length.
    (cells,) = ([cell.strip() for cell in line.split("|")[2:-1]] for line in lines)
    assert cells[0].startswith("90 [") and cells[1].startswith("135 [")
    assert cells[2] == cells[5] == "" and float(cells[3]) == pytest.approx(1, abs=0.2)
    assert float(cells[6]) == 200
    assert "### CartPole-v1, PPO" in text and "random actions 20." in text
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_points_differ_in_numbers_alone():
    module = experiments.load("lipschitz_gail")
    arms = {arm.name: arm for arm in module.arms}
    purple = arms["Pendulum-v1, SAC: purple 2, purple 7"]
    agent = SimpleNamespace(
        config=None, reward=rw.parse(purple.reward.replace("{demos}", "'noise'"))
    )
    assert purple.points is not None
    two, seven = purple.points(agent)
    assert (two.name, seven.name) == ("Pendulum-v1, SAC: purple 2", "Pendulum-v1, SAC: purple 7")
    assert "steepest=2, width=64)" in str(two.reward)
    assert seven.reward.parts == (two.reward.parts[0], seven.reward.parts[1])
    assert seven.reward.parts[1].steepest == 7


@pytest.mark.slow
def test_the_smallest_preset_runs_and_is_resumed(tmp_path):
    loaded = experiments.load("lipschitz_gail")
    found = experiments.run(loaded, "smoke", out=tmp_path, progress=False)
    assert [arm.split(": ")[1] for arm in found.results] == ["none", "wgan"]
    assert all(np.isfinite(each.returns).all() for each in found.results.values())
    assert len(found.verdicts) == 2
    (made,) = tmp_path.glob("data/*.npz")
    before = made.stat().st_mtime_ns
    again = experiments.run(loaded, "smoke", out=tmp_path, resume=True, progress=False)
    assert made.stat().st_mtime_ns == before
    for name, each in found.results.items():
        np.testing.assert_array_equal(again.results[name].returns, each.returns)
        assert {"reward_slope", "q_slope"} <= set(each.curves.table["metric"].to_pylist())
