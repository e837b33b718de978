"""Prefix trees of responses, whose leaves are compared: pairs that begin alike.

"Reward Generalization in RLHF: A Topological Perspective" (2024): for each prompt a tree of
responses, of depth D and with B branches at each inner node, in place of independent ones.
Only a secondary source was seen; that two leaves are drawn uniformly is ours.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.nn import language_models
from jaxrl_reward.types import Array, UserError


def owners(cuts: Sequence[int], branches: int, length: int) -> np.ndarray:
    """Whose draws each leaf of one tree takes at each token, `[T, B ** D]` int.

    Leaves are in order, so that those of an inner node lie side by side.

    Args:
      cuts: the tokens before which every response splits, rising, D of them; 0 splits
        before the first token.
      branches: into how many, B.
      length: T.

    Raises:
      UserError: cuts do not rise within the response, or there are too few branches.
    """
    cuts = [int(cut) for cut in cuts]
    if cuts != sorted(set(cuts)) or any(not 0 <= cut < length for cut in cuts):
        raise UserError(f"cuts must rise from 0 to below {length}, not {cuts}")
    if branches < 2:
        raise UserError(f"a tree needs at least 2 branches, not {branches}")
    leaves = np.arange(branches ** len(cuts))
    splits = (np.arange(length)[:, None] >= np.asarray(cuts, int)[None]).sum(1)  # so far
    size = branches ** (len(cuts) - splits)  # leaves of a node
    return leaves[None] // size[:, None] * size[:, None]


def grow(
    model: language_models.LanguageModel,
    params: Any,
    prompt: Array,
    key: Array,
    *,
    cuts: Sequence[int],
    branches: int,
    length: int,
) -> language_models.Generated:
    """The leaves of a tree for each prompt `[M, P]`, side by side: `[T, M * B ** D]` each.

    Each leaf by itself is drawn from the model, as any response is.

    Args:
      model: what writes.
      params: its parameters.
      prompt: what it reads first.
      key: of the draws.
      cuts, branches, length: see `owners`.
    """
    own = owners(cuts, branches, length)
    start = own.shape[1] * np.arange(prompt.shape[0])
    alike = (own[:, None, :] + start[None, :, None]).reshape(length, -1)
    repeated = jnp.repeat(prompt, own.shape[1], axis=0)
    return language_models.generate(
        model, params, repeated, length, key, alike=jnp.asarray(alike, jnp.int32)
    )


class Compared(NamedTuple):
    """Pairs of responses, as rows of all leaves, `[M * pairs]` int each.

    Attributes:
      first: one of each pair.
      second: the other.
      shared: with how many tokens both begin.
    """

    first: Array
    second: Array
    shared: Array


def compared(key: Array, tokens: Array, leaves: int, pairs: int) -> Compared:
    """`pairs` pairs of different leaves of each tree, each drawn uniformly.

    Args:
      key: of the draws.
      tokens: of all leaves, `[T, M * leaves]`, as `grow` gives them; independent responses
        to one prompt side by side do as well, and are the chains of the paper.
      leaves: of a tree.
      pairs: of a tree; one may be drawn twice.
    """
    one, other = jax.random.split(key)
    trees = tokens.shape[1] // leaves
    start = leaves * jnp.arange(trees)[:, None]
    first = jax.random.randint(one, (trees, pairs), 0, leaves)
    second = (first + jax.random.randint(other, (trees, pairs), 1, leaves)) % leaves
    first, second = ((start + x).reshape(-1) for x in (first, second))
    same = jnp.cumprod(tokens[:, first] == tokens[:, second], axis=0).sum(0)
    return Compared(first, second, same)
