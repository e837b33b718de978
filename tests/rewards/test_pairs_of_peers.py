"""Losses of pairs against what TRL's own methods give, value and slope.

`peers/trl_losses.json` was written by TRL itself, see `peers/trl_losses.py`.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward.rewards import pairs as ways

PEERS = json.loads((Path(__file__).parent / "peers" / "trl_losses.json").read_text())
GIVEN, WIDTH = PEERS["pairs"], 3

# What each is called there, and as an expression here. The beta is 0.5.
SAME = {
    "sigmoid": "dpo(beta=0.5)",
    "hinge": "slic(beta=0.5)",
    "ipo": "ipo(beta=0.5, tokens='mean')",
    "nca_pair": "nca(beta=0.5)",
    "bco_pair": "bco(beta=0.5, origin='none')",
    "sppo_hard": "sppo(beta=0.5)",
    "aot": "aot(beta=0.5)",
    "aot_unpaired": "aot_unpaired(beta=0.5)",
    "apo_zero": "apo_zero(beta=0.5)",
    "apo_down": "apo_down(beta=0.5)",
    "discopop": "discopop(beta=0.5)",
    "sft": "sft(tokens='batch')",
    "sigmoid_norm": "dpo(beta=0.5, tokens='mean')",
    "exo_pair 0.1": "exo(beta=0.5, flips=0.1)",
    "robust 0.1": "robust_dpo(beta=0.5, flips=0.1)",
    "forward_kl": "dpo(beta=0.5, divergence='forward_kl')",
    "js_divergence": "dpo(beta=0.5, divergence='js')",
    "alpha_divergence": "dpo(beta=0.5, divergence='alpha', alpha=0.5)",
    "sigmoid + sft": "dpo(beta=0.5) + sft(tokens='batch')",
    "wpo": "dpo(beta=0.5) * wpo()",
    "ld 0.0": "dpo(beta=0.5, beyond=0)",
    "ld 0.5": "dpo(beta=0.5, beyond=0.5)",
    # Means over responses there, over pairs of two here.
    "kto": "0.5*kto(beta=0.5)",
    "kto 1 2": "0.5*kto(beta=0.5, undesirable=2)",
    "apo_zero_unpaired": "0.5*apo_zero(beta=0.5)",
    "cpo": "cpo(beta=0.5)",
    "cpo 0.1": "cpo(beta=0.5, flips=0.1)",
    "simpo": "cpo(beta=0.5, margin=0.5, tokens='mean')",
    "orpo odds": "-0.5*odds_ratio()",  # which its trainer subtracts
}


def side(rows, which, reference="reference", policy="policy"):
    """One response of each pair, as they lie in the file."""

    def padded(name):
        given = [pair[which] for pair in GIVEN[name]]
        return jnp.array([each + [0.0] * (WIDTH - len(each)) for each in given])

    lengths = jnp.array([[len(pair[which])] for pair in GIVEN[policy]])
    alive = jnp.arange(WIDTH)[None] < lengths
    log_prob = padded(policy) if rows is None else rows
    return ways.side(log_prob, padded(reference), alive, collision=padded("collision"))


def given(rows=None):
    """The pairs; `rows[2, B, T]` takes the place of the policy's log-probabilities."""
    first, second = (None, None) if rows is None else rows
    shifted = tuple(side(None, i, "shifted_reference", "shifted") for i in (0, 1))
    return ways.pairs(side(first, 0), side(second, 1), shifted=shifted)


def value_and_slope(text):
    """The mean loss, and its gradient by the log-probabilities of the tokens, `[2 B, T]`."""
    objective, known = rw.parse(text), given()
    rows = jnp.stack([known.chosen.log_prob, known.rejected.log_prob])
    loss = lambda rows: ways.losses(objective, given(rows)).mean()  # noqa: E731
    found, slope = jax.value_and_grad(loss)(rows)
    return float(found), np.asarray(slope).reshape(-1, WIDTH)


@pytest.mark.parametrize("name", SAME)
def test_value_and_slope_are_those_of_trl(name):
    loss, slope = value_and_slope(SAME[name])
    peer = PEERS["losses"][name]
    assert loss == pytest.approx(peer["loss"], abs=2e-6)
    alive = np.concatenate([np.asarray(s.alive) for s in (given().chosen, given().rejected)])
    np.testing.assert_allclose(slope, np.where(alive, peer["slope"], 0.0), atol=2e-6)


def test_every_loss_of_the_file_is_compared():
    assert set(SAME) == set(PEERS["losses"])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # OpenRLHF 0.11.2's DPOLoss applies label smoothing, and takes sums in IPO.
        ("dpo(beta=0.5, flips=0.1)", 0.577626),
        ("ipo(beta=0.5)", 2.043333),
        # BCO as in the paper, with the mean of the batch.
        ("bco(beta=0.5)", 1.176723),
        # ORPO with the likelihood of the response alone: TRL adds the prompt's.
        ("sft()", 0.8),
    ],
)
def test_values_where_tools_differ(text, wanted):
    assert value_and_slope(text)[0] == pytest.approx(wanted, abs=1e-6)
