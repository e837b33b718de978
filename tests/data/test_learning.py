"""What IQL learns does not depend on the format that the data were kept in."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("h5py")
pytest.importorskip("minari")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_iql_learns_the_same_from_five_formats(monkeypatch, tmp_path):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))  # which the script sets
    path = Path(__file__).parents[2] / "scripts" / "bench" / "data_formats.py"
    spec = importlib.util.spec_from_file_location("data_formats", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    found = script.compared(updates=200)
    whole = {name: each for name, each in found.items() if each[0] == 2000}
    assert set(whole) == {"npz", "d4rl", "minari", "ogbench", "robomimic"}
    assert len(set(whole.values())) == 1
    short = set(found.values()) - set(whole.values())
    assert len(short) == 1 and {rows for rows, *_ in short} == {1960}
