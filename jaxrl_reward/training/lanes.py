"""Lanes: what of an agent is numbers, side by side, so that several runs are one program.

An agent's floats, and those of its reward, are leaves of its state. Seeds at
several points are therefore lanes of one compiled program, as several seeds
are: point 0 with each seed, then point 1 with each seed, and so on.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward import settings
from jaxrl_reward.training.schedule import plan
from jaxrl_reward.types import UserError


def of_length(agent: Any, total_steps: int) -> Any:
    """The agent of a run: settings that follow the run's length have it.

    They are numbers as others are: another length compiles nothing anew.
    """
    length = plan(agent.steps_per_iteration, total_steps, 1, 1).total_steps
    config, begin = settings.at_length(agent.config, length), agent.init
    if config is agent.config:
        return agent

    def init(key: Any, given: Any = None, reward: Any = None, **data: Any) -> Any:
        return begin(key, config if given is None else given, reward, **data)

    return agent._replace(config=config, init=init)


def numbers(points: Sequence[Any], seeds: int) -> tuple[Any, ...]:
    """Configs and rewards with leaves `[L, ...]` for `init`; `()` for no points.

    Args:
      points: what has a `config` and a `reward`, such as agents.
      seeds: of each.

    Raises:
      UserError: two rewards have numbers of different shapes.
    """
    if not points:
        return ()
    from jaxrl_reward.agents.common import base

    def stack(*leaves: Any) -> Any:
        if len({jnp.shape(leaf) for leaf in leaves}) > 1:
            raise UserError("the rewards have lists of numbers of different lengths")
        return jnp.repeat(jnp.stack(leaves), seeds, axis=0)

    def stacked(trees: Sequence[Any]) -> Any:
        return jax.tree.map(stack, *(base.as_leaves(tree) for tree in trees))

    configs = [each.config for each in points]
    rewards = [bound(each.config, each.reward) for each in points]
    # An agent of one's own may have no reward with numbers in it.
    return (stacked(configs), stacked(rewards)) if jax.tree.leaves(rewards) else (stacked(configs),)


def bound(config: Any, reward: Any) -> Any:
    """The reward of an agent with these settings: with its discount, if it has one."""
    from jaxrl_reward import rewards as rw

    return rw.discounts.bind(reward, config.gamma) if hasattr(config, "gamma") else reward


def mixed(rewards: Sequence[Any]) -> list[Any]:
    """Each of several rewards as an expression of one structure: they differ in numbers only.

    It has a part for each structure among them, and weights of 0 and 1 say which counts.
    """
    from jaxrl_reward import rewards as rw

    parts = {jax.tree.structure(reward): reward for reward in reversed(rewards)}
    kinds = list(dict.fromkeys(jax.tree.structure(reward) for reward in rewards))
    if len(kinds) == 1:
        return list(rewards)
    found = []
    for reward in rewards:
        own = jax.tree.structure(reward)
        every = rw.stack(*(reward if kind == own else parts[kind] for kind in kinds))
        found.append(every | rw.weighted_sum(weights=tuple(float(kind == own) for kind in kinds)))
    return found
