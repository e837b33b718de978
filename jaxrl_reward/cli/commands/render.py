"""The command `render`."""

import argparse
from typing import Any

from jaxrl_reward.cli import cache, devices, own, runs
from jaxrl_reward.cli.parser import command
from jaxrl_reward.cli.values import seed, whole
from jaxrl_reward.errors import UserError
from jaxrl_reward.files import user_path


def add(subparsers: Any) -> None:
    """Adds the command and its flags."""
    made = command(subparsers, "render", run, "Draw an episode as a GIF or MP4.")
    cache.add_flag(made)
    made.add_argument(
        "what", metavar="RUN_FOLDER|ENV", help="a trained policy, or random actions in ENV"
    )
    made.add_argument("--out", help="a .gif or .mp4, replaced if it is there (a new episode.gif)")
    own.add_trust(made)
    made.add_argument("--arm", help="the arm of a run with several")
    made.add_argument(
        "--policy-seed", type=seed, metavar="N", help="whose policy (the run's first)"
    )
    made.add_argument("--seed", type=seed, metavar="N", default=0, help="of the episode (0)")
    made.add_argument(
        "--max-steps", type=whole, metavar="N", default=1000, help="cut it there (1000)"
    )


def run(args: argparse.Namespace) -> None:
    """Draws an episode of a trained policy, or of random actions."""
    devices.start()
    from jaxrl_reward import envs
    from jaxrl_reward import render as rendering
    from jaxrl_reward.training.restoring import of_seed

    out = runs.file(args.out, "episode.gif")
    rendering.check_path(out)
    if user_path(args.what).is_dir():
        own.load_recorded(args, args.what)
        agent, loaded = runs.load(args.what, args.arm)
        state = of_seed(loaded, args.policy_seed)
        env, policy = agent.env, rendering.greedy(agent, state)
    elif ":" in args.what:
        env = envs.make(args.what)
        policy = rendering.random(env)
    else:
        raise UserError(
            f"{args.what!r} is neither a run's folder nor an environment, "
            "such as runs/ppo or gymnax:CartPole-v1"
        )
    episode = rendering.play(env, policy, seed=args.seed, max_steps=args.max_steps)
    rendering.write(env, episode, out)
    print(f"{out}: {len(episode.rewards)} steps, return {sum(episode.rewards):g}")
