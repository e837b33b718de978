"""Of `recycled`: what a writer with modes says of its own responses, and how it mends them."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward.agents.sequence import pair_making, response_scores, writing
from jaxrl_reward.agents.sequence.writer import model_of
from jaxrl_reward.envs.sequence import modes
from jaxrl_reward.nn import language_models
from jaxrl_reward.rewards.groups.ways import groups_of
from jaxrl_reward.types import Array

DRAWS = 4  # responses to each prompt that are looked at


def look(agent: Any, state: Any, key: Array) -> dict[str, Array]:
    """Shares of right responses, first and mended, and of right verdicts on these responses.

    `judge` is the mean of the shares of right responses called right and of wrong ones called
    wrong; `pairs` of right and wrong ones to a prompt that are told apart, both orders counted.
    """
    task, config, params = agent.env.environment.task, state.config, state.params
    model = model_of(config, task)
    key_draw, key_fix = jax.random.split(jax.random.fold_in(key, 0x6C6F6F6B))
    numbers = jnp.arange(task.prompts)
    block = response_scores.responses(model, task, params, key_draw, numbers, DRAWS)
    groups = groups_of(block)
    right = groups.total(block.env_reward) >= 0.5
    written: Array = block.action.T
    nothing: int = task.vocabulary
    tokens = jnp.where(groups.alive.T, written, nothing)
    question = jax.vmap(task.ask)(jnp.repeat(numbers, DRAWS))

    def chance(asked: Any) -> Array:
        return modes.verdict(task, model.read(params, asked.prompt)[1])

    score = chance(modes.judged(task, question, tokens))
    said = score > 0.5
    asked = modes.mending(task, question, tokens)
    prompts = writing.Prompts(jnp.repeat(numbers, DRAWS), asked, jnp.zeros(right.shape), groups.ids)
    again = language_models.generate(model, params, asked.prompt, task.max_tokens, key_fix)
    mended = writing.block_of(task, prompts, again)
    fixed = groups_of(mended).total(mended.env_reward)

    by_prompt = lambda x: x.reshape(-1, DRAWS, *x.shape[1:])  # noqa: E731
    one, other = (x.reshape(-1) for x in jnp.indices((DRAWS, DRAWS)))
    here = by_prompt(right)
    apart = here[:, one] & ~here[:, other]
    first, second = (by_prompt(tokens)[:, at].reshape(-1, task.max_tokens) for at in (one, other))
    all_pairs = jax.tree.map(lambda x: jnp.repeat(x[::DRAWS], one.size, axis=0), question)
    forth = chance(modes.compared(task, all_pairs, first, second)).reshape(apart.shape) > 0.5
    back = chance(modes.compared(task, all_pairs, second, first)).reshape(apart.shape) > 0.5
    higher = by_prompt(score)[:, one] > by_prompt(score)[:, other]
    return {
        "solved": right.mean(),
        "judge": 0.5 * (_mean(said, right) + _mean(~said, ~right)),
        "pairs": 0.5 * (_mean(forth, apart) + _mean(~back, apart)),
        "ranks": _mean(higher, apart),
        "called right": said.mean(),
        "verdicts": (said == right).mean(),
        "fixed": _mean(fixed, ~right),
        "after one correction": jnp.where(said, right, fixed).mean(),
    }


def _mean(values: Array, where: Array) -> Array:
    return jnp.where(where, values, 0.0).sum() / jnp.maximum(where.sum(), 1)


def referees(agent: Any, state: Any, key: Array) -> dict[str, Array]:
    """Gold of prompts that the rule knows and of others, and how two referees judge the latter.

    The own verdict and the reference's, on responses that are written now: `judge` as in `look`,
    of what is right in all, and Kendall's tau with gold among the responses to a prompt.
    """
    task, config = agent.env.environment.task, state.config
    model = model_of(config, task)
    key_draw = jax.random.fold_in(key, 0x6C6F6F6B)
    numbers = jnp.arange(task.prompts)
    block = response_scores.responses(model, task, state.params, key_draw, numbers, 2 * DRAWS)
    groups = groups_of(block)
    gold, known = groups.total(block.env_reward), block.info["level"][0] == 0
    written: Array = block.action.T
    nothing: int = task.vocabulary
    tokens = jnp.where(groups.alive.T, written, nothing)
    question = jax.vmap(task.ask)(jnp.repeat(numbers, 2 * DRAWS))
    asked = modes.judged(task, question, tokens).prompt
    found = {"gold of known prompts": _mean(gold, known), "gold of others": _mean(gold, ~known)}
    by_prompt = lambda x: x.reshape(-1, 2 * DRAWS)  # noqa: E731
    differ = ~by_prompt(known)[:, 0] & (by_prompt(gold).max(1) > by_prompt(gold).min(1))
    for name, params in (("own", state.params), ("frozen", state.reference)):
        score = modes.verdict(task, model.read(params, asked)[1])
        right, said = gold > 0.99, score > 0.5
        share = 0.5 * (_mean(said, right & ~known) + _mean(~said, ~right & ~known))
        tau = pair_making.kendall(by_prompt(score), by_prompt(gold))
        found |= {f"judge, {name}": share, f"tau, {name}": _mean(tau, differ)}
        found[f"score, {name}"] = _mean(score, ~known)
    return found
