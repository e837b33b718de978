"""Of the experiment `distributional_dp`: its worlds, exact answers, and laws of what is learned."""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from jaxrl_reward.training.experiments.experiment import Arm

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
    from jaxrl_reward.tabular.returns import functionals

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
    from jaxrl_reward.tabular.returns import distributional

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

    from jaxrl_reward.agents.common import rollout
    from jaxrl_reward.agents.distributional import eta

    states, count = agent.env.environment.mdp.states, stocks.shape[0]
    obs = jnp.eye(states).repeat(count, 0)
    stock = jnp.tile(stocks, (states,) + (1,) * (stocks.ndim - 1))
    if agent.name == "eta":
        seen = eta.inputs(agent.config, obs, stock)
    elif agent.config.placement == "step":
        seen = rollout.policy_input(obs, stock[:, None] / SCALE)
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

    from jaxrl_reward.tabular.returns import forward

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
        state = agent.prepare_eval(state, jax.random.key(2))
        return ask(state, None, state.reward.parts[1].first_low)

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


@cache
def exact_means() -> dict[float, float]:
    """The mean return on the cliff of the policy that is best for CVaR, by tau."""
    laws = {tau: optimal_law("cliff", CLIFF, exact_cvar(CLIFF, tau)[1]) for tau in TAUS}
    return {tau: float((values * weights).sum()) for tau, (values, weights) in laws.items()}
