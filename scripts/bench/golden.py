"""Records what agents and experiments come to, to the bit: see `scripts/golden --help`.

A record is of one machine and one set of packages: compilers round differently elsewhere.
Leaves of parameters are told apart by their bits alone, so that a change may rename them.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrl_reward import agents, cli
from jaxrl_reward.training.experiments import experiment
from jaxrl_reward.training.record.run_folder import load_rows

ITERATIONS = 4
REWARD = "env + 0.1*counts()"
SMALL = {"num_envs": 4, "num_steps": 8, "hidden": (16, 8)}
STORE = SMALL | {"updates": 2, "batch_size": 16, "buffer_size": 256, "learning_starts": 32}
CARTPOLE, PENDULUM = "gymnax:CartPole-v1", "gymnax:Pendulum-v1"
FROM_DATA = {"updates": 20, "batch_size": 16, "hidden": (16, 8)}
WRITING = {"num_envs": 16, "group_size": 4, "warmup": 4, "width": 8, "heads": 2}

# An agent, an environment, a reward, and settings.
CASES: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "ppo": ("ppo", CARTPOLE, REWARD, SMALL | {"minibatches": 2}),
    "ppo, all its switches": (
        *("ppo", PENDULUM, "env | normalize()"),
        SMALL
        | {"distribution": "tanh_normal", "normalize_obs": True, "placement": "step"}
        | {"clip_value": True, "anneal": True, "anneal_steps": 500.0, "reset": "cached"},
    ),
    "ppo with a GRU": ("ppo", CARTPOLE, "env + 0.1*rnd()", SMALL | {"network": "gru"}),
    "subpo": ("subpo", CARTPOLE, REWARD, SMALL),
    "subpo, all its switches": (
        *("subpo", PENDULUM, REWARD),
        SMALL | {"placement": "step", "greedy": False, "credit": "full", "entropy_coef": 0.1},
    ),
    "sac": ("sac", PENDULUM, REWARD, STORE),
    "sac of actions with names": ("sac", CARTPOLE, "env + 0.1*rnd()", STORE | {"n_step": 3}),
    "sac, many critics": (
        *("sac", PENDULUM, REWARD),
        STORE | {"critics": 4, "placement": "step", "normalize_obs": True, "slopes": True},
    ),
    "td3": ("td3", PENDULUM, "env + 0.1*rnd()", STORE),
    "dqn": ("dqn", CARTPOLE, REWARD, STORE),
    "dqn by quantiles": ("dqn", CARTPOLE, REWARD, STORE | {"quantiles": 5, "target_every": 3}),
    "eta": ("eta", CARTPOLE, "env", STORE | {"objective": "cvar", "quantiles": 8}),
    "bc": ("bc", PENDULUM, "env", FROM_DATA),
    "edac": ("edac", PENDULUM, "env", FROM_DATA | {"critics": 3}),
    "iql": ("iql", PENDULUM, REWARD, FROM_DATA | {"normalize_obs": True}),
    "riql": ("riql", PENDULUM, "env | normalize()", FROM_DATA),
    "group_pg": ("group_pg", "sequence:sum,digits=1", "env", WRITING),
    "group_pg with a GRU": (
        *("group_pg", "sequence:sum,digits=1", "env"),
        WRITING | {"network": "gru", "kl": "loss", "sampling": "variance", "epochs": 2},
    ),
}


def data() -> dict[str, np.ndarray]:
    """Steps of Pendulum's shapes, none of which was played."""
    draw = np.random.default_rng(0)
    obs = draw.normal(size=(201, 3)).astype(np.float32)
    return {
        "observations": obs[:-1],
        "actions": draw.uniform(-2, 2, (200, 1)).astype(np.float32),
        "next_observations": obs[1:],
        "rewards": draw.normal(size=200).astype(np.float32),
        "terminals": draw.random(200) < 0.02,
        "timeouts": np.arange(200) % 40 == 39,
    }


def of_agent(case: str, file: Path) -> dict[str, Any]:
    """Metrics, parameters and evaluation of one seed after some iterations."""
    name, env, reward, settings = CASES[case]
    learns = {"data": str(file)} if agents.learns_from_data(name) else {}
    agent = agents.make(name, env, reward, **learns, **settings)
    state = jax.jit(agent.init)(jax.random.key(1))
    iterate, found = jax.jit(agent.iterate), {}
    for i in range(ITERATIONS):
        state, metrics = iterate(state)
        for metric, mean in metrics.items():
            found[f"{metric} {i}"] = bits(mean.total) + bits(mean.count)
    leaves = sorted(bits(leaf) for leaf in jax.tree.leaves(state.params))
    found |= {f"parameters {i}": leaf for i, leaf in enumerate(leaves)}
    evaluate = jax.jit(agent.evaluate, static_argnums=2)
    returns, lengths = evaluate(state, jax.random.key(2), 2)
    return found | {"returns": bits(returns), "lengths": bits(lengths)}


def of_experiment(name: str) -> dict[str, Any]:
    """Every row of every arm of the smallest preset, and the verdicts."""
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        words = ["reproduce", name, "--preset", "smoke", "--no-progress", "--out"]
        cli.main([*words, f"{folder}/run"])
        rows = load_rows(f"{folder}/run").table.to_pydict()
        summary = json.loads(Path(folder, "run/summary.json").read_text())
    found: dict[str, Any] = {}
    columns = (rows[name] for name in ("arm", "metric", "seed", "step", "value"))
    for arm, metric, *row in sorted(zip(*columns, strict=True)):
        found.setdefault(f"{arm}, {metric}", []).append(f"{row[0]} {row[1]} {row[2].hex()}")
    found = {key: bits(np.array(value)) for key, value in found.items()}
    return found | {each["claim"]: each["status"] for each in summary["verdicts"]}


def bits(x: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(np.asarray(x)).tobytes()).hexdigest()[:16]


def measured(cases: list[str], experiments: list[str]) -> dict[str, Any]:
    """All of it, by case."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        file = Path(folder, "data.npz")
        np.savez(file, **data())  # pyright: ignore[reportArgumentType]
        for case in cases:
            print("golden:", case, file=sys.stderr, flush=True)
            found[case] = of_agent(case, file)
    for name in experiments:
        print("golden:", name, file=sys.stderr, flush=True)
        found[name] = of_experiment(name)
    return found


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What is not the same, a line for each case that was measured now."""
    lines = []
    for case, new in after.items():
        old = before.get(case)
        if old is None:
            lines.append(f"{case}: was not recorded")
            continue
        apart = [key for key in old.keys() | new.keys() if old.get(key) != new.get(key)]
        if apart:
            lines.append(f"{case}: {len(apart)} of {len(old)} differ: {', '.join(sorted(apart))}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/golden",
        description="Whether a change keeps what agents and experiments come to, to the bit. "
        "Exit status 1 if anything differs. Without --agents all of them are run, and no "
        "experiments without --experiments, whose smoke presets they are.",
    )
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("file", type=Path, help="of the record, JSON")
    parser.add_argument("--agents", nargs="*", choices=list(CASES), metavar="CASE", help="all")
    parser.add_argument("--experiments", nargs="*", choices=experiment.names(), metavar="NAME")
    args = parser.parse_args()
    cases = list(CASES) if args.agents is None else args.agents
    names = experiment.names() if args.experiments == [] else args.experiments or []
    found = measured(cases, names)
    if args.what == "record":
        args.file.write_text(json.dumps(found, indent=1) + "\n")
        print(f"golden: {len(found)} cases in {args.file}")
        return 0
    lines = differences(json.loads(args.file.read_text()), found)
    print(*(lines or [f"golden: all {len(found)} cases are the same to the bit"]), sep="\n")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
