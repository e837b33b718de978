"""The experiments on writing tasks: what they measure by hand, and the smallest preset of each."""

import itertools
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.sequence import group_losses as losses
from jaxrl_reward.agents.sequence import writing
from jaxrl_reward.nn import language_models
from jaxrl_reward.training import lanes
from jaxrl_reward.training.experiments import experiment as experiments

NAMES = ("group_normalisation", "length", "entropy")
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def responses(env, count=8, group=4, seed=0):
    """A block of responses of random tokens, some of them right, and their texts."""
    task, rng = envs.make(env).environment.task, np.random.default_rng(seed)
    length = task.max_tokens
    numbers = rng.integers(0, task.prompts, count // group).astype(np.int32)
    drawn = rng.integers(1, task.vocabulary, (length, count)).astype(np.int32)
    end, step = np.arange(count)[None] % length, np.arange(length)[:, None]
    drawn = np.where(step == end, 0, np.where(step > end, task.vocabulary, drawn))
    told = -rng.random((2, length, count)).astype(np.float32)

    @quick
    def block(numbers, drawn, told):
        asked = writing.ask(task, jax.random.key(0), numbers, jnp.arange(count) // group)
        keys = jax.random.split(jax.random.key(1), count)
        right = jax.vmap(task.solve)(asked.question, keys).T
        tokens = jnp.where(jnp.arange(count)[None] % 3 == 0, right, drawn)
        written = language_models.Generated(tokens, told[0], -told[1])
        return writing.block_of(task, asked, written), writing.text_of(asked, written)

    return block(numbers, drawn, told)


# ---- group_normalisation ------------------------------------------------------------------------


@pytest.mark.slow
def test_gradients_are_those_that_the_agent_follows(beside):
    """At the first step on a batch: GRPO's mean over a response's tokens, and Dr. GRPO's sum."""
    rules = beside("_group_gradients")
    env, small = "sequence:copy,letters=6,longest=1,max_tokens=3", {"network": "gru", "width": 3}
    block, text = responses(env)
    wanted = {"GRPO": ("grpo()", "sequence"), "Dr. GRPO": ("centred()", "constant")}
    made = {}
    for name, (advantage, aggregation) in wanted.items():
        settings = {"advantage": advantage, "aggregation": aggregation, "num_envs": 8}
        made[name] = agents.make("group_pg", env, **small, **settings, group_size=4)
    agent = made["GRPO"].act.__self__
    params = agent.writer.init(jax.random.key(2))

    @quick
    def both(params):
        found = {"ours": rules.ascent(agent.writer, agent.task, params, block, text)}
        known = writing.token_log_probs(
            agent.log_probs(params, text), text[:, agent.task.prompt_length :]
        ).T
        seen = block.replace(policy={**block.policy, "log_prob": known})
        for name, each in made.items():
            own = each.act.__self__
            about = {"config": each.config, "params": params, "iteration": jnp.int32(0)}
            state = SimpleNamespace(**about, history=jnp.zeros(2))
            state.rule_state = own.rule.init(jax.random.key(0), seen)
            credit = own.credit(state, seen)[1]
            _, batch = own.batch(state, jax.random.key(0), text, seen, known.T, credit)
            loss = partial(losses.loss, each.config, own.log_probs, jnp.zeros(2))
            gradient = jax.grad(lambda p, loss=loss, batch=batch: loss(p, batch)[0])(params)
            found[name] = jax.flatten_util.ravel_pytree(gradient)[0]
        return found

    found = jax.tree.map(np.asarray, both(params))
    for name in wanted:
        ours = found["ours"][rules.names().index(name)]
        assert np.abs(ours).max() > 1e-3
        np.testing.assert_allclose(ours, -found[name], rtol=1e-4, atol=1e-6)


def test_the_spread_of_gradients_by_pairs_of_batches(beside):
    rules = beside("_group_gradients")
    gradients = np.random.default_rng(0).normal(1.0, 1.0, (6, 3, 4)).astype(np.float32)
    found = jax.tree.map(np.asarray, quick(partial(rules.spread, unbiased=1))(gradients))
    pairs = list(itertools.permutations(range(6), 2))
    product = np.mean([gradients[i] @ gradients[j].T for i, j in pairs], 0)
    variance = gradients.var(0, ddof=1).sum(-1)
    size = np.diag(product)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-5)
    np.testing.assert_allclose(found.noise, variance / size, rtol=1e-4)
    np.testing.assert_allclose(found.cosine, product[:, 1] / np.sqrt(size * size[1]), rtol=1e-4)
    assert found.cosine[1] == pytest.approx(1.0)
    nothing = quick(partial(rules.spread, unbiased=0))(gradients * np.array([[[0.0]]]))
    assert all(np.isfinite(each).all() for each in nothing)


# ---- length -------------------------------------------------------------------------------------


def test_one_expression_is_each_of_its_parts_by_its_weights(beside):
    length = beside("length")
    whole = lanes.mixed([rw.parse(text) for text in length.TEXTS.values()])
    assert len({str(jax.tree.structure(each)) for each in whole}) == 1
    assert len(whole[0].children()[0].children()) == len(length.KINDS)  # the parts
    terms = [rw.parse(length.TEXTS[arm]) for arm in ("price 0.01", "DLER 6", "DRPO 0.1")]
    block, _ = responses(length.ENV)
    leaves = jax.tree.map(lambda *x: np.stack(x).astype(np.float32), *lanes.mixed(terms))

    @quick
    def paid(leaves):
        def given(reward):
            return reward.apply(reward.init(jax.random.key(0), block), block).reward

        return jax.vmap(given)(leaves), [given(term) for term in terms]

    chosen, alone = paid(leaves)
    np.testing.assert_allclose(chosen, np.stack(alone), atol=1e-6)
    assert len({np.asarray(each).tobytes() for each in alone}) == 3


def test_the_gain_is_the_distance_above_the_line_between_two_prices(beside):
    length = beside("length")
    front = {"plain": (10.0, 0.9), "price 0.01": (4.0, 0.6), "price 0.03": (2.0, 0.2)}
    last = {
        arm: {"tokens": np.array([x, x]), "accuracy": np.array([y, y])}
        for arm, (x, y) in front.items()
    }
    last["DRPO 0.1"] = {"tokens": np.array([3.0, 20.0]), "accuracy": np.array([0.5, 0.95])}
    np.testing.assert_allclose(length.gain(last, "DRPO 0.1"), [0.1, 0.05])
    np.testing.assert_allclose(length.gain(last, "plain"), 0.0)


# ---- entropy ------------------------------------------------------------------------------------


def test_the_law_is_found_again_and_foretells(beside):
    entropy = beside("entropy")
    course = np.linspace(1.5, 0.1, 12)[None].repeat(2, 0)
    success = 0.9 - 0.2 * np.exp(course)
    success[1, 6:] += 0.3  # after which it is another
    found = entropy.law(course, success)
    np.testing.assert_allclose([found[k][0] for k in ("a", "b")], [0.2, 0.9], rtol=1e-4)
    np.testing.assert_allclose(found["error"], [0.0, 0.3], atol=1e-4)
    assert found["explained"][0] > 0.999 > found["explained"][1]


# ---- all of them --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_preset_runs_and_reports(name, tmp_path):
    loaded = experiments.load(name)
    with jax.numpy_rank_promotion("raise"):
        found = experiments.run(loaded, "smoke", out=tmp_path, progress=False)
    chosen = loaded.presets["smoke"].arms or [arm.name for arm in loaded.arms]
    assert set(found.results) == set(chosen)
    assert all(np.isfinite(result.returns).all() for result in found.results.values())
    assert found.verdicts and all(verdict.evidence for verdict in found.verdicts)
    status = {verdict.claim: verdict.status for verdict in found.verdicts}
    if name == "group_normalisation":
        assert next(iter(status.values())) == "holds"  # the exact special cases
    assert "figure.png" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "figure.png").stat().st_size > 10_000
