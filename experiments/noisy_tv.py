"""Curiosity in front of a noisy TV: surprise that never ends, and ways past it.

A goal at the end of a corridor is too far for random moves. A bonus for what is new
leads there, if nothing else stays new: pressing a remote shows pictures that no one can
predict. Prediction error and hindsight are one network but for z, what only hindsight can
know; disagreement predicts the observation itself.

Every arm has the same weight and settings. They were chosen on seeds 1000 to 1003: how often
the predictors learn with the set off, so that prediction error finds the goal; their
learning rate, of 0.003 and 0.01, the corridor's length, of 24 and 30, and the width of z,
of 8 and 16, with the set on, so that hindsight does. The reported seeds begin at 0.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    better,
    compare,
    reaches,
)
from jaxrl_reward.training.record.metrics import Rows
from jaxrl_reward.training.record.write_up import markdown_table

SOURCE = "Jarrett et al. 2023, Curiosity in Hindsight"
ON = "tv:corridor,length=24,max_steps_in_episode=48"
OFF = ON + ",brightness=0"
SIZE = "learning_rate=0.01, updates=16, batch_size=128, width=32, actions=3"
BONUSES = {
    "prediction error": f"byol({SIZE}, features=16)",
    "hindsight": f"hindsight({SIZE}, features=16, hidden=16)",
    "disagreement": f"disagreement({SIZE})",
}
REMOTE = 2  # the action


def reward(bonus: str) -> str:
    """The environment's reward and a bonus, whose returns have deviation 1."""
    return f"env + 0.1*({bonus} | normalize())"


def verdict(results: Results) -> Sequence[Verdict]:
    """Which bonuses find the goal, with the set off and on, and who watches."""
    expected = [
        ("env", False, "Without a bonus at most half of the seeds find the goal"),
        ("prediction error, off", True, "With the set off, prediction error finds the goal"),
        ("hindsight, off", True, "With the set off, hindsight finds the goal"),
        ("prediction error", False, "With the set on, prediction error does not"),
        ("hindsight", True, "With the set on, hindsight does"),
        ("disagreement", True, "With the set on, disagreement does"),
    ]
    found = [
        reaches(results, arm, 0.5, expected=does, claim=claim, source=SOURCE)
        for arm, does, claim in expected
        if arm in results
    ]
    earns = compare(
        results,
        "hindsight",
        "prediction error",
        claim="In front of the TV, hindsight earns more than prediction error",
        source=SOURCE,
    )
    watches = better(
        "In front of the TV, prediction error presses the remote more than hindsight",
        "share of presses, prediction error - hindsight",
        ended(results["prediction error"], "presses"),
        ended(results["hindsight"], "presses"),
        source=SOURCE,
    )
    return [*found, earns, watches]


def played(agent: Any, state: Any, key: jax.Array) -> dict[str, jax.Array]:
    """How a policy plays as it is, not greedily: its `presses` of the remote, as a share of
    its steps, and the farthest cell of an episode (`reach`), over 16 episodes that are the
    same for all."""
    from jaxrl_reward.agents.common import playing

    del key
    env, cells = agent.env, agent.env.environment.length
    policy = agent.policy(state)

    def episode(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(carry: Any, key: jax.Array) -> Any:
            now, alive = carry
            act, move = jax.random.split(key)
            now, seen = playing.step(env, policy, now, move[None], act)
            pressed = jnp.where(alive, seen.action[0] == REMOTE, False)
            found = (pressed, now.obs[0, :cells].argmax(), alive)
            return (now, alive & ~seen.last[0]), found

        keys = jax.random.split(key, env.max_steps)
        start = (playing.begin(env, policy, key[None], key), jnp.array(True))
        pressed, cell, alive = jax.lax.scan(step, start, keys)[1]
        return pressed.sum() / alive.sum(), (alive * cell).max()

    presses, reach = jax.vmap(episode)(jax.random.split(jax.random.key(0), 16))
    return {"presses": presses.mean(), "reach": reach.mean()}


def ended(result: Any, metric: str) -> np.ndarray:
    """What was measured of an arm at the end, `[S]`."""
    return result.curves.curve(metric)[1][:, -1]


def present(results: Results, path: Path) -> Sequence[str]:
    """Learning curves, and how each arm plays in the end."""
    from jaxrl_reward.report import plots, statistics, tables

    rows = Rows.concatenate([result.curves for result in results.values()])
    plots.learning_curves(rows.table, path / "figure.png", title=experiment.title)
    lines = []
    for arm, result in results.items():
        found = [float(statistics.iqm(ended(result, each))) for each in ("presses", "reach")]
        lines.append((arm, f"{found[0]:.0%}", tables.number(found[1], 1.0)))
    return [
        "![Return over environment steps, one line per arm](figure.png)",
        "How the policies play in the end, when their actions are drawn: interquartile means.",
        markdown_table(("Arm", "Presses of the remote", "Farthest cell, of 23"), lines),
    ]


experiment = Experiment(
    name="noisy_tv",
    title="Curiosity and the noisy TV",
    claim="A bonus for what even hindsight cannot explain is not trapped by noise",
    source=SOURCE,
    env=ON,
    arms=(
        Arm("env", "env"),
        *(Arm(name, reward(bonus)) for name, bonus in BONUSES.items()),
        *(
            Arm(f"{name}, off", reward(BONUSES[name]), env=OFF)
            for name in ("prediction error", "hindsight")
        ),
    ),
    presets={
        "smoke": Preset(
            *(2, 2048), evals=1, eval_episodes=2, arms=["prediction error", "hindsight"]
        ),
        "quick": Preset(seeds=8, total_steps=120_000, evals=5, eval_episodes=4),
        "paper": Preset(seeds=32, total_steps=400_000, evals=20),
    },
    config={"num_envs": 8, "num_steps": 64},
    verdict=verdict,
    probe=played,
    present=present,
)
