"""What agents share that learn the law of each action's return by quantiles, from replay.

DQN prefers an action by its mean and deep eta-networks by a functional of the
law and the stock; all else is the same. A `Criterion` is that difference.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from gymnax.environments import spaces

from jaxrl_reward import envs, networks
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents import base, evaluation, replay, rollout
from jaxrl_reward.agents import state as common
from jaxrl_reward.envs.vector import any_anywhere
from jaxrl_reward.types import Array, Mean, UserError

LOSSES = ("q_loss", "q_mean")


class State(common.State):
    """See `state.State`; `params` are of the networks `online` and `target`.

    Attributes:
      replay: the stored steps.
      updates: gradient steps so far, int32.
    """

    replay: Any
    updates: Array


class Criterion(NamedTuple):
    """How actions are compared, and what is made of inputs and batches before.

    Attributes:
      worth: `worth(config, quantiles[..., (m,) K, A], inputs[..., D]) -> [..., A]`.
      normalize: `normalize(state, inputs)`, inputs as the networks see them.
      encode: what of those inputs goes into the network, `[..., D] -> [..., F]`.
      redraw: `redraw(config, key, batches) -> batches` before learning from them.
      reward: `reward(config, expression)`, with what else is to be remembered.
    """

    worth: Callable[[Any, Array, Array], Array]
    normalize: Callable[[Any, Array], Array] = common.normalize
    encode: Callable[[Array], Array] = lambda inputs: inputs
    redraw: Callable[[Any, Array, replay.Batch], replay.Batch] = lambda config, key, batch: batch
    reward: Callable[[Any, Any], Any] = lambda config, reward: reward


def learner(
    agent: str,
    config: Any,
    env: envs.Env,
    reward: rw.RewardTransform,
    criterion: Criterion,
    check: Callable[[Any], None],
    parts: tuple[int, ...] = (),
) -> "QLearner":
    """The functions of an agent.

    Args:
      agent: its name.
      config: the settings, checked.
      env: what it plays, with Discrete actions.
      reward: what it learns from.
      criterion: how it compares actions.
      check: of another config.
      parts: `(m,)` for a vector reward.

    Raises:
      UserError: the environment or the reward is not for it.
    """
    if isinstance(env.action_space, spaces.Box):
        raise UserError(f"{agent} needs Discrete actions; {env.name} has Box: use sac or ppo")
    whole = criterion.reward(config, reward)
    player = rollout.player(agent, config, env, whole, parts)
    recorder = replay.recorder(agent, player, whole)
    return QLearner(agent, config, reward, player, recorder, criterion, check, parts)


@dataclasses.dataclass(frozen=True, eq=False)
class QLearner:
    """The functions of one agent; the numbers in `config` and `reward` are defaults."""

    name: str
    config: Any
    reward: rw.RewardTransform
    player: rollout.Player
    recorder: replay.Recorder
    criterion: Criterion
    check: Callable[[Any], None]
    parts: tuple[int, ...]

    def agent(self, **others: Any) -> base.Agent:
        """As the table of agents has it, but for `others`."""
        config, functions = self.config, (self.init, self.iterate, self.act)
        made = base.Agent(
            self.name,
            config,
            self.player.env,
            self.reward,
            *functions,
            self.evaluate,
            config.num_envs * config.num_steps,
            config.learning_starts,
        )
        return made._replace(**others)

    # ---- the agent ----------------------------------------------------------------

    def init(self, key: Array, config: Any = None, reward: Any = None) -> State:
        """The state before the first iteration; the same key gives the same run.

        Raises:
          UserError: `config` or `reward` differs from the agent's in more than its
            numbers, or a number is out of range.
        """
        settings, reward = base.settle(self, self.check, config, reward)
        reward = self.criterion.reward(settings, reward)
        key, key_env, key_reward, key_network = jax.random.split(key, 4)
        inputs, begun = common.begin(self.player, settings, reward, key_env, key_reward)
        online = self.network.init(key_network, self.criterion.encode(inputs))
        state = State(
            params={"online": online, "target": jax.tree.map(jnp.copy, online)},
            opt_state=optimiser(settings).init(online),
            updates=jnp.int32(0),
            key=key,
            replay=(),
            **begun,
        )
        items = jax.eval_shape(lambda: self.items(self.play(state, key, key)[2]))
        return state.replace(replay=replay.init(replay.rows(self.name, settings), items))

    def iterate(self, state: State) -> tuple[State, dict[str, Mean]]:
        """Plays a block, stores it, and learns from the store; the metrics are of all."""
        config = state.config
        key, key_policy, key_env, key_sample, key_learn = jax.random.split(state.key, 5)
        env_state, reward_state, played = self.play(state, key_policy, key_env)
        stored = replay.add(state.replay, self.items(played))
        batches, block = self.recorder.batches(state, reward_state.shared, stored, key_sample)
        batches = self.criterion.redraw(config, jax.random.fold_in(key_sample, 1), batches)
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
        """From encoded inputs `[..., F]` to `[..., m * quantiles * actions]`."""
        config = self.config
        sizes = (*config.hidden, math.prod((*self.parts, config.quantiles, self.num_actions)))
        return networks.mlp(sizes, config.activation, layer_norm=config.layer_norm)

    def quantiles(self, params: Any, inputs: Array) -> Array:
        """Of the return of each action, from normalised inputs, `[..., (m,) K, A]`.

        Row i is that of level `(i + 1/2) / K`; a single one is the mean.
        """
        out = self.network.apply(params, self.criterion.encode(inputs))
        return out.reshape(*out.shape[:-1], *self.parts, self.config.quantiles, self.num_actions)

    def epsilon(self, config: Any, iteration: Array) -> Array:
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
        inputs = self.criterion.normalize(state, inputs)
        quantiles = self.quantiles(state.params["online"], inputs)
        q = self.criterion.worth(state.config, quantiles, inputs)
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

    def update(self, config: Any, learner: Any, batches: replay.Batch) -> Any:
        """Gradient steps on batches `[updates, B, ...]`; the learner after, and metrics."""

        def step(learner: Any, batch: replay.Batch) -> Any:
            params, opt_state, updates = learner
            target = self.target(config, params, batch)
            loss = partial(self.loss, config, batch=batch, target=target)
            (q_loss, q_mean), gradient = jax.value_and_grad(loss, has_aux=True)(params["online"])
            change, opt_state = optimiser(config).update(gradient, opt_state)
            online, updates = optax.apply_updates(params["online"], change), updates + 1
            moves = updates % config.target_every == 0
            rate = jnp.where(moves, jnp.asarray(config.target_rate), 0.0)
            slow = optax.incremental_update(online, params["target"], rate)
            params = {"online": online, "target": slow}
            return (params, opt_state, updates), {"q_loss": q_loss, "q_mean": q_mean}

        learner, metrics = jax.lax.scan(step, learner, batches)
        return learner, {name: Mean.of(metrics[name]) for name in LOSSES}

    def target(self, config: Any, params: Any, batch: replay.Batch) -> Array:
        """The return from here as the networks see it, by quantiles, `[B, (m,) K]`."""
        slow = self.quantiles(params["target"], batch.next_inputs)
        judge = self.quantiles(params["online"], batch.next_inputs) if config.double else slow
        best = _take(slow, self.criterion.worth(config, judge, batch.next_inputs).argmax(-1))
        weight = batch.weight.reshape(-1, *(1,) * (best.ndim - 1))
        return batch.reward[..., None] + weight * best

    def loss(
        self, config: Any, online: Any, batch: replay.Batch, target: Array
    ) -> tuple[Array, Array]:
        """Equation 10 of Dabney et al. (2018), summed over quantiles; and the mean value.

        A single quantile is not weighed by its level: the loss is Huber's of
        the error, as in Mnih et al. (2015).
        """
        value = _take(self.quantiles(online, batch.inputs), batch.choice)
        error = target[..., None, :] - value[..., :, None]
        loss = optax.huber_loss(error, delta=config.huber_delta)
        if config.quantiles > 1:
            level = (jnp.arange(config.quantiles) + 0.5) / config.quantiles
            level = level.reshape(*(1,) * (error.ndim - 2), -1, 1)
            loss = jnp.abs(level - (error < 0.0)) * loss
        return loss.mean(-1).sum(-1).mean(), value.mean()


def _take(values: Array, action: Array) -> Array:
    """`[B, ..., K]` of `[B, ..., K, A]`: a select, not a gather, without a scatter backwards."""
    chosen = jax.nn.one_hot(action, values.shape[-1], dtype=bool)
    chosen = chosen.reshape(-1, *(1,) * (values.ndim - 2), values.shape[-1])
    return jnp.where(chosen, values, 0.0).sum(-1)


def optimiser(config: Any) -> optax.GradientTransformation:
    """Adam with the traced numbers of `config`: another value compiles nothing."""
    adam = optax.adam(config.learning_rate)
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), adam)


def _no_losses() -> dict[str, Mean]:
    return {name: Mean(jnp.float32(0.0), jnp.float32(0.0)) for name in LOSSES}
