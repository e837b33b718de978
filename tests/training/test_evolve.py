"""Formulas of rewards: what they pay, how they are written, and that they are found."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward import training
from jaxrl_reward.rewards.objectives.postfix import formula, postfix
from jaxrl_reward.training.evolve import Writer, evolve
from jaxrl_reward.types import UserError

PARTS = ("env", "counts()", "env | clip(-1, 1)")


@pytest.mark.parametrize(
    ("code", "value", "text"),
    [
        ((1,), 2.0, "env"),
        ((1, 2, -1), 5.0, "env + counts()"),
        ((1, 2, -4, -3, -1), 2.3, "env + (counts() * 0.1)"),
        ((1, 2, -2, 3, -3, 0, 0), -5.0, "(env - counts()) * (env | clip(-1, 1))"),
        ((-5, 2, 3, -1, -3), 80.0, "10 * (counts() + (env | clip(-1, 1)))"),
    ],
)
def test_a_code_pays_what_its_formula_says(code, value, text):
    rewards = jnp.array([2.0, 3.0, 5.0])
    assert float(postfix(code=code).combine(rewards)) == pytest.approx(value)
    assert formula(code, PARTS) == text
    assert isinstance(rw.parse(text), rw.RewardTransform)  # of the algebra


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ((1, -1), "takes more numbers"),
        ((1, 2), "leaves 2 numbers"),
        ((0,), "leaves 0 numbers"),
        ((1, -9, -1), "no token -9"),
        ((1.5,), "no token 1.5"),
    ],
)
def test_a_code_that_leaves_not_one_number_is_refused(code, message):
    with pytest.raises(UserError, match=message):
        postfix(code=code)


def test_every_code_that_is_written_is_a_formula():
    rng = np.random.default_rng(0)
    writer = Writer(3, 7)
    found = set()
    for _ in range(500):
        code = writer.write(rng)
        assert len(code) == 7
        found.add(formula(code, PARTS))
        writer.logits += rng.normal(size=writer.logits.shape) / 10
    assert len(found) > 100 and "env" in found


def test_the_writer_climbs_the_gradient_of_what_formulas_are_worth():
    """Against the derivative of the expected score, by the sum over all codes of length 1."""
    writer = Writer(2, 1)
    worth = {1.0: 1.0, 2.0: 3.0, -4.0: 0.0, -5.0: 0.0}
    rng = np.random.default_rng(0)
    for _ in range(200):
        codes = [writer.write(rng) for _ in range(8)]
        writer.learn(codes, np.array([worth[code[0]] for code in codes]), 0.5)
    chances = dict(zip(writer.codes.tolist(), writer.chances(0, 0, False), strict=True))
    assert chances[2] > 0.95
    # Equal scores teach nothing, and are no division by zero.
    before = writer.logits.copy()
    writer.learn([(1.0,), (2.0,)], np.array([1.0, 1.0]), 0.5)
    sums = np.cumsum(np.full(7, 0.1, np.float32))[-1], np.float32(0.7)  # equal but for rounding
    assert sums[0] != sums[1]
    writer.learn([(1.0,), (2.0,)], np.array(sums, np.float64), 0.5)
    np.testing.assert_array_equal(writer.logits, before)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_formula_that_teaches_the_task_is_found_and_a_resumed_evolution_is_the_same(tmp_path):
    """Of the reward and its negative; the probe pays for one of two actions."""
    sizes = {"num_envs": 8, "num_steps": 16, "minibatches": 2, "hidden": (16,)}
    options = {"total_steps": 2048, "rounds": 4, "population": 4, "length": 3, "seeds": 2}
    options |= {"config": sizes | {"learning_rate": 1e-2}, "eval_episodes": 4, "progress": False}
    parts = ("env", "-1*env")
    whole = evolve("ppo", "probe:action", parts, out=tmp_path / "a", **options)
    assert whole.scores.shape == (4, 4) and whole.scores.max() > whole.scores.min()
    best = training.load_rows(tmp_path / "a").where(metric="return")
    assert whole.scores.max() == pytest.approx(np.asarray(best.table["value"]).max(), abs=0.1)
    again = evolve("ppo", "probe:action", parts, out=tmp_path / "a", resume=True, **options)
    assert again.formulas == whole.formulas and again.best == whole.best
    np.testing.assert_array_equal(again.scores, whole.scores)
