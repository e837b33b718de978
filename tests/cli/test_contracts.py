"""Terms and environments of a user's own that are wrong: each is one line, and status 2."""

from types import SimpleNamespace

import jax.numpy as jnp
import pytest
from flax import struct
from gymnax.environments import environment, spaces

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.envs import registry as environments
from jaxrl_reward.rewards.core import registry as terms
from jaxrl_reward.types import UserError

SMALL = ("--num-envs", 2, "--num-steps", 4, "--minibatches", 1, "--epochs", 1, "--hidden", 4)
ENV = "probe:truncation"


@pytest.fixture(autouse=True)
def own_tables(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr(terms, "_ENTRIES", dict(terms._ENTRIES))
    monkeypatch.setattr(environments, "_FAMILIES", dict(environments._FAMILIES))


def line_of(outcome, status=2) -> str:
    assert outcome.status == status, outcome
    assert outcome.out == "" and outcome.err.count("\n") == 1 and "Traceback" not in outcome.err
    return outcome.err.removeprefix("jaxrl-reward: error: ").rstrip("\n")


def pointwise(reward):
    return type("mine", (rw.Pointwise,), {"reward": reward})


def causal(step):
    begin = lambda self, shared, obs: jnp.int32(0)  # noqa: E731
    return type("mine", (rw.Causal,), {"begin_one": begin, **({"step": step} if step else {})})


def learned(loss):
    begin = lambda self, key, example: jnp.zeros(1)  # noqa: E731
    pays = lambda self, params, transition: transition.obs @ params  # noqa: E731
    return type("mine", (rw.Learned,), {"init_params": begin, "reward": pays, "loss": loss})


TERMS = [
    (pointwise(lambda self, t: t.obs), "reward(transition) gives an array of shape (1,)"),
    (pointwise(lambda self, t: None), "reward(transition) gives None, and one real number"),
    (pointwise(lambda self, t: 1.0 if t.obs[0] > 0 else 0.0), "a Python if, and, or, not or while"),
    (pointwise(lambda self, t: float(t.obs[0])), "a Python number is made of a traced value"),
    (pointwise(lambda self, t: t.speed), "AttributeError: 'Transition' object has no attribute"),
    (pointwise(lambda self: 0.0), "it is called as reward(transition), and takes ()"),
    (causal(None), "mine() has no method step(shared, memory, transition)"),
    (
        causal(lambda self, s, m, t: (m + 0.5, 0.0)),
        "changes the memory that begin_one gives, int32",
    ),
    (causal(lambda self, s, m, t: 0.0), "and (memory, reward) is wanted"),
    (learned(lambda self, p, k, b: b.obs @ p), "and one real number is wanted: take the mean"),
]


@pytest.mark.parametrize(("term", "message"), TERMS)
def test_terms(run, term, message):
    rw.register("mine")(term)
    line = line_of(run("train", "ppo", ENV, "--reward", "env + 0.1*mine()", *SMALL, "--out", "a"))
    assert line.startswith("mine()") and message in line


@struct.dataclass
class State:
    time: int = 0


class Walk(environment.Environment):
    """Ends after so many steps, in whatever way."""

    def __init__(self, step):
        self._step = step

    def reset_env(self, key, params):
        return jnp.zeros(1), State()

    def step_env(self, key, state, action, params):
        return self._step(State(state.time + 1), params)

    def observation_space(self, params):
        return spaces.Box(-1.0, 1.0, (1,))

    def action_space(self, params=None):
        return spaces.Discrete(2)


WALKS = [
    (lambda s, p: (jnp.zeros(1), s, 0.0, False, False, {}), "gives a tuple of 6, and five values"),
    (lambda s, p: (jnp.zeros(2), s, 0.0, False, {}), "gives an array of shape (2,) as obs"),
    (lambda s, p: (jnp.zeros(1), (s, 0), 0.0, False, {}), "changes the state that reset_env gives"),
    (
        lambda s, p: (jnp.zeros(1), s, 0.0, s.time >= 9, {}),
        "ends by state.time, and not by params.",
    ),
]


@pytest.mark.parametrize(("step", "message"), WALKS)
def test_environments(run, step, message):
    params = environment.EnvParams(max_steps_in_episode=9)
    envs.register("mine", lambda name, options: (Walk(step), params), ["walk"])
    line = line_of(run("train", "ppo", "mine:walk", *SMALL, "--out", "a"))
    assert line.startswith("mine:walk") and message in line


def test_a_gymnasium_environment(run):
    made = type("Gym", (SimpleNamespace,), {"__module__": "gymnasium.envs"})()
    envs.register("mine", lambda name, options: (made, None), ["walk"])
    line = line_of(run("train", "ppo", "mine:walk", *SMALL, "--out", "a"))
    assert line.startswith("Gym is a gymnasium environment, whose steps run in Python")


def test_a_term_that_is_not_finite(run):
    rw.register("mine")(pointwise(lambda self, t: jnp.log(t.obs[0])))
    argv = ("--reward", "env + mine()", *SMALL, "--total-steps", 32, "--no-progress", "--out", "a")
    outcome = run("train", "ppo", ENV, *argv)
    assert outcome.status == 3 and "Traceback" not in outcome.err
    last = outcome.err.splitlines()[-1]
    assert "reward term mine() gives a value that is not finite (seed 0, step 8): stopped" in last


# ---- what is registered --------------------------------------------------------------------


def shifted_by():
    """A term with a whole number, known by its name until the test is over."""

    @rw.pointwise
    def shifted(transition, by: int = 0):
        return transition.env_reward + by

    return shifted


@pytest.mark.parametrize("by", [0, -1, 7])
def test_a_whole_number_of_a_term_of_ones_own_may_be_any(by):
    shifted = shifted_by()
    term = rw.parse(f"shifted(by={by})")
    assert term == shifted(by=by)
    assert rw.parse(str(term)) == term


def test_what_is_no_term_is_refused_as_it_is_registered():
    with pytest.raises(UserError, match=r"reward term 'qq' is no term: write @rewards\.pointwise"):
        rw.register("qq")(int)
    with pytest.raises(UserError, match="a term is registered under a name"):
        rw.register(shifted_by())


@pytest.mark.parametrize(
    ("factory", "names", "message"),
    [
        (3, ["a"], "mine: a factory"),
        (
            lambda name, options: None,
            "plain",
            r"names must be several, such as \['plain'",
        ),
        (lambda name, options: None, ["a"], "mine:a: its factory gives None"),
        (lambda name, options: (1, 2, 3), ["a"], r"mine:a: its factory gives \(1, 2, 3\)"),
    ],
)
def test_a_factory_gives_an_environment_and_its_parameters(factory, names, message):
    with pytest.raises(UserError, match=message):
        envs.register("mine", factory, names)
        envs.make("mine:a")


def test_an_environment_may_come_with_its_own_parameters():
    known = envs.make(ENV)
    envs.register("mine", lambda name, options: known.environment, ["a"])
    assert envs.make("mine:a").params == known.environment.default_params
