"""Seconds and memory of reading a large D4RL file, beside h5py's bare read of the same arrays.

    python scripts/bench/data_size.py --steps 10000000 --out scripts/bench/record/data_size.md

Every reading is a process of its own; the file is read once before, so that all find it in the
system's memory. Peaks are of the whole process, and of what it took beyond its imports.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SHAPES = {"observations": 11, "actions": 3, "next_observations": 11}  # of hopper
PARTS = 100  # in which the file is written
READERS = ("h5py", "ours")
TIMES = 3
NOTE = (
    "Without `next_observations` the successors are an array of their own, which the file does\n"
    "not have. The checksum of so large a set is computed when it is first needed, and not here."
)
HEAD = (
    *("file", "size", "reader", "first, s", "again, s", "CPU again, s", "peak", "beyond imports"),
    *("times as long", "times the peak"),
)


def write(path, steps, following):
    """Episodes of 1000 steps: the last of each times out, but every tenth terminates."""
    import h5py

    rng, part = np.random.default_rng(0), steps // PARTS
    with h5py.File(path, "w") as file:
        for name, width in SHAPES.items():
            if name == "next_observations" and not following:
                continue
            made = file.create_dataset(name, (steps, width), np.float32)
            for begin in range(0, steps, part):
                made[begin : begin + part] = rng.normal(size=(part, width))
        rows = np.arange(steps)
        over, ends = rows % 1000 == 999, rows % 10_000 == 9_999
        file["rewards"] = rng.normal(size=steps).astype(np.float32)
        file["terminals"], file["timeouts"] = ends, over & ~ends


def read(reader, path):
    """Reads it; what it took, as plain numbers."""
    open_all = bare if reader == "h5py" else ours()
    before, spans, most = peak(), [], 0
    for _ in range(2):  # the first also waits for pages that the system has to find
        began, spent = time.perf_counter(), time.process_time()
        held = open_all(path)
        spans.append((time.perf_counter() - began, time.process_time() - spent))
        most = most or peak()
        count = len(held)
        del held
    (first, _), (again, cpu) = spans
    taken = {"first": first, "seconds": again, "cpu": cpu}
    return {**taken, "peak": most, "beyond": most - before, "held": count}


def bare(path):
    """All arrays of a file, as h5py gives them."""
    import h5py

    with h5py.File(path) as file:
        return {name: value[()] for name, value in file.items()}


def ours():
    """This package's reader."""
    from jaxrl_reward import data

    return data.read


def peak():
    """The most memory that this process has taken, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def measure(path):
    """The best of several readings with each reader."""
    runs = {reader: [] for reader in READERS}
    for _ in range(TIMES):
        for reader in READERS:  # by turns, as pages that were just given back are quicker to get
            words = [sys.executable, __file__, "--read", reader, "--file", str(path)]
            said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
            runs[reader].append(json.loads(said.splitlines()[-1]))
    return {
        reader: {key: min(run[key] for run in each) for key in each[0]}
        for reader, each in runs.items()
    }


def table(results, steps):
    """What was measured, in Markdown."""
    lines = [
        "# Reading a large file",
        "",
        f"`python scripts/bench/data_size.py --steps {steps}`: {steps:,} steps of D4RL's layout,",
        f"as of hopper, the least of {TIMES} readings by turns, each a process of its own",
        "that reads twice: the first reading waits for the system's pages, hot or not.",
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"which had work for {os.getloadavg()[0]:.0f} (load average).",
        "",
        f"| {' | '.join(HEAD)} |",
        f"|{' --- |' * len(HEAD)}",
    ]
    for name, (size, found) in results.items():
        bare = found["h5py"]
        for reader, run in found.items():
            cells = [name, f"{size / 1e9:.2f} GB", reader]
            cells += [f"{run[key]:.2f}" for key in ("first", "seconds", "cpu")]
            cells += [f"{run[key] / 1e9:.2f} GB" for key in ("peak", "beyond")]
            cells += [f"{run[key] / bare[key]:.2f}" for key in ("seconds", "peak")]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", NOTE]
    return "\n".join(lines) + "\n"


def main():
    """Writes files, reads them, and says what it took; or reads one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=10_000_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", choices=READERS)
    parser.add_argument("--file")
    args = parser.parse_args()
    if args.read:
        print(json.dumps(read(args.read, args.file)))
        return
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, following in (("with next_observations", True), ("without", False)):
            path = Path(folder) / "hopper-medium-v2.hdf5"
            write(path, args.steps, following)
            read("h5py", path)
            results[name] = path.stat().st_size, measure(path)
            path.unlink()
    text = table(results, args.steps)
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
