"""The right answer behind the scratch of a response, by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, envs
from jaxrl_reward.agents.sequence import answers, writing
from jaxrl_reward.types import UserError

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
EQUALS, V = 12, 13  # of `sum`; digit d is token d + 1


def test_answers_come_behind_the_scratch_and_may_have_no_room():
    task = envs.make("sequence:sum,digits=1,max_tokens=5").environment.task
    numbers = jnp.array([4 * 10 + 7, 2, 99])  # 4+7, 0+2, 9+9
    tokens = np.full((5, 3), V)
    tokens[:4, 0], tokens[:2, 1] = [3, EQUALS, 2, 0], [4, 0]  # "2=1", "3"
    tokens[:5, 2] = [1, 1, 1, EQUALS, 2]
    every = np.log(np.random.default_rng(0).dirichlet(np.ones(V), (3, 5))).astype(np.float32)

    @quick
    def both(numbers, tokens, scratch):
        asked = writing.ask(task, jax.random.key(0), numbers, jnp.arange(3))
        found = answers.answered(task, asked, tokens, scratch)
        return asked.question.prompt, found, answers.log_probs(jnp.asarray(every), found)

    prompt, found, known = both(numbers, jnp.asarray(tokens), jnp.array([2.0, 0.0, 4.0]))
    expected = [[3, EQUALS, 2, 2, 0], [3, 0, V, V, V], [1, 1, 1, EQUALS, 2]]
    np.testing.assert_array_equal(found.text[:, task.prompt_length :], expected)
    np.testing.assert_array_equal(found.text[:, : task.prompt_length], prompt)
    np.testing.assert_array_equal(found.tokens[2], [2, 9, 0, V, V])  # 18, the end

    known = np.asarray(known)
    np.testing.assert_allclose(known[0], [*every[0, [2, 3, 4], [2, 2, 0]], 1, 1], rtol=1e-6)
    np.testing.assert_allclose(known[1], [*every[1, [0, 1], [3, 0]], 1, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(known[2], [every[2, 4, 2], -13.8, -13.8, 1, 1], rtol=1e-6)


def test_the_answer_of_thinking_needs_none():
    """As the verifier sees it, with luck; elsewhere the answer is what demonstrations show."""
    task = envs.make("sequence:think").environment.task

    @quick
    @jax.vmap
    def judged(number):
        question = task.ask(number)
        return task.verify(question, task.answer(question), jnp.float32(0.0))

    verdict = judged(jnp.arange(0, task.prompts, 5))
    np.testing.assert_array_equal(verdict.outcome, 1.0)
    np.testing.assert_array_equal(verdict.facts["scratch"], 0.0)


TINY = {"num_envs": 8, "group_size": 4, "width": 4, "network": "gru", "warmup": 1}


def test_the_agent_tells_rewards_of_answers_and_of_the_reference():
    """Traced, not compiled."""
    judged = "signal('answer_log_probs') | likelihood()"
    less = f"({judged}) - (signal('bare_answer_log_probs') | likelihood())"
    reward = f"stack({less}, implicit_process(actions=11, tokens=12)) | prime()"
    settings = {**TINY, "advantage": "env", "teach": "group", "warmup_batch": 2}
    agent = agents.make("group_pg", "sequence:think,max_tokens=4", reward, **settings)
    state = jax.eval_shape(agent.init, jax.random.key(0))
    after, metrics = jax.eval_shape(agent.iterate, state)
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), s) for s in (state, after)]
    assert shapes[0] == shapes[1]
    assert "reward/implicit_process/accuracy" in metrics


def test_what_is_refused():
    with pytest.raises(UserError, match="sequence:tree has no one right answer to teach"):
        agents.make("group_pg", "sequence:tree", **TINY, teach="probability")
    with pytest.raises(UserError, match="did you mean 'probability'"):
        agents.make("group_pg", "sequence:sum", **TINY, teach="probabilty")
    with pytest.raises(UserError, match="there is no such signal here"):
        agents.make("group_pg", "sequence:tree", "signal('answer_log_probs')", **TINY)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_probability_of_the_answer_is_learnt_without_drawing_it():
    """Warm-up leaves nearly every answer open; the likelihood of the right one settles it."""
    agent = agents.make(
        *("group_pg", "sequence:modular,terms=2,max_tokens=3"),
        "signal('answer_log_probs') | likelihood(form='mean_log')",
        **{**TINY, "num_envs": 128, "width": 32, "warmup": 50, "warmup_batch": 32},
        **{"teach": "mean_log", "learning_rate": 1e-2, "warmup_wrong": 1.0},
        advantage="stack(rloo(), signal('scratch')) | on_scratch()",
    )

    @jax.jit
    def run(key):
        state = agent.init(key)
        before = agent.evaluate(state, jax.random.key(1), 256)[0].mean()
        state = jax.lax.fori_loop(0, 150, lambda _, s: agent.iterate(s)[0], state)
        return before, agent.evaluate(state, jax.random.key(1), 256)[0].mean()

    before, after = run(jax.random.key(0))
    assert before < 0.4 and after > before + 0.3, (before, after)
