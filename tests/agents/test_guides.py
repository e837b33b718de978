"""A guide's log-ratios as rewards of tokens: RTO's, against the networks token by token."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.sequence import writing
from jaxrl_reward.nn import language_models
from jaxrl_reward.types import UserError

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
SMALL = {"network": "gru", "width": 4, "warmup": 20, "warmup_batch": 16, "num_envs": 16}
SMALL |= {"group_size": 4, "guide": 20, "guide_pairs": 64, "learning_rate": 0.01}
LOCAL = "sequence:local,length=4,matter=2,max_tokens=6"


@pytest.fixture(scope="module")
def written():
    """An agent's functions, its first state, a policy that has moved, and what that writes."""
    made = agents.make("group_pg", LOCAL, **SMALL).act.__self__
    state = quick(made.init)(jax.random.key(3))
    moved = jax.tree.map(
        lambda x: x + 0.1 * jnp.cos(1.0 * jnp.arange(x.size)).reshape(x.shape), state.params
    )
    state = state.replace(params=moved)

    @quick
    def write(state):
        prompts = made.ask(state, jax.random.key(0))
        read, length = prompts.question.prompt, made.task.max_tokens
        given = language_models.generate(made.model, state.params, read, length, jax.random.key(1))
        block, text = writing.block_of(made.task, prompts, given), writing.text_of(prompts, given)
        known = [made.log_probs(p, text) for p in (state.reference, state.guide)]
        return made.add_signals(block, state.params, *known, prompts)[0], text

    return made, state, *write(state)


def stepped(made, params, text):
    """Log-probabilities of the tokens `[N, T]`, read and written one by one; 0 of none."""
    start = made.task.prompt_length
    memory, logits = made.model.read(params, jnp.asarray(text[:, :start]))
    found = np.zeros((len(text), made.task.max_tokens))
    for at in range(made.task.max_tokens):
        token = text[:, start + at]
        there = token < made.task.vocabulary
        x = np.asarray(logits, np.float64)
        law = x - np.log(np.exp(x).sum(1, keepdims=True))
        rows = np.arange(len(text))[there]
        found[there, at] = law[rows, token[there]]
        memory, logits = made.model.step(params, memory, jnp.asarray(token), jnp.int32(at))
    return found


def test_its_sum_over_a_response_is_the_implicit_reward_of_dpo(written):
    made, state, block, text = written
    text, beta = np.asarray(text), 0.3
    rho = stepped(made, state.guide, text).sum(1) - stepped(made, state.reference, text).sum(1)
    term = rw.parse(f"{beta}*signal('guide_log_ratio', when='step')")
    paid = np.asarray(term.apply(term.init(jax.random.key(0), block), block).reward)
    np.testing.assert_allclose(paid.sum(0), beta * rho, atol=2e-5)
    assert np.abs(rho).max() > 0.1 and (text[:, -1] == made.task.vocabulary).any()


def test_the_reward_of_rto_is_its_formula(written):
    made, state, block, text = written
    text, (b1, b2, c) = np.asarray(text), (0.5, 0.1, 0.05)
    term = rw.parse(
        f"({b1}*signal('guide_log_ratio', when='step') | clip(low={-c}, high={c}))"
        f" - {b2}*signal('log_ratio', when='step') + (env | clip(low=-10, high=10))"
    )
    paid = np.asarray(term.apply(term.init(jax.random.key(0), block), block).reward)
    policy, reference, guide = (
        stepped(made, each, text) for each in (state.params, state.reference, state.guide)
    )
    wanted = np.clip(b1 * (guide - reference), -c, c) - b2 * (policy - reference)
    for row, tokens in enumerate(text[:, made.task.prompt_length :]):
        if (end := np.flatnonzero(tokens == 0)).size:
            question = made.task.ask(jnp.int32(text[row, 0] - 1))
            outcome = made.task.score(question, jnp.asarray(tokens), jnp.float32(0)).outcome
            wanted[row, end[0]] += float(outcome)
    np.testing.assert_allclose(paid.T, wanted, atol=2e-5)
    assert (np.abs(b1 * (guide - reference)) > c).any()  # the clip is not for nothing


def test_the_guide_prefers_what_the_verifier_does():
    made = agents.make(
        "group_pg", "sequence:choice,options=3", **SMALL | {"guide": 60, "guide_pairs": 512}
    ).act.__self__
    state = quick(made.init)(jax.random.key(0))
    prompt = made.task.ask(jnp.int32(0)).prompt[None]
    before, after = (
        np.asarray(jax.nn.log_softmax(made.model.read(p, prompt)[1][0]))[1:4]
        for p in (state.reference, state.guide)
    )
    assert (np.diff(after - before) > 0.1).all()  # the letters are worth 0, 1/2 and 1


def test_without_a_guide_there_is_no_such_signal():
    with pytest.raises(UserError, match="no such signal"):
        agents.make(
            "group_pg", LOCAL, "signal('guide_log_ratio', when='step')", **SMALL | {"guide": 0}
        )
