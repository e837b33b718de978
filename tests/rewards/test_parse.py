"""The text form: what it reads, and that everything else is one line with a caret."""

import random
import sys

import pytest

from jaxrl_reward import rewards as rw

WORDS = """env counts() clip( ) ( + - * | 0.1 1e9 , = low high 'x' rnd() ** / @ . __import__
lambda : [ ] { } if else for in x not 9**9**9 inf nan True None \\ # é named( stack( potential("""
PIECES = [*WORDS.split(), " ", "\n", "\0"]


GOOD = [
    "env",
    "env + 0.1*counts() | normalize(gamma=0.9) | clip(low=-10, high=10)",
    "env - 0.5*(env + sign()) - counts()",
    "named('bonus', 0.5*counts()) + env",
    "stack(env, sign()) | weighted_sum(weights=(1, 0.5))",
    "where(threshold(at=0.5), env, 0)",
    "scheduled(end=0.5)*potential(function='norm')",
]


@pytest.mark.parametrize("text", GOOD)
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
        ("env +", "missing at the end"),
        ("", ""),
        ("counts(buckets=0)", "positive integer"),
        ("rnd(learning_rate='x')", "must be a number"),
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


# ---- fuzz ------------------------------------------------------------------------------

HOSTILE = [
    "__import__('os').system('true')",
    "().__class__.__bases__[0].__subclasses__()",
    "(lambda: env)()",
    "[env for _ in (1,)]",
    "{env: 1}",
    "9**9**9**9",
    "10**10000",
    "1" * 5000,
    "-" * 3000 + "1",
    "(" * 3000,
    "env" + "+env" * 3000,
    "clip(" * 90 + "1" + ")" * 90,
    "f'{__import__(1)}'",
    "env if env else env",
    "(x := env)",
    "open('/etc/passwd')",
    "exec('1')",
    "eval('env')",
    "env; import os",
    "clip(*(1, 2))",
    "clip(**{'low': 1})",
    "potential('__class__')",
    "named('a' * 10**9, env)",
    "env\n+ env",
    "print(env)",
    "scale(1e999)",
    "scale(by=nan)",
    "counts(buckets=1e300)",
    "await env",
    "yield",
    "env and env",
    "not env",
    "~env",
    "1j * env",
    "b'x'",
    "...",
    "\ud800",
]
FORBIDDEN = ("exec", "import", "open", "os.", "subprocess.", "socket.", "ctypes.", "shutil.")
SEEN: list[str] = []
WATCHING = False


def watch(event, _):
    """An audit hook, which Python calls before anything that could do harm."""
    if WATCHING and event.startswith(FORBIDDEN):
        SEEN.append(event)


def random_text(rng):
    """Token soup, random characters, or a good or a hostile text with edits."""
    kind = rng.randrange(4)
    if kind == 0:
        return "".join(rng.choices(PIECES, k=rng.randint(0, 14)))
    if kind == 1:
        low, high = rng.choice([(32, 127), (0, 256), (0, 0x11000)])
        return "".join(chr(rng.randrange(low, high)) for _ in range(rng.randint(0, 30)))
    text = list(rng.choice(GOOD if kind == 2 else HOSTILE)[:400])
    for _ in range(rng.randint(0, 3)):
        at = rng.randint(0, len(text))
        text[at : at + rng.randint(0, 3)] = rng.choice(PIECES)
    return "".join(text)


def check(text):
    try:
        assert isinstance(rw.parse(text), rw.RewardTransform)
        return True
    except rw.RewardSyntaxError as error:
        message = str(error)
        assert "^" in message and message.isprintable()
        return False


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_hostile_texts_are_refused(text):
    assert not check(text) or text == "env\n+ env"


@pytest.mark.parametrize("count", [3_000, pytest.param(100_000, marks=pytest.mark.slow)])
@pytest.mark.timeout(600)
def test_any_text_is_a_reward_or_one_line_with_a_caret(count):
    """And nothing is executed, imported or opened on the way."""
    global WATCHING
    rng = random.Random(count)
    assert check("env")  # what parsing itself loads, once
    sys.addaudithook(watch)
    WATCHING = True
    try:
        good = sum(check(random_text(rng)) for _ in range(count))
    finally:
        WATCHING = False
    assert not SEEN
    assert count / 100 < good < count / 2  # both kinds were met


def test_truth_values_are_arguments_and_nothing_else():
    term = rw.parse("gail(demos='noise', spectral=True)")
    assert term.spectral is True and "spectral=True" in str(term)
    for text, message in (
        ("gail(demos='noise', spectral=1)", "spectral must be True or False"),
        ("gail(demos='noise', weight=True)", "weight must be a number or text"),
        ("env + True", "a reward or a number is needed here"),
        ("clip(True, 1)", "low must be a number or text"),
        ("threshold((True, 1))", "only numbers and strings are listed"),
    ):
        with pytest.raises(rw.RewardSyntaxError, match=message):
            rw.parse(text)
