"""Judges: models of whole responses, what they learn from, and how good they are."""

from jaxrl_reward.nn.response_models import Design, ResponseModel, init, load, narrow, texts
from jaxrl_reward.preferences.judges import directions, personal
from jaxrl_reward.preferences.judges.fitting import fit
from jaxrl_reward.preferences.judges.pretraining import zoo_pairs

__all__ = [
    "Design",
    "ResponseModel",
    "directions",
    "fit",
    "init",
    "load",
    "narrow",
    "personal",
    "texts",
    "zoo_pairs",
]
