#!/usr/bin/env bash
# jaxmarl==0.2.0 (jax==0.9.2), Python 3.11.
#
# Question: the prey of MPE_simple_facmac_v1, FACMAC's predator-prey, moves by a script; where does it run to?
# One would guess: away from the predators, from where it is, as fast as it can: in FACMAC it draws places around
#   itself, leaves out those on whose way it would collide, and goes where the predators are farthest.
# Seen: its push is the same to the last digit wherever the prey is, three places to the right of the predators or
#   three to the left: the script is given the number of the last PREDATOR, and looks around from its place. And it
#   leaves out the places that are free: those on whose way something collides are kept. So only places within the
#   predator's own radius are left, and the push is 4 % of what it may be: a speed of 0.015 at most after the first
#   step from rest, where a full push gives 0.4.
# Consequence: the prey hardly moves, and not away: predators are trained on a much easier task than FACMAC's, and
#   their returns do not compare. The same in MPE_simple_facmac_3a_v1, 6a and 9a.
# Source: jaxmarl/environments/mpe/simple_facmac.py, step_env (u.shape[0] - 1 + i, after u has lost its last rows) and
#   _prey_policy (jnp.where((dist < dist_min).sum(1), scores, -9999999)).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'jaxmarl==0.2.0' 'jax==0.9.2'
JAX_PLATFORMS=cpu "$dir/venv/bin/python" - <<'PY'
import jax
import jax.numpy as jnp
import jaxmarl
import numpy as np

env = jaxmarl.make("MPE_simple_facmac_v1")
still = {agent: jnp.zeros(5) for agent in env.agents}
assert env.adversaries == ["adversary_0", "adversary_1", "adversary_2"] and env.good_agents == ["agent_0"]


def pushed(prey, seed):
    """The prey's velocity after one step from rest; it is the fourth, after three predators."""
    key = jax.random.key(seed)
    _, state = env.reset(key)
    places = jnp.array([[1.0, 0.0], [1.0, 0.5], [1.0, -0.5], prey, [9.0, 9.0], [9.0, -9.0]])
    state = state.replace(p_pos=places, p_vel=jnp.zeros((6, 2)))
    return np.asarray(env.step_env(key, state, still)[1].p_vel[3])


right = np.array([pushed([3.0, 0.0], seed) for seed in range(20)])
left = np.array([pushed([-3.0, 0.0], seed) for seed in range(20)])
fastest, possible = np.linalg.norm(right, axis=-1).max(), float(env.accel[3]) * env.dt
print(f"prey on the right and on the left, 20 keys: pushes differ by {np.abs(right - left).max():g}")
print(f"fastest after a step {fastest:.4f}, of {possible:g}; away from the predators in {(right[:, 0] > 0).sum()} of 20")
assert np.array_equal(right, left) and 0.0 < fastest < 0.1 * possible, "the behaviour has changed"
PY
