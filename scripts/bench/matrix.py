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
    extras: tuple[str, ...] = ()  # of the package, whose tests are skipped elsewhere


ROWS = {
    "oldest": Row("3.11", lowest=True),
    "0.9.2": Row("3.11", "0.9.2", pinned=True),
    "0.11.1": Row("3.12", "0.11.1"),
    "0.11.2": Row("3.12", "0.11.2"),
    "0.12": Row("3.12", "0.12.*"),
    "newest": Row("3.13", "0.12.*"),
    "navix": Row("3.12", "0.11.2", extras=("navix", "pgx", "xminigrid")),
}


ABOUT = """No accelerator. Of each job, how often it ended well, and the seconds of the
longest. `resume` is killed, resumed, and equal to the bit to the run that was not. `1 = 2` is
SAC with 16 seeds until 64 updates are made, on one device and on two: the largest relative
difference of a number that the run records of a seed, which may be {tolerance:g}."""
TOLERANCE = 1e-3  # fixed beforehand; rounding was seen to give 2e-7 to 7e-5 so early
FIRST = ("row", "devices", "date", "cores", "Python", "jax", "jaxlib", "flax")
LAST = ("1 = 2", "tests")


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


def dependencies(extras: Sequence[str] = ()) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    more = [each for extra in extras for each in project["optional-dependencies"][extra]]
    return [*project["dependencies"], *more]


def environment(name: str, row: Row, folder: Path, tools: bool) -> Path:
    """The Python of a row, with what tests need too, installed if that has not happened yet."""
    whole, bare = (written(row, each) for each in (TOOLS, ()))
    wanted = whole if tools else bare
    home, stamp = folder / name, folder / name / "installed"
    python = home / "bin/python"
    if stamp.exists() and stamp.read_text() in (whole, wanted):
        return python
    found = find_python(row.python)
    print(f"matrix: installing {name} ...", file=sys.stderr, flush=True)
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([found, "-m", "venv", home], check=True)
    for packages in requirements(row, TOOLS if tools else ()):
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        if subprocess.run(pip, stdout=sys.stderr).returncode:
            raise InstallError("its versions cannot be installed together, see above")
    stamp.write_text(wanted)
    return python


def written(row: Row, tools: Sequence[str]) -> str:
    """What an environment is made of, in a file in it."""
    constraints = (ROOT / "constraints.txt").read_text() if row.pinned else ""
    return "\n".join([row.python, *map(" ".join, requirements(row, tools)), constraints])


def requirements(row: Row, tools: Sequence[str]) -> list[list[str]]:
    """What to give to `pip install`, one call after the other."""
    packages = dependencies(row.extras)
    if row.lowest:
        packages = [re.sub(r">=([\d.]+).*", r"==\1", package) for package in packages]
    first = [*packages, *tools]
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


def start(runner: Runner) -> str:
    """The first updates of PPO and of SAC: short enough to be run with every change."""
    small = ("--seeds", "4", "--no-progress", "--evals", "1", "--eval-episodes", "2")
    words = ("train", "ppo", "gymnax:CartPole-v1", "--total-steps", "2048")
    if problem := runner.run(*words, *small, "--out", "start-ppo"):
        return problem
    words = ("train", "sac", "gymnax:Pendulum-v1", "--total-steps", "1064")
    return runner.run(*words, *small, "--out", "start-sac")


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
    "start": start,
}
USUAL = tuple(name for name in JOBS if name != "start")


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


def agreement(python: Path, limit: float) -> str:
    """The largest difference of SAC's seeds on one device and on two."""
    words = ("train", "sac", "gymnax:Pendulum-v1", "--seeds", "16", "--total-steps", "1064")
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        for devices in (1, 2):
            runner = Runner(python, Path(folder), devices, limit)
            if problem := runner.run(*words, *QUIET, "--out", str(devices)):
                return problem
        compared = subprocess.run(
            [python, "-c", COMPARE, *(f"{folder}/{devices}/metrics.parquet" for devices in (1, 2))],
            capture_output=True,
            text=True,
        )
    if compared.returncode:
        print(compared.stderr, file=sys.stderr)
        return f"exit {compared.returncode} of the comparison"
    largest = float(compared.stdout)
    return f"{largest:.1e}" if largest <= TOLERANCE else f"they differ by {largest:.1e}"


# Run where pyarrow is. A number that only one of the two runs has is an error.
COMPARE = """
import math, sys
import pyarrow.parquet as parquet

def numbers(path):
    rows = parquet.read_table(path).to_pylist()
    return {(row["seed"], row["step"], row["metric"]): row["value"] for row in rows}

def difference(x, y):
    if x == y or math.isnan(x) and math.isnan(y):
        return 0.0
    return abs(x - y) / max(abs(x), abs(y)) if math.isfinite(x - y) else math.inf

one, two = map(numbers, sys.argv[1:])
assert one and one.keys() == two.keys(), "other numbers were recorded"
assert len({seed for seed, _, _ in one}) == 16
print(max(difference(one[key], two[key]) for key in one))
"""


def tests(python: Path, paths: Sequence[str], limit: float) -> str:
    """What pytest's last line says, of the fast tests on two devices, and which these are."""
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        words = ["pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
        words += ["--durations", "60"]
        runner = Runner(python, Path(folder), 2, limit)
        process = runner.start(*words, *(str(ROOT / path) for path in paths or ["tests"]))
        problem = runner.wait(process)
        lines = (Path(folder) / "log.txt").read_text().splitlines()
    print(*lines[-100:], sep="\n", file=sys.stderr)
    counts = re.findall(r"\d+ (?:passed|failed|errors?|skipped)", lines[-1] if lines else "")
    which = "all" if not paths else " ".join(path.removeprefix("tests/") for path in paths)
    return f"{', '.join([*counts, *([problem] if problem else [])])} of {which}"


# ---- the table ------------------------------------------------------------------------


Table = dict[tuple[str, str], dict[str, str]]  # by row and devices, then by column


def main() -> int:
    args = parsed()
    jobs = list(USUAL) if args.jobs is None else args.jobs
    new: Table = {}
    for name in args.rows:
        row, tools = ROWS[name], args.tests is not None
        try:
            python = environment(name, row, args.environments, tools)
        except (MissingError, InstallError) as reason:
            what = "skipped" if isinstance(reason, MissingError) else "failed"
            print(f"matrix: {name} {what}: {reason}", file=sys.stderr)
            new[name, ""] = {"Python": row.python, "jax": f"{what}: {reason}"}
            continue
        for devices in args.devices:
            cells = dict(zip(FIRST[4:], versions(python), strict=True))
            cells |= {"date": str(datetime.date.today()), "cores": str(os.cpu_count())}
            new[name, str(devices)] = cells
            for each in jobs:
                cells[each] = job(each, python, devices, args.times, args.limit)
                print(name, devices, each, cells[each], file=sys.stderr, flush=True)
            if devices == 2 and args.agreement:
                cells["1 = 2"] = agreement(python, args.limit)
            if devices == max(args.devices) and tools:
                cells["tests"] = tests(python, args.tests, args.test_limit)
            print(name, devices, *cells.values(), sep=" | ", file=sys.stderr, flush=True)
    text = shown(new)
    print(text)
    if args.out:
        earlier = read(args.out.read_text()) if args.out.exists() else {}
        args.out.write_text(shown(joined(earlier, new)))
    return int(any(is_failure(cell) for cells in new.values() for cell in cells.values()))


def is_failure(cell: str) -> bool:
    return bool(re.search(r"over|exit|SIG|ended|resumed|differ|failed|error", cell))


def joined(earlier: Table, new: Table) -> Table:
    """Cells that were filled before stay, unless they are filled again."""
    # A row that could not be installed then is not worth keeping.
    keys = {key for key in earlier if key[1]} | new.keys()
    ordered = sorted(keys, key=lambda key: (list(ROWS).index(key[0]), key[1]))
    return {key: earlier.get(key, {}) | new.get(key, {}) for key in ordered}


def shown(table: Table) -> str:
    filled = {name for cells in table.values() for name in cells}
    columns = [name for name in (*FIRST[2:], *JOBS, *LAST) if name in filled]
    lines = [[*FIRST[:2], *columns], ["---"] * (2 + len(columns))]
    lines += [[*key, *(cells.get(name, "") for name in columns)] for key, cells in table.items()]
    rows = [f"| {' | '.join(cells)} |" for cells in lines]
    return "\n".join([ABOUT.format(tolerance=TOLERANCE), "", *rows, ""])


def read(text: str) -> Table:
    """What `shown` wrote."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    filled = [{name: cell for name, cell in zip(header, row, strict=True) if cell} for row in rows]
    return {(row.pop("row"), row.pop("devices", "")): row for row in filled}


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
        "--agreement", action="store_true", help="compare the seeds of one device and of two"
    )
    parser.add_argument(
        "--tests", nargs="*", metavar="PATH", help="run these tests, or all of them"
    )
    parser.add_argument("--limit", type=float, default=300, help="seconds of a command")
    parser.add_argument("--test-limit", type=float, default=7200, help="seconds of the tests")
    parser.add_argument("--out", type=Path, help="a file for the table, whose other cells stay")
    parser.add_argument("--environments", type=Path, default=ROOT / ".cache/matrix", metavar="DIR")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
