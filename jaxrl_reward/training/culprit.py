"""Which term of a reward first made a value that is not finite, found after the fact.

Training looks at its metrics alone, and once one of them is bad all is: parameters, actions,
observations. So the newest good state is taken up again, goes on to the iteration before
the first bad one, and that is run once more, for one lane and with each term watched.
Numbers come out as metrics do: no program calls the host.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward import rewards as rw
from jaxrl_reward.rewards.core.base import Applied, RewardTransform, State, static
from jaxrl_reward.rewards.trial import Wrapper, around
from jaxrl_reward.types import Array, Metrics, Transition

_MARK = "watched/"


class Watched(Wrapper):
    """A term of an expression; its metrics say whether it spoils what is finite before it."""

    place: int = static(default=0)  # among the terms, in the order in which they are applied

    def apply(self, state: State, block: Transition) -> Applied:
        out = self.term.apply(state, block)
        spoilt = ~_finite(out.reward) | (_nan(out.state) & ~_nan(state))
        found = {f"{_MARK}{self.place}/apply": _sound(block) & spoilt}
        if self.place == 0:
            found[f"{_MARK}environment"] = _spoils(block)
        return out._replace(metrics=out.metrics | _numbers(found))

    def learn(self, state: State, key: Array, block: Transition) -> tuple[State, Metrics]:
        after, metrics = self.term.learn(state, key, block)
        good = _sound(block) & ~_nan(state)
        return after, metrics | _numbers({f"{_MARK}{self.place}/learn": good & _nan(after)})


def find(agent: Any, state: Any) -> str | None:
    """What of an agent's reward is not finite in its next iteration though all before it is.

    Args:
      agent: has `iterate`, and `data` if it learns from that.
      state: of one lane, before the iteration.

    Returns:
      The term and what it does, in words; None where no term is to blame.
    """
    if not isinstance(getattr(state, "reward", None), RewardTransform):
        return None
    watched = state.replace(reward=watch(state.reward))
    _, metrics = jax.jit(agent.iterate)(watched, *(() if agent.data is None else (agent.data,)))
    bad = {
        name.partition(_MARK)[2] for name, each in metrics.items() if _MARK in name and each.total
    }
    if "environment" in bad:
        return f"the environment {agent.env.name} gives a reward or an observation"
    for place, term in enumerate(rw.terms(agent.reward)):
        if f"{place}/apply" in bad:
            return f"reward term {term} gives a value"
        if f"{place}/learn" in bad:
            return f"reward term {term} learns a parameter"
    return None


def watch(reward: RewardTransform) -> RewardTransform:
    """The expression with each of its terms watched."""
    places = itertools.count()
    return around(reward, lambda term: Watched(term, place=next(places)))


# ---- what is finite ------------------------------------------------------------------------


def _numbers(found: dict[str, Array]) -> Metrics:
    return {name: each.astype(jnp.float32) for name, each in found.items()}


def _every(tree: Any, holds: Any) -> Array:
    """Whether it holds for all floats of a tree."""
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(jnp.result_type(x), jnp.floating)]
    return jnp.stack([jnp.bool_(True), *(holds(x).all() for x in floats)]).all()


def _finite(tree: Any) -> Array:
    return _every(tree, jnp.isfinite)


def _nan(tree: Any) -> Array:
    """Whether a NaN is in it: an infinity may be meant, as where a minimum begins."""
    return ~_every(tree, lambda x: ~jnp.isnan(x))


def _sound(block: Transition) -> Array:
    """Whether a term is given what is finite."""
    steps = (block.obs, block.action, block.next_obs, block.env_reward, block.reward)
    return _finite(steps) & ~_nan((block.info, block.policy))


def _spoils(block: Transition) -> Array:
    """Whether the environment makes what is not finite of what is."""
    return _finite((block.obs[0], block.action)) & ~_finite((block.next_obs, block.env_reward))
