"""The page of papers: what a row and the recorded verdicts come to."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

from jaxrl_reward.training.experiments import experiment as experiments

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("papers_status", ROOT / "scripts/bench/status.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their types
    spec.loader.exec_module(module)
    return module


def rows(root, text):
    folder = root / "experiments" / "papers"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.toml").write_text(text)


def row(name="A", **more):
    given = {"name": name, "source": "S", "here": "`a`", **more}
    return "[[paper]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in given.items())


def recorded(root, seed, seeds=4, folder=None, **verdicts):
    """What `reproduce race` leaves, as far as the page reads it."""
    path = root / "experiments" / "record" / "race" / (folder or str(seed))
    path.mkdir(parents=True)
    told = [{"claim": c, "status": s, "evidence": f"{c} at {seed}"} for c, s in verdicts.items()]
    (path / "summary.json").write_text(json.dumps({"verdicts": told}))
    arms = {name: {"seed": seed, "seeds": seeds} for name in ("one", "other")}
    (path / "config.json").write_text(json.dumps({"arms": arms}))


@pytest.mark.parametrize(
    ("sets", "more", "kind"),
    [
        ([(0, "holds"), (1000, "holds")], {}, "works"),
        ([(0, "holds")], {}, "undecided"),  # one set
        ([(0, "holds"), (2, "holds")], {}, "undecided"),  # which share seeds 2 and 3
        ([(0, "holds"), (1000, "fails")], {}, "undecided"),
        ([(0, "holds"), (1000, "undecided")], {}, "undecided"),
        ([(0, "fails"), (1000, "fails")], {}, "judged"),
        ([(0, "fails"), (1000, "fails")], {"exact": ["test"]}, "judged"),
        ([(0, "undecided")], {"exact": ["test"]}, "works"),
        ([], {}, "built"),
        ([], {"why": "no time"}, "built"),
        ([], {"out": "needs weights"}, "out of reach"),
    ],
)
def test_what_two_sets_of_seeds_say(script, tmp_path, sets, more, kind):
    rows(tmp_path, row(shown=["race: faster"], **more))
    for seed, status in sets:
        recorded(tmp_path, seed, faster=status, slower="fails")
    assert script.main([], tmp_path) == 0
    page = (tmp_path / "experiments/STATUS.md").read_text()
    assert f"| A (S) | **{kind}** | `a` |" in page and f"1 papers: 1 {kind}." in page
    for seed, status in sets:
        assert f"{status} on seeds {seed} to {seed + 3}: faster at {seed}" in page
    assert ("race: faster: not recorded yet" in page) == (not sets)
    told_once = len(sets) == 1 or sets[1:] == [(2, "holds")]
    assert ("as there is one set of seeds yet" in page) == told_once


def test_one_claim_that_fails_is_enough(script, tmp_path):
    rows(tmp_path, row(shown=["race: faster", "race: slower"]) + row("B", shown=["race: faster"]))
    for seed in (0, 1000):
        recorded(tmp_path, seed, faster="holds", slower="fails")
    page = script.page(tmp_path)
    assert "| A (S) | **judged**" in page and "| B (S) | **works**" in page
    assert "2 papers: 1 works, 1 judged." in page


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (row(shwon=["race: faster"]), "mine.toml, paper 1: 'shwon' is none of name, source,"),
        (row(), "has neither shown nor exact: say why"),
        (row(here="", why="x"), "mine.toml, paper 1 has no here"),
        (row(shown=["faster"]), "'faster' should be \"EXPERIMENT: its claim\""),
        (row(shown=["race: fastr"]), "A: race has no claim 'fastr', but: faster"),
        (row(why="x") * 2, "two rows are called 'A'"),
        ("[[paper", "mine.toml: "),
    ],
)
def test_a_wrong_row_is_one_line(script, tmp_path, capsys, text, message):
    rows(tmp_path, text)
    recorded(tmp_path, 0, faster="holds")
    assert script.main([], tmp_path) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "experiments/STATUS.md").exists()


def test_a_page_that_is_old_is_told(script, tmp_path, capsys):
    rows(tmp_path, row(why="x"))
    assert script.main(["--check"], tmp_path) == 1
    assert script.main([], tmp_path) == 0 and script.main(["--check"], tmp_path) == 0
    rows(tmp_path, row(why="y"))
    assert script.main(["--check"], tmp_path) == 1
    assert "STATUS.md is not what scripts/status makes" in capsys.readouterr().err


def test_the_shipped_rows_name_tests_and_experiments_that_there_are(script):
    found = script.papers(ROOT)
    assert len(found) >= 17
    for paper in found:
        for test in paper.exact:
            file, _, name = test.partition("::")
            assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.M), test
        for claim in paper.shown:
            assert claim.partition(": ")[0] in experiments.names(), claim
    assert script.page(ROOT) == (ROOT / "experiments/STATUS.md").read_text()
