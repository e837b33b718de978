"""Normalised scores: returns on the scale of a random and of an expert policy."""

import re
from typing import Any

from jaxrl_reward.types import UserError

# The returns of a random and an expert policy (Fu et al. 2020, arXiv:2004.07219,
# appendix; the constants of its code): what D4RL's scores are relative to.
D4RL_RETURNS = {
    "halfcheetah": (-280.178953, 12135.0),
    "hopper": (-20.272305, 3234.3),
    "walker2d": (1.629008, 4592.3),
}
_LEVELS = "random|medium|expert|medium[-_]replay|medium[-_]expert|full[-_]replay"
D4RL_NAME = re.compile(rf"(?:d4rl:)?([a-z0-9]+)(?:[-_](?:{_LEVELS}))?(?:[-_]v[0-2])?")


def normalized_score(returns: Any, random: float, expert: float) -> Any:
    """`100 (R - random) / (expert - random)` (D4RL, arXiv:2004.07219, section 5).

    Raises:
      UserError: the two are the same, so that there is no scale.
    """
    if random == expert:
        raise UserError(f"a score needs two returns that differ, and both are {random:g}")
    return 100.0 * (returns - random) / (expert - random)


def d4rl_returns(name: str) -> tuple[float, float]:
    """D4RL's returns of a random and an expert policy, for `hopper-medium-v2` and the like.

    Not for other simulators' robots of the same name, such as `brax:hopper` or
    `hopper-of-my-simulator-v0`: a name of D4RL's is a robot, its level and its version.

    Raises:
      UserError: there are none of this name.
    """
    robot = D4RL_NAME.fullmatch(name)
    if robot is None or robot[1] not in D4RL_RETURNS:
        known = ", ".join(D4RL_RETURNS)
        raise UserError(f"no reference returns are known for {name!r}; D4RL's are of {known}")
    return D4RL_RETURNS[robot[1]]
