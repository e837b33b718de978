"""Marks that the writing of data left where it went wrong: told, and not repaired."""

import numpy as np

from jaxrl_reward.data.dataset import Dataset

_MOST = 200_000  # rows that are looked at


def found(dataset: Dataset) -> tuple[str, ...]:
    """What looks as if it was not recorded as it was, a sentence each."""
    marks = (_one_array(dataset), _invented(dataset), _single(dataset), _endless(dataset))
    return tuple(mark for mark in marks if mark)


def duplicates(dataset: Dataset) -> int:
    """How many steps are an earlier one again: observation, action, reward and successor."""
    steps = dataset.steps
    mixed = np.full(len(dataset), 14695981039346656037, np.uint64)
    for rows in (steps.obs, steps.action, steps.env_reward, steps.next_obs):
        mixed = _mixed(mixed, np.asarray(rows))
    return len(mixed) - len(np.unique(mixed))


def _one_array(dataset: Dataset) -> str:
    """An array that the environment writes anew in each step, and that was kept as it is."""
    spans = [each for each in dataset.episodes() if each.stop - each.start >= 3]
    constant = 0
    for start, stop, _ in spans[:100]:
        obs, action = (np.asarray(x)[start:stop] for x in (dataset.steps.obs, dataset.steps.action))
        constant += bool((obs == obs[:1]).all() and (action != action[:1]).any())
    if constant and constant == len(spans[:100]):
        return "observations do not change within an episode: one array may have been kept for all"
    return ""


def _invented(dataset: Dataset) -> str:
    """A step that a vector environment makes of its reset, from an end to the next beginning."""
    steps = dataset.steps
    starts = np.flatnonzero(np.asarray(steps.first)[:_MOST])[1:]
    if len(starts) < 2:
        return ""
    obs, after = np.asarray(steps.obs)[starts], np.asarray(steps.next_obs)[starts - 1]
    same = (obs == after).reshape(len(starts), -1).all(axis=1)
    moves = (obs != np.asarray(steps.obs)[:1]).reshape(len(starts), -1).any(axis=1)
    still = np.asarray(steps.env_reward)[starts] == 0
    if (same & still & moves).all():
        return (
            "every episode after the first begins where the one before ended, with reward 0: "
            "the step may be one that an automatic reset invented"
        )
    return ""


def _single(dataset: Dataset) -> str:
    """Steps after an end without a reset."""
    lengths = dataset.lengths()
    ones = int((lengths == 1).sum())
    if ones > len(lengths) / 2 and lengths.size > 2 and lengths.max() > 1:
        return f"{ones} of {len(lengths)} episodes have one step: was it reset after an end?"
    return ""


def _endless(dataset: Dataset) -> str:
    """Nothing that says where an episode ends."""
    steps = dataset.steps
    if np.asarray(steps.terminated).any() or np.asarray(steps.truncated).any():
        return ""
    return "no episode ends in the data: returns and lengths are of none"


def _mixed(mixed: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Hashes of 64 bits (FNV-1a, four bytes at once) that go on with these rows."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1)
    size = flat.dtype.itemsize * flat.shape[1]
    numbers = flat.view(np.uint32 if size % 4 == 0 else np.uint8) if size else flat
    for column in numbers.T:
        mixed = (mixed ^ column) * np.uint64(1099511628211)
        mixed ^= mixed >> np.uint64(32)  # its high bits must reach the low ones
    return mixed
