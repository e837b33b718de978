"""Adversarial imitation off policy: does it need a Lipschitz reward?

A discriminator is shown a few steps of an expert, and SAC climbs what it takes for the
expert's, with the reward of every stored step computed anew. The arms hold its slope in
different ways, or not at all; those that differ in numbers alone (weights of the penalty,
smoothed labels) train in one program. PPO is the on-policy agent. On two tasks that end
early, one where that is bad and one where it is the goal, forms of the reward show what
their sign decides, and what absorbing states mend.

The paper's learner is TD3, with nets of 100 units and a learning rate of 0.0005 for the
discriminator; `quick` has SAC, 64 units, light tasks, and 0.001. That was chosen on seeds
1000 and 1001 of the pendulum, of 0.0005, 0.001 and 0.003: SAC learns it in 5,000 steps, and
at 0.0005 the unconstrained imitator is only later than the others and ends as they do. Of
one demonstration in place of four the penalty made too little. On the halfcheetah the slope
aimed at is 0.05, of 0.05, 0.2, 0.5 and 1 on seeds 1000 to 1002: at 1 one imitator in three
learned to run, as a discriminator that is always right pays nothing. Seeds to report begin at 0.
Demonstrations are 4 episodes, one step in 20, of agents of this package; a score is 100 for
the expert and 0 for random actions.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import _lipschitz_gail_data as data
import _lipschitz_gail_report as report
import numpy as np

from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    above,
    better,
)
from jaxrl_reward.training.runs import Run

SOURCE = "Blonde et al. 2022, Lipschitzness Is All You Need To Tame Off-policy GAIL"
DAC = "Kostrikov et al. 2019, Discriminator-Actor-Critic, section 4.2"
GOAL = 70.0  # per cent of the expert's return, above that of random actions
NEAR = 5.0  # points of score that count as not below

# What differs in numbers alone. The penalty's weight is 0 where there is none.
WEIGHTS = {
    "none": {"weight": 0.0},
    "none, smoothed": {"weight": 0.0, "label_low": 0.7, "label_high": 1.2},
    "wgan 0.01": {"weight": 0.01},
    "wgan 0.1": {"weight": 0.1},
    "wgan 1": {"weight": 1.0},
    "wgan": {"weight": 10.0},
    "wgan 100": {"weight": 100.0},
}
FEW = {name: WEIGHTS[name] for name in ("none", "wgan")}
SPECTRAL = {"spectral": {}, "spectral, smoothed": {"label_low": 0.7, "label_high": 1.2}}
PURPLE = {f"purple {steepest:g}": {"steepest": steepest} for steepest in (2.0, 7.0)}
# What differs in more.
OTHERS: Mapping[str, Mapping[str, Any]] = {
    "wgan two-sided": {"one_sided": False},
    "dragan": {"penalty": "dragan"},
    "nagard": {"penalty": "nagard"},
    "wgan, log D": {"form": "log"},
    "wgan, logit": {"form": "logit"},
}
SIGNS = {"positive": "minimax", "negative": "log"}


def points(numbers: Mapping[str, Mapping[str, float]], prefix: str, agent: Any) -> list[Run]:
    """The agent with other numbers in its reward, by the arm's name."""
    return [
        Run(f"{prefix}: {name}", agent, reward=changed(agent.reward, each))
        for name, each in numbers.items()
    ]


def changed(reward: Any, numbers: Mapping[str, float]) -> Any:
    """The expression with other numbers in those of its terms that have them."""
    if reward.children():
        parts = tuple(changed(part, numbers) for part in reward.children())
        return dataclasses.replace(reward, parts=parts)
    own = {each.name for each in dataclasses.fields(reward)}
    return dataclasses.replace(reward, **{n: x for n, x in numbers.items() if n in own})


@dataclasses.dataclass(frozen=True)
class Imitator:
    """An agent, and how its discriminator learns.

    Attributes:
      agent: its name.
      config: its settings.
      gail: the discriminator's.
      share: of the preset's steps.
    """

    agent: str
    config: Mapping[str, Any]
    gail: Mapping[str, Any]
    share: float = 1.0

    def arm(
        self,
        task: data.Task,
        methods: Mapping[str, Mapping[str, float]],
        behind: str = "",
        **gail: Any,
    ) -> Arm:
        """An arm whose points are the `methods`, all with `gail` and what is `behind` it."""
        prefix = f"{task.slug}, {self.agent.upper()}"
        return Arm(
            f"{prefix}: {', '.join(methods)}",
            task.gail(**{**self.gail, **gail}) + behind,
            agent=self.agent,
            env=task.env,
            config=self.config,
            share=self.share,
            points=partial(points, methods, prefix),
        )


def every_arm(task: data.Task, imitator: Imitator) -> list[Arm]:
    """All ways to hold the slope, and the reward's forms."""
    return [
        imitator.arm(task, WEIGHTS),
        imitator.arm(task, SPECTRAL, spectral=True, penalty="none"),
        imitator.arm(task, PURPLE, behind=" | purple(width=64, batch_size=64, updates=1)"),
        *(imitator.arm(task, {name: {}}, **changes) for name, changes in OTHERS.items()),
    ]


def survival_arms(task: data.Task, imitator: Imitator, wrong: str) -> list[Arm]:
    """A reward that is never negative, one that is never positive, and the `wrong` one mended."""
    return [
        *(imitator.arm(task, {sign: {}}, form=form) for sign, form in SIGNS.items()),
        imitator.arm(task, {f"{wrong}, absorbing": {}}, form=SIGNS[wrong], absorbing=True),
    ]


# ---- verdicts -------------------------------------------------------------------------


def verdict(results: Results) -> Sequence[Verdict]:
    """The paper's claims for each task and agent, and the bias of the reward's sign."""
    found = []
    for group, methods in report.by_group(results).items():
        scores = {method: report.scores(result) for method, result in methods.items()}
        if "wgan" in scores:
            areas = {method: report.on_the_way(result) for method, result in methods.items()}
            found += _needed(group, scores, areas)
        if "positive" in scores:
            found += _signs(group, scores)
        slopes = report.steepness(results, group)
        if len(slopes) > 2:
            found.append(report.correlation(slopes, scores, group, SOURCE))
    return found


def _needed(
    group: str, scores: Mapping[str, np.ndarray], areas: Mapping[str, np.ndarray]
) -> list[Verdict]:
    """Whether imitation needs a constraint, and which; `areas` are scores on the way."""

    def versus(high: str, low: str, claim: str, margin: float = 0.0, end: bool = False) -> None:
        values, when = (scores, "final score") if end else (areas, "score on the way")
        if high in values and low in values:
            what, pair = f"{when} of {high} less {low}", (values[high], values[low])
            found.append(better(f"{group}: {claim}", what, *pair, margin, source=SOURCE))

    claim = f"{group}: with a gradient penalty the imitator reaches {GOAL:g} % of the expert"
    found = [above(claim, "final score of wgan", scores["wgan"], GOAL, source=SOURCE)]
    versus("wgan", "none", "without a constraint it ends clearly lower", 10.0, end=True)
    versus("wgan", "none", "without a constraint it is clearly lower on the way", 10.0)
    versus("wgan", "none, smoothed", "smoothed labels are no remedy", 10.0)
    versus("wgan", "spectral", "nor is spectral normalisation", 10.0)
    versus("wgan", "spectral, smoothed", "nor are both", 10.0)
    versus("wgan", "wgan 0.01", "a weight of 0.01 is too small")
    versus("wgan", "dragan", "a penalty between agent and expert beats one around the expert")
    versus("wgan", "nagard", "a penalty between agent and expert beats one around the agent")
    for name in PURPLE:
        claim = f"{name} is not more than {NEAR:g} points below"
        versus(name, "wgan", claim, -NEAR, end=True)
    return found


def _signs(group: str, scores: Mapping[str, np.ndarray]) -> list[Verdict]:
    """What the reward's sign decides, on a task where it is right to live or to end."""
    right, wrong = ("negative", "positive") if "cliff" in group else ("positive", "negative")
    lives = "to live" if right == "positive" else "to end"
    pairs = [
        (right, wrong, f"where it is right {lives} the {right} form is above the {wrong} one"),
        (f"{wrong}, absorbing", wrong, f"absorbing states mend the {wrong} form"),
    ]
    found = []
    for high, low, claim in pairs:
        what = f"score of {high} less {low}"
        x, y = scores[high], scores[low]
        found.append(better(f"{group}: {claim}", what, x, y, source=DAC))
    return found


# ---- what is trained ------------------------------------------------------------------

_GAIL = {"width": 64, "batch_size": 64, "learning_rate": 1e-3}
_SAC = {"batch_size": 64, "hidden": (64, 64), "learning_rate": 1e-3, "slopes": True}
_PPO = {"num_envs": 8, "num_steps": 128, "minibatches": 8, "hidden": (64, 64)}
_FORMS = {**_GAIL, "updates": 16, "learning_rate": 5e-4}
SAC = Imitator("sac", {**_SAC, "num_envs": 4, "updates": 4}, {**_GAIL, "updates": 4})
CHEETAH = Imitator(
    "sac",
    {**_SAC, "num_envs": 8, "updates": 8, "normalize_obs": True},
    # Of raw observations that reach 10 and more: at a slope of 1 it knows every step apart.
    {**_GAIL, "updates": 8, "target": 0.05},
    share=2.5,
)
PPO = Imitator("ppo", {**_PPO, "gamma": 0.95, "entropy_coef": 0.0}, _FORMS, share=19.0)
POLE = Imitator("ppo", _PPO, _FORMS, share=12.5)
CLIFF = Imitator("ppo", _PPO, _FORMS, share=6.5)
SMALLEST = Imitator(
    "sac",
    {"num_envs": 2, "batch_size": 8, "hidden": (8,), "learning_starts": 16, "slopes": True},
    {"width": 8, "batch_size": 8, "updates": 1},
)
_WIDE = {"hidden": (256, 256), "buffer_size": 1_000_000, "normalize_obs": True, "slopes": True}
_TOLD = {"learning_rate": 5e-4, "batch_size": 64}
PAPER_SAC = Imitator("sac", {"num_envs": 8, "updates": 8, **_WIDE}, {**_TOLD, "updates": 8})
PAPER_PPO = Imitator(
    "ppo",
    {"num_envs": 32, "num_steps": 128, "minibatches": 32, "normalize_obs": True},
    {**_TOLD, "updates": 64},
    share=10.0,
)

GROUPS = {
    "smoke": [SMALLEST.arm(data.SMALLEST, FEW)],
    "quick": [
        *every_arm(data.PENDULUM, SAC),
        PPO.arm(data.PENDULUM, FEW),
        CHEETAH.arm(data.CHEETAH, FEW),
        *survival_arms(data.POLE, POLE, wrong="negative"),
        *survival_arms(data.CLIFF, CLIFF, wrong="positive"),
    ],
    "paper": [
        arm
        for task in data.LOCOMOTION
        for arm in (*every_arm(task, PAPER_SAC), PAPER_PPO.arm(task, FEW))
    ],
}
GROUPS["paper"] += survival_arms(data.LOCOMOTION[0], PAPER_SAC, wrong="negative")
_NAMES = {preset: tuple(arm.name for arm in arms) for preset, arms in GROUPS.items()}

experiment = Experiment(
    name="lipschitz_gail",
    title="Lipschitz-constrained imitation",
    claim="Off-policy adversarial imitation works if its reward is locally Lipschitz",
    source=SOURCE,
    env=data.PENDULUM.env,
    agent="sac",
    arms=tuple({arm.name: arm for arms in GROUPS.values() for arm in arms}.values()),
    presets={
        "smoke": Preset(*(2, 48), evals=1, eval_episodes=1, arms=_NAMES["smoke"]),
        "quick": Preset(*(6, 8_000), evals=8, eval_episodes=8, arms=_NAMES["quick"]),
        "paper": Preset(*(5, 1_000_000), evals=20, eval_episodes=10, arms=_NAMES["paper"]),
    },
    verdict=verdict,
    present=report.present,
    prepare=data.prepare,
    study=lambda arm, agent, state: data.known(agent.reward),
)
