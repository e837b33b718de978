"""Writes the generated pages of the site: `write.py FOLDER`, a copy of `docs`.

Nothing here is kept: the registries of terms, agents and environments, the settings, the
parsers of the command line, docstrings and the recorded results are what the pages are made of.
"""

import sys
from pathlib import Path

import of_agents
import of_api
import of_runs
import of_terms


def main(folder: Path) -> None:
    """Writes all of them."""
    for source in (of_terms, of_agents, of_api, of_runs):
        for name, text in source.pages():
            file = folder / name
            if file.exists():
                raise SystemExit(f"{name} is written by hand already: {file}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    of_runs.copy_figures(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
