"""Data that lie on the device a window at a time, the next of which is read meanwhile.

A set is cut into blocks of rows in order. Each round over it draws the blocks in another
order, and a window holds some of them; an agent learns from it for as many updates as draw
each of its rows once on average. What a window holds depends on its number alone, so a
resumed run sees the same ones. Batches are drawn within a window: rows of one batch are from
few blocks, and a row comes again only in the next round.
"""

import math
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrl_reward import envs
from jaxrl_reward.agents.offline.packed_data import Data, clock, pack
from jaxrl_reward.data.dataset import Provenance
from jaxrl_reward.data.streamed import Streamed
from jaxrl_reward.types import Transition, UserError

BLOCK = 4096  # rows in order that are drawn together
_ORDER = 0x73747265  # of the blocks, whatever the seeds of a run


class Stream:
    """The windows of a set, by number.

    Attributes:
      every: how many iterations learn from one.
      first: the window with which a run begins.
      origin: where the data come from.
    """

    def __init__(
        self,
        agent: str,
        env: envs.Env,
        source: Streamed,
        keep: dict[str, bool],
        config: Any,
    ):
        """Opens a set.

        Args:
          agent: whose it is, for messages.
          env: what it is of.
          source: the set.
          keep: which fields the reward reads of a row.
          config: has `stream`, the rows of a window, `updates`, `batch_size`, `holdout` and
            `holdout_seed`.

        Raises:
          UserError: the set is smaller than a window, or has too few episodes to set some aside.
        """
        self._env, self._source, self._keep = env, source, keep
        held = _held(agent, source, config)
        kept = np.flatnonzero(~held).astype(np.int32)
        size = min(BLOCK, config.stream)
        self._blocks = kept[: len(kept) // size * size].reshape(-1, size)
        self._wide = config.stream // size
        if self._wide > len(self._blocks):
            raise UserError(
                f"{agent}'s stream={config.stream} is more than the {len(kept)} rows of the data "
                "to learn from; leave it out"
            )
        drawn = config.updates * config.batch_size
        self.every = max(1, math.ceil(self._wide * size / drawn))
        self._threads = ThreadPoolExecutor(1)
        self._next: tuple[int, Future[Data]] | None = None
        self._held = self._data(np.flatnonzero(held), aside=True) if held.any() else None
        self.first = self.window(0)

    @property
    def origin(self) -> Provenance:
        """Where the data come from."""
        return self._source.provenance

    def window(self, number: int) -> Data:
        """The rows of a window, on the host; the next one is read from then on."""
        ready, self._next = self._next, None
        expected = ready is not None and ready[0] == number
        found = ready[1].result() if ready is not None and expected else self._read(number)
        self._next = (number + 1, self._threads.submit(self._read, number + 1))
        return found

    def _read(self, number: int) -> Data:
        a_round = len(self._blocks) // self._wide
        order = np.random.default_rng([_ORDER, number // a_round]).permutation(len(self._blocks))
        at = number % a_round * self._wide
        chosen = np.sort(order[at : at + self._wide])
        return self._data(self._blocks[chosen].reshape(-1))

    def _data(self, rows: np.ndarray, aside: bool = False) -> Data:
        """Those rows of the set, in ascending order."""
        parts = [rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK)]
        found = {name: [self._some(name, part) for part in parts] for name in _names(self._keep)}
        arrays = {name: np.concatenate(each) for name, each in found.items()}
        first = self._source.first[rows]
        starts = np.flatnonzero(first) if aside else np.zeros(1, np.int32)
        extra = {name: jnp.asarray(arrays[name]) for name, read in self._keep.items() if read}
        empty = dict.fromkeys(Transition.__dataclass_fields__, ())
        return Data(
            rows=jnp.asarray(pack(self._env, *(arrays[name] for name in PACKED))),
            extra=Transition(**{**empty, **extra}),  # pyright: ignore[reportArgumentType]
            mean=jnp.asarray(self._source.mean[None], jnp.float32),
            std=jnp.asarray(self._source.std[None], jnp.float32),
            starts=jnp.asarray(starts[None], jnp.int32),
            clock=jnp.asarray(clock(first)) if aside else (),
            held=None if aside else self._held,
        )

    def _some(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Rows of a field that lie near each other: read in one piece."""
        start = int(rows[0])
        return self._source.read(name, start, int(rows[-1]) + 1)[rows - start]


PACKED = ("obs", "action", "next_obs", "reward", "terminated")


def _names(keep: dict[str, bool]) -> list[str]:
    return list(dict.fromkeys([*PACKED, *(name for name, read in keep.items() if read)]))


def _held(agent: str, source: Streamed, config: Any) -> np.ndarray:
    """Which rows are of episodes that are set aside, at most as many rows as a window has."""
    number = np.cumsum(source.first, dtype=np.int32) - 1
    if not config.holdout:
        return np.zeros(len(source), bool)
    lengths = np.bincount(number)
    if len(lengths) < 2:
        raise UserError(
            f"{agent}'s holdout sets whole episodes aside, and the data is one; use holdout=0"
        )
    most = min(max(1, round(config.holdout * len(lengths))), len(lengths) - 1)
    order = np.random.default_rng(config.holdout_seed).permutation(len(lengths))[:most]
    fit = max(1, int((np.cumsum(lengths[order]) <= config.stream).sum()))
    aside = np.zeros(len(lengths), bool)
    aside[order[:fit]] = True
    return aside[number]
