"""brax.training's PPO as a competitor: its own loop waits for its turn between epochs."""

import functools
import json
import sys

from brax import envs
from brax.training.agents.ppo import networks
from brax.training.agents.ppo import train as brax_ppo
from flax import linen as nn
from serve import Channel

WARM = 3  # epochs before the first that counts


def main(task):
    channel, settings = Channel(), task["settings"]
    name, _, backend = task["env"].partition(":")[2].partition(",backend=")
    minibatches, unroll = settings["minibatches"], settings["num_steps"]
    steps = task["iterations"] * settings["num_envs"] * unroll
    repeats, spent, returns = task["repeats"], [], []

    def turn(_, metrics):
        spent.append(metrics["training/walltime"])
        if len(spent) == WARM:  # it compiles in the first epoch, and once more in the second
            channel.send(compile_seconds=spent[1] - 2 * (spent[2] - spent[1]))
        elif len(spent) > WARM:
            channel.send(steps=steps, seconds=spent[-1] - spent[-2])
        if len(spent) >= WARM:
            channel.wait()

    make_policy, params, _ = brax_ppo.train(
        environment=envs.get_environment(name, backend=backend),
        num_timesteps=(repeats + WARM) * steps,
        num_evals=repeats + WARM + 1,
        run_evals=False,
        episode_length=1000,
        num_envs=settings["num_envs"],
        batch_size=settings["num_envs"] // minibatches,
        num_minibatches=minibatches,
        unroll_length=unroll,
        num_updates_per_batch=settings["epochs"],
        learning_rate=settings["learning_rate"],
        entropy_cost=0.0,
        discounting=0.99,
        reward_scaling=task["scale"],
        clipping_epsilon=0.2,
        max_grad_norm=0.5,
        normalize_observations=True,
        network_factory=functools.partial(
            networks.make_ppo_networks,
            policy_hidden_layer_sizes=(64, 64),
            value_hidden_layer_sizes=(64, 64),
            activation=nn.tanh,
        ),
        progress_fn=turn,
    )
    import jax
    import jax.numpy as jnp
    from brax.envs.wrappers import training as wrappers

    env = wrappers.wrap(envs.get_environment(name, backend=backend), episode_length=1000)
    policy, episodes = make_policy(params, deterministic=True), task["episodes"]

    @jax.jit
    def play(key):
        def step(carry, key):
            state, alive, total = carry
            state = env.step(state, policy(state.obs, key)[0])
            return (state, alive * (1 - state.done), total + alive * state.reward), None

        start = (env.reset(jax.random.split(key, episodes)), jnp.ones(episodes), 0.0)
        start = (*start[:2], jnp.zeros(episodes))
        return jax.lax.scan(step, start, jax.random.split(key, 1000))[0][2]

    returns.append(float(play(jax.random.PRNGKey(1)).mean()))
    channel.send(returns=returns)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
