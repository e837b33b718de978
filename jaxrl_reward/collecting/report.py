"""What is said of a data set of ours: a file of numbers and a figure beside it, a table."""

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.data.dataset import Dataset
from jaxrl_reward.data.formats.npz import provenance_of, save
from jaxrl_reward.data.measures import coverage, kurtosis, trajectory_quality
from jaxrl_reward.files import user_path, write_atomic
from jaxrl_reward.training.record.run_folder import difference, to_json
from jaxrl_reward.types import UserError

BINS = 40
COLUMNS = (
    *("level", "rows", "episodes", "return", "10%", "50%", "90%"),
    *("random", "expert", "score", "TQ", "SACo"),
)


def describe(
    dataset: Dataset, stream: Dataset | None = None, curve: Sequence[tuple[int, float]] = ()
) -> dict[str, Any]:
    """Its `summary` and measures, as plain numbers for JSON; None where one is not known.

    Args:
      dataset: the data.
      stream: what was played in training, against which coverage is measured.
      curve: `(step, return)` of the training; its best is what TQ is relative to.
    """
    about = dataset.summary()
    about["provenance"].pop("settings")
    known, returns = dataset.provenance, dataset.returns()
    about["reward"]["kurtosis"] = _finite(float(kurtosis(dataset.steps.env_reward)))
    about |= {"score": None, "tq": None, "saco": None, "curve": [list(each) for each in curve]}
    if known.random_return is not None and curve and len(returns):
        about["score"] = float(dataset.score(returns).mean())
        best = max(value for _, value in curve)
        about["tq"] = trajectory_quality(dataset, known.random_return, best)
    if stream is not None:
        found = coverage(dataset, stream)
        about |= {"saco": found.saco, "log_saco": _finite(found.log_saco)}
        about |= {"unique_pairs": found.unique, "unique_pairs_of_stream": found.reference}
    return about


def write(dataset: Dataset, about: Mapping[str, Any], path: Path, command: str = "") -> None:
    """Writes `.json` and `.png` beside the data, and then the data, each all at once."""
    path = user_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path.with_suffix(".json"), to_json({**about, "command": command}))
    draw(dataset, path.with_suffix(".png"))
    save(dataset, path)


def read(path: Path) -> dict[str, Any]:
    """What was said of the data in `path`.

    Raises:
      UserError: there is no such file, or it cannot be read.
    """
    file = path.with_suffix(".json")
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        line = " ".join(str(error).split())
        raise UserError(f"{file} cannot be read ({line}); delete {path} to write both") from None


def holds(path: Path, settings: str) -> bool:
    """Whether the file is there, and holds what these settings give.

    Raises:
      UserError: it holds something else, or files of someone else's are where those
        about the data are to be.
    """
    if not path.exists():
        _check_beside(path)
        return False
    known = provenance_of(path).settings
    if known == settings:
        return True
    what = "data that were not collected"
    if known and (found := difference(json.loads(known), json.loads(settings))):
        what = "other data: {} = {}, not {}".format(*found)
    raise UserError(f"{path} holds {what}; choose another --out")


def _check_beside(path: Path) -> None:
    """Raises a `UserError` if `write` would replace what is not about data of ours.

    A collection that was interrupted may have left its own; the `.json` is the first.
    """
    about, figure = path.with_suffix(".json"), path.with_suffix(".png")
    ours = False
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(about.read_bytes())
        ours = isinstance(found, dict) and {"provenance", "command"} <= found.keys()
    for file in (about, figure):
        if file.exists() and not ours:
            raise UserError(f"{file} is there, and not about {path}; choose another --out")


def draw(dataset: Dataset, path: Path) -> None:
    """The histogram of the returns of whole episodes."""
    from matplotlib.ticker import MaxNLocator

    from jaxrl_reward.report import plots, return_laws

    known, returns = dataset.provenance, dataset.returns()
    figure, axes = return_laws.sheet(1, 1, width=5.0, height=2.8)
    plot = axes[0, 0]
    if len(returns):
        plot.hist(returns, bins=min(BINS, max(5, len(returns) // 4)), color=plots.PALETTE[0])
    lines = (("random", known.random_return), ("expert", known.expert_return))
    for i, (name, value) in enumerate(lines):
        if value is not None:
            plot.axvline(value, color=plots.PALETTE[i + 1], linestyle="--", label=name)
            plot.legend(fontsize=8, frameon=False)
    plot.yaxis.set_major_locator(MaxNLocator(integer=True))
    title = " ".join(each for each in (known.behaviour, known.environment, known.level) if each)
    return_laws.name(plot, f"{title}: {len(returns)} episodes", "Return", "Episodes")
    return_laws.save(figure, path)


def table(known: Mapping[str, Mapping[str, Any]], title: str) -> Any:
    """A row for each level, from what `describe` said."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=Text(title), box=box.SIMPLE_HEAD, title_justify="left")
    for name in COLUMNS:
        shown.add_column(name, justify="left" if name == "level" else "right", no_wrap=True)
    for level, about in known.items():
        returns, source = about.get("return", {}), about["provenance"]
        spread = returns.get("quantiles", {})
        values = [returns.get("mean"), *(spread.get(q) for q in ("0.1", "0.5", "0.9"))]
        values += [source["random_return"], source["expert_return"], about["score"]]
        cells = [*(_cell(x, 1) for x in values), _cell(about["tq"], 2), _cell(about["saco"], 2)]
        shown.add_row(level, f"{about['rows']:,}", f"{about['episodes']:,}", *cells)
    return shown


def _cell(value: float | None, digits: int) -> str:
    if value is None or not np.isfinite(value):
        return "-"
    return f"{value:,.{0 if abs(value) >= 1000 else digits}f}"


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
