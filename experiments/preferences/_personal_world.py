"""Of `personal`: two groups of users who agree on one thing and not on another.

An item is a point of features. What all like is the first; what one group likes of the second
the other dislikes as much; the rest does not matter. Users answer with logistic noise. Those
that models are fitted to have many pairs, and a new user has a few, which all models may read.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrl_reward.nn import networks
from jaxrl_reward.preferences import losses, users
from jaxrl_reward.preferences.users import Pairs
from jaxrl_reward.rewards.objectives.many import min_norm_weights
from jaxrl_reward.training.experiments.experiment import Arm, Measured, Preset
from jaxrl_reward.types import Array

FEATURES, SHARED, APART = 4, 1.0, 2.0  # what the first and the second feature are worth
SETTINGS: Mapping[str, Any] = {
    "users": 100,
    "pairs": 16,
    "new": 64,
    "tested": 64,
    "share": 0.7,
    "width": 32,
    "latent": 4,
    "steps": 600,
    "nearest": 8,
    "beta": 0.1,
}
CONTEXT = (1, 4, 16)  # pairs of a new user that are known
TASTES = (1.0, -1.0)


class World(NamedTuple):
    """Users that models are fitted to, and new ones: pairs with leaves `[U, P, ...]`.

    Attributes:
      known: of the former.
      taste: theirs, 1 or -1, `[U]`.
      context: of new users, to be read.
      asked: of new users, to be foretold.
      new: their taste, `[U']`.
    """

    known: Pairs
    taste: Array
    context: Pairs
    asked: Pairs
    new: Array


def worth(features: Array, taste: Array) -> Array:
    """Of items `[U, P, F]` to users with tastes `[U]`, `[U, P]`."""
    return SHARED * features[..., 0] + APART * taste[:, None] * features[..., 1]


def asked(key: Array, taste: Array, count: int) -> Pairs:
    """Pairs of random items, as users label them."""
    one, two, three = jax.random.split(key, 3)
    shape = (taste.shape[0], count, FEATURES)
    first, second = jax.random.normal(one, shape), jax.random.normal(two, shape)
    chance = jax.nn.sigmoid(worth(first, taste) - worth(second, taste))
    return Pairs(first, second, jax.random.bernoulli(three, chance) * 1.0)


def world(key: Array, s: Mapping[str, Any]) -> World:
    """Users of both groups, of which `share` are of the first."""
    keys = jax.random.split(key, 5)

    def tastes(key: Array, count: int) -> Array:
        first = jnp.arange(count) < round(s["share"] * count)
        return jax.random.permutation(key, jnp.where(first, *TASTES))

    taste, new = tastes(keys[0], s["users"]), tastes(keys[1], s["new"])
    context = asked(keys[3], new, CONTEXT[-1])
    found = asked(keys[2], taste, s["pairs"]), taste, context
    return World(*found, asked(keys[4], new, s["tested"]), new)


def fitted(params: Any, loss: Callable[[Any, Array], Array], key: Array, steps: int) -> Any:
    """Parameters after so many steps of Adam on a loss of them and a key."""
    optimiser = optax.adam(3e-3)

    def step(carry: Any, key: Array) -> tuple[Any, None]:
        params, state = carry
        change, state = optimiser.update(jax.grad(loss)(params, key), state)
        return (optax.apply_updates(params, change), state), None

    keys = jax.random.split(key, steps)
    return jax.lax.scan(step, (params, optimiser.init(params)), keys)[0][0]


def scorer(s: Mapping[str, Any], outputs: int) -> networks.Network:
    """A network of an item."""
    return networks.mlp((s["width"], outputs), "relu", 1.0)


def gaps(net: networks.Network, params: Any, pairs: Pairs) -> Array:
    """Scores of the first less those of the second, `[U, P, K]`."""
    return net.apply(params, pairs.first) - net.apply(params, pairs.second)


# ---- models: fitted to a world, they tell the chances that the first of a pair is preferred, by
# how many pairs of the new users they are shown

Tell = Callable[[int], Array]


def one_model(key: Array, made: World, s: Any) -> Tell:
    """Bradley and Terry's of all users alike."""
    net, (start, learn) = scorer(s, 1), jax.random.split(key)

    def loss(params: Any, key: Array) -> Array:
        del key
        return losses.bradley_terry(gaps(net, params, made.known)[..., 0], made.known.label).mean()

    params = fitted(net.init(start, jnp.zeros(FEATURES)), loss, learn, s["steps"])
    chance = jax.nn.sigmoid(gaps(net, params, made.asked)[..., 0])
    return lambda count: chance


def more(key: Array, made: World, s: Any) -> Tell:
    """MORE: one model, the groups' losses weighed so that the sum of their slopes is shortest."""
    net, (start, learn) = scorer(s, 1), jax.random.split(key)
    member = jnp.stack([made.taste == taste for taste in TASTES]) * 1.0

    def each(params: Any) -> Array:
        found = losses.bradley_terry(gaps(net, params, made.known)[..., 0], made.known.label)
        return (member @ found.mean(1)) / member.sum(1)

    def loss(params: Any, key: Array) -> Array:
        del key
        slopes = jax.jacobian(each)(params)
        flat = jnp.concatenate([x.reshape(len(TASTES), -1) for x in jax.tree.leaves(slopes)], 1)
        weights = jax.lax.stop_gradient(min_norm_weights(flat))
        return (weights * each(params)).sum()

    params = fitted(net.init(start, jnp.zeros(FEATURES)), loss, learn, s["steps"])
    chance = jax.nn.sigmoid(gaps(net, params, made.asked)[..., 0])
    return lambda count: chance


def micro(key: Array, made: World, s: Any) -> Tell:
    """MiCRo: two heads and their weights; those of a new user follow the heads' losses (Hedge).

    All prompts are alike here, so the router is two numbers.
    """
    net, (start, learn) = scorer(s, 2), jax.random.split(key)

    def loss(params: Any, key: Array) -> Array:
        del key
        d = gaps(net, params["heads"], made.known)
        weights = jax.nn.softmax(params["router"])
        wide = jnp.broadcast_to(weights[None, None], d.shape)
        return losses.hedged(d, made.known.label, wide).mean() + 0.5 * losses.balance(weights)

    begin = {"heads": net.init(start, jnp.zeros(FEATURES)), "router": jnp.zeros(2)}
    params = fitted(begin, loss, learn, s["steps"])
    d = gaps(net, params["heads"], made.context)
    lost = losses.bradley_terry(d, made.context.label[..., None]).swapaxes(1, 2)
    prior = jnp.broadcast_to(jax.nn.softmax(params["router"])[None], lost.shape[:2])
    chance = jax.nn.sigmoid(gaps(net, params["heads"], made.asked))

    def tell(count: int) -> Array:
        weights = losses.rerouted(prior, lost[..., :count])
        return (chance * weights[:, None]).sum(-1)

    return tell


def vpl(key: Array, made: World, s: Any) -> Tell:
    """VPL: a latent read from pairs; fitted to contexts of all sizes, half of a user's pairs."""
    net = users.variational(s["latent"], s["width"])
    start, learn = jax.random.split(key)
    half = s["pairs"] // 2
    known = made.known

    def loss(params: Any, key: Array) -> Array:
        order, draw = jax.random.split(key)
        order, some = jax.random.permutation(order, s["pairs"]), jax.random.fold_in(order, 1)
        mixed = jax.tree.map(lambda x: x[:, order], known)
        # The encoder's mean over a user's pairs is one of as many as are told, repeated.
        told = jnp.arange(half) % (1 + jax.random.randint(some, (), 0, half))
        context = jax.tree.map(lambda x: x[:, told], mixed)
        rest = jax.tree.map(lambda x: x[:, half:], mixed)
        return users.loss(net, params, draw, context, rest, s["beta"]) / half

    params = fitted(users.init(net, start, FEATURES), loss, learn, s["steps"])

    def tell(count: int) -> Array:
        mean, _ = users.encode(net, params, jax.tree.map(lambda x: x[:, :count], made.context))
        items = made.asked.first, made.asked.second
        first, second = (users.score(net, params, x, mean) for x in items)
        return jax.nn.sigmoid(first - second)

    return tell


def linear(pairs: Pairs, steps: int = 100) -> Array:
    """Each user's own weights of the features by their pairs, with a normal prior, `[U, F]`."""
    apart, start = pairs.first - pairs.second, jnp.zeros((pairs.label.shape[0], FEATURES))

    def loss(weights: Array, key: Array) -> Array:
        del key
        d = jnp.einsum("upf,uf->up", apart, weights)
        return (losses.bradley_terry(d, pairs.label).sum() + 0.1 * (weights**2).sum()) * 10.0

    return fitted(start, loss, jax.random.key(0), 10 * steps)


def neighbours(key: Array, made: World, s: Any, own: bool = True) -> Tell:
    """P-GenRM's smoothing: the mean of one's own scores and of those of the n nearest users.

    A user's model is linear here, and near is who has similar weights (the cosine).
    """
    del key
    theirs = linear(made.known)
    unit = lambda x: x / jnp.linalg.norm(x, axis=1, keepdims=True).clip(1e-6)  # noqa: E731
    apart = made.asked.first - made.asked.second

    def tell(count: int) -> Array:
        mine = linear(jax.tree.map(lambda x: x[:, :count], made.context))
        near = jax.lax.top_k(unit(mine) @ unit(theirs).T, s["nearest"])[1]
        weights = 0.5 * (mine + theirs[near].mean(1)) if own else mine
        return jax.nn.sigmoid(jnp.einsum("upf,uf->up", apart, weights))

    return tell


def alone(key: Array, made: World, s: Any) -> Tell:
    """Each new user's own linear model, of their own pairs."""
    return neighbours(key, made, s, own=False)


def truth(key: Array, made: World, s: Any) -> Tell:
    """The users' own chances, which nothing is better than."""
    del key, s
    first, second = (worth(x, made.new) for x in (made.asked.first, made.asked.second))
    return lambda count: jax.nn.sigmoid(first - second)


def floor(key: Array, made: World, s: Any) -> Tell:
    """The chances of a stranger, of either group: no model of all users alike does better."""
    del key
    share = round(s["share"] * s["new"]) / s["new"]
    chance = 0.0
    for taste, weight in zip(TASTES, (share, 1.0 - share), strict=True):
        of = jnp.full_like(made.new, taste)
        d = worth(made.asked.first, of) - worth(made.asked.second, of)
        chance = chance + weight * jax.nn.sigmoid(d)
    return lambda count: jnp.asarray(chance)


MODELS = {
    "one model": one_model,
    "MORE": more,
    "MiCRo": micro,
    "VPL": vpl,
    "own pairs alone": alone,
    "own and neighbours": neighbours,
    "truth": truth,
    "floor of one model": floor,
}


def measure(
    arms: Sequence[Arm], preset: Preset, keys: Array, tick: Callable[[int, int], None]
) -> Mapping[str, Measured]:
    """Every model of the same users, told of as many pairs of the new ones."""
    s = {**SETTINGS, **preset.config}
    counts = [count for count in CONTEXT if count <= preset.total_steps]
    worlds = jax.jit(jax.vmap(partial(world, s=s)))(keys)
    found = {}
    for done, arm in enumerate(arms):
        tick(done, len(arms))

        def told(key: Array, made: World, model: Any = MODELS[arm.name]) -> Mapping[str, Array]:
            tell = model(jax.random.fold_in(key, 1), made, s)
            ends = [_told(tell(count), made) for count in counts]
            return jax.tree.map(lambda *x: jnp.stack(x), *ends)

        found[arm.name] = Measured(jax.jit(jax.vmap(told))(keys, worlds), counts)
    tick(len(arms), len(arms))
    return found


def _told(chance: Array, made: World) -> Mapping[str, Array]:
    """How often the likelier of two is preferred, also by the fewer users, and the loss in nats."""
    label, chance = made.asked.label, jnp.clip(chance, 1e-6, 1 - 1e-6)
    lost = -label * jnp.log(chance) - (1 - label) * jnp.log1p(-chance)
    right = ((chance > 0.5) == (label > 0.5)).mean(1)
    few = made.new == TASTES[1]
    return {
        "accuracy": right.mean(),
        "of the fewer": jnp.where(few, right, 0.0).sum() / few.sum(),
        "loss": lost.mean(),
    }
