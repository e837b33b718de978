"""What a policy could reach at best: exact values of small tasks, and searches.

Everything here runs on the host, before or after training. Values of policies
are differentiable, so they are exact gradients too.
"""

import itertools
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.submodular.base import SetFunction
from jaxrl_reward.submodular.tasks import Task
from jaxrl_reward.types import Array, UserError

MOST = 100_000  # trajectories, or policies, that are looked at one by one


class Trajectories(NamedTuple):
    """Every trajectory of a task, M of them.

    Attributes:
      cells: `[M, H]`, the start first.
      actions: `[M, H - 1]`.
      law: the probability of the outcomes, given the actions, `[M]`.
      value: F, `[M]`.
    """

    cells: np.ndarray
    actions: np.ndarray
    law: np.ndarray
    value: np.ndarray


class Found(NamedTuple):
    """The best walk that a search has found.

    Attributes:
      value: its F.
      actions: `[H - 1]`.
      cells: `[H]`, the start first.
    """

    value: float
    actions: np.ndarray
    cells: np.ndarray


# ---- exact, for small tasks -------------------------------------------------------


def trajectories(task: Task, slip: float = 0.0) -> Trajectories:
    """All trajectories that can happen, with F from its definition.

    Args:
      task: a small one.
      slip: how likely the action is replaced by one drawn uniformly.

    Raises:
      UserError: there are more than `MOST`.
    """
    law = task.law(slip)
    paths: list[tuple[tuple[int, ...], tuple[int, ...], float]] = [((task.start,), (), 1.0)]
    for _ in range(task.steps):
        if len(paths) > MOST:
            raise UserError(f"more than {MOST} trajectories; exact values are for smaller tasks")
        paths = [
            ((*cells, int(to)), (*actions, a), p * law[cells[-1], a, to])
            for cells, actions, p in paths
            for a in range(task.actions)
            for to in np.flatnonzero(law[cells[-1], a])
        ]
    value = cache(lambda visited: task.function.evaluate(visited))
    cells, actions, probability = zip(*paths, strict=True)
    values = np.array([value(tuple(sorted(each))) for each in cells])
    return Trajectories(np.array(cells), np.array(actions), np.array(probability), values)


def value(played: Trajectories, policy: Any) -> Array:
    """The expected F of a policy that sees the time and the cell.

    Args:
      played: all trajectories.
      policy: probabilities of actions, `[H - 1, n, A]`.
    """
    steps = np.arange(played.actions.shape[1])[None]
    chosen = policy[steps, played.cells[:, :-1], played.actions]
    return (played.law * played.value * chosen.prod(1)).sum()


def uniform(task: Task) -> np.ndarray:
    """The policy that draws its actions uniformly, `[H - 1, n, A]`."""
    return np.full((task.steps, task.cells, task.actions), 1 / task.actions)


def optimum(task: Task, slip: float = 0.0) -> float:
    """The best expected F of any policy, which may remember all: expectimax.

    Raises:
      UserError: there are more than `MOST` histories.
    """
    law = task.law(slip)
    seen = itertools.count()

    @cache
    def best(cell: int, visited: tuple[int, ...]) -> float:
        if len(visited) == task.steps + 1:
            return task.function.evaluate(visited)
        if next(seen) > MOST:
            raise UserError(f"more than {MOST} histories; exact values are for smaller tasks")
        return max(
            sum(
                law[cell, a, to] * best(int(to), tuple(sorted((*visited, int(to)))))
                for to in np.flatnonzero(law[cell, a])
            )
            for a in range(task.actions)
        )

    return float(best(task.start, (task.start,)))


def best_markov(task: Task, slip: float = 0.0) -> float:
    """The best expected F of a policy that sees the time and the cell.

    Raises:
      UserError: there are more than `MOST` deterministic ones.
    """
    return _best(task, slip, lambda cells: cells)


def best_open_loop(task: Task, slip: float = 0.0) -> float:
    """The best expected F of a policy that sees the time alone.

    Raises:
      UserError: there are more than `MOST` deterministic ones.
    """
    return _best(task, slip, np.zeros_like)


def _best(task: Task, slip: float, see: Callable[[np.ndarray], np.ndarray]) -> float:
    """Tries all deterministic policies: F is linear in the choice at each time and cell."""
    played = trajectories(task, slip)
    times = np.broadcast_to(np.arange(task.steps), played.actions.shape)
    seen = np.stack([times, see(played.cells[:, :-1])], -1).reshape(-1, 2)
    seen, which = np.unique(seen, axis=0, return_inverse=True)
    which = which.reshape(played.actions.shape)
    if task.actions ** len(seen) > MOST:
        raise UserError(f"more than {MOST} policies; exact values are for smaller tasks")
    weight = played.law * played.value
    choices = itertools.product(range(task.actions), repeat=len(seen))
    return max(
        float(weight[(np.array(choice)[which] == played.actions).all(1)].sum())
        for choice in choices
    )


# ---- searches, where actions have one outcome -------------------------------------


def enumerate_walks(task: Task) -> tuple[Found, int, int]:
    """The best walk, how many are as good, and how many there are."""
    played = trajectories(task)
    best = int(played.value.argmax())
    found = Found(float(played.value[best]), played.actions[best], played.cells[best])
    return found, int((played.value >= found.value - 1e-9).sum()), len(played.value)


def greedy(task: Task) -> Found:
    """The walk that takes the largest next gain at every step; of equals, the first action."""
    return beam(task, 1)


def beam(task: Task, width: int) -> Found:
    """The best walk of a beam search.

    Of walks that end in the same cell and with the same view of their memory one
    is kept, and of those the `width` best; of equals the first.

    Args:
      task: one whose actions have one outcome each.
      width: how many walks to keep.

    Raises:
      UserError: the task has random outcomes.
    """
    successor = _certain(task)
    function = jax.tree.map(jnp.asarray, task.function)
    cells = np.array([[task.start]])
    actions = np.zeros((1, 0), int)
    memory = jax.tree.map(lambda x: np.asarray(x)[None], function.start(jnp.int32(task.start)))
    for _ in range(task.steps):
        count = len(cells)
        parent, action = np.divmod(np.arange(width * task.actions), task.actions)
        alive, parent = parent < count, np.minimum(parent, count - 1)
        to = successor[cells[parent, -1], action]
        # Rows beyond the living ones come last, and are there to keep the shapes.
        memory = jax.tree.map(lambda x, p=parent: x[p], memory)
        memory, total, view = jax.tree.map(np.asarray, _grow(function, memory, to))
        keys = np.concatenate([to[:, None], view], 1)
        order = np.sort(np.unique(keys[alive], axis=0, return_index=True)[1])
        kept = order[np.argsort(-total[order], kind="stable")][:width]
        cells = np.concatenate([cells[parent[kept]], to[kept][:, None]], 1)
        actions = np.concatenate([actions[parent[kept]], action[kept][:, None]], 1)
        memory, total = jax.tree.map(lambda x, k=kept: x[k], (memory, total))
    return Found(float(total[0]), actions[0], cells[0])


@jax.jit
def _grow(function: SetFunction, memory: Any, elements: Array) -> tuple[Any, Array, Array]:
    """Every memory with its element in it, F, and what a policy would see of it."""
    memory = jax.vmap(function.gain)(memory, elements)[1]
    return memory, jax.vmap(function.value)(memory), jax.vmap(function.view)(memory)


class Modular(NamedTuple):
    """The best policy for the sum of F of single cells.

    Attributes:
      value: the best sum, the start included.
      policy: probabilities of actions, `[H - 1, n, A]`, the first of the best.
    """

    value: float
    policy: np.ndarray


def modular(task: Task, slip: float = 0.0) -> Modular:
    """Value iteration over the horizon on the reward F({cell}): what a revisit pays again."""
    single = np.asarray(jax.jit(jax.vmap(task.function.single))(jnp.arange(task.cells)), float)
    after, policy = np.zeros(task.cells), uniform(task) * 0
    everywhere = np.arange(task.cells)
    for h in reversed(range(task.steps)):
        outcomes = (task.probability * (single + after)[task.successor]).sum(-1)
        ahead = (1 - slip) * outcomes + slip * outcomes.mean(1, keepdims=True)
        policy[h, everywhere, ahead.argmax(1)] = 1
        after = ahead.max(1)
    return Modular(float(single[task.start] + after[task.start]), policy)


def walk(task: Task, policy: np.ndarray) -> Found:
    """Where a deterministic policy `[H - 1, n, A]` leads, and its F."""
    successor, cells, actions = _certain(task), [task.start], []
    for h in range(task.steps):
        actions.append(int(policy[h, cells[-1]].argmax()))
        cells.append(int(successor[cells[-1], actions[-1]]))
    return Found(task.function.evaluate(cells), np.array(actions), np.array(cells))


def _certain(task: Task) -> np.ndarray:
    """Where actions lead, `[n, A]`.

    Raises:
      UserError: one has several outcomes.
    """
    if (task.probability.max(-1) < 1).any():
        raise UserError("a search needs actions with one outcome each")
    best = task.probability.argmax(-1)[..., None]
    return np.take_along_axis(task.successor, best, -1)[..., 0]
