"""The text form: what it reads, and that everything else is one line with a caret."""

import random

import pytest

from jaxrl_reward import rewards as rw

WORDS = """env counts() clip( ) ( + - * | 0.1 1e9 , = low high 'x' rnd() ** / @ . __import__
lambda : [ ] { } if else for in x not 9**9**9 inf nan True None \\ # é named( stack( potential("""
PIECES = [*WORDS.split(), " ", "\n", "\0"]


@pytest.mark.parametrize(
    "text",
    [
        "env",
        "env + 0.1*counts() | normalize(gamma=0.9) | clip(low=-10, high=10)",
        "env - 0.5*(env + sign()) - counts()",
        "named('bonus', 0.5*counts()) + env",
        "stack(env, sign()) | weighted_sum(weights=(1, 0.5))",
        "where(threshold(at=0.5), env, 0)",
        "scheduled(end=0.5)*potential(function='norm')",
    ],
)
def test_round_trip(text):
    once = str(rw.parse(text))
    assert str(rw.parse(once)) == once


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("env + rdn()", "did you mean 'rnd'?"),
        ("clip(lo=1)", "arguments: low, high"),
        ("__import__('os')", "unknown reward term"),
        ("env.apply", "not part"),
        ("lambda: 1", "not part"),
        ("[env for x in y]", "not part"),
        ("env ** 9 ** 9", "operator"),
        ("(" * 500 + "env" + ")" * 500, "nested"),
        ("env +", "invalid"),
        ("", ""),
        ("counts(buckets=0)", "positive integer"),
        ("potential('nrom')", "norm"),
        ("clip(2, 1)", "low <= high"),
    ],
)
def test_errors_are_one_line_with_a_caret(text, fragment):
    with pytest.raises(rw.RewardSyntaxError) as error:
        rw.parse(text)
    message = str(error.value)
    assert fragment in message
    assert "^" in message
    assert "\n" not in message


def test_fuzz():
    rng = random.Random(0)
    for _ in range(3000):
        text = "".join(rng.choices(PIECES, k=rng.randint(0, 12)))
        try:
            assert isinstance(rw.parse(text), rw.RewardTransform)
        except rw.RewardSyntaxError as error:
            assert "^" in str(error) and "\n" not in str(error)
