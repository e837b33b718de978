"""Suites of environments: their names, and what is said of what is missing, wrong or raw.

Nothing here needs a suite; what each does is tested beside the suite itself.
"""

import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import environment

from jaxrl_reward import envs, spaces
from jaxrl_reward.envs import suites
from jaxrl_reward.envs.suites import loading
from jaxrl_reward.testing import check_env
from jaxrl_reward.types import UserError

EXAMPLES = {
    "craftax": ("Craftax-Classic-Symbolic-v1", "craftax.craftax_env"),
    "navix": ("Navix-Empty-5x5-v0", "navix"),
    "octax": ("brix", "octax.environments"),
    "pgx": ("minatar-breakout", "pgx.minatar.breakout"),
    "xminigrid": ("MiniGrid-Empty-5x5", "xminigrid"),
}

# ---- names ---------------------------------------------------------------------------------


def test_names_are_known_without_importing_a_suite():
    packages = {package for each in suites.PACKAGES.values() for package in each}
    code = (
        "import sys; from jaxrl_reward import envs; "
        "names = envs.names(); "
        "counted = [sum(n.startswith(s + ':') for n in names) for s in sys.argv[1:]]; "
        f"print(counted, sorted({packages!r} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", code, *EXAMPLES]
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[4, 83, 37, 6, 44] []"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("Craftax-Symbolic", "craftax:Craftax-Symbolic-v1"),
        ("minatar-breakot", "pgx:minatar-breakout"),
        ("pgx:minatar-freway", "pgx:minatar-freeway"),
        ("navix:Navix-DoorKey-8x8", "navix:Navix-DoorKey-8x8-v0"),
        ("MiniGrid-DoorKey-8x8", "xminigrid:MiniGrid-DoorKey-8x8"),
    ],
)
def test_an_unknown_name_suggests_the_nearest_of_all_suites(wrong, right):
    with pytest.raises(UserError, match=f"unknown environment '{wrong}', did you mean '{right}'"):
        envs.make(wrong)


def test_a_game_of_two_is_refused_in_a_line():
    said = "pgx:chess is left out: it needs an opponent; of pgx's games, those for one player"
    with pytest.raises(UserError, match=said):
        envs.make("pgx:chess")
    assert not any(name in envs.names() for name in suites.left_out("pgx"))


# ---- what is missing or wrong ---------------------------------------------------------------


@pytest.mark.parametrize("suite", EXAMPLES)
def test_a_suite_that_is_not_installed_says_how(suite, monkeypatch):
    name, module = EXAMPLES[suite]
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(loading, "sys", SimpleNamespace(version_info=(3, 12, 1)))
    fix = rf'{suite} cannot be imported \(.*\): pip install "jaxrl-reward\[{suite}\]"$'
    with pytest.raises(UserError, match=fix):
        envs.make(f"{suite}:{name}")


def test_navix_says_which_python_it_needs(monkeypatch):
    monkeypatch.setattr(loading, "sys", SimpleNamespace(version_info=(3, 11, 7)))
    said = r'navix needs Python 3\.12 or newer, and this is 3\.11: there, pip install "jaxrl'
    with pytest.raises(UserError, match=said):
        envs.make("navix:Navix-Empty-5x5-v0")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pgx:2048,sticky_action_prob=0.1", "pgx:2048 has no option 'sticky_action_prob', known"),
        ("pgx:minatar-asterix,sticky=0", "no option 'sticky', did you mean 'sticky_action_prob'"),
        ("pgx:2048,max_steps_in_episode=0", "max_steps_in_episode must be at least 1"),
        ("octax:brix,frame_skip=0", "octax:brix: frame_skip must be at least 1, not 0"),
        ("octax:brix,max_num_steps_per_episodes=1.5", "must be an integer, not '1.5'"),
    ],
)
def test_an_option_that_does_not_fit_is_one_line(name, said):
    with pytest.raises(UserError, match=said):
        envs.make(name)


# ---- what was made elsewhere ----------------------------------------------------------------


def made_in(module, name="Thing", **attributes):
    """An object of a class that says it comes from a module."""
    return type(name, (), {"__module__": module, **attributes})()


def test_a_game_of_two_that_was_made_elsewhere_is_refused_too():
    game = made_in("pgx.chess", id="chess", num_players=2)
    with pytest.raises(UserError, match="pgx:chess is left out: it needs an opponent"):
        envs.given(game)


@pytest.mark.parametrize("module", ["xminigrid.wrappers", "octax.wrappers"])
def test_what_wraps_a_suites_environment_is_refused(module):
    suite = module.partition(".")[0]
    said = f"AutoReset wraps an environment of {suite}, and may reset by itself: give the env"
    with pytest.raises(UserError, match=said):
        envs.given(made_in(module, "AutoReset"))


def test_an_environment_of_a_suite_that_must_be_named_says_how(monkeypatch):
    adapter = SimpleNamespace(names=lambda: ("Snake-v1",))
    monkeypatch.setattr(suites, "available", lambda: ["jumanji"])
    monkeypatch.setattr(suites, "_adapter", lambda suite: adapter)
    said = "Snake is an environment of jumanji: name it, as in 'jumanji:Snake-v1'"
    with pytest.raises(UserError, match=said):
        envs.given(made_in("jumanji.environments.snake", "Snake"))


# ---- observations of several parts ----------------------------------------------------------


@struct.dataclass
class Board:
    """What is seen, as an object with the names of its parts."""

    cells: jax.Array
    action_mask: jax.Array
    turn: jax.Array


@struct.dataclass
class Params:
    max_steps_in_episode: int = 5


@struct.dataclass
class State:
    time: jax.Array


class Parts(environment.Environment):
    """Sees three parts, and takes two whole numbers at once."""

    @property
    def default_params(self):
        return Params()

    def reset_env(self, key, params):
        state = State(jnp.int32(0))
        return self.seen(state), state

    def step_env(self, key, state, action, params):
        after = State(state.time + 1)
        return self.seen(after), after, action.sum().astype(jnp.float32), jnp.bool_(False), {}

    def seen(self, state):
        cells = jnp.full((2, 2), state.time, jnp.int32)
        return Board(cells, jnp.array([True, False, True, True, True]), state.time % 3)

    def observation_space(self, params):
        return spaces.Dict(
            {
                "cells": spaces.Box(0, 9, (2, 2)),
                "action_mask": spaces.Box(0.0, 1.0, (5,)),
                "turn": spaces.Discrete(3),
            }
        )

    def action_space(self, params=None):
        return spaces.MultiDiscrete([2, 3])


def test_an_observation_of_several_parts_is_one_vector():
    env = envs.from_gymnax(Parts())
    obs, state = env.reset(jax.random.key(0))
    np.testing.assert_array_equal(obs, [1, 0, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0])
    obs, *_ = env.step(jax.random.key(0), state, jnp.array([1, 2]))
    np.testing.assert_array_equal(obs, [1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0])
    assert obs.dtype == jnp.float32 and env.observation_space.shape == (12,)
    np.testing.assert_array_equal(env.observation_space.high, [1] * 5 + [9] * 4 + [1] * 3)
    assert [(part.name, part.start, part.stop) for part in env.parts] == [
        ("action_mask", 0, 5),
        ("cells", 5, 9),
        ("turn", 9, 12),
    ]


def test_an_environment_of_several_parts_keeps_the_laws():
    check_env(Parts())


def test_parts_that_are_not_what_the_space_says_are_refused():
    class Wrong(Parts):
        def seen(self, state):
            return super().seen(state).replace(cells=jnp.zeros((3, 2)))

    with pytest.raises(UserError, match=r"the shape \(12,\) of observation_space is wanted"):
        envs.given(Wrong())
