"""Of the experiment `distributional_dp`: its figures and tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import _distributional_dp_study as study
import numpy as np

from jaxrl_reward.training.experiments.experiment import Results
from jaxrl_reward.training.record.write_up import markdown_table


def present(results: Results, folder: Path) -> Sequence[str]:
    """The tables, and the figures beside the report."""
    from jaxrl_reward.report import return_laws as draw

    arm = {name: result.study for name, result in results.items()}
    draw.save(_values(arm), folder / "figure.png")
    draw.save(_laws(arm), folder / "laws.png")
    draw.save(_policies(arm), folder / "policies.png")
    return [
        "What was asked for and what was got: means over seeds, and all seeds in the bands.",
        "![Realised against requested, by application](figure.png)",
        "### Return distributions",
        "![Return distributions of learned and exact policies](laws.png)",
        "### Policies by stock",
        "![Actions in each cell under three stocks](policies.png)",
        "### Numbers",
        *_tables(arm),
    ]


def _values(arm: Mapping[str, Any]) -> Any:
    from jaxrl_reward.report import return_laws as draw

    figure, axes = draw.sheet(2, 3)
    exact_means = [
        float(np.dot(*study.optimal_law("target", study.GRID, -g))) for g in study.REQUESTS
    ]
    panel = axes[0, 0]
    arms: dict[str, Any] = {k: study.mean(arm[f"target {k}"]) for k in ("eta", "frozen")}
    designed = study.mean(arm["target designed"])[:, 0]
    arms["designed"] = (study.DESIGNED["target designed"], designed)
    draw.curves(panel, study.REQUESTS, arms, exact_means, identity=True)
    draw.name(panel, "Target return, grid", "requested return", "realised mean return")
    panel = axes[0, 1]
    draw.curves(panel, study.SCORES, {"eta": arm["rally eta"]["returns"].mean(-1)}, identity=True)
    draw.name(panel, "Target score, rally", "requested score", "realised mean score")
    panel, name = axes[0, 2], "tabular:lotteries"
    lotteries: dict[str, Any] = {
        kind: study.cvar(arm[f"lotteries {kind}"]) for kind in ("eta", "frozen")
    }
    lotteries["designed"] = (0.75, study.cvar(arm["lotteries designed"], (0.75,))[:, 0])
    draw.curves(
        panel, study.TAUS, lotteries, [study.exact_cvar(name, tau)[0] for tau in study.TAUS]
    )
    draw.name(panel, "CVaR, two lotteries", "tau", "CVaR of the return")
    panel, plain = axes[1, 0], arm["cliff dqn"]
    repeated = {
        key: plain[key].repeat(len(study.TAUS), 1) for key in ("values", "weights", "stocks")
    }
    cliff = {"eta": study.cvar(arm["cliff eta"]), "plain DQN": study.cvar(repeated)}
    draw.curves(
        panel, study.TAUS, cliff, [study.exact_cvar(study.CLIFF, tau)[0] for tau in study.TAUS]
    )
    draw.name(panel, "CVaR, windy cliff", "tau", "CVaR of the return")
    panel = axes[1, 1]
    best = study.optimum("reach", study.GRID, [-g for g in study.GOALS])
    draw.curves(panel, study.GOALS, {"eta": study.reached(arm["reach eta"])}, best)
    draw.name(panel, "Reaching a return, grid", "goal g", "P(G >= g)")
    panel = axes[1, 2]
    best = study.optimum("mine", study.MINE, [(0, slack) for slack in study.SLACKS])
    mines = {kind: study.paid(arm[f"mine {kind}"]) for kind in ("eta", "frozen")}
    draw.curves(panel, study.SLACKS, mines, best)
    draw.name(panel, "Constraint, mine", "damage allowed", "earned, less the price")
    return figure


def _laws(arm: Mapping[str, Any]) -> Any:
    """Of the first seed."""
    from jaxrl_reward.report import return_laws as draw

    def first(name: str, i: int) -> tuple[Any, Any]:
        return arm[name]["values"][0, i], arm[name]["weights"][0, i]

    figure, axes = draw.sheet(1, 3)
    at = study.TAUS.index(0.75)
    best = study.optimal_law("lotteries", "tabular:lotteries", -14.0)
    shown = {
        "exact": best,
        "eta": first("lotteries eta", at),
        "frozen": first("lotteries frozen", at),
    }
    draw.bars(axes[0, 0], shown)
    draw.name(axes[0, 0], "Two lotteries, CVaR 0.75", "return", "probability")
    tails = {
        "exact, tau 0.1": study.optimal_law(
            "cliff", study.CLIFF, study.exact_cvar(study.CLIFF, 0.1)[1]
        )
    }
    tails["eta, tau 0.1"] = first("cliff eta", study.TAUS.index(0.1))
    tails["eta, tau 1"] = first("cliff eta", len(study.TAUS) - 1)
    tails["plain DQN"] = first("cliff dqn", 0)
    draw.distributions(axes[0, 1], tails)
    draw.name(axes[0, 1], "Windy cliff", "return", "probability of at most this return")
    axes[0, 1].set_xlim(-80, 0)
    goal = study.GOALS.index(-13)
    reach = {"exact": study.optimal_law("reach", study.GRID, 13.0), "eta": first("reach eta", goal)}
    draw.bars(axes[0, 2], reach)
    draw.name(axes[0, 2], "Grid, P(G >= -13)", "return", "probability")
    return figure


def _policies(arm: Mapping[str, Any]) -> Any:
    """In each cell, of the first seed: under the same stock wherever it is."""
    from jaxrl_reward.report import return_laws as draw

    figure, axes = draw.sheet(4, 3, width=2.9, height=2.1)
    danger = {study.GRID: [(0, 1), (0, 2)], study.CLIFF: [(3, column) for column in range(1, 5)]}
    goals = {study.GRID: (0, 3), study.CLIFF: (3, 5)}
    rows = ((study.GRID, "target", "target eta"), (study.CLIFF, "cliff", "cliff eta"))
    for i, (name, kind, learned) in enumerate(rows):
        size, stocks = study.MAPS[name]
        found = np.asarray(study.exact(kind, name).policy).argmax(-1)
        for j, stock in enumerate(stocks):
            maps = {
                "exact": found[:, study.place(name, stock)],
                "eta": arm[learned]["maps"][0, :, j],
            }
            for k, (who, moves) in enumerate(maps.items()):
                panel = axes[2 * i + k, j]
                cells = dict.fromkeys(danger[name], "#F6D5C3")
                draw.arrows(panel, moves.reshape(size), cells, goals[name])
                what = f"target {-stock:g}" if kind == "target" else f"stock {stock:g}"
                draw.name(panel, f"{what}: {who}")
    return figure


def _tables(arm: Mapping[str, Any]) -> list[str]:
    def cell(values: Any) -> str:
        return f"{np.mean(values):.2f} [{np.min(values):.2f}, {np.max(values):.2f}]"

    requests = [
        (f"{g}", *(cell(study.mean(arm[f"target {kind}"])[:, i]) for kind in ("eta", "frozen")))
        for i, g in enumerate(study.REQUESTS)
    ]
    risks = []
    for i, tau in enumerate(study.TAUS):
        row = [f"{tau:g}"]
        for world_, name in (("lotteries", "tabular:lotteries"), ("cliff", study.CLIFF)):
            row += [
                f"{study.exact_cvar(name, tau)[0]:.2f}",
                cell(study.cvar(arm[f"{world_} eta"])[:, i]),
            ]
            row.append(cell(study.mean(arm[f"{world_} eta"])[:, i]))
        risks.append(tuple(row))
    goals = [
        (f"{g}", f"{best:.2f}", cell(study.reached(arm["reach eta"])[:, i]))
        for i, (g, best) in enumerate(
            zip(
                study.GOALS,
                study.optimum("reach", study.GRID, [-g for g in study.GOALS]),
                strict=True,
            )
        )
    ]
    return [
        "Realised mean return on the grid, mean over seeds [least, largest]:",
        markdown_table(("Requested", "eta", "frozen"), requests),
        "CVaR, and the mean return that it costs:",
        markdown_table(
            ("tau", "lotteries: exact", "eta", "its mean", "cliff: exact", "eta", "its mean"), risks
        ),
        "Probability of at least g on the grid:",
        markdown_table(("g", "exact", "eta"), goals),
    ]
