"""What a model of whole responses says of them, as a reward."""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from jaxrl_reward.nn import response_models
from jaxrl_reward.nn.response_models import Design, ResponseModel
from jaxrl_reward.rewards.core.base import (
    ATOM,
    Applied,
    RewardTransform,
    State,
    no_state,
    show,
    static,
)
from jaxrl_reward.rewards.core.checks import Count, Finite, OneOf
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.groups.ways import Groups, groups_of, paid
from jaxrl_reward.rewards.objectives.scalarise import HOW, check_weight, pooled
from jaxrl_reward.types import Array, Transition, UserError


@register("judge", {"tokens": 3, "width": 4, "members": 2, "how": "variance"})
class judge(RewardTransform):  # noqa: N801
    """What a judge says of each response of a writing task, paid at its end.

    As in `judge(start='judge.npz') | grpo()`. `start` is a `preferences.judges.ResponseModel`,
    or the file of one in the text form; it stays as it is, and without one the judge has
    random parameters. Of several members, `how` and `weight` are those of `pool`. A judge that
    compares says how often a response beats the others of its group: the mean over them of
    `sigmoid`, in both orders (0.5 for a group of one).

    Attributes:
      tokens: how many there are, where there is no `start`.
      members: of the ensemble, likewise.
      width: of its networks, likewise.
    """

    how: Annotated[str, OneOf(HOW)] = static(default="mean")
    weight: Finite = 0.1
    tokens: Count = static(default=1)
    members: Count = static(default=1)
    width: Count = static(default=32)
    start: Any = None
    scope = "group"

    def validate(self) -> None:
        check_weight(self)
        if isinstance(self.start, str):
            object.__setattr__(self, "start", response_models.load(self.start))
        if isinstance(self.start, float | tuple):  # a text gives nothing else
            raise UserError("judge's start must be the file of a judge, as in 'judge.npz'")

    def init(self, key: Array, example: Transition) -> State:
        if self.start is not None:
            self.check_fits(example)
            return no_state(example, self.start.params)
        design = Design(self.tokens, 1, example.obs[0, 0].size - 1, width=self.width)
        return no_state(example, response_models.init(key, design, self.members).params)

    def apply(self, state: State, block: Transition) -> Applied:
        groups = groups_of(block)
        earned = self.verdicts(self.model(state.shared, block), block, groups)
        earned = jax.vmap(lambda x: pooled(x, self.how, self.weight))(earned.T)
        return Applied(state, paid(jax.lax.stop_gradient(earned), groups), {}, ())

    def model(self, params: Any, block: Transition) -> ResponseModel:
        """The judge with these parameters."""
        if self.start is not None:
            return self.start.replace(params=params)
        size = block.obs[0, 0].size
        return ResponseModel(params, Design(self.tokens, 1, size - 1, width=self.width))

    def verdicts(self, model: ResponseModel, block: Transition, groups: Groups) -> Array:
        """Each member's number of each episode's response, `[members, N]`."""
        text = responses_of(block, groups)
        if not model.design.relative:
            return model.scores(text)
        return jax.vmap(lambda params: wins(model.design, params, text, groups))(model.params)

    def check_fits(self, example: Transition) -> None:
        """Raises a `UserError` unless the judge reads such texts, and needs nothing beside."""
        design = self.start.design
        size, wanted = example.obs[0, 0].size, design.prompt + design.length
        if size != wanted:
            raise UserError(
                f"the judge of {self} reads texts of {wanted} tokens, and here they have {size}"
            )
        if design.given:
            raise UserError(f"the judge of {self} is told {design.given} numbers beside a text")

    def text(self) -> tuple[str, int]:
        given = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "start" and value is not None:
                given += [f"start={value.source!r}" if value.source else "start=<judge>"]
            elif isinstance(value, int | float | str) and value != field.default:
                given += [f"{field.name}={show(value)}"]
        return f"{self.name}({', '.join(given)})", ATOM


def responses_of(block: Transition, groups: Groups) -> Array:
    """The texts at the end of each environment's first episode, `[N, P + T]` int32."""
    last = groups.final(block.next_obs)
    return last.reshape(last.shape[0], -1).astype(jnp.int32)


def wins(design: Design, params: Any, text: Array, groups: Groups) -> Array:
    """How often a response beats the others of its group, by a network that compares, `[N]`.

    The mean of both orders: what favours the one that is read first favours nobody.
    """
    count = text.shape[0]
    ours, asked = response_models.read(design, params, text)
    both = jnp.concatenate(
        [
            jnp.broadcast_to(ours[:, None], (count, *ours.shape)),
            jnp.broadcast_to(ours[None], (count, *ours.shape)),
        ],
        -1,
    ).reshape(count**2, -1)
    outputs, weights = response_models.head(design, params, both, jnp.repeat(asked, count, 0))
    logits = (outputs * weights).sum(-1).reshape(count, count)
    chance = 0.5 * (jax.nn.sigmoid(logits) + jax.nn.sigmoid(-logits.T))
    others = (groups.ids[:, None] == groups.ids[None]) & ~jnp.eye(count, dtype=bool)
    size = others.sum(1)
    won = jnp.where(others, chance, 0.0).sum(1) / jnp.maximum(size, 1)
    return jnp.where(size > 0, won, 0.5)
