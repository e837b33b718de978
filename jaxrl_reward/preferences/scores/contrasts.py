"""Whether a judge looks at the prompt, and at the response: contrasts of one at a time.

Su et al. 2025, "Trickle-down" of reward models to policies: `C_res = 1[r(I1, R1) > r(I1, R2)]`
and `C_ins = 1[r(I1, R1) > r(I2, R1)]`. A judge that never reads the prompt ties all of the
second, and is worth 1/2 there with ties split.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.preferences.scores.comparisons import Outcome, pairwise
from jaxrl_reward.types import Array, UserError


def response_contrast(own: Array, other_response: Array) -> Outcome:
    """C_res, from scores `[...]` of a right response and of another to the same prompt."""
    return pairwise(own, other_response)


def instruction_contrast(own: Array, other_prompt: Array) -> Outcome:
    """C_ins, from scores `[...]` of a right response to its prompt, and to another prompt."""
    return pairwise(own, other_prompt)


def other_prompts(key: Array, prompt: Any) -> Array:
    """For each of the prompts `[N, P]` the number of a row with a different one, `[N]`.

    Raises:
      UserError: all prompts are the same.
    """
    rows = np.asarray(prompt)
    _, number = np.unique(rows, axis=0, return_inverse=True)
    number = number.reshape(-1)
    if number.max() == 0:
        raise UserError("a contrast of prompts needs two different ones, and all are the same")
    # Every row has a partner: a random order, in which it looks for the next that differs.
    order = np.asarray(jax.random.permutation(key, len(rows)))
    kinds = number[order]
    size = len(rows)
    found = np.empty(size, np.int64)
    ahead = (np.arange(size) + 1) % size
    for _ in range(size):
        same = kinds[ahead] == kinds
        if not same.any():
            break
        ahead = np.where(same, (ahead + 1) % size, ahead)
    found[order] = order[ahead]
    return jnp.asarray(found, jnp.int32)
