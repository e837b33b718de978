"""What a judge may learn before anyone prefers anything: who wrote it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.data.pairs import PairSet
from jaxrl_reward.types import Array


class Zoo(NamedTuple):
    """Pairs for `fit(model, key, zoo.pairs, other=zoo.other)`, the model's design relative."""

    pairs: PairSet
    other: Array


def zoo_pairs(key: Array, prompt: Array, responses: Array, count: int) -> Zoo:
    """Of two responses, that one is better which the policy of a third wrote.

    Dou et al. 2025, "Pre-Trained Policy Discriminators are General Reward Models" (POLAR):
    `-log sigmoid(r(A1, A2) - r(A1, B))` with A1 and A2 of one policy and B of another. The best
    r is `log p(. | policy of A1) / q` and a constant, q that of the others. Fitted on to
    preferences, it scores how like a reference a response is, `scores(text, other=reference)`.

    Args:
      key: of what is drawn.
      prompt: `[N, P]`.
      responses: of Z policies, D to each prompt, `[Z, N, D, T]`; Z and D at least 2.
      count: how many pairs.
    """
    policies, prompts, draws = responses.shape[:3]
    keys = jax.random.split(key, 5)
    which = jax.random.randint(keys[0], (count,), 0, prompts)
    same = jax.random.randint(keys[1], (count,), 0, policies)
    apart = jax.random.randint(keys[2], (count,), 1, policies)
    first = jax.random.randint(keys[3], (count,), 0, draws)
    second = jax.random.randint(keys[4], (count, 2), 1, draws)
    another = (same + apart) % policies
    pairs = PairSet(
        prompt=prompt[which],
        chosen=responses[same, which, (first + second[:, 0]) % draws],
        rejected=responses[another, which, (first + second[:, 1]) % draws],
        there=jnp.ones((count, 2), bool),
        label=jnp.ones(count),
        strength=jnp.ones(count),
        reward=jnp.zeros((count, 2)),
        user=jnp.zeros(count, jnp.int32),
    )
    return Zoo(pairs, responses[same, which, first])
