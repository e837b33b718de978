"""What an imitator is shown: some steps of some episodes of an expert."""

import math
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrl_reward import partition
from jaxrl_reward.types import Transition, UserError

NOISE = "noise"  # in place of a file: draws from a normal law, to try an expression without data
_NOISE_ROWS = 64


class Demonstrations(NamedTuple):
    """N steps of an expert, NumPy arrays.

    Attributes:
      obs: `[N, ...]`.
      action: `[N, ...]`, as the environment took them.
      next_obs: successors, `[N, ...]`.
      terminated: `[N]` bool; a step after which there is nothing.
    """

    obs: np.ndarray
    action: np.ndarray
    next_obs: np.ndarray
    terminated: np.ndarray


def demonstrations(data: Any, episodes: int = 0, every: int = 1) -> Demonstrations:
    """The steps shown of a data set.

    Args:
      data: a `jr.data.Dataset`, the path of one, or `Demonstrations`, which are
        taken as they are.
      episodes: how many whole episodes, the first; 0 takes all rows.
      every: one step in as many of each episode, beginning at another one in each;
        imitation from few steps is what sets methods apart (Ho and Ermon 2016).

    Raises:
      UserError: the data cannot be read, or has fewer whole episodes.
    """
    if isinstance(data, Demonstrations):
        return data
    if isinstance(data, str | Path):
        data = _read(str(data))
    steps = data.steps
    rows = np.arange(len(data))
    if episodes:
        whole = [each for each in data.episodes() if each.whole]
        if len(whole) < episodes:
            raise UserError(f"the demonstrations have {len(whole)} whole episodes, not {episodes}")
        rows = np.concatenate([np.arange(each.start, each.stop) for each in whole[:episodes]])
    if every > 1:
        first = np.flatnonzero(np.asarray(steps.first)[rows])
        begun = np.zeros(len(rows), np.int64)
        begun[first] = np.diff(first, prepend=0)
        within = np.arange(len(rows)) - np.cumsum(begun)
        number = np.cumsum(np.asarray(steps.first)[rows]) - 1
        offset = number * _stride(every) % every
        rows = rows[within % every == offset]
    if not len(rows):
        raise UserError(f"one step in {every} leaves none of the demonstrations; show more of them")
    fields = (steps.obs, steps.action, steps.next_obs, steps.terminated)
    return Demonstrations(*(np.asarray(each)[rows] for each in fields))


def shown(term: Any, example: Transition) -> Demonstrations:
    """What a term's `demos`, `episodes` and `every` name, checked against one transition.

    Raises:
      UserError: there are none, or they are of another shape.
    """
    if term.demos is None:
        raise UserError(f"{term.name} needs demonstrations, as in {term.name}(demos='expert.npz')")
    if isinstance(term.demos, str) and term.demos == NOISE:
        return _noise(example)
    _warn_of_unknown(term)
    found = demonstrations(term.demos, term.episodes, term.every)
    for name in ("obs", "action"):
        shape, wanted = getattr(found, name).shape[1:], getattr(example, name).shape
        if shape != wanted:
            raise UserError(
                f"{term.name}'s demonstrations have {name} of shape {list(shape)}, and the "
                f"environment of shape {list(wanted)}"
            )
    return found


def _stride(every: int) -> int:
    """How far the offsets of two episodes in a row are apart.

    Near `every` over the golden ratio's square, so that a few episodes are well spread,
    and without a common divisor, so that `every` of them have all offsets.
    """
    ideal = every * (1.5 - math.sqrt(1.25))
    fit = [each for each in range(1, every + 1) if math.gcd(each, every) == 1]
    return min(fit, key=lambda each: abs(each - ideal))


def _warn_of_unknown(term: Any) -> None:
    """One line where a term reads successors that the demonstrations do not have."""
    if getattr(term, "inputs", None) != "states" or isinstance(term.demos, Demonstrations):
        return
    data = _read(str(term.demos)) if isinstance(term.demos, str | Path) else term.demos
    if not data.provenance.terminal_next_obs:
        warnings.warn(
            f"{term.name}'s demonstrations do not say where terminated steps led; "
            "it sees the observation before in place of it",
            stacklevel=2,
        )


def _noise(example: Transition) -> Demonstrations:
    rng = np.random.default_rng(0)

    def draw(like: Any) -> np.ndarray:
        return rng.normal(size=(_NOISE_ROWS, *like.shape)).astype(np.float32)

    action = draw(example.action)
    if np.issubdtype(example.action.dtype, np.integer):
        action = (action > 0).astype(np.int32)
    ended = rng.random(_NOISE_ROWS) < 0.1
    return Demonstrations(draw(example.obs), action, draw(example.next_obs), ended)


def _read(source: str) -> Any:
    """The data set; the same one until what lies there has changed."""
    from jaxrl_reward.data import formats  # which few rewards need

    return _read_once(source, formats.stamp(source))


@lru_cache(maxsize=8)
def _read_once(source: str, stamp: Any) -> Any:
    from jaxrl_reward.data import formats

    del stamp
    # Terms look at them as they are traced, and a data set is an array on the device.
    with partition.at_once():
        return formats.read(source)
