"""Rewards from demonstrations, against numbers by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, training
from jaxrl_reward import data as datasets
from jaxrl_reward import rewards as rw
from jaxrl_reward.rewards.imitation import adversarial, penalties
from jaxrl_reward.types import UserError

# What runs for milliseconds need not be compiled for seconds.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

LOGITS = jnp.array([-1.0, 0.0, 2.0])


def close(found, expected, **how):
    np.testing.assert_allclose(found, expected, **{"rtol": 1e-5, "atol": 1e-6} | how)


def rows_of(obs, action=None):
    obs = np.asarray(obs, np.float32)
    action = np.zeros((len(obs), 1), np.float32) if action is None else np.asarray(action)
    return rw.Demonstrations(obs, action, obs + 1, np.zeros(len(obs), bool))


DEMOS = rows_of(np.random.default_rng(0).normal(size=(16, 1)))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("minimax", [0.313262, 0.693147, 2.126928]),
        ("log", [-1.313262, -0.693147, -0.126928]),
        ("logit", [-1.0, 0.0, 2.0]),
    ],
)
def test_forms_of_the_reward(form, expected):
    close(rw.gail(demos=DEMOS, form=form).paid(LOGITS), expected)


def test_the_losses_of_known_logits():
    ours, theirs, one = jnp.zeros(1), jnp.array([2.0]), jnp.ones(1)
    term = rw.gail(demos=DEMOS)
    close(term.told(ours, theirs, one, one, one), 0.820075)
    close(adversarial.cross_entropy(theirs, jnp.float32(0.9)), [0.326928])
    entropy = adversarial.binary_entropy(jnp.concatenate([ours, theirs])).mean()
    close(entropy, 0.529241)
    close(0.820075 - 0.001 * entropy, 0.819546)


def test_the_positive_unlabelled_risk_of_known_logits():
    """Of both kinds of rows, the agent's less the expert's share; means first, then the cut.

    With eta = 1/4: two logits of the agent's, 0 and -3, and two of the expert's, 2 and 1.
    The mean of `-log P` of the expert's is 0.220095 as positives, 1.720095 as negatives; of
    the agent's as negatives 0.370867 (scipy's `log_expit`), less than 1/4 of 1.720095, so
    that nothing is left. (Row by row, the first would leave 0.693147 - 0.430024.) Of the
    agent's logits 3 and 0, 1.870867 - 0.430024 is left.
    """
    term, one = rw.gail(demos=DEMOS, unlabelled=0.25), jnp.ones(2)
    theirs = jnp.array([2.0, 1.0])
    cut = term.told(jnp.array([0.0, -3.0]), theirs, one, one, one)
    close(cut, 0.25 * 0.220095)
    whole = term.told(jnp.array([3.0, 0.0]), theirs, one, one, one)
    close(whole, 0.25 * 0.220095 + 1.870867 - 0.430024)


@pytest.mark.parametrize(("share", "slopes"), [(0.25, (0.5, -0.25)), (0.5, (0.5, -0.5))])
def test_the_positive_unlabelled_loss_lifts_the_expert_and_lowers_the_agent(share, slopes):
    """At logits of 0: d/dD softplus(D) = 1/2, of the expert's -eta / 2 - eta / 2."""
    term, one = rw.gail(demos=DEMOS, unlabelled=share), jnp.ones(4)
    told = lambda d: term.told(d[0] * one, d[1] * one, one, one, one)  # noqa: E731
    close(jax.grad(told)(jnp.zeros(2)), slopes)


@pytest.mark.parametrize("make", [rw.gail, rw.airl])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("label", [0.7, 1.0, 1.2])
def test_no_option_turns_the_discriminator_round(make, share, label):
    """Whatever is smoothed or unlabelled, from 0 the expert's logit rises and the agent's falls."""
    term, one = make(demos=DEMOS, unlabelled=share), jnp.ones(4)
    told = lambda d: term.told(d[0] * one, d[1] * one, label * one, one, one)  # noqa: E731
    ours, theirs = jax.grad(told)(jnp.zeros(2))
    assert ours > 0 > theirs


def test_where_clouds_are_apart_unlabelled_steps_are_told_by_a_lower_logit(block_of):
    rng = np.random.default_rng(0)
    at = lambda x: rng.normal(size=(65, 1)) / 3 + x  # noqa: E731
    agent, expert = (
        block_of(np.zeros(64), obs=at(x), action=np.zeros((64, 1), np.float32)) for x in (-1, 1)
    )
    sizes = {"width": 8, "updates": 150, "batch_size": 64, "learning_rate": 1e-2}
    term = rw.gail(demos=rows_of(at(1)), unlabelled=0.5, penalty="none", form="logit", **sizes)
    state = term.init(jax.random.key(0), agent)
    state, _ = quick(term.learn)(state, jax.random.key(1), agent)
    logits = [term.apply(state, block).reward.mean() for block in (expert, agent)]
    assert logits[0] > 1 and logits[0] > logits[1] + 1


@pytest.mark.parametrize("where", penalties.WHERE[:-1])
def test_the_penalty_of_a_linear_logit_is_the_same_everywhere(where):
    rng = np.random.default_rng(1)
    agent, expert = ((rng.normal(size=(5, 1)), rng.normal(size=(5, 1))) for _ in range(2))
    at = penalties.points(where, jax.random.key(0), agent, expert, 10.0, joint=False)

    def of(w, one_sided):
        logit = lambda s, a: w[0] * s[0] + w[1] * a[0] + 3.0  # noqa: E731
        return penalties.penalty(penalties.slopes(logit, at), 1.0, one_sided)

    for w, two, one in (((3.0, 4.0), 16, 16), ((0.3, 0.4), 0.25, 0), ((0.0, 0.0), 1, 0)):
        close(10 * of(jnp.array(w), False), 10 * two, rtol=1e-4)
        close(10 * of(jnp.array(w), True), 10 * one, rtol=1e-4)
    close(jax.grad(of)(jnp.array([3.0, 4.0]), False), [4.8, 6.4], rtol=1e-4)


def test_the_slope_of_one_hidden_layer():
    w, v = jnp.array([[1.0, -2.0], [0.5, 1.0]]), jnp.array([2.0, -1.0])

    def logit(state, action):
        x = w @ jnp.concatenate([state, action])
        return v @ jnp.where(x > 0, x, adversarial.LEAK * x)

    slope = penalties.slopes(logit, (jnp.ones((1, 1)), jnp.ones((1, 1))))
    close(slope, [1.431782])
    close(penalties.penalty(slope, 1.0, False), 0.186436, rtol=1e-4)


def test_between_lie_points_on_a_line_only_if_both_parts_are_mixed_alike():
    agent, expert = ((np.zeros((50, 1)),) * 2), ((np.ones((50, 1)),) * 2)
    joint = penalties.points("wgan", jax.random.key(0), agent, expert, 0.0, joint=True)
    apart = penalties.points("wgan", jax.random.key(0), agent, expert, 0.0, joint=False)
    close(joint[0], joint[1])
    assert np.abs(np.asarray(apart[0] - apart[1])).max() > 0.1
    assert all(((x >= 0) & (x <= 1)).all() for x in (*joint, *apart))


def test_what_is_clamped_has_no_slope():
    term = rw.gail(demos=DEMOS, width=8, clamp=5.0)
    params = adversarial.net_init(jax.random.key(0), 3, 8)
    at = lambda x: (jnp.full((1, 2), x), jnp.zeros((1, 1)))  # noqa: E731
    inside, outside = (term.slopes(params, at(x)) for x in (1.0, 9.0))
    free = rw.gail(demos=DEMOS, width=8, clamp=0.0)
    assert inside > outside and free.slopes(params, at(9.0)) > outside


def test_power_iteration_finds_the_largest_singular_value():
    layer = {"w": jnp.array([[3.0, 1.0], [0.0, 2.0], [1.0, 1.0]]), "u": jnp.ones(2) / 2**0.5}
    for _ in range(30):
        (layer,) = adversarial.power_iteration([layer])
    close(adversarial.singular_value(layer), np.linalg.svd(layer["w"])[1][0])


def test_after_the_end_comes_the_absorbing_state(block_of):
    block = block_of([0.0, 0.0], ends=(1,), obs=[[1.0], [2.0], [3.0]], action=[[0.5], [0.5]])
    term = rw.gail(demos=DEMOS, form="logit", absorbing=True, gamma=0.9, width=4)
    state = term.init(jax.random.key(3), block)
    params = state.shared.params
    params[2]["w"] = params[2]["w"] * 100
    d = lambda s, flag, a: term.logit(params, jnp.array([s, flag]), jnp.array([a]), 1.0)  # noqa: E731
    state = state.replace(shared=state.shared.replace(params=params))
    paid = term.apply(state, block).reward[:, 0]
    close(paid[0], d(1.0, 0.0, 0.5), rtol=1e-4)
    close(paid[1], d(2.0, 0.0, 0.5) + 9.0 * d(0.0, 1.0, 0.0), rtol=1e-4)


def test_airl_pays_the_task_and_its_shaping(block_of):
    block = block_of([0.0, 0.0], ends=(1,), obs=[[1.0], [2.0], [3.0]], action=[[0.5], [0.5]])
    shaped = rw.airl(demos=DEMOS, gamma=0.9, width=4)
    state = shaped.init(jax.random.key(0), block)
    params = jax.tree.map(lambda x: x + 0.1, state.shared.params)
    state = state.replace(shared=state.shared.replace(params=params))
    h = lambda s: adversarial.net(params["h"], jnp.array([s, 0.0]))  # noqa: E731
    g = lambda s: adversarial.net(params["g"], jnp.array([s, 0.0, 0.5]))  # noqa: E731
    close(
        shaped.apply(state, block).reward[:, 0],
        [g(1.0) + 0.9 * h(2.0) - h(1.0), g(2.0) - h(2.0)],
        rtol=1e-4,
    )
    bare = rw.airl(demos=DEMOS, gamma=0.9, width=4, shaped=False)
    close(bare.apply(state, block).reward[:, 0], [g(1.0), g(2.0)], rtol=1e-4)


def test_a_discriminator_learns_to_tell_steps_apart(block_of):
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(65, 1)) - 2
    block = block_of(np.zeros(64), obs=obs, action=np.zeros((64, 1), np.float32))
    term = rw.gail(
        demos=rows_of(rng.normal(size=(32, 1)) + 2),
        **{"width": 16, "updates": 200, "batch_size": 64, "learning_rate": 1e-2, "weight": 0.1},
    )
    state = term.init(jax.random.key(0), block)
    state, metrics = quick(term.learn)(state, jax.random.key(1), block)
    assert metrics["gail/accuracy"] > 0.9 and metrics["gail/slope"] > 0
    near = jax.tree.map(lambda x: x, block).replace(obs=block.obs + 4)
    assert term.apply(state, near).reward.mean() > term.apply(state, block).reward.mean() + 0.5


def test_the_penalty_keeps_a_discriminator_flat(block_of):
    rng = np.random.default_rng(0)
    block = block_of(
        np.zeros(64), obs=rng.normal(size=(65, 1)) / 9, action=np.zeros((64, 1), np.float32)
    )
    slopes = {}
    for penalty in ("wgan", "none"):
        term = rw.gail(
            demos=rows_of(1 + rng.normal(size=(32, 1)) / 9),
            **{"width": 16, "updates": 200, "batch_size": 64, "learning_rate": 1e-2},
            penalty=penalty,
        )
        state = term.init(jax.random.key(0), block)
        slopes[penalty] = quick(term.learn)(state, jax.random.key(1), block)[1]["gail/slope"]
    assert slopes["wgan"] < 1.5 < 3 < slopes["none"]


def test_a_distilled_reward_is_high_where_the_expert_was(block_of):
    rng = np.random.default_rng(0)
    here = block_of(
        np.zeros(32), obs=rng.normal(size=(33, 1)) / 4, action=np.zeros((32, 1), np.float32)
    )
    term = rw.red(demos=rows_of(rng.normal(size=(64, 1)) / 4), fits=300, width=32, features=16)
    state = quick(term.init)(jax.random.key(0), here)
    there = here.replace(obs=here.obs + 4)
    near, far = (term.apply(state, block).reward.mean() for block in (here, there))
    assert 0.8 < near <= 1.0 and far < 0.2
    assert term.learn(state, jax.random.key(0), here)[0] is state  # it does not move


@pytest.mark.parametrize(("spread", "kappa"), [(1.0, 0.7), (2.0, 0.778801), (0.0, 0.7)])
def test_purple_pays_less_where_the_world_is_steep(spread, kappa, block_of, monkeypatch):
    block = block_of([3.0])
    term = rw.purple(actions=2, width=4)
    state = term.init(jax.random.key(0), block)
    past = jnp.tile(jnp.array([spread, -spread]), 5)  # of this standard deviation
    params = {**state.shared.params, "past": past}
    monkeypatch.setattr(rw.purple, "excess", lambda self, params, one: jnp.float32(0.5))
    state = state.replace(shared=state.shared.replace(params=params))
    close(term.apply(state, block).reward, [[3.0 * kappa]])


def test_the_slope_of_a_model_costs_nothing_up_to_its_limit(block_of):
    block = jax.tree.map(lambda x: x[0, 0], block_of([1.0], obs=[[0.0], [0.0]]))
    term = rw.purple(actions=2, width=4, steepest=0.0)
    params = term.init_params(jax.random.key(0), block)
    total = lambda x: term._model(1).apply(params["model"], x).sum()  # noqa: E731
    slope = np.linalg.norm(jax.grad(total)(jnp.array([0.0, 1.0, 0.0])))
    close(term.excess(params, block), slope**2, rtol=1e-4)
    assert rw.purple(actions=2, width=4, steepest=slope + 0.1).excess(params, block) == 0


# ---- demonstrations ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def expert():
    """Three whole episodes of 4, 3 and 5 steps and the begin of a fourth."""
    ends = np.zeros(14, bool)
    ends[[3, 6, 11]] = True
    obs = np.arange(14.0)[:, None] * np.ones((1, 3))
    arrays = {"obs": obs, "next_obs": obs + 1, "action": np.zeros((14, 1)), "reward": np.ones(14)}
    return datasets.make({**arrays, "terminated": ends, "truncated": np.zeros(14, bool)})


def test_whole_episodes_are_shown_and_of_them_one_step_in_so_many(expert):
    shown = lambda *a: rw.demonstrations(expert, *a).obs[:, 0].tolist()  # noqa: E731
    assert shown() == list(range(14))
    assert shown(2) == list(range(7))
    # Begun at 0, 1 and 0 of each episode.
    assert shown(3, 2) == [0, 2, 5, 7, 9, 11]
    with pytest.raises(UserError, match="have 3 whole episodes, not 4"):
        rw.demonstrations(expert, 4)


@pytest.mark.parametrize("every", [*range(2, 30), 49, 70, 100, 128])
def test_every_offset_is_shown_once_in_as_many_episodes(every):
    """And a few episodes are spread: no gap between offsets is much more than an even one."""
    count, length = every, 2 * every
    step = np.tile(np.arange(length), count)
    obs = np.stack([step, np.repeat(np.arange(count), length)], 1)
    ends = {"terminated": step == length - 1, "truncated": np.zeros(len(step))}
    fields = {"obs": obs, "next_obs": obs, "action": obs[:, :1] * 0.0, "reward": step * 0.0}
    shown = rw.demonstrations(datasets.make({**fields, **ends}), every=every).obs
    first = np.array([shown[shown[:, 1] == i, 0].min() for i in range(count)])
    assert sorted(first) == list(range(every)) and len(shown) == 2 * count
    few = np.sort(first[:4])
    gaps = np.diff(np.append(few, few[0] + every))
    assert gaps.max() <= every / 2 + 2


def test_a_file_that_is_replaced_is_read_anew(tmp_path, monkeypatch):
    def write(value):
        x = np.full((8, 2), value)
        flags = {"terminated": np.zeros(8), "truncated": np.arange(8) == 7}
        fields = {"obs": x, "next_obs": x, "action": x[:, :1], "reward": x[:, 0], **flags}
        datasets.save(datasets.make(fields), tmp_path / "demos.npz")

    monkeypatch.chdir(tmp_path)
    for value in (1.0, -1.0):
        write(value)
        assert rw.demonstrations("demos.npz").obs[0, 0] == value
        assert rw.demonstrations(tmp_path / "demos.npz").obs[0, 0] == value


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rw.gail(), "gail needs demonstrations, as in gail"),
        (lambda: rw.gail(demos="nowhere.npz"), "nowhere.npz"),
        (
            lambda: rw.gail(demos=DEMOS, form="minmax"),
            "form cannot be 'minmax'",
        ),
        (lambda: rw.gail(demos=DEMOS, penalty="gp"), "penalty cannot be 'gp'"),
        (
            lambda: rw.gail(demos=DEMOS),
            r"have obs of shape \[1\], and the environment of shape \[3\]",
        ),
        (lambda: rw.airl(demos=DEMOS, absorbing=True), "leave absorbing out"),
    ],
)
def test_bad_settings_name_their_fix(make, message):
    with pytest.raises(UserError, match=message):
        agents.make("sac", "gymnax:Pendulum-v1", make())


def test_replayed_rewards_are_the_current_discriminators(expert):
    sizes = {"num_envs": 2, "num_steps": 4, "batch_size": 8, "hidden": (8,), "buffer_size": 64}
    small = {"width": 8, "updates": 1, "batch_size": 8}
    gail = rw.gail(demos=expert, episodes=2, **small)
    agent = agents.make("sac", "gymnax:Pendulum-v1", gail, **sizes, learning_starts=8)
    state, iterate = quick(agent.init)(jax.random.key(0)), quick(agent.iterate)
    for _ in range(3):
        state, metrics = iterate(state)
    recorder, shared = agent.init.__self__.recorder, state.reward_state.shared
    batches, block = recorder.batches(state, shared, state.replay, jax.random.key(1))
    steps = jax.tree.map(lambda x: x[0], block)
    close(batches.reward[-1], gail.relabel(shared, steps, ()), rtol=1e-4)
    bumped = shared.replace(params=jax.tree.map(lambda x: x + 0.1, shared.params))
    again, _ = recorder.batches(state, bumped, state.replay, jax.random.key(1))
    assert np.abs(np.asarray(again.reward - batches.reward)).max() > 0.01
    assert {"reward/gail/accuracy", "reward/gail/slope"} <= set(metrics)
    # An update from the same store, under another discriminator, is another update.
    one, other = (
        iterate(state.replace(reward_state=state.reward_state.replace(shared=known)))[0]
        for known in (shared, bumped)
    )
    jax.tree.map(np.testing.assert_array_equal, one.replay, other.replay)
    first, second = (jax.tree.leaves(each.params["critic"]) for each in (one, other))
    assert max(np.abs(x - y).max() for x, y in zip(first, second, strict=True)) > 1e-4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_imitator_balances_the_pendulum_of_its_expert(tmp_path):
    """The demonstrations are those of a SAC agent of this package."""
    from jaxrl_reward import collecting

    sizes = {"num_envs": 4, "updates": 4, "batch_size": 128, "hidden": (64, 64)}
    teacher = agents.make("sac", "gymnax:Pendulum-v1", **sizes)
    settings = collecting.Settings(rows=2000, total_steps=16_000, eval_episodes=8)
    found = collecting.collect(teacher, ("expert",), settings, progress=False).datasets["expert"]
    reward = rw.gail(demos=found, episodes=8, every=4, width=32, updates=1, batch_size=128)
    pupil = agents.make("sac", "gymnax:Pendulum-v1", reward, **sizes)
    result = training.train(pupil, seeds=2, total_steps=24_000, evals=1, progress=False)
    assert (result.returns > -400).all()  # random actions: -1200
