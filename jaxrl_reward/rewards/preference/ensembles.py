"""A reward that several learned models judge, and what is made of their disagreement."""

import dataclasses
from typing import Annotated, Any

import jax

from jaxrl_reward.nn import reward_models as model
from jaxrl_reward.rewards.core.base import ATOM, State, no_state, show, static
from jaxrl_reward.rewards.core.checks import Count, Finite, OneOf
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Learned, LearnedState
from jaxrl_reward.rewards.objectives.scalarise import HOW, check_weight, pooled
from jaxrl_reward.types import Array, Metrics, Transition, UserError


@register("ensemble", {"how": "variance", "members": 2, "width": 4, "updates": 1, "batch_size": 4})
class ensemble(Learned):  # noqa: N801
    """One reward from `members` learned models; `how` and `weight` are those of `pool`.

    `start` is a fitted `preferences.RewardModel`, or the file of one in the text form;
    it stays as it is. Without it the models learn the environment's reward as the
    run goes on, each from its own half of a batch. `min` and `variance` are the
    worst-case and uncertainty-weighted optimisation of Coste et al. 2023, "Reward
    Model Ensembles Help Mitigate Overoptimization"; `spread` pays for disagreement.
    """

    how: Annotated[str, OneOf(HOW)] = static(default="mean")
    weight: Finite = 0.1
    members: Count = static(default=5)
    width: Count = static(default=64)
    actions: Count = static(default=1)
    start: Any = None

    def validate(self) -> None:
        check_weight(self)
        if isinstance(self.start, str):
            object.__setattr__(self, "start", model.load(self.start))
        if isinstance(self.start, float | tuple):  # a text gives nothing else
            raise UserError(
                "ensemble's start must be the file of a reward model, as in 'model.npz'"
            )

    def init_params(self, key: Array, example: Transition) -> Any:
        return model.init(key, example, self.members, self.width, self.actions).params

    def init(self, key: Array, example: Transition) -> State:
        if self.start is None:
            return super().init(key, example)
        return no_state(example, LearnedState(self.start.params, ()))

    def reward(self, params: Any, transition: Transition) -> Array:
        return pooled(self._model(params, transition).scores(transition), self.how, self.weight)

    def loss(self, params: Any, key: Array, batch: Transition) -> Array:
        scores = jax.vmap(lambda t: self._model(params, t).scores(t))(batch)
        mine = jax.random.bernoulli(key, 0.5, scores.shape)
        return ((scores - batch.env_reward[:, None]) ** 2 * mine).mean()

    def learn(self, state: State, key: Array, block: Transition) -> tuple[State, Metrics]:
        return (state, {}) if self.start is not None else super().learn(state, key, block)

    def _model(self, params: Any, transition: Transition) -> model.RewardModel:
        if self.start is not None:
            if model.inputs(transition, self.start.actions).size != self.start.size:
                raise UserError(f"the reward model of {self} was fitted to other observations")
            return self.start.replace(params=params)
        size = model.inputs(transition, self.actions).size
        return model.RewardModel(params, size, self.members, self.width, self.actions)

    def text(self) -> tuple[str, int]:
        given = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "start":
                shown = None if value is None else repr(value.source) if value.source else "<model>"
            else:
                shown = None if isinstance(value, int | float | str) else show(value)
                if isinstance(value, int | float | str) and value != field.default:
                    shown = show(value)
            given += [f"{field.name}={shown}"] if shown else []
        return f"{self.name}({', '.join(given)})", ATOM
