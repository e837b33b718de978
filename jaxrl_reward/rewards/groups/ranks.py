"""Returns from comparisons within a group: win rates, preferences, tournaments.

Only the order counts, so a judge whose scores lie close together is not blown up.
"""

import math
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.intervals import Interval
from jaxrl_reward.rewards.core.base import Applied, State, no_state, static
from jaxrl_reward.rewards.core.checks import NotNegative, Several
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.groups.ways import Grouped, Groups, grouped, groups_of, paid
from jaxrl_reward.rewards.transforms.corrupted import numbered_key
from jaxrl_reward.types import Array, Transition, UserError


@grouped
def group_win_rate(block: Transition, groups: Groups) -> Array:
    """`(wins + ties / 2) / (G - 1)` against the others of the group, a higher return wins.

    The reward of SPO (Swamy et al. 2024) and of Pref-GRPO (2025) for a judge who compares
    scores; 0.5 for a group of one. See `win_rate` for one's own past as the opponent.
    """
    won = groups.below(groups.total(block.reward), groups.rounding(block.reward))
    size = groups.size()
    return jnp.where(size > 1, won / jnp.maximum(size - 1.0, 1.0), 0.5)


CYCLE = ((0.5, 1.0, 0.0), (0.0, 0.5, 1.0), (1.0, 0.0, 0.5))


@register("preferred", {"table": CYCLE})
class preferred(Grouped):  # noqa: N801
    """The mean preference over the others of the group, by what each one did: 0, 1, ...

    SPO (Swamy et al. 2024): `table[i][j]` is how often i is preferred to j, so that
    `table[i][j] + table[j][i] = 1`, and the episode's return is the number i of what it
    did. A preference need not be an order: where each of three beats another, no scores
    describe it, and the policy that no other beats plays all three.
    """

    table: Annotated[tuple[tuple[float, ...], ...], Interval(0, 1)] = static()

    def validate(self) -> None:
        square = all(np.shape(row) == (len(self.table),) for row in self.table)
        table = np.asarray(self.table, np.float32) if square else np.zeros(1)
        if not np.allclose(table + table.T, 1.0):
            raise UserError("preferred needs a square table with table[i][j] + table[j][i] = 1")

    def rule(self, block: Transition, groups: Groups) -> Array:
        table = jnp.asarray(self.table, jnp.float32)
        did = jax.nn.one_hot(groups.total(block.reward).astype(jnp.int32), table.shape[0])
        others = groups.sum(did) - did
        return (did @ table * others).sum(1) / jnp.maximum(groups.size() - 1.0, 1.0)


@register("tournament", {"size": 3})
class tournament(Grouped):  # noqa: N801
    """`1 - place / (G - 1)` by a seeded knock-out among `size` = G episodes, the best is place 0.

    ArenaRL (2026). All meet the group's first, which gives their seeds; then by the
    usual bracket (the best against the worst) the winners meet until one is left. Places
    go by the round in which one lost, and within a round by the mean score so far. A
    judge's scores in a comparison are the returns, each with noise of deviation
    `noise`, drawn anew; `2 G - 2` comparisons, where all pairs were `G (G - 1) / 2`.
    Groups are `size` environments side by side.
    """

    size: Several = static()
    noise: NotNegative = 0.0
    ordered = True

    def init(self, key: Array, example: Transition) -> State:
        if example.first.shape[1] % self.size:
            envs = example.first.shape[1]
            raise UserError(f"{self}: {envs} environments are no multiple of {self.size}")
        return no_state(example, (jax.random.key_data(key), jnp.uint32(0)))

    def apply(self, state: State, block: Transition) -> Applied:
        groups, (own, count) = groups_of(block), state.shared
        scores = groups.total(block.reward).reshape(-1, self.size)
        rows = jnp.arange(scores.shape[0], dtype=jnp.uint32)
        keys = jax.vmap(lambda row: numbered_key(own, count, row))(rows)
        places = jax.vmap(self._places)(keys, scores).reshape(-1)
        earned = 1.0 - places / (self.size - 1.0)
        return Applied(state.replace(shared=(own, count + 1)), paid(earned, groups), {}, ())

    def _places(self, key: Array, scores: Array) -> Array:
        """The places of one group, `[G]`."""
        size, rounds = self.size, math.ceil(math.log2(self.size))
        slots = 2**rounds
        keys = jax.random.split(key, rounds + 1)
        # Everyone meets the first, whose own score is the mean of what it got.
        seen = scores + self.noise * jax.random.normal(keys[0], (size,))
        first = scores[0] + self.noise * jax.random.normal(keys[-1], (size,))
        seen = seen.at[0].set(first[1:].mean())
        ranked = jnp.argsort(-seen, stable=True)
        total, count = seen, jnp.ones(size)
        lost = jnp.full(size, rounds)
        bracket = jnp.asarray(_bracket(slots))
        # A slot beyond the group is a bye: number G, which loses every comparison.
        now = jnp.where(bracket < size, ranked[jnp.minimum(bracket, size - 1)], size)
        for i in range(rounds):
            pairs = now.reshape(-1, 2)
            there = (pairs < size).all(1)
            draws = self.noise * jax.random.normal(keys[1 + i], pairs.shape)
            known = jnp.append(scores, -jnp.inf)[pairs] + draws
            wins = known[:, 0] >= known[:, 1]
            loser = jnp.where(there, jnp.where(wins, pairs[:, 1], pairs[:, 0]), size)
            lost = lost.at[loser].set(i, mode="drop")
            met = jnp.where(there[:, None], pairs, size).reshape(-1)
            total = total.at[met].add(known.reshape(-1), mode="drop")
            count = count.at[met].add(1.0, mode="drop")
            now = jnp.where(wins, pairs[:, 0], pairs[:, 1])
        order = jnp.lexsort((-total / count, -lost))
        return jnp.zeros(size).at[order].set(jnp.arange(size, dtype=jnp.float32))


def _bracket(slots: int) -> Any:
    """The seeds in the order in which neighbours meet: 0 and 3, 2 and 1 among four."""
    order = [0]
    while len(order) < slots:
        order = [seed for i in order for seed in (i, 2 * len(order) - 1 - i)]
    return np.asarray(order)
