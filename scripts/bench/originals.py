"""gymnax's and brax's environments beside those that they are named after.

    python -m venv originals && originals/bin/pip install \
        'gymnasium[mujoco]==1.3.0' 'mujoco==3.17.0' 'MinAtar==1.0.15' 'bsuite==0.3.6'
    .venv/bin/python scripts/bench/originals.py --originals originals/bin/python    # minutes
    .venv/bin/python scripts/bench/originals.py --originals ... --random            # and longer

Both are put into the same states and given the same actions; their spaces and limits are compared;
with `--random`, so are brax's hopper on two backends under a random policy. Writes a table and
the same as JSON. `jaxrl_reward.envs.promises` says the same of each name.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

RECORD = Path(__file__).parent / "record"
CLASSIC = {  # the state of both, as one row, and how far its numbers reach
    "CartPole-v1": (("x", "x_dot", "theta", "theta_dot"), (1.0, 1.0, 0.15, 1.0)),
    "Pendulum-v1": (("theta", "theta_dot"), (3.0, 4.0)),
    "MountainCar-v0": (("position", "velocity"), (0.4, 0.05)),
    "MountainCarContinuous-v0": (("position", "velocity"), (0.4, 0.05)),
    "Acrobot-v1": (("joint_angle1", "joint_angle2", "velocity_1", "velocity_2"), (2.0,) * 4),
}
BRAX = {
    "ant": "Ant-v5",
    "halfcheetah": "HalfCheetah-v5",
    "hopper": "Hopper-v5",
    "humanoid": "Humanoid-v5",
    "inverted_pendulum": "InvertedPendulum-v5",
    "pusher": "Pusher-v5",
    "reacher": "Reacher-v5",
    "walker2d": "Walker2d-v5",
}
MINATAR = ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
STEPS, STARTS, BANDIT, EPISODES, CAP = 60, 20, 2000, 30, 200


# ---- the originals, in their own Python -----------------------------------------------------


def originals(job: dict[str, Any]) -> Any:
    """Answers a job; here only the packages of the originals are imported."""
    return {"classic": _classic, "spaces": _spaces, "bandit": _bandit, "random": _random,
            "minatar": _minatar}[job.pop("what")](**job)  # fmt: skip


def _classic(name: str, starts: Any, actions: Any) -> Any:
    import gymnasium

    env = gymnasium.make(name)
    limit = env.spec.max_episode_steps if env.spec else None
    env, rows = env.unwrapped, []
    for start, plan in zip(starts, actions, strict=True):
        env.reset(seed=0)
        env.state, row = np.asarray(start, np.float64), []
        for action in plan:
            before = np.asarray(env.state, float).tolist()
            whole = isinstance(env.action_space, gymnasium.spaces.Discrete)
            given = int(action) if whole else np.asarray([action], np.float32)
            obs, reward, ends, *_ = env.step(given)
            row.append([*before, *np.asarray(obs, float).tolist(), float(reward), float(ends)])
            if ends:
                break
        rows.append(row)
    return {"limit": limit, "rows": rows}


def _spaces(name: str) -> Any:
    import gymnasium

    env = gymnasium.make(name)
    assert env.spec is not None
    sides = [np.unique(x).tolist() for x in (env.action_space.low, env.action_space.high)]
    return {"obs": env.observation_space.shape[0], "actions": sides,
            "limit": env.spec.max_episode_steps}  # fmt: skip


def _bandit(pulls: int) -> Any:
    from bsuite.environments import bandit

    env = bandit.SimpleBandit(mapping_seed=0)
    count, means = env.action_spec().num_values, []
    for arm in range(count):
        total = 0.0
        for _ in range(pulls):
            env.reset()
            total += env.step(arm).reward
        means.append(total / pulls)
    return sorted(means)


def _minatar(game: str) -> Any:
    import inspect

    from minatar import Environment

    defaults = inspect.signature(Environment.__init__).parameters
    Environment(game)
    return {"sticky": defaults["sticky_action_prob"].default}


def _random(name: str, episodes: int, cap: int) -> Any:
    import gymnasium

    env, lengths, returns = gymnasium.make(name), [], []
    env.action_space.seed(0)
    for seed in range(episodes):
        env.reset(seed=seed)
        total, steps = 0.0, 0
        while steps < cap:
            _, reward, ends, *_ = env.step(env.action_space.sample())
            total, steps = total + float(reward), steps + 1
            if ends:
                break
        lengths.append(steps)
        returns.append(total)
    return {"length": float(np.mean(lengths)), "return": float(np.mean(returns))}


# ---- ours, and both side by side ------------------------------------------------------------


def classic(ask: Any, name: str, options: str = "", at: Any = None) -> dict[str, Any]:
    """The same states and actions: the largest difference, and where ends are not the same."""
    import jax
    import jax.numpy as jnp

    from jaxrl_reward import envs

    fields, reach = CLASSIC[name]
    rng = np.random.default_rng(0)
    starts = rng.uniform(-1, 1, (STARTS, len(fields))) * reach
    if "MountainCar" in name:
        starts[:, 0] -= 0.5
    env = envs.make(f"gymnax:{name}{options}")
    space = env.action_space
    whole = hasattr(space, "n")
    plans = rng.integers(0, space.n, (STARTS, STEPS)) if whole else rng.uniform(
        *(float(np.ravel(x)[0]) for x in (space.low, space.high)), (STARTS, STEPS)
    )  # fmt: skip
    if at is not None:
        starts, plans = np.asarray([at[0]]), np.full((1, STEPS), at[1])

    @jax.jit
    @jax.vmap
    def step(before: Any, action: Any) -> Any:
        _, state = env.reset(jax.random.key(0))
        state = state.replace(**dict(zip(fields, before, strict=True)))
        obs, _, reward, ends, *_ = env.step(
            jax.random.key(0), state, action if whole else action[None]
        )
        return jnp.concatenate([obs, jnp.stack([reward, ends.astype(jnp.float32)])])

    told = ask(what="classic", name=name, starts=starts.tolist(), actions=plans.tolist())
    rows = np.concatenate(told["rows"])
    done = np.concatenate([p[: len(r)] for p, r in zip(plans, told["rows"], strict=True)])
    # Each step from their state: a chaotic pendulum would tell of rounding alone.
    ours = np.asarray(step(jnp.asarray(rows[:, : len(fields)], jnp.float32), jnp.asarray(done)))
    apart = np.abs(ours - rows[:, len(fields) :]).max(0)
    worst = {"observation": apart[:-2].max(), "reward": apart[-2], "ends": apart[-1]}
    worst = {k: float(v) for k, v in worst.items()}
    steps = len(rows)
    same = worst["observation"] < 1e-4 and worst["reward"] < 1e-3 and worst["ends"] == 0.0
    same = same and told["limit"] == env.max_steps
    limits = {"theirs": told["limit"], "ours": env.max_steps}
    return {"same": bool(same), "steps": steps, "apart": worst, "limit": limits}


def bandit() -> list[float]:
    """The mean reward of each arm of gymnax's, over new episodes."""
    import jax

    from jaxrl_reward import envs

    env = envs.make("gymnax:SimpleBandit-bsuite")

    def pull(key: Any, arm: Any) -> Any:
        return env.step(key, env.reset(key)[1], arm)[2]

    keys = jax.random.split(jax.random.key(0), BANDIT)
    pulls = jax.jit(jax.vmap(jax.vmap(pull, (0, None)), (None, 0)))
    return sorted(np.asarray(pulls(keys, np.arange(env.action_space.n))).mean(1).tolist())


def random_policy(name: str) -> dict[str, float]:
    """Mean length and return of a random policy's episodes, cut at `CAP`."""
    import jax
    import jax.numpy as jnp

    from jaxrl_reward import envs

    env = envs.make(name)

    def play(key: Any) -> Any:
        def step(carry: Any, key: Any) -> Any:
            state, alive = carry
            action = jax.random.uniform(key, env.action_space.shape, minval=-1.0)
            _, state, reward, ends, *_ = env.step(key, state, action)
            return (state, alive & ~ends), (alive, reward * alive)

        start = (env.reset(key)[1], jnp.bool_(True))
        alive, reward = jax.lax.scan(step, start, jax.random.split(key, CAP))[1]
        return alive.sum(), reward.sum()

    keys = jax.random.split(jax.random.key(0), EPISODES)
    length, total = jax.jit(jax.vmap(play))(keys)
    return {"length": float(length.mean()), "return": float(total.mean())}


def compared(ask: Any, with_random: bool) -> dict[str, Any]:
    """What each name is beside its original: `same`, and the numbers."""
    from jaxrl_reward import envs

    found = {f"gymnax:{name}": classic(ask, name) for name in CLASSIC}
    wall = ((-1.1, -0.05), 1.0)  # to the left wall, then to the right
    car = "MountainCarContinuous-v0"
    for options in ("", ",wall=true"):
        found[f"gymnax:{car}{options} at the left wall"] = classic(ask, car, options, wall)
    for game in MINATAR:
        limit = envs.make(f"gymnax:{game}-MinAtar").max_steps
        name = {"SpaceInvaders": "space_invaders"}.get(game, game.lower())
        sticky = {"theirs": ask(what="minatar", game=name)["sticky"], "ours": 0.0}
        rows = {"sticky": sticky, "limit": {"theirs": None, "ours": limit}}  # it has none
        found[f"gymnax:{game}-MinAtar"] = {"same": _equal(rows), **rows}
    arms = {"theirs": ask(what="bandit", pulls=200), "ours": bandit()}
    ends = {k: [round(x[0], 3), round(x[-1], 3)] for k, x in arms.items()}
    same = bool(np.allclose(ends["theirs"], ends["ours"], atol=0.05))
    found["gymnax:SimpleBandit-bsuite"] = {"same": same, "worst and best arm": ends}
    for name, original in BRAX.items():
        env, theirs = envs.make(f"brax:{name}"), ask(what="spaces", name=original)
        ours = {
            "obs": env.observation_space.shape[0],
            "actions": [
                np.unique(x).tolist() for x in (env.action_space.low, env.action_space.high)
            ],
            "limit": env.max_steps,
        }
        rows = {k: {"theirs": theirs[k], "ours": ours[k]} for k in ours}
        found[f"brax:{name}, in its spaces and limit"] = {"same": _equal(rows), **rows}
    if with_random:
        theirs = ask(what="random", name="Hopper-v5", episodes=EPISODES, cap=CAP)
        for backend in ("generalized", "spring"):
            name = f"brax:hopper,backend={backend}"
            both = {"theirs": theirs, "ours": random_policy(name)}
            near = 0.5 < both["ours"]["length"] / theirs["length"] < 2.0
            row = {"same": near, f"{EPISODES} episodes of at most {CAP} steps": both}
            found[f"{name}, a random policy's lengths within a factor of 2"] = row
    return found


def _equal(rows: dict[str, Any]) -> bool:
    return all(row["theirs"] == row["ours"] for row in rows.values())


def table(found: dict[str, Any]) -> str:
    """The record as Markdown."""
    lines = [
        "# gymnax and brax beside the environments that they are named after",
        "",
        "Each step from the same state with the same action in both; spaces, limits and what is "
        "drawn at random beside "
        "each other. Gymnasium 1.3.0, MinAtar 1.0.15, bsuite 0.3.6. Made by "
        "`scripts/bench/originals.py`; `jaxrl-reward list envs` says what each name promises.",
        "",
        "| Environment | Same | Numbers |",
        "| -- | -- | -- |",
    ]
    for name, row in found.items():
        numbers = "; ".join(f"{k} {_shown(v)}" for k, v in row.items() if k != "same")
        lines.append(f"| `{name}` | {'yes' if row['same'] else 'no'} | {numbers} |")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_shown(v)}" for k, v in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--originals", metavar="PYTHON", help="where the originals are installed")
    parser.add_argument("--random", action="store_true", help="also a random policy on hopper")
    parser.add_argument("--out", type=Path, default=RECORD, metavar="DIR")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(originals(json.load(sys.stdin))))
        return
    if args.originals is None:
        parser.error("--originals PYTHON is needed: see the first lines of this file")

    def ask(**job: Any) -> Any:
        # -P: a script of this folder has the name of a package of theirs.
        words = [args.originals, "-P", __file__, "--child"]
        ran = subprocess.run(words, input=json.dumps(job), capture_output=True, text=True)
        if ran.returncode:
            raise SystemExit(f"{job['what']} failed there: {ran.stderr.strip()[-600:]}")
        return json.loads(ran.stdout.strip().splitlines()[-1])

    found = compared(ask, args.random)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "originals.json").write_text(json.dumps(found, indent=2) + "\n")
    (args.out / "originals.md").write_text(table(found))
    print(table(found))


if __name__ == "__main__":
    main()
