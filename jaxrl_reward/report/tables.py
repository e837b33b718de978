"""Tables of arms: interquartile mean, its interval, and how many seeds.

For Markdown, LaTeX, spreadsheets and a terminal.

`arms` is the part of that name in `summary.json`: by arm, a mapping with
`iqm`, `ci_low`, `ci_high`, `seeds` and `metric`, as
`statistics.summarize` makes it; and `score`, as `statistics.scored` does, where data say
what returns score 0 and 100.
"""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxrl_reward.files import user_path, write_atomic
from jaxrl_reward.types import UserError

if TYPE_CHECKING:
    from rich.table import Table

Arms = Mapping[str, Mapping[str, Any]]
_UNKNOWN = "n/a"
_NO_ARMS = "there are no arms to tabulate; the run has no results yet"
_COLUMNS = ("metric", "iqm", "ci_low", "ci_high", "seeds")
_TEX = {"\\": "\\textbackslash{}", "^": "\\textasciicircum{}", "~": "\\textasciitilde{}"}
_TEX |= {each: f"\\{each}" for each in "&%$#_{}"} | {"|": "\\textbar{}"}
_TEX |= {"<": "\\textless{}", ">": "\\textgreater{}"}


def markdown(arms: Arms, *, confidence: float = 0.95) -> str:
    """A Markdown table, ending in a newline; the arms in the order given.

    Raises:
      UserError: there are no arms.
    """
    rows = _rows(arms, confidence)
    lines = ["| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in rows]
    lines.insert(1, f"| :-- |{' --: |' * (len(rows[0]) - 1)}")
    return "\n".join(lines) + "\n"


def latex(arms: Arms, *, confidence: float = 0.95) -> str:
    """A `tabular` that needs no package, ending in a newline; the arms in the order given.

    Raises:
      UserError: there are no arms.
    """
    head, *rows = (_tex_row(row) for row in _rows(arms, confidence))
    columns = "l" + "r" * (len(_rows(arms, confidence)[0]) - 1)
    lines = [f"\\begin{{tabular}}{{{columns}}}", "\\hline", head, "\\hline", *rows]
    return "\n".join([*lines, "\\hline", "\\end{tabular}"]) + "\n"


def comma_separated(arms: Arms) -> str:
    """The numbers as they are, under a line of names; an unknown bound is empty.

    Raises:
      UserError: there are no arms.
    """
    if not arms:
        raise UserError(_NO_ARMS)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    scored = any("score" in arm for arm in arms.values())
    writer.writerow(("arm", *_COLUMNS, *(["score"] if scored else [])))
    for name, arm in arms.items():
        score = [arm.get("score", {}).get("iqm")] if scored else []
        writer.writerow((name, *(arm[key] for key in _COLUMNS), *score))
    return text.getvalue()


# By the ends of files.
KINDS = {".md": markdown, ".tex": latex, ".csv": comma_separated}


def write(arms: Arms, path: Path | str) -> Path:
    """Writes a table, as the end of the file's name says; what is there is replaced.

    Raises:
      UserError: there are no arms, or no such kind of file.
    """
    path = user_path(path)
    if path.suffix not in KINDS:
        raise UserError(f"{path} must end in one of: {', '.join(KINDS)}")
    text = KINDS[path.suffix](arms)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.encode())
    return path


def rich_table(arms: Arms, *, title: str | None = None, confidence: float = 0.95) -> "Table":
    """The same for a terminal, to be printed by a `rich.console.Console`.

    Raises:
      UserError: there are no arms.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    head, *rows = _rows(arms, confidence)
    table = Table(title=title and Text(title), box=box.SIMPLE_HEAD, title_justify="left")
    for i, name in enumerate(head):
        # A long reward expression wraps; numbers never do.
        table.add_column(name, justify="right" if i else "left", no_wrap=i > 0, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # plain text: `[...]` in it is not markup
    return table


def number(value: float, width: float = 0.0) -> str:
    """A number to the precision its interval's width deserves: two digits of it.

    Without a width it has four significant digits; never more than six.
    """
    if not math.isfinite(value):
        return _UNKNOWN
    magnitude = _magnitude(value)
    if magnitude >= 9 or (value and magnitude < -4):
        return f"{value:.4g}"
    decimals = 1 - _magnitude(width) if width > 0 else 3 - magnitude
    return f"{value:,.{max(0, min(decimals, 5 - max(magnitude, 0)))}f}"


def _rows(arms: Arms, confidence: float) -> list[tuple[str, ...]]:
    if not arms:
        raise UserError(_NO_ARMS)
    metrics = {str(arm["metric"]) for arm in arms.values()}
    # Arms measured by different metrics say so in their names instead.
    shared = metrics.pop() if len(metrics) == 1 else None
    scored, solved = (any(key in arm for arm in arms.values()) for key in ("score", "success"))
    head = ("Arm", f"IQM {shared or ''}".strip(), f"{100 * confidence:g} % interval", "Seeds")
    rows: list[tuple[str, ...]] = [(*head, *["Score"] * scored, *["Success"] * solved)]
    for name, arm in arms.items():
        label = name if shared else f"{name} ({arm['metric']})"
        low, high = (math.nan if arm[end] is None else arm[end] for end in ("ci_low", "ci_high"))
        known = arm["seeds"] > 1 and math.isfinite(high - low)
        width = high - low if known else 0.0
        interval = f"[{number(low, width)}, {number(high, width)}]" if known else _UNKNOWN
        row = (label, number(arm["iqm"], width), interval, str(arm["seeds"]))
        if scored:
            score = arm.get("score")
            row = (*row, "" if score is None else f"{score['iqm']:.1f}")
        if solved:
            row = (*row, f"{arm['success']:.3f}" if "success" in arm else "")
        rows.append(row)
    return rows


def _escaped(cell: str) -> str:
    """A reward expression's `|` and `*` as text in a Markdown table."""
    for character in "\\|*_`<[":
        cell = cell.replace(character, "\\" + character)
    return " ".join(cell.split())


def _tex_row(row: tuple[str, ...]) -> str:
    cells = ("".join(_TEX.get(character, character) for character in cell) for cell in row)
    line = " & ".join(" ".join(cell.split()) for cell in cells) + " \\\\"
    return f"{{}}{line}" if line[0] == "[" else line  # else it is an argument of the row before


def _magnitude(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0
