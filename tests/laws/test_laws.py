"""The laws of the algebra, swept over every registered term.

A new term is tested by being registered; `HYPOTHESIS_PROFILE=full` tries harder.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl_reward import rewards as rw
from jaxrl_reward.types import Transition

T, N, D = 6, 3, 2


class fading(rw.Causal):  # noqa: N801
    """The running reward, less of it at every step: an effect that replay must store."""

    name = "fading"
    rate: float = 0.5

    def begin_one(self, shared, obs):
        return jnp.float32(1.0)

    def step(self, shared, local, transition):
        return self.rate * local, rw.Affine(local, -local)


@rw.episodic
def share_of_return(block, episodes):
    "The episode's mean reward, at each of its steps."
    return episodes.sum(block.reward) / episodes.length()


# These take the vector of a `stack`; of one reward they would be trivial.
OF_VECTORS = (
    rw.Scalariser,
    rw.chebyshev_return,
    rw.copo,
    rw.crf,
    rw.direction,
    rw.drpo,
    rw.empg,
    rw.gated,
    rw.hypervolume_weight,
    rw.jepo,
    rw.lagrangian,
    rw.likelihood,
    rw.on_scratch,
    rw.pav,
    rw.pear,
    rw.prime,
    rw.renorm,
    rw.trust,
)


def instance(entry, kwargs):
    term = entry.build(**kwargs)
    if isinstance(term, rw.bnpo):  # of returns in [0, 1]
        return rw.named("objectives", rw.group_win_rate() | term)
    if not isinstance(term, OF_VECTORS):
        return term
    parts = [rw.env(), rw.env() | rw.scale(-0.5)] + [rw.env()] * isinstance(term, rw.pear)
    return rw.named("objectives", rw.stack(*parts) | term)


def together(terms):
    """One expression of many terms, so that one program tests them all."""
    named = [rw.named(f"term{i}", getattr(term, "term", term)) for i, term in enumerate(terms)]
    return sum(named[1:], start=named[0])


def is_grouped(term):
    """Whether the term itself, not a part of it, is a rule for groups."""
    last = term.term.parts[-1] if isinstance(term, rw.named) and term.term.children() else term
    return isinstance(last, rw.Grouped)


EVERY = [instance(entry, kwargs) for entry in rw.entries() for kwargs in entry.examples]
GROUPED = [term for term in EVERY if is_grouped(term)]
GROUPS = together(GROUPED)
REGISTERED = [*(term for term in EVERY if not is_grouped(term)), GROUPS]
EPISODIC = [term for term in REGISTERED if rw.needs_episodes(term)]
STEPWISE = [fading(), *(term for term in REGISTERED if not rw.needs_episodes(term))]
name_of = lambda term: "groups" if term is GROUPS else str(term)  # noqa: E731
UNGROUPED = [*STEPWISE, *(term for term in EPISODIC if term is not GROUPS)]
# All rules for groups are one program, which takes some ten seconds to compile.
ALL = [*UNGROUPED, pytest.param(GROUPS, marks=pytest.mark.slow)]
every_term = pytest.mark.parametrize("term", ALL, ids=name_of)
every_stepwise_term = pytest.mark.parametrize("term", STEPWISE, ids=str)
seeds = st.integers(0, 2**31 - 1)
# Every example is a block of several episodes, each with its own ends.
some = settings(max_examples=max(3, settings.default.max_examples // 2))
# How operators combine what their parts give does not depend on the block.
few = settings(max_examples=max(3, settings.default.max_examples // 8))


def block_of(seed, whole=False):
    """A random block whose episodes end, in both ways, within it; all of them if `whole`."""
    rng = np.random.default_rng(seed)
    terminated, truncated = rng.random((T, N)) < 0.2, rng.random((T, N)) < 0.2
    terminated[-1] |= whole
    first = np.concatenate([np.ones((1, N), bool), (terminated | truncated)[:-1]])
    reward = rng.normal(size=(T, N)).astype(np.float32)
    next_obs, fresh = rng.normal(size=(2, T, N, D)).astype(np.float32)
    before = np.concatenate([fresh[:1], next_obs[:-1]])
    obs = np.where(first[..., None], fresh, before)
    action = rng.integers(0, 2, (T, N)).astype(np.int32)
    policy = {"entropy": rng.random((T, N)).astype(np.float32)}
    ends = (terminated, truncated)
    return Transition(obs, action, reward, reward, next_obs, first, *ends, policy=policy)


def block_for(term, seed):
    return block_of(seed, whole=rw.needs_episodes(term))


# What runs for microseconds need not be compiled for seconds.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
TERMS = {str(term): term for term in STEPWISE + EPISODIC}


TRACED = []


@quick
def program(term, state, block):
    TRACED.append(term)
    return term.apply(state, block)


def apply(term, state, block):
    """The term's numbers are arguments, so one program serves all values of them."""
    return jax.tree.map(np.asarray, program(jax.tree.map(np.float32, term), state, block))


@cache
def started(text, seed):
    def init(key):
        return TERMS[text].init(key, block_of(0))

    if not isinstance(TERMS[text], rw.Learned):
        return jax.tree.map(np.asarray, init(jax.random.key(seed)))
    # Orthogonal matrices take seconds to compile, and any parameters will do.
    state, rng = jax.eval_shape(init, jax.random.key(seed)), np.random.default_rng(seed)
    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), state)
    params = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), state.shared.params)
    return state.replace(shared=state.shared.replace(params=params))


def start(term, seed=0):
    return started(str(term), seed)


def close(a, b, tolerance=2e-5):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        x, y = np.asarray(x), np.asarray(y)
        plain = x.shape == y.shape and x.dtype == y.dtype == np.float32
        if not plain or not (np.abs(x - y) <= tolerance * (1 + np.abs(y))).all():
            # Ten times as slow, but it says what differs.
            np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def rows(block, which):
    return jax.tree.map(lambda x: x[which], block)


def edit(block, other, which):
    """`block` with those rows of environment 0 that `which` selects from `other`."""

    def leaf(x, y):
        x = x.copy()
        x[which, 0] = y[which, 0]
        return x

    return jax.tree.map(leaf, block, other).replace(first=block.first)


# ---- blocks ----------------------------------------------------------------------------


@every_stepwise_term
@some
@given(seed=seeds)
def test_block_invariance(term, seed):
    """Steps one by one earn what the block earns, from the same shared state."""
    block, state = block_of(seed), start(term)
    whole = apply(term, state, block)
    rewards, local = one_by_one(str(term))(state, block)
    close(whole.reward, rewards)
    close(whole.state.local, local)


@cache
def one_by_one(text):
    def steps(state, block):
        def step(local, transition):
            row = jax.tree.map(lambda x: x[None], transition)
            out = TERMS[text].apply(state.replace(local=local), row)
            return out.state.local, out.reward[0]

        local, rewards = jax.lax.scan(step, state.local, block)
        return rewards, local

    return quick(steps)


@every_term
@some
@given(seed=seeds)
def test_environments_are_equivariant(term, seed):
    if term is GROUPS:
        return  # a law below the scope of groups, which may be numbered
    block, state = block_for(term, seed), start(term)
    order = np.random.default_rng(seed).permutation(N)
    moved = apply(
        term,
        state.replace(local=rows(state.local, order)),
        jax.tree.map(lambda x: x[:, order], block),
    )
    close(moved.reward, apply(term, state, block).reward[:, order])


@every_term
@some
@given(seed=seeds)
def test_episodes_are_isolated(term, seed):
    """What is before a boundary does not depend on what is after it, nor after on before."""
    block, other, state = block_for(term, seed), block_for(term, seed + 1), start(term)
    ends = np.flatnonzero(block.last[:-1, 0])
    boundary = int(ends[0]) + 1 if ends.size else T
    out = apply(term, state, block).reward
    later = apply(term, state, edit(block, other, np.arange(boundary, T))).reward
    close(later[:boundary, 0], out[:boundary, 0])
    earlier = apply(term, state, edit(block, other, np.arange(boundary))).reward
    close(earlier[boundary:, 0], out[boundary:, 0])


# ---- replay ----------------------------------------------------------------------------


@every_stepwise_term
@some
@given(seed=seeds)
def test_relabel_reproduces_apply(term, seed):
    block, state = block_of(seed), start(term)
    out = apply(term, state, block)
    order = np.random.default_rng(seed).permutation(T * N)
    batch, features = jax.tree.map(
        lambda x: x.reshape(T * N, *x.shape[2:])[order], (block, out.features)
    )
    again = relabeller(str(term))(state.shared, batch, features)
    close(again, out.reward.reshape(-1)[order])


@cache
def relabeller(text):
    return quick(TERMS[text].relabel)


def test_relabel_is_exact_after_an_earlier_stage_has_moved_on():
    """history | learned | history | bounded, with the learned stage trained in between."""
    term = rw.counts(buckets=16) + rw.rnd() | fading() | rw.clip(-0.8, 0.8)
    block = block_of(0)
    state = quick(lambda key: term.init(key, block))(jax.random.key(0))
    before = apply(term, state, block)
    features = before.features
    moved, _ = quick(term.learn)(state, jax.random.key(1), block)
    now = apply(term, moved, block).reward
    assert np.abs(now - before.reward).max() > 1e-3
    flat = jax.tree.map(lambda x: x.reshape(T * N, *x.shape[2:]), (block, features))
    close(quick(term.relabel)(moved.shared, *flat).reshape(T, N), now)
    assert rw.replay_problem(term) is None


def test_what_replay_cannot_recompute_is_told():
    assert rw.replay_problem(rw.env() | rw.delay()) is None
    assert "delay" in rw.replay_problem(rw.rnd() | rw.delay())
    assert "whole episodes" in rw.replay_problem(rw.env() + share_of_return())


# ---- the algebra -----------------------------------------------------------------------


def pair(a, b):
    """The state of `a + b` or `a | b`."""
    return rw.State((a.shared, b.shared), (a.local, b.local))


class once(rw.RewardTransform):  # noqa: N801
    """A term whose one compiled program serves every expression around it."""

    term: rw.RewardTransform

    def apply(self, state, block):
        return apply(self.term, state, block)


@every_term
@few
@given(seed=seeds)
def test_sums_commute_and_scale(term, seed):
    block, state, unit = block_for(term, seed), start(term), start(rw.env())
    reward = apply(term, state, block).reward
    k, env, both, term = rw.constant(0.5), rw.env(), pair(state, unit), once(term)
    close(run(term + env, both, block), reward + block.reward)
    close(run(env + term, pair(unit, state), block), reward + block.reward)
    # k * (a + b) has the state (k, (a, b)), and k * a + k * b ((k, a), (k, b)).
    scaled = run(k * (term + env), pair(unit, both), block)
    close(scaled, run(k * term + k * env, pair(pair(unit, state), pair(unit, unit)), block))
    close(scaled, 0.5 * (reward + block.reward))


def run(expression, state, block):
    return expression.apply(state, block).reward


@every_term
def test_env_is_the_unit_of_the_chain_and_zero_that_of_the_sum(term):
    block, state, unit = block_for(term, 1), start(term), start(rw.env())
    reward = apply(term, state, block).reward
    term = once(term)
    close(run(term | rw.env(), pair(state, unit), block), reward)
    close(run(rw.env() | term, pair(unit, state), block), reward)
    close(run(term + 0, pair(state, unit), block), reward)


def test_chains_and_sums_are_associative():
    a, b, c = rw.scale(2.0), rw.counts(), rw.clip(-1, 1)
    assert str((a | b) | c) == str(a | (b | c)) == "scale(by=2) | counts() | clip()"
    assert jax.tree.structure((a | b) | c) == jax.tree.structure(a | (b | c))
    assert jax.tree.structure((a + b) + c) == jax.tree.structure(a + (b + c))
    assert jax.tree.structure((a * b) * c) == jax.tree.structure(a * (b * c))


def test_operators_compute_what_they_say():
    block = block_of(0)
    r = block.reward

    def value(expression):
        return expression.apply(expression.init(jax.random.key(0), block), block).reward

    close(value(rw.env() - 3 * rw.env()), -2 * r)
    close(value(1 - rw.env()), 1 - r)
    close(value(rw.env() * rw.env() | rw.scale(2.0)), 2 * r**2)
    close(value(-(rw.env() + 1) | rw.sign()), np.sign(-r - 1))
    close(value(rw.where(rw.threshold(), rw.env(), -1)), np.where(r >= 0, r, -1))
    two = rw.stack(rw.env(), rw.env() | rw.scale(2.0))
    close(value(two), np.stack([r, 2 * r], -1))
    close(value(two | rw.weighted_sum((1.0, 10.0))), 21 * r)


# ---- state, seeds, numbers -------------------------------------------------------------


@every_term
def test_state_is_stable_and_no_gradient_reaches_shared(term):
    block, state = block_for(term, 3), start(term)
    after = apply(term, state, block).state
    learned, _ = jax.eval_shape(term.learn, after, jax.random.key(1), block)
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), s) for s in (state, after, learned)]
    assert shapes[0] == shapes[1] == shapes[2]
    if isinstance(term, rw.Learned):

        def total(params):
            shared = state.shared.replace(params=params)
            return term.apply(state.replace(shared=shared), block).reward.sum()

        assert not uses_its_input(jax.make_jaxpr(jax.grad(total))(state.shared.params).jaxpr)


def uses_its_input(jaxpr):
    """Whether any output of a traced program depends on any input: zeros do not.

    Tracing a gradient takes a hundredth of the time of compiling it.
    """
    needed = set(map(id, jaxpr.outvars))
    for equation in reversed(jaxpr.eqns):
        if needed & set(map(id, equation.outvars)):
            needed |= set(map(id, equation.invars))
    return bool(needed & set(map(id, jaxpr.invars)))


def test_a_gradient_that_reaches_the_parameters_would_be_seen():
    f = lambda x, y: (x * jax.lax.stop_gradient(y)).sum()  # noqa: E731
    x, y = jnp.ones(2), jnp.ones(2)
    assert uses_its_input(jax.make_jaxpr(lambda y: jax.grad(f, 0)(x, y))(y).jaxpr)
    assert not uses_its_input(jax.make_jaxpr(lambda y: jax.grad(f, 1)(x, y))(y).jaxpr)


@every_term
def test_beginning_twice_is_beginning_once(term):
    if type(term).begin is rw.RewardTransform.begin:
        return  # there is nothing to begin
    block, state = block_for(term, 4), start(term)
    begin = quick(lambda state: term.begin(state, block.obs[0], block.first[0]))
    once = begin(state)
    close(begin(once), once)


@every_term
def test_vmap_over_seeds_and_numbers_is_a_loop(term):
    """Expressions of one structure stack; a batch of them compiles once, and so does a loop."""
    # One seed at two values, and one value at two seeds.
    lanes = [(1.0, 0), (1.5, 0), (1.5, 1)]
    terms = [jax.tree.map(lambda x, k=k: np.float32(x * k), term) for k, _ in lanes]
    blocks = [block_for(term, i) for _, i in lanes]
    if isinstance(term, rw.Learned):  # whose parameters take long to initialise
        states = [start(term, i) for _, i in lanes]
    else:
        keys = [jax.random.key(i) for _, i in lanes]
        states = [t.init(k, b) for t, k, b in zip(terms, keys, blocks, strict=True)]
    traced = len(TRACED)
    each = [apply(*lane).reward for lane in zip(terms, states, blocks, strict=True)]
    assert len(TRACED) <= traced + 1
    stacked = jax.tree.map(lambda *x: np.stack(x), *zip(terms, states, blocks, strict=True))
    many = quick(jax.vmap(lambda term, state, block: term.apply(state, block).reward))
    close(many(*stacked), np.stack(each))
    seeds = jax.random.split(jax.random.key(0), 2)
    alone = jax.eval_shape(term.init, seeds[0], blocks[0])
    both = jax.eval_shape(jax.vmap(lambda key: term.init(key, blocks[0])), seeds)
    close(jax.tree.map(lambda x: (2, *x.shape), alone), jax.tree.map(lambda x: x.shape, both))


@pytest.mark.parametrize("term", [*UNGROUPED, *GROUPED], ids=name_of)
def test_text_round_trip(term):
    if term.name != "fading":  # not registered
        assert str(rw.parse(str(term))) == str(term)
        assert jax.tree.structure(rw.parse(str(term))) == jax.tree.structure(term)


def test_every_term_is_documented():
    assert all(len(entry.summary) > 4 for entry in rw.entries())
