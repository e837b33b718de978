"""A trained policy as a function from NumPy to NumPy, for notebooks and other simulators."""

import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxrl_reward import spaces
from jaxrl_reward.agents.common import base
from jaxrl_reward.deploy import stepping
from jaxrl_reward.training import imported
from jaxrl_reward.training.record.run_folder import load_config
from jaxrl_reward.training.restoring import of_seed, restore
from jaxrl_reward.types import Array, UserError


class Policy:
    """A policy of one seed, with what it remembers of the episodes that it is in.

        policy = jr.load("runs/x")
        action = policy(obs)                  # the likeliest; of obs [*O], or [N, *O] at once
        action = policy(obs, key=jax.random.key(0))   # drawn
        policy.reset()                        # episodes begin; policy.reset(ended) some of N

    Attributes:
      agent: made as for training.
      state: the agent's, of one seed, as much of it as acts.
      obs_shape: of one observation.
      remembers: whether its actions depend on what came before: then `reset` says where
        episodes begin.
      paid: whether it has to be told what the environment paid for the step before.
    """

    def __init__(self, agent: base.Agent, state: Any):
        """Of an agent, and the state of one seed, leaves `[...]`; `load` makes it of a run.

        Raises:
          UserError: the agent has no policy that acts on observations alone.
        """
        self.agent = agent
        self.state = agent.frozen(agent.prepare_eval(state, jax.random.key(0)))
        self.stepper = stepping.of(agent, self.state)
        self.obs_shape = tuple(agent.env.observation_space.shape)
        self.shapes = self.stepper.shapes(self.state)
        self.remembers = any(leaf.size for leaf in jax.tree.leaves(self.shapes))
        self.paid = self.stepper.paid
        self._step = jax.jit(self.stepper.step)
        self.reset()

    def __call__(
        self, obs: ArrayLike, *, reward: ArrayLike | None = None, key: Array | None = None
    ) -> Any:
        """The action for an observation `[*O]`, or those for N of them, `[N, *O]`.

        Args:
          obs: not normalised; that is done here, where the agent does. One of several parts may
            be given as the environment does, or as the flat vector.
          reward: what the environment paid for the step before, a number or `[N]`; needed
            after the first step where `paid`.
          key: draws the action, as in training; the likeliest without.

        Raises:
          UserError: a shape or a type that cannot be.
        """
        rows, one = self._rows(obs)
        count = rows.shape[0]
        first = self._first_of(count)
        paid = self._paid(reward, count, bool(first.all()))
        if key is not None and not _is_key(key):
            raise UserError(f"key={key!r} is no key; give jax.random.key(0)")
        memory = self._memory if self.remembers else None
        memory = stepping.nothing(self.shapes, count) if memory is None else memory
        action, self._memory = self._step(self.state, memory, rows, first, paid, key)
        self._first = np.zeros(count, bool)
        action = np.asarray(action)
        return action[0] if one else action

    def reset(self, ended: ArrayLike | None = None) -> None:
        """Episodes begin: all, or of N those that ended, `[N]` bool.

        Raises:
          UserError: `ended` is not of so many episodes as there are.
        """
        if ended is None:
            self._memory, self._first = None, None
            return
        ended, known = np.atleast_1d(np.asarray(ended, bool)), self._first
        if known is None:
            return  # all begin
        if ended.shape != known.shape:
            raise UserError(f"reset takes [{len(known)}] bool, which episodes ended, not {ended}")
        self._first = ended | known

    def _rows(self, obs: ArrayLike) -> tuple[np.ndarray, bool]:
        """Observations `[N, *O]` float32, and whether one came alone."""
        if isinstance(obs, Mapping | tuple):
            obs = self._flat(obs)
        rows, rank = _array(obs), len(self.obs_shape)
        one = rows.shape == self.obs_shape
        known = rows.dtype.kind in "biuf" and (one or rows.shape[1:] == self.obs_shape)
        if not known or not (one or rows.ndim == rank + 1) or not rows.size:
            each = ", ".join(map(str, self.obs_shape))
            found = f"{rows.dtype} {list(rows.shape)}"
            raise UserError(
                f"a policy of {self.agent.env.name} takes numbers [{each}], or [N, {each}] at "
                f"once, not {found}"
            )
        rows = rows[None] if one else rows
        return rows.astype(np.float32), one

    def _flat(self, obs: Any) -> Any:
        """An observation of several parts, or N of them, as the agent sees it."""
        env = self.agent.env
        space = env.environment.observation_space(env.params)
        if not isinstance(space, spaces.Dict | spaces.Tuple):
            return obs
        flatten, arrays = partial(spaces.flatten, space), jax.tree.map(np.asarray, obs)
        axes = sum(leaf.ndim for leaf in jax.tree.leaves(arrays))
        one = axes == sum(len(part.shape) for part in env.parts)
        try:
            rows = np.asarray(flatten(arrays) if one else jax.vmap(flatten)(arrays))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            rows = np.zeros(0)
        if rows.shape[-1:] == self.obs_shape:
            return rows
        names = ", ".join(f"{part.name} {list(part.shape)}" for part in env.parts)
        raise UserError(f"a policy of {env.name} takes {names}, or N of each")

    def _first_of(self, count: int) -> np.ndarray:
        """Which of N episodes begin."""
        first = self._first
        if first is None or not self.remembers:
            return np.ones(count, bool)
        if len(first) != count:
            raise UserError(
                f"the policy remembers {len(first)} episodes, and {count} observations came; "
                "call reset() where others begin"
            )
        return first

    def _paid(self, reward: ArrayLike | None, count: int, begins: bool) -> np.ndarray | None:
        """What the environment paid, `[N]` float32; None where nobody asks."""
        if not self.paid:
            return None
        if reward is None:
            if not begins:
                raise UserError(
                    f"the policy sees a memory of {self.agent.reward}: give reward=, what the "
                    "environment paid for the step before, or call reset() where episodes begin"
                )
            return np.zeros(count, np.float32)
        paid = _array(reward)
        if paid.dtype.kind not in "biuf" or paid.shape not in ((), (count,)):
            found = f"{paid.dtype} {list(paid.shape)}"
            raise UserError(f"reward= must be a number or [{count}], not {found}")
        return np.broadcast_to(paid.astype(np.float32), (count,))


def load(
    out: Path | str,
    arm: str | None = None,
    seed: int | None = None,
    *,
    trust: bool = False,
    **settings: Any,
) -> Policy:
    """The trained policy of a run, as in its newest good checkpoint.

    What the run imported is imported again, with a warning that says so, if this user made it
    here and it is what it was.

    Args:
      out: the run's folder.
      arm: which arm; may be left out where there is one only.
      seed: whose policy; the run's first by default.
      trust: import what the run imported, though it was made elsewhere or that has changed.
      **settings: `network=`, where the run's was given without a name.

    Raises:
      UserError: there is no such run, arm or seed, no checkpoint that can be read, or no
        policy that acts on observations alone.
    """
    say = partial(warnings.warn, stacklevel=3)
    imported.load(out, load_config(out), say, trust=trust)
    agent, loaded = restore(out, arm, **settings)
    return Policy(agent, of_seed(loaded, seed))


def _array(given: ArrayLike) -> np.ndarray:
    """What was given, as text where it is no array."""
    try:
        return np.asarray(given)
    except ValueError:  # lists of several lengths
        return np.asarray(str(given))


def _is_key(key: Any) -> bool:
    kind = getattr(key, "dtype", None)
    return kind is not None and jnp.issubdtype(kind, jax.dtypes.prng_key) and key.shape == ()
