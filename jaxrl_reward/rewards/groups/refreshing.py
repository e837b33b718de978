"""What a judge learns from a policy's own responses, where a precise rule says that one is right.

All arrays are of N responses in groups, a text each, `[N, P + T]` int32; the number V is
nothing. A rule is precise where it accepts what is right only; what it refuses may be right too.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrl_reward.nn import response_models
from jaxrl_reward.nn.response_models import Design
from jaxrl_reward.rewards.groups.ways import Groups
from jaxrl_reward.types import Array

ITEMS = ("corrupted", "rollouts", "points")
END = 0  # the token that ends a response, as of `envs.sequence`


class Items(NamedTuple):
    """B right responses and what they are set against, as texts `[B, P + T]`.

    Attributes:
      right: accepted by the rule.
      wrong: a corrupted copy of it, or another response to the same prompt.
      use: which of them count, `[B]` float32.
    """

    right: Array
    wrong: Array
    use: Array


def corrupted(key: Array, tokens: Array, vocabulary: int, edits: int) -> Array:
    """A response `[T]` after 1 to `edits` random edits: a token replaced, put in or left out.

    It still ends, and has no end but that. Edits may undo each other: compare with what it was.
    """
    length = tokens.shape[0]
    place = jnp.arange(length)

    def edit(tokens: Array, key: Array) -> Array:
        keys = jax.random.split(key, 5)
        size = (tokens == END).argmax()  # tokens before the end
        at = jax.random.randint(keys[0], (), 0, jnp.maximum(size, 1))
        other = jax.random.randint(keys[1], (), 1, vocabulary - 1)
        replaced = tokens.at[at].set((tokens[at] - 1 + other) % (vocabulary - 1) + 1)
        gap = jax.random.randint(keys[2], (), 0, size + 1)
        behind = jnp.where(place > gap, jnp.roll(tokens, 1), tokens)
        new = jax.random.randint(keys[4], (), 1, vocabulary)
        longer = jnp.where(place == gap, new, behind)
        shorter = jnp.where(place >= at, jnp.roll(tokens, -1).at[-1].set(vocabulary), tokens)
        room, any_ = size + 1 < length, size > 0
        chance = jnp.log(jnp.stack([any_, room, any_]).astype(jnp.float32))
        kind = jax.random.categorical(keys[3], chance)
        return jnp.stack([replaced, longer, shorter])[kind].astype(tokens.dtype)

    key_count, *keys = jax.random.split(key, edits + 1)
    count = jax.random.randint(key_count, (), 1, edits + 1)
    for i, each in enumerate(keys):
        tokens = jnp.where(i < count, edit(tokens, each), tokens)
    return tokens


def drawn(
    key: Array,
    design: Design,
    text: Array,
    right: Array,
    groups: Groups,
    *,
    items: str,
    edits: int,
    count: int,
) -> Items:
    """`count` right responses, each of a group drawn uniformly, and something wrong beside each.

    Args:
      key: of the draws.
      design: of the judge that reads them.
      text: of the responses, as the judge reads them.
      right: those that the rule accepts, `[N]` bool.
      groups: of the responses.
      items: `corrupted`, a copy with random edits; else a response of the group that the
        rule refuses.
      edits: at most so many of a copy.
      count: B.
    """
    key_right, key_wrong = jax.random.split(key)
    refused = ~right & (groups.size() > 0)
    usable = right if items == "corrupted" else right & (groups.count(refused) > 0)
    weight = usable / jnp.maximum(groups.count(usable), 1.0)
    rows = jax.random.categorical(key_right, jnp.log(weight), shape=(count,))
    chosen, use = text[rows], jnp.broadcast_to(usable.any(), (count,))
    if items == "corrupted":
        tokens = chosen[:, design.prompt :]
        one = lambda key, x: corrupted(key, x, design.vocabulary, edits)  # noqa: E731
        other = jax.vmap(one)(jax.random.split(key_wrong, count), tokens)
        use &= (other != tokens).any(1)
        wrong = jnp.concatenate([chosen[:, : design.prompt], other], 1)
    else:
        beside = (groups.ids[rows][:, None] == groups.ids[None]) & refused[None]
        logits = jnp.where(beside, 0.0, -jnp.inf)
        wrong = text[jax.random.categorical(key_wrong, logits)]
    return Items(chosen, wrong, use.astype(jnp.float32))


def loss(design: Design, items: str, params: Any, drawn: Items) -> tuple[Array, Array]:
    """The mean loss of one network, and the share of pairs that it orders rightly (no ties).

    `-log sigmoid(r(right) - r(wrong))`; of `points`, `-log sigmoid(r)` of the right response
    and `-log sigmoid(-r)` of the wrong one.
    """
    if design.relative:  # each once as the other one
        length = design.prompt
        pairs = ((drawn.right, drawn.wrong), (drawn.wrong, drawn.right))
        said = [
            response_models.judge(design, params, one, other=other[:, length:]).score()
            for one, other in pairs
        ]
    else:
        both = jnp.concatenate([drawn.right, drawn.wrong])
        said = jnp.split(response_models.judge(design, params, both).score(), 2)
    good, bad = said
    each = jax.nn.softplus(bad - good)
    if items == "points":
        each = jax.nn.softplus(-good) + jax.nn.softplus(bad)
    total = jnp.maximum(drawn.use.sum(), 1.0)
    ordered = (drawn.use * (good > bad)).sum() / total
    return (drawn.use * each).sum() / total, ordered


def step(
    design: Design, items: str, rate: Any, params: Any, opt_state: Any, drawn: Items
) -> tuple[Any, Any, Array, Array]:
    """A step of Adam for each member, leaves `[members, ...]`: parameters, optimiser, loss, order.

    Without anything to learn from nothing moves.
    """
    optimiser = optax.adam(rate)

    def total(params: Any) -> tuple[Array, Array]:
        one = lambda params: loss(design, items, params, drawn)  # noqa: E731
        losses, ordered = jax.vmap(one)(params)
        return losses.sum(), ordered.mean()

    (value, ordered), gradient = jax.value_and_grad(total, has_aux=True)(params)
    change, after = optimiser.update(gradient, opt_state)
    moved = optax.apply_updates(params, change), after
    some = drawn.use.any()
    params, opt_state = jax.tree.map(
        lambda new, old: jnp.where(some, new, old), moved, (params, opt_state)
    )
    return params, opt_state, value, ordered
