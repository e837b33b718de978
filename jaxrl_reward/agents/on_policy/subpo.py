"""SubPO: the policy gradient of a set function (Prajapat et al. 2024, arXiv:2307.13372).

The value F of a trajectory telescopes into the marginal gains of its steps, so
REINFORCE (Williams 1992) with the sum of the gains to come, less a baseline,
follows the gradient of E F. The gains are an ordinary reward here,
`marginal_gain(...)`, and on any other this is REINFORCE on whole episodes.

One `iterate` plays one episode in each of `num_envs` environments and takes one
Adam step. `placement="step"` shows the policy which elements it has (SubPO-NM),
`"block"` does not (SubPO-M); with `modular(...)` as the reward it is ModPO.
"""

import dataclasses
from functools import cached_property, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxrl_reward import envs, settings
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import actions, base, batching, returns, rollout
from jaxrl_reward.agents.common.shared_settings import PolicyGradient
from jaxrl_reward.agents.shells import on_policy
from jaxrl_reward.agents.shells.on_policy import State
from jaxrl_reward.nn import distributions, networks
from jaxrl_reward.settings import setting
from jaxrl_reward.types import Array, Mean, UserError

__all__ = ["Config", "State", "check", "make"]


class Config(PolicyGradient):
    """SubPO's settings. Floats are leaves: `vmap` over them to sweep."""

    num_envs: int = setting(64, "environments played side by side, N: the episodes of a step")
    num_steps: int = setting(
        0,
        "the length of an episode at most, T; 0 is the environment's time limit. What comes "
        "after is not learned from",
        low=0,
    )
    hidden: tuple[int, ...] = (64, 32)
    credit: Literal["to_go", "immediate", "cumulative", "full"] = setting(
        "to_go",
        "what weighs an action: the rewards `to_go` (the paper's), the `immediate` one, "
        "`cumulative` up to it (the authors' program, whose expectation is that of "
        "`immediate`), or the `full` return",
    )
    baseline: Literal["mean", "none"] = setting(
        "mean", "`mean`, what the other episodes have at the same step, or `none`"
    )
    greedy: bool = setting(True, "evaluate the likeliest actions, else drawn ones")
    learning_rate: float = 5e-3
    gamma: float = setting(1.0, "discount per step; the set function's value has none")


class Batch(NamedTuple):
    """What a step learns from, `[B, ...]`; `noise` is what made `raw`.

    Rows after the end of an episode have a `weight` and an `alive` of 0.
    """

    inputs: Array
    raw: Array
    noise: Array
    weight: Array
    alive: Array


def make(config: Config, env: envs.Env, reward: rw.RewardTransform | None = None) -> base.Agent:
    """A SubPO agent.

    Args:
      config: the settings.
      env: what it plays, with Discrete, MultiDiscrete or Box actions.
      reward: what it learns from; the environment's own by default.

    Raises:
      UserError: a setting is out of range, or the environment or the reward is
        not for SubPO.
    """
    check(config)
    env = envs.given(env)
    if config.num_steps == 0:
        if env.max_steps is None:
            raise UserError(f"subpo plays whole episodes, and {env.name} never ends: set num_steps")
        config = config.replace(num_steps=int(env.max_steps))
    return on_policy.make("subpo", config, env, reward, Learner, check)


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    settings.check("subpo", config)


# ---- the estimator ----------------------------------------------------------------


def credit(kind: str, reward: Array, alive: Array, gamma: float | Array) -> Array:
    """What weighs the log-probability of each action, before the baseline.

    Args:
      kind: a choice of the setting `credit`.
      reward: `[T, N]`.
      alive: the steps of one episode a column, from the top, `[T, N]` bool.
      gamma: discount, a scalar.

    Returns:
      `[T, N]`: `sum_{j >= t} gamma^{j - t} r_j` for `to_go`.
    """
    reward = jnp.where(alive, reward, 0.0)
    no = jnp.zeros_like(alive)
    to_go = returns.discounted_returns(reward, jnp.zeros_like(reward), no, no, gamma)
    if kind == "to_go":
        return to_go
    if kind == "immediate":
        return reward
    if kind == "full":
        return jnp.broadcast_to(to_go[:1], reward.shape)
    return jnp.cumsum(reward, axis=0)


def without_baseline(kind: str, weight: Array, alive: Array) -> Array:
    """The credit less its baseline, `[T, N]`; 0 where not `alive`.

    `mean` is that of the *other* episodes at the same step: an episode's own
    credit in its baseline would shrink the gradient by 1 - 1/N.
    """
    weight = jnp.where(alive, weight, 0.0)
    if kind == "none":
        return weight
    count = alive.sum(axis=1, keepdims=True, dtype=jnp.float32)
    others = (weight.sum(axis=1, keepdims=True) - weight) / jnp.maximum(count - 1.0, 1.0)
    return jnp.where(alive, weight - others, 0.0)


# ---- the agent --------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Learner(on_policy.Learner):
    """An actor; `params` have `log_std` where that is not an output.

    Adam's state is for the parameters as one vector.
    """

    update_keys = 0
    whole_episodes = "always"

    def init(self, config: Config, inputs: Array, key: Array) -> tuple[Any, Any]:
        params = {"actor": self.actor.init(key, inputs)}
        if actions.free_std(self.dist):
            params["log_std"] = jnp.zeros(self.dist.param_size // 2)
        return params, optax.adam(config.learning_rate).init(ravel_pytree(params)[0])

    # ---- the policy ---------------------------------------------------------------

    @cached_property
    def dist(self) -> distributions.Distribution:
        """The distribution of actions, before they are stretched to their bounds."""
        return actions.distribution(self.space, self.config.distribution)

    @cached_property
    def actor(self) -> networks.Network:
        return self.dense((*self.config.hidden, actions.out_size(self.dist)), 0.01)

    def policy(self, params: dict[str, Any], inputs: Array) -> Array:
        """The distribution's parameters, from normalised inputs, `[..., param_size]`."""
        policy = actions.with_std(self.dist, params, self.actor.apply(params["actor"], inputs))
        return actions.allow(policy, self.allowed(inputs))

    def noise(self, state: Any, key: Array, shape: tuple[int, ...]) -> Array:
        return self.dist.noise(key, shape)

    def act(
        self, state: Any, memory: Any, inputs: Array, first: Array, noise: Array | None
    ) -> tuple[Any, Array, tuple[Array, Array]]:
        """Actions, and with them the draws and what they are drawn from."""
        params = self.policy(state.params, self.normalize(state, inputs))
        action, raw = actions.draw(self.space, self.dist, params, noise)
        return memory, action, (raw, params)

    def policy_info(self, state: Any, inputs: Array, extra: Any) -> dict[str, Array]:
        """It has no value."""
        raw, params = extra
        return {
            "log_prob": self.dist.log_prob(params, raw),
            "entropy": self.dist.entropy(params, raw),
            "value": jnp.zeros(inputs.shape[:-1]),
        }

    # ---- learning -----------------------------------------------------------------

    def update(
        self, state: Any, played: rollout.Rollout, noise: Array
    ) -> tuple[Any, Any, dict[str, Mean]]:
        """One Adam step on all of the block."""
        batch, block = self.batch(state, played, noise), played.block
        rows = jnp.arange(batch.weight.shape[0])
        loss = partial(self.loss, state.config)
        gradient, losses = batching.mean_gradient(loss, state.params, batch, rows)
        vector, tree_of = ravel_pytree(state.params)
        optimiser = optax.adam(state.config.learning_rate)
        change, opt_state = optimiser.update(ravel_pytree(gradient)[0], state.opt_state)
        moved: Any = optax.apply_updates(vector, change)
        metrics = {name: Mean.of(value) for name, value in losses.items()}
        alive = batch.alive.reshape(block.reward.shape) > 0.0
        metrics["entropy"] = Mean.of(block.policy["entropy"], where=alive)
        value = jnp.where(alive, block.reward, 0.0).sum(0)
        metrics["best_reward"] = Mean.of(value.max())
        return tree_of(moved), opt_state, metrics

    def batch(self, state: Any, played: rollout.Rollout, noise: Array) -> Batch:
        """The weights of a block's actions, as a batch `[T * N, ...]`."""
        config, block = state.config, played.block
        alive = rollout.first_episode(block.last)
        weight = credit(config.credit, block.reward, alive, config.gamma)
        weight = without_baseline(config.baseline, weight, alive)
        inputs, alive = self.normalize(state, played.inputs), alive.astype(jnp.float32)
        batch = Batch(inputs, played.extra[0], noise, weight, alive)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)

    def loss(self, config: Config, params: Any, batch: Batch) -> tuple[Array, dict[str, Array]]:
        """Minus what has the estimator as its gradient, over all rows; and what to log."""
        policy = self.policy(params, batch.inputs)
        policy_loss = -(self.dist.log_prob(policy, batch.raw) * batch.weight).mean()
        # Of a squashed normal it is estimated from a draw, as in PPO.
        entropy = self.dist.entropy(policy, self.dist.sample(policy, batch.noise))
        loss = policy_loss - config.entropy_coef * (entropy * batch.alive).mean()
        return loss, {"policy_loss": policy_loss}
