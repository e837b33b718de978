r"""A reward term of your own that sees whole episodes: each step's share above their mean.

    jaxrl-reward train group_pg sequence:sum --import examples/episodic_term.py \
        --reward "(env - 0.01) | above_mean(share=0.5)" \
        --num-envs 16 --warmup 2 --width 8 --layers 1 \
        --total-steps 256 --evals 2 --eval-episodes 4 --out runs/episodic
    jaxrl-reward evaluate runs/episodic --episodes 4
    jaxrl-reward render runs/episodic --out runs/episodic/episode.gif

An agent that plays blocks of fixed length refuses such a term as it is built.
"""

from jaxrl_reward import rewards as rw


@rw.episodic
def above_mean(block, episodes, share=1.0):
    "The reward, less a share of the episode's mean."
    return block.reward - share * episodes.sum(block.reward) / episodes.length()
