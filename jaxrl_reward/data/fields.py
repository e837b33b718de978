"""The fields of a data set, checked: what is kept is what was given, or it is refused."""

import numpy as np

from jaxrl_reward.types import UserError

FIELDS = ("obs", "action", "reward", "next_obs", "first", "terminated", "truncated")
FLAGS = ("first", "terminated", "truncated")
WHOLE = 2**24  # up to here float32 holds every whole number


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
    _refuse(~np.isfinite(value), f"{where}: {name} holds a NaN or an infinity, first", value)
    if name == "action" and value.dtype.kind in "iu":
        return _as_int32(value, f"{where}: {name}")
    if name != "reward" and value.dtype == np.uint8:
        return value
    return _as_float32(value, f"{where}: {name}")


def flag(name: str, value: np.ndarray, where: str) -> np.ndarray:
    """Rows of true and false, or of 1 and 0, `[N]` or `[N, 1]`, as `[N]` bool.

    Raises:
      UserError: they are of another shape, or hold something else.
    """
    value = column(name, value, where)
    if not np.isin(value, (0, 1)).all():
        raise UserError(f"{where}: {name} must be true or false (0 or 1) in each row")
    return value.astype(bool)


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
    _refuse((value < low) | (value > high), f"{what} goes beyond the whole numbers of int32", value)
    return value.astype(np.int32)


def _as_float32(value: np.ndarray, what: str) -> np.ndarray:
    if value.dtype.kind in "iu":
        beyond = (value > WHOLE) | (value < -WHOLE)
        line = f"{what} has whole numbers beyond {WHOLE}, which float32 rounds; scale them: one"
        _refuse(beyond, line, value)
    with np.errstate(over="ignore"):
        kept = value.astype(np.float32)
    _refuse(~np.isfinite(kept), f"{what} goes beyond float32, up to 3.4e38", value)
    return kept


def _refuse(bad: np.ndarray, line: str, value: np.ndarray) -> None:
    """Raises a `UserError` that names the first bad row."""
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        shown = np.ravel(value[row])[np.ravel(bad[row])][0]
        raise UserError(f"{line} in row {row} ({shown!s})")
