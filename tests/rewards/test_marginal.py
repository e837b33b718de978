"""Rewards of set functions: they sum to F of what was visited, and show what they hold."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward import submodular as sm
from jaxrl_reward.types import Transition, UserError

# What runs for microseconds need not be compiled for seconds.
QUICK = {"xla_backend_optimization_level": 0}
SETS = sm.coverage([[0, 1], [1, 2], [2, 3, 4], []], [3.0, 2.0, 2.0, 1.0, 1.0])
ENDS = 4  # of the first of two episodes
VISITS = ([3, 0, 0, 1, 2], [2, 1, 3, 2])  # the cells of both


def block(visits=VISITS, width=4):
    """Episodes one after the other in one environment, cells observed one-hot, `[T, 1, ...]`."""
    eye = np.eye(width, dtype=np.float32)
    before = np.concatenate([each[:-1] for each in visits])
    after = np.concatenate([each[1:] for each in visits])
    ends = np.cumsum([len(each) - 1 for each in visits]) - 1
    last = np.zeros((len(before), 1), bool)
    last[ends] = True
    first = np.roll(last, 1)
    nothing = np.zeros((len(before), 1), np.float32)
    action = np.zeros((len(before), 1), np.int32)
    obs, next_obs = eye[before][:, None], eye[after][:, None]
    return Transition(obs, action, nothing, nothing, next_obs, first, last, ~last & False)


@partial(jax.jit, compiler_options=QUICK)
def apply(term, played):
    return term.apply(term.init(jax.random.key(0), played), played)


def sums(out):
    reward = np.asarray(out.reward[:, 0])
    return [reward[:ENDS].sum(), reward[ENDS:].sum()]


def test_rewards_sum_to_what_was_visited():
    out = apply(rw.marginal_gain(SETS), block())
    np.testing.assert_allclose(sums(out), [SETS.evaluate(each) for each in VISITS])
    np.testing.assert_allclose(out.reward[:, 0], [5, 0, 2, 2, 4 + 2, 0, 0])


def test_the_start_may_be_left_out():
    none = apply(rw.marginal_gain(SETS, initial=0.0), block())
    starts = [SETS.evaluate(each[:1]) for each in VISITS]
    whole = [SETS.evaluate(each) for each in VISITS]
    np.testing.assert_allclose(sums(none), np.subtract(whole, starts))


def test_without_a_history_revisits_are_paid_again():
    out = apply(rw.modular(SETS), block())
    alone = [sum(SETS.evaluate([cell]) for cell in each) for each in VISITS]
    np.testing.assert_allclose(sums(out), alone)
    bare = apply(rw.modular(SETS, initial=0.0), block())
    np.testing.assert_allclose(sums(bare), np.subtract(alone, [0, SETS.evaluate([2])]))


def test_it_is_a_member_of_the_algebra():
    term = rw.named("new", 2 * rw.marginal_gain(SETS)) - rw.modular(SETS) + 1 | rw.scale(3.0)
    out = apply(term, block())
    gained, alone = (apply(each(SETS), block()).reward for each in (rw.marginal_gain, rw.modular))
    np.testing.assert_allclose(out.reward, 3 * (2 * gained - alone + 1))
    assert "reward/new" in out.metrics


def test_a_policy_may_see_the_memory_or_the_path():
    played = jax.tree.map(lambda x: x[:ENDS], block())

    @partial(jax.jit, compiler_options=QUICK)
    def shown(term):
        begun = term.begin(term.init(jax.random.key(0), played), played.obs[0], played.first[0])
        ended = term.apply(begun, played).state
        return jnp.concatenate([term.observe(state.local) for state in (begun, ended)])

    np.testing.assert_array_equal(shown(rw.marginal_gain(SETS)), [[0] * 5, [1] * 5])
    path = rw.marginal_gain(SETS, observed="path", length=6, scale=2.0)
    walked = [[1.5, *[-0.5] * 5], [1.5, 0, 0, 0.5, 1, -0.5]]
    np.testing.assert_allclose(shown(path), walked)
    short = rw.marginal_gain(SETS, observed="path", length=3)
    np.testing.assert_allclose(shown(short), [[3, -1, -1], [3, 0, 0]])
    assert rw.modular(SETS).observe(jnp.zeros(2)).shape == (2, 0)


def test_an_element_may_be_read_otherwise():
    backwards = rw.marginal_gain(SETS, at=lambda obs: 3 - jnp.argmax(obs))
    mirrored = [[3 - cell for cell in each] for each in VISITS]
    np.testing.assert_allclose(
        apply(backwards, block()).reward, apply(rw.marginal_gain(SETS), block(mirrored)).reward
    )


def test_weights_are_leaves():
    """Two maps in one program."""
    maps = jnp.array([[1.0, 1, 1, 1, 1], [3, 2, 2, 1, 1]])

    def reward(weights):
        term = rw.marginal_gain(SETS.replace(weights=weights))
        return term.apply(term.init(jax.random.key(0), block()), block()).reward.sum()

    both = jax.jit(jax.vmap(reward), compiler_options=QUICK)(maps)
    np.testing.assert_allclose(both, [5 + 4, 9 + 6])


def test_a_text_names_an_environment():
    text = (
        "env + 0.1*marginal_gain(of='grid:two_rooms', observed='path') - modular(of='arena:disc')"
    )
    assert str(rw.parse(text)) == text
    assert str(rw.marginal_gain(SETS)) == "marginal_gain(of=<objective>)"
    one = rw.parse("marginal_gain('grid:item_collection,map=3')")
    other = rw.marginal_gain("grid:item_collection,map=3")
    assert jax.tree.structure(one) == jax.tree.structure(other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("'grid:two_room'", "did you mean 'grid:two_rooms'"),
        ("'grid:two_rooms,slipp=1'", "did you mean 'slip'"),
        ("'grid:two_rooms,start=7'", "cell 7 is a wall"),
        ("'grid:two_rooms,start=98'", "no cell 98"),
        ("'grid:nests,map=-1'", "map must be at least 0"),
        ("'grid:coverage,rows=0'", "has no cells"),
        ("'grid:experiment_design,noise=0'", "must be above 0"),
        ("'arena:disc,half_width=0'", "half_width > 0"),
        ("'arena:disk'", "did you mean 'arena:disc'"),
        ("'grid:two_rooms', observed='pth'", "did you mean 'path'"),
        ("'grid:two_rooms', at='x'", "must be a function"),
        ("3", "must name an environment"),
        ("", "needs the argument 'of'"),
    ],
)
def test_bad_texts_are_refused_in_one_line(arguments, message):
    with pytest.raises(rw.RewardSyntaxError, match=message) as error:
        rw.parse(f"marginal_gain({arguments})")
    assert "\n" not in str(error.value)


def test_an_observation_must_show_an_element():
    with pytest.raises(UserError, match="7 numbers shows no cell of 1 x 4"):
        apply(rw.marginal_gain(SETS), block([[0, 1]], width=7))
