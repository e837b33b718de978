"""What is measured on data in place of playing: held-out losses, returns, a policy's value."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward.agents.common import fqe
from jaxrl_reward.agents.offline.packed_data import Data
from jaxrl_reward.types import Array

MOST_BATCHES = 32  # of held-out rows


def judge(shell: Any, state: Any, key: Array, data: Data) -> dict[str, Array]:
    """Scalars by name: of the episodes that were set aside, and fitted-Q evaluation.

    Args:
      shell: the agent's functions, see `shells.from_data`.
      state: one seed's.
      key: for what is drawn.
      data: what it learns from, with `held`.
    """
    key_losses, key_fqe = jax.random.split(key)
    found: dict[str, Array] = {}
    if data.held is not None:
        found |= _losses(shell, state, key_losses, data.held)
        found["held_out/return"] = _worth(shell, state, data.held)
    if shell.config.fqe_steps:
        found |= _fqe(shell, state, key_fqe, data)
    return found


def _losses(shell: Any, state: Any, key: Array, held: Data) -> dict[str, Array]:
    """The learner's own, means over up to `MOST_BATCHES` batches of evenly spread rows."""
    source = _index(state)
    _, features = shell.read_in_order(state.reward, state.reward_state, held, source)
    here = state.replace(features=features)
    size = min(shell.config.batch_size, held.count)
    batches = min(held.count // size, MOST_BATCHES)
    rows = _spread(held.count, batches * size).reshape(batches, size)

    def one(xs: tuple[Array, Array]) -> dict[str, Array]:
        rows, i = xs
        batch, _ = shell.batch(here, state.reward_state.shared, held, rows)
        return shell.learner.held_out(state.config, state.params, batch, jax.random.fold_in(key, i))

    found = jax.lax.map(one, (rows, jnp.arange(batches)))
    return {f"held_out/{name}": value.mean() for name, value in found.items()}


def _worth(shell: Any, state: Any, held: Data) -> Array:
    """The mean discounted return of the data's own held-out episodes, as far as they go."""
    at = _index(state) * held.count + jnp.arange(held.count)
    paid, clock = shell.parts(held.rows[at])[3], held.clock[at]
    return (paid * state.config.gamma**clock).sum() / (clock == 0).sum()


def _fqe(shell: Any, state: Any, key: Array, data: Data) -> dict[str, Array]:
    source = _index(state)
    aside = data if data.held is None else data.held

    def steps_at(data: Data, rows: Array) -> Any:
        obs, action, after, reward, ended = shell.parts(data.rows[source * data.count + rows])
        see = lambda x: (x - state.mean[None]) * state.scale[None]  # noqa: E731
        return see(obs), shell.choice(action), reward, 1.0 - ended, see(after)

    def rows(key: Array, size: int) -> Any:
        return steps_at(data, jax.random.randint(key, (size,), 0, data.count))

    starts = steps_at(aside, aside.starts[source])[0]
    checked = steps_at(aside, _spread(aside.count, min(aside.count, fqe.CHECKED)))
    size = shell.config.batch_size
    known = (shell.learner, state.params, state.config.gamma)
    return fqe.evaluate(*known, rows, starts, checked, key, shell.config.fqe_steps, size)


def _spread(count: int, rows: int) -> Array:
    """So many of `count` rows, evenly spread, `[rows]` int32."""
    return jnp.asarray([i * count // rows for i in range(rows)], jnp.int32)


def _index(state: Any) -> Array:
    return jnp.asarray(state.config.source).astype(jnp.int32)
