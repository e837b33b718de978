"""Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905), and kin.

With continuous actions a tanh-normal policy; with discrete ones the
expectations over actions are sums (Christodoulou 2019, arXiv:1910.07207). With
`critics` above `subset` the target is the minimum over a random subset of them,
and the policy climbs the mean of all (REDQ: Chen et al. 2021, arXiv:2101.05982).

One `iterate` plays `num_steps` steps of `num_envs` environments, stores them,
and takes `updates` gradient steps on batches from the store. What a reward
remembers of an episode is recorded as it is played; all else is computed anew,
with what the reward has learned since, whenever a step is drawn. A time limit
ends no value.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import struct
from gymnax.environments import spaces

from jaxrl_reward import distributions, envs, networks, running_statistics
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents import base, replay, rollout
from jaxrl_reward.envs.vector import any_anywhere
from jaxrl_reward.types import Array, Mean, UserError

LOSSES = ("q_loss", "q_mean", "actor_loss", "entropy", "temperature")


def _static(default: Any) -> Any:
    return struct.field(pytree_node=False, default=default)


class Config(struct.PyTreeNode):
    """SAC's settings. Floats are leaves: `vmap` over them to sweep.

    Attributes:
      num_envs: environments played side by side, N.
      num_steps: steps of each before the updates, T.
      updates: gradient steps of the critics after every N * T steps.
      policy_delay: gradient steps of the critics for one of the policy and the
        temperature; must divide `updates`.
      batch_size: steps of a batch.
      buffer_size: steps to keep; the oldest are overwritten.
      learning_starts: steps of random actions before the first update.
      n_step: rewards before the value in a target, within an episode.
      critics: how many.
      subset: of how many, drawn anew for each update, a target is the minimum.
      hidden: widths of the hidden layers of actor and critics.
      activation: between layers, a name that `networks` knows.
      layer_norm: normalise the hidden layers of the critics.
      tune_temperature: towards the target entropy; else it is `temperature`.
      placement: `block`, the policy is blind to the reward's memory, or
        `step`, it sees it.
      normalize_obs: by the mean and variance of what the policy saw so far.
      reset: `fresh` or `cached` initial states, see `envs.vectorize`.
      learning_rate: Adam's, of the policy and the temperature.
      critic_learning_rate: Adam's, of the critics.
      gamma: discount per step.
      target_rate: how far the target critics follow at each update.
      temperature: weight of the entropy, per nat; where it is tuned, at first.
      target_entropy_scale: of the customary one, which is minus the number of
        action dimensions, or 0.98 of the most there is for discrete actions.
    """

    num_envs: int = _static(1)
    num_steps: int = _static(1)
    updates: int = _static(1)
    policy_delay: int = _static(1)
    batch_size: int = _static(256)
    buffer_size: int = _static(100_000)
    learning_starts: int = _static(1_000)
    n_step: int = _static(1)
    critics: int = _static(2)
    subset: int = _static(2)
    hidden: tuple[int, ...] = _static((128, 128))
    activation: str = _static("relu")
    layer_norm: bool = _static(False)
    tune_temperature: bool = _static(True)
    placement: Literal["block", "step"] = _static("block")
    normalize_obs: bool = _static(False)
    reset: Literal["fresh", "cached"] = _static("fresh")
    learning_rate: float = 3e-4
    critic_learning_rate: float = 1e-3
    gamma: float = 0.99
    target_rate: float = 0.005
    temperature: float = 1.0
    target_entropy_scale: float = 1.0


class State(struct.PyTreeNode):
    """All that changes, and the numbers that may differ between runs.

    Attributes:
      config: the settings, their leaves float32 arrays.
      reward: the reward expression, likewise.
      params: of `actor`, `critic` and `target` (`[critics, ...]`), and
        `log_temperature`.
      opt_state: Adam's, of `actor`, `critic` and `temperature`.
      env_state: the environments'.
      reward_state: the reward's.
      replay: the stored steps.
      obs_stats: mean and variance of the policy's inputs.
      episode_reward: transformed reward of the running episodes so far, `[N]`.
      key: for all that is random from here on.
      iteration: how many are over, int32.
    """

    config: Config
    reward: Any
    params: dict[str, Any]
    opt_state: dict[str, Any]
    env_state: Any
    reward_state: Any
    replay: Any
    obs_stats: Any
    episode_reward: Array
    key: Array
    iteration: Array


def make(config: Config, env: envs.Env, reward: rw.RewardTransform | None = None) -> base.Agent:
    """A SAC agent.

    Args:
      config: the settings.
      env: what it plays, with Discrete or Box actions; actions without bounds
        are kept within -1 and 1.
      reward: what it learns from; the environment's own by default.

    Raises:
      UserError: a setting is out of range or does not fit another, or the
        environment or the reward is not for SAC.
    """
    check(config)
    reward = rw.env() if reward is None else reward
    player = rollout.player("sac", config, env, reward)
    sac = _Sac(config, reward, player, replay.recorder("sac", player, reward))
    functions = (sac.init, sac.iterate, sac.act, sac.evaluate)
    return base.Agent("sac", config, env, reward, *functions, config.num_envs * config.num_steps)


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    positive = ("num_envs", "num_steps", "updates", "policy_delay", "batch_size", "buffer_size")
    for name in (*positive, "n_step", "critics", "subset"):
        base.check_positive("sac", name, getattr(config, name))
    for width in config.hidden:
        base.check_positive("sac", "hidden", width)
    if config.updates % config.policy_delay:
        raise UserError(
            f"sac's policy_delay={config.policy_delay} must divide updates={config.updates}"
        )
    if config.subset > config.critics:
        raise UserError(f"sac's subset={config.subset} must not exceed critics={config.critics}")
    room = replay.rows("sac", *_sizes(config)) * config.num_envs
    base.check_range("sac", "learning_starts", config.learning_starts, 0, room)
    choices = {"activation": networks.ACTIVATIONS}
    choices |= {"placement": rollout.PLACEMENTS, "reset": rollout.RESETS}
    for name, known in choices.items():
        base.check_choice("sac", name, getattr(config, name), known)
    for name in ("learning_rate", "critic_learning_rate", "temperature"):
        base.check_range("sac", name, getattr(config, name), 0.0)
    for name in ("gamma", "target_rate"):
        base.check_range("sac", name, getattr(config, name), 0.0, 1.0)
    base.check_range("sac", "target_entropy_scale", config.target_entropy_scale, -math.inf)


def _sizes(config: Config) -> tuple[int, int, int, int]:
    return config.buffer_size, config.num_steps, config.num_envs, config.batch_size


@dataclasses.dataclass(frozen=True, eq=False)
class _Sac:
    """The functions of one agent; the numbers in `config` and `reward` are defaults."""

    config: Config
    reward: rw.RewardTransform
    player: rollout.Player
    recorder: replay.Recorder

    # ---- the agent ----------------------------------------------------------------

    def init(self, key: Array, config: Config | None = None, reward: Any = None) -> State:
        """The state before the first iteration; the same key gives the same run.

        Raises:
          UserError: `config` or `reward` differs from the agent's in more than its
            numbers, or a number is out of range.
        """
        settings: Config = self.config if config is None else config
        reward = self.reward if reward is None else reward
        base.check_structure("config", settings, self.config)
        base.check_structure("reward", reward, self.reward)
        check(settings)
        settings, reward = base.as_leaves(settings), base.as_leaves(reward)
        key, key_env, key_reward, key_actor, key_critic = jax.random.split(key, 5)
        example = self.player.example(settings.num_envs, settings.num_steps)
        env_state = self.player.vector.init(key_env)
        reward_state = reward.init(key_reward, example)
        inputs, reward_state = self.player.look(reward, reward_state, env_state)
        choice = self.dist.to_action(self.dist.mode(jnp.zeros((1, self.dist.param_size))))
        critic = self.critic.init(key_critic, self.judged(inputs[:1], choice))
        params = {
            "actor": self.actor.init(key_actor, inputs),
            "critic": critic,
            "target": jax.tree.map(jnp.copy, critic),  # donated beside the critic
            "log_temperature": jnp.log(settings.temperature),
        }
        state = State(
            config=settings,
            reward=reward,
            params=params,
            opt_state={
                "actor": optax.adam(0.0).init(params["actor"]),
                "critic": optax.adam(0.0).init(critic),
                "temperature": optax.adam(0.0).init(params["log_temperature"]),
            },
            env_state=env_state,
            reward_state=reward_state,
            replay=(),
            obs_stats=running_statistics.init(inputs.shape[-1:]),
            episode_reward=jnp.zeros(settings.num_envs),
            key=key,
            iteration=jnp.int32(0),
        )
        items = jax.eval_shape(lambda: self.items(self.play(state, key, key, jnp.bool_(True))[2]))
        return state.replace(replay=replay.init(replay.rows("sac", *_sizes(settings)), items))

    def iterate(self, state: State) -> tuple[State, dict[str, Mean]]:
        """Plays a block, stores it, and learns from the store; the metrics are of all."""
        config = state.config
        key, key_policy, key_env, key_sample, key_update, key_learn = jax.random.split(state.key, 6)
        warm = state.replay.size < config.learning_starts
        env_state, reward_state, played = self.play(state, key_policy, key_env, warm)
        stored = replay.add(state.replay, self.items(played))
        batches = self.sample(state, reward_state.shared, stored, key_sample)
        # Seeds that are mapped together are equally old. The branches are real
        # ones for that reason, and hold nothing of the size of the store.
        params, opt_state, losses = jax.lax.cond(
            any_anywhere(stored.size >= config.learning_starts),
            self.update,
            lambda config, params, opt_state, *_: (params, opt_state, _no_losses()),
            *(config, state.params, state.opt_state, batches, key_update),
        )
        reward_state, learned = state.reward.learn(reward_state, key_learn, played.block)
        episode_reward, metrics = rollout.ended(played, state.episode_reward)
        metrics |= losses
        for name, value in (played.metrics | learned).items():
            metrics[f"reward/{name.removeprefix('reward/')}"] = Mean.of(value)
        obs_stats = state.obs_stats
        if config.normalize_obs:
            obs_stats = running_statistics.update(obs_stats, played.inputs)
        state = state.replace(
            params=params,
            opt_state=opt_state,
            env_state=env_state,
            reward_state=reward_state,
            replay=stored,
            obs_stats=obs_stats,
            episode_reward=episode_reward,
            key=key,
            iteration=state.iteration + 1,
        )
        return state, metrics

    def act(self, state: State, inputs: Array, key: Array | None = None) -> Array:
        """Actions `[N, ...]` for inputs `[N, ...]`; the likeliest without a key."""
        inputs = rollout.flatten(inputs, 1)
        noise = None if key is None else self.dist.noise(key, inputs.shape[:1])
        params = self.policy(state, inputs)
        raw = self.dist.mode(params) if noise is None else self.dist.sample(params, noise)
        return self.to_env(raw)

    def evaluate(self, state: State, key: Array, num_episodes: int) -> tuple[Array, Array]:
        """Greedy returns `[E]` of the environment's own reward, and lengths `[E]`."""

        def choose(inputs: Array, noise: None) -> Any:
            params = self.policy(state, inputs)
            raw = self.dist.mode(params)
            return self.to_env(raw), (raw, params)

        return self.player.evaluate(
            state.reward, state.reward_state, key, num_episodes, choose, partial(self.judge, state)
        )

    # ---- the policy and the critics -----------------------------------------------

    @cached_property
    def discrete(self) -> bool:
        return isinstance(self.player.env.action_space, spaces.Discrete)

    @cached_property
    def dist(self) -> distributions.Categorical | distributions.TanhNormal:
        """The distribution of actions, before they are stretched to their bounds."""
        space = self.player.env.action_space
        if self.discrete:
            return distributions.Categorical(int(space.n))
        return distributions.TanhNormal(math.prod(space.shape))

    @cached_property
    def actor(self) -> networks.Network:
        sizes = (*self.config.hidden, self.dist.param_size)
        return networks.mlp(sizes, self.config.activation, 0.01)

    @cached_property
    def critic(self) -> networks.Network:
        """All of them; with discrete actions the value of each action."""
        config, out = self.config, self.dist.param_size if self.discrete else 1
        sizes, norm = (*config.hidden, out), config.layer_norm
        one = networks.mlp(sizes, config.activation, layer_norm=norm)
        return networks.ensemble(one, config.critics)

    @cached_property
    def target_entropy(self) -> float:
        """The customary one, in nats."""
        if isinstance(self.dist, distributions.Categorical):
            return 0.98 * math.log(self.dist.num_actions)
        return -float(self.dist.dim)

    def normalize(self, state: State, inputs: Array) -> Array:
        if not state.config.normalize_obs:
            return inputs
        return running_statistics.normalize(state.obs_stats, inputs)

    def policy(self, state: State, inputs: Array) -> Array:
        """The distribution's parameters, from raw inputs, `[..., param_size]`."""
        return self.actor.apply(state.params["actor"], self.normalize(state, inputs))

    def to_env(self, raw: Array) -> Array:
        """What the environment receives for a draw."""
        space, action = self.player.env.action_space, self.dist.to_action(raw)
        if self.discrete:
            return action.astype(space.dtype)
        return rollout.scale_action(space, action, action)

    def judged(self, inputs: Array, choice: Array) -> Array:
        """What the critics see: the inputs, and with them an action in [-1, 1]."""
        return inputs if self.discrete else jnp.concatenate([inputs, choice], axis=-1)

    def value_of(self, critic: Any, inputs: Array, choice: Array) -> Array:
        """Each critic's value of an action, `[critics, ...]`, from normalised inputs."""
        q = self.critic.apply(critic, self.judged(inputs, choice))
        if not self.discrete:
            return q[..., 0]
        # A select, not a gather: without a scatter backwards.
        chosen = jax.nn.one_hot(choice, q.shape[-1], dtype=bool)
        return jnp.where(chosen[None], q, 0.0).sum(-1)

    def expect(
        self, actor: Any, critic: Any, inputs: Array, noise: Array, over: Callable
    ) -> tuple[Array, Array]:
        """The policy's value and its entropy, `[B]` each, from one draw if continuous.

        Args:
          actor: the policy's parameters.
          critic: those of some critics.
          inputs: normalised, `[B, D]`.
          noise: the draw's.
          over: from the critics' values `[critics, ...]` to one.
        """
        policy = self.actor.apply(actor, inputs)
        if self.discrete:
            q = over(self.critic.apply(critic, inputs))
            return (jax.nn.softmax(policy) * q).sum(-1), self.dist.entropy(policy)
        raw = self.dist.sample(policy, noise)
        q = self.critic.apply(critic, self.judged(inputs, self.dist.to_action(raw)))
        return over(q[..., 0]), -self.dist.log_prob(policy, raw)

    # ---- playing ------------------------------------------------------------------

    def play(self, state: State, key_policy: Array, key_env: Array, warm: Array) -> Any:
        """A block: the environments' state, the reward's, and what was played."""
        shape = (self.config.num_steps, self.config.num_envs)
        key_noise, key_warm = jax.random.split(key_policy)
        if isinstance(self.dist, distributions.Categorical):
            anything = jax.random.randint(key_warm, shape, 0, self.dist.num_actions)
        else:
            # The draw is what a tanh makes uniform in (-1, 1).
            unit = jax.random.uniform(key_warm, (*shape, self.dist.dim), minval=-1.0, maxval=1.0)
            anything = jnp.arctanh(0.9999 * unit)

        def choose(inputs: Array, noise: tuple[Array, Array]) -> Any:
            params = self.policy(state, inputs)
            raw = jnp.where(warm, noise[1], self.dist.sample(params, noise[0]))
            return self.to_env(raw), (raw, params)

        return self.player.collect(
            state.reward,
            state.reward_state,
            state.env_state,
            choose,
            partial(self.judge, state),
            (self.dist.noise(key_noise, shape), anything),
            jax.random.split(key_env, shape),
        )

    def judge(self, state: State, inputs: Array, extra: Any) -> dict[str, Array]:
        """What the agent knows of its choices, for rewards that read it."""
        raw, params = extra
        inputs, choice = self.normalize(state, inputs), self.dist.to_action(raw)
        return {
            "log_prob": self.dist.log_prob(params, raw),
            "entropy": self.dist.entropy(params, raw),
            "value": self.value_of(state.params["critic"], inputs, choice).min(0),
        }

    # ---- learning -----------------------------------------------------------------

    def items(self, played: rollout.Rollout) -> dict[str, Any]:
        """What is stored of a block, leaves `[T, N, ...]`."""
        return self.recorder.items(played, self.dist.to_action(played.extra[0]))

    def sample(self, state: State, shared: Any, stored: Any, key: Array) -> replay.Batch:
        """Batches `[updates, batch_size, ...]`, rewarded by what the reward knows now."""
        config, shape = state.config, (self.config.updates, self.config.batch_size)
        window = self.recorder.sample(stored, key, math.prod(shape), config.n_step)
        batch = self.recorder.batch(state.reward, shared, window, config.gamma)
        batch = batch._replace(
            inputs=self.normalize(state, batch.inputs),
            next_inputs=self.normalize(state, batch.next_inputs),
        )
        return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), batch)

    def update(
        self, config: Config, params: Any, opt_state: Any, batches: replay.Batch, key: Array
    ) -> tuple[Any, Any, dict[str, Mean]]:
        """Gradient steps on batches `[updates, B, ...]`: parameters, Adam's, metrics."""
        delay, groups = config.policy_delay, config.updates // config.policy_delay

        def group(learner: tuple[Any, Any], xs: Any) -> Any:
            batches, keys, key = xs
            learner, q = jax.lax.scan(partial(self.critic_step, config), learner, (batches, keys))
            latest = jax.tree.map(lambda x: x[-1], batches.inputs)
            learner, rest = self.actor_step(config, learner, latest, key)
            return learner, q | rest

        batches = jax.tree.map(lambda x: x.reshape(groups, delay, *x.shape[1:]), batches)
        key_critic, key_actor = jax.random.split(key)
        keys = jax.random.split(key_critic, (groups, delay)), jax.random.split(key_actor, groups)
        (params, opt_state), metrics = jax.lax.scan(group, (params, opt_state), (batches, *keys))
        return params, opt_state, {name: Mean.of(metrics[name]) for name in LOSSES}

    def target(self, config: Config, params: Any, batch: replay.Batch, key: Array) -> Array:
        """Equations 2 and 3 of Haarnoja et al. (2018), `[B]`."""
        key_noise, key_subset = jax.random.split(key)
        critic = params["target"]
        if config.subset < config.critics:
            # Only the chosen ones are evaluated.
            chosen = jax.random.permutation(key_subset, config.critics)[: config.subset]
            critic = jax.tree.map(lambda x: x[chosen], critic)
        noise = self.dist.noise(key_noise, batch.reward.shape)
        low = partial(jnp.min, axis=0)
        value, entropy = self.expect(params["actor"], critic, batch.next_inputs, noise, low)
        temperature = jnp.exp(params["log_temperature"])
        return batch.reward + batch.weight * (value + temperature * entropy)

    def critic_step(self, config: Config, learner: Any, xs: tuple[replay.Batch, Array]) -> Any:
        """One step of every critic towards the same target, and of their targets."""
        (params, opt_state), (batch, key) = learner, xs
        target = self.target(config, params, batch, key)

        def loss(critic: Any) -> tuple[Array, Array]:
            q = self.value_of(critic, batch.inputs, batch.choice)
            return 0.5 * jnp.square(q - target[None]).mean(1).sum(), q.mean()

        (q_loss, q_mean), gradient = jax.value_and_grad(loss, has_aux=True)(params["critic"])
        critic, adam = _step(config.critic_learning_rate, gradient, opt_state, params, "critic")
        slow = optax.incremental_update(critic, params["target"], config.target_rate)
        params = {**params, "critic": critic, "target": slow}
        learner = params, {**opt_state, "critic": adam}
        return learner, {"q_loss": q_loss / config.critics, "q_mean": q_mean}

    def actor_step(self, config: Config, learner: Any, inputs: Array, key: Array) -> Any:
        """One step of the policy and of the temperature."""
        params, opt_state = learner
        over = partial(jnp.min if config.subset == config.critics else jnp.mean, axis=0)
        noise = self.dist.noise(key, inputs.shape[:1])
        temperature = jnp.exp(params["log_temperature"])

        def loss(actor: Any) -> tuple[Array, Array]:
            value, entropy = self.expect(actor, params["critic"], inputs, noise, over)
            return -(value + temperature * entropy).mean(), entropy.mean()

        (actor_loss, entropy), gradient = jax.value_and_grad(loss, has_aux=True)(params["actor"])
        actor, adam = _step(config.learning_rate, gradient, opt_state, params, "actor")
        params, opt_state = {**params, "actor": actor}, {**opt_state, "actor": adam}
        if config.tune_temperature:
            # The gradient of `temperature * (entropy - target)`, equation 18.
            excess = entropy - config.target_entropy_scale * self.target_entropy
            log, adam = params["log_temperature"], opt_state["temperature"]
            change, adam = optax.adam(config.learning_rate).update(temperature * excess, adam)
            params = {**params, "log_temperature": log + change}
            opt_state = {**opt_state, "temperature": adam}
        metrics = {"actor_loss": actor_loss, "entropy": entropy, "temperature": temperature}
        return (params, opt_state), metrics


def _step(rate: Any, gradient: Any, opt_state: Any, params: Any, name: str) -> tuple[Any, Any]:
    """Adam with a traced rate: another value compiles nothing."""
    change, adam = optax.adam(rate).update(gradient, opt_state[name])
    return optax.apply_updates(params[name], change), adam


def _no_losses() -> dict[str, Mean]:
    return {name: Mean(jnp.float32(0.0), jnp.float32(0.0)) for name in LOSSES}
