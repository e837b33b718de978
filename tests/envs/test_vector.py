"""N environments: true successors, exact accounts, and resets that cost and change nothing."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import environment, spaces

from jaxrl_reward import envs
from jaxrl_reward.envs.vector import MANY, any_anywhere
from jaxrl_reward.types import UserError

# XLA's optimisations cost more than they save on a few steps.
QUICK = {"xla_backend_optimization_level": 0}

# ---- an environment whose episodes differ in everything ----------------------------------


@struct.dataclass
class DriftState:
    time: jax.Array
    end: jax.Array  # when the task ends
    place: jax.Array
    key: jax.Array  # a typed key in the state must survive a reset


@struct.dataclass
class DriftParams(environment.EnvParams):
    max_steps_in_episode: int = 4
    shortest: int = 1
    longest: int = 6


class Drift(environment.Environment):
    """A random start, a random length (often the clock's) and random steps."""

    @property
    def default_params(self):
        return DriftParams()

    def reset_env(self, key, params):
        place = jax.random.uniform(key, (2,))
        lengths = params.longest + 1 - params.shortest
        end = params.shortest + jnp.int32(1e3 * place[0]) % lengths
        return place, DriftState(jnp.int32(0), end, place, key)

    def step_env(self, key, state, action, params):
        drift = jax.random.uniform(key, (2,), minval=-1.0)
        place = state.place + drift + action
        after = DriftState(state.time + 1, state.end, place, state.key)
        return place, after, place.sum(), after.time >= state.end, {"drift": drift}

    def is_truncated(self, state, params):  # its end is the task's, whatever counts the time
        return state.time >= params.max_steps_in_episode

    def observation_space(self, params):
        return spaces.Box(-jnp.inf, jnp.inf, (2,))

    def action_space(self, params=None):
        return spaces.Discrete(2)


@functools.cache
def drift(**params):
    """The same environment for the same arguments, so that its programs are reused."""
    return envs.Env("test:drift", Drift(), DriftParams(**params))


# ---- playing it, and playing it by hand --------------------------------------------------


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def inputs(env, key, steps, num_envs):
    """Step keys `[T, N]` and random actions `[T, N, ...]`."""
    key_steps, key_actions = jax.random.split(key)
    sample = jax.vmap(jax.vmap(env.action_space.sample))
    shape = (steps, num_envs)
    return jax.random.split(key_steps, shape), sample(jax.random.split(key_actions, shape))


def play(vector, key, steps, force=None):
    """`steps` random steps; `force` overwrites which spares count as used."""
    key_init, key_inputs = jax.random.split(key)

    def step(state, given):
        if force is not None:
            state = state.replace(used=jnp.full_like(state.used, force))
        state, transition, stats = vector.step(state, *given)
        return state, (transition, stats, state.obs)

    given = inputs(vector.env, key_inputs, steps, vector.num_envs)
    return jax.lax.scan(step, vector.init(key_init), given)[1]


@functools.cache
def played(env, num_envs, steps, reset="fresh", force=None):
    vector = envs.vectorize(env, num_envs, reset)
    return jax.jit(lambda key: play(vector, key, steps, force), compiler_options=QUICK)


@functools.cache
def single(env):
    return [jax.jit(f, compiler_options=QUICK) for f in (env.reset, env.step)]


def by_hand(env, num_envs, key, steps, reset="fresh"):
    """The same with Python loops over single environments, reset as soon as they end."""
    key_init, key_inputs = jax.random.split(key)
    keys, actions = inputs(env, key_inputs, steps, num_envs)
    start, step = single(env)
    rows = {}
    for i, key_env in enumerate(jax.random.split(key_init, num_envs)):
        episode, first, total, length = 0, True, np.float32(0), 0
        obs, state = start(jax.random.fold_in(key_env, 0))
        for t in range(steps):
            next_obs, state, reward, terminated, truncated, _ = step(
                keys[t, i], state, actions[t, i]
            )
            total, length = total + np.float32(reward), length + 1
            last = bool(terminated | truncated)
            rows[t, i] = (obs, next_obs, reward, terminated, truncated, first, last, total, length)
            obs, first = next_obs, last
            if last:
                episode, total, length = episode + 1, np.float32(0), 0
                number = 0 if reset == "cached" else episode
                obs, state = start(jax.random.fold_in(key_env, number))
    columns = zip(*(rows[t, i] for t in range(steps) for i in range(num_envs)), strict=True)
    return [np.stack([np.asarray(x) for x in column]) for column in columns]


def assert_as_by_hand(env, num_envs, steps, reset="fresh", seed=0):
    key = jax.random.key(seed)
    t, stats, _ = played(env, num_envs, steps, reset)(key)
    got = (t.obs, t.next_obs, t.env_reward, t.terminated, t.truncated, t.first)
    got = [*got, stats.ended, stats.total, stats.length]
    hand = by_hand(env, num_envs, key, steps, reset)
    names = [
        "obs",
        "next_obs",
        "reward",
        "terminated",
        "truncated",
        "first",
        "ended",
        "total",
        "length",
    ]
    assert hand[6].sum() > 2 * num_envs  # the spares have been used up
    for name, ours, theirs in zip(names, got, hand, strict=True):
        ours = np.asarray(ours).reshape(theirs.shape)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=name)


# ---- the same as plain loops -------------------------------------------------------------


@pytest.mark.parametrize("reset", ["fresh", "cached"])
@pytest.mark.parametrize("num_envs", [1, 3])
def test_equals_single_environments_reset_at_once(num_envs, reset):
    assert_as_by_hand(drift(), num_envs, 32, reset)


def test_episodes_of_length_one():
    env = drift(shortest=1, longest=1)
    assert_as_by_hand(env, 3, 8)
    t, stats, _ = played(env, 3, 8)(jax.random.key(0))
    assert stats.ended.all() and t.first.all() and (stats.length == 1).all()
    assert len(np.unique(t.obs[..., 0])) == t.first.size  # every one starts anew


def test_equals_single_environments_of_gymnax():
    assert_as_by_hand(envs.make("gymnax:CartPole-v1,max_steps_in_episode=12"), 2, 48)


def test_an_end_has_its_true_successor_and_then_a_first():
    t, _, seen = played(drift(), 3, 32)(jax.random.key(1))
    t, seen = jax.tree.map(np.asarray, (t, seen))
    np.testing.assert_array_equal(t.first[0], True)
    np.testing.assert_array_equal(t.first[1:], t.last[:-1])
    np.testing.assert_array_equal(t.obs[1:], seen[:-1])
    inside = ~t.last[:-1]
    np.testing.assert_array_equal(t.obs[1:][inside], t.next_obs[:-1][inside])
    assert (t.obs[1:] != t.next_obs[:-1])[~inside].all()
    # Every step by hand: a reset's observation would not fit.
    moved = t.info["drift"] + t.action[..., None]
    np.testing.assert_allclose(t.next_obs - t.obs, moved, atol=1e-5)
    assert (t.terminated & ~t.truncated).any() and (t.truncated & ~t.terminated).any()
    assert (t.terminated & t.truncated).any()
    np.testing.assert_array_equal(t.reward, t.env_reward)
    assert t.policy == {}


def test_returns_and_lengths_add_up_over_an_episode():
    t, stats, _ = played(drift(), 3, 32)(jax.random.key(2))
    for i in range(3):
        begin = 0
        for end in np.flatnonzero(np.asarray(stats.ended[:, i])):
            rewards = np.asarray(t.env_reward[begin : end + 1, i])
            np.testing.assert_allclose(stats.total[end, i], rewards.sum(), rtol=1e-5)
            assert stats.length[end, i] == len(rewards) <= 4
            begin = end + 1
    chex.assert_type([stats.ended, stats.total, stats.length], [bool, jnp.float32, jnp.int32])


# ---- initial states ----------------------------------------------------------------------


def test_fresh_initial_states_all_differ():
    t, _, _ = played(drift(), 3, 32)(jax.random.key(3))
    starts = np.asarray(t.obs)[np.asarray(t.first)]
    assert len(starts) > 20 and len(np.unique(starts, axis=0)) == len(starts)


def test_cached_initial_states_are_those_of_the_first_episode():
    t, _, _ = played(drift(), 3, 32, "cached")(jax.random.key(3))
    for i in range(3):
        starts = np.asarray(t.obs[:, i])[np.asarray(t.first[:, i])]
        assert len(starts) > 5
        np.testing.assert_array_equal(starts, np.broadcast_to(t.obs[0, i], starts.shape))
    assert len(np.unique(t.obs[0], axis=0)) == 3


def test_the_time_of_a_refill_changes_nothing():
    key = jax.random.key(4)
    usual = played(drift(), 3, 32)(key)
    always = played(drift(), 3, 32, force=True)(key)  # refills whenever an episode ends
    chex.assert_trees_all_equal(usual, always)
    never = played(drift(), 3, 32, force=False)(key)  # spares run out, so this test can fail
    assert not np.array_equal(usual[0].obs, never[0].obs)


def test_a_refill_waits_until_a_used_spare_is_needed():
    vector = envs.vectorize(drift(shortest=2, longest=2), 2)
    state = jax.jit(vector.init, compiler_options=QUICK)(jax.random.key(0))
    step, used = jax.jit(vector.step, compiler_options=QUICK), []
    for t in range(6):
        before = state.spare
        keys = jax.random.split(jax.random.key(t), 2)
        state, _, _ = step(state, keys, jnp.zeros(2, jnp.int32))
        renewed = not np.array_equal(before[0], state.spare[0])
        used.append((renewed, state.used.tolist()))
    fresh, taken = [False, False], [True, True]
    # Ends at steps 2, 4, 6: the first takes the spares, the others find them used.
    expected = [(False, fresh), (False, taken), (False, taken)]
    assert used == [*expected, (True, taken), (False, taken), (True, taken)]


# ---- under vmap --------------------------------------------------------------------------


@pytest.mark.parametrize("reset", ["fresh", "cached"])
def test_seeds_side_by_side_equal_single_runs(reset):
    keys = jax.random.split(jax.random.key(5), 2)
    run = played(drift(), 3, 32, reset)
    vector = envs.vectorize(drift(), 3, reset)
    side_by_side = jax.vmap(lambda key: play(vector, key, 32))
    together = jax.jit(side_by_side, compiler_options=QUICK)(keys)
    for seed, key in enumerate(keys):
        alone = run(key)
        for one, many in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_allclose(one, many[seed], rtol=1e-5, atol=1e-6)


def primitives(jaxpr, inside=False):
    """Every primitive with whether it lies within a branch, or in a loop that may not run."""
    for equation in jaxpr.eqns:
        branching = equation.primitive.name in ("cond", "while")
        yield equation.primitive.name, inside
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else (value,):
                part = getattr(part, "jaxpr", part)
                if hasattr(part, "eqns"):
                    yield from primitives(part, inside or branching)


@pytest.mark.parametrize("maps", [0, 1, 2])
@pytest.mark.parametrize("num_envs", [2, MANY])
@pytest.mark.parametrize("reset", ["fresh", "cached"])
def test_resets_stay_behind_a_real_branch(reset, num_envs, maps):
    """A batched predicate would make a select of a `cond` or a loop, which resets at every step."""
    vector = envs.vectorize(envs.make("gymnax:CartPole-v1"), num_envs, reset)
    init, step, shape = vector.init, vector.step, (3, 2)[:maps]
    for _ in range(maps):
        init, step = jax.vmap(init), jax.vmap(step)
    keys = jax.random.split(jax.random.key(1), (*shape, num_envs))
    state = jax.eval_shape(init, keys[..., 0])
    actions = jnp.zeros((*shape, num_envs), jnp.int32)
    found = list(primitives(jax.make_jaxpr(step)(state, keys, actions).jaxpr))
    branches = [each for each in found if each[0] in ("cond", "while")]
    draws = [inside for name, inside in found if name in ("random_bits", "random_fold_in")]
    if reset == "cached":
        assert branches == [] and draws == []
        return
    assert branches == [("cond" if num_envs < MANY else "while", False)]
    assert len(draws) >= 2 and all(draws)
    if num_envs < MANY:
        assert jax.jit(step).lower(state, keys, actions).as_text().count("stablehlo.case") == 1
    else:  # once before the loop, once in what it asks for; searches ask for something else
        assert [name for name, _ in found].count("reduce_or") == 2


@pytest.mark.parametrize("num_envs", [24, MANY, 100])
def test_used_spares_are_refilled_a_few_at_once(num_envs):
    """More than fit at once, and a number that eighths do not divide; the others stay."""
    vector = envs.vectorize(drift(), num_envs)
    state = jax.jit(vector.init, compiler_options=QUICK)(jax.random.key(6))
    used = jax.random.bernoulli(jax.random.key(7), 0.7, (num_envs,)).at[0].set(True)
    assert num_envs // 8 < used.sum() < num_envs
    state = state.replace(used=used, resets=state.resets + used)
    given_up = jnp.zeros(num_envs, bool).at[0].set(True)  # whose spare is used
    after = jax.jit(vector.restart, compiler_options=QUICK)(state.replace(first=~given_up))
    again = jax.jit(jax.vmap(vector.env.reset), compiler_options=QUICK)(
        jax.vmap(jax.random.fold_in)(state.keys, state.resets)
    )
    expected = jax.tree.map(
        lambda new, old: np.where(used.reshape(-1, *(1,) * (old.ndim - 1)), new, old),
        (again[0], again[1].place),
        (state.spare[0], state.spare[1].place),
    )
    chex.assert_trees_all_equal((after.spare[0], after.spare[1].place), expected)
    np.testing.assert_array_equal(after.used, given_up)
    np.testing.assert_array_equal(after.obs[0], again[0][0])


def test_any_anywhere_crosses_mapped_axes():
    x = jnp.zeros((2, 3, 4), bool)
    both = jax.jit(jax.vmap(jax.vmap(any_anywhere)))
    assert not both(x).any()
    np.testing.assert_array_equal(both(x.at[1, 2, 3].set(True)), np.ones((2, 3), bool))


# ---- shapes and arguments ----------------------------------------------------------------


@pytest.mark.parametrize("reset", ["fresh", "cached"])
@pytest.mark.parametrize("name", ["gymnax:CartPole-v1", "gymnax:Pendulum-v1", "probe:both"])
def test_a_scan_can_carry_the_state(name, reset):
    env = envs.make(name)
    vector = envs.vectorize(env, 3, reset)
    state = jax.eval_shape(vector.init, jax.random.key(0))
    keys = jax.random.split(jax.random.key(0), 3)
    action = jax.vmap(env.action_space.sample)(keys)
    after, transition, _ = jax.eval_shape(vector.step, state, keys, action)

    def types(tree):
        return [(x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(tree)]

    assert types(state) == types(after)
    assert state.obs.shape == (3, *env.observation_space.shape) == transition.next_obs.shape
    assert all(x.shape[0] == 3 for x in jax.tree.leaves(transition))


def test_a_vectorised_environment_is_a_value():
    env = drift()
    assert envs.vectorize(env, 2) == envs.vectorize(env, 2) != envs.vectorize(env, 3)
    assert hash(envs.vectorize(env, 2)) == hash(envs.vectorize(env, 2))


def test_bad_arguments_are_refused():
    with pytest.raises(UserError, match="num_envs must be at least 1, not 0"):
        envs.vectorize(drift(), 0)
    with pytest.raises(UserError, match="unknown reset 'frsh', did you mean 'fresh'"):
        envs.vectorize(drift(), 2, "frsh")
