"""Policy gradients on groups of responses: REINFORCE, RLOO, GRPO, Dr. GRPO and their kin.

One `iterate` writes `num_envs` responses, `group_size` to each prompt, rewards them,
turns the rewards into advantages by a rule, and takes Adam steps on a clipped
surrogate. The rule is an expression like the reward, `reward | advantage`, and what
it pays from a token on is the token's credit:

  REINFORCE with a baseline  advantage="centred()"
  RLOO                       advantage="rloo()"
  GRPO                       advantage="grpo()" aggregation="sequence" kl="loss" kl_coef=0.04
  with the KL's own slope    the same with kl="unbiased_loss"
  Dr. GRPO                   advantage="centred()" aggregation="constant"
  DAPO                       advantage="grpo()" clip_high=0.28 drop_equal=True
  negative-only              advantage="grpo() | clip(-100, 0)"
  VeriFree, RLPR, JEPO       see `rewards.likelihoods`
  RTO                        see `guides`
  SPARK                      recycle=32, of a task with modes: see `envs.sequence.modes`
  none                       advantage="env": the reward is the credit

A short supervised warm-up, in `init`, gives the first policy and the reference.
"""

import dataclasses
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import base, batching, policies, rollout
from jaxrl_reward.agents.common import state as common
from jaxrl_reward.agents.sequence import answers, budgets, guides, writing
from jaxrl_reward.agents.sequence import entropy_control as control
from jaxrl_reward.agents.sequence import group_losses as losses
from jaxrl_reward.agents.sequence.group_config import Config, check
from jaxrl_reward.agents.sequence.writer import Writer, environment_of
from jaxrl_reward.envs.sequence import modes
from jaxrl_reward.nn import language_models
from jaxrl_reward.rewards.core import registry
from jaxrl_reward.rewards.groups import likelihoods
from jaxrl_reward.rewards.groups.ways import groups_of
from jaxrl_reward.types import Array, Mean, Transition, UserError, nearest

TERMS = base.KINDS[:-1]  # of rewards: all but those of pairs


class State(common.State):
    """As every agent's; `env_state` and `obs_stats` are empty.

    Attributes:
      reference: the parameters after the warm-up.
      guide: those of the guide; empty without one.
      rule_state: the advantage rule's.
      rates: the share of right responses of each prompt, `[prompts]`; empty with
        uniform sampling.
      history: what entropy control compares with, and how many iterations that is of, `[2]`.
    """

    reference: Any
    guide: Any
    rule_state: Any
    rates: Array
    history: Array


def make(config: Config, env: envs.Env, reward: rw.RewardTransform | None = None) -> base.Agent:
    """A `group_pg` agent.

    Args:
      config: the settings.
      env: a `sequence:` environment.
      reward: what it learns from, whole episodes and groups included; the verifier's
        outcome by default.

    Raises:
      UserError: a setting is out of range, or the environment or the reward is
        not for it.
    """
    env = environment_of("group_pg", env)
    check(config)
    reward = base.check_reward("group_pg", config, env, reward)
    base.check_terms("group_pg", reward, episodes=True, groups=True)
    made = _GroupPG(config, reward, env, _rule(config.advantage))
    if config.teach != "none" and made.task.answer is None:
        raise UserError(f"{env.name} has no one right answer to teach: use teach=none")
    made.check_reward()
    made.check_groups()
    made.check_recycled()
    functions = (made.init, made.iterate, made.act, made.evaluate)
    steps = config.num_envs * made.task.max_tokens
    return base.Agent(
        *("group_pg", config, env, reward, *functions, steps),
        policy=partial(policies.of_act, made.act),
        remake=lambda config, other=None: make(config, env, reward if other is None else other),
        check=check,
    )


def _rule(text: str) -> rw.RewardTransform:
    """The advantage rule of a text; a bare name is the rule with its defaults."""
    bare = text.isidentifier() and text in {entry.name for entry in registry.entries()}
    rule = rw.parse(f"{text}()" if bare and text != "env" else text)
    return rw.discounts.bind(rule, 1.0)


@dataclasses.dataclass(frozen=True, eq=False)
class _GroupPG(Writer):
    """The functions of one agent; the numbers in `config` and `reward` are defaults."""

    config: Config
    rule: rw.RewardTransform

    # ---- the agent ----------------------------------------------------------------

    def init(self, key: Array, config: Config | None = None, reward: Any = None) -> State:
        """The state before the first iteration, after the warm-up.

        Raises:
          UserError: `config` or `reward` differs from the agent's in more than its
            numbers, or a number is out of range.
        """
        base.check_key(key)
        settings, reward = base.settle(self, check, config, reward)
        key_guide = jax.random.fold_in(key, 4)
        key, key_params, key_reward, key_rule = jax.random.split(key, 4)
        params = self.warm_up(settings, key_params)
        example, prompts = self.example(), self.task.prompts * (settings.sampling != "uniform")
        return State(
            config=settings,
            reward=reward,
            params=params,
            opt_state=self.optimiser(settings).init(ravel_pytree(params)[0]),
            env_state=(),
            reward_state=reward.init(key_reward, example),
            obs_stats=(),
            episode_reward=jnp.zeros(settings.num_envs),
            key=key,
            iteration=jnp.int32(0),
            reference=params,
            guide=guides.tuned(self, settings, params, key_guide) if self.config.guide else (),
            rule_state=self.rule.init(key_rule, self.example(self.config.rows)),
            rates=jnp.full(prompts, 0.5),
            history=jnp.zeros(2),
        )

    def iterate(self, state: State) -> tuple[State, dict[str, Mean]]:
        """Writes, rewards and learns; the metrics are of all three."""
        key, key_ask, key_write, key_control, key_rows, key_learn = jax.random.split(state.key, 6)
        config, prompts = state.config, self.ask(state, key_ask)
        draft = self.write(state, prompts, key_write)
        applied = state.reward.apply(state.reward_state, draft.block)
        alive = groups_of(draft.block).alive
        paid = jnp.where(alive, jax.lax.stop_gradient(applied.reward), 0.0)
        block = draft.block.replace(reward=paid)
        draft, use = self.with_items(state, prompts, draft._replace(block=block))

        known = draft.reference
        judged = draft.block.replace(
            reward=self.with_kl_penalty(config, draft.block.reward, draft.block, known)
        )
        rule_state, credit = self.credit(state, judged)
        history, batch = self.batch(state, key_control, draft, credit, use)
        batch = batch._replace(**self.aux_targets(config, draft.block, draft.found))
        params, opt_state, logged = self.update(state, key_rows, history, batch)
        reward_state, learned = state.reward.learn(applied.state, key_learn, block)
        metrics = writing.measured(self.task, block, credit[: config.num_envs]) | {
            k: Mean.of(value) for k, value in logged.items()
        }
        if config.recycle:
            metrics |= writing.measured_items(draft.block, use, config.num_envs)
        for name, value in (applied.metrics | learned).items():
            metrics[f"reward/{name.removeprefix('reward/')}"] = Mean.of(value)
        return state.replace(
            iteration=state.iteration + 1,
            params=params,
            opt_state=opt_state,
            reward_state=reward_state,
            rule_state=rule_state,
            rates=self.update_rates(state, prompts, block),
            history=history,
            key=key,
        ), metrics

    # ---- what it is made of -------------------------------------------------------

    @cached_property
    def own_steps(self) -> bool:
        """Whether each token has a credit of its own, which nothing behind adds to."""
        return rw.gives_own_steps(self.reward if isinstance(self.rule, rw.env) else self.rule)

    def example(self, rows: int | None = None) -> Transition:
        """A block of zeros in the shape of what is written, of `num_envs` responses by default."""
        rows = self.config.num_envs if rows is None else rows
        zeros = jnp.zeros((self.task.max_tokens, rows))
        written = language_models.Generated(zeros.astype(jnp.int32), zeros, zeros)

        def block(key: Array) -> Transition:
            numbers = jnp.zeros(rows, jnp.int32)
            prompts = writing.ask(self.task, key, numbers, jnp.arange(rows))
            plain, params = writing.block_of(self.task, prompts, written), self.model.init(key)
            reference = self.log_probs(params, writing.text_of(prompts, written))
            guide = reference if self.config.guide else ()
            block = self.add_signals(plain, params, reference, guide, prompts)[0]
            writers = {"verdict": params, "reference_verdict": params}
            said = writing.verdicts(self.model, self.task, writers, prompts, written.tokens)
            return block.replace(policy={**block.policy, **said})

        shapes = jax.eval_shape(block, jax.random.key(0))
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def check_reward(self) -> None:
        """Raises a `UserError` unless reward and rule give one number a token."""

        example = self.example()
        if parts := rw.trial.parts(self.reward, example):
            raise UserError(f"{self.reward} gives {parts[0]} numbers a token: add a scalariser")
        if rw.trial.parts(self.rule, example):
            raise UserError(f"the advantage {self.rule} must give one number a token")

    def check_groups(self) -> None:
        """Raises a `UserError` if groups of one response leave the rule nothing to compare."""
        if self.config.group_size * self.config.views > 1:
            return
        example, key = self.example(), jax.random.key(0)
        paid = jax.eval_shape(self.reward.apply, self.reward.init(key, example), example).reward
        group = jnp.broadcast_to(jnp.arange(self.config.num_envs), example.first.shape)
        block = example.replace(
            reward=jax.random.normal(key, paid.shape), info={**example.info, "group": group}
        )
        if not self.rule.apply(self.rule.init(key, block), block).reward.any():
            raise UserError(
                f"group_pg's advantage {self.rule} of groups of one response is always 0; use a "
                "larger group_size, or one that compares all responses, such as reinforce()"
            )

    def check_recycled(self) -> None:
        """Raises a `UserError` unless there are items to make, where some are wanted."""
        if not self.config.recycle:
            return
        if self.task.modes is None:
            name = self.env.name
            raise UserError(
                f"{name} asks nothing about responses: give it modes=True, or recycle=0"
            )
        rule, told = self.config.recycle_rule, self.example().info
        if rule and rule not in told:
            raise UserError(
                f"group_pg's recycle_rule={rule!r} is no fact here, {nearest(rule, told)}"
            )

    # ---- asking ---------------------------------------------------------------------

    def ask(self, state: State, key: Array) -> writing.Prompts:
        """The prompts of an iteration, in groups."""
        config, task = state.config, self.task
        key_draw, key_weight, key_luck = jax.random.split(key, 3)
        count = config.num_envs // (config.group_size * config.views)
        draw = partial(task.draw, mix=self.env.params.mix)
        numbers = jax.vmap(draw)(jax.random.split(key_draw, count))
        if config.sampling == "variance":
            weights = budgets.spread_weights(state.rates) + 1e-6
            weighted = budgets.draw(key_weight, weights, count)
            numbers = jnp.where(jnp.arange(count) % 2 == 0, weighted, numbers)
        if config.views == 2:
            numbers = jnp.stack([numbers, jax.vmap(task.rephrase)(numbers)], 1).reshape(-1)
        group = jnp.arange(config.num_envs) // config.group_size
        if config.sampling == "knapsack":
            # Before a prompt is known its rate is a half, and all get as many.
            largest = min(4 * config.group_size, config.num_envs)
            least = min(2, config.group_size)
            sizes = budgets.knapsack(state.rates[numbers], config.num_envs, least, largest)
            group = budgets.groups_of_sizes(sizes, config.num_envs)
        return writing.ask(task, key_luck, numbers, group)

    def write(self, state: State, prompts: writing.Prompts, key: Array) -> writing.Draft:
        """Responses to prompts, with what rewards may read of them."""
        config, read = state.config, prompts.question.prompt
        length = self.task.max_tokens
        written = language_models.generate(self.model, state.params, read, length, key)
        block = writing.block_of(self.task, prompts, written)
        text = writing.text_of(prompts, written)
        alive, known = written.tokens < self.task.vocabulary, written.log_prob.T
        everything = self.log_probs(state.reference, text)
        if config.kl != "none":
            known = jnp.where(alive.T, writing.token_log_probs(everything, written.tokens.T), 0.0)
        guide = self.log_probs(state.guide, text) if config.guide else ()
        block, found = self.add_signals(block, state.params, everything, guide, prompts)
        writers = {"verdict": state.params, "reference_verdict": state.reference}
        said = writing.verdicts(self.model, self.task, writers, prompts, written.tokens)
        block = block.replace(policy={**block.policy, **said})
        return writing.Draft(block, text, known, found)

    def with_items(
        self, state: State, prompts: writing.Prompts, draft: writing.Draft
    ) -> tuple[writing.Draft, Array]:
        """The responses, then those to items made of them, and which of all count, `[rows]`.

        What an item's response is worth is the verifier's, whatever the reward of the others.
        """
        config, use = state.config, jnp.ones(draft.text.shape[0], bool)
        if not config.recycle:
            return draft, use
        key_items, key_luck, key_write = jax.random.split(jax.random.fold_in(state.key, 7), 3)
        groups, told = groups_of(draft.block), draft.block.info
        rule = told[config.recycle_rule] if config.recycle_rule else draft.block.env_reward
        right = groups.final(rule) >= 0.5
        known = prompts.question.level < (config.recycle_levels or len(self.task.levels))
        tokens = draft.text[:, self.task.prompt_length :]
        items = modes.recycle(
            *(key_items, self.task, prompts.question, tokens, right, told["scratch"][0]),
            *(prompts.group, config.recycle, known),
        )
        group = jnp.arange(config.items) // config.group_size
        asked = jax.tree.map(lambda x: x[group], items.question)
        luck = jax.random.uniform(key_luck, group.shape)
        own = writing.Prompts(jnp.zeros_like(group), asked, luck, group)
        more = writing.joined(draft, self.write(state, own, key_write))
        return more, jnp.concatenate([use, items.use[group]])

    def update_rates(self, state: State, prompts: writing.Prompts, block: Transition) -> Array:
        """The shares of right responses, once those of this iteration are known."""
        if state.config.sampling == "uniform":
            return state.rates
        groups = groups_of(block)
        rate = jnp.clip(groups.mean(groups.total(block.env_reward)), 0.0, 1.0)
        return state.rates.at[prompts.number].set(rate)

    # ---- learning -------------------------------------------------------------------

    def add_signals(
        self, block: Transition, params: Any, reference: Array, guide: Any, prompts: writing.Prompts
    ) -> tuple[Transition, Any]:
        """The block, with what rewards may read of reference, guide and the right answer.

        And those answers; empty where the task has none. What is not read is not computed:
        it is no part of the program.
        """
        known = partial(self.log_probs, params)
        policy, found = answers.signals(self.task, known, prompts, block)
        policy["reference"] = reference.swapaxes(0, 1)
        policy |= guides.signals(block, reference, guide)
        return block.replace(policy={**block.policy, **policy}), found

    def aux_targets(self, config: Config, block: Transition, found: Any) -> dict[str, Any]:
        """Of a batch, what is to be learnt of the right answers."""
        if config.teach == "none":
            return {}
        known = block.policy["answer_log_probs"][0]
        weights = likelihoods.shares(config.teach, known, groups_of(block))
        return {"answered": found, "taught": jax.lax.stop_gradient(weights)}

    def with_kl_penalty(
        self, config: Config, reward: Array, block: Transition, known: Array
    ) -> Array:
        """The reward `[T, N]` less the KL to the reference, where it belongs there."""
        if config.kl != "reward":
            return reward
        return reward - config.kl_coef * (block.policy["log_prob"] - known.T)

    def credit(self, state: State, block: Transition) -> tuple[Any, Array]:
        """The rule's state and the credit of each token, `[N, T]`."""
        ruled = self.rule.apply(state.rule_state, block)
        credit = jax.lax.stop_gradient(ruled.reward).T
        return ruled.state, credit if self.own_steps else losses.to_go(credit)

    def batch(
        self, state: State, key: Array, draft: writing.Draft, credit: Array, kept: Array
    ) -> tuple[Array, losses.Batch]:
        """What is learned from, and what entropy control compares with from now on."""
        block, text = draft.block, draft.text
        config, groups = state.config, groups_of(block)
        returns = groups.total(block.reward)
        if config.drop_equal:
            kept &= groups.differ(returns, groups.rounding(block.reward))
        everything: Any = ()
        if config.objective == "rover" or config.control == "siren":
            everything = self.log_probs(state.params, text)
        batch = losses.Batch(
            text=text,
            tokens=text[:, self.task.prompt_length :],
            alive=groups.alive.T,
            old=block.policy["log_prob"].T,
            reference=draft.reference,
            credit=credit,
            weight=losses.token_weights(config.aggregation, groups.alive.T, kept),
            gain=jnp.ones(credit.shape),
            penalty=jnp.zeros(credit.shape),
            centred=groups.centre(returns),
            old_all=everything if config.objective == "rover" else (),
            answered=(),
            taught=(),
        )
        entropy = block.policy["entropy"].T
        history = control.follow(config.control, state, entropy, everything, batch.alive)
        gain, penalty = control.held_back(config, key, batch, entropy)
        return history, batch._replace(gain=gain, penalty=penalty)

    def update(
        self, state: State, key: Array, history: Array, batch: losses.Batch
    ) -> tuple[Any, Any, dict[str, Array]]:
        """`epochs` passes: parameters, optimiser state, and losses of each minibatch."""
        config = state.config
        optimiser, (vector, tree_of) = self.optimiser(config), ravel_pytree(state.params)
        keys = jax.random.split(key, config.epochs)
        rows = jax.vmap(lambda key: rollout.shuffle(key, config.rows))(keys)
        loss = partial(losses.loss, config, self.log_probs, history)

        def step(carry: tuple[Array, Any], rows: Array) -> Any:
            vector, opt_state = carry
            gradient, metrics = batching.mean_gradient(loss, tree_of(vector), batch, rows)
            change, opt_state = optimiser.update(ravel_pytree(gradient)[0], opt_state)
            return (optax.apply_updates(vector, change), opt_state), metrics

        rows = rows.reshape(config.epochs * config.minibatches, -1)
        (vector, opt_state), metrics = jax.lax.scan(step, (vector, state.opt_state), rows)
        return tree_of(vector), opt_state, metrics
