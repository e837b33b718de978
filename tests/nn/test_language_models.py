"""Networks that write: token by token as from the whole text, and nothing is not seen."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import preferences
from jaxrl_reward.nn import language_models
from jaxrl_reward.preferences import overoptimization

V, P, T, N = 9, 4, 6, 256
WRITERS = {
    "transformer": language_models.transformer(V, P, T, width=8, layers=2, heads=2),
    "gru": language_models.recurrent(V, P, width=8),
}
every_writer = pytest.mark.parametrize(
    "name", ["transformer", pytest.param("gru", marks=pytest.mark.slow)]
)
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def prompts():
    """With 0 to 3 places left free; the first half are all the same."""
    prompt = np.random.default_rng(0).integers(1, V, (N, P)).astype(np.int32)
    prompt[: N // 2] = prompt[0]
    for i in range(N // 2, N):
        prompt[i, : i % P] = V
    return prompt


@cache
def programs(name):
    model = WRITERS[name]
    write = lambda params, prompt, key: language_models.generate(model, params, prompt, T, key)  # noqa: E731
    return quick(model.logits), quick(write)


@cache
def params_of(name):
    params = jax.jit(WRITERS[name].init)(jax.random.key(0))
    # Larger logits than at the start of training, so that differences show.
    return jax.tree.map(lambda x: 4.0 * x, params)


@cache
def written(name):
    """What was written, the whole texts, and the log-probabilities that these give."""
    logits, write = programs(name)
    out = jax.tree.map(np.asarray, write(params_of(name), prompts(), jax.random.key(0)))
    text = np.concatenate([prompts(), out.tokens.T], 1)
    return out, text, np.asarray(jax.nn.log_softmax(logits(params_of(name), text)))


@every_writer
def test_written_with_a_memory_is_drawn_from_the_logits_of_the_whole_text(name):
    out, _, log_probs = written(name)
    tokens, there = out.tokens.T, out.tokens.T < V
    chosen = np.take_along_axis(log_probs, np.minimum(tokens, V - 1)[..., None], 2)[..., 0]
    np.testing.assert_allclose(out.log_prob.T[there], chosen[there], atol=5e-4)
    entropy = -(np.exp(log_probs) * log_probs).sum(-1)
    np.testing.assert_allclose(out.entropy.T[there], entropy[there], atol=5e-4)
    assert entropy[there].std() > 0.05  # it depends on the text
    first = np.bincount(out.tokens[0, : N // 2], minlength=V) / (N // 2)
    np.testing.assert_allclose(first, np.exp(log_probs[0, 0]), atol=0.12)


@every_writer
def test_behind_the_end_there_is_nothing(name):
    out, _, _ = written(name)
    ends = out.tokens == 0
    assert (ends.sum(0) <= 1).all() and ends.any() and not ends.any(0).all()
    after = np.cumsum(ends, 0) - ends > 0
    np.testing.assert_array_equal(out.tokens == V, after)
    assert (out.log_prob[after] == 0).all() and (out.entropy[after] == 0).all()


@every_writer
def test_what_comes_later_and_what_is_nothing_is_not_seen(name):
    _, text, log_probs = written(name)
    logits, _ = programs(name)
    later = text.copy()
    later[:, P + 3 :] = (later[:, P + 3 :] % (V - 1)) + 1
    changed = np.asarray(jax.nn.log_softmax(logits(params_of(name), later)))
    np.testing.assert_allclose(changed[:, :4], log_probs[:, :4], atol=1e-5)
    assert np.abs(changed[:, 4:] - log_probs[:, 4:]).max() > 1e-3
    if name == "transformer":  # whatever vector stands for nothing
        params = params_of(name)
        params = {**params, "tokens": params["tokens"].at[V].set(7.0)}
        other, there = np.asarray(jax.nn.log_softmax(logits(params, text))), text[:, P - 1 : -1] < V
        np.testing.assert_allclose(other[there], log_probs[there], atol=5e-4)


@pytest.mark.slow
def test_a_short_prompt_is_read_as_if_nothing_were_before_it():
    """A GRU's memory of a prompt does not depend on how far right it stands."""
    params, model = params_of("gru"), WRITERS["gru"]
    short = np.array([[V, V, 3, 5]], np.int32)
    alone = language_models.recurrent(V, 2, width=8)
    np.testing.assert_allclose(
        model.read(params, short)[1], alone.read(params, short[:, 2:])[1], atol=1e-6
    )


@pytest.mark.slow
def test_without_a_key_the_likeliest_token_is_written():
    _, _, log_probs = written("gru")
    model = WRITERS["gru"]
    out = quick(lambda prompt: language_models.generate(model, params_of("gru"), prompt, T, None))(
        prompts()
    )
    np.testing.assert_array_equal(out.tokens[0], log_probs[:, 0].argmax(1))


def test_the_largest_writer_that_agents_use_has_fewer_than_200_000_numbers():
    model = language_models.transformer(32, 16, 64, width=64, layers=3, heads=4)
    assert 50_000 < language_models.size(jax.eval_shape(model.init, jax.random.key(0))) < 200_000


def test_a_rare_token_is_drawn_as_often_as_its_chance_in_half_precision():
    """One in a thousand, of 400,000: 400 with a deviation of 20; log-probabilities are exact."""
    many, chance = 400_000, np.array([0.999, 0.001])
    logits = jnp.log(jnp.asarray(chance, jnp.float32)).astype(jnp.bfloat16)
    exact = np.asarray(jax.nn.log_softmax(logits.astype(jnp.float32)))
    drawn = overoptimization.draw(jax.random.key(0), logits[None], many)
    assert abs(drawn.sum() - many * np.exp(exact[1])) < 80
    given = lambda *_: ((), jnp.tile(logits, (many, 1)))  # noqa: E731
    model = language_models.LanguageModel(lambda key: (), given, given, *[lambda *_: None] * 2)
    prompt = np.zeros((many, 1), np.int32)
    out = language_models.generate(model, (), prompt, 1, jax.random.key(1), end=9)
    assert abs(out.tokens.sum() - many * np.exp(exact[1])) < 80
    assert out.log_prob.dtype == out.entropy.dtype == jnp.float32
    np.testing.assert_allclose(out.log_prob[0], exact[out.tokens[0]], rtol=1e-6)
    labels = preferences.labels.bradley_terry(
        jax.random.key(2), jnp.full(many, logits[1] - logits[0], jnp.bfloat16)
    )
    odds = np.exp(np.float64((logits[1] - logits[0]).astype(jnp.float32)))
    assert abs(labels.sum() - many * odds / (1 + odds)) < 80
