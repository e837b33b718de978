"""What training on 2e7 steps takes of memory, streamed and whole.

    python scripts/bench/stream.py [ROWS]

Writes a set of so many float32 steps (observations of 4 numbers, actions of 1) into a
temporary folder, trains IQL on it for some hundred updates, each way in a process of its own,
and prints the peak resident memory of each. The folder is removed at the end.
"""

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

WINDOW, PART = 1_000_000, 1_000_000
SHAPES = {"obs": (4,), "action": (1,), "reward": (), "next_obs": (4,)}


def write(path: Path, rows: int) -> None:
    """The set, array by array and a part at a time, as `data.save` lays it out."""
    from jaxrl_reward.data import Provenance

    rng, digest = np.random.default_rng(0), hashlib.sha256()
    names = ("obs", "action", "reward", "next_obs", "first", "terminated", "truncated")
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name in names:
            kind, shape = ("<f4", SHAPES[name]) if name in SHAPES else ("|b1", ())
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                header = {"descr": kind, "fortran_order": False, "shape": (rows, *shape)}
                np.lib.format.write_array_header_2_0(file, header)
                digest.update(f"{name} {kind} {(rows, *shape)};".encode())
                for start in range(0, rows, PART):
                    at = np.arange(start, min(start + PART, rows))
                    content = part(rng, name, at).astype(kind).tobytes()
                    digest.update(content)
                    file.write(content)
        about = {**vars(Provenance()), "checksum": digest.hexdigest()}
        for name, text in (("format", "jaxrl-reward dataset 1"), ("provenance", json.dumps(about))):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.array(text))


def part(rng: np.random.Generator, name: str, at: np.ndarray) -> np.ndarray:
    """Some rows of a field: episodes of 1,000 steps."""
    flags = {"first": at % 1000 == 0, "truncated": at % 1000 == 999, "terminated": at < 0}
    if name in flags:
        return flags[name]
    draw = rng.uniform if name == "action" else rng.normal
    more = {"low": -1.0, "high": 1.0} if name == "action" else {}
    return draw(size=(len(at), *SHAPES[name]), **more)


def train(path: Path, stream: int, windows: int) -> dict[str, float]:
    """Trains, and says what it took: seconds, and the peak of memory in bytes."""
    from jaxrl_reward import agents, training

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    started = time.perf_counter()
    small = {"hidden": (32,), "batch_size": 4096, "updates": 50, "fqe_steps": 50}
    made = agents.make("iql", None, data=path, stream=stream, **small)
    opened = time.perf_counter() - started
    device = sum(x.nbytes for x in (made.data.rows, made.data.held.rows))
    steps = windows * (WINDOW // 4096 + 50)
    training.train(made, total_steps=steps, evals=1, progress=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    spent = time.perf_counter() - started
    return {"open": opened, "all": spent, "import": before, "device": device, "peak": peak}


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.npz"
        write(path, rows)
        print(f"{rows:,} steps, {path.stat().st_size / 1e9:.2f} GB in the file")
        for name, stream in (("streamed", min(WINDOW, rows // 2)), ("whole", 0)):
            words = [sys.executable, __file__, str(path), str(stream)]
            found = json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)
            sizes = {k: f"{found[k] / 1e9:.2f} GB" for k in ("import", "device", "peak")}
            print(
                f"{name}: peak {sizes['peak']} ({sizes['import']} before it began, rows on the "
                f"device {sizes['device']}), opened in {found['open']:.0f} s, {found['all']:.0f} s "
                "in all"
            )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(train(Path(sys.argv[1]), int(sys.argv[2]), windows=4)))
    else:
        main(int(float(sys.argv[1])) if len(sys.argv) > 1 else 20_000_000)
