"""Linear temporal logic on finite traces, as finite automata.

De Giacomo and Vardi 2013, "Linear Temporal Logic and Linear Dynamic Logic on Finite
Traces". Of `!f`, `f & g`, `f | g`, `f -> g`, `f <-> g`; `X f` (there is a next step, and f
from it on), `N f` (f from the next step on, if there is one), `last` (there is no next step:
`N false`), `F f`, `G f`, `f U g`, `f R g`, `f W g` (`f U g`, or f to the end) and `f M g` (g
until both). Binding falls in the order: the signs in front; `U`, `R`, `W` and `M`; `&`; `|`;
`->`; `<->`. What stands without brackets between signs of one strength is read from the
right: `a -> b -> c` is `a -> (b -> c)`, and `a R b U c` is `a R (b U c)`.

Other spellings of these are read too: `~` `&&` `||` `=>` `<=>`, `WX` for `N`, `X[!]` for `X`.
The same text can be another task elsewhere (`explain` marks the first two):

| text          | here              | flloat 0.3.0, ltlf2dfa 2.0.0 | pylogics 0.2.1          |
| ------------- | ----------------- | ---------------------------- | ----------------------- |
| `a -> b -> c` | `a -> (b -> c)`   | `(a -> b) -> c`              | one sign of three parts |
| `a R b U c`   | `a R (b U c)`     | `(a R b) U c`                | `(a R b) U c`           |
| `a U b W c`   | `a U (b W c)`     | W is not read                | `(a U b) W c`           |
| `X a`         | strong            | strong                       | weak, `N a` here        |
| `WX a`        | weak, as `N a`    | weak; `N a` is not read      | neither is read         |
| `X[!] a`      | strong            | not read                     | strong                  |
| `last`        | `N false`         | `N false`                    | `G false`               |

The automaton is built by progression (Bacchus and Kabanza 2000): what is left to be true of
the rest of a trace after its first label. Formulas that are left are kept as sets of
conjunctions, of which there are finitely many.
"""

import re
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from jaxrl_reward.types import UserError

MAX_PROPOSITIONS = 8
MAX_STATES = 256

Formula = tuple[Any, ...]  # ("U", f, g) and the like
Left = frozenset[frozenset[Formula]]  # an OR of ANDs of literals and temporal formulas

TRUE, FALSE = ("true",), ("false",)
EMPTY, SOME = ("empty",), ("some",)  # is the rest of the trace empty, or is there some?
_DUAL = {"and": "or", "or": "and", "X": "N", "N": "X", "U": "R", "R": "U"}
_DUAL |= {"true": "false", "false": "true", "is": "not", "not": "is"}
_TOKENS = re.compile(r"\s*(<->|<=>|->|=>|&&|\|\||X\[!\]|[!~&|()]|[A-Za-z_]\w*)")
_SPELT = {"~": "!", "&&": "&", "||": "|", "=>": "->", "<=>": "<->", "WX": "N", "X[!]": "X"}
_UNTIL = ("U", "R", "W", "M")
_PAST = ("Y", "O", "H", "S", "P")  # of logics that look back, which this is none of


class Automaton(NamedTuple):
    """A deterministic automaton over labels, which are sets of propositions as bits.

    Attributes:
      names: of the propositions; the first is the lowest bit.
      after: the state after a label, `[states, 2^P]` int32; the first state is 0.
      accepts: whether a trace that ends in a state satisfies the formula, `[states]` bool.
    """

    names: tuple[str, ...]
    after: np.ndarray
    accepts: np.ndarray


@cache
def automaton(text: str, names: tuple[str, ...] = ()) -> Automaton:
    """The smallest automaton of a formula.

    Args:
      text: the formula; propositions are lower-case words.
      names: of the propositions, in order; those of the formula, sorted, by default.

    Raises:
      UserError: the formula cannot be read, names another proposition, or is too large.
    """
    try:
        return _built(text, names)
    except RecursionError:
        raise UserError(f"formula {text[:40]!r}... is nested too deeply") from None


def _built(text: str, names: tuple[str, ...]) -> Automaton:
    formula = parse(text)
    found = propositions(formula)
    names = names or tuple(sorted(found))
    for name in sorted(found - set(names)):
        raise UserError(f"formula {text!r} has a proposition {name!r}; known: {', '.join(names)}")
    if len(names) > MAX_PROPOSITIONS:
        raise UserError(f"at most {MAX_PROPOSITIONS} propositions, not {len(names)}")
    labels = [
        frozenset(name for i, name in enumerate(names) if bits >> i & 1)
        for bits in range(2 ** len(names))
    ]
    states: dict[Left, int] = {_left(formula): 0}
    rows: list[list[int]] = []
    while len(rows) < len(states):
        left = list(states)[len(rows)]
        rows.append([states.setdefault(_after(left, x), len(states)) for x in labels])
        if len(states) > MAX_STATES:
            raise UserError(f"formula {text!r} needs more than {MAX_STATES} states")
    accepts = np.array([any(map(_holds_of_nothing, left)) for left in states])
    return _smallest(names, np.array(rows, np.int32), accepts)


def parse(text: str) -> Formula:
    """A formula from its text, with negations at the propositions.

    Raises:
      UserError: what is wrong, and where.
    """
    return _read(text)[0]


def readings(text: str) -> tuple[str, ...]:
    """How a formula is read here where others group it otherwise, in a line each."""
    return _read(text)[1]


def _read(text: str) -> tuple[Formula, tuple[str, ...]]:
    reader = _Reader(text)
    formula = reader.equal()
    if reader.token is not None:
        raise reader.fail("something is left over")
    return formula, tuple(dict.fromkeys(reader.readings))


def propositions(formula: Formula) -> set[str]:
    """The names in a formula."""
    if formula[0] in ("is", "not"):
        return {formula[1]}
    return set().union(*(propositions(part) for part in formula[1:]))


def negated(formula: Formula) -> Formula:
    """Not the formula, with the negation at its propositions."""
    kind, *parts = formula
    if kind in ("is", "not"):
        return (_DUAL[kind], *parts)
    return (_DUAL[kind], *map(negated, parts))


class _Reader:
    """Reads a formula by recursive descent, one function for each strength of binding."""

    def __init__(self, text: str):
        self.text, self.place, self.start = text, 0, 0
        self.token: str | None = None
        self.readings: list[str] = []
        self.advance()

    def fail(self, why: str) -> UserError:
        return UserError(f"formula: {why}: {self.text[: self.start]}^{self.text[self.start :]}")

    def advance(self) -> None:
        found = _TOKENS.match(self.text, self.place)
        self.start = self.place
        if found is None and self.text[self.place :].strip():
            raise self.fail("not readable")
        token, self.place = (found[1], found.end()) if found else (None, len(self.text))
        self.token = _SPELT.get(token or "", token)

    def takes(self, *tokens: str) -> str | None:
        token = self.token
        if token not in tokens:
            return None
        self.advance()
        return token

    def equal(self) -> Formula:
        left = self.implied()
        while self.takes("<->"):
            right = self.implied()
            both, neither = ("and", left, right), ("and", negated(left), negated(right))
            left = ("or", both, neither)
        return left

    def implied(self, chained: bool = False) -> Formula:
        left = self.either()
        if not self.takes("->"):
            return left
        if chained:
            self.readings.append(
                "a chain of arrows is read from the right, a -> (b -> c); flloat and ltlf2dfa "
                "read (a -> b) -> c"
            )
        return ("or", negated(left), self.implied(chained=True))

    def either(self) -> Formula:
        left = self.both()
        while self.takes("|"):
            left = ("or", left, self.both())
        return left

    def both(self) -> Formula:
        left = self.until()
        while self.takes("&"):
            left = ("and", left, self.until())
        return left

    def until(self, before: str | None = None) -> Formula:
        left = self.single()
        kind = self.takes(*_UNTIL)
        if self.token == "V":
            raise self.fail("V is written R here")
        if not kind:
            return left
        if before not in (None, kind):
            self.readings.append(
                f"{before} beside {kind} is read from the right, a {before} (b {kind} c); others "
                "bind one of them tighter: use brackets"
            )
        right = self.until(kind)
        # What is weak holds also where the other never comes; M is its dual.
        weak = {"W": ("R", right, ("or", left, right)), "M": ("U", right, ("and", left, right))}
        return weak.get(kind, (kind, left, right))

    def single(self) -> Formula:
        sign = self.takes("!", "X", "N", "F", "G", "(")
        if sign == "(":
            inside = self.equal()
            if not self.takes(")"):
                raise self.fail("a bracket is not closed")
            return inside
        if sign:
            inside = self.single()
            spelt = {"F": ("U", TRUE, inside), "G": ("R", FALSE, inside)}
            return negated(inside) if sign == "!" else spelt.get(sign, (sign, inside))
        if self.takes("true"):
            return TRUE
        if self.takes("false"):
            return FALSE
        if self.takes("last"):
            return ("N", FALSE)
        if self.token in _PAST:
            raise self.fail(f"{self.token} looks back, and only what is to come can be told")
        if self.token is None or not self.token[0].islower():
            raise self.fail("a proposition (a lower-case word) is missing")
        return ("is", self.takes(self.token))


# ---- progression ------------------------------------------------------------------------


@cache
def _left(formula: Formula) -> Left:
    """The formula as an OR of ANDs."""
    match formula:
        case ("true",):
            return frozenset({frozenset()})
        case ("false",):
            return frozenset()
        case ("or", f, g):
            return _absorbed(_left(f) | _left(g))
        case ("and", f, g):
            return _both(_left(f), _left(g))
    return frozenset({frozenset({formula})})


def _both(f: Left, g: Left) -> Left:
    return _absorbed(frozenset(x | y for x in f for y in g))


def _absorbed(clauses: Left) -> Left:
    return frozenset(x for x in clauses if not any(y < x for y in clauses))


def _after(left: Left, label: frozenset[str]) -> Left:
    """What must be true of the rest after a label."""
    either: Left = frozenset()
    for clause in left:
        every: Left = _left(TRUE)
        for part in clause:
            every = _both(every, _progressed(part, label))
        either = _absorbed(either | every)
    return either


@cache
def _progressed(formula: Formula, label: frozenset[str]) -> Left:
    match formula:
        case ("is", name):
            return _left(TRUE if name in label else FALSE)
        case ("not", name):
            return _left(FALSE if name in label else TRUE)
        case ("some",):
            return _left(TRUE)
        case ("empty",):
            return _left(FALSE)
        case ("X", f):
            return _both(_left(f), _left(SOME))
        case ("N", f):
            return _absorbed(_left(f) | _left(EMPTY))
    kind, f, g = formula  # f U g now, or f now and it later; R is its dual
    now, on = _after(_left(g), label), _after(_left(f), label)
    if kind == "U":
        return _absorbed(now | _both(on, _left(formula)))
    return _both(now, _absorbed(on | _left(formula)))


def _holds_of_nothing(clause: frozenset[Formula]) -> bool:
    """Whether an empty rest satisfies all of these: what must be so always, and no more."""
    return all(part[0] in ("empty", "R", "N") for part in clause)


def _smallest(names: tuple[str, ...], after: np.ndarray, accepts: np.ndarray) -> Automaton:
    """States that no trace tells apart as one (Moore 1956), in the order they are reached."""
    block = accepts.astype(int)
    while True:
        rows = np.column_stack([block, block[after]])
        finer = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
        if finer.max() == block.max():
            break
        block = finer
    order = {int(b): i for i, b in enumerate(dict.fromkeys(block.tolist()))}
    block = np.array([order[int(b)] for b in block])
    one_of_each = [int(np.flatnonzero(block == b)[0]) for b in range(len(order))]
    return Automaton(names, block[after[one_of_each]].astype(np.int32), accepts[one_of_each])
