"""Of each right response, wrong ones to the same prompt."""

import numpy as np

MOST = 2048  # right responses that meet rivals


def rivals(
    text: np.ndarray,
    reward: np.ndarray,
    there: np.ndarray,
    prompt: int,
    right: np.ndarray,
    own: np.ndarray,
    k: int,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Which right responses have k rivals with less reward, and these, drawn without replacement.

    Args:
      text: of all pairs, `[B, 2, P + T]`.
      reward: of all of them, `[B, 2]`.
      there: which there are, `[B, 2]`.
      prompt: P.
      right: texts of right responses, `[N, P + T]`.
      own: their rewards, `[N]`.
      k: how many rivals each meets.
      seed: of the draws.

    Returns:
      Numbers of right responses, `[M]`, at most `MOST`, and texts `[M, k, P + T]`.
    """
    flat = text.reshape(-1, text.shape[-1])[there.reshape(-1)]
    known = reward.reshape(-1)[there.reshape(-1)]
    flat, first = np.unique(flat, axis=0, return_index=True)  # each response once
    known = known[first]
    rng = np.random.default_rng(seed)
    by_prompt: dict[bytes, list[int]] = {}
    for row, each in enumerate(flat):
        by_prompt.setdefault(each[:prompt].tobytes(), []).append(row)
    kept, drawn = [], []
    for row in rng.permutation(len(right)):
        pool = np.asarray(by_prompt[right[row, :prompt].tobytes()])
        pool = pool[known[pool] < own[row]]
        if len(pool) >= k:
            kept.append(row)
            drawn.append(flat[rng.choice(pool, k, replace=False)])
        if len(kept) == MOST:
            break
    if not kept:
        return np.zeros(0, np.int64), np.zeros((0, k, text.shape[-1]), text.dtype)
    return np.asarray(kept), np.stack(drawn)
