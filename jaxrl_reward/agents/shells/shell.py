"""What agents of all kinds have: a learner that acts, and a policy that is played."""

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import base, playing, policies, rollout
from jaxrl_reward.agents.common import state as common
from jaxrl_reward.envs import masks, spaces
from jaxrl_reward.nn import kinds, networks, parts
from jaxrl_reward.types import Array, UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Learner:
    """What an agent has of its own: how it acts, and what its shell asks of it besides.

    Attributes:
      config: the agent's, for what is static in it; its numbers are those of a state.
      space: of actions.
      init_keys: how many keys `init` takes.
      update_keys: how many keys an update takes.
      spaces: of actions, that it can have.
      prepare_eval: `prepare_eval(state, key) -> state` as it is evaluated, where
        something must be chosen before an episode.
      obs_shape: of one observation, the first numbers of the inputs; None, as if flat.
      layout: the parts of one, where it is made of some.
      mask: where the inputs say which actions are allowed; None if all are.
    """

    config: Any
    space: Any
    obs_shape: tuple[int, ...] | None = dataclasses.field(default=None, kw_only=True)
    layout: tuple[spaces.Part, ...] = dataclasses.field(default=(), kw_only=True)
    mask: masks.Mask | None = dataclasses.field(default=None, kw_only=True)
    spaces: ClassVar[tuple[type, ...]] = (spaces.Box, spaces.Discrete)
    prepare_eval: ClassVar[Any] = None
    init_keys: ClassVar[int] = 1
    update_keys: ClassVar[int] = 1

    def dense(
        self, sizes: tuple[int, ...], final_scale: float = 1.0, layer_norm: bool = False
    ) -> networks.Network:
        """Dense layers, behind what the setting `network` names; see `nn.kinds.make`."""
        config = self.config
        made = (config.network, self.obs_shape, sizes, config.activation, final_scale)
        return kinds.make(*made, layer_norm=layer_norm, layout=self.layout)

    @cached_property
    def kept(self) -> np.ndarray | None:
        """Which of the first inputs are never normalised, bool; None for none."""
        return parts.kept(self.layout)

    def normalize(self, state: Any, inputs: Array) -> Array:
        """Inputs `[..., D]` as the networks see them; a mask is still one."""
        return common.normalize(state, inputs, self.kept)

    def allowed(self, inputs: Array) -> Array | None:
        """Which choices are allowed, `[..., A]` bool, of inputs normalised or not; None if all."""
        return None if self.mask is None else self.mask.allowed(inputs)

    def start(self, num: int) -> Any:
        """What the networks remember where `num` episodes begin; nothing by default."""
        del num
        return ()

    def noise(self, state: Any, key: Array, shape: tuple[int, ...]) -> Any:
        """What actions are drawn from, leaves `[*shape, ...]`."""
        raise NotImplementedError

    def act(self, state: Any, memory: Any, inputs: Array, first: Array, noise: Any) -> Any:
        """Actions for inputs `[N, D]`, and with them what an update needs of the choice.

        Args:
          state: the agent's.
          memory: the networks', as `start` gives it.
          inputs: what the policy sees, not normalised.
          first: where an episode begins, `[N]` bool.
          noise: as `noise` or `explore` gives it; None asks for the likeliest actions.

        Returns:
          The memory after, actions `[N, ...]`, and anything, leaves `[N, ...]`.
        """
        raise NotImplementedError

    def policy_info(self, state: Any, inputs: Array, extra: Any) -> dict[str, Array]:
        """What the agent knows of its choices, `[...]` each, for rewards that read it.

        That is `log_prob`, `entropy` and `value`, of inputs and what `act` returned.
        """
        raise NotImplementedError


def learner_of(name: str, config: Any, env: envs.Env, learner: Callable[..., Learner]) -> Learner:
    """The learner of an agent with these settings in this environment.

    Raises:
      UserError: its network cannot see the observations, or their mask is not of the actions.
    """
    try:
        layout = env.parts
    except TypeError as error:
        raise UserError(f"{name} needs array observations; {env.name}: {error}") from None
    shape, mask, action = env.observation_space.shape, masks.of(env), env.action_space
    network = getattr(config, "network", kinds.MLP)
    kinds.check(name, network, shape, env.name, layout, masks.choices(action))
    return learner(config, action, obs_shape=shape, layout=layout, mask=mask)


@dataclasses.dataclass(frozen=True, eq=False)
class Shell:
    """The functions of one agent; the numbers in `config` and `reward` are defaults.

    Attributes:
      name: the agent's.
      config: its settings.
      reward: what it learns from.
      player: what plays its environment.
      learner: what it has of its own.
      check: raises a `UserError` for another config that cannot be.
    """

    name: str
    config: Any
    reward: rw.RewardTransform
    player: rollout.Player
    learner: Any
    check: Callable[[Any], None]

    def act(self, state: Any, inputs: Array, key: Array | None = None) -> Array:
        """Actions `[N, ...]` for inputs `[N, ...]` at first steps; the likeliest without a key."""
        inputs = rollout.flatten(inputs, 1)
        count = inputs.shape[0]
        noise = None if key is None else self.learner.noise(state, key, (count,))
        memory, first = self.learner.start(count), jnp.ones(count, bool)
        return self.learner.act(state, memory, inputs, first, noise)[1]

    def policy(self, state: Any) -> policies.Policy:
        """How it acts in whole episodes."""
        return policies.of(self.player, self.learner, state)

    def evaluate(self, state: Any, key: Array, num_episodes: int) -> tuple[Array, Array]:
        """Returns `[E]` of the environment's own reward, and lengths `[E]`; see `episodes`."""
        return self.episodes(state, key, num_episodes)[:2]

    def episodes(self, state: Any, key: Array, num_episodes: int) -> playing.Episodes:
        """Whole episodes, greedy, unless a setting `greedy` says otherwise."""
        if self.learner.prepare_eval is not None:
            key_prepare, key = jax.random.split(key)
            state = self.learner.prepare_eval(state, key_prepare)
        draw = not getattr(self.config, "greedy", True)
        return playing.evaluate(self.player.env, self.policy(state), key, num_episodes, draw)

    def cannot_play(self, *_: Any) -> Any:
        """Raises a `UserError`: of an agent that has learned from data without an environment."""
        raise UserError(
            f"{self.name} was trained on data of {self.player.env.name} without an environment, "
            "and there is none to play in: in Python, "
            "jr.offline.evaluate_gymnasium(jr.load(FOLDER), env) plays in one of yours"
        )

    def agent(self, steps: int, **others: Any) -> base.Agent:
        """As the table of agents has it.

        Args:
          steps: that one `iterate` takes.
          **others: what is not as most agents have it.
        """
        made: Any = self  # a shell, which has all of them
        evaluate = made.evaluate if made.player.env.playable else made.cannot_play
        functions = (made.init, made.iterate, made.act, evaluate, steps)
        known = (self.name, self.config, self.player.env, self.reward)
        others |= {"policy": self.policy, "check": self.check}
        if made.player.env.playable:
            others.setdefault("play", made.episodes)
        if self.learner.prepare_eval is not None:
            others["prepare_eval"] = self.learner.prepare_eval
        return base.Agent(*known, *functions, **others)
