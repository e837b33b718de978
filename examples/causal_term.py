r"""A reward term of your own with a memory of the running episode: new records are paid.

    jaxrl-reward train ppo gymnax:MountainCar-v0 --import examples/causal_term.py \
        --reward "env + 10*farthest()" --placement step --num-envs 4 --num-steps 16 \
        --total-steps 256 --evals 2 --eval-episodes 1 --out runs/causal
    jaxrl-reward evaluate runs/causal --episodes 1
    jaxrl-reward render runs/causal --max-steps 5 --out runs/causal/episode.gif

With `--placement step` the policy sees the memory, behind the observation.
"""

import jax.numpy as jnp

from jaxrl_reward import rewards as rw


@rw.register("farthest")
class Farthest(rw.Causal):
    """How far one entry of the observation goes beyond all that it was in this episode."""

    entry: int = rw.static(default=0)

    def begin_one(self, shared, obs):
        return obs[self.entry]

    def step(self, shared, best, transition):
        new = jnp.maximum(best, transition.next_obs[self.entry])
        return new, new - best

    def view(self, best):
        return best[None]
