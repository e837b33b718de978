"""Every command as a user runs it: what it writes, prints and returns."""

import importlib.util
import json
import shutil
import signal
from pathlib import Path

import jax.numpy as jnp
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jaxrl_reward import envs
from jaxrl_reward.report import tables
from jaxrl_reward.training import progress
from jaxrl_reward.training.record.run_folder import load_rows

EXPERIMENT = """
from jaxrl_reward.training.experiments import experiment as ex

def verdict(results):
    return [ex.reaches(results, "env", 1e6, claim="It is perfect", source="nobody")]

def present(results, path):
    (path / "figure.png").write_bytes(b"drawn")
    return [f"Drawn for {', '.join(results)}."]

experiment = ex.Experiment(
    name="mine", title="My experiment", claim="A claim", source="A paper",
    env="gymnax:CartPole-v1", 
    arms=(ex.Arm("env"), ex.Arm("same"), ex.Arm("not run", reward="2")),
    presets={
        "smoke": ex.Preset(
            seeds=2, total_steps=160, evals=2, eval_episodes=2, arms=["env", "same"]
        )
    },
    verdict=verdict, present=present,
    config=dict(num_envs=2, num_steps=8, epochs=1, minibatches=1, hidden=(4,)),
)
"""


def names(path: Path) -> set[str]:
    return {each.name for each in path.iterdir() if not each.name.startswith(".")}


# ---- train ------------------------------------------------------------------------


def test_train_writes_the_files_of_the_contract(trained):
    files = {"config.json", "metrics.parquet", "summary.json", "figure.png", "report.md"}
    assert names(trained) == files | {"checkpoints"}
    assert names(trained / "checkpoints" / "ppo") == {"80", "160"}
    Image.open(trained / "figure.png").verify()
    report = (trained / "report.md").read_text()
    assert report.startswith("# ppo on gymnax:CartPole-v1")
    assert "jaxrl-reward train ppo gymnax:CartPole-v1 --seeds 2" in report


def test_summary_has_exactly_the_keys_of_the_contract(trained):
    summary = json.loads((trained / "summary.json").read_text())
    keys = "arms env_steps steps_per_second compile_seconds wall_seconds device verdicts"
    assert list(summary) == keys.split()
    assert list(summary["arms"]) == ["ppo"]
    arm = summary["arms"]["ppo"]
    assert list(arm) == ["metric", "iqm", "ci_low", "ci_high", "seeds", "per_seed"]
    assert (arm["metric"], arm["seeds"], len(arm["per_seed"])) == ("return", 2, 2)
    assert min(arm["per_seed"]) <= arm["iqm"] <= max(arm["per_seed"])
    assert (summary["env_steps"], summary["device"], summary["verdicts"]) == (320, "cpu", [])


def test_metrics_are_in_long_form(trained):
    table = pq.read_table(trained / "metrics.parquet")
    assert table.column_names == ["arm", "seed", "step", "metric", "value"]
    rows = table.to_pylist()
    returns = [(row["seed"], row["step"]) for row in rows if row["metric"] == "return"]
    assert returns == [(seed, step) for step in (0, 80, 160) for seed in (0, 1)]
    assert {"entropy", "policy_loss", "value_loss", "reward"} <= {row["metric"] for row in rows}


def test_config_has_the_resolved_settings(trained):
    arm = json.loads((trained / "config.json").read_text())["arms"]["ppo"]
    assert arm["reward"] == "env" and arm["config"]["hidden"] == [4]
    assert arm["config"]["gamma"] == 0.99  # a default


def test_train_prints_a_table_and_where_the_results_are(run, tiny, trained):
    outcome = run(*tiny, "--out", "again", "--no-progress")
    assert outcome.status == 0 and outcome.err == ""
    assert "IQM return" in outcome.out
    assert outcome.out.splitlines()[-1].startswith("results: again ")
    first = pq.read_table(trained / "metrics.parquet")
    assert pq.read_table("again/metrics.parquet").equals(first)


def test_a_rounded_run_says_so_and_figures_do_not_replace_others(run, tiny, tmp_path):
    tiny = list(tiny)
    tiny[tiny.index("160")] = "150"
    outcome = run(*tiny, "--out", "run", "--no-progress")
    rounded = "ppo: 150 steps per seed rounded up to 160"
    assert outcome.status == 0 and outcome.err == f"{rounded}: 10 iterations of 16\n"
    assert f"{rounded}\n320 environment steps in " in outcome.out
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["rounded_up"] == {"ppo": {"asked": 150, "steps": 160}}
    report = (tmp_path / "run/report.md").read_text()
    assert "- Environment steps per seed: 160 (150 were asked for: rounded up" in report
    (tmp_path / "figure.png").write_bytes(b"mine")
    (tmp_path / "episode.gif").write_bytes(b"mine")
    assert run("plot", "run").out == "figure-2.png\n"
    assert run("plot", "run/metrics.parquet").out == "figure-3.png\n"
    assert run("render", "run", "--max-steps", "2").out.startswith("episode-2.gif: ")
    assert (tmp_path / "figure.png").read_bytes() == b"mine"
    assert (tmp_path / "episode.gif").read_bytes() == b"mine"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/config.json").write_text('{"hidden_size": 768}')
    outcome = run(*tiny, "--out", "mine")
    assert outcome.status == 2 and "mine holds config.json, which is no run's" in outcome.err
    assert (tmp_path / "mine/config.json").read_text() == '{"hidden_size": 768}'
    outcome = run("train", "sac", "gymnax:Pendulum-v1", "--out", "run", "--resume")
    assert outcome.status == 2 and "run holds another run, with an arm 'ppo'" in outcome.err


def test_folders_are_numbered_and_resume_takes_the_last(run, tiny, trained):
    shutil.copytree(trained, "runs/ppo-gymnax-CartPole-v1")
    outcome = run(*tiny)
    assert outcome.status == 0 and "resumed" not in outcome.err
    assert "results: runs/ppo-gymnax-CartPole-v1-2 " in outcome.out
    outcome = run(*tiny, "--resume")
    assert outcome.status == 0 and "resumed at step 160\n" in outcome.err
    assert "results: runs/ppo-gymnax-CartPole-v1-2 " in outcome.out


def test_resume_without_a_checkpoint_starts_from_the_beginning(run, tiny, trained):
    tensorboard = ["--tensorboard"] if importlib.util.find_spec("tensorboardX") else []
    outcome = run(*tiny, "--out", "new", "--resume", *tensorboard)
    assert outcome.status == 0 and "resumed" not in outcome.err
    assert "step 0/160" in outcome.err
    first = pq.read_table(trained / "metrics.parquet")
    assert pq.read_table("new/metrics.parquet").equals(first)
    if tensorboard:
        (events,) = Path("new/tensorboard/ppo").iterdir()
        assert b"return" in events.read_bytes()


def test_an_interrupted_run_resumes_to_the_same_bits(run, tiny, trained, monkeypatch):
    evaluated = progress.Progress.evaluated

    def interrupt(self, iteration, *found):
        evaluated(self, iteration, *found)
        if iteration == 5:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(progress.Progress, "evaluated", interrupt)
        outcome = run(*tiny, "--out", "half", "--no-progress")
    again = "jaxrl-reward: interrupted; the same command with --out half --resume continues\n"
    assert (outcome.status, outcome.err) == (130, again)
    assert names(Path("half")) == {"config.json", "metrics.parquet", "checkpoints"}

    outcome = run(*tiny, "--out", "half", "--resume")
    assert outcome.status == 0 and "resumed at step 80\n" in outcome.err
    first = pq.read_table(trained / "metrics.parquet")
    assert pq.read_table("half/metrics.parquet").equals(first)
    whole, half = (
        json.loads((folder / "summary.json").read_text()) for folder in (trained, Path("half"))
    )
    assert whole["arms"] == half["arms"]


def test_a_non_finite_value_stops_the_run(run, tiny):
    outcome = run(*tiny, "--out", "bad", "--learning-rate", "1e30", "--no-progress")
    line = outcome.err
    assert outcome.status == 3 and line.count("\n") == 1
    assert "is not finite (seed " in line
    assert "; the last good checkpoint is bad/checkpoints/ppo/0" in line
    metric = line.removeprefix("jaxrl-reward: error: ").split()[0]
    assert metric in {"policy_loss", "value_loss", "entropy", "approx_kl", "explained_variance"}
    assert names(Path("bad")) == {"config.json", "metrics.parquet", "checkpoints"}
    assert names(Path("bad/checkpoints/ppo")) == {"0"}


def test_wandb_gets_the_curves(run, tiny, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert run(*tiny, "--out", "logged", "--wandb").status == 0
    assert any(Path("logged/wandb").glob("offline-run-*"))


# ---- what a run left --------------------------------------------------------------


def test_evaluate_prints_a_table(run, trained):
    outcome = run("evaluate", trained, "--episodes", 3)
    assert outcome.status == 0
    assert outcome.err == "jaxrl-reward: ppo: checkpoint of step 160\n"
    assert "3 greedy episodes per seed" in outcome.out and "ppo" in outcome.out
    assert run("evaluate", trained, "--episodes", 3).out == outcome.out


def test_evaluate_shows_how_many_episodes_succeed(run, registers, tiny):
    known = envs.make("gymnax:CartPole-v1")

    class Held(type(known.environment)):
        def step_env(self, key, state, action, params):
            *rest, info = super().step_env(key, state, action, params)
            return *rest, info | {"success": (rest[1].time >= 3).astype(jnp.float32)}

    envs.register("held", lambda name, options: (Held(), known.params), ["pole"])
    assert run("train", "ppo", "held:pole", *tiny[3:], "--out", "a").status == 0
    outcome = run("evaluate", "a", "--episodes", 3)
    head, row = (
        line.split() for line in outcome.out.splitlines() if "Seeds" in line or "ppo" in line
    )
    assert head[-1] == "Success" and row[-1] == "1.000"  # no pole falls within three steps


def test_plot_draws_one_run_or_several(run, trained):
    assert run("plot", trained, "--metric", "entropy", "--out", "one.png").out == "one.png\n"
    assert run("plot", trained, trained / ".", "--out", "two.svg").status == 0
    Image.open("one.png").verify()
    assert "run/ppo" in Path("two.svg").read_text()


@pytest.mark.parametrize("what", ["run", "gymnax:CartPole-v1"])
def test_render_draws_a_policy_or_random_actions(run, trained, what):
    source = trained if what == "run" else what
    outcome = run("render", source, "--out", "a.gif", "--max-steps", 4)
    assert (outcome.status, outcome.out) == (0, "a.gif: 4 steps, return 4\n")
    with Image.open("a.gif") as image:
        assert image.size == (480, 320)


# ---- reproduce --------------------------------------------------------------------


def test_reproduce_runs_an_experiment_of_ones_own(run, trained):
    Path("mine.py").write_text(EXPERIMENT)
    outcome = run("reproduce", "mine.py", "--preset", "smoke", "--out", "mine")
    assert outcome.status == 0, outcome.err
    note = "The preset smoke shows that it runs: it is too small for verdicts to mean anything."
    assert outcome.out.splitlines()[-3:] == [
        "undecided: It is perfect",
        "           0 of 2 seeds of env end above 1e+06: 0%, 95 % interval [0%, 84%]",
        note,
    ]
    summary = json.loads(Path("mine/summary.json").read_text())
    assert list(summary["arms"]) == ["env", "same"]
    assert [verdict["status"] for verdict in summary["verdicts"]] == ["undecided"]
    report = Path("mine/report.md").read_text()
    assert f"## Verdicts\n\n**{note}**\n\n| Expected" in report
    assert "**Claim.** A claim" in report and "jaxrl-reward reproduce mine.py" in report
    assert "Drawn for env, same." in report and Path("mine/figure.png").read_bytes() == b"drawn"


def test_reproduce_on_other_seeds(run):
    """Of the arms that train, too; the report says which, and how to run them again."""
    Path("mine.py").write_text(EXPERIMENT)
    argv = ("reproduce", "mine.py", "--preset", "smoke", "--out", "mine", "--seeds", 1)
    assert run(*argv, "--seed", 1000).status == 0
    report = Path("mine/report.md").read_text()
    assert "First seed: 1,000" in report and "--preset smoke --seeds 1 --seed 1000" in report
    arms = json.loads(Path("mine/config.json").read_text())["arms"]
    assert [(arm["seed"], arm["seeds"]) for arm in arms.values()] == [(1000, 1)] * 2
    assert set(load_rows("mine").table["seed"].to_pylist()) == {1000}
    outcome = run(*argv, "--seed", 7, "--resume")
    assert outcome.status == 2 and "started with seed = 1000, not 7" in outcome.err
    assert run(*argv, "--seed", 1000, "--resume").status == 0


# ---- what there is ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["agents", "envs", "rewards", "potentials", "experiments"])
def test_list_prints_the_names_that_the_package_knows(run, kind):
    known = {
        "agents": "ppo",
        "envs": "gymnax:CartPole-v1",
        "rewards": "clip(low=-1, high=1)",
        "potentials": "mountain_car_energy",
        "experiments": "shaping",
    }
    outcome = run("list", kind)
    assert outcome.status == 0 and outcome.err == ""
    assert any(line.startswith(known[kind]) for line in outcome.out.splitlines())


def test_list_rewards_has_a_signature_and_a_summary_for_each_term(run):
    from jaxrl_reward.rewards.core import registry

    lines = run("list", "rewards").out.splitlines()
    for entry in registry.entries():
        (line,) = [each for each in lines if each.split("(")[0].split()[0] == entry.name]
        assert all(argument in line for argument in entry.arguments)
        assert entry.summary and line.endswith(entry.summary)
    assert any(line.startswith("where(condition, a, b)") for line in lines)


def test_explain_shows_scope_needs_and_replay_of_each_term(run):
    outcome = run("explain", "env + 0.1*counts() | normalize()")
    assert outcome.status == 0
    root, *lines = outcome.out.splitlines()
    assert root == "chain"
    (counts,) = [line for line in lines if "counts()" in line]
    assert "scope: causal" in counts and "replay: recorded at collection" in counts
    assert "needs: the steps of its episode in order" in counts
    assert lines[-1] == "replay: can recompute the whole exactly"


def test_explain_says_why_replay_cannot(run):
    last = run("explain", "rnd() | delay(5)").out.splitlines()[-1]
    assert last.startswith("replay: not exact, delay(steps=5) remembers rewards")


def test_a_reward_may_begin_with_a_minus(run):
    assert run("explain", "-env").status == 0


def test_help_and_version(run):
    assert run("--help").status == 0
    settings = run("train", "ppo", "--help").out
    assert "--learning-rate X" in settings and "discount per step (0.99)" in settings
    version = importlib.import_module("jaxrl_reward").__version__
    assert run("--version").out.strip() == version


def test_plot_shows_what_is_asked_for(run, trained):
    flags = ("--title", "A title", "--label", "My label", "--smooth", 2)
    outcome = run("plot", trained, trained, "--arms", f"{trained}/ppo", *flags, "--out", "a.svg")
    assert (outcome.status, outcome.out) == (0, "a.svg\n")
    for end in (".tex", ".csv", ".md"):
        outcome = run("plot", trained, "--out", "b.pdf", "--table", f"t{end}")
        assert (outcome.status, outcome.out) == (0, f"b.pdf\nt{end}\n")
    summary = json.loads((trained / "summary.json").read_text())["arms"]
    assert Path("t.csv").read_text() == tables.comma_separated(summary)
    outcome = run("plot", trained, "--arms", "pp")
    assert outcome.status == 2 and "there is no arm 'pp'; did you mean 'ppo'?" in outcome.err


# ---- the home folder --------------------------------------------------------------


def test_a_tilde_is_the_home_folder_in_every_command(run, tiny, copied, monkeypatch, tmp_path):
    """Also behind `=`, where no shell reads it, and in the files that a command reads."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    shutil.move(copied, tmp_path / "home/run")
    again = ("--out=~/run", "--resume", "--no-progress")
    assert run(*tiny, *again).status == 0  # it is over: nothing is trained
    assert run("evaluate", "~/run", "--episodes=1").status == 0
    assert run("render", "~/run", "--max-steps=2", "--out=~/a.gif").status == 0
    assert run("plot", "~/run", "--out=~/a.svg").status == 0
    assert run("plot", "~/run/metrics.parquet", "--out", "~/b.svg").status == 0
    spec = 'agent = "bc"\nenv = "gymnax:Pendulum-v1"\ndata = "~/absent.npz"\n[[trial]]\n'
    (tmp_path / "home/sweep.toml").write_text(spec)
    for words in (("sweep", "~/sweep.toml", "--dry-run"), ("train", "bc", "--data=~/absent.npz")):
        outcome = run(*words)
        assert outcome.status == 2 and f"{tmp_path}/home/absent.npz does not exist" in outcome.err
    outcome = run(*tiny, "--no-progress", "--reward", "gail(demos='~/absent.npz', actions=2)")
    assert outcome.status == 2 and f"{tmp_path}/home/absent.npz does not exist" in outcome.err
    outcome = run("reproduce", "~/absent.py")
    assert outcome.status == 2 and "there is no file" in outcome.err
    options = ("--level=random", "--rows=8", "--play-envs=2", "--out=~/data", "--no-progress")
    assert run("collect", "ppo", "gymnax:CartPole-v1", *options).status == 0
    assert names(tmp_path / "home") >= {"run", "a.gif", "a.svg", "b.svg", "data"}
    assert not [name for name in names(tmp_path) if name.startswith("~")]
