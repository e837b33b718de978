"""Compiled programs are kept between commands, in a cache folder of the user's.

JAX's own persistent compilation cache, told where and how much. It is set by environment
variables before JAX is loaded, so that the workers of a sweep have it too.
"""

import contextlib
import hashlib
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from jaxrl_reward.cli.parser import Parser

LIMIT = 1 << 30  # bytes
_OFF = "--no-cache"


def add_flag(parser: Parser) -> None:
    """`--no-cache`, which `use` looks for."""
    parser.add_argument(_OFF, action="store_true", help="compile anew, and keep no programs")


def use(argv: Sequence[str]) -> None:
    """Has JAX keep what it compiles, unless `argv` or the environment say otherwise.

    For a process of one's own, before it loads JAX. What was not used for longest is
    removed where the folder has grown beyond `LIMIT`. A folder that cannot be made or
    written to is no error: programs are compiled then, as without it.
    """
    if _OFF in argv:
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    if _OFF in argv or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    path = folder()
    try:
        path.mkdir(parents=True, exist_ok=True)
        tidy(path, LIMIT)
    except OSError:
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(path)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    # A program that is loaded is announced in lines for XLA's authors, some of them as errors.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def folder() -> Path:
    """Where programs are kept: for each kind of processor its own, as a home may have several.

    JAX does not tell processors apart, and a program may need what another does not have.
    """
    home = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path(os.path.expanduser("~")) / ".cache"
    return base / "jaxrl-reward" / f"programs-{_processor()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = [f"model name: {platform.machine()} {platform.processor()}"]
    kind = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    return hashlib.sha256("\n".join(sorted(kind)).encode()).hexdigest()[:12]


def tidy(path: Path, limit: int) -> None:
    """Removes programs, those first that were not used for longest, until `limit` bytes are left.

    Other processes may do the same at the same time.
    """
    kept = []
    for each in path.glob("*-cache"):
        with contextlib.suppress(FileNotFoundError):
            found = each.stat()
            kept.append((max(found.st_atime, found.st_mtime), found.st_size, each))
    total = sum(size for _, size, _ in kept)
    for _, size, each in sorted(kept):
        if total <= limit:
            return
        each.unlink(missing_ok=True)
        total -= size
