"""Where the pairs of `pair_pg` come from: a file, the reference once, or the policy each time."""

import dataclasses
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.sequence import pair_making, writing
from jaxrl_reward.agents.sequence.pair_config import Config
from jaxrl_reward.agents.sequence.pair_making import Rows
from jaxrl_reward.agents.sequence.writer import Writer
from jaxrl_reward.data.pairs import PairSet
from jaxrl_reward.nn import language_models
from jaxrl_reward.rewards.core import operators
from jaxrl_reward.rewards.groups.ways import groups_of
from jaxrl_reward.types import Array, Transition, UserError


def parts_of(reward: rw.RewardTransform) -> tuple[rw.RewardTransform, rw.RewardTransform]:
    """The rater and what a pair costs: the stages before the first one of pairs, and the rest.

    Raises:
      UserError: nothing in it is of pairs, or more than pairs follow.
    """
    stages = reward.parts if isinstance(reward, operators.Chain) else (reward,)
    at = next((i for i, stage in enumerate(stages) if "pair" in rw.scopes(stage)), None)
    if at is None:
        raise UserError(f"pair_pg learns from pairs: say what one costs, as in {reward} | dpo()")
    chain = lambda some: some[0] if len(some) == 1 else operators.Chain(tuple(some))  # noqa: E731
    objective = chain(stages[at:])
    if others := rw.scopes(objective) - {"pair", "pointwise"}:
        raise UserError(f"{objective}: what a pair costs cannot have {min(others)} terms in it")
    return chain(stages[:at]) if at else rw.env(), objective


@dataclasses.dataclass(frozen=True, eq=False)
class PairWriter(Writer):
    """Has pairs: those it is given, or those that it writes and a rater labels."""

    config: Config
    given: PairSet | None

    @property
    def writes_anew(self) -> bool:
        """Whether each iteration writes its own pairs."""
        return self.given is None and self.config.source == "policy"

    @cached_property
    def names(self) -> set[str]:
        """The names of the terms that say what a pair costs."""
        return {term.name for term in rw.terms(parts_of(self.reward)[1])}

    @property
    def ranks_twice(self) -> bool:
        """Whether it asks how far two policies agree."""
        return "cream" in self.names or self.config.judge == "policy"

    def example(self) -> Transition:
        """A block of zeros in the shape of candidates."""
        count = self.config.pairs // self.config.per_prompt() * self.config.candidates
        zeros = jnp.zeros((self.task.max_tokens, count))
        written = language_models.Generated(zeros.astype(jnp.int32), zeros, zeros)

        def block(key: Array) -> Transition:
            numbers = jnp.zeros(count, jnp.int32)
            prompts = writing.ask(self.task, key, numbers, jnp.arange(count))
            return writing.block_of(self.task, prompts, written)

        shapes = jax.eval_shape(block, jax.random.key(0))
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    # ---- pairs --------------------------------------------------------------------

    def rows_of(self, state: Any, key: Array) -> tuple[Rows, Any]:
        """The pairs of a round, or all there are, and the rater's state after them."""
        if self.given is not None:
            return self.read_rows(state, self.given, key), state.reward_state
        return self.write_rows(state, key)

    def token_log_probs(self, params: Any, text: Array) -> Array:
        """Of the tokens of texts `[..., P + T]`, `[..., T]`; 0 where there is none."""
        flat = text.reshape(-1, text.shape[-1])
        tokens = flat[:, self.task.prompt_length :]
        known = writing.token_log_probs(self.log_probs(params, flat), tokens)
        alive = tokens < self.task.vocabulary
        return jnp.where(alive, known, 0.0).reshape(*text.shape[:-1], tokens.shape[1])

    def calibration(self, state: Any, prompt: Array, key: Array) -> Any:
        """Texts that the reference writes to prompts `[M, P]`, where a term reads them."""
        if "calibration" not in self.names:
            return ()
        length = self.task.max_tokens
        made = language_models.generate(self.model, state.reference, prompt, length, key)
        return jnp.concatenate([prompt, made.tokens.T], axis=1)

    def read_rows(self, state: Any, given: PairSet, key: Array) -> Rows:
        """The pairs of the data, flipped as the setting says."""
        key_flip, key_calibration = jax.random.split(key)
        text = jnp.concatenate(
            [
                jnp.broadcast_to(given.prompt[:, None], (len(given), 2, given.prompt.shape[1])),
                jnp.stack([given.chosen, given.rejected], 1),
            ],
            axis=2,
        )
        reference = self.token_log_probs(state.reference, text)
        rows = Rows(
            text=text,
            there=given.there,
            label=given.label,
            reward=given.reward,
            agreement=jnp.ones(len(given)),
            reference=reference,
            old=reference,
            credit=(),
            calibration=self.calibration(state, given.prompt, key_calibration),
        )
        hit = jax.random.uniform(key_flip, (len(given),)) < state.config.flips
        return rows.replace(label=jnp.where(hit, 1.0 - rows.label, rows.label))

    def write_rows(self, state: Any, key: Array) -> tuple[Rows, Any]:
        """Pairs of candidates that the policy writes now, or the reference at the start."""
        config, task = self.config, self.task
        keys = jax.random.split(key, 6)
        count = config.pairs // config.per_prompt()
        numbers = jax.vmap(lambda k: task.draw(k, self.env.params.mix))(
            jax.random.split(keys[0], count)
        )
        group = jnp.arange(count * config.candidates) // config.candidates
        prompts = writing.ask(task, keys[1], numbers, group)
        read = prompts.question.prompt
        written = language_models.generate(self.model, state.params, read, task.max_tokens, keys[2])
        block = writing.block_of(task, prompts, written)
        text = writing.text_of(prompts, written)
        rater, _ = parts_of(state.reward)
        applied = rater.apply(state.reward_state, block)
        score = groups_of(block).total(applied.reward)
        judged = self.judge(state, text, score)
        first, second = pair_making.paired_up(config.pairing, judged)
        flat = judged.score.reshape(-1)
        temperature = state.config.temperature
        wins = pair_making.chance(config.labels, flat[first], flat[second], temperature)
        fair = (wins == 0.5) & (config.labels == "better")
        swap = jax.random.uniform(keys[3], wins.shape) >= jnp.where(fair, 2.0 * wins, wins)
        hit = jax.random.uniform(keys[4], wins.shape) < state.config.flips
        order = jnp.where(
            (swap != hit)[:, None],
            *(jnp.stack(pair, 1) for pair in ((second, first), (first, second))),
        )
        old = self.anchored(state, text, written)
        credit = () if config.credit == "guide" else block.info[config.credit].T[order]
        rows = Rows(
            text=text[order],
            there=jnp.ones(order.shape, bool),
            label=jnp.where(fair, 0.5, 1.0),
            reward=score[order],
            agreement=judged.agreement[first // config.candidates],
            reference=old[0][order],
            old=old[1][order],
            credit=credit,
            calibration=self.calibration(state, read[order[:, 0]], keys[5]),
        )
        return rows, applied.state

    def anchored(
        self, state: Any, text: Array, written: language_models.Generated
    ) -> tuple[Array, Array]:
        """Log-probabilities of the tokens under the reference and the policy now, `[N, T]` each."""
        old = written.log_prob.T
        if self.config.anchor == "round":
            return old, old
        return self.token_log_probs(state.reference, text), old

    def judge(self, state: Any, text: Array, score: Array) -> pair_making.Judged:
        """By what candidates are compared, `[B, G]`, and how far two policies agree on it."""
        groups = (-1, self.config.candidates)
        agreement = jnp.ones(score.shape[0] // self.config.candidates)
        if not self.ranks_twice:
            return pair_making.Judged(score.reshape(groups), agreement)
        reference = self.token_log_probs(state.reference, text).sum(1)
        own = self.token_log_probs(state.params, text).sum(1) - reference
        if self.config.judge == "policy":
            score = own
        before = self.token_log_probs(state.previous, text).sum(1) - reference
        tau = pair_making.kendall(own.reshape(groups), before.reshape(groups))
        agreement = (tau + 1.0) / 2.0
        if self.config.agreement == "mean":
            agreement = jnp.broadcast_to(agreement.mean(), agreement.shape)
        return pair_making.Judged(score.reshape(groups), agreement)
