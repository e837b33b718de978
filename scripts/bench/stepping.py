"""What our door costs: N environments stepped by us and by the suite's own loop, in turns.

    .venv/bin/python scripts/bench/stepping.py                    # the record, minutes
    .venv/bin/python scripts/bench/stepping.py --only navix   # the others' rows stay

Beside ours, the true successor and the ends of every step kept and new episodes begun from
fresh states, runs the suite's bare step, which never begins a new episode, and the suite's own
reset where it has one, which loses the last observation or adds a step. All keep what the
policy saw, as float32 `[steps, N, ...]` in the suite's own numbers, as a learner wants it;
`planes` is what we give by default of a grid. Everything runs on one core, and the time is that
of the processor, so that what else the machine does is left out. Writes a table.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from typing import Any

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp

from jaxrl_reward import envs
from jaxrl_reward.envs.suites.loading import quiet

RECORD = Path(__file__).parent / "record"
Loop = tuple[Callable[[Any], Any], Callable[[Any, Any, Any], tuple[Any, Any, Any]]]


def craftax() -> dict[str, Loop]:
    """Craftax's `step`, with and without a reset at every step."""
    from craftax.craftax_env import make_craftax_env_from_name as make

    def loop(env: Any) -> Loop:
        params = env.default_params

        def step(now: Any, key: Any, action: Any) -> Any:
            obs, state, reward, done, _ = env.step(key, now[1], action, params)
            return (obs, state), reward, done

        return lambda key: env.reset(key, params), step

    name = "Craftax-Classic-Symbolic-v1"
    return {"bare": loop(make(name, auto_reset=False)), "own reset": loop(make(name, True))}


def navix() -> dict[str, Loop]:
    """NAVIX's `step`, whose reset comes a step late."""
    import navix as suite

    def loop(env: Any) -> Loop:
        def step(now: Any, key: Any, action: Any) -> Any:
            now = env.step(now[1], action)
            return (now.observation, now), now.reward, now.is_done()

        return lambda key: (lambda now: (now.observation, now))(env.reset(key)), step

    name = "Navix-Empty-8x8-v0"
    bare = suite.make(name, disable_autoreset=True)
    return {"bare": loop(bare), "own reset": loop(suite.make(name))}


def octax() -> dict[str, Loop]:
    """Octax has no reset of its own."""
    from octax.environments import create_environment

    env = create_environment("brix")[0]

    def step(now: Any, key: Any, action: Any) -> Any:
        state, obs, reward, terminated, truncated, _ = env.step(now[1], action)
        return (obs, state), reward, terminated | truncated

    return {"bare": (lambda key: env.reset(key)[1::-1], step)}


def pgx() -> dict[str, Loop]:
    """pgx's `step`, which stands still behind an end, and its `auto_reset`."""
    import pgx as suite
    from pgx.experimental import auto_reset

    env = suite.make("minatar-breakout")

    def loop(one: Any) -> Loop:
        def step(now: Any, key: Any, action: Any) -> Any:
            state = one(now[1], action, key)
            return (state.observation, state), state.rewards[0], state.terminated

        return lambda key: (lambda state: (state.observation, state))(env.init(key)), step

    return {"bare": loop(env.step), "own reset": loop(auto_reset(env.step, env.init))}


def xminigrid() -> dict[str, Loop]:
    """xminigrid's `step`, and its wrapper that resets at once."""
    import xminigrid as suite
    from xminigrid.wrappers import GymAutoResetWrapper

    env, params = suite.make("MiniGrid-Empty-8x8")

    def loop(one: Any) -> Loop:
        def step(now: Any, key: Any, action: Any) -> Any:
            now = one.step(params, now[1], action)
            return (now.observation, now), now.reward, now.last()

        return lambda key: (lambda now: (now.observation, now))(one.reset(params, key)), step

    return {"bare": loop(env), "own reset": loop(GymAutoResetWrapper(env))}


# Ours to compare with, and what else we give; then the suite's.
SUITES: dict[str, tuple[dict[str, str], Callable[[], dict[str, Loop]]]] = {
    "craftax": ({"ours": "craftax:Craftax-Classic-Symbolic-v1"}, craftax),
    "navix": (
        {
            "ours": "navix:Navix-Empty-8x8-v0,one_hot=false",
            "ours, planes": "navix:Navix-Empty-8x8-v0",
        },
        navix,
    ),
    "octax": ({"ours": "octax:brix"}, octax),
    "pgx": ({"ours": "pgx:minatar-breakout"}, pgx),
    "xminigrid": (
        {
            "ours": "xminigrid:MiniGrid-Empty-8x8,one_hot=false",
            "ours, planes": "xminigrid:MiniGrid-Empty-8x8",
        },
        xminigrid,
    ),
}


def program(start: Any, step: Any, actions: int, args: argparse.Namespace) -> Any:
    """A compiled run of some random steps: what it carries, and what a learner would get."""

    def one(carry: Any, key: Any) -> Any:
        keys = jax.random.split(key, args.envs)
        action = jax.random.randint(key, (args.envs,), 0, actions)
        after, reward, done = step(carry, keys, action)
        return after, (jnp.asarray(carry[0], jnp.float32), reward, done)

    def run(carry: Any, key: Any) -> Any:
        return jax.lax.scan(one, carry, jax.random.split(key, args.steps))

    carry = jax.jit(start)(jax.random.key(0))
    carry = jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), carry)
    compiled = jax.jit(run, donate_argnums=0).lower(carry, jax.random.key(1)).compile()
    return compiled, carry


def mine(name: str, args: argparse.Namespace) -> tuple[Any, int]:
    """Ours; what the policy sees lies in the state, and is taken out of it."""
    env = envs.make(name)
    many = envs.vectorize(env, args.envs)

    def apart(state: Any) -> Any:
        return state.obs, state.replace(obs=())

    def step(carry: Any, keys: Any, action: Any) -> Any:
        obs, state = carry
        state, seen, stats = many.step(state.replace(obs=obs), keys, action)
        return apart(state), seen.reward, stats.ended

    start = lambda key: apart(many.init(key))  # noqa: E731
    return program(start, step, env.action_space.n, args), env.action_space.n


def measured(suite: str, args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each repeat of each loop, which take turns."""
    ours, theirs = SUITES[suite]
    programs: dict[str, Any] = {}
    actions = 0
    with quiet():
        for title, name in ours.items():
            programs[title], actions = mine(name, args)
        for title, (reset, one) in theirs().items():
            start = lambda key, reset=reset: jax.vmap(reset)(jax.random.split(key, args.envs))  # noqa: E731
            programs[title] = program(start, jax.vmap(one), actions, args)
    seconds: dict[str, list[float]] = {title: [] for title in programs}
    for i in range(args.repeats + args.warm):
        for title, (run, state) in programs.items():
            began = time.process_time()
            state, _ = jax.block_until_ready(run(state, jax.random.key(i)))
            if i >= args.warm:
                seconds[title].append(time.process_time() - began)
            programs[title] = run, state
    return seconds


def rows(suite: str, seconds: dict[str, list[float]], args: argparse.Namespace) -> list[str]:
    """A line for each loop, beside the suite's own."""
    lines = []
    base = seconds["own reset" if "own reset" in seconds else "bare"]
    for title, each in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(each, base, strict=True))
        bare = statistics.median(a / b for a, b in zip(each, seconds["bare"], strict=True))
        rate = args.envs * args.steps / statistics.median(each)
        shown = [suite, title, f"{rate:,.0f}", f"{bare:.3f}", f"{ratio:.3f}"]
        lines.append(f"| {' | '.join(shown)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=tuple(SUITES), metavar="SUITE")
    parser.add_argument("--envs", type=int, default=1024, metavar="N", help="at once (1,024)")
    parser.add_argument("--steps", type=int, default=32, metavar="N", help="a repeat (32)")
    parser.add_argument("--repeats", type=int, default=9, metavar="N", help="counted (9)")
    parser.add_argument("--warm", type=int, default=2, metavar="N", help="before them (2)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="of the table (the record's)")
    args = parser.parse_args()
    out = args.out or RECORD
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "stepping.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    for suite in args.only or SUITES:
        if util.find_spec(suite) is None:
            print(f"{suite} is not installed: its rows stay as they are")
            continue
        lines = rows(suite, measured(suite, args), args)
        print("\n".join(lines), flush=True)
        versions = f"{suite} {metadata.version(suite)}, JAX {jax.__version__}"
        sizes = f"{args.envs:,} x {args.steps} steps, {args.repeats} repeats"
        what = f"{versions}, Python {platform.python_version()}, {datetime.date.today()}; {sizes}"
        found = dict(sorted({**found, suite: {"lines": lines, "what": what}}.items()))
        kept.write_text(json.dumps(found, indent=2) + "\n")
        (out / "stepping.md").write_text(table(found))
        jax.clear_caches()


def table(found: dict[str, Any]) -> str:
    """The record as Markdown."""
    lines = [
        "# Stepping through our door, beside the suite's own loop",
        "",
        "Random steps of many environments at once; the median of repeats in turns, of the "
        "processor's time on one core. The suite's bare loop never begins a new episode. "
        "Made by `scripts/bench/stepping.py`.",
        "",
        "| Suite | Loop | Steps a second | Of bare | Of its own reset |",
        "| -- | -- | --: | --: | --: |",
        *(line for each in found.values() for line in each["lines"]),
        "",
        *(f"- {each['what']}" for each in found.values()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
