"""Counts beyond int32 and float32, against Python's integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import counting
from jaxrl_reward import rewards as rw
from jaxrl_reward.training.devices.sharding import Tally
from jaxrl_reward.types import Mean, Transition

FAR = 2**40  # steps; int32 ends at 2**31, and float32 adds no 1 to 2**24


def at(number):
    """A count that has come so far."""
    return counting.Count(jnp.int32(number >> 30), jnp.int32(number & (2**30 - 1)))


@pytest.mark.parametrize("start", [0, 2**24 - 3, 2**30 - 5, 2**31 - 5, 2**32 - 1, FAR - 5])
def test_counts_are_those_of_python(start):
    count, step = at(start), jax.jit(lambda count, n: count.add(n))
    total = start
    for n in (1, 1, 3, 8, 2**29, 2**30 - 1, 0, 1):
        count, total = step(count, jnp.int32(n)), total + n
        assert int(count) == total
        assert float(count.value) == float(np.float32(total))
        assert 0 <= int(count.low) < 2**30


def test_counts_of_many_places_carry():
    count = counting.Count(jnp.zeros(3, jnp.int32), jnp.full(3, 2**30 - 1, jnp.int32))
    count = count.add_at(jnp.array([0, 2, 2, 2]))
    assert count.high.tolist() == [1, 0, 1]
    assert count.low.tolist() == [0, 2**30 - 1, 2]
    assert int(counting.of(jnp.int32(2**31 - 1)).add(1)) == 2**31
    assert counting.of(count) is count


def block_of(steps=4, envs=2, obs=0.0):
    zero, no = jnp.zeros((steps, envs)), jnp.zeros((steps, envs), bool)
    seen = jnp.full((steps, envs, 1), obs)
    return Transition(seen, zero.astype(jnp.int32), zero, zero, seen, no.at[0].set(True), no, no)


@pytest.mark.parametrize("text", ["scheduled(1, 0, {})", "dynamic_potential('first', steps={})"])
def test_schedules_go_on(text):
    """To half of 2^40 and beyond: the weight is the share that is left."""
    block = block_of(obs=1.0)
    term = rw.parse(text.format(float(FAR)))
    state = term.init(jax.random.key(0), block)
    for done in (0, 2**30 - 4, 2**31 - 4, FAR // 2, FAR - 8, 2 * FAR):
        now = state.replace(shared=at(done))
        out = term.apply(now, block)
        assert int(out.state.shared) == done + 8
        weight = 1.0 - min(done / FAR, 1.0)
        expected = weight if term.name == "scheduled" else (0.99 - 1.0) * weight
        np.testing.assert_allclose(out.reward[-1], expected, atol=1e-6)


def test_annealed_blocks_are_counted_on():
    term, block = rw.crf(steps=1e12), block_of()
    block = block.replace(reward=jnp.zeros((4, 2, 2)))
    state = term.init(jax.random.key(0), block).replace(shared=at(2**24))
    assert int(term.apply(state, block).state.shared) == 2**24 + 1


@pytest.mark.parametrize("seen", [2**24, 2**31, FAR])
def test_visits_are_counted_on(seen):
    block = block_of(envs=64)

    def visited(term):
        state = term.init(jax.random.key(0), block)
        return jax.tree.map(
            lambda x, y: jnp.broadcast_to(y, x.shape), state.shared, at(seen)
        ), state

    term = rw.lifetime_counts(buckets=4)
    shared, state = visited(term)
    after = term.apply(state.replace(shared=shared), block).state.shared
    counts = [(int(h) << 30) + int(x) for h, x in zip(after.high, after.low, strict=True)]
    assert sorted(counts) == [seen] * 3 + [seen + 256]
    term = rw.pseudo_counts(bins=4)
    shared, state = visited(term)
    out = term.apply(state.replace(shared=shared), block)
    high, low = out.state.shared.high[0], out.state.shared.low[0]
    counts = [(int(h) << 30) + int(x) for h, x in zip(high, low, strict=True)]
    assert sorted(counts) == [seen] * 3 + [seen + 256]
    # Of one component n = rho (1 - rho') / (rho' - rho) is the visits and the half before.
    np.testing.assert_allclose(out.reward, 1 / np.sqrt(seen + 0.51), rtol=1e-3)


def test_pseudo_counts_of_a_million_visits_are_no_rounding():
    """All visits in one cell but one: n is close to the visits, in float64."""
    term, block = rw.pseudo_counts(bins=4), block_of()
    state = term.init(jax.random.key(0), block)
    cell = int(jnp.argmax(term.apply(state, block).state.shared.low[0]))
    low = jnp.zeros((1, 4), jnp.int32).at[0, cell].set(10_000_000).at[0, (cell + 1) % 4].set(5)
    out = term.apply(state.replace(shared=counting.Count(jnp.zeros_like(low), low)), block)
    rho, again = 10_000_000.5 / 10_000_007, 10_000_001.5 / 10_000_008
    pseudo = rho * (1 - again) / (again - rho)
    np.testing.assert_allclose(out.reward, 1 / np.sqrt(pseudo + 0.01), rtol=0.1)


def test_directions_are_drawn_anew_where_steps_begin_again_at_2_to_the_32():
    block = block_of(steps=6, envs=3).replace(reward=jnp.ones((6, 3, 2)))
    block = block.replace(first=block.first.at[0].set(False).at[4].set(True))
    term = rw.direction()
    state = term.init(jax.random.key(0), block)
    late = jnp.full(3, 2**32 - 2, jnp.uint32)
    drawn = state.local._replace(steps=late, started=late - jnp.uint32(5))
    paid = term.apply(state.replace(local=drawn), block)
    assert (np.abs(paid.reward[4] - paid.reward[3]) > 1e-4).all()
    assert paid.state.local.started.tolist() == [2] * 3  # -2 + 4, modulo 2**32


def test_metrics_of_millions_of_iterations_are_means():
    """Between two log points of a long run lie more iterations than float32 can add up."""
    done, more = 2.0**24, 3000
    value = np.float32(0.1)
    start = Tally.empty(1, 1)._replace(total=jnp.full((1, 1), done), counted=jnp.full((1, 1), done))

    @jax.jit
    def run(start):
        metrics = {"x": Mean(jnp.full(1, value), jnp.ones(1))}
        return jax.lax.fori_loop(0, more, lambda i, tally: tally.add(metrics, i), start)

    tally = run(start)
    assert abs(float(tally.counted[0, 0]) - (done + more)) <= 2
    assert abs(float(tally.total[0, 0]) - (done + more * np.float64(value))) <= 2
