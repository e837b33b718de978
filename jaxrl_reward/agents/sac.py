"""Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905), and kin.

With continuous actions a tanh-normal policy; with discrete ones the
expectations over actions are sums (Christodoulou 2019, arXiv:1910.07207). With
`critics` above `subset` the target is the minimum over a random subset of them,
and the policy climbs the mean of all (REDQ: Chen et al. 2021, arXiv:2101.05982).
With `deterministic` and a `policy_delay` of 2 it is TD3 (Fujimoto et al. 2018,
arXiv:1802.09477).

One `iterate` plays `num_steps` steps of `num_envs` environments, stores them,
and takes `updates` gradient steps on batches from the store, of which a learned
reward learns too. What a reward remembers of an episode is recorded as it is
played; all else is computed anew, with what the reward has learned since,
whenever a step is drawn. A time limit ends no value.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from gymnax.environments import spaces

from jaxrl_reward import envs, settings
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents import base, evaluation, replay, rollout, sac_losses, steepness
from jaxrl_reward.agents import state as common
from jaxrl_reward.agents.shared_settings import Replay, SoftCritics
from jaxrl_reward.envs.bounds import scale_action
from jaxrl_reward.envs.vector import any_anywhere
from jaxrl_reward.settings import setting
from jaxrl_reward.types import Array, Mean, UserError


class Config(Replay, SoftCritics):
    """SAC's settings. Floats are leaves: `vmap` over them to sweep."""

    num_envs: int = 1
    updates: int = setting(help="gradient steps of the critics after every N * T steps")
    policy_delay: int = setting(
        1,
        "gradient steps of the critics for one of the policy and the temperature; must divide "
        "`updates`",
        low=1,
    )
    batch_size: int = 256
    buffer_size: int = 100_000
    learning_starts: int = setting(help="steps of random actions before the first update")
    subset: int = setting(
        2, "of how many, drawn anew for each update, a target is the minimum", low=1
    )
    hidden: tuple[int, ...] = (128, 128)
    deterministic: bool = setting(
        False,
        "a policy without entropy, for continuous actions, that plays with "
        "`exploration_noise`; the rest is TD3's",
    )
    slopes: bool = setting(
        False,
        "log how steep the critics and the reward are at stored steps, `q_slope` and "
        "`reward_slope`, see `steepness`",
    )
    exploration_noise: float = setting(
        0.1,
        "standard deviation of the noise on a deterministic policy's actions, in unit "
        "numbers: bounds are at -1 and 1",
        low=0.0,
    )
    target_noise: float = setting(0.2, "the same on its actions in a target", low=0.0)
    noise_clip: float = setting(0.5, "the most of the latter", low=0.0)

    @property
    def has_entropy(self) -> bool:
        return not self.deterministic

    def validate(self, owner: str) -> None:
        super().validate(owner)
        if self.updates % self.policy_delay:
            raise UserError(
                f"{owner}'s policy_delay={self.policy_delay} must divide updates={self.updates}"
            )
        if self.subset > self.critics:
            raise UserError(
                f"{owner}'s subset={self.subset} must not exceed critics={self.critics}"
            )


class State(common.State):
    """`params` are of `actor`, `critic` and `target` (`[critics, ...]`), and `log_temperature`.

    Attributes:
      replay: the stored steps.
    """

    replay: Any


def make(config: Config, env: envs.Env, reward: rw.RewardTransform | None = None) -> base.Agent:
    """A SAC agent.

    Args:
      config: the settings.
      env: what it plays, with Discrete or Box actions; actions without bounds
        are kept within -1 and 1, those with one only beyond it.
      reward: what it learns from; the environment's own by default.

    Raises:
      UserError: a setting is out of range or does not fit another, or the
        environment or the reward is not for SAC.
    """
    check(config)
    if config.deterministic and not isinstance(env.action_space, spaces.Box):
        kind = type(env.action_space).__name__
        raise UserError(f"sac's deterministic policy needs Box actions; {env.name} has {kind}")
    reward = base.check_reward("sac", config, env, reward)
    player = rollout.player("sac", config, env, reward)
    recorder = replay.recorder("sac", player, reward)
    sac = _Sac(config, reward, player, recorder, sac_losses.Learner(config, env.action_space))
    functions = (sac.init, sac.iterate, sac.act, sac.evaluate)
    steps = config.num_envs * config.num_steps
    return base.Agent("sac", config, env, reward, *functions, steps, config.learning_starts)


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    settings.check("sac", config)


@dataclasses.dataclass(frozen=True, eq=False)
class _Sac:
    """The functions of one agent; the numbers in `config` and `reward` are defaults."""

    config: Config
    reward: rw.RewardTransform
    player: rollout.Player
    recorder: replay.Recorder
    learner: sac_losses.Learner

    # ---- the agent ----------------------------------------------------------------

    def init(self, key: Array, config: Config | None = None, reward: Any = None) -> State:
        """The state before the first iteration; the same key gives the same run.

        Raises:
          UserError: `config` or `reward` differs from the agent's in more than its
            numbers, or a number is out of range.
        """
        settings, reward = base.settle(self, check, config, reward)
        key, key_env, key_reward, key_actor, key_critic = jax.random.split(key, 5)
        inputs, begun = common.begin(self.player, settings, reward, key_env, key_reward)
        params, opt_state = self.learner.init(key_actor, key_critic, inputs, settings.temperature)
        state = State(params=params, opt_state=opt_state, key=key, replay=(), **begun)
        items = jax.eval_shape(lambda: self.items(self.play(state, key, key, jnp.bool_(True))[2]))
        return state.replace(replay=replay.init(replay.rows("sac", settings), items))

    def iterate(self, state: State) -> tuple[State, dict[str, Mean]]:
        """Plays a block, stores it, and learns from the store; the metrics are of all."""
        config = state.config
        key, key_policy, key_env, key_sample, key_update, key_learn = jax.random.split(state.key, 6)
        warm = state.replay.size < config.learning_starts
        env_state, reward_state, played = self.play(state, key_policy, key_env, warm)
        stored = replay.add(state.replay, self.items(played))
        batches, block = self.recorder.batches(state, reward_state.shared, stored, key_sample)
        # Seeds that are mapped together are equally old. The branches are real
        # ones for that reason, and hold nothing of the size of the store.
        params, opt_state, losses = jax.lax.cond(
            any_anywhere(stored.size >= config.learning_starts),
            self.learner.update,
            lambda config, params, opt_state, *_: (params, opt_state, sac_losses.no_losses()),
            *(config, state.params, state.opt_state, batches, key_update),
        )
        reward_state, learned = state.reward.learn(reward_state, key_learn, block)
        state, metrics = common.finish(state, played, env_state, reward_state, learned)
        state = state.replace(params=params, opt_state=opt_state, replay=stored, key=key)
        if self.config.slopes:
            key_slopes = jax.random.fold_in(key_sample, 1)
            losses |= steepness.measure(self.recorder, self.learner, state, key_slopes)
        return state, metrics | losses

    def act(self, state: State, inputs: Array, key: Array | None = None) -> Array:
        """Actions `[N, ...]` for inputs `[N, ...]`; the likeliest without a key."""
        inputs = rollout.flatten(inputs, 1)
        noise = None if key is None else self.learner.dist.noise(key, inputs.shape[:1])
        return self.choose(state, inputs, noise)[0]

    def evaluate(self, state: State, key: Array, num_episodes: int) -> tuple[Array, Array]:
        """Greedy returns `[E]` of the environment's own reward, and lengths `[E]`."""
        choose, judge = partial(self.choose, state), partial(self.judge, state)
        return evaluation.evaluate(self.player, state, key, num_episodes, choose, judge)

    # ---- playing ------------------------------------------------------------------

    def policy(self, state: State, inputs: Array) -> Array:
        """The distribution's parameters, from raw inputs, `[..., param_size]`."""
        return self.learner.actor.apply(state.params["actor"], common.normalize(state, inputs))

    def choose(
        self,
        state: State,
        inputs: Array,
        noise: Array | None,
        instead: tuple[Array, Array] | None = None,
    ) -> Any:
        """Actions, and with them the draws and what they are drawn from.

        Args:
          state: the agent's.
          inputs: raw, `[N, D]`.
          noise: the draws'; None takes the likeliest.
          instead: whether to take other draws, and these.
        """
        dist, space = self.learner.dist, self.player.env.action_space
        params = self.policy(state, inputs)
        if noise is not None and self.config.deterministic:
            noise = noise * state.config.exploration_noise
        raw = dist.mode(params) if noise is None else dist.sample(params, noise)
        if instead is not None:
            raw = jnp.where(instead[0], instead[1], raw)
        action = dist.to_action(raw)
        if self.learner.discrete:
            return action.astype(space.dtype), (raw, params)
        return scale_action(space, action), (raw, params)

    def play(self, state: State, key_policy: Array, key_env: Array, warm: Array) -> Any:
        """A block: the environments' state, the reward's, and what was played."""
        shape = (self.config.num_steps, self.config.num_envs)
        key_noise, key_warm = jax.random.split(key_policy)
        return self.player.collect(
            state.reward,
            state.reward_state,
            state.env_state,
            lambda inputs, noise: self.choose(state, inputs, noise[0], (warm, noise[1])),
            partial(self.judge, state),
            (self.learner.dist.noise(key_noise, shape), self.learner.anything(key_warm, shape)),
            jax.random.split(key_env, shape),
        )

    def judge(self, state: State, inputs: Array, extra: Any) -> dict[str, Array]:
        """What the agent knows of its choices, for rewards that read it."""
        raw, params = extra
        dist, critic = self.learner.dist, state.params["critic"]
        inputs, choice = common.normalize(state, inputs), dist.to_action(raw)
        return {
            "log_prob": dist.log_prob(params, raw),
            "entropy": dist.entropy(params, raw),
            "value": self.learner.value_of(critic, inputs, choice).min(0),
        }

    def items(self, played: rollout.Rollout) -> dict[str, Any]:
        """What is stored of a block, leaves `[T, N, ...]`."""
        return self.recorder.items(played, self.learner.dist.to_action(played.extra[0]))
