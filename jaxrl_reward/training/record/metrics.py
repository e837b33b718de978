"""A run's numbers on the host: rows, and the sinks they also go to.

A row is `(arm, seed, step, metric, value)`; `step` counts one seed's
environment steps, or gradient steps where it learns from data. A metric that
nothing happened for (no episode ended) has no row. `return` and `length` come
from greedy evaluation on the environment's own reward; every other metric comes
from training, averaged since the log point before.
"""

import hashlib
import importlib
import json
import os
import time
import urllib.parse
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jaxrl_reward.files import user_path, write_atomic
from jaxrl_reward.types import UserError

SCHEMA = pa.schema(
    [
        ("arm", pa.string()),
        ("seed", pa.int64()),
        ("step", pa.int64()),
        ("metric", pa.string()),
        ("value", pa.float64()),
    ]
)


class Row(NamedTuple):
    arm: str
    seed: int
    step: int
    metric: str
    value: float


class Rows(Sequence[Row]):
    """Read as a sequence of `Row`s, stored as columns: `table` is pyarrow's.

    Raises:
      ValueError: the table's columns are not those of a row.
    """

    def __init__(self, table: pa.Table | None = None):
        self.table: pa.Table = SCHEMA.empty_table() if table is None else table.cast(SCHEMA)

    @classmethod
    def at(cls, arm: str, seeds: Sequence[int], step: int, values: Mapping[str, Any]) -> "Rows":
        """Rows of one moment: each metric's values are `[S]`, NaN for no row."""
        return cls.of_arms([arm], seeds, step, {name: [each] for name, each in values.items()})

    @classmethod
    def of_arms(
        cls, arms: Sequence[str], seeds: Sequence[int], step: int, values: Mapping[str, Any]
    ) -> "Rows":
        """Rows of one moment of several arms: each metric's values are `[A, S]`, NaN for no row."""
        names = sorted(values)
        table = np.array([np.asarray(values[name], np.float64) for name in names])
        table = table.reshape(len(names), len(arms), len(seeds)).swapaxes(0, 1)  # [A, M, S]
        arm, name, seed = np.nonzero(~np.isnan(table))
        columns = [
            pa.array(np.asarray(arms, object)[arm], pa.string()),
            pa.array(np.asarray(seeds, np.int64)[seed]),
            pa.array(np.full(len(seed), step, np.int64)),
            pa.array(np.asarray(names, object)[name], pa.string()),
            pa.array(table[arm, name, seed]),
        ]
        return cls(pa.Table.from_arrays(columns, names=SCHEMA.names))

    @classmethod
    def concatenate(cls, parts: Iterable["Rows"]) -> "Rows":
        tables = [part.table for part in parts]
        return cls(pa.concat_tables(tables).combine_chunks()) if tables else cls()

    def where(self, **columns: Any) -> "Rows":
        """The rows whose columns equal these, as in `where(metric="return")`."""
        table = self.table
        for name, value in columns.items():
            table = table.filter(pc.field(name) == value)
        return Rows(table)

    def by_arm(self) -> dict[str, "Rows"]:
        """The rows of each arm, in their order."""
        found = self.table["arm"].combine_chunks().dictionary_encode()
        codes = found.indices.to_numpy()
        order = np.argsort(codes, kind="stable")
        ends = np.searchsorted(codes[order], np.arange(len(found.dictionary) + 1))
        table = self.table.take(order)
        arms = zip(found.dictionary.to_pylist(), ends, np.diff(ends), strict=False)
        return {arm: Rows(table.slice(start, count)) for arm, start, count in arms}

    def curve(self, metric: str, arm: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """One metric over time, seeds in ascending order.

        Returns:
          Steps `[P]`, and values `[S, P]`, NaN where there is no row.
        """
        rows = self.where(metric=metric) if arm is None else self.where(metric=metric, arm=arm)
        steps, at = np.unique(rows.table["step"].to_numpy(), return_inverse=True)
        seeds, seed = np.unique(rows.table["seed"].to_numpy(), return_inverse=True)
        values = np.full((len(seeds), len(steps)), np.nan)
        values[seed, at] = rows.table["value"].to_numpy()
        return steps, values

    def __len__(self) -> int:
        return self.table.num_rows

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return Row(*(column[index % len(self)].as_py() for column in self.table.columns))

    def __iter__(self) -> Iterator[Row]:
        columns = (column.to_pylist() for column in self.table.columns)
        return (Row(*row) for row in zip(*columns, strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and self.table.equals(other.table)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return f"Rows({len(self)} rows, metrics {self.table['metric'].unique().to_pylist()})"


def averages(total: np.ndarray, count: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """`[S, M]` sums and counts as `[S]` means by name, NaN where nothing counted."""
    total, count = np.asarray(total, np.float64), np.asarray(count, np.float64)
    means = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return {name: means[:, i] for i, name in enumerate(names)}


def folder_name(arm: str) -> str:
    """An arm's name, which may be any text, as the name of a folder."""
    name = urllib.parse.quote(arm, safe=" +,()=").replace(".", "%2E")
    if len(name) > 120:
        name = f"{name[:100]}-{hashlib.sha256(arm.encode()).hexdigest()[:12]}"
    return name


class Sink(Protocol):
    """Where rows also go. Whoever makes a sink closes it, after the last arm."""

    def write(self, rows: Sequence[Row]) -> None:
        """Takes new rows; each row comes once, in order of arm and step."""
        ...

    def close(self) -> None: ...


def show(rows: Sequence[Row], sinks: Sequence[Sink]) -> tuple[Sink, ...]:
    """Gives rows to the sinks; those that took them. A dashboard's failure ends no run."""
    kept = []
    for sink in sinks:
        try:
            sink.write(rows)
            kept.append(sink)
        except Exception as error:
            line = " ".join(str(error).split())
            warnings.warn(f"{type(sink).__name__} is dropped: {line}", stacklevel=3)
    return tuple(kept)


def _seed_means(rows: Sequence[Row]) -> dict[tuple[str, int], dict[str, float]]:
    """By arm and step, each metric's mean over seeds: what a dashboard shows."""
    values: dict[tuple[str, int], dict[str, list[float]]] = {}
    for arm, _, step, metric, value in rows:
        values.setdefault((arm, step), {}).setdefault(metric, []).append(value)
    return {
        moment: {name: sum(each) / len(each) for name, each in metrics.items()}
        for moment, metrics in values.items()
    }


def _extra(module: str, what: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(
            f"{what} logging needs an extra: pip install 'jaxrl-reward[{extra}]'"
        ) from None


class _ByArm:
    """A dashboard in which each arm has a run of its own, open until the sink is closed.

    Arms may report by turns, as those of one program do.
    """

    def __init__(self):
        self._open: dict[str, Any] = {}

    def write(self, rows: Sequence[Row]) -> None:
        for (arm, step), metrics in _seed_means(rows).items():
            if arm not in self._open:
                self._open[arm] = self._begin(arm, step)
            self._log(self._open[arm], step, metrics)

    def close(self) -> None:
        while self._open:
            self._end(self._open.popitem()[1])

    def _begin(self, arm: str, step: int) -> Any:
        raise NotImplementedError

    def _log(self, run: Any, step: int, metrics: Mapping[str, float]) -> None:
        raise NotImplementedError

    def _end(self, run: Any) -> None:
        raise NotImplementedError


class TensorBoard(_ByArm):
    """Means over seeds as TensorBoard scalars; each arm is a run of its own.

    Raises:
      UserError: the extra `tensorboard` is not installed.
    """

    def __init__(self, folder: Path | str):
        super().__init__()
        module = _extra("tensorboardX", "TensorBoard", "tensorboard")
        self._writer = module.SummaryWriter
        self._folder = user_path(folder)

    def _begin(self, arm: str, step: int) -> Any:
        # A resumed run has some steps again that were shown before it was stopped.
        # Files are named by the second: one more name keeps what was written in the same one.
        more = f".{time.time_ns()}"
        where = str(self._folder / folder_name(arm))
        return self._writer(where, purge_step=step, filename_suffix=more)

    def _log(self, run: Any, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            run.add_scalar(name, value, step)
        run.flush()

    def _end(self, run: Any) -> None:
        run.close()


class WandB(_ByArm):
    """Means over seeds in Weights & Biases; each arm is a run in one group.

    With a folder, a resumed run goes on in W&B's runs of before, and the configuration is
    that of the arm, all of its settings, as the folder's `config.json` has it.

    Args:
      project: W&B's project.
      group: what the arms have in common, such as the run's name.
      config: what else to show as the configuration.
      mode: `offline` needs no network and no account; None leaves it to W&B.
      folder: where W&B keeps its files.

    Raises:
      UserError: the extra `wandb` is not installed.
    """

    def __init__(
        self,
        project: str,
        *,
        group: str | None = None,
        config: Mapping[str, Any] | None = None,
        mode: str | None = None,
        folder: Path | str | None = None,
    ):
        super().__init__()
        self._module = _extra("wandb", "W&B", "wandb")
        self._folder = None if folder is None else user_path(folder)
        self._options = {"project": project, "group": group, "config": dict(config or {})}
        self._options |= {"mode": mode, "dir": folder if folder is None else str(self._folder)}

    def _begin(self, arm: str, step: int) -> Any:
        del step
        # By default it would end the run of the arm before.
        options = self._options | {"id": self._id(arm), "resume": "allow", "reinit": "create_new"}
        options["config"] = self._settings(arm) | self._options["config"]
        # A run may be made longer, and W&B remembers how long it was.
        run = self._module.init(name=arm, allow_val_change=True, **options)
        # W&B's own step must never go back, as a resumed run's does.
        run.define_metric("*", step_metric="step")
        return run

    def _id(self, arm: str) -> str:
        """W&B's name of the arm's run, the same when it is resumed."""
        new = uuid.uuid4().hex[:8]
        if self._folder is None:
            return new
        file = self._folder / "wandb" / "runs.json"
        known = json.loads(file.read_bytes()) if file.exists() else {}
        if arm not in known:
            known[arm] = new
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, (json.dumps(known, indent=2) + "\n").encode())
        return known[arm]

    def _settings(self, arm: str) -> dict[str, Any]:
        """What `config.json` has of the arm; its agent's settings by their own names."""
        file = None if self._folder is None else self._folder / "config.json"
        if file is None or not file.exists():
            return {}
        found = json.loads(file.read_bytes())["arms"].get(arm, {})
        return found.get("config", {}) | {k: v for k, v in found.items() if k != "config"}

    def _log(self, run: Any, step: int, metrics: Mapping[str, float]) -> None:
        run.log({"step": step, **metrics})

    def _end(self, run: Any) -> None:
        run.finish()


# ---- those that are asked for ------------------------------------------------------


DASHBOARDS = ("tensorboard", "wandb")


def dashboards(names: Sequence[str], folder: Path, group: str, **config: Any) -> list[Sink]:
    """Sinks of these names for a run's folder.

    Args:
      names: of `DASHBOARDS`.
      folder: the run's.
      group: what W&B calls the arms together.
      **config: what W&B is to show beside the arm's settings.

    Raises:
      UserError: an extra is not installed.
    """
    found: list[Sink] = []
    if "tensorboard" in names:
        found.append(TensorBoard(folder / "tensorboard"))
    if "wandb" in names:
        project = os.environ.get("WANDB_PROJECT", "jaxrl-reward")
        mode = os.environ.get("WANDB_MODE")  # W&B itself reads it once per process
        found.append(WandB(project, group=group, config=config, mode=mode, folder=folder))
    return found


def close(sinks: Sequence[Sink]) -> None:
    """Closes all; one that fails, as of a connection that is gone, is told of."""
    for sink in sinks:
        try:
            sink.close()
        except Exception as error:
            line = " ".join(str(error).split())
            warnings.warn(f"{type(sink).__name__} is not closed: {line}", stacklevel=2)
