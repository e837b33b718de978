"""The settings that agents share, in groups: an agent's `Config` is made of some of them."""

from typing import Any, Literal

import numpy as np
from jax.core import Tracer

from jaxrl_reward.agents.common import actions, replay
from jaxrl_reward.checks import check_number
from jaxrl_reward.intervals import Interval
from jaxrl_reward.nn import kinds, networks
from jaxrl_reward.settings import RUN, Settings, setting
from jaxrl_reward.types import UserError

UNSAID = -1.0  # of what depends on whether there is an environment
HOLDOUT, FQE_STEPS = 0.1, 5000  # where there is none

# ---- networks ---------------------------------------------------------------------


class Networks(Settings):
    """What networks are like."""

    hidden: tuple[int, ...] = setting((64, 64), "widths of the hidden layers", low=1)
    activation: str = setting(
        "relu", "between layers, a name that `networks` knows", choices=networks.ACTIVATIONS
    )
    network: Any = setting(
        kinds.AUTO,
        "what sees the observation, before the hidden layers: nothing (`mlp`), a convolution "
        "(`cnn`), an encoder for each of its parts (`parts`), `auto`, which is `cnn` for "
        "observations [H, W, C] and `parts` with such a part, or one's own, see `nn.own`",
        choices=kinds.COMMON,
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "network", kinds.of(self.network))


class Normalised(Networks):
    """Networks whose hidden layers may be normalised."""

    layer_norm: bool = setting(False, "normalise the hidden layers")

    def validate(self, owner: str) -> None:
        super().validate(owner)
        if self.layer_norm and 1 in self.hidden:
            raise UserError(
                f"{owner}'s hidden={self.hidden} has a layer of one unit, which normalised is "
                "always 0; use wider layers, or layer_norm=False"
            )


class Adam(Settings):
    """How fast it learns."""

    learning_rate: float = setting(1e-3, "Adam's", low=0.0)


class ClippedAdam(Adam):
    """How fast it learns, at most."""

    max_grad_norm: float = setting(10.0, "gradients are scaled down to this length", low=0.0)


# ---- acting -----------------------------------------------------------------------


class Discounted(Settings):
    """What later rewards count."""

    gamma: float = setting(0.99, "discount per step", low=0.0, high=1.0)


class Acting(Discounted):
    """How an agent plays."""

    num_envs: int = setting(8, "environments played side by side, N", low=1)
    num_steps: int = setting(1, "steps of each before the updates, T", low=1)
    placement: Literal["block", "step"] = setting(
        "block", "`block`, the policy is blind to the reward's memory, or `step`, it sees it"
    )
    normalize_obs: bool = setting(False, "by the mean and variance of what the policy saw so far")
    reset: Literal["fresh", "cached"] = setting(
        "fresh", "`fresh` or `cached` initial states, see `envs.vectorize`"
    )


class PolicyGradient(Acting, Networks, Adam):
    """An agent that learns a policy from the blocks that it plays."""

    activation: str = "tanh"
    distribution: str = setting(
        "normal",
        "of continuous actions, `normal` (clipped to the bounds) or `tanh_normal` (squashed "
        "into them)",
        choices=actions.NORMALS,
    )
    entropy_coef: float = setting(0.0, "weight of the entropy bonus, per nat", low=0.0)


# ---- from a replay ----------------------------------------------------------------


class Replay(Acting):
    """What is stored, and what is learned from it."""

    updates: int = setting(1, "gradient steps after every N * T steps", low=1)
    batch_size: int = setting(64, "steps of a batch", low=1)
    buffer_size: int = setting(50_000, "steps to keep; the oldest are overwritten", low=1)
    learning_starts: int = setting(1_000, "steps before the first update", low=0)
    n_step: int = setting(1, "rewards before the value in a target, within an episode", low=1)

    def validate(self, owner: str) -> None:
        super().validate(owner)
        room = Interval(0, replay.rows(owner, self) * self.num_envs)
        check_number(owner, "learning_starts", self.learning_starts, room)


class QLearning(Replay, Normalised, ClippedAdam):
    """Q-learning, of means or of quantiles."""

    layer_norm: bool = True
    double: bool = setting(
        True,
        "the online network chooses the action whose value the target network gives; else the "
        "target network does both",
    )
    quantiles: int = setting(1, "of the return of each action; 1 learns the mean return", low=1)
    target_every: int = setting(
        1,
        "gradient steps between moves of the target network; for a periodic copy, with "
        "`target_rate` 1",
        low=1,
    )
    epsilon_start: float = setting(
        1.0, "probability of a random action at first", low=0.0, high=1.0
    )
    epsilon_end: float = setting(0.05, "the same from step `epsilon_steps` on", low=0.0, high=1.0)
    epsilon_steps: float = setting(
        10_000.0, "environment steps in which it falls linearly", low=1.0
    )
    target_rate: float = setting(
        0.01, "how far the target network moves towards the online one", low=0.0, high=1.0
    )
    huber_delta: float = setting(1.0, "errors beyond it count linearly", low=0.0)


# ---- critics ----------------------------------------------------------------------


class Critics(Discounted, Normalised, Adam):
    """Critics of actions, and a policy that climbs them."""

    hidden: tuple[int, ...] = setting(
        (128, 128), "widths of the hidden layers of actor and critics"
    )
    layer_norm: bool = setting(help="normalise the hidden layers of the critics")
    learning_rate: float = setting(3e-4, "Adam's, of the policy")
    critic_learning_rate: float = setting(1e-3, "Adam's, of the critics", low=0.0)
    target_rate: float = setting(
        0.005, "how far the target critics follow at each update", low=0.0, high=1.0
    )


class ActorCritic(Replay, Critics):
    """A policy and critics that learn from what is stored."""

    updates: int = setting(help="gradient steps of the critics after every N * T steps")
    batch_size: int = 256
    buffer_size: int = 100_000
    learning_starts: int = setting(help="steps of random actions before the first update")


class SoftCritics(Critics):
    """Critics, and a policy that has entropy."""

    critics: int = setting(2, "how many", low=1)
    tune_temperature: bool = setting(True, "towards the target entropy; else it is `temperature`")
    learning_rate: float = setting(help="Adam's, of the policy and the temperature")
    temperature: float = setting(
        1.0, "weight of the entropy, per nat; where it is tuned, at first", low=0.0
    )
    target_entropy_scale: float = setting(
        1.0,
        "of the customary one, which is minus the number of action dimensions, or 0.98 of the "
        "most there is for discrete actions",
    )

    def validate(self, owner: str) -> None:
        super().validate(owner)
        known = not isinstance(self.temperature, Tracer)
        if known and self.tune_temperature and not np.all(np.asarray(self.temperature) > 0):
            raise UserError(
                f"{owner}'s temperature cannot be tuned from 0, which it never leaves; use one "
                "above 0, or tune_temperature=False"
            )


# ---- from data --------------------------------------------------------------------


class FromData(Discounted, Networks, Adam):
    """An agent that learns from data; what that is may vary, as numbers do."""

    updates: int = setting(
        100, "gradient steps of one iteration; a step of a run is one of them", low=1
    )
    batch_size: int = setting(256, "rows of a batch", low=1)
    hidden: tuple[int, ...] = (256, 256)
    normalize_obs: bool = setting(
        False, "by the mean and standard deviation of the data", static=False
    )
    source: int = setting(
        0, "from which of several data sets it learns, 0 is the first", low=0, static=False
    )
    learning_rate: float = 3e-4
    holdout: float = setting(
        UNSAID,
        "share of the data's episodes that is set aside, whose losses are recorded; -1 is 0.1 "
        "without an environment, else none",
        static=True,
    )
    holdout_seed: int = setting(0, "chooses the episodes that are set aside", low=0)
    fqe_steps: int = setting(
        int(UNSAID),
        "gradient steps of fitted-Q evaluation, at each evaluation; -1 is 5000 without an "
        "environment, else none",
        low=-1,
    )

    stream: int = setting(
        0, "rows of the data that are on the device at a time, read from the file; 0 is all", low=0
    )

    def validate(self, owner: str) -> None:
        super().validate(owner)
        if self.holdout != UNSAID and not 0.0 <= self.holdout < 1.0:
            raise UserError(
                f"{owner}'s holdout must be at least 0 and below 1, not {self.holdout:g}: it is "
                "the share of episodes that are set aside"
            )


class Imitation(FromData):
    """A policy that imitates the actions of data."""

    policy: Literal["deterministic", "gaussian"] = setting(
        "deterministic",
        "`deterministic`, the tanh of the network's output, or `gaussian`, with a standard "
        "deviation that is the same in every state",
    )
    policy_decay: float = setting(
        RUN,
        "steps in which the policy's rate falls to 0 along a cosine; 0 keeps it, -1 is the "
        "length of the run, or a million where that is not known",
        low=0.0,
        of_run=True,
    )
