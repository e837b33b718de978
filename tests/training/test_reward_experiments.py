"""The experiments of the library of rewards: their worlds, and the smallest preset of each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward.tabular import worlds
from jaxrl_reward.training.experiments import experiment as experiments

MEASURED = (
    "overoptimization",
    "hacking",
    "pareto",
    "preferences",
    "judges",
    "curation",
    "transforms",
    "personal",
    "labels_needed",
    "length_balance",
    "judges",
)


def test_the_sea_is_solved_as_the_mdp_is(beside):
    pareto = beside("_pareto_sea")
    sea = pareto.sea()
    assert sea.steps.tolist() == [1, 3, 5, 7, 8, 9, 13, 14, 17, 19]
    found = np.full((3, 10), np.inf, np.float32)
    found[0], found[1, 9], found[2, [0, 9]] = sea.steps, 19.0, (1.0, 19.0)

    @jax.jit
    def solve(found):
        uniform = jnp.full((pareto.HORIZON, *sea.ends.shape), 0.25)
        values, _ = pareto.q_values(sea, uniform, sea.returns[:, 0])
        return jax.vmap(sea.volume)(found), values[0], pareto.visits(sea, uniform)[:2].sum(1)

    volumes, values, there = solve(found)
    alone = 124 * 6 / (124 * 6 + 18)  # without the first treasure
    np.testing.assert_allclose([volumes[0], volumes[1] / volumes[2]], [1.0, alone], rtol=1e-5)
    mdp = jax.tree.map(np.asarray, worlds.deep_sea_treasure())
    known = np.zeros(mdp.states)
    for _ in range(pareto.HORIZON):
        follows = np.where(mdp.ends, 0.0, known[mdp.successor])
        known = (mdp.probability * (mdp.reward[..., 0] + follows)).sum(-1).mean(-1)
    np.testing.assert_allclose(values, known, rtol=1e-4)
    np.testing.assert_allclose(there, [1.0, 0.75], rtol=1e-6)  # one move of four dives


def test_partial_returns_do_not_know_which_way_the_road_leads(beside):
    module = beside("_preferences_worlds")

    @jax.jit
    @jax.vmap
    def rate(key):
        road = module.road(key)
        return module.partial_return(road), module.regret(road), module.scaled_return(road, road)

    paid, good, scaled = rate(jax.random.split(jax.random.key(0), 8))
    paid, good = np.asarray(paid).reshape(8, 7, 2), np.asarray(good).reshape(8, 7, 2)
    assert set(paid[:, 0, 0]) == {-1.0, 1.0}
    for each, steps in zip(paid, good, strict=True):
        assert (each[:6] == each[0, 0]).all() and (each[6] == 0.0).all()  # the end pays nothing
        onward = steps[:6, 1] > steps[:6, 0]
        assert onward.all() if each[0, 0] < 0 else not onward[-1]
    np.testing.assert_allclose(scaled, 1.0, rtol=1e-5)


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
