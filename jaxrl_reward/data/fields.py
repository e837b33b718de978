"""The fields of a data set, checked: what is kept is what was given, or it is refused."""

from collections.abc import Callable, Iterator

import numpy as np

from jaxrl_reward.types import UserError

FIELDS = ("obs", "action", "reward", "next_obs", "first", "terminated", "truncated")
FLAGS = ("first", "terminated", "truncated")
WHOLE = 2**24  # up to here float32 holds every whole number
_CHUNK = 2**18  # numbers looked at together, so that a large set needs little memory beside it


def checked(name: str, value: np.ndarray, where: str) -> np.ndarray:
    """One of `FIELDS` in the type it is kept in: bool, float32, or the integers it came in.

    Args:
      name: what it is.
      value: `[N, ...]`.
      where: the file, for messages.

    Raises:
      UserError: it is of another shape, holds no finite numbers, or numbers that the
        type it is kept in does not hold.
    """
    if value.dtype.kind not in "biuf":
        raise UserError(f"{where}: {name} must hold numbers, not {value.dtype}")
    if name in FLAGS:
        return flag(name, value, where)
    if name == "reward":
        value = column(name, value, where)
    what = f"{where}: {name}"
    if name == "action" and value.dtype.kind in "iu":
        return _as_int32(value, what)
    if name != "reward" and value.dtype == np.uint8:
        return value
    return _as_float32(value, what)


def flag(name: str, value: np.ndarray, where: str) -> np.ndarray:
    """Rows of true and false, or of 1 and 0, `[N]` or `[N, 1]`, as `[N]` bool.

    Raises:
      UserError: they are of another shape, or hold something else.
    """
    value = column(name, value, where)
    if value.dtype != bool and not all(((x == 0) | (x == 1)).all() for _, x in _chunks(value)):
        raise UserError(f"{where}: {name} must be true or false (0 or 1) in each row")
    return value.astype(bool, copy=False)


def column(name: str, value: np.ndarray, where: str) -> np.ndarray:
    """One number a row, `[N]` or `[N, 1]`, as `[N]`.

    Raises:
      UserError: there are more.
    """
    if value.ndim == 2 and value.shape[1] == 1:
        value = value[:, 0]
    if value.ndim != 1:
        raise UserError(f"{where}: {name} must have the shape [N], not {list(value.shape)}")
    return value


def begins(last: np.ndarray) -> np.ndarray:
    """Where episodes begin, `[N]` bool, from where they end."""
    return np.concatenate([np.ones(1, bool), last[:-1]])


def _as_int32(value: np.ndarray, what: str) -> np.ndarray:
    low, high = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    line = f"{what} goes beyond the whole numbers of int32"
    _refuse(lambda x: (x < low) | (x > high), line, value)
    return value.astype(np.int32, copy=False)


def _as_float32(value: np.ndarray, what: str) -> np.ndarray:
    if value.dtype.kind in "iu":
        line = f"{what} has whole numbers beyond {WHOLE}, which float32 rounds; scale them: one"
        _refuse(lambda x: (x > WHOLE) | (x < -WHOLE), line, value)
    else:
        _refuse(_not_finite, f"{what} holds a NaN or an infinity, first", value)
    if value.dtype == np.float32:
        return value
    kept = np.empty(value.shape, np.float32)
    with np.errstate(over="ignore"):
        for start, rows in _chunks(value):
            kept[start : start + len(rows)] = rows
    if value.dtype.itemsize > 4 and value.dtype.kind == "f":
        line = f"{what} goes beyond float32, up to 3.4e38"
        _refuse(_not_finite, line, kept, value)
    return kept


def _not_finite(rows: np.ndarray) -> np.ndarray:
    """Which numbers are a NaN or an infinity; `[0]` where a sum says that none is."""
    # A sum is finite only of finite numbers, and takes a third of the time of a mask.
    with np.errstate(over="ignore", invalid="ignore"):
        total = rows.sum()
    return ~np.isfinite(rows) if not np.isfinite(total) else np.zeros(0, bool)


def _refuse(
    is_bad: Callable[[np.ndarray], np.ndarray],
    line: str,
    value: np.ndarray,
    given: np.ndarray | None = None,
) -> None:
    """Raises a `UserError` that names the first bad row, and shows it as it was given."""
    for start, rows in _chunks(value):
        bad = is_bad(rows)
        if bad.any():
            row = int(np.argwhere(bad)[0][0])
            said = (value if given is None else given)[start + row]
            shown = np.ravel(said)[np.ravel(bad[row])][0]
            raise UserError(f"{line} in row {start + row} ({shown!s})")


def _chunks(value: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Some rows after the other, and the number of the first of each."""
    many = max(1, _CHUNK // max(1, value[:1].size))
    for start in range(0, len(value), many):
        yield start, value[start : start + many]
