"""How a trained agent acts, for all that play it: evaluation, rendering, collecting, probes."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxrl_reward.agents.common import rollout
from jaxrl_reward.types import Array, Transition


class Policy(NamedTuple):
    """A policy in N episodes side by side, with all that it remembers of them.

    Attributes:
      start: `start(key, num) -> memory`, of `num` episodes that begin.
      act: `act(memory, obs[N, ...], first[N], key=None) -> (memory, action[N, ...],
        extra)`, the likeliest without a key. The memory is begun anew where `first`.
      see: `see(memory, transition[N, ...], extra) -> memory`, after that step.
    """

    start: Callable[[Array, int], Any]
    act: Callable[..., tuple[Any, Array, Any]]
    see: Callable[[Any, Transition, Any], Any]


class _Memory(NamedTuple):
    """The reward's, `()` where the policy does not see it, and the networks'."""

    reward: Any
    hidden: Any


def of(player: rollout.Player, learner: Any, state: Any) -> Policy:
    """The policy of an agent in a state.

    Args:
      player: whose `placement` says whether the policy sees the reward's memory.
      learner: what acts, see `shells.shell.Learner`.
      state: the agent's; its reward learns nothing here.
    """
    reward, sees = state.reward, player.placement == "step"

    def start(key: Array, num: int) -> _Memory:
        seen = reward.init(key, player.example(num, 1)).local if sees else ()
        return _Memory(seen, learner.start(num))

    def act(memory: _Memory, obs: Array, first: Array, key: Array | None = None) -> Any:
        reward_state = state.reward_state.replace(local=memory.reward)
        inputs, reward_state = player.observe(reward, reward_state, obs, first)
        noise = None if key is None else learner.noise(state, key, first.shape)
        hidden, action, extra = learner.act(state, memory.hidden, inputs, first, noise)
        return _Memory(reward_state.local, hidden), action, (inputs, extra)

    def see(memory: _Memory, transition: Transition, extra: Any) -> _Memory:
        if not sees:
            return memory
        known = learner.policy_info(state, *extra)
        reward_state = state.reward_state.replace(local=memory.reward)
        block = rollout.add_time(transition.replace(policy=known))
        return memory._replace(reward=reward.apply(reward_state, block).state.local)

    return Policy(start, act, see)


def of_act(act: Callable[..., Array], state: Any) -> Policy:
    """The policy of an agent that sees observations and remembers nothing, from its `act`."""

    def choose(memory: Any, obs: Array, first: Array, key: Array | None = None) -> Any:
        del first
        return memory, act(state, obs, key), ()

    return Policy(lambda key, num: (), choose, lambda memory, transition, extra: memory)


def greedy(policy: Policy) -> Policy:
    """The policy as it takes its likeliest actions, whatever key it is given."""

    def act(memory: Any, obs: Array, first: Array, key: Array | None = None) -> Any:
        del key
        return policy.act(memory, obs, first)

    return policy._replace(act=act)
