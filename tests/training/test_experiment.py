"""Experiments: verdicts from intervals, files that hold one, and what is refused."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from jaxrl_reward import data as datasets
from jaxrl_reward.training.experiments import experiment as experiments
from jaxrl_reward.training.experiments.experiment import Arm, Experiment, Preset
from jaxrl_reward.training.progress import stage
from jaxrl_reward.types import UserError

ABOUT = {"claim": "better", "source": "somebody, table 1"}


def results(**returns):
    return {name: SimpleNamespace(returns=np.array(values)) for name, values in returns.items()}


@pytest.mark.parametrize(
    ("low", "high", "status"),
    [
        (0.1, 2.0, "holds"),
        (-2.0, -0.1, "fails"),
        (-0.1, 0.1, "undecided"),
        (0.0, 0.0, "undecided"),
        (math.nan, math.nan, "undecided"),
    ],
)
def test_an_interval_decides(low, high, status):
    assert experiments.judge(low, high, above=0.0) == status


def test_arms_are_compared_by_the_interval_of_their_difference():
    rng = np.random.default_rng(0)
    found = results(a=rng.normal(1.0, 0.1, 16), b=rng.normal(0.0, 0.1, 16))
    assert experiments.compare(found, "a", "b", **ABOUT).status == "holds"
    assert experiments.compare(found, "b", "a", **ABOUT).status == "fails"
    assert experiments.compare(found, "a", "b", margin=1.0, **ABOUT).status == "undecided"
    assert "16 and 16 seeds" in experiments.compare(found, "a", "b", **ABOUT).evidence


@pytest.mark.parametrize(
    ("reached", "expected", "status"),
    [
        # Clopper and Pearson at 16: 13 gives [0.54, 0.96], 12 gives [0.48, 0.93].
        (13, True, "holds"),
        (12, True, "undecided"),
        (3, True, "fails"),
        (3, False, "holds"),
        (13, False, "fails"),
        (8, False, "undecided"),
    ],
)
def test_a_share_of_seeds_is_judged_by_its_exact_interval(reached, expected, status):
    found = results(a=[1.0] * reached + [0.0] * (16 - reached))
    verdict = experiments.reaches(found, "a", 0.5, expected=expected, **ABOUT)
    assert verdict.status == status
    assert verdict.evidence.startswith(f"{reached} of 16 seeds of a end above 0.5")


@pytest.mark.parametrize(
    ("low", "expected", "status"),
    [(1.0, True, "holds"), (1.0, False, "fails"), (0.0, True, "undecided"), (-9.0, True, "fails")],
)
def test_an_arm_is_compared_with_a_value(low, expected, status):
    found = results(a=np.linspace(low, low + 1.0, 16))
    verdict = experiments.exceeds(found, "a", 0.5, expected=expected, **ABOUT)
    assert verdict.status == status and "against 0.5, 16 seeds" in verdict.evidence


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_shipped_experiments_load_and_build_their_arms(every):
    """Those of the smallest preset, or all."""
    assert {"shaping", "submodular_rl", "distributional_dp"} <= set(experiments.names())
    assert not any(name.startswith("_") for name in experiments.names())
    for name in experiments.names():
        loaded = experiments.load(name)
        assert loaded.name == name and {"smoke", "quick", "paper"} <= set(loaded.presets)
        arms = {arm.name: arm for arm in loaded.arms}
        few = loaded.presets["smoke"].arms or list(arms)[:3]
        for preset in loaded.presets.values():
            assert set(preset.arms or ()) <= set(arms)
            for arm in (arms if every else few) if loaded.measure is None else ():
                assert experiments.build(loaded, arms[arm], preset).env.name


@pytest.mark.slow
def test_an_experiment_may_look_into_the_final_states(tmp_path):
    """Each arm takes its share of the steps; what is found is for verdicts and the report."""

    def study(arm, agent, state):
        return f"{arm.name} {agent.name} {state.iteration.tolist()}"

    def present(results, folder):
        (folder / "figure.png").write_bytes(b"drawn")
        return [f"Found: {', '.join(result.study for result in results.values())}"]

    sizes = {"num_envs": 4, "num_steps": 8, "minibatches": 1, "epochs": 1, "hidden": (4,)}
    small = made(
        arms=(Arm("a"), Arm("b", share=0.5)),
        presets={"quick": Preset(2, 128, evals=1, eval_episodes=1, config=sizes)},
        study=study,
        present=present,
        verdict=lambda results: [
            experiments.Verdict("c", "s", "holds", results["b"].study),
        ],
    )
    outcome = experiments.run(small, out=tmp_path / "run", progress=False)
    assert outcome.verdicts[0].evidence == "b ppo [2, 2]"
    report = (tmp_path / "run" / "report.md").read_text()
    assert "Found: a ppo [4, 4], b ppo [2, 2]" in report and "learning" not in report
    assert (tmp_path / "run" / "figure.png").read_bytes() == b"drawn"


def test_a_wait_is_named(capsys):
    with stage("[x]: preparing data"):
        pass
    with stage("nothing", enabled=False):
        pass
    assert capsys.readouterr() == ("", "[x]: preparing data ...\n")


def made(**changes):
    parts = {
        **{"name": "x", "title": "X", "claim": "c", "source": "s", "env": "probe:constant"},
        **{"arms": (Arm("a"),), "presets": {"quick": Preset(1, 64)}, "verdict": lambda _: ()},
    }
    return Experiment(**{**parts, **changes})


def test_demonstrations_are_put_where_a_reward_has_room_for_them(tmp_path):
    """Before there are any it is built on noise."""
    fields = {"obs": np.zeros((3, 1)), "next_obs": np.ones((3, 1)), "action": np.zeros(3, int)}
    flags = {"terminated": np.ones(3, bool), "truncated": np.zeros(3, bool)}
    data = datasets.make({**fields, **flags, "reward": np.ones(3)})
    path = datasets.save(data, tmp_path / "an expert's.npz")
    arm = Arm("a", "0.5*red(demos={demos}, actions=2) + gail(demos={demos}, actions=2)")
    small = made(arms=(arm,))
    for shown, expected in ((None, "noise"), (path, str(path))):
        reward = experiments.build(small, arm, small.presets["quick"], shown).reward
        assert str(reward).count(f"demos={expected!r}") == 2
    with pytest.raises(UserError, match="arm 'b' of 'x': ppo plays and takes no data"):
        experiments.build(small, Arm("b"), small.presets["quick"], path)


@pytest.mark.parametrize(
    ("changes", "preset", "message"),
    [
        ({}, "quik", "no preset 'quik'; did you mean 'quick'"),
        ({"arms": (Arm("a"), Arm("a"))}, "quick", "two arms of one name"),
        ({"arms": ()}, "quick", "no arms"),
        ({"arms": (Arm("a", reward="evn"),)}, "quick", "arm 'a' of 'x'.*did you mean 'env'"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written(tmp_path, changes, preset, message):
    with pytest.raises(UserError, match=message):
        experiments.run(made(**changes), preset, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_file_must_hold_one_experiment(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("x = 1\n")
    with pytest.raises(UserError, match="must define one Experiment, and defines 0"):
        experiments.load(str(file))
    file.write_text("raise ValueError('two\\nlines')\n")
    with pytest.raises(UserError, match="cannot be loaded: ValueError: two lines"):
        experiments.load(str(file))
    with pytest.raises(UserError, match="did you mean 'shaping'"):
        experiments.load("shapng")


def test_a_file_may_import_what_lies_beside_it(tmp_path):
    (tmp_path / "beside_mine.py").write_text("title = 'found'\n")
    file = tmp_path / "mine.py"
    file.write_text(
        "import beside_mine\n"
        "from jaxrl_reward.training.experiments.experiment import Experiment\n"
        "experiment = Experiment('mine', beside_mine.title, '', '', '', (), {}, lambda _: ())\n"
    )
    assert experiments.load(str(file)).title == "found"
