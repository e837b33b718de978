"""What there is to say of data of any format: an overview as plain values, and a figure."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.data import described, traps
from jaxrl_reward.data.dataset import QUANTILES, Dataset, checksum
from jaxrl_reward.files import user_path
from jaxrl_reward.types import UserError

_SHOWN = 32  # numbers of an observation whose ranges are given one by one
_BINS = 40


def overview(dataset: Dataset, warned: tuple[str, ...] = ()) -> dict[str, Any]:
    """Plain values for JSON. Returns and lengths are of whole episodes.

    Args:
      dataset: the data.
      warned: what reading it warned of.
    """
    steps, known = dataset.steps, dataset.provenance
    returns, lengths = dataset.returns(), dataset.lengths()
    terminated, truncated = np.asarray(steps.terminated), np.asarray(steps.truncated)
    episodes = dataset.episodes()
    last = np.array([each.stop for each in episodes]) - 1
    score = None
    if len(returns) and known.random_return is not None and known.expert_return is not None:
        score = float(dataset.score(returns).mean())
    return {
        "source": known.source,
        "format": known.format or "npz",
        "version": known.format_version,
        "environment": known.environment,
        "steps": len(dataset) + (0 if dataset.left_out is None else len(dataset.left_out.row)),
        "rows": len(dataset),
        "episodes": len(lengths),
        "ends": {
            "terminated": int((terminated[last] & ~truncated[last]).sum()),
            "truncated": int((truncated[last] & ~terminated[last]).sum()),
            "both": int((terminated[last] & truncated[last]).sum()),
            "cut": sum(not each.whole for each in episodes),
        },
        "terminated_rows": int(terminated.sum()),
        "return": _spread(returns),
        "length": _spread(lengths),
        "score": score,
        "reward": _range(np.asarray(steps.env_reward)),
        "obs": _array(steps.obs, known.observation_space),
        "action": _array(steps.action, known.action_space),
        "nan": 0,  # such data are refused
        "duplicates": traps.duplicates(dataset),
        "assumed": list(known.assumed),
        "warnings": [*warned, *traps.found(dataset)],
        "checksum": known.checksum or checksum(steps, dataset.left_out),
    }


def draw(dataset: Dataset, path: Path | str) -> Path:
    """The histograms of returns and of lengths of whole episodes, as a PNG.

    Raises:
      UserError: no episode is whole, or the path does not end in `.png`.
    """
    from matplotlib.ticker import MaxNLocator

    from jaxrl_reward.report import plots, return_laws

    path, returns = user_path(path), dataset.returns()
    if path.suffix != ".png":
        raise UserError(f"{path} must end in .png to hold a figure")
    if not len(returns):
        raise UserError("a figure is of whole episodes, and the data have none")
    figure, axes = return_laws.sheet(1, 2, width=4.0, height=2.8)
    for plot, values, name in zip(
        axes[0], (returns, dataset.lengths()), ("Return", "Length"), strict=True
    ):
        plot.hist(values, bins=min(_BINS, max(5, len(values) // 4)), color=plots.PALETTE[0])
        plot.yaxis.set_major_locator(MaxNLocator(integer=True))
        return_laws.name(plot, f"{name}s of {len(values)} episodes", name, "Episodes")
    path.parent.mkdir(parents=True, exist_ok=True)
    return_laws.save(figure, path)
    return path


def lines(about: dict[str, Any]) -> list[tuple[str, str]]:
    """The overview as a name and a text each."""
    ends = ", ".join(f"{count} {name}" for name, count in about["ends"].items() if count)
    obs, action = (_text(about[name]) for name in ("obs", "action"))
    source = " ".join(each for each in (about["format"], about["version"]) if each)
    steps = f"{about['steps']:,}"
    if about["rows"] != about["steps"]:
        steps += f", of which {about['rows']:,} have a successor"
    found = [
        ("format", source),
        ("environment", about["environment"]),
        ("steps", steps),
        ("episodes", f"{about['episodes']:,} whole; ends: {ends or 'none'}"),
        ("return", _quantiles(about["return"])),
        ("length", _quantiles(about["length"])),
        ("score", "" if about["score"] is None else f"{about['score']:.1f}"),
        ("reward", "{low:g} to {high:g}, mean {mean:g}".format(**about["reward"])),
        ("observations", obs),
        ("actions", action),
        ("NaN", str(about["nan"])),
        ("duplicates", f"{about['duplicates']:,} steps"),
        *(("assumed", each) for each in about["assumed"]),
        *(("warning", each) for each in about["warnings"]),
    ]
    return [(name, text) for name, text in found if text]


def _spread(values: np.ndarray) -> dict[str, Any] | None:
    if not len(values):
        return None
    quantiles = {f"{q:g}": float(np.quantile(values, q)) for q in QUANTILES}
    return {"mean": float(values.mean()), "quantiles": quantiles}


def _quantiles(spread: dict[str, Any] | None) -> str:
    if spread is None:
        return "of no whole episode"
    of = spread["quantiles"]
    low, middle, high = (f"{of[q]:g}" for q in ("0", "0.5", "1"))
    return f"mean {spread['mean']:g}; least {low}, median {middle}, most {high}"


def _range(rows: np.ndarray) -> dict[str, float]:
    return {
        "low": float(rows.min()),
        "high": float(rows.max()),
        "mean": float(rows.mean(dtype=np.float64)),
    }


def _array(rows: Any, space: str) -> dict[str, Any]:
    """Shape, type, space and ranges: of each number where they are few."""
    rows = np.asarray(rows)
    flat = rows.reshape(len(rows), -1)
    found: dict[str, Any] = {"shape": list(rows.shape[1:]), "dtype": rows.dtype.name}
    found["space"] = described.short(described.read(space)) if space else None
    found |= {"low": float(rows.min()), "high": float(rows.max())} if flat.size else {}
    if 0 < flat.shape[1] <= _SHOWN:
        found["lows"], found["highs"] = flat.min(0).tolist(), flat.max(0).tolist()
    return found


def _text(about: dict[str, Any]) -> str:
    space = about["space"]
    words = [space] if space else []
    words.append(f"{about['shape']} {about['dtype']}")
    if "low" in about:
        words.append(f"{about['low']:g} to {about['high']:g}")
    return ", ".join(words)
