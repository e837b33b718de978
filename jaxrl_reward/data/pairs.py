"""Pairs of responses of which one was preferred, as data: what they hold, how they lie on disk.

As tokens of a writing task, so that any of its writers can read them. Rows that come
unpaired have one response of the two. Everything here is a pure function of a set.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl_reward.data.files import read_npz
from jaxrl_reward.envs.sequence import END
from jaxrl_reward.files import user_path, write_atomic
from jaxrl_reward.types import Array, UserError

FORMAT = "jaxrl-reward pairs 1"  # says what a file is, and the version of its layout
ROWS = ("prompt", "chosen", "rejected", "there", "label", "strength", "reward", "user")


@dataclasses.dataclass(frozen=True)
class PairOrigin:
    """Where pairs come from. Hashable: it is static in a `PairSet`.

    Attributes:
      environment: the task, as `envs.make` reads it.
      source: the file that they were read from, or who wrote them.
      rater: who judged.
      changes: what was done to them since, in order.
      rows: how many there are.
      checksum: sha256 of the fields.
    """

    environment: str = ""
    source: str = ""
    rater: str = ""
    changes: tuple[str, ...] = ()
    rows: int = 0
    checksum: str = ""


class PairSet(struct.PyTreeNode):
    """B pairs of responses, rows of each field.

    Attributes:
      prompt: its tokens, `[B, P]` int32, V where there is nothing.
      chosen: the preferred response, `[B, T]` int32, likewise.
      rejected: the other.
      there: which of the two there are, `[B, 2]` bool.
      label: the probability that the chosen is better, `[B]`; 0.5 is a tie.
      strength: of the preference, `[B]`, 1 where none is told.
      reward: of both responses, `[B, 2]`, 0 where none is told.
      user: who preferred, `[B]` int32.
      origin: where they come from.
    """

    prompt: Array
    chosen: Array
    rejected: Array
    there: Array
    label: Array
    strength: Array
    reward: Array
    user: Array
    origin: PairOrigin = struct.field(pytree_node=False, default=PairOrigin())

    def __len__(self) -> int:
        return self.label.shape[0]

    def arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """The fields as they are stored, on the host."""
        for name in ROWS:
            yield name, np.ascontiguousarray(getattr(self, name))

    def summary(self) -> dict[str, Any]:
        """What it holds, as plain numbers for JSON."""
        there, label = np.asarray(self.there), np.asarray(self.label)
        both = there.all(1)
        margin = np.asarray(self.reward[:, 0] - self.reward[:, 1], np.float64)
        equal = (np.asarray(self.chosen) == np.asarray(self.rejected)).all(1)
        tokens = {}
        for i, name in enumerate(("chosen", "rejected")):
            length = lengths(np.asarray(getattr(self, name)))[there[:, i]]
            tokens[name] = float(length.mean()) if len(length) else 0.0
        return {
            "pairs": int(both.sum()),
            "good alone": int((there[:, 0] & ~both).sum()),
            "bad alone": int((there[:, 1] & ~both).sum()),
            "prompts": len(np.unique(np.asarray(self.prompt), axis=0)),
            "ties": int((label[both] == 0.5).sum()),
            "equal responses": int(equal[both].sum()),
            "users": len(np.unique(np.asarray(self.user))),
            "mean length": tokens,
            "mean margin": float(margin[both].mean()) if both.any() else 0.0,
            "origin": dataclasses.asdict(self.origin),
        }


def lengths(tokens: np.ndarray) -> np.ndarray:
    """Of responses `[B, T]` with their end; T of those that do not end."""
    ends = tokens == END
    return np.where(ends.any(1), ends.argmax(1) + 1, tokens.shape[1])


def make(
    prompt: Any, chosen: Any, rejected: Any, *, origin: PairOrigin = PairOrigin(), **known: Any
) -> PairSet:
    """A checked set of pairs.

    Args:
      prompt: `[B, P]` int.
      chosen: `[B, T]` int.
      rejected: likewise.
      origin: where they come from; the checksum is computed here.
      **known: other fields of `PairSet`; what is left out has its default.

    Raises:
      UserError: a field is unknown, of another shape, or out of range.
    """
    tokens = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    fields = {name: np.asarray(value, np.int32) for name, value in tokens.items()}
    count = len(fields["prompt"])
    if not count or any(each.ndim != 2 for each in fields.values()):
        raise UserError("pairs need rows of tokens: prompt [B, P], chosen and rejected [B, T]")
    if fields["chosen"].shape != fields["rejected"].shape or len(fields["chosen"]) != count:
        shapes = ", ".join(f"{name} {list(each.shape)}" for name, each in fields.items())
        raise UserError(f"pairs need as many rows of prompts and of both responses: {shapes}")
    defaults: dict[str, Any] = {
        "there": np.ones((count, 2), bool),
        "label": np.ones(count, np.float32),
        "strength": np.ones(count, np.float32),
        "reward": np.zeros((count, 2), np.float32),
        "user": np.zeros(count, np.int32),
    }
    for name, default in defaults.items():
        value = np.asarray(known.pop(name, default)).astype(default.dtype)
        if value.shape != default.shape:
            raise UserError(f"pairs: {name} must be {list(default.shape)}, not {list(value.shape)}")
        if not np.isfinite(value).all():
            raise UserError(f"pairs: {name} has a number that is not finite")
        fields[name] = value
    if known:
        raise UserError(f"pairs have no field {next(iter(known))!r}, known: {', '.join(ROWS)}")
    if not ((fields["label"] >= 0) & (fields["label"] <= 1)).all():
        raise UserError("pairs: label must be a probability, from 0 to 1")
    if not fields["there"].any(1).all():
        row = int(np.flatnonzero(~fields["there"].any(1))[0])
        raise UserError(f"pairs: row {row} has neither of its two responses")
    leaves: dict[str, Any] = {name: jnp.asarray(value) for name, value in fields.items()}
    made = PairSet(**leaves)
    return _signed(made, origin)


def blank(rows: int, prompt: int, length: int) -> PairSet:
    """Rows of zeros: for an agent that learns no more."""
    zeros = np.zeros((rows, length), np.int32)
    return make(np.zeros((rows, prompt), np.int32), zeros, zeros)


def _signed(pairs: PairSet, origin: PairOrigin, *change: str) -> PairSet:
    digest = hashlib.sha256()
    for name, value in pairs.arrays():
        digest.update(f"{name} {value.dtype.str} {value.shape};".encode())
        digest.update(value.data if value.size else b"")
    changes = (*origin.changes, *change)
    known = {"changes": changes, "rows": len(pairs), "checksum": digest.hexdigest()}
    return pairs.replace(origin=dataclasses.replace(origin, **known))


# ---- what is made of a set --------------------------------------------------------------


def select(pairs: PairSet, which: Any, why: str) -> PairSet:
    """The rows that `which` names, a mask `[B]` or numbers, and in its record why.

    Raises:
      UserError: none is left.
    """
    which = np.asarray(which)
    rows = np.flatnonzero(which) if which.dtype == bool else which
    if not len(rows):
        raise UserError(f"no pair is left after: {why}")
    return _signed(jax.tree.map(lambda x: x[rows], pairs), pairs.origin, why)


def put(pairs: PairSet, why: str, **fields: Any) -> PairSet:
    """The same rows with other `fields`, and in its record why.

    Raises:
      UserError: as `make`.
    """
    known: dict[str, Any] = dict(pairs.arrays()) | fields
    return _signed(make(**known), pairs.origin, why)


def swap(pairs: PairSet, where: Any, why: str) -> PairSet:
    """Chosen and rejected change places in the rows of a mask `[B]`, with all that is theirs."""
    where = jnp.asarray(where)
    rows = lambda x, y: jnp.where(where[:, None], y, x)  # noqa: E731
    swapped = pairs.replace(
        chosen=rows(pairs.chosen, pairs.rejected),
        rejected=rows(pairs.rejected, pairs.chosen),
        there=rows(pairs.there, pairs.there[:, ::-1]),
        reward=rows(pairs.reward, pairs.reward[:, ::-1]),
    )
    return _signed(swapped, pairs.origin, why)


def flip(pairs: PairSet, key: Array, share: float) -> PairSet:
    """Labels as a rater would give them who errs in a `share` of the pairs."""
    where = jax.random.bernoulli(key, share, (len(pairs),))
    return swap(pairs, where, f"flipped {share:g}")


def split(pairs: PairSet, share: float, seed: int = 0) -> tuple[PairSet, PairSet]:
    """A `share` of the prompts with all their pairs, and the others, which have none of those.

    Raises:
      UserError: one of the two would be empty.
    """
    prompts, number = np.unique(np.asarray(pairs.prompt), axis=0, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(prompts))
    first = np.isin(number.reshape(-1), order[: round(share * len(prompts))])
    if first.all() or not first.any():
        raise UserError(
            f"{len(prompts)} prompts cannot be split at {share:g}: one side would have none"
        )
    return (
        select(pairs, first, f"first part of {share:g}, seed {seed}"),
        select(pairs, ~first, f"other part of {share:g}, seed {seed}"),
    )


def unpair(pairs: PairSet) -> PairSet:
    """Each response by itself, good or bad, side by side: rows 2 i and 2 i + 1."""
    twice = jax.tree.map(lambda x: jnp.repeat(x, 2, axis=0), pairs)
    sides = jnp.tile(jnp.eye(2, dtype=bool), (len(pairs), 1))
    return _signed(twice.replace(there=twice.there & sides), pairs.origin, "unpaired")


# ---- on disk ----------------------------------------------------------------------------


def save(pairs: PairSet, path: Path | str) -> Path:
    """Writes an `.npz`, all at once: readers see the old file or the new one.

    Raises:
      UserError: the path does not end in `.npz`.
    """
    path = user_path(path)
    if path.suffix != ".npz":
        raise UserError(f"{path} must end in .npz to hold pairs")
    arrays: dict[str, Any] = dict(pairs.arrays())
    arrays["format"] = np.array(FORMAT)
    arrays["origin"] = np.array(json.dumps(dataclasses.asdict(pairs.origin)))
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())
    return path


def load(path: Path | str) -> PairSet:
    """Pairs that `save` wrote.

    Raises:
      UserError: there are none, or they are damaged: the line says in what.
    """
    arrays = read_npz(path)
    if "format" not in arrays or str(arrays["format"]) != FORMAT:
        raise UserError(f"{path} holds no pairs: its format is not {FORMAT!r}")
    try:
        about = json.loads(str(arrays["origin"]))
        about["changes"] = tuple(about["changes"])
        origin = PairOrigin(**about)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: origin cannot be read ({error})") from None
    if missing := [name for name in ROWS if name not in arrays]:
        raise UserError(f"{path} has no field {missing[0]!r}; pairs have {', '.join(ROWS)}")
    made = make(origin=origin, **{name: arrays[name] for name in ROWS})
    if made.origin.checksum != origin.checksum:
        raise UserError(f"{path}: checksum does not fit the fields: the file was changed")
    return made
