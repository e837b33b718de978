"""Networks: pairs of pure functions, which there are by name, and those of one's own."""

from jaxrl_reward.nn.kinds import names, register, summary

__all__ = ["names", "register", "summary"]
