"""Constrained RLHF on groups: advantages normalised apart, weighed by what constraints lack."""

from typing import Annotated

import jax
import jax.numpy as jnp

from jaxrl_reward.rewards.core import checks
from jaxrl_reward.rewards.core.base import Applied, State, no_state, static
from jaxrl_reward.rewards.core.checks import NotNegative, OneOf, Row
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Pointwise
from jaxrl_reward.rewards.groups.ways import Grouped, Groups, groups_of, paid, totals
from jaxrl_reward.rewards.objectives.many import (
    SQUASH,
    Multipliers,
    dual_weights,
    main_weight,
    moved,
)
from jaxrl_reward.rewards.objectives.scalarise import vector
from jaxrl_reward.types import Array, Transition, UserError


@register("constrained", {"thresholds": (0.2,)}, {"thresholds": (0.2,), "squash": "tanh"})
class constrained(Grouped):  # noqa: N801
    """`(N - sum_i w_i) A_0 + sum_i w_i A_i` of `stack(main, r_1, ...)`, each A normalised apart.

    Moskovitz et al. 2023, "Confronting Reward Model Overoptimization with Constrained RLHF",
    whose main reward is `closeness()`, minus the divergence from the reference. A_i is
    `R_i - mean of the group`, over its deviation in the whole block: the group's mean stands
    in the place of the paper's critic of each reward. With `squash="sigmoid"` (mu-PPO) w_i is
    in (0, 1) and falls once the mean return J_i has passed `thresholds[i]`; with `"tanh"`
    (xi-PPO) it turns negative there, and holds J_i at the threshold. How w_i moves is told of
    `lagrangian`, which weighs rewards, on whatever scale they are.

    The paper's rate is 0.1, of steps with momentum 0.1 on a gradient clipped to 0.5.
    """

    thresholds: Row
    rate: NotNegative = 0.1
    squash: Annotated[str, OneOf(SQUASH)] = static(default="sigmoid")
    varies = True

    def init(self, key: Array, example: Transition) -> State:
        del key
        zeros = jnp.zeros(len(self.thresholds))
        return no_state(example, Multipliers(zeros, zeros))

    def apply(self, state: State, block: Transition) -> Applied:
        groups, known = groups_of(block), state.shared
        returns = totals(block, groups)
        checks.parts(self, returns, len(self.thresholds) + 1)
        rounding = groups.rounding(vector(block))
        one = lambda r, off: apart(r, off, groups)  # noqa: E731
        advantages = jax.vmap(one, 1, 1)(returns, rounding)
        weights = dual_weights(self.squash, known.dual)
        mixed = main_weight(self.squash, weights) * advantages[:, 0] + advantages[:, 1:] @ weights
        reached = returns[:, 1:].mean(0)
        above = reached - jnp.asarray(self.thresholds, jnp.float32)
        after = moved(self.squash, known, above, self.rate)
        metrics = {f"constrained/weight_{i}": w for i, w in enumerate(weights, 1)}
        metrics |= {f"constrained/return_{i}": x for i, x in enumerate(reached, 1)}
        return Applied(state.replace(shared=after), paid(mixed, groups), metrics, ())


def apart(returns: Array, rounding: Array, groups: Groups) -> Array:
    """`R - mean of the group`, over its deviation in the block, `[N]`; 0 of equal groups."""
    centre = jnp.where(groups.differ(returns, rounding), groups.centre(returns), 0.0)
    spread = jnp.sqrt((centre**2).mean())
    return jnp.where(spread > 0, centre / (spread + 1e-8), 0.0)


@register("closeness")
class closeness(Pointwise):  # noqa: N801
    """`log pi_ref(a) - log pi(a)` of every step: on average minus KL(pi, pi_ref).

    Of an agent that has a reference, as `group_pg` has.
    """

    def reward(self, transition: Transition) -> Array:
        told = transition.policy
        if not {"reference", "log_prob"} <= set(told):
            raise UserError(f"{self}: the agent has no reference, as group_pg has")
        taken = told["reference"][transition.action.reshape(()).astype(jnp.int32)]
        return jax.lax.stop_gradient(taken - told["log_prob"])
