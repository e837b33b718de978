"""What users hand to `agents.make` by mistake: each is one line that names it and the fix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import environment, spaces

import jaxrl_reward as jr
from jaxrl_reward import rewards as rw
from jaxrl_reward.types import UserError

ENV = "probe:truncation"  # observes one number
CLOCKED = jr.envs.make(ENV)


def refused(call) -> str:
    """The line that a mistake is answered with."""
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- terms -------------------------------------------------------------------------------


def pointwise(reward):
    return type("mine", (rw.Pointwise,), {"reward": reward})


def causal(begin, step=None, **others):
    methods = {"begin_one": begin, **({"step": step} if step else {}), **others}
    return type("mine", (rw.Causal,), methods)


def learned(init=lambda self, key, example: jnp.zeros(1), loss=None, reward=None, **others):
    pays = reward or (lambda self, params, t: t.obs @ params)
    lost = loss or (lambda self, params, key, batch: (batch.obs @ params).mean())
    return type(
        "mine", (rw.Learned,), {"init_params": init, "reward": pays, "loss": lost, **others}
    )


def general(**methods):
    return type("mine", (rw.RewardTransform,), methods)


def zero(self, shared, obs):
    return jnp.float32(0.0)


def keep(self, shared, memory, transition):
    return memory, memory


def whole(function):
    return type("mine", (rw.Episodic,), {"reward": function})


def paid(self, state, block):
    return rw.Applied(state, block.reward, {}, ())


NUMBER = "one real number is wanted"
IF = "a Python if, and, or, not or while asks a traced value: use jax.numpy.where"
TERMS = {
    "a vector": (pointwise(lambda self, t: t.obs), f"gives an array of shape (1,), and {NUMBER}"),
    "two": (pointwise(lambda self, t: (1.0, 2.0)), f"gives a tuple of 2, and {NUMBER}"),
    "nothing": (pointwise(lambda self, t: None), f"reward(transition) gives None, and {NUMBER}"),
    "a dict": (pointwise(lambda self, t: {"r": 1.0}), f"gives a dict of 1, and {NUMBER}"),
    "complex": (pointwise(lambda self, t: 1j * t.obs[0]), NUMBER),
    "an if": (pointwise(lambda self, t: 1.0 if t.obs[0] > 0 else 0.0), IF),
    "an and": (pointwise(lambda self, t: t.first and t.last), IF),
    "float()": (pointwise(lambda self, t: float(t.obs[0])), "a Python number is made of a traced"),
    "numpy": (
        pointwise(lambda self, t: np.exp(t.obs[0])),
        "numpy is given a traced value: use jax",
    ),
    "a range": (pointwise(lambda self, t: [0.0, 1.0][t.action]), "used as a Python integer"),
    "a mask": (pointwise(lambda self, t: t.obs[t.obs > 0].sum()), "how many entries there are"),
    "a misspelt field": (pointwise(lambda self, t: t.observation[0]), "has no attribute 'observat"),
    "a key that is not there": (pointwise(lambda self, t: t.info["speed"]), "KeyError: 'speed'"),
    "block in place of step": (
        pointwise(lambda self, state, block: block.reward),
        "it is called as reward(transition), and takes (state, block)",
    ),
    "no reward": (type("mine", (rw.Pointwise,), {}), "mine() has no method reward(transition)"),
    "memory of another type": (
        causal(lambda self, shared, obs: 0, lambda self, shared, m, t: (m + 0.5, 0.0)),
        "step(shared, memory, transition) changes the memory that begin_one gives, int32 of shape "
        "() before and float32 of shape () after",
    ),
    "memory of another shape": (
        causal(zero, lambda self, shared, m, t: (t.obs, 0.0)),
        "float32 of shape () before and float32 of shape (1,) after",
    ),
    "memory of another structure": (
        causal(zero, lambda self, shared, m, t: ((m, m), 0.0)),
        "a number, float32 before and a tuple of 2 after, of another structure",
    ),
    "no step": (causal(zero), "mine() has no method step(shared, memory, transition)"),
    "no begin_one": (
        type("mine", (rw.Causal,), {"step": keep}),
        "mine() has no method begin_one(shared, obs)",
    ),
    "a step without memory": (
        causal(zero, lambda self, shared, m, t: t.reward),
        "gives a number, float32, and (memory, reward) is wanted",
    ),
    "a vector from a step": (causal(zero, lambda self, s, m, t: (m, t.obs)), NUMBER),
    "no shared": (
        causal(zero, lambda self, m, t: (m, 0.0)),
        "it is called as step(shared, memory, transition), and takes (m, t)",
    ),
    "another order": (
        causal(zero, lambda self, transition, shared, memory: (memory, transition.reward)),
        "step(shared, memory, transition) fails: AttributeError: 'tuple' object has no attribute",
    ),
    "a view of a number": (
        causal(zero, keep, view=lambda self, memory: memory),
        "view(memory) gives a number, float32, and an array [F] is wanted",
    ),
    "a loss of many": (
        learned(loss=lambda self, params, key, batch: batch.obs @ params),
        "loss(params, key, batch) gives an array of shape (256,), and one real number is wanted: "
        "take the mean",
    ),
    "a loss of counts": (learned(loss=lambda self, params, key, batch: 1), "take the mean"),
    "parameters without gradients": (
        learned(lambda self, key, example: jnp.zeros(1, jnp.int32)),
        "init_params gives int32, and floats are wanted",
    ),
    "no loss": (
        type(
            "mine", (rw.Learned,), {"init_params": lambda self, k, e: jnp.zeros(1), "reward": paid}
        ),
        "mine()",
    ),
    "a loss of other shapes": (
        learned(loss=lambda self, params, key, batch: (batch.obs @ jnp.zeros(3)).mean()),
        "loss(params, key, batch) fails: TypeError: dot_general",
    ),
    "parameters that settle as others": (
        learned(settle=lambda self, params: params.sum()),
        "settle(params) changes their types, float32 of shape (1,) before and float32 of shape ()",
    ),
    "an observation without environments": (
        general(apply=paid, observe=lambda self, local: jnp.zeros(2)),
        "observe(local) gives an array of shape (2,), and [N, F] is wanted",
    ),
    "parameters with another argument": (
        learned(lambda self, example: jnp.zeros(1)),
        "it is called as init_params(key, example), and takes (example)",
    ),
    "no apply": (general(), "mine() has no method apply(state, block)"),
    "apply of a number": (
        general(apply=lambda self, state, block: block.reward),
        "apply gives an array of shape (64, 16), and a rewards.Applied is wanted",
    ),
    "a mean over steps": (
        general(apply=lambda self, s, b: rw.Applied(s, b.reward.mean(0), {}, ())),
        "mine() gives an array of shape (16,) for 64 steps of 16 environments",
    ),
    "a state of another type": (
        general(
            init=lambda self, key, example: rw.no_state(example, jnp.int32(0)),
            apply=lambda self, s, b: rw.Applied(s.replace(shared=1.5 * s.shared), b.reward, {}, ()),
        ),
        "apply changes the state, shared: int32 of shape () before and float32 of shape () after",
    ),
    "an init without a state": (
        general(init=lambda self, key, example: jnp.zeros(3), apply=paid),
        "init gives an array of shape (3,), and a rewards.State is wanted",
    ),
    "a learn without metrics": (
        general(apply=paid, learn=lambda self, state, key, block: state),
        "learn gives a State, and (state, metrics) is wanted",
    ),
}


@pytest.mark.parametrize("name", TERMS)
def test_terms(name):
    term, message = TERMS[name]
    told = refused(lambda: jr.agents.make("ppo", ENV, rw.env() + 0.1 * term() | rw.clip(-1, 1)))
    assert told.startswith("mine()") and message in told, told


def test_the_line_is_named():
    told = refused(lambda: jr.agents.make("ppo", ENV, pointwise(lambda self, t: t.nothing)()))
    assert told.endswith("of test_wrong_things.py)") and "(line " in told


@pytest.mark.parametrize(
    "term",
    [
        pointwise(lambda self, t: 1),
        pointwise(lambda self, t: t.first),
        causal(lambda self, shared, obs: {"n": 0}, lambda self, shared, m, t: (m, 1)),
        causal(zero, lambda self, shared, m, t: (m, rw.Affine(2.0, -1.0))),
        learned(),
        general(apply=paid),
    ],
)
def test_what_is_no_mistake(term):
    """Whole numbers, truth values and numbers of Python are numbers."""
    jr.agents.make("ppo", ENV, rw.env() + term())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: whole(lambda self, block, episodes: block.reward.sum()), "one of shape (8, 64)"),
        (lambda: whole(lambda self, block: block.reward), "reward(block, episodes), and takes"),
        (lambda: type("mine", (rw.Grouped,), {}), "has no method rule(block, groups)"),
        (
            lambda: type("mine", (rw.Grouped,), {"rule": lambda self, block, groups: 1.0}),
            "rule(block, groups) gives a number, float32, and one of shape (64,) or (8, 64)",
        ),
    ],
)
def test_terms_of_whole_episodes(call, message):
    settings = {"num_envs": 64, "group_size": 8, "width": 8, "layers": 1, "heads": 1}
    make = lambda: jr.agents.make("group_pg", "sequence:copy", rw.env() + call()(), **settings)  # noqa: E731
    assert message in refused(make)


# ---- in the place of a term, an environment, a setting --------------------------------------


class Gym:
    """Stands for a gymnasium environment."""

    def step(self, action):
        return None

    def reset(self, seed=None):
        return None


Gym.__module__ = "gymnasium.envs.classic_control"


def make(*args, **settings):
    return lambda: jr.agents.make(*args, **settings)


ARGUMENTS = [
    (make("ppo", ENV, lambda t: 0.0), "not the function <lambda>: put @rewards.pointwise above it"),
    (make("ppo", ENV, 1.0), "the reward must be an expression, such as rewards.env() +"),
    (make("ppo", ENV, rw.rnd), "not the class rnd: write rnd()"),
    (make("ppo", ENV, [rw.env()]), "the reward must be an expression"),
    (make("ppo", ENV, CLOCKED), "the reward must be an expression"),
    (make("ppo", ENV, "env + rnd"), "'rnd' is a term: write rnd(...)"),
    (make("ppo", ENV, rw.stack(rw.env(), 1)), "needs one number a step, and stack(env, 1) gives 2"),
    (lambda: rw.env() + rw.rnd, "not the class rnd: write rnd()"),
    (lambda: rw.env() + (lambda t: 0.0), "not the function <lambda>: put @rewards.pointwise"),
    (lambda: rw.env() + "rnd()", "not the text 'rnd()': write rewards.parse('rnd()')"),
    (lambda: rw.env() * None, "a reward or a number is needed here, not NoneType None"),
    (lambda: rw.env() * float("nan"), "constant's value must be a finite number, not nan"),
    (lambda: rw.env() and rw.rnd(), "env is neither true nor false: combine rewards by + * |"),
    (lambda: rw.parse(None), "rewards.parse reads a text, such as 'env', not None"),
    (lambda: rw.clip(None, 1), "clip's low must be a number, not None"),
    (make("ppo", Gym()), "Gym is a gymnasium environment, whose steps run in Python"),
    (make("ppo", Gym), "Gym is a gymnasium environment, whose steps run in Python"),
    (make("ppo", type(CLOCKED.environment)), "Probe is a class, and an environment is needed"),
    (make("ppo", 3), "an environment or its name is needed, such as 'gymnax:CartPole-v1', not 3"),
    (make("ppo", rw.env(), ENV), "agents.make takes the environment before the reward"),
    (make("ppo", None), "ppo needs an environment, such as gymnax:Pendulum-v1"),
    (make("ppo", object()), "object is no gymnax environment: it has no reset_env, step_env"),
    (make(ENV, "ppo"), f"agents.make takes the agent first: agents.make('ppo', '{ENV}')"),
    (make(jr.ppo, ENV), "agents.make takes the name of an agent first: 'ppo'"),
    (make(None, ENV), "agents.make takes the name of an agent first: such as 'ppo'"),
    (make("ppo", ENV, learning_rate=None), "ppo's learning_rate must be of type float"),
    (make("ppo", ENV, learning_rate=[1e-3]), "ppo's learning_rate must be of type float"),
    (make("ppo", ENV, learning_rate=jnp.ones(2)), "ppo's learning_rate must be of type float"),
    (make("ppo", ENV, learning_rate="1e-3"), "ppo's learning_rate must be of type float"),
    (make("ppo", ENV, learning_rate=float("nan")), "ppo's learning_rate must be at least 0"),
    (make("ppo", ENV, num_envs=16.0), "ppo's num_envs must be of type int, like 16: 16.0"),
    (make("ppo", ENV, num_envs=None), "ppo's num_envs must be of type int"),
    (make("ppo", ENV, hidden=64), "ppo's hidden must be of type tuple, like (64, 64): 64"),
    (make("ppo", ENV, config=jr.ppo.Config()), "ppo has no setting 'config'"),
    (lambda: jr.ppo.make(ENV, "env"), "ppo's config must be an object of its Config"),
    (lambda: jr.ppo.make(jr.ppo.Config, CLOCKED), "its Config: write Config()"),
    (lambda: jr.ppo.make(jr.ppo.Config(), CLOCKED, "env"), "write rewards.parse('env')"),
    (lambda: make("ppo", ENV)().init(0), "init takes one typed key, as jax.random.key(0) gives"),
    (lambda: make("ppo", ENV)().init(jax.random.PRNGKey(0)), "not an array uint32[2]"),
    (lambda: jr.training.train("ppo"), "an agent, as agents.make('ppo', env) gives, or a Run"),
    (lambda: jr.training.train(make("ppo", ENV)(), seeds=2.0), "seeds must be a whole number"),
    (lambda: jr.training.train(make("ppo", ENV)(), seed=1.5), "seed must be a whole number"),
]


@pytest.mark.parametrize(("call", "message"), ARGUMENTS)
def test_arguments(call, message):
    assert message in refused(call)


def test_numbers_of_numpy_are_numbers():
    for half in (np.float32(0.5), np.array(0.5), jnp.float32(0.5)):
        assert str(half * rw.env()) == "0.5*env" and str(rw.env() * half) == "env*0.5"
    assert make("ppo", ENV, learning_rate=np.float64(0.1))().config.learning_rate == 0.1
    assert make("ppo", ENV, learning_rate=jnp.float32(0.5))().config.learning_rate == 0.5


# ---- environments --------------------------------------------------------------------------


@struct.dataclass
class Params:
    max_steps_in_episode: int = 4


@struct.dataclass
class State:
    x: jax.Array
    time: jax.Array


class Walk(environment.Environment):
    """An environment without a mistake, for those that make one."""

    @property
    def default_params(self):
        return Params()

    def reset_env(self, key, params):
        return jnp.zeros(1), State(jnp.float32(0.0), jnp.int32(0))

    def step_env(self, key, state, action, params):
        state = State(state.x + action, state.time + 1)
        return state.x[None], state, state.x, state.x > 2, {}

    def observation_space(self, params):
        return spaces.Box(-5.0, 5.0, (1,))

    def action_space(self, params=None):
        return spaces.Discrete(2)


def stepping(step):
    return {"step_env": lambda self, key, state, action, params: step(state, action)}


def moved(state, action):
    return State(state.x + action, state.time + 1)


FIVE = "five values, (obs, state, reward, terminated, info) is wanted"
WALKS = {
    "gymnasium's order": (
        stepping(lambda s, a: (jnp.zeros(1), 0.0, False, False, {})),
        "changes the state that reset_env gives",
    ),
    "six values": (
        stepping(lambda s, a: (jnp.zeros(1), s, 0.0, False, False, {})),
        f"gives a tuple of 6, and {FIVE}",
    ),
    "four values": (
        stepping(lambda s, a: (jnp.zeros(1), s, 0.0, False)),
        f"a tuple of 4, and {FIVE}",
    ),
    "a reward of two": (
        stepping(lambda s, a: (jnp.zeros(1), s, jnp.zeros(2), False, {})),
        "gives an array of shape (2,) as reward, and one number is wanted",
    ),
    "no info": (
        stepping(lambda s, a: (jnp.zeros(1), s, 0.0, False, None)),
        "None as info, and a dict",
    ),
    "a state that loses its fraction": (
        stepping(lambda s, a: (jnp.zeros(1), State(s.x, s.time + 0.5), 0.0, False, {})),
        "time: int32 of shape () before and float32 of shape () after",
    ),
    "a state of another shape": (
        stepping(lambda s, a: (jnp.zeros(1), State(s.x[None], s.time), 0.0, False, {})),
        "x: float32 of shape () before and float32 of shape (1,) after",
    ),
    "another observation": (
        stepping(lambda s, a: (jnp.zeros(3), s, 0.0, False, {})),
        "gives an array of shape (3,) as obs, and the shape (1,) of observation_space is wanted",
    ),
    "an if": (
        stepping(lambda s, a: (jnp.zeros(1), s, 1.0 if s.x > 0 else 0.0, False, {})),
        f"step_env(key, state, action, params) fails: {IF}",
    ),
    "no params": (
        {"step_env": lambda self, key, state, action: None},
        "it is called as step_env(key, state, action, params), and takes (key, state, action)",
    ),
    "a reset of the observation alone": (
        {"reset_env": lambda self, key, params: jnp.zeros(1)},
        "reset_env(key, params) gives an array of shape (1,), and (obs, state) is wanted",
    ),
    "no space": (
        {"observation_space": lambda self, params: 4},
        "observation_space(params) gives int",
    ),
    "a nested space": (
        {"action_space": lambda self, params=None: spaces.Dict({"x": spaces.Discrete(2)})},
        "action_space(params) gives Dict, and gymnax's spaces.Box or spaces.Discrete is wanted",
    ),
    "bounds in the wrong order": (
        {"action_space": lambda self, params=None: spaces.Box(1.0, -1.0, (1,))},
        "actions need bounds with low <= high",
    ),
    "a time limit of its own": (
        stepping(lambda s, a: (jnp.zeros(1), moved(s, a), 0.0, s.time >= 3, {})),
        "ends by state.time, and not by params.max_steps_in_episode: whether that is a time limit",
    ),
}


@pytest.mark.parametrize("name", WALKS)
def test_environments(name):
    methods, message = WALKS[name]
    told = refused(make("ppo", type("Mine", (Walk,), methods)()))
    assert message in told, told
    assert told.startswith("Mine") or "low <= high" in told


def test_an_environment_is_taken_as_it_is():
    small = {"num_envs": 2, "num_steps": 4, "minibatches": 1, "epochs": 1, "hidden": (4,)}
    agent = jr.agents.make("ppo", Walk(), **small)
    assert (agent.env.name, agent.env.max_steps) == ("Walk", 4)
    other = jr.agents.make("ppo", (Walk(), Params(9)), **small)
    assert other.env.max_steps == 9
    assert jr.agents.make("ppo", jr.envs.from_gymnax(Walk(), name="w")).env.name == "w"
    _, metrics = jax.jit(lambda key: agent.iterate(agent.init(key)))(jax.random.key(0))
    assert metrics["episode_length"].total == 4 * metrics["episode_length"].count > 0


def test_a_class_of_no_module_is_the_users_own():
    """As of what `exec` runs, where no name is given."""
    term = pointwise(lambda self, t: t.obs)
    term.__module__ = None
    assert "reward(transition) gives" in refused(make("ppo", ENV, term()))
    jr.agents.make("ppo", type("Mine", (Walk,), {"__module__": None})())
