"""Replay: its laws against a plain list, and windows against a plain loop."""

from functools import partial

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward.agents.common import replay
from jaxrl_reward.agents.off_policy import sac
from jaxrl_reward.types import UserError

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def block(start, steps, envs, end_every=0):
    """Steps numbered by time and environment, in several types."""
    time = np.arange(start, start + steps, dtype=np.int32)[:, None]
    env = np.arange(envs, dtype=np.int32)[None]
    number = time * 10 + env
    ends = (time + env) % end_every == 0 if end_every else np.zeros_like(number, bool)
    return {
        "number": number,
        "pixels": np.stack([number, number], -1).astype(np.uint8),
        "half": number.astype(np.float16),
        "last": ends,
        "none": np.zeros((steps, envs, 0), np.float32),
    }


@quick
def write(state, new):
    return replay.add(state, new)


def filled(rows, blocks, steps, envs, end_every=0):
    """A ring after some blocks, and a list of the rows it should hold, oldest first."""
    state = replay.init(rows, block(0, steps, envs))
    for i in range(blocks):
        state = write(state, block(i * steps, steps, envs, end_every))
    whole = block(0, blocks * steps, envs, end_every)
    return state, {k: v[-rows:] for k, v in whole.items()}


@partial(quick, static_argnums=1)
def draw_32(state, n, gamma):
    key, last = jax.random.key(0), lambda items: items["last"]
    window = replay.sample(state, key, batch_size=32, n_step=n, last=last)
    end, rewards = replay.at_end(window), window.items["number"].astype(jnp.float32)
    return window, end, replay.n_step_return(rewards, window.inside, end["last"], gamma)


def draw(state, n, gamma):
    return jax.tree.map(np.asarray, draw_32(state, n, jnp.float32(gamma)))


sizes = {
    # Rows in blocks, steps of a block, environments; each shape compiles anew.
    "shape": st.sampled_from([(1, 3, 2), (4, 1, 1), (4, 3, 2)]),
    "blocks": st.integers(1, 10),
}


@hypothesis.given(**sizes)
def test_the_newest_rows_are_kept_in_their_types(shape, blocks):
    """What goes in comes out, and the first in is the first out."""
    rows, steps, envs = shape
    state, kept = filled(rows * steps, blocks, steps, envs)
    assert state.size == kept["number"].size
    oldest = int(state.row) if blocks >= rows else 0
    for name, ring in state.items.items():
        assert ring.dtype == kept[name].dtype
        in_order = np.roll(np.asarray(ring), -oldest, axis=0)[: len(kept[name])]
        np.testing.assert_array_equal(in_order, kept[name])


@hypothesis.given(**sizes, n=st.sampled_from([1, 4]), end_every=st.integers(0, 4))
@hypothesis.settings(max_examples=20)
def test_windows_are_those_of_a_plain_loop(shape, blocks, n, end_every):
    """Never over an episode's end, nor from the newest row into the oldest."""
    rows, steps, envs = shape
    state, kept = filled(rows * steps, blocks, steps, envs, end_every)
    rewards, gamma = kept["number"].astype(np.float32), 0.9
    window, end, (total, weight) = draw(state, n, gamma)
    inside, items = window.inside, window.items
    for b in range(32):
        assert inside[0, b]
        start = items["number"][0, b]
        t, env = start // 10 - kept["number"][0, 0] // 10, start % 10
        expected, k = 0.0, 0
        while True:
            assert inside[k, b] and items["number"][k, b] == kept["number"][t + k, env]
            expected += gamma**k * rewards[t + k, env]
            over = kept["last"][t + k, env]
            k += 1
            if over or k == n or t + k == len(rewards):
                break
        assert not inside[k:, b].any()
        assert end["number"][b] == kept["number"][t + k - 1, env]
        np.testing.assert_allclose(total[b], expected, rtol=1e-5)
        np.testing.assert_allclose(weight[b], 0.0 if over else gamma**k, rtol=1e-5)


def test_steps_are_drawn_uniformly():
    """All that is stored, old and new, in each environment; nothing that is not."""
    for blocks in (2, 6):
        state, kept = filled(6, blocks, 2, 3)
        window = replay.sample(state, jax.random.key(1), 20_000)
        drawn = np.asarray(window.items["number"]).ravel()
        values, counts = np.unique(drawn, return_counts=True)
        np.testing.assert_array_equal(values, np.sort(kept["number"].ravel()))
        expected = 20_000 / kept["number"].size
        chi_squared = ((counts - expected) ** 2 / expected).sum()
        assert chi_squared < 45  # 17 degrees of freedom: p = 2e-4


def test_a_truncation_leaves_the_value_after_it():
    reward, inside = jnp.ones((2, 3)), jnp.array([[True] * 3, [True, False, True]])
    terminated = jnp.array([False, False, True])
    total, weight = replay.n_step_return(reward, inside, terminated, jnp.float32(0.5))
    np.testing.assert_allclose(total, [1.5, 1.0, 1.5])
    np.testing.assert_allclose(weight, [0.25, 0.5, 0.0])


def test_several_rings_at_once_are_each_by_itself():
    """Also when they stand at different rows."""
    rings = [filled(6, blocks, 2, 3, end_every=3)[0] for blocks in (1, 2, 5)]
    many = jax.tree.map(lambda *x: jnp.stack(x), *rings)
    keys = jax.random.split(jax.random.key(0), 3)
    draw = partial(replay.sample, batch_size=16, n_step=3, last=lambda items: items["last"])

    def use(state, key):
        state = replay.add(state, block(50, 2, 3))
        return state, draw(state, key)

    together = quick(jax.vmap(use))(many, keys)
    use = quick(use)
    alone = [use(ring, key) for ring, key in zip(rings, keys, strict=True)]
    jax.tree.map(
        np.testing.assert_array_equal, together, jax.tree.map(lambda *x: jnp.stack(x), *alone)
    )


def test_a_block_is_written_in_place():
    """A step's cost must not grow with the ring: the donated buffer is the result's."""

    def run(state):
        return jax.lax.fori_loop(0, 5, lambda i, s: replay.add(s, block(7, 2, 3)), state)

    state = replay.init(50_000, block(0, 2, 3))
    size = sum(x.nbytes for x in jax.tree.leaves(state))
    for function, example in (
        (run, state),
        (jax.vmap(run), jax.tree.map(lambda x: jnp.stack([x, x]), state)),
    ):
        compiled = jax.jit(function, donate_argnums=0).lower(example).compile()
        assert compiled.memory_analysis().temp_size_in_bytes < size / 100


def test_what_a_function_reads():
    """Also within what it compiles or loops over."""
    tree = {name: jnp.ones((3, 2)) for name in "abcde"}

    def reads(scale, t):
        def gather(total, row):
            return total + jax.tree.map(lambda x: x[row], t)["e"].sum(), ()

        total, _ = jax.lax.scan(gather, 0.0, jnp.arange(2))
        compiled = jax.jit(lambda used, unused: jnp.exp(used))(t["d"], t["b"])
        return jnp.sin(t["a"]) * scale, t["c"], compiled, total

    read = replay.read_by(reads, jnp.float32(2.0), tree)
    assert read == {"a": True, "b": False, "c": True, "d": True, "e": True}
    read = replay.read_by(lambda scale, t: reads(scale, t)[0], jnp.float32(2.0), tree)
    assert read == {"a": True, "b": False, "c": False, "d": False, "e": False}


def ring(buffer_size, num_steps, num_envs, batch_size):
    return sac.Config(
        buffer_size=buffer_size, num_steps=num_steps, num_envs=num_envs, batch_size=batch_size
    )


@pytest.mark.parametrize(
    "sizes,message",
    [
        (
            (100, 8, 4, 256),
            "sac's buffer_size=100 has no room for a batch of 256 steps "
            "(num_envs=4 x num_steps=8 at a time); use at least 256",
        ),
        (
            (31, 8, 4, 4),
            "sac's buffer_size=31 has no room for a block of 32 steps "
            "(num_envs=4 x num_steps=8 at a time); use at least 32",
        ),
        ((2**31, 1, 1, 4), f"sac's buffer_size must be below {2**31}, not {2**31}"),
    ],
)
def test_sizes_that_cannot_be(sizes, message):
    with pytest.raises(UserError) as error:
        replay.rows("sac", ring(*sizes))
    assert str(error.value) == message


def test_rows_are_whole_blocks():
    assert replay.rows("sac", ring(100, 8, 4, 32)) == 24
    assert replay.rows("sac", ring(256, 8, 4, 256)) == 64
    assert replay.rows("sac", ring(10, 1, 3, 9)) == 3
