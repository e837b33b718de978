r"""An advantage of your own, from a group of answers to one prompt: the median is the baseline.

    jaxrl-reward train group_pg sequence:sum --import examples/group_term.py \
        --advantage "above_median(scale=2)" --num-envs 16 --warmup 2 --width 8 --layers 1 \
        --total-steps 256 --evals 2 --eval-episodes 4 --out runs/group
    jaxrl-reward evaluate runs/group --episodes 4
    jaxrl-reward render runs/group --out runs/group/episode.gif

`jaxrl-reward train group_pg --help` names what else an advantage can be made with.
"""

import jax.numpy as jnp

from jaxrl_reward import rewards as rw


@rw.grouped
def above_median(block, groups, scale=1.0):
    "Plus or minus `scale`, by whether most of the group earned less or more."
    less = groups.below(groups.total(block.reward))
    return scale * jnp.sign(less - (groups.size() - 1) / 2)
