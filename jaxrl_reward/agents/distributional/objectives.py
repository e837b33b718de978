"""What deep eta-networks optimise, by name: a functional of the law of stock plus return.

The functionals are those of the exact solver (`tabular.functionals`), with what
theory says of them. A network gives equally likely quantiles of each reward's
return apart, so of several rewards a functional must be a sum over them.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from jaxrl_reward.tabular.returns import functionals
from jaxrl_reward.types import UserError


class Objective(NamedTuple):
    """One kind of functional.

    Attributes:
      make: the functional, from an agent's settings and the number of rewards.
      stock: where the initial stock is from: `given` by the user, of no account
        (`any`), or found by a search for the largest `best - c` or for the least.
      rewards: how many a step it can be of, at least and at most.
    """

    make: Callable[[Any, int], functionals.Functional]
    stock: Literal["given", "any", "largest", "least"]
    rewards: tuple[int, float] = (1, 1)


MANY = float("inf")
OBJECTIVES = {
    "mean": Objective(lambda c, m: functionals.PiecewiseLinear(vector=m > 1), "any", (1, MANY)),
    "target": Objective(lambda c, m: functionals.target(vector=m > 1), "given", (1, MANY)),
    "power": Objective(lambda c, m: functionals.Power(c.exponent), "given"),
    "reach": Objective(lambda c, m: functionals.Reach(c.slack), "given"),
    "constrained": Objective(
        lambda c, m: functionals.Constrained((c.price,) * (m - 1)), "given", (2, MANY)
    ),
    "cvar": Objective(lambda c, m: functionals.mean_cvar(c.tau), "largest"),
    "mean_cvar": Objective(lambda c, m: functionals.mean_cvar(c.tau, c.weight), "largest"),
    # Over tau, so that what is searched is this minus the stock, as for the others.
    "upper_cvar": Objective(lambda c, m: functionals.PiecewiseLinear(0.0, 1.0 / c.tau), "least"),
    "quantile": Objective(lambda c, m: functionals.Quantile(c.tau), "given"),
    "mean_deviation": Objective(lambda c, m: functionals.MeanDeviation(c.weight), "any"),
}


def check(agent: str, config: Any, horizon: int | None) -> None:
    """Raises a `UserError` unless the settings make an objective that can be optimised.

    Args:
      agent: its name, for messages.
      config: has `objective` and what they read, `stocks`, `c0` and `unsound`.
      horizon: the longest episode in steps, or None.
    """
    found = OBJECTIVES[config.objective]
    least, most = found.rewards
    if not least <= config.stocks <= most:
        bound = f"at least {least}" if config.stocks < least else f"{most:g}"
        raise UserError(
            f"{agent}'s objective {config.objective!r} needs stocks={bound}, not {config.stocks}"
        )
    if found.stock == "given" and not config.c0:
        raise UserError(
            f"{agent}'s objective {config.objective!r} needs c0, the stock to start from: "
            "minus the return to aim at"
        )
    if config.c0:
        check_numbers(agent, config, "c0")
    problems = functionals.problems(found.make(config, config.stocks), config.gamma, horizon)
    if problems and not config.unsound:
        raise UserError(f"{agent}: {'; '.join(problems)} (unsound=True learns it all the same)")


def check_numbers(agent: str, config: Any, name: str) -> None:
    """Raises a `UserError` unless a setting is one number, or one for each stock."""
    count, several = len(getattr(config, name)), config.stocks > 1
    if count not in (1, config.stocks):
        known = f"one number or {config.stocks}" if several else "one number"
        raise UserError(f"{agent}'s {name} must be {known}, not {count}")
