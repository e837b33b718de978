"""Of `pareto`: deep-sea treasure under a clock, and policies that improve on it exactly.

A policy has logits for every step, cell and move. They follow the natural policy
gradient, `logits += rate * advantage` (Kakade 2001; for softmax tables it finds the best
policy: Agarwal et al. 2021), with exact advantages: nothing is sampled, and seeds
differ in where the logits start. What an episode pays is judged as a whole, by the
expression: an episode is a treasure and a number of steps, and there are few of these.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward import rewards as rw
from jaxrl_reward.rewards.core import one_step
from jaxrl_reward.tabular import worlds
from jaxrl_reward.training.experiments.experiment import Arm, Measured, Preset
from jaxrl_reward.types import Array

HORIZON = 25
SETTINGS: Mapping[str, Any] = {"weights": 32, "rate": 30.0, "weight_rate": 10.0, "points": 21}


class Sea(NamedTuple):
    """The moves `[S, A]`: where they lead, whether to a treasure, and to which of C."""

    successor: Array
    ends: Array
    place: Array
    values: Array  # of the treasures, [C]
    steps: Array  # the fewest to each, [C]
    start: int

    @property
    def returns(self) -> Array:
        """Of every episode there is, `[HORIZON * C + 1, 2]`: the last one finds nothing."""
        time = -jnp.arange(1.0, HORIZON + 1.0).repeat(len(self.values))
        values = jnp.tile(self.values, HORIZON)
        nothing = jnp.array([[0.0, -HORIZON]])
        return jnp.concatenate([jnp.stack([values, time], 1), nothing])

    def volume(self, steps: Array) -> Array:
        """The hypervolume of treasures found after `steps` `[C]` (infinite: not), as a
        share of the whole front's, above finding nothing."""
        reference = jnp.array([0.0, -HORIZON])

        def of(steps: Array) -> Array:
            points = jnp.stack([self.values, -steps], 1)
            points = jnp.where(jnp.isfinite(steps)[:, None], points, reference[None])
            return rw.hypervolume(points, reference)

        return of(steps) / of(self.steps)


def sea(convex: bool = False) -> Sea:
    """The sea with the concave front, or the other one."""
    mdp = worlds.deep_sea_treasure(convex)
    values = np.sort(worlds.CONVEX_TREASURES if convex else worlds.TREASURES)
    successor, ends = (np.asarray(x)[..., 0] for x in (mdp.successor, mdp.ends))
    paid = np.asarray(mdp.reward)[:, :, 0, 0]
    place = np.where(ends, np.abs(paid[..., None] - values).argmin(-1), 0)
    start = int(np.asarray(mdp.start).argmax())
    steps, here = np.full(len(values), np.inf), np.arange(mdp.states) == start
    for time in range(1, HORIZON + 1):
        found = place[here[:, None] & ends]
        steps[found] = np.minimum(steps[found], time)
        here = np.isin(np.arange(mdp.states), successor[here[:, None] & ~ends])
    return Sea(
        successor=jnp.asarray(successor),
        ends=jnp.asarray(ends),
        place=jnp.asarray(place),
        values=jnp.asarray(values, jnp.float32),
        steps=jnp.asarray(steps, jnp.float32),
        start=start,
    )


def q_values(sea: Sea, policy: Array, pay: Array) -> tuple[Array, Array]:
    """Of a policy `[H, S, A]` that is paid `pay` `[H * C + 1]`: values `[H, S]`, q `[H, S, A]`."""

    def back(values: Array, xs: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        chance, paid = xs
        q = jnp.where(sea.ends, paid[sea.place], values[sea.successor])
        values = (chance * q).sum(-1)
        return values, (values, q)

    last = jnp.broadcast_to(pay[-1], policy.shape[1:2])
    paid = pay[:-1].reshape(HORIZON, -1)
    return jax.lax.scan(back, last, (policy, paid), reverse=True)[1]


def visits(sea: Sea, policy: Array) -> Array:
    """How likely each cell is at each step, `[H, S]`."""

    def step(here: Array, chance: Array) -> tuple[Array, Array]:
        moving = jnp.where(sea.ends, 0.0, here[:, None] * chance)
        return jnp.zeros_like(here).at[sea.successor].add(moving), here

    begin = jnp.zeros(policy.shape[1]).at[sea.start].set(1.0)
    return jax.lax.scan(step, begin, policy)[1]


def greedy(sea: Sea, logits: Array) -> Array:
    """The episode of the likeliest moves, a row of `Sea.returns`."""

    def step(carry: tuple[Array, Array], xs: tuple[Array, Array]) -> tuple[Any, None]:
        cell, episode = carry
        time, table = xs
        move = table[cell].argmax()
        found = sea.ends[cell, move] & (episode == none)
        episode = jnp.where(found, time * len(sea.values) + sea.place[cell, move], episode)
        return (sea.successor[cell, move], episode), None

    none = HORIZON * len(sea.values)
    begin = (jnp.asarray(sea.start, jnp.int32), jnp.int32(none))
    return jax.lax.scan(step, begin, (jnp.arange(HORIZON), logits))[0][1]


def improve(
    key: Array,
    term: rw.RewardTransform,
    weights: Array,
    *,
    sea: Sea,
    moving: rw.RewardTransform | None,
    rate: float,
    weight_rate: float,
    updates: int,
) -> Array:
    """One policy's greedy episodes, before each update and after the last, `[updates + 1]`.

    The expression sees each of them once, as a validation: what it learns of it counts from
    the next update on. With `moving`, a vector reward, its sum by weights that follow
    `gradient_weights` from `weights` on takes the place of `term`.
    """
    episodes = sea.returns

    def update(carry: Any, _: None) -> tuple[Any, Array]:
        logits, state, logs = carry
        now, policy = greedy(sea, logits), jax.nn.softmax(logits)
        if moving is None:
            pay = one_step.judge(term, state, episodes)[1]
            state = one_step.judge(term, state, episodes[now][None])[0]
        else:
            single = one_step.block(episodes)
            parts = moving.apply(moving.init(key, single), single).reward[0]
            gradients = jnp.stack([gradient(policy, parts[:, k]) for k in range(2)])
            logs, found = rw.gradient_weights(logs, gradients, weight_rate)
            traced: Any = (found[0], found[1])
            summed = moving | rw.weighted_sum(weights=traced)
            pay = one_step.judge(summed, one_step.start(summed, key, episodes), episodes)[1]
        values, q = q_values(sea, policy, pay)
        return (logits + rate * (q - values[..., None]), state, logs), now

    def gradient(policy: Array, pay: Array) -> Array:
        values, q = q_values(sea, policy, pay)
        return (visits(sea, policy)[..., None] * policy * (q - values[..., None])).reshape(-1)

    logits = jax.random.normal(key, (HORIZON, *sea.ends.shape))
    carry = (logits, one_step.start(term, key, episodes), jnp.log(weights))
    carry, found = jax.lax.scan(update, carry, None, length=updates)
    return jnp.append(found, greedy(sea, carry[0]))


def summarise(sea: Sea, episodes: Array, at: Array) -> dict[str, Array]:
    """Of the episodes `[W, updates + 1]` of the policies of all weights, at some updates `[P]`."""
    count = len(sea.values)
    place, time = episodes % count, episodes // count + 1.0
    none = episodes == HORIZON * count
    there = jax.nn.one_hot(place, count, dtype=bool) & ~none[..., None]
    time = jnp.where(there, time[..., None], jnp.inf)
    now = time.min(0)  # [updates + 1, C], the fewest steps of any policy
    ever = jax.lax.cummin(now, axis=0)
    front = now <= sea.steps[None]
    on = time <= sea.steps[None, None]
    found = {
        "hypervolume": jax.vmap(sea.volume)(now[at]),
        "archive": jax.vmap(sea.volume)(ever[at]),
        "inner points": front[at, 1:-1].sum(-1).astype(jnp.float32),
        "off the front": 1.0 - on.any(-1).mean(0)[at],
    }
    return found | {f"share of point {k + 1}": on[..., k].mean(0)[at] for k in range(count)}


def measure(
    arms: Sequence[Arm], preset: Preset, keys: Array, tick: Callable[[int, int], None]
) -> Mapping[str, Measured]:
    """For each arm a policy per seed and weight, which all learn side by side."""
    s = {**SETTINGS, **preset.config}
    first = (jnp.arange(s["weights"]) + 0.5) / s["weights"]
    weights = jnp.stack([first, 1.0 - first], 1)
    at = np.unique(np.linspace(0, preset.total_steps, s["points"]).round().astype(int))
    found = {}
    for done, arm in enumerate(arms):
        tick(done, len(arms))
        terms = [rw.parse(arm.reward.format(w=float(w), v=float(v))) for w, v in weights]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *terms)
        numbers = {"rate": s["rate"], "weight_rate": s["weight_rate"]}
        here = sea(arm.config.get("convex", False))
        values = _run(
            *(keys, stacked, weights, here, numbers, jnp.asarray(at)),
            moving=arm.config.get("moving"),
            updates=preset.total_steps,
        )
        found[arm.name] = Measured(values, tuple(map(int, at)))
    tick(len(arms), len(arms))
    return found


@partial(jax.jit, static_argnames=("moving", "updates"))
def _run(
    keys: Array,
    terms: Any,
    weights: Array,
    sea: Sea,
    numbers: Mapping[str, float],
    at: Array,
    *,
    moving: str | None,
    updates: int,
) -> dict[str, Array]:
    """All seeds and weights of one arm; arms of one structure share the program."""
    vector = None if moving is None else rw.parse(moving)
    run = partial(improve, sea=sea, moving=vector, updates=updates, **numbers)

    def one(key: Array) -> dict[str, Array]:
        return summarise(sea, jax.vmap(run, in_axes=(None, 0, 0))(key, terms, weights), at)

    return jax.vmap(one)(keys)
