"""What agents share: playing, evaluating, shuffling, bounds."""

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import environment, spaces
from scipy import stats

from jaxrl_reward import agents, envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import policies
from jaxrl_reward.agents.common.playing import (
    EVALUATION_STEPS,
    begin,
    evaluate,
    step,
    tells_success,
)
from jaxrl_reward.agents.common.rollout import (
    Player,
    Rollout,
    ended,
    flatten,
    player,
    policy_input,
    shuffle,
)
from jaxrl_reward.agents.on_policy import ppo
from jaxrl_reward.agents.shells.shell import Learner
from jaxrl_reward.types import Transition, UserError

# ---- an environment that can be followed by hand -------------------------------------


@struct.dataclass
class WalkState(environment.EnvState):
    position: jax.Array


@struct.dataclass
class WalkParams(environment.EnvParams):
    max_steps_in_episode: int = 5
    goal: float = 3.0


class Walk(environment.Environment):
    """Action 1 walks on, 0 stays; each step pays the new position; the goal ends it."""

    @property
    def default_params(self):
        return WalkParams()

    def reset_env(self, key, params):
        state = WalkState(time=jnp.int32(0), position=jax.random.uniform(key, (), maxval=0.5))
        return state.position[None], state

    def step_env(self, key, state, action, params):
        state = WalkState(time=state.time + 1, position=state.position + action)
        return state.position[None], state, state.position, state.position >= params.goal, {}

    def observation_space(self, params):
        return spaces.Box(-jnp.inf, jnp.inf, (1,))

    def action_space(self, params=None):
        return spaces.Discrete(2)


def walk(**params):
    return envs.Env("test:walk", Walk(), WalkParams(**params))


class Seen(rw.Causal):
    """The largest observation of the episode so far, which the policy may see."""

    def begin_one(self, shared, obs):
        return obs[0]

    def step(self, shared, local, transition):
        best = jnp.maximum(local, transition.next_obs[0])
        return best, best - local

    def view(self, local):
        return local[None]


class Acting(Learner):
    """Acts by a function of inputs and noise."""

    def __init__(self, choose):
        super().__init__(None, None)
        object.__setattr__(self, "choose", choose)

    def noise(self, state, key, shape):
        return jax.random.uniform(key, shape)

    def act(self, state, memory, inputs, first, noise):
        return memory, self.choose(inputs, noise), (noise,)

    def policy_info(self, state, inputs, extra):
        zeros = jnp.zeros(inputs.shape[:-1])
        return {"log_prob": zeros, "entropy": zeros, "value": zeros}


def walk_or_stay(inputs, noise):
    """A policy that ignores what it sees."""
    return (noise > 0.4).astype(jnp.int32)


def played(placement, steps=24, num_envs=3, reward=None, seed=0):
    env, reward = walk(), Seen() if reward is None else reward
    made = Player(env, envs.vectorize(env, num_envs), placement)
    key_env, key_noise, key_step = jax.random.split(jax.random.key(seed), 3)
    env_state = made.vector.init(key_env)
    reward_state = reward.init(jax.random.key(1), made.example(num_envs, steps))
    noise = jax.random.uniform(key_noise, (steps, num_envs))
    keys = jax.random.split(key_step, (steps, num_envs))

    @jax.jit
    def collect(env_state, reward_state):
        state = SimpleNamespace(reward=reward, reward_state=reward_state, env_state=env_state)
        return made.rollout(state, Acting(walk_or_stay), (), noise, keys)

    return env_state, collect(env_state, reward_state)


# ---- playing ---------------------------------------------------------------------------


def test_both_placements_give_the_same_block_and_rewards():
    """For a causal reward, and a policy that does not look at its memory."""
    _, (_, state_block, block) = played("block")
    _, (_, state_step, step) = played("step")
    jax.tree.map(np.testing.assert_array_equal, block.block, step.block)
    jax.tree.map(np.testing.assert_array_equal, state_block, state_step)
    assert np.abs(block.block.reward).sum() > 1.0
    assert block.inputs.shape == (24, 3, 1)
    assert step.inputs.shape == step.next_inputs.shape == (24, 3, 2)


def test_the_policy_sees_the_memory_of_its_own_episode():
    env_state, (_, _, step) = played("step")
    block = jax.tree.map(np.asarray, step.block)
    assert block.last.any() and block.terminated.any() and block.truncated.any()
    best = np.asarray(env_state.obs)[:, 0]
    for t in range(block.first.shape[0]):
        best = np.where(block.first[t], block.obs[t, :, 0], best)
        np.testing.assert_allclose(step.inputs[t, :, 1], best, rtol=1e-6)
        # After the step and before any reset: what V(next_obs) must be given.
        best = np.maximum(best, block.next_obs[t, :, 0])
        np.testing.assert_allclose(step.next_inputs[t, :, 1], best, rtol=1e-6)


def test_next_inputs_continue_as_inputs_except_after_an_ending():
    for placement in ("block", "step"):
        _, (_, _, rollout) = played(placement)
        same = np.isclose(rollout.next_inputs[:-1], rollout.inputs[1:]).all(-1)
        np.testing.assert_array_equal(same, ~np.asarray(rollout.block.last)[:-1])


def test_a_block_is_a_plain_loop_over_the_environments():
    env_state, (final, _, rollout) = played("block")
    block = jax.tree.map(np.asarray, rollout.block)
    position, age, total = np.asarray(env_state.obs)[:, 0], np.zeros(3), np.zeros(3)
    for t in range(block.first.shape[0]):
        np.testing.assert_allclose(block.obs[t, :, 0], position, rtol=1e-6)
        position, age = position + block.action[t], age + 1
        total += position
        np.testing.assert_allclose(block.next_obs[t, :, 0], position, rtol=1e-6)
        np.testing.assert_allclose(block.env_reward[t], position, rtol=1e-6)
        np.testing.assert_array_equal(block.terminated[t], position >= 3.0)
        np.testing.assert_array_equal(block.truncated[t], age >= 5)
        over = block.last[t]
        np.testing.assert_array_equal(rollout.episodes.ended[t], over)
        np.testing.assert_allclose(rollout.episodes.total[t][over], total[over], rtol=1e-5)
        np.testing.assert_array_equal(rollout.episodes.length[t][over], age[over])
        later = block.obs[t + 1, :, 0] if t + 1 < block.first.shape[0] else final.obs[:, 0]
        position, age, total = np.where(over, [later, 0 * age, 0 * total], [position, age, total])


def test_metrics_of_ended_episodes_are_sums_by_hand():
    rng = np.random.default_rng(0)
    for trial in range(20):
        reward = rng.normal(size=(7, 3)).astype(np.float32)
        last = rng.random((7, 3)) < (0.0 if trial == 0 else 0.25)
        running = rng.normal(size=3).astype(np.float32)
        total = rng.normal(size=(7, 3)).astype(np.float32)
        block = Transition(*8 * [None]).replace(reward=reward)  # type: ignore[arg-type]
        stats = envs.EpisodeStats(last, total, np.full((7, 3), 4, np.int32))
        rollout = Rollout(block, None, None, None, stats, {})
        after, metrics = ended(rollout, running)
        totals, now = [], running.copy()
        for t in range(7):
            now += reward[t]
            totals += now[last[t]].tolist()
            now = np.where(last[t], 0.0, now)
        np.testing.assert_allclose(after, now, rtol=1e-4, atol=1e-5)
        episode = metrics["episode_reward"]
        np.testing.assert_allclose(episode.total, np.sum(totals), rtol=1e-4, atol=1e-5)
        assert episode.count == metrics["episode_return"].count == last.sum()
        np.testing.assert_allclose(metrics["episode_return"].total, total[last].sum(), rtol=1e-4)
        assert metrics["episode_length"].total == 4 * last.sum()
        np.testing.assert_allclose(metrics["reward"].total / 21, reward.mean(), atol=1e-5)


# ---- evaluating ------------------------------------------------------------------------


def evaluated(placement, choose, episodes=6, env=None, reward=None):
    """Returns and lengths, and success where the environment tells it."""
    env, reward = walk() if env is None else env, Seen() if reward is None else reward
    made = Player(env, envs.vectorize(env, 2), placement)
    reward_state = reward.init(jax.random.key(1), made.example(2, 4))
    state = SimpleNamespace(reward=reward, reward_state=reward_state)
    policy = policies.of(made, Acting(choose), state)
    run = jax.jit(lambda key: evaluate(env, policy, key, episodes))
    found = run(jax.random.key(0))
    return found if tells_success(env) else found[:2]


def test_evaluation_pays_the_environments_reward_of_one_episode_each():
    def always(inputs, noise):
        assert noise is None
        return jnp.ones(inputs.shape[0], jnp.int32)

    total, length = evaluated("block", always, reward=100.0 * Seen())
    # From x in [0, 0.5): x + 1, x + 2, x + 3, which is beyond the goal.
    np.testing.assert_array_equal(length, 3)
    assert np.all((total >= 6.0) & (total < 7.5)) and np.ptp(total) > 0.1


def test_evaluation_stops_at_the_time_limit_of_each_episode():
    def mixed(inputs, noise):
        return (jnp.arange(inputs.shape[0]) % 2).astype(jnp.int32)

    total, length = evaluated("block", mixed)
    np.testing.assert_array_equal(length, [5, 3, 5, 3, 5, 3])
    # Those that stay earn 5 x for their start x in [0, 0.5), and nothing afterwards.
    assert np.all(total[::2] < 2.5) and np.all(total[1::2] >= 6.0)


def test_evaluation_tells_success_of_a_step_before_the_end():
    class Late(Walk):
        def step_env(self, key, state, action, params):
            *rest, _ = super().step_env(key, state, action, params)
            return *rest, {"success": (rest[1].time == 4).astype(jnp.float32)}

    def mixed(inputs, noise):
        return (jnp.arange(inputs.shape[0]) % 2).astype(jnp.int32)

    env = envs.Env("test:late", Late(), WalkParams())
    _, length, success = evaluated("block", mixed, env=env)
    # Those that walk end at step 3, and what is told of the steps behind that is not theirs.
    np.testing.assert_array_equal(length, [5, 3, 5, 3, 5, 3])
    np.testing.assert_array_equal(success, [True, False, True, False, True, False])
    assert not tells_success(walk())


def test_evaluation_shows_the_memory_from_the_first_step_on():
    def until_one(inputs, noise):
        # The memory is the largest position: walk once, then stay.
        np.testing.assert_equal(inputs.shape[-1], 2)
        return (inputs[:, 1] < 1.0).astype(jnp.int32)

    total, length = evaluated("step", until_one)
    np.testing.assert_array_equal(length, 5)
    assert np.all((total >= 5.0) & (total < 7.5))


def test_evaluation_without_a_time_limit_is_cut():
    class Endless(Walk):
        def is_truncated(self, state, params):
            return jnp.zeros((), bool)

    env = envs.Env("test:endless", Endless(), WalkParams(max_steps_in_episode=None))
    stay = lambda inputs, noise: jnp.zeros(inputs.shape[0], jnp.int32)  # noqa: E731
    _, length = evaluated("block", stay, env=env)
    np.testing.assert_array_equal(length, EVALUATION_STEPS)


# ---- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    "text,message",
    [
        (
            "stack(env, 1)",
            "ppo needs one number a step, and stack(env, 1) gives 2: add a scalariser",
        ),
        ("env + whole_episodes()", "ppo plays fixed blocks, and"),  # unless it is asked to
    ],
)
def test_rewards_that_do_not_fit_are_refused(text, message):
    class Whole(rw.Episodic):
        name = "whole_episodes"

    reward = rw.env() + Whole() if "whole" in text else rw.parse(text)
    with pytest.raises(UserError) as error:
        player("ppo", ppo.Config(), walk(), reward)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("which", "space", "kind"),
    [
        ("observation_space", spaces.Space(), "Space"),
        ("action_space", spaces.Dict({"a": spaces.Discrete(2)}), "Dict"),
    ],
)
def test_spaces_that_do_not_fit_are_refused(which, space, kind):
    odd = type("Odd", (Walk,), {which: lambda self, params=None: space})
    env = envs.Env("test:odd", odd(), WalkParams())
    with pytest.raises(UserError, match=rf"^ppo needs .*Box.*; test:odd has {kind}$"):
        player("ppo", ppo.Config(), env, rw.env())


def test_there_must_be_something_to_observe():
    blind = type("Blind", (Walk,), {"observation_space": lambda *_: spaces.Box(-1.0, 1.0, (0,))})
    with pytest.raises(UserError, match="ppo needs at least one number to observe; test:blind"):
        player("ppo", ppo.Config(), envs.Env("test:blind", blind(), WalkParams()), rw.env())


# ---- shapes ----------------------------------------------------------------------------


def test_flat_inputs():
    obs = jnp.arange(24, dtype=jnp.uint8).reshape(2, 3, 2, 2)
    assert flatten(obs, 2).shape == (2, 3, 4) and flatten(obs, 2).dtype == jnp.float32
    assert flatten(obs[..., 0, 0], 2).shape == (2, 3, 1)
    both = policy_input(obs, jnp.full((2, 3, 2), 7.0))
    np.testing.assert_array_equal(both[0, 1], [4, 5, 6, 7, 7, 7])


class Picture(Walk):
    """Images to look at, and a continuous step."""

    def reset_env(self, key, params):
        state = super().reset_env(key, params)[1]
        return jnp.zeros((10, 10, 4)), state

    def step_env(self, key, state, action, params):
        _, state, reward, ended, info = super().step_env(key, state, action[0], params)
        return jnp.zeros((10, 10, 4)), state, reward, ended, info

    def observation_space(self, params):
        return spaces.Box(0.0, 1.0, (10, 10, 4))

    def action_space(self, params=None):
        return spaces.Box(-1.0, 1.0, (1,))


IMAGES = envs.Env("test:picture", Picture(), WalkParams())
WRITERS = ("group_pg", "pair_pg")
PLAYERS = [x for x in agents.names() if not agents.learns_from_data(x) and x not in WRITERS]


@pytest.mark.parametrize("name", PLAYERS)
def test_an_agent_sees_images_as_flat(name):
    """Shapes alone: nothing is compiled."""
    for placement in ("step",) if name == "eta" else ("block", "step"):
        env = IMAGES if name == "td3" else "gymnax:Breakout-MinAtar"
        agent = agents.make(name, env, "delay(2)", placement=placement)
        state = jax.eval_shape(agent.init, jax.random.key(0))
        after, _ = jax.eval_shape(agent.iterate, state)
        stock = 2 * (name == "eta")  # it is seen in two ways
        seen = stock + (placement == "step") * width(agent)
        assert after.obs_stats.mean.shape[0] == 400 + seen
        action = jax.eval_shape(agent.act, state, jnp.zeros((3, *after.obs_stats.mean.shape)))
        assert action.shape == (3, *agent.env.action_space.shape)


@pytest.mark.parametrize("name", agents.names())
def test_a_policy_remembers_as_much_after_a_step_as_before(name):
    """So that any loop can play it; with a memory of its own, and seeing the reward's."""
    discrete = dict.fromkeys(("cql", "dqn", "eta"), "gymnax:CartPole-v1")
    env = dict.fromkeys(WRITERS, "sequence:copy") | discrete
    settings = {"ppo": {"network": "gru", "placement": "step"}, "subpo": {"placement": "step"}}
    settings |= {"dqn": {"placement": "step"}, "td3": {"placement": "step"}}
    reward = "env + delay(2)" + " | dpo()" * (name == "pair_pg")
    made = agents.make(name, env.get(name, "gymnax:Pendulum-v1"), reward, **settings.get(name, {}))

    def start(key):
        state = made.prepare_eval(made.init(key), key)
        return state, begin(made.env, made.policy(state), jax.random.split(key, 3), key)

    state, now = jax.eval_shape(start, jax.random.key(0))
    key, keys = jax.random.key(0), jax.random.split(jax.random.key(0), 3)
    for key_act in (None, key):
        play = lambda state, now, k=key_act: step(made.env, made.policy(state), now, keys, k)  # noqa: E731
        after, seen = jax.eval_shape(play, state, now)
        shapes = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)  # noqa: E731
        assert shapes(after) == shapes(now)
        assert seen.action.shape == (3, *made.env.action_space.shape)
    act = jax.eval_shape(made.frozen, state)
    assert jax.tree.structure(act.params) == jax.tree.structure(state.params)


def width(agent):
    """Of what the policy sees of the reward's memory."""
    example = agent.init.__self__.player.example(1, 1)
    view = lambda: agent.reward.observe(agent.reward.init(jax.random.key(0), example).local)  # noqa: E731
    return jax.eval_shape(view).shape[-1]


# ---- shuffling -------------------------------------------------------------------------

SIZES = [1, 2, 7, 63, 64, 96, 500, 512, 997, 1000, 1024, 4096, 2 * 3011, 10_000]


@pytest.mark.parametrize("size", SIZES)
def test_a_shuffle_is_a_permutation(size):
    for seed in range(3):
        order = np.asarray(shuffle(jax.random.key(seed), size))
        np.testing.assert_array_equal(np.sort(order), np.arange(size))


def test_a_large_shuffle_is_a_permutation():
    order = np.asarray(jax.jit(lambda key: shuffle(key, 1024 * 128))(jax.random.key(0)))
    np.testing.assert_array_equal(np.sort(order), np.arange(1024 * 128))


def mixing(orders, minibatches=4):
    """p-values of tests that pass for uniformly random permutations `[K, n]`."""
    count, n = orders.shape
    bins = n // minibatches
    position = np.argsort(orders, axis=1)
    part = position // bins
    result = {}
    # Each index lands in each minibatch equally often.
    seen = np.stack([(part == m).sum(0) for m in range(minibatches)])
    result["minibatch"] = stats.chisquare(seen, axis=0).pvalue
    # Indices at any distance (neighbours in time, in environment) share a minibatch
    # as often as chance has it.
    chance = (bins - 1) / (n - 1)
    for distance in (1, 2, 16, 32, 64):
        together = (part == np.roll(part, distance, axis=1)).sum(0)
        expected = np.stack([together, count - together]), count * np.array([chance, 1 - chance])
        result[f"distance {distance}"] = stats.chisquare(
            expected[0], np.broadcast_to(expected[1][:, None], expected[0].shape), axis=0
        ).pvalue
    # The step from one index to the next is uniform, as is the first index.
    step = (orders[:, 1:] - orders[:, :-1]) % n
    seen = np.bincount(step.ravel(), minlength=n)[1:]
    result["step"] = np.atleast_1d(stats.chisquare(seen).pvalue)
    result["first"] = np.atleast_1d(stats.chisquare(np.bincount(orders[:, 0], minlength=n)).pvalue)
    # Two epochs are unrelated.
    rank = [stats.spearmanr(a, b).pvalue for a, b in itertools.pairwise(orders[:201])]
    result["two epochs"] = np.array(rank)
    return result


def uniform(pvalues):
    """Whether p-values look like draws from [0, 1]: none tiny, and few small."""
    small = stats.binom.ppf(0.9999, len(pvalues), 0.05)
    return pvalues.min() > 1e-4 / len(pvalues) and (pvalues < 0.05).sum() <= small


def orders(size, rounds=None, count=4000):
    keys = jax.random.split(jax.random.key(7), count)
    if rounds is None:
        return np.asarray(jax.jit(jax.vmap(lambda key: shuffle(key, size)))(keys))
    return np.asarray(jax.jit(jax.vmap(lambda key: shuffle(key, size, rounds)))(keys))


@pytest.mark.parametrize("size", [128, 512, 480])
def test_a_shuffle_mixes_like_a_random_permutation(size):
    for name, pvalues in mixing(orders(size)).items():
        assert uniform(pvalues), (name, pvalues.min(), (pvalues < 0.05).mean())


@pytest.mark.parametrize("rounds", [1, 2])
def test_too_few_rounds_would_be_noticed(rounds):
    assert not all(uniform(pvalues) for pvalues in mixing(orders(512, rounds)).values())


def test_shuffles_under_vmap_are_those_of_a_loop():
    keys = jax.random.split(jax.random.key(0), 3)
    batched = jax.vmap(lambda key: shuffle(key, 96))(keys)
    for key, order in zip(keys, batched, strict=True):
        np.testing.assert_array_equal(order, shuffle(key, 96))
    assert not np.array_equal(batched[0], batched[1])
