"""Times this package beside its peers, which take turns at the same work; prints a table."""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TORCH = "torch==2.13.0"
LARGE = {"torch": TORCH, "trl": f"{TORCH} trl==1.16.0"}
PEERS = "peers rejax 0.1.3, brax 0.14.2, torch 2.13.0, trl 1.16.0"
CARTPOLE = {"kind": "ppo", "env": "gymnax:CartPole-v1", "seeds": 1, "episodes": 128}
SMALL = {"num_envs": 4, "num_steps": 128, "epochs": 4, "minibatches": 4, "learning_rate": 3e-4}
BRAX = {
    **{"num_envs": 256, "num_steps": 32, "epochs": 4, "minibatches": 8, "learning_rate": 3e-4},
    **{"entropy_coef": 0.0, "normalize_obs": True, "distribution": "tanh_normal"},
    # As brax.training restarts: from where the environment first did. Fresh states are our
    # default, and add a reset to what is compiled.
    "reset": "cached",
}
SAC = {
    **{"num_steps": 1, "batch_size": 256, "buffer_size": 100_000, "learning_starts": 1000},
    **{"learning_rate": 1e-3, "critic_learning_rate": 1e-3, "hidden": [256, 256]},
}
# brax.training's loop runs three epochs before the first that counts: ours as many steps.
WALKER = {"kind": "ppo", "seeds": 1, "episodes": 64, "settings": BRAX, "scale": 0.1}
WALKER["reward"] = "env | scale(0.1)"


@dataclass(frozen=True)
class Work:
    """One row of the table.

    Attributes:
      title: what is done.
      task: the same for every competitor, but for `variants`.
      peers: the competitors beside ours, by the name of their file.
      variants: changes to our task, each a competitor of its own.
    """

    title: str
    task: dict[str, Any]
    peers: tuple[str, ...] = ()
    variants: tuple[tuple[str, dict[str, Any]], ...] = (("ours", {}),)


def cartpole(iterations: int, **changes: Any) -> dict[str, Any]:
    seeds = changes.pop("seeds", 1)
    return {**CARTPOLE, "seeds": seeds, "iterations": iterations, "settings": SMALL | changes}


def offline(kind: str, seeds: int, **settings: Any) -> dict[str, Any]:
    """Updates of IQL on rows as wide as halfcheetah's."""
    common = {"batch_size": 256, "hidden": [256, 256], "updates": 100, "learning_rate": 3e-4}
    shapes = {"env": "brax:halfcheetah", "obs": 17, "action": 6, "rows": 100_000}
    task = {"kind": kind, "seeds": seeds, "iterations": 5, **shapes}
    return {**task, "settings": common | settings}


RIQL = {"critics": 5, "quantile": 0.25, "huber_delta": 1.0}
COVERAGE = {"num_envs": 64, "num_steps": 79, "hidden": [64, 32], "learning_rate": 1e-2}


def pendulum(seeds: int = 1, iterations: int = 2000, **changes: Any) -> dict[str, Any]:
    settings = SAC | {"num_envs": 1, "updates": 1} | changes
    task = {"kind": "sac", "env": "gymnax:Pendulum-v1", "seeds": seeds, "episodes": 128}
    return {**task, "iterations": iterations, "warm": 1100, "settings": settings}


def pairs(layers: int, width: int, count: int, updates: int, **changes: Any) -> dict[str, Any]:
    """DPO of one seed; pairs count as steps."""
    iterations = changes.pop("iterations", 4)
    settings = {"network": "transformer", "layers": layers, "width": width, "heads": 4}
    settings |= {"pairs": count, "batch_size": 64, "updates": updates, "learning_rate": 1e-3}
    text = {"prompt": 1, "length": 8, "vocabulary": 13}
    task = {"kind": "pair_pg", "env": "sequence:hack,length=5,max_tokens=8", "seeds": 1, **text}
    settings |= {"warmup": 10, "look": 2} | changes
    return {
        **task,
        "iterations": iterations,
        "episodes": 2,
        "each": 64,
        "reward": "env | dpo()",
        "settings": settings,
    }


WORK = {
    "cartpole-4": Work("PPO CartPole, 1 seed, 4 x 128", cartpole(800), ("rejax",)),
    "cartpole-1024": Work(
        "PPO CartPole, 1 seed, 1024 x 128", cartpole(4, num_envs=1024), ("rejax",)
    ),
    "seeds-16": Work("PPO CartPole, 16 seeds, 4 x 128", cartpole(150, seeds=16), ("rejax",)),
    "seeds-64": Work("PPO CartPole, 64 seeds, 4 x 128", cartpole(40, seeds=64), ("rejax",)),
    "hopper": Work(
        "PPO brax hopper (spring), 256 x 32",
        {**WALKER, "env": "brax:hopper,backend=spring", "iterations": 20, "warm": 60},
        ("brax",),
    ),
    "ant": Work(
        "PPO brax ant (spring), 256 x 32",
        {**WALKER, "env": "brax:ant,backend=spring", "iterations": 5, "warm": 15},
        ("brax",),
    ),
    "sac": Work(
        "SAC Pendulum, batches of 256, 2 x 256 units",
        pendulum(),
        ("rejax",),
    ),
    "sac-seeds": Work(
        "SAC Pendulum, as above, by seeds at once",
        pendulum(),
        variants=(("8 seeds", pendulum(8, 250)), ("1 seed", pendulum())),
    ),
    "sac-buffer": Work(
        "SAC Pendulum, batches of 64, 2 x 64 units, by buffer",
        pendulum(),
        variants=tuple(
            (f"{size:,} steps", pendulum(batch_size=64, hidden=[64, 64], buffer_size=size))
            for size in (1_000_000, 10_000)
        ),
    ),
    "sac-brax": Work(
        "SAC brax inverted pendulum, as above",
        {
            **{"kind": "sac", "env": "brax:inverted_pendulum,backend=generalized", "seeds": 1},
            **{"episodes": 64, "iterations": 200, "warm": 725, "reward": "env", "scale": 1.0},
            "settings": SAC | {"num_envs": 8, "updates": 8, "reset": "cached"},
        },
        ("brax",),
    ),
    "submodular": Work(
        "SubPO coverage of 30 x 30 cells, 16 seeds, 64 episodes of 79 steps",
        {
            **{"kind": "subpo", "env": "grid:coverage", "seeds": 16, "episodes": 8, "loops": 2},
            **{"iterations": 40, "settings": COVERAGE},
        },
        ("loop",),
    ),
    "iql": Work(
        "IQL updates, batches of 256, 2 x 256 units", offline("iql", 1, critics=2), ("step",)
    ),
    "iql-seeds": Work(
        "IQL as above, 2 seeds; the peer one after the other",
        offline("iql", 2, critics=2),
        ("step",),
    ),
    "riql": Work("RIQL as above, 1 seed, 5 critics", offline("riql", 1, **RIQL), ("step", "torch")),
    "stepping": Work(
        "CartPole, random actions, 1024 environments",
        {"kind": "stepping", "env": "gymnax:CartPole-v1", "num_envs": 1024, "steps": 10_000},
        ("rejax",),
    ),
    "sequence": Work(
        "A transformer of 108,000 numbers writes 64 tokens, 256 responses at once",
        {"kind": "writing", "num": 256, "length": 64, "width": 64, "vocabulary": 32},
        variants=(("cached", {"repeat": 4}), ("uncached", {"cached": False, "repeat": 1})),
    ),
    "sequence-training": Work(
        "GRPO, 4,096 responses of up to 64 tokens an iteration, by the limit",
        {
            **{"kind": "group_pg", "env": "sequence:think,max_tokens=64", "seeds": 1},
            **{"iterations": 1, "episodes": 128},
            "settings": {"num_envs": 4096, "group_size": 16, "minibatches": 4, "warmup": 10},
        },
    ),
    "pairs": Work(
        "DPO, batches of 64 pairs of 8 tokens, transformer 2 x 32: pairs a second",
        pairs(2, 32, 1024, 100),
        ("trl",),
    ),
    "pairs-wide": Work("DPO, as above, 4 x 128", pairs(4, 128, 1024, 20), ("trl",)),
    "pairs-online": Work(
        "DPO, as above, 2 x 32, on pairs that the policy has just written",
        pairs(2, 32, 64, 1, iterations=50, source="policy"),
        ("trl",),
    ),
    "algebra": Work(
        "PPO CartPole, 16 x 128, five terms",
        cartpole(200, num_envs=16),
        variants=(("expression", {"reward": "expression"}), ("by hand", {"reward": "by hand"})),
    ),
}


class Competitor:
    """A process that works when it is its turn."""

    def __init__(self, name: str, python: str, script: str, task: dict[str, Any]):
        self.name, self.speeds, self.returns = name, [], []
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        command = [python, str(HERE / f"{script}.py"), json.dumps(task)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.compile_seconds = self._answer()["compile_seconds"]

    def repeat(self) -> None:
        self._ask("repeat")
        answer = self._answer()
        self.speeds.append(answer["steps"] / answer["seconds"])

    def finish(self) -> None:
        self._ask("score")
        self.returns = self._answer()["returns"]
        self._process.communicate()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _ask(self, request: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(request + "\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # libraries print as they are imported
                return json.loads(line)
        raise SystemExit(f"benchmark: error: {self.name} ended, see above")


def compete(work: Work, peers_python: str, repeats: int) -> list[dict[str, Any]]:
    """Compiles one after another, then takes turns."""
    competitors: list[Competitor] = []
    try:
        for name, change in work.variants:
            task = {**work.task, **change, "repeats": repeats}
            competitors.append(Competitor(name, sys.executable, "ours", task))
        for peer in work.peers:
            if not runs(peers_python, peer):
                continue
            task = {**work.task, "repeats": repeats}
            competitors.append(Competitor(peer, peers_python, f"peer_{peer}", task))
        for i in range(repeats):
            # Who comes first in a turn changes, so that nobody always follows the same one.
            for competitor in competitors if i % 2 else competitors[::-1]:
                competitor.repeat()
        for competitor in competitors:
            competitor.finish()
    finally:
        for competitor in competitors:
            competitor.kill()
    return [summary(each) for each in competitors]


def runs(python: str, peer: str) -> bool:
    """Whether a peer's package is there: PyTorch is too large to install for one row."""
    if peer not in LARGE:
        return True
    found = subprocess.run([python, "-c", f"import {peer}"], capture_output=True)
    if found.returncode:
        asked = f"{python} -m pip install {LARGE[peer]}"
        note = f"benchmark: the {peer} peer is left out; to have it: {asked}"
        print(note, file=sys.stderr, flush=True)
    return not found.returncode


def summary(competitor: Competitor) -> dict[str, Any]:
    from jaxrl_reward.report.statistics import summarize

    found: dict[str, Any] = {
        "name": competitor.name,
        "steps_per_second": statistics.median(competitor.speeds),
        "slowest": min(competitor.speeds),
        "fastest": max(competitor.speeds),
        "compile_seconds": competitor.compile_seconds,
    }
    if competitor.returns:
        found["return"] = summarize(competitor.returns)
    return found


def markdown(work: dict[str, Any]) -> str:
    """A table for each device and set of versions that rows were measured with."""
    lines: list[str] = []
    for about in {json.dumps(each["about"]): each["about"] for each in work.values()}.values():
        lines += [
            f"{about['device']}, {about['cores']} cores, {about['versions']}.",
            f"Medians of {about['repeats']} alternating repeats (slowest to fastest); returns are",
            "greedy, on the environment's own reward, after all repeats: IQM over seeds.",
            "",
            "| Work | Who | Steps per second | First / this | Compile, s | Return | Date |",
            "| -- | -- | --: | --: | --: | --: | -- |",
        ]
        for name, each in work.items():
            if each["about"] == about:
                lines += _rows(name, each)
        lines.append("")
    return "\n".join(lines)


def _rows(name: str, work: dict[str, Any]) -> list[str]:
    found, rows = [], work["rows"]
    first = rows[0]["steps_per_second"]
    for row in rows:
        speed = row["steps_per_second"]
        span = f"{speed:,.0f} ({row['slowest']:,.0f} - {row['fastest']:,.0f})"
        score = row.get("return")
        shown = "" if not score else f"{score['iqm']:.1f}"
        if score and score["seeds"] > 1:
            shown += f" [{score['ci_low']:.1f}, {score['ci_high']:.1f}]"
        title, date = (WORK[name].title, work["date"]) if row is rows[0] else ("", "")
        found.append(
            f"| {title} | {row['name']} | {span} | {first / speed:.2f} | "
            f"{row['compile_seconds']:.1f} | {shown} | {date} |"
        )
    return found


def device() -> str:
    """The accelerator's name, or the processor's; asked elsewhere, to leave it free."""
    code = "import jax; d = jax.devices()[0]; print(d.platform, d.device_kind, sep=',')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    kind = found.stdout.strip().partition(",")[::2]
    if kind[0] != "cpu":
        return kind[1]
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(WORK), metavar="TASK")
    parser.add_argument("--repeats", type=int, default=5, help="at least 1 (5)")
    parser.add_argument("--out", type=Path, help="also write benchmark.md and .json there")
    parser.add_argument(
        "--update-record",
        action="store_true",
        help="and into scripts/bench/record, whose other rows stay, with their device and versions",
    )
    parser.add_argument("--peers", default=sys.executable, help=argparse.SUPPRESS)
    parser.add_argument("--parse-only", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error(f"--repeats must be at least 1, not {args.repeats}")
    if args.parse_only:
        return
    packages = ("jax", "gymnax", "brax")
    about = {
        "device": device(),
        "cores": len(os.sched_getaffinity(0)),
        "repeats": args.repeats,
        "versions": ", ".join(f"{name} {metadata.version(name)}" for name in packages)
        + f"; {PEERS}",
    }
    results: dict[str, Any] = {}
    record = earlier() if args.update_record else {}
    for name in args.only or WORK:
        print(f"benchmark: {WORK[name].title} ...", file=sys.stderr, flush=True)
        rows = compete(WORK[name], args.peers, args.repeats)
        results[name] = {"date": datetime.date.today().isoformat(), "about": about, "rows": rows}
        # After each, so that nothing is lost if a later one fails.
        if args.out:
            write(args.out, results)
        if args.update_record:
            merged = record | results
            write(HERE / "record", {name: merged[name] for name in WORK if name in merged})
    print(markdown(results))


def earlier() -> dict[str, Any]:
    """The record's rows, each with the device and the versions that it was measured with."""
    file = HERE / "record" / "benchmark.json"
    return json.loads(file.read_text()) if file.exists() else {}


def write(folder: Path, results: dict[str, Any]) -> None:
    """The rows as a table and as JSON."""
    from jaxrl_reward.files import user_path, write_atomic

    folder = user_path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "benchmark.md", f"# Benchmark\n\n{markdown(results)}".encode())
    write_atomic(folder / "benchmark.json", (json.dumps(results, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
