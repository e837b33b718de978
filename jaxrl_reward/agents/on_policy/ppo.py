"""Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347).

With generalised advantage estimation (Schulman et al. 2016) and those of "The
37 Implementation Details of PPO" (Huang et al. 2022) that `Config` names. An
episode that a time limit cuts is bootstrapped from the value of its true
successor (Pardo et al. 2018).

One `iterate` plays `num_steps` steps of `num_envs` environments, rewards the
block, and takes `epochs * minibatches` Adam steps on it.
"""

import dataclasses
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxrl_reward import envs, rounding, settings
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import actions, base, batching, returns, rollout
from jaxrl_reward.agents.common.shared_settings import ClippedAdam, PolicyGradient
from jaxrl_reward.agents.shells import on_policy
from jaxrl_reward.agents.shells.on_policy import State
from jaxrl_reward.envs import masks
from jaxrl_reward.nn import distributions, kinds, sequential
from jaxrl_reward.settings import setting
from jaxrl_reward.types import Array, Mean, UserError

__all__ = ["Config", "State", "check", "make"]


class Config(PolicyGradient, ClippedAdam):
    """PPO's settings. Floats are leaves: `vmap` over them to sweep."""

    num_envs: int = 16
    num_steps: int = setting(
        64,
        "steps of each in a block, T; for a reward that needs whole episodes the time limit",
    )
    epochs: int = setting(4, "passes over a block", low=1)
    minibatches: int = setting(4, "gradient steps of a pass; must divide N * T", low=1)
    hidden: tuple[int, ...] = setting(help="widths of the hidden layers of actor and critic")
    network: Any = setting(
        help="what sees the observation, before the hidden layers: nothing (`mlp`), a convolution "
        "(`cnn`), an encoder for each of its parts (`parts`), `auto`, which is `cnn` for "
        "observations [H, W, C] and `parts` with such a part, or one's own, see `nn.own`; "
        "`gru`, which remembers the episode: the last hidden layer is then the memory, and "
        "minibatches are of whole environments; or `shared`, one policy for agents alike, each "
        "by its own part, and a critic of all",
        choices=kinds.TABLE,
    )
    normalize_advantage: bool = setting(
        True, "within each minibatch, which must then hold two steps"
    )
    clip_value: bool = setting(False, "clip the change of the value as that of the policy")
    anneal: bool = setting(False, "decay the learning rate to zero over `anneal_steps`")
    gae_lambda: float = setting(0.95, "decay of the advantage estimator", low=0.0, high=1.0)
    clip: float = setting(
        0.2, "the policy's probability ratio gains nothing beyond 1 -+ clip", low=0.0
    )
    entropy_coef: float = 0.01
    value_coef: float = setting(0.5, "weight of half the squared value error", low=0.0)
    max_grad_norm: float = 0.5
    anneal_steps: float = setting(
        settings.RUN,
        "environment steps until the learning rate is zero; -1 is the length of the run",
        low=1.0,
        of_run="anneal",
    )

    def validate(self, owner: str) -> None:
        super().validate(owner)
        _check_divides(owner, self)
        _check_normalized(owner, self)


class Choice(NamedTuple):
    """What is kept of a choice, `[..., ...]`: the draw, what it was drawn from, and the critic's
    memory after the step, with what of its value had to be computed on the way."""

    raw: Array
    policy: Array
    memory: Any
    followed: Any


class Batch(NamedTuple):
    """What an update learns from, `[B, ...]`; `noise` is what made `raw`.

    `context` is what a network with a memory needs to begin, see `sequential`; `weight`, where
    some rows do not count, is 0 for those and alike for the others, 1 on average.
    """

    inputs: Array
    raw: Array
    noise: Array
    log_prob: Array
    value: Array
    advantage: Array
    target: Array
    context: Any = ()
    weight: Any = ()

    def mean(self, values: Array) -> Array:
        """Over the rows that count."""
        return (values if isinstance(self.weight, tuple) else values * self.weight).mean()


def make(config: Config, env: envs.Env, reward: rw.RewardTransform | None = None) -> base.Agent:
    """A PPO agent.

    Args:
      config: the settings.
      env: what it plays, with Discrete, MultiDiscrete or Box actions.
      reward: what it learns from; the environment's own by default.

    Raises:
      UserError: a setting is out of range, the minibatches do not divide the
        block, or the environment or the reward is not for PPO.
    """
    return on_policy.make("ppo", config, env, reward, Learner, check)


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    settings.check("ppo", config)


def _check_divides(owner: str, config: Config) -> None:
    """Raises a `UserError` unless the minibatches divide the block, or a GRU's environments.

    The message names the nearest numbers of minibatches that do.
    """
    by_envs = config.network == kinds.GRU
    batch, parts = config.num_envs * (1 if by_envs else config.num_steps), config.minibatches
    if batch % parts == 0:
        return
    below = max(n for n in range(1, min(parts, batch) + 1) if batch % n == 0)
    above = next((n for n in range(parts, batch + 1) if batch % n == 0), None)
    fix = f"{below}" if above is None else f"{below} or {above}"
    what = f"a batch of {batch} steps (num_envs={config.num_envs} x num_steps={config.num_steps})"
    if by_envs:
        what = f"num_envs={batch}, of which a recurrent network learns as wholes"
    raise UserError(f"{owner}'s minibatches={parts} does not divide {what}; use {fix}")


def _check_normalized(owner: str, config: Config) -> None:
    """Raises a `UserError` where a minibatch holds one advantage, which normalised is always 0."""
    wholes = config.num_envs if config.network == kinds.GRU else config.num_envs * config.num_steps
    if not config.normalize_advantage or config.num_envs * config.num_steps > config.minibatches:
        return
    fewer = max((n for n in range(1, config.minibatches) if wholes % n == 0), default=0)
    fix = f"minibatches={fewer}" if fewer else "a larger num_envs or num_steps"
    raise UserError(
        f"{owner}'s minibatches={config.minibatches} leaves one step in each, whose advantage, "
        f"normalised, is always 0; use {fix}, or normalize_advantage=False"
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Learner(on_policy.Learner):
    """An actor and a critic; `params` have `log_std` where that is not an output.

    Adam's state is for the parameters as one vector.
    """

    init_keys = 2
    whole_episodes = "asked"

    def check_start(self, config: Config) -> None:
        if config.anneal:
            base.check_known("ppo", "anneal_steps", config.anneal_steps)

    def init(
        self, config: Config, inputs: Array, key_actor: Array, key_critic: Array
    ) -> tuple[Any, Any]:
        params = {
            "actor": self.actor.init(key_actor, inputs),
            "critic": self.critic.init(key_critic, inputs),
        }
        if actions.free_std(self.dist):
            params["log_std"] = jnp.zeros(self.dist.param_size // 2)
        return params, _optimiser(config, jnp.int32(0)).init(ravel_pytree(params)[0])

    # ---- the policy and the value -------------------------------------------------

    @cached_property
    def dist(self) -> distributions.Distribution:
        """The distribution of actions, before they are stretched to their bounds."""
        return actions.distribution(self.space, self.config.distribution)

    @cached_property
    def actor(self) -> Any:
        sizes = (*self.config.hidden, actions.out_size(self.dist))
        return self.sequence(sizes, 0.01, agents=len(masks.choices(self.space)))

    @cached_property
    def critic(self) -> Any:
        return self.sequence((*self.config.hidden, 1))

    def sequence(self, sizes: tuple[int, ...], final_scale: float = 1.0, agents: int = 0) -> Any:
        """A network along episodes, for all agents, or `shared` by so many."""
        config = self.config
        made = (sizes, config.activation, final_scale)
        seen = {"shape": self.obs_shape, "layout": self.layout, "agents": agents}
        return sequential.make(config.network, *made, **seen)

    def policy(self, params: dict[str, Any], out: Array, inputs: Array) -> Array:
        """The distribution's parameters, `[..., param_size]`, from the actor's output."""
        return actions.allow(actions.with_std(self.dist, params, out), self.allowed(inputs))

    def start(self, num: int) -> dict[str, Any]:
        return {"actor": self.actor.start(num), "critic": self.critic.start(num)}

    def noise(self, state: Any, key: Array, shape: tuple[int, ...]) -> Array:
        return self.dist.noise(key, shape)

    def act(
        self, state: Any, memory: Any, inputs: Array, first: Array, noise: Array | None
    ) -> tuple[Any, Array, Choice]:
        params, inputs = state.params, self.normalize(state, inputs)
        follow = {
            name: getattr(self, name).follow(params[name], memory[name], inputs, first)
            for name in ("actor", "critic")
        }
        memory = {name: each[0] for name, each in follow.items()}
        out = self.actor.output(params["actor"], follow["actor"][1], inputs)
        policy = self.policy(params, out, inputs)
        action, raw = actions.draw(self.space, self.dist, policy, noise)
        return memory, action, Choice(raw, policy, *follow["critic"])

    def policy_info(self, state: Any, inputs: Array, extra: Choice) -> dict[str, Array]:
        inputs, critic = self.normalize(state, inputs), state.params["critic"]
        return {
            "log_prob": self.dist.log_prob(extra.policy, extra.raw),
            "entropy": self.dist.entropy(extra.policy, extra.raw),
            "value": self.critic.output(critic, extra.followed, inputs)[..., 0],
        }

    # ---- learning -----------------------------------------------------------------

    def update(
        self, state: Any, played: rollout.Rollout, noise: Any, *keys: Array
    ) -> tuple[Any, Any, dict[str, Mean]]:
        batch = self.batch(state, played, noise)
        params, opt_state, losses = self.optimise(state, batch, *keys)
        metrics = {name: Mean.of(values) for name, values in losses.items()}
        some = None if played.alive is None else batch.weight
        metrics["explained_variance"] = Mean.of(returns.explained(batch.target, batch.value, some))
        return params, opt_state, metrics

    def batch(self, state: Any, played: rollout.Rollout, noise: Array) -> Batch:
        """Advantages and targets of a block, as rows: steps, or environments for a GRU."""
        block, known = played.block, played.block.policy
        advantage, target = returns.gae(
            block.reward,
            known["value"],
            self.next_value(state, played),
            block.terminated,
            block.truncated,
            state.config.gamma,
            state.config.gae_lambda,
        )
        inputs, raw = self.normalize(state, played.inputs), played.extra.raw
        log_prob, value = known["log_prob"], known["value"]
        batch = Batch(inputs, raw, noise, log_prob, value, advantage, target)
        if played.alive is not None:
            batch = batch._replace(weight=played.alive.astype(jnp.float32))
        memory, first = state.memory, block.first
        context = {
            "actor": self.actor.context(memory["actor"], first),
            "critic": self.critic.context(memory["critic"], first),
        }
        return self.actor.rows(batch)._replace(context=context)

    def next_value(self, state: Any, played: rollout.Rollout) -> Array:
        """The value of each step's true successor, `[T, N]`.

        From the critic's memory after the step: that of the next row may be another
        episode's.
        """

        def value_of(inputs: Array, memory: Any) -> Array:
            inputs = self.normalize(state, inputs)
            return self.critic.after(state.params["critic"], memory, inputs)[..., 0]

        return batching.by_steps(value_of, played.next_inputs, played.extra.memory)

    def replay(self, params: dict[str, Any], batch: Batch) -> tuple[Array, Array]:
        """The policy's distribution and the value at the rows of a minibatch."""
        out, value = (
            getattr(self, name).replay(params[name], batch.context[name], batch.inputs)
            for name in ("actor", "critic")
        )
        return self.policy(params, out, batch.inputs), value[..., 0]

    def optimise(self, state: Any, batch: Batch, key: Array) -> tuple[Any, Any, dict[str, Array]]:
        """`epochs` passes: parameters, optimiser state, and losses `[E * M]`."""
        config = state.config
        optimiser = _optimiser(config, state.iteration)
        # Adam on one vector is a few large operations instead of some for each layer.
        vector, tree_of = ravel_pytree(state.params)
        keys = jax.random.split(key, config.epochs)
        orders = jax.vmap(lambda key: rollout.shuffle(key, batch.value.shape[0]))(keys)

        def minibatch_step(carry: tuple[Array, Any], rows: Array) -> Any:
            vector, opt_state = carry
            fair = self.standardize(config, weighed(batch, rows), rows)
            loss = partial(self.loss, config)
            gradient, metrics = batching.mean_gradient(loss, tree_of(vector), fair, rows)
            change, opt_state = optimiser.update(ravel_pytree(gradient)[0], opt_state)
            return (optax.apply_updates(vector, change), opt_state), metrics

        rows = orders.reshape(config.epochs * config.minibatches, -1)
        (vector, opt_state), metrics = jax.lax.scan(minibatch_step, (vector, state.opt_state), rows)
        return tree_of(vector), opt_state, metrics

    def standardize(self, config: Config, batch: Batch, rows: Array) -> Batch:
        """The batch with advantages of mean 0 and deviation 1 over a minibatch's rows.

        They are 0 where only rounding tells them apart.
        """
        if not config.normalize_advantage:
            return batch
        some, where = batch.advantage[rows], None
        if not isinstance(batch.weight, tuple):
            where = batch.weight[rows] > 0.0
            some = jnp.where(where, some, jnp.mean(some, where=where))
        middle, spread = jnp.mean(some, where=where), jnp.std(some, where=where)
        scaled = (batch.advantage - middle) / (spread + 1e-8)
        return batch._replace(advantage=jnp.where(rounding.varies(some), scaled, 0.0))

    def loss(self, config: Config, params: Any, batch: Batch) -> tuple[Array, dict[str, Array]]:
        """Equation 9 of Schulman et al. (2017), to be minimised, and what to log."""
        policy, value = self.replay(params, batch)
        log_ratio = self.dist.log_prob(policy, batch.raw) - batch.log_prob
        if not isinstance(batch.weight, tuple):  # what does not count may be out of range
            log_ratio = jnp.where(batch.weight > 0.0, log_ratio, 0.0)
        ratio = jnp.exp(log_ratio)
        clipped = jnp.clip(ratio, 1.0 - config.clip, 1.0 + config.clip)
        gain = jnp.minimum(ratio * batch.advantage, clipped * batch.advantage)
        policy_loss = -batch.mean(gain)
        error = jnp.square(value - batch.target)
        if config.clip_value:
            near = batch.value + jnp.clip(value - batch.value, -config.clip, config.clip)
            error = jnp.maximum(error, jnp.square(near - batch.target))
        value_loss = 0.5 * batch.mean(error)
        # A draw from the new policy by the old noise: a squashed normal has no
        # closed form of the entropy, and estimates it from a draw.
        entropy = batch.mean(self.dist.entropy(policy, self.dist.sample(policy, batch.noise)))
        loss = policy_loss + config.value_coef * value_loss - config.entropy_coef * entropy
        metrics = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            # Schulman's low-variance estimator, joschu.net/blog/kl-approx.html.
            "approx_kl": batch.mean(ratio - 1.0 - log_ratio),
            # Of those whose bound binds: a ratio beyond the other one keeps its slope.
            "clip_fraction": batch.mean((ratio - 1.0) * jnp.sign(batch.advantage) > config.clip),
        }
        return loss, metrics


def weighed(batch: Batch, rows: Array) -> Batch:
    """The batch with weights that are 1 on average in a minibatch.

    So means over parts of it, however many rows count in each, add up to that of all.
    """
    if isinstance(batch.weight, tuple):
        return batch
    share = batch.weight[rows].mean()
    return batch._replace(weight=batch.weight / jnp.where(share > 0.0, share, 1.0))


def _optimiser(config: Config, iteration: Array) -> optax.GradientTransformation:
    """Adam with the traced numbers of `config`: another value compiles nothing."""
    rate = config.learning_rate
    if config.anneal:
        steps = iteration.astype(jnp.float32) * config.num_envs * config.num_steps
        rate = rate * jnp.maximum(1.0 - steps / config.anneal_steps, 0.0)
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.adam(rate, eps=1e-5))
