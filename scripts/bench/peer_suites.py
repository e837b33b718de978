"""Agents that suites bring, with the suites' own settings, for `trained.py`.

Takes a task as JSON (`env`, `steps`, `seeds`, `seed`) and prints what the seeds came to as its
last line.
"""

import json
import sys
import time
from typing import Any


def navix(name: str, steps: int, seeds: list[int]) -> dict[str, Any]:
    """NAVIX's PPO on a flattened observation, as its own script of baselines has it."""
    import jax
    import jax.numpy as jnp
    import navix as nx
    import numpy as np
    from navix.agents import PPO, ActorCritic, PPOHparams
    from navix.agents.agent import derive_episodic_metrics

    env = nx.make(name)
    look, shape = env.observation_fn, (int(np.prod(env.observation_space.shape)),)
    env = env.replace(
        observation_fn=lambda state: jnp.ravel(look(state)),
        observation_space=env.observation_space.replace(shape=shape),
    )
    settings = PPOHparams(budget=steps)
    agent = PPO(hparams=settings, network=ActorCritic(action_dim=len(env.action_set)), env=env)
    keys = jnp.stack([jax.random.PRNGKey(seed) for seed in seeds])
    train = jax.jit(jax.vmap(agent.train)).lower(keys).compile()
    start = time.perf_counter()
    _, logs = jax.block_until_ready(train(keys))
    seconds = time.perf_counter() - start
    curve = np.asarray(derive_episodic_metrics(logs)["agent/episode/returns"])  # [S, U]
    taken = settings.num_envs * settings.num_steps * curve.shape[1]
    last = curve[:, int(0.9 * curve.shape[1]) :]
    return {
        **{"steps": taken, "sampled": np.nanmean(last, axis=1).tolist(), "seconds": seconds},
        "steps_per_second": taken * len(seeds) / seconds,
    }


def playground(name: str, steps: int, seeds: list[int]) -> dict[str, Any]:
    """brax's PPO with the settings that Playground has for the task."""
    from brax.training.agents.ppo import train as ppo
    from mujoco_playground import registry, wrapper
    from mujoco_playground.config import dm_control_suite_params

    settings = dict(dm_control_suite_params.brax_ppo_config(name))
    settings |= {"num_timesteps": steps, "num_evals": 2, "num_resets_per_eval": 0}
    env, judged = (registry.load(name, config_overrides={"impl": "jax"}) for _ in range(2))
    returns, spent, taken = [], 0.0, 0
    for seed in seeds:
        told: list[tuple[int, Any]] = []
        _, _, metrics = ppo.train(
            environment=env,
            eval_env=judged,
            wrap_env_fn=wrapper.wrap_for_brax_training,
            deterministic_eval=True,
            num_eval_envs=32,
            seed=seed,
            progress_fn=lambda step, metrics, told=told: told.append((step, metrics)),
            **settings,
        )
        taken = told[-1][0]
        returns.append(float(metrics["eval/episode_reward"]))
        spent += taken / float(metrics["training/sps"])
    return {
        **{"steps": taken, "greedy": returns, "seconds": spent},
        "steps_per_second": taken * len(seeds) / spent,
    }


def main() -> None:
    task = json.loads(sys.argv[1])
    suite, _, name = task["env"].partition(",")[0].partition(":")
    agents = {"navix": navix, "playground": playground}
    seeds = list(range(task["seed"], task["seed"] + task["seeds"]))
    print(json.dumps(agents[suite](name, task["steps"], seeds)))


if __name__ == "__main__":
    main()
