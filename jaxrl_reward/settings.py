"""Settings: each is declared once, by its default, its help and what it may be.

    class Config(Settings):
        '''An agent's settings.'''

        rate: float = setting(1e-3, "of learning", low=0.0)
        layers: int = setting(2, "of the network", low=1)
        network: Literal["mlp", "gru"] = setting("mlp", "`gru` remembers the episode")

Command-line flags, checks and the docstring's `Attributes:` are made of this. A subclass
that says `rate: float = 1e-4` changes the default alone, and with `setting(...)` what is
named there. Floats are leaves, which may be traced and vary; all else is static.
"""

import dataclasses
import inspect
import numbers
import textwrap
from collections.abc import Collection
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

import numpy as np
from flax import struct
from jax.core import Tracer

from jaxrl_reward.checks import check_choice, check_number
from jaxrl_reward.errors import UserError, nearest
from jaxrl_reward.intervals import Interval

RUN = -1.0  # of a setting that counts steps: as many as the run has
_SAID, _KEY = "said", "setting"  # what a field's metadata has before it is one, and after


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is declared of a setting.

    Attributes:
      kind: its type.
      default: where nothing is said.
      help: what it is, in a line without a period.
      low: the least number.
      high: the largest.
      choices: the texts that it may be; None where it is no text, or any. Of the kind `Any`
        it may be what such a text names.
      static: shapes the program; else it is a leaf, or several.
      of_run: counts steps, and `RUN` is as many as the run has; or the name of the setting
        without which it counts none.
    """

    kind: Any
    default: Any
    help: str
    low: float = -np.inf
    high: float = np.inf
    choices: Collection[str] | None = None
    static: bool = False
    of_run: bool | str = False

    @property
    def number(self) -> type | None:
        """The type of its number or numbers; None where it has none."""
        kind = get_args(self.kind)[0] if get_origin(self.kind) is tuple else self.kind
        return kind if kind in (int, float) else None

    @property
    def interval(self) -> Interval | None:
        """What its numbers may be. A leaf is a float once it is traced, also if it counts."""
        if self.number is None:
            return None
        return Interval(self.low, self.high, whole=self.number is int and self.static)


def setting(
    default: Any = dataclasses.MISSING,
    help: str | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Collection[str] | None = None,
    static: bool | None = None,
    of_run: bool | str | None = None,
) -> Any:
    """Declares a setting; of one that is inherited, changes what is said here.

    Args:
      default: a new setting needs one.
      help: what it is, in a line without a period; a new setting needs it.
      low: the least number.
      high: the largest.
      choices: the texts that it may be, as a tuple or as a table that may grow; those of a
        `Literal` are known.
      static: whether it shapes the program, where the type does not say so.
      of_run: whether it counts steps, and `RUN` is as many as the run has; or the name of
        the setting without which it counts none.
    """
    rules = {"help": help, "low": low, "high": high, "choices": choices, "static": static}
    said = {name: value for name, value in {**rules, "of_run": of_run}.items() if value is not None}
    if default is not dataclasses.MISSING:
        said["default"] = default
    return dataclasses.field(metadata={_SAID: said})


class Settings(struct.PyTreeNode):
    """Settings that belong together, a frozen pytree. Groups of them are bases of others.

    Fields are what `setting` declares; rules across them go into `validate`.
    """

    _says = MappingProxyType({})  # of each setting, what a class changes; no field of its own

    def __init_subclass__(cls, **options: Any) -> None:
        own = inspect.get_annotations(cls).items()
        cls._says = MappingProxyType({name: _said(cls, name, kind) for name, kind in own})
        known = _declared(cls)
        # All are fields anew, for where bases meet again a dataclass would take those of the
        # first, also what it only inherits.
        cls.__annotations__ = {name: each.kind for name, each in known.items()}
        for name, each in known.items():
            metadata = {"pytree_node": not each.static, _KEY: each}
            setattr(cls, name, dataclasses.field(default=each.default, metadata=metadata))
        cls.__doc__ = _documented(cls, known)
        super().__init_subclass__(**options)

    def validate(self, owner: str) -> None:
        """Raises a `UserError` for settings that do not go together.

        Args:
          owner: whose settings they are, for messages.
        """


def declared(config: Any) -> dict[str, Setting]:
    """What is declared of each setting, those that shape the program first.

    Args:
      config: a class of `Settings`, or some of them.
    """
    return _in_order({each.name: each.metadata[_KEY] for each in dataclasses.fields(config)})


def _in_order(known: dict[str, Setting]) -> dict[str, Setting]:
    return dict(sorted(known.items(), key=lambda item: not item[1].static))


def _said(cls: type, name: str, kind: Any) -> dict[str, Any]:
    """What a class says of a setting by `name: kind = value`.

    Raises:
      TypeError: it says twice what its choices are.
    """
    value = vars(cls).get(name, dataclasses.MISSING)
    if isinstance(value, dataclasses.Field):
        said = {"kind": kind, **value.metadata.get(_SAID, {})}
    else:
        said = {"kind": kind} if value is dataclasses.MISSING else {"kind": kind, "default": value}
    if get_origin(kind) is Literal:
        if "choices" in said:
            raise TypeError(f"{cls.__qualname__}.{name} has its choices in its type already")
        said["choices"] = get_args(kind)
    return said


def _declared(cls: type) -> dict[str, Setting]:
    """The settings of a class: what its bases say of each, the nearest last.

    Raises:
      TypeError: a setting has no default or no help.
    """
    known: dict[str, dict[str, Any]] = {}
    for base in reversed(cls.__mro__):
        for name, said in vars(base).get("_says", {}).items():
            known[name] = {**known.get(name, {}), **said}
    for name, said in known.items():
        if not said.keys() >= {"default", "help"}:
            where = f"{cls.__qualname__}.{name}"
            raise TypeError(f"{where} is no setting: declare it by `setting(default, help)`")
        said.setdefault("static", said["kind"] not in (float, tuple[float, ...]))
    return {name: Setting(**said) for name, said in known.items()}


def _documented(cls: type, known: dict[str, Setting]) -> str:
    """The class's docstring, and what its settings are."""
    text = inspect.cleandoc(vars(cls).get("__doc__") or f"{cls.__name__}'s settings.")
    lines = textwrap.TextWrapper(80, subsequent_indent=" " * 4, break_on_hyphens=False)
    entries = [lines.fill(f"  {name}: {each.help}.") for name, each in _in_order(known).items()]
    return "\n".join([f"{text}\n\nAttributes:", *entries]) + "\n"


# ---- values -----------------------------------------------------------------------


def check(owner: str, config: Settings) -> None:
    """Raises a `UserError` that names the first bad setting and what would do; tracers pass.

    Args:
      owner: whose settings they are, for messages.
      config: the settings.
    """
    check_kind(owner, config)
    for name, each in declared(config).items():
        value = getattr(config, name)
        for part in value if isinstance(value, tuple | list) else (value,):
            if each.choices is not None and (each.kind is not Any or isinstance(part, str)):
                check_choice(owner, name, part, each.choices)
            elif each.interval is not None and not (each.of_run and is_run(part)):
                check_number(owner, name, part, each.interval)
    config.validate(owner)


def check_kind(owner: str, config: Any) -> None:
    """Raises a `UserError` unless it is an object of a `Config`, whatever its values are."""
    if not isinstance(config, Settings):
        name = getattr(config, "__name__", None)
        fix = f"write {name}()" if isinstance(config, type) else f"not {type(config).__name__}"
        raise UserError(f"{owner}'s config must be an object of its Config: {fix}")


def override(owner: str, config: Any, values: dict[str, Any]) -> Any:
    """`config` with other values, each of the type of the one that it has.

    Raises:
      UserError: an unknown setting, or a value of the wrong type.
    """
    known = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    for name, value in values.items():
        if name not in known:
            raise UserError(f"{owner} has no setting {name!r}, {nearest(name, known)}")
        default = known[name]
        if isinstance(default, float):
            array = hasattr(value, "dtype") and np.ndim(value) == 0
            fits = array or (isinstance(value, numbers.Real) and not isinstance(value, bool))
        elif isinstance(default, str) and name in _open(config):
            fits = True  # a name, or what it would be the name of
        elif isinstance(default, bool | str):
            fits = isinstance(value, type(default))
        elif isinstance(default, int):
            fits = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        else:
            fits = isinstance(value, list | tuple)
            if isinstance(value, numbers.Real) and all(isinstance(x, float) for x in default):
                values, fits = {**values, name: (value,)}, True  # one number of several
        if not fits:
            kind = type(default).__name__
            raise UserError(f"{owner}'s {name} must be of type {kind}, like {default}: {value!r}")
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return config.replace(**{**values, **lists})


def _open(config: Any) -> list[str]:
    """The settings that may be more than numbers and texts."""
    known = declared(config) if isinstance(config, Settings) else {}
    return [name for name, each in known.items() if each.kind is Any]


# ---- the length of a run ----------------------------------------------------------


def at_length(config: Any, steps: int) -> Any:
    """The config of a run of so many steps per seed: what follows its length is known."""
    if not isinstance(config, Settings):  # of an agent of one's own
        return config
    names = [name for name in of_run(config) if is_run(getattr(config, name))]
    return config.replace(**dict.fromkeys(names, float(steps))) if names else config


def of_run(config: Any) -> list[str]:
    """The settings that may follow the run's length, without those that count nothing here."""
    known = declared(config).items() if isinstance(config, Settings) else ()
    needs = {name: each.of_run for name, each in known if each.of_run}
    return [name for name, need in needs.items() if need is True or getattr(config, str(need))]


def is_run(value: Any) -> bool:
    """Whether a number of steps is known to be the run's."""
    return not isinstance(value, Tracer) and bool(np.any(np.asarray(value) == RUN))
