"""Arithmetic on several rewards as a row of numbers, so that formulas can be searched for."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrl_reward.rewards.core.checks import Finites
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.objectives.scalarise import Scalariser
from jaxrl_reward.types import Array, UserError

NOTHING, PLUS, MINUS, TIMES, TENTH, TEN = 0, -1, -2, -3, -4, -5
OPERATORS = {PLUS: "+", MINUS: "-", TIMES: "*"}
CONSTANTS = {TENTH: 0.1, TEN: 10.0}


@register("postfix", {"code": (1.0, 2.0, -1.0)}, {"code": (1.0, 2.0, -4.0, -3.0, -2.0)})
class postfix(Scalariser):  # noqa: N801
    """A formula of the rewards of `stack(a, b, ...)`, in reverse Polish notation.

    In `code` 1, 2, ... are the rewards, -4 is 0.1 and -5 is 10, -1, -2 and -3 take the
    two numbers before them to their sum, difference and product, and 0 is nothing:
    `code=(1, 2, -4, -3, -1)` is `a + b*0.1`. The code is numbers, not structure: `vmap` over
    it, and a whole population of formulas is one program (DERL, "Differentiable
    Evolutionary Reinforcement Learning", 2025). `formula` writes it out.
    """

    code: Finites = (1.0,)

    def validate(self) -> None:
        known = [each for each in _tuple(self.code) if isinstance(each, int | float)]
        if len(known) == len(_tuple(self.code)):
            check(known)

    def combine(self, rewards: Array) -> Array:
        code = jnp.round(jnp.asarray(self.code, jnp.float32)).astype(jnp.int32).reshape(-1)
        room = (code.shape[0] + 1) // 2 + 1
        stack, top, places = jnp.zeros(room), jnp.int32(0), jnp.arange(room)
        for token in code:
            pushes, works = (token > 0) | (token <= TENTH), (token < 0) & (token >= TIMES)
            number = jnp.where(token == TENTH, 0.1, 10.0)
            number = jnp.where(token > 0, rewards[jnp.maximum(token - 1, 0)], number)
            right, left = stack[jnp.maximum(top - 1, 0)], stack[jnp.maximum(top - 2, 0)]
            value = jnp.where(token == PLUS, left + right, left * right)
            value = jnp.where(token == MINUS, left - right, value)
            here = (places == jnp.where(pushes, top, top - 2)) & (pushes | works)
            stack = jnp.where(here, jnp.where(pushes, number, value), stack)
            top = top + pushes - works
        return stack[0]


def check(code: Sequence[float]) -> None:
    """Raises a `UserError` unless the code leaves one number."""
    depth = 0
    for token in code:
        if token != round(token) or token < TEN:
            raise UserError(f"postfix's code has no token {token:g}; rewards are 1, 2, ...")
        if token > 0 or token in CONSTANTS:
            depth += 1
        elif token in OPERATORS:
            depth -= 1
        if depth < 1 and token != NOTHING:
            raise UserError(f"postfix's code {tuple(code)} takes more numbers than there are")
    if depth != 1:
        raise UserError(f"postfix's code {tuple(code)} leaves {depth} numbers, not one")


def formula(code: Sequence[float], parts: Sequence[str]) -> str:
    """The code as an expression of these parts, which `parse` reads.

    Raises:
      UserError: it leaves not one number, or names a part that is not there.
    """
    check(code)
    stack: list[str] = []
    for token in map(int, np.asarray(code)):
        if token > len(parts):
            raise UserError(f"postfix's code names reward {token} of {len(parts)}")
        if token > 0:
            # What an operator of the algebra holds together needs none around it.
            simple = parts[token - 1].replace("_", "").isalnum() or parts[token - 1].endswith(")")
            bare = simple and not any(sign in parts[token - 1] for sign in "|+* ")
            stack.append(parts[token - 1] if bare else f"({parts[token - 1]})")
        elif token in CONSTANTS:
            stack.append(f"{CONSTANTS[token]:g}")
        elif token in OPERATORS:
            right, left = stack.pop(), stack.pop()
            stack.append(f"({left} {OPERATORS[token]} {right})")
    text = stack[0]
    return text[1:-1] if text.startswith("(") and _matches(text) else text


def _matches(text: str) -> bool:
    """Whether the first bracket is closed by the last one."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return i == len(text) - 1
    return False


def _tuple(code: Any) -> tuple:
    return tuple(code) if isinstance(code, tuple | list) else (code,)
