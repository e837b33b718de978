"""Judges of whole responses: what they read, how they are fitted, saved and paid."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _pairs import P, T, V, design, ones, pairs_of, responses

from jaxrl_reward import rewards as rw
from jaxrl_reward.data import pairs as pair_data
from jaxrl_reward.preferences import judges, losses, users
from jaxrl_reward.types import UserError

KINDS = [{"network": "gru"}, {"network": "transformer", "layers": 1, "heads": 2}]


@pytest.mark.parametrize("how", KINDS)
def test_what_is_behind_the_end_is_not_read(how):
    """The last token's features, as a shorter model sees the text that ends there."""
    model = judges.init(jax.random.key(0), design(**how), members=2)
    prompt, response = responses(0, 6)
    text = judges.texts(prompt, response)
    scores = model.scores(text)
    alone = [model.scores(text[i : i + 1])[:, 0] for i in range(6)]
    np.testing.assert_allclose(scores, np.stack(alone, 1), atol=1e-5)
    assert len(np.unique(np.asarray(scores[0]).round(4))) == 6
    if how["network"] == "gru":  # by steps, to the end and no further
        for i in range(6):
            params = jax.tree.map(lambda x: x[0], model.params)
            memory = jnp.zeros((1, 8))
            from jaxrl_reward.nn import gru

            net = gru.gru((8, V))
            for token in [t for t in np.asarray(text[i]) if t < V]:
                hot = jax.nn.one_hot(jnp.array([token]), V)
                memory, _ = net.step(params["torso"], memory, hot, jnp.zeros(1, bool))
            layer = params["head"]["params"]["Dense_0"]
            by_hand = memory @ layer["kernel"] + layer["bias"][None]
            np.testing.assert_allclose(by_hand[0, 0], scores[0, i], atol=1e-5)


@pytest.mark.parametrize("how", KINDS)
def test_a_judge_learns_what_is_preferred(how):
    train, held_out = pairs_of(0, 256, ones), pairs_of(10, 128, ones)
    model = judges.init(jax.random.key(1), design(**how))
    fitted, course = judges.fit(
        model, jax.random.key(2), train, steps=150, batch_size=32, learning_rate=1e-2
    )
    gap = [
        fitted.scores(judges.texts(held_out.prompt, x))[0]
        for x in (held_out.chosen, held_out.rejected)
    ]
    decided = np.asarray(held_out.label) == 1
    assert (gap[0] > gap[1])[decided].mean() > 0.95
    assert course[-20:].mean() < 0.5 < course[:5].mean()


def test_a_judge_that_compares_is_told_the_other():
    train = pairs_of(0, 256, ones)
    model = judges.init(jax.random.key(1), design(relative=True, hidden=16))
    fitted, _ = judges.fit(
        model, jax.random.key(2), train, steps=150, batch_size=32, learning_rate=1e-2
    )
    ahead = fitted.scores(judges.texts(train.prompt, train.chosen), other=train.rejected)[0]
    behind = fitted.scores(judges.texts(train.prompt, train.rejected), other=train.chosen)[0]
    decided = np.asarray(train.label) == 1
    assert (ahead > behind)[decided].mean() > 0.95
    with pytest.raises(UserError, match=r"told other \[4, 4\], not None"):
        fitted.scores(judges.texts(train.prompt[:4], train.chosen[:4]))


def test_a_principle_beside_the_text_decides_what_is_better():
    """Half of the pairs are judged by 1s, and half against them; the judge is told which."""
    train = pairs_of(0, 400, ones)
    principle = np.where(np.arange(400) % 2, 1.0, -1.0)
    train = train.replace(label=np.where(principle > 0, train.label, 1 - train.label))
    given = np.broadcast_to(principle[:, None, None], (400, 2, 1))
    model = judges.init(jax.random.key(1), design(given=1, hidden=16))
    how = {"steps": 300, "batch_size": 32, "learning_rate": 1e-2}
    fitted, _ = judges.fit(model, jax.random.key(2), train, given=given, **how)
    decided = np.asarray(train.label) != 0.5
    for sign in (1.0, -1.0):
        told = np.full((400, 1), sign)
        sides = (train.chosen, train.rejected)
        gap = [fitted.scores(judges.texts(train.prompt, x), told)[0] for x in sides]
        assert (sign * (gap[0] - gap[1]) > 0)[decided].mean() > 0.95
    with pytest.raises(UserError, match=r"told given \[4, 1\], not None"):
        fitted.scores(judges.texts(train.prompt[:4], train.chosen[:4]))


def test_many_judges_are_lanes_of_one_program():
    """Models, raters, sizes and widths of their own: each is what it is alone."""
    train = pairs_of(0, 64, ones)
    keys = jax.random.split(jax.random.key(0), 3)
    labels = jnp.stack([train.label, 1 - train.label, train.label])
    sizes, units = jnp.array([64, 64, 10]), jnp.array([8, 8, 3])

    def one(key, label, size, units):
        model = judges.narrow(judges.init(key, design()), units)
        fit = judges.fit(model, key, train.replace(label=label), steps=20, batch_size=8, size=size)
        return fit[0].params, fit[0].scores(judges.texts(train.prompt, train.chosen))

    together = jax.jit(jax.vmap(one))(keys, labels, sizes, units)
    for i in range(3):
        alone = jax.jit(one)(keys[i], labels[i], sizes[i], units[i])
        jax.tree.map(
            lambda x, y, i=i: np.testing.assert_allclose(x[i], y, atol=1e-4), together, alone
        )


def test_a_narrow_judge_stays_narrow():
    """It is what a judge of that width is that begins from the same numbers."""
    train = pairs_of(0, 64, ones)
    wide = judges.narrow(judges.init(jax.random.key(0), design()), 3)
    small = judges.init(jax.random.key(0), design(width=3))
    gates = np.concatenate([np.arange(3) + 8 * i for i in range(3)])
    torso, head = wide.params["torso"], wide.params["head"]["params"]["Dense_0"]
    cut = {
        "input": torso["input"][:, :, gates],
        "bias": torso["bias"][:, gates],
        "memory": torso["memory"][:, :3][:, :, gates],
        "memory_bias": torso["memory_bias"][:, :3],
        "dense": torso["dense"],
        "head": small.params["torso"]["head"],
    }
    kernel = {"kernel": head["kernel"][:, :3], "bias": head["bias"]}
    small = small.replace(params={"torso": cut, "head": {"params": {"Dense_0": kernel}}})
    text = judges.texts(train.prompt, train.chosen)
    scores = []
    for model in (wide, small):
        fitted, _ = judges.fit(model, jax.random.key(1), train, steps=30, batch_size=8)
        scores.append(fitted.scores(text))
    np.testing.assert_allclose(*scores, atol=1e-4)
    assert float(scores[0].std()) > 0.01


def test_only_the_first_pairs_and_whole_pairs_are_learnt_from():
    train = pairs_of(0, 64, ones)
    model = judges.init(jax.random.key(0), design())

    def fit(pairs, **how):
        how = {"steps": 5, "batch_size": 8, **how}
        return judges.fit(model, jax.random.key(1), pairs, **how)[0].params

    first = pair_data.select(train, np.arange(16), "first")
    jax.tree.map(np.testing.assert_array_equal, fit(train, size=16), fit(first))
    lost = train.replace(there=jnp.zeros((64, 2), bool).at[:, 0].set(True))
    jax.tree.map(np.testing.assert_array_equal, fit(lost), model.params)


def test_a_loss_says_by_its_arguments_what_it_reads():
    train = pairs_of(0, 64, ones)
    model = judges.init(jax.random.key(0), design(outputs=2))
    fit = lambda **how: judges.fit(  # noqa: E731
        model, jax.random.key(1), train, steps=5, batch_size=8, **how
    )
    assert np.isfinite(fit(loss=losses.hedged)[1]).all()

    def by_group(outputs, group):
        assert outputs.shape == (8, 2, 2) and group.shape == (8,)
        return outputs[:, 0].sum(1) * group

    assert np.isfinite(fit(loss=by_group, rows={"group": np.arange(64)})[1]).all()
    with pytest.raises(UserError, match="the loss reads 'groop', which no pair has"):
        fit(loss=lambda groop: groop)
    with pytest.raises(UserError, match=r"group must be \[64\] beside these pairs, not \[3\]"):
        fit(loss=by_group, rows={"group": np.arange(3)})
    with pytest.raises(UserError, match="this judge is told no numbers given"):
        fit(given=np.zeros((64, 2, 1)))
    with pytest.raises(UserError, match="its design is not relative"):
        fit(other=train.chosen)
    other = judges.init(jax.random.key(0), judges.Design(V, P, T + 1, width=4))
    with pytest.raises(UserError, match="2 and 4 tokens, where the judge reads 2 and 5"):
        judges.fit(other, jax.random.key(1), train)


def test_a_judge_is_saved_and_read_again(tmp_path):
    model = judges.init(jax.random.key(0), design(hidden=4, outputs=3, network="transformer"), 2)
    path = model.save(tmp_path / "judge.npz")
    again = judges.load(path)
    assert again.design == model.design and again.source == str(path) and again.members == 2
    jax.tree.map(np.testing.assert_array_equal, again.params, model.params)
    with pytest.raises(UserError, match="there is no judge in"):
        judges.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(UserError, match="is no judge that"):
        judges.load(tmp_path / "other.npz")
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(tmp_path / "cut.npz", **{**arrays, "arr_0": arrays["arr_0"][..., :-1]})
    with pytest.raises(UserError, match="of another shape than it says"):
        judges.load(tmp_path / "cut.npz")
    (tmp_path / "short.npz").write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="is damaged"):
        judges.load(tmp_path / "short.npz")
    wrong = str(arrays["design"]).replace('"heads": 4', '"heads": 3')
    np.savez(tmp_path / "wrong.npz", **{**arrays, "design": np.array(wrong)})
    with pytest.raises(UserError, match="is no judge that"):
        judges.load(tmp_path / "wrong.npz")
    with pytest.raises(UserError, match=r"must end in \.npz"):
        model.save(tmp_path / "judge.txt")


def test_a_personal_judge_is_saved_and_read_again(tmp_path):
    """Latents and scores are the same to the bit; a file of another kind is told from it."""
    net = users.variational(latent=2, width=8)
    model = judges.personal.init(jax.random.key(0), design(), net)
    path = model.save(tmp_path / "personal.npz")
    again = judges.personal.load(path)
    rng = np.random.default_rng(0)
    text = jnp.asarray(rng.integers(0, V, (3, 5, 2, P + T)))
    label = jnp.asarray(rng.integers(0, 2, (3, 5)).astype(np.float32))
    z = model.latent(text, label)
    np.testing.assert_array_equal(again.latent(text, label), z)
    said = model.scores(text[:, :, 0], z)
    np.testing.assert_array_equal(again.scores(text[:, :, 0], z), said)
    assert float(jnp.std(said)) > 0 and again.design == model.design
    assert (again.net.latent, again.net.width) == (2, 8)
    # It is learnt on as if it had never been away.
    pairs = (jax.random.key(1), text, label)
    fit = partial(judges.personal.fit_users, context=2, steps=3, batch_size=2)
    for one, two in zip(*(jax.tree.leaves(fit(x, *pairs)) for x in (model, again)), strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(UserError, match=r"is no judge that ResponseModel\.save wrote"):
        judges.load(path)
    other = judges.init(jax.random.key(0), design()).save(tmp_path / "judge.npz")
    with pytest.raises(UserError, match=r"is no judge that PersonalJudge\.save wrote"):
        judges.personal.load(other)
    with np.load(path) as file:
        arrays = dict(file)
    wider = np.array(str(arrays["users"]).replace("8", "9"))
    np.savez(tmp_path / "wider.npz", **{**arrays, "users": wider})
    with pytest.raises(UserError, match="of another shape than it says"):
        judges.personal.load(tmp_path / "wider.npz")
    with pytest.raises(UserError, match="only the networks that users"):
        model.replace(net=net._replace(width=0)).save(path)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"network": "gur"}, "network cannot be 'gur'"),
        ({"width": 0}, "width must be at least 1, not 0"),
        ({"hidden": -1}, "hidden must be at least 0, not -1"),
        ({"network": "transformer", "heads": 3}, "heads=3 must divide its width=8"),
    ],
)
def test_a_design_that_does_not_fit_is_refused(how, message):
    with pytest.raises(UserError, match=message):
        judges.init(jax.random.key(0), design(**how))


# ---- what losses lead to ------------------------------------------------------------------


def test_one_judge_of_two_groups_learns_nothing_where_they_are_even():
    """Margin 2 and its opposite: the best single score's loss, and each group's own."""

    wins = 1 / (1 + np.exp(-2.0))

    def best(share):
        from scipy.optimize import minimize_scalar

        def loss(d):
            first, second = (
                losses.bradley_terry(jnp.float32(x), p) for x, p in ((d, wins), (-d, wins))
            )
            return float(share * first + (1 - share) * second)

        return minimize_scalar(loss, (-1, 1), options={"xtol": 1e-4}).fun

    assert best(1.0) == pytest.approx(0.365334, abs=1e-5)
    assert best(0.5) == pytest.approx(0.693147, abs=1e-5)
    assert best(0.8) == pytest.approx(0.584767, abs=1e-5)


def test_the_scaled_losses_slope_is_the_strength_times_bradley_terrys():
    d, y = jnp.linspace(-3, 3, 7), jnp.array([1.0, 0, 1, 0, 1, 0.5, 1])
    strength = jnp.array([1.0, 2, 3, 0, 0.5, 4, 3])
    slope = jax.grad(lambda d: losses.scaled(d, y, strength).sum())(d)
    plain = jax.grad(lambda d: losses.bradley_terry(d, y).sum())(d)
    np.testing.assert_allclose(slope, strength * plain, rtol=1e-5)
    np.testing.assert_allclose(plain, 1 / (1 + np.exp(-np.asarray(d))) - y, atol=1e-6)


def test_what_is_learnt_against_another_policy_is_the_log_ratio():
    """POLAR: of answers by p against answers by q, the best score is `log p / q` and a constant."""
    p, q = jnp.array([0.5, 0.3, 0.15, 0.05]), jnp.array([0.1, 0.2, 0.3, 0.4])

    def loss(r):
        each = losses.bradley_terry(r[:, None] - r[None])
        return (p[:, None] * q[None] * each).sum()

    r = jnp.zeros(4)
    for _ in range(30):
        slope, bend = jax.grad(loss)(r), jax.hessian(loss)(r)
        r = r - jnp.linalg.solve(bend + jnp.ones((4, 4)), slope)
    np.testing.assert_allclose(r - r.mean(), (x := np.log(p / q)) - x.mean(), atol=1e-4)


def test_regression_and_auxiliary_losses_by_hand():
    outputs = jnp.array([[[1.0, 2.0], [0.0, 5.0]]])
    found = losses.auxiliary(outputs, jnp.ones(1), jnp.array([[[3.0], [5.0]]]), 0.5)
    np.testing.assert_allclose(found, np.log1p(np.exp(-1.0)) + 0.5 * 0.5, rtol=1e-6)
    error = losses.regression(jnp.array([1.0]), jnp.array([0.0]), jnp.array([[4.0, 2.0]]))
    np.testing.assert_allclose(error, (9 + 4) / 2)
    asked = losses.both_orders(jnp.array([2.0]), jnp.array([1.0]), 1.0)
    np.testing.assert_allclose(
        asked, (np.log1p(np.exp(-2.0)) + np.log1p(np.exp(1.0))) / 2, rtol=1e-6
    )


def test_ratings_first_and_then_strengths():
    """HelpSteer2: ratings fix origin and scale; the order is learnt on, from there."""
    train = pairs_of(0, 256, ones)
    train = train.replace(strength=train.reward[:, 0] - train.reward[:, 1])
    model = judges.init(jax.random.key(1), design(hidden=16))
    how = {"steps": 300, "batch_size": 32, "learning_rate": 1e-2}
    rated, _ = judges.fit(model, jax.random.key(2), train, loss=losses.regression, **how)
    chosen = judges.texts(train.prompt, train.chosen)
    told = rated.scores(chosen)[0]
    assert jnp.abs(told - train.reward[:, 0]).mean() < 0.2
    ordered, _ = judges.fit(rated, jax.random.key(3), train, loss=losses.scaled, **how)
    gap = ordered.scores(chosen)[0] - ordered.scores(judges.texts(train.prompt, train.rejected))[0]
    decided = np.asarray(train.strength) > 0
    assert (gap > 0)[decided].mean() > 0.98


def test_a_tool_that_must_be_predicted_is_predicted():
    train = pairs_of(0, 256, ones)
    lengths = jnp.stack([(x < V).sum(1) for x in (train.chosen, train.rejected)], 1)
    model = judges.init(jax.random.key(1), design(hidden=16, outputs=2, routed=False))
    assert "router" not in model.params
    fitted, _ = judges.fit(
        model, jax.random.key(2), train, steps=300, batch_size=32, learning_rate=1e-2,
        loss=losses.auxiliary, rows={"facts": 1.0 * lengths[..., None]},
    )  # fmt: skip
    said = fitted.judge(judges.texts(train.prompt, train.chosen))
    assert np.corrcoef(said.outputs[0, :, 1], lengths[:, 0])[0, 1] > 0.9
    scores = fitted.scores(judges.texts(train.prompt, train.chosen))
    np.testing.assert_array_equal(scores, said.outputs[..., 0])


# ---- as a reward --------------------------------------------------------------------------


def block_of_responses(count=6):
    """Responses `[T, N]` as writers give them, and their texts."""
    from jaxrl_reward import envs
    from jaxrl_reward.agents.sequence import writing
    from jaxrl_reward.nn import language_models

    task = envs.make("sequence:hack,length=2,max_tokens=4").environment.task
    prompts = writing.ask(task, jax.random.key(0), jnp.arange(2), jnp.arange(count) // 3)
    model = language_models.recurrent(task.vocabulary, task.prompt_length, 4)
    params = model.init(jax.random.key(1))
    written = language_models.generate(
        model, params, prompts.question.prompt, task.max_tokens, jax.random.key(2)
    )
    return task, writing.block_of(task, prompts, written), writing.text_of(prompts, written)


def test_the_term_pays_what_the_judge_says_at_the_end(tmp_path):
    task, block, text = block_of_responses()
    shape = judges.Design(task.vocabulary, task.prompt_length, task.max_tokens, width=4)
    model = judges.init(jax.random.key(3), shape, members=3)
    path = model.save(tmp_path / "judge.npz")
    term = rw.parse(f"judge(start='{path}', how='min')")
    assert str(rw.parse(str(term))) == str(term) and rw.scopes(term) == {"group"}
    applied = term.apply(term.init(jax.random.key(0), block), block)
    length = (np.asarray(text[:, task.prompt_length :]) < task.vocabulary).sum(1)
    expected = np.zeros(block.first.shape, np.float32)
    expected[length - 1, np.arange(6)] = np.asarray(model.scores(text).min(0))
    np.testing.assert_allclose(applied.reward, expected, atol=1e-6)
    assert len(set(length)) > 1
    with pytest.raises(UserError, match="there is no judge in 'nowhere"):
        rw.parse("judge(start='nowhere.npz')")
    small = judges.init(jax.random.key(3), judges.Design(5, 1, 2, width=4))
    with pytest.raises(UserError, match="reads texts of 3 tokens, and here they have 5"):
        rw.judge(start=small).init(jax.random.key(0), block)


def test_a_judge_that_compares_pays_the_share_of_its_group_that_is_beaten():
    task, block, text = block_of_responses()
    shape = judges.Design(
        task.vocabulary, task.prompt_length, task.max_tokens, width=4, relative=True
    )
    model = judges.init(jax.random.key(3), shape)
    term = rw.judge(start=model)
    paid = term.apply(term.init(jax.random.key(0), block), block).reward.sum(0)
    by_hand = []
    for i in range(6):
        others = [j for j in range(6) if j // 3 == i // 3 and j != i]
        won = 0.0
        for j in others:
            one, two = text[i : i + 1], text[j : j + 1]
            ahead = model.scores(one, other=two[:, task.prompt_length :])[0, 0]
            behind = model.scores(two, other=one[:, task.prompt_length :])[0, 0]
            won += 0.5 * (jax.nn.sigmoid(ahead) + jax.nn.sigmoid(-behind))
        by_hand.append(float(won) / 2)
    np.testing.assert_allclose(paid, by_hand, atol=1e-5)
