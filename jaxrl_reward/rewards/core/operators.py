"""The operators of the algebra: chain, sum, product, stack, where, named.

Nested chains, sums and products are flattened as they are built, so that
`(a | b) | c` and `a | (b | c)` are the same expression.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.rewards.core.base import (
    ATOM,
    CHAIN,
    PRODUCT,
    SUM,
    Applied,
    RewardTransform,
    State,
    number,
    show,
    static,
)
from jaxrl_reward.rewards.core.checks import Finite
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.types import Array, Metrics, Transition, UserError


@register("env")
class env(RewardTransform):  # noqa: N801, the name of a term is the name in the text form
    """The running reward: the environment's at the head, the unit of `|` elsewhere."""

    def apply(self, state: State, block: Transition) -> Applied:
        return Applied(state, block.reward, {}, ())

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        return batch.reward

    def text(self) -> tuple[str, int]:
        return "env", ATOM


@register("constant", {"value": 0.5})
class constant(RewardTransform):  # noqa: N801
    """The same reward at every step; a plain number in an expression becomes this."""

    value: Finite

    def apply(self, state: State, block: Transition) -> Applied:
        return Applied(state, self.relabel((), block, ()), {}, ())

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        return jnp.ones_like(batch.reward) * self.value

    def text(self) -> tuple[str, int]:
        value = number(self.value)
        return (f"constant({show(self.value)})" if value is None else show(self.value)), ATOM


class Composite(RewardTransform):
    """An operator over `parts`; its state is the tuple of theirs."""

    parts: tuple[RewardTransform, ...]
    scope = "operator"

    def children(self) -> tuple[RewardTransform, ...]:
        return self.parts

    def init(self, key: Array, example: Transition) -> State:
        # A part's key depends on its place alone, so adding a term at the end
        # leaves the others as they were.
        keys = [jax.random.fold_in(key, i) for i in range(len(self.parts))]
        return _join([part.init(k, example) for part, k in zip(self.parts, keys, strict=True)])

    def begin(self, state: State, obs: Array, first: Array) -> State:
        return _join([p.begin(s, obs, first) for p, s in self._pairs(state)])

    def learn(self, state: State, key: Array, block: Transition) -> tuple[State, Metrics]:
        states, metrics = [], {}
        for i, (part, old) in enumerate(self._pairs(state)):
            new, logged = part.learn(old, jax.random.fold_in(key, i), block)
            states.append(new)
            metrics = merge(metrics, logged)
        return _join(states), metrics

    def observe(self, local: Any) -> Array:
        seen = [part.observe(memory) for part, memory in zip(self.parts, local, strict=True)]
        return jnp.concatenate(seen, axis=-1)

    def _pairs(self, state: State) -> list[tuple[RewardTransform, State]]:
        states = map(State, state.shared, state.local)
        return list(zip(self.parts, states, strict=True))

    def _each(self, state: State, block: Transition) -> list[Applied]:
        """Every part on the same running reward."""
        return [part.apply(one, block) for part, one in self._pairs(state)]

    def _relabels(self, shared: Any, batch: Transition, features: Any) -> list[Array]:
        triples = zip(self.parts, shared, features, strict=True)
        return [part.relabel(s, batch, f) for part, s, f in triples]


class Chain(Composite):
    """`a | b`: b transforms what a gives."""

    def apply(self, state: State, block: Transition) -> Applied:
        stages: list[Applied] = []
        for part, one in self._pairs(state):
            stages.append(part.apply(one, block))
            block = block.replace(reward=stages[-1].reward)
        return _gather(stages, block.reward)

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        for part, s, f in zip(self.parts, shared, features, strict=True):
            batch = batch.replace(reward=part.relabel(s, batch, f))
        return batch.reward

    def text(self) -> tuple[str, int]:
        return " | ".join(_within(part, SUM) for part in self.parts), CHAIN


class Sum(Composite):
    """`a + b`, each on the same running reward."""

    def apply(self, state: State, block: Transition) -> Applied:
        terms = self._each(state, block)
        out = _gather(terms, _reduce(self, jnp.add, [t.reward for t in terms]))
        sizes = [jnp.abs(t.reward).mean() for t in terms]
        whole = jnp.maximum(sum(sizes, jnp.float32(0.0)), 1e-12)
        for part, size in zip(self.parts, sizes, strict=True):
            if isinstance(part, named):
                out.metrics[f"reward/{part.label}/share"] = size / whole
        return out

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        return _reduce(self, jnp.add, self._relabels(shared, batch, features))

    def text(self) -> tuple[str, int]:
        text = _within(self.parts[0], PRODUCT)
        for part in self.parts[1:]:
            text += (
                f" - {_within(negate(part), PRODUCT)}"
                if _negative(part)
                else (f" + {_within(part, PRODUCT)}")
            )
        return text, SUM


class Product(Composite):
    """`a * b`, each on the same running reward."""

    def apply(self, state: State, block: Transition) -> Applied:
        factors = self._each(state, block)
        return _gather(factors, _reduce(self, jnp.multiply, [f.reward for f in factors]))

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        return _reduce(self, jnp.multiply, self._relabels(shared, batch, features))

    def text(self) -> tuple[str, int]:
        return "*".join(_within(part, PRODUCT) for part in self.parts), PRODUCT


class Stack(Composite):
    """`stack(a, b, ...)`: a vector reward `[T, N, K]`, for a scalariser."""

    def apply(self, state: State, block: Transition) -> Applied:
        parts = self._each(state, block)
        return _gather(parts, jnp.stack([p.reward for p in parts], axis=-1))

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        return jnp.stack(self._relabels(shared, batch, features), axis=-1)

    def text(self) -> tuple[str, int]:
        return f"stack({', '.join(map(str, self.parts))})", ATOM


class Where(Composite):
    """`where(condition, a, b)`: a where the condition is not zero, else b."""

    def apply(self, state: State, block: Transition) -> Applied:
        parts = self._each(state, block)
        condition, a, b = (p.reward for p in parts)
        return _gather(parts, jnp.where(condition != 0, a, b))

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        condition, a, b = self._relabels(shared, batch, features)
        return jnp.where(condition != 0, a, b)

    def text(self) -> tuple[str, int]:
        return f"where({', '.join(map(str, self.parts))})", ATOM


@register("named", {"label": "term", "term": env()})
class named(RewardTransform):  # noqa: N801
    """Logs a term's mean as `reward/NAME`, and in a sum its share of the total size."""

    label: str = static()
    term: RewardTransform
    scope = "operator"

    def children(self) -> tuple[RewardTransform, ...]:
        return (self.term,)

    def init(self, key: Array, example: Transition) -> State:
        return self.term.init(key, example)

    def begin(self, state: State, obs: Array, first: Array) -> State:
        return self.term.begin(state, obs, first)

    def apply(self, state: State, block: Transition) -> Applied:
        out = self.term.apply(state, block)
        key = f"reward/{self.label}"
        if key in out.metrics:
            raise UserError(f"two reward terms are named {self.label!r}; give each its own name")
        return out._replace(metrics={**out.metrics, key: out.reward.mean()})

    def learn(self, state: State, key: Array, block: Transition) -> tuple[State, Metrics]:
        return self.term.learn(state, key, block)

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        return self.term.relabel(shared, batch, features)

    def observe(self, local: Any) -> Array:
        return self.term.observe(local)

    def text(self) -> tuple[str, int]:
        return f"named({self.label!r}, {self.term})", ATOM


# ---- how expressions are built ----------------------------------------------------


def lift(value: Any) -> RewardTransform:
    """A reward as it is; a number as a constant reward.

    Raises:
      UserError: it is neither.
    """
    if isinstance(value, RewardTransform):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return constant(float(value))
    if isinstance(value, jax.Array | np.ndarray | np.number):
        return constant(cast(Any, value))  # or a batch of constants
    raise UserError(f"a reward or a number is needed here, not {no_reward(value)}")


def no_reward(value: Any) -> str:
    """What a value is that is no reward, and how to make one of it."""
    name = getattr(value, "__name__", type(value).__name__)
    if isinstance(value, type):
        known = issubclass(value, RewardTransform)
        return f"the class {name}{f': write {name}()' if known else ''}"
    if isinstance(value, str):
        return f"the text {value!r}: write rewards.parse({value!r})"
    if callable(value):
        return f"the function {name}: put @rewards.pointwise above it, and call it"
    text = repr(value)
    return f"{name} {text}" if len(text) < 40 and "\n" not in text else f"a {name}"


def chain(a: Any, b: Any) -> RewardTransform:
    """`a | b`."""
    return Chain(_flat(Chain, a) + _flat(Chain, b))


def add(a: Any, b: Any) -> RewardTransform:
    """`a + b`."""
    return Sum(_flat(Sum, a) + _flat(Sum, b))


def multiply(a: Any, b: Any) -> RewardTransform:
    """`a * b`."""
    return Product(_flat(Product, a) + _flat(Product, b))


def negate(a: Any) -> RewardTransform:
    """`-a`; the sign goes into a leading number if there is one."""
    a = lift(a)
    if isinstance(a, constant):
        return constant(-a.value)
    if isinstance(a, Product) and isinstance(a.parts[0], constant):
        rest = a.parts[1:]
        if number(a.parts[0].value) == -1.0:
            return rest[0] if len(rest) == 1 else Product(rest)
        return Product((constant(-a.parts[0].value), *rest))
    return Product((constant(-1.0), *_flat(Product, a)))


def stack(*parts: Any) -> RewardTransform:
    """A vector reward `[T, N, K]` of K expressions; follow it by a scalariser."""
    if len(parts) < 2:
        raise UserError("stack needs at least two rewards")
    return Stack(tuple(map(lift, parts)))


def where(condition: Any, a: Any, b: Any) -> RewardTransform:
    """`a` where `condition` is not zero, else `b`; all three are rewards."""
    return Where((lift(condition), lift(a), lift(b)))


def merge(a: Metrics, b: Metrics) -> Metrics:
    """Both dicts; a name in both gets a number.

    Raises:
      UserError: a `named` term occurs twice.
    """
    merged = dict(a)
    for name, value in b.items():
        if name.startswith("reward/") and name in merged:
            raise UserError(f"two reward terms are named {name[7:]!r}; give each its own name")
        count, free = 2, name
        while free in merged:
            count, free = count + 1, f"{name}#{count}"
        merged[free] = value
    return merged


def _flat(kind: type[Composite], value: Any) -> tuple[RewardTransform, ...]:
    value = lift(value)
    return value.parts if type(value) is kind else (value,)


def _join(states: list[State]) -> State:
    return State(tuple(s.shared for s in states), tuple(s.local for s in states))


def _gather(parts: list[Applied], reward: Array) -> Applied:
    metrics: Metrics = {}
    for part in parts:
        metrics = merge(metrics, part.metrics)
    features = tuple(part.features for part in parts)
    return Applied(_join([part.state for part in parts]), reward, metrics, features)


def _reduce(node: RewardTransform, combine: Any, rewards: list[Array]) -> Array:
    total = rewards[0]
    for reward in rewards[1:]:
        if reward.shape != total.shape:
            raise UserError(f"terms of different shapes {total.shape}, {reward.shape} in {node}")
        total = combine(total, reward)
    return total


def _within(part: RewardTransform, level: int) -> str:
    """A part's text, in parentheses where it binds less tightly than `level`."""
    text, binds = part.text()
    return f"({text})" if binds < level or (type(part) is Sum and level > SUM) else text


def _negative(part: RewardTransform) -> bool:
    leading = part.parts[0] if isinstance(part, Product) else part
    value = number(leading.value) if isinstance(leading, constant) else None
    return value is not None and value < 0
