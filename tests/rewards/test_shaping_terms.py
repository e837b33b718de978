"""Shaping that moves, is learnt or knows the action: literal numbers, and exact planning.

Every invariant form leaves the optimal policies of 10,000 random MDPs as they are; every
mistake changes some.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward.rewards.core import potentials
from jaxrl_reward.rewards.shaping import potential_based as shaping
from jaxrl_reward.types import Transition, UserError

S, A, GAMMA, MANY = 4, 2, 0.7, 10_000


# ---- numbers by hand --------------------------------------------------------------------


def test_a_dynamic_potential_takes_back_what_it_gave(block_of):
    """Weights 1 in the first block of three steps, then 1/2: Phi is the position."""
    block = block_of([0.0] * 5, ends=[3], obs=[[1], [2], [4], [8], [3], [6]])
    term = rw.dynamic_potential("first", gamma=1.0, end=0.0, steps=6)
    first, rest = (jax.tree.map(lambda x, r=r: x[r], block) for r in (slice(3), slice(3, 5)))
    state = term.init(jax.random.key(0), block)
    out = term.apply(state, first)
    np.testing.assert_allclose(out.reward[:, 0], [2 - 1, 4 - 2, 8 - 4])
    later = term.apply(out.state, rest)
    # 8 was given at weight 1, and is taken back so; the new episode begins at weight 1/2.
    np.testing.assert_allclose(later.reward[:, 0], [-8.0, -0.5 * 3])
    assert int(later.state.shared) == 5


@pytest.mark.slow
def test_a_learned_potential_is_the_value_of_what_is_played(block_of, learnt):
    """One step, then an end that pays 1: V(first) = gamma, V(second) = 1."""
    block = block_of([0.0, 1.0] * 8, ends=range(1, 16, 2), obs=[[0.0], [1.0]] * 8 + [[0.0]])
    term = rw.learned_potential(gamma=0.5, width=16, updates=300, learning_rate=0.01)
    pays, _ = learnt(term, block)
    np.testing.assert_allclose(pays[1, 0, 0], 0.5 * 1.0 - 0.5, atol=0.05)
    np.testing.assert_allclose(pays[1, 1, 0], 0.0 - 1.0, atol=0.05)


def test_advice_is_paid_at_once_or_with_the_next_action(block_of, paid):
    block = block_of([0.0] * 4, ends=[2], action=[1, 3, 2, 5])
    back = rw.look_back("action", gamma=0.5)
    np.testing.assert_allclose(paid(back, block), [1, 3 - 1 / 0.5, 0 - 3 / 0.5, 0.0])
    cut = block_of([0.0] * 4, ends=[2], truncated=True, action=[1, 3, 2, 5])
    np.testing.assert_allclose(paid(back, cut), [1, 1, 2 - 3 / 0.5, 5])
    ahead = rw.look_ahead("action", gamma=0.5)
    np.testing.assert_allclose(paid(ahead, block), [0.5 * 3 - 1, 0.5 * 2 - 3, -2, -5])


def test_a_difference_is_what_one_of_a_team_did(block_of, paid):
    block = block_of([0.0], action=np.array([[0.75, 0.5]]))
    # Minus the squared distance of the sum from 1: with 0.25 too much.
    whole = -(0.25**2)
    np.testing.assert_allclose(paid(rw.difference("sum_to_one"), block), [whole + 0.5**2])
    second = rw.difference("sum_to_one", agent=2, default=0.25)
    np.testing.assert_allclose(paid(second, block), [whole - 0.0], atol=1e-6)


def test_mistakes_pay_what_is_said(block_of, paid):
    block = block_of([0.0] * 3, ends=[1], obs=[[1], [2], [-3], [4]])
    cut = block_of([0.0] * 3, ends=[1], truncated=True, obs=[[1], [2], [-3], [4]])

    def of(mistake, block=block):
        return paid(rw.mistaken_potential("first", mistake, gamma=0.5), block)

    np.testing.assert_allclose(of("undiscounted"), [1, -2, 3])
    np.testing.assert_allclose(of("unended"), [0, -3.5, 5])
    np.testing.assert_allclose(of("gains"), [0, 0, 3])
    np.testing.assert_allclose(of("clocked", cut), [0, -2, 3])
    np.testing.assert_allclose(paid(rw.potential("first", gamma=0.5), cut), [0, -3.5, 5])


def test_names_are_checked():
    with pytest.raises(UserError, match="did you mean 'action'"):
        rw.look_back("actoin")
    with pytest.raises(UserError, match="did you mean 'gains'"):
        rw.mistaken_potential("first", "gain")
    with pytest.raises(UserError, match="unknown potential"):
        rw.dynamic_potential("nowhere")
    assert str(rw.parse("difference('sum_to_one', agent=2)")).endswith("agent=2)")
    car = potentials.advice("mountain_car_push")
    pushes = [float(car(jnp.array([0.0, v]), jnp.array(a))) for v, a in ((-1, 0), (-1, 2), (1, 2))]
    assert pushes == [1.0, 0.0, 1.0]


# ---- exact planning ---------------------------------------------------------------------


def worlds(seed=0):
    """Random MDPs `[M, ...]`: probabilities `[M, S, A, S']`, rewards, ends `[M, S]`, tables."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.ones(S), (MANY, S, A))
    reward, ends = rng.normal(size=(MANY, S, A)), rng.random((MANY, S)) < 0.3
    table = rng.normal(size=(MANY, S, A))
    return tuple(
        x.astype(np.float32) if x.dtype != bool else x for x in (transition, reward, ends, table)
    )


def transitions(ends):
    """Every step of one MDP as a transition, `[S, A, S']`; states are observed as one-hot."""
    before, action, after = jnp.indices((S, A, S))
    one_hot = jnp.eye(S)
    zero, no = jnp.zeros((S, A, S)), jnp.zeros((S, A, S), bool)
    over = jnp.broadcast_to(ends, (S, A, S))
    return Transition(one_hot[before], action, zero, zero, one_hot[after], no, over, no)


def each(function, ends, *more):
    """A function of one transition, of all of them."""
    over = jax.vmap(jax.vmap(jax.vmap(function)))
    return over(transitions(ends), *more)


def planned(transition, reward, ends, extra):
    """Optimal q `[S, A]` where `reward + extra` is paid, `extra` `[S, A, S']`."""
    own = reward + (transition * extra).sum(-1)

    def backup(values, _):
        q = own + GAMMA * transition @ jnp.where(ends, 0.0, values)
        return q.max(-1), q

    return jax.lax.scan(backup, jnp.zeros(S), None, length=60)[1][-1]


def same_actions(q, plain):
    """Where it is clear which action is best, it still is."""
    gap = np.abs(np.diff(np.sort(plain, -1)[..., -2:]))[..., 0]
    clear = gap > 1e-3
    assert clear.mean() > 0.9
    return (np.asarray(q).argmax(-1) == np.asarray(plain).argmax(-1))[clear]


@pytest.fixture(scope="module")
def plain():
    none = jnp.zeros((S, A, S))
    solve = jax.jit(jax.vmap(lambda t, r, e: planned(t, r, e, none)))
    return np.asarray(solve(*worlds()[:3]))


def test_potentials_that_move_keep_the_optimal_policies():
    """Planning backwards over five steps, of which the last ends, each with its own weight."""
    counts, horizon = jnp.array([0, 7, 3, 9, 1]), 5

    def solve(transition, reward, ends, table):
        term = rw.dynamic_potential(
            lambda obs: (table[:, 0] * obs).sum(), gamma=GAMMA, start=1.0, end=-2.0, steps=8.0
        )
        phi = jax.vmap(lambda obs: term._given(counts, obs), out_axes=1)(jnp.eye(S))  # [H, S]

        def backup(values, t):
            shaped, own = values
            held = phi[jnp.maximum(t - 1, 0)]  # at the start, that of the first block
            over = ends | (t == horizon - 1)
            held = jnp.broadcast_to(held[:, None, None], (S, A, S))
            extra = each(lambda step, h: term.step(counts[t], h, step)[1], over, held)
            q = reward + GAMMA * transition @ jnp.where(over, 0.0, own)
            moved = reward + (transition * extra).sum(-1)
            moved += GAMMA * transition @ jnp.where(over, 0.0, shaped)
            return (moved.max(-1), q.max(-1)), (moved, q, held[:, :, 0])

        zero = jnp.zeros(S)
        return jax.lax.scan(backup, (zero, zero), jnp.arange(horizon), reverse=True)[1]

    moved, own, held = map(np.asarray, jax.jit(jax.vmap(solve))(*worlds()))
    np.testing.assert_allclose(moved, own - held, atol=1e-4)
    assert same_actions(moved, own).all()


def test_look_back_keeps_the_optimal_policies(plain):
    """Planning on (state, what was given for the last action)."""

    def solve(transition, reward, ends, table):
        term = rw.look_back(lambda obs, action: table[obs.argmax(), action], gamma=GAMMA)
        given = jnp.append(table.reshape(-1), 0.0)  # the last: there was no action yet

        def of(held):
            return each(lambda step: term.step((), held, step)[1], ends)

        own = reward[None] + (transition[None] * jax.vmap(of)(given)).sum(-1)  # [M, S, A]
        memory = jnp.arange(S * A).reshape(S, A)

        def backup(values, _):  # [M, S']
            after = jnp.where(ends[None], 0.0, values)[memory]  # [S, A, S']
            q = own + GAMMA * (transition * after).sum(-1)[None]
            return q.max(-1), q

        return jax.lax.scan(backup, jnp.zeros((S * A + 1, S)), None, length=60)[1][-1]

    q = jax.jit(jax.vmap(solve))(*worlds())
    # Whatever was advised before, the best action is that of the task.
    best = np.asarray(q).argmax(-1)
    assert (best == best[:, -1:]).mean() > 0.999
    assert same_actions(q[:, -1], plain).all()


def test_look_ahead_keeps_them_for_who_adds_the_advice(plain):
    """`Q - Phi` is learnt, where the next action is the best by `Q - Phi + Phi`."""

    def solve(transition, reward, ends, table):
        def backup(q, _):
            best = (q + table).argmax(-1)
            after = (q + table)[jnp.arange(S), best]  # Phi(s', a') + Q(s', a')
            follows = GAMMA * jnp.where(ends, 0.0, after)
            return reward - table + transition @ follows, None

        return jax.lax.scan(backup, jnp.zeros((S, A)), None, length=60)[0]

    transition, reward, ends, table = worlds()
    q = np.asarray(jax.jit(jax.vmap(solve))(transition, reward, ends, table))
    np.testing.assert_allclose(q, plain - table, atol=1e-3)
    assert same_actions(q + table, plain).all()
    assert not same_actions(q, plain).all()  # advice that is forgotten


@pytest.mark.slow
def test_a_learned_potential_is_one_at_any_time(plain):
    term = rw.learned_potential(gamma=GAMMA, width=4)
    rng, one = (
        np.random.default_rng(1),
        jax.tree.map(lambda x: x[0, 0, 0], transitions(jnp.zeros(S, bool))),
    )
    shapes = jax.eval_shape(term.init_params, jax.random.key(0), one)
    drawn = jax.tree.map(lambda x: rng.normal(size=(MANY, *x.shape)).astype(x.dtype), shapes)

    def solve(params, transition, reward, ends):
        extra = each(lambda step: term.reward(params, step), ends)
        values = jax.vmap(lambda obs: term._value(params, obs))(jnp.eye(S))
        return planned(transition, reward, ends, extra), values

    q, values = map(np.asarray, jax.jit(jax.vmap(solve))(drawn, *worlds()[:3]))
    np.testing.assert_allclose(q, plain - values[..., None], atol=2e-3)
    assert same_actions(q, plain).all()


@pytest.mark.parametrize("mistake", [None, *sorted(set(shaping.MISTAKES) - {"clocked"})])
def test_mistakes_change_the_task(mistake, plain):
    """And the form without one does not."""

    def solve(transition, reward, ends, table):
        phi = lambda obs: (table[:, 0] * obs).sum()  # noqa: E731
        right = rw.potential(phi, gamma=GAMMA)
        term = rw.mistaken_potential(phi, mistake, gamma=GAMMA) if mistake else right
        return planned(transition, reward, ends, each(term.reward, ends))

    q = jax.jit(jax.vmap(solve))(*worlds())
    changed = 1.0 - same_actions(q, plain).mean()
    assert changed > 0.02 if mistake else changed == 0.0
