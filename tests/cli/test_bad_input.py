"""Every mistake is one line on standard error that names the fix, and status 2."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gymnax.environments import spaces
from gymnax.environments.classic_control.cartpole import CartPole

from jaxrl_reward import rewards
from jaxrl_reward.rewards.core import registry

CARTPOLE = "gymnax:CartPole-v1"
TRAIN = ("train", "ppo", CARTPOLE)


def line_of(outcome) -> str:
    """The message, after checking that it is one line and that nothing else was printed."""
    assert outcome.status == 2, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("jaxrl-reward: error: ") and outcome.err.endswith("\n")
    assert outcome.err.count("\n") == 1
    assert "Errno" not in outcome.err and "Traceback" not in outcome.err
    return outcome.err.removeprefix("jaxrl-reward: error: ").rstrip("\n")


# ---- the command line itself ------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "a command is missing, such as train; see jaxrl-reward --help"),
        (["trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["--verbos"], "unknown argument --verbos; did you mean '--version'?"),
        (["train"], "missing argument: AGENT; see jaxrl-reward train --help"),
        (["train", "ppo"], "ppo needs an environment, such as gymnax:Pendulum-v1"),
        (["evaluate"], "missing argument: RUN_FOLDER; see jaxrl-reward evaluate --help"),
        (["list", "agnts"], "unknown list 'agnts'; did you mean 'agents'?"),
        ([*TRAIN, "--seedz", "3"], "unknown argument --seedz; did you mean '--seed'?"),
        (
            [*TRAIN, "--learning-rat", "1"],
            "unknown argument --learning-rat; did you mean '--learning-rate'?",
        ),
        ([*TRAIN, "--lr", "1"], "unknown argument --lr; did you mean '--learning-rate'?"),
        ([*TRAIN, "--Seeds=1"], "unknown argument --Seeds; did you mean '--seeds'?"),
        (["plot", "a", "--metrics=x"], "unknown argument --metrics; did you mean '--metric'?"),
        ([*TRAIN, "--reward"], "--reward needs a value; see jaxrl-reward train --help"),
        (
            [*TRAIN, "--reward", "env", "+", "counts()"],
            "unexpected argument '+'; put quotes around a text with spaces",
        ),
    ],
)
def test_the_command_line(run, argv, message):
    assert line_of(run(*argv)) == message


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--seeds", "0", "must be at least 1, not 0"),
        ("--seeds", "-3", "must be at least 1, not -3"),
        ("--seeds", "1.5", "must be a whole number, not '1.5'"),
        ("--seeds", "two", "must be a whole number, not 'two'"),
        ("--seeds", "inf", "must be a whole number, not 'inf'"),
        ("--seed", "-1", "must be at least 0, not -1"),
        ("--seed", "4294967296", "must be at most 4294967295, not 4294967296"),
        ("--total-steps", "0", "must be at least 1, not 0"),
        ("--total-steps", "-5", "must be at least 1, not -5"),
        ("--total-steps", "1e-3", "must be a whole number, not '1e-3'"),
        ("--evals", "0", "must be at least 1, not 0"),
        ("--eval-episodes", "0", "must be at least 1, not 0"),
        ("--num-envs", "4.5", "must be a whole number, not '4.5'"),
        ("--hidden", "8,x", "must be a whole number, not 'x'"),
        ("--learning-rate", "fast", "must be a number, not 'fast'"),
        ("--learning-rate", "nan", "must be a number, not 'nan'"),
    ],
)
def test_numbers(run, flag, value, message):
    told = line_of(run(*TRAIN, flag, value))
    assert told == f"{flag} {message}; see jaxrl-reward train --help"


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        (
            "--minibatches",
            "7",
            "ppo's minibatches=7 does not divide a batch of 1024 steps "
            "(num_envs=16 x num_steps=64); use 4 or 8",
        ),
        ("--minibatches", "0", "ppo's minibatches must be a positive integer, not 0"),
        ("--num-envs", "-4", "ppo's num_envs must be a positive integer, not -4"),
        ("--hidden", "0", "ppo's hidden must be a positive integer, not 0"),
        ("--gamma", "1.5", "ppo's gamma must be between 0 and 1, not 1.5"),
        ("--activation", "rellu", "unknown --activation 'rellu'; did you mean 'relu'?"),
        ("--reset", "frsh", "unknown --reset 'frsh'; did you mean 'fresh'?"),
        ("--seed", "4294967295", "seed must be between 0 and 4294967294, got 4294967295"),
    ],
)
def test_settings(run, flag, value, message):
    assert line_of(run(*TRAIN, "--seeds", 2, flag, value, "--out", "a")) == message
    assert not Path("a").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--buffer-size", "200"],
            "sac's buffer_size=200 has no room for a batch of 256 steps "
            "(num_envs=1 x num_steps=1 at a time); use at least 256",
        ),
        (
            ["--learning-starts", "2000", "--buffer-size", "1e3"],
            "sac's learning_starts must be between 0 and 1000, not 2000",
        ),
        (
            ["--updates", "4", "--policy-delay", "3"],
            "sac's policy_delay=3 must divide updates=4",
        ),
        (["--subset", "3"], "sac's subset=3 must not exceed critics=2"),
        (
            ["--reward", "rnd() | delay()"],
            "sac learns from replay, and delay() remembers rewards of a stage before it "
            "that changes; use ppo",
        ),
    ],
)
def test_settings_of_sac(run, flags, message):
    assert line_of(run("train", "sac", CARTPOLE, *flags, "--out", "a")) == message
    assert not Path("a").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["td3", CARTPOLE], f"td3 needs Box actions; {CARTPOLE} has Discrete"),
        (
            ["dqn", "gymnax:Pendulum-v1"],
            "dqn needs Discrete actions; gymnax:Pendulum-v1 has Box: use sac or ppo",
        ),
        (
            ["dqn", CARTPOLE, "--total-steps", "900"],  # rounded up to whole iterations
            "dqn's learning_starts=1000 is beyond the run's 904 steps per seed: "
            "lower it, or raise total_steps",
        ),
        (
            ["sac", CARTPOLE, "--total-steps", "999"],
            "sac's learning_starts=1000 is beyond the run's 999 steps per seed: "
            "lower it, or raise total_steps",
        ),
        (
            ["eta", "tabular:lotteries", "--objective", "cvra"],
            "unknown --objective 'cvra'; did you mean 'cvar'?",
        ),
        (
            ["eta", "tabular:lotteries", "--objective", "target", "--c0", "-3,1"],
            "eta's c0 must be one number, not 2",
        ),
        (
            ["eta", "tabular:lotteries", "--c0", "-3,x"],
            "--c0 must be a number, not 'x'; see jaxrl-reward train --help",
        ),
        (
            ["dqn", CARTPOLE, "--buffer-size", "32"],
            "dqn's buffer_size=32 has no room for a batch of 64 steps "
            "(num_envs=8 x num_steps=1 at a time); use at least 64",
        ),
    ],
)
def test_agents_that_learn_from_replay(run, argv, message):
    assert line_of(run("train", *argv, "--out", "a")) == message
    assert not Path("a").exists()


# ---- names and texts --------------------------------------------------------------


def test_unknown_agent(run):
    assert line_of(run("train", "pppo", CARTPOLE)) == "unknown agent 'pppo'; did you mean 'ppo'?"
    for wrong, meant in (("PPO", "ppo"), ("TD3", "td3"), ("td4", "td3"), ("Group-PG", "group_pg")):
        line = line_of(run("train", wrong, CARTPOLE))
        assert line == f"unknown agent {wrong!r}; did you mean {meant!r}?"
    names = "bc, cql, dqn, edac, eta, group_pg, iql, pair_pg, ppo, riql, sac, subpo, td3"
    assert line_of(run("train", CARTPOLE)) == f"unknown agent '{CARTPOLE}'; known: {names}"


@pytest.mark.parametrize(
    ("env", "parts"),
    [
        ("CartPole-v1", ["unknown environment 'CartPole-v1'", f"did you mean '{CARTPOLE}'?"]),
        ("gymnax:CartPol-v1", ["unknown environment 'gymnax:CartPol-v1'", "CartPole-v1'?"]),
        (f"{CARTPOLE},max_steps_in_episod=9", ["no option", "did you mean 'max_steps_in_episode'"]),
        (f"{CARTPOLE},max_steps_in_episode=x", ["max_steps_in_episode must be a", "'x'"]),
        (f"{CARTPOLE},max_steps_in_episode", ["NAME=VALUE"]),
        ("brax:ant,backend=sprin", ["'sprin', did you mean 'spring'?"]),
    ],
)
def test_environments(run, env, parts):
    line = line_of(run("train", "ppo", env))
    assert all(part in line for part in parts), line


def test_brax_is_not_installed(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "brax", None)
    line = line_of(run("train", "ppo", "brax:ant"))
    assert line.startswith("brax ") and "pip install" in line and "[brax]" in line


def test_ppo_refuses_spaces_that_it_cannot_use(run, monkeypatch):
    nested = spaces.Dict({"image": spaces.Space()})
    monkeypatch.setattr(CartPole, "observation_space", lambda self, params: nested)
    line = line_of(run(*TRAIN))
    assert line == f"{CARTPOLE} has no array observations: image is Space, no array"


def test_an_observation_without_a_part_of_its_space_is_one_line(run, monkeypatch):
    nested = spaces.Dict({"image": spaces.Discrete(3)})
    monkeypatch.setattr(CartPole, "observation_space", lambda self, params: nested)
    assert "an observation has no 'image', which its space has" in line_of(run(*TRAIN))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("env + 0.1*cuonts()", "unknown reward term 'cuonts', did you mean 'counts'?: "),
        ("env | clip(lo=3)", "clip got argument 'lo'; arguments: low, high: "),
        ("env | clip(-1, 1, 2)", "clip takes 2 arguments: low, high: "),
        ("env | clip(low=env)", "clip's low must be a number: "),
        ("env + counts(buckets=1.5)", "counts's buckets must be a positive integer: "),
        ("potential()", "potential needs the argument 'function': "),
        ("potential('up')", "unknown potential 'up', "),
        ("env + counts", "'counts' is a term: write counts(...): "),
        ("env + (2*", "'(' was never closed: "),
        ("env +", "a reward is missing at the end: "),
        ("", "a reward is missing at the end: "),
        ("env / 2", "Div is no operator here; use + - * |: "),
        ("__import__('os').system('ls')", "only a reward term can be called: "),
    ],
)
def test_rewards(run, text, message):
    for argv in ([*TRAIN, "--reward", text], ["explain", text]):
        line = line_of(run(*argv))
        assert line.startswith(f"reward: {message}"), line
        shown = line.rpartition(": ")[2]
        assert shown.count("^") == 1 and shown.replace("^", "") == text


def test_the_caret_is_before_the_place(run):
    line = line_of(run("explain", "env + 0.1*cuonts()"))
    assert line.endswith(": env + 0.1*^cuonts()")
    assert line_of(run("explain", "env + (2*")).endswith(": env + ^(2*")
    assert line_of(run("explain", "env +")).endswith(": env +^")


def test_a_reward_of_whole_episodes_is_refused_with_those_who_play_them(run, monkeypatch):
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))

    @registry.register("outcome")
    class Outcome(rewards.RewardTransform):
        """A term that is defined on whole episodes."""

        scope = "episodic"

    line = line_of(run("train", "dqn", CARTPOLE, "--reward", "env | outcome()"))
    known = "group_pg, pair_pg, ppo, subpo"
    assert line == (
        f"dqn plays fixed blocks, and env | outcome() needs whole episodes: use {known}"
    )
    line = line_of(run(*TRAIN, "--reward", "env | outcome()", "--placement", "step"))
    assert line == (
        "env | outcome() needs whole episodes, and nothing is known of them at a step: "
        "use placement=block"
    )


def test_ppo_refuses_a_vector_reward(run):
    line = line_of(run(*TRAIN, "--reward", "stack(env, 1)"))
    assert line.startswith("ppo needs one number a step") and line.endswith("add a scalariser")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["shapng"], "unknown experiment 'shapng', did you mean 'shaping'?"),
        (["mine.py"], "there is no file mine.py; give a path to an experiment's .py"),
        (
            ["shaping", "--preset", "smok"],
            "experiment 'shaping' has no preset 'smok'; did you mean 'smoke'?",
        ),
        (
            ["shaping", "--seeds", "0"],
            "--seeds must be at least 1, not 0; see jaxrl-reward reproduce --help",
        ),
        (
            ["shaping", "--seed", "-1"],
            "--seed must be at least 0, not -1; see jaxrl-reward reproduce --help",
        ),
    ],
)
def test_experiments(run, argv, message):
    assert line_of(run("reproduce", *argv)) == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1", "mine.py must define one Experiment, and defines 0"),
        ("import nothing_of_the_name", "mine.py cannot be loaded: ModuleNotFoundError: No module"),
        ("def f(:", "mine.py cannot be loaded: SyntaxError: "),
    ],
)
def test_experiment_files(run, content, message):
    Path("mine.py").write_text(content)
    assert line_of(run("reproduce", "mine.py")).startswith(message)


# ---- folders and files ------------------------------------------------------------


def test_out_holds_another_run(run, tiny, copied):
    before = sorted(copied.rglob("*"))
    line = line_of(run(*tiny, "--out", copied))
    assert line == (
        f"{copied} holds another run; choose another --out, or continue it with --resume"
    )
    assert sorted(copied.rglob("*")) == before


@pytest.mark.parametrize(
    ("argv", "difference"),
    [
        (["--learning-rate", "0.1"], "config.learning_rate = 0.001, not 0.1"),
        (["--reward", "2*env"], "reward = env, not 2*env"),
        (["--seeds", "4"], "seeds = 2, not 4"),
        (["--total-steps", "80"], "total_steps = 160, not 80"),
        (["--shard", "envs"], "shard = auto, not envs"),
    ],
)
def test_resume_with_another_configuration(run, tiny, copied, argv, difference):
    line = line_of(run(*tiny, *argv, "--out", copied, "--resume"))
    assert line == (
        f"{copied} holds another run: arm 'ppo' was started with {difference}; "
        "use the same, or choose another --out"
    )


def test_out_cannot_be_a_folder(run, tiny):
    Path("file").write_text("")
    assert line_of(run(*tiny, "--out", "file")) == "file is not a folder; choose another --out"
    line = line_of(run(*tiny, "--out", "file/run"))
    assert line == "file/run is not a folder; choose another --out"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder nobody can write")
@pytest.mark.parametrize("command", ["train", "plot", "render"])
def test_out_cannot_be_written(run, tiny, trained, command):
    argv = {
        "train": [*tiny, "--out", "/proc/run"],
        "plot": ["plot", trained, "--out", "/proc/a.png"],
        "render": ["render", CARTPOLE, "--max-steps", 1, "--out", "/proc/a.gif"],
    }
    line = line_of(run(*argv[command]))
    assert line.startswith("/proc/") and "written" in line and "choose another" in line


def damage(folder: Path, *steps: str) -> None:
    """Changes a byte of each of these checkpoints."""
    for step in steps:
        (file,) = folder.glob(f"checkpoints/ppo/{step}/state/manifest.ocdbt")
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)


@pytest.mark.parametrize("command", ["evaluate", "train", "render"])
def test_no_checkpoint_can_be_read(run, tiny, copied, command):
    damage(copied, "80", "160")
    argv = {
        "evaluate": ["evaluate", copied],
        "train": [*tiny, "--out", copied, "--resume", "--no-progress"],
        "render": ["render", copied],
    }
    line = line_of(run(*argv[command]))
    assert line.startswith(f"no readable checkpoint in {copied / 'checkpoints' / 'ppo'} (160: ")
    assert line.endswith("; delete the folder to start from the beginning")


def test_a_damaged_checkpoint_gives_way_to_the_one_before(run, copied):
    damage(copied, "160")
    outcome = run("evaluate", copied, "--episodes", 3)
    assert outcome.status == 0
    warning, used = outcome.err.splitlines()
    assert warning.startswith("jaxrl-reward: warning: checkpoint ") and "is damaged" in warning
    assert used == "jaxrl-reward: ppo: checkpoint of step 80"


def test_config_cannot_be_read(run, copied):
    (copied / "config.json").write_text("{")
    line = line_of(run("evaluate", copied))
    assert line.startswith(f"{copied / 'config.json'} cannot be read: ")


def test_a_run_without_checkpoints(run, copied):
    shutil.rmtree(copied / "checkpoints")
    line = line_of(run("evaluate", copied))
    assert line == f"{copied} has no checkpoint of arm 'ppo' yet; train it first"


def test_no_such_arm(run, trained):
    for command in ("evaluate", "render"):
        line = line_of(run(command, trained, "--arm", "pp"))
        assert line == f"{trained} holds no arm 'pp'; did you mean 'ppo'?"


def test_which_of_several_arms(run, copied):
    config = json.loads((copied / "config.json").read_text())
    config["arms"]["other"] = config["arms"]["ppo"]
    (copied / "config.json").write_text(json.dumps(config))
    line = line_of(run("render", copied))
    assert line == f"{copied} holds several arms; choose one of: other, ppo"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["evaluate", "nowhere"], "nowhere holds no run: there is no config.json in it"),
        (["evaluate", "empty"], "empty holds no run: there is no config.json in it"),
        (["render", "empty"], "empty holds no run: there is no config.json in it"),
        (["plot", "nowhere"], "nowhere does not exist; name the folder of a run"),
        (["plot", "empty"], "empty/metrics.parquet does not exist; name the folder of a run"),
        (
            ["render", "nowhere"],
            "'nowhere' is neither a run's folder nor an environment, "
            "such as runs/ppo or gymnax:CartPole-v1",
        ),
    ],
)
def test_a_folder_without_a_run(run, argv, message):
    Path("empty").mkdir()
    assert line_of(run(*argv)) == message


def test_plot_of_an_unknown_metric(run, trained):
    line = line_of(run("plot", trained, "--metric", "retrun"))
    assert line == "there are no rows of metric 'retrun'; did you mean 'return'?"


def test_unknown_file_types(run, trained):
    line = line_of(run("plot", trained, "--out", "a.bmp"))
    assert line == "a.bmp must end in one of: .png, .pdf, .svg"
    line = line_of(run("render", trained, "--out", "a.avi"))
    assert line == "a.avi must end in one of: .gif, .mp4"


def test_no_such_seed_to_render(run, trained):
    line = line_of(run("render", trained, "--policy-seed", 2))
    assert line == "the run has no seed 2; choose one from 0 to 1"


def test_the_process_exits_with_the_status():
    command = [sys.executable, "-m", "jaxrl_reward", "train", "--seeds", "none"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == (
        "jaxrl-reward: error: --seeds must be a whole number, not 'none'; "
        "see jaxrl-reward train --help\n"
    )
