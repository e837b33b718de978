"""Runs the package in one environment per row: see `scripts/matrix --help`."""

import argparse
import datetime
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = (
    "pytest>=8.2,<10",
    "pytest-timeout>=2.3,<3",
    "pytest-xdist>=3.6,<4",
    "hypothesis>=6.100,<7",
)
TOOLS += ("h5py>=3.11,<4", "imageio[ffmpeg]>=2.34,<3", "optuna>=4.5,<5", "tensorboardX>=2.6,<3")


@dataclass(frozen=True)
class Row:
    """An environment: a Python, and which versions of what the package depends on."""

    python: str
    jax: str | None = None  # the newest that all bounds allow
    lowest: bool = False  # of each dependency, the lowest version that its bounds allow
    pinned: bool = False  # the rest as in constraints.txt


ROWS = {
    "oldest": Row("3.11", lowest=True),
    "0.9.2": Row("3.11", "0.9.2", pinned=True),
    "0.11.1": Row("3.12", "0.11.1"),
    "0.11.2": Row("3.12", "0.11.2"),
    "0.12": Row("3.12", "0.12.*"),
    "newest": Row("3.13", "0.12.*"),
}


ABOUT = """Each job ran {} times:
how often it ended well, and the seconds of the longest. `resume` is killed, resumed, and
equal to the bit to the run that was not."""


class MissingError(Exception):
    """The Python of a row is not on this machine."""


class InstallError(Exception):
    """The versions of a row cannot be had, or not together."""


# ---- environments -------------------------------------------------------------------


def find_python(version: str) -> str:
    """A `python3.X` on PATH that runs."""
    name = f"python{version}"
    environment = os.environ | {"PYENV_VERSION": version}  # its shims run no other
    ask = [name, "-c", "import sys; print(sys.executable)"]
    try:
        return subprocess.run(
            ask, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        raise MissingError(f"no {name} on PATH") from None


def dependencies() -> list[str]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


def environment(name: str, row: Row, folder: Path) -> Path:
    """The Python of a row, installed where that has not happened yet."""
    wanted = repr((row, dependencies(), TOOLS, (ROOT / "constraints.txt").read_text()))
    home, stamp = folder / name, folder / name / "installed"
    python = home / "bin/python"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    found = find_python(row.python)
    print(f"matrix: installing {name} ...", file=sys.stderr, flush=True)
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([found, "-m", "venv", home], check=True)
    for packages in requirements(row):
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        if subprocess.run(pip, stdout=sys.stderr).returncode:
            raise InstallError("its versions cannot be installed together, see above")
    stamp.write_text(wanted)
    return python


def requirements(row: Row) -> list[list[str]]:
    """What to give to `pip install`, one call after the other."""
    packages = dependencies()
    if row.lowest:
        packages = [re.sub(r">=([\d.]+).*", r"==\1", package) for package in packages]
    first = [*packages, *TOOLS]
    if row.pinned:
        first += ["--constraint", str(ROOT / "constraints.txt")]
    if row.jax is None:
        return [first]
    exact = [f"jax=={row.jax}", f"jaxlib=={row.jax}"]
    # gymnax 1.0.1 asks for less than 0.12, and works with it.
    beyond = tuple(map(int, row.jax.split(".")[:2])) >= (0, 12)
    return [first, ["--no-deps", "--upgrade", *exact]] if beyond else [[*first, *exact]]


def versions(python: Path) -> list[str]:
    code = (
        "import platform as p; from importlib.metadata import version as v; "
        "print(p.python_version(), *map(v, ('jax', 'jaxlib', 'flax')))"
    )
    return subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


# ---- jobs -----------------------------------------------------------------------------


@dataclass
class Runner:
    """Runs commands of one environment in one folder, each within `limit` seconds."""

    python: Path
    folder: Path
    devices: int
    limit: float

    def start(self, *words: str) -> subprocess.Popen:
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(self.devices),
        }
        log = (self.folder / "log.txt").open("a")
        return subprocess.Popen(
            [self.python, "-m", *words],
            cwd=self.folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait(self, process: subprocess.Popen) -> str:
        """What became of it, empty if it ended well."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            status = process.wait(self.limit)
        except subprocess.TimeoutExpired:
            end(process)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            # Little of it is a hang, where nothing else keeps the cores busy.
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            return f"over {self.limit:.0f} s with {cpu:.0f} s of CPU time"
        if status < 0:
            return signal.Signals(-status).name
        return f"exit {status}" if status else ""

    def run(self, *words: str) -> str:
        return self.wait(self.start("jaxrl_reward", *words))


def end(process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


QUIET = ("--no-progress", "--evals", "2", "--eval-episodes", "4")
PPO = ("train", "ppo", "gymnax:CartPole-v1", "--seeds", "4", "--total-steps", "200000")
PPO += ("--no-progress", "--evals", "10", "--eval-episodes", "4")


def ppo(runner: Runner) -> str:
    return runner.run(*PPO, "--out", "ppo")


def sac(runner: Runner) -> str:
    words = ("train", "sac", "gymnax:Pendulum-v1", "--seeds", "16", "--total-steps", "1500")
    return runner.run(*words, *QUIET, "--out", "sac")


def iql(runner: Runner) -> str:
    rows = ("--level", "random", "--rows", "2000", "--total-steps", "2000", "--no-progress")
    words = ("train", "iql", "--data", "data/random.npz", "--seeds", "4", "--total-steps", "300")
    return runner.run("collect", "sac", "gymnax:Pendulum-v1", *rows, "--out", "data") or runner.run(
        *words, *QUIET, "--out", "iql"
    )


def group_pg(runner: Runner) -> str:
    words = ("train", "group_pg", "sequence:sum,digits=1", "--advantage", "rloo()")
    return runner.run(*words, "--seeds", "4", "--total-steps", "20000", *QUIET, "--out", "group")


def shaping(runner: Runner) -> str:
    words = ("reproduce", "shaping", "--preset", "smoke", "--no-progress", "--out", "shaping")
    return runner.run(*words)


def resume(runner: Runner) -> str:
    """Killed after its first step, resumed, and equal to the run that was not."""
    whole, killed = runner.folder / "ppo", runner.folder / "killed"
    if not (whole / "summary.json").exists() and (problem := ppo(runner)):
        return problem
    process, started = runner.start("jaxrl_reward", *PPO, "--out", "killed"), time.monotonic()
    while not any(path.name != "0" for path in killed.glob("checkpoints/*/[0-9]*")):
        if process.poll() is not None:
            return "ended before it was killed"
        if time.monotonic() - started > runner.limit:
            end(process)
            return f"over {runner.limit:.0f} s"
        time.sleep(0.01)
    end(process)
    if (killed / "summary.json").exists():
        return "ended before it was killed"
    if problem := runner.run(*PPO, "--out", "killed", "--resume"):
        return problem
    arms = [json.loads((each / "summary.json").read_text())["arms"] for each in (whole, killed)]
    return "" if arms[0] == arms[1] else "resumed differently"


JOBS: dict[str, Callable[[Runner], str]] = {
    "ppo": ppo,
    "sac": sac,
    "iql": iql,
    "group_pg": group_pg,
    "shaping": shaping,
    "resume": resume,
}


def job(name: str, python: Path, devices: int, times: int, limit: float) -> str:
    """A cell of the table: how many of the times it ended well, and what it did else."""
    problems, spent = [], []
    for _ in range(times):
        with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
            started = time.monotonic()
            problem = JOBS[name](Runner(python, Path(folder), devices, limit))
            spent.append(time.monotonic() - started)
            if problem:
                problems.append(problem)
                tail = (Path(folder) / "log.txt").read_text().splitlines()[-5:]
                print(*tail, sep="\n", file=sys.stderr)
    good = times - len(problems)
    return ", ".join([f"{good}/{times}", f"{max(spent):.0f} s", *dict.fromkeys(problems)])


def tests(python: Path, paths: Sequence[str], limit: float) -> str:
    """What pytest's last line says, of the fast tests on two devices."""
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        words = ["pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
        runner = Runner(python, Path(folder), 2, limit)
        process = runner.start(*words, *(str(ROOT / path) for path in paths or ["tests"]))
        problem = runner.wait(process)
        lines = (Path(folder) / "log.txt").read_text().splitlines()
    if problem:
        print(*lines[-30:], sep="\n", file=sys.stderr)
    counts = re.findall(r"\d+ (?:passed|failed|errors?|skipped)", lines[-1] if lines else "")
    return ", ".join([*counts, *([problem] if problem else [])])


# ---- the table ------------------------------------------------------------------------


def main() -> int:
    args = parsed()
    jobs = args.jobs if args.jobs is not None else list(JOBS)
    header = ["row", "Python", "jax", "jaxlib", "flax", "devices", *jobs, "tests"]
    table, failed = [], False
    for name in args.rows:
        try:
            python = environment(name, ROWS[name], args.environments)
        except (MissingError, InstallError) as reason:
            failed |= isinstance(reason, InstallError)
            what = "failed" if isinstance(reason, InstallError) else "skipped"
            print(f"matrix: {name} {what}: {reason}", file=sys.stderr)
            table.append([name, ROWS[name].python, f"{what}: {reason}", *[""] * (len(header) - 3)])
            continue
        for devices in args.devices:
            cells = []
            for each in jobs:
                cells.append(job(each, python, devices, args.times, args.limit))
                print(name, devices, each, cells[-1], file=sys.stderr, flush=True)
            last = devices == max(args.devices)
            wanted = args.tests if last else None
            cells.append("" if wanted is None else tests(python, wanted, args.test_limit))
            failed |= any(
                re.search(r"over|exit|SIG|ended|resumed|failed|error", cell) for cell in cells
            )
            table.append([name, *versions(python), str(devices), *cells])
            print(*table[-1], sep=" | ", file=sys.stderr, flush=True)
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *table)]
    when = f"{datetime.date.today()}, on {os.cpu_count()} cores and no accelerator."
    text = "\n".join([f"{when} {ABOUT.format(args.times)}", "", *lines, ""])
    print(text)
    if args.out:
        args.out.write_text(text)
    return int(failed)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/matrix",
        description=(
            "Installs one environment per row, runs six jobs and the fast tests in each, and ends "
            "in a table. Exit status 1 if anything failed; a row without its Python is skipped."
        ),
    )
    parser.add_argument("--rows", choices=ROWS, default=list(ROWS), nargs="+", metavar="NAME")
    parser.add_argument("--jobs", choices=JOBS, nargs="*", metavar="NAME", help=", ".join(JOBS))
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--times", type=int, default=1, help="how often each job is run")
    parser.add_argument(
        "--tests", nargs="*", metavar="PATH", help="run these tests, or all of them"
    )
    parser.add_argument("--limit", type=float, default=300, help="seconds of a command")
    parser.add_argument("--test-limit", type=float, default=7200, help="seconds of the tests")
    parser.add_argument("--out", type=Path, help="a file for the table")
    parser.add_argument("--environments", type=Path, default=ROOT / ".cache/matrix", metavar="DIR")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
