"""One declaration of a setting: what is made of it, and that there is no other."""

import ast
import inspect
import math
import sys
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, settings
from jaxrl_reward.intervals import Interval
from jaxrl_reward.settings import RUN, Settings, declared, setting
from jaxrl_reward.types import UserError

COLOURS = {"red": 1, "blue": 2}


class Base(Settings):
    """Some settings."""

    rate: float = setting(0.5, "of learning, which is slow", low=0.0, high=1.0)
    layers: int = setting(2, "of the network", low=1)
    colour: str = setting("red", "of its lines", choices=COLOURS)


class Wide(Base):
    widths: tuple[int, ...] = setting((8, 4), "of layers", low=1)
    layers: int = setting(help="of the wide network")


class Fast(Base):
    layers: int = 3
    rate: float = setting(1.0)


class Both(Wide, Fast):
    """Both."""

    ends: tuple[float, ...] = setting((-1.0,), "of a range")
    kind: Literal["a", "b"] = setting("a", "`a` or `b`")
    on: bool = setting(False, "may vary", static=False)
    source: int = setting(0, "may vary too", low=0, static=False)
    steps: float = setting(RUN, "until it is over", low=1.0, of_run=True)


# ---- what is declared -------------------------------------------------------------------


def test_floats_are_leaves_and_all_else_is_static_unless_said():
    found = declared(Both)
    assert [name for name, each in found.items() if not each.static] == [
        *("rate", "ends", "on", "source", "steps")
    ]
    assert jax.tree.leaves(Both()) == [1.0, -1.0, False, 0, RUN]
    assert [found[name].number for name in ("layers", "widths", "ends", "kind", "on")] == [
        *(int, int, float, None, None)
    ]
    assert found["widths"].interval == Interval(1, whole=True)
    assert found["source"].interval == Interval(0)  # a float, once it is traced
    assert found["on"].interval is None


def test_a_class_changes_what_it_says_and_no_more():
    layers, rate = declared(Both)["layers"], declared(Both)["rate"]
    assert (layers.default, layers.help, layers.low) == (3, "of the wide network", 1)
    assert (rate.default, rate.help, rate.high) == (1.0, "of learning, which is slow", 1.0)
    made = Both(layers=7)
    assert (made.layers, made.rate, Wide().layers, Fast().layers, Base().rate) == (7, 1, 2, 3, 0.5)


def test_choices_are_those_of_the_type_or_of_a_table_that_may_grow(monkeypatch):
    assert declared(Both)["kind"].choices == ("a", "b")
    with pytest.raises(UserError, match="it has no colour 'xyz', known: blue, red"):
        settings.check("it", Both(colour="xyz"))
    monkeypatch.setitem(COLOURS, "xyz", 3)
    settings.check("it", Both(colour="xyz"))


def test_the_docstring_shows_every_setting():
    assert Fast.__doc__ == "\n".join(
        [
            "Fast's settings.\n\nAttributes:",
            *("  layers: of the network.", "  colour: of its lines."),
            "  rate: of learning, which is slow.\n",
        ]
    )
    assert max(map(len, (agents.module("group_pg").Config.__doc__ or "").splitlines())) <= 88


def test_what_is_not_declared_is_refused():
    with pytest.raises(TypeError, match=r"Bad\.x is no setting"):
        type("Bad", (Settings,), {"__annotations__": {"x": float}, "x": 1.0})
    with pytest.raises(TypeError, match=r"Bad\.x is no setting"):
        type("Bad", (Settings,), {"__annotations__": {"x": float}, "x": setting(1.0)})
    with pytest.raises(TypeError, match=r"Bad\.x has its choices in its type"):
        made = setting("a", "or b", choices=("a", "b"))
        type("Bad", (Settings,), {"__annotations__": {"x": Literal["a", "b"]}, "x": made})


# ---- what it may be ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 2.0}, "it's rate must be between 0 and 1, not 2.0"),
        ({"rate": math.nan}, "it's rate must be between 0 and 1, not nan"),
        ({"rate": None}, "it's rate must be between 0 and 1, not None"),
        ({"rate": jnp.array([0.5, 2.0])}, r"it's rate must be between 0 and 1, not \[0.5 2. \]"),
        ({"layers": 0}, "it's layers must be a positive integer, not 0"),
        ({"layers": 2.0}, "it's layers must be a positive integer, not 2.0"),
        ({"layers": True}, "it's layers must be a positive integer, not True"),
        ({"widths": (4, 0)}, "it's widths must be a positive integer, not 0"),
        ({"ends": (0.0, math.nan)}, "it's ends must be a number, not nan"),
        ({"source": -1}, "it's source must be at least 0, not -1"),
        ({"steps": 0.5}, "it's steps must be at least 1, not 0.5"),
        ({"kind": "c"}, "it has no kind 'c', known: a, b"),
        ({"kind": 3}, "it has no kind 3"),
    ],
)
def test_what_a_setting_cannot_be(changes, message):
    with pytest.raises(UserError, match=message):
        settings.check("it", Both(**changes))


def test_tracers_and_what_a_vmap_gives_pass():
    def checked(config):
        settings.check("it", config)
        return config.rate + config.ends[0] + config.source

    config = jax.tree.map(lambda x: jnp.full(2, -7.0), Both())
    np.testing.assert_array_equal(jax.vmap(checked)(config), [-21.0, -21.0])
    settings.check("it", Both(source=jnp.float32(1.0), on=jnp.bool_(True)))


def test_rules_across_settings_are_asked_last_and_those_of_all_bases():
    class Ruled(Both):
        def validate(self, owner):
            super().validate(owner)
            raise UserError(f"{owner}: {self.layers}")

    with pytest.raises(UserError, match="it: 3"):
        settings.check("it", Ruled())
    with pytest.raises(UserError, match="rate"):
        settings.check("it", Ruled(rate=2.0))


def test_a_length_is_the_runs_where_it_is_not_given():
    settings.check("it", Both())
    assert settings.at_length(Both(), 7).steps == 7.0
    given = Both(steps=3.0)
    assert settings.at_length(given, 7) is given
    assert settings.at_length("of another kind", 7) == "of another kind"


# ---- there is no second declaration -----------------------------------------------------

CONFIGS = {name: agents.module(name).Config for name in agents.names()}


def of_package(cls=Settings):
    """All classes of settings in the package."""
    found = [cls] if cls.__module__.startswith("jaxrl_reward.agents.") else []
    return found + [each for sub in cls.__subclasses__() for each in of_package(sub)]


CLASSES = list(dict.fromkeys(of_package()))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_defaults_of_an_agent_are_what_they_may_be(name):
    settings.check(name, CONFIGS[name]())
    for each in declared(CONFIGS[name]).values():
        assert each.help and each.help == each.help.strip().rstrip(".")


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_a_class_repeats_nothing_that_it_inherits(cls):
    written = ast.get_docstring(ast.parse(inspect.getsource(cls)).body[0])
    assert written and "Attributes:" not in written
    for name, said in cls._says.items():
        for base in [base for base in cls.__mro__[1:] if name in vars(base).get("_says", {})][:1]:
            inherited = declared(base)[name]
            assert [key for key, value in said.items() if getattr(inherited, key) != value]
            same = [key for key in said if key != "kind" and getattr(inherited, key) == said[key]]
            assert not same, (name, same)


def test_no_setting_is_declared_twice():
    texts = [(name, said.get("help")) for cls in CLASSES for name, said in cls._says.items()]
    texts = [each for each in texts if each[1]]
    assert len(CLASSES) > 15 and len(texts) > 90
    assert not [each for each in texts if texts.count(each) > 1]


def test_choices_are_listed_once():
    """No table or tuple repeats them, but the one that they are."""
    modules = [sys.modules[name] for name in sorted(sys.modules) if name.startswith("jaxrl_reward")]
    tables = [
        (f"{module.__name__}.{name}", value)
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, tuple | list | dict | set | frozenset)
    ]
    for agent, config in CONFIGS.items():
        for name, each in declared(config).items():
            if each.choices is not None and len(each.choices) > 1:
                same = [
                    where
                    for where, table in tables
                    if table is not each.choices
                    and all(isinstance(x, str) for x in table)
                    and set(table) == set(each.choices)
                ]
                assert not same, (agent, name)
