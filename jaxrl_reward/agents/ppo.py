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
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxrl_reward import distributions, envs, networks, rounding, settings
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents import actions, base, batching, evaluation, returns, rollout
from jaxrl_reward.agents import state as common
from jaxrl_reward.agents.shared_settings import ClippedAdam, PolicyGradient
from jaxrl_reward.settings import setting
from jaxrl_reward.types import Array, Mean, UserError


class Config(PolicyGradient, ClippedAdam):
    """PPO's settings. Floats are leaves: `vmap` over them to sweep."""

    num_envs: int = 16
    num_steps: int = setting(64, "steps of each in a block, T")
    epochs: int = setting(4, "passes over a block", low=1)
    minibatches: int = setting(4, "gradient steps of a pass; must divide N * T", low=1)
    hidden: tuple[int, ...] = setting(help="widths of the hidden layers of actor and critic")
    network: Literal["mlp", "gru"] = setting(
        "mlp",
        "`mlp`, or `gru`, which remembers the episode: the last hidden layer is then the "
        "memory, and minibatches are of whole environments",
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
        of_run=True,
    )

    def validate(self, owner: str) -> None:
        super().validate(owner)
        _check_divides(owner, self)
        _check_normalized(owner, self)


class State(common.State):
    """`params` are of `actor` and `critic`, and `log_std` where it is not an output.

    Adam's state, `opt_state`, is for the parameters as one vector. `memory` is
    the networks' own, leaves `[N, H]`, and nothing with `network="mlp"`.
    """

    memory: Any = ()


class Batch(NamedTuple):
    """What an update learns from, `[B, ...]`; `noise` is what made `raw`.

    `recalled` is what a GRU needs to begin: its memory before the block, and
    where it forgets.
    """

    inputs: Array
    raw: Array
    noise: Array
    log_prob: Array
    value: Array
    advantage: Array
    target: Array
    recalled: Any = ()


def make(config: Config, env: envs.Env, reward: rw.RewardTransform | None = None) -> base.Agent:
    """A PPO agent.

    Args:
      config: the settings.
      env: what it plays, with Discrete or Box actions.
      reward: what it learns from; the environment's own by default.

    Raises:
      UserError: a setting is out of range, the minibatches do not divide the
        block, or the environment or the reward is not for PPO.
    """
    check(config)
    reward = base.check_reward("ppo", config, env, reward)
    from jaxrl_reward.agents import ppo_recurrent  # which is made of what is below

    kind = ppo_recurrent.RecurrentPpo if config.network == "gru" else Ppo
    ppo = kind(config, reward, rollout.player("ppo", config, env, reward))
    functions = (ppo.init, ppo.iterate, ppo.act, ppo.evaluate)
    steps = config.num_envs * config.num_steps
    agent = base.Agent("ppo", config, env, reward, *functions, steps, spreads=True)
    return agent._replace(recall=ppo.acting) if config.network == "gru" else agent


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    settings.check("ppo", config)


def _check_divides(owner: str, config: Config) -> None:
    """Raises a `UserError` unless the minibatches divide the block, or a GRU's environments.

    The message names the nearest numbers of minibatches that do.
    """
    by_envs = config.network == "gru"
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
    wholes = config.num_envs if config.network == "gru" else config.num_envs * config.num_steps
    if not config.normalize_advantage or config.num_envs * config.num_steps > config.minibatches:
        return
    fewer = max((n for n in range(1, config.minibatches) if wholes % n == 0), default=0)
    fix = f"minibatches={fewer}" if fewer else "a larger num_envs or num_steps"
    raise UserError(
        f"{owner}'s minibatches={config.minibatches} leaves one step in each, whose advantage, "
        f"normalised, is always 0; use {fix}, or normalize_advantage=False"
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Ppo:
    """The functions of one agent; the numbers in `config` and `reward` are defaults."""

    config: Config
    reward: rw.RewardTransform
    player: rollout.Player

    # ---- the agent ----------------------------------------------------------------

    def init(self, key: Array, config: Config | None = None, reward: Any = None) -> State:
        """The state before the first iteration; the same key gives the same run.

        Raises:
          UserError: `config` or `reward` differs from the agent's in more than its
            numbers, or a number is out of range.
        """
        settings, reward = base.settle(self, check, config, reward)
        if settings.anneal:
            base.check_known("ppo", "anneal_steps", (config or self.config).anneal_steps)
        key, key_env, key_reward, key_actor, key_critic = jax.random.split(key, 5)
        inputs, begun = common.begin(self.player, settings, reward, key_env, key_reward)
        actor, critic = self.actor.init(key_actor, inputs), self.critic.init(key_critic, inputs)
        params = {"actor": actor, "critic": critic}
        if actions.free_std(self.dist):
            params["log_std"] = jnp.zeros(self.dist.param_size // 2)
        opt_state = _optimiser(settings, jnp.int32(0)).init(ravel_pytree(params)[0])
        begun["memory"] = self.memory(settings.num_envs)
        return State(params=params, opt_state=opt_state, key=key, **begun)

    def iterate(self, state: State) -> tuple[State, dict[str, Mean]]:
        """Plays a block, rewards it, learns from it; the metrics are of all three."""
        key, key_noise, key_env, key_update, key_learn = jax.random.split(state.key, 5)
        shape = (state.config.num_steps, state.config.num_envs)
        noise = self.dist.noise(key_noise, shape)
        env_state, reward_state, played = self.player.collect(
            state.reward,
            state.reward_state,
            state.env_state,
            rollout.Recurrent(self.acting(state).choose, state.memory),
            partial(self.judge, state),
            noise,
            jax.random.split(key_env, shape),
        )
        batch = self.batch(state, played, noise)
        params, opt_state, losses = self.update(state, key_update, batch)
        reward_state, learned = state.reward.learn(reward_state, key_learn, played.block)
        state, metrics = common.finish(state, played, env_state, reward_state, learned)
        metrics |= {name: Mean.of(values) for name, values in losses.items()}
        metrics["explained_variance"] = Mean.of(returns.explained(batch.target, batch.value))
        learned = {"params": params, "opt_state": opt_state, "memory": played.memory}
        return state.replace(key=key, **learned), metrics

    def act(self, state: State, inputs: Array, key: Array | None = None) -> Array:
        """Actions `[N, ...]` for inputs `[N, ...]`; the likeliest without a key."""
        inputs = rollout.flatten(inputs, 1)
        noise = None if key is None else self.dist.noise(key, inputs.shape[:1])
        choose, memory = self.acting(state, inputs.shape[0])
        return choose(memory, inputs, jnp.ones(inputs.shape[0], bool), noise)[1]

    def evaluate(self, state: State, key: Array, num_episodes: int) -> tuple[Array, Array]:
        """Greedy returns `[E]` of the environment's own reward, and lengths `[E]`."""
        choose, judge = self.acting(state, num_episodes), partial(self.judge, state)
        return evaluation.evaluate(self.player, state, key, num_episodes, choose, judge)

    # ---- the policy and the value -------------------------------------------------

    @cached_property
    def dist(self) -> distributions.Distribution:
        """The distribution of actions, before they are stretched to their bounds."""
        return actions.distribution(self.player.env.action_space, self.config.distribution)

    @cached_property
    def actor(self) -> networks.Network:
        sizes = (*self.config.hidden, actions.out_size(self.dist))
        return networks.mlp(sizes, self.config.activation, 0.01)

    @cached_property
    def critic(self) -> networks.Network:
        return networks.mlp((*self.config.hidden, 1), self.config.activation)

    def policy(self, params: dict[str, Any], inputs: Array) -> Array:
        """The distribution's parameters, from normalised inputs, `[..., param_size]`."""
        return actions.with_std(self.dist, params, self.actor.apply(params["actor"], inputs))

    def value(self, params: dict[str, Any], inputs: Array) -> Array:
        """The expected discounted reward, from normalised inputs, `[...]`."""
        return self.critic.apply(params["critic"], inputs)[..., 0]

    def memory(self, num: int) -> Any:
        """What the networks remember at the start of `num` episodes, leaves `[num, H]`."""
        del num
        return ()

    def acting(self, state: State, num: int = 0) -> rollout.Recurrent:
        """How to act, with the memory of `num` episodes that begin."""
        return rollout.recurrent(partial(self.choose, state))._replace(memory=self.memory(num))

    def choose(self, state: State, inputs: Array, noise: Array | None) -> Any:
        """Actions, and with them the draws and what they are drawn from."""
        params = self.policy(state.params, common.normalize(state, inputs))
        action, raw = actions.draw(self.player.env.action_space, self.dist, params, noise)
        return action, (raw, params)

    def judge(self, state: State, inputs: Array, extra: Any) -> dict[str, Array]:
        """What the agent knows of its choices, for rewards that read it."""
        raw, params = extra
        return {
            "log_prob": self.dist.log_prob(params, raw),
            "entropy": self.dist.entropy(params, raw),
            "value": self.value(state.params, common.normalize(state, inputs)),
        }

    # ---- learning -----------------------------------------------------------------

    def batch(self, state: State, played: rollout.Rollout, noise: Array) -> Batch:
        """Advantages and targets of a block, as rows: `[T * N, ...]` but for a GRU."""
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
        inputs, raw = common.normalize(state, played.inputs), played.extra[0]
        log_prob, value = known["log_prob"], known["value"]
        batch = Batch(inputs, raw, noise, log_prob, value, advantage, target)
        return self.rows(state, played, batch)

    def next_value(self, state: State, played: rollout.Rollout) -> Array:
        """The value of each step's true successor, `[T, N]`."""

        def value_of(inputs: Array) -> Array:
            return self.value(state.params, common.normalize(state, inputs))

        return batching.by_steps(value_of, played.next_inputs)

    def rows(self, state: State, played: rollout.Rollout, batch: Batch) -> Batch:
        """A block `[T, N, ...]` as the rows of which minibatches are made."""
        del state, played
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)

    def replay(self, params: dict[str, Any], batch: Batch) -> tuple[Array, Array]:
        """The policy's distribution and the value at the rows of a minibatch."""
        return self.policy(params, batch.inputs), self.value(params, batch.inputs)

    def update(self, state: State, key: Array, batch: Batch) -> tuple[Any, Any, dict[str, Array]]:
        """`epochs` passes: parameters, optimiser state, and losses `[E * M]`."""
        config = state.config
        optimiser = _optimiser(config, state.iteration)
        # Adam on one vector is a few large operations instead of some for each layer.
        vector, tree_of = ravel_pytree(state.params)
        keys = jax.random.split(key, config.epochs)
        orders = jax.vmap(lambda key: rollout.shuffle(key, batch.value.shape[0]))(keys)

        def minibatch_step(carry: tuple[Array, Any], rows: Array) -> Any:
            vector, opt_state = carry
            fair = self.standardize(config, batch, rows)
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
        some = batch.advantage[rows]
        scaled = (batch.advantage - some.mean()) / (some.std() + 1e-8)
        return batch._replace(advantage=jnp.where(rounding.varies(some), scaled, 0.0))

    def loss(self, config: Config, params: Any, batch: Batch) -> tuple[Array, dict[str, Array]]:
        """Equation 9 of Schulman et al. (2017), to be minimised, and what to log."""
        policy, value = self.replay(params, batch)
        log_ratio = self.dist.log_prob(policy, batch.raw) - batch.log_prob
        ratio = jnp.exp(log_ratio)
        clipped = jnp.clip(ratio, 1.0 - config.clip, 1.0 + config.clip)
        policy_loss = -jnp.minimum(ratio * batch.advantage, clipped * batch.advantage).mean()
        error = jnp.square(value - batch.target)
        if config.clip_value:
            near = batch.value + jnp.clip(value - batch.value, -config.clip, config.clip)
            error = jnp.maximum(error, jnp.square(near - batch.target))
        value_loss = 0.5 * error.mean()
        # A draw from the new policy by the old noise: a squashed normal has no
        # closed form of the entropy, and estimates it from a draw.
        entropy = self.dist.entropy(policy, self.dist.sample(policy, batch.noise)).mean()
        loss = policy_loss + config.value_coef * value_loss - config.entropy_coef * entropy
        metrics = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            # Schulman's low-variance estimator, joschu.net/blog/kl-approx.html.
            "approx_kl": (ratio - 1.0 - log_ratio).mean(),
            # Of those whose bound binds: a ratio beyond the other one keeps its slope.
            "clip_fraction": ((ratio - 1.0) * jnp.sign(batch.advantage) > config.clip).mean(),
        }
        return loss, metrics


def _optimiser(config: Config, iteration: Array) -> optax.GradientTransformation:
    """Adam with the traced numbers of `config`: another value compiles nothing."""
    rate = config.learning_rate
    if config.anneal:
        steps = iteration.astype(jnp.float32) * config.num_envs * config.num_steps
        rate = rate * jnp.maximum(1.0 - steps / config.anneal_steps, 0.0)
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.adam(rate, eps=1e-5))
