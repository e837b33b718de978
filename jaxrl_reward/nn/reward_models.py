"""A reward model: an ensemble of networks that scores one transition, to be fitted and frozen."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl_reward.files import replacing, user_path
from jaxrl_reward.nn import networks
from jaxrl_reward.types import Array, Transition, UserError


class RewardModel(struct.PyTreeNode):
    """`members` networks of one shape.

    Attributes:
      params: leaves `[members, ...]`.
      size: how many numbers `inputs` gives.
      members: how many networks.
      width: of their hidden layers, two of them.
      actions: the number of discrete actions; 1 leaves a discrete action out.
      source: the file it comes from, if any.
    """

    params: Any
    size: int = struct.field(pytree_node=False)
    members: int = struct.field(pytree_node=False)
    width: int = struct.field(pytree_node=False)
    actions: int = struct.field(pytree_node=False)
    source: str = struct.field(pytree_node=False, default="")

    def scores(self, transition: Transition) -> Array:
        """Each member's reward of ONE transition, `[members]`."""
        return _net(self.members, self.width).apply(self.params, inputs(transition, self.actions))[
            :, 0
        ]

    def save(self, path: str | Path) -> None:
        """Writes it to a file (`.npz`) that `load` and `ensemble(start=...)` read."""
        shape = np.array([self.size, self.members, self.width, self.actions])
        with replacing(user_path(path)) as partial, open(partial, "wb") as file:
            np.savez(file, *jax.tree.leaves(self.params), shape=shape)


def init(
    key: Array, example: Transition, members: int = 1, width: int = 64, actions: int = 1
) -> RewardModel:
    """A model that is not fitted; of `example`, ONE transition, only the shapes count."""
    x = inputs(example, actions)
    return RewardModel(_net(members, width).init(key, x), x.size, members, width, actions)


def load(path: str | Path) -> RewardModel:
    """The model in a file that `save` wrote.

    Raises:
      UserError: there is no such file, or it holds something else.
    """
    try:
        with np.load(user_path(path), allow_pickle=False) as file:
            size, members, width, actions = (int(x) for x in file["shape"])
            leaves = [jnp.asarray(file[f"arr_{i}"]) for i in range(len(file.files) - 1)]
    except OSError:
        raise UserError(f"there is no reward model in {str(path)!r}; save one there") from None
    except (KeyError, ValueError):
        raise UserError(f"{str(path)!r} is no reward model that RewardModel.save wrote") from None
    net = _net(members, width)
    like = jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros(size)))
    if [x.shape for x in jax.tree.leaves(like)] != [x.shape for x in leaves]:
        raise UserError(f"{str(path)!r} holds a reward model of another shape than it says")
    params = jax.tree.unflatten(jax.tree.structure(like), leaves)
    return RewardModel(params, size, members, width, actions, str(path))


def inputs(transition: Transition, actions: int) -> Array:
    """What a model sees of ONE transition: both observations and the action, `[F]` float32.

    A discrete action is one-hot, and left out where `actions` is 1.
    """
    action = transition.action.reshape(-1)
    if jnp.issubdtype(action.dtype, jnp.integer):
        one_hot = jax.nn.one_hot(action, actions).reshape(-1)
        action = one_hot if actions > 1 else one_hot[:0]
    parts = (transition.obs, action, transition.next_obs)
    return jnp.concatenate([x.reshape(-1).astype(jnp.float32) for x in parts])


def _net(members: int, width: int) -> networks.Network:
    return networks.ensemble(networks.mlp((width, width, 1), "relu", 1.0), members)
