"""The suites' own loops, as their documentation writes them, that `stepping.py` measures."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Loop(NamedTuple):
    """Many environments of a suite.

    Attributes:
      reset: from keys `[N]`, what the policies see and the state, leaves `[N, ...]`.
      step: from that, keys and actions `[N]`, the same, rewards and ends `[N]`.
      shown: what a learner keeps of what one policy sees.
    """

    reset: Callable[[Any], Any]
    step: Callable[[Any, Any, Any], tuple[Any, Any, Any]]
    shown: Callable[[Any], Any] = lambda seen: seen


def each(reset: Any, step: Any, *shown: Any) -> Loop:
    """Of one environment's functions."""
    return Loop(jax.vmap(reset), jax.vmap(step), *shown)


def in_float32(loop: Loop) -> Loop:
    """The same, whose state has what the policies see as float32, as ours does."""

    def cast(now: Any) -> Any:
        return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), now[0]), now[1]

    def step(now: Any, keys: Any, actions: Any) -> Any:
        now, *rest = loop.step(now, keys, actions)
        return cast(now), *rest

    return Loop(lambda keys: cast(loop.reset(keys)), step)


def craftax() -> dict[str, Loop]:
    """Craftax's `step`, with and without a reset at every step."""
    from craftax.craftax_env import make_craftax_env_from_name as make

    def loop(env: Any) -> Loop:
        params = env.default_params

        def step(now: Any, key: Any, action: Any) -> Any:
            obs, state, reward, done, _ = env.step(key, now[1], action, params)
            return (obs, state), reward, done

        return each(lambda key: env.reset(key, params), step)

    name = "Craftax-Classic-Symbolic-v1"
    return {"bare": loop(make(name, auto_reset=False)), "own reset": loop(make(name, True))}


def jaxmarl() -> dict[str, Loop]:
    """JaxMARL's `step`, with and without a reset at every step."""
    import jaxmarl as suite

    env = suite.make("MPE_simple_spread_v3")

    def loop(one: Any) -> Loop:
        def step(now: Any, key: Any, action: Any) -> Any:
            actions = dict(zip(env.agents, action, strict=True))
            obs, state, rewards, dones, _ = one(key, now[1], actions)
            return (obs, state), sum(rewards.values()), dones["__all__"]

        return each(env.reset, step)

    return {"bare": loop(env.step_env), "own reset": loop(env.step)}


def jumanji() -> dict[str, Loop]:
    """Jumanji's `step`, and its wrapper that resets at once and keeps the last observation."""
    import jumanji as suite
    from jumanji.wrappers import AutoResetWrapper

    def loop(env: Any) -> Loop:
        def step(now: Any, key: Any, action: Any) -> Any:
            state, timestep = env.step(now[1], action)
            return (timestep.observation, state), timestep.reward, timestep.last()

        def reset(key: Any) -> Any:
            state, timestep = env.reset(key)
            return timestep.observation, state

        return each(reset, step)

    env = suite.make("Snake-v1")
    return {"bare": loop(env), "own reset": loop(AutoResetWrapper(env, next_obs_in_extras=True))}


def navix() -> dict[str, Loop]:
    """NAVIX's `step`, whose reset comes a step late."""
    import navix as suite

    def loop(env: Any, *shown: Any) -> Loop:
        def step(now: Any, key: Any, action: Any) -> Any:
            now = env.step(now[1], action)
            return (now.observation, now), now.reward, now.is_done()

        return each(lambda key: (lambda now: (now.observation, now))(env.reset(key)), step, *shown)

    name = "Navix-Empty-8x8-v0"
    bare, own = suite.make(name, disable_autoreset=True), suite.make(name)
    counts = (int(suite.environments.environment.MAX_CATEGORICAL_VALUE), 6, 4)
    shown = lambda grid: _planes(grid, counts)  # noqa: E731
    return {
        **{"bare": loop(bare), "own reset": loop(own)},
        **{"bare, planes": loop(bare, shown), "own reset, planes": loop(own, shown)},
    }


def octax() -> dict[str, Loop]:
    """Octax has no reset of its own."""
    from octax.environments import create_environment

    env = create_environment("brix")[0]

    def step(now: Any, key: Any, action: Any) -> Any:
        state, obs, reward, terminated, truncated, _ = env.step(now[1], action)
        return (obs, state), reward, terminated | truncated

    bare = each(lambda key: env.reset(key)[1::-1], step)
    return {"bare": bare, "bare in float32": in_float32(bare)}


def pgx() -> dict[str, Loop]:
    """pgx's `step`, which stands still behind an end, and its `auto_reset`."""
    import pgx as suite
    from pgx.experimental import auto_reset

    env = suite.make("minatar-breakout")

    def loop(one: Any) -> Loop:
        def step(now: Any, key: Any, action: Any) -> Any:
            state = one(now[1], action, key)
            return (state.observation, state), state.rewards[0], state.terminated

        return each(lambda key: (lambda state: (state.observation, state))(env.init(key)), step)

    bare = loop(env.step)
    own = loop(auto_reset(env.step, env.init))
    return {"bare": bare, "own reset": own, "bare in float32": in_float32(bare)}


def playground() -> dict[str, Loop]:
    """Playground's `step`, and its wrappers that reset to the first state again."""
    from mujoco_playground import registry, wrapper

    def loop(reset: Any, step: Any, keys: Any = lambda keys: keys) -> Loop:
        def one(now: Any, key: Any, action: Any) -> Any:
            info, metrics = dict(now[1].info), dict(now[1].metrics)  # it writes into them
            state = step(now[1].replace(info=info, metrics=metrics), action)
            return (state.obs, state), state.reward, state.done

        return Loop(lambda key: (lambda state: (state.obs, state))(reset(keys(key))), one)

    env = registry.load("CheetahRun", config_overrides={"impl": "jax"})
    own = wrapper.wrap_for_brax_training(env)
    return {
        "bare": loop(jax.vmap(env.reset), jax.vmap(env.step)),
        "own reset": loop(own.reset, own.step, jax.random.key_data),  # no typed keys
    }


def xminigrid() -> dict[str, Loop]:
    """xminigrid's `step`, and its wrapper that resets at once."""
    import xminigrid as suite
    from xminigrid.core.constants import NUM_COLORS, NUM_TILES
    from xminigrid.wrappers import GymAutoResetWrapper

    env, params = suite.make("MiniGrid-Empty-8x8")

    def loop(one: Any, *shown: Any) -> Loop:
        def step(now: Any, key: Any, action: Any) -> Any:
            now = one.step(params, now[1], action)
            return (now.observation, now), now.reward, now.last()

        def reset(key: Any) -> Any:
            now = one.reset(params, key)
            return now.observation, now

        return each(reset, step, *shown)

    own, shown = GymAutoResetWrapper(env), lambda grid: _planes(grid, (NUM_TILES, NUM_COLORS))
    return {
        **{"bare": loop(env), "own reset": loop(own)},
        **{"bare, planes": loop(env, shown), "own reset, planes": loop(own, shown)},
    }


def _planes(grid: Any, counts: tuple[int, ...]) -> Any:
    """Numbers of kinds as planes, as a learner would have them made."""
    return jnp.concatenate([jax.nn.one_hot(grid[..., i], n) for i, n in enumerate(counts)], -1)


# Ours to compare with, and what else we give; then the suite's.
SUITES: dict[str, tuple[dict[str, str], Callable[[], dict[str, Loop]]]] = {
    "craftax": ({"ours": "craftax:Craftax-Classic-Symbolic-v1"}, craftax),
    "jaxmarl": ({"ours": "jaxmarl:MPE_simple_spread_v3"}, jaxmarl),
    "jumanji": ({"ours": "jumanji:Snake-v1"}, jumanji),
    "navix": (
        {
            "ours": "navix:Navix-Empty-8x8-v0,one_hot=false",
            "ours, planes": "navix:Navix-Empty-8x8-v0",
        },
        navix,
    ),
    "octax": ({"ours": "octax:brix"}, octax),
    "pgx": ({"ours": "pgx:minatar-breakout"}, pgx),
    "playground": ({"ours": "playground:CheetahRun"}, playground),
    "xminigrid": (
        {
            "ours": "xminigrid:MiniGrid-Empty-8x8,one_hot=false",
            "ours, planes": "xminigrid:MiniGrid-Empty-8x8",
        },
        xminigrid,
    ),
}
