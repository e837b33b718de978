"""This package as a competitor."""

import time
from collections.abc import Callable
from typing import Any

from serve import serve

from jaxrl_reward.training import use_all_cores

use_all_cores()

import jax  # noqa: E402, after the devices are chosen
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import jaxrl_reward.data  # noqa: E402
from jaxrl_reward import agents, envs  # noqa: E402
from jaxrl_reward import rewards as rw  # noqa: E402
from jaxrl_reward.nn import language_models  # noqa: E402
from jaxrl_reward.rewards.core import potentials  # noqa: E402
from jaxrl_reward.training.devices.sharding import Programs  # noqa: E402

EXPRESSION = (
    "env + 0.5*potential('norm') - 0.1*potential('first') + 0.01*state_bonus('norm')"
    " | scale(0.5) | clip(-5, 5)"
)


class by_hand(rw.Pointwise):  # noqa: N801
    """The arithmetic of `EXPRESSION` in one function, as a script would write it."""

    def reward(self, transition: Any) -> Any:
        goes_on = 1.0 - transition.terminated
        norm, norm_after = potentials.norm(transition.obs), potentials.norm(transition.next_obs)
        shaped = 0.5 * (0.99 * goes_on * norm_after - norm)
        shaped -= 0.1 * (0.99 * goes_on * transition.next_obs[0] - transition.obs[0])
        return jnp.clip(0.5 * (transition.reward + shaped + 0.01 * norm_after), -5.0, 5.0)


def train(task: dict[str, Any]) -> tuple[float, Callable[[], int], Callable[[], list[float]]]:
    reward = by_hand() if task.get("reward") == "by hand" else task.get("reward", "env")
    if reward == "expression":
        reward = EXPRESSION
    agent = agents.make(task["kind"], task["env"], reward, **task["settings"])
    programs = Programs(agent, seeds=task["seeds"], seed=0, episodes=task["episodes"])
    programs.compile_seconds += programs.compile("advance")
    carry, at, n = programs.init(), 0, task["iterations"]
    if warm := task.get("warm"):
        carry, at = programs.advance(carry, 0, warm), warm

    def repeat() -> int:
        nonlocal carry, at
        carry, at = programs.advance(carry, at, n), at + n
        return n * agent.steps_per_iteration * task["seeds"] * task.get("each", 1)

    def score() -> list[float]:
        return programs.evaluate(carry, at)[0].mean(axis=1).tolist()

    return programs.compile_seconds, repeat, score


def offline(task: dict[str, Any]) -> tuple[float, Callable[[], int], Callable[[], list[float]]]:
    """Updates on random rows: what they hold does not change how long they take."""
    rng, rows = np.random.default_rng(0), task["rows"]
    arrays = {
        "obs": rng.normal(size=(rows, task["obs"])),
        "next_obs": rng.normal(size=(rows, task["obs"])),
        "action": rng.uniform(-1.0, 1.0, size=(rows, task["action"])),
        "reward": rng.normal(size=rows),
        "terminated": np.arange(rows) % 1000 == 999,
        "truncated": np.zeros(rows),
    }
    data = jaxrl_reward.data.make(arrays)
    agent = agents.make(task["kind"], task["env"], data=data, **task["settings"])
    programs = Programs(agent, seeds=task["seeds"], seed=0, episodes=1)
    programs.compile_seconds += programs.compile("advance")
    carry, at, n = programs.init(), 0, task["iterations"]

    def repeat() -> int:
        nonlocal carry, at
        carry, at = programs.advance(carry, at, n), at + n
        return n * agent.steps_per_iteration * task["seeds"]

    return programs.compile_seconds, repeat, lambda: []


def stepping(task: dict[str, Any]) -> tuple[float, Callable[[], int], Callable[[], list[float]]]:
    """Random actions and no learning: the ceiling."""
    count, steps = task["num_envs"], task["steps"]
    env = envs.make(task["env"])
    vector = envs.vectorize(env, count)

    def step(carry: Any, key: Any) -> Any:
        state, total = carry
        actions, moves = jax.random.split(key)
        action = jax.random.randint(actions, (count,), 0, int(env.action_space.n))
        state, transition, _ = vector.step(state, jax.random.split(moves, count), action)
        return (state, total + transition.env_reward.sum()), None

    def run(state: Any, key: Any) -> Any:
        return jax.lax.scan(step, (state, jnp.float32(0.0)), jax.random.split(key, steps))[0]

    started = time.perf_counter()
    state = jax.jit(vector.init)(jax.random.key(0))
    compiled = jax.jit(run).lower(state, jax.random.key(0)).compile()
    seconds = time.perf_counter() - started

    def repeat() -> int:
        nonlocal state
        state, total = jax.block_until_ready(compiled(state, jax.random.key(1)))
        assert np.isfinite(total)
        return count * steps

    return seconds, repeat, lambda: []


def writing(task: dict[str, Any]) -> tuple[float, Callable[[], int], Callable[[], list[float]]]:
    """Drawn tokens, whatever they are; without the cache, each from the whole text anew."""
    count, length, vocabulary = task["num"], task["length"], task["vocabulary"]
    prompt = jnp.ones((count, 8), jnp.int32)
    model = language_models.transformer(vocabulary, 8, length, width=task["width"])
    params = jax.jit(model.init)(jax.random.key(0))

    def cached(params: Any, key: Any) -> Any:
        # No token ends a response, so that all are of the full length.
        return language_models.generate(model, params, prompt, length, key, end=-1).tokens

    def uncached(params: Any, key: Any) -> Any:
        def step(text: Any, at: Any) -> Any:
            logits = model.logits(params, text)[:, at]
            token = jax.random.categorical(jax.random.fold_in(key, at), logits)
            return text.at[:, 8 + at].set(token.astype(jnp.int32)), token

        nothing = jnp.full((count, length), vocabulary, jnp.int32)
        text = jnp.concatenate([prompt, nothing], axis=1)
        return jax.lax.scan(step, text, jnp.arange(length))[1]

    write = jax.jit(cached if task.get("cached", True) else uncached)
    started = time.perf_counter()
    compiled = write.lower(params, jax.random.key(0)).compile()
    seconds, key = time.perf_counter() - started, jax.random.key(1)

    def repeat() -> int:
        for _ in range(task["repeat"]):
            tokens = np.asarray(compiled(params, key))
            assert (tokens < vocabulary).all()
        return task["repeat"] * count * length

    return seconds, repeat, lambda: []


if __name__ == "__main__":
    kinds = {"stepping": stepping, "iql": offline, "riql": offline, "writing": writing}
    serve(lambda task: kinds.get(task["kind"], train)(task))
