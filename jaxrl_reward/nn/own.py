"""A network of a user's own, whatever it is made with, as a pair of pure functions.

It maps a batch of observations `[B, *obs_shape]` to features `[B, F]`, and is one of:

- a flax linen module, or the class of one that needs no arguments;
- the class of a flax nnx module, made as `Net(shape, rngs)` with the shape of one
  observation, or a function that makes such a module of the two;
- a pair of functions, `init(key, obs) -> params` and `apply(params, obs) -> features`.
"""

import inspect
import re
from collections.abc import Callable
from typing import Any

import flax.linen as linen
import jax
import jax.numpy as jnp

from jaxrl_reward.nn import networks
from jaxrl_reward.types import Array, UserError

KINDS = "a flax module, or a pair of functions (init, apply)"
BATCH = 3  # observations that a network is tried with, on shapes alone
PREFIX = "own "  # of what a run's config has in place of a network without a name


class Own:
    """What a user gave as a network; equal to another if that is made of the same.

    Attributes:
      given: the module, the class or function that makes one, or the pair.
      text: what it is, the same in another process.
    """

    def __init__(self, given: Any):
        self.given = _settled(given)
        self.text = f"{PREFIX}{_described(self.given)}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and bool(self.given == other.given)

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return self.text

    @property
    def summary(self) -> str:
        """The first line of the docstring that the user wrote, if any."""
        given = self.given
        if isinstance(given, networks.Network | linen.Module):
            given = given.apply if isinstance(given, networks.Network) else type(given)
        line = (given.__doc__ or "").strip().partition("\n")[0]
        return "" if line.startswith(f"{given.__name__}(") else line  # as dataclasses make it

    def front(self, shape: tuple[int, ...]) -> networks.Network:
        """The network itself, of batches of observations of that shape.

        Under `vmap` over keys it is begun for one after the other on a CPU, as orthogonal
        weights are: see `networks.orthogonal`.
        """
        made = _pair(self.given, shape)

        def init(key: Array, example: Array) -> Any:
            rows = example.shape  # no array from outside: `sequential_vmap` cannot close over it
            one = lambda key: made.init(key, jnp.zeros(rows))  # noqa: E731
            alone = jax.default_backend() == "cpu"
            return jax.custom_batching.sequential_vmap(one)(key) if alone else one(key)

        return networks.Network(init, made.apply)

    def check(self, owner: str, shape: tuple[int, ...]) -> None:
        """Tries it on shapes alone.

        Raises:
          UserError: it fails, keeps more than parameters, or gives no features.
        """
        made, obs = _pair(self.given, shape), jnp.zeros((BATCH, *shape))
        seen = f"on observations {list(obs.shape)}"
        params = _tried(owner, f"does not begin {seen}", made.init, jax.random.key(0), obs)
        _check_params(owner, self.given, params)
        _check_features(owner, seen, _tried(owner, f"fails {seen}", made.apply, params, obs))


def _settled(given: Any) -> Any:
    """The module, what makes one, or the pair.

    Raises:
      UserError: it is nothing of the kind.
    """
    if inspect.isclass(given) and issubclass(given, linen.Module):
        try:
            return given()
        except TypeError as error:
            raise UserError(f"the network {given.__name__} is a class, and {error}") from None
    if isinstance(given, linen.Module):
        return given
    if isinstance(given, tuple | list):
        if len(given) == 2 and all(map(callable, given)):
            return networks.Network(*given)
        raise UserError(f"the network {given!r} is no pair of functions (init, apply)")
    if _is_nnx_module(given):
        name = type(given).__name__
        raise UserError(
            f"the network {name} has its parameters, which all seeds would share: give what makes "
            f"it, the class {name} or a function of (shape, rngs)"
        )
    if callable(given):
        return given
    raise UserError(f"{given!r} is no network: name one, or give {KINDS}")


def _described(given: Any) -> str:
    """What it is in one line, without the addresses in this process."""
    if isinstance(given, networks.Network):
        return ", ".join(map(_described, given))
    name = f"{getattr(given, '__module__', '')}.{getattr(given, '__qualname__', '')}"
    text = repr(given) if isinstance(given, linen.Module) else name
    return re.sub(r"<([\w.]+) object at 0x\w+>| at 0x\w+", r"\1", " ".join(text.split()))


def _pair(given: Any, shape: tuple[int, ...]) -> networks.Network:
    if isinstance(given, networks.Network):
        return given
    if isinstance(given, linen.Module):
        return networks.Network(given.init, given.apply)  # pyright: ignore[reportArgumentType]
    return _nnx(given, shape)


# ---- flax nnx ------------------------------------------------------------------------


def _is_nnx_module(given: Any) -> bool:
    from flax import nnx  # a third of a second, which those without need not wait

    return isinstance(given, nnx.Module)


def _nnx(make: Callable[..., Any], shape: tuple[int, ...]) -> networks.Network:
    """Its parameters are a dict, and its structure is the same for all keys."""
    from flax import nnx

    def split(rngs: Any) -> Any:
        module = make(shape, rngs)
        if not isinstance(module, nnx.Module):
            raise TypeError(
                f"it gives {type(module).__name__}, not an nnx module, from (shape, rngs)"
            )
        return nnx.split(module, nnx.Param, ...)

    def init(key: Array, example: Array) -> Any:
        del example
        params, rest = (nnx.to_pure_dict(each) for each in split(nnx.Rngs(key))[1:])
        return {"params": params, **rest}

    def apply(params: Any, obs: Array) -> Array:
        graph, state, rest = nnx.split(
            nnx.eval_shape(lambda: make(shape, nnx.Rngs(0))), nnx.Param, ...
        )
        nnx.replace_by_pure_dict(state, params["params"])
        return nnx.merge(graph, state, rest)(obs)

    return networks.Network(init, apply)


# ---- what it may be ------------------------------------------------------------------


def _tried(owner: str, what: str, function: Callable[..., Any], *args: Any) -> Any:
    """The shapes of what a user's function gives.

    Raises:
      UserError: it raises anything, or gives what is no array.
    """
    try:
        return jax.eval_shape(function, *args)
    except Exception as error:
        line = str(error).strip().partition("\n")[0]
        raise UserError(f"{owner}'s network {what}: {type(error).__name__}: {line}") from error


def _check_params(owner: str, given: Any, params: Any) -> None:
    """Raises a `UserError` unless all that the network keeps can be learned."""
    flax = not isinstance(given, networks.Network)
    if more := sorted(str(name) for name in params if name != "params") if flax else []:
        raise UserError(
            f"{owner}'s network keeps {', '.join(more)} beside its parameters, which agents do "
            "not: normalise by LayerNorm, and leave out dropout"
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            where = jax.tree_util.keystr(path) or "all in one array"
            raise UserError(
                f"{owner}'s network has parameters {where} of type {leaf.dtype}; only floats can "
                "be learned"
            )


def _check_features(owner: str, seen: str, out: Any) -> None:
    """Raises a `UserError` unless there is a vector of floats for each observation."""
    wanted = f"{seen}; wanted is one vector for each, float [{BATCH}, features]"
    if not isinstance(out, jax.ShapeDtypeStruct):
        raise UserError(f"{owner}'s network gives {type(out).__name__} {wanted}")
    if len(out.shape) != 2 or out.shape[0] != BATCH or not out.shape[1]:
        fix = ": flatten it by x.reshape(x.shape[0], -1)" if len(out.shape) > 2 else ""
        raise UserError(f"{owner}'s network gives {list(out.shape)} {wanted}{fix}")
    if not jnp.issubdtype(out.dtype, jnp.floating):
        raise UserError(f"{owner}'s network gives {out.dtype} {wanted}")
