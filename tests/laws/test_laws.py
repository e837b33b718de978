"""The laws of the algebra, swept over every registered term."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrl_reward import rewards as rw
from jaxrl_reward.rewards.registry import Entry
from jaxrl_reward.types import Transition

T, N, D = 6, 3, 2
EXAMPLES = [(entry, kwargs) for entry in rw.entries() for kwargs in entry.examples]
TERMS = [
    pytest.param(entry.build(**kwargs), id=f"{entry.name}-{i}")
    for i, (entry, kwargs) in enumerate(EXAMPLES)
    if not issubclass(entry.build, rw.Episodic)
]
seeds = st.integers(0, 2**31 - 1)


def block_of(seed: int) -> Transition:
    """A random block whose episodes end, in both ways, within it."""
    rng = np.random.default_rng(seed)
    terminated = rng.random((T, N)) < 0.2
    truncated = rng.random((T, N)) < 0.2
    first = np.concatenate([np.ones((1, N), bool), (terminated | truncated)[:-1]])
    reward = rng.normal(size=(T, N)).astype(np.float32)
    next_obs = rng.normal(size=(T, N, D)).astype(np.float32)
    fresh = rng.normal(size=(T, N, D)).astype(np.float32)
    before = np.concatenate([fresh[:1], next_obs[:-1]])
    obs = np.where(first[..., None], fresh, before)
    action = rng.integers(0, 2, (T, N)).astype(np.int32)
    block = Transition(obs, action, reward, reward, next_obs, first, terminated, truncated)
    return jax.tree.map(jnp.asarray, block)


@functools.cache
def compiled(text: str):
    term = next(p.values[0] for p in TERMS if str(p.values[0]) == text)
    return jax.jit(term.apply)


def apply(term, state, block):
    return compiled(str(term))(state, block)


def start(term, seed=0):
    return term.init(jax.random.key(seed), block_of(0))


def close(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-5)


def cut(block, rows):
    return jax.tree.map(lambda x: x[rows], block)


@pytest.mark.parametrize("term", TERMS)
@given(seed=seeds)
def test_block_invariance(term, seed):
    block, state = block_of(seed), start(term)
    whole = apply(term, state, block)
    rewards, shared, local = [], state.shared, state.local
    for t in range(T):
        out = apply(term, rw.State(shared, local), cut(block, slice(t, t + 1)))
        rewards.append(out.reward)
        local = out.state.local
    close(whole.reward, jnp.concatenate(rewards))
    close(whole.state.local, local)


@pytest.mark.parametrize("term", TERMS)
@given(seed=seeds)
def test_environments_are_equivariant(term, seed):
    block, state = block_of(seed), start(term)
    order = np.random.default_rng(seed).permutation(N)
    moved = apply(
        term,
        state.replace(local=jax.tree.map(lambda x: x[order], state.local)),
        jax.tree.map(lambda x: x[:, order], block),
    )
    close(moved.reward, apply(term, state, block).reward[:, order])


@pytest.mark.parametrize("term", TERMS)
@given(seed=seeds)
def test_episodes_are_isolated(term, seed):
    block, other, state = block_of(seed), block_of(seed + 1), start(term)
    ends = np.flatnonzero(np.asarray(block.last[:-1, 0]))
    boundary = int(ends[0]) + 1 if ends.size else T
    edited = jax.tree.map(lambda x, y: x.at[boundary:, 0].set(y[boundary:, 0]), block, other)
    edited = edited.replace(first=block.first)
    out = apply(term, state, block).reward
    close(apply(term, state, edited).reward[:boundary, 0], out[:boundary, 0])
    earlier = jax.tree.map(lambda x, y: x.at[:boundary, 0].set(y[:boundary, 0]), block, other)
    earlier = earlier.replace(first=block.first)
    close(apply(term, state, earlier).reward[boundary:, 0], out[boundary:, 0])


@pytest.mark.parametrize("term", TERMS)
@given(seed=seeds)
def test_relabel_reproduces_apply(term, seed):
    block, state = block_of(seed), start(term)
    out = apply(term, state, block)
    order = np.random.default_rng(seed).permutation(T * N)
    batch, features = jax.tree.map(
        lambda x: x.reshape(T * N, *x.shape[2:])[order], (block, out.features)
    )
    close(term.relabel(state.shared, batch, features), out.reward.reshape(-1)[order])


@pytest.mark.parametrize("term", TERMS)
def test_env_is_the_unit_of_the_chain_and_sums_commute(term):
    block, state = block_of(1), start(term)
    out = apply(term, state, block).reward
    unit = start(rw.env())
    pair = rw.State((state.shared, unit.shared), (state.local, unit.local))
    flipped = rw.State(pair.shared[::-1], pair.local[::-1])
    close((term | rw.env()).apply(pair, block).reward, out)
    close((rw.env() | term).apply(flipped, block).reward, out)
    close((term + 0).apply(pair, block).reward, out)
    close((term + rw.env()).apply(pair, block).reward, (rw.env() + term).apply(flipped, block)[1])


@pytest.mark.parametrize("term", TERMS)
def test_state_is_stable_and_no_gradient_reaches_shared(term):
    block, state = block_of(3), start(term)
    after = apply(term, state, block).state
    learned, _ = term.learn(after, jax.random.key(1), block)
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), s) for s in (state, after, learned)]
    assert shapes[0] == shapes[1] == shapes[2]
    if isinstance(term, rw.Learned):

        def total(params):
            shared = state.shared.replace(params=params)
            return term.apply(state.replace(shared=shared), block).reward.sum()

        assert not any(np.any(g) for g in jax.tree.leaves(jax.grad(total)(state.shared.params)))


@pytest.mark.parametrize("term", TERMS)
def test_vmap_over_seeds_equals_a_loop(term):
    blocks = [block_of(i) for i in range(3)]
    states = [start(term, i) for i in range(3)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *zip(states, blocks, strict=True))
    many = jax.jit(jax.vmap(lambda s, b: term.apply(s, b).reward))(*stacked)
    for i in range(3):
        close(many[i], apply(term, states[i], blocks[i]).reward)


def test_hyper_parameters_are_leaves_and_compile_once():
    traces = 0

    @jax.jit
    def run(reward, state, block):
        nonlocal traces
        traces += 1
        return reward.apply(state, block).reward

    block = block_of(0)
    for low in (-0.5, -0.1):
        reward = jax.tree.map(jnp.float32, 2.0 * rw.env() | rw.clip(low, 1.0))
        state = reward.init(jax.random.key(0), block)
        np.testing.assert_allclose(
            run(reward, state, block), np.clip(2 * block.env_reward, low, 1), rtol=1e-6
        )
    assert traces == 1


@pytest.mark.parametrize("term", TERMS)
def test_text_round_trip(term):
    assert str(rw.parse(str(term))) == str(term)
    assert jax.tree.structure(rw.parse(str(term))) == jax.tree.structure(term)


def test_every_term_is_documented():
    assert all(isinstance(e, Entry) and len(e.summary) > 4 for e in rw.entries())


def test_shaping_telescopes():
    """With gamma = 1 the shaping of an episode sums to Phi(end) - Phi(start)."""
    reward = rw.potential("first", gamma=1.0)
    block = block_of(5)
    first = jnp.zeros((T, N), bool).at[0].set(True)
    obs = jnp.concatenate([block.obs[:1], block.next_obs[:-1]])
    no = jnp.zeros((T, N), bool)
    block = block.replace(obs=obs, first=first, terminated=no, truncated=no)
    out = reward.apply(start(reward), block).reward.sum(0)
    np.testing.assert_allclose(out, block.next_obs[-1, :, 0] - obs[0, :, 0], atol=1e-5)
    over = block.replace(terminated=no.at[-1].set(True))
    out = reward.apply(start(reward), over).reward.sum(0)
    np.testing.assert_allclose(out, -obs[0, :, 0], atol=1e-5)
