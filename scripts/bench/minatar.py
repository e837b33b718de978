"""What sees MinAtar's images: a convolution or dense layers, at equal steps.

    .venv/bin/python scripts/bench/minatar.py                  # the record, minutes
    .venv/bin/python scripts/bench/minatar.py --smoke          # seconds, says nothing

Writes a table of greedy returns, their interquartile mean over seeds with a 95 % stratified
bootstrap interval, and of the difference; and all seeds' returns beside it, as JSON.
"""

import argparse
import datetime
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from jaxrl_reward.training import use_all_cores

use_all_cores()

import jax  # noqa: E402, after the devices are chosen

from jaxrl_reward import training  # noqa: E402
from jaxrl_reward.report import statistics  # noqa: E402

RECORD = Path(__file__).parent / "record"
NETWORKS = ("cnn", "mlp")
# As many units for both. DQN's settings are those of the README's run of Breakout.
SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": {"num_envs": 32, "num_steps": 64, "hidden": (128,), "activation": "relu"},
    "dqn": {
        **{"num_envs": 16, "hidden": (128,), "n_step": 3, "buffer_size": 40_000},
        **{"epsilon_steps": 50_000.0},
    },
}
STEPS = {"ppo": 400_000, "dqn": 120_000}


def trained(agent: str, network: str, args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """One arm: the last greedy return of each seed, and what it took."""
    settings = SETTINGS[agent] | {"network": network}
    steps = 4096 if args.smoke else int(STEPS[agent] * args.scale)
    run = training.Run(
        f"{agent}-{network}",
        agent,
        args.env,
        settings=settings,
        seeds=2 if args.smoke else args.seeds,
        seed=args.seed,
        total_steps=steps,
        evals=1,
        eval_episodes=args.episodes,
    )
    start = time.perf_counter()
    result = training.train(run, out=out / run.name, progress=args.progress)
    return {
        "agent": agent,
        "network": network,
        "returns": [float(x) for x in result.returns],
        "steps": result.summary["env_steps"] // run.seeds,
        "seconds": time.perf_counter() - start,
        "steps_per_second": result.steps_per_second,
        "settings": settings,
    }


def table(found: list[dict[str, Any]], args: argparse.Namespace) -> str:
    """The record as Markdown."""
    count = len(found[0]["returns"])
    seeds = f"seeds {args.seed} to {args.seed + count - 1}"
    lines = [
        f"# {args.env}: a convolution or dense layers, at equal steps",
        "",
        f"Greedy returns of {args.episodes} episodes a seed at the end, {seeds}: interquartile "
        "mean and 95 % stratified bootstrap interval. `cnn` is 16 filters of 3 x 3 before the "
        f"hidden layer, `mlp` the hidden layer alone. JAX {jax.__version__}, "
        f"{jax.default_backend()}, {datetime.date.today()}; `scripts/bench/minatar.py`.",
        "",
        "| Agent | Network | Steps | Return | Steps a second |",
        "| -- | -- | --: | --: | --: |",
    ]
    for each in found:
        interval = _text(statistics.stratified_bootstrap(each["returns"]))
        numbers = [f"{each['steps']:,}", interval, f"{each['steps_per_second']:,.0f}"]
        lines.append(f"| {' | '.join([each['agent'], each['network'], *numbers])} |")
    lines += ["", "| Agent | `cnn` less `mlp` |", "| -- | --: |"]
    for cnn, mlp in zip(found[::2], found[1::2], strict=True):
        apart = statistics.difference(cnn["returns"], mlp["returns"])
        lines.append(f"| {cnn['agent']} | {_text(apart)} |")
    return "\n".join(lines) + "\n"


def _text(interval: statistics.Interval) -> str:
    return f"{interval.estimate:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--env", default="gymnax:Breakout-MinAtar")
    parser.add_argument("--agents", nargs="+", choices=tuple(SETTINGS), default=tuple(SETTINGS))
    parser.add_argument("--seeds", type=int, default=6, metavar="N")
    parser.add_argument("--seed", type=int, default=300, metavar="N", help="the first (300)")
    parser.add_argument("--episodes", type=int, default=32, metavar="N", help="per seed (32)")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="of the steps (1)")
    parser.add_argument("--smoke", action="store_true", help="2 seeds, 4,096 steps")
    parser.add_argument("--progress", action="store_true", help="draw progress bars")
    parser.add_argument("--out", type=Path, metavar="DIR", help="of the table (the record's)")
    args = parser.parse_args()
    if args.out is None and args.smoke:
        parser.error("--smoke is no record: give --out DIR")
    with tempfile.TemporaryDirectory(prefix="minatar-") as folder:
        found = [
            trained(agent, network, args, Path(folder))
            for agent in args.agents
            for network in NETWORKS
        ]
    out = args.out or RECORD
    out.mkdir(parents=True, exist_ok=True)
    text = table(found, args)
    (out / "minatar.md").write_text(text)
    (out / "minatar.json").write_text(json.dumps(found, indent=2, default=list) + "\n")
    print(text)


if __name__ == "__main__":
    main()
