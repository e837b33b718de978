"""Judges of many widths as lanes of one program."""

import jax.numpy as jnp

from jaxrl_reward.nn.response_models import ResponseModel
from jaxrl_reward.types import Array, UserError


def narrow(model: ResponseModel, units: Array | int) -> ResponseModel:
    """A judge whose GRU has only the first `units` of its memory, whatever it learns.

    What leads to the others and from them is 0, and so are its gradients: a step of the
    optimiser leaves it there, as long as it moves nothing whose gradient is 0. So judges of
    many widths are lanes of one program.

    Args:
      model: of GRUs.
      units: a whole number up to the width, which may be traced.

    Raises:
      UserError: the judge is no GRU, or compares.
    """
    if model.design.network != "gru" or model.design.relative or model.design.outputs > 1:
        raise UserError("only judges that are GRUs with one score can be narrowed")
    width = model.design.width
    there = jnp.arange(width) < units
    gates = jnp.tile(there, 3)
    torso = dict(model.params["torso"])
    for name in ("input", "memory", "bias"):  # leaves [members, ..., 3 H]
        torso[name] = jnp.where(_last(gates, torso[name]), torso[name], 0.0)
    torso["memory"] = jnp.where(there[None, :, None], torso["memory"], 0.0)
    torso["memory_bias"] = jnp.where(there[None], torso["memory_bias"], 0.0)

    def cut(leaf: Array) -> Array:
        """The head's first weights `[members, H + C, ...]`, from units that are there."""
        return leaf.at[:, :width].set(jnp.where(there[None, :, None], leaf[:, :width], 0.0))

    first = min(model.params["head"]["params"])
    layer = model.params["head"]["params"][first]
    layers = {**model.params["head"]["params"], first: {**layer, "kernel": cut(layer["kernel"])}}
    params = {**model.params, "torso": torso, "head": {"params": layers}}
    return model.replace(params=params)


def _last(x: Array, like: Array) -> Array:
    """A row as the last axis of something."""
    return x.reshape((1,) * (like.ndim - 1) + x.shape)
