"""A run's `figure.png` and `report.md`: what was done, what came out, how to redo it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxrl_reward.files import write_atomic
from jaxrl_reward.training.record.metrics import Rows
from jaxrl_reward.training.record.run_folder import load_config, steps_axis, steps_of, versions

# Of an arm's configuration, what readers look for first.
_SETUP = {
    "env": "Environment",
    "agent": "Agent",
    "seeds": "Seeds",
    "seed": "First seed",
    "total_steps": "",  # by what they are of
    "eval_episodes": "Episodes of an evaluation",
}


def write_up(
    path: Path,
    summary: Mapping[str, Any],
    rows: Rows,
    *,
    title: str,
    command: str = "",
    claim: str = "",
    source: str = "",
    sections: Sequence[str] | None = None,
    metric: str | None = None,
    axis: str | None = None,
    note: str = "",
) -> None:
    """Writes both files into a run's folder.

    Args:
      path: the folder, with its `config.json`.
      summary: the content of `summary.json`.
      rows: those of all arms.
      title: of both.
      command: of the shell, that runs it again, if there is one.
      claim: what was to be shown, if anything.
      source: who claimed it.
      sections: what stands below the returns in place of the learning curves, for
        a figure that is drawn already.
      metric: what the figure shows; what the summary reports by default.
      axis: what the figure's horizontal axis counts, if not the steps of agents.
      note: what to know before the verdicts are read.
    """
    from jaxrl_reward.report import plots

    axis = axis or steps_axis(load_config(path)["arms"])
    metric = metric or next((str(arm["metric"]) for arm in summary["arms"].values()), "return")
    if sections is None:
        plots.learning_curves(
            rows.table, path / "figure.png", metric=metric, title=title, axis=axis
        )
        sections = [f"![{metric.capitalize()} over {axis.lower()}, one line per arm](figure.png)"]
    parts = [f"# {title}"]
    if claim:
        parts.append(f"**Claim.** {claim}")
    if source:
        parts.append(f"**Source.** {source}")
    parts += [*_verdicts(summary, note), *_results(path, summary, metric), *sections]
    parts += [*_on_data(path, rows), *_setup(path, summary), *_again(summary, command)]
    write_atomic(path / "report.md", ("\n\n".join(parts) + "\n").encode())


def _verdicts(summary: Mapping[str, Any], note: str) -> list[str]:
    verdicts = summary["verdicts"]
    if not verdicts:
        return []
    rows = [(v["claim"], f"**{v['status']}**", v["evidence"], v["source"]) for v in verdicts]
    table = markdown_table(("Expected", "Verdict", "Evidence", "Source"), rows)
    return ["## Verdicts", *([f"**{note}**"] if note else []), table]


def _results(path: Path, summary: Mapping[str, Any], metric: str) -> list[str]:
    from jaxrl_reward.report import tables

    arms = load_config(path)["arms"].values()
    table = tables.markdown(summary["arms"]).rstrip()
    if metric != "return" or not all("agent" in arm for arm in arms):
        note = "The last point of each arm: interquartile mean (IQM) over seeds, with an interval."
        return ["## Results", table, note]
    greedy = all(arm["config"].get("greedy", True) for arm in arms)
    policy = "the greedy policy" if greedy else "the policy (greedy unless `greedy=False`)"
    note = (
        f"Returns of {policy} at the end of training, on the environment's own reward: "
        "interquartile mean (IQM) over seeds, with a bootstrap interval."
    )
    scores = {
        (s["random"], s["expert"]) for each in summary["arms"].values() if (s := each.get("score"))
    }
    if len(scores) == 1:
        low, high = scores.pop()
        note += f" Scores are 0 for a return of {low:.6g} and 100 for {high:.6g}, as the data say."
    return ["## Results", table, note]


# What a number found on data alone is worth.
_OF_DATA = (
    "`fqe` is fitted-Q evaluation (Le et al. 2019): the discounted value of the greedy policy "
    "where episodes begin, by regression on the data alone. Where the policy leaves the data the "
    "value is extrapolated, most often upwards, and it has no interval: it ranks policies that "
    "stay near the data and proves none of them. `fqe/td_error` says how far the regression is "
    "from done; `held_out/return` is what the data's own episodes pay, discounted likewise, as "
    "far as they go."
)


def _on_data(path: Path, rows: Rows) -> list[str]:
    """The last point of all that was measured on data, and what was taken to be so of them."""
    table = rows.table
    names = [m for m in table["metric"].unique().to_pylist() if m.startswith(("held_out/", "fqe"))]
    if not names:
        return []
    names, lines = sorted(names), []
    for arm, own in rows.by_arm().items():
        last = [
            own.curve(name)[1][:, -1:].mean() if name in _names(own) else None for name in names
        ]
        lines.append((arm, *("" if x is None else f"{x:.4g}" for x in last)))
    parts = ["## On data", markdown_table(("Arm", *names), lines)]
    parts.append("Means over seeds at the end of training, of episodes that were set aside.")
    arms = load_config(path)["arms"].values()
    assumed = {arm["data"].get("assumed") for arm in arms if "data" in arm} - {None, ""}
    parts += [_OF_DATA] if "fqe" in names else []
    return parts + [f"Taken to be so, as the data do not say: {line}." for line in sorted(assumed)]


def _names(rows: Rows) -> set[str]:
    return set(rows.table["metric"].unique().to_pylist())


def _setup(path: Path, summary: Mapping[str, Any]) -> list[str]:
    """What all arms share as a list; what they differ in, and their rewards, by arm."""
    arms = load_config(path)["arms"]
    flat = {
        name: {**{key: arm[key] for key in _SETUP if key in arm}, **arm["config"]}
        for name, arm in arms.items()
    }
    for name, length in summary.get("rounded_up", {}).items():
        text = "{steps:,} ({asked:,} were asked for: rounded up to whole iterations)"
        flat[name]["total_steps"] = text.format(**length)
    named = _SETUP | {"total_steps": steps_axis(arms).replace(" (per seed)", "") + " per seed"}
    first = next(iter(flat.values()))
    differ = [key for key in first if len({str(arm.get(key)) for arm in flat.values()}) > 1]
    shared = [
        f"- {named[key]}: {_value(first[key])}"
        for key in _SETUP
        if key in first and key not in differ
    ]
    settings = [f"{key}={_value(first[key])}" for key in first if key not in {*_SETUP, *differ}]
    shared.append(f"- Settings: `{', '.join(settings)}`")
    head = ("Arm", "Reward", *(named.get(key) or key for key in differ))
    rows = [
        (name, _code(arms[name]["reward"]), *(_value(flat[name].get(key)) for key in differ))
        for name in arms
    ]
    return ["## Set-up", "\n".join(shared), markdown_table(head, rows)]


def _again(summary: Mapping[str, Any], command: str) -> list[str]:
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    spent = f"{summary['wall_seconds']:,.0f} s on {summary['device']}, compiling included."
    if steps_of(summary):
        spent = _speed(summary)
    again = f"```\n{command}\n```" if command else "From Python, with what `config.json` has."
    return ["## Run it again", again, spent, f"Versions: {packages}."]


def _speed(summary: Mapping[str, Any]) -> str:
    return (
        f"{steps_of(summary)} in {summary['wall_seconds']:,.0f} s on "
        f"{summary['device']}: {summary['steps_per_second']:,.0f} steps per second of training, "
        f"{summary['compile_seconds']:,.0f} s of it compiling."
    )


def _value(value: Any) -> str:
    return f"{value:,}" if type(value) is int else str(value)


def _code(text: str) -> str:
    # Inside a table a bar ends the cell, in code spans too.
    return f"`{text}`".replace("|", "\\|")


def markdown_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("--",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(cell.split()) for cell in row) + " |" for row in lines
    )
