"""Functionals of the return, by distributional dynamic programming: exact, deep, and without.

Everywhere gamma is 1. Laws of the policies that were learned on finite worlds are
computed exactly, from their actions in every state and stock; only the rally is
played. The arms: `eta` is the agent; `frozen` the same with a stock that does not
follow the rewards, so that it cannot react to luck; `designed` an ordinary DQN
that sees the stock and is paid its utility, for one request; `dqn` a plain one.

The layouts, the schedule and all settings are this file's: those of the paper's
experiments could not be had. They were chosen on seeds 0 and 1.
"""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.training.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    judge,
)
from jaxrl_reward.training.write_up import markdown_table

SOURCE = "Avila Pires et al. 2025, sections 5 to 8"
GRID = "tabular:risky_grid,max_steps_in_episode=30"
CLIFF = "tabular:windy_cliff,max_steps_in_episode=60"
PANTRY = "tabular:pantry,size=3,horizon=10"
MINE = "tabular:mine,horizon=6"
RALLY = "arcade:rally,balls=3"

REQUESTS = tuple(range(-20, -1))  # returns to aim at on the grid
CERTAIN = -5  # the best that can be had for certain there
SCORES = tuple(range(-4, 5))  # to aim at in the rally, of which 3 balls can score -3, -1, 1, 3
TAUS = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
GOALS = (-3, -4, -5, -8, -11, -13, -16, -19)
DESIGNED = {"target designed": -8.0, "lotteries designed": 14.0}  # what is asked of them
SCALE = 10.0
NEEDS = tuple((x, y) for x in range(-8, 9, 4) for y in range(-8, 9, 4))  # deviations at first
MAPS = {GRID: ((3, 4), (3.0, 5.0, 8.0)), CLIFF: ((4, 6), (7.0, 15.0, 30.0))}
SLACKS = (0, 1, 2, 3, 4)
PRICE = 5.0


# ---- what is exact --------------------------------------------------------------------


@cache
def world(name: str) -> Any:
    """The MDP behind an environment's name."""
    import jax

    from jaxrl_reward import envs

    with jax.ensure_compile_time_eval():  # it is kept, whoever asks first
        return envs.make(name).environment.mdp


def horizon(name: str) -> int:
    """How many steps count."""
    return {GRID: 30, CLIFF: 60, PANTRY: 10, MINE: 6}.get(name, 2)


@cache
def shape(name: str) -> tuple[Any, Any]:
    """The stocks and the representation of laws in which a world of integers is exact."""
    import jax

    from jaxrl_reward import tabular

    grids = {
        GRID: ((-10.0, 60.0, 71), tabular.Categorical(-150.0, 0.0, 151)),
        CLIFF: ((-20.0, 140.0, 161), tabular.Categorical(-200.0, 0.0, 201)),
        PANTRY: (((-20.0, -20.0), (20.0, 20.0), (41, 41)), tabular.Particles(2)),
        MINE: (((-8.0, -8.0), (12.0, 8.0), (21, 17)), tabular.Particles(40)),
    }
    ends, representation = grids.get(name, ((-30.0, 15.0, 46), tabular.Particles(16)))
    with jax.ensure_compile_time_eval():
        return tabular.grid(*ends), representation


@cache
def wide(name: str) -> Any:
    """The stocks that a policy, however bad, may reach: laws are carried over these."""
    import jax

    from jaxrl_reward import tabular

    ends = {
        GRID: (-80.0, 60.0, 141),
        CLIFF: (-160.0, 60.0, 221),
        PANTRY: ((-20.0, -20.0), (30.0, 30.0), (51, 51)),
        MINE: ((-2.0, -8.0), (8.0, 8.0), (11, 17)),
    }
    with jax.ensure_compile_time_eval():
        return tabular.grid(*ends.get(name, (-30.0, 40.0, 71)))


def functional(kind: str) -> Any:
    """What an arm is to optimise, by the first word of its name."""
    from jaxrl_reward.tabular import functionals

    made = {
        "target": functionals.target(),
        "reach": functionals.Reach(),
        "pantry": functionals.target(vector=True),
        "mine": functionals.Constrained((PRICE,)),
    }
    return made.get(kind, functionals.shortfall())


@cache
def exact(kind: str, name: str) -> Any:
    """The optimal laws, policies and values from each state and stock."""
    from jaxrl_reward.tabular import distributional

    grid, representation = shape(name)
    settings: dict[str, Any] = {"gamma": 1.0, "iterations": horizon(name), "finite": True}
    return distributional.value_iteration(
        world(name), functional(kind), grid, representation, ties="mean", **settings
    )


@cache
def exact_cvar(name: str, tau: float) -> tuple[float, float]:
    """The best CVaR, and the initial stock of its policy."""
    from jaxrl_reward import tabular

    grid = shape(name)[0]
    found = tabular.cvar(world(name), grid, tau=tau, gamma=1.0, horizon=horizon(name))
    first = start(name)
    return float(found.value[first]), float(found.stock[first])


def start(name: str) -> int:
    """The state in which episodes start."""
    return int(np.argmax(world(name).start))


def place(name: str, stock: Any) -> int:
    """Where a stock is in the grid."""
    points = np.asarray(shape(name)[0].points()).reshape(shape(name)[0].size, -1)
    return int(np.abs(points - np.reshape(stock, (1, -1))).sum(1).argmin())


# ---- what was learned -----------------------------------------------------------------


def actions(agent: Any, state: Any, stocks: Any) -> Any:
    """The greedy actions in every state under stocks `[C]` or `[C, m]`: `[S, C]`."""
    import jax.numpy as jnp

    from jaxrl_reward.agents import eta, rollout

    states, count = agent.env.environment.mdp.states, stocks.shape[0]
    obs = jnp.eye(states).repeat(count, 0)
    stock = jnp.tile(stocks, (states,) + (1,) * (stocks.ndim - 1))
    if agent.name == "eta":
        seen = eta.inputs(agent.config, obs, stock)
    elif agent.config.placement == "step":
        seen = rollout.remember(obs, stock[:, None] / SCALE)
    else:
        seen = obs
    return agent.act(state, seen).reshape(states, count)


def laws(agent: Any, name: str, state: Any, stock: Any, table: Any = None) -> tuple[Any, Any]:
    """The law of the return at the start, from one initial stock: values and weights.

    Args:
      agent: the agent.
      name: its world.
      state: of one seed.
      stock: the initial one. The grid of stocks is moved so that it is a point.
      table: the actions `[S, C]` on the grid, which then is not moved, or `[S, 1]`
        where they do not depend on the stock; they are computed by default.
    """
    import jax
    import jax.numpy as jnp

    from jaxrl_reward.tabular import forward

    grid, mdp = wide(name), world(name)
    if table is None or table.shape[1] == 1:
        grid = grid.replace(low=grid.low + stock - jnp.round(stock))
    if table is None:
        table = actions(agent, state, grid.points())
    table = jnp.broadcast_to(table, (mdp.states, grid.size))
    policy = jax.nn.one_hot(table, mdp.actions)
    found = forward.law(mdp, policy, grid, stock, horizon=horizon(name))
    return found.values, found.weights


def study(arm: Arm, agent: Any, state: Any) -> dict[str, np.ndarray]:
    """What an arm's seeds do when they are asked for each thing in turn.

    Returns:
      Laws of the return, `values[S, R, M(, m)]` and `weights[S, R, M]`, of R
      requests, and the stocks `[S, R(, m)]` that these became; of the rally,
      `returns[S, R, E]`.
    """
    import jax
    import jax.numpy as jnp

    name = arm.env or ""
    if name == RALLY:

        @jax.jit
        @jax.vmap
        def play(state: Any) -> Any:
            ask = lambda score: agent.evaluate(  # noqa: E731
                state.replace(config=state.config.replace(c0=(-score,))), jax.random.key(1), 64
            )[0]
            return jax.lax.map(ask, jnp.array(SCORES, jnp.float32))

        return {"returns": np.asarray(play(state))}

    state = jax.device_put(state, jax.devices()[0])
    kind, frozen = arm.name.split()[0], agent.name == "eta" and not agent.config.tracked
    stocks = {
        "target": [-g for g in REQUESTS],
        "reach": [-g for g in GOALS],
        "pantry": NEEDS,
        "mine": [(0, slack) for slack in SLACKS],
    }
    if agent.name == "dqn":
        stocks[kind] = [-DESIGNED.get(arm.name, 0.0)]

    def ask(state: Any, table: Any, stock: Any) -> dict[str, Any]:
        if frozen:
            table = actions(agent, state, stock[None])
        values, weights = laws(agent, name, state, stock, table)
        return {"values": values, "weights": weights, "stocks": stock}

    def search(state: Any, tau: Any) -> dict[str, Any]:
        state = state.replace(config=state.config.replace(tau=tau))
        return ask(state, None, agent.settle(state, jax.random.key(2)).reward.parts[1].first_low)

    def asked(state: Any) -> dict[str, Any]:
        if kind not in stocks:
            return jax.lax.map(partial(search, state), jnp.array(TAUS))
        table = None if frozen else actions(agent, state, wide(name).points())
        return jax.lax.map(partial(ask, state, table), jnp.array(stocks[kind], jnp.float32))

    found = jax.jit(lambda state: jax.lax.map(asked, state))(state)
    if name in MAPS and agent.name == "eta":
        stocks = jnp.array(MAPS[name][1], jnp.float32)
        found["maps"] = jax.jit(jax.vmap(lambda state: actions(agent, state, stocks)))(state)
    return jax.tree.map(np.asarray, found)


# ---- measures, per seed and request: [S, R] -------------------------------------------


def mean(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean returns."""
    return (found["values"] * found["weights"]).sum(-1)


def distance(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """`E |c + G|`, in the 1-norm of several."""
    several = found["values"].ndim > found["weights"].ndim
    stocks = found["stocks"][:, :, None]
    off = np.abs(found["values"] + stocks)
    return ((off.sum(-1) if several else off) * found["weights"]).sum(-1)


def cvar(found: Mapping[str, np.ndarray], taus: Sequence[float] = TAUS) -> np.ndarray:
    """CVaR of the laws that were asked for at each tau."""
    from jaxrl_reward.tabular import cvar_of

    columns = [
        cvar_of(found["values"][:, i], found["weights"][:, i], tau) for i, tau in enumerate(taus)
    ]
    return np.stack([np.asarray(column) for column in columns], 1)


def reached(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """The probability of at least the return that was asked for."""
    enough = found["values"] >= -found["stocks"][:, :, None] - 1e-3
    return (enough * found["weights"]).sum(-1)


def paid(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """The mine's value: what was earned, less the price of too much damage."""
    total = found["values"] + found["stocks"][:, :, None]
    value = total[..., 0] + PRICE * np.minimum(total[..., 1], 0.0)
    return (value * found["weights"]).sum(-1)


def optimum(kind: str, name: str, stocks: Sequence[Any]) -> np.ndarray:
    """The exact values from the start, `[R]`."""
    values = np.asarray(exact(kind, name).values)[start(name)]
    return values[[place(name, stock) for stock in stocks]]


def optimal_law(kind: str, name: str, stock: Any) -> tuple[np.ndarray, np.ndarray]:
    """Values and weights of an optimal policy's return."""
    found, at = exact(kind, name).laws, (start(name), place(name, stock))
    return np.asarray(found.values[at]), np.asarray(found.weights[at])


# ---- verdicts -------------------------------------------------------------------------


def above(claim: str, what: str, values: Any, limit: float, reverse: bool = False) -> Verdict:
    """Whether values of seeds `[S]` lie above a limit (below it, with `reverse`).

    Judged by the bootstrap interval of their interquartile mean.
    """
    from jaxrl_reward.report import statistics

    found = statistics.stratified_bootstrap(np.asarray(values, np.float64))
    low, high = (found.low, found.high) if not reverse else (-found.high, -found.low)
    status = judge(low, high, -limit if reverse else limit)
    evidence = (
        f"{what}: {found.estimate:.3g}, 95 % interval [{found.low:.3g}, {found.high:.3g}], "
        f"{len(values)} seeds, against {limit:.3g}"
    )
    return Verdict(claim, SOURCE, status, evidence)


def better(claim: str, what: str, x: Any, y: Any, margin: float = 0.0) -> Verdict:
    """Whether the values of one arm's seeds exceed those of another's by a margin."""
    from jaxrl_reward.report import statistics

    found = statistics.difference(np.asarray(x, np.float64), np.asarray(y, np.float64))
    evidence = (
        f"{what}: difference {found.estimate:.3g}, 95 % interval [{found.low:.3g}, "
        f"{found.high:.3g}], against {margin:.3g}"
    )
    return Verdict(claim, SOURCE, judge(found.low, found.high, margin), evidence)


below = partial(above, reverse=True)


def verdict(results: Results) -> Sequence[Verdict]:
    """What the paper's applications need, from the laws of the learned policies."""
    arm = {name: result.study for name, result in results.items()}
    return [*_targets(arm), *_risks(arm), *_others(arm)]


def _targets(arm: Mapping[str, Any]) -> list[Verdict]:
    sure = [i for i, g in enumerate(REQUESTS) if g <= CERTAIN]
    off = np.abs(mean(arm["target eta"]) - np.array(REQUESTS)[None])
    scores = [i for i, g in enumerate(SCORES) if abs(g) in (1, 3)]
    missed = np.abs(arm["rally eta"]["returns"].mean(-1) - np.array(SCORES)[None])
    one = REQUESTS.index(int(DESIGNED["target designed"]))
    distances = {name: distance(arm[name]) for name in arm if name.startswith("target")}
    return [
        below(
            "One network reaches every return that can be had for certain, within one unit",
            f"largest error of the mean return over requests {REQUESTS[0]} to {CERTAIN}",
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
            f"minus the mean distance from {REQUESTS[one]}, eta less designed, margin of a quarter",
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
    at = TAUS.index(0.75)
    best, rare = exact_cvar("tabular:lotteries", 0.75)[0], TAUS.index(0.1)
    risk = {kind: cvar(lotteries[kind])[:, at] for kind in ("eta", "frozen")}
    cliff, plain = arm["cliff eta"], arm["cliff dqn"]
    tail = cvar(cliff)[:, rare]
    neutral = np.asarray(cvar(plain, (0.1,)))[:, 0]
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
            cvar(lotteries["designed"], (0.75,))[:, 0],
            best - 0.1,
        ),
        below(
            "The policy of CVaR 0.1 is not the risk-neutral one: it gives up mean return",
            f"mean return on the cliff at tau 0.1, less that at tau 1; exact "
            f"{_exact_means()[0.1] - _exact_means()[1.0]:.3g}",
            mean(cliff)[:, rare] - mean(cliff)[:, -1],
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
            f"CVaR, {exact_cvar(CLIFF, 0.1)[0]:.4g} at best",
            tail,
            exact_cvar(CLIFF, 0.1)[0] - 1.0,
        ),
    ]


def _others(arm: Mapping[str, Any]) -> list[Verdict]:
    lacking = optimum("reach", GRID, [-g for g in GOALS])[None] - reached(arm["reach eta"])
    needs = optimum("pantry", PANTRY, NEEDS)[None]
    hungry = {kind: -distance(arm[f"pantry {kind}"]) - needs for kind in ("eta", "frozen")}
    dug = {kind: paid(arm[f"mine {kind}"]).mean(1) for kind in ("eta", "frozen")}
    most = optimum("mine", MINE, [(0, slack) for slack in SLACKS]).mean()
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


@cache
def _exact_means() -> dict[float, float]:
    """The mean return on the cliff of the policy that is best for CVaR, by tau."""
    laws = {tau: optimal_law("cliff", CLIFF, exact_cvar(CLIFF, tau)[1]) for tau in TAUS}
    return {tau: float((values * weights).sum()) for tau, (values, weights) in laws.items()}


# ---- what the report shows ------------------------------------------------------------


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
    exact_means = [float(np.dot(*optimal_law("target", GRID, -g))) for g in REQUESTS]
    panel = axes[0, 0]
    arms = {"eta": mean(arm["target eta"]), "frozen": mean(arm["target frozen"])}
    designed = mean(arm["target designed"])[:, 0]
    arms["designed"] = (DESIGNED["target designed"], designed)
    draw.curves(panel, REQUESTS, arms, exact_means, identity=True)
    draw.name(panel, "Target return, grid", "requested return", "realised mean return")
    panel = axes[0, 1]
    draw.curves(panel, SCORES, {"eta": arm["rally eta"]["returns"].mean(-1)}, identity=True)
    draw.name(panel, "Target score, rally", "requested score", "realised mean score")
    panel, name = axes[0, 2], "tabular:lotteries"
    lotteries = {kind: cvar(arm[f"lotteries {kind}"]) for kind in ("eta", "frozen")}
    lotteries["designed"] = (0.75, cvar(arm["lotteries designed"], (0.75,))[:, 0])
    draw.curves(panel, TAUS, lotteries, [exact_cvar(name, tau)[0] for tau in TAUS])
    draw.name(panel, "CVaR, two lotteries", "tau", "CVaR of the return")
    panel, plain = axes[1, 0], arm["cliff dqn"]
    repeated = {key: plain[key].repeat(len(TAUS), 1) for key in ("values", "weights", "stocks")}
    cliff = {"eta": cvar(arm["cliff eta"]), "plain DQN": cvar(repeated)}
    draw.curves(panel, TAUS, cliff, [exact_cvar(CLIFF, tau)[0] for tau in TAUS])
    draw.name(panel, "CVaR, windy cliff", "tau", "CVaR of the return")
    panel = axes[1, 1]
    best = optimum("reach", GRID, [-g for g in GOALS])
    draw.curves(panel, GOALS, {"eta": reached(arm["reach eta"])}, best)
    draw.name(panel, "Reaching a return, grid", "goal g", "P(G >= g)")
    panel = axes[1, 2]
    best = optimum("mine", MINE, [(0, slack) for slack in SLACKS])
    mines = {kind: paid(arm[f"mine {kind}"]) for kind in ("eta", "frozen")}
    draw.curves(panel, SLACKS, mines, best)
    draw.name(panel, "Constraint, mine", "damage allowed", "earned, less the price")
    return figure


def _laws(arm: Mapping[str, Any]) -> Any:
    """Of the first seed."""
    from jaxrl_reward.report import return_laws as draw

    def first(name: str, i: int) -> tuple[Any, Any]:
        return arm[name]["values"][0, i], arm[name]["weights"][0, i]

    figure, axes = draw.sheet(1, 3)
    at = TAUS.index(0.75)
    best = optimal_law("lotteries", "tabular:lotteries", -14.0)
    shown = {
        "exact": best,
        "eta": first("lotteries eta", at),
        "frozen": first("lotteries frozen", at),
    }
    draw.bars(axes[0, 0], shown)
    draw.name(axes[0, 0], "Two lotteries, CVaR 0.75", "return", "probability")
    tails = {"exact, tau 0.1": optimal_law("cliff", CLIFF, exact_cvar(CLIFF, 0.1)[1])}
    tails["eta, tau 0.1"] = first("cliff eta", TAUS.index(0.1))
    tails["eta, tau 1"] = first("cliff eta", len(TAUS) - 1)
    tails["plain DQN"] = first("cliff dqn", 0)
    draw.distributions(axes[0, 1], tails)
    draw.name(axes[0, 1], "Windy cliff", "return", "probability of at most this return")
    axes[0, 1].set_xlim(-80, 0)
    goal = GOALS.index(-13)
    reach = {"exact": optimal_law("reach", GRID, 13.0), "eta": first("reach eta", goal)}
    draw.bars(axes[0, 2], reach)
    draw.name(axes[0, 2], "Grid, P(G >= -13)", "return", "probability")
    return figure


def _policies(arm: Mapping[str, Any]) -> Any:
    """In each cell, of the first seed: under the same stock wherever it is."""
    from jaxrl_reward.report import return_laws as draw

    figure, axes = draw.sheet(4, 3, height=2.2)
    danger = {GRID: [(0, 1), (0, 2)], CLIFF: [(3, column) for column in range(1, 5)]}
    goals = {GRID: (0, 3), CLIFF: (3, 5)}
    rows = ((GRID, "target", "target eta"), (CLIFF, "cliff", "cliff eta"))
    for i, (name, kind, learned) in enumerate(rows):
        size, stocks = MAPS[name]
        found = np.asarray(exact(kind, name).policy).argmax(-1)
        for j, stock in enumerate(stocks):
            maps = {"exact": found[:, place(name, stock)], "eta": arm[learned]["maps"][0, :, j]}
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
        (f"{g}", *(cell(mean(arm[f"target {kind}"])[:, i]) for kind in ("eta", "frozen")))
        for i, g in enumerate(REQUESTS)
    ]
    risks = []
    for i, tau in enumerate(TAUS):
        row = [f"{tau:g}"]
        for world_, name in (("lotteries", "tabular:lotteries"), ("cliff", CLIFF)):
            row += [f"{exact_cvar(name, tau)[0]:.2f}", cell(cvar(arm[f"{world_} eta"])[:, i])]
            row.append(cell(mean(arm[f"{world_} eta"])[:, i]))
        risks.append(tuple(row))
    goals = [
        (f"{g}", f"{best:.2f}", cell(reached(arm["reach eta"])[:, i]))
        for i, (g, best) in enumerate(
            zip(GOALS, optimum("reach", GRID, [-g for g in GOALS]), strict=True)
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


# ---- what is trained ------------------------------------------------------------------

_AIM = {"objective": "target", "c0": (8.0,), "stock_low": (-10.0,), "stock_high": (25.0,)}
_DRAW = {"objective": "cvar", "tau": 0.75, "stock_low": (-22.0,), "stock_high": (12.0,)}
_EDGE = {"objective": "cvar", "tau": 0.1, "stock_low": (-10.0,), "stock_high": (50.0,)}
_EDGE = {**_EDGE, "quantiles": 64}
_KEEP = {"objective": "target", "stocks": 2, "stock_low": (-12.0,), "stock_high": (12.0,)}
_KEEP = {**_KEEP, "c0": (-4.0, 4.0)}
_DIG = {"objective": "constrained", "price": PRICE, "stocks": 2, "c0": (0.0, 1.0)}
_DIG = {**_DIG, "stock_low": (-7.0,), "stock_high": (7.0,)}
_FROZEN = {"tracked": False}
_SEES = {"placement": "step", "n_step": 1, "quantiles": 32, "huber_delta": 0.1, "batch_size": 256}
_SEES = {**_SEES, "updates": 1}
_PLAIN = {**_SEES, "placement": "block"}
_TINY = {"learning_starts": 64, "buffer_size": 1024, "batch_size": 16}


def _utility(stock: float, right: float) -> str:
    return f"env | stock_utility(c0={stock:g}, gamma=1, scale={SCALE:g}, right={right:g})"


experiment = Experiment(
    name="distributional_dp",
    title="Optimising return distributions with stocks",
    claim="With a stock, distributional dynamic programming optimises functionals of the return",
    source=SOURCE,
    env=GRID,
    agent="eta",
    arms=(
        Arm("target eta", env=GRID, config=_AIM),
        Arm("target frozen", env=GRID, config={**_AIM, **_FROZEN}, share=0.5),
        Arm("target designed", _utility(8, -1), "dqn", GRID, _SEES, share=0.5),
        Arm(
            "rally eta",
            env=RALLY,
            config={**_AIM, "c0": (-1.0,), "stock_low": (-5.0,), "stock_high": (5.0,)},
        ),
        Arm("lotteries eta", env="tabular:lotteries", config=_DRAW, share=0.4),
        Arm("lotteries frozen", env="tabular:lotteries", config={**_DRAW, **_FROZEN}, share=0.4),
        Arm("lotteries designed", _utility(-14, 0), "dqn", "tabular:lotteries", _SEES, share=0.4),
        Arm("cliff eta", env=CLIFF, config=_EDGE, share=1.75),
        Arm("cliff dqn", "env", "dqn", CLIFF, _PLAIN),
        Arm("reach eta", env=GRID, config={**_AIM, "objective": "reach", "slack": 0.5}),
        Arm("pantry eta", env=PANTRY, config=_KEEP, share=1.0),
        Arm("pantry frozen", env=PANTRY, config={**_KEEP, **_FROZEN}, share=0.5),
        Arm("mine eta", env=MINE, config=_DIG, share=0.6),
        Arm("mine frozen", env=MINE, config={**_DIG, **_FROZEN}, share=0.6),
    ),
    presets={
        "smoke": Preset(seeds=2, total_steps=640, evals=1, eval_episodes=2, config=_TINY),
        "quick": Preset(seeds=4, total_steps=40_000, seed=100, evals=1, eval_episodes=64),
        "paper": Preset(seeds=20, total_steps=400_000, seed=100, evals=4, eval_episodes=256),
    },
    config={"gamma": 1.0, "epsilon_steps": 12_000.0},
    verdict=verdict,
    study=study,
    present=present,
)
