"""Returns without a verifier, from how far answers agree, and returns that are wrong on purpose.

An answer is a number of at least 0; below, there is none. As in
`signal('answer') | majority()`.
"""

import jax
import jax.numpy as jnp

from jaxrl_reward.rewards.core.base import Applied, State, no_state
from jaxrl_reward.rewards.core.checks import Finite, Share
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.groups.advantages import answer_entropy
from jaxrl_reward.rewards.groups.ways import Grouped, Groups, grouped, groups_of, paid
from jaxrl_reward.rewards.transforms.corrupted import numbered_key
from jaxrl_reward.types import Array, Transition


def most_common(answer: Array, groups: Groups) -> Array:
    """The commonest answer of each episode's group, the smallest of several, `[N]`.

    Infinite where nobody has one.
    """
    there = answer >= 0
    votes = jnp.where(there, groups.agree(answer), 0.0)
    wins = there & (votes == groups.max(votes))
    return groups.min(jnp.where(wins, answer, jnp.inf))


@grouped
def majority(block: Transition, groups: Groups) -> Array:
    """1 for the commonest answer of the group, else 0: a vote in place of a verifier.

    Test-time reinforcement learning (Zuo et al. 2025, "TTRL"). A policy that is wrong
    more often in one way than right is confirmed in it.
    """
    answer = groups.total(block.reward)
    return ((answer >= 0) & (answer == most_common(answer, groups))).astype(jnp.float32)


@grouped
def agreement(block: Transition, groups: Groups, alpha: Finite = 0.0) -> Array:
    """The share of the group with the same answer, less `alpha` times their entropy.

    TTRV (2025): `p(answer) + alpha sum_a p log p`. The second part is the same for all of
    a group, so any rule that takes off the group's mean cancels it: it counts only with
    `reinforce`, or a baseline of one's own.
    """
    answer = groups.total(block.reward)
    share = groups.agree(answer) / groups.size()
    return jnp.where(answer >= 0, share, 0.0) - alpha * answer_entropy(answer, groups)


@grouped
def co_reward(block: Transition, groups: Groups) -> Array:
    """1 for the commonest answer of the paired group, else 0.

    Co-Reward (2025, "Self-supervised Reinforcement Learning via Contrastive Agreement"):
    groups 2 k and 2 k + 1 are the same question in other words (`views=2` of the agent),
    and each is judged by what the other mostly says, so agreeing with oneself does
    not pay. A group without a pair gets 0.
    """
    answer = groups.total(block.reward)
    commonest = most_common(answer, groups)
    of_group = jax.ops.segment_min(commonest, groups.ids, answer.shape[0])
    other = jnp.minimum(groups.ids ^ 1, answer.shape[0] - 1)
    wanted = jnp.where((groups.ids ^ 1) < answer.shape[0], of_group[other], jnp.inf)
    return ((answer >= 0) & (answer == wanted)).astype(jnp.float32)


class Tossed(Grouped):
    """A term that tosses coins for a block. Override `tossed`."""

    probability: Share = 0.1
    ordered = True

    def tossed(self, returns: Array, heads: Array, groups: Groups) -> Array:
        """What episodes earn, `[N]`, given N coins."""
        raise NotImplementedError

    def init(self, key: Array, example: Transition) -> State:
        return no_state(example, (jax.random.key_data(key), jnp.uint32(0)))

    def apply(self, state: State, block: Transition) -> Applied:
        groups, (own, count) = groups_of(block), state.shared
        number = jnp.arange(groups.ids.shape[0], dtype=jnp.uint32)
        draws = jax.vmap(lambda i: jax.random.uniform(numbered_key(own, count, i)))(number)
        earned = self.tossed(groups.total(block.reward), draws < self.probability, groups)
        return Applied(state.replace(shared=(own, count + 1)), paid(earned, groups), {}, ())


@register("flip_group", {"probability": 0.4})
class flip_group(Tossed):  # noqa: N801
    """`1 - R` for a whole group with `probability`, else R: a wrong verifier of one prompt.

    Lv et al. 2025, "The Climb Carves Wisdom Deeper Than the Summit". The advantages of
    such a group all point the wrong way; flips of single episodes (`flip_binary`) only
    shrink them, on average by `1 - 2 probability`.
    """

    def tossed(self, returns: Array, heads: Array, groups: Groups) -> Array:
        return jnp.where(heads[groups.ids], 1.0 - returns, returns)


@register("coin", {"probability": 0.5})
class coin(Tossed):  # noqa: N801
    """1 with `probability`, else 0, whatever was done: a spurious reward.

    The control of Shao et al. 2025, "Spurious Rewards": what improves under it was
    not learnt from the reward.
    """

    probability: Share = 0.5

    def tossed(self, returns: Array, heads: Array, groups: Groups) -> Array:
        return heads.astype(jnp.float32)
