"""A sweep's file: what it means, and every mistake in one line."""

import tomllib

import pytest

from jaxrl_reward.training.sweeps import sweep_spec
from jaxrl_reward.training.sweeps.sweep_spec import Trial
from jaxrl_reward.types import UserError

CARTPOLE = 'env = "gymnax:CartPole-v1"\n'


def parse(text):
    return sweep_spec.parse(tomllib.loads(text))


def test_a_grid_is_every_combination_and_a_trial_stands_for_itself():
    sweep = parse(
        CARTPOLE
        + """
        name = "mine"
        seeds = 4
        total_steps = 1e6
        hidden = [8]

        [grid]
        num_envs = [8, 16]
        reward = { plain = "env", counts = "env + 0.1*counts()" }

        [[trial]]
        agent = "sac"
        env = "gymnax:Pendulum-v1"
        seeds = 2

        [[trial]]
        name = "by hand"
        gamma = 0.9
        """
    )
    assert sweep.name == "mine"
    assert [each.name for each in sweep.trials] == [
        "num_envs=8, plain",
        "num_envs=8, counts",
        "num_envs=16, plain",
        "num_envs=16, counts",
        "sac, gymnax:Pendulum-v1, seeds=2",
        "by hand",
    ]
    assert sweep.trials[1] == Trial(
        "num_envs=8, counts",
        folder="num_envs=8-counts",
        env="gymnax:CartPole-v1",
        reward="env + 0.1*counts()",
        seeds=4,
        total_steps=1_000_000,
        settings={"hidden": [8], "num_envs": 8},
    )
    assert (sweep.trials[4].agent, sweep.trials[4].seeds) == ("sac", 2)
    assert sweep.trials[5].settings == {"hidden": [8], "gamma": 0.9}


def test_folders_are_short_unlike_each_other_and_safe():
    names = ["a/b", "a:b", "A-b", "../..", "x" * 300, "env + 0.1*counts()"]
    folders = sweep_spec._folders(names)
    assert len({each.casefold() for each in folders}) == len(names)
    assert all(len(each) <= 100 and "/" not in each and each[0] != "." for each in folders)
    assert folders[-1] == "env-+-0.1-counts"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is nothing to run; add a [grid] of lists, or a [[trial]]"),
        ("[grid]", "[grid] is empty; give it a list, such as num_envs = [8, 16]"),
        ("[grid]\nnum_envs = []", "num_envs in [grid] is empty; give it at least one value"),
        ("[grid]\nnum_envs = 8", "num_envs in [grid] must be a list, not 8"),
        ("[grid]\nnum_envs = [8, 8]", "num_envs in [grid] has 8 twice; give each value once"),
        (
            "[grid]\nseed = [1,2,3,4,5,6,7,8,9,10]\nseeds = [1,2,3,4,5,6,7,8,9,10]\n"
            "evals = [1,2,3,4,5,6,7,8,9,10]\ntotal_steps = [1,2,3,4,5,6,7,8,9,10]\n"
            "num_envs = [1, 2]",
            "[grid] has 20,000 combinations; at most 10,000 are run",
        ),
        ("[gird]\nnum_envs = [8]", "unknown table [gird]; did you mean 'grid'?"),
        ("trial = 3", "trial must be written [[trial]], once for each"),
        ("name = 3\n[[trial]]", "name must be a text, not 3"),
        ("[[trial]]\nname = ' '", "name of [[trial]] 1 must be a text, not ' '"),
        ("[[trial]]\nname = 'a'\n[[trial]]\nname = 'a'", "two trials are called 'a'; give each"),
        ("[[trial]]\n[[trial]]\nnum_envs = 16", "trials 'trial 1' and 'num_envs=16' are the same"),
        ("[[trial]]\nnum_env = 8", "unknown key 'num_env'; did you mean 'num_envs'?"),
        ("[[trial]]\ntotal_step = 8", "unknown key 'total_step'; did you mean 'total_steps'?"),
        ("[[trial]]\nseeds = 0", "seeds must be at least 1, got 0"),
        ("[[trial]]\nseeds = true", "seeds must be a whole number, got True"),
        ("[[trial]]\ntotal_steps = 2.5", "total_steps must be a whole number, got 2.5"),
        ("[[trial]]\nseed = -1", "seed must be between 0 and"),
        ("[[trial]]\nreward = 3", "reward in [[trial]] 1 must be a text, not 3"),
        ("[[trial]]\nagent = 'pppo'", "unknown agent 'pppo', did you mean 'ppo'?"),
        ("[[trial]]\nreward = 'env +'", "trial 'env +': reward: "),
        ("[[trial]]\nenv = 'gymnax:CartPole'", "unknown environment 'gymnax:CartPole'"),
        ("[[trial]]\nenv = ''", "env is missing"),
        ("[[trial]]\nnum_envs = 'a'", "ppo's num_envs must be of type int, like 16: 'a'"),
        ("[[trial]]\nminibatches = 7", "minibatches=7 does not divide"),
        (
            "[grid]\nagent = ['ppo', 'sac']\nepochs = [2]",
            "trial 'sac, epochs=2': sac has no setting",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_fix(text, message):
    with pytest.raises(UserError) as caught:
        parse(CARTPOLE * ("env =" not in text) + text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file "),
        (b"seeds = = 2", "is not valid TOML: Invalid value (at line 1, column 9)"),
        (b"\xff", "is no text in UTF-8; save it as such"),
        (b"[grid]", "a.toml: [grid] is empty"),
    ],
)
def test_a_bad_file_is_one_line_with_its_path(tmp_path, content, message):
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        sweep_spec.read(path)
    assert message in str(caught.value) and str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
