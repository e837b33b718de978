"""Episodes of a finite MDP, played in one program: what small learners learn from."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import Array


class Episodes(NamedTuple):
    """B episodes of at most H steps, each leaf `[H, B]`.

    Attributes:
      state: before the step, int32.
      action: int32.
      outcome: which of the action's outcomes came about, int32.
      successor: the state after it, int32.
      ends: whether the episode ended with it (not by the clock).
      live: 1 in steps that were played, 0 after the end, float32.
    """

    state: Array
    action: Array
    outcome: Array
    successor: Array
    ends: Array
    live: Array

    def of(self, table: Array) -> Array:
        """What a table `[S, A, K]` has for each step, 0 after the end."""
        return self.live * table[self.state, self.action, self.outcome]


def play(key: Array, mdp: MDP, policy: Array, horizon: int, count: int) -> Episodes:
    """Plays `count` episodes of `horizon` steps by a policy `[S, A]`, from `mdp.start`."""
    key_start, key_steps = jax.random.split(key)
    starts = jnp.broadcast_to(jnp.cumsum(mdp.start), (count, mdp.states))
    start = draw(starts, jax.random.uniform(key_start, (count,)))
    choices, chances = jnp.cumsum(policy, -1), jnp.cumsum(mdp.probability, -1)

    def step(carry: tuple[Array, Array], chance: Array) -> tuple[tuple[Array, Array], Episodes]:
        state, live = carry
        action = draw(choices[state], chance[0])
        outcome = draw(chances[state, action], chance[1])
        at = (state, action, outcome)
        after, ends = mdp.successor[at], mdp.ends[at]
        return (after, live * (1.0 - ends)), Episodes(*at, after, ends, live)

    chance = jax.random.uniform(key_steps, (horizon, 2, count))
    return jax.lax.scan(step, (start, jnp.ones(count)), chance)[1]


def draw(cumulative: Array, chance: Array) -> Array:
    """An index by its cumulative probabilities `[..., K]` and uniform numbers `[...]`, int32."""
    # Against the sum itself, which rounding leaves a little off 1, no index is beyond the last.
    below = cumulative <= (chance * cumulative[..., -1])[..., None]
    return jnp.minimum(below.sum(-1, dtype=jnp.int32), cumulative.shape[-1] - 1)


def returns(reward: Array, gamma: Array | float) -> Array:
    """The discounted sum of the rewards `[H, B]` from each step on."""

    def back(later: Array, reward: Array) -> tuple[Array, Array]:
        total = reward + gamma * later
        return total, total

    return jax.lax.scan(back, jnp.zeros_like(reward[0]), reward, reverse=True)[1]


def expected_return(mdp: MDP, policy: Array, gamma: Array | float, horizon: int) -> Array:
    """The exact discounted return of a policy `[S, A]` over `horizon` steps, a scalar."""
    reward = (policy * mdp.expected_reward()).sum(-1)
    step = mdp.under(policy)

    def back(values: Array, _: None) -> tuple[Array, None]:
        return reward + gamma * step @ values, None

    values = jax.lax.scan(back, jnp.zeros(mdp.states), None, length=horizon)[0]
    return mdp.start @ values
