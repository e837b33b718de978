"""Whether a run's state fits on the devices: seen before anything is compiled."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jaxrl_reward.types import UserError

# Settings that make a state smaller, where an agent has them.
_SIZES = ("buffer_size", "num_envs")
SHARE = 0.9  # of the memory: programs and what they work on need the rest, and often more
_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container


def check(agent: Any, state: Any, lanes: int, devices: Sequence[Any]) -> None:
    """Raises a `UserError` with the sizes, if the state alone fills the memory.

    What a program needs besides is known only when it is compiled, and not counted.

    Args:
      agent: what is trained.
      state: shapes and dtypes of all lanes, leaves `[L, ...]`.
      lanes: L.
      devices: that share the lanes.
    """
    needed = size(state)
    there = available(devices)
    if there is None or needed <= SHARE * there:
        return
    found = [name for name in _SIZES if getattr(agent.config, name, 1) > 1]
    flags = [f"--{name.replace('_', '-')} ({getattr(agent.config, name)})" for name in found]
    raise UserError(
        f"the state of {agent.name} takes {_bytes(needed)}, {_bytes(needed / lanes)} for each of "
        f"{lanes} seeds, and there are {_bytes(there)}; lower {', '.join([*flags, '--seeds'])}"
    )


def size(state: Any) -> int:
    """Bytes of all leaves."""
    leaves = jax.tree.leaves(state)
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def available(devices: Sequence[Any]) -> int | None:
    """Bytes of all of these devices, used or not; None where they do not say."""
    if devices[0].platform != "cpu":
        limits = [(each.memory_stats() or {}).get("bytes_limit") for each in devices]
        return None if None in limits else sum(filter(None, limits))
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None
    try:
        return min(found, int(_LIMIT.read_text()))
    except (OSError, ValueError):  # there is none, or it is `max`
        return found


def _bytes(count: float) -> str:
    unit = min(int(math.log10(max(count, 1)) // 3), 4)
    return f"{count / 1000**unit:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[unit]}"
