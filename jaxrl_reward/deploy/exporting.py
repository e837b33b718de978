"""A trained policy as a file that runs with JAX alone: no package of ours, and none of flax.

Whoever gets the file needs JAX and flatbuffers (`pip install jax flatbuffers`):

    import jax, numpy as np
    from jax import export

    policy = export.deserialize(bytearray(open("policy.jax", "rb").read()))
    action = jax.jit(policy.call)(obs)                    # obs [N, *O] float32

Of a policy that remembers, the memory is a list of arrays that goes in and comes out; what
it is at first does not matter where episodes begin, `first`:

    avals = jax.tree.unflatten(policy.in_tree, policy.in_avals)[0]
    memory = [np.zeros((N, *each.shape[1:]), each.dtype) for each in avals[1]]
    action, memory = policy.call(obs, memory, first)      # first [N] bool

A policy that has to be told what the environment paid takes `reward`, `[N]` float32, of the
step before, behind `first`; one that was exported with `sampled=True` takes a key last,
`jax.random.key(0)`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import export as jax_export

from jaxrl_reward.checks import check_choice
from jaxrl_reward.deploy import stepping
from jaxrl_reward.deploy.policy import Policy
from jaxrl_reward.files import user_path, write_atomic
from jaxrl_reward.types import UserError

PLATFORMS = ("cpu", "cuda", "tpu")
KNOWN = (*PLATFORMS, "rocm")


def export(
    policy: Policy,
    path: Path | str,
    *,
    sampled: bool = False,
    batch: int | None = None,
    platforms: Sequence[str] = PLATFORMS,
) -> Path:
    """Writes a policy to a file that runs without this package; see this module.

    Args:
      policy: what `load` gives.
      path: the file, replaced if it is there.
      sampled: actions are drawn, with a key as the last argument; else the likeliest.
      batch: how many observations it takes at once; any number by default.
      platforms: where it can run.

    Returns:
      The path.

    Raises:
      UserError: it is no policy, or JAX cannot export it so.
    """
    if not isinstance(policy, Policy):
        raise UserError(f"export takes a policy, jr.load(FOLDER), not {type(policy).__name__}")
    path = user_path(path)
    if batch is not None and batch < 1:
        raise UserError(f"batch must be at least 1, not {batch}")
    for platform in platforms:
        check_choice("export", "platform", platform, KNOWN)  # JAX takes any name
    count = jax_export.symbolic_shape("N")[0] if batch is None else batch
    function, args = _function(policy, sampled), _arguments(policy, sampled, count)
    try:
        made = jax_export.export(jax.jit(function), platforms=tuple(platforms))(*args)
    except (ValueError, TypeError, NotImplementedError) as error:
        line = str(error).strip().partition("\n")[0]
        fix = "; batch=1 may do" if batch is None else ""
        raise UserError(f"the policy cannot be exported for {platforms}: {line}{fix}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, bytes(made.serialize()))
    return path


def _function(policy: Policy, sampled: bool) -> Callable[..., Any]:
    """What is exported: the parameters are part of it, and the memory is a list."""
    structure = jax.tree.structure(policy.shapes)

    def act(obs: Any, *rest: Any) -> Any:
        rest, key = (rest[:-1], rest[-1]) if sampled else (rest, None)
        memory = stepping.nothing(policy.shapes, obs.shape[0])
        first, reward = jnp.ones(obs.shape[:1], bool), None
        if policy.remembers:
            memory, first = jax.tree.unflatten(structure, rest[0]), rest[1]
            reward = rest[2] if policy.paid else None
        action, memory = policy.stepper.step(policy.state, memory, obs, first, reward, key)
        return (action, jax.tree.leaves(memory)) if policy.remembers else action

    return act


def _arguments(policy: Policy, sampled: bool, count: Any) -> list[Any]:
    """The shapes that it takes."""
    shaped = lambda shape, kind: jax.ShapeDtypeStruct((count, *shape), kind)  # noqa: E731
    args: list[Any] = [shaped(policy.obs_shape, jnp.float32)]
    if policy.remembers:
        leaves = jax.tree.leaves(policy.shapes)
        args += [[shaped(leaf.shape[1:], leaf.dtype) for leaf in leaves], shaped((), bool)]
    if policy.paid:
        args.append(shaped((), jnp.float32))
    return [*args, jax.eval_shape(lambda: jax.random.key(0))] if sampled else args
