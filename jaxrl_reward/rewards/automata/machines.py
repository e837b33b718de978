"""Rewards of histories that a finite automaton can tell apart.

What a reward machine or a temporal formula pays depends on what happened before; with
`placement="step"` the policy sees the automaton's state, and the task is Markov again.
"""

import re
import string
from functools import cache
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.rewards.automata import ltlf
from jaxrl_reward.rewards.core.base import static
from jaxrl_reward.rewards.core.checks import OneOf, Row
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Causal
from jaxrl_reward.types import Array, Transition, UserError

WHEN = ("end", "once")
_EDGE = re.compile(r"\s*(\d+)\s*-(.+?)->\s*(\d+)\s*")


def _read_places(term: Any) -> None:
    """Brings `at` to whole numbers, and raises a `UserError` where it names none."""
    if callable(term.at):
        return
    places = term.at if isinstance(term.at, tuple) else (term.at,)
    if not all(map(_whole, places)):
        raise UserError(
            f"{term.name}'s at must be components of the observation, as in (3, 7), not {term.at!r}"
        )
    object.__setattr__(term, "at", tuple(map(int, places)))


def _names(at: Any) -> tuple[str, ...]:
    """Of the propositions: a, b, c and so on for the components `at`."""
    return () if callable(at) else tuple(string.ascii_lowercase[: len(at)])


def _label(term: Any, obs: Array) -> Array:
    """Which propositions are true of an observation, as bits, int32."""
    if callable(term.at):
        true = jnp.asarray(term.at(obs), bool)
    else:
        seen = obs.reshape(-1)
        if max(term.at, default=0) >= seen.size:
            raise UserError(
                f"{term.name} looks at component {max(term.at)} of an observation of "
                f"{seen.size} components"
            )
        true = seen[np.array(term.at, int)] > 0.5
    return (true * 2 ** np.arange(true.size)).sum(dtype=jnp.int32)


def _whole(value: Any) -> bool:
    return isinstance(value, int | float) and float(value).is_integer() and value >= 0


class Machine(NamedTuple):
    """The tables of a reward machine.

    Attributes:
      after: the state after a label, `[states, 2^P]` int32.
      edge: which edge was taken, `[states, 2^P]` int32; the number of edges for none.
    """

    after: np.ndarray
    edge: np.ndarray


@cache
def machine(edges: str, names: tuple[str, ...] = ()) -> Machine:
    """The tables of edges `'0 -a-> 1; 1 -b & !a-> 0'`.

    Guards are formulas without temporal signs. Of the edges that fit the first is taken;
    where none fits the state stays.

    Args:
      edges: the text.
      names: of the propositions; those of the guards, sorted, by default.

    Raises:
      UserError: an edge cannot be read, or its guard.
    """
    read = [_EDGE.fullmatch(each) for each in edges.split(";")]
    for each, found in zip(edges.split(";"), read, strict=True):
        if found is None:
            raise UserError(f"{each.strip()!r} is no edge; write one as '0 -a & !b-> 1'")
    found = [(int(m[1]), m[2], int(m[3])) for m in read if m]
    if not names:
        names = tuple(sorted(set().union(*(ltlf.propositions(ltlf.parse(g)) for _, g, _ in found))))
    states = 1 + max(max(start, end) for start, _, end in found)
    after = np.repeat(np.arange(states, dtype=np.int32)[:, None], 2 ** len(names), 1)
    edge = np.full(after.shape, len(found), np.int32)
    for i in reversed(range(len(found))):
        start, guard, end = found[i]
        table = ltlf.automaton(guard, names)
        true = table.accepts[table.after[0]]  # of a trace of this one label
        after[start, true], edge[start, true] = end, i
    return Machine(after, edge)


@register(
    "reward_machine", {"edges": "0 -a-> 1; 1 -b & !a-> 0", "rewards": (0.5, 1.0), "at": (0, 1)}
)
class reward_machine(Causal):  # noqa: N801
    """Pays `rewards[i]` for taking edge i of a finite machine over what is observed.

    Toro Icarte, Klassen, Valenzano and McIlraith 2022, "Reward Machines: Exploiting Reward
    Function Structure in Reinforcement Learning". Edges are written
    `'0 -a-> 1; 1 -b & !a-> 0'`; state 0 is the first, the first edge that fits is taken, and
    where none fits the machine stays and pays nothing. Propositions a, b, c ... are true
    where the components `at` of the next observation are above 0.5 (one-hot in finite
    worlds); or `at` is a function of it, `[P]`, for the names in order. The policy may see
    the state, one-hot (`placement`).
    """

    edges: str = static()
    rewards: Row = (1.0,)
    at: Any = static(default=(0,))

    def validate(self) -> None:
        _read_places(self)
        machine(self.edges, _names(self.at))
        count = len(self.edges.split(";"))
        if isinstance(self.rewards, tuple) and len(self.rewards) != count:
            raise UserError(f"reward_machine has {count} edges and {len(self.rewards)} rewards")

    def remarks(self) -> tuple[str, ...]:
        edges = map(_EDGE.fullmatch, self.edges.split(";"))
        return tuple(line for edge in edges if edge for line in ltlf.readings(edge[2]))

    @property
    def machine(self) -> Machine:
        """Its tables."""
        return machine(self.edges, _names(self.at))

    def begin_one(self, shared: Any, obs: Array) -> Array:
        del shared, obs
        return jnp.int32(0)

    def step(self, shared: Any, local: Array, transition: Transition) -> tuple[Array, Array]:
        del shared
        tables, label = self.machine, _label(self, transition.next_obs)
        rewards = jnp.append(jnp.asarray(self.rewards, jnp.float32), 0.0)
        paid = rewards[jnp.asarray(tables.edge)[local, label]]
        return jnp.asarray(tables.after)[local, label], paid

    def view(self, local: Array) -> Array:
        return jax.nn.one_hot(local, len(self.machine.after))


@register("ltl", {"formula": "F (a & F b)", "at": (0, 1), "when": "once"})
class ltl(Causal):  # noqa: N801
    """1 if the episode satisfies a temporal formula, at its last step; 0 before and else.

    LTL on finite traces, through an automaton (`rewards.ltlf` has the signs): of the labels
    of all observations after the first. With `when='once'` it is paid when what has been
    seen so far satisfies the formula for the first time. Propositions and `at` are those
    of `reward_machine`; the policy may see the automaton's state, one-hot (`placement`).
    """

    formula: str = static()
    at: Any = static(default=(0,))
    when: Annotated[str, OneOf(WHEN)] = static(default="end")

    def validate(self) -> None:
        _read_places(self)
        ltlf.automaton(self.formula, _names(self.at))

    def remarks(self) -> tuple[str, ...]:
        return ltlf.readings(self.formula)

    @property
    def automaton(self) -> ltlf.Automaton:
        """Of the formula."""
        return ltlf.automaton(self.formula, _names(self.at))

    def begin_one(self, shared: Any, obs: Array) -> tuple[Array, Array]:
        del shared, obs
        return jnp.int32(0), jnp.bool_(False)

    def step(
        self, shared: Any, local: tuple[Array, Array], transition: Transition
    ) -> tuple[tuple[Array, Array], Array]:
        del shared
        state, paid = local
        state = jnp.asarray(self.automaton.after)[state, _label(self, transition.next_obs)]
        good = jnp.asarray(self.automaton.accepts)[state]
        now = good & ~paid if self.when == "once" else good & transition.last
        return (state, paid | good), now.astype(jnp.float32)

    def view(self, local: tuple[Array, Array]) -> Array:
        state, paid = local
        shown = jax.nn.one_hot(state, len(self.automaton.accepts))
        return jnp.append(shown, paid.astype(jnp.float32)) if self.when == "once" else shown
