"""Small environments whose actions are not all allowed, or are several at once."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl_reward import agents, envs, spaces


class Params(struct.PyTreeNode):
    max_steps_in_episode: int = 1


class State(struct.PyTreeNode):
    kind: Any
    time: Any


class Once:
    """Gymnax's functions of an environment with episodes of one step; a kind is drawn."""

    default_params = Params()
    kinds = 2

    def see(self, kind):
        raise NotImplementedError

    def pay(self, kind, action):
        raise NotImplementedError

    def reset_env(self, key, params):
        kind = jax.random.randint(key, (), 0, self.kinds)
        return self.see(kind), State(kind, jnp.int32(0))

    def step_env(self, key, state, action, params):
        paid = self.pay(state.kind, action)
        state = state.replace(time=state.time + 1)
        return self.ended(state.kind), state, paid, jnp.array(True), {}

    def ended(self, kind):
        return self.see(kind)

    def is_truncated(self, state, params):
        return jnp.array(False)


class Bandit(Once):
    """Four arms that pay 0.1, 0.5, 0.9 and, which is never allowed, infinitely much.

    Of kind 1 the third is not allowed either: the best are 2 and 1. After the end none is.
    """

    name = "Bandit"
    pays = (0.1, 0.5, 0.9, jnp.inf)
    allowed = ((1, 1, 1, 0), (1, 1, 0, 0))
    best = (2, 1)

    def see(self, kind):
        return {
            "action_mask": jnp.array(self.allowed, bool)[kind],
            "kind": kind,
            "place": jnp.array([3.0, 40.0]) * (kind + 1),
        }

    def ended(self, kind):
        return {**self.see(kind), "action_mask": jnp.zeros(4, bool)}

    def pay(self, kind, action):
        allowed = jnp.array(self.allowed, bool)[kind, action]
        return jnp.where(allowed, jnp.array(self.pays)[action], jnp.inf)

    def observation_space(self, params):
        return spaces.Dict(
            {
                "action_mask": spaces.Box(0, 1, (4,), jnp.bool_),
                "kind": spaces.Discrete(2),
                "place": spaces.Box(-100.0, 100.0, (2,)),
            }
        )

    def action_space(self, params):
        return spaces.Discrete(4)


class Pair(Once):
    """Two numbers, of 2 and of 3: the first is to be the kind, the second as high as allowed.

    Of kind 1 the last of the second is not allowed; it would pay infinitely much.
    """

    name = "Pair"
    best = ((0, 2), (1, 1))

    def see(self, kind):
        mask = jnp.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]], bool)[kind]
        return {"action_mask": mask, "kind": kind}

    def pay(self, kind, action):
        wrong = (kind == 1) & (action[1] == 2)
        right = (action[0] == kind).astype(jnp.float32) + 0.25 * action[1]
        return jnp.where(wrong, jnp.inf, right)

    def observation_space(self, params):
        mask = spaces.Box(0, 1, (5,), jnp.bool_)
        return spaces.Dict({"action_mask": mask, "kind": spaces.Discrete(2)})

    def action_space(self, params):
        return spaces.MultiDiscrete([2, 3])


class Team(Once):
    """Three agents alike, who each see a number, and are paid together for choosing it.

    What all of them see, `clock`, is of no use.
    """

    name = "Team"
    kinds = 64  # the digits of which, to the base 4, are what the agents see

    def see(self, kind):
        seen = kind // 4 ** jnp.arange(3) % 4
        agents = {f"agent_{i}": jax.nn.one_hot(seen[i], 4) for i in range(3)}
        return {**agents, "clock": jnp.ones(1)}

    def pay(self, kind, action):
        return (action == kind // 4 ** jnp.arange(3) % 4).sum().astype(jnp.float32)

    def observation_space(self, params):
        agents = {f"agent_{i}": spaces.Box(0.0, 1.0, (4,)) for i in range(3)}
        return spaces.Dict({**agents, "clock": spaces.Box(0.0, 1.0, (1,))})

    def action_space(self, params):
        return spaces.MultiDiscrete([4, 4, 4])


class Chain:
    """States 0, 1, 2 in a row: 0 stays, 1 goes on, 2 jumps home for pay; the row ends at 3.

    Jumping is only allowed in state 1, staying not in state 0. What is not allowed would
    lead home and pay 5. A time limit, which ends nothing, comes after six steps.
    """

    name = "Chain"
    default_params = Params(6)
    allowed = ((0, 1, 0), (1, 1, 1), (1, 1, 0))
    after = ((0, 1, 0), (1, 2, 0), (2, 3, 0))
    paid = ((5.0, 0.0, 5.0), (0.1, 0.2, 0.5), (0.3, 1.0, 5.0))

    def reset_env(self, key, params):
        state = State(jax.random.randint(key, (), 0, 3), jnp.int32(0))
        return self.see(state.kind), state

    def see(self, kind):
        mask = jnp.array([*self.allowed, (0, 0, 0)], bool)[kind]
        return {"action_mask": mask, "state": jax.nn.one_hot(kind, 4)}

    def step_env(self, key, state, action, params):
        kind = jnp.array(self.after)[state.kind, action]
        paid = jnp.array(self.paid)[state.kind, action]
        ended = kind == 3
        return self.see(kind), State(kind, state.time + 1), paid, ended, {}

    def is_truncated(self, state, params):
        return state.time >= params.max_steps_in_episode

    def observation_space(self, params):
        mask = spaces.Box(0, 1, (3,), jnp.bool_)
        return spaces.Dict({"action_mask": mask, "state": spaces.Box(0.0, 1.0, (4,))})

    def action_space(self, params):
        return spaces.Discrete(3)


def made(environment) -> envs.Env:
    return envs.given(environment())


def looks(env, kinds=2):
    """The flat observations of each kind, `[kinds, D]`."""
    flat = [
        spaces.flatten(env.environment.observation_space(None), env.environment.see(k))
        for k in range(kinds)
    ]
    return jnp.stack(flat)


def trained(name, environment, iterations, **settings):
    """The agent, its state after so many iterations, and the metrics of each."""
    agent = agents.make(name, made(environment), **settings)

    @jax.jit
    def run(key):
        return jax.lax.scan(lambda s, _: agent.iterate(s), agent.init(key), None, iterations)

    state, metrics = run(jax.random.key(1))
    return agent, state, metrics
