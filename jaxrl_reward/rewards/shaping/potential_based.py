"""Shaping beyond one fixed potential: that moves, that is learnt, or that knows the action.

And the mistakes that look like it. `potential` is the plain form.
"""

from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from jaxrl_reward import counting
from jaxrl_reward.nn import networks
from jaxrl_reward.rewards.core.base import Applied, State, static
from jaxrl_reward.rewards.core.checks import Count, Discount, Divisor, Finite, OneOf, Positive
from jaxrl_reward.rewards.core.potentials import advice, lookup
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Causal, Episodes, Episodic, Learned, Pointwise
from jaxrl_reward.types import Array, Transition


@register("dynamic_potential", {"function": "norm", "end": 0.5, "steps": 24.0})
class dynamic_potential(Causal):  # noqa: N801
    """`gamma w' Phi(next_obs) - w Phi(obs)`, a potential whose weight w changes over training.

    Devlin and Kudenko 2012, "Dynamic Potential-Based Reward Shaping", theorem 1: optimal
    policies stay what they are if a state's potential is taken back as it was when it was
    given. So what was given last is remembered, across blocks too: an episode telescopes
    whatever w does, which `scheduled(...) * potential(...)` does not. w goes linearly from
    `start` to `end` in `steps` environment steps; a block is given the one at its start.
    """

    other_gamma = "optimal policies are no longer preserved"

    function: str | Callable[[Array], Array] = static()
    gamma: Discount = None
    start: Finite = 1.0
    end: Finite = 0.0
    steps: Positive = 1e6

    def validate(self) -> None:
        lookup(self.function)

    def init(self, key: Array, example: Transition) -> State:
        del key
        held = jnp.zeros(example.first.shape[1], jnp.float32)
        return State(counting.zero(), held)

    def begin_one(self, shared: Any, obs: Array) -> Array:
        return self._given(shared, obs)

    def step(self, shared: Any, local: Array, transition: Transition) -> tuple[Array, Array]:
        given = self._given(shared, transition.next_obs)
        return given, self.discount * jnp.where(transition.terminated, 0.0, given) - local

    def apply(self, state: State, block: Transition) -> Applied:
        out = super().apply(state, block)
        count = counting.of(state.shared).add(block.first.size)
        return out._replace(state=out.state.replace(shared=count))

    def _given(self, count: Any, obs: Array) -> Array:
        share = jnp.clip(counting.of(count).value / self.steps, 0.0, 1.0)
        weight = self.start + share * (self.end - self.start)
        return jnp.asarray(weight * lookup(self.function)(obs), jnp.float32)


@register("learned_potential", {"width": 4, "updates": 1, "batch_size": 8})
class learned_potential(Learned):  # noqa: N801
    """`gamma V(next_obs) - V(obs)`, V the value of what is played, learnt beside the agent.

    V follows `env_reward + gamma V(next_obs)` by semi-gradient TD(0) (Grzes and Kudenko
    2010, "Online learning of shaping rewards in reinforcement learning", learn a potential
    beside the policy). V is 0 after a termination. At any time it is a potential, so that a
    replay which pays by the current V keeps the optimal policies; an episode that V changes
    under does not quite telescope.
    """

    other_gamma = "optimal policies are no longer preserved"

    gamma: Discount = None
    width: Count = static(default=64)

    def init_params(self, key: Array, example: Transition) -> Any:
        return self._net().init(key, example.obs.reshape(-1).astype(jnp.float32))

    def reward(self, params: Any, transition: Transition) -> Array:
        after = jnp.where(transition.terminated, 0.0, self._value(params, transition.next_obs))
        return self.discount * after - self._value(params, transition.obs)

    def loss(self, params: Any, key: Array, batch: Transition) -> Array:
        del key
        value = jax.vmap(lambda obs: self._value(params, obs))
        after = jnp.where(batch.terminated, 0.0, value(batch.next_obs))
        goal = jax.lax.stop_gradient(batch.env_reward + self.discount * after)
        return ((goal - value(batch.obs)) ** 2).mean()

    def _value(self, params: Any, obs: Array) -> Array:
        return self._net().apply(params, obs.reshape(-1).astype(jnp.float32))[0]

    def _net(self) -> networks.Network:
        return networks.mlp((self.width, self.width, 1), "tanh", 1.0)


# ---- advice: potentials of states and actions -------------------------------------------


@register("look_back", {"function": "action", "gamma": 0.5})
class look_back(Causal):  # noqa: N801
    """`Phi(obs, action) - Phi(the step before) / gamma`: advice for actions, paid at once.

    Look-back advice (Wiewiora, Cottrell and Elkan 2003, "Principled Methods for Advising
    Reinforcement Learning Agents", section 4). There is nothing before the first step, and
    a termination takes back what it gave: an episode that ends so sums to 0 whatever was
    advised. `function` is one of an observation and an action, or the name of one
    (`potentials.advice_names()`); `gamma` is the agent's, if it is left out.
    """

    other_gamma = "optimal policies are no longer preserved"

    function: str | Callable[[Array, Array], Array] = static()
    gamma: Divisor = None

    def validate(self) -> None:
        advice(self.function)

    def begin_one(self, shared: Any, obs: Array) -> Array:
        del shared, obs
        return jnp.float32(0.0)

    def step(self, shared: Any, local: Array, transition: Transition) -> tuple[Array, Array]:
        del shared
        given = jnp.asarray(advice(self.function)(transition.obs, transition.action), jnp.float32)
        return given, jnp.where(transition.terminated, 0.0, given) - local / self.discount


@register("look_ahead", {"function": "action", "gamma": 0.5})
class look_ahead(Episodic):  # noqa: N801
    """`gamma Phi(next_obs, next action) - Phi(obs, action)`: needs the action that follows.

    Look-ahead advice (Wiewiora, Cottrell and Elkan 2003, section 3). What is learnt is
    `Q - Phi`: the policy is the task's only if the agent acts by what it learnt PLUS Phi.
    Nothing follows the last step of an episode. `function` and `gamma` are those of
    `look_back`, for an agent that does not know Phi.
    """

    other_gamma = "optimal policies are no longer preserved"

    function: str | Callable[[Array, Array], Array] = static()
    gamma: Discount = None

    def validate(self) -> None:
        advice(self.function)

    def reward(self, block: Transition, episodes: Episodes) -> Array:
        del episodes
        phi = jax.vmap(jax.vmap(advice(self.function)))(block.obs, block.action)
        phi = jnp.asarray(phi, jnp.float32)
        after = jnp.concatenate([phi[1:], jnp.zeros_like(phi[:1])])
        return self.discount * jnp.where(block.last, 0.0, after) - phi


@register("difference", {"function": "sum_to_one", "default": 0.5})
class difference(Pointwise):  # noqa: N801
    """`G(obs, action) - G(obs, action with component `agent` set to `default`)`.

    Difference rewards (Wolpert and Tumer 2002, "Optimal Payoff Functions for Members of
    Collectives"): what one of a team did, all else being equal. Whatever an agent does to
    raise it raises G as much. Agents are counted from 1; `function` is one of an
    observation and an action, or the name of one (`potentials.advice_names()`).
    """

    function: str | Callable[[Array, Array], Array] = static()
    agent: Count = static(default=1)
    default: Finite = 0.0

    def validate(self) -> None:
        advice(self.function)

    def reward(self, transition: Transition) -> Array:
        action = transition.action.astype(jnp.float32)
        without = action.reshape(-1).at[self.agent - 1].set(self.default).reshape(action.shape)
        value = advice(self.function)
        return value(transition.obs, action) - value(transition.obs, without)


# ---- mistakes ---------------------------------------------------------------------------

MISTAKES = {
    "undiscounted": "Phi(next_obs) - Phi(obs) for an agent that discounts: staying where Phi is "
    "high pays (1 - gamma) Phi a step",
    "unended": "gamma Phi(next_obs) - Phi(obs) after a termination too: an end is paid gamma Phi",
    "clocked": "Phi is 0 after a truncation as well: what only the clock ended is judged as over",
    "gains": "max(0, gamma Phi(next_obs) - Phi(obs)): there and back again is paid every time",
}


@register("mistaken_potential", {"function": "norm", "mistake": "gains"})
class mistaken_potential(Pointwise):  # noqa: N801
    """NOT invariant: `potential` with one of the mistakes that change the task.

    To show what the parts of the true form are for: `undiscounted`, `unended`, `clocked`,
    `gains` (Randlov and Alstrom 1998, whose bicycle went in circles); `shaping.MISTAKES`
    says what each pays. `state_bonus` and `scheduled(...) * potential(...)` are two more.
    """

    function: str | Callable[[Array], Array] = static()
    mistake: Annotated[str, OneOf(tuple(MISTAKES))] = static(default="undiscounted")
    gamma: Discount = None

    def validate(self) -> None:
        lookup(self.function)

    def reward(self, transition: Transition) -> Array:
        phi = lookup(self.function)
        ended = transition.terminated
        if self.mistake == "unended":
            ended = jnp.zeros_like(ended)
        if self.mistake == "clocked":
            ended = transition.last
        after = jnp.where(ended, 0.0, phi(transition.next_obs))
        gamma = 1.0 if self.mistake == "undiscounted" else self.discount
        change = gamma * after - phi(transition.obs)
        return jnp.maximum(change, 0.0) if self.mistake == "gains" else change
