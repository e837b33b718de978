"""Rewards that are searched for: a policy writes formulas, agents train on them.

DERL ("Differentiable Evolutionary Reinforcement Learning", 2025): a meta-policy emits
arithmetic expressions over given rewards, each is worth what an agent that trained on it
earns of the environment's own, and the meta-policy climbs the group-relative advantage
of each round. Here it is a table of logits by position and height of the stack, and
only formulas that leave one number can be written; a round's formulas, times seeds, are
the lanes of one program that all rounds use again.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrl_reward import rounding
from jaxrl_reward.rewards.core.parse import parse
from jaxrl_reward.rewards.objectives.postfix import (
    CONSTANTS,
    NOTHING,
    OPERATORS,
    TENTH,
    formula,
    postfix,
)
from jaxrl_reward.training.record.metrics import Rows
from jaxrl_reward.training.record.run_folder import RunFolder, merge_summaries
from jaxrl_reward.training.record.write_up import write_up
from jaxrl_reward.training.runs import Run
from jaxrl_reward.training.schedule import first_seed, positive
from jaxrl_reward.training.studies import study
from jaxrl_reward.types import UserError

SHOWN = 7  # curves in the figure


class Evolved(NamedTuple):
    """What an evolution gives.

    Attributes:
      best: the formula whose agents earned most, as text that `parse` reads.
      formulas: of each round and place, `[rounds][population]`.
      scores: their final greedy returns, IQM over seeds, `[rounds, population]`.
      summary: the content of `summary.json`.
      path: the folder.
    """

    best: str
    formulas: list[list[str]]
    scores: np.ndarray
    summary: dict[str, Any]
    path: Path


def evolve(
    agent: str,
    env: str,
    parts: Sequence[str],
    *,
    out: Path | str,
    total_steps: int,
    rounds: int = 20,
    population: int = 8,
    length: int = 7,
    seeds: int = 2,
    rate: float = 1.0,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    eval_episodes: int = 16,
    resume: bool = False,
    progress: bool = True,
) -> Evolved:
    """Looks for the formula of `parts` on which an agent learns the task best.

    The best of many is too high, as chance had a part in choosing it: train on it with
    other seeds before you report it.

    Args:
      agent: an agent's name.
      env: an environment's.
      parts: reward expressions, as text; what a formula is made of.
      out: a new folder, or with `resume` that of the evolution to continue.
      total_steps: environment steps per seed of each formula.
      rounds: steps of the meta-policy.
      population: formulas of a round, at least 2.
      length: the most tokens of a formula.
      seeds: of each formula.
      rate: the meta-policy's learning rate; 0 searches at random.
      seed: the first seed, also of the meta-policy.
      config: settings of the agent.
      eval_episodes: per seed, of the evaluation that scores.
      resume, progress: as for `train`.

    Raises:
      UserError: bad input.
    """
    from jaxrl_reward import agents

    rounds, seeds = positive("rounds", rounds), positive("seeds", seeds)
    if population < 2 or length < 1 or not parts:
        raise UserError("evolve needs a population of 2, a length of 1 and a part at least")
    seed = first_seed(seed, seeds)
    several = parse(f"stack({', '.join(parts)})")
    reward = lambda code: several | postfix(code=code)  # noqa: E731
    writer = Writer(len(parts), length)
    first = writer.write(np.random.default_rng((seed, 0)))
    made = agents.make(agent, env, reward(first), **(config or {}))
    run = Run("", made, settings=made.config, seeds=seeds, seed=seed, total_steps=total_steps)
    run = dataclasses.replace(run, evals=1, eval_episodes=eval_episodes)
    formulas, scores, results = [], np.zeros((rounds, population)), []
    again: dict[str, Any] = {"compiled": {}, "keep": 1, "progress": progress}
    with RunFolder.claim(out, resume=resume) as folder:
        for number in range(rounds):
            rng = np.random.default_rng((seed, number))
            codes = [writer.write(rng) for _ in range(population)]
            formulas.append([formula(code, parts) for code in codes])
            names = [f"{number + 1}.{i + 1}" for i in range(population)]
            runs = [
                dataclasses.replace(run, name=name, reward=reward(code))
                for name, code in zip(names, codes, strict=True)
            ]
            of_round = {"name": f"round {number + 1}", "final": lambda *_: None, **again}
            found = list(study(runs, folder, **of_round).values())
            arms = merge_summaries([each.summary for each in found])["arms"]
            worth = [arms[name]["iqm"] if name in arms else np.nan for name in names]
            # One that did not stay finite is worth as much as the worst.
            scores[number] = np.where(np.isnan(worth), np.nanmin(worth), worth)
            writer.learn(codes, scores[number], rate)
            results += found
        place = np.unravel_index(int(scores.argmax()), scores.shape)
        best = formulas[place[0]][place[1]]
        summary = merge_summaries([result.summary for result in results])
        summary["best"] = {"arm": f"{place[0] + 1}.{place[1] + 1}", "reward": best}
        rows = Rows.concatenate([result.curves for result in results])
        top = sorted(summary["arms"], key=lambda arm: -summary["arms"][arm]["iqm"])[:SHOWN]
        shown = Rows.concatenate([rows.where(arm=arm) for arm in top])
        text = f"Best: `{best}`"
        write_up(folder.path, summary, shown, title="Evolved rewards", command="", claim=text)
        folder.write_summary(summary)
    return Evolved(best, formulas, scores, summary, folder.path)


class Writer:
    """A meta-policy that writes codes of `postfix`.

    Attributes:
      logits: by position, height of the stack and token, `[L, H, K + 6]`; tokens are
        those of `codes`.
      codes: the numbers of `postfix` that the tokens stand for.
    """

    def __init__(self, parts: int, length: int):
        special = (NOTHING, *OPERATORS, *CONSTANTS)
        self.codes = np.array([*range(1, parts + 1), *special])
        self.logits = np.zeros((length, length + 1, len(self.codes)))

    def allowed(self, position: int, height: int, over: bool) -> np.ndarray:
        """Which tokens can be written so that one number is left in the end."""
        left = self.logits.shape[0] - position - 1
        pushes = (self.codes > 0) | (self.codes <= TENTH)
        works = (self.codes < 0) & ~pushes
        nothing = self.codes == NOTHING
        if over:
            return nothing
        return (pushes & (height <= left)) | (works & (height >= 2)) | (nothing & (height == 1))

    def chances(self, position: int, height: int, over: bool) -> np.ndarray:
        """Of each token."""
        allowed = self.allowed(position, height, over)
        logits = np.where(allowed, self.logits[position, height], -np.inf)
        raised = np.exp(logits - logits[allowed].max())
        return raised / raised.sum()

    def write(self, rng: np.random.Generator) -> tuple[float, ...]:
        """A code."""
        code, height, over = [], 0, False
        for position in range(self.logits.shape[0]):
            token = rng.choice(len(self.codes), p=self.chances(position, height, over))
            code.append(float(self.codes[token]))
            height, over = self._after(code[-1], height)
        return tuple(code)

    def learn(self, codes: Sequence[Sequence[float]], scores: np.ndarray, rate: float) -> None:
        """One step along the policy gradient, with advantages relative to the group."""
        # Returns are float32: what differs by a few of their roundings is equal.
        apart = rounding.varies(np.asarray(scores, np.float32))
        advantages = (scores - scores.mean()) / scores.std() if apart else np.zeros(len(scores))
        step = np.zeros_like(self.logits)
        for code, advantage in zip(codes, advantages, strict=True):
            height, over = 0, False
            for position, number in enumerate(code):
                chosen = self.codes == number
                gradient = chosen - self.chances(position, height, over)
                step[position, height] += advantage / len(codes) * gradient
                height, over = self._after(number, height)
        self.logits += rate * step

    def _after(self, number: float, height: int) -> tuple[int, bool]:
        if number == NOTHING:
            return height, True
        return height + (1 if number > 0 or number in CONSTANTS else -1), False
