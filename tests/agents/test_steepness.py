"""Slopes of critics and rewards as metrics of SAC, where they are known."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward import agents
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import steepness

# What runs for milliseconds need not be compiled for seconds.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
SMALL = {"num_envs": 2, "num_steps": 2, "batch_size": 8, "buffer_size": 64, "hidden": ()}


class tilted(rw.Pointwise):  # noqa: N801
    """`2 cos + sin + torque`, which is twice the action in units of [-1, 1]: of slope 3."""

    def reward(self, transition):
        return 2 * transition.obs[0] + transition.obs[1] + transition.action[0]


def test_slopes_of_a_linear_reward_and_of_linear_critics():
    agent = agents.make("sac", "gymnax:Pendulum-v1", tilted(), **SMALL, learning_starts=4)
    sac = agent.init.__self__

    @quick
    def measured(key):
        state = agent.init(key)
        full = jax.tree.map(jnp.ones_like, state.replay.items)
        full["choice"] = jax.random.uniform(key, full["choice"].shape, minval=-0.9, maxval=0.9)
        state = state.replace(replay=state.replay.replace(items=full, filled=jnp.int32(32)))
        return steepness.measure(sac.recorder, sac.learner, state, key), state.params["critic"]

    slopes, critic = measured(jax.random.key(0))
    found = {name: float(each.value) for name, each in slopes.items()}
    # Eight secants in four dimensions come near the steepest.
    assert 2.0 < found["reward_slope"] <= 3.01
    kernels = [leaf for leaf in jax.tree.leaves(critic) if leaf.shape == (4, 1)]
    assert len(kernels) == 2
    np.testing.assert_allclose(found["q_slope"], jnp.linalg.norm(sum(kernels) / 2), rtol=1e-4)
