"""Where Minari's data sets lie, and Minari itself, which is an extra."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxrl_reward.types import UserError

SCORES = ("ref_min_score", "ref_max_score")
ABOUT = "jaxrl_reward"  # where our own provenance lies in Minari's metadata
DATA = "data"  # the folder of a data set that holds it


def folder(name: str) -> Path:
    """Where the store keeps a data set, whether there is one or not.

    Raises:
      UserError: Minari is not installed.
    """
    library()
    from minari.storage import get_dataset_path

    return Path(get_dataset_path(name))


def library() -> Any:
    try:
        with quiet():
            import minari
    except ImportError as error:
        fix = 'pip install "jaxrl-reward[minari]"'
        raise UserError(f"minari cannot be imported ({error}): {fix}") from None
    return minari


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without gymnasium's advice to those who publish data sets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
