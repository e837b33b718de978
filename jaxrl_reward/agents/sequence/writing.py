"""Responses in groups: what is asked, what a block of responses looks like, a warm-up.

A block is `[T, N]`: token t of response n. Behind the end of a response its rows are
episodes of one step that earn nothing, so that rules for steps and for episodes need
no mask; rules for groups see the first episode of each column only.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxrl_reward.envs.sequence import END, Question, Task, modes
from jaxrl_reward.nn import language_models
from jaxrl_reward.rewards.groups.ways import groups_of
from jaxrl_reward.types import Array, Mean, Transition


class Prompts(NamedTuple):
    """The prompts of N responses, side by side by group.

    Attributes:
      number: the prompt's, `[N]` int32.
      question: what is asked, leaves `[N, ...]`.
      luck: of each response, in [0, 1), `[N]`.
      group: in [0, N), `[N]` int32.
    """

    number: Array
    question: Question
    luck: Array
    group: Array


class Draft(NamedTuple):
    """Responses, and what there is to know of them before they are rewarded.

    Attributes:
      block: the responses, `[T, N, ...]`.
      text: with their prompts, `[N, P + T]`.
      reference: log-probabilities of their tokens by the reference, `[N, T]`.
      found: the right answers' texts, see `answers.signals`, or empty.
    """

    block: Transition
    text: Array
    reference: Array
    found: Any


def joined(one: Draft, other: Draft) -> Draft:
    """The responses of both, side by side; groups of the other are counted on."""
    group = other.block.info["group"] + one.text.shape[0]
    beside = other.block.replace(info={**other.block.info, "group": group})
    block = jax.tree.map(lambda *x: jnp.concatenate(x, 1), one.block, beside)
    rest = jax.tree.map(lambda *x: jnp.concatenate(x), one[1:], other[1:])
    return Draft(block, *rest)


def ask(task: Task, key: Array, numbers: Array, group: Array) -> Prompts:
    """Prompts `numbers[B]` for the responses of groups `group[N]`."""
    questions = jax.vmap(task.ask)(numbers)
    repeated = jax.tree.map(lambda x: x[group], questions)
    return Prompts(numbers[group], repeated, jax.random.uniform(key, group.shape), group)


def block_of(task: Task, prompts: Prompts, written: language_models.Generated) -> Transition:
    """The block of responses, `[T, N, ...]`; `info` is that of a finished response throughout."""
    tokens, (length, count) = written.tokens, written.tokens.shape
    nothing = task.vocabulary
    alive, step = tokens < nothing, jnp.arange(length)[:, None]
    verdict = jax.vmap(task.score)(prompts.question, tokens.T, prompts.luck)
    ended = tokens == END
    reward = jnp.where(ended, verdict.outcome[None], 0.0)
    facts = {"prompt": prompts.number, "level": prompts.question.level, "group": prompts.group}
    info = {
        name: jnp.broadcast_to(value[None], (length, *value.shape))
        for name, value in {**facts, **verdict.facts}.items()
    }
    info |= {name: value.T for name, value in verdict.steps.items()}
    text = text_of(prompts, written)
    place = jnp.arange(text.shape[1])[None, None] - task.prompt_length

    def seen(count: Array) -> Array:
        return jnp.where(place < count[..., None], text[None], nothing).astype(jnp.float32)

    policy = {"log_prob": written.log_prob, "entropy": written.entropy}
    return Transition(
        obs=seen(step),
        action=jnp.where(alive, tokens, END),
        env_reward=reward,
        reward=reward,
        next_obs=seen(step + 1),
        first=(step == 0) | ~alive,
        terminated=ended | ~alive,
        truncated=alive & (step == length - 1),
        info=info,
        policy={**policy, "value": jnp.zeros((length, count))},
    )


def text_of(prompts: Prompts, written: language_models.Generated) -> Array:
    """Prompts and responses, `[N, P + T]`."""
    return jnp.concatenate([prompts.question.prompt, written.tokens.T], axis=1)


def verdicts(
    model: language_models.LanguageModel,
    task: Task,
    writers: dict[str, Any],
    prompts: Prompts,
    tokens: Array,
) -> dict[str, Array]:
    """How likely each writer calls each response right, `[T, N]` each; of a task with modes.

    Args:
      model: the network.
      task: without modes there is nothing to read.
      writers: parameters by name.
      prompts: the prompts.
      tokens: the responses, `[T, N]`.
    """
    if task.modes is None:
        return {}
    asked = modes.judged(task, prompts.question, tokens.T).prompt
    said = {k: modes.verdict(task, model.read(each, asked)[1]) for k, each in writers.items()}
    return {name: jnp.broadcast_to(each[None], tokens.shape) for name, each in said.items()}


def next_logits(
    model: language_models.LanguageModel, task: Task, params: Any, text: Array
) -> Array:
    """The logits of the next token of texts `[N, P + T]` as they are observed, `[N, V]`."""
    text = text.astype(jnp.int32)
    count = (text[:, task.prompt_length :] < task.vocabulary).sum(1)
    at = jnp.minimum(count, task.max_tokens - 1)
    return model.logits(params, text)[jnp.arange(text.shape[0]), at]


def score(
    model: language_models.LanguageModel,
    task: Task,
    params: Any,
    key: Array,
    count: int,
    mix: Any,
    greedy: bool,
) -> tuple[Array, Array]:
    """Outcomes and lengths of `count` responses to new prompts, `[E]` each."""
    key_ask, key_luck, key_write = jax.random.split(key, 3)
    numbers = jax.vmap(partial(task.draw, mix=mix))(jax.random.split(key_ask, count))
    prompts = ask(task, key_luck, numbers, jnp.arange(count))
    draws = None if greedy else key_write
    written = language_models.generate(
        model, params, prompts.question.prompt, task.max_tokens, draws
    )
    verdict = jax.vmap(task.score)(prompts.question, written.tokens.T, prompts.luck)
    ended = (written.tokens == END).any(0)
    length = (written.tokens < task.vocabulary).sum(0, dtype=jnp.int32)
    return jnp.where(ended, verdict.outcome, 0.0), length


def warm_up(
    model: language_models.LanguageModel,
    task: Task,
    key: Array,
    *,
    updates: int,
    batch: int,
    rate: Any,
    wrong: Any,
    mix: Any,
) -> Any:
    """Parameters that imitate demonstrations: the reference policy.

    Of a task with modes they are of all of these alike.

    Args:
      model: the network.
      task: what shows right responses.
      key: of the parameters and the demonstrations.
      updates: Adam steps on the cross-entropy of the responses' tokens.
      batch: demonstrations of a step.
      rate: Adam's.
      wrong: the share of demonstrations that answer another prompt, or give the wrong verdict.
      mix: the weight of harder prompts.
    """
    key_init, key_steps = jax.random.split(key)
    vector, tree_of = ravel_pytree(model.init(key_init))
    optimiser = optax.adam(rate)

    def demonstration(key: Array) -> Array:
        key_prompt, key_solve, key_wrong = jax.random.split(key, 3)
        number, other = (task.draw(k, mix) for k in jax.random.split(key_prompt))
        question = task.ask(number)
        is_wrong = jax.random.uniform(key_wrong) < wrong
        if task.modes is not None:
            asked, response = task.modes.show(question, task.ask(other), is_wrong, key_solve)
            return jnp.concatenate([asked.prompt, response])
        shown = task.ask(jnp.where(is_wrong, other, number))
        return jnp.concatenate([question.prompt, task.solve(shown, key_solve)])

    def loss(vector: Array, text: Array) -> Array:
        tokens = text[:, task.prompt_length :]
        log_probs = language_models.log_softmax(model.logits(tree_of(vector), text))
        there = tokens < task.vocabulary
        chosen = token_log_probs(log_probs, tokens)
        return -jnp.where(there, chosen, 0.0).sum() / there.sum()

    def step(carry: tuple[Array, Any], key: Array) -> Any:
        vector, opt_state = carry
        text = jax.vmap(demonstration)(jax.random.split(key, batch))
        change, opt_state = optimiser.update(jax.grad(loss)(vector, text), opt_state)
        return (optax.apply_updates(vector, change), opt_state), None

    keys = jax.random.split(key_steps, updates)
    (vector, _), _ = jax.lax.scan(step, (vector, optimiser.init(vector)), keys)
    return tree_of(vector)


def token_log_probs(log_probs: Array, tokens: Array) -> Array:
    """Of `log_probs[N, T, V]` those of the tokens `[N, T]`; of any token where there is none."""
    at = jnp.minimum(tokens, log_probs.shape[-1] - 1)
    return jnp.take_along_axis(log_probs, at[..., None], -1)[..., 0]


# ---- what is logged --------------------------------------------------------------------


def measured(task: Task, block: Transition, credit: Array) -> dict[str, Mean]:
    """What to log of responses: outcomes and lengths, how many groups can be learnt from.

    Args:
      task: what they answer.
      block: the responses, rewarded, `[T, N, ...]`.
      credit: of each token, `[N, T]`.
    """
    groups, level = groups_of(block), block.info["level"][0]
    outcome, returns = groups.total(block.env_reward), groups.total(block.reward)
    weight = 1.0 / groups.size()  # each group once
    of_groups = lambda x: Mean((weight * x).sum(), weight.sum())  # noqa: E731
    by_level = {}
    for i in range(len(task.levels) if len(task.levels) > 1 else 0):
        by_level[f"episode_return/level{i}"] = Mean.of(outcome, where=level == i)
        by_level[f"episode_length/level{i}"] = Mean.of(groups.length(), where=level == i)
    return by_level | {
        "episode_return": Mean.of(outcome),
        "episode_length": Mean.of(groups.length()),
        "episode_reward": Mean.of(returns),
        "reward": Mean.of(block.reward, where=groups.alive),
        "entropy": Mean.of(block.policy["entropy"], where=groups.alive),
        "best_of_group": of_groups(groups.max(outcome)),
        "groups_that_differ": of_groups(groups.differ(returns, groups.rounding(block.reward))),
        "credit_size": Mean.of(jnp.abs(credit), where=groups.alive.T),
    }


def measured_items(block: Transition, use: Array, count: int) -> dict[str, Mean]:
    """Outcomes of responses to recycled items, all behind the first `count`, by mode."""
    outcome, mode = groups_of(block).total(block.env_reward)[count:], block.info["mode"][0, count:]
    return {
        f"recycled/{name}": Mean.of(outcome, where=use[count:] & (mode == i))
        for i, name in enumerate(modes.MODES)
        if i
    }
