"""The networks that an agent's setting `network` names, and those that users add.

A network sees an observation in its own shape, and what it gives goes into the agent's
`hidden` layers, with whatever else the agent sees: the reward's memory, an action.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxrl_reward.nn import images, networks
from jaxrl_reward.nn.own import Own
from jaxrl_reward.types import Array, UserError

AUTO, MLP, CNN, GRU = "auto", "mlp", "cnn", "gru"
_OWN: dict[str, Own] = {}

Given = TypeVar("Given")


class Names(Collection[str]):
    """The names of networks, with those that will be registered."""

    def __init__(self, *more: str):
        self._known = (AUTO, MLP, CNN, *more)

    def __contains__(self, name: object) -> bool:
        return name in self._known or name in _OWN

    def __iter__(self) -> Iterator[str]:
        return iter((*self._known, *sorted(_OWN)))

    def __len__(self) -> int:
        return len(self._known) + len(_OWN)


def names() -> list[str]:
    """Every name of a network; `gru` is one for `ppo` alone."""
    return list(Names(GRU))


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
        own, known = Own(given), _OWN.get(name)
        if name in (AUTO, MLP, CNN, GRU) or (known and known.text != own.text):
            raise UserError(f"network name {name!r} is taken{f' by {known}' if known else ''}")
        _OWN[name] = own
        return given

    return add


def of(given: Any) -> Any:
    """What a setting `network` holds: a name as it is, anything else as an `Own`.

    Raises:
      UserError: it is no network.
    """
    return given if isinstance(given, str | Own) else Own(given)


def check(owner: str, kind: Any, shape: tuple[int, ...], seen: str) -> None:
    """Tries a network on the shape of observations.

    Args:
      owner: whose it is, for messages.
      kind: what the setting `network` holds.
      shape: of one observation.
      seen: whose observations these are.

    Raises:
      UserError: it cannot see such observations, or gives none of the features wanted.
    """
    if kind == CNN and not images.fits(shape):
        least = images.KERNEL
        raise UserError(
            f"{owner}'s network='cnn' needs observations [H, W, C] of {least} x {least} at least; "
            f"{seen} has {list(shape)}: use network='mlp'"
        )
    own = _OWN.get(kind) if isinstance(kind, str) else kind
    if own is not None:
        own.check(owner, shape)


def make(
    kind: Any,
    shape: tuple[int, ...] | None,
    sizes: Sequence[int],
    activation: str,
    final_scale: float = 1.0,
    *,
    layer_norm: bool = False,
) -> networks.Network:
    """A network of flat inputs `[..., D]`, an observation and what else is seen.

    Args:
      kind: what the setting `network` holds, without memory.
      shape: of one observation; None where nothing is known of it, as if flat.
      sizes, activation, final_scale, layer_norm: of the dense layers, see `networks.mlp`.
    """
    dense = networks.mlp(sizes, activation, final_scale, layer_norm=layer_norm)
    front = None if shape is None else _front(kind, shape)
    return dense if front is None or shape is None else _behind(front, dense, shape)


def _front(kind: Any, shape: tuple[int, ...]) -> networks.Network | None:
    """What sees the observation; None where the dense layers do."""
    if isinstance(kind, Own):
        return kind.front(shape)
    if kind in _OWN:
        return _OWN[kind].front(shape)
    image = kind == CNN or (kind == AUTO and images.fits(shape))
    return images.convolution() if image else None


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
