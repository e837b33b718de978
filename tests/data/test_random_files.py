"""Files of every format that nobody chose: read right, or refused in a line."""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("h5py")
pytest.importorskip("minari")

sys.path.insert(0, str(Path(__file__).parent))
import random_files

FILES = 100_000
MEMORY = Path("/dev/shm")  # files there are never on a disk


@pytest.fixture
def folder(tmp_path):
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as path:
        yield Path(path)


def read_all(layout, seed, count, folder, monkeypatch):
    """How often each thing came out; files that are read wrong are named."""
    tally = Counter()
    for begin in range(0, count, 1000):
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder / f"{layout}{begin}"))
        numbers = range(begin, min(begin + 1000, count))
        found, wrong = random_files.run(layout, seed, numbers, folder)
        assert not wrong, "\n".join(wrong[:5])
        tally += found
    return tally


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("layout", "count", "least"),
    [("d4rl", 300, 0.75), ("ogbench", 150, 0.9), ("ours", 40, 1.0), ("minari", 25, 1.0)],
)
def test_files_are_read_right_or_refused(layout, count, least, folder, monkeypatch):
    tally = read_all(layout, 0, count, folder, monkeypatch)
    assert tally["right"] >= least * count, tally


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layout", list(random_files.LAYOUTS))
def test_none_of_a_hundred_thousand_is_read_wrong(layout, folder, monkeypatch):
    count = round(FILES * random_files.SHARES[layout])
    tally = read_all(layout, 1, count, folder, monkeypatch)
    print(layout, dict(tally))
    assert sum(tally.values()) == count and tally["right"] > 0.7 * count
