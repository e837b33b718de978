"""Whether two results are the same, and in a line where they are not."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

TOLERANCE = 2e-5


class LawError(AssertionError):
    """A law does not hold: whose, which, on what, and what was found."""


def same(law: str, found: Any, wanted: Any, tolerance: float = TOLERANCE) -> None:
    """Raises `LawError` unless two trees of numbers agree, shapes and kinds too.

    Args:
      law: whose it is, which, and on what, for the message.
      found: one tree.
      wanted: the other.
      tolerance: of the difference, in units of 1 + the size of what is wanted.
    """
    if jax.tree.structure(found) != jax.tree.structure(wanted):
        raise LawError(f"{law}: {jax.tree.structure(found)}, not {jax.tree.structure(wanted)}")
    leaves = zip(jax.tree.leaves_with_path(found), jax.tree.leaves(wanted), strict=True)
    for (path, x), y in leaves:
        _same_leaf(law, jax.tree_util.keystr(path), plain(x), plain(y), tolerance)


def _same_leaf(law: str, path: str, x: np.ndarray, y: np.ndarray, tolerance: float) -> None:
    if x.shape != y.shape:
        raise LawError(f"{law}: the shape{path and f' of {path}'} is {x.shape}, not {y.shape}")
    if x.dtype == y.dtype == np.float32:
        with np.errstate(invalid="ignore"):
            if (np.abs(x - y) <= tolerance * (1 + np.abs(y))).all():
                return  # in a tenth of the time of what follows
    good = np.isclose(x, y, rtol=tolerance, atol=tolerance, equal_nan=True)
    if not good.all():
        place = tuple(int(i) for i in np.argwhere(~good)[0])
        raise LawError(f"{law}: {path or 'it'} is {x[place]:g} at {list(place)}, not {y[place]:g}")


def plain(x: Any) -> np.ndarray:
    """As numpy has it; a typed key as its numbers."""
    if jnp.issubdtype(getattr(x, "dtype", np.float32), jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    return np.asarray(x)


def types(tree: Any) -> list[tuple[Any, ...]]:
    """What a scan's carry may not change: shapes, dtypes and weak types."""
    return [(x.shape, x.dtype, getattr(x, "weak_type", False)) for x in jax.tree.leaves(tree)]
