"""Tables as text."""

import csv
import io

import pytest
from rich.console import Console

from jaxrl_reward.report.statistics import summarize
from jaxrl_reward.report.tables import (
    comma_separated,
    latex,
    markdown,
    number,
    rich_table,
    write,
)
from jaxrl_reward.types import UserError

PIPES = "env + 0.1*rnd() | clip(-10, 10)"


def arm(iqm, low, high, seeds=16, metric="return"):
    return {"metric": metric, "iqm": iqm, "ci_low": low, "ci_high": high, "seeds": seeds}


def rendered(table, width=100):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table)
    return console.file.getvalue()


def test_markdown():
    text = markdown({"env": arm(493.12, 488.04, 497.22), PIPES: arm(-0.51234, -0.53, -0.49, 8)})
    assert text == (
        "| Arm | IQM return | 95 % interval | Seeds |\n"
        "| :-- | --: | --: | --: |\n"
        "| env | 493.1 | \\[488.0, 497.2] | 16 |\n"
        "| env + 0.1\\*rnd() \\| clip(-10, 10) | -0.512 | \\[-0.530, -0.490] | 8 |\n"
    )


def test_a_share_of_successes_is_shown_where_one_is_known():
    arms = {"told": arm(1.0, 0.9, 1.1) | {"success": 0.625}, "silent": arm(1.0, 0.9, 1.1)}
    head, _, told, silent = markdown(arms).splitlines()
    assert head.endswith("| Seeds | Success |")
    assert told.endswith("| 16 | 0.625 |") and silent.endswith("| 16 |  |")
    rows = list(csv.DictReader(io.StringIO(comma_separated(arms))))
    assert [row["success"] for row in rows] == ["0.625", ""]


def test_every_row_has_the_same_cells():
    lines = markdown({PIPES: arm(1.0, 0.5, 2.0), "a\nb": arm(1.0, 0.5, 2.0)}).splitlines()
    assert len(lines) == 4
    assert {line.replace("\\|", "").count("|") for line in lines} == {5}


@pytest.mark.parametrize("bounds", [(None, None), (3.0, 3.0), (float("nan"), float("nan"))])
def test_one_seed_shows_no_interval(bounds):
    assert markdown({"env": arm(3.0, *bounds, seeds=1)}).endswith("| env | 3.000 | n/a | 1 |\n")


def test_from_seeds_to_table():
    assert "| env | 2.5 | \\[1.0, 4.0] | 4 |" in markdown({"env": summarize([1.0, 2.0, 3.0, 4.0])})


def test_different_metrics_are_named():
    text = markdown({"a": arm(1.0, 0.9, 1.1), "b": arm(1.0, 0.9, 1.1, metric="length")})
    assert "| IQM |" in text
    assert "| a (return) |" in text
    assert "| b (length) |" in text


def test_rich_table_shows_names_as_they_are():
    text = rendered(rich_table({"[bold]x[/bold]": arm(493.12, 488.04, 497.22)}, title="[a] b"))
    assert "[bold]x[/bold]" in text
    assert "[a] b" in text
    assert "[488.0, 497.2]" in text


def test_rich_table_folds_long_names_only():
    text = rendered(rich_table({PIPES * 4: arm(493.12, 488.04, 497.22)}), width=70)
    assert "[488.0, 497.2]" in text
    assert max(map(len, text.splitlines())) <= 70


@pytest.mark.parametrize(
    "value,width,text",
    [
        (493.12, 9.2, "493.1"),
        (493.12, 92.0, "493"),
        (0.01234, 0.0, "0.01234"),
        (12345.6, 0.0, "12,346"),
        (500.0, 0.0, "500.0"),
        (500.0, 1e-9, "500.000"),
        (0.0, 0.0, "0.000"),
        (-3.0, 0.4, "-3.00"),
        (1.5e12, 0.0, "1.5e+12"),
        (1e-7, 0.0, "1e-07"),
        (float("nan"), 0.0, "n/a"),
    ],
)
def test_number(value, width, text):
    assert number(value, width) == text


def test_latex():
    text = latex({"env": arm(493.12, 488.04, 497.22), "[a_b] | {x}^2": arm(-0.5, None, None, 1)})
    assert text == (
        "\\begin{tabular}{lrrr}\n\\hline\n"
        "Arm & IQM return & 95 \\% interval & Seeds \\\\\n\\hline\n"
        "env & 493.1 & [488.0, 497.2] & 16 \\\\\n"
        "{}[a\\_b] \\textbar{} \\{x\\}\\textasciicircum{}2 & -0.5000 & n/a & 1 \\\\\n"
        "\\hline\n\\end{tabular}\n"
    )


def test_comma_separated_values_are_the_numbers_themselves():
    arms = {PIPES: arm(1 / 3, 0.25, 0.5), 'a "b"': arm(-2.0, None, None, 1, "length")}
    rows = list(csv.DictReader(io.StringIO(comma_separated(arms))))
    assert [row["arm"] for row in rows] == list(arms)
    assert float(rows[0]["iqm"]) == 1 / 3 and rows[0]["ci_high"] == "0.5"
    assert list(rows[1].values()) == ['a "b"', "length", "-2.0", "", "", "1"]


def test_a_table_is_written_as_its_name_says(tmp_path):
    arms = {"env": arm(493.12, 488.04, 497.22)}
    for end, kind in ((".md", markdown), (".tex", latex), (".csv", comma_separated)):
        assert write(arms, tmp_path / f"new/a{end}").read_text() == kind(arms)
    with pytest.raises(UserError, match=r"must end in one of: \.md, \.tex, \.csv"):
        write(arms, tmp_path / "a.txt")


def test_no_arms():
    for table in (markdown, rich_table, latex, comma_separated):
        with pytest.raises(UserError, match="no arms"):
            table({})
