"""How good a judge is: what benchmarks measure of what it says.

Pure functions of scores, `[..., N]`, so that many judges are scored at once. What is equal is
a tie, and counts as one, never as right.
"""

from jaxrl_reward.preferences.scores.cards import Card, Line, card
from jaxrl_reward.preferences.scores.comparisons import (
    Outcome,
    best_of,
    both_orders,
    one_against,
    pairwise,
    reciprocal_rank,
)
from jaxrl_reward.preferences.scores.contrasts import (
    instruction_contrast,
    other_prompts,
    response_contrast,
)
from jaxrl_reward.preferences.scores.equals import Ties, ties
from jaxrl_reward.preferences.scores.probing import Probe, probe, probe_accuracy
from jaxrl_reward.report.calibration import Calibration, calibration

__all__ = [
    "Calibration",
    "Card",
    "Line",
    "Outcome",
    "Probe",
    "Ties",
    "best_of",
    "both_orders",
    "calibration",
    "card",
    "instruction_contrast",
    "one_against",
    "other_prompts",
    "pairwise",
    "probe",
    "probe_accuracy",
    "reciprocal_rank",
    "response_contrast",
    "ties",
]
