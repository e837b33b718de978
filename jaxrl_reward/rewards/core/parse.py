"""The text form of rewards: `parse("env + 0.1*rnd() | clip(-10, 10)")`.

Python's grammar is borrowed through `ast`, over a whitelist: registered names
called with numbers, strings, tuples and rewards, and the operators `+ - * |`.
Nothing is ever evaluated.
"""

import ast
import dataclasses
import math
import warnings
from typing import Any

from jaxrl_reward.intervals import Interval
from jaxrl_reward.rewards.core import checks, operators
from jaxrl_reward.rewards.core.base import RewardTransform
from jaxrl_reward.rewards.core.registry import entries, lookup
from jaxrl_reward.types import UserError, nearest

MAX_LENGTH = 10_000
MAX_DEPTH = 100
_BINARY = {ast.Add: operators.add, ast.Mult: operators.multiply, ast.BitOr: operators.chain}
_VARIADIC = {"stack": operators.stack, "where": operators.where}


class RewardSyntaxError(UserError):
    """A text that is no reward: one line, with a caret before the place."""


def parse(text: str) -> RewardTransform:
    """The reward expression that `text` describes; `str` of it gives the text back.

    Raises:
      RewardSyntaxError: what is wrong, and a caret `^` before the place.
    """
    if not isinstance(text, str):
        raise RewardSyntaxError(f"rewards.parse reads a text, such as 'env', not {text!r}")
    if len(text) > MAX_LENGTH:
        raise _error(f"longer than {MAX_LENGTH} characters", text, 0)
    _check_depth(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd literals: they are refused below
            tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        place = _offset(text.strip(), error.lineno or 1, (error.offset or 1) - 1)
        reason = (error.msg or "invalid syntax").partition("\n")[0]
        if not error.offset:  # the text ends too early
            place, reason = len(text.strip()), "a reward is missing at the end"
        raise _error(reason, text.strip(), place) from None
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise _error(f"not readable ({type(error).__name__})", text, 0) from None
    return _reward(_Reader(text.strip()).read(tree, 0), tree, text.strip())


class _Reader:
    """Walks the syntax tree of one text."""

    def __init__(self, text: str):
        self.text = text

    def fail(self, why: str, node: ast.AST) -> RewardSyntaxError:
        return _error(why, self.text, _place(self.text, node))

    def read(self, node: ast.expr, depth: int) -> Any:
        """A number, string, truth value, tuple or reward."""
        if depth > MAX_DEPTH:
            raise self.fail(f"nested deeper than {MAX_DEPTH}", node)
        match node:
            case ast.Constant(value=value):
                return self.literal(value, node)
            case ast.Tuple(elts=items):
                values = tuple(self.read(item, depth + 1) for item in items)
                if any(isinstance(value, bool) for value in values):
                    raise self.fail("only numbers and strings are listed", node)
                return values
            case ast.Name(id="inf"):
                return math.inf
            case ast.Name(id="env"):
                return operators.env()
            case ast.Name(id=name):
                known = {entry.name for entry in entries()} | set(_VARIADIC)
                if name in known:
                    raise self.fail(f"{name!r} is a term: write {name}(...)", node)
                raise self.fail(f"unknown reward term {name!r}, {nearest(name, known)}", node)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                value = self.read(operand, depth + 1)
                if isinstance(value, float):
                    return -value
                return operators.negate(self.reward(value, operand))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.read(operand, depth + 1)
            case ast.BinOp():
                return self.binary(node, depth)
            case ast.Call():
                return self.call(node, depth)
        kind = type(node).__name__
        raise self.fail(f"{kind} is not part of the reward language (+ - * | and terms)", node)

    def literal(self, value: Any, node: ast.AST) -> Any:
        if isinstance(value, str | bool):
            return value
        if not isinstance(value, int | float):
            raise self.fail("only numbers and strings are constants", node)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isinf(number):
            raise self.fail("the number is too large; infinity is written inf", node)
        return number

    def binary(self, node: ast.BinOp, depth: int) -> RewardTransform:
        left = self.reward(self.read(node.left, depth + 1), node.left)
        right = self.reward(self.read(node.right, depth + 1), node.right)
        if isinstance(node.op, ast.Sub):
            return operators.add(left, operators.negate(right))
        combine = _BINARY.get(type(node.op))
        if combine is None:
            raise self.fail(
                f"{type(node.op).__name__} is no operator here; use + - * |", node.right
            )
        return combine(left, right)

    def reward(self, value: Any, node: ast.AST) -> RewardTransform:
        return _reward(value, node, self.text)

    def call(self, node: ast.Call, depth: int) -> RewardTransform:
        if not isinstance(node.func, ast.Name):
            raise self.fail("only a reward term can be called", node.func)
        name = node.func.id
        positional = [(self.read(item, depth + 1), item) for item in node.args]
        if name in _VARIADIC:
            if node.keywords:
                raise self.fail(f"{name} takes no keyword arguments", node.keywords[0].value)
            return self.build(_VARIADIC[name], [self.reward(v, n) for v, n in positional], {}, node)
        try:
            entry = lookup(name)
        except UserError:
            known = {entry.name for entry in entries()} | set(_VARIADIC)
            raise self.fail(f"unknown reward term {name!r}, {nearest(name, known)}", node) from None
        arguments = list(entry.arguments)
        listed = ", ".join(arguments) or "none"
        if len(positional) > len(arguments):
            raise self.fail(f"{name} takes {len(arguments)} arguments: {listed}", node)
        values = {key: value for key, (value, _) in zip(arguments, positional, strict=False)}
        for keyword in node.keywords:
            if keyword.arg not in arguments or keyword.arg in values:
                again = " twice" if keyword.arg in values else ""
                raise self.fail(
                    f"{name} got argument {keyword.arg!r}{again}; arguments: {listed}",
                    keyword.value,
                )
            values[keyword.arg] = self.read(keyword.value, depth + 1)
        return self.build(entry.build, [], self.typed(entry, values, node), node)

    def typed(self, entry: Any, values: dict[str, Any], node: ast.AST) -> dict[str, Any]:
        """Values of the type of each argument's default; missing ones are named."""
        typed, kinds = {}, entry.kinds
        for name, default in entry.arguments.items():
            if name not in values:
                if default is dataclasses.MISSING:
                    raise self.fail(f"{entry.name} needs the argument {name!r}", node)
                continue
            value = values[name]
            kind = kinds.get(name, Any)
            if (kind is bool) is not isinstance(value, bool):
                what = "True or False" if kind is bool else "a number or text, not True or False"
                raise self.fail(f"{entry.name}'s {name} must be {what}", node)
            if kind in (float, float | None) and not isinstance(value, float):
                raise self.fail(f"{entry.name}'s {name} must be a number", node)
            if kind is int or (isinstance(default, int) and not isinstance(default, bool)):
                rule = checks.rule(entry.build, name) or Interval(whole=True)
                if not isinstance(value, float) or not value.is_integer():
                    raise self.fail(f"{entry.name}'s {name} must be {rule}", node)
                value = int(value)
                if not checks.holds(rule, value):
                    raise self.fail(f"{entry.name}'s {name} must be {rule}", node)
            if kind is RewardTransform:
                value = self.reward(value, node)
            if kind is str and not isinstance(value, str):
                raise self.fail(f"{entry.name}'s {name} must be a string", node)
            if kind is Any and isinstance(value, RewardTransform):
                raise self.fail(f"{entry.name}'s {name} must be a number or numbers", node)
            typed[name] = value
        return typed

    def build(self, make: Any, values: list[Any], named: dict[str, Any], node: ast.AST) -> Any:
        try:
            return make(*values, **named)
        except (UserError, TypeError) as error:
            raise self.fail(str(error).replace("\n", " "), node) from None


def _reward(value: Any, node: ast.AST, text: str) -> RewardTransform:
    if isinstance(value, str | tuple | bool):
        raise _error("a reward or a number is needed here", text, _place(text, node))
    try:
        return operators.lift(value)
    except UserError as error:
        raise _error(str(error), text, _place(text, node)) from None


def _check_depth(text: str) -> None:
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth > MAX_DEPTH:
            raise _error(f"nested deeper than {MAX_DEPTH}", text, place)


def _place(text: str, node: ast.AST) -> int:
    line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
    lines = text.split("\n")
    prefix = lines[line - 1].encode()[:column].decode(errors="ignore") if line <= len(lines) else ""
    return _offset(text, line, len(prefix))


def _offset(text: str, line: int, column: int) -> int:
    before = sum(len(part) + 1 for part in text.split("\n")[: line - 1])
    return max(0, min(before + column, len(text)))


def _error(why: str, text: str, place: int) -> RewardSyntaxError:
    """One line: why, and the text around a caret at `place`."""
    start, end = max(0, place - 40), place + 40
    head = ("..." if start else "") + ascii(text[start:place])[1:-1]
    tail = ascii(text[place:end])[1:-1] + ("..." if end < len(text) else "")
    why = "".join(c if c.isprintable() else "?" for c in why)[:300]
    return RewardSyntaxError(f"reward: {why}: {head}^{tail}")
