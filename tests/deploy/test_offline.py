"""A policy from data in a gymnasium environment: returns by hand, refusals."""

import numpy as np
import pytest

import jaxrl_reward as jr
from jaxrl_reward import data as datasets
from jaxrl_reward import training
from jaxrl_reward.types import UserError

gym = pytest.importorskip("gymnasium")


class Counter(gym.Env):
    """Pays `action * (step + 1)`; ends after 4 steps, by the clock after 3 where seed is odd."""

    def __init__(self, shape=(2,), start=0):
        self.observation_space = gym.spaces.Box(-1.0, 1.0, shape)
        self.action_space = gym.spaces.Discrete(2, start=start)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_count, self.limit = 0, 3 if seed % 2 else 4
        return np.zeros(self.observation_space.shape, np.float32), {}

    def step(self, action):
        self.step_count += 1
        over = self.step_count == self.limit
        obs = np.full(self.observation_space.shape, self.step_count, np.float32)
        ends = (over and self.limit == 4, over and self.limit == 3)
        return obs, float((action - self.action_space.start) * self.step_count), *ends, {}


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """BC of a data set that always chose 1."""
    rows = 40
    obs = np.random.default_rng(0).normal(size=(rows, 2))
    arrays = {"obs": obs, "next_obs": obs, "action": np.ones(rows, int), "reward": np.zeros(rows)}
    flags = {"terminated": np.arange(rows) % 4 == 3, "truncated": np.zeros(rows)}
    data = datasets.make({**arrays, **flags})
    small = {"updates": 20, "batch_size": 8, "hidden": (4,), "fqe_steps": 2, "learning_rate": 1e-2}
    made = jr.agents.make("bc", None, data=data, **small)
    folder = tmp_path_factory.mktemp("offline") / "run"
    training.train(made, out=folder, total_steps=200, evals=1, progress=False)
    return jr.load(folder)


def test_returns_lengths_and_ends_are_those_of_the_episodes(policy):
    found = jr.offline.evaluate_gymnasium(policy, Counter(), episodes=3, seed=10)
    assert found.returns.tolist() == [10.0, 6.0, 10.0]
    assert found.lengths.tolist() == [4, 3, 4]
    assert found.terminated.tolist() == [True, False, True]
    shifted = jr.offline.evaluate_gymnasium(policy, Counter(start=5), episodes=1, max_steps=2)
    assert (shifted.returns.tolist(), shifted.terminated.tolist()) == ([3.0], [False])


def test_what_does_not_fit_is_one_line(policy):
    for env, more, line in (
        (
            Counter((3,)),
            {},
            r"observations are float32 \[3\], and the policy's \[2\]: wrap the env",
        ),
        ("CartPole-v1", {}, "a gymnasium environment is needed, not str"),
        (Counter(), {"episodes": 0}, "episodes and max_steps must be at least 1, not 0"),
    ):
        with pytest.raises(UserError, match=line):
            jr.offline.evaluate_gymnasium(policy, env, **more)
