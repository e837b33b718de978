"""The networks that an agent's setting `network` names, and those that users add.

A network sees an observation in its own shape, and what it gives goes into the agent's
`hidden` layers, with whatever else the agent sees: the reward's memory, an action.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxrl_reward.layout import Part
from jaxrl_reward.nn import images, networks, parts, shared
from jaxrl_reward.nn.own import Own
from jaxrl_reward.types import Array, UserError

AUTO, MLP, CNN, PARTS, GRU, SHARED = "auto", "mlp", "cnn", "parts", "gru", "shared"
# What each is, in a line; of a user's, the network itself.
TABLE: dict[str, str | Own] = {
    AUTO: "`cnn` for observations [H, W, C], `parts` with such a part or a grid, else `mlp`",
    MLP: "the hidden layers alone",
    CNN: "16 filters of 3 x 3 before the hidden layers",
    PARTS: "an encoder for each part of the observation before the hidden layers",
    GRU: "the last hidden layer remembers the episode; of ppo",
    SHARED: "one policy for agents alike, each by its own part, and a critic of all; of ppo",
}
_OF_PPO = (GRU, SHARED)

Given = TypeVar("Given")


class _Common(Collection[str]):
    """The names of networks that all agents have, with those that will be registered."""

    def __contains__(self, name: object) -> bool:
        return name in TABLE and name not in _OF_PPO

    def __iter__(self) -> Iterator[str]:
        return (name for name in TABLE if name not in _OF_PPO)

    def __len__(self) -> int:
        return len(TABLE) - len(_OF_PPO)


COMMON = _Common()


def names() -> list[str]:
    """Every name of a network."""
    return list(TABLE)


def summary(name: str) -> str:
    """What the network of that name is, in a line."""
    known = TABLE[name]
    return known.summary if isinstance(known, Own) else known


def register(name: str) -> Callable[[Given], Given]:
    """Makes a network known by `name` to the setting `network`, here and in the shell.

    Decorates what may be given as a network, see `nn.own`.

    Args:
      name: a Python identifier.

    Raises:
      UserError: the name is no identifier or belongs to another, or it is no network.
    """
    if not name.isidentifier():
        raise UserError(f"network name {name!r} is not an identifier")

    def add(given: Given) -> Given:
        own, known = Own(given), TABLE.get(name)
        if known is not None and str(known) != own.text:
            raise UserError(f"network name {name!r} is taken by {known}")
        TABLE[name] = own
        return given

    return add


def of(given: Any) -> Any:
    """What a setting `network` holds: a name as it is, anything else as an `Own`.

    Raises:
      UserError: it is no network.
    """
    return given if isinstance(given, str | Own) else Own(given)


def check(
    owner: str,
    kind: Any,
    shape: tuple[int, ...],
    seen: str,
    layout: Sequence[Part] = (),
    counts: Sequence[int] = (),
) -> None:
    """Tries a network on the shape of observations.

    Args:
      owner: whose it is, for messages.
      kind: what the setting `network` holds.
      shape: of one observation.
      seen: whose observations these are.
      layout: the parts of one.
      counts: how many choices each number of an action has.

    Raises:
      UserError: it cannot see such observations, or gives none of the features wanted.
    """
    if kind == CNN and not images.fits(shape):
        least, other = images.KERNEL, PARTS if parts.structured(layout) else MLP
        raise UserError(
            f"{owner}'s network='cnn' needs observations [H, W, C] of {least} x {least} at least; "
            f"{seen} has {list(shape)}: use network={other!r}"
        )
    if kind == SHARED:
        shared.check(owner, layout, counts, seen)
    elif _by_parts(kind, layout):
        parts.check(owner, layout, seen)
    own = TABLE[kind] if isinstance(kind, str) else kind
    if isinstance(own, Own):
        own.check(owner, shape)


def make(
    kind: Any,
    shape: tuple[int, ...] | None,
    sizes: Sequence[int],
    activation: str,
    final_scale: float = 1.0,
    *,
    layer_norm: bool = False,
    layout: Sequence[Part] = (),
    agents: int = 0,
) -> networks.Network:
    """A network of flat inputs `[..., D]`, an observation and what else is seen.

    Args:
      kind: what the setting `network` holds, without memory.
      shape: of one observation; None where nothing is known of it, as if flat.
      sizes, activation, final_scale, layer_norm: of the dense layers, see `networks.mlp`.
      layout: the parts of an observation.
      agents: of `shared`, how many share the network, each with a part of its own, and the
        output among them; 0 for a network that sees all.
    """
    if kind == SHARED and agents:
        each = (*sizes[:-1], sizes[-1] // agents)

        def of_one(view: Sequence[Part]) -> networks.Network:
            made = ((view[-1].stop,), each, activation, final_scale)
            return make(PARTS if parts.helps(view) else MLP, *made, layout=view)

        return shared.policy(layout, agents, of_one)
    dense = networks.mlp(sizes, activation, final_scale, layer_norm=layer_norm)
    front = None if shape is None else _front(kind, shape, layout)
    return dense if front is None or shape is None else _behind(front, dense, shape)


def _by_parts(kind: Any, layout: Sequence[Part]) -> bool:
    """Whether each part of an observation goes through an encoder of its own."""
    return kind == PARTS or (kind in (AUTO, SHARED) and parts.helps(layout))


def _front(
    kind: Any, shape: tuple[int, ...], layout: Sequence[Part] = ()
) -> networks.Network | None:
    """What sees the observation; None where the dense layers do."""
    if _by_parts(kind, layout):
        return _flat(parts.front(layout), shape)
    own = TABLE[kind] if isinstance(kind, str) else kind
    if isinstance(own, Own):
        return own.front(shape)
    image = kind == CNN or (kind in (AUTO, SHARED) and images.fits(shape))
    return images.convolution() if image else None


def _flat(front: networks.Network, shape: tuple[int, ...]) -> networks.Network:
    """A network of flat observations `[B, D]` as one of `[B, *shape]`."""
    size = math.prod(shape)
    flat = lambda rows: rows.reshape(rows.shape[0], size)  # noqa: E731
    return networks.Network(front.init, lambda params, rows: front.apply(params, flat(rows)))


def _behind(
    front: networks.Network, dense: networks.Network, shape: tuple[int, ...]
) -> networks.Network:
    """The dense layers behind what sees the observation, the first numbers of the inputs."""
    size = math.prod(shape)

    def features(params: Any, rows: Array) -> Array:
        seen = front.apply(params, rows[:, :size].reshape(-1, *shape))
        return jnp.concatenate([seen.astype(jnp.float32), rows[:, size:]], axis=-1)

    def init(key: Array, example: Any) -> dict[str, Any]:
        key_front, key_dense = jax.random.split(key)
        rows = jnp.zeros((1, jnp.shape(example)[-1]))
        params = front.init(key_front, rows[:, :size].reshape(1, *shape))
        found = jax.eval_shape(features, params, rows)
        return {"front": params, "dense": dense.init(key_dense, jnp.zeros(found.shape))}

    def apply(params: Any, inputs: Any) -> Array:
        inputs = jnp.asarray(inputs, jnp.float32)
        rows = inputs.reshape(-1, inputs.shape[-1])
        out = dense.apply(params["dense"], features(params["front"], rows))
        return out.reshape(*inputs.shape[:-1], out.shape[-1])

    return networks.Network(init, apply)
