"""One policy for several agents alike: the same parameters see each agent's own part alone.

An action is a number for each of k agents. What agent i sees is its own:

- parts under names of their own, `agent_0.view`, `agent_1.view`, in the order in which they
  lie in the observation, k groups that are alike;
- or else row i of every part `[k, ...]`.

What is left is nobody's, and so is what the reward remembers: only a critic sees it, which
sees all, as in Yu et al. (2022, arXiv:2103.01955). PPO's ratio is there of each agent's number;
here it is of all of them, which are one action.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from jaxrl_reward.layout import Part
from jaxrl_reward.layout import take as take_part
from jaxrl_reward.nn import networks, parts
from jaxrl_reward.types import Array, UserError

Group = list[Part]


def check(owner: str, layout: Sequence[Part], counts: Sequence[int], whose: str) -> None:
    """Raises a `UserError` unless there are several agents alike, each with a part of its own."""
    fix = "; use network='auto'"
    if len(counts) < 2 or len(set(counts)) > 1:
        raise UserError(
            f"{owner}'s network='shared' needs an action of several numbers with as many choices "
            f"each, one for each agent; {whose} has {list(counts)}{fix}"
        )
    if not _groups(layout, len(counts)) and not _rows(layout, len(counts)):
        raise UserError(
            f"{owner}'s network='shared' needs a part of each of {len(counts)} agents, alike, or "
            f"parts with a row for each; {whose} has {_told(layout)}{fix}"
        )


def own(layout: Sequence[Part], agents: int) -> tuple[list[Part], Callable[[Array], Array]]:
    """What one agent sees: its parts, and from flat observations `[..., D]` to `[..., k, d]`."""
    groups = _groups(layout, agents)
    if groups:
        prefix = len(groups[0][0].name.partition(".")[0])
        view = _laid(groups[0], [part.name[prefix + 1 :] for part in groups[0]])

        def take(flat: Array) -> Array:
            each = [_joined([flat[..., p.start : p.stop] for p in group]) for group in groups]
            return jnp.stack(each, axis=-2)

        return view, take
    found = _rows(layout, agents)
    rows = [
        part._replace(shape=part.shape[1:], size=math.prod(part.shape[1:]), space=_Row(part))
        for part in found
    ]

    def take_rows(flat: Array) -> Array:
        lead = flat.shape[:-1]
        return _joined([take_part(part, flat).reshape(*lead, agents, -1) for part in found])

    return _laid(rows, [part.name for part in rows]), take_rows


def policy(
    layout: Sequence[Part], agents: int, make: Callable[[list[Part]], networks.Network]
) -> networks.Network:
    """From inputs `[..., D]` to the outputs of all agents behind each other, `[..., k * O]`.

    Args:
      layout: the parts of an observation.
      agents: how many, k.
      make: from the parts that one agent sees to a network of them, `[..., d]` to `[..., O]`.
    """
    view, take = own(layout, agents)
    one = make(view)

    def init(key: Array, example: Any) -> Any:
        del example
        return one.init(key, jnp.zeros((1, view[-1].stop)))

    def apply(params: Any, inputs: Any) -> Array:
        out = one.apply(params, take(jnp.asarray(inputs, jnp.float32)))
        return out.reshape(*out.shape[:-2], agents * out.shape[-1])

    return networks.Network(init, apply)


class _Row:
    """The space of one row of a part: the bounds and the type of its numbers."""

    def __init__(self, part: Part):
        self.low, self.high = part.space.low, part.space.high
        self.shape, self.dtype = part.shape[1:], part.space.dtype


def _groups(layout: Sequence[Part], agents: int) -> list[Group]:
    """The parts of each agent, if exactly so many groups with a first name are alike."""
    named: dict[str, Group] = {}
    for part in parts.encoded(layout):
        if part.name:
            named.setdefault(part.name.partition(".")[0], []).append(part)
    kinds: dict[Any, list[Group]] = {}
    for group in named.values():
        look = tuple((p.name.partition(".")[2], p.shape, p.values) for p in group)
        kinds.setdefault(look, []).append(group)
    found = [groups for groups in kinds.values() if len(groups) == agents]
    return found[0] if len(found) == 1 else []


def _rows(layout: Sequence[Part], agents: int) -> list[Part]:
    """The parts with a row for each agent."""
    some = parts.encoded(layout)
    return [p for p in some if not p.values and len(p.shape) > 1 and p.shape[0] == agents]


def _laid(group: Sequence[Part], names: Sequence[str]) -> list[Part]:
    """Parts behind each other from 0 on, under other names."""
    found, start = [], 0
    for part, name in zip(group, names, strict=True):
        found.append(part._replace(name=name, start=start))
        start += part.size
    return found


def _joined(arrays: Sequence[Array]) -> Array:
    return jnp.concatenate(arrays, axis=-1)


def _told(layout: Sequence[Part]) -> str:
    return ", ".join(f"{part.name or 'an array'} {list(part.shape)}" for part in layout)
