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
from importlib import metadata, util
from pathlib import Path
from typing import Any

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp
from stepping_suites import SUITES, Loop

from jaxrl_reward import envs
from jaxrl_reward.envs import bounds
from jaxrl_reward.envs.suites.loading import quiet

RECORD = Path(__file__).parent / "record"
MODULES = {"playground": "mujoco_playground"}  # where a suite's module is called otherwise


def program(loop: Loop, space: Any, args: argparse.Namespace) -> Any:
    """A compiled run of some random steps: what it carries, and what a learner would get."""

    def one(carry: Any, key: Any) -> Any:
        keys = jax.random.split(key, args.envs)
        actions = jax.vmap(lambda key: bounds.random_action(space, key))(keys)
        after, reward, done = loop.step(carry, keys, actions)
        seen = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), loop.shown(carry[0]))
        return jax.tree.map(jnp.asarray, after), (seen, reward, done)

    def run(carry: Any, key: Any) -> Any:
        return jax.lax.scan(one, carry, jax.random.split(key, args.steps))

    carry = jax.jit(loop.reset)(jax.random.split(jax.random.key(0), args.envs))
    carry = jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), carry)
    return jax.jit(run, donate_argnums=0).lower(carry, jax.random.key(1)).compile(), carry


def ours(env: envs.Env, num: int) -> Loop:
    """Our door; what the policy sees lies in the state, and is taken out of it."""
    many = envs.vectorize(env, num)

    def apart(state: Any) -> Any:
        return state.obs, state.replace(obs=())

    def step(carry: Any, keys: Any, action: Any) -> Any:
        obs, state = carry
        state, seen, stats = many.step(state.replace(obs=obs), keys, action)
        return apart(state), seen.reward, stats.ended

    return Loop(lambda keys: apart(many.init(keys[0])), step)


def measured(suite: str, args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each repeat of each loop, which take turns."""
    named, theirs = SUITES[suite]
    made = {title: envs.make(name) for title, name in named.items()}
    space = made["ours"].action_space
    with quiet():
        loops = {title: ours(env, args.envs) for title, env in made.items()} | theirs()
        programs = {title: program(loop, space, args) for title, loop in loops.items()}
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
    """A line for each loop, beside the suite's own of the same observations."""
    lines = []
    for title, each in seconds.items():
        planes = title.partition(", ")[1:]
        rate = args.envs * args.steps / statistics.median(each)
        shown = [suite, title, f"{rate:,.0f}"]
        for own in ("bare", "own reset"):
            beside = seconds.get("".join((own, *planes)))
            if beside is None:
                shown.append("")
                continue
            ratio = statistics.median(a / b for a, b in zip(each, beside, strict=True))
            shown.append(f"{ratio:.3f}")
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
        if util.find_spec(MODULES.get(suite, suite)) is None:
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
        "processor's time on one core. The suite's bare loop never begins a new episode. Ours "
        "does, from fresh states, and keeps every step's true successor, which the suite's own "
        "reset loses (Jumanji's keeps it) or pays for with a step that does nothing (NAVIX). "
        "Playground's own begins again in the state that was first. *Planes*: "
        "numbers of kinds one-hot, in ours by default, and by hand in the suite's loop. *Bare in "
        "float32*: the suite's loop whose state has what the policy sees as float32, as ours has "
        "it: what that costs alone. Made by `scripts/bench/stepping.py`.",
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
