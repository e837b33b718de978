"""Trained policies as NumPy functions and as files, against the agents' own play."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrl_reward as jr
from jaxrl_reward import agents, deploy, training
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import playing
from jaxrl_reward.deploy import Policy
from jaxrl_reward.plugins import imports
from jaxrl_reward.rewards.core import registry
from jaxrl_reward.types import UserError

CARTPOLE, PENDULUM = "gymnax:CartPole-v1", "gymnax:Pendulum-v1"
SMALL = {"num_envs": 4, "num_steps": 4, "hidden": (8,)}
STORE = {"batch_size": 8, "learning_starts": 16, "buffer_size": 64}


def trained(name, env, reward=None, **settings):
    """An agent, and a state that is far from where it begins."""
    agent = agents.make(name, env, reward, **{**SMALL, **settings})
    state = jax.jit(agent.init)(jax.random.key(0))
    draw = np.random.default_rng(0)
    move = lambda x: x + 0.7 * draw.normal(size=x.shape).astype(x.dtype) * (x.ndim > 1)  # noqa: E731
    stats = state.obs_stats
    stats = stats.replace(count=jnp.int32(9), mean=stats.mean + 0.2, variance=stats.variance + 2.0)
    return agent, state.replace(params=jax.tree.map(move, state.params), obs_stats=stats)


CASES = {
    "mlp": ("ppo", CARTPOLE, "env", {"normalize_obs": True}),
    "gru": ("ppo", CARTPOLE, "env", {"network": "gru"}),
    "gru, continuous": ("ppo", PENDULUM, "env", {"network": "gru", "normalize_obs": True}),
    "memory": ("ppo", "grid:two_rooms", "marginal_gain('grid:two_rooms')", {"placement": "step"}),
    "memory and gru": (
        *("ppo", PENDULUM, "decaying_sum()"),
        {"placement": "step", "network": "gru"},
    ),
    "store": ("dqn", CARTPOLE, "decaying_sum()", {"placement": "step", **STORE}),
    "squashed": ("sac", PENDULUM, "env", STORE),
}


@pytest.fixture(scope="module", autouse=True)
def decaying_sum():
    """A reward whose memory is made of what the environment paid."""
    known = dict(registry._ENTRIES)

    @rw.register("decaying_sum")
    class DecayingSum(rw.Causal):
        """What was paid so far, the later the more."""

        def begin_one(self, shared, obs):
            return obs[0]

        def step(self, shared, total, transition):
            total = 0.5 * total + transition.env_reward + transition.next_obs[0]
            return total, total

        def view(self, total):
            return total[None]

    yield
    registry._ENTRIES.clear()
    registry._ENTRIES.update(known)


def played(agent, state, steps=6, key=None):
    """What the agent itself plays in 3 episodes, `[T, N, ...]`; the second begins anew at 3."""
    policy = agent.policy(state)
    begin = jax.jit(lambda keys: playing.begin(agent.env, policy, keys, jax.random.key(5)))
    step = jax.jit(lambda now, keys: playing.step(agent.env, policy, now, keys, key))
    now, seen = begin(jax.random.split(jax.random.key(1), 3)), []
    for i in range(steps):
        if i == 3:
            again = begin(jax.random.split(jax.random.key(2), 3))
            take = lambda x, y: y.at[1].set(x[1])  # noqa: E731
            now = jax.tree.map(take, again, now)
        now, transition = step(now, jax.random.split(jax.random.fold_in(jax.random.key(3), i), 3))
        seen.append(jax.device_get(transition))
    return seen


@pytest.mark.parametrize("case", CASES)
def test_it_acts_as_the_agent_does(case):
    name, env, reward, settings = CASES[case]
    agent, state = trained(name, env, reward, **settings)
    key = jax.random.key(9) if name == "ppo" else None
    policy, seen = Policy(agent, state), played(agent, state, key=key)
    assert policy.remembers is (case not in ("mlp", "squashed"))
    assert policy.paid is ("decaying" in reward)
    for i, each in enumerate(seen):
        if i == 3:
            policy.reset([False, True, False])
        paid = {"reward": seen[i - 1].env_reward} if i and policy.paid else {}
        action = policy(each.obs, key=key, **paid)
        np.testing.assert_allclose(action, each.action, rtol=1e-5, atol=1e-6)
    actions = np.stack([each.action for each in seen])
    assert len(np.unique(actions)) > (1 if actions.dtype.kind == "i" else 9)  # not at a bound
    # One alone is the first of many.
    policy.reset()
    many = policy(seen[0].obs)
    policy.reset()
    one = policy(seen[0].obs[0])
    assert one.shape == agent.env.action_space.shape and one.dtype == seen[0].action.dtype
    np.testing.assert_allclose(one, many[0], rtol=1e-5, atol=1e-6)


def test_a_drawn_action_is_that_of_its_key():
    agent, state = trained("ppo", PENDULUM)
    policy, obs = Policy(agent, state), np.ones((5, 3))
    key = jax.random.key(7)
    expected = agent.act(state, jnp.asarray(obs, jnp.float32), key)
    np.testing.assert_allclose(policy(obs, key=key), expected, rtol=1e-5, atol=1e-6)
    assert np.ptp(policy(obs, key=key)) > 0 == np.ptp(policy(obs))


def test_what_cannot_be_is_told_in_a_line():
    agent, state = trained("ppo", CARTPOLE, "decaying_sum()", placement="step")
    policy = Policy(agent, state)
    for obs in (np.ones(3), np.ones((2, 2, 4)), np.ones((0, 4)), ["a"] * 4, 1.0, [[1], [1, 2]]):
        with pytest.raises(UserError, match=r"takes numbers \[4\], or \[N, 4\] at once, not"):
            policy(obs)
    with pytest.raises(UserError, match="key=3 is no key"):
        policy(np.ones(4), key=3)
    policy.reset([True])  # nothing to begin anew yet
    policy(np.ones((2, 4)))
    with pytest.raises(UserError, match="remembers 2 episodes, and 3 observations came"):
        policy(np.ones((3, 4)), reward=1.0)
    with pytest.raises(UserError, match="give reward=, what the environment paid"):
        policy(np.ones((2, 4)))
    with pytest.raises(UserError, match=r"reward= must be a number or \[2\], not float64 \[3\]"):
        policy(np.ones((2, 4)), reward=np.ones(3))
    with pytest.raises(UserError, match=r"must be a number or \[2\], not <U1"):
        policy(np.ones((2, 4)), reward="a")
    with pytest.raises(UserError, match=r"reset takes \[2\] bool"):
        policy.reset([True])
    with pytest.raises(UserError, match="export takes a policy"):
        jr.export(agent, "policy.jax")
    with pytest.raises(UserError, match="batch must be at least 1"):
        jr.export(policy, "policy.jax", batch=0)


def test_a_memory_of_what_only_the_environment_knows_is_refused():
    agent, state = trained("ppo", "gymnax:CartPole-v1", "signal('discount')", placement="step")
    assert not Policy(agent, state).remembers  # it has no memory

    class Told(rw.Causal):
        def begin_one(self, shared, obs):
            return jnp.float32(0)

        def step(self, shared, total, transition):
            return total + transition.info["discount"], total

        def view(self, total):
            return total[None]

    agent, state = trained("ppo", "gymnax:CartPole-v1", Told(), placement="step")
    with pytest.raises(UserError, match=r"reads info\['discount'\]: that only the environment"):
        Policy(agent, state)


# ---- from a run ----------------------------------------------------------------------


PAIR = (lambda key, obs: {"w": jnp.ones((4, 3))}, lambda params, obs: obs @ params["w"])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two seeds with a network that has no name: its agent, folder and state."""
    agent = agents.make("ppo", CARTPOLE, network=PAIR, minibatches=1, **SMALL)
    how = {"seeds": 2, "seed": 5, "total_steps": 16, "evals": 1, "progress": False}
    out = tmp_path_factory.mktemp("runs") / "run"
    return agent, out, training.train(agent, out=out, **how).state


@pytest.mark.parametrize("seed,index", [(None, 0), (5, 0), (6, 1)])
def test_a_run_gives_the_policy_of_each_seed(run, seed, index):
    agent, out, state = run
    policy, obs = (
        jr.load(out, seed=seed, network=PAIR),
        np.random.default_rng(0).normal(size=(99, 4)),
    )
    expected = agent.act(training.select_seed(state, index), jnp.float32(obs))
    np.testing.assert_array_equal(policy(obs), expected)


def test_what_a_run_has_not_is_told_in_a_line(run):
    with pytest.raises(UserError, match="no seed 7; choose one from 5 to 6"):
        jr.load(run[1], seed=7, network=PAIR)
    with pytest.raises(UserError, match="'qqq'"):
        jr.load(run[1], arm="qqq")
    with pytest.raises(UserError, match=r"has no name, own .*: give it, network="):
        jr.load(run[1])


# ---- as a file -----------------------------------------------------------------------

STRANGER = """
    import sys

    class Nothing:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {blocked}:
                raise ImportError(name)

    sys.meta_path.insert(0, Nothing())
    import jax, numpy as np
    from jax import export

    policy = export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
    given = np.load(sys.argv[2])
    obs, rewards, first = given["obs"], given["reward"], given["first"]
    takes = jax.tree.unflatten(policy.in_tree, policy.in_avals)[0]
    act, actions = jax.jit(policy.call), []
    if len(takes) > 1:
        memory = [np.zeros((obs.shape[1], *each.shape[1:]), each.dtype) for each in takes[1]]
    for t in range(len(obs)):
        if len(takes) == 1:
            action = act(obs[t])
        else:
            action, memory = act(obs[t], memory, first[t], *[rewards[t]] * (len(takes) - 3))
        actions.append(action)
    np.save(sys.argv[3], np.stack(actions))
"""
BLOCKED = ("jaxrl_reward", "flax", "gymnax", "optax", "chex", "orbax", "brax", "pyarrow")


@pytest.mark.parametrize("case", ["mlp", "gru", "memory and gru", "squashed"])
def test_a_file_runs_in_a_process_that_has_jax_alone(case, tmp_path):
    name, env, reward, settings = CASES[case]
    agent, state = trained(name, env, reward, **settings)
    seen = played(agent, state)
    first = np.zeros((6, 3), bool)
    first[0], first[3, 1] = True, True
    obs = np.stack([each.obs for each in seen])
    paid = np.stack([np.zeros(3, np.float32), *[each.env_reward for each in seen[:-1]]])
    np.savez(tmp_path / "given.npz", obs=obs, reward=paid, first=first)
    file = jr.export(Policy(agent, state), tmp_path / "deep" / "policy.jax")
    code = textwrap.dedent(STRANGER).format(blocked=BLOCKED)
    words = [sys.executable, "-c", code, file, tmp_path / "given.npz", tmp_path / "out.npy"]
    known = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    subprocess.run(words, check=True, timeout=100, env=known, cwd=tmp_path)
    expected = np.stack([each.action for each in seen])
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-4, atol=1e-5)


def test_a_file_of_drawn_actions_takes_a_key(tmp_path):
    agent, state = trained("ppo", PENDULUM)
    policy, obs, key = Policy(agent, state), np.ones((5, 3), np.float32), jax.random.key(7)
    file = jr.export(policy, tmp_path / "policy.jax", sampled=True, platforms=("cpu",))
    found = jax.export.deserialize(bytearray(file.read_bytes())).call(obs, key)
    np.testing.assert_allclose(found, policy(obs, key=key), rtol=1e-5, atol=1e-6)


def test_a_file_of_one_batch_takes_that_alone(tmp_path):
    policy = Policy(*trained("dqn", CARTPOLE, **STORE))
    file = jr.export(policy, tmp_path / "policy.jax", batch=2)
    made = jax.export.deserialize(bytearray(file.read_bytes()))
    assert made.platforms == deploy.exporting.PLATFORMS
    np.testing.assert_array_equal(made.call(np.ones((2, 4), np.float32)), policy(np.ones((2, 4))))
    with pytest.raises(ValueError, match="Shape mismatch"):
        made.call(np.ones((3, 4), np.float32))
    with pytest.raises(UserError, match="export has no platform 'tpuu', did you mean 'tpu'"):
        jr.export(policy, tmp_path / "policy.jax", platforms=("tpuu",))


TERM = """
from jaxrl_reward import rewards as rw

@rw.register("a_third")
@rw.pointwise
def a_third(transition):
    return transition.env_reward / 3
"""


def test_what_the_run_imported_is_imported_again(registers, tmp_path, monkeypatch):
    mine = tmp_path / "mine.py"
    mine.write_text(TERM)
    known, loaded = dict(registry._ENTRIES), dict(imports._LOADED)
    jr.imports.load(str(mine))
    agent = agents.make("ppo", CARTPOLE, "a_third()", num_envs=2, num_steps=8, hidden=(4,))
    training.train(agent, total_steps=16, evals=1, progress=False, out=tmp_path / "run")
    monkeypatch.setattr(registry, "_ENTRIES", known)  # as in another process
    monkeypatch.setattr(imports, "_LOADED", loaded)
    with pytest.warns(UserWarning, match=f"^imports {mine}, as .*run says"):
        assert jr.load(tmp_path / "run")(np.zeros(4)) in (0, 1)
    monkeypatch.setattr(registry, "_ENTRIES", known)
    monkeypatch.setattr(imports, "_LOADED", {})
    mine.rename(tmp_path / "moved.py")
    with pytest.raises(UserError, match=f"^{mine}, which .* is not there any more"):
        jr.load(tmp_path / "run")
