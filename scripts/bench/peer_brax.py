"""brax.training as a competitor: its own loop waits for its turn between epochs."""

import functools
import json
import sys

from brax import envs
from brax.training.agents.ppo import networks as ppo_networks
from brax.training.agents.ppo import train as brax_ppo
from brax.training.agents.sac import networks as sac_networks
from brax.training.agents.sac import train as brax_sac
from flax import linen as nn
from serve import Channel

WARM = 3  # epochs before the first that counts


def ppo(settings, **common):
    return brax_ppo.train(
        run_evals=False,
        batch_size=settings["num_envs"] // settings["minibatches"],
        num_minibatches=settings["minibatches"],
        unroll_length=settings["num_steps"],
        num_updates_per_batch=settings["epochs"],
        entropy_cost=0.0,
        clipping_epsilon=0.2,
        max_grad_norm=0.5,
        normalize_observations=True,
        network_factory=functools.partial(
            ppo_networks.make_ppo_networks,
            policy_hidden_layer_sizes=(64, 64),
            value_hidden_layer_sizes=(64, 64),
            activation=nn.tanh,
        ),
        **common,
    )


def sac(settings, **common):
    common["num_timesteps"] += settings["learning_starts"]
    return brax_sac.train(
        num_eval_envs=1,
        batch_size=settings["batch_size"],
        grad_updates_per_step=settings["updates"],
        min_replay_size=settings["learning_starts"],
        max_replay_size=settings["buffer_size"],
        network_factory=functools.partial(
            sac_networks.make_sac_networks, hidden_layer_sizes=settings["hidden"]
        ),
        **common,
    )


def main(task):
    channel, settings = Channel(), task["settings"]
    name, _, backend = task["env"].partition(":")[2].partition(",backend=")
    steps = task["iterations"] * settings["num_envs"] * settings.get("num_steps", 1)
    repeats, spent, returns = task["repeats"], [], []

    def turn(_, metrics):
        if "training/walltime" not in metrics:  # an evaluation before the first epoch
            return
        spent.append(metrics["training/walltime"])
        if len(spent) == WARM:  # it compiles in the first epoch, and once more in the second
            channel.send(compile_seconds=spent[1] - 2 * (spent[2] - spent[1]))
        elif len(spent) > WARM:
            channel.send(steps=steps, seconds=spent[-1] - spent[-2])
        if len(spent) >= WARM:
            channel.wait()

    make_policy, params, _ = {"ppo": ppo, "sac": sac}[task["kind"]](
        settings,
        environment=envs.get_environment(name, backend=backend),
        num_timesteps=(repeats + WARM) * steps,
        num_evals=repeats + WARM + 1,
        episode_length=1000,
        num_envs=settings["num_envs"],
        learning_rate=settings["learning_rate"],
        discounting=0.99,
        reward_scaling=task["scale"],
        progress_fn=turn,
    )
    returns.append(play(name, backend, make_policy(params, deterministic=True), task["episodes"]))
    channel.send(returns=returns)


def play(name, backend, policy, episodes):
    """The mean greedy return of some episodes."""
    import jax
    import jax.numpy as jnp
    from brax.envs.wrappers import training as wrappers

    env = wrappers.wrap(envs.get_environment(name, backend=backend), episode_length=1000)

    @jax.jit
    def run(key):
        def step(carry, key):
            state, alive, total = carry
            state = env.step(state, policy(state.obs, key)[0])
            return (state, alive * (1 - state.done), total + alive * state.reward), None

        start = (env.reset(jax.random.split(key, episodes)), jnp.ones(episodes))
        start = (*start, jnp.zeros(episodes))
        return jax.lax.scan(step, start, jax.random.split(key, 1000))[0][2]

    return float(run(jax.random.PRNGKey(1)).mean())


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
