"""The settings of `pair_pg`."""

from typing import Literal

from jaxrl_reward import settings
from jaxrl_reward.agents.sequence.writer import Writers
from jaxrl_reward.settings import setting
from jaxrl_reward.types import UserError


class Config(Writers):
    """The settings of `pair_pg`. Floats are leaves: `vmap` over them to sweep."""

    source: Literal["reference", "policy"] = setting(
        "reference",
        "who writes the pairs: the `reference`, once, before the first iteration; or the "
        "`policy` as it is, anew in every iteration. With --data neither does",
    )
    pairs: int = setting(1024, "how many it writes at a time", low=1)
    candidates: int = setting(2, "responses to a prompt that pairs are made of, G", low=2)
    pairing: Literal["first", "extremes", "all"] = setting(
        "first",
        "which of them: the `first` two; the `extremes`, best and worst by the rater; or `all` "
        "G (G - 1) / 2 pairs",
    )
    labels: Literal["logistic", "better", "wins"] = setting(
        "logistic",
        "which one is chosen: drawn with probability `sigmoid` of the difference of rewards over "
        "`temperature`; the `better` one, ties by half; or drawn with rewards that are the "
        "probabilities that one `wins` against the other, as `preferred(table)` gives them",
    )
    judge: Literal["reward", "policy"] = setting(
        "reward",
        "whose scores those are: the reward's, or the `policy`'s own log-ratio to the reference; "
        "the first pairs, which a guide learns from, are the reward's",
    )
    agreement: Literal["each", "mean"] = setting(
        "each", "of the last two policies' rankings: of `each` prompt, or its `mean`; for `cream`"
    )
    anchor: Literal["start", "round"] = setting(
        "start",
        "the reference of losses: the policy after the warm-up, or that at the `start` of the "
        "round, for pairs that the policy writes",
    )
    objectives: int = setting(
        1,
        "numbers that the rater gives, each with pairs and a head of the network of its own; "
        "what is written is by all heads alike until `language_models.dial` says otherwise",
        low=1,
    )
    credit: str = setting(
        "guide",
        "of tokens, for `treg`: by how much the `guide` prefers them, or the name of a signal "
        "of the task's steps",
    )
    batch_size: int = setting(64, "pairs of an update; at most as many as there are", low=1)
    updates: int = setting(16, "gradient steps of an iteration", low=1)
    look: int = setting(64, "responses that an iteration draws to look at, nothing more", low=1)
    temperature: float = setting(1.0, "of `logistic` labels", low=1e-6)
    flips: float = setting(
        0.0, "share of labels that are given the wrong way round", low=0.0, high=1.0
    )

    def validate(self, owner: str) -> None:
        super().validate(owner)
        each = self.per_prompt()
        if self.pairs % each:
            fits = each * max(1, round(self.pairs / each))
            raise UserError(
                f"{owner}'s pairs={self.pairs} is no multiple of the {each} pairs of a prompt; "
                f"use pairs={fits}"
            )
        if self.batch_size > self.pairs:
            raise UserError(
                f"{owner}'s batch_size={self.batch_size} is more than pairs={self.pairs}"
            )
        if self.anchor == "round" and self.source == "reference":
            raise UserError(f"{owner}'s anchor=round is for source=policy")
        if self.judge == "policy" and self.source == "reference":
            raise UserError(f"{owner}'s judge=policy is for source=policy")

        if self.objectives > 1 and (self.guide, self.anchor, self.judge) != (0, "start", "reward"):
            raise UserError(
                f"{owner}'s objectives={self.objectives} need guide=0, anchor=start, judge=reward"
            )

    def per_prompt(self) -> int:
        """How many pairs the candidates of a prompt make."""
        count = self.candidates
        return count * (count - 1) // 2 if self.pairing == "all" else 1


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    settings.check("pair_pg", config)
