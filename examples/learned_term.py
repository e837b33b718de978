r"""A reward term of your own with parameters: what a model does not know yet is paid.

    jaxrl-reward train ppo gymnax:CartPole-v1 --import examples/learned_term.py \
        --reward "env + 0.1*surprise(learning_rate=0.01)" --num-envs 4 --num-steps 16 \
        --total-steps 256 --evals 2 --eval-episodes 1 --out runs/learned
    jaxrl-reward evaluate runs/learned --episodes 1
    jaxrl-reward render runs/learned --max-steps 5 --out runs/learned/episode.gif

The loss is logged as `reward/surprise/loss`: `jaxrl-reward plot runs/learned --metric ...`.
"""

import jax
import jax.numpy as jnp

from jaxrl_reward import rewards as rw


@rw.register("surprise")
class Surprise(rw.Learned):
    """The squared error of a linear model of the next observation."""

    def init_params(self, key, example):
        size = example.obs.size
        return {"weight": jnp.eye(size), "bias": jnp.zeros(size)}

    def reward(self, params, transition):
        guess = params["weight"] @ transition.obs.reshape(-1) + params["bias"]
        return jnp.square(guess - transition.next_obs.reshape(-1)).mean()

    def loss(self, params, key, batch):
        return jax.vmap(self.reward, in_axes=(None, 0))(params, batch).mean()
