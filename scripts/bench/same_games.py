"""The same game in two suites: what is seen, what is paid, when it ends, and what repeats.

    .venv/bin/python scripts/bench/same_games.py                 # Python 3.12: navix is one of them
    .venv/bin/python scripts/bench/same_games.py --only Empty --steps 200 --out DIR

Plays random actions in each and writes a table, in which the rows of other games stay.
*Repeated* is the share of keys under which an action does what none would have done: sticky
actions.
"""

import argparse
import datetime
from importlib import metadata, util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward import envs

RECORD = Path(__file__).parent / "record"
QUICK: Any = {"xla_backend_optimization_level": 1}
MINATAR = {
    "Asterix": "asterix",
    "Breakout": "breakout",
    "Freeway": "freeway",
    "Seaquest": "seaquest",
    "Space Invaders": "space_invaders",
}
GAMES: dict[str, tuple[str, ...]] = {
    game: (f"gymnax:{game.replace(' ', '')}-MinAtar", f"pgx:minatar-{short}")
    for game, short in MINATAR.items()
} | {
    "Empty": ("navix:Navix-Empty-5x5-v0", "xminigrid:MiniGrid-Empty-5x5"),
    "DoorKey": ("navix:Navix-DoorKey-5x5-v0", "xminigrid:MiniGrid-DoorKey-5x5"),
    "FourRooms": ("navix:Navix-FourRooms-v0", "xminigrid:MiniGrid-FourRooms"),
    "Dynamic-Obstacles": ("navix:Navix-Dynamic-Obstacles-5x5-v0",),  # xminigrid has none
}
AFTER = 4  # steps without an action, behind which one is tried


def played(env: envs.Env, num: int, steps: int) -> dict[str, Any]:
    """Sums over random steps of many episodes."""
    many = envs.vectorize(env, num)

    def step(carry: Any, key: Any) -> Any:
        key_action, key_step = jax.random.split(key)
        actions = jax.random.randint(key_action, (num,), 0, env.action_space.n)
        carry, seen, stats = many.step(carry, jax.random.split(key_step, num), actions)
        paid = seen.env_reward
        told = {
            "ended": stats.ended.sum(),
            "clock": (seen.truncated & ~seen.terminated).sum(),
            "total": jnp.where(stats.ended, stats.total, 0.0).sum(),
            "length": jnp.where(stats.ended, stats.length, 0).sum(),
            "least": jnp.where(paid != 0.0, paid, jnp.inf).min(),
            "most": jnp.where(paid != 0.0, paid, -jnp.inf).max(),
        }
        return carry, told

    def run(key: Any) -> Any:
        return jax.lax.scan(step, many.init(key), jax.random.split(key, steps))[1]

    told = jax.jit(run, compiler_options=QUICK)(jax.random.key(0))
    low, high = float(told.pop("least").min()), float(told.pop("most").max())
    sums = {name: float(each.sum()) for name, each in told.items()}
    ended = max(sums["ended"], 1.0)
    return {
        "paid": "none" if low > high else f"{low:.3g} to {high:.3g}",
        "length": sums["length"] / ended,
        "total": sums["total"] / ended,
        "clock": sums["clock"] / ended,
        "ended": int(sums["ended"]),
    }


def repeated(env: envs.Env, keys: int) -> float:
    """The share of keys under which the first action moves nothing."""

    def unmoved(key: Any) -> Any:
        _, state = env.reset(key)
        for i in range(AFTER):
            _, state, *_ = env.step(jax.random.fold_in(key, i), state, jnp.int32(0))
        key_last = jax.random.fold_in(key, AFTER)
        none, moved = (env.step(key_last, state, jnp.int32(action))[0] for action in (0, 1))
        return (none == moved).all()

    known = jax.random.split(jax.random.key(1), keys)
    return float(jax.jit(jax.vmap(unmoved), compiler_options=QUICK)(known).mean())


def row(game: str, name: str, args: argparse.Namespace) -> str:
    env = envs.make(name)
    found = played(env, args.envs, args.steps)
    sticky = f"{repeated(env, args.keys):.3f}" if game in MINATAR else ""
    cells = [
        *(game, f"`{name}`", str(list(env.observation_space.shape)), str(env.action_space.n)),
        *(str(env.max_steps or "none"), found["paid"], sticky),
        *(f"{found['length']:.1f}", f"{found['total']:.3f}", f"{found['clock']:.3f}"),
        f"{found['ended']:,}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=tuple(GAMES), metavar="GAME")
    parser.add_argument("--envs", type=int, default=128, metavar="N", help="at once (128)")
    parser.add_argument("--steps", type=int, default=3000, metavar="N", help="of each (3,000)")
    parser.add_argument("--keys", type=int, default=4096, metavar="N", help="repeats (4,096)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="of the table (the record's)")
    args = parser.parse_args()
    out = args.out or RECORD
    out.mkdir(parents=True, exist_ok=True)
    found = read(out / "same_games.md")
    for game in args.only or GAMES:
        for name in GAMES[game]:
            if util.find_spec(name.partition(":")[0]) is None:
                print(f"{name} is not installed: its row stays as it is")
                continue
            found[name] = row(game, name, args)
            print(found[name], flush=True)
            (out / "same_games.md").write_text(table(found, args))
            jax.clear_caches()


def read(path: Path) -> dict[str, str]:
    """The rows of an earlier table by the name of the environment."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {line.split("`")[1]: line for line in lines if line.count("`") == 2 and line[0] == "|"}


def table(found: dict[str, str], args: argparse.Namespace) -> str:
    """The record as Markdown."""
    packages = ("gymnax", "pgx", "navix", "xminigrid")
    versions = ", ".join(f"{p} {metadata.version(p)}" for p in packages if util.find_spec(p))
    names = [name for game in GAMES.values() for name in game]
    absent = [game for game in GAMES if not found.keys() & set(GAMES[game])]
    head = [
        "# The same game in two suites",
        "",
        f"{args.envs} environments, {args.steps:,} random steps each: rewards other than 0, means "
        "over the episodes that ended, and how many of them the clock ended. *Repeated*: the "
        f"share of {args.keys:,} keys under which an action does what none would have done. "
        "Returns and lengths of one are none of the other's; xminigrid has no Dynamic-Obstacles, "
        "where MiniGrid pays -1 for a collision and NAVIX 0. "
        f"{versions}, JAX {jax.__version__}, {datetime.date.today()}; "
        f"`scripts/bench/same_games.py`.{' Not run yet: ' * bool(absent)}{', '.join(absent)}",
        "",
        "| Game | Environment | Observed | Actions | Limit | Rewards | Repeated | Length | Return "
        "| By the clock | Episodes |",
        "| -- | -- | -- | --: | --: | -- | --: | --: | --: | --: | --: |",
    ]
    return "\n".join([*head, *(found[name] for name in names if name in found)]) + "\n"


if __name__ == "__main__":
    main()
