"""Checkpoints that are whole or are recognised as not: orbax and checksums.

    FOLDER/STEP/state/          orbax: every leaf, under its path in the state
    FOLDER/STEP/meta.json       step, shapes and dtypes, the caller's own data
    FOLDER/STEP/...             the caller's own files
    FOLDER/STEP/manifest.json   sha256 of each of the above

A checkpoint is written under another name and renamed when its manifest is
complete. `restore` reads the newest one whose files agree with its manifest.
Orbax appears in this file only.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding

from jaxrl_reward.files import PARTIAL, is_full, sync_folder, user_path
from jaxrl_reward.training.devices import processes
from jaxrl_reward.training.record.run_folder import to_json
from jaxrl_reward.types import UserError

_MANIFEST = "manifest.json"


class CheckpointWarning(UserWarning):
    """A checkpoint was damaged and an earlier one is used."""


class Restored(NamedTuple):
    """A checkpoint read back: `tree` has the target's structure."""

    step: int
    tree: Any
    meta: dict[str, Any]
    path: Path

    def read(self, name: str) -> bytes:
        """One of the caller's own files."""
        return (self.path / name).read_bytes()


def save(
    folder: Path | str,
    step: int,
    tree: Any,
    meta: Mapping[str, Any],
    *,
    files: Mapping[str, bytes] | None = None,
    keep: int = 2,
) -> Path:
    """Writes `FOLDER/STEP` and deletes all but the newest `keep` checkpoints.

    Checkpoints of later steps are deleted too: they are damaged, or of a
    future that this run has left. What is no checkpoint is left alone.

    Several processes all call this and write their parts into one folder.

    Args:
      folder: where checkpoints of one arm lie.
      step: this checkpoint's name, at least 0.
      tree: any pytree of arrays, typed PRNG keys included.
      meta: JSON data that comes back with the state.
      files: further files, by name.
      keep: how many checkpoints to leave, at least 1.
    """
    folder = user_path(folder).absolute()
    try:
        return _save(folder, step, tree, meta, files or {}, keep)
    except Exception as error:
        if processes.is_first() and is_full(error):  # the next attempt needs the room
            _remove_partial(folder)
        raise


def _save(
    folder: Path,
    step: int,
    tree: Any,
    meta: Mapping[str, Any],
    files: Mapping[str, bytes],
    keep: int,
) -> Path:
    partial, first = folder / f"{PARTIAL}{step}", processes.is_first()
    if first:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_partial(folder)
        partial.mkdir()
    processes.wait(f"begin {partial}")
    leaves = _by_path(tree)
    stored = {name: leaf for name, leaf in leaves.items() if leaf.size}  # orbax refuses empty ones
    with _orbax() as ocp, contextlib.closing(ocp.StandardCheckpointer()) as checkpointer:
        checkpointer.save(partial / "state", stored)
        checkpointer.wait_until_finished()
    if first:
        _finish(folder, partial, step, leaves, meta, files)
        _forget(folder, step, keep)
    processes.wait(f"end {partial}")
    return folder / str(step)


def _finish(
    folder: Path,
    partial: Path,
    step: int,
    leaves: Mapping[str, Any],
    meta: Mapping[str, Any],
    files: Mapping[str, bytes],
) -> None:
    """Writes what is beside the state, and renames the whole."""
    described = {"step": step, "leaves": _describe(leaves), "meta": dict(meta)}
    (partial / "meta.json").write_bytes(to_json(described))
    for name, content in files.items():
        (partial / name).write_bytes(content)
    (partial / _MANIFEST).write_bytes(_manifest(_checksums(partial, sync=True)))
    _sync_file(partial / _MANIFEST)
    sync_folder(partial)

    final = folder / str(step)
    _remove(final)
    os.replace(partial, final)
    sync_folder(folder)


def _forget(folder: Path, step: int, keep: int) -> None:
    """Deletes what `save` does not keep."""
    known = [each for each in steps(folder) if _is_checkpoint(folder / str(each))]
    older, later = [each for each in known if each < step], [each for each in known if each > step]
    for each in later + older[: len(older) - (keep - 1)]:
        _remove(folder / str(each))


def steps(folder: Path | str) -> list[int]:
    """The steps that have a checkpoint, damaged or not, in ascending order."""
    folder = user_path(folder)
    if not folder.is_dir():
        return []
    return sorted(int(each.name) for each in folder.iterdir() if each.name.isdecimal())


def damage(path: Path | str) -> str | None:
    """What is wrong with a checkpoint's files, in a few words; None if nothing."""
    path = user_path(path)
    try:
        raw = (path / _MANIFEST).read_bytes()
        expected = json.loads(raw)["files"]
        if _manifest(expected) != raw:
            return f"{_MANIFEST} was altered"
        found = _checksums(path)
    except FileNotFoundError:
        return f"{_MANIFEST} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{_MANIFEST} cannot be read"
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} does not belong to it"
        if found[name] != expected[name]:
            return f"{name} does not match its checksum"
    return None


def restore(folder: Path | str, target: Any) -> Restored | None:
    """The newest undamaged checkpoint, or None where there is none at all.

    Args:
      folder: where checkpoints of one arm lie.
      target: a pytree of arrays or `jax.ShapeDtypeStruct`s (with shardings, or
        the first device is used): the structure to return.

    Raises:
      UserError: the checkpoint is of another agent, or every one is damaged.
    """
    folder = user_path(folder).absolute()
    available = steps(folder)
    passed: list[tuple[int, str]] = []
    for step in reversed(available):
        path = folder / str(step)
        problem = damage(path)
        if problem is None:
            try:
                restored = _read(path, step, target)
            except UserError:
                raise
            except Exception as error:  # what it may be is not documented
                problem = f"orbax cannot read it: {str(error).strip().split(chr(10))[0]}"
            else:
                _warn(folder, passed, step)
                return restored
        passed.append((step, problem))
    if available:
        step, problem = passed[0]
        raise UserError(
            f"no readable checkpoint in {folder} ({step}: {problem}); "
            "delete the folder to start from the beginning"
        )
    return None


def _warn(folder: Path, passed: list[tuple[int, str]], step: int) -> None:
    for damaged, problem in passed:
        warnings.warn(
            f"checkpoint {folder / str(damaged)} is damaged ({problem}); "
            f"using the one at step {step}",
            CheckpointWarning,
            stacklevel=3,
        )


def _read(path: Path, step: int, target: Any) -> Restored:
    saved = json.loads((path / "meta.json").read_bytes())
    if saved["step"] != step:
        raise ValueError(f"it is of step {saved['step']}")
    wanted = _by_path(target)
    _check_fits(path, saved["leaves"], _describe(wanted))
    abstract = {name: _abstract(leaf) for name, leaf in wanted.items()}
    stored = {name: leaf for name, leaf in abstract.items() if leaf.size}
    with _orbax() as ocp, contextlib.closing(ocp.StandardCheckpointer()) as checkpointer:
        leaves = checkpointer.restore(path / "state", stored)
    for name, leaf in abstract.items():
        if not leaf.size:
            leaves[name] = jax.device_put(jnp.zeros(leaf.shape, leaf.dtype), leaf.sharding)
    ordered = [leaves[name] for name in wanted]
    tree = jax.tree.unflatten(jax.tree.structure(target), ordered)
    return Restored(step, tree, saved["meta"], path)


def _check_fits(path: Path, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name in [*wanted, *(name for name in saved if name not in wanted)]:
        if saved.get(name) != wanted.get(name):
            old, new = (" ".join(map(str, each.get(name, ["absent"]))) for each in (saved, wanted))
            raise UserError(
                f"checkpoint {path} is of another agent: {name} is {old} there, {new} here; "
                "use the configuration that it was saved with"
            )


def _by_path(tree: Any) -> dict[str, Any]:
    """Leaves by their path, such as `state.params.Dense_0.kernel`."""
    flat = jax.tree.flatten_with_path(tree)[0]
    leaves = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in flat}
    if len(leaves) != len(flat):
        raise ValueError("two leaves of the state have the same path")
    return leaves


def _describe(leaves: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: [list(leaf.shape), str(leaf.dtype)] for name, leaf in leaves.items()}


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = leaf.sharding or SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _manifest(files: Mapping[str, str]) -> bytes:
    """One exact text per content, itself checked, so that any changed bit shows."""
    listed = json.dumps(files, sort_keys=True)
    checksum = hashlib.sha256(listed.encode()).hexdigest()
    return to_json({"checksum": checksum, "files": dict(sorted(files.items()))})


def _checksums(path: Path, sync: bool = False) -> dict[str, str]:
    """sha256 of each file of a checkpoint but its manifest, by relative path."""
    found = {}
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_file() and name != _MANIFEST:
            with open(file, "rb") as content:
                found[name] = hashlib.file_digest(content, "sha256").hexdigest()
            if sync:
                _sync_file(file)
        elif sync and file.is_dir():
            sync_folder(file)
    return found


def _sync_file(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _remove_partial(folder: Path) -> None:
    """Deletes what an interrupted `save` left."""
    for left in folder.glob(f"{PARTIAL}*"):
        step = left.name.removeprefix(PARTIAL).removeprefix("old-")
        if step.isdecimal() and left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)


def _is_checkpoint(path: Path) -> bool:
    """Whether it is one, whole or damaged, and no folder of someone else's."""
    if not path.is_dir() or path.is_symlink():
        return False
    held = os.listdir(path)
    return not held or any(name in ("state", "meta.json", _MANIFEST) for name in held)


def _remove(path: Path) -> None:
    """Deletes a checkpoint; one half deleted no longer has its name."""
    if path.exists():
        if not _is_checkpoint(path):
            raise UserError(f"{path} is no checkpoint; choose another folder for checkpoints")
        leaving = path.with_name(f"{PARTIAL}old-{path.name}")
        shutil.rmtree(leaving, ignore_errors=True)
        os.replace(path, leaving)
        shutil.rmtree(leaving, ignore_errors=True)


def load_orbax() -> None:
    """Ahead of the first checkpoint, which would do it else."""
    with _orbax():
        pass


@contextlib.contextmanager
def _orbax() -> Iterator[Any]:
    """Orbax, imported here and silenced here: what goes wrong it raises, too."""
    root = logging.getLogger()
    before = list(root.handlers)
    import orbax.checkpoint as ocp
    from absl import logging as absl_logging

    logger = absl_logging.get_absl_logger()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    # Its threads and those of tensorstore print what the main one raises.
    hooks = sys.excepthook, threading.excepthook
    sys.excepthook = threading.excepthook = lambda *_: None
    try:
        yield ocp
    finally:
        sys.excepthook, threading.excepthook = hooks
        logger.setLevel(level)
        for handler in [each for each in root.handlers if each not in before]:
            root.removeHandler(handler)
