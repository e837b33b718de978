"""What the arguments of terms may be: all terms, all numbers."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward.intervals import Interval
from jaxrl_reward.rewards.core import checks
from jaxrl_reward.types import UserError

ARGUMENTS = [
    (entry, field.name, checks.rule(entry.build, field.name))
    for entry in rw.entries()
    for field in dataclasses.fields(entry.build)
]
# Text, functions, data, or true and false.
OTHERS = {"demos", "of", "at", "function", "start", "label", "term", "edges", "formula", "rule"}
NUMBERS = [each for each in ARGUMENTS if isinstance(each[2], Interval)]
name_of = lambda each: f"{each[0].name}-{each[1]}"  # noqa: E731


def built(entry, **changes):
    return entry.build(**{**entry.examples[0], **changes})


def test_every_number_of_every_term_says_what_it_may_be():
    """Also where any finite number is meant."""
    for entry, name, rule in ARGUMENTS:
        kind = checks.declared(entry.build)[name][0]
        assert rule is not None or kind is bool or name in OTHERS, (entry.name, name)
    assert len(NUMBERS) > 200


@pytest.mark.parametrize("each", NUMBERS, ids=name_of)
def test_what_is_beyond_is_refused_and_nan_everywhere(each):
    entry, name, rule = each
    low, high = rule.low, rule.high
    example = getattr(built(entry), name)

    def like(value):
        return (value,) * len(example) if isinstance(example, tuple) else value

    bad = [math.nan]
    bad += [math.inf, 1e39] if rule.below and math.isinf(high) else []
    bad += [low - 1 if low == int(low) else low] if math.isfinite(low) else []
    bad += [high + 1] if math.isfinite(high) else []
    bad += [low] if rule.above and math.isfinite(low) else []
    bad += [1.5] if rule.whole else []
    for value in bad:
        if entry.name == "preferred":
            value = like(value)
        with pytest.raises(UserError, match=f"{entry.name}'s {name} must be"):
            built(entry, **{name: like(value)})
        if not rule.whole:
            with pytest.raises(UserError, match=f"{entry.name}'s {name} must be"):
                built(entry, **{name: np.array([value])})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("normalize(gamma=99)", r"gamma must be between 0 and 1, not 99"),
        ("normalize(epsilon=-2)", "epsilon must be at least 0, not -2"),
        ("scheduled(1, 0, 0)", "steps must be above 0, not 0"),
        ("scheduled(1, inf)", "end must be finite, not inf"),
        ("scheduled(1, 0, 1e-50)", "steps must be above 0, not 1e-50"),  # 0 in float32
        ("percentile_scale(low=95, high=5)", "needs low < high, not low=95, high=5"),
        ("uniform_noise(1, -1)", "needs low <= high"),
        ("replaced(low=1, high=-1)", "needs low <= high"),
        ("direction(low=90, high=0)", "needs low <= high"),
        ("riskpo(low=0.8, high=0.2)", "needs low < high"),
        ("stock(gamma=1.5)", "gamma must be above 0 and at most 1, not 1.5"),
        ("delay(0)", "steps must be at least 1, not 0"),
        ("tournament(size=1)", "size must be an integer of at least 2"),
        ("disagreement(members=1)", "members must be an integer of at least 2"),
        ("within(length=(1, 2))", "length must be a number"),
        ("stack(env, env) | pool(how='discount', weight=-1)", "weight must be at least 0"),
        ("gail(demos='noise', absorbing=True, gamma=1)", "gamma must be below 1"),
        ("rnd() | normalize(gamma=1, episodic=False)", "gamma must be below 1"),
        ("stack(env, env) | postfix((1, 1e999))", "too large"),
        ("preferred(((0.5, 2), (-1, 0.5)))", r"table must be between 0 and 1, not 2"),
        ("preferred(((0.5, 1),))", "square table"),
        ("par(())", r"reference must be a number or numbers, not \(\)"),
        ("stack(env, env) | weighted_sum(())", r"weights must be a number or numbers, not \(\)"),
    ],
)
def test_arguments_that_cannot_be_meant(text, message):
    with pytest.raises(rw.RewardSyntaxError, match=message):
        rw.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "clip(-inf, 1)",
        "delay(inf)",
        "hold(inf)",
        "threshold(-inf)",
        "red(demos='noise', episodes=0)",
        "gail(demos='noise', unlabelled=0.5, label_low=0.7, label_high=1.2)",
        "stack(env, env) | pool(how='variance', weight=-1)",
    ],
)
def test_what_is_meant_at_the_ends_is_taken(text):
    assert str(rw.parse(str(rw.parse(text)))) == str(rw.parse(text))


def test_a_term_is_not_built_anew_from_its_leaves():
    """`tree.map` may put anything in place; what is asked for again is checked by `check`."""
    term = rw.parse("env + (scheduled() * noise | normalize())".replace("noise", "env"))
    axes = jax.tree.map(lambda _: 0, term)
    assert jax.tree.structure(axes) == jax.tree.structure(term)
    with pytest.raises(UserError, match="steps must be above 0"):
        rw.check(axes)
    steps = jnp.float32([1.0, 2.0])
    made = jax.vmap(lambda steps: rw.scheduled(steps=steps))(steps)  # tracers pass
    np.testing.assert_array_equal(made.steps, steps)
    with pytest.raises(UserError, match="steps must be above 0, not -2"):
        rw.check(jax.tree.map(jnp.negative, made.replace(steps=2.0)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: rw.scale(None), "scale's by must be a number, not None"),
        (lambda: rw.gaussian_noise(std=[-1.0]), r"std must be one number, not \[-1.0\]"),
        (lambda: rw.gaussian_noise(std=b"1"), "std must be a number, not b'1'"),
        (lambda: rw.tanh(1j), "scale must be a number, not 1j"),
        (lambda: rw.weighted_sum([1.0, math.nan]), "weights must be a finite number, not nan"),
        (lambda: rw.chebyshev(weights=None), "weights must be a number or numbers, not None"),
        (lambda: rw.normalize(episodic="no"), "episodic must be True or False, not 'no'"),
        (lambda: rw.gaussian_noise(per=np.zeros(2)), "per cannot be"),
        (lambda: rw.ltl(formula=3.0, at=(1,)), "formula must be a text, not 3.0"),
        (lambda: rw.signal(of=3), "of must be a text, not 3"),
    ],
)
def test_what_python_can_give_and_no_text(build, message):
    with pytest.raises(UserError, match=message):
        build()


def test_terms_of_ones_own_are_checked_by_their_types():
    class fading(rw.Causal):  # noqa: N801
        name = "fading"
        rate: checks.Share = 0.5
        weight: float = 1.0

    assert fading(rate=0.1).replace(rate=0.2).rate == 0.2
    with pytest.raises(UserError, match=r"fading's rate must be between 0 and 1, not 2"):
        fading(rate=2.0)
    with pytest.raises(UserError, match="fading's weight must be a number, not nan"):
        fading(weight=math.nan)


@pytest.mark.parametrize("function", [["norm"], {"norm": 1}, np.zeros(2)])
def test_a_potential_is_a_name_or_a_function(function):
    for term in (rw.potential, rw.look_back):
        with pytest.raises(UserError, match=r"unknown (potential|advice)"):
            term(function)


@pytest.mark.parametrize("weights", [2.0, np.float32(2.0), np.array(2.0), jnp.array(2.0)])
def test_one_number_is_not_several(weights):
    with pytest.raises(UserError, match=r"weights must be several numbers, as in \(2(\.0)?,\)"):
        rw.weighted_sum(weights)
