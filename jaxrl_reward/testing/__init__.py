"""The laws that terms, environments and agents of this package keep, for those of one's own.

    from jaxrl_reward.testing import check_agent, check_env, check_term

    check_term(record())                      # the laws of the algebra
    check_env(MyEnv())                        # true successors, two kinds of end
    check_agent(jr.agents.make("ppo", MyEnv(), "env + record()"))

What is broken raises `LawError`, an `AssertionError` of one line: whose, which law, on what,
and what was found. What cannot be tried at all raises a `UserError`. Nothing here needs a
test framework.
"""

from jaxrl_reward.testing.agents import check_agent
from jaxrl_reward.testing.environments import check_env
from jaxrl_reward.testing.same import LawError
from jaxrl_reward.testing.terms import check_term

__all__ = ["LawError", "check_agent", "check_env", "check_term"]
