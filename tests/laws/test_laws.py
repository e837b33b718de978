"""The laws of the algebra, swept over every registered term.

A new term is tested by being registered; `HYPOTHESIS_PROFILE=full` tries harder. The laws
themselves are `jaxrl_reward.testing`'s.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl_reward import rewards as rw
from jaxrl_reward.testing import terms as laws
from jaxrl_reward.testing.same import same
from jaxrl_reward.testing.terms import N, T, quick


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
    rw.constrained,
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


@cache
def of(term):
    return laws.Tested(term, any_parameters=True)


def close(a, b):
    same("both are equal", a, b)


@every_stepwise_term
@some
@given(seed=seeds)
def test_block_invariance(term, seed):
    laws.block_invariance(of(term), seed)


@every_term
@some
@given(seed=seeds)
def test_environments_are_equivariant(term, seed):
    laws.equivariance(of(term), seed)


@every_term
@some
@given(seed=seeds)
def test_episodes_are_isolated(term, seed):
    laws.isolation(of(term), seed)


@every_stepwise_term
@some
@given(seed=seeds)
def test_relabel_reproduces_apply(term, seed):
    laws.relabelling(of(term), seed)


@every_term
@few
@given(seed=seeds)
def test_sums_commute_and_scale(term, seed):
    laws.sums(of(term), seed)


@every_term
def test_env_is_the_unit_of_the_chain_and_zero_that_of_the_sum(term):
    laws.units(of(term), 1)


@every_term
def test_state_is_stable_and_no_gradient_reaches_shared(term):
    laws.stability(of(term), 3)
    laws.no_gradient(of(term), 3)


@every_term
def test_beginning_twice_is_beginning_once(term):
    laws.beginning(of(term), 4)


@every_term
def test_vmap_over_seeds_and_numbers_is_a_loop(term):
    """Expressions of one structure stack; a batch of them compiles once, and so does a loop."""
    laws.mapped(of(term), 0)


@pytest.mark.parametrize("term", [*UNGROUPED, *GROUPED], ids=name_of)
def test_text_round_trip(term):
    laws.round_trip(of(term), 0)


@every_term
def test_the_trial_on_shapes_passes(term):
    rw.trial.parts(term, of(term).example)


# ---- what holds of some ------------------------------------------------------------------


def test_relabel_is_exact_after_an_earlier_stage_has_moved_on():
    """history | learned | history | bounded, with the learned stage trained in between."""
    term = rw.counts(buckets=16) + rw.rnd() | fading() | rw.clip(-0.8, 0.8)
    block = laws.random_block(0)
    state = quick(lambda key: term.init(key, block))(jax.random.key(0))
    before = quick(term.apply)(state, block)
    features = before.features
    moved, _ = quick(term.learn)(state, jax.random.key(1), block)
    now = quick(term.apply)(moved, block).reward
    assert np.abs(now - before.reward).max() > 1e-3
    flat = jax.tree.map(lambda x: x.reshape(T * N, *x.shape[2:]), (block, features))
    close(quick(term.relabel)(moved.shared, *flat).reshape(T, N), now)
    assert rw.replay_problem(term) is None


def test_what_replay_cannot_recompute_is_told():
    assert rw.replay_problem(rw.env() | rw.delay()) is None
    assert "delay" in rw.replay_problem(rw.rnd() | rw.delay())
    assert "whole episodes" in rw.replay_problem(rw.env() + share_of_return())


def test_chains_and_sums_are_associative():
    a, b, c = rw.scale(2.0), rw.counts(), rw.clip(-1, 1)
    assert str((a | b) | c) == str(a | (b | c)) == "scale(by=2) | counts() | clip()"
    assert jax.tree.structure((a | b) | c) == jax.tree.structure(a | (b | c))
    assert jax.tree.structure((a + b) + c) == jax.tree.structure(a + (b + c))
    assert jax.tree.structure((a * b) * c) == jax.tree.structure(a * (b * c))


def test_operators_compute_what_they_say():
    block = laws.random_block(0)
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


def test_a_gradient_that_reaches_the_parameters_would_be_seen():
    f = lambda x, y: (x * jax.lax.stop_gradient(y)).sum()  # noqa: E731
    x, y = jnp.ones(2), jnp.ones(2)
    assert laws.uses_its_input(jax.make_jaxpr(lambda y: jax.grad(f, 0)(x, y))(y).jaxpr)
    assert not laws.uses_its_input(jax.make_jaxpr(lambda y: jax.grad(f, 1)(x, y))(y).jaxpr)


def test_every_term_is_documented():
    assert all(len(entry.summary) > 4 for entry in rw.entries())
