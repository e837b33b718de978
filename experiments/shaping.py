"""MountainCar with its sparse reward: what helps to reach the goal, and what only looks so.

How hard the sparse reward is depends on the learner: observations are left as
they are, and with `normalize_obs` PPO finds the goal on `env` alone. The weights
were chosen on the first seeds of the same arms (potential: 5 of 5, 10 and 50;
count bonus: 5 and 20, neither of which helps), so the verdicts are of these
settings and not of the best each arm could do.
"""

from collections.abc import Sequence

from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    compare,
    reaches,
)

SOURCE = "Ng, Harada and Russell 1999, theorem 1 and section 1"
NO_GOAL = -200.0  # the return of an episode that never reaches the goal


def verdict(results: Results) -> Sequence[Verdict]:
    """Which arms reach the goal, and whether shaping improves the true return."""
    return [
        reaches(
            results,
            "potential",
            NO_GOAL,
            claim="With potential-based shaping most seeds reach the goal",
            source=SOURCE,
        ),
        reaches(
            results,
            "env",
            NO_GOAL,
            expected=False,
            claim="Without shaping at most half of the seeds reach the goal",
            source=SOURCE,
        ),
        compare(
            results,
            "potential",
            "env",
            claim="Potential-based shaping improves the true return",
            source=SOURCE,
        ),
        compare(
            results,
            "potential",
            "state bonus",
            claim="The same potential, paid without its difference, is worse on the true return",
            source="Ng, Harada and Russell 1999, section 1",
        ),
    ]


experiment = Experiment(
    name="shaping",
    title="Shaping MountainCar",
    claim="A potential's difference speeds up learning without changing the task",
    source=SOURCE,
    env="gymnax:MountainCar-v0",
    arms=(
        Arm("env", "env"),
        Arm("potential", "env + 5*potential('mountain_car_energy', gamma=0.99)"),
        Arm("state bonus", "env + 5*state_bonus('mountain_car_energy')"),
        Arm("count bonus", "env + 5*lifetime_counts(resolution=(10, 100))"),
    ),
    presets={
        "smoke": Preset(seeds=2, total_steps=8192, evals=2, eval_episodes=2),
        "quick": Preset(seeds=16, total_steps=300_000),
        "paper": Preset(seeds=64, total_steps=1_000_000, evals=20),
    },
    verdict=verdict,
)
