"""Functionals of the return, by distributional dynamic programming: exact, deep, and without.

Everywhere gamma is 1. Laws of the policies that were learned on finite worlds are
computed exactly, from their actions in every state and stock; only the rally is
played. The arms: `eta` is the agent; `frozen` the same with a stock that does not
follow the rewards, so that it cannot react to luck; `designed` an ordinary DQN
that sees the stock and is paid its utility, for one request; `dqn` a plain one.

The layouts, the schedule and all settings are this file's: those of the paper's
experiments could not be had. They were chosen on seeds 0 and 1, but for the shares of
the steps and the cliff's updates: these after a look at seeds 100 to 103, on which
`quick` reports.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import _distributional_dp_report as report
import _distributional_dp_study as study
import numpy as np

from jaxrl_reward.training.experiments import verdicts
from jaxrl_reward.training.experiments.experiment import Arm, Experiment, Preset, Results, Verdict

SOURCE = "Avila Pires et al. 2025, sections 5 to 8"


# ---- verdicts -------------------------------------------------------------------------


above = partial(verdicts.above, source=SOURCE)
below = partial(above, expected=False)
better = partial(verdicts.better, source=SOURCE)


def verdict(results: Results) -> Sequence[Verdict]:
    """What the paper's applications need, from the laws of the learned policies."""
    arm = {name: result.study for name, result in results.items()}
    return [*_targets(arm), *_risks(arm), *_others(arm)]


def _targets(arm: Mapping[str, Any]) -> list[Verdict]:
    sure = [i for i, g in enumerate(study.REQUESTS) if g <= study.CERTAIN]
    off = np.abs(study.mean(arm["target eta"]) - np.array(study.REQUESTS)[None])
    scores = [i for i, g in enumerate(study.SCORES) if abs(g) in (1, 3)]
    missed = np.abs(arm["rally eta"]["returns"].mean(-1) - np.array(study.SCORES)[None])
    one = study.REQUESTS.index(int(study.DESIGNED["target designed"]))
    distances = {name: study.distance(arm[name]) for name in arm if name.startswith("target")}
    return [
        below(
            "One network reaches every return that can be had for certain, within one unit",
            f"largest error of the mean return, requests {study.REQUESTS[0]} to {study.CERTAIN}",
            off[:, sure].max(1),
            1.0,
        ),
        below(
            "In the rally one network reaches every score on request, within one unit",
            "largest error of the mean score over requests -3, -1, 1, 3",
            missed[:, scores].max(1),
            1.0,
        ),
        better(
            "A network for all requests is no worse than one paid the utility of a single one",
            f"minus the mean distance from {study.REQUESTS[one]}, eta less designed",
            -distances["target eta"][:, one],
            -distances["target designed"][:, 0],
            -0.25,
        ),
        better(
            "A stock that does not follow the rewards misses targets by more",
            "mean distance over requests for certain returns, frozen less eta",
            distances["target frozen"][:, sure].mean(1),
            distances["target eta"][:, sure].mean(1),
        ),
    ]


def _risks(arm: Mapping[str, Any]) -> list[Verdict]:
    lotteries = {kind: arm[f"lotteries {kind}"] for kind in ("eta", "frozen", "designed")}
    at = study.TAUS.index(0.75)
    best, rare = study.exact_cvar("tabular:lotteries", 0.75)[0], study.TAUS.index(0.1)
    risk = {kind: study.cvar(lotteries[kind])[:, at] for kind in ("eta", "frozen")}
    cliff, plain = arm["cliff eta"], arm["cliff dqn"]
    tail = study.cvar(cliff)[:, rare]
    neutral = np.asarray(study.cvar(plain, (0.1,)))[:, 0]
    return [
        above(
            "CVaR 0.75 of two lotteries is that of the exact solver, within a tenth",
            f"CVaR, {best:.3g} at best",
            risk["eta"],
            best - 0.1,
        ),
        better(
            "Without a stock that follows the rewards it is worse (7.33 at best)",
            "eta less frozen",
            risk["eta"],
            risk["frozen"],
        ),
        above(
            "An ordinary DQN that is paid the stock's utility reaches it as well",
            f"CVaR, {best:.3g} at best",
            study.cvar(lotteries["designed"], (0.75,))[:, 0],
            best - 0.1,
        ),
        below(
            "The policy of CVaR 0.1 is not the risk-neutral one: it gives up mean return",
            f"mean return on the cliff at tau 0.1, less that at tau 1; exact "
            f"{study.exact_means()[0.1] - study.exact_means()[1.0]:.3g}",
            study.mean(cliff)[:, rare] - study.mean(cliff)[:, -1],
            0.0,
        ),
        better(
            "It has a larger CVaR 0.1 on the cliff than a plain DQN",
            "eta less dqn",
            tail,
            neutral,
        ),
        above(
            "CVaR 0.1 on the cliff is within one unit of the exact optimum",
            f"CVaR, {study.exact_cvar(study.CLIFF, 0.1)[0]:.4g} at best",
            tail,
            study.exact_cvar(study.CLIFF, 0.1)[0] - 1.0,
        ),
    ]


def _others(arm: Mapping[str, Any]) -> list[Verdict]:
    lacking = study.optimum("reach", study.GRID, [-g for g in study.GOALS])[None] - study.reached(
        arm["reach eta"]
    )
    needs = study.optimum("pantry", study.PANTRY, study.NEEDS)[None]
    hungry = {kind: -study.distance(arm[f"pantry {kind}"]) - needs for kind in ("eta", "frozen")}
    dug = {kind: study.paid(arm[f"mine {kind}"]).mean(1) for kind in ("eta", "frozen")}
    most = study.optimum("mine", study.MINE, [(0, slack) for slack in study.SLACKS]).mean()
    return [
        below(
            "P(G >= g) is the largest there is, within a tenth, for every g",
            "largest lack over goals",
            lacking.max(1),
            0.1,
        ),
        above(
            "Two needs are kept within one unit of the exact optimum, from all deviations",
            "minus the mean distance over starts, less the optimum",
            hungry["eta"].mean(1),
            -1.0,
        ),
        better(
            "With stocks that do not follow the rewards they are kept worse",
            "minus the mean distance over starts, eta less frozen",
            hungry["eta"].mean(1),
            hungry["frozen"].mean(1),
        ),
        above(
            "A constraint is kept at the best price, within a quarter",
            f"mean over slacks, {most:.3g} at best",
            dug["eta"],
            most - 0.25,
        ),
        better(
            "With stocks that do not follow the rewards the constraint costs more",
            "mean over slacks, eta less frozen",
            dug["eta"],
            dug["frozen"],
        ),
    ]


# ---- what is trained ------------------------------------------------------------------

_AIM = {"objective": "target", "c0": (8.0,), "stock_low": (-10.0,), "stock_high": (25.0,)}
_DRAW = {"objective": "cvar", "tau": 0.75, "stock_low": (-22.0,), "stock_high": (12.0,)}
_EDGE = {"objective": "cvar", "tau": 0.1, "stock_low": (-10.0,), "stock_high": (50.0,)}
_EDGE = {**_EDGE, "updates": 2}
_KEEP = {"objective": "target", "stocks": 2, "stock_low": (-12.0,), "stock_high": (12.0,)}
_KEEP = {**_KEEP, "c0": (-4.0, 4.0)}
_DIG = {"objective": "constrained", "price": study.PRICE, "stocks": 2, "c0": (0.0, 1.0)}
_DIG = {**_DIG, "stock_low": (-7.0,), "stock_high": (7.0,)}
_FROZEN = {"tracked": False}
_SEES = {"placement": "step", "n_step": 1, "quantiles": 32, "huber_delta": 0.1, "batch_size": 256}
_SEES = {**_SEES, "updates": 1}
_PLAIN = {**_SEES, "placement": "block"}
_TINY = {"learning_starts": 64, "buffer_size": 1024, "batch_size": 16}


def _utility(stock: float, right: float) -> str:
    return f"env | stock_utility(c0={stock:g}, gamma=1, scale={study.SCALE:g}, right={right:g})"


experiment = Experiment(
    name="distributional_dp",
    title="Optimising return distributions with stocks",
    claim="With a stock, distributional dynamic programming optimises functionals of the return",
    source=SOURCE,
    env=study.GRID,
    agent="eta",
    arms=(
        Arm("target eta", env=study.GRID, config=_AIM),
        Arm("target frozen", env=study.GRID, config={**_AIM, **_FROZEN}, share=0.5),
        Arm("target designed", _utility(8, -1), "dqn", study.GRID, _SEES, share=0.5),
        Arm(
            "rally eta",
            env=study.RALLY,
            config={
                **{**_AIM, "c0": (-1.0,), "stock_low": (-5.0,), "stock_high": (5.0,)},
                "network": "mlp",
            },
        ),
        Arm("lotteries eta", env="tabular:lotteries", config=_DRAW, share=0.4),
        Arm("lotteries frozen", env="tabular:lotteries", config={**_DRAW, **_FROZEN}, share=0.4),
        Arm("lotteries designed", _utility(-14, 0), "dqn", "tabular:lotteries", _SEES, share=0.4),
        Arm("cliff eta", env=study.CLIFF, config=_EDGE, share=2.5),
        Arm("cliff dqn", "env", "dqn", study.CLIFF, _PLAIN),
        Arm("reach eta", env=study.GRID, config={**_AIM, "objective": "reach", "slack": 0.5}),
        Arm("pantry eta", env=study.PANTRY, config=_KEEP, share=1.0),
        Arm("pantry frozen", env=study.PANTRY, config={**_KEEP, **_FROZEN}, share=0.5),
        Arm("mine eta", env=study.MINE, config=_DIG, share=0.6),
        Arm("mine frozen", env=study.MINE, config={**_DIG, **_FROZEN}, share=0.6),
    ),
    presets={
        "smoke": Preset(seeds=2, total_steps=640, evals=1, eval_episodes=2, config=_TINY),
        "quick": Preset(seeds=4, total_steps=40_000, seed=100, evals=1, eval_episodes=64),
        "paper": Preset(seeds=20, total_steps=400_000, seed=100, evals=4, eval_episodes=256),
    },
    config={"gamma": 1.0, "epsilon_steps": 12_000.0},
    verdict=verdict,
    study=study.study,
    present=report.present,
)
