"""The examples, by the commands that their docstrings give."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jaxrl_reward import cli
from jaxrl_reward.training.record import checkpoint

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
QUICK = ROOT / "examples" / "data_format.py"  # compiles least

# Each command in turn, as the shell would run it; a folder's run is as if it had been killed.
IN_TURN = """
import json, pathlib, sys
from jaxrl_reward import cli
from test_examples import forget_the_end
for each in json.loads(sys.argv[1]):
    if isinstance(each, str):
        forget_the_end(pathlib.Path(each))
    elif status := cli.main(each):
        sys.exit(status)
"""


def commands(example):
    """Those of the docstring, by name, with what `--out` says of the first."""
    text = (ast.get_docstring(ast.parse(example.read_text())) or "").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    found = [shlex.split(line)[1:] for line in lines if line.startswith("jaxrl-reward ")]
    return {argv[0]: argv for argv in found}, Path(found[0][found[0].index("--out") + 1])


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder in which the examples can be named as in their docstrings."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)


def forget_the_end(out):
    """The run as if it had been killed before its last checkpoint."""
    (out / "summary.json").unlink()
    (arm,) = (out / "checkpoints").iterdir()
    steps = checkpoint.steps(arm)
    assert len(steps) > 1
    shutil.rmtree(arm / str(max(steps)))


def of_a_resumed_run(train):
    """The command again, without what the folder knows."""
    at = train.index("--import")
    return [*train[:at], *train[at + 2 :], "--resume", "--no-progress"]


def check_written(out, example):
    """What a run of an example leaves: a report that names it, and an episode."""
    assert re.search(rf"--import \S*examples/{example.name}", (out / "report.md").read_text())
    assert (out / "episode.gif").stat().st_size > 100


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_each_has_its_commands(example):
    known, out = commands(example)
    assert list(known) == ["train", "evaluate", "render"]
    assert [known["evaluate"][1], known["render"][1]] == [str(out)] * 2
    assert len(example.read_text().splitlines()) < 70


def test_one_is_trained_evaluated_drawn_and_resumed(place, registers, capsys):
    known, out = commands(QUICK)
    assert cli.main([*known["train"], "--no-progress"]) == 0
    before = (out / "metrics.parquet").read_bytes()
    assert cli.main(known["evaluate"]) == 0 and cli.main(known["render"]) == 0
    check_written(out, QUICK)
    forget_the_end(out)
    assert cli.main([*of_a_resumed_run(known["train"])]) == 0
    assert (out / "metrics.parquet").read_bytes() == before
    assert "error" not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_works_in_fresh_processes(example, place):
    known, out = commands(example)

    def fresh(*several):
        words = [sys.executable, "-c", IN_TURN, json.dumps(several)]
        known = [str(ROOT), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        path = os.pathsep.join(filter(None, known))
        environ = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(words, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stderr

    fresh([*known["train"], "--no-progress"])
    before = (out / "metrics.parquet").read_bytes()
    # The first of these knows nothing but the folder; the others share its process.
    several = known["evaluate"], known["render"], str(out), of_a_resumed_run(known["train"])
    told = fresh(*several)
    assert f"imports {Path.cwd() / 'examples' / example.name}, as {out} says" in told
    check_written(out, example)
    assert (out / "metrics.parquet").read_bytes() == before
