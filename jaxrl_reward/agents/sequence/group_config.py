"""The settings of `group_pg`."""

from typing import Literal

from jaxrl_reward import settings
from jaxrl_reward.agents.sequence import entropy_control as control
from jaxrl_reward.agents.sequence.writer import Writers
from jaxrl_reward.rewards.groups.likelihoods import FORMS
from jaxrl_reward.settings import setting
from jaxrl_reward.types import UserError


class Config(Writers):
    """The settings of `group_pg`. Floats are leaves: `vmap` over them to sweep."""

    num_envs: int = setting(256, "responses of an iteration, N", low=1)
    group_size: int = setting(8, "responses to a prompt, G, which divides N", low=1)
    views: int = setting(
        1,
        "2 asks every question twice, in groups 2 k and 2 k + 1, see `rw.co_reward`",
        low=1,
        high=2,
    )
    sampling: Literal["uniform", "variance", "knapsack"] = setting(
        "uniform",
        "of prompts: `uniform` (within levels); `variance`, half of them by how much their "
        "outcomes vary; `knapsack`, groups of unequal size where it pays",
    )
    advantage: str = setting("grpo()", "the rule, as text")
    objective: Literal["surrogate", "rover"] = setting(
        "surrogate",
        "`surrogate`, or `rover`, the value of a uniform policy, whose temperature is 1",
    )
    aggregation: Literal["token", "sequence", "constant"] = setting(
        "token",
        "what the loss is a mean over: each `token` alike, each `sequence`, or as many tokens "
        "as there could be, a `constant`",
    )
    ratio: Literal["token", "sequence"] = setting(
        "token", "of probabilities, that of each `token` or that of the whole `sequence`"
    )
    kl: Literal["none", "loss", "unbiased_loss", "reward"] = setting(
        "none",
        "where the KL to the reference is: nowhere; in the `loss`, as GRPO was published, "
        "whose gradient is that of KL(ref, pi); in the `unbiased_loss`, times the ratio, that "
        "of KL(pi, ref), which is what is logged; or in the `reward`, before the advantage's "
        "rule",
    )
    guide_pairs: int = setting(1024, "that a guide learns from, which the verifier judges", low=1)
    drop_equal: bool = setting(False, "leaves out groups whose returns are all equal")
    control: str = setting("none", "of the entropy, see `entropy_control`", choices=control.PAPERS)
    teach: str = setting(
        "none",
        "whose gradient in the reference answer is followed, see `rw.likelihood`; `group` is "
        "that of `rw.jepo`",
        choices=("none", *FORMS, "group"),
    )
    recycle: int = setting(
        0,
        "SPARK's items of an iteration, at most: so many prompts whose responses are judged or "
        "compared, and so many whose wrong ones are mended; of a task with `modes`",
        low=0,
    )
    recycle_rule: str = setting(
        "", "the fact that is at least 1/2 of what is right; the outcome by default"
    )
    recycle_levels: int = setting(
        0, "only prompts of so many first levels are recycled; 0 is all", low=0
    )
    epochs: int = setting(1, "passes over the responses of an iteration", low=1)
    minibatches: int = setting(1, "gradient steps of a pass; must divide `num_envs`", low=1)
    clip_low: float = setting(0.2, "the ratio gains nothing below 1 less this", low=0.0)
    clip_high: float = setting(0.2, "the ratio gains nothing above 1 plus this", low=0.0)
    dual_clip: float = setting(
        0.0,
        "the most that a ratio counts where an advantage is negative; 0 is no bound",
        low=0.0,
    )
    kl_coef: float = setting(0.04, "weight of the KL", low=0.0)
    entropy_coef: float = setting(0.0, "weight of an entropy bonus, per nat")
    teach_coef: float = setting(1.0, "weight of that gradient, beside the responses' own")
    control_strength: float = setting(
        0.0,
        "how much the control does, 0 is the paper's: the share of tokens of `clip_cov` and "
        "`kl_cov`, the least weight of `steer`, the weight of `siren` and `corridor`",
    )
    control_low: float = setting(
        0.0,
        "lower bound, 0 is the paper's: of the covariance of `clip_cov`, of the entropy of "
        "`corridor` relative to the past; the weight of the penalty of `kl_cov`",
    )
    control_high: float = setting(
        0.0, "upper bound of that covariance or entropy, 0 is the paper's"
    )

    def validate(self, owner: str) -> None:
        super().validate(owner)
        of_groups = self.group_size * self.views
        if self.num_envs % of_groups:
            fits = of_groups * max(1, round(self.num_envs / of_groups))
            raise UserError(
                f"{owner}'s num_envs={self.num_envs} is no multiple of group_size="
                f"{self.group_size}{' x views=2' * (self.views == 2)}; use num_envs={fits}"
            )
        if self.views == 2 and self.sampling == "knapsack":
            raise UserError(f"{owner}'s views must be 1 with sampling=knapsack")
        groups = self.num_envs // self.group_size
        if self.recycle > groups:
            raise UserError(f"{owner}'s recycle must be at most the {groups} prompts, see num_envs")
        if self.recycle and self.advantage == "env":
            raise UserError(f"{owner}'s recycle needs an advantage of groups, such as grpo()")
        if self.rows % self.minibatches:
            more = " and what recycle adds" * (self.recycle > 0)
            raise UserError(f"{owner}'s minibatches must divide num_envs={self.num_envs}{more}")

    @property
    def items(self) -> int:
        """Responses to recycled items in an iteration."""
        return 2 * self.recycle * self.group_size

    @property
    def rows(self) -> int:
        """Responses that an iteration learns from."""
        return self.num_envs + self.items


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    settings.check("group_pg", config)
