"""Of `preferences`: small worlds, raters of two kinds, and rewards that are fitted to them.

A world's last state is its end: it pays nothing, for ever, and everyone knows that. A
segment is a few steps of a random policy. The transitions are known, so that planning is
exact: fitted are the rewards of state and action, by the labels of the first n pairs.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrl_reward import tabular
from jaxrl_reward.preferences import labels, losses, segments
from jaxrl_reward.tabular import MDP, planning
from jaxrl_reward.training.experiments.experiment import Arm, Measured, Preset
from jaxrl_reward.types import Array

GAMMA, SOFTNESS, BACKUPS = 0.9, 0.05, 40
SETTINGS: Mapping[str, Any] = {"steps": 200, "learning_rate": 0.1, "decay": 0.001}
COUNTS = (3, 10, 30, 100, 300, 1000)


def garnet(key: Array, states: int = 12, actions: int = 3, ending: float = 0.1) -> MDP:
    """A random MDP whose outcomes lead to the end with probability `ending`, all rewards
    raised or lowered by one constant: whether it is good to go on differs."""
    one, two, three = jax.random.split(key, 3)
    drawn = tabular.garnet(one, states, actions, 2)
    ends = jax.random.bernoulli(two, ending, drawn.successor.shape)
    successor = jnp.where(ends, jnp.int32(states), drawn.successor)
    successor = jnp.concatenate([successor, jnp.full_like(successor[:1], states)])
    grow = lambda x: jnp.concatenate([x, jnp.ones_like(x[:1]) / x.shape[-1]])  # noqa: E731
    rewards = drawn.reward[..., 0] + jax.random.normal(three)
    start = jnp.append(drawn.start, 0.0)
    made = MDP(grow(drawn.probability), successor, successor * 0.0, successor < 0, start)
    return paying(made, jnp.append(rewards, jnp.zeros((1, actions)), 0))


def road(key: Array, cells: int = 6) -> MDP:
    """A road to the end: back or on. Every step costs 1, or earns 1, by chance."""
    at = jnp.arange(cells + 1, dtype=jnp.int32)
    successor = jnp.stack([jnp.maximum(at - 1, 0), jnp.minimum(at + 1, cells)], 1)[..., None]
    successor = jnp.where(at[:, None, None] == cells, cells, successor)
    sure = jnp.ones(successor.shape)
    start = jnp.where(at < cells, 1.0 / cells, 0.0)
    made = MDP(sure, successor, sure, successor < 0, start)
    worth = jnp.where(jax.random.bernoulli(key), 1.0, -1.0)
    return paying(
        made, jnp.broadcast_to(jnp.where(at < cells, worth, 0.0)[:, None], (cells + 1, 2))
    )


WORLDS: Mapping[str, Callable[[Array], MDP]] = {"garnet": garnet, "road": road}


def paying(mdp: MDP, rewards: Array) -> MDP:
    """The world with rewards `[S, A]`; its end pays nothing."""
    rewards = rewards.at[-1].set(0.0)
    return mdp.replace(reward=jnp.broadcast_to(rewards[..., None], mdp.probability.shape))


def walk(key: Array, mdp: MDP, count: int, length: int) -> Array:
    """Segments of a random policy from random states: how often each takes a step, `[B, S * A]`."""

    def step(state: Array, key: Array) -> tuple[Array, Array]:
        act, fall = jax.random.split(key)
        action = jax.random.randint(act, state.shape, 0, mdp.actions)
        outcome = jax.random.categorical(fall, jnp.log(mdp.probability[state, action]))
        return mdp.successor[state, action, outcome], state * mdp.actions + action

    begin, key = jax.random.split(key)
    states = jax.random.randint(begin, (count,), 0, mdp.states - 1)
    _, steps = jax.lax.scan(step, states, jax.random.split(key, length))
    return jax.nn.one_hot(steps, mdp.states * mdp.actions).sum(0)


def steps(mdp: MDP) -> tuple[Array, Array]:
    """All segments of one step, states and actions `[S * A, 1]`; what a longer one is worth
    is the sum over its steps, by either model."""
    states, actions = jnp.arange(mdp.states), jnp.arange(mdp.actions)
    return states.repeat(mdp.actions)[:, None], jnp.tile(actions, mdp.states)[:, None]


def partial_return(mdp: MDP) -> Array:
    """How good steps are by their rewards, `[S * A]`."""
    states, actions = steps(mdp)
    return segments.partial_return(mdp.reward[states, actions, 0])


def regret(mdp: MDP) -> Array:
    """How good they are by what they forgo, `[S * A]`; the optimum is a soft one, for gradients."""
    values, q = segments.soft_values(mdp, GAMMA, SOFTNESS, BACKUPS)
    return -segments.regret(values, q, *steps(mdp))


MODELS = {"partial return": partial_return, "regret": regret}


def fit(mdp: MDP, model: Any, pairs: Array, label: Array, count: Array, s: Any) -> MDP:
    """The world with the rewards that explain the first `count` labels best, by Adam.

    Args:
      mdp: the world, but for its rewards.
      model: one of `MODELS`.
      pairs: steps of the first segment less those of the second, `[B, S * A]`.
      label: of each pair, `[B]`.
      count: how many are known.
      s: the settings.
    """
    known = (jnp.arange(label.shape[0]) < count).astype(jnp.float32)
    optimiser = optax.adam(s["learning_rate"])

    def loss(rewards: Array) -> Array:
        each = losses.bradley_terry(pairs @ model(paying(mdp, rewards)), label)
        return (each * known).sum() / known.sum() + s["decay"] * (rewards**2).sum()

    def step(carry: Any, _: None) -> tuple[Any, None]:
        rewards, state = carry
        change, state = optimiser.update(jax.grad(loss)(rewards), state)
        return (optax.apply_updates(rewards, change), state), None

    zero = jnp.zeros(mdp.probability.shape[:2])
    (rewards, _), _ = jax.lax.scan(step, (zero, optimiser.init(zero)), None, length=s["steps"])
    return paying(mdp, rewards)


def scaled_return(truth: MDP, fitted: MDP) -> Array:
    """Of the policy that is best by the fitted rewards: 0 as random, 1 as the best; least -1."""

    def value(policy: Array) -> Array:
        return truth.start @ planning.evaluate(truth, policy, GAMMA)

    def best(mdp: MDP) -> Array:
        actions = planning.value_iteration(mdp, GAMMA).q.argmax(-1)
        return value(jax.nn.one_hot(actions, mdp.actions))

    random = value(jnp.full(truth.probability.shape[:2], 1.0 / truth.actions))
    return jnp.maximum((best(fitted) - random) / (best(truth) - random), -1.0)


def draw(key: Array, world: str, length: int) -> tuple[MDP, Array]:
    """A world, and pairs of segments in it."""
    keys = jax.random.split(key, 3)
    truth = WORLDS[world](keys[0])
    first, second = (walk(k, truth, COUNTS[-1], length) for k in keys[1:])
    return truth, first - second


def learn(
    key: Array, truth: MDP, pairs: Array, *, rater: Any, model: Any, counts: Array, s: Any
) -> Array:
    """What policies earn that were learnt from the first so many labels, `[P]`."""
    label = labels.bradley_terry(jax.random.fold_in(key, 1), pairs @ rater(truth))
    fitted = jax.vmap(lambda count: fit(truth, model, pairs, label, count, s))(counts)
    return jax.vmap(lambda mdp: scaled_return(truth, mdp))(fitted)


def measure(
    arms: Sequence[Arm], preset: Preset, keys: Array, tick: Callable[[int, int], None]
) -> Mapping[str, Measured]:
    """Every arm in the same worlds, with the same pairs of segments."""
    s = {**SETTINGS, **preset.config}
    counts = [n for n in COUNTS if n <= preset.total_steps]
    worlds, found = {}, {}
    for done, arm in enumerate(arms):
        tick(done, len(arms))
        place = arm.config["world"], arm.config["length"]
        if place not in worlds:
            worlds[place] = jax.jit(jax.vmap(partial(draw, world=place[0], length=place[1])))(keys)
        how = {"rater": MODELS[arm.config["labels"]], "model": MODELS[arm.config["model"]]}
        run = jax.jit(jax.vmap(partial(learn, **how, counts=jnp.array(counts), s=s)))
        values = np.asarray(run(keys, *worlds[place]))
        found[arm.name] = Measured({"scaled return": values}, counts)
    tick(len(arms), len(arms))
    return found
