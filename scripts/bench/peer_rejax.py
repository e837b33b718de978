"""rejax as a competitor, vmapped over seeds as its README does; and gymnax's own stepping."""

import time

import gymnax
import jax
import jax.numpy as jnp
from rejax import PPO, SAC
from serve import serve


def ppo(task):
    settings = task["settings"]
    return PPO.create(
        env=task["env"].partition(":")[2],
        num_envs=settings["num_envs"],
        num_steps=settings["num_steps"],
        num_epochs=settings["epochs"],
        num_minibatches=settings["minibatches"],
        learning_rate=settings["learning_rate"],
        max_grad_norm=0.5,
        agent_kwargs={"activation": "tanh", "hidden_layer_sizes": (64, 64)},
    )


def sac(task):
    settings = task["settings"]
    return SAC.create(
        env=task["env"].partition(":")[2],
        num_envs=settings["num_envs"],
        num_epochs=settings["updates"],
        batch_size=settings["batch_size"],
        buffer_size=settings["buffer_size"],
        fill_buffer=settings["learning_starts"],
        learning_rate=settings["learning_rate"],
        gamma=0.99,
        polyak=0.995,
        agent_kwargs={"activation": "relu"},
        hidden_layer_sizes=settings["hidden"],
    )


def train(task):
    algo = {"ppo": ppo, "sac": sac}[task["kind"]](task)
    per_iteration = task["settings"]["num_envs"] * task["settings"].get("num_steps", 1)
    keys = jnp.stack([jax.random.PRNGKey(i) for i in range(task["seeds"])])
    n = task["iterations"]

    def iterate(states, n):
        one = jax.vmap(algo.train_iteration)
        return jax.lax.fori_loop(0, n, lambda _, states: one(states), states)

    started = time.perf_counter()
    init = jax.jit(jax.vmap(algo.init_state)).lower(keys).compile()
    states = init(keys)
    advance = jax.jit(iterate, donate_argnums=0).lower(states, n).compile()
    seconds = time.perf_counter() - started
    if warm := task.get("warm"):
        states = advance(states, warm)

    def repeat():
        nonlocal states
        states = jax.block_until_ready(advance(states, n))
        return n * per_iteration * task["seeds"]

    def score():
        evaluate = jax.jit(jax.vmap(lambda state, key: algo.eval_callback(algo, state, key)[1]))
        return evaluate(states, keys).mean(axis=1).tolist()

    return seconds, repeat, score


def stepping(task):
    """gymnax resets at every step."""
    count, steps = task["num_envs"], task["steps"]
    env, params = gymnax.make(task["env"].partition(":")[2])

    def step(carry, key):
        (_, state), total = carry
        actions, moves = jax.random.split(key)
        action = jax.random.randint(actions, (count,), 0, env.num_actions)
        keys = jax.random.split(moves, count)
        obs, state, reward, _, _ = jax.vmap(env.step, (0, 0, 0, None))(keys, state, action, params)
        return ((obs, state), total + reward.sum()), None

    def run(state, key):
        return jax.lax.scan(step, (state, jnp.float32(0.0)), jax.random.split(key, steps))[0]

    started = time.perf_counter()
    first = jax.random.split(jax.random.PRNGKey(0), count)
    state = jax.jit(jax.vmap(env.reset, (0, None)))(first, params)
    compiled = jax.jit(run).lower(state, jax.random.PRNGKey(0)).compile()
    seconds = time.perf_counter() - started

    def repeat():
        nonlocal state
        state, _ = jax.block_until_ready(compiled(state, jax.random.PRNGKey(1)))
        return count * steps

    return seconds, repeat, lambda: []


if __name__ == "__main__":
    serve(lambda task: stepping(task) if task["kind"] == "stepping" else train(task))
