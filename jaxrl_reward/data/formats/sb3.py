"""Stable-Baselines3's replay buffers, as `save_replay_buffer` pickles them.

Nothing of the pickle is run: only its arrays and plain values are read. Each environment's
steps are a stream of their own, oldest first; its last step may be in mid-episode.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.data import described
from jaxrl_reward.data.dataset import Dataset, Provenance, make
from jaxrl_reward.data.decoding import unpickle
from jaxrl_reward.data.rows import Found, Traits, check_option
from jaxrl_reward.types import UserError

OPTIONS = ("actions",)
ACTIONS = ("unit", "environment")
TRAITS = Traits(
    ends="yes, with handle_timeout_termination",
    successor="yes",
    spaces="Box of any shape, Discrete, MultiDiscrete, MultiBinary, Dict",
    images="uint8 as they are",
)
_BUFFERS = (
    "stable_baselines3.common.buffers.ReplayBuffer",
    "stable_baselines3.common.buffers.DictReplayBuffer",
)
_RECORDS = (
    *_BUFFERS,
    *("gymnasium.spaces.box.Box", "gymnasium.spaces.discrete.Discrete"),
    *("gymnasium.spaces.multi_discrete.MultiDiscrete", "gymnasium.spaces.dict.Dict"),
    "gymnasium.spaces.multi_binary.MultiBinary",
    # What draws samples of a space, and where a buffer gives its batches: not used.
    *("numpy.random._pickle.__generator_ctor", "numpy.random._pickle.__bit_generator_ctor"),
    *("numpy.random._pcg64.PCG64", "numpy.random.bit_generator.SeedSequence"),
    *("numpy.random.bit_generator.__pyx_unpickle_SeedSequence", "torch.device"),
    *("numpy.float32", "numpy.float64", "numpy.int64", "numpy.int8", "numpy.uint8"),
)


def holds(found: Found) -> bool:
    """Whether it is a pickle; whose, its content says when it is read."""
    return found.kind == "pickle"


def read(path: Path | str, actions: str = "unit") -> Dataset:
    """Stable-Baselines3's replay buffers: pickles, of which nothing is run.

    Args:
      path: the `.pkl`.
      actions: Box actions are kept from -1 to 1 by SB3's off-policy agents, and are
        scaled back; `environment` takes them as they are.

    Raises:
      UserError: it is damaged, no such buffer, or names what is not read.
    """
    path = Path(path)
    where = str(path)
    check_option(where, "actions", actions, ACTIONS)
    found = unpickle.read(path, _RECORDS)
    if not isinstance(found, unpickle.Record) or found.name not in _BUFFERS:
        kind = found.name if isinstance(found, unpickle.Record) else type(found).__name__
        raise UserError(f"{where} is a pickle of {kind}, and no replay buffer of SB3's")
    try:
        return _dataset(found.state, path, actions)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        line = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{where} is no whole replay buffer of SB3's ({line})") from None


def _dataset(buffer: dict[str, Any], path: Path, actions: str) -> Dataset:
    where, assumed = str(path), []
    observed, acted = (_space(buffer[f"{name}_space"]) for name in ("observation", "action"))
    compact = bool(buffer.get("optimize_memory_usage"))
    order, after = _order(buffer, compact, where)
    dones, timeouts = (_rows(buffer[name], order, where) for name in ("dones", "timeouts"))
    dones, timeouts = dones != 0, timeouts != 0
    what = f"{where}: observations"
    obs = described.observations(observed, _streams(buffer["observations"], order, where), what)
    later = buffer["observations"] if compact else buffer["next_observations"]
    next_obs = described.observations(observed, _streams(later, after, where), what)
    if not buffer["handle_timeout_termination"]:
        line = "ends are taken for terminations, as the buffer was kept without time limits"
        assumed.append(f"{line} (handle_timeout_termination=False)")
    first = np.concatenate([np.ones((1, dones.shape[1]), bool), dones[:-1]])
    if compact:
        # The next row at an end is the observation after a reset.
        inner = np.arange(len(dones)) < len(dones) - 1
        shown = _flat(dones & inner[:, None])
        next_obs[shown] = obs[shown]
        lost = int((_flat(dones & timeouts) & shown).sum())
        if lost:
            line = f"{lost} truncated steps have no successor: their own observation stands for it"
            assumed.append(f"{line} (optimize_memory_usage=True)")
    action = _rows(buffer["actions"], order, where)
    rows = {
        "obs": obs,
        "next_obs": next_obs,
        "action": _actions(acted, action, where, actions, assumed),
        "reward": _flat(_rows(buffer["rewards"], order, where)),
        "first": _flat(first),
        "terminated": _flat(dones & ~timeouts),
        "truncated": _flat(dones & timeouts),
    }
    provenance = Provenance(
        environment=path.stem,
        source=path.name,
        format="sb3",
        assumed=tuple(assumed),
        terminal_next_obs=not compact,
        observation_space=described.text(observed),
        action_space=described.text(acted),
    )
    return make(rows, provenance, where)


def _order(buffer: dict[str, Any], compact: bool, where: str) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the valid rows, oldest first, and where their successors lie."""
    size, pos = len(buffer["dones"]), int(buffer["pos"])
    if not 0 <= pos <= size:
        raise UserError(f"{where}: pos is {pos}, and the buffer has {size} rows")
    if not buffer["full"]:
        order = np.arange(pos)
    elif compact:  # the oldest row's observation is the newest's successor by now
        order = (np.arange(1, size) + pos) % size
    else:
        order = (np.arange(size) + pos) % size
    if not len(order):
        raise UserError(f"{where}: the buffer is empty; a dataset needs at least one row")
    return order, (order + 1) % size if compact else order


def _streams(value: Any, order: np.ndarray, where: str) -> Any:
    """Observations, of a Dict by name: one environment's after the other's, `[E T, ...]`."""
    if isinstance(value, dict):
        return {key: _flat(_rows(each, order, where)) for key, each in value.items()}
    return _flat(_rows(value, order, where))


def _rows(value: Any, order: np.ndarray, where: str) -> np.ndarray:
    """Rows `[T, E, ...]` in order."""
    if not isinstance(value, np.ndarray) or value.ndim < 2 or len(value) <= order.max():
        raise UserError(f"{where}: an array of the buffer is not [rows, environments, ...]")
    return value[order]


def _flat(rows: np.ndarray) -> np.ndarray:
    """`[T, E, ...]` as `[E T, ...]`: one environment's steps after the other's."""
    return np.swapaxes(rows, 0, 1).reshape(-1, *rows.shape[2:])


def _actions(
    acted: described.Description, rows: np.ndarray, where: str, actions: str, assumed: list[str]
) -> np.ndarray:
    rows = _flat(rows)
    if acted["kind"] != "Box":
        return described.actions(acted, rows.astype(np.int64), f"{where}: actions")
    rows = rows.reshape(len(rows), *acted["shape"])
    low, high = (np.asarray(acted[name], np.float32) for name in ("low", "high"))
    units = ((low == -1) & (high == 1)).all()
    bounded = (np.isfinite(low) & np.isfinite(high)).all()
    if actions == "environment" or units or not bounded:
        return rows
    if (np.abs(rows) > 1).any():
        assumed.append("actions are the environment's, as some are beyond -1 and 1")
        return rows
    assumed.append("actions were kept from -1 to 1 and are scaled back (else actions=environment)")
    return low + np.float32(0.5) * (rows + np.float32(1)) * (high - low)  # as SB3 does


def _space(record: Any) -> described.Description:
    """The description of a pickled space of gymnasium's."""
    kind, state = record.name.rpartition(".")[2], record.state
    if kind == "Box":
        return described.box(state["_shape"], state["dtype"], state["low"], state["high"])
    if kind == "Discrete":
        return {"kind": kind, "n": int(state["n"]), "start": int(state["start"])}
    if kind == "MultiDiscrete":
        return {"kind": kind, "nvec": np.asarray(state["nvec"]).tolist(), "dtype": "int64"}
    if kind == "MultiBinary":
        return {"kind": kind, "shape": list(state["_shape"])}
    inner = {str(key): _space(each) for key, each in state["spaces"].items()}
    return {"kind": kind, "spaces": inner}
