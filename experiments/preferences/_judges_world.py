"""Of `judges`: a hundred judges, what is measured of them, and what trusting them leads to.

All of a seed share its reference policy, the responses that are compared, labelled, chosen
among, and the random numbers of training. They differ in how many pairs they were fitted to,
how many of their labels are wrong, how wide they are, and in their first parameters.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward import envs, group_pg
from jaxrl_reward import rewards as rw
from jaxrl_reward.data.pairs import PairSet
from jaxrl_reward.preferences import judges, labels, scores
from jaxrl_reward.rewards.groups.ways import groups_of
from jaxrl_reward.training.experiments.experiment import Arm, Measured, Preset
from jaxrl_reward.types import Array

LENGTH, TOKENS, PROMPTS = 4, 6, 3
ENV = f"sequence:hack,length={LENGTH},judges=1,max_tokens={TOKENS},prompts={PROMPTS}"
BEST_OF = (4, 16, 64)  # responses that a judge chooses among
SETTINGS: Mapping[str, Any] = {
    "judges": 100,
    "width": 16,  # the widest; the narrowest has 2
    "pairs": 1000,  # the most; the least is 30
    "wrong": 0.4,  # the most; the least is 0
    "steps": 400,
    "batch_size": 16,
    "rate": 1e-2,
    "responses": 128,  # held-out ones to each prompt
    "repeats": 16,  # of the choice among n, for each prompt
    "updates": 120,  # in three parts
    "num_envs": 32,
    "fresh": 128,  # responses of each trained policy to each prompt
}
# What is measured of a judge; a higher number should mean a better judge.
METRICS = (
    "pairwise",
    "1 against 3",
    "1 against 9",
    "best of 4",
    "reciprocal rank",
    "response contrast",
    "prompt contrast",
    "probes",
    "calibration",
    "fresh pairwise",
)
AFTER = ("best of n", "training")


class Kind(NamedTuple):
    """How judges differ, `[J]` each."""

    pairs: Array
    wrong: Array
    units: Array


class Responses(NamedTuple):
    """Responses to each prompt, and what they are worth: `[P, R, L]` and `[P, R]`."""

    text: Array
    gold: Array


def kinds(s: Mapping[str, Any]) -> Kind:
    """The same for every seed: pairs on a logarithmic scale, all three drawn apart."""
    draw = np.random.default_rng(0).uniform(size=(3, s["judges"]))
    pairs = np.round(30 * (s["pairs"] / 30) ** draw[0])
    units = np.round(2 + (s["width"] - 2) * draw[2])
    return Kind(
        jnp.asarray(pairs, jnp.int32), jnp.asarray(s["wrong"] * draw[1]), jnp.asarray(units)
    )


def agent_of(s: Mapping[str, Any]) -> Any:
    """The policy; its reward is a judge of the shape that all have."""
    env = envs.make(ENV)
    task = env.environment.task
    design = judges.Design(task.vocabulary, task.prompt_length, task.max_tokens, width=s["width"])
    config = group_pg.Config(
        network="gru",
        width=16,
        num_envs=s["num_envs"],
        group_size=8,
        warmup=100,
        warmup_wrong=0.7,
        learning_rate=5e-3,
        advantage="grpo()",
    )
    judge = rw.judge(start=judges.init(jax.random.key(0), design))
    return group_pg.make(config, env, judge)


def drawn(agent: Any, params: Any, key: Array, count: int) -> Responses:
    """`count` responses of a policy to each prompt."""
    from jaxrl_reward.agents.sequence import response_scores, writer

    task = agent.env.environment.task
    model = writer.model_of(agent.config, task)
    block = response_scores.responses(model, task, params, key, jnp.arange(PROMPTS), count)
    gold = groups_of(block).total(block.env_reward)
    text = groups_of(block).final(block.next_obs).astype(jnp.int32)
    return Responses(text.reshape(PROMPTS, count, -1), gold.reshape(PROMPTS, count))


def pairs_of(key: Array, known: Responses) -> PairSet:
    """Each response and the next of its prompt; the label says which is worth more."""
    count = known.gold.shape[1] // 2 * PROMPTS
    text = known.text.reshape(count, 2, -1)
    gold = known.gold.reshape(count, 2)
    coin = jax.random.bernoulli(key, 0.5, (count,))
    label = jnp.where(gold[:, 0] == gold[:, 1], coin, gold[:, 0] > gold[:, 1])
    order = jax.random.permutation(key, count)  # prompts mixed: judges see the first so many
    text, gold, label = text[order], gold[order], label[order]
    return PairSet(
        prompt=text[:, 0, :1],
        chosen=text[:, 0, 1:],
        rejected=text[:, 1, 1:],
        there=jnp.ones((count, 2), bool),
        label=label.astype(jnp.float32),
        strength=jnp.ones(count),
        reward=gold,
        user=jnp.zeros(count, jnp.int32),
    )


def fitted(agent: Any, s: Mapping[str, Any], key: Array, pairs: PairSet, kind: Kind) -> Any:
    """The parameters of one judge."""
    key_init, key_flip, key_fit = jax.random.split(key, 3)
    model = judges.narrow(judges.init(key_init, agent.reward.start.design), kind.units)
    told = pairs.replace(label=labels.flip(key_flip, pairs.label, kind.wrong))
    how = {"steps": s["steps"], "batch_size": s["batch_size"], "learning_rate": s["rate"]}
    return judges.fit(model, key_fit, told, size=kind.pairs, **how)[0].params


# ---- what is measured ---------------------------------------------------------------------


class Exam(NamedTuple):
    """What all judges of a seed are asked: texts `[Q, n, L]`, the right one first.

    Attributes:
      rivals: a response and nine to its prompt that are worth less.
      prompts: a response behind its own prompt, and behind one to which it is worth less.
      responses: a response, and one that is worth more to another prompt.
      pairs: two responses to a prompt of which the first is worth more.
      letters: responses and whether each place has the right letter, `[N, L]`, `[N, places]`.
    """

    rivals: Array
    prompts: Array
    responses: Array
    pairs: Array
    letters: tuple[Array, Array]


def exam(agent: Any, key: Array, known: Responses) -> Exam:
    """Questions made of held-out responses, and nothing that a judge was fitted to."""
    task = agent.env.environment.task
    flat = known.text.reshape(-1, known.text.shape[-1])
    gold, prompt = known.gold.reshape(-1), flat[:, 0]
    count, keys = flat.shape[0], jax.random.split(key, 4)
    asked = jax.vmap(task.ask)(jnp.arange(PROMPTS))
    score = jax.vmap(lambda q, t: task.score(q, t, jnp.float32(0)).outcome, (None, 0))
    ended = (flat[:, 1:] == 0).any(1)
    # What each response would be worth to each prompt, [P, N].
    worth = (
        jax.vmap(lambda i: score(jax.tree.map(lambda x: x[i], asked), flat[:, 1:]))(
            jnp.arange(PROMPTS)
        )
        * ended[None]
    )

    def chosen(key: Array, allowed: Array, k: int) -> tuple[Array, Array]:
        """k of those allowed `[N, M]` for each row, and whether there are so many."""
        luck = jnp.where(allowed, jax.random.gumbel(key, allowed.shape), -jnp.inf)
        value, index = jax.lax.top_k(luck, k)
        return index, jnp.isfinite(value).all(1)

    def kept(enough: Array, size: int) -> Array:
        """Rows with enough, repeated if they are fewer than `size`."""
        order = jnp.argsort(~enough, stable=True)
        return order[jnp.arange(size) % jnp.maximum(enough.sum(), 1)]

    less = (prompt[:, None] == prompt[None]) & (gold[None] < gold[:, None])
    wrong, enough = chosen(keys[0], less, 9)
    rows = kept(enough, count // 2)
    rivals = jnp.concatenate([flat[rows][:, None], flat[wrong[rows]]], 1)
    # The same response behind another prompt, to which it is worth less.
    elsewhere, enough = chosen(keys[1], (worth < gold[None]).T, 1)
    rows = kept(enough, count // 2)
    moved = flat[rows].at[:, 0].set(asked.prompt[elsewhere[rows, 0], 0])
    prompts = jnp.stack([flat[rows], moved], 1)
    # Another's right answer behind this prompt.
    other, enough = chosen(
        keys[2],
        (prompt[:, None] != prompt[None])
        & (gold[None] >= gold[:, None])
        & (worth[prompt - asked.prompt[0, 0]] < gold[:, None]),
        1,
    )
    rows = kept(enough, count // 2)
    foreign = flat[other[rows, 0]].at[:, 0].set(prompt[rows])
    responses = jnp.stack([flat[rows], foreign], 1)
    worse, enough = chosen(keys[3], less, 1)
    rows = kept(enough, count // 2)
    pairs = jnp.stack([flat[rows], flat[worse[rows, 0]]], 1)
    truth = asked.truth[prompt - asked.prompt[0, 0]]
    letters = flat, flat[:, 1 : 1 + LENGTH] == truth
    return Exam(rivals, prompts, responses, pairs, letters)


def measures(model: judges.ResponseModel, asked: Exam) -> dict[str, Array]:
    """Each metric of one judge, a scalar."""

    def said(text: Array) -> Array:
        return model.scores(text.reshape(-1, text.shape[-1]))[0].reshape(text.shape[:-1])

    rivals, pairs = said(asked.rivals), said(asked.pairs)
    gap = pairs[:, 0] - pairs[:, 1]
    both = jnp.concatenate([gap, -gap])  # both orders
    truth = jnp.concatenate([jnp.ones_like(gap), jnp.zeros_like(gap)])
    text, there = asked.letters
    features = model.judge(text).features[0]
    probe = partial(scores.probe_accuracy, features, train=text.shape[0] // 2)
    right, wrong = rivals[:, 0], rivals[:, 1:]
    contrasts = {
        "response contrast": scores.response_contrast(*said(asked.responses).T),
        "prompt contrast": scores.instruction_contrast(*said(asked.prompts).T),
        "pairwise": scores.pairwise(*pairs.T),
        "1 against 3": scores.one_against(right, wrong[:, :3]),
        "1 against 9": scores.one_against(right, wrong),
    }
    return {name: each.right.mean() for name, each in contrasts.items()} | {
        "best of 4": scores.best_of(right, wrong[:, :3]).mean(),
        "reciprocal rank": scores.reciprocal_rank(right, wrong).mean(),
        "probes": jax.vmap(probe, 1)(there).mean(),
        "calibration": -scores.calibration(jax.nn.sigmoid(both), truth).error,
    }


def best_of(model: judges.ResponseModel, known: Responses) -> Array:
    """What the response is worth that a judge chooses among n, for each of `BEST_OF`."""
    text = known.text.reshape(-1, known.text.shape[-1])
    said = model.scores(text)[0].reshape(-1, max(BEST_OF))
    gold = known.gold.reshape(said.shape)
    rows = jnp.arange(said.shape[0])
    return jnp.stack([gold[rows, said[:, :n].argmax(1)].mean() for n in BEST_OF])


def trained(
    agent: Any, s: Mapping[str, Any], state: Any, key: Array, model: judges.ResponseModel
) -> tuple[Array, Array]:
    """What a policy is worth that was trained on a judge, three times on its way; and how often
    the judge is right of pairs of what it then writes."""
    shared = state.reward_state.replace(shared=model.params)
    state = state.replace(reward_state=shared)

    def part(state: Any, _: None) -> tuple[Any, Array]:
        def one(state: Any, _: None) -> tuple[Any, None]:
            return agent.iterate(state)[0], None

        state, _ = jax.lax.scan(one, state, None, length=s["updates"] // 3)
        return state, drawn(agent, state.params, key, s["fresh"]).gold.mean()

    state, gold = jax.lax.scan(part, state, None, length=3)
    fresh = drawn(agent, state.params, key, s["fresh"])
    said = model.scores(fresh.text.reshape(-1, fresh.text.shape[-1]))[0].reshape(-1, 2)
    worth = fresh.gold.reshape(-1, 2)
    differ = worth[:, 0] != worth[:, 1]
    first = worth[:, :1] > worth[:, 1:]
    better, worse = (jnp.where(x, *said.T) for x in (first[:, 0], ~first[:, 0]))
    right = scores.pairwise(better, worse).right
    # Where nothing that it writes differs in worth, there is nothing to be right about.
    share = jnp.where(differ, right, 0.0).sum() / jnp.maximum(differ.sum(), 1)
    return gold, jnp.where(differ.any(), share, 0.5)


# ---- all of it ----------------------------------------------------------------------------


def spearman(x: Array, y: Array) -> Array:
    """Of `x[J]` and `y[J]`, ties by their mean rank; 0 where one of them is constant."""
    x, y = (jax.scipy.stats.rankdata(each) for each in (x, y))
    x, y = x - x.mean(), y - y.mean()
    size = jnp.sqrt((x**2).sum() * (y**2).sum())
    return jnp.where(size > 0, (x * y).sum() / jnp.where(size > 0, size, 1.0), 0.0)


def seed(agent: Any, s: Mapping[str, Any], kind: Kind, key: Array) -> dict[str, Array]:
    """All of one seed: each metric's rank correlations, `[3]`, and what there is beside."""
    keys = jax.random.split(key, 8)
    state = agent.init(keys[0])
    known = drawn(agent, state.params, keys[1], -(-2 * s["pairs"] // PROMPTS // 2) * 2)
    pairs = pairs_of(keys[2], known)
    fit = partial(fitted, agent, s)
    design = agent.reward.start.design
    models = jax.vmap(fit, (0, None, 0))(jax.random.split(keys[3], s["judges"]), pairs, kind)
    models = judges.ResponseModel(models, design)
    asked = exam(agent, keys[4], drawn(agent, state.params, keys[5], s["responses"]))
    told = jax.vmap(lambda model: measures(model, asked))(models)
    pool = drawn(agent, state.params, keys[6], s["repeats"] * max(BEST_OF))
    chosen = jax.vmap(lambda model: best_of(model, pool))(models)
    gold, fresh = jax.vmap(lambda model: trained(agent, s, state, keys[7], model))(models)
    told["fresh pairwise"] = fresh
    after = dict(zip(AFTER, (chosen, gold), strict=True))
    found = {
        f"{name}, {end}": jnp.stack([spearman(told[name], worth[:, i]) for i in range(3)])
        for name in METRICS
        for end, worth in after.items()
    }
    facts = {
        "gold of the reference": jnp.broadcast_to(pool.gold.mean(), (3,)),
        "gold, best of n": chosen.mean(0),
        "gold, training": gold.mean(0),
        "lowest gold, training": gold.min(0),
        "highest gold, training": gold.max(0),
        "held-out accuracy": jnp.broadcast_to(told["pairwise"].mean(), (3,)),
        "fresh accuracy": jnp.broadcast_to(fresh.mean(), (3,)),
    }
    return found | facts


def measure(
    arms: Sequence[Arm], preset: Preset, keys: Array, tick: Callable[[int, int], None]
) -> Mapping[str, Measured]:
    """One seed after the other, all its judges in one program."""
    s = {**SETTINGS, "updates": preset.total_steps, **preset.config}
    agent, kind = agent_of(s), kinds(s)
    one = jax.jit(partial(seed, agent, s))
    found = []
    for i in range(len(keys)):
        tick(i, len(keys))
        found.append(jax.tree.map(np.asarray, one(kind, keys[i])))
    every = {name: np.stack([each[name] for each in found]) for name in found[0]}
    at = tuple(s["updates"] // 3 * i for i in (1, 2, 3))
    facts = {name: x for name, x in every.items() if name.startswith(("gold", "lowest", "highest"))}
    facts |= {name: every[name] for name in ("held-out accuracy", "fresh accuracy")}
    return {
        arm.name: Measured(
            {end: every[f"{arm.name}, {end}"] for end in AFTER} | (facts if i == 0 else {}), at
        )
        for i, arm in enumerate(arms)
    }
