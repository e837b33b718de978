"""What a reward is: a frozen pytree with pure functions over blocks of steps.

A `RewardTransform` maps the running reward of a block `[T, N]` to another.
Its numeric hyper-parameters are pytree leaves, so a sweep over a weight is a
`vmap` over the reward itself; its structure is static. What changes over time
lives in `State`, which the caller carries.
"""

import dataclasses
import operator
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self, cast, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer

from jaxrl_reward.rewards.core import checks
from jaxrl_reward.types import Array, Metrics, Transition, UserError

DISCOUNT = 0.99  # of a term that has no agent to take its discount from
CHAIN, SUM, PRODUCT, ATOM = range(4)  # how tightly a printed expression binds


class State(struct.PyTreeNode):
    """What a transform carries from block to block.

    Attributes:
      shared: no environment axis (running statistics, learned weights, their
        optimiser); episode boundaries never touch it.
      local: leaves `[N, ...]`, the memory of each running episode.
    """

    shared: Any
    local: Any


class Applied(NamedTuple):
    """The result of `apply`.

    Attributes:
      state: the state after the block.
      reward: the transformed reward, `[T, N]` (`[T, N, K]` after `stack`).
      metrics: scalars to log, by name.
      features: what replay must store beside each transition so that `relabel`
        is exact later, leaves `[T, N]`; an empty tuple where nothing is needed.
    """

    state: State
    reward: Array
    metrics: Metrics
    features: Any


def static(*, default: Any = dataclasses.MISSING, kw_only: bool = False) -> Any:
    """A field that is part of the structure: another value compiles anew.

    With `kw_only`, what subclasses add keeps its place among the arguments.
    """
    if default is dataclasses.MISSING:
        return struct.field(pytree_node=False)
    return struct.field(pytree_node=False, default=default, kw_only=kw_only)


@dataclass_transform(
    frozen_default=True, field_specifiers=(struct.field, dataclasses.field, static)
)
class RewardTransform:
    """A pure map from the running reward to another, `[T, N] -> [T, N]`.

    Subclasses are frozen dataclasses and pytrees by themselves: annotate the
    numeric hyper-parameters as fields, by types that say what they may be (see
    `checks`), and mark the others `static()`. Rules across arguments go into
    `validate`. Compose with `a | b`, `a + b`, `a - b`, `2 * a`, `a * b`.
    """

    name = ""  # in the text form, set by `register`
    scope = "pointwise"  # pointwise | causal | episodic | group | learned | operator
    varies = False  # may the same transition earn another reward later on?
    reads_history = False  # does the output depend on the rewards of earlier steps?
    learns_in_order = False  # does `learn` need the steps of an agent's block in order?
    other_gamma = ""  # what a `gamma` that is not the agent's breaks

    __dataclass_fields__: ClassVar[dict[str, Any]]  # of every subclass

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, repr=False)(cls)
        _register_pytree(cls)

    def __post_init__(self) -> None:
        checks.arguments(self)
        self.validate()

    def validate(self) -> None:
        """Raises a `UserError` for arguments that do not go together."""

    def replace(self, **changes: Any) -> Self:
        """The term with other arguments."""
        return dataclasses.replace(cast(Any, self), **changes)

    @property
    def discount(self) -> Any:
        """The term's `gamma`: the agent's where it is left out, and without an agent 0.99."""
        gamma = getattr(self, "gamma", None)
        return DISCOUNT if gamma is None else gamma

    # ---- what a transform does ------------------------------------------------

    def init(self, key: Array, example: Transition) -> State:
        """The state before the first step.

        Args:
          key: typed PRNG key, for learned parameters.
          example: a block `[T, N, ...]`, of which only shapes and dtypes count.
        """
        del key
        return no_state(example)

    def begin(self, state: State, obs: Array, first: Array) -> State:
        """Starts the memory anew where `first` is true, before the step.

        Args:
          state: the state before the step.
          obs: the observations of the step, `[N, ...]`.
          first: which environments start an episode, `[N]` bool.
        Returns:
          The state whose memory the policy may see. Doing it twice changes
          nothing, so `apply` does it again.
        """
        del obs, first
        return state

    def apply(self, state: State, block: Transition) -> Applied:
        """Transforms `block.reward`, `[T, N]`.

        The statistics used are those from before the block, so a block may be
        cut anywhere without changing what it earns.
        """
        raise NotImplementedError(f"{type(self).__name__}.apply is missing")

    def learn(self, state: State, key: Array, block: Transition) -> tuple[State, Metrics]:
        """One training step of a learned reward; `block.reward` is the final one.

        The block is the one just played, `[T, N]`, or with replay `[1, B]` steps
        in any order: of `state`, only `shared` is for use here.
        """
        del key, block
        return state, {}

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        """The reward of stored transitions under the current `shared`, `[B]`.

        Args:
          shared: the current `State.shared`.
          batch: transitions `[B, ...]` in any order; `batch.reward` is the
            output of the stage before (at first `env_reward`).
          features: what `apply` recorded for them, `[B]`.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be recomputed from replay")

    def observe(self, local: Any) -> Array:
        """The memory that a policy may see, `[N, F]`; nothing (F = 0) by default."""
        return jnp.zeros((jax.tree.leaves(local)[0].shape[0], 0), jnp.float32)

    def remarks(self) -> tuple[str, ...]:
        """What `explain` says of the term beside its scope, a line each."""
        return ()

    def children(self) -> tuple["RewardTransform", ...]:
        """The expressions that this one is made of."""
        return ()

    # ---- the algebra ----------------------------------------------------------

    def __or__(self, other: Any) -> "RewardTransform":
        return _operators().chain(self, other)

    def __ror__(self, other: Any) -> "RewardTransform":
        return _operators().chain(other, self)

    def __add__(self, other: Any) -> "RewardTransform":
        return _operators().add(self, other)

    def __radd__(self, other: Any) -> "RewardTransform":
        return _operators().add(other, self)

    def __sub__(self, other: Any) -> "RewardTransform":
        return _operators().add(self, _operators().negate(other))

    def __rsub__(self, other: Any) -> "RewardTransform":
        return _operators().add(other, _operators().negate(self))

    def __mul__(self, other: Any) -> "RewardTransform":
        return _operators().multiply(self, other)

    def __rmul__(self, other: Any) -> "RewardTransform":
        return _operators().multiply(other, self)

    def __neg__(self) -> "RewardTransform":
        return _operators().negate(self)

    def __bool__(self) -> bool:
        # `a and b` would be b, without a word.
        raise UserError(f"{self} is neither true nor false: combine rewards by + * | and where")

    # ---- the text form --------------------------------------------------------

    def text(self) -> tuple[str, int]:
        """The expression as `parse` reads it, and how tightly it binds."""
        arguments = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not is_default(value, field.default):
                arguments.append(f"{field.name}={show(value)}")
        return f"{self.name or type(self).__name__}({', '.join(arguments)})", ATOM

    def __str__(self) -> str:
        return self.text()[0]

    __repr__ = __str__


def _register_pytree(cls: type) -> None:
    """Makes a term a pytree of its fields that are not `static`.

    A term that is put together from leaves is not built anew, and so not checked: they may
    be anything, as in the axes of a `vmap`.
    """
    fields = dataclasses.fields(cast(Any, cls))
    leaves = [f.name for f in fields if f.metadata.get("pytree_node", True)]
    fixed = [f.name for f in fields if f.name not in leaves]
    values_of, rest_of = _getter(leaves), _getter(fixed)
    keys = [jax.tree_util.GetAttrKey(name) for name in leaves]

    def flatten(term: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return values_of(term), rest_of(term)

    def flatten_with_keys(term: Any) -> tuple[list[Any], tuple[Any, ...]]:
        return list(zip(keys, values_of(term), strict=True)), rest_of(term)

    def unflatten(rest: tuple[Any, ...], values: Any) -> Any:
        term = object.__new__(cls)
        vars(term).update(zip(leaves, values, strict=True))
        vars(term).update(zip(fixed, rest, strict=True))
        return term

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Reads these attributes, as a tuple: terms are flattened at every call of a program."""
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda term: tuple(getattr(term, name) for name in names)


def no_state(example: Transition, shared: Any = ()) -> State:
    """The state of a transform without memory; keeps `N` readable from `local`."""
    return State(shared, jnp.zeros((example.first.shape[1], 0), jnp.float32))


def number(leaf: Any) -> float | None:
    """The value of a concrete scalar leaf, None for a batch, a tracer or no number."""
    if isinstance(leaf, bool | int | float):
        return float(leaf)
    if isinstance(leaf, Tracer) or not isinstance(leaf, jax.Array | np.ndarray | np.number):
        return None
    # The shortest decimal of the leaf's own precision: 0.1, not 0.10000000149.
    return float(str(np.asarray(leaf)[()])) if np.ndim(leaf) == 0 else None


def show(value: Any) -> str:
    """A hyper-parameter in the text form; batches and functions print as <...>."""
    if value is None or isinstance(value, str | bool):
        return repr(value)
    if isinstance(value, RewardTransform):
        return str(value)
    if isinstance(value, tuple):
        return f"({', '.join(show(item) for item in value)}{',' if len(value) == 1 else ''})"
    scalar = number(value)
    if scalar is not None:
        return repr(int(scalar)) if scalar.is_integer() and abs(scalar) < 1e15 else repr(scalar)
    if callable(value):
        return f"<{getattr(value, '__name__', type(value).__name__)}>"
    return f"<{getattr(value, 'shape', type(value).__name__)} values>"


def is_default(value: Any, default: Any) -> bool:
    """Whether an argument need not be printed."""
    return value is default or (
        isinstance(value, bool | int | float | str | tuple) and value == default
    )


def _operators() -> Any:
    from jaxrl_reward.rewards.core import operators  # operators are built from this class

    return operators
