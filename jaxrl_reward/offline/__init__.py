"""Learning from fixed data: datasets, their formats, how to collect, measure and corrupt them."""

from jaxrl_reward.offline.dataset import (
    D4RL_RETURNS,
    Dataset,
    Episode,
    Provenance,
    d4rl_returns,
    load,
    make,
    normalized_score,
    save,
)

__all__ = [
    "D4RL_RETURNS",
    "Dataset",
    "Episode",
    "Provenance",
    "d4rl_returns",
    "load",
    "make",
    "normalized_score",
    "save",
]
