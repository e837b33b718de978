"""Every term, agent, setting, flag and experiment says what it is, and the site shows it."""

import argparse
import ast
import dataclasses
from pathlib import Path

import of_agents
import of_api
import of_runs
import of_terms
import pytest
import texts

from jaxrl_reward import agents, envs, nn, settings
from jaxrl_reward.cli import arguments
from jaxrl_reward.data import formats
from jaxrl_reward.rewards.core import operators, potentials, registry
from jaxrl_reward.training.experiments import experiment as experiments

ROOT = Path(__file__).parents[2]


def ours():
    """The registered terms, without those that other tests have registered."""
    found = registry.entries()
    return [each for each in found if each.build.__module__.startswith("jaxrl_reward.")]


def own_agents():
    return [name for name in agents.names() if agents.module(name).__name__.startswith("jaxrl")]


def silent(things):
    """The names of those without a docstring of their own that begins with a sentence."""
    return [name for name, thing in things if not texts.first_line(thing).endswith((".", ":"))]


def test_terms_say_what_they_are():
    found = ours()
    assert len(found) > 140
    made = [("stack", operators.stack), ("where", operators.where)]
    by_name = [(name, potentials.lookup(name)) for name in potentials.names()]
    assert silent([(each.name, each.build) for each in found] + made) == []
    assert [name for name, potential in by_name if not texts.first_line(potential)] == []


def test_agents_networks_formats_and_experiments_say_what_they_are():
    assert silent((name, agents.module(name)) for name in own_agents()) == []
    assert [name for name in nn.names() if not nn.summary(name)] == []
    assert [name for name in formats.names() if not formats.summary(name)] == []
    for name in experiments.names():
        made = experiments.load(name)
        assert made.claim and made.source and made.title, name
        (file,) = ROOT.glob(f"experiments/**/{name}.py")
        assert ast.get_docstring(ast.parse(file.read_text())), name


@pytest.mark.parametrize("name", own_agents())
def test_settings_say_what_they_are(name):
    for key, each in settings.declared(agents.module(name).Config).items():
        assert len(each.help) > 2 and not each.help.endswith("."), key


def test_flags_say_what_they_are():
    _, commands = arguments.parsers()
    assert len(commands) >= 13
    for name, parser in commands.items():
        bare = [each.dest for each in parser._actions if not each.help]
        assert parser.description and bare == [], name
        assert argparse.SUPPRESS not in [each.help for each in parser._actions]


def test_what_says_nothing_is_found():
    @dataclasses.dataclass
    class Bare:  # whose docstring is the call that a dataclass writes
        width: int = 3

    class Empty:
        pass

    def named():
        """Says what it is."""

    assert Bare.__doc__
    assert silent([("bare", Bare), ("empty", Empty), ("named", named)]) == ["bare", "empty"]


def test_every_term_has_its_place_on_the_site():
    pages = dict(of_terms.pages())
    for each in ours():
        page = pages[f"reference/terms/{of_terms.family(each)}.md"]
        part = page.partition(f"## {each.name} {{#{each.name}}}\n")[2].partition("\n## ")[0]
        assert texts.escaped(each.summary) in part, each.name
        assert [name for name in each.arguments if f"\n| `{name}` | " not in part] == [], each.name
        assert f"({of_terms.family(each)}.md#{each.name})" in pages["reference/terms/index.md"]
    assert "| `low` | `-1` | a number |" in pages["reference/terms/transforms.md"]


def test_every_setting_has_its_place_on_the_site():
    pages = dict(of_agents.pages())
    for name in own_agents():
        page, known = pages[f"reference/agents/{name}.md"], agents.module(name).Config
        for key, each in settings.declared(known).items():
            assert f"\n| `{key}` | " in page and texts.cell(texts.escaped(each.help)) in page, key
    row = "| `gamma` | `0.99` | discount per step | between 0 and 1 | yes |"
    assert row in pages["reference/agents/ppo.md"]


def test_environments_commands_and_experiments_have_theirs():
    pages = {**dict(of_api.pages()), **dict(of_runs.pages())}
    assert [
        each for each in envs.names() if f"`{each}`" not in pages["reference/environments.md"]
    ] == []
    _, commands = arguments.parsers()
    for name, parser in commands.items():
        flags = [flag for flag in parser.flags() if flag.startswith("--")]
        assert f"\n## {name}\n" in pages["reference/commands.md"]
        assert [flag for flag in flags if flag not in pages["reference/commands.md"]] == []
    for name in experiments.names():
        page = pages[f"experiments/{name}.md"]
        assert texts.escaped(experiments.load(name).claim) in page
        assert page.count("\n## Record from seed ") == len(of_runs.sets(name)), name


def test_what_is_meant_literally_is_escaped():
    assert texts.escaped("a*b of `c*d`, [T, N] and x_t") == r"a\*b of `c*d`, \[T, N\] and x\_t"
    assert texts.cell("a | `b|c`\nd") == r"a \| `b|c` d"
    text = "Does it.\n\nOnce:\n\n    a * b\n\nArgs:\n  x: one,\n    of `[T]`.\n  y: two_2.\n"
    assert texts.body(text) == (
        "Once:\n\n```text\na * b\n```\n\n**Args**\n\n- `x`: one, of `[T]`.\n- `y`: two\\_2.\n\n"
    )
