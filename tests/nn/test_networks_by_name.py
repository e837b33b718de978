"""Networks by name and of one's own, and the convolution."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrl_reward import agents
from jaxrl_reward.agents.on_policy import ppo
from jaxrl_reward.nn import images, kinds, networks, own
from jaxrl_reward.training.record.run_folder import plain
from jaxrl_reward.types import UserError

KEY = jax.random.key(0)
CARTPOLE, BREAKOUT = "gymnax:CartPole-v1", "gymnax:Breakout-MinAtar"
STORE = {"batch_size": 8, "learning_starts": 16, "buffer_size": 64}
SMALL = {"num_envs": 4, "num_steps": 4, "hidden": (8,)}


class Linen(nn.Module):
    width: int = 5

    @nn.compact
    def __call__(self, x):
        return nn.tanh(nn.Dense(self.width)(x))


class Nnx(nnx.Module):
    def __init__(self, shape, rngs):
        self.layer = nnx.Linear(shape[-1], 5, rngs=rngs)

    def __call__(self, x):
        return nnx.tanh(self.layer(x))


def begin(key, obs):
    return {"w": jax.random.normal(key, (obs.shape[-1], 5)), "b": jnp.zeros(5)}


def forward(params, obs):
    "A linear layer, squashed."
    return jnp.tanh(obs @ params["w"] + params["b"][None])


OWN = {"linen": Linen(), "linen class": Linen, "nnx": Nnx, "pair": (begin, forward)}


# ---- the convolution -----------------------------------------------------------------


def test_the_convolution_is_that_of_xla():
    rng, network = np.random.default_rng(0), images.convolution(4, 3)
    obs = rng.normal(size=(2, 6, 5, 3)).astype(np.float32)
    params = {"kernel": rng.normal(size=(27, 4)), "bias": rng.normal(size=4)}
    params = jax.tree.map(jnp.float32, params)
    kernel = params["kernel"].reshape(3, 3, 3, 4)
    dimensions = ("NHWC", "HWIO", "NHWC")
    found = jax.lax.conv_general_dilated(obs, kernel, (1, 1), "VALID", dimension_numbers=dimensions)
    expected = np.maximum(np.asarray(found) + np.asarray(params["bias"]), 0.0).reshape(2, -1)
    np.testing.assert_allclose(network.apply(params, obs), expected, rtol=1e-4, atol=1e-5)


def test_the_convolution_begins_orthogonal():
    kernel = jax.jit(images.convolution().init)(KEY, jnp.zeros((1, 10, 10, 4)))["kernel"]
    np.testing.assert_allclose(np.linalg.svd(kernel, compute_uv=False), np.sqrt(2), rtol=1e-4)


@pytest.mark.parametrize(
    "shape,sees", [((10, 10, 4), True), ((4,), False), ((10, 5), False), ((2, 9, 3), False)]
)
def test_images_alone_take_the_convolution_by_default(shape, sees):
    network, inputs = kinds.make("auto", shape, (8, 2), "relu"), jnp.zeros((1, int(np.prod(shape))))
    params = jax.eval_shape(network.init, KEY, inputs)
    assert ("front" in params) is sees
    flat = jax.eval_shape(networks.mlp((8, 2), "relu").init, KEY, inputs)
    assert sees or jax.tree.structure(params) == jax.tree.structure(flat)


def test_what_else_is_seen_goes_behind_the_convolution():
    """Gradients by inputs: an action changes the output, and no features."""
    network = kinds.make("cnn", (4, 4, 1), (3,), "relu")
    inputs = np.random.default_rng(0).normal(size=(2, 5, 18)).astype(np.float32)
    params = jax.jit(network.init)(KEY, inputs)
    assert params["dense"]["params"]["Dense_0"]["kernel"].shape == (2 * 2 * 16 + 2, 3)
    slope = jax.jit(jax.jacobian(lambda x: network.apply(params, x)))(inputs[0, 0])
    tail = params["dense"]["params"]["Dense_0"]["kernel"][-2:]
    np.testing.assert_allclose(slope[:, -2:], tail.T, rtol=1e-5)
    out = network.apply(params, inputs)
    np.testing.assert_allclose(out[1, 3], network.apply(params, inputs[1, 3]), rtol=1e-5)


def test_agents_see_images_as_they_are():
    """PPO's first layer of the policy is a convolution of the image, wherever a pixel is."""
    agent = agents.make("ppo", BREAKOUT, num_envs=2, num_steps=2, minibatches=1)
    params = jax.eval_shape(agent.init, KEY).params
    assert params["actor"]["front"]["kernel"].shape == (36, 16)
    flat = agents.make("ppo", BREAKOUT, network="mlp", num_envs=2, num_steps=2, minibatches=1)
    kernel = jax.eval_shape(flat.init, KEY).params["actor"]["params"]["Dense_0"]["kernel"]
    assert kernel.shape == (400, 64)


@pytest.mark.parametrize("name", ["dqn", "sac"])
def test_agents_with_a_store_learn_from_images(name):
    agent = agents.make(name, BREAKOUT, placement="step", **SMALL, **STORE)
    before = jax.jit(agent.init)(KEY)
    after = jax.jit(agent.iterate)(before)[0]
    part = {"dqn": "online", "sac": "actor"}[name]
    old, new = (state.params[part]["front"]["kernel"] for state in (before, after))
    assert np.abs(np.asarray(new - old)).max() > 0


# ---- one's own -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", OWN)
def test_each_kind_is_its_plain_formula(kind):
    front = own.Own(OWN[kind]).front((3,))
    params = jax.jit(front.init)(KEY, jnp.zeros((1, 3)))
    leaves = {leaf.ndim: np.asarray(leaf) for leaf in jax.tree.leaves(params)}
    obs = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    expected = np.tanh(obs @ leaves[2] + leaves[1])
    np.testing.assert_allclose(front.apply(params, obs), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", OWN)
def test_seeds_begin_with_parameters_of_their_own(kind):
    front, keys = own.Own(OWN[kind]).front((3,)), jax.random.split(KEY, 3)
    one = lambda key: front.init(key, jnp.zeros((1, 3)))  # noqa: E731
    many, alone = jax.jit(jax.vmap(one))(keys), jax.jit(one)(keys[1])
    for leaf, same in zip(*map(jax.tree.leaves, (many, alone)), strict=True):
        np.testing.assert_array_equal(leaf[1], same)
        assert leaf.ndim == 2 or not np.array_equal(leaf[0], leaf[1])


@pytest.mark.parametrize("kind", OWN)
def test_ppo_trains_it_over_seeds(kind):
    agent = agents.make("ppo", CARTPOLE, network=OWN[kind], minibatches=1, **SMALL)
    before = jax.jit(jax.vmap(agent.init))(jax.random.split(KEY, 2))
    after, metrics = jax.jit(jax.vmap(agent.iterate))(before)
    assert np.isfinite(metrics["policy_loss"].total).all()
    fronts = (jax.tree.leaves(state.params["actor"]["front"]) for state in (before, after))
    for old, new in zip(*fronts, strict=True):
        assert np.abs(np.asarray(new - old)).max(axis=tuple(range(1, new.ndim))).min() > 0


def test_a_list_of_layers_is_no_hindrance():
    """flax cannot hash such a module, which a static setting must be."""
    layers = lambda: nn.Sequential([nn.Dense(4), nn.relu])  # noqa: E731
    first, second = (ppo.Config(network=layers()) for _ in range(2))
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert hash(first.network) == hash(second.network)
    assert jax.tree.structure(first) != jax.tree.structure(ppo.Config(network=Linen()))


def test_what_a_run_has_in_place_of_it_holds_no_address():
    for network in (nn.Sequential([nn.Dense(4), nn.relu]), Nnx, (begin, lambda p, x: x)):
        text = plain(ppo.Config(network=network))["network"]
        assert text.startswith(own.PREFIX) and "0x" not in text and "\n" not in text


def test_a_registered_one_has_a_name(monkeypatch):
    for name in ("five", "layer"):
        monkeypatch.setitem(kinds.TABLE, name, None)  # removed again
        del kinds.TABLE[name]
    register = kinds.register("five")
    assert register(Linen) is Linen and register(Linen) is Linen
    assert "five" in kinds.names() and plain(ppo.Config(network="five"))["network"] == "five"
    kinds.register("layer")((begin, forward))
    assert [kinds.summary(name) for name in ("five", "layer")] == ["", "A linear layer, squashed."]
    agent = agents.make("dqn", CARTPOLE, network="five", **SMALL, **STORE)
    params = jax.eval_shape(agent.init, KEY).params["online"]
    assert params["front"]["params"]["Dense_0"]["kernel"].shape == (4, 5)
    with pytest.raises(UserError, match="'five' is taken by own Linen"):
        register((begin, forward))
    with pytest.raises(UserError, match="'cnn' is taken"):
        kinds.register("cnn")(Linen)
    with pytest.raises(UserError, match="not an identifier"):
        kinds.register("five layers")


def of(forward):
    return (lambda key, obs: {"w": jnp.zeros(3)}), forward


class Needs(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        return x


class Keeps(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=False)(x)


class Flips(nnx.Module):
    def __init__(self, shape, rngs):
        self.layer = nnx.Dropout(0.1, rngs=rngs)

    def __call__(self, x):
        return self.layer(x)


class Pixels(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Conv(4, (3, 3))(x)


WRONG = [
    ("cnn", r"needs observations \[H, W, C\] of 3 x 3 at least; gymnax:CartPole-v1 has \[4\]"),
    ("gruu", "no network 'gruu', did you mean 'gru'"),
    (3, "3 is no network: name one, or give a flax module"),
    (None, "None is no network"),
    ((1, 2), r"\(1, 2\) is no pair of functions"),
    (Needs, "Needs is a class, and .*missing 1 required positional argument: 'width'"),
    (Keeps, "keeps batch_stats beside its parameters"),
    (Flips, "keeps layer beside its parameters"),
    (lambda: Nnx((4,), nnx.Rngs(0)), r"does not begin on observations \[3, 4\]: TypeError"),
    (lambda shape, rngs: 3, "gives int, not an nnx module"),
    (of(lambda params, x: x[:, 0]), r"gives \[3\] on observations \[3, 4\]; wanted is one vector"),
    (of(lambda params, x: (x, x)), "gives tuple on observations"),
    (of(lambda params, x: x > 0), "gives bool on observations"),
    (of(lambda params, x: x @ params["w"]), r"fails on observations \[3, 4\]: TypeError: dot_"),
    ((lambda key, x: {"n": jnp.arange(3)}, forward), r"\['n'\] of type int32; only floats"),
]


@pytest.mark.parametrize("network,message", WRONG)
def test_a_wrong_one_is_told_in_a_line(network, message):
    with pytest.raises(UserError, match=message) as caught:
        agents.make("ppo", CARTPOLE, network=network)
    assert "\n" not in str(caught.value)


def test_a_made_module_and_unflattened_pixels_are_told_in_a_line():
    with pytest.raises(UserError, match="all seeds would share: give what makes it, the class Nnx"):
        agents.make("ppo", CARTPOLE, network=Nnx((4,), nnx.Rngs(0)))
    with pytest.raises(UserError, match=r"gives \[3, 10, 10, 4\] .* flatten it by x.reshape"):
        agents.make("ppo", BREAKOUT, network=Pixels)
    with pytest.raises(UserError, match="dqn has no network 'gru', known: auto, cnn, mlp"):
        agents.make("dqn", CARTPOLE, network="gru")
