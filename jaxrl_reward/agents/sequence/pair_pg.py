"""Preference optimisation on pairs of responses: DPO and its kin, as an expression.

The reward of this agent is a rater and, behind a `|`, what a pair costs: `env | dpo()`, or
`signal('proxy') | dpo(beta=0.5) + 0.05*sft()`. Without a rater it is the task's verifier.
One `iterate` takes `updates` Adam steps on batches of pairs that lie in a file, that the
reference wrote once, or that the policy has just written; who wrote and judged them:

  offline DPO           env | dpo()
  online, iterated      env | dpo()        source=policy anchor=round
  DNO                   preferred(...) | dno()   source=policy candidates=8 pairing=all
  INPO                  preferred(...) | inpo()  source=policy labels=wins
  P3O                   env | p3o()        source=policy pairing=all
  self-rewarding        dpo(), cream()     source=policy judge=policy pairing=extremes
  MAH-DPO               stack(env, signal('proxy')) | dpo()   objectives=2
  rejection sampling    env | sft()        source=policy pairing=extremes labels=better

A short supervised warm-up, in `init`, gives the first policy and the reference. Labels are
drawn once for each pair, and an epoch is a permutation of them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import base, policies
from jaxrl_reward.agents.common import state as common
from jaxrl_reward.agents.sequence import pair_making, writing
from jaxrl_reward.agents.sequence.pair_config import Config, check
from jaxrl_reward.agents.sequence.pair_making import Rows
from jaxrl_reward.agents.sequence.pair_sources import PairWriter, parts_of
from jaxrl_reward.agents.sequence.writer import environment_of
from jaxrl_reward.data import pair_rows
from jaxrl_reward.data.pairs import PairSet
from jaxrl_reward.nn import language_models
from jaxrl_reward.rewards.groups.ways import groups_of
from jaxrl_reward.rewards.pairs import ways
from jaxrl_reward.types import Array, Mean, UserError

__all__ = ["Config", "State", "check", "make"]

TERMS = base.KINDS  # of rewards


class State(common.State):
    """As every agent's; `env_state` and `obs_stats` are empty.

    Attributes:
      reference: the parameters after the warm-up.
      previous: those at the start of the last round; empty where no term asks.
      guide: those of the guide; empty without one.
      rows: the pairs that are learned from; empty where each iteration writes its own.
      order: the key of the orders in which epochs go through them.
    """

    reference: Any
    previous: Any
    guide: Any
    rows: Any
    order: Array


def make(
    config: Config,
    env: envs.Env,
    reward: rw.RewardTransform | None = None,
    data: Any = None,
) -> base.Agent:
    """A `pair_pg` agent.

    Args:
      config: the settings.
      env: a `sequence:` environment.
      reward: a rater, `|`, and what pairs cost; `dpo()` judged by the task by default.
      data: pairs to learn from: a `PairSet`, or the path of one or of rows of text.

    Raises:
      UserError: a setting is out of range, or the environment, the reward and the data do
        not fit each other.
    """
    env = environment_of("pair_pg", env)
    check(config)
    reward = base.check_reward("pair_pg", config, env, rw.dpo() if reward is None else reward)
    given = None if data is None else _read(data, env)
    made = PairPG(config, reward, env, given)
    made.check()
    functions = (made.init, made.iterate, made.act, made.evaluate)
    origin = () if given is None else (given.origin,)

    def remake(config: Config, other: rw.RewardTransform | None = None) -> base.Agent:
        return make(config, env, reward if other is None else other, given)

    def policy(state: State) -> policies.Policy:
        return policies.of_act(made.act, state)

    return base.Agent(
        *("pair_pg", config, env, reward, *functions, config.updates),
        policy=policy,
        remake=remake,
        check=check,
        data_origin=origin,
    )


def _read(data: Any, env: envs.Env) -> PairSet:
    """One set of pairs, by what it is or where it lies."""
    if isinstance(data, list | tuple):
        if len(data) != 1:
            raise UserError(f"pair_pg learns from one set of pairs, not from {len(data)}")
        data = data[0]
    return (
        data if isinstance(data, PairSet) else pair_rows.read(data, env.environment.task, env.name)
    )


@dataclasses.dataclass(frozen=True, eq=False)
class PairPG(PairWriter):
    """The functions of one agent; the numbers in `config` and `reward` are defaults."""

    # ---- the agent ----------------------------------------------------------------

    def init(self, key: Array, config: Config | None = None, reward: Any = None) -> State:
        """The state before the first iteration, after the warm-up.

        Raises:
          UserError: `config` or `reward` differs from the agent's in more than its
            numbers, or a number is out of range.
        """
        base.check_key(key)
        settings, reward = base.settle(self, check, config, reward)
        key, key_params, *keys = jax.random.split(key, 6)
        return self.start(settings, reward, self.warm_up(settings, key_params), (key, *keys))

    def start(self, settings: Config, reward: Any, params: Any, keys: Sequence[Array]) -> State:
        """The state of a policy that is the reference yet, with the pairs that it learns from."""
        key, key_reward, key_rows, key_guide, key_order = keys
        rater, _ = parts_of(reward)
        state = State(
            config=settings,
            reward=reward,
            params=params,
            opt_state=self.optimiser(settings).init(ravel_pytree(params)[0]),
            env_state=(),
            reward_state=rater.init(key_reward, self.example()),
            obs_stats=(),
            episode_reward=jnp.zeros(self.config.look),
            key=key,
            iteration=jnp.int32(0),
            reference=params,
            previous=params if self.ranks_twice else (),
            guide=(),
            rows=(),
            order=key_order,
        )
        if self.given is None and self.config.source == "policy" and not self.config.guide:
            return state
        # A policy that is the reference yet has no judgement of its own.
        first = dataclasses.replace(self, config=self.config.replace(judge="reward"))
        rows, reward_state = first.rows_of(state, key_rows)
        state = state.replace(reward_state=reward_state)
        if self.config.guide:
            state = state.replace(guide=self.guided(state, rows, key_guide))
        return state if self.writes_anew else state.replace(rows=rows)

    def iterate(self, state: State) -> tuple[State, dict[str, Mean]]:
        """Takes pairs, writes some if it is to, and learns; the metrics are of all three."""
        key, key_rows, key_order, key_look = jax.random.split(state.key, 4)
        rows, reward_state, start = state.rows, state.reward_state, jnp.int32(0)
        if self.writes_anew:
            rows, reward_state = self.rows_of(state, key_rows)
        else:  # an epoch has one order, wherever in it an iteration begins
            start, key_order = state.iteration * self.config.updates, state.order
        metrics = self.look(state, key_look)
        if self.writes_anew:
            metrics |= self.of_labels(rows)
        params, opt_state, logged = self.learn(state, rows, key_order, start)
        metrics |= {name: Mean.of(value) for name, value in logged.items()}
        return state.replace(
            params=params,
            opt_state=opt_state,
            reward_state=reward_state,
            previous=state.params if self.ranks_twice else (),
            key=key,
            iteration=state.iteration + 1,
        ), metrics

    # ---- learning -----------------------------------------------------------------

    def learn(
        self, state: State, rows: Rows, key: Array, start: Array, objective: Any = None
    ) -> tuple[Any, Any, dict[str, Array]]:
        """`updates` steps from step number `start` of the epochs' orders."""
        config = state.config
        objective = parts_of(state.reward)[1] if objective is None else objective
        optimiser, (vector, tree_of) = self.optimiser(config), ravel_pytree(state.params)
        count, size, updates = rows.label.shape[0], config.batch_size, self.config.updates
        per_epoch = count // size
        epochs = (updates - 1) // per_epoch + 2  # that an iteration can touch

        def order(epoch: Array) -> Array:
            return jax.random.permutation(jax.random.fold_in(key, epoch), count)

        first = start // per_epoch
        orders = jax.vmap(order)(first + jnp.arange(epochs))

        def step(carry: tuple[Array, Any], number: Array) -> Any:
            vector, opt_state = carry
            at = number // per_epoch - first
            place = number % per_epoch * size
            which = jax.lax.dynamic_slice(orders, (at, place), (1, size))[0]
            batch = jax.tree.map(lambda x: x[which], rows)
            loss = lambda vector: self.loss(state, objective, tree_of(vector), batch)  # noqa: E731
            gradient, logged = jax.grad(loss, has_aux=True)(vector)
            change, opt_state = optimiser.update(gradient, opt_state)
            return (optax.apply_updates(vector, change), opt_state), logged

        steps = start + jnp.arange(updates)
        (vector, opt_state), logged = jax.lax.scan(step, (vector, state.opt_state), steps)
        return tree_of(vector), opt_state, logged

    def loss(
        self, state: State, objective: rw.RewardTransform, params: Any, batch: Rows
    ) -> tuple[Array, dict[str, Array]]:
        """The mean cost of some pairs, to be minimised, and what to log."""
        pairs = self.pairs_of(state, params, batch)
        cost = ways.losses(objective, pairs)
        chosen, rejected = pairs.chosen.ratio(), pairs.rejected.ratio()
        ahead = chosen - rejected
        there = batch.there[:, 0], batch.there[:, 1]
        both = there[0] & there[1]
        right = jnp.where(ahead == 0.0, 0.5, (ahead > 0.0).astype(jnp.float32))
        equal = (batch.text[:, 0] == batch.text[:, 1]).all(1)
        logged = {
            "loss": cost.mean(),
            "accuracy": _mean(right, both),
            "margin": _mean(ahead, both),
            "chosen_log_ratio": _mean(chosen, there[0]),
            "rejected_log_ratio": _mean(rejected, there[1]),
            "equal_pairs": equal.mean(),
        }
        return cost.mean(), jax.lax.stop_gradient(logged)

    def pairs_of(self, state: State, params: Any, batch: Rows) -> ways.Pairs:
        """What losses read of some pairs; what none reads is no part of the program."""
        task = self.task
        known = self.log_probs_of(params, batch)
        sides = []
        for which in (0, 1):
            guide, credit = (), ()
            if self.config.guide:
                guide = self.token_log_probs(state.guide, batch.text[:, which])
                credit = jax.nn.sigmoid(guide - batch.reference[:, which]) - 0.5
            if self.config.credit != "guide":
                credit = batch.credit[:, which]
            sides.append(
                pair_making.side_of(
                    task,
                    batch,
                    which,
                    known[:, which],
                    guide,
                    credit,
                )
            )
        calibration = sides[0]
        if not isinstance(batch.calibration, tuple):
            calibration = self.plain_side(state, params, batch.calibration)
        moved = jnp.concatenate(
            [
                jnp.roll(batch.text[:, :, : task.prompt_length], 1, axis=0),
                batch.text[:, :, task.prompt_length :],
            ],
            axis=2,
        )
        shifted = tuple(
            self.plain_side(state, jax.lax.stop_gradient(params), moved[:, i]) for i in (0, 1)
        )
        return ways.pairs(
            *sides,
            label=batch.label,
            agreement=batch.agreement,
            calibration=calibration,
            shifted=shifted,
        )

    def log_probs_of(self, params: Any, batch: Rows) -> Array:
        """Of all tokens of pairs, `[B, 2, T, V]`, each pair's under its objective's head."""
        if isinstance(batch.objective, tuple):
            known = self.log_probs(params, batch.text.reshape(-1, batch.text.shape[-1]))
            return known.reshape(*batch.text.shape[:2], *known.shape[1:])
        heads = jax.nn.one_hot(batch.objective, self.config.objectives)

        def of_pair(text: Array, head: Array) -> Array:
            return self.log_probs(language_models.dial(params, head), text)

        return jax.vmap(of_pair)(batch.text, heads)

    def plain_side(self, state: State, params: Any, text: Array) -> ways.Side:
        """Responses of which the policy's and the reference's log-probabilities are known."""
        alive = text[:, self.task.prompt_length :] < self.task.vocabulary
        policy, reference = (self.token_log_probs(p, text) for p in (params, state.reference))
        return ways.side(policy, reference, alive)

    def guided(self, state: State, rows: Rows, key: Array) -> Any:
        """The parameters after `guide` updates of DPO on some pairs."""
        whole = dataclasses.replace(self, config=self.config.replace(updates=self.config.guide))
        objective = rw.dpo(beta=state.config.guide_beta)
        alone = dataclasses.replace(whole, config=whole.config.replace(guide=0))
        return alone.learn(state, rows, key, jnp.int32(0), objective)[0]

    # ---- looking ------------------------------------------------------------------

    def of_labels(self, rows: Rows) -> dict[str, Mean]:
        """How often the chosen of new pairs is what the reward prefers, where it has a
        preference; and how far two policies agree on the ranking, where that is asked."""
        chosen, rejected = rows.reward[:, 0], rows.reward[:, 1]
        right = (chosen > rejected).astype(jnp.float32)
        told = {"right_labels": Mean.of(right, where=chosen != rejected)}
        return told | ({"agreement": Mean.of(rows.agreement)} if self.ranks_twice else {})

    def look(self, state: State, key: Array) -> dict[str, Mean]:
        """What drawn responses are worth now, and how far the policy is from the reference."""
        key_ask, key_luck, key_write = jax.random.split(key, 3)
        count, task = self.config.look, self.task
        numbers = jax.vmap(lambda k: task.draw(k, self.env.params.mix))(
            jax.random.split(key_ask, count)
        )
        prompts = writing.ask(task, key_luck, numbers, jnp.arange(count))
        read = prompts.question.prompt
        written = language_models.generate(
            self.model, state.params, read, task.max_tokens, key_write
        )
        block = writing.block_of(task, prompts, written)
        text = writing.text_of(prompts, written)
        now, before = (self.log_probs(p, text) for p in (state.params, state.reference))
        alive = (written.tokens < task.vocabulary).T
        # The divergence at each prefix that was written: its mean is that of whole responses.
        each = (jnp.exp(now) * (now - before)).sum(-1)
        groups = groups_of(block)
        return {
            "episode_return": Mean.of(groups.total(block.env_reward)),
            "episode_length": Mean.of(groups.length()),
            "kl": Mean.of((alive * each).sum(1)),
            "entropy": Mean.of(block.policy["entropy"], where=groups.alive),
        }


def _mean(values: Array, where: Array) -> Array:
    """The mean over some; 0 of none."""
    return jnp.where(where, values, 0.0).sum() / jnp.maximum(where.sum(), 1)
