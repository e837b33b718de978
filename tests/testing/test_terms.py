"""Each law of `check_term` is broken by a term made for that, and by no other."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import jaxrl_reward as jr
from jaxrl_reward import rewards as rw
from jaxrl_reward.testing import LawError, check_term
from jaxrl_reward.testing.same import same
from jaxrl_reward.testing.terms import N, T, random_block
from jaxrl_reward.types import UserError


class fine(rw.Causal):  # noqa: N801
    """How many steps the episode has, weighted."""

    weight: float = 0.5

    def begin_one(self, shared, obs):
        return jnp.float32(0.0)

    def step(self, shared, memory, transition):
        return memory + 1, rw.Affine(1.0, self.weight * memory)


class ends(rw.RewardTransform):  # noqa: N801
    """Reads the last step of the block that it is given."""

    def apply(self, state, block):
        return rw.Applied(state, block.reward + block.reward[-1:], {}, ())


class first_of_all(rw.RewardTransform):  # noqa: N801
    """Reads the first environment."""

    def apply(self, state, block):
        return rw.Applied(state, block.reward - block.reward[:, :1], {}, ())


class for_ever(rw.RewardTransform):  # noqa: N801
    """Its memory does not end with the episode."""

    def init(self, key, example):
        return rw.State((), jnp.zeros(example.first.shape[1]))

    def apply(self, state, block):
        total = state.local[None] + jnp.cumsum(block.reward, 0)
        return rw.Applied(state.replace(local=total[-1]), total, {}, ())


class other_in_replay(rw.Pointwise):  # noqa: N801
    """Replay makes another number of it."""

    def reward(self, transition):
        return 2 * transition.reward

    def relabel(self, shared, batch, features):
        return batch.reward


class trains(rw.Learned):  # noqa: N801
    """Its parameters get a gradient of what it pays."""

    def init_params(self, key, example):
        return jnp.ones(example.obs.size)

    def reward(self, params, transition):
        return transition.obs @ params

    def loss(self, params, key, batch):
        return jnp.square(batch.obs @ params - batch.env_reward).mean()

    def apply(self, state, block):
        return rw.Applied(state, block.obs @ state.shared.params, {}, ())


class counts_begins(rw.RewardTransform):  # noqa: N801
    """Counts how often it is begun."""

    def init(self, key, example):
        return rw.State((), jnp.zeros(example.first.shape[1]))

    def begin(self, state, obs, first):
        return state.replace(local=state.local + first)

    def apply(self, state, block):
        return rw.Applied(state, block.reward, {}, ())


BROKEN = {
    ends(): "a block earns what its steps earn one by one",
    first_of_all(): "permuting the environments permutes the rewards",
    for_ever(): "an earlier episode changes nothing after it",
    other_in_replay(): "replay gives what was earned",
    trains(): "no gradient of a reward reaches its parameters",
    counts_begins(): "to begin twice is to begin once",
}


@pytest.mark.parametrize(("term", "law"), BROKEN.items(), ids=str)
def test_a_broken_law_is_named(term, law):
    with pytest.raises(LawError) as error:
        check_term(term)
    told = str(error.value)
    assert told.startswith(f"{term}: {law}") and "\n" not in told and "of seed" in told


@pytest.mark.parametrize("term", [fine(), 0.5 * fine() + rw.counts(buckets=16), rw.rnd(width=4)])
def test_a_term_that_keeps_them_passes(term):
    check_term(term, seeds=2)


def test_a_term_is_tried_on_its_environment():
    """Two numbers are observed without one."""

    class fourth(rw.Pointwise):  # noqa: N801
        def reward(self, transition):
            return (
                transition.obs.at[3].get(mode="fill", fill_value=jnp.nan) * 2.0**transition.action
            )

    check_term(fourth(), "gymnax:CartPole-v1", seeds=1)
    assert random_block(0, env=jr.envs.make("gymnax:Pendulum-v1")).action.shape == (T, N, 1)


def test_what_keeps_no_contract_is_told_before_anything_runs():
    class vector(rw.Pointwise):  # noqa: N801
        def reward(self, transition):
            return transition.obs

    with pytest.raises(
        UserError, match=r"vector\(\): reward\(transition\) gives an array of shape"
    ):
        check_term(vector())
    with pytest.raises(UserError, match=r"not the class fine: write fine\(\)"):
        check_term(fine)


def test_what_differs_is_said():
    one = {"a": np.zeros((2, 3), np.float32)}
    same("law", one, {"a": np.full((2, 3), 1e-6, np.float32)})
    other = {"a": np.array([[0, 0, 0], [0, 2, 0]], np.float32)}
    with pytest.raises(LawError, match=r"^law: \['a'\] is 0 at \[1, 1\], not 2$"):
        same("law", one, other)
    with pytest.raises(LawError, match=r"^law: the shape of \['a'\] is \(2, 3\), not \(3,\)$"):
        same("law", one, {"a": np.zeros(3, np.float32)})
    with pytest.raises(LawError, match="PyTreeDef"):
        same("law", one, {"b": 0})
    same("law", np.array([np.nan]), np.array([np.nan]))


def test_no_test_framework_is_needed():
    line = (
        "import sys, jaxrl_reward.testing; "
        "assert not {'hypothesis', 'pytest', '_pytest'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", line], check=True, timeout=100)
