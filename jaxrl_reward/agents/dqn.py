"""Deep Q-learning (Mnih et al. 2015), double, of n steps, and by quantiles if asked.

The value of the action that the online network likes best is taken from the
slower target network (van Hasselt et al. 2016, arXiv:1509.06461). With
`quantiles` above 1 a network gives that many quantiles of the return of each
action, which is chosen by their mean (QR-DQN: Dabney et al. 2018,
arXiv:1710.10044).

One `iterate` plays `num_steps` steps of `num_envs` environments, stores them,
and takes `updates` gradient steps on batches from the store, whose rewards are
computed anew as they are drawn (see `replay`). A time limit ends no value.
"""

import dataclasses
from functools import cached_property, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import struct
from gymnax.environments import spaces

from jaxrl_reward import envs, networks
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents import base, evaluation, replay, rollout
from jaxrl_reward.agents import state as common
from jaxrl_reward.envs.vector import any_anywhere
from jaxrl_reward.types import Array, Mean, UserError

LOSSES = ("q_loss", "q_mean")


def _static(default: Any) -> Any:
    return struct.field(pytree_node=False, default=default)


class Config(struct.PyTreeNode):
    """DQN's settings. Floats are leaves: `vmap` over them to sweep.

    Attributes:
      num_envs: environments played side by side, N.
      num_steps: steps of each before the updates, T.
      updates: gradient steps after every N * T steps.
      batch_size: steps of a batch.
      buffer_size: steps to keep; the oldest are overwritten.
      learning_starts: steps before the first update.
      n_step: rewards before the value in a target, within an episode.
      double: the online network chooses the action whose value the target
        network gives; else the target network does both.
      quantiles: of the return of each action; 1 learns the mean return.
      hidden: widths of the hidden layers.
      activation: between layers, a name that `networks` knows.
      layer_norm: normalise the hidden layers.
      target_every: gradient steps between moves of the target network; for a
        periodic copy, with `target_rate` 1.
      placement: `block`, the policy is blind to the reward's memory, or
        `step`, it sees it.
      normalize_obs: by the mean and variance of what the policy saw so far.
      reset: `fresh` or `cached` initial states, see `envs.vectorize`.
      learning_rate: Adam's.
      gamma: discount per step.
      epsilon_start: probability of a random action at first.
      epsilon_end: the same from step `epsilon_steps` on.
      epsilon_steps: environment steps in which it falls linearly.
      target_rate: how far the target network moves towards the online one.
      max_grad_norm: gradients are scaled down to this length.
      huber_delta: errors beyond it count linearly.
    """

    num_envs: int = _static(8)
    num_steps: int = _static(1)
    updates: int = _static(2)
    batch_size: int = _static(64)
    buffer_size: int = _static(50_000)
    learning_starts: int = _static(1_000)
    n_step: int = _static(10)
    double: bool = _static(True)
    quantiles: int = _static(1)
    hidden: tuple[int, ...] = _static((64, 64))
    activation: str = _static("relu")
    layer_norm: bool = _static(True)
    target_every: int = _static(1)
    placement: Literal["block", "step"] = _static("block")
    normalize_obs: bool = _static(False)
    reset: Literal["fresh", "cached"] = _static("fresh")
    learning_rate: float = 1e-3
    gamma: float = 0.99
    epsilon_start: float = 1.0
    epsilon_end: float = 0.05
    epsilon_steps: float = 10_000.0
    target_rate: float = 0.01
    max_grad_norm: float = 10.0
    huber_delta: float = 1.0


class State(common.State):
    """See `state.State`; `params` are of the networks `online` and `target`.

    Attributes:
      replay: the stored steps.
      updates: gradient steps so far, int32.
    """

    replay: Any
    updates: Array


def make(config: Config, env: envs.Env, reward: rw.RewardTransform | None = None) -> base.Agent:
    """A DQN agent.

    Args:
      config: the settings.
      env: what it plays, with Discrete actions.
      reward: what it learns from; the environment's own by default.

    Raises:
      UserError: a setting is out of range or does not fit another, or the
        environment or the reward is not for DQN.
    """
    check(config)
    if isinstance(env.action_space, spaces.Box):
        raise UserError(f"dqn needs Discrete actions; {env.name} has Box: use sac or ppo")
    reward = rw.env() if reward is None else reward
    player = rollout.player("dqn", config, env, reward)
    dqn = _Dqn(config, reward, player, replay.recorder("dqn", player, reward))
    functions = (dqn.init, dqn.iterate, dqn.act, dqn.evaluate)
    steps = config.num_envs * config.num_steps
    return base.Agent("dqn", config, env, reward, *functions, steps, config.learning_starts)


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    rollout.check("dqn", config)
    replay.check("dqn", config)
    for name in ("quantiles", "target_every"):
        base.check_positive("dqn", name, getattr(config, name))
    for name in ("learning_rate", "max_grad_norm", "huber_delta"):
        base.check_range("dqn", name, getattr(config, name), 0.0)
    for name in ("epsilon_start", "epsilon_end", "target_rate"):
        base.check_range("dqn", name, getattr(config, name), 0.0, 1.0)
    base.check_range("dqn", "epsilon_steps", config.epsilon_steps, 1.0)


@dataclasses.dataclass(frozen=True, eq=False)
class _Dqn:
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
        settings, reward = base.settle(self, check, config, reward)
        key, key_env, key_reward, key_network = jax.random.split(key, 4)
        inputs, begun = common.begin(self.player, settings, reward, key_env, key_reward)
        online = self.network.init(key_network, inputs)
        state = State(
            params={"online": online, "target": jax.tree.map(jnp.copy, online)},
            opt_state=_optimiser(settings).init(online),
            updates=jnp.int32(0),
            key=key,
            replay=(),
            **begun,
        )
        items = jax.eval_shape(lambda: self.items(self.play(state, key, key)[2]))
        return state.replace(replay=replay.init(replay.rows("dqn", settings), items))

    def iterate(self, state: State) -> tuple[State, dict[str, Mean]]:
        """Plays a block, stores it, and learns from the store; the metrics are of all."""
        config = state.config
        key, key_policy, key_env, key_sample, key_learn = jax.random.split(state.key, 5)
        env_state, reward_state, played = self.play(state, key_policy, key_env)
        stored = replay.add(state.replay, self.items(played))
        batches, block = self.recorder.batches(state, reward_state.shared, stored, key_sample)
        # Seeds that are mapped together are equally old. The branches are real
        # ones for that reason, and hold nothing of the size of the store.
        (params, opt_state, updates), losses = jax.lax.cond(
            any_anywhere(stored.size >= config.learning_starts),
            self.update,
            lambda config, learner, batches: (learner, _no_losses()),
            *(config, (state.params, state.opt_state, state.updates), batches),
        )
        reward_state, learned = state.reward.learn(reward_state, key_learn, block)
        state, metrics = common.finish(state, played, env_state, reward_state, learned)
        metrics |= losses | {"epsilon": Mean.of(played.extra[2])}
        state = state.replace(params=params, opt_state=opt_state, updates=updates)
        return state.replace(replay=stored, key=key), metrics

    def act(self, state: State, inputs: Array, key: Array | None = None) -> Array:
        """Actions `[N]` for inputs `[N, ...]`; with a key some are random, as in play."""
        inputs, noise = rollout.flatten(inputs, 1), None
        if key is not None:
            epsilon = self.epsilon(state.config, state.iteration)[:1]
            noise = self.noise(key, jnp.broadcast_to(epsilon, inputs.shape[:1]))
        return self.choose(state, inputs, noise)[0]

    def evaluate(self, state: State, key: Array, num_episodes: int) -> tuple[Array, Array]:
        """Greedy returns `[E]` of the environment's own reward, and lengths `[E]`."""
        choose, judge = partial(self.choose, state), partial(self.judge, state)
        return evaluation.evaluate(self.player, state, key, num_episodes, choose, judge)

    # ---- the network and the policy -----------------------------------------------

    @property
    def num_actions(self) -> int:
        return int(self.player.env.action_space.n)

    @cached_property
    def network(self) -> networks.Network:
        """From inputs `[..., D]` to `[..., quantiles * actions]`."""
        config = self.config
        sizes = (*config.hidden, config.quantiles * self.num_actions)
        return networks.mlp(sizes, config.activation, layer_norm=config.layer_norm)

    def quantiles(self, params: Any, inputs: Array) -> Array:
        """Of the return of each action, from normalised inputs, `[..., K, A]`.

        Row i is that of level `(i + 1/2) / K`; a single one is the mean.
        """
        out = self.network.apply(params, inputs)
        return out.reshape(*out.shape[:-1], self.config.quantiles, self.num_actions)

    def epsilon(self, config: Config, iteration: Array) -> Array:
        """The probability of a random action at each step of a block, `[T]`."""
        time = jnp.arange(config.num_steps, dtype=jnp.float32)
        steps = (iteration.astype(jnp.float32) * config.num_steps + time) * config.num_envs
        left = jnp.maximum(1.0 - steps / config.epsilon_steps, 0.0)
        return config.epsilon_end + (config.epsilon_start - config.epsilon_end) * left

    def noise(self, key: Array, epsilon: Array) -> tuple[Array, Array, Array]:
        """Whether to act at random, how, and the probability of it, `[...]` each."""
        key_whether, key_action = jax.random.split(key)
        whether = jax.random.uniform(key_whether, epsilon.shape) < epsilon
        return whether, jax.random.randint(key_action, epsilon.shape, 0, self.num_actions), epsilon

    def choose(self, state: State, inputs: Array, noise: Any) -> Any:
        """Actions, and with them the values of all and the probability of a random one."""
        q = self.quantiles(state.params["online"], common.normalize(state, inputs)).mean(-2)
        choice, epsilon = q.argmax(-1), jnp.zeros(q.shape[:-1])
        if noise is not None:
            whether, anything, epsilon = noise
            choice = jnp.where(whether, anything, choice)
        action = jnp.asarray(choice, self.player.env.action_space.dtype)
        return action, (choice, q, epsilon)

    def judge(self, state: State, inputs: Array, extra: Any) -> dict[str, Array]:
        """What the agent knows of its choices, for rewards that read it."""
        choice, q, epsilon = extra
        greedy = jax.nn.one_hot(q.argmax(-1), self.num_actions)
        chosen = jax.nn.one_hot(choice, self.num_actions)
        epsilon = epsilon[..., None]
        probs = epsilon / self.num_actions + (1.0 - epsilon) * greedy
        return {
            "log_prob": jnp.log((chosen * probs).sum(-1)),
            "entropy": -jax.scipy.special.xlogy(probs, probs).sum(-1),
            "value": (chosen * q).sum(-1),
        }

    def play(self, state: State, key_policy: Array, key_env: Array) -> Any:
        """A block: the environments' state, the reward's, and what was played."""
        shape = (self.config.num_steps, self.config.num_envs)
        epsilon = self.epsilon(state.config, state.iteration)[:, None]
        return self.player.collect(
            state.reward,
            state.reward_state,
            state.env_state,
            partial(self.choose, state),
            partial(self.judge, state),
            self.noise(key_policy, jnp.broadcast_to(epsilon, shape)),
            jax.random.split(key_env, shape),
        )

    # ---- learning -----------------------------------------------------------------

    def items(self, played: rollout.Rollout) -> dict[str, Any]:
        """What is stored of a block, leaves `[T, N, ...]`."""
        return self.recorder.items(played, played.extra[0])

    def update(self, config: Config, learner: Any, batches: replay.Batch) -> Any:
        """Gradient steps on batches `[updates, B, ...]`; the learner after, and metrics."""

        def step(learner: Any, batch: replay.Batch) -> Any:
            params, opt_state, updates = learner
            target = self.target(config, params, batch)
            loss = partial(self.loss, config, batch=batch, target=target)
            (q_loss, q_mean), gradient = jax.value_and_grad(loss, has_aux=True)(params["online"])
            change, opt_state = _optimiser(config).update(gradient, opt_state)
            online, updates = optax.apply_updates(params["online"], change), updates + 1
            rate = jnp.where(updates % config.target_every == 0, config.target_rate, 0.0)
            slow = optax.incremental_update(online, params["target"], rate)
            params = {"online": online, "target": slow}
            return (params, opt_state, updates), {"q_loss": q_loss, "q_mean": q_mean}

        learner, metrics = jax.lax.scan(step, learner, batches)
        return learner, {name: Mean.of(metrics[name]) for name in LOSSES}

    def target(self, config: Config, params: Any, batch: replay.Batch) -> Array:
        """The return from here as the networks see it, by quantiles, `[B, K]`."""
        slow = self.quantiles(params["target"], batch.next_inputs)
        judge = self.quantiles(params["online"], batch.next_inputs) if config.double else slow
        best = _take(slow, judge.mean(-2).argmax(-1))
        return batch.reward[:, None] + batch.weight[:, None] * best

    def loss(
        self, config: Config, online: Any, batch: replay.Batch, target: Array
    ) -> tuple[Array, Array]:
        """Equation 10 of Dabney et al. (2018), summed over quantiles; and the mean value.

        A single quantile is not weighed by its level: the loss is Huber's of
        the error, as in Mnih et al. (2015).
        """
        value = _take(self.quantiles(online, batch.inputs), batch.choice)
        error = target[:, None, :] - value[:, :, None]
        loss = optax.huber_loss(error, delta=config.huber_delta)
        if config.quantiles > 1:
            level = (jnp.arange(config.quantiles) + 0.5)[None, :, None] / config.quantiles
            loss = jnp.abs(level - (error < 0.0)) * loss
        return loss.mean(2).sum(1).mean(), value.mean()


def _take(values: Array, action: Array) -> Array:
    """`[B, K]` of `[B, K, A]`: a select, not a gather, without a scatter backwards."""
    chosen = jax.nn.one_hot(action, values.shape[-1], dtype=bool)
    return jnp.where(chosen[:, None], values, 0.0).sum(-1)


def _optimiser(config: Config) -> optax.GradientTransformation:
    """Adam with the traced numbers of `config`: another value compiles nothing."""
    adam = optax.adam(config.learning_rate)
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), adam)


def _no_losses() -> dict[str, Mean]:
    return {name: Mean(jnp.float32(0.0), jnp.float32(0.0)) for name in LOSSES}
