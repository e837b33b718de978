"""A hundred judges in one program beside PyTorch's one after the other, on the same cores.

    python scripts/bench/judges.py --torch PYTHON [--judges 100] [--steps 400] [--turns 3]

PYTHON is an interpreter that has PyTorch. Both read the same pairs, sizes, wrong labels and
widths, and fit GRUs by Adam on batches of the same size; they take turns, so that whatever else
the machine does falls on both. PyTorch runs with one thread and with all, and counts by the
faster. The held-out accuracies of both are printed, for what was learnt.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
TOKENS, PROMPTS, VOCABULARY = 6, 3, 10
SIZES = ((8, 16), (16, 16), (16, 32))  # the widest judge, and pairs of a batch


def write(path: Path, judges: int, width: int) -> None:
    """Pairs of which the one with more of its prompt's letters is better, and the judges' kinds."""
    rng = np.random.default_rng(0)
    wanted = rng.integers(1, 9, (PROMPTS, 4))

    def pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
        prompt = rng.integers(0, PROMPTS, count)
        answer = rng.integers(1, 9, (count, 2, 4))
        known = rng.random((count, 2, 4)) < 0.3
        answer = np.where(known, wanted[prompt][:, None], answer)
        gold = (answer == wanted[prompt][:, None]).sum(-1)
        text = np.full((count, 2, 1 + TOKENS), VOCABULARY, np.int32)
        text[..., 0], text[..., 1:5], text[..., 5] = prompt[:, None] + 1, answer, 0
        return text, gold

    text, gold = pairs(1000)
    held_out, worth = pairs(4000)
    order = np.argsort(-worth, 1)
    held_out = np.take_along_axis(held_out, order[..., None], 1)
    held_out = held_out[worth[:, 0] != worth[:, 1]]
    right = np.where(gold[:, 0] == gold[:, 1], 0.5, gold[:, 0] > gold[:, 1])
    wrong = rng.random((judges, len(text))) < rng.uniform(0, 0.4, (judges, 1))
    label = np.where(wrong, 1 - right, right).astype(np.float32)
    size = np.round(30 * (1000 / 30) ** rng.random(judges)).astype(np.int32)
    units = np.round(2 + (width - 2) * rng.random(judges)).astype(np.int32)
    np.savez(path, text=text, label=label, held_out=held_out, size=size, units=units)


def ours(task: dict[str, Any]) -> Any:
    """All judges in one program, shared out among the cores."""
    import time

    from jaxrl_reward.training import use_all_cores

    use_all_cores()
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding, PartitionSpec

    from jaxrl_reward.data import pairs as pair_data
    from jaxrl_reward.preferences import judges

    data, s = np.load(task["data"]), task["settings"]
    text, held = data["text"], jnp.asarray(data["held_out"])
    pairs = pair_data.make(text[:, 0, :1], text[:, 0, 1:], text[:, 1, 1:])
    design = judges.Design(s["vocabulary"], 1, TOKENS, width=s["width"])

    def fit(key: Any, label: Any, size: Any, units: Any) -> Any:
        model = judges.narrow(judges.init(key, design), units)
        how = {"steps": s["steps"], "batch_size": s["batch_size"], "learning_rate": s["rate"]}
        model, _ = judges.fit(model, key, pairs.replace(label=label), size=size, **how)
        said = model.scores(held.reshape(-1, held.shape[-1]))[0].reshape(-1, 2)
        return (said[:, 0] > said[:, 1]).mean()

    devices = jax.devices()
    while task["judges"] % len(devices):
        devices = devices[:-1]
    mesh = jax.make_mesh((len(devices),), ("judges",), devices=devices)
    spec = PartitionSpec("judges")
    keys = jax.random.split(jax.random.key(0), task["judges"])
    given = (keys, *(jnp.asarray(data[name]) for name in ("label", "size", "units")))
    given = jax.device_put(given, NamedSharding(mesh, spec))
    split = jax.shard_map(
        jax.vmap(fit), mesh=mesh, in_specs=(spec,) * 4, out_specs=spec, check_vma=False
    )
    started = time.perf_counter()
    program = jax.jit(split).lower(*given).compile()
    compiled = time.perf_counter() - started
    accuracies: list[float] = []

    def repeat() -> int:
        accuracies[:] = np.asarray(program(*given)).tolist()
        return task["judges"] * s["steps"]

    return compiled, repeat, lambda: accuracies


class Competitor:
    """A process that does the work when it is asked to."""

    def __init__(self, python: str, file: str, task: dict[str, Any]):
        self.process = subprocess.Popen(
            [python, str(HERE / file), json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.compiled = self.read()["compile_seconds"]
        self.seconds: list[float] = []

    def read(self) -> dict[str, Any]:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise SystemExit("error: a competitor ended; what it said is above")
        return json.loads(line)

    def ask(self, what: str) -> dict[str, Any]:
        assert self.process.stdin
        print(what, file=self.process.stdin, flush=True)
        return self.read()

    def take_turn(self) -> None:
        self.seconds.append(self.ask("repeat")["seconds"])

    def close(self) -> list[float]:
        accuracies = self.ask("score")["returns"]
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()
        return accuracies


def compare(args: argparse.Namespace, width: int, batch: int, folder: Path) -> None:
    """One line of the table."""
    data = folder / f"{width}-{batch}.npz"
    write(data, args.judges, width)
    settings = {"vocabulary": VOCABULARY, "width": width, "batch_size": batch}
    settings |= {"steps": args.steps, "rate": 1e-2}
    task = {"data": str(data), "judges": args.judges, "settings": settings}
    cores = len(os.sched_getaffinity(0))
    threads = (1, cores) if cores > 1 else (1,)
    peers = [Competitor(args.torch, "peer_judges.py", {**task, "threads": n}) for n in threads]
    mine = Competitor(sys.executable, "judges.py", {**task, "ours": True})
    for _ in range(args.turns):
        for each in (mine, *peers):
            each.take_turn()
    accuracies = [each.close() for each in (mine, *peers)]
    best = min(range(len(peers)), key=lambda i: statistics.median(peers[i].seconds))
    own, other = (statistics.median(each.seconds) for each in (mine, peers[best]))
    ratios = sorted(b / a for a, b in zip(mine.seconds, peers[best].seconds, strict=True))
    means = [statistics.fmean(accuracies[i]) for i in (0, 1 + best)]
    print(
        f"| 2 to {width} | {batch} | {own:.2f} s | {mine.compiled:.1f} s | {other:.2f} s | "
        f"{threads[best]} | {other / own:.1f} [{ratios[0]:.1f}, {ratios[-1]:.1f}] | "
        f"{other / (own + mine.compiled):.1f} | {means[0]:.3f} | {means[1]:.3f} |",
        flush=True,
    )


def main() -> None:
    """The table, of each size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--torch", required=True, help="an interpreter that has PyTorch")
    parser.add_argument("--judges", type=int, default=100)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--sizes", type=int, default=len(SIZES), help="how many lines")
    args = parser.parse_args()
    print(f"{args.judges} judges, {args.steps} steps each, {args.turns} turns\n")
    print(
        "| Units | Pairs | Ours, all at once | Compiling | PyTorch, one by one | Threads | "
        "Times as fast | With compiling | Accuracy, ours | PyTorch |"
    )
    print("|" + " -- |" * 10)
    with tempfile.TemporaryDirectory() as folder:
        for width, batch in SIZES[: args.sizes]:
            compare(args, width, batch, Path(folder))


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        from serve import serve

        serve(ours)
    else:
        main()
