"""What has become of each paper: its row, and the verdicts on its claims that are on record.

    experiments/papers/*.toml        rows, a file for each family
    experiments/record/NAME/SET/     what `reproduce NAME` left on a set of seeds, its
                                     config.json and summary.json (report.md, figure.png)
    experiments/STATUS.md            made by this

A row, where `shown` are claims of experiments, word for word, `exact` tests of a claim that
theory fixes, and `why` says of one without either why there is none:

    [[paper]]
    name = "INPO"
    source = "Zhang et al. 2024"
    here = "`inpo`, `pair_pg`"
    shown = ["cycles: INPO ends where its closed form does"]
    exact = ["tests/rewards/test_pairs.py::test_rounds_of_inpo_end_where_the_regularised_game_does"]

A claim holds, or fails, where every recorded set of seeds says so, and there are two that share
no seed. A paper *works* if one of its claims holds, or an exact test shows it, and none fails;
it is *judged* if one fails; *undecided* if it was tried and is neither; else *built*, or with
`out` in place of `why` *out of reach*.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KINDS = ("works", "judged", "undecided", "built", "out of reach")
TEXTS, LISTS = ("name", "source", "here", "why", "out"), ("shown", "exact")


class StatusError(Exception):
    """A row or a record that cannot be read; the message says where, and what would do."""


@dataclass(frozen=True)
class Paper:
    """One row; see above."""

    name: str
    source: str
    here: str
    family: str
    why: str = ""
    out: str = ""
    shown: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()


@dataclass
class Claim:
    """The verdicts on one claim of an experiment: status, evidence and seeds of each set."""

    sets: list[tuple[str, str, frozenset[int]]] = field(default_factory=list)

    def status(self) -> str:
        """Holds or fails if all sets say so and two share no seed; else undecided."""
        said = {status for status, _, _ in self.sets}
        return said.pop() if len(said) == 1 and self.twice() else "undecided"

    def twice(self) -> bool:
        """Whether two of its sets share no seed."""
        seeds = [each for _, _, each in self.sets]
        return any(not (a & b) for i, a in enumerate(seeds) for b in seeds[:i])


def papers(root: Path) -> list[Paper]:
    """All rows, in the order of the files' names and of the rows in them."""
    found = []
    for file in sorted((root / "experiments/papers").glob("*.toml")):
        try:
            rows = tomllib.loads(file.read_text())
        except tomllib.TOMLDecodeError as error:
            raise StatusError(f"{file.name}: {error}") from None
        for number, row in enumerate(rows.get("paper", ()), 1):
            found.append(_paper(f"{file.name}, paper {number}", file.stem, row))
    names = [each.name for each in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise StatusError(f"two rows are called {twice!r}")
    return found


def _paper(where: str, family: str, row: Mapping[str, Any]) -> Paper:
    if unknown := sorted(row.keys() - {*TEXTS, *LISTS}):
        raise StatusError(f"{where}: {unknown[0]!r} is none of {', '.join((*TEXTS, *LISTS))}")
    if lost := [name for name in ("name", "source", "here") if not row.get(name)]:
        raise StatusError(f"{where} has no {lost[0]}")
    texts = {name: row[name] for name in TEXTS if name in row}
    paper = Paper(**texts, **{name: tuple(row.get(name, ())) for name in LISTS}, family=family)
    if bad := next((each for each in paper.shown if ": " not in each), None):
        raise StatusError(f'{where}: {bad!r} should be "EXPERIMENT: its claim"')
    if not (paper.shown or paper.exact or paper.why or paper.out):
        raise StatusError(f"{where} has neither shown nor exact: say why, or out (of reach)")
    return paper


def record(root: Path) -> dict[str, dict[str, Claim]]:
    """By experiment and claim, the verdicts of all sets of seeds."""
    found: dict[str, dict[str, Claim]] = {}
    folder = root / "experiments/record"
    for file in sorted(folder.glob("*/*/summary.json")):
        summary = json.loads(file.read_text())
        arms = json.loads(file.with_name("config.json").read_text())["arms"].values()
        seeds = frozenset(n for arm in arms for n in range(arm["seed"], arm["seed"] + arm["seeds"]))
        claims = found.setdefault(file.parts[-3], {})
        for each in summary["verdicts"]:
            told = (each["status"], each["evidence"], seeds)
            claims.setdefault(each["claim"], Claim()).sets.append(told)
    return found


def claims_of(paper: Paper, known: Mapping[str, Mapping[str, Claim]]) -> dict[str, Claim]:
    """Its claims that are on record, by what its row calls them.

    Raises:
      StatusError: the experiment is on record, and has no such claim.
    """
    found = {}
    for each in paper.shown:
        name, _, claim = each.partition(": ")
        if name not in known:
            continue
        if claim not in known[name]:
            said = "; ".join(known[name])
            raise StatusError(f"{paper.name}: {name} has no claim {claim!r}, but: {said}")
        found[each] = known[name][claim]
    return found


def status(paper: Paper, claims: Mapping[str, Claim]) -> str:
    """One of `KINDS`."""
    said = [claim.status() for claim in claims.values()]
    if paper.out:
        return "out of reach"
    if "fails" in said:
        return "judged"
    if "holds" in said or paper.exact:
        return "works"
    return "undecided" if said else "built"


def page(root: Path) -> str:
    """The content of STATUS.md."""
    known, rows = record(root), papers(root)
    lines, count = [], dict.fromkeys(KINDS, 0)
    for paper in rows:
        claims = claims_of(paper, known)
        kind = status(paper, claims)
        count[kind] += 1
        cells = (f"{paper.name} ({paper.source})", f"**{kind}**", paper.here, _told(paper, claims))
        lines.append("| " + " | ".join(x.replace("|", "\\|") for x in cells) + " |")
    total = ", ".join(f"{number} {kind}" for kind, number in count.items() if number)
    return "\n".join(
        [
            "# What has become of each paper",
            "",
            "Made by `scripts/status` from the rows in `papers` and the verdicts in `record`: do "
            "not edit. A paper works if a claim of it holds on two disjoint sets of seeds, or an "
            "exact test shows it, and none fails; it is judged if one fails on two.",
            "",
            f"{len(rows)} papers: {total}.",
            "",
            "| Paper | Status | Here | Shown by |",
            "| -- | -- | -- | -- |",
            *lines,
            "",
        ]
    )


def _told(paper: Paper, claims: Mapping[str, Claim]) -> str:
    parts = []
    for name in paper.shown:
        if name not in claims:
            parts.append(f"{name}: not recorded yet")
            continue
        claim = claims[name]
        said = "; ".join(f"{kind} on {_span(seeds)}: {text}" for kind, text, seeds in claim.sets)
        once = "" if claim.twice() else ", as there is one set of seeds yet"
        parts.append(f"{name}: **{claim.status()}**{once} ({said})")
    parts += [f"`{test}`" for test in paper.exact]
    parts += [text for text in (paper.why, paper.out) if text]
    return "<br>".join(parts)


def _span(seeds: frozenset[int]) -> str:
    return f"seeds {min(seeds)} to {max(seeds)}"


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Writes the page, or checks it."""
    parser = argparse.ArgumentParser(description="Writes experiments/STATUS.md.")
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    check = parser.parse_args(argv).check
    file = root / "experiments/STATUS.md"
    try:
        content = page(root)
    except StatusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not check:
        file.write_text(content)
        return 0
    fresh = file.is_file() and file.read_text() == content
    if not fresh:
        print(f"error: {file.name} is not what scripts/status makes", file=sys.stderr)
    return 0 if fresh else 1


if __name__ == "__main__":
    sys.exit(main())
