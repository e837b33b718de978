"""The record of benchmarks: rows keep the device and the versions that they were measured with."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("benchmark_run", ROOT / "scripts/bench/run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their types
    spec.loader.exec_module(module)
    return module


def row(device, speed):
    about = {"device": device, "cores": 2, "repeats": 3, "versions": "of everything"}
    told = {"name": "ours", "steps_per_second": speed, "slowest": speed, "fastest": speed}
    return {"date": "2026-01-01", "about": about, "rows": [told | {"compile_seconds": 1.0}]}


def test_rows_of_another_device_stay_beside_new_ones(script, tmp_path, monkeypatch):
    """Updating some rows elsewhere is no reason to lose the others."""
    monkeypatch.setattr(script, "HERE", tmp_path)
    monkeypatch.setattr(script, "compete", lambda *_: row("here", 20.0)["rows"])
    monkeypatch.setattr(script, "device", lambda: "here")
    script.write(tmp_path / "record", {name: row("there", 10.0) for name in ("sac", "ant")})
    monkeypatch.setattr(sys, "argv", ["benchmark", "--only", "sac", "--update-record"])
    script.main()
    kept = script.earlier()
    assert [kept[name]["about"]["device"] for name in ("sac", "ant")] == ["here", "there"]
    assert list(kept) == [name for name in script.WORK if name in ("sac", "ant")]
    shown = (tmp_path / "record/benchmark.md").read_text()
    there, here = shown.split("\nhere, 2 cores")  # a table each
    assert script.WORK["ant"].title in there and script.WORK["sac"].title not in there
    assert script.WORK["sac"].title in here and script.WORK["ant"].title not in here


def test_the_record_is_the_table_of_its_rows(script):
    """Nobody edits the table by hand."""
    told = (ROOT / "scripts/bench/record/benchmark.md").read_text()
    assert told == f"# Benchmark\n\n{script.markdown(script.earlier())}"
