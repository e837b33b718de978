"""How steep an agent's critics and its reward are where it has been, as metrics of a run.

What `lipschitz` measures, along what was played: at steps drawn from the replay, by the
observation and by the action in units of [-1, 1], as the policy gives it. The critics' is
the length of a gradient; of the reward, which lets no gradient through, it is the
steepest of some secants, a lower bound.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward.agents.common import replay, rollout
from jaxrl_reward.envs.bounds import scale_action
from jaxrl_reward.nn import lipschitz
from jaxrl_reward.types import Array, Mean

ROWS = 32  # steps that are looked at in one iteration
RADIUS = 0.01  # of the secants
DRAWS = 8  # secants at each


def measure(recorder: replay.Recorder, learner: Any, state: Any, key: Array) -> dict[str, Mean]:
    """Over stored steps the slope of the mean of all critics, and that of the reward.

    With discrete actions they are by the observation alone.

    Args:
      recorder: what knows how stored steps are rewarded.
      learner: what knows the critics, as `sac_losses.Learner` does.
      state: the agent's; something is stored.
      key: for the steps and the secants.

    Returns:
      `q_slope` and `reward_slope`.
    """
    key_rows, key_near = jax.random.split(key)
    window = replay.sample(state.replay, key_rows, ROWS)
    items = jax.tree.map(lambda x: x[0], window.items)
    step = items["step"]
    parts = (step.obs.astype(jnp.float32),)
    if not learner.discrete:
        parts = (*parts, items["choice"])

    def steepness(memory: Array, choice: Array, *parts: Array) -> Array:
        def value(obs: Array, *given: Array) -> Array:
            inputs = learner.normalize(state, rollout.policy_input(obs[None], memory[None]))
            chosen = given[0] if given else choice
            return learner.value_of(state.params["critic"], inputs, chosen[None]).mean()

        return lipschitz.slopes(value, *(part[None] for part in parts))[0]

    def paid(obs: Array, *given: Array) -> Array:
        moved = step.replace(obs=obs.astype(step.obs.dtype))
        if given:
            moved = moved.replace(action=scale_action(learner.space, given[0]))
        again = jax.tree.map(lambda x: x[None], {**items, "step": moved})
        shared = state.reward_state.shared
        steps = recorder.transitions(state.reward, shared, window._replace(items=again))
        return steps.reward[0]

    critics = jax.vmap(steepness)(items["memory"], items["choice"], *parts)
    secants = lipschitz.local_constants(paid, key_near, RADIUS, *parts, draws=DRAWS)
    return {"q_slope": Mean.of(critics), "reward_slope": Mean.of(secants)}
