"""Tables of Arrow and Parquet files, and nested lists in them as arrays of one shape."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.types import UserError


def tables(where: Path | str, files: Sequence[Path], kind: str) -> Iterator[Any]:
    """The table of each file.

    Args:
      where: the data set, for messages.
      files: their paths.
      kind: `arrow`, a stream or a file, or `parquet`.

    Raises:
      UserError: one is not there, or damaged.
    """
    import pyarrow as pa
    from pyarrow import ipc, parquet

    for file in files:
        try:
            if not file.is_file():
                raise OSError("it does not exist")
            if kind == "parquet":
                table = parquet.ParquetFile(file).read()
            else:
                with pa.memory_map(str(file)) as opened:
                    is_file = opened.read(6) == b"ARROW1"
                    opened.seek(0)
                    reader = ipc.open_file if is_file else ipc.open_stream
                    table = reader(opened).read_all()
            table.validate(full=True)
        except (OSError, pa.ArrowException, ValueError, TypeError, MemoryError) as error:
            line = " ".join(str(error).split())[:200]
            raise UserError(f"{where}: {file.name} cannot be read as {kind}: {line}") from None
        yield table


def column_rows(table: Any, name: str, row: int, what: str) -> np.ndarray:
    """One entry of a column of lists as an array `[T, ...]`."""
    entry = table[name][row]
    values = getattr(entry, "values", None)
    if values is None:
        raise UserError(f"{what}: {name} must be a list of rows, not {entry.type}")
    return array(values, f"{what}: {name}")


def array(values: Any, what: str) -> np.ndarray:
    """A column as an array `[N, ...]`: numbers, or nested lists that are as long as each other.

    Raises:
      UserError: they are not, or hold something else, or nothing.
    """
    import pyarrow as pa

    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    count, shape = len(values), []
    while True:
        if values.null_count:
            raise UserError(f"{what} has entries without a value")
        if isinstance(values, pa.FixedSizeListArray):
            shape.append(values.type.list_size)
        elif isinstance(values, pa.ListArray | pa.LargeListArray):
            sizes = np.diff(values.offsets.to_numpy())
            if len(sizes) and (sizes != sizes[0]).any():
                raise UserError(f"{what} has entries of {sizes.min()} to {sizes.max()} numbers")
            shape.append(int(sizes[0]) if len(sizes) else 0)
        else:
            break
        values = values.flatten()
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)) and (
        not pa.types.is_boolean(values.type)
    ):
        raise UserError(f"{what} must be numbers, not {values.type}")
    return values.to_numpy(zero_copy_only=False).reshape(count, *shape)
