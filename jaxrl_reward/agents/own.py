"""Agents of the user's own in the table of agents: `agents.register`."""

from functools import partial
from types import ModuleType
from typing import Any

from jaxrl_reward import settings
from jaxrl_reward.agents import table
from jaxrl_reward.agents.shells import from_data, off_policy, on_policy
from jaxrl_reward.agents.shells.shell import Learner
from jaxrl_reward.errors import UserError
from jaxrl_reward.settings import Settings

_SHELLS = (on_policy, off_policy, from_data)


def register(
    name: str, definition: Any, config: type | None = None, *, learns_from_data: bool = False
) -> Any:
    """Makes an agent known to `agents.make`, `train`, sweeps and all that take a name.

    A change to an agent that there is, its loss, say, is a line:

        agents.register("ppo_smooth", SmoothLearner, ppo.Config)

    Args:
      name: a Python identifier.
      definition: what the agent is: a subclass of a shell's `Learner`; or a module, or anything
        else, that has a `Config` and `make(config, env, reward)`.
      config: the settings of a learner, a subclass of `Settings`.
      learns_from_data: whether `make(config, env, reward, data)` takes data in place of
        playing; of a learner its shell knows that.

    Returns:
      The definition.

    Raises:
      UserError: the name is another definition's, or the definition is not as above.
    """
    if isinstance(definition, type) and issubclass(definition, Learner):
        shell = _shell(definition)
        if not (isinstance(config, type) and issubclass(config, Settings)):
            raise UserError(
                f"agent {name!r} needs its settings: register({name!r}, {definition.__name__}, "
                f"Config), where Config is a class of Settings, not {config!r}"
            )
        table.add(name, definition, _as_module(name, definition, config), shell is from_data)
        return definition
    for part in ("Config", "make"):
        if not callable(getattr(definition, part, None)):
            raise UserError(
                f"agent {name!r} must be a shell's Learner, or have a Config and a make; "
                f"{_called(definition)} has no {part}"
            )
    if config is not None:
        raise UserError(f"agent {name!r} has a Config of its own; leave the second one out")
    table.add(name, definition, definition, learns_from_data)
    return definition


def _as_module(name: str, learner: type[Learner], config: Any) -> ModuleType:
    """What a learner is in the table, where others are modules."""
    shell, check = _shell(learner), partial(settings.check, name)

    def make(config: Any, env: Any, reward: Any = None, *data: Any) -> Any:
        return shell.make(name, config, env, reward, *data, learner, check)

    found = ModuleType(name, learner.__doc__)
    vars(found).update(Config=config, make=make, check=check)
    return found


def _shell(learner: type[Learner]) -> Any:
    """The shell that a learner is for."""
    for shell in _SHELLS:
        if issubclass(learner, shell.Learner):
            return shell
    raise UserError(
        f"{learner.__name__} must be a Learner of agents.shells.on_policy, off_policy or from_data"
    )


def _called(definition: Any) -> str:
    return getattr(definition, "__name__", None) or repr(definition)
