"""What the judges of the experiment `judges` are asked, and how their ranks are compared."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

SMALL = {"judges": 3, "width": 4, "pairs": 60, "num_envs": 16}


@pytest.fixture
def world(beside):
    return beside("_judges_world")


def test_questions_are_of_better_and_worse_responses(world):
    """Each is worth, to its prompt, more than what it is compared with, by the task itself."""
    agent = world.agent_of({**world.SETTINGS, **SMALL})
    task = agent.env.environment.task
    rng = np.random.default_rng(0)
    count, prompts = 40, world.PROMPTS
    text = np.full((prompts, count, 1 + world.TOKENS), task.vocabulary)
    text[..., 0] = np.arange(prompts)[:, None] + 1
    truth = np.stack([task.ask(jnp.int32(i)).truth for i in range(prompts)])
    answer = rng.integers(1, 9, (prompts, count, world.LENGTH))
    answer = np.where(rng.random(answer.shape) < 0.4, truth[:, None], answer)
    text[..., 1 : 1 + world.LENGTH], text[..., 1 + world.LENGTH] = answer, 0

    @jax.jit
    @jax.vmap
    def worth(text):
        question = task.ask(text[0] - 1)
        return task.score(question, text[1:], jnp.float32(0.0)).outcome

    flat = jnp.asarray(text.reshape(-1, text.shape[-1]), jnp.int32)
    known = world.Responses(flat.reshape(text.shape), worth(flat).reshape(prompts, count))
    asked = jax.jit(partial(world.exam, agent))(jax.random.key(0), known)
    for name, k in (("rivals", 10), ("prompts", 2), ("pairs", 2)):
        found = getattr(asked, name)
        assert found.shape == (prompts * count // 2, k, text.shape[-1])
        gold = np.asarray(worth(found.reshape(-1, text.shape[-1]))).reshape(-1, k)
        assert (gold[:, :1] > gold[:, 1:]).all(), name
    one, other = np.asarray(asked.prompts).swapaxes(0, 1)
    assert (one[:, 1:] == other[:, 1:]).all() and (one[:, 0] != other[:, 0]).all()
    gold = np.asarray(worth(asked.responses.reshape(-1, text.shape[-1]))).reshape(-1, 2)
    assert (gold[:, 0] > gold[:, 1]).all()
    letters, there = asked.letters
    np.testing.assert_allclose(there.mean(1), worth(letters), atol=1e-6)


def test_the_rank_correlation_is_spearmans(world):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, 50).astype(np.float32)
    y = x + rng.integers(0, 6, 50)
    expected = scipy.stats.spearmanr(x, y).statistic
    found = world.spearman(jnp.asarray(x), jnp.asarray(y, jnp.float32))
    assert found == pytest.approx(expected, abs=1e-5)
    assert world.spearman(jnp.ones(50), jnp.asarray(x)) == 0.0


def test_judges_differ_as_they_should(world):
    kind = world.kinds(world.SETTINGS)
    assert kind.pairs.min() >= 30 and kind.pairs.max() <= 1000
    assert kind.units.min() == 2 and kind.units.max() == 16
    assert kind.wrong.min() >= 0 and kind.wrong.max() <= 0.4
    assert (
        abs(np.corrcoef(np.stack(kind))[np.triu_indices(3, 1)]).max() < 0.3
    )  # that of chance, of a hundred
