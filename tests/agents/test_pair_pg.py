"""`pair_pg`: whose pairs it learns from, how they are labelled, and what it does with them."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.sequence import pair_making, pair_pg
from jaxrl_reward.data import pair_rows, pairs
from jaxrl_reward.errors import UserError
from jaxrl_reward.rewards.pairs import ways

TINY = {"network": "gru", "width": 4, "warmup": 2, "warmup_batch": 8, "look": 4}
TINY_WRITER = {name: value for name, value in TINY.items() if name != "look"}
SMALL = TINY | {"pairs": 8, "batch_size": 4, "updates": 3}
HACK = "sequence:hack,length=3,max_tokens=5"
CHOICE = "sequence:choice,options=3,shown=5:3:2"


def made(env=HACK, reward=None, **settings):
    return agents.make("pair_pg", env, reward, **(SMALL | settings))


def functions(env=HACK, reward="dpo()", **settings):
    """The agent's own functions, which `made` wraps."""
    config = pair_pg.Config().replace(**(SMALL | settings))
    return pair_pg.PairPG(config, rw.parse(reward), envs.make(env), None)


@pytest.fixture(scope="module")
def offline():
    agent = functions(labels="better", pairs=32)
    return agent, jax.jit(agent.init)(jax.random.key(1))


# ---- pairs ---------------------------------------------------------------------------


def test_the_better_response_is_chosen_and_a_tie_is_one(offline):
    rows = offline[1].rows
    first, second = np.asarray(rows.reward).T
    np.testing.assert_array_equal(np.asarray(rows.label), np.where(first == second, 0.5, 1.0))
    assert (first >= second).all() and (first > second).any() and (first == second).any()


def test_rewards_are_those_of_the_task(offline):
    agent, state = offline
    text, task = np.asarray(state.rows.text), agent.task
    for row in range(4):
        for which in (0, 1):
            prompt, tokens = text[row, which, :1], text[row, which, 1:]
            question = task.ask(jnp.int32(prompt[0] - 1))
            outcome = task.score(question, jnp.asarray(tokens), jnp.float32(0)).outcome
            ended = (tokens == 0).any()
            assert float(state.rows.reward[row, which]) == pytest.approx(float(outcome) * ended)


def test_all_labels_may_be_flipped(offline):
    agent, plain = offline
    config = agent.config.replace(flips=1.0)
    flipped = jax.jit(agent.init)(jax.random.key(1), config).rows
    sure = np.asarray(plain.rows.label) == 1
    np.testing.assert_array_equal(
        np.asarray(flipped.reward)[sure][:, ::-1], np.asarray(plain.rows.reward)[sure]
    )


def test_a_raters_labels_are_drawn_as_it_says():
    first, second = jnp.array([0.2, 1.0, 0.5]), jnp.array([0.2, 0.0, 0.9])
    wanted = 1 / (1 + np.exp(-np.array([0.0, 1.0, -0.4]) / 0.5))
    np.testing.assert_allclose(
        pair_making.chance("logistic", first, second, 0.5), wanted, rtol=1e-6
    )
    np.testing.assert_array_equal(pair_making.chance("better", first, second, 1.0), [0.5, 1, 0])
    wins = pair_making.chance("wins", first, 1.0 - first, 1.0)
    np.testing.assert_allclose(wins, first, rtol=1e-6)
    np.testing.assert_allclose(pair_making.chance("wins", second * 0, second * 0, 1.0), 0.5)


def test_which_candidates_are_pairs():
    score = jnp.array([[0.1, 0.9, 0.9, 0.1], [3.0, 1.0, 2.0, 0.0]])
    judged = pair_making.Judged(score, jnp.ones(2))
    told = lambda kind: [x.tolist() for x in pair_making.paired_up(kind, judged)]  # noqa: E731
    assert told("first") == [[0, 4], [1, 5]]
    assert told("extremes") == [[1, 4], [3, 7]]  # the earliest best, the latest worst
    first, second = told("all")
    assert len(first) == 12 and all(
        i < j and i // 4 == j // 4 for i, j in zip(first, second, strict=True)
    )


def test_kendalls_tau_is_scipys():
    from scipy import stats

    rng = np.random.default_rng(0)
    for _ in range(5):
        x, y = rng.permutation(6).astype(float), rng.permutation(6).astype(float)
        found = pair_making.kendall(jnp.asarray(x), jnp.asarray(y))
        assert float(found) == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-6)


def test_ranks_of_one_policy_agree():
    agent = functions(reward="cream()", source="policy", candidates=4)
    state = jax.jit(agent.init)(jax.random.key(0))
    written = jax.jit(agent.rows_of)
    # The policy is the reference yet: all candidates are tied, which is no order.
    np.testing.assert_array_equal(written(state, jax.random.key(1))[0].agreement, 0.5)
    moved = jax.tree.map(
        lambda x: x + 0.3 * jnp.sin(jnp.arange(1.0 * x.size)).reshape(x.shape), state.params
    )
    rows, _ = written(state.replace(params=moved, previous=moved), jax.random.key(1))
    assert (np.asarray(rows.agreement) > 0.5).all()
    against = jax.tree.map(lambda x, y: 2 * x - y, state.params, moved)
    rows, _ = written(state.replace(params=moved, previous=against), jax.random.key(1))
    assert np.asarray(rows.agreement).mean() < 0.5


def test_a_policy_that_judges_is_told_by_the_reward_what_it_got_right():
    """Its labels are those of its own log-ratio; the first pairs, a guide's, are the reward's."""
    settings = {"source": "policy", "judge": "policy", "labels": "better", "guide": 2}
    settings |= {"candidates": 4, "pairing": "extremes", "pairs": 64}
    settings["reward"] = "signal('proxy') | dpo()"  # of what has no end, too
    agent = functions(**settings)
    start = jax.jit(agent.init)(jax.random.key(0))
    first = dataclasses.replace(agent, config=agent.config.replace(judge="reward"))
    chosen, rejected = np.asarray(jax.jit(first.rows_of)(start, jax.random.key(1))[0].reward).T
    assert (chosen >= rejected).all()
    same = jax.jit(functions(**(settings | {"judge": "reward"})).init)(jax.random.key(0))
    for one, other in zip(jax.tree.leaves(start.guide), jax.tree.leaves(same.guide), strict=True):
        np.testing.assert_array_equal(one, other)
    moved = jax.tree.map(
        lambda x: x + 0.3 * jnp.sin(jnp.arange(1.0 * x.size)).reshape(x.shape), start.params
    )
    state = start.replace(params=moved)
    rows = jax.jit(agent.rows_of)(state, jax.random.key(1))[0]
    own = agent.token_log_probs(moved, rows.text) - agent.token_log_probs(
        state.reference, rows.text
    )
    own = np.asarray(own.sum(-1))
    assert (own[:, 0] >= own[:, 1]).all() and (own[:, 0] > own[:, 1]).any()
    chosen, rejected = np.asarray(rows.reward).T
    apart = chosen != rejected
    told = agent.of_labels(rows)
    assert apart.any() and not (chosen >= rejected).all()
    assert float(told["right_labels"].value) == pytest.approx((chosen > rejected)[apart].mean())
    assert float(told["agreement"].value) == pytest.approx(np.asarray(rows.agreement).mean())
    with pytest.raises(UserError, match="judge=policy is for source=policy"):
        made(judge="policy")


# ---- what losses see -----------------------------------------------------------------


def test_losses_see_the_log_probabilities_of_the_network(offline):
    agent, state = offline
    params = jax.tree.map(lambda x: x + 0.05, state.params)
    batch = jax.tree.map(lambda x: x[:4], state.rows)
    found = jax.jit(agent.pairs_of)(state, params, batch)
    for which, side in enumerate((found.chosen, found.rejected)):
        text = batch.text[:, which]
        tokens = np.asarray(text[:, 1:])
        alive = tokens < agent.task.vocabulary
        np.testing.assert_array_equal(side.alive, alive)
        for name, weights in (("log_prob", params), ("reference", state.reference)):
            every = np.asarray(jax.nn.log_softmax(agent.model.logits(weights, text)))
            at = np.minimum(tokens, agent.task.vocabulary - 1)[..., None]
            known = np.take_along_axis(every, at, -1)[..., 0]
            np.testing.assert_allclose(
                np.where(alive, getattr(side, name), 0), np.where(alive, known, 0), atol=1e-5
            )
        every = np.asarray(jax.nn.log_softmax(agent.model.logits(params, text)))
        np.testing.assert_allclose(side.collision, np.log(np.exp(2 * every).sum(-1)), atol=1e-5)


def test_a_shifted_response_follows_the_prompt_before(offline):
    agent, state = offline
    batch = jax.tree.map(lambda x: x[:4], state.rows)
    found = jax.jit(agent.pairs_of)(state, state.params, batch)
    moved = jnp.concatenate([jnp.roll(batch.text[:, 0, :1], 1, axis=0), batch.text[:, 0, 1:]], 1)
    wanted = agent.token_log_probs(state.params, moved)
    np.testing.assert_allclose(found.shifted[0].log_prob, wanted, atol=1e-6)


def test_nobody_is_ahead_at_the_start(offline):
    agent, state = offline
    batch = jax.tree.map(lambda x: x[:4], state.rows)
    _, logged = jax.jit(lambda s: agent.loss(s, rw.dpo(), s.params, batch))(state)
    assert float(logged["margin"]) == 0.0 and float(logged["accuracy"]) == 0.5
    assert float(logged["loss"]) == pytest.approx(np.log(2), rel=1e-6)


# ---- learning ------------------------------------------------------------------------


def test_an_epoch_is_every_pair_once_wherever_iterations_begin(offline):
    agent, state = offline
    several = dataclasses.replace(agent, config=agent.config.replace(updates=8))
    rows, key, objective = state.rows, state.order, rw.ipo()
    whole = jax.jit(several.learn)(state, rows, key, jnp.int32(0), objective)
    state_of = lambda learned: state.replace(params=learned[0], opt_state=learned[1])  # noqa: E731
    five, three = (
        dataclasses.replace(agent, config=agent.config.replace(updates=n)) for n in (5, 3)
    )
    begun = jax.jit(five.learn)(state, rows, key, jnp.int32(0), objective)
    ended = jax.jit(three.learn)(state_of(begun), rows, key, jnp.int32(5), objective)
    for one, other in zip(jax.tree.leaves(whole[0]), jax.tree.leaves(ended[0]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    # 8 steps of 4 are the 32 pairs: what is logged at the start sums to that of all of them.
    still = state.replace(config=state.config.replace(learning_rate=jnp.float32(0.0)))
    logged = jax.jit(several.learn)(still, rows, key, jnp.int32(0), objective)[2]
    equal = (np.asarray(rows.text[:, 0]) == np.asarray(rows.text[:, 1])).all(1).mean()
    assert float(logged["equal_pairs"].mean()) == pytest.approx(equal, abs=1e-6)


def test_dpo_parts_the_chosen_from_the_rejected():
    agent = made(labels="better", reward="dpo(beta=0.5)", learning_rate=0.02, updates=40)
    state = jax.jit(agent.init)(jax.random.key(0))
    iterate = jax.jit(agent.iterate)
    after, metrics = iterate(state)
    assert float(metrics["kl"].value) == pytest.approx(0.0, abs=1e-6)  # looked at before
    _, metrics = iterate(after)
    assert float(metrics["accuracy"].value) > 0.6 and float(metrics["margin"].value) > 0.3
    assert float(metrics["kl"].value) > 0.01


def test_betas_are_lanes_of_one_program():
    agent = made(reward="dpo(beta=0.1)")
    rewards = rw.dpo(beta=jnp.array([0.1, 1.0]), flips=0.0)
    axes = jax.tree.map(lambda x: 0 if np.ndim(x) else None, rewards)
    run = lambda reward: jax.jit(agent.iterate)(agent.init(jax.random.key(3), None, reward))  # noqa: E731
    both = jax.vmap(run, in_axes=(axes,))(rewards)[1]
    one = run(rw.dpo(beta=1.0))[1]
    assert float(both["loss"].value[1]) == pytest.approx(float(one["loss"].value), rel=1e-4)
    assert float(both["loss"].value[0]) != pytest.approx(float(one["loss"].value), rel=1e-4)


def test_what_a_prompt_adds_moves_ppos_path_and_not_p3os():
    """`r + delta(x)`, the claim of P3O: no baseline has to be right for it."""
    online = {"source": "policy", "candidates": 4, "pairing": "all", "pairs": 24, "updates": 2}
    groups = {"num_envs": 16, "group_size": 4, "epochs": 2, "advantage": "reinforce()"}
    added = "(env + signal('prompt'))"

    def moved(agent):
        state = jax.jit(agent.init)(jax.random.key(5))
        start = state.params
        for _ in range(2):
            state, _ = jax.jit(agent.iterate)(state)
        return np.concatenate(
            [
                np.ravel(x - y)
                for x, y in zip(jax.tree.leaves(state.params), jax.tree.leaves(start), strict=True)
            ]
        )

    plain, other = (
        moved(made(reward=f"{reward} | p3o()", learning_rate=1e-2, **online))
        for reward in ("env", added)
    )
    assert np.abs(plain).max() > 1e-3
    np.testing.assert_allclose(other, plain, atol=1e-5)
    plain, other = (
        moved(agents.make("group_pg", HACK, reward, learning_rate=1e-2, **TINY_WRITER, **groups))
        for reward in ("env", added)
    )
    assert np.abs(other - plain).max() > 1e-3


@pytest.mark.parametrize(
    ("reward", "settings"),
    [
        ("env | dno()", {"source": "policy", "pairing": "all", "candidates": 3, "pairs": 9}),
        ("kto() + 0.1*sft()", {}),
        ("dpo() - 0.1*calibration()", {}),
        ("tgdpo()", {"guide": 2}),
        ("dpo() + 0.1*treg()", {"guide": 2}),
        ("dpo() * wpo()", {"source": "policy", "anchor": "round"}),
        ("cream()", {"source": "policy", "judge": "policy", "pairing": "extremes"}),
    ],
)
@pytest.mark.slow
def test_every_way_of_having_pairs_runs(reward, settings):
    agent = made(reward=reward, **settings)
    state, metrics = jax.jit(agent.iterate)(jax.jit(agent.init)(jax.random.key(0)))
    assert all(np.isfinite(float(each.value)) for each in metrics.values())
    same = jax.tree.map(lambda x, y: (x.shape, x.dtype) == (y.shape, y.dtype), state, state)
    assert all(jax.tree.leaves(same))


def test_token_credit_of_the_task_reaches_treg():
    agent = functions("sequence:local,length=4,max_tokens=5", "treg()", credit="credit")
    state = jax.jit(agent.init)(jax.random.key(0))
    found = jax.jit(agent.pairs_of)(state, state.params, state.rows)
    task, text = agent.task, np.asarray(state.rows.text)
    for row in range(3):
        question = task.ask(jnp.int32(text[row, 0, 0] - 1))
        known = task.score(question, jnp.asarray(text[row, 0, 1:]), jnp.float32(0)).steps["credit"]
        np.testing.assert_array_equal(found.chosen.credit[row], known)


# ---- data ----------------------------------------------------------------------------


def rows_of(tmp_path, rows, name="mine.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


TASK = envs.make(HACK).environment.task
TALK = lambda *said: [{"role": r, "content": c} for r, c in said]  # noqa: E731


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a", "chosen": "bcd", "rejected": "b!"},
        {"chosen": "abcd", "rejected": "ab!"},
        {
            "prompt": TALK(("user", "a")),
            "chosen": TALK(("assistant", "bcd")),
            "rejected": TALK(("assistant", "b!")),
        },
        {
            "chosen": TALK(("user", "a"), ("assistant", "bcd")),
            "rejected": TALK(("user", "a"), ("assistant", "b!")),
        },
        {  # as in UltraFeedback, binarised
            "prompt": "a",
            "chosen": TALK(("user", "a"), ("assistant", "bcd.")),
            "rejected": TALK(("user", "a"), ("assistant", "b!.")),
        },
    ],
)
def test_rows_of_all_kinds_are_the_same_pair(tmp_path, row):
    found = pair_rows.read(rows_of(tmp_path, [row]), TASK)
    nothing = TASK.vocabulary
    np.testing.assert_array_equal(found.prompt, [[1]])
    np.testing.assert_array_equal(found.chosen, [[2, 3, 4, 0, nothing]])
    np.testing.assert_array_equal(found.rejected, [[2, 9, 0, nothing, nothing]])
    assert np.asarray(found.there).all()


def test_unpaired_rows_have_one_side(tmp_path):
    rows = [
        {"prompt": "a", "completion": "bc", "label": True},
        {"prompt": "b", "completion": "!", "label": False},
    ]
    found = pair_rows.read(rows_of(tmp_path, rows), TASK)
    np.testing.assert_array_equal(found.there, [[True, False], [False, True]])
    summary = found.summary()
    assert (summary["pairs"], summary["good alone"], summary["bad alone"]) == (0, 1, 1)
    path = rows_of(tmp_path, rows)
    with pytest.raises(UserError, match=r"dpo\(\) needs pairs, .* use kto"):
        made(data=str(path), batch_size=2)
    agent = made(data=str(path), batch_size=2, reward="kto()")
    _, metrics = jax.jit(agent.iterate)(jax.jit(agent.init)(jax.random.key(0)))
    assert np.isfinite(float(metrics["loss"].value))


def test_parquet_is_read_as_json_is(tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [{"prompt": "a", "chosen": "bcd", "rejected": "b!", "score_chosen": 0.7, "user": 3}]
    rows[0]["score_rejected"] = 0.2
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "mine.parquet")
    one = pair_rows.read(tmp_path / "mine.parquet", TASK)
    other = pair_rows.read(rows_of(tmp_path, rows), TASK)
    for (name, x), (_, y) in zip(one.arrays(), other.arrays(), strict=True):
        np.testing.assert_array_equal(x, y, name)
    np.testing.assert_allclose(one.reward, [[0.7, 0.2]])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "a", "chosen": "b"}, "has no rejected"),
        ({"prompt": "a", "chosen": "b", "rejected": "Z"}, "'Z' is no symbol"),
        ({"prompt": "a", "chosen": "b", "rejected": 3}, "rejected must be a text, not int"),
        ({"prompt": "a", "chosen": "bcdefg", "rejected": "b"}, "has 7 tokens, and at most 5 fit"),
        ({"prompt": "ab", "chosen": "b", "rejected": "c"}, "its prompt has 2 tokens"),
        ({"chosen": "ab", "rejected": "cb"}, "do not begin with one prompt"),
        ({"prompt": "a", "completion": "b", "label": 1}, "a label, true or false"),
        ({"prompt": "a", "chosen": "b.c", "rejected": "b"}, "goes on behind its end"),
        ({"prompt": "a", "chosen": "b", "rejected": "c", "strength": "x"}, "strength must be a"),
        ([1], "no JSON object"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, row, words):
    good = {"prompt": "a", "chosen": "b", "rejected": "c"}
    path = rows_of(tmp_path, [good, row, good])
    with pytest.raises(UserError, match=rf"1 of 3 rows are wrong: row 1: .*{words}"):
        pair_rows.read(path, TASK)


def some_pairs(count=12):
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 9, (2, count, 5))
    tokens[:, :, 4] = 0
    prompt = rng.integers(1, 5, (count, 1))
    return pairs.make(prompt, *tokens, reward=rng.random((count, 2)))


def test_pairs_are_saved_and_read_to_the_bit(tmp_path):
    given = pairs.flip(some_pairs(), jax.random.key(0), 0.5)
    path = pairs.save(given, tmp_path / "pairs.npz")
    found = pair_rows.read(path, TASK)
    assert found.origin == given.origin and found.origin.changes == ("flipped 0.5",)
    for (name, x), (_, y) in zip(found.arrays(), given.arrays(), strict=True):
        np.testing.assert_array_equal(x, y, name)
    arrays = dict(np.load(path))
    arrays["label"] = arrays["label"] * 0.5
    np.savez(path, **arrays)
    with pytest.raises(UserError, match="checksum does not fit"):
        pairs.load(path)


def test_a_split_shares_no_prompt_and_swapping_twice_is_nothing():
    given = some_pairs()
    one, other = pairs.split(given, 0.5)
    assert len(one) + len(other) == len(given)
    assert not set(np.asarray(one.prompt)[:, 0]) & set(np.asarray(other.prompt)[:, 0])
    where = np.arange(12) % 3 == 0
    twice = pairs.swap(pairs.swap(given, where, "once"), where, "again")
    np.testing.assert_array_equal(twice.chosen, given.chosen)
    assert twice.origin.checksum == given.origin.checksum
    once = pairs.swap(given, where, "once")
    np.testing.assert_array_equal(
        np.asarray(once.reward)[where], np.asarray(given.reward)[where][:, ::-1]
    )
    alone = pairs.unpair(given)
    assert len(alone) == 24 and np.asarray(alone.there).sum() == 24


# ---- bad input -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"reward": "env"}, r"say what one costs, as in env \| dpo\(\)"),
        ({"reward": "dpo() | normalize()"}, "what a pair costs cannot have"),
        ({"reward": "dpo() + grpo()"}, "cannot have group terms"),
        ({"reward": "tgdpo()"}, "needs a guide"),
        ({"reward": "treg()", "credit": "nobody"}, "is no signal of"),
        ({"pairs": 2}, "batch_size=4 is more than pairs=2"),
        ({"pairing": "all", "candidates": 3, "pairs": 8}, "use pairs=9"),
        ({"anchor": "round"}, "is for source=policy"),
        ({"temperature": 0.0}, "temperature must be"),
        ({"env": "probe:delayed"}, "is no sequence: environment"),
    ],
)
def test_what_does_not_fit_is_one_line(settings, words):
    with pytest.raises(UserError, match=words):
        made(**settings)


def test_other_agents_refuse_pairs_and_name_this_one():
    with pytest.raises(UserError, match="pairs of responses: use pair_pg"):
        agents.make("ppo", "probe:delayed", "dpo()")
    with pytest.raises(UserError, match="dpo"):
        agents.make("group_pg", HACK, "dpo()", network="gru", width=4)


def test_choices_are_shown_as_often_as_is_said():
    task = envs.make(CHOICE).environment.task
    question = task.ask(jnp.int32(0))
    shown = jax.vmap(lambda k: task.solve(question, k))(jax.random.split(jax.random.key(0), 2000))
    share = np.bincount(np.asarray(shown[:, 0]), minlength=4)[1:] / 2000
    np.testing.assert_allclose(share, [0.5, 0.3, 0.2], atol=0.04)
    outcome = [
        float(task.score(question, jnp.array([letter, 0]), jnp.float32(0)).outcome)
        for letter in (1, 2, 3)
    ]
    assert outcome == [0.0, 0.5, 1.0]
    with pytest.raises(UserError, match="shown must be 3 numbers"):
        envs.make("sequence:choice,options=3,shown=1:2")


def test_only_what_matters_counts():
    task = envs.make("sequence:local,length=6,matter=2,max_tokens=8").environment.task
    question = task.ask(jnp.int32(3))
    counts, right = (np.asarray(x) for x in question.truth)
    assert counts.sum() == 2
    tokens = np.where(counts, right, 1)
    tokens[6:] = [0, task.vocabulary]
    found = task.score(question, jnp.asarray(tokens), jnp.float32(0))
    assert float(found.outcome) == 1.0 and float(found.steps["credit"].sum()) == 1.0
    place = int(np.flatnonzero(counts)[0])
    tokens[place] = right[place] % 8 + 1
    found = task.score(question, jnp.asarray(tokens), jnp.float32(0))
    assert float(found.outcome) == 0.5 and float(found.steps["credit"].sum()) == 0.0


def test_the_best_string_in_a_direction_has_the_squares_of_its_shares():
    """By going through all numbers of a and b; the outcome is the direction's part of both."""
    task = envs.make("sequence:compass,length=4,angles=3,max_tokens=5").environment.task
    for number, best in ((0, (4, 0)), (1, (2, 2)), (2, (0, 4))):
        question, found = task.ask(jnp.int32(number)), {}
        share = np.array([np.cos(number * np.pi / 4), np.sin(number * np.pi / 4)])
        for a, b in ((n, m) for n in range(5) for m in range(5 - n)):
            tokens = jnp.array([1] * a + [2] * b + [3] * (4 - a - b) + [0])
            told = task.score(question, tokens, jnp.float32(0))
            wanted = np.sqrt(np.array([a, b]) / 4)
            np.testing.assert_allclose(told.facts["rewards"], wanted, rtol=1e-6)
            assert float(told.outcome) == pytest.approx(share @ wanted, abs=1e-6)
            found[a, b] = float(told.outcome)
        assert max(found, key=found.get) == best and found[best] == pytest.approx(1.0, abs=1e-6)


def test_likelihood_of_the_best_of_several_is_filtered_imitation():
    """DPA: of the responses to a direction the best by that direction is what is imitated."""
    settings = {"source": "policy", "pairing": "extremes", "labels": "better", "candidates": 4}
    compass = "sequence:compass,length=3,angles=3,max_tokens=4"
    agent = functions(compass, "env | sft()", **settings)
    state = jax.jit(agent.init)(jax.random.key(0))
    rows, _ = jax.jit(agent.rows_of)(state, jax.random.key(1))
    chosen, rejected = np.asarray(rows.reward).T
    assert (chosen >= rejected).all() and (chosen > rejected).any()
    batch = jax.tree.map(lambda x: x[:4], rows)
    found, _ = jax.jit(lambda p: agent.loss(state, rw.sft(), p, batch))(state.params)
    known = agent.token_log_probs(state.params, batch.text).sum(-1)
    better = np.where(np.asarray(batch.label) == 1, known[:, 0], known.mean(1))  # a tie is half
    assert float(found) == pytest.approx(-better.mean(), rel=1e-5)


def test_a_loss_of_ways_is_what_the_agent_logs(offline):
    agent, state = offline
    batch = jax.tree.map(lambda x: x[:4], state.rows)
    found = jax.jit(agent.pairs_of)(state, state.params, batch)
    cost = ways.losses(rw.slic(), found)
    _, logged = jax.jit(lambda s: agent.loss(s, rw.slic(), s.params, batch))(state)
    assert float(logged["loss"]) == pytest.approx(float(cost.mean()), rel=1e-6)
