"""Encoders of parts, and policies that agents share."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _masked import Bandit, Pair, Team, made

from jaxrl_reward import agents, spaces
from jaxrl_reward.nn import images, kinds, parts, shared
from jaxrl_reward.types import UserError

KEY = jax.random.key(0)
SPACE = spaces.Dict(
    {
        "action_mask": spaces.Box(0, 1, (4,), jnp.bool_),
        "board": spaces.Box(0, 4, (5, 5, 2), jnp.int32),
        "camera": spaces.Box(0, 255, (6, 6, 3), jnp.uint8),
        "many": spaces.MultiDiscrete([2, 3]),
        "speed": spaces.Box(-jnp.inf, jnp.inf, (3,)),
        "what": spaces.Discrete(6),
    }
)
LAYOUT = spaces.parts(SPACE)
NAMED = {part.name: part for part in LAYOUT}


def one(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "action_mask": rng.random(4) > 0.5,
        "board": rng.integers(0, 5, (5, 5, 2)),
        "camera": rng.integers(0, 256, (6, 6, 3)),
        "many": rng.integers(0, 2, 2),
        "speed": 1e4 * rng.normal(size=3),
        "what": int(rng.integers(0, 6)),
    }


def flat(*seeds):
    return jnp.stack([spaces.flatten(SPACE, one(seed)) for seed in seeds])


def test_each_part_has_its_encoder():
    found = {part.name: parts.encoder(part) for part in parts.encoded(LAYOUT)}
    assert found == {
        "board": "cells",
        "camera": "cnn",
        "many": "embedding",
        "speed": "mlp",
        "what": "embedding",
    }


def test_what_is_encoded_lies_side_by_side_and_the_mask_does_not_count():
    front = parts.front(LAYOUT)
    params = front.init(KEY, flat(0))
    out = front.apply(params, flat(0, 1, 2))
    assert sorted(params) == ["board", "camera", "many", "speed", "what"]
    assert out.shape == (3, 16 * 3 * 3 + 16 * 4 * 4 + 2 * 16 + 64 + 16)
    other = flat(0, 1, 2).at[:, :4].set(0.5)
    np.testing.assert_array_equal(front.apply(params, other), out)
    assert (np.abs(out[:, -80:]) < 20).all()  # though the speed is ten thousand


def test_embeddings_are_rows_of_tables():
    front, seen = parts.front([NAMED["many"], NAMED["what"]]), one(3)
    params = front.init(KEY, flat(3))
    out = front.apply(params, flat(3))[0]
    a, b = seen["many"]
    rows = [params["many"][a], params["many"][2 + b], params["what"][seen["what"]]]
    np.testing.assert_allclose(out, np.concatenate(rows), rtol=1e-6)


def test_cells_are_embedded_before_the_convolution():
    front, seen = parts.front([NAMED["board"]]), one(1)["board"]
    params = front.init(KEY, flat(1))
    out = front.apply(params, flat(1))
    table = np.asarray(params["board"]["cells"])
    picture = np.concatenate([table[i][seen[..., i]] for i in range(2)], axis=-1)
    wanted = images.convolution().apply(params["board"]["cnn"], jnp.asarray(picture)[None])
    np.testing.assert_allclose(out, wanted, rtol=1e-5, atol=1e-6)


def test_a_board_of_two_axes_and_one_without_room_are_embedded_too():
    space = spaces.Dict(
        {"big": spaces.Box(1, 3, (4, 4), jnp.int32), "small": spaces.Box(-1, 1, (2, 9), jnp.int32)}
    )
    front = parts.front(spaces.parts(space))
    value = {"big": jnp.full((4, 4), 3), "small": jnp.full((2, 9), -1)}
    rows = spaces.flatten(space, value)[None]
    params = front.init(KEY, rows)
    out = front.apply(params, rows)
    assert out.shape == (1, 2 * 2 * 16 + 2 * 9 * 8)
    table = params["small"]["cells"][0]
    np.testing.assert_allclose(out[0, 64:72], table[0], rtol=1e-6)


def test_amounts_are_no_kinds():
    for space in (
        spaces.Box(0, 255, (5, 5, 3), jnp.int32),
        spaces.Box(-jnp.inf, jnp.inf, (5, 5), jnp.int32),
        spaces.Box(0.0, 1.0, (5, 5)),
        spaces.Box(0, 9, (5,), jnp.int32),
    ):
        assert parts.encoder(spaces.parts(space)[0]) != "cells"


@pytest.mark.parametrize(
    "names,front", [(["board", "speed"], True), (["camera"], True), (["speed", "what"], False)]
)
def test_auto_encodes_parts_where_dense_layers_do_not_see_them_well(names, front):
    space = spaces.Dict({name: SPACE.spaces[name] for name in [*names, "action_mask"]})
    layout = spaces.parts(space)
    size = layout[-1].stop
    made = kinds.make("auto", (size,), (8, 2), "relu", layout=layout)
    params = jax.eval_shape(made.init, KEY, jnp.zeros((1, size)))
    assert ("front" in params) is front
    chosen = kinds.make("parts", (size,), (8, 2), "relu", layout=layout)
    assert "front" in jax.eval_shape(chosen.init, KEY, jnp.zeros((1, size)))


def test_what_is_no_amount_is_not_normalised():
    kept = parts.kept(LAYOUT)
    found = {part.name: set(kept[part.start : part.stop].tolist()) for part in LAYOUT}
    yes, no = {True}, {False}
    assert found == {
        "action_mask": yes, "board": yes, "camera": yes, "many": yes, "speed": no, "what": yes
    }  # fmt: skip
    assert parts.kept(spaces.parts(spaces.Discrete(3))) is None


# ---- encoders of one's own ------------------------------------------------------------


class Tower(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Dense(5, name="tower")(x.reshape(x.shape[0], -1)))


def test_an_encoder_of_ones_own_comes_first(registers):
    parts.register("tower", lambda part: part.name == "board")(Tower)
    parts.register("tower", lambda part: part.name == "board")(Tower)
    assert parts.encoder(NAMED["board"]) == "tower" and parts.encoder(NAMED["camera"]) == "cnn"
    front = parts.front([NAMED["board"], NAMED["what"]])
    params = front.init(KEY, flat(0))
    assert "tower" in params["board"]["params"]
    assert front.apply(params, flat(0, 1)).shape == (2, 5 + 16)


def test_a_bad_encoder_is_told(registers):
    with pytest.raises(UserError, match="'cnn' is taken"):
        parts.register("cnn", lambda part: True)(Tower)
    with pytest.raises(UserError, match="a function of a Part"):
        parts.register("tower", "board")(Tower)
    parts.register("flat", lambda part: part.name == "place")(lambda shape, rngs: 3)
    with pytest.raises(UserError, match="ppo's flat of place's network"):
        agents.make("ppo", made(Bandit), network="parts")


# ---- shared by agents -----------------------------------------------------------------


def _policy(layout, count):
    size = layout[-1].stop
    net = kinds.make("shared", (size,), (8, 2 * count), "tanh", layout=layout, agents=count)
    return net, net.init(KEY, jnp.zeros((1, size)))


def test_agents_see_their_own_part_alone_and_share_parameters():
    layout = made(Team).parts
    net, params = _policy(layout, 3)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(7, 13)).astype(np.float32)
    out = np.asarray(net.apply(params, rows)).reshape(7, 3, 2)
    turned = rows.copy()
    turned[:, 0:4], turned[:, 4:8] = rows[:, 4:8], rows[:, 0:4]
    turned[:, 12] = 5.0  # the clock, which is nobody's
    again = np.asarray(net.apply(params, turned)).reshape(7, 3, 2)
    np.testing.assert_allclose(again, out[:, [1, 0, 2]], rtol=1e-5, atol=1e-6)
    slopes = jax.jacobian(lambda row: net.apply(params, row))(rows[0])
    for agent in range(3):
        own = slopes[2 * agent : 2 * agent + 2]
        others = np.delete(own, np.s_[4 * agent : 4 * agent + 4], axis=1)
        assert (others == 0).all() and (own != 0).any()


def test_agents_may_be_rows_of_parts():
    space = spaces.Dict(
        {
            "action_mask": spaces.Box(0, 1, (3, 2), jnp.bool_),
            "board": spaces.Box(0, 3, (3, 4, 4), jnp.int32),
            "time": spaces.Box(0.0, 1.0, (1,)),
            "view": spaces.Box(-1.0, 1.0, (3, 5)),
        }
    )
    layout = spaces.parts(space)
    view, take = shared.own(layout, 3)
    assert [(part.name, part.shape, part.start) for part in view] == [
        ("board", (4, 4), 0), ("view", (5,), 16)
    ]  # fmt: skip
    rows = jnp.arange(2 * layout[-1].stop, dtype=jnp.float32).reshape(2, -1)
    seen = take(rows)
    assert seen.shape == (2, 3, 21)
    np.testing.assert_array_equal(seen[1, 2, 16:], rows[1, -5:])
    np.testing.assert_array_equal(seen[0, 1, :16], rows[0, 6 + 16 : 6 + 32])
    net, params = _policy(layout, 3)
    assert net.apply(params, rows).shape == (2, 6) and "front" in params


def test_the_critic_sees_all():
    agent = agents.make("ppo", made(Team), network="shared", hidden=(8,))
    learner, state = agent.init.__self__.learner, agent.init(KEY)
    value = lambda row: learner.critic.output(state.params["critic"], (), row)[0]  # noqa: E731
    assert (jax.grad(value)(jnp.ones(13)) != 0).all()


def test_parts_of_a_chosen_kind_train():
    agent = agents.make("ppo", made(Pair), network="parts", hidden=(8,), num_steps=4, epochs=1)
    state, metrics = jax.jit(lambda key: agent.iterate(agent.init(key)))(KEY)
    assert np.isfinite(metrics["policy_loss"].total)
    assert "front" in state.params["actor"]


@pytest.mark.parametrize(
    "name,environment,network,message",
    [
        ("ppo", Bandit, "shared", r"an action of several numbers .* Bandit has \[4\]"),
        ("ppo", Pair, "shared", r"as many choices each, .* Pair has \[2, 3\]"),
        ("dqn", Bandit, "shared", "network"),
        ("subpo", Team, "shared", "network"),
        ("ppo", Bandit, "cnn", "use network='parts'"),
    ],
)
def test_networks_that_do_not_fit_are_told(name, environment, network, message):
    with pytest.raises(UserError, match=message):
        agents.make(name, made(environment), network=network)
