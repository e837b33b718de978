"""Work spread over devices by `shard_map`, without the arrays that have no elements.

jaxlib 0.11.2 ends in a segmentation fault as it compiles a `shard_map` over several CPU
devices with an operand that has no elements: an argument, or an array that the function
brings along. States hold such arrays (the memory of a rule that has none, the history of
a length of 0), and nothing is lost where they are made anew on each device.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
from jax.extend.core import jaxpr_as_fun
from jax.sharding import AbstractMesh, Mesh
from jax.sharding import PartitionSpec as P

from jaxrl_reward.types import Array


@contextmanager
def at_once() -> Iterator[None]:
    """What is computed within has its value now, while a program is traced, spread or not.

    `jax.ensure_compile_time_eval` alone keeps the devices of the program, on which nothing
    can be computed before it runs: a random key that is made so fails.
    """
    nowhere = jax.sharding.use_abstract_mesh(AbstractMesh((), ()))
    with nowhere, jax.ensure_compile_time_eval():
        yield


def shard_map(
    function: Callable[..., Any],
    in_specs: tuple[P, ...],
    out_spec: P,
    *,
    mesh: Mesh | None = None,
    axis_names: frozenset[str] = frozenset(),
) -> Callable[..., Any]:
    """`jax.shard_map`, whose operands and results all have elements.

    Replication is not checked.

    Args:
      function: what each device runs on its part.
      in_specs: one for each argument, and so for all of its leaves.
      out_spec: that of all results.
      mesh: the one in use by default (`jax.set_mesh`).
      axis_names: the axes that `function` may name; all of the mesh by default.
    """

    def spread(*args: Any) -> Any:
        sizes = (mesh or jax.sharding.get_abstract_mesh()).shape
        leaves, tree = jax.tree.flatten(args)
        pairs = zip(in_specs, args, strict=True)
        specs = [spec for spec, arg in pairs for _ in jax.tree.leaves(arg)]
        results: Any = None

        def local(*given: Array) -> list[Array]:
            nonlocal results
            rest = iter(given)
            filled = [
                next(rest) if x.size else _nothing(_part(x.shape, spec, sizes), x.dtype)
                for x, spec in zip(leaves, specs, strict=True)
            ]
            traced = jax.make_jaxpr(function, return_shape=True)
            program, results = traced(*jax.tree.unflatten(tree, filled))
            own = [x if x.size else _nothing(x.shape, x.dtype) for x in program.consts]
            out = jaxpr_as_fun(program.replace(consts=own))(*filled)
            return [x for x in out if x.size]

        there = jax.shard_map(
            local,
            mesh=mesh,
            in_specs=tuple(spec for x, spec in zip(leaves, specs, strict=True) if x.size),
            out_specs=out_spec,
            axis_names=axis_names,
            check_vma=False,
        )
        rest = iter(there(*(x for x in leaves if x.size)))

        def whole(x: jax.ShapeDtypeStruct) -> Array:
            return next(rest) if x.size else _nothing(_whole(x.shape, out_spec, sizes), x.dtype)

        return jax.tree.map(whole, results)

    return spread


def _nothing(shape: tuple[int, ...], dtype: Any) -> Array:
    return jax.lax.full(shape, 0, dtype)  # of keys too


def _cuts(spec: P, sizes: Any, rank: int) -> list[int]:
    """Into how many parts each axis is cut."""
    names = [(name,) if isinstance(name, str) else name or () for name in spec]
    cuts = [math.prod(sizes[name] for name in each) for each in names]
    return cuts + [1] * (rank - len(cuts))


def _part(shape: tuple[int, ...], spec: P, sizes: Any) -> tuple[int, ...]:
    cuts = _cuts(spec, sizes, len(shape))
    return tuple(size // cut for size, cut in zip(shape, cuts, strict=True))


def _whole(shape: tuple[int, ...], spec: P, sizes: Any) -> tuple[int, ...]:
    cuts = _cuts(spec, sizes, len(shape))
    return tuple(size * cut for size, cut in zip(shape, cuts, strict=True))
