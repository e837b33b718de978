"""LeRobot's data sets, format v3.0: a folder with `meta/info.json` and tables of frames.

A frame is an observation and the action that followed; there is no last observation. What
`next.` names is the result of the row's action. Videos are not read.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.data import described
from jaxrl_reward.data.dataset import Dataset, Provenance, make
from jaxrl_reward.data.decoding import arrow, images
from jaxrl_reward.data.fields import flag
from jaxrl_reward.data.rows import (
    DONES,
    MISSING,
    Found,
    Traits,
    assumed_of_dones,
    assumed_of_missing,
    check_option,
    chosen,
    successors,
)
from jaxrl_reward.types import UserError

VERSION = "v3.0"
OPTIONS = ("obs", "dones", "missing")
TRAITS = Traits(
    ends="no: dones=truncated or terminated, by next.done",
    successor="no: missing=drop or repeat",
    spaces="Box of any shape, by name",
    images="PNG in the tables, by obs=NAME; no video",
)
_COLUMNS = {"action": "action", "next.reward": "reward", "next.done": "done"}


def holds(found: Found) -> bool:
    """Whether it is a folder with `meta/info.json`."""
    return found.kind == "folder" and (found.path / "meta" / "info.json").is_file()


def read(
    path: Path | str, obs: str = "", dones: str = "truncated", missing: str = "drop"
) -> Dataset:
    """LeRobot's data sets of format v3.0, without videos.

    Args:
      path: the folder.
      obs: names of observations with `+` between; by default all, unless some are
        images or videos.
      dones: `terminated` takes frames whose `next.done` is true for terminations; by
        default episodes are truncated at their ends, and nothing terminates.
      missing: of an episode's last frame, which has no successor: `drop` it, or
        `repeat` its own observation in place of the next.

    Raises:
      UserError: the folder cannot be read, lacks what is named, or holds what is no data.
    """
    path = Path(path)
    where, assumed = str(path), []
    check_option(where, "missing", missing, MISSING)
    check_option(where, "dones", dones, DONES)
    about = _about(path)
    keys = _chosen(about["features"], obs, where)
    columns = _columns(path, [*keys, *_COLUMNS], where)
    found: dict[str, Any] = {
        ours: _array(columns[name], about["features"].get(name), f"{where}: {name}")
        for name, ours in _COLUMNS.items()
        if name in columns
    }
    if "action" not in found:
        raise UserError(f"{where} has no feature 'action'")
    seen = {
        name: _array(columns[name], about["features"][name], f"{where}: {name}") for name in keys
    }
    spaces = {name: described.of_rows(rows) for name, rows in seen.items()}
    observed = spaces[keys[0]] if len(keys) == 1 else {"kind": "Dict", "spaces": spaces}
    found["obs"] = described.observations(
        observed, seen[keys[0]] if len(keys) == 1 else seen, where
    )
    count = len(found["obs"])
    if "reward" not in found:
        warnings.warn(f"{where} has no next.reward: rewards are 0", stacklevel=2)
        assumed.append("rewards are 0, as no feature is next.reward")
        found["reward"] = np.zeros(count, np.float32)
    episode = columns["episode_index"]
    over = np.append(episode[1:] != episode[:-1], True)
    if dones == "terminated" and "done" not in found:
        raise UserError(f"{where} has no feature 'next.done'; leave dones=terminated out")
    done = found.pop("done", np.zeros(count, bool))
    found["terminated"] = flag("next.done", done, where) & (dones == "terminated")
    found["truncated"] = over & ~found["terminated"]
    assumed += assumed_of_dones(dones)
    assumed += assumed_of_missing(missing, int(found["truncated"].sum()))
    rows, left_out, known = successors(found, over, where, missing)
    provenance = Provenance(
        environment=path.name,
        source=path.name,
        format="lerobot",
        format_version=VERSION,
        assumed=tuple(assumed),
        terminal_next_obs=known,
        observation_space=described.text(observed),
    )
    return make(rows, provenance, where, left_out)


def _about(path: Path) -> dict[str, Any]:
    """`meta/info.json`, of the version that is read."""
    try:
        found = json.loads((path / "meta" / "info.json").read_bytes())
        version, features = found["codebase_version"], found["features"]
        well = all(isinstance(each, dict) and "dtype" in each for each in features.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: meta/info.json cannot be read, as LeRobot writes it") from None
    if version != VERSION:
        raise UserError(
            f"{path} is LeRobot's format {version}; have LeRobot convert it to {VERSION}"
        )
    if not well:
        raise UserError(f"{path}: features of meta/info.json have no dtype each")
    return found


def _chosen(features: dict[str, Any], obs: str, where: str) -> list[str]:
    """The observations that are read.

    Raises:
      UserError: one is a video or not there, or an image is among several, none named.
    """
    spaces, videos = {}, []
    for name, each in features.items():
        if not name.startswith("observation"):
            continue
        image = each["dtype"] in ("image", "video")
        shape = (1, 1, 3) if image else (1,)
        spaces[name] = described.box(shape, "uint8" if image else "float32", 0, 255)
        videos += [name] * (each["dtype"] == "video")
    names = obs.split("+") if obs else list(spaces)
    if video := next((name for name in names if name in videos), None):
        others = "+".join(name for name in spaces if name not in videos)
        fix = f"say ',obs={others}' to leave it out" if others else "it has nothing else to see"
        raise UserError(f"{where}: {video} is a video, which is not read; {fix}")
    return chosen(where, spaces, obs)


def _columns(path: Path, names: list[str], where: str) -> dict[str, Any]:
    """Columns of all frames, in the order of `index`."""
    import pyarrow as pa

    files = sorted((path / "data").glob("chunk-*/*.parquet"))
    if not files:
        raise UserError(f"{where} has no data/chunk-*/*.parquet")
    found = list(arrow.tables(where, files, "parquet"))
    for name in ("index", "episode_index"):
        if any(name not in each.column_names for each in found):
            raise UserError(f"{where}: a table has no column {name!r}")
    kept = [
        n for n in dict.fromkeys([*names, "index", "episode_index"]) if n in found[0].column_names
    ]
    try:
        table = pa.concat_tables([each.select(kept) for each in found])
        order = np.argsort(arrow.array(table["index"], f"{where}: index"), kind="stable")
        table = table.take(pa.array(order))
    except (pa.ArrowException, KeyError) as error:
        line = " ".join(str(error).split())[:200]
        raise UserError(f"{where}: the tables do not fit each other ({line})") from None
    if not len(table):
        raise UserError(f"{where} has no frames; a dataset needs at least one row")
    for name in names:
        if name not in kept and name not in _COLUMNS:
            raise UserError(f"{where}: the tables have no column {name!r}")
    columns: dict[str, Any] = {name: table[name] for name in kept}
    for name in ("index", "episode_index"):
        columns[name] = arrow.array(columns[name], f"{where}: {name}")
    if (np.diff(columns["episode_index"]) < 0).any():
        raise UserError(f"{where}: episode_index falls where index rises")
    return columns


def _array(column: Any, feature: Any, what: str) -> np.ndarray:
    """A feature as rows; images are decoded."""
    if isinstance(feature, dict) and feature["dtype"] == "image":
        shown = [_image(each.as_py(), what) for each in column]
        if len({each.shape for each in shown}) > 1:
            raise UserError(f"{what} has images of several sizes")
        return np.stack(shown)
    rows = arrow.array(column, what)
    # A feature of the shape [1] is a column of plain numbers.
    plain = isinstance(feature, dict) and list(feature.get("shape", ())) == [1] and rows.ndim == 1
    return rows[:, None] if plain and rows.dtype.kind == "f" else rows


def _image(cell: Any, what: str) -> np.ndarray:
    if not isinstance(cell, dict) or not isinstance(cell.get("bytes"), bytes):
        raise UserError(f"{what} has an image that lies in another file, which is not read")
    return images.decoded(cell["bytes"], what)
