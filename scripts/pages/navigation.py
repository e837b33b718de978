"""The order of the site's pages, set by what mkdocs calls; it warns of pages left out."""

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Sets what is listed beside every page, from the pages that there are."""
    folder = Path(config["docs_dir"])
    config["nav"] = [
        "index.md",
        "concepts.md",
        "coming-from.md",
        {
            "Reference": [
                {"Reward terms": section(folder, "reference/terms")},
                {"Agents": section(folder, "reference/agents")},
                "reference/environments.md",
                "reference/commands.md",
                {"Python": section(folder, "reference/python")},
            ]
        },
        {"Results": ["status.md", "findings.md", {"Measured": section(folder, "benchmarks")}]},
        {"Experiments": section(folder, "experiments")},
        {"Project": ["limits.md", "contributing.md", "changelog.md"]},
    ]
    return config


def section(folder: Path, name: str) -> list[str]:
    """The pages of a folder, its index first."""
    pages = sorted(folder.glob(f"{name}/*.md"), key=lambda file: (file.stem != "index", file.stem))
    return [file.relative_to(folder).as_posix() for file in pages]
