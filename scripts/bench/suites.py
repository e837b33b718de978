"""The laws of environments, tried on every environment of every suite that is installed.

    .venv/bin/python scripts/bench/suites.py                    # the record, about an hour
    .venv/bin/python scripts/bench/suites.py --only navix       # one suite; the others' rows stay
    .venv/bin/python scripts/bench/suites.py --missing          # those that have no answer yet
    .venv/bin/python scripts/bench/suites.py --only pgx --each 1 --out DIR    # a try

Each is made by its name and given to `jaxrl_reward.testing.check_env`, in a process that is
ended when it takes longer than `--limit` seconds and begun anew after every 20, so that memory
stays bounded. Writes a table of what passed and what was refused and why, and the same as JSON.
"""

import argparse
import datetime
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any

RECORD = Path(__file__).parent / "record"
BATCH = 20  # environments a process
PACKAGES = {"playground": "playground"}  # where a suite's package is called otherwise
MODULES = {"playground": "mujoco_playground"}


def tried(name: str) -> dict[str, Any]:
    """What the laws say of one environment."""
    from jaxrl_reward import envs
    from jaxrl_reward.testing import LawError, check_env
    from jaxrl_reward.types import UserError

    found: dict[str, Any] = {"name": name}
    try:
        env = envs.make(name)
        found |= {"observed": _parts(env), "actions": _actions(env.action_space)}
        found["limit"] = env.max_steps
        check_env(env)
    except (UserError, LawError) as error:
        return found | {"result": f"refused: {error}"}
    except Exception as error:  # what a suite raises is a result, too
        words = " ".join(f"{type(error).__name__}: {error}".split())
        return found | {"result": f"fails: {words[:200]}"}
    return found | {"result": "passed"}


def _parts(env: Any) -> str:
    """The shape of an observation; of a structured one, of each part."""
    parts = env.parts
    if len(parts) == 1 and not parts[0].name:
        return str(list(env.observation_space.shape))
    shown = ", ".join(f"{p.name} {[p.size] if p.values else list(p.shape)}" for p in parts)
    return f"{list(env.observation_space.shape)}: {shown}"


def _actions(space: Any) -> str:
    count = getattr(space, "n", None)
    if count is not None:
        return str(count)
    return f"whole {list(space.nvec)}" if hasattr(space, "nvec") else f"box {list(space.shape)}"


class Child:
    """A process that tries environments one after the other."""

    def __init__(self) -> None:
        words = [sys.executable, __file__, "--child"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(words, stderr=subprocess.DEVNULL, **pipes)
        self.left = BATCH

    def ask(self, name: str, limit: float) -> dict[str, Any] | None:
        """What it says of a name; None where it says nothing in time, and is ended."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(f"{name}\n")
        stdin.flush()
        self.left -= 1
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            line = stdout.readline() if selector.select(limit) else ""
        if line:
            return json.loads(line)
        self.end()
        return None

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def child() -> None:
    """Answers names with a line each; what suites print goes nowhere."""
    import jax

    told = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        print(json.dumps(tried(line.strip())), file=told, flush=True)
        jax.clear_caches()


def suite(
    name: str, each: int | None, limit: float, kept: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """A suite's version, and a row for each of its environments, more and more of them.

    Those of `kept` stay as they are.
    """
    from jaxrl_reward.envs import suites

    absent = suites.left_out(name)
    rows = [{"name": one, "result": f"left out: {why}"} for one, why in absent.items()]
    rows += [row for row in kept if row["name"] not in absent]
    known = {row["name"] for row in rows}
    found = {
        "version": metadata.version(PACKAGES.get(name, name)),
        "python": ".".join(map(str, sys.version_info[:2])),
        "jax": metadata.version("jax"),
        "date": str(datetime.date.today()),
        "rows": rows,
    }
    now: Child | None = None
    for short in suites.names(name)[:each]:
        if f"{name}:{short}" in known:
            continue
        if now is None or not now.left:
            if now is not None:
                now.end()
            now = Child()
        start = time.perf_counter()
        row = now.ask(f"{name}:{short}", limit)
        if row is None:
            now, row = None, {"name": f"{name}:{short}", "result": f"no answer in {limit:g} s"}
        row["seconds"] = round(time.perf_counter() - start, 1)
        rows.append(row)
        print(f"{row['name']}: {row['result']} ({row['seconds']} s)", flush=True)
        yield found
    if now is not None:
        now.end()
    yield found


def table(found: dict[str, Any]) -> str:
    """The record as Markdown."""
    rows = [row for each in found.values() for row in each["rows"]]
    passed = sum(row["result"] == "passed" for row in rows)
    lines = [
        "# The laws of environments, suite by suite",
        "",
        "`jaxrl_reward.testing.check_env` on each environment, made by its name: the contract in "
        "shapes, a state that a scan can carry, finite numbers, observations that lie in their "
        "space, a clock that truncates and never terminates (set to 1, 2, 3 and 1,000 where there "
        "is one), and the same steps alone and beside others. "
        f"{passed} of {len(rows)} pass. Made by `scripts/bench/suites.py`.",
        "",
        "| Suite | Version | Python | JAX | Date | Passed | Others |",
        "| -- | -- | -- | -- | -- | --: | --: |",
    ]
    for name, each in found.items():
        good = sum(row["result"] == "passed" for row in each["rows"])
        words = [name, *(each[k] for k in ("version", "python", "jax", "date"))]
        lines.append(f"| {' | '.join([*words, str(good), str(len(each['rows']) - good)])} |")
    lines += ["", "| Environment | Observed | Actions | Limit | Laws | s |"]
    lines.append("| -- | -- | -- | --: | -- | --: |")
    for row in rows:
        cells = [row.get(k, "") for k in ("observed", "actions", "limit", "result", "seconds")]
        shown = ["" if cell is None else str(cell).replace("|", "/") for cell in cells]
        lines.append(f"| `{row['name']}` | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def read(text: str) -> dict[str, Any]:
    """What `table` wrote, without rows that say too little."""
    lines = [line[2:-2].split(" | ") for line in text.splitlines() if line[:2] == "| "]
    found: dict[str, Any] = {}
    for cells in lines:
        if len(cells) == 7 and cells[2][0].isdigit():
            known = dict(zip(("version", "python", "jax", "date"), cells[1:5], strict=True))
            found[cells[0]] = known | {"rows": []}
        if len(cells) == 6 and cells[0].startswith("`"):
            name = cells[0].strip("`")
            observed, actions, limit, result, seconds = (cell.strip() for cell in cells[1:])
            row: dict[str, Any] = {"name": name}
            if observed:
                row |= {"observed": observed, "actions": actions}
                row["limit"] = int(limit) if limit else None
            row["result"] = result
            if seconds:
                row["seconds"] = float(seconds)
            if "seconds" in row or result.startswith("left out"):
                found[name.partition(":")[0]]["rows"].append(row)
    return found


def merged(found: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Both; of a name that both have, the row of the first."""
    for suite, each in other.items():
        known = found.setdefault(suite, each | {"rows": []})
        names = {row["name"] for row in known["rows"]}
        known["rows"] += [row for row in each["rows"] if row["name"] not in names]
    return dict(sorted(found.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="SUITE", help="these suites")
    parser.add_argument("--each", type=int, metavar="N", help="only the first N of a suite")
    parser.add_argument("--missing", action="store_true", help="only those without an answer")
    parser.add_argument("--limit", type=float, default=600.0, metavar="S", help="seconds each")
    parser.add_argument("--out", type=Path, metavar="DIR", help="of the table (the record's)")
    parser.add_argument("--merge", type=Path, metavar="FILE", help="rows of another such table")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child()
    if args.each is not None and args.out is None:
        parser.error("--each is no record: give --out DIR")
    from jaxrl_reward.envs import suites

    known = suites.available()
    for name in args.only or ():
        if name not in known:
            parser.error(f"unknown suite {name!r}, known: {', '.join(known)}")
    out = args.out or RECORD
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "suites.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    if args.merge is not None:
        found = merged(found, read(args.merge.read_text()))
        kept.write_text(json.dumps(found, indent=2) + "\n")
        (out / "suites.md").write_text(table(found))
        return
    for name in args.only or known:
        if util.find_spec(MODULES.get(name, name)) is None:
            print(f"{name} is not installed: its rows stay as they are")
            continue
        rows = found[name]["rows"] if args.missing and name in found else []
        there = {f"{name}:{short}" for short in suites.names(name)}
        rows = [row for row in rows if row["name"] in there and "no answer" not in row["result"]]
        for so_far in suite(name, args.each, args.limit, rows):
            found = dict(sorted({**found, name: so_far}.items()))
            kept.write_text(json.dumps(found, indent=2) + "\n")
            (out / "suites.md").write_text(table(found))


if __name__ == "__main__":
    main()
