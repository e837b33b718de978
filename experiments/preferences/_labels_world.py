"""Of `labels_needed`: responses whose gold is known, other writers, and judges of some kinds.

A response should be the string of its prompt, of eight. A writer has a string of its own for each
prompt, and writes each letter of it with probability 1/2, else any of eight. The raters' pairs are
of the writer whose strings are right, and gold is the share of right letters; the zoo's writers
have other strings.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl_reward.data.pairs import PairSet
from jaxrl_reward.preferences import judges, labels, trees
from jaxrl_reward.training.experiments.experiment import Arm, Measured, Preset
from jaxrl_reward.types import Array

LETTERS, PROMPTS = 8, 8
SETTINGS: Mapping[str, Any] = {
    "length": 4,
    "noise": 0.25,
    "tested": 512,
    "zoo": 64,
    "draws": 8,
    "zoo_pairs": 8192,
    "zoo_steps": 3000,
    "width": 16,
    "steps": 400,
    "features": 7,
}
COUNTS = (16, 64, 256, 1024)


class Known(struct.PyTreeNode):
    """Pairs, the right answers to their prompts and the features of their responses.

    Attributes:
      pairs: B of them.
      answer: `[B, T]`.
      features: `[B, 2, C]`.
    """

    pairs: PairSet
    answer: Array
    features: Array


class World(struct.PyTreeNode):
    """Pairs of independent responses, of such as begin alike, and those to be foretold.

    Attributes:
      chains: as they come.
      trees: leaves of one prefix tree each.
      tested: further pairs of independent responses, by gold.
      close: those of them that are one letter apart.
      zoo: pairs of `zoo_pairs`, and the response that each is compared with.
    """

    chains: Known
    trees: Known
    tested: Known
    close: Array
    zoo: Any


def written(key: Array, strings: Array, alike: Array | None = None) -> Array:
    """Responses of writers with these strings `[B, L]`, `[B, L + 1]`.

    Args:
      key: of the draws.
      strings: what each writes mostly.
      alike: whose draws each takes at each letter, `[L, B]`; its own without.
    """
    one, two = jax.random.split(key)
    sure, guess = (
        jax.random.uniform(one, strings.shape),
        jax.random.randint(two, strings.shape, 1, LETTERS + 1),
    )
    if alike is not None:
        at = jnp.arange(strings.shape[1])[None]
        sure, guess = sure[alike.T, at], guess[alike.T, at]
    tokens = jnp.where(sure < 0.5, strings, guess)
    return jnp.concatenate([tokens, jnp.zeros((len(tokens), 1), tokens.dtype)], 1)


def known(key: Array, right: Array, prompts: Array, both: Array, noise: Any, s: Any) -> Known:
    """Labelled pairs of responses `[B, 2, L + 1]`.

    A rater prefers more gold with logistic noise of so many letters; without noise the pair
    has the better one first, and of equals any.
    """
    keys = jax.random.split(key, 3)
    answer = jnp.concatenate([right[prompts], jnp.zeros((len(prompts), 1), right.dtype)], 1)
    length = right.shape[1]
    gold = (both == answer[:, None])[..., :length].mean(-1)
    gap = length * (gold[:, 0] - gold[:, 1])
    first = labels.bradley_terry(keys[0], gap, noise) > 0.5 if noise else gap >= 0
    order = jnp.where(first[:, None], jnp.array([0, 1])[None], jnp.array([1, 0])[None])
    both = jnp.take_along_axis(both, order[..., None], 1)
    gold = jnp.take_along_axis(gold, order, 1)
    # What an expert of the domain would look at: gold, roughly, and what does not matter.
    rough = gold + 0.2 * jax.random.normal(keys[1], gold.shape)
    other = jax.random.normal(keys[2], (*gold.shape, s["features"] - 1))
    pairs = PairSet(
        prompt=prompts[:, None] + 1,
        chosen=both[:, 0],
        rejected=both[:, 1],
        there=jnp.ones(gold.shape, bool),
        label=jnp.ones(len(gold)),
        strength=jnp.ones(len(gold)),
        reward=gold,
        user=jnp.zeros(len(gold), jnp.int32),
    )
    return Known(pairs, answer, jnp.concatenate([rough[..., None], other], -1))


def world(key: Array, s: Mapping[str, Any], count: int) -> World:
    """A world with `count` labelled pairs of either kind."""
    keys = jax.random.split(key, 10)
    length, tested = s["length"], s["tested"]
    right = jax.random.randint(keys[0], (PROMPTS, length), 1, LETTERS + 1)

    def pairs(key: Array, count: int, noise: float, alike: Array | None = None) -> Known:
        one, two, three = jax.random.split(key, 3)
        prompts = jax.random.randint(one, (count,), 0, PROMPTS)
        both = written(two, jnp.repeat(right[prompts], 2, 0), alike).reshape(count, 2, -1)
        return known(three, right, prompts, both, noise, s)

    # One tree a pair, which splits before any letter but the first.
    cuts = jax.random.randint(keys[1], (count,), 1, length)
    own = jnp.stack([jnp.asarray(trees.owners([cut], 2, length)) for cut in range(1, length)])
    alike = (own[cuts - 1] + 2 * jnp.arange(count)[:, None, None]).swapaxes(0, 1)
    zoo = jax.random.randint(keys[2], (s["zoo"], PROMPTS, length), 1, LETTERS + 1)
    strings = jnp.broadcast_to(zoo[:, :, None], (s["zoo"], PROMPTS, s["draws"], length))
    drawn = written(keys[3], strings.reshape(-1, length)).reshape(*strings.shape[:3], -1)
    prompt = jnp.arange(PROMPTS)[:, None] + 1
    held = pairs(keys[6], tested, 0.0)
    gap = length * (held.pairs.reward[:, 0] - held.pairs.reward[:, 1])
    return World(
        chains=pairs(keys[4], count, s["noise"]),
        trees=pairs(keys[5], count, s["noise"], alike.reshape(length, -1)),
        tested=held,
        close=jnp.stack([gap > 0.5, (gap > 0.5) & (gap < 1.5)]),
        zoo=judges.zoo_pairs(keys[7], prompt, drawn, s["zoo_pairs"]),
    )


def design(s: Mapping[str, Any], **kind: Any) -> judges.Design:
    """Of a judge."""
    hidden = 4 * s["width"] if kind else 0
    shape = (LETTERS + 1, 1, s["length"] + 1)
    return judges.Design(*shape, width=s["width"], hidden=hidden, **kind)


KINDS: Mapping[str, tuple[Mapping[str, Any], str, bool]] = {
    "chains": ({}, "chains", False),
    "trees": ({}, "trees", False),
    "features": ({"given": 7}, "chains", False),
    "reference": ({"relative": True}, "chains", False),
    "POLAR": ({"relative": True}, "chains", True),
}


def learnt(key: Array, made: World, size: Array, kind: Any, s: Any) -> tuple[Array, Array]:
    """How often a judge is right about the tested pairs, and about close ones, after `size`."""
    about, which, starts = kind
    about = {**about, "given": s["features"]} if "given" in about else about
    start, learn, before = jax.random.split(key, 3)
    model = judges.init(start, design(s, **about))
    if starts:
        zoo, steps = made.zoo, s["zoo_steps"]
        model, _ = judges.fit(model, before, zoo.pairs, other=zoo.other, steps=steps)
    told: Known = getattr(made, which)

    def beside(of: Known) -> dict[str, Any]:
        return {
            "other": of.answer if "relative" in about else None,
            "given": of.features if "given" in about else None,
        }

    model, _ = judges.fit(model, learn, told.pairs, size=size, steps=s["steps"], **beside(told))
    asked, extra = made.tested, beside(made.tested)
    sides = []
    for i, tokens in enumerate((asked.pairs.chosen, asked.pairs.rejected)):
        given = None if extra["given"] is None else extra["given"][:, i]
        text = judges.texts(asked.pairs.prompt, tokens)
        sides.append(model.scores(text, given=given, other=extra["other"])[0])
    right = sides[0] > sides[1]  # a tie is not
    shares = [(right & where).sum() / where.sum() for where in made.close]
    return shares[0], shares[1]


def measure(
    arms: Sequence[Arm], preset: Preset, keys: Array, tick: Callable[[int, int], None]
) -> Mapping[str, Measured]:
    """Every judge, of the same worlds, after more and more labels."""
    s = {**SETTINGS, **preset.config}
    counts = [count for count in COUNTS if count <= preset.total_steps]
    worlds = jax.jit(jax.vmap(partial(world, s=s, count=counts[-1])))(keys)
    found = {}
    for done, arm in enumerate(arms):
        tick(done, len(arms))
        one = partial(learnt, kind=KINDS[arm.name], s=s)
        several = jax.vmap(one, in_axes=(None, None, 0))
        told = jax.jit(jax.vmap(several, in_axes=(0, 0, None)))
        every, close = told(
            jax.vmap(jax.random.fold_in, (0, None))(keys, 1), worlds, jnp.array(counts)
        )
        found[arm.name] = Measured({"accuracy": every, "close": close}, counts)
    tick(len(arms), len(arms))
    return found
