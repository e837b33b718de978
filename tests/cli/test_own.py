"""What a user wrote, named on the command line: `--import`, `--trust`, and what a run keeps."""

import json
from pathlib import Path

import pytest

from jaxrl_reward.plugins import imports
from jaxrl_reward.training import imported

TERMS = """
from jaxrl_reward import agents, envs, rewards as rw
from jaxrl_reward.agents.on_policy import ppo

with open({mark!r}, "a") as file:
    file.write("x")


@rw.pointwise
def half(transition, weight=0.5):
    "A part of the reward."
    return weight * transition.reward


class Learner(ppo.Learner):
    "PPO as it is."


agents.register("ppo_own", Learner, ppo.Config)
envs.register("own", lambda name, options: envs.registry.gymnax.make("CartPole-v1"), ["pole"])
"""


@pytest.fixture
def mine(registers, tmp_path) -> Path:
    """A file with a term, an agent and an environment; it leaves a mark where it is run."""
    path = tmp_path / "mine.py"
    path.write_text(TERMS.format(mark=str(tmp_path / "mark")))
    return path


@pytest.fixture
def again(monkeypatch):
    """The register of imports as of another process: what is registered stays."""
    return lambda: imports._LOADED.clear()


def marks(mine) -> int:
    mark = mine.parent / "mark"
    return len(mark.read_text()) if mark.exists() else 0


def own_run(tiny):
    """The shared run's command with an agent, an environment and a term of the user's."""
    return ("train", "ppo_own", "own:pole", *tiny[3:], "--reward", "env | half()")


@pytest.mark.slow
def test_a_run_with_what_a_user_wrote(run, tiny, mine, again):
    done = run(*own_run(tiny), "--import", "mine.py", "--out", "a", "--no-progress")
    assert done.status == 0, done.err
    assert "imports" not in done.err and marks(mine) == 1
    config = json.loads(Path("a/config.json").read_text())
    assert list(config["arms"]) == ["ppo_own"] and config["arms"]["ppo_own"]["env"] == "own:pole"
    assert [each["name"] for each in config["imports"]] == [str(mine)]
    assert "half()' --import mine.py" in Path("a/report.md").read_text()

    again()
    shown = run("evaluate", "a", "--episodes", 1)
    assert shown.status == 0 and "ppo_own" in shown.out
    assert f"jaxrl-reward: imports {mine}, as a says" in shown.err and marks(mine) == 2

    again()
    drawn = run("render", "a", "--max-steps", 2, "--out", "a.gif")
    assert drawn.status == 0 and f"imports {mine}, as a says" in drawn.err
    assert marks(mine) == 3 and Path("a.gif").exists()

    rows = Path("a/metrics.parquet").read_bytes()
    again()
    resumed = run(*own_run(tiny), "--out", "a", "--resume", "--no-progress")
    assert resumed.status == 0 and f"imports {mine}, as a says" in resumed.err
    assert Path("a/metrics.parquet").read_bytes() == rows and marks(mine) == 4
    assert f"half()' --import {mine}" in Path("a/report.md").read_text()


# ---- a run's folder, with what it imports ---------------------------------------------


@pytest.fixture
def folder(copied, mine, again) -> Path:
    """The shared run as if it had imported the file."""
    imports.load(str(mine))
    rewrite(copied, **imported.record())
    again()
    (mine.parent / "mark").unlink()
    return copied


def rewrite(folder, **entries):
    """Puts entries into a run's `config.json`."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **entries}))


def uses(folder, tiny):
    """The commands that load what a run has imported."""
    return [
        ("evaluate", folder, "--episodes", 1),
        ("render", folder, "--max-steps", 2, "--out", "a.gif"),
        (*tiny, "--out", folder, "--resume", "--no-progress"),
    ]


def test_a_folder_from_elsewhere_runs_nothing_without_trust(run, tiny, mine, folder):
    rewrite(folder, vouched="0" * 64)
    for command in uses(folder, tiny):
        refused = run(*command)
        assert (refused.status, refused.out, marks(mine)) == (2, "", 0)
        assert refused.err == (
            f"jaxrl-reward: error: {folder} was not made here and would run {mine}: read that, "
            "and say --trust, or name what you have with --import\n"
        )
    assert run("plot", folder, "--out", "a.png").err == ""  # curves are numbers
    assert marks(mine) == 0
    trusted = run(*tiny, "--out", folder, "--resume", "--no-progress", "--trust")
    assert trusted.status == 0, trusted.err
    assert f"imports {mine}, as {folder} says" in trusted.err and marks(mine) == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("reward", "env + halv()", "reward: unknown reward term 'halv', "),
        ("agent", "ppo_mine", "unknown agent 'ppo_mine', did you mean 'ppo"),
        ("env", "mine:pole", "unknown environment 'mine:pole', "),
    ],
)
def test_names_that_no_import_brings(run, copied, registers, key, value, message):
    arms = json.loads((copied / "config.json").read_text())["arms"]
    rewrite(copied, arms={"ppo": {**arms["ppo"], key: value}})
    told = run("evaluate", copied, "--episodes", 1)
    line = f"jaxrl-reward: error: {copied} has what no import of it brings, name your file with "
    assert told.status == 2 and told.err.startswith(f"{line}--import: {message}")


def test_a_hostile_folder_brings_its_own_file(run, tiny, mine, folder):
    hostile = folder / "terms.py"
    hostile.write_text(mine.read_text())
    sums = {str(hostile): imports._checksum(str(hostile))}
    rewrite(folder, imports=[{"name": str(hostile), "files": sums}])  # under the old signature
    for command in uses(folder, tiny):
        refused = run(*command)
        assert refused.status == 2 and marks(mine) == 0
        assert f"was not made here and would run {hostile}: read that" in refused.err


def test_what_has_changed_is_not_run_without_a_word(run, tiny, mine, folder):
    mine.write_text(mine.read_text() + "\n")
    evaluate, render, resume = uses(folder, tiny)
    for command in (evaluate, render):
        refused = run(*command)
        assert (refused.status, marks(mine)) == (2, 0)
        line = f"jaxrl-reward: error: {mine} is not what it was when {folder} was made: say --trust"
        assert refused.err.startswith(line)
    for word in ((), ("--trust",)):
        refused = run(*resume, *word)
        assert (refused.status, marks(mine)) == (2, 0)
        assert f"{mine} is not what it was when {folder} was started, which goes on" in refused.err
    refused = run(*resume, "--import", mine)
    assert refused.status == 2 and "goes on with that alone" in refused.err


def test_what_is_named_needs_no_trust_and_a_change_is_told(run, mine, folder):
    rewrite(folder, vouched="")
    mine.write_text(mine.read_text() + "\n")
    told = run("evaluate", folder, "--episodes", 1, "--import", "mine.py")
    assert told.status == 0 and marks(mine) == 1
    assert f"warning: {mine} has changed since {folder} was made" in told.err


# ---- what is named ------------------------------------------------------------------


def test_help_and_lists_know_it(run, mine):
    helped = run("train", "ppo_own", "--help", "--import", mine)
    assert (
        helped.status == 0 and "settings of ppo_own" in helped.out and "--gae-lambda" in helped.out
    )
    assert "ppo_own   PPO as it is." in run("list", "agents", "--import", "mine.py").out
    assert "half(weight=0.5)" in run("list", "rewards").out
    assert "own:pole" in run("list", "envs").out
    assert marks(mine) == 1


@pytest.mark.parametrize(
    "argv",
    [
        ("explain", "env + half()"),
        ("compare", "--help"),
        ("search", "ppo_own", "--help"),
        ("collect", "ppo_own", "--help"),
        ("sweep", "--help"),
        ("reproduce", "--help"),
        ("render", "--help"),
    ],
)
def test_every_command_imports_first(run, mine, argv):
    done = run(*argv, "--import=mine.py")
    assert done.status == 0, done.err
    assert marks(mine) == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("list", "agents", "--import"), "--import needs a value; see jaxrl-reward list --help"),
        (
            ("list", "agents", "--import", "no.py"),
            "there is no file {here}/no.py; --import takes a",
        ),
        (("list", "agents", "--import", "no.no"), "there is no module 'no.no' that Python finds; "),
        (("list", "agents", "--import", "bad.py"), "{here}/bad.py, line 1 fails as it is imported"),
        (("list", "agents", "--trust"), "unknown argument --trust; did you mean '--"),
    ],
)
def test_what_cannot_be_imported_is_one_line(run, registers, tmp_path, argv, message):
    Path("bad.py").write_text("1 / 0\n")
    told = run(*argv)
    assert (told.status, told.out, told.err.count("\n")) == (2, "", 1)
    assert told.err.startswith(f"jaxrl-reward: error: {message.format(here=tmp_path)}")


def test_a_plugin_is_named_and_listed_and_not_loaded(run, registers, tmp_path, monkeypatch):
    about = tmp_path / "cool-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: cool\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text("[jaxrl_reward.plugins]\ncoolness = cool_terms\n")
    (tmp_path / "cool_terms.py").write_text(
        "from jaxrl_reward import rewards as rw\n\n@rw.pointwise\ndef cool(transition):\n"
        "    'Nothing.'\n    return 0.0 * transition.reward\n"
    )
    assert run("list", "plugins").out == ""
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run("list", "plugins").out == "coolness  cool 1.2, cool_terms; --import coolness\n"
    for argv in (
        ("explain", "env + cool()"),
        ("train", "coolest", "gymnax:CartPole-v1"),
        ("train", "ppo", "cool:pole"),
    ):
        told = run(*argv)
        assert told.status == 2 and told.err.endswith(
            "; what a plugin brings needs --import coolness\n"
        )
    assert "brings" not in run("list", "agnts").err
    assert run("explain", "env + cool()", "--import", "coolness").status == 0
    told = run("explain", "env + colo()")
    assert told.status == 2 and "brings" not in told.err


def test_a_sweep_imports_and_its_trials_do(run, tiny, mine, again, monkeypatch):
    from jaxrl_reward.training.sweeps import engines, trial

    class Here:
        """In place of processes: each trial imports anew, from the sweep's own record."""

        def __init__(self, out, workers):
            self.out, self.slots, self._over = out, workers, []
            self.checksum = engines.imported.checksum(imports.loaded())

        def start(self, each):
            again()
            trial.run(self.out, each, trial.read_imports(self.out, self.checksum))
            self._over.append(engines.Ended(each.name))

        def wait(self, seconds):
            over, self._over = self._over, []
            return over

        def stop(self): ...

        def close(self): ...

    monkeypatch.setattr(engines, "Local", Here)
    sizes = dict(zip(tiny[3::2], tiny[4::2], strict=True)) | {"--hidden": "[4]"}
    keys = [f"{key[2:].replace('-', '_')} = {value}" for key, value in sizes.items()]
    head = f'import = ["mine.py"]\nenv = "{tiny[2]}"\n'
    Path("mine.toml").write_text("\n".join([head, *keys, "[grid]\nlearning_rate = [1e-3, 3e-3]"]))
    done = run("sweep", "mine.toml", "--out", "s", "--no-progress")
    assert done.status == 0, done.err
    assert marks(mine) == 3
    for folder in (Path("s"), Path("s/trials/learning_rate=0.001")):
        config = json.loads((folder / "config.json").read_text())
        assert [each["name"] for each in config["imports"]] == [str(mine)] and config["vouched"]
    assert f"--import {mine}" in Path("s/trials/learning_rate=0.001/report.md").read_text()
    mine.write_text(mine.read_text() + "\n")
    again()
    told = run("sweep", "mine.toml", "--out", "s", "--resume")
    assert told.status == 2 and f"{mine} is not what it was when s was started" in told.err
