"""A guide: the policy that DPO makes of the reference, for what its log-ratio says of tokens.

The log-ratio of such a policy to the reference, times beta, is a reward of each token whose sum
over a response is the implicit reward of DPO. `group_pg` has it as a signal: with `guide=200`,
the reward of "DPO Meets PPO" (Zhong et al. 2024, RTO) is

  reward="stack(env, (0.05*signal('guide_log_ratio', when='step') | clip(low=-0.05, high=0.05))
    - 0.01*signal('log_ratio', when='step')) | prime()" advantage=env
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.sequence import pair_pg, writing
from jaxrl_reward.agents.sequence.pair_config import Config
from jaxrl_reward.agents.sequence.writer import Writer, Writers
from jaxrl_reward.types import Array, Transition


def tuned(writer: Writer, settings: Any, params: Any, key: Array) -> Any:
    """The parameters after `guide` updates of DPO from `params`.

    Args:
      writer: what writes.
      settings: of `group_pg`, the numbers in it may be traced.
      params: the reference's, which writes `guide_pairs` pairs; of each the verifier's better
        one is chosen.
      key: of the pairs and of the order that they are learned in.
    """
    shared = {each.name: getattr(settings, each.name) for each in dataclasses.fields(Writers)}
    count = settings.guide_pairs
    sizes = {"pairs": count, "batch_size": min(64, count), "labels": "better"}
    config = Config().replace(**shared | sizes)
    reward = rw.dpo()  # what a guide learns by is `guide_beta`
    maker = pair_pg.PairPG(config, reward, writer.env, None)
    return maker.start(config, reward, params, list(jax.random.split(key, 5))).guide


def signals(block: Transition, reference: Array, guide: Any) -> dict[str, Array]:
    """What rewards may read of log-ratios to the reference of a block's tokens, `[T, N]` each.

    Args:
      block: the responses.
      reference: log-probabilities of all tokens under the reference, `[N, T, V]`.
      guide: likewise under the guide; empty without one.
    """
    tokens = block.action.T
    known = writing.token_log_probs(reference, tokens)
    # Behind a response's end are steps that are no tokens of it.
    over = jnp.cumsum(jnp.asarray(block.last), 0) - block.last > 0

    def ratio(log_probs: Array) -> Array:
        return jnp.where(over, 0.0, log_probs - known.T)

    found = {"log_ratio": ratio(block.policy["log_prob"])}
    if not isinstance(guide, tuple):
        found["guide_log_ratio"] = ratio(writing.token_log_probs(guide, tokens).T)
    return found
