"""How time and memory grow: many MDPs in one call. Run with `-m slow -s` to see the numbers."""

import resource
import time

import jax
import numpy as np
import pytest

from jaxrl_reward import tabular
from jaxrl_reward.tabular.returns import functionals

GAMMA = 0.95


def measure(count, states, points, random_rewards=False, branching=4):
    """Solves `count` Garnets with 4 actions in one call; prints what it took."""
    keys = jax.random.split(jax.random.key(0), count)
    make = lambda key: tabular.garnet(key, states, 4, branching, random_rewards=random_rewards)  # noqa: E731
    mdps = jax.jit(jax.vmap(make))(keys)

    @jax.jit
    def solve(mdps):
        def one(mdp):
            grid = tabular.covering(mdp, GAMMA, points)
            plan = tabular.solve(
                mdp, functionals.shortfall(), grid, gamma=GAMMA, shared=not random_rewards
            )
            return plan.values, plan.iterations, plan.residual

        return jax.lax.map(one, mdps)

    compiled = solve.lower(mdps).compile()
    started, cpu = time.perf_counter(), time.process_time()
    values, iterations, residual = jax.block_until_ready(compiled(mdps))
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    scratch = compiled.memory_analysis().temp_size_in_bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"\n{count} MDPs, S={states}, C={points}, K={branching}, "
        f"{'a reward each outcome' if random_rewards else 'a reward each action'}: "
        f"{wall:.1f} s wall, {cpu:.1f} s CPU, {1e3 * cpu / count:.1f} ms CPU each, "
        f"{float(np.mean(iterations)):.0f} iterations, scratch {scratch / 1e6:.2f} MB, "
        f"results {values.nbytes / 1e6:.1f} MB, peak of the process {peak / 1e3:.0f} MB"
    )
    return np.asarray(values), np.asarray(residual), scratch


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("random_rewards", [False, True])
def test_a_thousand_mdps_in_one_call(random_rewards):
    values, residual, scratch = measure(1000, 32, 100, random_rewards)
    assert values.shape == (1000, 32, 100) and np.isfinite(values).all()
    assert (residual <= 1e-5 * (1 + np.abs(values).max((1, 2)))).all()
    # One at a time: the scratch does not grow with their number.
    assert scratch < 16 * 32 * 4 * 4 * 100 * 4


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_growth_with_states_and_stocks():
    for states, points in ((16, 100), (32, 100), (64, 100), (128, 100), (32, 50), (32, 200)):
        values, *_ = measure(20, states, points)
        assert np.isfinite(values).all()
    values, *_ = measure(20, 32, 100, branching=32)
    assert np.isfinite(values).all()
