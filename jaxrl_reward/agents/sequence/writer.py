"""What agents that write have in common: their network, a warm-up, acting, evaluation."""

import dataclasses
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import rollout
from jaxrl_reward.agents.common.shared_settings import ClippedAdam
from jaxrl_reward.agents.sequence import writing
from jaxrl_reward.envs.sequence import Sequence, Task
from jaxrl_reward.nn import language_models
from jaxrl_reward.settings import setting
from jaxrl_reward.types import Array, UserError


class Writers(ClippedAdam):
    """What writes, and how it is warmed up."""

    network: language_models.Network = setting("transformer", "`transformer` or `gru`")
    width: int = setting(32, "of the network's layers", low=1)
    layers: int = setting(2, "of the transformer", low=1)
    heads: int = setting(4, "of the transformer's attention; must divide `width`", low=1)
    warmup: int = setting(200, "updates on demonstrations, before the first iteration", low=0)
    warmup_batch: int = setting(64, "demonstrations of such an update", low=1)
    warmup_wrong: float = setting(
        0.0, "share of the demonstrations that answer another prompt", low=0.0, high=1.0
    )
    warmup_rate: float = setting(3e-3, "Adam's, on demonstrations", low=0.0)
    guide: int = setting(
        0,
        "updates by DPO of a guide, on pairs that the reference wrote: for `tgdpo`, `treg` and "
        "`signal('guide_log_ratio')`",
        low=0,
    )
    guide_beta: float = setting(0.1, "of the guide's DPO", low=1e-6)
    max_grad_norm: float = setting(1.0, "the gradient is scaled down to it")
    greedy: bool = setting(True, "evaluate the likeliest tokens, else drawn ones")

    def validate(self, owner: str) -> None:
        super().validate(owner)
        if self.width % self.heads and self.network == "transformer":
            raise UserError(f"{owner}'s heads={self.heads} must divide width={self.width}")


def environment_of(agent: str, env: Any) -> envs.Env:
    """The environment that an agent writes in.

    Raises:
      UserError: it is no `sequence:` environment.
    """
    env = envs.given(env)
    if not isinstance(env.environment, Sequence):
        raise UserError(f"{agent} writes, and {env.name} is no sequence: environment")
    return env


def model_of(config: Any, task: Task) -> language_models.LanguageModel:
    """The network of an agent with these settings, `Writers`; its parameters are `state.params`.

    Of `pair_pg` with several `objectives` it is what these have in common, see `headed`.
    """
    shape = (task.vocabulary, task.prompt_length)
    if config.network == "gru":
        return language_models.recurrent(*shape, config.width)
    sizes = (config.width, config.layers, config.heads)
    return language_models.transformer(*shape, task.max_tokens, *sizes)


@dataclasses.dataclass(frozen=True, eq=False)
class Writer:
    """What an agent writes with; the numbers in `config` and `reward` are defaults."""

    config: Any
    reward: rw.RewardTransform
    env: envs.Env

    @property
    def task(self) -> Task:
        """What is written."""
        return self.env.environment.task

    @cached_property
    def model(self) -> language_models.LanguageModel:
        """The network."""
        return model_of(self.config, self.task)

    def warm_up(self, settings: Any, key: Array) -> Any:
        """Parameters that imitate demonstrations: the first policy and the reference."""
        return writing.warm_up(
            self.model,
            self.task,
            key,
            updates=settings.warmup,
            batch=settings.warmup_batch,
            rate=settings.warmup_rate,
            wrong=settings.warmup_wrong,
            mix=self.env.params.mix,
        )

    def optimiser(self, config: Any) -> optax.GradientTransformation:
        """Adam behind a bound on the gradient's length."""
        clip = optax.clip_by_global_norm(config.max_grad_norm)
        return optax.chain(clip, optax.adam(config.learning_rate))

    def log_probs(self, params: Any, text: Array) -> Array:
        """Of all tokens, `[N, T, V]`."""
        return language_models.log_softmax(self.model.logits(params, text))

    def act(self, state: Any, inputs: Array, key: Array | None = None) -> Array:
        """The next tokens `[N]` of texts `[N, P + T]`; the likeliest without a key."""
        text = rollout.flatten(inputs, 1)
        logits = writing.next_logits(self.model, self.task, state.params, text)
        logits = logits.astype(jnp.float32)
        draws = 0.0 if key is None else jax.random.gumbel(key, logits.shape)
        return (logits + draws).argmax(-1).astype(self.env.action_space.dtype)

    def evaluate(self, state: Any, key: Array, num_episodes: int) -> tuple[Array, Array]:
        """Outcomes `[E]` of responses to new prompts, and their lengths `[E]`."""
        mix, greedy = self.env.params.mix, self.config.greedy
        return writing.score(self.model, self.task, state.params, key, num_episodes, mix, greedy)
