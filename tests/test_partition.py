"""`shard_map` without arrays that have no elements."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _jaxprs import programs_in
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

from jaxrl_reward.partition import shard_map


@pytest.fixture
def mesh():
    return Mesh(np.array(jax.devices()[:2]), ("rows",), axis_types=(AxisType.Auto,))


CAPTURED = jnp.zeros((2, 0))


def everywhere(rows, empty, keys):
    """Arguments, results, and what the function brings along: all of them without elements."""

    def step(_, carry):
        rows, empty = carry
        inner = jax.jit(lambda x: x + np.ones((2, 0), np.float32).sum() + CAPTURED.sum())
        return inner(rows), empty + jnp.asarray(np.ones((2, 0), np.float32))

    rows, empty = jax.lax.fori_loop(0, 3, step, (rows, empty))
    none = lambda x: jnp.asarray(np.ones((2, 0), np.float32)) @ np.ones((0, 3), np.float32) + x  # noqa: E731
    rows = jax.lax.cond(rows.sum() > 0, none, lambda x: x, rows)
    return {"rows": 2 * rows, "empty": empty, "keys": keys, "captured": CAPTURED, "none": None}


def operands(jaxpr, inside=False):
    """The values that go into each `shard_map` of a program, come out, or are its constants."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "shard_map":
            yield from (*eqn.invars, *eqn.outvars)
            yield from eqn.params["jaxpr"].constvars
        for inner in programs_in(eqn.params):
            yield from operands(inner)


def test_no_array_without_elements_reaches_the_partitioned_program(mesh):
    spread = shard_map(everywhere, (P("rows"),) * 3, P("rows"), mesh=mesh)
    keys = jax.random.split(jax.random.key(0), 4)[:, None][:, :0]
    args = (jnp.ones((4, 3)), jnp.ones((4, 0)), keys)
    found = list(operands(jax.make_jaxpr(spread)(*args).jaxpr))
    assert found and all(value.aval.size for value in found)
    out = jax.jit(spread)(*args)
    np.testing.assert_array_equal(out["rows"], np.full((4, 3), 2.0))
    shapes = {name: None if x is None else x.shape for name, x in out.items()}
    assert shapes == {
        "rows": (4, 3),
        "empty": (4, 0),
        "keys": (4, 0),
        "captured": (4, 0),
        "none": None,
    }
    assert out["keys"].dtype == keys.dtype


def test_it_is_the_shard_map_of_jax(mesh):
    """Also under `vmap`, of a function that names the axis, with a mesh in use."""

    def mean(scale, rows):
        return scale * jax.lax.pmean(rows.sum(), "rows")

    specs = (P(), P("rows"))
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4, 3)), jnp.float32)
    with jax.set_mesh(mesh):
        ours = shard_map(mean, specs, P(), axis_names=frozenset({"rows"}))
        theirs = jax.shard_map(mean, in_specs=specs, out_specs=P(), check_vma=False)
        got, expected = (
            jax.jit(jax.vmap(f, (None, 0)))(jnp.float32(3.0), rows) for f in (ours, theirs)
        )
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_allclose(got, 1.5 * np.asarray(rows).sum((1, 2)), rtol=1e-5)
