"""Fits a judge to pairs of responses, by any loss of what it says of the two."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxrl_reward.data.pairs import PairSet
from jaxrl_reward.nn import response_models
from jaxrl_reward.nn.response_models import Design, ResponseModel
from jaxrl_reward.preferences import losses
from jaxrl_reward.preferences.judges import directions
from jaxrl_reward.preferences.judges.directions import Direction, Step
from jaxrl_reward.types import Array, UserError, nearest

FACTS = ("label", "strength", "reward", "user")  # of a pair
SAID = ("first", "second", "difference", "outputs", "weights")  # by the judge


def fit(
    model: ResponseModel,
    key: Array,
    pairs: PairSet,
    *,
    steps: int = 500,
    batch_size: int = 64,
    learning_rate: Any = 3e-3,
    loss: Callable[..., Array] = losses.bradley_terry,
    decay: Any = 0.0,
    size: Any = None,
    given: Any = None,
    other: Any = None,
    rows: Mapping[str, Any] | None = None,
    direction: Direction = directions.straight,
) -> tuple[ResponseModel, Array]:
    """Every member by Adam, on batches of its own order, from its own parameters.

    Pure: under `vmap` over models, keys and numbers, a hundred judges are one program. Pairs of
    which a response is missing do not count.

    Args:
      model: where to start, `judges.init`.
      key: typed PRNG key.
      pairs: what is preferred to what; vmap over `pairs.replace(label=...)` for other raters.
      steps: of the optimiser.
      batch_size: pairs of a step, drawn with replacement.
      learning_rate: of Adam.
      loss: of pairs; one of `preferences.losses`. Its arguments by name say what it reads:
        `first`, `second` and their `difference`, `[b]` each, and `[b, K]` where a judge has K
        outputs; both `outputs`, `[b, 2, K]`; the router's `weights`, `[b, K]`; `label`,
        `strength`, `reward` `[b, 2]` and `user` of the pairs; what is in `rows`.
      decay: times the mean squared output, added to the loss.
      size: only the first so many pairs are drawn; it may be traced.
      given: what the judge is told beside both texts, `[B, 2, C]`, if its design has that.
      other: the response it compares both with, `[B, T]`, if its design is relative; without
        one, the two are compared with each other, each once as the other.
      rows: further facts of the pairs by name, `[B, ...]`.
      direction: what the optimiser follows, see `judges.directions`.

    Returns:
      The fitted model, and the mean loss of each step, `[steps]`.

    Raises:
      UserError: pairs do not fit the design, or the loss reads what there is not.
    """
    rows = dict(rows or {})
    wanted = reads(loss, rows)
    text = both_texts(model.design, pairs)
    beside = {"given": given, "other": other}
    _check(model.design, text, given, other, rows)
    facts = {name: getattr(pairs, name) for name in FACTS} | rows
    facts = {name: jnp.asarray(value) for name, value in facts.items() if name in wanted}
    there: Array = pairs.there.all(1)
    optimiser = optax.adam(learning_rate)
    count = len(pairs) if size is None else size

    def member(params: Any, key: Array) -> tuple[Any, Array]:
        vector, tree_of = ravel_pytree(params)

        def total(vector: Array, at: Array, weight: Array) -> Array:
            now = {name: None if x is None else jnp.asarray(x)[at] for name, x in beside.items()}
            said = told(model.design, tree_of(vector), text[at], **now)
            known = {**said, **{name: value[at] for name, value in facts.items()}}
            each = loss(**{name: known[name] for name in wanted})
            each = each.reshape(each.shape[0], -1).mean(1)
            each = each + decay * (said["outputs"] ** 2).mean((1, 2))
            use = weight * there[at]
            return (use * each).sum() / jnp.maximum(use.sum(), 1.0)

        def scores(vector: Array, text: Array) -> Array:
            return response_models.judge(model.design, tree_of(vector), text).score()

        def step(carry: Any, key: Array) -> tuple[Any, Array]:
            vector, state = carry
            at = jax.random.randint(key, (batch_size,), 0, count)
            key = jax.random.fold_in(key, 1)
            value, slope = direction(Step(total, scores), vector, at, key)
            change, state = optimiser.update(slope, state)
            return (optax.apply_updates(vector, change), state), value

        start = (vector, optimiser.init(vector))
        (vector, _), values = jax.lax.scan(step, start, jax.random.split(key, steps))
        return tree_of(vector), values

    params, values = jax.vmap(member)(model.params, jax.random.split(key, model.members))
    return model.replace(params=params), jnp.asarray(values).mean(0)


def told(design: Design, params: Any, text: Array, given: Any = None, other: Any = None) -> Any:
    """What one network says of pairs, by the names of `SAID`, and `features` `[b, 2, H]`.

    Args:
      design: of the network.
      params: its parameters.
      text: both responses with their prompt, `[b, 2, P + T]`.
      given: `[b, 2, C]`, or None.
      other: `[b, T]`, or None.
    """
    count, flat = text.shape[0], text.reshape(-1, text.shape[-1])
    if design.given:
        given = jnp.asarray(given).reshape(2 * count, -1)
    if design.relative and other is None:
        other = text[:, ::-1, design.prompt :].reshape(2 * count, -1)
    elif design.relative:
        other = jnp.repeat(jnp.asarray(other), 2, axis=0)
    said = response_models.judge(design, params, flat, given, other)
    outputs = said.outputs.reshape(count, 2, -1)
    scores = outputs[..., 0] if design.outputs == 1 else outputs
    first, second = scores[:, 0], scores[:, 1]
    return {
        "first": first,
        "second": second,
        "difference": first - second,
        "outputs": outputs,
        "weights": said.weights.reshape(count, 2, -1)[:, 0],
        "features": said.features.reshape(count, 2, -1),
    }


def both_texts(design: Design, pairs: PairSet) -> Array:
    """Chosen and rejected with their prompts, `[B, 2, P + T]`.

    Raises:
      UserError: they are of other lengths than the judge reads, or have other tokens.
    """
    shape = (pairs.prompt.shape[-1], pairs.chosen.shape[-1])
    if shape != (design.prompt, design.length):
        raise UserError(
            f"these pairs have prompts and responses of {shape[0]} and {shape[1]} tokens, where "
            f"the judge reads {design.prompt} and {design.length}"
        )
    prompt = jnp.broadcast_to(pairs.prompt[:, None], (len(pairs), 2, shape[0]))
    responses = jnp.stack([pairs.chosen, pairs.rejected], 1)
    return jnp.concatenate([prompt, responses], 2)


def reads(loss: Callable[..., Array], rows: Mapping[str, Any]) -> tuple[str, ...]:
    """The arguments of a loss that are known: all that have no default.

    Raises:
      UserError: one of them is not known.
    """
    known = (*SAID, *FACTS, *rows)
    wanted = []
    for name, each in inspect.signature(loss).parameters.items():
        if name in known and (each.default is each.empty or name in FACTS or name in rows):
            wanted.append(name)
        elif each.default is each.empty:
            raise UserError(f"the loss reads {name!r}, which no pair has; {nearest(name, known)}")
    return tuple(wanted)


def _check(design: Design, text: Array, given: Any, other: Any, rows: Mapping[str, Any]) -> None:
    count = text.shape[0]
    if (given is None) != (design.given == 0):
        raise UserError(f"this judge is told {design.given or 'no'} numbers given beside a text")
    if other is not None and not design.relative:
        raise UserError("this judge compares with no other response: its design is not relative")
    shapes = {
        "given": (given, (count, 2, design.given)),
        "other": (other, (count, design.length)),
        **{name: (value, (count, *jnp.shape(value)[1:])) for name, value in rows.items()},
    }
    for name, (value, shape) in shapes.items():
        if value is not None and jnp.shape(value) != shape:
            raise UserError(
                f"{name} must be {list(shape)} beside these pairs, not {list(jnp.shape(value))}"
            )
