"""The experiments `calibration`, `boundary` and `proxy`: how they share programs, and run."""

import dataclasses
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.sequence import group_pg, writer
from jaxrl_reward.training import lanes
from jaxrl_reward.training.experiments import experiment as experiments

ON_PAIRS = ("chosen", "cycles", "direct_alignment", "self_rewarding", "token_credit")
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def test_arms_whose_settings_differ_in_numbers_are_one_expression(beside):
    boundary = beside("boundary")
    names = ["GRPO", "negative only", "a tenth positive"]
    mixed = lanes.mixed([rw.parse(boundary.RULES[name]) for name in names])
    assert len({jax.tree.structure(term) for term in mixed}) == 1
    reward = np.array([[1, 0, 0, 0]], np.float32)  # one right of a group of four
    paid = [np.asarray(term.apply(*started(term, reward)).reward)[0] for term in mixed]
    grpo = (reward[0] - 0.25) / np.sqrt(3 / 16)
    for name, found in zip(names, paid, strict=True):
        expected = grpo
        if name == "negative only":
            expected = np.minimum(grpo, 0)
        elif name == "a tenth positive":
            expected = np.where(grpo > 0, 0.1 * grpo, grpo)
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def started(term, reward):
    block = rw.one_step.block(jnp.asarray(reward).T)
    return term.init(jax.random.key(0), block), block


def test_what_has_no_mass_has_no_slope_either(beside):
    """Leaves by enumeration; with the letter masked those that have it are exactly 0."""
    boundary = beside("boundary")
    env = envs.make("sequence:tree,depth=3,leaves=16,max_tokens=4")
    agent = SimpleNamespace(config=group_pg.Config(network="gru", width=4), env=env)
    task, rng = env.environment.task, np.random.default_rng(0)
    model = writer.model_of(agent.config, task)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), shapes)

    def state_of(params):
        blank = dict.fromkeys((field.name for field in dataclasses.fields(group_pg.State)), ())
        return group_pg.State(**{**blank, "params": params, "reference": params})

    @quick
    def measured(params):
        leaves, question = boundary.right_leaves(task), task.ask(jnp.int32(3))
        tokens = jnp.append(question.truth[5], 0)
        logits = model.logits(params, jnp.concatenate([question.prompt, tokens])[None])[0]
        masked = boundary.masked(state_of(params), state_of(params)).params
        chances = [boundary.chances(agent, p, leaves) for p in (params, masked)]
        one = lambda p: jnp.log(boundary.chances(agent, p, leaves)[3, 0])  # noqa: E731
        return leaves, tokens, jax.nn.softmax(logits), *chances, jax.grad(one)(masked)

    leaves, tokens, prob, chance, after, slope = jax.tree.map(np.asarray, measured(params))
    np.testing.assert_allclose(chance[3, 5], np.prod(prob[np.arange(4), tokens]), rtol=1e-4)
    lost = (leaves == boundary.LETTER).any(-1)
    assert lost.any() and not lost.all() and not lost[3, 0]
    assert (after[lost] == 0.0).all() and (after[~lost] > chance[~lost]).all()
    moved = [x[..., boundary.LETTER] for x in jax.tree.leaves(slope["head"])]
    assert all((x == 0.0).all() for x in moved)
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(slope["head"]))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name",
    [
        "calibration",
        "boundary",
        "proxy",
        "cotrained",
        "recycled",
        "referee",
        "constrained",
        *ON_PAIRS,
    ],
)
def test_the_smallest_preset_runs_and_reports(name, tmp_path):
    loaded = experiments.load(name)
    found = experiments.run(loaded, "smoke", out=tmp_path, progress=False)
    assert list(found.results) == list(loaded.presets["smoke"].arms)
    for result in found.results.values():
        assert result.returns.shape == (2,) and np.isfinite(result.returns).all()
        assert np.ptp(result.curves.curve(loaded.metric)[1], axis=1).max() > 0  # it learns
    assert found.verdicts and all(verdict.evidence for verdict in found.verdicts)
    assert "figure.png" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "figure.png").stat().st_size > 10_000
