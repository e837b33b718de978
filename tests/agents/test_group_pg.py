"""Group policy gradients: blocks against stepping, settings, sweeps, what is refused and learnt."""

from functools import cache, partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, envs, training
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.sequence import group_pg, writing
from jaxrl_reward.envs.vector import step
from jaxrl_reward.nn import language_models
from jaxrl_reward.types import UserError

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
TINY = {"num_envs": 8, "group_size": 4, "width": 4, "layers": 1, "heads": 1, "warmup": 1}
TINY |= {"warmup_batch": 2}


def tiny(env="sequence:think,max_tokens=4", reward=None, **settings):
    return agents.make("group_pg", env, reward, **{**TINY, **settings})


# ---- what is written ------------------------------------------------------------------------


def test_a_block_is_what_stepping_the_environment_gives():
    """Up to the end of each response; behind it every row is an episode that pays nothing."""
    env = envs.make("sequence:tree,depth=2")
    task, count = env.environment.task, 6
    length = task.max_tokens
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, task.vocabulary, (length, count)).astype(np.int32)
    for i in range(count):
        end = i % (length + 1)  # the last is cut off
        tokens[end:, i] = task.vocabulary
        if end < length:
            tokens[end, i] = 0
    zeros = jnp.zeros((length, count))
    prompts = writing.ask(
        task, jax.random.key(0), jnp.array([3, 9, 20]) % task.prompts, jnp.repeat(jnp.arange(3), 2)
    )

    @quick
    def both(tokens):
        block = writing.block_of(task, prompts, language_models.Generated(tokens, zeros, zeros))
        obs, state = jax.vmap(env.environment.begin)(prompts.number, prompts.luck)

        def one(carry, token):
            obs, state, first = carry
            key = jax.random.split(jax.random.key(0), count)
            state, row = jax.vmap(partial(step, env))(key, state, obs, first, token)
            return (row.next_obs, state, jnp.zeros(count, bool)), row

        start = (obs, state, jnp.ones(count, bool))
        return block, jax.lax.scan(one, start, jnp.minimum(tokens, task.vocabulary - 1))[1]

    block, stepped = jax.tree.map(np.asarray, both(jnp.asarray(tokens)))
    alive = tokens < task.vocabulary
    for name in ("obs", "action", "env_reward", "next_obs", "first", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(block, name)[alive], getattr(stepped, name)[alive])
    last = alive & (block.terminated | block.truncated)
    assert (last.sum(0) == 1).all()
    for name, value in stepped.info.items():
        where = alive if name == "value" else last
        np.testing.assert_allclose(block.info[name][where], value[where], rtol=1e-6)
    assert (block.first & block.terminated)[~alive].all() and not block.env_reward[~alive].any()
    np.testing.assert_array_equal(block.info["group"][0], [0, 0, 1, 1, 2, 2])


@pytest.mark.slow
def test_acting_reads_the_text_as_it_is_observed():
    agent = tiny(network="gru")
    made, task = agent.act.__self__, agent.env.environment.task
    shapes, rng = jax.eval_shape(made.model.init, jax.random.key(0)), np.random.default_rng(0)
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), shapes)
    text = np.full((3, task.prompt_length + task.max_tokens), task.vocabulary, np.int32)
    text[:, :2], text[1, 2], text[2, 2:5] = [3, 5], 1, [1, 2, 4]

    @quick
    def both(text):
        state = SimpleNamespace(params=params)
        return agent.act(state, text.astype(jnp.float32)), made.model.logits(params, text)

    acted, logits = jax.tree.map(np.asarray, both(text))
    expected = [logits[i, count].argmax() for i, count in enumerate((0, 1, 3))]
    np.testing.assert_array_equal(acted, expected)


# ---- settings ---------------------------------------------------------------------------------

VARIANTS = {
    "kl in the reward, clip_cov": {
        **{"network": "gru", "advantage": "rloo", "kl": "reward", "control": "clip_cov"},
        **{"epochs": 2, "minibatches": 2},
    },
    "kl in the loss, steer, knapsack": {
        **{"advantage": "env", "reward": "env | bnpo()", "kl": "loss", "control": "steer"},
        **{"drop_equal": True, "aggregation": "constant", "sampling": "knapsack"},
    },
    "gspo, siren, views": {
        **{"ratio": "sequence", "aggregation": "sequence", "control": "siren", "views": 2},
        **{"reward": "signal('answer') | co_reward()", "network": "gru"},
    },
    "rover, variance, corridor, own steps, states": {
        **{"objective": "rover", "sampling": "variance", "control": "corridor"},
        "advantage": "stack(riskpo(bundle=2), signal('entropy', when='step')) | empg()",
        **{"reward": "env + 0.1*rnd(width=4)", "network": "gru"},
    },
}


FIRST = "kl in the reward, clip_cov"


@pytest.mark.parametrize(
    "name", [FIRST, *(pytest.param(x, marks=pytest.mark.slow) for x in VARIANTS if x != FIRST)]
)
def test_every_setting_iterates_and_keeps_its_shapes(name):
    """Traced, not compiled: what they compute is tested piece by piece."""
    agent = tiny(**VARIANTS[name])
    state = jax.eval_shape(agent.init, jax.random.key(0))
    after, metrics = jax.eval_shape(agent.iterate, state)
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), s) for s in (state, after)]
    assert shapes[0] == shapes[1]
    assert {"episode_return", "best_of_group", "groups_that_differ", "kl"} <= set(metrics)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env": "gymnax:CartPole-v1"}, "gymnax:CartPole-v1 is no sequence: environment"),
        ({"num_envs": 10}, "num_envs=10 is no multiple of group_size=4; use num_envs=8"),
        ({"advantage": "grop()"}, "did you mean 'grpo'"),
        ({"advantage": "stack(env, env)"}, "must give one number a token"),
        ({"reward": "stack(env, env)"}, "gives 2 numbers a token: add a scalariser"),
        ({"kl": "lose"}, "group_pg has no kl 'lose', did you mean 'loss'?"),
        ({"control": "stear"}, "did you mean 'steer'?"),
        ({"heads": 3}, "heads=3 must divide width=4"),
        ({"minibatches": 3}, "minibatches must divide num_envs=8"),
        ({"group_size": 1}, "grpo() of groups of one response is always 0; use a larger"),
        ({"views": 3, "num_envs": 12}, "views must be an integer between 1 and 2"),
        ({"warmup_wrong": 2.0}, "warmup_wrong must be between 0 and 1"),
        ({"reward": "signal('answr')"}, "did you mean 'answer'?"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(UserError) as error:
        tiny(**settings)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_agents_that_play_blocks_refuse_rules_for_groups():
    line = "plays {}, and env | grpo.. needs groups of whole episodes: use group_pg"
    for name, plays in (("ppo", "no groups"), ("dqn", "fixed blocks")):
        with pytest.raises(UserError, match=f"{name} {line.format(plays)}".replace("|", r"\|")):
            agents.make(name, "gymnax:CartPole-v1", "env | grpo()")
    assert rw.replay_problem(rw.parse("env | grpo()")) == "grpo() needs groups of whole episodes"


# ---- runs ------------------------------------------------------------------------------------


@cache
def trained(**settings):
    """The outcomes of an untrained and of a trained policy, and the last metrics; 2 seeds."""
    agent = agents.make("group_pg", "sequence:copy,letters=6,longest=1,max_tokens=4", **settings)

    @jax.jit
    def run(key):
        state = agent.init(key)
        before = agent.evaluate(state, jax.random.key(1), 64)[0].mean()
        shapes = jax.eval_shape(agent.iterate, state)[1]
        start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        iterate = lambda _, carry: agent.iterate(carry[0])  # noqa: E731
        state, metrics = jax.lax.fori_loop(0, 40, iterate, (state, start))
        after = agent.evaluate(state, jax.random.key(1), 64)[0].mean()
        return before, after, jax.tree.map(lambda m: m.value, metrics, is_leaf=is_mean)

    return jax.tree.map(np.asarray, jax.vmap(run)(jax.random.split(jax.random.key(0), 2)))


def is_mean(x):
    return hasattr(x, "count")


SMALL = {"num_envs": 128, "group_size": 8, "width": 16, "heads": 2, "learning_rate": 1e-2}
SMALL |= {"warmup": 60, "warmup_wrong": 0.7}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "settings",
    [
        {"advantage": "rloo()"},
        {
            "advantage": "bnpo()",
            "control": "kl_cov",
            "control_strength": 0.02,
            "sampling": "variance",
        },
    ],
    ids=["rloo", "bnpo"],
)
def test_it_learns_what_the_warm_up_left_open(settings):
    """Of demonstrations of which most are wrong it first writes little; rewards mend that."""
    _, after, metrics = trained(**{**SMALL, **settings})
    assert (after > 0.9).all(), after
    assert (metrics["episode_return"] > 0.6).all()
    assert all(np.isfinite(value).all() for value in metrics.values())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_coin_teaches_nothing():
    before, after, _ = trained(**{**SMALL, "reward": "coin()", "advantage": "rloo()"})
    assert (after < before + 0.45).all()


class Stop:
    """What stops a run as Ctrl-C does, at its first line of metrics."""

    def write(self, *args, **kwargs):
        raise KeyboardInterrupt

    def close(self):
        pass


STATEFUL = {"sampling": "variance", "advantage": "riskpo(bundle=2)", "network": "gru"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_resumed_run_ends_as_one_that_was_never_cut(tmp_path):
    """What the rule tracks and the table of prompts are in the checkpoint."""
    agent = tiny(**STATEFUL)
    settings = {"seeds": 2, "total_steps": 4 * agent.steps_per_iteration, "evals": 2}
    settings |= {"eval_episodes": 2, "log_points": 4, "progress": False}
    whole = training.train(agent, out=tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        training.train(agent, out=tmp_path / "cut", sinks=[Stop()], **settings)
    resumed = training.train(agent, out=tmp_path / "cut", resume=True, **settings)
    data = lambda x: (  # noqa: E731
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(data(a), data(b)), whole.state, resumed.state
    )
    assert resumed.curves == whole.curves
    assert (np.asarray(whole.state.rates) != 0.5).any()
    assert np.asarray(whole.state.rule_state.shared.seen).all()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_sweep_is_a_loop():
    agent = tiny(**STATEFUL)

    def one(rate, key):
        config = agent.config.replace(learning_rate=rate)
        state, metrics = agent.iterate(agent.init(key, config))
        return metrics["entropy"].total, state.params

    rates, keys = jnp.array([0.0, 1e-2]), jax.random.split(jax.random.key(3), 2)
    swept, alone = jax.jit(jax.vmap(one))(rates, keys), jax.jit(one)
    for i in range(2):
        found = jax.tree.leaves(alone(rates[i], keys[i]))
        for a, b in zip(found, jax.tree.leaves(swept), strict=True):
            np.testing.assert_allclose(a, b[i], rtol=1e-4, atol=1e-5)


def test_the_table_of_agents_has_it():
    assert "group_pg" in agents.names() and agents.module("group_pg") is group_pg
