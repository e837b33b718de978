"""Of `cotrained`: the judge that all arms begin with, and how right judges are."""

from typing import Any

import _writing
import jax
import jax.numpy as jnp

from jaxrl_reward import envs
from jaxrl_reward.agents.sequence import response_scores
from jaxrl_reward.agents.sequence.writer import model_of
from jaxrl_reward.data.pairs import PairSet
from jaxrl_reward.nn import response_models
from jaxrl_reward.preferences import judges
from jaxrl_reward.rewards.core.ways import LearnedState
from jaxrl_reward.rewards.groups.judges import answered, responses_of
from jaxrl_reward.rewards.groups.ways import groups_of
from jaxrl_reward.types import Array, Transition

PAIRS, STEPS = 1024, 300  # of the first judge: comparisons, and steps of Adam
SEEN = 4  # responses to a prompt, of which each two are compared


def judges_in(reward_state: Any) -> list[LearnedState]:
    """The states of all judges, in the order of the expression."""
    leaves = jax.tree.leaves(reward_state, is_leaf=lambda x: isinstance(x, LearnedState))
    return [each for each in leaves if isinstance(each, LearnedState)]


def with_judge(reward_state: Any, params: Any) -> Any:
    """The state with these parameters of all judges."""
    is_judge = lambda x: isinstance(x, LearnedState)  # noqa: E731
    put = lambda x: x.replace(params=params) if is_judge(x) else x  # noqa: E731
    return jax.tree.map(put, reward_state, is_leaf=is_judge)


def texts(task: Any, block: Transition) -> tuple[Array, Array]:
    """Responses behind their prompts and right answers, `[N, P + T]`, and their gold, `[N]`."""
    groups = groups_of(block)
    text = responses_of(block, groups)
    questions = jax.vmap(task.ask)(block.info["prompt"][0])
    before = answered(questions.prompt, jax.vmap(task.answer)(questions), task.vocabulary)
    both = jnp.concatenate([before, text[:, task.prompt_length :]], 1)
    return both, groups.total(block.env_reward)


def design(task: Any, width: int) -> judges.Design:
    """Of the judge's networks, as the term `judge(reference=True)` has them."""
    prompt = task.prompt_length + task.max_tokens
    return judges.Design(task.vocabulary, prompt, task.max_tokens, width=width)


def first_judge(env: Any, config: Any, params: Any, key: Array, width: int, bonus: float) -> Any:
    """Parameters of a judge fitted to what a rater prefers of the base's responses.

    A rater says which of two has more gold, and `bonus` for every mark; of equals a coin.
    """
    task = env.environment.task
    keys = jax.random.split(key, 5)
    numbers = jax.random.randint(keys[0], (PAIRS,), 0, task.prompts)
    block = response_scores.responses(model_of(config, task), task, params, keys[1], numbers, 2)
    text, gold = texts(task, block)
    worth = gold + bonus * block.info["marked"][0]
    both = text.reshape(PAIRS, 2, -1)
    first, second = worth.reshape(PAIRS, 2).T
    coin = jax.random.bernoulli(keys[2], 0.5, first.shape)
    wins: Any = jnp.where(first == second, coin, first > second)
    made = design(task, width)
    blank = jnp.zeros(PAIRS)
    pairs = PairSet(
        prompt=both[:, 0, : made.prompt],
        chosen=both[:, 0, made.prompt :],
        rejected=both[:, 1, made.prompt :],
        there=jnp.ones((PAIRS, 2), bool),
        label=wins.astype(jnp.float32),
        strength=blank,
        reward=jnp.zeros((PAIRS, 2)),
        user=blank.astype(jnp.int32),
    )
    model = judges.init(keys[3], made)
    return judges.fit(model, keys[4], pairs, steps=STEPS)[0].params


def order(env: Any, config: Any, params: Any, key: Array, judged: Any, width: int) -> tuple:
    """How often a judge orders two responses to a prompt as gold does, and its mean score.

    Of pairs of different gold; a tie of the judge is not right. A policy that writes the same
    again and again leaves few of them, hence their number.
    """
    task = env.environment.task
    numbers = jnp.arange(task.prompts)
    block = response_scores.responses(model_of(config, task), task, params, key, numbers, SEEN)
    text, gold = texts(task, block)
    one = jax.tree.map(lambda x: x[0], judged)
    score = response_models.judge(design(task, width), one, text).score()
    gold, score = gold.reshape(-1, SEEN), score.reshape(-1, SEEN)
    apart = gold[:, :, None] > gold[:, None] + 1e-6
    right = score[:, :, None] > score[:, None]
    return _writing.mean_where(right * 1.0, apart), apart.sum(), score.mean()


def made(env: str) -> Any:
    """The environment, once."""
    if env not in _MADE:
        _MADE[env] = envs.make(env)
    return _MADE[env]


_MADE: dict[str, Any] = {}
