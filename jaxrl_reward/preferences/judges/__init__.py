"""Judges: models of whole responses, what they learn from, and how good they are."""

from jaxrl_reward.nn.response_models import Design, ResponseModel, init, load, narrow, texts
from jaxrl_reward.preferences.judges.fitting import fit

__all__ = ["Design", "ResponseModel", "fit", "init", "load", "narrow", "texts"]
