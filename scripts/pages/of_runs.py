"""Pages of experiments, from what they declare and what is on record; and copies of records."""

import ast
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import texts

from jaxrl_reward.training.experiments import experiment as experiments

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "experiments" / "record"
COPIES = {
    "status.md": "experiments/STATUS.md",
    "changelog.md": "CHANGELOG.md",
    "findings.md": "findings/README.md",
}


def pages() -> Iterable[tuple[str, str]]:
    """File names and their Markdown."""
    rows = []
    for name in experiments.names():
        made = experiments.load(name)
        yield f"experiments/{name}.md", _experiment(name, made)
        claim = texts.escaped(made.claim)
        rows.append((f"[`{name}`]({name}.md)", claim, ", ".join(sets(name)) or "not yet"))
    head = (
        "# Experiments\n\nA paper's claim each, tried by `jaxrl-reward reproduce NAME`. Recorded "
        "are the preset `quick` and the first seed of each set; [what has become of each paper]"
        "(../status.md) is made of these.\n\n"
    )
    table = texts.table(("Experiment", "Claim", "Recorded from seed"), rows)
    yield "experiments/index.md", head + table
    for target, source in COPIES.items():
        yield target, (ROOT / source).read_text()
    yield from _benchmarks()


def sets(name: str) -> list[str]:
    """The first seeds of the sets that are on record."""
    found = (RECORD / name).glob("*/report.md")
    return sorted((each.parent.name for each in found), key=int)


def copy_figures(folder: Path) -> None:
    """Copies the recorded figures to where the pages look for them."""
    for figure in RECORD.glob("*/*/figure.png"):
        name, seed = figure.parts[-3:-1]
        (folder / "experiments").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(figure, folder / "experiments" / f"{name}-{seed}.png")


def _experiment(name: str, made: experiments.Experiment) -> str:
    (file,) = [each for each in ROOT.glob(f"experiments/**/{name}.py")]
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    presets = [
        (f"`{key}`", each.seeds, f"{each.total_steps:,}", each.seed)
        for key, each in made.presets.items()
    ]
    parts = [
        f"# {texts.escaped(made.title)}\n\n**Claim.** {texts.escaped(made.claim)}\n\n",
        f"**Source.** {texts.escaped(made.source)}\n\n",
        f"```bash\njaxrl-reward reproduce {name} --preset quick\n```\n\n",
        f"{texts.escaped(text.partition(chr(10))[0])}\n\n{texts.body(text)}",
        f"Program: `{file.relative_to(ROOT)}`.\n\n## Presets\n\n",
        texts.table(("Preset", "Seeds", "Steps of a seed", "First seed"), presets),
    ]
    recorded = [_report(name, seed) for seed in sets(name)]
    return "".join(parts + (recorded or ["## Record\n\nNothing is on record yet.\n"]))


def _report(name: str, seed: str) -> str:
    """A recorded report, a level deeper, with its figure."""
    text = (RECORD / name / seed / "report.md").read_text()
    text = re.sub(r"\A# .*\n", "", text)
    text = re.sub(r"^(#+) ", r"#\1 ", text, flags=re.MULTILINE)
    return f"## Record from seed {seed}\n\n{text.replace('(figure.png)', f'({name}-{seed}.png)')}\n"


def _benchmarks() -> Iterable[tuple[str, str]]:
    rows = []
    for file in sorted((ROOT / "scripts" / "bench" / "record").glob("*.md")):
        yield f"benchmarks/{file.name}", file.read_text()
        title = file.read_text().partition("\n")[0].lstrip("# ")
        rows.append((f"[{title}]({file.name})", f"`scripts/bench/record/{file.name}`"))
    head = "# Measured\n\nTables of speed and size as last recorded, each by a command.\n\n"
    yield "benchmarks/index.md", head + texts.table(("Record", "File"), rows)
