"""An agent of a run, made and in the state that it was trained to."""

from pathlib import Path
from typing import Any

from jaxrl_reward.nn import own
from jaxrl_reward.training.devices.sharding import select_seed
from jaxrl_reward.training.record.result import Loaded, load
from jaxrl_reward.training.record.run_folder import arm_config
from jaxrl_reward.types import UserError


def restore(out: Path | str, arm: str | None = None, **settings: Any) -> tuple[Any, Loaded]:
    """An arm's agent, made as the run's was, and its state in the newest good checkpoint.

    Args:
      out: the run's folder.
      arm: which arm; may be left out where there is one only.
      **settings: those that no folder can hold: `network`, where that has no name.

    Raises:
      UserError: there is no such run or arm, no checkpoint that can be read, or the run's
        network has no name and is not given.
    """
    from jaxrl_reward import agents
    from jaxrl_reward.agents.common.offline_data import Blank
    from jaxrl_reward.data import pairs

    arm, config = arm_config(out, arm)
    env, known = _env(config), config["config"] | settings
    if str(known.get("network")).startswith(own.PREFIX) and "network" not in settings:
        raise UserError(
            f"the network of {out} has no name, {known['network']}: give it, network=..., or "
            "train with one that jr.nn.register names"
        )
    if agents.learns_from_data(config["agent"]):
        # What it learned from is not needed to act; which set that was is in the state.
        known |= {"data": Blank(config["data"]["rows"]), "source": 0}
    elif "data" in config:
        task = env.environment.task
        known["data"] = pairs.blank(config["data"]["rows"], task.prompt_length, task.max_tokens)
    reward = config.get("mixture", config["reward"])
    agent = agents.make(config["agent"], env, reward, **known)
    return agent, load(agent, out, arm)


def _env(config: dict[str, Any]) -> Any:
    """The environment of a run; of one on data alone, what takes its place."""
    from jaxrl_reward import envs
    from jaxrl_reward.envs import recorded

    known = config.get("data", {}).get("spaces")
    if known is None:
        return envs.make(config["env"])
    observations, actions = (recorded.space_of(known[name]) for name in ("obs", "action"))
    return envs.of_data(config["env"], observations, actions)


def of_seed(loaded: Loaded, seed: int | None = None) -> Any:
    """The state of one seed, leaves `[...]`; of the run's first by default.

    Raises:
      UserError: the run has no such seed.
    """
    first, count = loaded.config["seed"], loaded.config["seeds"]
    wanted = first if seed is None else seed
    if not first <= wanted < first + count:
        last = first + count - 1
        raise UserError(f"the run has no seed {wanted}; choose one from {first} to {last}")
    return select_seed(loaded.state, wanted - first)
