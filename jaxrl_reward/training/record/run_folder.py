"""A run's folder: who owns it, and what is written there, all of it atomically.

    config.json       arms: what each one is; packages and device
    metrics.parquet   rows: arm, seed, step, metric, value
    summary.json      only when the run is complete
    checkpoints/ARM/  see `checkpoint.py`

A reader, or a run resumed after `kill -9`, sees a file's old content or its
new one, never a part.
"""

import contextlib
import io
import json
import math
import os
import platform
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow.parquet as pq

from jaxrl_reward.files import PARTIAL, user_path, write_atomic
from jaxrl_reward.nn.own import Own
from jaxrl_reward.training import imported
from jaxrl_reward.training.devices import processes
from jaxrl_reward.training.devices.sharding import device_name
from jaxrl_reward.training.record.metrics import Rows, folder_name
from jaxrl_reward.types import UserError, nearest
from jaxrl_reward.version import __version__

try:
    import fcntl
except ImportError:  # not on Windows; there the folder is not locked
    fcntl = None

# What a run writes in its folder, beside figures of any name, and a search or a sweep.
_RESULTS = ("summary.json", "metrics.parquet")
MARKS = {"sweep.json": "sweep", "study.log": "search"}
_WRITTEN = (*_RESULTS, "config.json", "report.md", "failure.json", *MARKS, "study.log.lock")
_LENGTH = ("total_steps", "evals", "log_points")  # of a configuration, may change with the first
_PACKAGES = "jax jaxlib flax optax chex numpy orbax-checkpoint gymnax brax mujoco mujoco-mjx"


class BusyError(UserError):
    """Another process has claimed the folder."""


def remove_partial(path: Path) -> None:
    """Deletes the files that an interrupted write of a run left in its folder."""
    for left in path.glob(f"{PARTIAL}*"):
        number, _, name = left.name.removeprefix(PARTIAL).partition("-")
        ours = name in _WRITTEN or name.endswith(".png")
        if ours and number.isdecimal() and left.is_file():
            left.unlink(missing_ok=True)


def to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def plain(value: Any) -> Any:
    """Configuration as JSON has it: dataclasses are dicts, arrays are lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Own):
        return value.text
    if fields := getattr(type(value), "__dataclass_fields__", None):
        return {name: plain(getattr(value, name)) for name in fields}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return np.asarray(value).tolist()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def rows_to_parquet(rows: Rows) -> bytes:
    """The bytes of a Parquet file; the same rows always give the same bytes."""
    buffer = io.BytesIO()
    pq.write_table(rows.table, buffer, compression="zstd")
    return buffer.getvalue()


def rows_from_parquet(content: bytes) -> Rows:
    # Without threads, which may still be on their way where a command ends at once.
    return Rows(pq.ParquetFile(io.BytesIO(content), pre_buffer=False).read(use_threads=False))


def load_rows(path: Path | str) -> Rows:
    """The rows of a run: `path` is its folder or its `metrics.parquet`.

    Raises:
      UserError: there is no such file, or it cannot be read.
    """
    path = user_path(path)
    file = path / "metrics.parquet" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{file} does not exist; name the folder of a run")
    try:
        return rows_from_parquet(file.read_bytes())
    except Exception as error:
        raise UserError(f"{file} cannot be read as rows of a run: {_line(error)}") from error


def load_config(path: Path | str) -> dict[str, Any]:
    """A run's `config.json`.

    Raises:
      UserError: the folder holds no run, or the file cannot be read.
    """
    file = user_path(path) / "config.json"
    try:
        config = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} holds no run: there is no config.json in it") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {_line(error)}; start in a new folder") from error
    if not isinstance(config, dict) or not isinstance(config.get("arms"), dict):
        raise UserError(f"{file} is not the configuration of a run; start in a new folder")
    return config


def arm_config(path: Path | str, arm: str | None = None) -> tuple[str, dict[str, Any]]:
    """One arm's name and configuration; without a name, the only arm there is."""
    arms = load_config(path)["arms"]
    if arm is None and len(arms) == 1:
        arm = next(iter(arms))
    if arm is None:
        raise UserError(f"{path} holds several arms; choose one of: {', '.join(sorted(arms))}")
    if arm not in arms:
        raise UserError(f"{path} holds no arm {arm!r}; {nearest(arm, arms)}")
    if "agent" not in arms[arm]:
        raise UserError(f"arm {arm!r} of {path} was measured and trained no agent; see report.md")
    return arm, arms[arm]


def checkpoints_of(path: Path | str, arm: str) -> Path:
    """The folder of an arm's checkpoints."""
    return user_path(path) / "checkpoints" / folder_name(arm)


class RunFolder:
    """A folder claimed by one run, of one arm or several. Also a context.

    The claim is a lock that the operating system drops when the process ends,
    however it ends.
    """

    def __init__(self, path: Path, resume: bool, lock: int | None):
        self.path, self.resume = path, resume
        self._lock = lock
        self._arms: set[str] = set()

    @classmethod
    def claim(
        cls, path: Path | str, *, resume: bool = False, mark: str | None = None
    ) -> "RunFolder":
        """Takes a folder for a run, creating it.

        Nothing in it is removed or replaced that is not a run's.

        Args:
          path: the folder.
          resume: continue the run in it, if there is one.
          mark: the file of `MARKS` that says that it is of a search or a sweep.

        Raises:
          UserError: it holds a run and `resume` is false, it holds files that are no
            run's where a run writes its own, another process is using it
            (`BusyError`), or it cannot be written.
        """
        path = user_path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = _lock(path)
            folder = cls(path, resume, lock)
        except (FileExistsError, NotADirectoryError):
            raise UserError(f"{path} is not a folder; choose another --out") from None
        except OSError as error:
            raise UserError(
                f"{path} cannot be written ({error.strerror}); choose another"
            ) from error
        held = _held(path)
        if problem := _problem(path, resume, mark, held):
            folder.close()
            raise UserError(problem)
        remove_partial(path)
        if not held:  # of a run that stopped before it had anything to keep
            (path / "config.json").unlink(missing_ok=True)
        return folder

    @classmethod
    def join(cls, path: Path | str, *, resume: bool = False) -> "RunFolder":
        """As `claim`, by all processes of a job: only the first writes, all must see it."""
        claimed = processes.first_does(lambda: cls.claim(path, resume=resume))
        folder = cls(user_path(path), resume, None) if claimed is None else claimed
        if processes.agree(not (folder.path / ".lock").exists()):
            folder.close()
            raise UserError(f"{path} must be a folder that all processes share; choose another")
        return folder

    def expect(self, arms: Iterable[str]) -> None:
        """Raises a `UserError` if the folder holds other arms: their results would be lost."""
        if not (self.path / "config.json").exists():
            return
        if others := load_config(self.path)["arms"].keys() - set(arms):
            raise UserError(
                f"{self.path} holds another run, with an arm {min(others)!r} that this one does "
                "not have; choose another --out"
            )

    def lengthen(self, arms: Mapping[str, Mapping[str, Any]]) -> None:
        """Lets these arms go on to more steps than they were started with, all or none.

        Evaluations and log points may then be others too.

        Raises:
          UserError: an arm that is to be longer was started with another configuration.
        """
        if not (self.path / "config.json").exists():
            return
        old, longer = load_config(self.path), {}
        for arm in arms.keys() & old["arms"].keys():
            before, config = old["arms"][arm], json.loads(to_json(plain(arms[arm])))
            if config["total_steps"] > before.get("total_steps", math.inf):
                longer[arm] = before | {key: config[key] for key in _LENGTH}
                if found := difference(longer[arm], config):
                    raise self._another(arm, found)
        if longer:
            (self.path / "summary.json").unlink(missing_ok=True)  # it is not over any more
            merged = {**old, "arms": {**old["arms"], **longer}}
            write_atomic(self.path / "config.json", to_json(merged))

    def register(self, arms: Mapping[str, Mapping[str, Any]]) -> None:
        """Adds arms to `config.json`, or checks that they are those there; only one process does.

        Raises:
          UserError: an arm was started with another configuration, or its name is used twice.
        """
        processes.first_does(lambda: self._register(arms))

    def _register(self, arms: Mapping[str, Mapping[str, Any]]) -> None:
        for arm in arms:
            if not arm:
                raise UserError("an arm needs a name; give it one, such as 'env'")
            if arm in self._arms:
                raise UserError(f"two arms are called {arm!r}; give each its own name")
            self._arms.add(arm)
        now = {"python": platform.python_version(), "packages": versions()}
        now |= {"device": device_name(), "devices": jax.device_count()}
        old = load_config(self.path) if (self.path / "config.json").exists() else {"arms": {}}
        imported.check_same(self.path, old)
        new = {name: json.loads(to_json(plain(config))) for name, config in arms.items()}
        for name in [each for each in new if each in old["arms"]]:
            if found := difference(old["arms"][name], new.pop(name)):
                raise self._another(name, found)
        if len(new) < len(arms) and (changes := ", ".join(_changes(old, now))):
            warnings.warn(
                f"{self.path} was started with {changes}: what rounds otherwise soon learns "
                "otherwise, and each seed may go on as another would",
                stacklevel=3,
            )
        if new:
            kept = {key: old[key] for key in ("imports", "vouched") if key in old}
            merged = {"arms": {**old["arms"], **new}, **now, **kept, **imported.record()}
            write_atomic(self.path / "config.json", to_json(merged))

    def _another(self, arm: str, found: tuple[str, Any, Any]) -> UserError:
        key, was, now = found
        return UserError(
            f"{self.path} holds another run: arm {arm!r} was started with {key} = {was}, "
            f"not {now}; use the same, or choose another --out"
        )

    def checkpoints(self, arm: str) -> Path:
        return checkpoints_of(self.path, arm)

    def write_rows(self, rows: Rows) -> None:
        """Replaces the rows of these arms in `metrics.parquet`, other arms' are kept."""
        if not processes.is_first():
            return
        parts: dict[str, Rows] = {}
        if (self.path / "metrics.parquet").exists():
            try:
                parts = load_rows(self.path).by_arm()
            except UserError as error:  # every arm's rows are in its checkpoint too
                warnings.warn(f"{error}; it is written again", stacklevel=2)
        parts |= rows.by_arm()
        content = rows_to_parquet(Rows.concatenate(parts.values()))
        write_atomic(self.path / "metrics.parquet", content)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes `summary.json`, which says that the run is complete."""
        if processes.is_first():
            write_atomic(self.path / "summary.json", to_json(plain(summary)))

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def merge_summaries(
    summaries: Iterable[Mapping[str, Any]], verdicts: Sequence[Mapping[str, str]] = ()
) -> dict[str, Any]:
    """One summary of a run of several arms: speed is total steps over total time."""
    summaries = list(summaries)
    counts = {
        key: sum(each.get(key, 0) for each in summaries) for key in ("env_steps", "gradient_steps")
    }
    steps = sum(counts.values())
    # An arm may have taken none, and then has no speed.
    seconds = sum(_steps(each) / (each["steps_per_second"] or 1.0) for each in summaries)
    merged = {
        "arms": {arm: entry for each in summaries for arm, entry in each["arms"].items()},
        "env_steps": counts["env_steps"],
        "steps_per_second": steps / seconds if steps else 0.0,
        "compile_seconds": sum(each["compile_seconds"] for each in summaries),
        "wall_seconds": sum(each["wall_seconds"] for each in summaries),
        "device": summaries[0]["device"],
        "verdicts": [dict(verdict) for verdict in verdicts],
    }
    if counts["gradient_steps"]:
        merged["gradient_steps"] = counts["gradient_steps"]
    for key in ("rounded_up", "stopped"):
        if found := {arm: x for each in summaries for arm, x in each.get(key, {}).items()}:
            merged[key] = found
    return merged


def _steps(summary: Mapping[str, Any]) -> int:
    return summary["env_steps"] + summary.get("gradient_steps", 0)


def steps_of(summary: Mapping[str, Any]) -> str:
    """`500,000 environment steps`, by what a run's steps are; empty if it took none."""
    names = {"env_steps": "environment steps", "gradient_steps": "gradient steps"}
    found = [f"{summary[key]:,} {name}" for key, name in names.items() if summary.get(key)]
    return " and ".join(found)


def steps_axis(arms: Mapping[str, Mapping[str, Any]]) -> str:
    """What a horizontal axis counts, by the configurations of the arms that are on it."""
    kinds = {
        arm.get("axis") or f"{'Gradient' if 'data' in arm else 'Environment'} steps (per seed)"
        for arm in arms.values()
    }
    return " / ".join(sorted(kinds))


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What a result depends on and is not as it was, `jax 0.9.2 (now 0.12.0)`."""
    before, after = ({**each, **each.get("packages", {})} for each in (old, new))
    for name in dict.fromkeys((*after, *before)):
        was, now = before.get(name, "absent"), after.get(name, "absent")
        if was != now and name not in ("packages", "arms", "imports", "vouched"):
            yield f"{name} {was} (now {now})"


def versions() -> dict[str, str]:
    """The installed versions of what can change a result."""
    found = {"jaxrl-reward": __version__}
    for name in _PACKAGES.split():
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _problem(path: Path, resume: bool, mark: str | None, held: Sequence[str]) -> str | None:
    """Why a run may not write into the folder, if that is so."""
    found = next((name for name in MARKS if (path / name).exists()), None)
    if found != mark and (found or held):
        what = MARKS[found] if found else "run"
        no = f" that is no {MARKS[mark]}" if mark else ""
        return f"{path} holds a {what}{no}; choose another --out"
    if (held or found) and not resume:
        return (
            f"{path} holds another {MARKS[found] if found else 'run'}; choose another --out, "
            "or continue it with --resume"
        )
    if held and not (path / "config.json").exists():
        return f"{path} has results but no config.json to resume from; choose another --out"
    if held or found:
        return None
    # It holds no run: what one would write over is someone else's.
    others = [name for name in sorted(os.listdir(path)) if _written(name)]
    if "config.json" in others and _is_config(path):
        others.remove("config.json")
    if others:
        return f"{path} holds {others[0]}, which is no run's; choose a new folder with --out"
    return None


def _held(path: Path) -> list[str]:
    """What a run has left in the folder that is worth keeping."""
    saved = (each.name for each in path.glob("checkpoints/*/*"))
    held = [name for name in _RESULTS if (path / name).exists()]
    return held + ["checkpoints"] * any(not name.startswith(PARTIAL) for name in saved)


def _written(name: str) -> bool:
    """Whether a run may write a file of this name into its folder."""
    return name in (*_WRITTEN, "trials") or (name.endswith(".png") and name[:1] != ".")


def _is_config(path: Path) -> bool:
    try:
        return bool(load_config(path))
    except UserError:
        return False


def _lock(path: Path) -> int | None:
    descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise BusyError(
                f"another process is running in {path}; choose another --out, or wait for it"
            ) from None
        except OSError:  # a file system without locks
            pass
    return descriptor


def difference(old: Any, new: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The first entry in which two configurations differ, single values before groups.

    Settings may follow from a value such as the length of the run, which is what was given.
    """
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return None if old == new else (name, old, new)
    keys = [*old, *(key for key in new if key not in old)]
    for key in sorted(keys, key=lambda key: isinstance(old.get(key), dict)):
        inner = f"{name}.{key}" if name else key
        if found := difference(old.get(key), new.get(key), inner):
            return found
    return None


def _line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
