"""The sixth way to write a term: from pairs of responses of which one was preferred.

A rule gives the loss of each pair, `[B]`, so that the mean over pairs is what an agent
minimises. Losses are terms like rewards: `dpo(beta=0.1) + 0.05*sft()`, `dpo() * wpo()`.
An agent computes what a rule reads, and nothing else: the rest is no part of the program.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl_reward.rewards.core.base import Applied, RewardTransform, State
from jaxrl_reward.rewards.core.ways import _arguments, _float, _from_function
from jaxrl_reward.types import Array, Transition

PAIRS = "pairs"  # where they lie in a block's `policy`


class Side(struct.PyTreeNode):
    """One response of each pair: log-probabilities of its tokens, `[B, T]` each.

    Attributes:
      alive: which tokens there are, bool.
      log_prob: of the policy that learns.
      reference: of the reference.
      old: of the policy that wrote them, or of the round before.
      guide: of a policy that is the guide.
      credit: what each token is worth by itself.
      collision: the log of the sum of squared probabilities of all tokens at its place.
      reward: of the response, `[B]`.
      there: whether there is such a response, `[B]` bool: unpaired data have one of two.
    """

    alive: Array
    log_prob: Array
    reference: Array
    old: Array
    guide: Array
    credit: Array
    collision: Array
    reward: Array
    there: Array

    def sum(self, tokens: Array) -> Array:
        """Of numbers of tokens `[B, T]` the sum over the response, `[B]`."""
        return jnp.where(self.alive, tokens, 0.0).sum(1)

    def mean(self, tokens: Array) -> Array:
        """Of numbers of tokens `[B, T]` the mean over the response, `[B]`; 0 of none."""
        return self.sum(tokens) / jnp.maximum(self.length(), 1.0)

    def length(self) -> Array:
        """The number of tokens, `[B]`."""
        return self.alive.sum(1).astype(jnp.float32)

    def ratio(self) -> Array:
        """`log pi(y) - log pi_ref(y)` of whole responses, `[B]`."""
        return self.sum(self.log_prob - self.reference)


class Pairs(struct.PyTreeNode):
    """B pairs of responses to a prompt each.

    Attributes:
      chosen: the preferred ones.
      rejected: the others.
      label: the probability that the chosen is the better one, `[B]`; 1 where that is
        known, 0.5 of a tie.
      agreement: how far two judges agree on the ranking that a pair is of, in [0, 1], `[B]`.
      calibration: a response to each prompt that no one judged.
      shifted: the responses that follow the prompt of the pair before: chosen and rejected.
    """

    chosen: Side
    rejected: Side
    label: Array
    agreement: Array
    calibration: Side
    shifted: tuple[Side, Side]

    def difference(self) -> Array:
        """`D`, the log-ratio to the reference of the chosen less that of the rejected, `[B]`."""
        return self.chosen.ratio() - self.rejected.ratio()

    def expected(
        self, loss: Callable[[Array], Array], difference: Array, flips: Any = 0.0
    ) -> Array:
        """The mean of a loss of differences over which of the two is better, `[B]`.

        Args:
          loss: of what the better one is ahead, odd rules aside.
          difference: of the chosen and the rejected, `[B]`.
          flips: the share of labels that are expected to be wrong.
        """
        right = self.label + flips * (1.0 - 2.0 * self.label)
        return right * loss(difference) + (1.0 - right) * loss(-difference)


def side(log_prob: Array, reference: Array, alive: Array, **known: Array) -> Side:
    """Responses of which only that is known; what is not given is 0, and `old` the reference."""
    zeros, rows = jnp.zeros_like(log_prob), log_prob.shape[0]
    rest = {"guide": reference, "old": reference, "credit": zeros, "collision": zeros}
    rest |= {"reward": jnp.zeros(rows), "there": jnp.ones(rows, bool)}
    return Side(alive=alive, log_prob=log_prob, reference=reference, **(rest | known))


def pairs(chosen: Side, rejected: Side, **known: Any) -> Pairs:
    """Pairs of which only that is known: the chosen is better, and the judges agree."""
    ones = jnp.ones(chosen.there.shape)
    rest = {"label": ones, "agreement": ones, "calibration": chosen}
    rest |= {"shifted": (chosen, rejected)}
    return Pairs(chosen=chosen, rejected=rejected, **(rest | known))


def block_of(given: Pairs) -> Transition:
    """Pairs as a block `[1, B]`, an episode of one step each, for the algebra of terms."""
    rows = given.label.shape[0]
    zeros, over = jnp.zeros((1, rows)), jnp.ones((1, rows), bool)
    nothing = jnp.zeros((1, rows, 0))
    return Transition(
        obs=nothing,
        action=nothing,
        env_reward=zeros,
        reward=zeros,
        next_obs=nothing,
        first=over,
        terminated=over,
        truncated=~over,
        policy={PAIRS: jax.tree.map(lambda x: x[None], given)},
    )


def losses(objective: RewardTransform, given: Pairs) -> Array:
    """What an expression of paired rules costs each pair, `[B]`."""
    block = block_of(given)
    state = objective.init(jax.random.key(0), block)
    return objective.apply(state, block).reward[0]


class Paired(RewardTransform):
    """A term that needs pairs of responses. Override `loss`.

    Set `alone = True` where a response that has no partner counts by itself.
    """

    scope = "pair"
    alone = False  # is it for responses without a partner, too?

    def loss(self, pairs: Pairs) -> Array:
        """What each pair costs, `[B]`."""
        raise NotImplementedError

    def apply(self, state: State, block: Transition) -> Applied:
        found = jax.tree.map(lambda x: x[0], block.policy[PAIRS])
        return Applied(state, _float(self.loss(found))[None], {}, ())


def paired(function: Callable[..., Array]) -> type[Paired]:
    """Makes a loss from `function(pairs, ...)`, as `pointwise` makes a reward.

    >>> import jax
    >>> import jaxrl_reward.rewards as rw
    >>> @rw.paired
    ... def logistic(pairs, beta=0.1):
    ...     "Minus the log-probability that the chosen one wins."
    ...     return -jax.nn.log_sigmoid(beta * pairs.difference())
    >>> print(logistic(beta=0.5) + 0.1*rw.sft())
    logistic(beta=0.5) + 0.1*sft()
    """

    def loss(self: Any, pairs: Pairs) -> Array:
        return function(pairs, **_arguments(self))

    return _from_function(function, Paired, {"loss": loss}, skip=1)


def alone(term: type[Paired]) -> type[Paired]:
    """Says of a term that a response without a partner counts by itself."""
    term.alone = True
    return term
