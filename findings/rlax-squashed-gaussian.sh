#!/usr/bin/env bash
# rlax==0.1.9, distrax==0.1.9, tfp-nightly==0.26.0.dev20261027, jax==jaxlib==0.10.2, numpy==2.4.6, Python 3.11.
#
# Question: rlax.squashed_gaussian() on actions in [-1, 1]: how near to the bound can its middle be put, and is its
#   entropy that of the distribution whose samples and log-probabilities it gives?
# One would guess: as near as one likes (tanh of the network's mean), and yes: entropy = -E[log prob].
# Seen: the mean is squashed TWICE, tanh(tanh(mu)): the median action is never beyond 0.7616, for any mu. And
#   entropy(mu, sigma) is the Gaussian's before the squashing: it is -0.58 for every mu where -E[log prob] goes from
#   -0.60 to -1.46, and takes no action_spec, whose half-width 10 adds log 10 = 2.30 to -E[log prob].
# Consequence: with little noise, tasks whose best action is at the bound lose a quarter of the force; an entropy
#   bonus or temperature built on it (as in SAC, with target -dim) is off by the missing Jacobian.
# Source: rlax/_src/distributions.py, squashed_gaussian (mu_activation, entropy_fn). The class announces its end.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'rlax==0.1.9' 'distrax==0.1.9' 'tfp-nightly==0.26.0.dev20261027' 'jax==0.10.2' \
    'jaxlib==0.10.2' 'numpy==2.4.6'
JAX_PLATFORMS=cpu "$dir/venv/bin/python" -W ignore - <<'PY'
import types

import jax
import jax.numpy as jnp
import rlax

law = rlax.squashed_gaussian(sigma_min=-4.0, sigma_max=0.0)
spec = types.SimpleNamespace(minimum=jnp.array([-1.0]), maximum=jnp.array([1.0]))
wide = types.SimpleNamespace(minimum=jnp.array([-10.0]), maximum=jnp.array([10.0]))
keys = jax.random.split(jax.random.key(0), 20_000)


def draw(mu, sigma, bounds):
    mu, sigma = jnp.array([mu]), jnp.array([sigma])
    actions = jax.vmap(lambda key: law.sample(key, mu, sigma, bounds))(keys)
    surprise = -jax.vmap(lambda action: law.logprob(action, mu, sigma, bounds))(actions).mean()
    return float(jnp.median(actions)), float(surprise), float(law.entropy(mu, sigma))


rows = {}
for mu in (0.0, 1.0, 100.0):
    median, surprise, entropy = rows[mu] = draw(mu, 0.0, spec)
    print(f"mu {mu:5.1f}: median action {median:.3f}, -E[log prob] {surprise:.3f}, entropy() {entropy:.3f}")
wider = draw(0.0, 0.0, wide)
print(f"bounds of 10: -E[log prob] {wider[1]:.3f}, entropy() {wider[2]:.3f}")
if abs(rows[100.0][0] - 0.7616) > 0.01:
    raise SystemExit("changed: the median action goes another way")
if len({row[2] for row in rows.values()}) != 1 or wider[2] != rows[0.0][2] or abs(wider[1] - rows[0.0][1] - 2.303) > 0.05:
    raise SystemExit("changed: entropy() knows of the squashing")
if rows[100.0][2] - rows[100.0][1] < 0.3:
    raise SystemExit("changed: entropy() is that of the squashed actions")
PY
