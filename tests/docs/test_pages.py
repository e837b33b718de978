"""The snippets of the pages written by hand run, and their commands are understood."""

import _snippets as snippets
import pytest

PAGES = {each.name: each.read_text() for each in sorted((snippets.ROOT / "docs").glob("*.md"))}
LINES = [(name, line) for name, text in PAGES.items() for line in snippets.commands(text)]
PROGRAMS = [name for name, text in PAGES.items() if snippets.blocks(text, "python")]


def test_there_are_pages():
    known = {"index.md", "concepts.md", "coming-from.md", "limits.md", "contributing.md"}
    assert known <= PAGES.keys()
    assert {"index.md", "concepts.md"} <= set(PROGRAMS) and LINES


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_python_snippets_run_in_order(name, registers):
    snippets.run(PAGES[name], name)


@pytest.mark.parametrize(("name", "line"), LINES, ids=str)
def test_the_commands_are_understood(name, line, monkeypatch, registers):
    snippets.check_command(line, monkeypatch)


@pytest.mark.parametrize("name", PAGES)
def test_the_scripts_are_there(name):
    missing = [
        each for each in snippets.scripts(PAGES[name]) if not (snippets.ROOT / each).is_file()
    ]
    assert missing == []
