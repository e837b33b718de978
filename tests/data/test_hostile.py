"""Damaged and hostile files of every format: one line, nothing run, nothing written, no wait."""

import contextlib
import os
import pickle
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from jaxrl_reward import UserError
from jaxrl_reward import data as datasets
from jaxrl_reward.data import formats

sys.path.insert(0, str(Path(__file__).parent))
from test_real_files import robomimic

h5py = pytest.importorskip("h5py")  # the extra `dev` installs it

FILES = Path(__file__).parent / "files"
ROUNDS = 1200  # damaged copies, over all formats
PARTS = 4  # in which they are tried
SLOW = 10.0  # seconds that no file may take; the first of its kind loads what reads it


def sources(folder, dataset):
    """A whole copy of each format's file or folder, and what to read of it."""
    found = {}
    for path in sorted(FILES.iterdir()):
        if path.name == "README.md":
            continue
        copy = folder / path.name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
        found[path.name] = (copy, {})
    found["lerobot-images"] = (folder / "lerobot-images", {"obs": "observation.image"})
    found["rlds"] = (folder / "rlds" / "1.0.0", {"obs": "state"})
    found["robomimic"] = (robomimic(folder / "robomimic.hdf5"), {})
    found["ours"] = (datasets.save(dataset, folder / "ours.npz"), {})
    datasets.write(dataset, f"d4rl:{folder / 'd4rl.hdf5'}")
    found["d4rl"] = (folder / "d4rl.hdf5", {})
    with contextlib.suppress(UserError):  # without Minari
        datasets.write(dataset, "minari:lab/a-v0")
        found["minari"] = (folder / "minari" / "lab" / "a-v0", {})
    return found


def damage(rng, content):
    """The bytes cut short, with a few bits turned, with some left out, or others in their place."""
    kind = rng.integers(5)
    at = int(rng.integers(len(content) or 1))
    if kind == 0:
        return content[:at]
    bytes_of = bytearray(content)
    if kind == 1 and bytes_of:
        for _ in range(int(rng.integers(1, 9))):
            bytes_of[int(rng.integers(len(bytes_of)))] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        del bytes_of[at : at + int(rng.integers(1, 64))]
    elif kind == 3:
        bytes_of[at : at + 16] = rng.integers(0, 256, 16).astype(np.uint8).tobytes()
    else:
        bytes_of[at : at + 8] = b"\xff" * 8
    return bytes(bytes_of)


def listing(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture
def memory(tmp_path):
    """A folder that is on no disk, where there are such."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        yield Path(path)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_read_right_or_refused_in_a_line(dataset, memory, monkeypatch, part):
    tmp_path, rounds = memory, ROUNDS // PARTS
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(memory / "minari"))
    rng, tally = np.random.default_rng(part), Counter()
    known = sources(tmp_path, dataset)
    for round_ in range(rounds):
        name = list(known)[round_ % len(known)]
        path, options = known[name]
        inside = [path] if path.is_file() else [x for x in sorted(path.rglob("*")) if x.is_file()]
        file = inside[int(rng.integers(len(inside)))]
        whole = file.read_bytes()
        file.write_bytes(damage(rng, whole))
        before, began = listing(tmp_path), time.perf_counter()
        try:
            found = datasets.read(path, **options)
            assert len(found) == len(found.steps.first) and np.isfinite(found.steps.reward).all()
            tally["read"] += 1
        except UserError as error:
            line = str(error)
            assert line and "\n" not in line and len(line) < 1000, (name, line)
            tally["refused"] += 1
        assert time.perf_counter() - began < SLOW, name
        assert listing(tmp_path) == before
        file.write_bytes(whole)
    assert tally["refused"] > rounds / 4 and sum(tally.values()) == rounds, tally


class Evil:
    """What runs where it is unpickled."""

    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "call",
    [
        (os.mkdir, ("made",)),
        (np.load, ("made",)),
        (np.frombuffer, (b"1",)),
        (pickle.loads, (b"N.",)),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_nothing_of_a_pickle_is_run(tmp_path, monkeypatch, call, protocol):
    """Alone, and within what a buffer is made of; the name that it asks for is said."""
    monkeypatch.chdir(tmp_path)
    buffer = (FILES / "sb3.pkl").read_bytes()
    evil = pickle.dumps(Evil(call), protocol)
    for content in (evil, buffer[:-1] + evil[2:], pickle.dumps({"a": [Evil(call)]}, protocol)):
        (tmp_path / "a.pkl").write_bytes(content)
        with pytest.raises(UserError) as caught:
            formats.read("sb3:a.pkl")
        assert "\n" not in str(caught.value)
        assert content is not evil or call[0].__name__ in str(caught.value)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.pkl"]


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x05\x96\x00\x01\x00\x00\x00\x00\x00\x00.",  # a bytearray of more than there is
        b"\x80\x04\x8e\x00\x01\x00\x00\x00\x00\x00\x00.",  # bytes of as many
        b"\x80\x04]2a.",  # a list that holds itself
        b"\x80\x04\x82\x01.",  # a name by its number in a registry
        b"\x80\x04K\x01Q.",  # something kept elsewhere
        b"\x80\x04.",
        b"\x80\x04",
    ],
)
def test_pickles_that_ask_for_what_is_not_there_are_refused(tmp_path, content):
    (tmp_path / "a.pkl").write_bytes(content)
    began = time.perf_counter()
    with pytest.raises(UserError) as caught:
        datasets.read(tmp_path / "a.pkl")
    assert "\n" not in str(caught.value) and time.perf_counter() - began < SLOW


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ('"filename": "../secret.arrow"', "names '../secret.arrow', which lies elsewhere"),
        ('"filename": "/elsewhere.arrow"', "which lies elsewhere"),
    ],
)
def test_a_folder_names_only_files_of_its_own(tmp_path, changed, line):
    shutil.copytree(FILES / "imitation", tmp_path / "a")
    path = tmp_path / "a" / "state.json"
    text = path.read_text().replace('"filename": "data-00000-of-00001.arrow"', changed)
    path.write_text(text)
    with pytest.raises(UserError, match=line):
        datasets.read(tmp_path / "a")


def test_links_out_of_an_hdf5_file_are_not_followed(tmp_path):
    """What another file holds is that file's."""
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["rewards"] = np.zeros(9)
    datasets_of = {"observations": np.zeros((9, 1)), "actions": np.zeros((9, 1))}
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        for name, value in datasets_of.items():
            file[name] = value
        file["terminals"] = file["timeouts"] = np.arange(9) == 8
        file["rewards"] = h5py.ExternalLink("secret.h5", "rewards")
    with pytest.raises(UserError, match="rewards lies in another file, which is not read"):
        datasets.read(tmp_path / "a.hdf5")
