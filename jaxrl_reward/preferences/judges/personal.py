"""A judge for each of many users, from a few of their own labels: a latent that is inferred.

`preferences.users` on what a torso reads of whole responses, both trained at once.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.flatten_util import ravel_pytree

from jaxrl_reward.nn import response_models
from jaxrl_reward.nn.response_models import Design
from jaxrl_reward.preferences import users
from jaxrl_reward.types import Array, UserError

FORMAT = "jaxrl-reward personal judge 1"  # says what a file is, and the version of its layout


class PersonalJudge(struct.PyTreeNode):
    """Scores of responses for users.

    Attributes:
      params: of the torso and of the networks of users, `{"judge": ..., "users": ...}`.
      design: of the torso.
      net: the networks of users.
    """

    params: Any
    design: Design = struct.field(pytree_node=False)
    net: users.Variational = struct.field(pytree_node=False)

    def latent(self, text: Array, label: Array) -> Array:
        """The mean z of users `[U, latent]`, from pairs `[U, P, 2, P + T]` and labels `[U, P]`."""
        return users.encode(self.net, self.params["users"], self.pairs(text, label))[0]

    def scores(self, text: Array, z: Array) -> Array:
        """Of responses `[U, N, P + T]` for users with these z, `[U, N]`."""
        return users.score(self.net, self.params["users"], self.features(text), z)

    def features(self, text: Array) -> Array:
        """What the torso reads of texts `[..., P + T]`, `[..., H]`."""
        flat = text.reshape(-1, text.shape[-1])
        known = response_models.read(self.design, self.params["judge"], flat)[0]
        return known.reshape(*text.shape[:-1], -1)

    def pairs(self, text: Array, label: Array) -> users.Pairs:
        """As the networks of users read pairs."""
        known = self.features(text)
        return users.Pairs(known[..., 0, :], known[..., 1, :], label)

    def save(self, path: str | Path) -> Path:
        """Writes it to a file that `load` reads.

        Raises:
          UserError: the path does not end in `.npz`, or the networks of users are not those of
            `users.variational`.
        """
        if not self.net.width:
            raise UserError("only the networks that users.variational makes can be saved")
        of_users = {"latent": self.net.latent, "width": self.net.width}
        told = {"design": dataclasses.asdict(self.design), "users": of_users}
        return response_models.store(path, FORMAT, self.params, told)


def init(key: Array, design: Design, net: users.Variational) -> PersonalJudge:
    """A judge that is not fitted."""
    key_torso, key_users = jax.random.split(key)
    torso = jax.tree.map(lambda x: x[0], response_models.init(key_torso, design).params)
    params = {"judge": torso, "users": users.init(net, key_users, design.width)}
    return PersonalJudge(params, design, net)


def load(path: str | Path) -> PersonalJudge:
    """The judge in a file that `PersonalJudge.save` wrote.

    Raises:
      UserError: there is no such file, or it holds something else.
    """

    def made(told: dict[str, Any]) -> tuple[Design, users.Variational]:
        design = Design(**told["design"])
        response_models.check_design(design)
        sizes = told["users"]
        if not all(isinstance(x, int) and x > 0 for x in sizes.values()):
            raise ValueError
        return design, users.variational(**sizes)

    (design, net), leaves = response_models.stored(path, FORMAT, "PersonalJudge", made)
    like = jax.eval_shape(lambda: init(jax.random.key(0), design, net).params)
    return PersonalJudge(response_models.shaped(path, leaves, like), design, net)


def fit_users(
    model: PersonalJudge,
    key: Array,
    text: Array,
    label: Array,
    *,
    context: int = 4,
    steps: int = 500,
    batch_size: int = 16,
    learning_rate: Any = 3e-3,
    beta: Any = 0.01,
) -> tuple[PersonalJudge, Array]:
    """Adam on `users.loss`: of each user drawn, some pairs tell who it is, and all are explained.

    Args:
      model: where to start.
      key: typed PRNG key.
      text: pairs of users, `[U, P, 2, P + T]`.
      label: the probability that the first is preferred, `[U, P]`.
      context: pairs that tell of a user, drawn without replacement.
      steps: of the optimiser.
      batch_size: users of a step, drawn with replacement.
      learning_rate: of Adam.
      beta: weight of the divergence of z from N(0, 1).

    Returns:
      The fitted judge, and the loss of each step, `[steps]`.
    """
    vector, tree_of = ravel_pytree(model.params)
    optimiser = optax.adam(learning_rate)

    def total(vector: Array, key: Array) -> Array:
        key_users, key_context, key_z = jax.random.split(key, 3)
        now = model.replace(params=tree_of(vector))
        who = jax.random.randint(key_users, (batch_size,), 0, label.shape[0])
        at = jax.random.permutation(key_context, label.shape[1])[:context]
        pairs = now.pairs(text[who], label[who])
        some = users.Pairs(*(x[:, at] for x in pairs))
        return users.loss(model.net, now.params["users"], key_z, some, pairs, beta)

    def step(carry: Any, key: Array) -> tuple[Any, Array]:
        vector, state = carry
        value, slope = jax.value_and_grad(total)(vector, key)
        change, state = optimiser.update(slope, state)
        return (optax.apply_updates(vector, change), state), value

    keys = jax.random.split(key, steps)
    (vector, _), values = jax.lax.scan(step, (vector, optimiser.init(vector)), keys)
    return model.replace(params=tree_of(vector)), jnp.asarray(values)
