"""MountainCar with its sparse reward: what helps to reach the goal, and what only looks so."""

from collections.abc import Sequence

from jaxrl_reward.report import statistics
from jaxrl_reward.training.experiment import Arm, Experiment, Preset, Results, Verdict

SOURCE = "Ng, Harada and Russell 1999, theorem 1 and section 1"
NO_GOAL = -200.0  # the return of an episode that never reaches the goal


def verdict(results: Results) -> Sequence[Verdict]:
    """Whether shaping reaches the goal where the other arms do not."""
    returns = {name: result.summary["per_seed"] for name, result in results.items()}
    verdicts = []
    for other in ("env", "state bonus"):
        gap = statistics.difference(returns["potential"], returns[other])
        status = "holds" if gap.low > 0 else "fails" if gap.high < 0 else "undecided"
        reached = {n: sum(r > NO_GOAL for r in returns[n]) for n in ("potential", other)}
        evidence = (
            f"difference of IQM {gap.estimate:.1f} [{gap.low:.1f}, {gap.high:.1f}]; goal reached "
            f"by {reached['potential']} against {reached[other]} of {len(returns[other])} seeds"
        )
        claim = f"Potential-based shaping has a higher true return than {other!r}"
        verdicts.append(Verdict(claim, SOURCE, status, evidence))
    return verdicts


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
