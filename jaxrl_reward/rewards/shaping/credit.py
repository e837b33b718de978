"""Credit for a return that comes late: learnt per step, shared out, or gated by the outcome.

`progress` and `decomposed_return` learn from the episodes that start and end within one
block of an agent (T environment steps), so T must exceed an episode's length.
"""

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrl_reward.intervals import Interval
from jaxrl_reward.nn import networks
from jaxrl_reward.nn import reward_models as model
from jaxrl_reward.rewards.core.base import Applied, State, static
from jaxrl_reward.rewards.core.checks import Count
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Episodes, Episodic, Learned, LearnedState, episodic
from jaxrl_reward.rewards.objectives.scalarise import vector
from jaxrl_reward.types import Array, Metrics, Transition, UserError


class Played(NamedTuple):
    """What a block shows of its episodes, each `[T, N]`.

    Attributes:
      start: the row in which a step's episode starts.
      length: of the episode.
      total: the sum of its environment's rewards.
      whole: whether it starts and ends within the block.
      sum: `Episodes.sum`, gives every step its episode's total.
    """

    start: Array
    length: Array
    total: Array
    whole: Array
    sum: Any


def played(block: Transition) -> Played:
    """The episodes of a block `[T, N]`."""
    first = jnp.asarray(block.first).at[0].set(True)
    rows = jnp.arange(block.first.shape[0])[:, None]
    start = jax.lax.cummax(jnp.where(first, rows, 0), axis=0)
    episodes = Episodes(jnp.cumsum(first, axis=0, dtype=jnp.int32) - 1)
    whole = (episodes.sum(block.first) > 0) & (episodes.sum(block.last) > 0)
    return Played(start, episodes.length(), episodes.sum(block.env_reward), whole, episodes.sum)


SMALL = {"width": 4, "updates": 1}


@register("progress", SMALL)
class progress(Learned):  # noqa: N801
    """A learnt `c(s, a, s')` whose sum over an episode is the environment's return.

    Stepwise progress attribution (Wang et al. 2025, "SPA-RL"): the loss is
    `(sum_t c_t - R)^2` per episode, so a return paid at the end becomes credit for
    the steps that earned it. The paper adds half a point for every valid action:
    `progress() + 0.5*valid`. With `actions=1` discrete actions are not seen.
    """

    width: Count = static(default=64)
    actions: Count = static(default=1)
    learns_in_order = True

    def init_params(self, key: Array, example: Transition) -> Any:
        return model.init(key, example, 1, self.width, self.actions).params

    def reward(self, params: Any, transition: Transition) -> Array:
        size = model.inputs(transition, self.actions).size
        net = model.RewardModel(params, size, 1, self.width, self.actions)
        return net.scores(transition)[0]

    def learn(self, state: State, key: Array, block: Transition) -> tuple[State, Metrics]:
        optimiser, episodes = optax.adam(self.learning_rate), played(block)

        def update(learned: LearnedState, key: Array) -> tuple[LearnedState, Array]:
            loss = lambda params: self.misfit(params, key, block, episodes)  # noqa: E731
            value, grads = jax.value_and_grad(loss)(learned.params)
            change, opt_state = optimiser.update(grads, learned.opt_state, learned.params)
            return LearnedState(optax.apply_updates(learned.params, change), opt_state), value

        learned, losses = jax.lax.scan(update, state.shared, jax.random.split(key, self.updates))
        return state.replace(shared=learned), {f"{self.name}/loss": losses.mean()}

    def misfit(self, params: Any, key: Array, block: Transition, episodes: Played) -> Array:
        """The mean squared error of whole episodes' returns, 0 if there are none."""
        del key
        credit = jax.vmap(jax.vmap(lambda t: self.reward(params, t)))(block)
        error = (episodes.sum(credit) - episodes.total) ** 2
        ends = episodes.whole & block.last
        return (error * ends).sum() / jnp.maximum(ends.sum(), 1)


@register("decomposed_return", {**SMALL, "batch_size": 4, "samples": 2})
class decomposed_return(progress):  # noqa: N801
    """As `progress`, from `samples` steps of an episode: `(R / T - mean of c over them)^2`.

    Randomised return decomposition (Ren et al. 2022, "Learning Long-Term Reward
    Redistribution via Randomized Return Decomposition"): cheap for long episodes, at
    the price of a variance of c that the loss also shrinks. Steps are drawn with
    replacement, and episodes in proportion to their length.
    """

    samples: Count = static(default=64)

    def misfit(self, params: Any, key: Array, block: Transition, episodes: Played) -> Array:
        key_row, key_env, key_step = jax.random.split(key, 3)
        rows, envs = block.first.shape
        row = jax.random.randint(key_row, (self.batch_size,), 0, rows)
        env = jax.random.randint(key_env, (self.batch_size,), 0, envs)
        start, length, total, whole = (x[row, env] for x in episodes[:4])
        place = jax.random.uniform(key_step, (self.batch_size, self.samples)) * length[:, None]
        at = start[:, None] + jnp.minimum(place, length[:, None] - 1.0).astype(jnp.int32)
        env = jnp.broadcast_to(env[:, None], at.shape)
        drawn = jax.tree.map(lambda x: x[at, env], block)
        credit = jax.vmap(jax.vmap(lambda t: self.reward(params, t)))(drawn).mean(1)
        error = (total / length - credit) ** 2
        return (error * whole).sum() / jnp.maximum(whole.sum(), 1)


class Heard(NamedTuple):
    """What a predictor of the return has seen of an episode.

    Attributes:
      total: the sum of its inputs, `[F]`.
      steps: how many, float32.
      guess: the last prediction.
      paid: the environment's rewards so far.
    """

    total: Array
    steps: Array
    guess: Array
    paid: Array


@register("rudder", SMALL)
class rudder(progress):  # noqa: N801
    """`g_t - g_{t-1}`, g a learnt prediction of the return from the episode so far.

    After Arjona-Medina et al. 2019, "RUDDER": a step is worth what it changes in the
    expected return. The last step pays what the prediction missed, so every
    episode's sum stays the environment's. In place of an LSTM, g sees the step and
    the mean of all steps up to it. Trained on g at the end, and a tenth as much on
    the others; replay keeps what was paid.
    """

    def init_params(self, key: Array, example: Transition) -> Any:
        return self._net().init(key, jnp.zeros(2 * model.inputs(example, self.actions).size))

    def init(self, key: Array, example: Transition) -> State:
        one = jax.tree.map(lambda x: jnp.zeros(x.shape[2:], x.dtype), example)
        shared = super().init(key, example).shared
        return State(shared, self._unheard(one, example.first.shape[1]))

    def begin(self, state: State, obs: Array, first: Array) -> State:
        def fresh(old: Array) -> Array:
            return jnp.where(first.reshape(first.shape + (1,) * (old.ndim - 1)), 0.0, old)

        return state.replace(local=jax.tree.map(fresh, state.local))

    def apply(self, state: State, block: Transition) -> Applied:
        local, (paid, guess, change) = self._listen(state.shared.params, state.local, block)
        missed = jnp.where(block.last, paid - guess, 0.0)
        reward = jax.lax.stop_gradient(change + missed)
        return Applied(state.replace(local=local), reward, {}, reward)

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del shared, batch
        return features

    def misfit(self, params: Any, key: Array, block: Transition, episodes: Played) -> Array:
        del key
        one = jax.tree.map(lambda x: x[0, 0], block)
        unheard = self._unheard(one, block.first.shape[1])
        guess = self._listen(params, unheard, block)[1][1]
        error = (guess - episodes.total) ** 2 * jnp.where(block.last, 1.0, 0.1 / episodes.length)
        ends = (episodes.whole & block.last).sum()
        return (error * episodes.whole).sum() / jnp.maximum(ends, 1)

    def _listen(
        self, params: Any, heard: Heard, block: Transition
    ) -> tuple[Heard, tuple[Array, Array, Array]]:
        """The memory after the block; returns so far, predictions and their changes, `[T, N]`."""

        def step(heard: Heard, row: Transition) -> tuple[Heard, tuple[Array, Array, Array]]:
            heard = self.begin(State((), heard), row.obs, row.first).local
            after = jax.vmap(lambda h, t: self._hear(params, h, t))(heard, row)
            return after, (after.paid, after.guess, after.guess - heard.guess)

        return jax.lax.scan(step, heard, block)

    def _hear(self, params: Any, heard: Heard, transition: Transition) -> Heard:
        x = model.inputs(transition, self.actions)
        total, steps = heard.total + x, heard.steps + 1.0
        guess = self._net().apply(params, jnp.concatenate([total / steps, x]))[0]
        return Heard(total, steps, guess, heard.paid + transition.env_reward)

    def _unheard(self, one: Transition, envs: int) -> Heard:
        zero = jnp.zeros(envs)
        return Heard(jnp.zeros((envs, model.inputs(one, self.actions).size)), zero, zero, zero)

    def _net(self) -> networks.Network:
        return networks.mlp((self.width, self.width, 1), "relu", 1.0)


# ---- on whole episodes ----------------------------------------------------------------


@episodic
def spread_return(block: Transition, episodes: Episodes) -> Array:
    """`R / T` at every step: the return in equal parts, the crudest redistribution."""
    return episodes.sum(block.reward) / episodes.length()


@register("gated", {"thresholds": (0.1,)})
class gated(Episodic):  # noqa: N801
    """Of `stack(outcome, b, c, ...)`, the outcome, and the others if it reaches `thresholds`.

    Gated reward accumulation ("Stabilizing Long-term Multi-turn Reinforcement Learning
    with Gated Rewards", 2025): reward i counts only where the episode's sum of every
    one before it reaches its threshold, so that step rewards cannot be farmed
    instead of the outcome. One threshold fewer than rewards.
    """

    thresholds: Annotated[tuple[float, ...], Interval()]

    def reward(self, block: Transition, episodes: Episodes) -> Array:
        rewards = vector(block)
        if rewards.shape[-1] != len(self.thresholds) + 1:
            raise UserError(f"{self} is for {len(self.thresholds) + 1} rewards, the outcome first")
        paid, gate = rewards[..., 0], jnp.ones_like(rewards[..., 0])
        for i, threshold in enumerate(self.thresholds):
            gate = gate * (episodes.sum(rewards[..., i]) >= threshold)
            paid = paid + gate * rewards[..., i + 1]
        return paid


@register("renorm")
class renorm(Episodic):  # noqa: N801
    """Of `stack(process, outcome)`, `process + R - 1`, R the episode's sum of outcomes.

    "Hybrid Reward Normalization for Process-supervised Non-verifiable Agentic Tasks"
    (2025): both in [0, 1] and less a half each, so that a step is good only if its
    judge and the outcome agree. The constant is a price on length.
    """

    def reward(self, block: Transition, episodes: Episodes) -> Array:
        rewards = vector(block)
        if rewards.shape[-1] != 2:
            raise UserError(
                f"renorm is for two rewards, process and outcome, not {rewards.shape[-1]}"
            )
        return rewards[..., 0] + episodes.sum(rewards[..., 1]) - 1.0
