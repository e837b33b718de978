r"""An agent of your own: PPO with another loss, registered in a line.

    jaxrl-reward train ppo_near gymnax:CartPole-v1 --import examples/loss.py \
        --nearness 0.5 --num-envs 4 --num-steps 16 \
        --total-steps 256 --evals 2 --eval-episodes 2 --out runs/loss
    jaxrl-reward evaluate runs/loss --episodes 2
    jaxrl-reward render runs/loss --max-steps 5 --out runs/loss/episode.gif

`jaxrl-reward train ppo_near --import examples/loss.py --help` has the new setting among PPO's.
"""

import jax.numpy as jnp

from jaxrl_reward import agents
from jaxrl_reward.agents.on_policy import ppo
from jaxrl_reward.settings import setting


class Config(ppo.Config):
    """PPO's settings, and one more."""

    nearness: float = setting(0.1, "weight of the squared logarithm of the ratio", low=0.0)


class Learner(ppo.Learner):
    """PPO whose policy is drawn back to the one that played."""

    def loss(self, config, params, batch):
        loss, metrics = super().loss(config, params, batch)
        policy, _ = self.replay(params, batch)
        far = jnp.square(self.dist.log_prob(policy, batch.raw) - batch.log_prob).mean()
        return loss + config.nearness * far, {**metrics, "far": far}


agents.register("ppo_near", Learner, Config)
