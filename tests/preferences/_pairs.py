"""Of tests of judges: pairs of short responses, and what one of them is worth."""

import numpy as np

from jaxrl_reward.data import pairs as pair_data
from jaxrl_reward.preferences import judges

V, P, T = 5, 2, 4  # tokens, of a prompt, of a response


def responses(seed, count):
    """Prompts, some short, and responses that end where they end, `[B, P]` and `[B, T]`."""
    rng = np.random.default_rng(seed)
    prompt = rng.integers(1, V, (count, P))
    prompt[::3, 0] = V
    response = rng.integers(1, V, (count, T))
    length = rng.integers(1, T + 1, count)
    place = np.arange(T)[None]
    response = np.where(place == length[:, None] - 1, 0, response)
    return prompt, np.where(place < length[:, None], response, V)


def pairs_of(seed, count, worth):
    """Pairs of which the response with the higher worth is chosen."""
    prompt, first = responses(seed, count)
    _, second = responses(seed + 1, count)
    reward = np.stack([worth(prompt, first), worth(prompt, second)], 1)
    better = (reward[:, :1] >= reward[:, 1:]).astype(bool)
    chosen, rejected = np.where(better, first, second), np.where(better, second, first)
    return pair_data.make(
        prompt,
        chosen,
        rejected,
        reward=-np.sort(-reward, 1),
        label=np.where(reward[:, 0] == reward[:, 1], 0.5, 1.0),
    )


def design(**how):
    return judges.Design(V, P, T, **{"width": 8, **how})


def ones(prompt, response):
    del prompt
    return (response == 1).sum(1)
