"""Networks that write: a causal transformer that remembers keys and values, and a GRU.

A text is a prompt of P tokens, with nothing on the left where it is short, and a
response of T, with nothing behind its end; the number V, behind the last token,
is nothing, and is never seen by what comes after. A `LanguageModel` gives the same
logits token by token, from its memory, as from the whole text.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.nn import gru
from jaxrl_reward.types import Array

Network = Literal["transformer", "gru"]
FAR = -1e9  # the score of what is not to be seen


class LanguageModel(NamedTuple):
    """A distribution of the next token, given the text so far.

    Attributes:
      init: `init(key) -> params`.
      read: `read(params, prompt[N, P]) -> (memory, logits[N, V])`.
      step: `step(params, memory, token[N], at) -> (memory, logits[N, V])` after the
        response's token number `at`, a scalar, in all of N texts.
      logits: `logits(params, text[N, P + T]) -> [N, T, V]`, of each token of the
        response given what comes before it.
      features: `features(params, text[N, L]) -> [N, L, H]`, what the head reads behind each
        token of a prompt and any part of a response.
    """

    init: Callable[[Array], Any]
    read: Callable[[Any, Array], tuple[Any, Array]]
    step: Callable[[Any, Any, Array, Array], tuple[Any, Array]]
    logits: Callable[[Any, Array], Array]
    features: Callable[[Any, Array], Array]


class Generated(NamedTuple):
    """Responses, each `[T, N]`.

    Attributes:
      tokens: int32; V where nothing is written.
      log_prob: of each token.
      entropy: of the distribution it is drawn from, in nats.
    """

    tokens: Array
    log_prob: Array
    entropy: Array


def generate(
    model: LanguageModel,
    params: Any,
    prompt: Array,
    length: int,
    key: Array | None,
    end: int = 0,
    alike: Array | None = None,
) -> Generated:
    """Responses to prompts `[N, P]`, of at most `length` tokens, T.

    Args:
      model: the network.
      params: its parameters.
      prompt: what it reads first.
      length: T.
      key: of the draws; the likeliest tokens without.
      end: the token behind which nothing is written.
      alike: whose draws each response takes at each token, `[T, N]` int; its own without.
        Responses to one prompt are the same up to where those first differ.
    """

    def step(carry: tuple[Any, Array, Array], at: Array) -> tuple[Any, Generated]:
        memory, logits, over = carry
        log_probs = log_softmax(logits)
        scores = log_probs
        if key is not None:
            draws = jax.random.gumbel(jax.random.fold_in(key, at), scores.shape)
            scores += draws if alike is None else draws[alike[at]]
        token = jnp.where(over, logits.shape[1], scores.argmax(1)).astype(jnp.int32)
        log_prob = jnp.take_along_axis(
            log_probs, jnp.minimum(token, logits.shape[1] - 1)[:, None], 1
        )
        entropy = -(jnp.exp(log_probs) * log_probs).sum(1)
        out = Generated(token, *(jnp.where(over, 0.0, x) for x in (log_prob[:, 0], entropy)))
        memory, logits = model.step(params, memory, token, at)
        return (memory, logits, over | (token == end)), out

    memory, logits = model.read(params, prompt)
    start = (memory, logits, jnp.zeros(prompt.shape[0], bool))
    return jax.lax.scan(step, start, jnp.arange(length))[1]


def log_softmax(logits: Array) -> Array:
    """Log-probabilities in float32, whatever the network's precision: what is drawn is rare."""
    return jax.nn.log_softmax(logits.astype(jnp.float32))


# ---- several heads --------------------------------------------------------------------


def headed(model: LanguageModel, count: int) -> LanguageModel:
    """The same network with several last layers, of which a text's logits are a weighted sum.

    Its parameters are a dictionary of the `trunk`, the `heads`, leaves `[count, ...]`, and the
    weights `mix`, `[count]`, which no gradient moves: `dial` sets them. Heads are linear, so the
    sum of their logits is that of one head with the sum of their parameters.

    Args:
      model: what has a linear `head` among its parameters.
      count: how many.
    """

    def merged(params: Any) -> Any:
        mix = jax.lax.stop_gradient(params["mix"])
        head = jax.tree.map(lambda x: jnp.tensordot(mix, x, 1), params["heads"])
        return {**params["trunk"], "head": head}

    return LanguageModel(
        init=lambda key: several(model.init(key), count),
        read=lambda params, prompt: model.read(merged(params), prompt),
        step=lambda params, *rest: model.step(merged(params), *rest),
        logits=lambda params, text: model.logits(merged(params), text),
        features=lambda params, *rest: model.features(merged(params), *rest),
    )


def several(params: Any, count: int) -> Any:
    """A network's parameters with `count` copies of its head, which weigh the same."""
    heads = jax.tree.map(lambda x: jnp.stack([x] * count), params["head"])
    trunk = {name: value for name, value in params.items() if name != "head"}
    return {"trunk": trunk, "heads": heads, "mix": jnp.full(count, 1.0 / count)}


def dial(params: Any, weights: Array) -> Any:
    """The parameters of a headed network with other weights of its heads, `[count]`."""
    return {**params, "mix": jnp.asarray(weights, jnp.float32)}


def size(params: Any) -> int:
    """How many numbers a network has."""
    return sum(x.size for x in jax.tree.leaves(params))


# ---- the transformer ------------------------------------------------------------------


class Memory(NamedTuple):
    """Of what is read and written so far.

    Attributes:
      keys: of each layer, `[P + T, N, heads, width / heads]`.
      values: likewise.
      there: whether a place holds a token, `[P + T, N]` bool.
    """

    keys: tuple[Array, ...]
    values: tuple[Array, ...]
    there: Array


def transformer(
    vocabulary: int, prompt: int, length: int, width: int = 32, layers: int = 2, heads: int = 4
) -> LanguageModel:
    """A causal transformer (Vaswani et al. 2017) with normalisation before each part.

    Root-mean-square normalisation, learnt places, and hidden layers of 4 `width` units.
    Numbers: about `12 layers width^2 + (2 vocabulary + prompt + length) width`.

    Args:
      vocabulary: V.
      prompt: P.
      length: T.
      width: of a token's vector; a multiple of `heads`.
      layers: how many.
      heads: of attention.
    """
    places, part = prompt + length, width // heads

    def init(key: Array) -> dict[str, Any]:
        def normal(key: Array, *shape: int, gain: float = 1.0) -> Array:
            return gain * jax.random.normal(key, shape) / jnp.sqrt(1.0 * shape[0])

        def layer(key: Array) -> dict[str, Array]:
            keys, deep = jax.random.split(key, 4), (2.0 * layers) ** -0.5
            return {
                "attend": normal(keys[0], width, 3 * width),
                "attended": normal(keys[1], width, width, gain=deep),
                "hidden": normal(keys[2], width, 4 * width),
                "out": normal(keys[3], 4 * width, width, gain=deep),
                "scale": jnp.ones((2, width)),
            }

        key_tokens, key_places, key_head, *keys = jax.random.split(key, 3 + layers)
        return {
            "tokens": jax.random.normal(key_tokens, (vocabulary + 1, width)),
            "places": jax.random.normal(key_places, (places, width)),
            "layers": [layer(each) for each in keys],
            "scale": jnp.ones(width),
            "head": normal(key_head, width, vocabulary, gain=0.1),
        }

    def triple(layer: Any, x: Array) -> list[Array]:
        """Queries, keys and values, `[..., heads, width / heads]`."""
        made = _normal(x, layer["scale"][0]) @ layer["attend"]
        return [y.reshape(*x.shape[:-1], heads, part) for y in jnp.split(made, 3, axis=-1)]

    def after(layer: Any, x: Array, attended: Array) -> Array:
        x = x + attended.reshape(x.shape) @ layer["attended"]
        hidden = jax.nn.gelu(_normal(x, layer["scale"][1]) @ layer["hidden"])
        return x + hidden @ layer["out"]

    def head(params: Any, x: Array) -> Array:
        return _normal(x, params["scale"]) @ params["head"]

    def forward(params: Any, text: Array) -> tuple[Array, list[Array], list[Array]]:
        """The last layer's vectors of a text `[N, L]`, and each layer's keys and values."""
        steps = text.shape[1]
        x = params["tokens"][text] + params["places"][None, :steps]
        seen: Array = jnp.tril(jnp.ones((steps, steps), bool))[None] & (text < vocabulary)[:, None]
        all_keys, all_values = [], []
        for layer in params["layers"]:
            queries, keys, values = triple(layer, x)
            scores: Array = jnp.einsum("nqhd,nkhd->nhqk", queries, keys) * part**-0.5
            weights = jax.nn.softmax(jnp.where(seen[:, None], scores, FAR), axis=-1)
            x = after(layer, x, jnp.einsum("nhqk,nkhd->nqhd", weights, values))
            all_keys.append(keys)
            all_values.append(values)
        return x, all_keys, all_values

    def read(params: Any, prompt: Array) -> tuple[Memory, Array]:
        x, *kept = forward(params, prompt)

        def room(x: Array) -> Array:
            return jnp.pad(x.swapaxes(0, 1), ((0, length), *[(0, 0)] * (x.ndim - 1)))

        keys, values = (tuple(map(room, each)) for each in kept)
        return Memory(keys, values, room(prompt < vocabulary)), head(params, x[:, -1])

    def step(params: Any, memory: Memory, token: Array, at: Array) -> tuple[Memory, Array]:
        at = prompt + at
        put = lambda old, new: jax.lax.dynamic_update_index_in_dim(old, new, at, 0)  # noqa: E731
        there: Array = put(memory.there, token < vocabulary)
        x = params["tokens"][token] + params["places"][at][None]
        all_keys, all_values = [], []
        old = zip(params["layers"], memory.keys, memory.values, strict=True)
        for layer, keys, values in old:
            query, key, value = triple(layer, x)
            keys, values = put(keys, key), put(values, value)
            # As sums of products: a CPU does those of many small matrices one by one.
            scores: Array = (query[None] * keys).sum(-1) * part**-0.5
            weights = jax.nn.softmax(jnp.where(there[..., None], scores, FAR), axis=0)
            x = after(layer, x, (weights[..., None] * values).sum(0))
            all_keys.append(keys)
            all_values.append(values)
        return Memory(tuple(all_keys), tuple(all_values), there), head(params, x)

    def logits(params: Any, text: Array) -> Array:
        # The last token is never followed by one.
        return head(params, forward(params, text[:, :-1])[0][:, prompt - 1 :])

    def features(params: Any, text: Array) -> Array:
        return _normal(forward(params, text)[0], params["scale"])

    return LanguageModel(init, read, step, logits, features)


def _normal(x: Array, scale: Array) -> Array:
    """`x / rms(x) * scale` over the last axis (Zhang and Sennrich 2019)."""
    size = jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    return x * size * scale.reshape((1,) * (x.ndim - 1) + scale.shape)


# ---- the GRU --------------------------------------------------------------------------


def recurrent(vocabulary: int, prompt: int, width: int = 32) -> LanguageModel:
    """A GRU over one-hot tokens, see `gru.gru`; its memory is what it has in place of a cache."""
    network = gru.gru((width, vocabulary))

    def hot(tokens: Array) -> Array:
        return jax.nn.one_hot(tokens, vocabulary)  # zeros for nothing

    def init(key: Array) -> Any:
        return network.init(key, jnp.zeros((1, vocabulary)))

    def unroll(params: Any, text: Array) -> tuple[Array, Array]:
        text = text.T
        nothing = text == vocabulary
        # On the left of a prompt the memory begins anew until there is a token before.
        before = jnp.concatenate([jnp.ones_like(nothing[:1]), nothing[:-1]])
        start = network.start(text.shape[1])
        return network.unroll(params, start, hot(text), before)

    def read(params: Any, prompt: Array) -> tuple[Array, Array]:
        memories, out = unroll(params, prompt)
        return memories[-1], out[-1]

    def step(params: Any, memory: Array, token: Array, at: Array) -> tuple[Array, Array]:
        del at
        return network.step(params, memory, hot(token), jnp.zeros(token.shape, bool))

    def logits(params: Any, text: Array) -> Array:
        return unroll(params, text[:, :-1])[1][prompt - 1 :].swapaxes(0, 1)

    def features(params: Any, text: Array) -> Array:
        return unroll(params, text)[0].swapaxes(0, 1)

    return LanguageModel(init, read, step, logits, features)
