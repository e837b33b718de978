"""What an agent is, the table of agents, and what their settings have in common."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward import envs, settings
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents import table
from jaxrl_reward.agents.common import offline_data
from jaxrl_reward.envs import spaces
from jaxrl_reward.rewards.core import inspect
from jaxrl_reward.rewards.core.operators import no_reward
from jaxrl_reward.types import UserError

# Of terms, see `rewards.core.ways`.
KINDS = ("pointwise", "causal", "learned", "episodic", "group", "pair")


class Agent(NamedTuple):
    """An agent on an environment with a reward: pure functions of its state.

    Attributes:
      name: in the table of agents.
      config: the settings, resolved.
      env: what it plays.
      reward: what it learns from.
      init: `init(key, config=None, reward=None) -> state`. A config or reward
        of the same structure with other numbers replaces the agent's, so that
        `vmap` over them is a sweep that compiles once.
      iterate: `iterate(state) -> (state, metrics)`: plays, then learns. The
        metrics are a dict of scalar `Mean`s.
      act: `act(state, inputs[N, ...], key=None) -> action[N, ...]`, greedy
        without a key, at first steps. Inputs are observations, with the reward's
        memory behind them if the agent's policy sees it (see `rollout.policy_input`).
      evaluate: `evaluate(state, key, num_episodes) -> (returns[E], lengths[E])`,
        greedy, on the environment's own reward.
      play: as `evaluate`, but gives `playing.Episodes`, which tell success too; None for
        an agent that does not know more.
      steps_per_iteration: environment steps that one `iterate` takes.
      learning_starts: environment steps before the first update; a run must be
        at least as long.
      prepare_eval: `prepare_eval(state, key) -> state` as it is evaluated, for those
        who play it themselves: an agent may have to choose before an episode.
      policy: `policy(state) -> policies.Policy`, how it acts in whole episodes, for
        all who play them; None for an agent that is only evaluated.
      shards_envs: whether it learns on all devices of a mesh that its environments
        are split over; else each of them would do all of the learning.
      remake: `remake(config, reward=None) -> Agent`, the same with another config and
        another reward, of any structure; None where that cannot be.
      newest: `newest(state) -> Transition`, the block `[T, N, ...]` that was played last;
        None for an agent that keeps none.
      frozen: `frozen(state) -> state`, as much of it as acts and is evaluated.
      check: `check(config)` raises a `UserError` for a config that it cannot have.
      data: what it learns from in place of playing, an argument `data` of `init`
        and `iterate`, the same for all seeds. Its steps are gradient steps.
      data_origin: the `Provenance` of each data set, with its checksum.
      judge: `judge(state, key, data) -> {name: scalar}`, what is measured of data beside
        the returns of episodes, or in their place where the environment cannot be played;
        None for nothing.
      metric: what a run of it reports.
      references: the returns that score 0 and 100 in this environment, as the data say;
        None where they do not.
      stream: where data lie on the device a window at a time: has `every`, how many
        iterations learn from one, and `window(number) -> data`; None where all are there.
    """

    name: str
    config: Any
    env: envs.Env
    reward: rw.RewardTransform
    init: Callable[..., Any]
    iterate: Callable[..., Any]
    act: Callable[..., Any]
    evaluate: Callable[..., Any]
    steps_per_iteration: int
    learning_starts: int = 0
    prepare_eval: Callable[..., Any] = lambda state, key: state
    policy: Callable[..., Any] | None = None
    play: Callable[..., Any] | None = None
    shards_envs: bool = False
    remake: Callable[..., Any] | None = None
    newest: Callable[[Any], Any] | None = None
    frozen: Callable[[Any], Any] = lambda state: state
    check: Callable[[Any], None] = lambda config: None
    data: Any = None
    data_origin: tuple[Any, ...] = ()
    judge: Callable[..., dict[str, Any]] | None = None
    metric: str = "return"
    references: tuple[float, float] | None = None
    stream: Any = None


def terms(name: str) -> tuple[str, ...]:
    """The kinds of reward terms that the agent of that name takes, of `KINDS`.

    A module may say so by `TERMS`; else all that see one step after the other, and whole
    episodes where its `Learner` plays some.
    """
    found = table.module(name)
    plays = getattr(getattr(found, "Learner", None), "whole_episodes", "never")
    return getattr(found, "TERMS", KINDS[: 3 + (plays != "never")])


def make(
    name: str,
    env: envs.Env | str | None,
    reward: rw.RewardTransform | str | None = None,
    *,
    data: Any = None,
    actions: Any = None,
    **overrides: Any,
) -> Agent:
    """An agent by name, with settings that differ from its defaults.

    Args:
      name: one of `table.names()`.
      env: an environment, or its name; a gymnax environment of one's own, or that and its
        parameters; None is the one that the data is of, if that is known here, and else
        none: the agent learns and is measured on data alone.
      reward: a reward expression, or its text; the environment's by default.
      data: what an offline agent learns from: a `Dataset` or a file of one, or
        several of them, see the setting `source`.
      actions: those of data without an environment: a space, how many choices there are,
        or two bounds; what the data say, or have, by default.
      **overrides: fields of the agent's `Config`.

    Raises:
      UserError: an unknown name or setting, a setting of the wrong type or out
        of range, or an environment or a reward that the agent cannot take.
    """
    _check_order(name, env)
    found, offline = table.module(name), table.takes_data(name)
    config = settings.override(name, found.Config(), overrides)
    if data is not None and not offline:
        raise UserError(f"{name} plays and takes no data; these do: {', '.join(table.from_data())}")
    if actions is not None and env is not None:
        raise UserError(f"{name}'s actions are those of the environment; leave actions out")
    if env is None:
        env, data = _env_of(name, data, actions, bool(getattr(config, "stream", 0)))
    if isinstance(env, envs.Env):
        envs.check(env)
    env = envs.given(env)
    reward = rw.parse(reward) if isinstance(reward, str) else reward
    made = found.make(config, env, reward, *((data,) if offline else ()))
    # A run keeps the name of its agent, by which it is made again.
    return made if made.name == name else made._replace(name=name)


def _check_order(name: Any, env: Any) -> None:
    """Raises a `UserError` that says what comes first, where that is something else."""
    if not isinstance(name, str):
        own = getattr(name, "__name__", type(name).__name__).rpartition(".")[2]
        fix = repr(own) if own in table.names() else f"such as 'ppo', not {own}"
        raise UserError(f"agents.make takes the name of an agent first: {fix}")
    if isinstance(env, str) and env in table.names() and name not in table.names():
        raise UserError(f"agents.make takes the agent first: agents.make({env!r}, {name!r})")
    if isinstance(env, rw.RewardTransform):
        raise UserError("agents.make takes the environment before the reward")


def _env_of(name: str, data: Any, actions: Any, stream: bool) -> tuple[Any, Any]:
    """The environment that data is of, or what takes its place; and the data as read.

    Raises:
      UserError: there is no data, or its actions are of no space.
    """
    if data is None:
        more = ", or data=..." if table.learns_from_data(name) else ""
        raise UserError(f"{name} needs an environment, such as gymnax:Pendulum-v1{more}")
    several = isinstance(data, list | tuple)
    open_set = offline_data.open_stream if stream else offline_data.read_set
    read = [open_set(each) for each in (data if several else [data])]
    if not read:
        raise UserError(f"{name} needs at least one data set")
    named = read[0].provenance.environment
    if actions is None and named.partition(",")[0] in envs.names():
        return named, read
    return offline_data.alone([offline_data.known(each) for each in read], actions), read


# ---- settings ---------------------------------------------------------------------


def check_known(agent: str, name: str, value: Any) -> None:
    """Raises a `UserError` where a length is to be the run's, and there is no run."""
    if settings.is_run(value):
        raise UserError(
            f"{agent}'s {name} is the length of a run that `training.train` knows and `init` "
            f"does not; give {name}"
        )


def check_actions(
    agent: str, env: envs.Env, kinds: tuple[type, ...], others: str = "sac or ppo"
) -> None:
    """Raises a `UserError` unless the environment's actions are of one of the kinds of spaces.

    It names `others`, agents for Box actions, where these are what it has.
    """
    space = env.action_space
    if not isinstance(space, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        hint = f": use {others}" if isinstance(space, spaces.Box) else ""
        if isinstance(space, spaces.MultiDiscrete):
            hint = ": use ppo, or give few combinations as one Discrete action"
        kind = type(space).__name__
        raise UserError(f"{agent} needs {wanted} actions; {env.name} has {kind}{hint}")


def check_key(key: Any) -> None:
    """Raises a `UserError` unless it is one of JAX's typed keys."""
    typed = jnp.issubdtype(getattr(key, "dtype", jnp.float32), jax.dtypes.prng_key)
    if not typed or key.shape:
        given = f"an array {key.dtype}{list(key.shape)}" if hasattr(key, "shape") else repr(key)
        raise UserError(f"init takes one typed key, as jax.random.key(0) gives, not {given}")


def as_leaves(tree: Any) -> Any:
    """The numbers of a config or reward as float32 arrays, to be traced as inputs."""

    def leaf(x: Any) -> Any:
        number = isinstance(x, int | float) and not isinstance(x, bool)
        x = jnp.asarray(x)
        return x.astype(jnp.float32) if number or jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(leaf, tree)


def discount(config: Any) -> Any:
    """The discount of an agent with these settings; without one it sums all rewards alike."""
    return getattr(config, "gamma", 1.0)


def check_reward(
    agent: str, config: Any, env: envs.Env, reward: rw.RewardTransform | None
) -> rw.RewardTransform:
    """The expression that an agent learns from, the environment's reward by default.

    Warns of a term whose `gamma` is another than the agent's.

    Raises:
      UserError: a term is for another environment, or not for the agent's discount.
    """
    reward = rw.env() if reward is None else reward
    if not isinstance(reward, rw.RewardTransform):
        wanted = "the reward must be an expression, such as rewards.env() + rewards.counts()"
        raise UserError(f"{wanted}, not {no_reward(reward)}")
    rw.potentials.check(reward, env.name)
    rw.discounts.bind(reward, discount(config))
    if message := other_discounts(agent, config, reward):
        warnings.warn(message, stacklevel=4)
    return reward


def check_terms(
    agent: str, reward: rw.RewardTransform, episodes: bool, groups: bool = False
) -> None:
    """Raises a `UserError` for terms of what it does not play; it names the agents that do.

    Args:
      agent: its name.
      reward: what it is to learn from.
      episodes: whether it can play whole ones.
      groups: whether it plays groups of them.
    """
    plays = {"episodic": episodes, "group": groups}
    missing = {kind for kind in rw.scopes(reward) & inspect.WHOLE.keys() if not plays.get(kind)}
    for kind in sorted(missing, reverse=True):  # pairs and groups first, which few play
        fixed = kind != "pair" and not episodes
        others = [name for name in table.names() if kind in terms(name)]
        needs = f"{reward} needs {inspect.WHOLE[kind]}"
        has = "fixed blocks" if fixed else f"no {kind}s"
        raise UserError(f"{agent} plays {has}, and {needs}: use {', '.join(others)}")


def other_discounts(agent: str, config: Any, reward: rw.RewardTransform) -> str | None:
    """What to say of terms whose `gamma` is another than the agent's; None if all is well."""
    apart = rw.discounts.others(reward, discount(config))
    if not apart:
        return None
    broken = " and ".join(dict.fromkeys(filter(None, (term.other_gamma for term in apart))))
    return (
        f"{agent} discounts by {discount(config):g}, and {', '.join(map(str, apart))} by a gamma "
        f"of its own{broken and f', so that {broken}'}; leave that out to take the agent's"
    )


def settle(made: Any, check: Callable[[Any], None], config: Any, reward: Any) -> tuple[Any, Any]:
    """The config and the reward of a run, with their numbers as leaves.

    Args:
      made: an agent's functions; has the default `config` and `reward`.
      check: raises a `UserError` for a bad config.
      config: another config of the same structure, or None.
      reward: likewise.

    Raises:
      UserError: the structure differs, or a number is out of range.
    """
    config = made.config if config is None else config
    check_structure("config", config, made.config)
    check(config)
    # A discount that a term leaves out is the agent's, here where it may vary.
    bound = rw.discounts.bind(made.reward, discount(config))
    reward = bound if reward is None else rw.discounts.bind(reward, discount(config))
    check_structure("reward", reward, bound)
    rw.check(reward)
    return as_leaves(config), as_leaves(reward)


def check_structure(what: str, given: Any, made: Any) -> None:
    """Raises a `UserError` unless only numbers differ between the two trees."""
    if jax.tree.structure(given) != jax.tree.structure(made):
        raise UserError(
            f"init got a {what} of another structure than the agent was made with: "
            f"only its numbers may differ; make another agent"
        )
