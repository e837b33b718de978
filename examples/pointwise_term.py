r"""A reward term of your own that reads one transition: what an action costs.

    jaxrl-reward train ppo gymnax:Pendulum-v1 --import examples/pointwise_term.py \
        --reward "env + action_cost(weight=0.5)" --num-envs 4 --num-steps 16 \
        --total-steps 256 --evals 2 --eval-episodes 1 --out runs/pointwise
    jaxrl-reward evaluate runs/pointwise --episodes 1
    jaxrl-reward render runs/pointwise --max-steps 5 --out runs/pointwise/episode.gif

The folder keeps what was imported: the two commands above need no `--import`, and neither does
the first one with `--resume`. `--vary w=0.1,1` with `{w}` in the text trains at several weights.
"""

import jax.numpy as jnp

from jaxrl_reward import rewards as rw


@rw.pointwise
def action_cost(transition, weight=0.1):
    "Minus the squared size of the action."
    return -weight * jnp.square(transition.action).sum()
