"""Agents trained on suites' environments, beside the suite's own baseline at equal steps.

    .venv/bin/python scripts/bench/trained.py                  # what is installed, hours
    .venv/bin/python scripts/bench/trained.py --only navix     # the others' rows stay
    .venv/bin/python scripts/bench/trained.py --only pgx --scale 0.01 --out DIR    # a try

Where a suite brings an agent of its own, it runs here, with the suite's own settings, in a
process of its own; else the table says what was published. *Sampled* are episodes that end in
the last tenth of training, of the policy that explores; *greedy* those of the policy at the
end; beside both stands a policy that picks allowed actions at random. Writes a table with
interquartile means over seeds and 95 % bootstrap intervals, and all seeds' returns as JSON.
"""

import argparse
import dataclasses
import datetime
import json
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata, util
from pathlib import Path
from typing import Any

from jaxrl_reward.training import use_all_cores

use_all_cores()

import jax  # noqa: E402, after the devices are chosen
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from jaxrl_reward import envs, training  # noqa: E402
from jaxrl_reward.envs.masks import random_action  # noqa: E402
from jaxrl_reward.report import statistics  # noqa: E402

HERE = Path(__file__).parent
RECORD = HERE / "record"
FIRST = 0  # of the seeds; settings were chosen on seeds from 1000 on, where they were chosen
WHO = {"ours": "`ppo`", "theirs": "the suite's own", "random": "random"}
MODULES = {"playground": "mujoco_playground"}
NAVIX: dict[str, Any] = {  # those of navix.agents.PPO but for its discount, see `NAVIX_SAYS`
    **{"num_envs": 16, "num_steps": 128, "minibatches": 8, "epochs": 1, "anneal": True},
    **{"learning_rate": 2.5e-4, "clip_value": True, "network": "mlp"},
}
NAVIX_SAYS = "navix.agents.PPO by its own settings; it discounts step t by gamma to the t"


@dataclasses.dataclass(frozen=True)
class Row:
    """One environment: what we train it with, and what stands beside it.

    Attributes:
      env: its name.
      steps: environment steps of a seed.
      settings: of our PPO.
      reward: of our PPO, the environment's own by default.
      beside: what stands beside it, in words.
      peer: whether `peer_suites.py` runs that.
    """

    env: str
    steps: int
    settings: dict[str, Any]
    beside: str
    peer: bool = False
    reward: str | None = None

    @property
    def suite(self) -> str:
        return self.env.partition(":")[0]


ROWS = (
    Row(
        "craftax:Craftax-Classic-Symbolic-v1",
        1_000_000,
        {  # those of Craftax's own PPO but for fewer environments and smaller layers
            **{"num_envs": 64, "num_steps": 64, "minibatches": 8, "epochs": 4},
            **{"learning_rate": 5e-4, "gae_lambda": 0.8, "hidden": (256, 256), "anneal": True},
        },
        "Crafter (Hafner 2021), 1e6 steps of pixels: PPO 4.2 +- 1.2, random 2.1 +- 1.3",
    ),
    *(
        Row(f"navix:Navix-{name}-v0,one_hot=false", 1_000_000, NAVIX, NAVIX_SAYS, peer=True)
        for name in ("Empty-8x8", "DoorKey-5x5", "DoorKey-8x8")
    ),
    Row(
        "pgx:minatar-breakout",
        1_000_000,
        {
            **{"num_envs": 64, "num_steps": 32, "minibatches": 4, "epochs": 4},
            **{"hidden": (128,), "activation": "relu", "anneal": True, "network": "mlp"},
        },
        "pgx's own example learns for 20e6 steps and gives a figure; no number at 1e6",
    ),
    Row(
        "jumanji:Snake-v1",
        256_000,
        {
            **{"num_envs": 64, "num_steps": 32, "minibatches": 4, "epochs": 4},
            **{"gamma": 0.997, "hidden": (64,), "activation": "relu"},
        },
        "jumanji's own A2C trains for 256e6 steps; no number at 2.6e5",
    ),
    Row(
        "playground:CartpoleBalance",
        983_040,
        {  # Playground's own for brax's PPO but for the networks
            **{"num_envs": 2048, "num_steps": 480, "minibatches": 32, "epochs": 16},
            **{"learning_rate": 1e-3, "gamma": 0.995, "clip": 0.3, "normalize_obs": True},
            **{"hidden": (128, 128), "activation": "swish"},
            **{"distribution": "tanh_normal", "max_grad_norm": 1e9},
        },
        "brax's PPO by Playground's own settings, its default networks",
        peer=True,
        reward="10*env",
    ),
)


def ours(row: Row, seeds: int, scale: float, folder: Path) -> dict[str, Any]:
    """Both returns of each seed, and what it took."""
    run = training.Run(
        "ours",
        "ppo",
        row.env,
        reward=row.reward,
        settings=row.settings,
        seeds=seeds,
        seed=FIRST,
        total_steps=int(row.steps * scale),
        evals=1,
        eval_episodes=32,
    )
    result = training.train(run, out=folder, progress=False)
    at, curve = result.curves.curve("episode_return")
    steps = result.summary["env_steps"] // seeds
    last = curve[:, at >= 0.9 * steps]
    return {
        "steps": steps,
        "sampled": np.nanmean(last, axis=1).tolist() if last.size else None,
        "greedy": [float(x) for x in result.returns],
        "seconds": result.wall_seconds,
        "steps_per_second": result.steps_per_second,
        "settings": row.settings,
    }


def at_random(row: Row, seeds: int) -> dict[str, Any]:
    """Episodes of each seed, of a policy that picks allowed actions at random."""
    env = envs.make(row.env)
    many = envs.vectorize(env, 16)
    steps = min(4 * (env.max_steps or 500), 4000)

    def play(key: Any) -> Any:
        def step(state: Any, key: Any) -> Any:
            key_action, key_step = jax.random.split(key)
            keys = jax.random.split(key_action, many.num_envs)
            actions = jax.vmap(lambda obs, key: random_action(env, obs, key))(state.obs, keys)
            state, _, stats = many.step(state, jax.random.split(key_step, many.num_envs), actions)
            return state, (stats.ended, jnp.where(stats.ended, stats.total, 0.0))

        key_begin, key_play = jax.random.split(key)
        keys = jax.random.split(key_play, steps)
        ended, total = jax.lax.scan(step, many.init(key_begin), keys)[1]
        return total.sum() / ended.sum()

    keys = jax.vmap(jax.random.key)(jnp.arange(FIRST, FIRST + seeds))
    returns = jax.jit(lambda keys: jax.lax.map(play, keys))(keys)
    return {"sampled": np.asarray(returns, float).tolist(), "steps": steps * many.num_envs}


def beside(row: Row, seeds: int, scale: float) -> dict[str, Any]:
    """The same of the suite's own agent, in a process of its own."""
    task = {"env": row.env, "steps": int(row.steps * scale), "seeds": seeds, "seed": FIRST}
    command = [sys.executable, str(HERE / "peer_suites.py"), json.dumps(task)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the suite's own agent on {row.env} ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def measured(row: Row, args: argparse.Namespace) -> dict[str, Any]:
    """The row of the record: ours, and the peer where it is one that runs."""
    start = time.perf_counter()
    found: dict[str, Any] = {
        **{"env": row.env, "version": metadata.version(row.suite), "beside": row.beside},
        **{"jax": metadata.version("jax"), "python": platform.python_version()},
        **{"date": str(datetime.date.today()), "seeds": args.seeds},
    }
    if row.peer:
        found["theirs"] = beside(row, args.seeds, args.scale)
    found["random"] = at_random(row, args.seeds)
    with tempfile.TemporaryDirectory(prefix="trained-") as folder:
        found["ours"] = ours(row, args.seeds, args.scale, Path(folder) / "run")
    print(f"{row.env}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """The record as Markdown."""
    lines = [
        "# Trained on suites' environments, beside the suites' own baselines",
        "",
        "Returns at equal steps: interquartile mean over seeds and 95 % stratified bootstrap "
        f"interval, seeds from {FIRST} on. *Sampled*: episodes that end in the last tenth of "
        "training, of the policy that explores; *greedy*: 32 episodes a seed, of the policy at "
        "the end. Made by `scripts/bench/trained.py`.",
        "",
        "| Environment | Agent | Seeds | Steps | Sampled | Greedy | Steps a second |",
        "| -- | -- | --: | --: | --: | --: | --: |",
    ]
    for row in rows:
        for who, name in WHO.items():
            if who not in row:
                continue
            told = row[who]
            cells = [
                *(f"`{row['env']}`", name, str(row["seeds"]), f"{told['steps']:,}"),
                *(_cell(told.get("sampled")), _cell(told.get("greedy"))),
                f"{told['steps_per_second']:,.0f}" if "steps_per_second" in told else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for row in rows:
        made = f"version {row['version']}, JAX {row['jax']}, Python {row['python']}, {row['date']}"
        lines.append(f"- `{row['env']}`: {row['beside']}. {made[0].upper()}{made[1:]}")
    return "\n".join(lines) + "\n"


def _cell(values: list[float] | None) -> str:
    if values is None:
        return ""
    interval = statistics.stratified_bootstrap(values)
    return f"{interval.estimate:.3g} [{interval.low:.3g}, {interval.high:.3g}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="SUITE", help="these suites or names")
    parser.add_argument("--seeds", type=int, default=8, metavar="N")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="of the steps (1)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="of the table (the record's)")
    args = parser.parse_args()
    if args.out is None and args.scale != 1.0:
        parser.error("--scale makes no record: give --out DIR")
    out = args.out or RECORD
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "trained.json"
    for row in ROWS:
        if args.only and not {row.suite, row.env} & set(args.only):
            continue
        if not util.find_spec(MODULES.get(row.suite, row.suite)):
            print(f"{row.env}: {row.suite} is not installed", file=sys.stderr)
            continue
        found = measured(row, args)
        old = json.loads(kept.read_text()) if kept.exists() else []
        by_name = {each["env"]: each for each in [*old, found]}
        rows = [by_name[name] for name in (each.env for each in ROWS) if name in by_name]
        kept.write_text(json.dumps(rows, indent=2) + "\n")
        (out / "trained.md").write_text(table(rows))
    if kept.exists():
        print((out / "trained.md").read_text())


if __name__ == "__main__":
    main()
