"""IQL and RIQL: their losses by known numbers, a whole step by hand, settings as leaves."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl_reward import agents
from jaxrl_reward import data as datasets
from jaxrl_reward.agents.common import base
from jaxrl_reward.agents.common.replay import Batch
from jaxrl_reward.agents.from_data import iql_losses, riql
from jaxrl_reward.agents.shells import from_data
from jaxrl_reward.types import UserError

# What runs for milliseconds need not be compiled for seconds.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)

Q5 = np.array([[3, 10, -1], [1, 12, -5], [7, 11, 0], [2, 9, 4], [5, 30, 2]], np.float32)


# ---- the losses ------------------------------------------------------------------------


@quick
def huber(error, delta):
    """The losses and their slopes."""
    loss = lambda x: iql_losses.huber(x, delta)  # noqa: E731
    return loss(error), jax.vmap(jax.grad(loss))(error)


@quick
def quantiles(values, levels):
    return jax.vmap(iql_losses.quantile, in_axes=(None, 0))(values, levels)


@pytest.mark.parametrize(
    ("sigma", "values", "mean"),
    [
        (0.1, [0, 0.0000125, 0.00125, 0.005, 0.02, 0.5, 100], 14.360895),
        (0.5, [0, 0.0003125, 0.03125, 0.125, 0.5, 8, 148], 22.379509),
        (1.0, [0, 0.00125, 0.125, 0.5, 1.5, 9.5, 149.5], 23.018036),
        (3.0, [0, 0.01125, 0.444444, 0.944444, 1.944444, 9.944444, 149.944444], 23.319067),
    ],
)
def test_hubers_loss_has_slopes_of_at_most_one(sigma, values, mean):
    error, delta = np.float32([0.0, 0.05, 0.5, 1.0, 2.0, 10.0, -150.0]), 1.0 / sigma**2
    loss, slopes = map(np.asarray, huber(error, delta))
    close(loss, values)
    close(loss.mean(), mean)
    close(slopes, np.clip(error / delta, -1.0, 1.0))


def test_without_a_delta_the_loss_is_half_the_square():
    error = np.float32([-150.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0])
    loss, slopes = huber(error, 0.0)
    close(loss, 0.5 * error**2)
    close(slopes, error)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_quantile_is_numpys(size):
    values = np.random.default_rng(size).normal(size=(size, 3)).astype(np.float32)
    levels = np.float32([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
    close(quantiles(values, levels), np.quantile(values, levels, axis=0), rtol=1e-4)


def test_the_quantile_of_known_critics():
    levels = np.float32([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
    known = [[1, 9, -5], [1.4, 9.4, -3.4], [2, 10, -1], [3, 11, 0]]
    close(quantiles(Q5, levels)[:4], known)
    close(quantiles(Q5[:3], levels)[1:3], [[1.4, 10.2, -4.2], [2, 10.5, -3]])
    close(quantiles(np.float32([[4.0] * 3, [10.0] * 3]), levels)[2], [5.5] * 3)


def test_expectiles_and_weights_of_known_numbers():
    @quick
    def run(error, advantage):
        return iql_losses.expectile(error, 0.7), iql_losses.weight(advantage, 3.0, 100.0)

    advantage = np.float32([-1.0, 0.5, 1.0, 1.535056, 2.0, 1e4])
    found = run(np.arange(-2.0, 3.0, dtype=np.float32), advantage)
    close(found[0], [1.2, 0.3, 0, 0.7, 2.8])
    expected = [0.049787, 4.481689, 20.085537, 99.99973, 100, 100]
    np.testing.assert_allclose(found[1], expected, rtol=1e-4)


def test_a_rate_falls_along_a_cosine():
    run = quick(lambda at, steps: iql_losses.cosine(0.2, at, steps))
    at = np.int32([0, 250, 500, 1000, 2000])
    close(run(at, 1000.0), 0.1 * (1 + np.cos(np.pi * np.minimum(at / 1000, 1))))
    close(run(at, 0.0), 0.2)


def test_the_losses_of_a_known_batch():
    """For sigmas of 0.1, 1 and 3."""
    learner = iql_losses.Learner(riql.Config(), None)

    @quick
    def run(slow, value, batch, after, q, deltas):
        advantage = iql_losses.quantile(slow, 0.25) - value
        target = learner.target(riql.Config(), batch, after)
        loss = lambda delta: iql_losses.huber(target[None] - q, delta).mean()  # noqa: E731
        value_loss = iql_losses.expectile(advantage, 0.7).mean()
        trust = iql_losses.weight(advantage, 3.0, 100.0)
        return advantage, value_loss, target, jax.vmap(loss)(deltas), trust

    weight = np.float32([0.99, 0.0])
    batch = Batch(*(np.zeros((2, 1)),) * 2, np.float32([1.0, -200.0]), weight, np.zeros((2, 1)))
    advantage, value_loss, target, q_losses, trust = run(
        np.float32([[1, 5], [2, 4], [4, 9]]),
        np.float32([1, 4]),
        batch,
        np.float32([2, 3]),
        np.float32([[0.5, -1], [2, 0], [3, -50]]),
        1.0 / np.square(np.float32([0.1, 1.0, 3.0])),
    )
    close(advantage, [0.5, 0.5])
    close(value_loss, 0.175)
    close(target, [2.98, -100.0])
    close(q_losses, [18.590093, 41.660067, 42.030670])
    close(trust, [4.481689, 4.481689])
    policy, action = np.array([[0.2, 0.0], [0.5, -0.5]]), np.array([[0.0, 0.1], [1.0, -1.0]])
    close((trust * np.square(policy - action).sum(-1)).mean(), 1.232464)


# ---- a whole step ----------------------------------------------------------------------


def dataset(rows=40, seed=0, **changes):
    """Random steps of a task like the pendulum, in episodes of 10."""
    rng = np.random.default_rng(seed)
    arrays = {
        "obs": rng.normal(size=(rows, 3)),
        "action": rng.uniform(-2.0, 2.0, size=(rows, 1)),
        "next_obs": rng.normal(size=(rows, 3)),
        "reward": rng.normal(size=rows),
        "terminated": np.arange(rows) % 20 == 19,
        "truncated": np.arange(rows) % 10 == 9,
    }
    return datasets.make({**arrays, **changes}, datasets.Provenance(environment=ENV))


ENV = "gymnax:Pendulum-v1"
SMALL = {"updates": 3, "batch_size": 8, "hidden": (4,), "critics": 3}
SETS = (dataset(), dataset(seed=1))
NUMBERS = {"learning_rate": 1e-2, "target_rate": 0.1, "beta": 2.0, "max_weight": 1.5}
NUMBERS |= {"policy_decay": 4.0}
# Two lanes: what is called RIQL, from the second set, and what is called IQL, from the first.
LANES = (
    {"quantile": 0.25, "huber_delta": 0.3, "normalize_obs": 1.0, "source": 1.0}
    | {"target_low": -0.5, "target_high": 0.8},
    {"quantile": 0.0, "huber_delta": 0.0, "normalize_obs": 0.0, "source": 0.0}
    | {"target_low": -1e9, "target_high": 1e9},
)
TRACES = []


@cache
def program():
    """An agent, and one program of lanes: what an iteration makes of states."""
    made = agents.make("riql", ENV, data=SETS, **SMALL)

    @quick
    def run(states, data):
        TRACES.append(())
        return jax.vmap(made.iterate, in_axes=(0, None))(states, data)

    return made, run


def state(made, point, seed):
    """As `init` gives it, but for the networks: their weights are drawn by NumPy."""
    config = made.config.replace(**NUMBERS, **point)
    found = jax.eval_shape(made.init, jax.random.key(0))
    rng = np.random.default_rng(seed)
    draw = lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32)  # noqa: E731
    params = jax.tree.map(draw, found.params)
    learned = {name: params[name] for name in ("policy", "value", "critic")}
    i, on = int(point["source"]), point["normalize_obs"] > 0
    return found.replace(
        config=base.as_leaves(config),
        reward_state=jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), found.reward_state),
        params=params,
        opt_state=optax.scale_by_adam().init(learned),
        mean=made.data.mean[i] if on else jnp.zeros(3),
        scale=1.0 / (made.data.std[i] + from_data.SMALLEST_STD) if on else jnp.ones(3),
        key=jax.random.key(seed),
        iteration=jnp.int32(0),
    )


def lanes(points):
    """The states at these points, what an iteration makes of them, and its metrics."""
    made, run = program()
    states = [state(made, point, seed) for seed, point in enumerate(points)]
    before = jax.tree.map(lambda *x: jnp.stack(x), *states)
    return before, *run(before, made.data)


def lane(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def dense(params, x):
    """A network of one hidden layer: its output and what its gradient needs."""
    first, last = params["params"]["Dense_0"], params["params"]["Dense_1"]
    hidden = x @ first["kernel"] + first["bias"]
    active = np.maximum(hidden, 0.0)
    return active @ last["kernel"] + last["bias"], (x, hidden, active)


def dense_gradient(params, seen, slope):
    """The gradient of a loss whose slope by the output is `slope` `[B, out]`."""
    x, hidden, active = seen
    back = slope @ params["params"]["Dense_1"]["kernel"].T * (hidden > 0.0)
    return {
        "params": {
            "Dense_0": {"bias": back.sum(0), "kernel": x.T @ back},
            "Dense_1": {"bias": slope.sum(0), "kernel": active.T @ slope},
        }
    }


def adam(gradient, moments, t, rate):
    """Adam's change and its moments after step t, counted from 1."""
    mean, square = moments
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
    square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, square, gradient)
    scale = lambda m, v: (  # noqa: E731
        -rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    )
    return jax.tree.map(scale, mean, square), (mean, square)


def step_by_hand(config, params, moments, t, batch):
    """One update in float64 NumPy: V, critics and slow critics, policy, in this order."""
    obs, action, after = batch["obs"], batch["action"], batch["next_obs"]
    count, size = config["critics"], len(obs)
    judged = np.concatenate([obs, action], axis=1)
    next_value = dense(params["value"], after)[0][:, 0]
    slow = np.stack([dense(params["target"][i], judged)[0][:, 0] for i in range(count)])
    worth = np.quantile(slow, config["quantile"], axis=0)
    value, seen = dense(params["value"], obs)
    u = worth - value[:, 0]

    by_value = -2.0 * np.abs(config["expectile"] - (u < 0)) * u / size
    gradient = {"value": dense_gradient(params["value"], seen, by_value[:, None])}
    going_on = config["gamma"] * ~batch["terminated"]
    target = np.clip(batch["reward"] + going_on * next_value, config["low"], config["high"])
    critics = []
    for i in range(count):
        q, seen = dense(params["critic"][i], judged)
        error = target - q[:, 0]
        slope = np.clip(error / config["delta"], -1, 1) if config["delta"] else error
        slope = -slope[:, None] / (count * size)
        critics.append(dense_gradient(params["critic"][i], seen, slope))
    gradient["critic"] = tuple(critics)
    out, seen = dense(params["policy"]["network"], obs)
    trust = np.minimum(np.exp(config["beta"] * u), config["most"])[:, None]
    by_out = trust * 2.0 * (np.tanh(out) - action) * (1 - np.tanh(out) ** 2) / size
    gradient["policy"] = {"network": dense_gradient(params["policy"]["network"], seen, by_out)}

    after_step = {}
    for name, each in gradient.items():
        falls = 0.5 * (1 + np.cos(np.pi * min((t - 1) / config["decay"], 1)))
        rate = config["rate"] * (falls if name == "policy" else 1.0)
        change, moments[name] = adam(each, moments[name], t, rate)
        after_step[name] = jax.tree.map(np.add, params[name], change)
    after_step["target"] = jax.tree.map(
        lambda q, slow: config["follow"] * q + (1 - config["follow"]) * slow,
        after_step["critic"],
        params["target"],
    )
    return after_step


@pytest.mark.parametrize("i", [0, 1], ids=["riql", "iql"])
def test_updates_equal_a_numpy_loop(i):
    """Also of settings and data that differ side by side, in one program."""
    before, after, metrics = lanes(LANES)
    begun, point, data = lane(before, i), LANES[i], SETS[int(LANES[i]["source"])]
    _, key_rows, *_ = jax.random.split(begun.key, 4)
    rows = np.asarray(jax.random.randint(key_rows, (3, 8), 0, 40))
    steps = {k: np.asarray(getattr(data.steps, k)) for k in ("obs", "next_obs", "action")}
    if point["normalize_obs"]:
        both = np.concatenate([steps["obs"], steps["next_obs"]]).astype(np.float64)
        for k in ("obs", "next_obs"):
            steps[k] = (steps[k] - both.mean(0)) / (both.std(0) + 1e-3)
    steps["action"] = steps["action"] / 2.0
    steps |= {k: np.asarray(getattr(data.steps, k)) for k in ("reward", "terminated")}
    wide = lambda tree: jax.tree.map(lambda x: np.asarray(x, np.float64), tree)  # noqa: E731
    params = wide(begun.params)
    moments = {k: (jax.tree.map(np.zeros_like, params[k]),) * 2 for k in params if k != "target"}
    by_hand = {
        **{"critics": 3, "quantile": point["quantile"], "delta": point["huber_delta"]},
        **{"expectile": 0.7, "gamma": 0.99, "beta": 2.0, "most": 1.5, "decay": 4.0},
        **{"low": point["target_low"], "high": point["target_high"], "rate": 1e-2, "follow": 0.1},
    }
    for t in range(3):
        batch = {name: value[rows[t]] for name, value in steps.items()}
        params = step_by_hand(by_hand, params, moments, t + 1, batch)
    same = partial(np.testing.assert_allclose, rtol=2e-3, atol=2e-5)
    jax.tree.map(same, wide(lane(after.params, i)), params)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), wide(begun.params), params)
    assert min(jax.tree.leaves(moved)) > 1e-4  # no network stood still
    assert (metrics["weight_mean"].total <= 1.5 * metrics["weight_mean"].count).all()


def test_lanes_neither_mix_nor_trace_again():
    """Another neighbour, and other numbers for it, change nothing."""
    _, after, _ = lanes(LANES)
    other = {**LANES[0], "expectile": 0.9, "quantile": 0.5}
    _, again, _ = lanes((other, LANES[1]))
    assert len(TRACES) == 1
    same = partial(np.testing.assert_array_equal)
    jax.tree.map(same, lane(after.params, 1), lane(again.params, 1))
    difference = jax.tree.map(
        lambda a, b: np.abs(a - b).max(), lane(after.params, 0), lane(again.params, 0)
    )
    assert min(jax.tree.leaves(difference["value"])) > 1e-5


def test_observations_are_normalised_by_both_fields():
    arrays = {"obs": [[0, 10, 1], [2, 10, 1]], "next_obs": [[2, 10, 1], [4, 14, 1]]}
    data = dataset(2, **{name: np.array(x, np.float32) for name, x in arrays.items()})
    made = agents.make("riql", ENV, data=data, **SMALL)
    close(made.data.mean, [[2, 11, 1]])
    close(made.data.std, [[1.414214, 1.732051, 0]])
    close(
        from_data.normalize(state(made, {**LANES[0], "source": 0.0}, 0), data.steps.obs),
        [[-1.413214, -0.577017, 0], [0, -0.577017, 0]],
    )


def test_the_authors_settings():
    assert riql.settings("walker2d", "random dynamics") == {
        "critics": 3,
        "quantile": 0.25,
        "huber_delta": 1.0,
    }
    assert riql.settings("hopper", "random obs")["huber_delta"] == pytest.approx(100.0)
    with pytest.raises(UserError, match="for task 'ant', known: halfcheetah, hopper, walker2d"):
        riql.settings("ant", "random obs")
    with pytest.raises(UserError, match="did you mean 'random obs'\\?"):
        riql.settings("hopper", "random ob")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"critics": 0}, "riql's critics must be a positive integer, not 0"),
        ({"quantile": 1.5}, "riql's quantile must be between 0 and 1, not 1.5"),
        ({"policy": "tanh"}, "riql has no policy 'tanh', known: deterministic, gaussian"),
        ({"target_high": -200.0}, "riql's target_high must be at least -100, not -200.0"),
        ({"source": 2}, "riql's source must be one of the 2 given, 0 to 1"),
        ({"huber_delta": -1.0}, "riql's huber_delta must be at least 0, not -1.0"),
    ],
)
def test_a_bad_setting_is_one_line(settings, message):
    with pytest.raises(UserError) as error:
        agents.make("riql", ENV, data=SETS, **settings)
    assert str(error.value) == message
