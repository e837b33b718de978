"""The experiments of the library of rewards: their worlds, and the smallest preset of each."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward.tabular import planning
from jaxrl_reward.training import experiment as experiments

MEASURED = ("overoptimization", "hacking", "pareto", "preferences")


@pytest.fixture
def beside(monkeypatch):
    """What lies beside the experiments, by the name of its file."""
    monkeypatch.syspath_prepend(experiments.folders()[-1])
    return importlib.import_module


def test_the_sea_is_solved_as_the_mdp_is(beside):
    pareto = beside("_pareto_sea")
    sea = pareto.sea(convex=False)
    assert sea.steps.tolist() == [1, 3, 5, 7, 8, 9, 13, 14, 17, 19]
    np.testing.assert_allclose(sea.volume(jnp.asarray(sea.steps)), 1.0, rtol=1e-6)
    alone = jnp.full(10, jnp.inf).at[9].set(19.0)
    np.testing.assert_allclose(sea.volume(alone) / sea.volume(alone.at[0].set(1.0)),
                               124 * 6 / (124 * 6 + 18), rtol=1e-5)  # fmt: skip
    uniform = jnp.full((pareto.HORIZON, *sea.ends.shape), 0.25)
    values, _ = pareto.q_values(sea, uniform, sea.returns[:, 0])
    mdp = pareto.worlds.deep_sea_treasure()
    first = mdp.replace(reward=mdp.reward[..., 0])
    known = np.zeros(first.states)
    for _ in range(pareto.HORIZON):
        known = np.asarray(planning.q_values(first, jnp.asarray(known), 1.0)).mean(-1)
    np.testing.assert_allclose(values[0], known, rtol=1e-4)
    here = pareto.visits(sea, uniform)
    np.testing.assert_allclose(here[:2].sum(1), [1.0, 0.75], rtol=1e-6)  # one move of four dives


def test_raters_agree_on_nothing_but_the_road(beside):
    worlds = beside("_preferences_worlds")
    keys = jax.random.split(jax.random.key(0), 8)
    roads = jax.vmap(worlds.road)(keys)
    earned = np.asarray(roads.reward[:, 0, 0, 0])
    assert set(earned) == {-1.0, 1.0}
    for key, sign in zip(keys, earned, strict=True):
        world = worlds.road(key)
        paid = np.asarray(worlds.partial_return(world)).reshape(7, 2)
        np.testing.assert_allclose(paid[:6], sign)
        np.testing.assert_allclose(paid[6], 0.0)  # the end
        good = np.asarray(worlds.regret(world)).reshape(7, 2)[:6]
        better = good[:, 1] > good[:, 0]  # going on
        assert better.all() if sign < 0 else not better[-1]
        assert worlds.scaled_return(world, world) == pytest.approx(1.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MEASURED, "noisy_tv"])
def test_the_smallest_preset_runs_and_reports(name, tmp_path):
    loaded = experiments.load(name)
    with jax.numpy_rank_promotion("raise"):
        found = experiments.run(loaded, "smoke", out=tmp_path, progress=False)
    chosen = loaded.presets["smoke"].arms or [arm.name for arm in loaded.arms]
    assert list(found.results) == list(chosen)
    assert all(np.isfinite(result.returns).all() for result in found.results.values())
    assert found.verdicts and all(verdict.evidence for verdict in found.verdicts)
    assert "figure.png" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "figure.png").stat().st_size > 10_000
