"""The law of one policy's return from one start, by carrying probability forwards.

Backups give the laws from every state and stock at once. Where one start is
enough, as for a policy that was learned, it is far cheaper to follow where it
leads: without a discount the stock holds what the return is so far.
"""

from functools import partial

import jax
import jax.numpy as jnp

from jaxrl_reward.tabular import checks, numerics
from jaxrl_reward.tabular.returns.laws import Laws
from jaxrl_reward.tabular.returns.stock import add_reward
from jaxrl_reward.tabular.types import MDP, Grid
from jaxrl_reward.types import Array


@checks.arguments(horizon=checks.COUNT)
@partial(jax.jit, static_argnames="horizon")
def law(mdp: MDP, policy: Array, grid: Grid, stock: Array, *, horizon: int) -> Laws:
    """The undiscounted return of a policy that sees the stock, over `horizon` steps.

    Exact if all stocks that are reached are points of the grid; one between
    points is split linearly, which keeps its mean, and what is beyond counts at
    the ends.

    Args:
      mdp: one MDP, which starts as its `start` says.
      policy: probabilities `[S, C, A]`.
      grid: the stocks, C.
      stock: the initial one, `[]` or `[m]`.
      horizon: steps, after which the return ends.

    Returns:
      One law of C particles, those of the grid less the initial stock; `lost` is at
      most the probability that left the grid.
    """
    mdp, policy, grid, stock = numerics.same_type(mdp, policy, grid, stock)
    points = grid.points()
    states, count = mdp.states, grid.size
    after, share, beyond = grid.locate(add_reward(points, mdp.reward))  # [S, A, K, C, J]
    gone = (beyond != 0).any(-1) if points.ndim > 1 else beyond != 0  # [S, A, K, C]
    index = mdp.successor[..., None, None] * count + after
    index = jnp.where(mdp.ends[..., None, None], states * count + after, index)
    # What has ended is one more row, in which nothing happens.
    share = share * mdp.probability[..., None, None]
    share = share * policy.swapaxes(1, 2)[:, :, None, :, None]

    def step(_: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        mass, lost = carry
        moved = share * mass[:states, None, None, :, None]
        empty = jnp.zeros_like(mass).at[states].set(mass[states])
        lost = lost + (moved * gone[..., None]).sum()
        return empty.reshape(-1).at[index].add(moved).reshape(mass.shape), lost

    where, weight, outside = grid.locate(stock)
    begin = jnp.zeros((states + 1, count), points.dtype)
    begin = begin.at[:states, where].add(mdp.start[:, None] * weight[None])
    mass, lost = jax.lax.fori_loop(
        0, horizon, step, (begin, (outside != 0).any().astype(begin.dtype))
    )
    return Laws(points - stock[None], mass.sum(0), jnp.minimum(lost, 1.0))
