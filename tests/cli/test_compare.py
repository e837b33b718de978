"""The command `compare`: what it says of pairs whose answer is known."""

import pytest

WORLD = "tabular:windy_cliff"


def last_line(outcome):
    assert outcome.status == 0, outcome
    return outcome.out.rstrip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("env", "2*env + potential('first', gamma=0.9)", "The same task: both order all"),
        ("-env", "env", "Opposite tasks"),
        ("env", "env | sign()", "Different tasks: B's best policy loses"),
    ],
)
def test_finite_worlds_are_compared_exactly(run, first, second, told):
    outcome = run("compare", first, second, WORLD, "--gamma", "0.9")
    assert last_line(outcome).startswith(told)
    for row in ("STARC, VAL", "EPIC", "effective horizon", "planning depth", "the same in"):
        assert row in outcome.out


@pytest.mark.slow
def test_others_from_samples(run):
    size = ("--samples", 512, "--batches", 2)
    shaped = "env + potential('first', gamma=0.99)"
    outcome = run("compare", "env", shaped, "gymnax:CartPole-v1", *size)
    assert last_line(outcome) == "As far as random actions show, the same task."
    assert "2 batches of 512 random actions" in outcome.out
    assert "EPIC: needs the environment's reward" in outcome.out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("env", "env + counts()", WORLD), "depends on more than one step"),
        (("env", "stack(env, env)", WORLD), "pays 2 rewards; end it with weighted_sum"),
        (("env", "env", WORLD, "--gamma", "1"), "gamma must be at least 0 and below 1, not 1"),
        (("env", "env", "tabular:pantry"), "an MDP with one reward, not a vector"),
        (("env", "evn", WORLD), "did you mean 'env'"),
        (("env", "env", "tabular:windy"), "did you mean 'tabular:windy_cliff'"),
        (("env", "env"), "missing argument: ENV"),
        (("env", "env", WORLD, "--samples", "-5"), "--samples must be at least 1, not"),
    ],
)
def test_mistakes_are_one_line(run, argv, message):
    outcome = run("compare", *argv)
    assert outcome.status == 2 and outcome.out == ""
    assert outcome.err.count("\n") == 1 and message in outcome.err
