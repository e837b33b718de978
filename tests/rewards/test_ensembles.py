"""Ensembles of reward models: trained as the run goes on, or fitted before and kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward.nn import reward_models as model
from jaxrl_reward.types import UserError

TINY = {"width": 8, "members": 3}


@pytest.fixture
def steps(block_of):
    obs = np.random.default_rng(0).normal(size=(129, 2))
    return block_of(obs[1:, 0], obs=obs)


def one(block):
    return jax.tree.map(lambda x: x[0, 0], block)


@pytest.mark.slow
def test_it_learns_the_environments_reward(steps, learnt):
    term = rw.ensemble(**TINY, learning_rate=0.01, updates=200, batch_size=32)
    paid, _ = learnt(term, steps)
    before, after = ((paid - steps.reward[None]) ** 2).mean((1, 2))
    assert after < 0.1 * before


def test_a_fitted_model_is_pooled_and_stays(steps, tmp_path, paid):
    fitted = jax.eval_shape(lambda key: model.init(key, one(steps), 3, 8), jax.random.key(0))
    draw = np.random.default_rng(0).normal
    fitted = jax.tree.map(lambda x: jnp.asarray(draw(size=x.shape), jnp.float32), fitted)
    scores = np.asarray(jax.jit(jax.vmap(jax.vmap(fitted.scores)))(steps))
    term = rw.ensemble(how="min", start=fitted)
    state = term.init(jax.random.key(0), steps)
    np.testing.assert_allclose(paid(term, steps), scores.min(-1)[:, 0], rtol=1e-4)
    assert term.learn(state, jax.random.key(0), steps)[0] is state
    fitted.save(tmp_path / "model.npz")
    read = rw.parse(f"ensemble(how='min', start='{tmp_path / 'model.npz'}')")
    assert str(rw.parse(str(read))) == str(read)
    np.testing.assert_allclose(paid(read, steps), scores.min(-1)[:, 0], rtol=1e-4)
    wider = steps.replace(obs=jnp.concatenate([steps.obs] * 2, -1))
    with pytest.raises(UserError, match="fitted to other observations"):
        term.apply(state, wider)


def test_discrete_actions_are_one_hot_where_they_are_counted(steps):
    transition = one(steps).replace(action=np.int32(2))
    expected = [*transition.obs, 0, 0, 1, 0, *transition.next_obs]
    np.testing.assert_allclose(model.inputs(transition, 4), expected)
    assert model.inputs(transition, 1).shape == (4,)


def test_bad_input_is_one_line(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    for text, message in [
        ("ensemble(how='worst')", "cannot be 'worst'"),
        ("ensemble(start='nowhere.npz')", "no reward model in 'nowhere.npz'"),
        ("ensemble(start=1)", "file, as in|file of"),
        (f"ensemble(start='{tmp_path / 'bad.npz'}')", "no reward model that"),
        (f"ensemble(start='{tmp_path / 'other.npz'}')", "no reward model that"),
    ]:
        with pytest.raises(rw.RewardSyntaxError, match=message):
            rw.parse(text)
