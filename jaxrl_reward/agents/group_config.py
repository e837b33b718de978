"""The settings of `group_pg`."""

from typing import Any, Literal

from flax import struct

from jaxrl_reward.agents import base
from jaxrl_reward.agents import entropy_control as control
from jaxrl_reward.agents import group_losses as losses
from jaxrl_reward.rewards.likelihoods import FORMS
from jaxrl_reward.types import UserError

CHOICES = {
    "network": ("transformer", "gru"),
    "aggregation": losses.AGGREGATIONS,
    "ratio": losses.RATIOS,
    "kl": ("none", "loss", "unbiased_loss", "reward"),
    "control": control.CONTROLS,
    "objective": ("surrogate", "rover"),
    "sampling": ("uniform", "variance", "knapsack"),
    "teach": ("none", *FORMS, "group"),
}


def _static(default: Any) -> Any:
    return struct.field(pytree_node=False, default=default)


class Config(struct.PyTreeNode):
    """The settings of `group_pg`. Floats are leaves: `vmap` over them to sweep.

    Attributes:
      num_envs: responses of an iteration, N.
      group_size: responses to a prompt, G, which divides N.
      views: 2 asks every question twice, in groups 2 k and 2 k + 1, see `rw.co_reward`.
      sampling: of prompts: `uniform` (within levels); `variance`, half of them by how
        much their outcomes vary; `knapsack`, groups of unequal size where it pays.
      network: `transformer` or `gru`.
      width: of the network's layers.
      layers: of the transformer.
      heads: of the transformer's attention; must divide `width`.
      warmup: updates on demonstrations, before the first iteration.
      warmup_batch: demonstrations of such an update.
      advantage: the rule, as text.
      objective: `surrogate`, or `rover`, the value of a uniform policy, whose
        temperature is 1.
      aggregation: what the loss is a mean over: each `token` alike, each `sequence`, or
        as many tokens as there could be, a `constant`.
      ratio: of probabilities, that of each `token` or that of the whole `sequence`.
      kl: where the KL to the reference is: nowhere; in the `loss`, as GRPO was published,
        whose gradient is that of KL(ref, pi); in the `unbiased_loss`, times the ratio, that of
        KL(pi, ref), which is what is logged; or in the `reward`, before the advantage's rule.
      drop_equal: leaves out groups whose returns are all equal.
      control: of the entropy, see `entropy_control`.
      teach: whose gradient in the reference answer is followed, see `rw.likelihood`; `group`
        is that of `rw.jepo`.
      epochs: passes over the responses of an iteration.
      minibatches: gradient steps of a pass; must divide `num_envs`.
      greedy: evaluate the likeliest tokens, else drawn ones.
      warmup_wrong: share of the demonstrations that answer another prompt.
      learning_rate: Adam's.
      warmup_rate: Adam's, on demonstrations.
      max_grad_norm: the gradient is scaled down to it.
      clip_low: the ratio gains nothing below 1 less this.
      clip_high: the ratio gains nothing above 1 plus this.
      dual_clip: the most that a ratio counts where an advantage is negative; 0 is no bound.
      kl_coef: weight of the KL.
      entropy_coef: weight of an entropy bonus, per nat.
      teach_coef: weight of that gradient, beside the responses' own.
      control_strength: how much the control does, 0 is the paper's: the share of tokens
        of `clip_cov` and `kl_cov`, the least weight of `steer`, the weight of `siren` and
        `corridor`.
      control_low: lower bound, 0 is the paper's: of the covariance of `clip_cov`, of the
        entropy of `corridor` relative to the past; the weight of the penalty of `kl_cov`.
      control_high: upper bound of that covariance or entropy, 0 is the paper's.
    """

    num_envs: int = _static(256)
    group_size: int = _static(8)
    views: int = _static(1)
    sampling: Literal["uniform", "variance", "knapsack"] = _static("uniform")
    network: Literal["transformer", "gru"] = _static("transformer")
    width: int = _static(32)
    layers: int = _static(2)
    heads: int = _static(4)
    warmup: int = _static(200)
    warmup_batch: int = _static(64)
    advantage: str = _static("grpo()")
    objective: Literal["surrogate", "rover"] = _static("surrogate")
    aggregation: Literal["token", "sequence", "constant"] = _static("token")
    ratio: Literal["token", "sequence"] = _static("token")
    kl: Literal["none", "loss", "unbiased_loss", "reward"] = _static("none")
    drop_equal: bool = _static(False)
    control: str = _static("none")
    teach: str = _static("none")
    epochs: int = _static(1)
    minibatches: int = _static(1)
    greedy: bool = _static(True)
    warmup_wrong: float = 0.0
    learning_rate: float = 1e-3
    warmup_rate: float = 3e-3
    max_grad_norm: float = 1.0
    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float = 0.0
    kl_coef: float = 0.04
    entropy_coef: float = 0.0
    teach_coef: float = 1.0
    control_strength: float = 0.0
    control_low: float = 0.0
    control_high: float = 0.0


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    whole = ("num_envs", "group_size", "width", "layers", "heads", "warmup_batch", "epochs")
    for name in (*whole, "minibatches", "views"):
        base.check_positive("group_pg", name, getattr(config, name))
    for name, known in CHOICES.items():
        base.check_choice("group_pg", name, getattr(config, name), known)
    of_groups = config.group_size * config.views
    if config.num_envs % of_groups:
        fits = of_groups * max(1, round(config.num_envs / of_groups))
        raise UserError(
            f"group_pg's num_envs={config.num_envs} is no multiple of group_size="
            f"{config.group_size}{' x views=2' * (config.views == 2)}; use num_envs={fits}"
        )
    if config.views > 2 or (config.views == 2 and config.sampling == "knapsack"):
        raise UserError("group_pg's views must be 1 or 2, and 1 with sampling=knapsack")
    if config.num_envs % config.minibatches:
        raise UserError(f"group_pg's minibatches must divide num_envs={config.num_envs}")
    if config.width % config.heads and config.network == "transformer":
        raise UserError(f"group_pg's heads={config.heads} must divide width={config.width}")
    if config.warmup < 0:
        raise UserError(f"group_pg's warmup must be at least 0, not {config.warmup}")
    for name in ("learning_rate", "warmup_rate", "clip_low", "clip_high", "dual_clip", "kl_coef"):
        base.check_range("group_pg", name, getattr(config, name), 0.0)
    base.check_range("group_pg", "warmup_wrong", config.warmup_wrong, 0.0, 1.0)
