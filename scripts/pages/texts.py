"""Docstrings and tables as Markdown."""

import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Example|Examples):$")
_ENTRY = re.compile(r"^(\*{0,2}\w[\w, *.]*): (.*)$", re.DOTALL)


def first_line(documented: Any) -> str:
    """The first line of an object's docstring, "" where it has none of its own."""
    return text_of(documented).partition("\n")[0]


def text_of(documented: Any) -> str:
    """An object's docstring; "" where it is none, or only the call that a dataclass writes."""
    text = inspect.cleandoc(getattr(documented, "__doc__", None) or "")
    name = getattr(documented, "__name__", "")
    return "" if re.match(rf"{re.escape(name)}\(.*\)$", text, re.DOTALL) else text


def escaped(text: str) -> str:
    """Text whose stars, brackets and underscores are meant, outside of `code`."""
    return _outside_code(r"([*_\[\]<>])", text)


def cell(text: Any) -> str:
    """A cell of a table: `a|b` of code stays as it is, which Python-Markdown reads."""
    return _outside_code(r"(\|)", " ".join(str(text).split()))


def _outside_code(signs: str, text: str) -> str:
    """Text with a backslash before signs that are not within `code`."""
    parts = re.split(r"(`[^`]*`)", text)
    plain = [re.sub(signs, r"\\\1", part) for part in parts[::2]]
    return "".join(a + b for a, b in zip(plain, [*parts[1::2], ""], strict=True))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table, with an empty line behind it."""
    lines = [head, ["--"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell(each) for each in line)} |\n" for line in lines) + "\n"


def body(text: str) -> str:
    """A docstring behind its first line: paragraphs, formulas, and sections as lists."""
    rest = text.partition("\n")[2].strip("\n")
    blocks, section = [], False
    for block in re.split(r"\n\s*\n", rest):
        lines = block.strip("\n").splitlines()
        if not lines:
            continue
        if _SECTION.match(lines[0]):
            blocks.append(f"**{lines.pop(0)[:-1]}**")
            section = True
        elif not lines[0].startswith("  "):
            section = False
        if not lines:
            continue
        inner = textwrap.dedent("\n".join(lines))
        if section:
            blocks.append(_entries(inner))
        elif lines[0].startswith("  "):  # a formula or a program
            blocks.append(f"```text\n{inner}\n```")
        else:
            blocks.append(escaped(inner))
    return "\n\n".join(blocks) + "\n\n" if blocks else ""


def _entries(inner: str) -> str:
    """`name: what it is`, or one text, as a list."""
    entries: list[str] = []
    for line in inner.splitlines():
        if line.startswith(" ") and entries:
            entries[-1] += f" {line.strip()}"
        else:
            entries.append(line)
    shown = []
    for entry in entries:
        found = _ENTRY.match(entry)
        shown.append(f"- `{found[1]}`: {escaped(found[2])}" if found else f"- {escaped(entry)}")
    return "\n".join(shown)
