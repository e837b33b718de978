"""Where the pairs of `pair_pg` come from: a file, the reference once, or the policy each time."""

import dataclasses
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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

# What these read is of what was written, by all heads, or of pairs of another objective.
OF_ALL_HEADS = {"calibration", "kto", "cream", "p3o", "inpo", "dno", "prdp"}


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

    @cached_property
    def model(self) -> language_models.LanguageModel:
        """The network; of several objectives with a head for each."""
        plain, count = super().model, self.config.objectives
        return plain if count == 1 else language_models.headed(plain, count)

    def warm_up(self, settings: Any, key: Array) -> Any:
        """As every writer's; of several objectives all heads are copies of that one's."""
        count = self.config.objectives
        if count == 1:
            return super().warm_up(settings, key)
        plain = dataclasses.replace(self, config=self.config.replace(objectives=1))
        return language_models.several(plain.warm_up(settings, key), count)

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

    def check(self) -> None:
        """Raises a `UserError` unless data, rater and losses fit each other."""
        rater, objective = parts_of(self.reward)
        if "pair" in rw.scopes(rater):
            raise UserError(f"the rater {rater} must judge responses, not pairs")
        parts, several = rw.trial.parts(rater, self.example()), self.config.objectives
        if several == 1 and parts:
            raise UserError(f"{rater} gives {parts[0]} numbers a token: add a scalariser")
        if several > 1:
            self.check_objectives(rater, parts)
        credit = self.config.credit
        if "treg" in self.names and credit != "guide" and credit not in self.example().info:
            raise UserError(f"pair_pg's credit={credit!r} is no signal of {self.env.name}")
        needs_guide = "tgdpo" in self.names or ("treg" in self.names and credit == "guide")
        if needs_guide and not self.config.guide:
            raise UserError(f"{objective} needs a guide: say for how many updates, guide=200")
        if self.given is None:
            return
        if self.config.source != "reference":
            raise UserError("pair_pg's source=policy writes pairs; leave that or the data out")
        if self.config.batch_size > len(self.given):
            raise UserError(
                f"pair_pg's batch_size={self.config.batch_size} is more than the "
                f"{len(self.given)} pairs of the data"
            )
        if not np.asarray(self.given.there).all():
            both = [t for t in rw.terms(objective) if isinstance(t, rw.Paired) and not t.alone]
            if both:
                raise UserError(
                    f"{both[0]} needs pairs, and the data has responses alone; use kto, bco, "
                    "nca, sppo, apo_zero or sft"
                )

    def check_objectives(self, rater: rw.RewardTransform, parts: Any) -> None:
        """Raises a `UserError` unless there are pairs for every head, and losses of one head."""
        several = self.config.objectives
        if self.given is not None:
            raise UserError("pair_pg's objectives judge pairs that it writes: leave the data out")
        if parts != (several,):
            told = f"{parts[0]} numbers" if parts else "one number"
            raise UserError(f"pair_pg has objectives={several}, and {rater} gives {told} a token")
        if of_all := sorted(self.names & OF_ALL_HEADS):
            raise UserError(f"{of_all[0]} is not for several objectives: it asks more than a head")

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
        objective, score = self.scored(block, applied.reward)
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
            objective=objective if isinstance(objective, tuple) else objective[first],
        )
        return rows, applied.state

    def scored(self, block: Transition, reward: Array) -> tuple[Any, Array]:
        """By which objective each response is judged, `[N]`, and what it is worth by that.

        Prompts have objectives in turn; of one objective there is nothing to tell, ().
        """
        total, count = groups_of(block).total(reward), self.config.objectives
        if count == 1:
            return (), total
        rows = jnp.arange(total.shape[0])
        objective = rows // self.config.candidates % count
        return objective, total[rows, objective]

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
