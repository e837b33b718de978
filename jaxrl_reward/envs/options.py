"""The same as `jaxrl_reward.options`, for environments that were written before it moved."""

from jaxrl_reward.options import LARGEST, LIMITS, check, read

__all__ = ["LARGEST", "LIMITS", "check", "read"]
