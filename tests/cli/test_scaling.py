"""`train --vary`, `train --shard` and `search`."""

import json

import pytest

TRAIN = ("train", "ppo", "gymnax:CartPole-v1")
NUMBERS = ("--num-envs", "2", "--num-steps", "8", "--epochs", "1", "--minibatches", "1")
NUMBERS += ("--hidden", "4", "--total-steps", "32", "--evals", "1", "--eval-episodes", "2")


@pytest.mark.slow  # `test_lanes` does so too
def test_vary_gives_an_arm_for_each_point(run):
    reward = ("--reward", "env + {w}*counts()")
    outcome = run(*TRAIN, *NUMBERS, *reward, "--vary", "w=0.1,2", "--vary", "learning-rate=1e-3")
    assert outcome.status == 0, outcome
    folder = "runs/ppo-gymnax-CartPole-v1"
    with open(f"{folder}/summary.json") as file:
        arms = json.load(file)["arms"]
    names = ["w=0.1, learning_rate=0.001", "w=2.0, learning_rate=0.001"]
    assert list(arms) == names
    with open(f"{folder}/report.md") as file:
        assert "env + 2*counts()" in file.read()
    outcome = run("evaluate", folder, "--arm", names[1], "--episodes", "2")
    assert outcome.status == 0 and names[1] in outcome.err


@pytest.mark.slow
def test_search_prints_the_best(run):
    pytest.importorskip("optuna")
    sizes = ("--trials", "4", "--batch", "2", "--seeds", "2")
    space = ("--vary", "learning_rate=log:1e-4:1e-2", "--vary", "gamma=0.9,0.99")
    outcome = run("search", *TRAIN[1:], *NUMBERS, *sizes, *space)
    assert outcome.status == 0, outcome
    assert "best: trial " in outcome.out
    with open("runs/search-ppo-gymnax-CartPole-v1/summary.json") as file:
        assert len(json.load(file)["arms"]) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--vary", "num_envs=2,4"), "ppo's num_envs shapes the program"),
        (("--vary", "learning_rate"), "must be like learning_rate=1e-4,1e-3"),
        (("--vary", "gamma=0.9,high"), "gamma must have numbers, not 'high'"),
        (("--vary", "gamma=0.9", "--vary", "gamma=0.8"), "names gamma twice"),
        (("--reward", "env + {w}*counts()", "--vary", "v=1"), "{w}"),
        (("--shard", "env"), "unknown --shard 'env'; did you mean 'envs'?"),
    ],
)
def test_mistakes_are_one_line(run, words, message):
    outcome = run(*TRAIN, *NUMBERS, *words)
    assert outcome.status == 2 and message in outcome.err
    assert outcome.err.count("\n") == 1
