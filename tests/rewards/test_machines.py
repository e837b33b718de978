"""Temporal formulas against their meaning on every short trace; machines by hand."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward.rewards.automata import ltlf, machines
from jaxrl_reward.types import UserError

FORMULAS = [
    "a",
    "!a & b",
    "X a",
    "N a",
    "F a",
    "G a",
    "F (a & X b)",
    "F a & F b",
    "a U b",
    "a R b",
    "G (a -> F b)",
    "G (a -> X b)",
    "G (a -> N !a)",
    "!(a U b) | X X a",
    "F G a",
    "(a | b) U (a & b) -> G !b",
    "X true",
    "N false",
    "F (a & N false)",
]


def means(formula, trace):
    """Whether a trace, a list of sets, satisfies a formula: by the definition of each sign."""
    kind, *parts = formula
    later = [trace[i:] for i in range(len(trace))]
    match kind:
        case "true" | "false":
            return kind == "true"
        case "is":
            return bool(trace) and parts[0] in trace[0]
        case "not":
            return bool(trace) and parts[0] not in trace[0]
        case "and":
            return all(means(part, trace) for part in parts)
        case "or":
            return any(means(part, trace) for part in parts)
        case "X":
            return len(trace) > 1 and means(parts[0], trace[1:])
        case "N":
            return len(trace) <= 1 or means(parts[0], trace[1:])
        case "U":
            return any(
                means(parts[1], rest) and all(means(parts[0], x) for x in later[:i])
                for i, rest in enumerate(later)
            )
        case "R":
            return all(
                means(parts[1], rest) or any(means(parts[0], x) for x in later[:i])
                for i, rest in enumerate(later)
            )
    raise AssertionError(kind)


@pytest.mark.parametrize("text", FORMULAS)
def test_an_automaton_accepts_what_its_formula_means(text):
    """On all traces of up to four steps over two propositions; and its negation the others."""
    names = ("a", "b")
    table, formula = ltlf.automaton(text, names), ltlf.parse(text)
    against = ltlf.automaton(f"!({text})", names)
    for length in range(1, 5):
        for bits in itertools.product(range(4), repeat=length):
            trace = [{name for i, name in enumerate(names) if x >> i & 1} for x in bits]
            state = other = 0
            for x in bits:
                state, other = table.after[state, x], against.after[other, x]
            assert table.accepts[state] == means(formula, trace)
            assert against.accepts[other] != table.accepts[state]


def test_automata_are_the_smallest():
    assert len(ltlf.automaton("F a | F F a").accepts) == 2
    assert len(ltlf.automaton("F (a & F (b & F c))").accepts) == 4
    assert len(ltlf.automaton("true", ("a",)).accepts) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("F (a & b", r"bracket is not closed: F \(a & b\^"),
        ("a U", "a proposition"),
        ("a b", r"left over: a\^ b"),
        ("a + b", r"not readable: a\^ \+ b"),
        ("F A", "a proposition"),
        ("a V b", r"V is written R here: a\^ V b"),
        ("O a", "O looks back"),
        ("a <- b", "not readable"),
        ("X[a", "not readable"),
    ],
)
def test_what_is_no_formula_is_told(text, message):
    with pytest.raises(UserError, match=message):
        ltlf.parse(text)


@pytest.mark.parametrize("text", ["X " * 2000 + "a", "!" * 2000 + "a", "(" * 800 + "a" + ")" * 800])
def test_what_is_nested_too_deeply_is_told(text):
    with pytest.raises(UserError, match="nested too deeply"):
        ltlf.automaton(text)


def holds(text, a, b, i, n):
    """A formula in Python, of step i of n: each sign by its own meaning on finite traces."""
    signs = {
        "a": a[i],
        "b": b[i],
        "last": i == n - 1,
        "a W b": all(a[i:]) or any(b[k] and all(a[i:k]) for k in range(i, n)),
        "b M a": any(b[k] and all(a[i : k + 1]) for k in range(i, n)),
        "X a": i + 1 < n and a[min(i + 1, n - 1)],
        "N a": i + 1 >= n or a[min(i + 1, n - 1)],
        "F (last & a)": a[n - 1],
        "a <-> b": a[i] == b[i],
    }
    return signs[text]


SPELLINGS = {
    "last": ["last", "!X true", "WX false", "G last"],
    "a W b": ["a W b", "(a U b) || G a", "~(~a M ~b)", "~(~b U (~a && ~b))"],
    "b M a": ["b M a", "a U (a && b)", "~(~b W ~a)"],
    "X a": ["X a", "X[!] a", "X[!]a", "~WX ~a"],
    "N a": ["WX a", "N a", "last || X[!] a"],
    "F (last & a)": ["F (last & a)", "G (last -> a)", "G(last=>a)"],
    "a <-> b": ["a <-> b", "a<=>b", "(a => b) && (b -> a)", "~a <-> ~b", "a <-> b <-> true"],
}


@pytest.mark.parametrize("meaning", SPELLINGS)
def test_other_tools_signs_mean_on_all_short_traces_what_they_say(meaning):
    for text in SPELLINGS[meaning]:
        table = ltlf.automaton(text, ("a", "b"))
        for length in range(1, 6):
            for bits in itertools.product(range(4), repeat=length):
                state = 0
                for x in bits:
                    state = table.after[state, x]
                a, b = [bool(x & 1) for x in bits], [bool(x & 2) for x in bits]
                if text == "G last":
                    assert table.accepts[state] == (length == 1)
                else:
                    assert table.accepts[state] == holds(meaning, a, b, 0, length), (text, bits)


def test_signs_of_one_strength_are_read_from_the_right():
    same = {
        "a -> b -> c": "a -> (b -> c)",
        "a R b U c": "a R (b U c)",
        "a U b R c": "a U (b R c)",
        "a W b U c": "a W (b U c)",
        "a <-> b -> c": "a <-> (b -> c)",
        "a -> b <-> c": "(a -> b) <-> c",
        "! a W b & c": "((!a) W b) & c",
    }
    for text, grouped in same.items():
        assert ltlf.parse(text) == ltlf.parse(grouped)
    for text in ("(a -> b) -> c", "a -> (b -> c)", "a U b U c", "F a -> G b", "a R (b U c)"):
        assert not ltlf.readings(text)
    assert "(a -> b) -> c" in ltlf.readings("G (a -> b -> c -> d)")[0]
    assert len(ltlf.readings("G (a -> b -> c -> d)")) == 1
    assert "R beside U" in ltlf.readings("F (a R b U c)")[0]
    assert "brackets" in ltlf.readings("a U b W c")[0]


def test_explain_warns_of_what_others_read_otherwise():
    def lines(text):
        tree = rw.explain(rw.parse(text))
        return "".join(str(leaf.label) for term in tree.children for leaf in term.children)

    assert "arrows" in lines("env + ltl('a -> b -> a', at=(0, 1))")
    assert "R beside U" in lines("env + reward_machine('0 -a R b U a-> 1', at=(0, 1))")
    assert not lines("env + ltl('a -> b', at=(0, 1))")


# ---- as rewards -------------------------------------------------------------------------


def walk(block_of, *labels, ends=()):
    """A block that shows these labels ("ab") after its first observation."""
    obs = [[0.0, 0.0]] + [[float("a" in x), float("b" in x)] for x in labels]
    return block_of([0.0] * len(labels), ends=ends, obs=obs)


def test_a_formula_is_paid_at_the_end_or_once(block_of, paid):
    block = walk(block_of, "a", "", "b", "b", "a", "b", "b", ends=[4])
    then = rw.ltl("F (a & F b)", at=(0, 1))
    np.testing.assert_array_equal(paid(then, block), [0, 0, 0, 0, 1, 0, 0])
    once = rw.ltl("F (a & F b)", at=(0, 1), when="once")
    np.testing.assert_array_equal(paid(once, block), [0, 0, 1, 0, 0, 0, 0])
    never = rw.ltl("G !a", at=0)
    np.testing.assert_array_equal(paid(never, block), [0, 0, 0, 0, 0, 0, 1])


def test_a_machine_pays_for_its_edges_and_shows_its_state(block_of, paid, after):
    block = walk(block_of, "a", "ab", "b", "b", "a", ends=[3])
    term = rw.reward_machine("0 -a-> 1; 1 -b & !a-> 0", rewards=(1.0, 5.0), at=(0, 1))
    np.testing.assert_array_equal(paid(term, block), [1, 0, 5, 0, 1])
    assert term.observe(after(term, block).local).tolist() == [[0.0, 1.0]]
    first = rw.reward_machine("0 -a-> 0; 0 -a & b-> 1", rewards=(1.0, 5.0), at=(0, 1))
    np.testing.assert_array_equal(paid(first, block), [1, 1, 0, 0, 1])  # the first that fits
    table = machines.machine("0 -a-> 2", ("a", "b"))
    np.testing.assert_array_equal(table.after, [[0, 2, 0, 2], [1] * 4, [2] * 4])


def test_labels_may_be_any_function(block_of, paid):
    block = block_of([0.0] * 3, obs=[[0.0], [2.0], [-1.0], [3.0]])
    far = lambda obs: jnp.stack([obs[0] > 1, obs[0] < 0])  # noqa: E731
    term = rw.reward_machine("0 -far-> 1; 1 -low-> 0", rewards=(1.0, 2.0), at=far)
    np.testing.assert_array_equal(paid(term, block), [1, 2, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reward_machine('0 a 1')", "is no edge"),
        ("reward_machine('0 -a-> 1', rewards=(1, 2))", "1 edges and 2 rewards"),
        ("reward_machine('0 -b-> 1')", "has a proposition 'b'; known: a"),
        ("ltl('F a', at='left')", "components of the observation"),
        ("ltl('F a', at=-1)", "components of the observation"),
        ("ltl('F a', when='often')", "ltl's when cannot be 'often'"),
    ],
)
def test_bad_automata_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        rw.parse(text)


def test_a_component_that_is_not_there_is_told(block_of):
    block = walk(block_of, "a")
    with pytest.raises(UserError, match="component 7 of an observation of 2"):
        term = rw.ltl("F a", at=7)
        jax.eval_shape(lambda key: term.apply(term.init(key, block), block), jax.random.key(0))


def test_they_have_a_text():
    term = rw.reward_machine("0 -a-> 1", at=3)
    assert str(term) == "reward_machine(edges='0 -a-> 1', at=(3,))"
    assert str(rw.parse(str(term))) == str(term)
