"""What a model of whole responses says of them, as a reward."""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

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
from jaxrl_reward.rewards.core.checks import Count, CountOrNone, Finite, NotNegative, OneOf
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import LearnedState
from jaxrl_reward.rewards.groups import refreshing
from jaxrl_reward.rewards.groups.ways import Groups, groups_of, paid
from jaxrl_reward.rewards.objectives.scalarise import HOW, check_weight, pooled
from jaxrl_reward.types import Array, Metrics, Transition, UserError, nearest


@register(
    "judge",
    {"tokens": 3, "width": 4, "members": 2, "how": "variance"},
    {"tokens": 3, "width": 4, "refresh": 1, "batch_size": 2, "rule": "entropy"},
)
class judge(RewardTransform):  # noqa: N801
    """What a judge says of each response of a writing task, paid at its end.

    As in `judge(start='judge.npz') | grpo()`. `start` is a `preferences.judges.ResponseModel`,
    or the file of one in the text form; it stays as it is, and without one the judge has
    random parameters. Of several members, `how` and `weight` are those of `pool`. A judge that
    compares says how often a response beats the others of its group: the mean over them of
    `sigmoid`, in both orders (0.5 for a group of one).

    With `refresh` it learns on from the policy's own responses, those to a prompt of which a
    precise rule accepts one. `items="corrupted"` sets these against copies with random edits, as
    Cooper does (Hong et al. 2025, "Cooper: Co-Optimizing Policy and Reward Models in
    Reinforcement Learning for Large Language Models"), whose copies an assistant model makes:
    what the rule refuses may be right. `items="rollouts"` takes what it refuses, and
    `items="points"` asks of each by itself whether it is right: the pairwise and the pointwise
    items of SPARK (2025), there questions that the policy itself answers. Cooper's loss is not
    confirmed; here it is Bradley and Terry's, on scores: `judge(...) | par()` is in (0, 1).

    Attributes:
      tokens: how many there are, where there is no `start`.
      members: of the ensemble, likewise.
      width: of its networks, likewise.
      reference: whether the judge reads the right answer behind the prompt, which then has as
        many tokens more as the longest response; of tasks with one right answer.
      refresh: steps of Adam after each block; 0: it stays as it is.
      items: what it learns from.
      rule: what `info` or `policy` has under this name is at least 1/2 at the end of what the
        rule accepts; by default the environment's own return is.
      batch_size: right responses of a step, each of a prompt drawn uniformly.
      edits: of a copy, at most.
      learning_rate: of Adam.
    """

    how: Annotated[str, OneOf(HOW)] = static(default="mean")
    weight: Finite = 0.1
    tokens: Count = static(default=1)
    members: Count = static(default=1)
    width: Count = static(default=32)
    start: Any = None
    reference: bool = static(default=False)
    refresh: CountOrNone = static(default=0)
    items: Annotated[str, OneOf(refreshing.ITEMS)] = static(default="corrupted")
    rule: str = static(default="")
    batch_size: Count = static(default=64)
    edits: Count = static(default=2)
    learning_rate: NotNegative = 1e-3
    scope = "group"
    varies = True
    learns_in_order = True

    def validate(self) -> None:
        check_weight(self)
        if isinstance(self.start, str):
            object.__setattr__(self, "start", response_models.load(self.start))
        if isinstance(self.start, float | tuple):  # a text gives nothing else
            raise UserError("judge's start must be the file of a judge, as in 'judge.npz'")

    def init(self, key: Array, example: Transition) -> State:
        design = self.design(example)
        if self.start is not None:
            self.check_fits(example)
            params = self.start.params
        else:
            params = response_models.init(key, design, self.members).params
        if not self.refresh:
            return no_state(example, params)
        return no_state(example, LearnedState(params, optax.adam(0.0).init(params)))

    def apply(self, state: State, block: Transition) -> Applied:
        groups = groups_of(block)
        shared: Any = state.shared
        params = shared.params if self.refresh else shared
        earned = self.verdicts(self.model(params, block), block, groups)
        earned = jax.vmap(lambda x: pooled(x, self.how, self.weight))(earned.T)
        return Applied(state, paid(jax.lax.stop_gradient(earned), groups), {}, ())

    def learn(self, state: State, key: Array, block: Transition) -> tuple[State, Metrics]:
        if not self.refresh:
            return state, {}
        groups, design = groups_of(block), self.design(block)
        text, right = self.texts(block, groups), self.accepted(block, groups)
        how = {"items": self.items, "edits": self.edits, "count": self.batch_size}

        def update(known: LearnedState, key: Array) -> tuple[LearnedState, tuple[Array, Array]]:
            items = refreshing.drawn(key, design, text, right, groups, **how)
            params, opt_state, loss, ordered = refreshing.step(
                design, self.items, self.learning_rate, known.params, known.opt_state, items
            )
            return LearnedState(params, opt_state), (loss, ordered)

        keys = jax.random.split(key, self.refresh)
        known, (losses, ordered) = jax.lax.scan(update, state.shared, keys)
        metrics = {"loss": losses.mean(), "ordered": ordered[0], "accepted": right.mean()}
        return state.replace(shared=known), {f"judge/{k}": v for k, v in metrics.items()}

    def design(self, block: Transition) -> Design:
        """What the judge's networks are like."""
        if self.start is not None:
            return self.start.design
        size, length = block.obs[0, 0].size, block.first.shape[0]
        if self.reference:
            return Design(self.tokens, size, length, width=self.width)
        length = min(length, size - 1)
        return Design(self.tokens, size - length, length, width=self.width)

    def model(self, params: Any, block: Transition) -> ResponseModel:
        """The judge with these parameters."""
        return ResponseModel(params, self.design(block))

    def texts(self, block: Transition, groups: Groups) -> Array:
        """What the judge reads of each episode, `[N, P + T]`."""
        text = responses_of(block, groups)
        if not self.reference:
            return text
        answer = self.answer(block)
        length = answer.shape[1]
        before = answered(text[:, :-length], answer, self.design(block).vocabulary)
        return jnp.concatenate([before, text[:, -length:]], 1)

    def answer(self, block: Transition) -> Array:
        """The right answers, `[N, T]`."""
        if "answer" not in block.policy:
            raise UserError(f"{self}: the task has no one right answer, as reference=True needs")
        return block.policy["answer"][0]

    def accepted(self, block: Transition, groups: Groups) -> Array:
        """The responses that the rule accepts, `[N]` bool."""
        if not self.rule:
            return groups.total(block.env_reward) >= 0.5
        told = {**block.policy, **block.info}
        if self.rule not in told:
            raise UserError(f"{self}: there is no rule here, {nearest(self.rule, told)}")
        return groups.final(told[self.rule]) >= 0.5

    def verdicts(self, model: ResponseModel, block: Transition, groups: Groups) -> Array:
        """Each member's number of each episode's response, `[members, N]`."""
        text = self.texts(block, groups)
        if not model.design.relative:
            return model.scores(text)
        return jax.vmap(lambda params: wins(model.design, params, text, groups))(model.params)

    def check_fits(self, example: Transition) -> None:
        """Raises a `UserError` unless the judge reads such texts, and needs nothing beside."""
        design = self.start.design
        size, wanted = example.obs[0, 0].size, design.prompt + design.length
        size += self.answer(example).shape[-1] if self.reference else 0
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


def answered(prompt: Array, answer: Array, nothing: int) -> Array:
    """Prompts `[N, P]` and the right answers `[N, T]` behind them, to the right, `[N, P + T]`."""
    both = jnp.concatenate([prompt, answer], 1)
    order = jnp.argsort(both != nothing, axis=1, stable=True)
    return jnp.take_along_axis(both, order, 1)


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
