"""The worlds of `curation`, `transforms` and `cotrained`: what is right in them, and who knows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from jaxrl_reward.preferences import labels


@pytest.fixture(scope="module")
def settings():
    return {"length": 3, "flips": 0.3, "verified": 50, "share": 0.3, "budget": 0.1, "tested": 40}


@pytest.fixture
def curation(beside):
    return beside("_curation_world")


def test_labels_are_golds_but_for_the_flipped_and_the_verified_are_right(curation, settings):
    world = curation.World(3, 2000, settings)
    for pairs in (world.clean, world.tested):
        assert (np.asarray(pairs.reward[:, 0]) > np.asarray(pairs.reward[:, 1])).all()
    wrong = np.asarray(world.noisy.reward[:, 0] < world.noisy.reward[:, 1])
    assert not wrong[:50].any() and len(world.trusted) == 50
    assert abs(wrong[50:].mean() - 0.3) < 4 * (0.21 / 1950) ** 0.5
    for pairs in (world.noisy, world.tested):
        prompts = np.asarray(pairs.prompt)[:, 0] - 1
        for side, tokens in enumerate((pairs.chosen, pairs.rejected)):
            share = (np.asarray(tokens)[:, :3] == world.wanted[prompts]).mean(1)
            np.testing.assert_allclose(np.asarray(pairs.reward)[:, side], share, rtol=1e-6)


def test_judges_that_know_the_truth_curate_as_they_should(curation, settings):
    world = curation.World(4, 500, settings)
    truth = np.asarray(world.noisy.reward[:, 0] - world.noisy.reward[:, 1], float)
    wrong = (truth < 0).sum()

    def left(how, gold=truth, now=truth):
        pairs = curation.curated(how, world, gold, now[None])
        return len(pairs), int((np.asarray(pairs.reward[:, 0] < pairs.reward[:, 1])).sum())

    assert left("all") == (500, wrong)
    assert left("filter") == (500 - wrong, 0)
    assert left("filter and flip") == left("clean") == (500, 0)
    assert left("trusted") == (50, 0)
    count, rest = left("ask again", now=np.where(truth < 0, 0.01, 1.0))
    assert (count, rest) == (500, wrong - 50)  # a tenth of the pairs, all of them wrong ones


def test_sets_of_seeds_are_filled_up_and_counted(curation, settings):
    worlds = [curation.World(seed, 60, settings | {"verified": 7 + seed}) for seed in (0, 1)]
    pairs, sizes = curation.stacked([world.trusted for world in worlds], 20)
    assert sizes.tolist() == [7, 8] and pairs.label.shape == (2, 20)
    for i, world in enumerate(worlds):
        np.testing.assert_array_equal(pairs.chosen[i, : sizes[i]], world.trusted.chosen)


# ---- transforms ----------------------------------------------------------------------


@pytest.fixture
def transforms(beside):
    return beside("_transforms_world")


def test_scores_are_of_the_references_scale_and_fillers_mislead_all_judges(transforms):
    make = lambda key: transforms.world(key, 400, 0.2, 16, 5, 150)  # noqa: E731
    look = lambda world, tokens: (world.scores(tokens), world.golds(tokens))  # noqa: E731
    worlds = jax.jit(jax.vmap(make))(jax.random.split(jax.random.key(0), 4))
    some = jax.random.randint(jax.random.key(1), (4, 256, 12), 0, 20)
    at = jnp.arange(12)[None, None]
    filled = jnp.where(at < 4, 20 + at, some)  # one of each
    both = jax.jit(jax.vmap(look))
    plain, gold = both(worlds, some)
    more, less = both(worlds, filled)
    assert plain.shape == (4, 256, 13) and gold.shape == (4, 256, 4)
    gained = np.asarray(more - plain)[..., :9].mean(1)
    assert (gained.mean(0) > 0).all()  # every judge of the first worth likes them
    assert (np.asarray(less)[..., 1].mean(1) - np.asarray(gold)[..., 1].mean(1) > 0.3).all()
    draw = jax.vmap(
        lambda key, world: jax.random.categorical(key, world.reference, shape=(4096, 12))
    )
    base, _ = both(worlds, draw(jax.random.split(jax.random.key(2), 4), worlds))
    np.testing.assert_allclose(base.mean(1), 0.0, atol=0.1)
    np.testing.assert_allclose(base.std(1), 1.0, atol=0.1)


def test_ranked_labels_do_not_know_units_and_weighted_sums_do(transforms):
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 100, 3)).astype(np.float32)
    units, margins = np.array(transforms.UNITS), np.array(transforms.MARGINS)
    plain = labels.hierarchical(jnp.asarray(one), jnp.asarray(two), jnp.asarray(margins))
    other = labels.hierarchical(
        jnp.asarray(one * units), jnp.asarray(two * units), jnp.asarray(margins * units)
    )
    np.testing.assert_array_equal(plain.first, other.first)
    ranked = np.array(transforms.RANKED)
    sign = np.sign((one - two) @ ranked) == np.sign(((one - two) * units) @ ranked)
    assert 0.4 < sign.mean() < 0.9


def test_paths_are_compared_where_they_are_as_far(transforms):
    from types import SimpleNamespace

    values = {"root_kl": [[0, 1, 2.0], [0, 2, 1.5]], "both": [[0, 10, 30.0], [5, 6, 7.0]]}
    result = SimpleNamespace(study=SimpleNamespace(values=values))
    found = transforms.at_divergence(result, "both", np.array([1.5, 1.0]))
    np.testing.assert_allclose(found, [20.0, 5.5])


# ---- cotrained -----------------------------------------------------------------------


def test_a_judge_that_is_gold_is_always_right_and_one_that_is_nothing_never(beside, monkeypatch):
    cotrained = beside("_cotrained")
    from jaxrl_reward import agents

    env = cotrained.made("sequence:lookup,length=2,max_tokens=4")
    agent = agents.make("group_pg", env, network="gru", width=4, warmup=2)
    state = jax.jit(agent.init)(jax.random.key(0))
    task = env.environment.task
    made = cotrained.design(task, 4)

    def as_gold(sign):
        def judge(design, params, text):
            assert text.shape[1] == made.prompt + made.length and design == made
            tokens, right = text[:, made.prompt :], text[:, : made.prompt]
            # The right answer ends the prompt: two letters, then the end.
            wanted, size = right[:, -3:-1], (tokens == 0).argmax(1)
            ended = (tokens == 0).any(1)
            there = jnp.arange(2)[None] < size[:, None]
            share = ((tokens[:, :2] == wanted) & there).mean(1)
            gold = jnp.where(ended, jnp.maximum(share - 0.1 * jnp.maximum(size - 2, 0), 0), 0)

            class Said:
                @staticmethod
                def score():
                    return sign * gold

            return Said

        return judge

    params = {"x": jnp.zeros((1, 1))}
    for sign, right in ((1.0, 1.0), (-1.0, 0.0), (0.0, 0.0)):
        monkeypatch.setattr(cotrained.response_models, "judge", as_gold(sign))
        order = jax.jit(
            lambda key: cotrained.order(env, agent.config, state.params, key, params, 4)
        )
        found, pairs, _ = order(jax.random.key(1))
        assert int(pairs) > 20 and float(found) == right


# ---- recycled ------------------------------------------------------------------------


def test_who_always_says_yes_is_right_in_half_of_what_counts_alike(beside, monkeypatch):
    """And of both orders; corrects nothing; who always says no is right in the other half."""
    looks = beside("_recycled_looks")
    from jaxrl_reward import agents

    env = "sequence:choice,modes=True"
    agent = agents.make("group_pg", env, network="gru", width=8, warmup=60, warmup_rate=0.01)
    state = jax.jit(agent.init)(jax.random.key(0))
    found = {}
    for said in (0.0, 1.0):
        monkeypatch.setattr(
            looks.modes, "verdict", lambda task, logits, said=said: logits[..., 0] * 0 + said
        )
        monkeypatch.setattr(looks, "DRAWS", 12)
        found[said] = jax.jit(lambda key: looks.look(agent, state, key))(jax.random.key(1))
    no, yes = found.values()
    assert 0.1 < float(no["solved"]) < 0.9 and float(no["solved"]) == float(yes["solved"])
    for each in (no, yes):
        assert (float(each["judge"]), float(each["pairs"])) == (0.5, 0.5)
        assert float(each["ranks"]) == 0.0  # a tie is not right
    assert float(yes["verdicts"]) == float(yes["solved"]) == float(yes["after one correction"])
    np.testing.assert_allclose(no["verdicts"] + yes["verdicts"], 1.0, rtol=1e-6)
    assert float(no["called right"]) == 0.0 and float(yes["called right"]) == 1.0
    assert float(yes["after one correction"]) != float(no["after one correction"])


# ---- length_balance ------------------------------------------------------------------


class ByLength(struct.PyTreeNode):
    """A judge that pays so much for every token, and nothing else."""

    paid: jax.Array

    def scores(self, text):
        return (self.paid * ((text > 0) & (text < 9)).sum(1))[None]


def test_who_is_paid_for_length_alone_is_paid_for_a_filler_and_takes_the_longest(beside):
    lengths = beside("length_balance")
    world = lengths.World(3)
    texts, longer, gold, sizes = world.slates()
    written = ((texts[:, 1:] > 0) & (texts[:, 1:] < 9)).sum(1)
    np.testing.assert_array_equal(written, sizes)
    assert ((longer[:, 1:] == 0).sum(1) == 1).all() and ((texts[:, 1:] == 0).sum(1) == 1).all()
    np.testing.assert_array_equal(longer[:, :4], texts[:, :4])  # the prompt, and what gold reads
    wanted = world.wanted[texts[:, 0] - 1]
    np.testing.assert_allclose(gold, (texts[:, 1:4] == wanted).mean(1))
    both = (jnp.asarray(x)[None] for x in (texts, longer, gold, sizes))
    filler, more, best = lengths.told_of(ByLength(jnp.array([2.0])), *both)
    np.testing.assert_allclose(filler, 1 / sizes.std(), rtol=1e-4)
    longest = sizes.reshape(-1, 16).max(1)
    np.testing.assert_allclose(more, longest.mean() - sizes.mean(), rtol=1e-4)
    assert abs(float(best[0]) - gold.mean()) < 0.1  # it is no better than any


def test_the_longer_wins_as_often_as_the_rater_says_and_half_the_time_once_balanced(beside):
    lengths = beside("length_balance")
    pairs = lengths.World(0).pairs(20000, 0.6)
    sizes = [np.asarray((x > 0) & (x < 9)).sum(1) for x in (pairs.chosen, pairs.rejected)]
    apart, gold = sizes[0] - sizes[1], np.asarray(pairs.reward)
    alike = np.abs(apart)[gold[:, 0] == gold[:, 1]]
    won = (apart > 0)[gold[:, 0] == gold[:, 1]]
    for k in (1, 2, 3, 4):
        chance, count = 1 / (1 + np.exp(-0.6 * k)), (alike == k).sum()
        assert abs(won[alike == k].mean() - chance) < 4 * np.sqrt(0.25 / count)
    balanced = lengths.chosen("balanced", None, 0, pairs, lengths.curation.balance_lengths(pairs))
    sizes = [np.asarray((x > 0) & (x < 9)).sum(1) for x in (balanced.chosen, balanced.rejected)]
    assert (sizes[0] > sizes[1]).sum() == (sizes[0] < sizes[1]).sum() > 2000


# ---- personal ------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "least"), [(0.5, 0.693147), (0.8, 0.584767)])
def test_the_floor_of_one_model_is_the_entropy_of_a_strangers_answer(beside, share, least):
    """Two groups at a margin of 2; each by itself would come to 0.365334 nats."""
    personal = beside("_personal_world")
    items = np.zeros((10, 1, personal.FEATURES), np.float32)
    better = items.copy()
    better[..., 1] = 1.0
    taste = jnp.where(jnp.arange(10) < 10 * share, 1.0, -1.0)
    pairs = personal.Pairs(jnp.asarray(better), jnp.asarray(items), jnp.ones((10, 1)))
    world = personal.World(pairs, taste, pairs, pairs, taste)
    s = {"share": share, "new": 10}
    chance = np.asarray(personal.floor(None, world, s)(1), np.float64)
    true = np.asarray(personal.truth(None, world, s)(1), np.float64)
    np.testing.assert_allclose(true[:, 0], 1 / (1 + np.exp(-2 * np.asarray(taste))), rtol=1e-6)

    def loss(chance):
        return -(true * np.log(chance) + (1 - true) * np.log1p(-chance)).mean()

    assert loss(chance) == pytest.approx(least, abs=1e-6)
    assert loss(true) == pytest.approx(0.365334, abs=1e-6)
    for other in (chance - 0.01, chance + 0.01):  # no other answer to all is better
        assert loss(other) > least


def test_neighbours_of_a_user_are_of_the_same_taste(beside):
    personal = beside("_personal_world")
    s = personal.SETTINGS | {"users": 40, "pairs": 40, "new": 20, "tested": 200, "nearest": 5}

    @jax.jit
    def told(key):
        made = personal.world(key, s)
        models = (personal.neighbours, personal.alone, personal.truth)
        tells = [model(key, made, s) for model in models]
        return [personal._told(tell(4), made)["accuracy"] for tell in tells]

    both, alone, best = map(float, told(jax.random.key(0)))
    assert alone < both < best
    assert both > alone + 0.03
