"""Of experiments on designed rewards: the share of the best return, on the way and at the end."""

from typing import Any

import numpy as np

from jaxrl_reward.training.experiments.experiment import Results


def mean_share(results: Results, arm: str) -> np.ndarray:
    """The mean of the share over training, `[S]`: how fast it was learnt."""
    return results[arm].curves.curve("mean share")[1][:, -1]


def curves(results: Results) -> dict[str, Any]:
    """The share over training by arm, as `plots.curves` has it."""
    from jaxrl_reward.report import plots
    from jaxrl_reward.training.record.metrics import Rows

    rows = Rows.concatenate([result.curves for result in results.values()])
    return plots.curves(rows.table, metric="share")


def early_and_late(results: Results, arm: str) -> tuple[str, str]:
    """The mean share over training and that at the end, means over seeds, for a table."""
    from jaxrl_reward.report import tables

    both = mean_share(results, arm), results[arm].returns
    early, late = (tables.number(float(x.mean()), 0.1) for x in both)
    return early, late
