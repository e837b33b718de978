"""What every agent must keep, over two short iterations."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxrl_reward.envs import masks, spaces
from jaxrl_reward.envs.bounds import limits
from jaxrl_reward.testing.same import LawError, same, types
from jaxrl_reward.types import Mean, UserError

SEEDS = (0, 1, 2)
QUICK: Any = {"xla_backend_optimization_level": 0}


def check_agent(agent: Any, *, iterations: int = 2, beside: bool = True) -> None:
    """Tries what an agent must keep. Give it a small one: programs are compiled.

    A state that a loop can carry; metrics that are `Mean`s of scalars and finite; the same
    run from the same key; seeds side by side that do not know of each other; actions that
    lie in their space; evaluations of as many episodes as are asked for.

    Args:
      agent: as `agents.make` gives it.
      iterations: of each run.
      beside: whether to try seeds side by side, which are another program.

    Raises:
      UserError: this is no agent.
      LawError: a law does not hold.
    """
    if not hasattr(agent, "iterate"):
        raise UserError(f"check_agent takes an agent, as agents.make gives, not {agent!r}")
    _check_types(agent)
    key, other, third = (jax.random.key(seed) for seed in SEEDS)
    run = _runner(agent, iterations, lambda function: function)
    one = run(key)
    same(f"{agent.name}: the same key gives the same run", run(key), one, 0.0)
    if beside:
        # The same program with another neighbour: alone it is another, which rounds otherwise.
        runs = _runner(agent, iterations, jax.vmap)
        both = [runs(jax.numpy.stack([key, each])) for each in (other, third)]
        first, again = (jax.tree.map(lambda x: x[0], each) for each in both)
        same(f"{agent.name}: seeds side by side do not know of each other", again, first, 0.0)
    _check_metrics(agent, one[1])
    _check_playing(agent, one[0])


def _runner(agent: Any, iterations: int, over: Callable[..., Any]) -> Callable[[Any], Any]:
    """What gives the state and the metrics after some iterations from a key."""
    data = () if agent.data is None else (agent.data,)
    begin = jax.jit(over(agent.init), compiler_options=QUICK)
    iterate = jax.jit(over(lambda state: agent.iterate(state, *data)), compiler_options=QUICK)

    def run(key: Any) -> Any:
        state, metrics = begin(key), {}
        for _ in range(iterations):
            state, metrics = iterate(state)
        return state, metrics

    return run


def _check_types(agent: Any) -> None:
    """A scan can carry the state."""
    state = jax.eval_shape(agent.init, jax.random.key(0))
    data = () if agent.data is None else (agent.data,)
    after, metrics = jax.eval_shape(agent.iterate, state, *data)
    law = f"{agent.name}: iterate keeps the types of the state"
    if jax.tree.structure(state) != jax.tree.structure(after):
        raise LawError(f"{law}: {jax.tree.structure(after)}, not {jax.tree.structure(state)}")
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(state)]
    for path, old, new in zip(paths, types(state), types(after), strict=True):
        if old[:2] != new[:2]:
            raise LawError(f"{law}: {path} is {new[1]}{list(new[0])}, not {old[1]}{list(old[0])}")
    for name, value in metrics.items():
        scalar = isinstance(value, Mean) and value.total.shape == value.count.shape == ()
        if not scalar:
            raise LawError(f"{agent.name}: a metric is a Mean of scalars: {name} is {value}")


def _check_metrics(agent: Any, metrics: dict[str, Any]) -> None:
    for name, value in metrics.items():
        if not np.isfinite([value.total, value.count]).all():
            raise LawError(f"{agent.name}: metrics are finite: {name} is {value}")


def _check_playing(agent: Any, state: Any) -> None:
    """Evaluations give a return and a length an episode; actions lie in their space."""
    found = jax.eval_shape(lambda s, k: agent.evaluate(s, k, 3), state, jax.random.key(0))
    for what, value in zip(("returns", "lengths"), found, strict=True):
        if value.shape != (3,):
            raise LawError(f"{agent.name}: evaluate gives {what} [E]: {value.shape} of 3 episodes")
    inputs = getattr(getattr(state, "obs_stats", None), "mean", None)
    if inputs is None or getattr(inputs, "ndim", 0) != 1:
        return  # what its policy sees is its own
    zeros, space = np.zeros((4, inputs.shape[0]), np.float32), agent.env.action_space
    for key in (None, jax.random.key(0)):
        act = jax.jit(agent.act, compiler_options=QUICK)
        action = np.asarray(act(state, zeros, key))
        if action.shape != (4, *space.shape):
            wanted = (4, *space.shape)
            raise LawError(f"{agent.name}: an action is of its space: {action.shape}, not {wanted}")
        if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
            counts = np.array(masks.choices(space)).reshape(space.shape)
            inside = (action >= 0) & (action < counts)
        else:
            low, high = limits(space)
            flat = action.reshape(4, -1)
            inside = (flat >= low) & (flat <= high)
        if not inside.all():
            raise LawError(f"{agent.name}: an action is of its space: {action} of {space}")
