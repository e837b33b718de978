#!/usr/bin/env bash
# navix==4.0.0, jax==0.9.2, Python 3.12.
#
# Question: by what does `navix.agents.PPO` discount a step, with `env.gamma` 0.9?
# One would guess: each by 0.9, so that a reward n steps ahead counts 0.9 to the n wherever it lies in the episode.
# Seen: step t of an episode by 0.9 to the t. A reward of 1 at step 7 is worth 0.531 one step before (not 0.9), 0.314
#   two before (not 0.81), and 0.109 at steps 0 and 1 alike (0.478 and 0.531).
# Consequence: the first step is not discounted at all, and from some tens of steps on PPO looks one step ahead: with
#   the default gamma of 0.99 a step counts a tenth of the next at t = 230. Results on long tasks (DoorKey-16x16 has
#   1,024 steps) are of another objective than "PPO, gamma 0.99" says, and change with where in the episode a reward lies.
# Source: navix/agents/ppo.py, evaluate_experience: (1 - done) * self.env.gamma**experience.t is given as the discounts
#   of rlax.truncated_generalized_advantage_estimation, which multiplies them up itself.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.12 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'navix==4.0.0' 'jax==0.9.2' 'jaxlib==0.9.2'
JAX_PLATFORMS=cpu "$dir/venv/bin/python" - <<'PY'
from types import SimpleNamespace as Some

import jax.numpy as jnp
import navix as nx
import numpy as np
from navix.agents import PPO, ActorCritic, PPOHparams

steps, gamma = 8, 0.9
env = nx.make("Navix-Empty-8x8-v0", gamma=gamma)
agent = PPO(hparams=PPOHparams(gae_lambda=1.0), network=ActorCritic(action_dim=7), env=env)
experience = Some(  # one episode that goes on, paid 1 at its last step here; a critic that says 0
    reward=jnp.zeros((steps, 1)).at[-1].set(1.0),
    done=jnp.zeros((steps, 1), bool),
    t=jnp.arange(steps)[:, None],
    obs=jnp.zeros((steps, 1, 3)),
    carry=(),
)
state = Some(params=None, value_fn=lambda params, carry, obs, first: ((), jnp.zeros(obs.shape[:1])))
_, _, targets = agent.evaluate_experience(state, experience, jnp.zeros(1))
found = np.asarray(targets)[:, 0]
usual = gamma ** np.arange(steps - 1, -1, -1)
own = [np.prod(gamma ** np.arange(t, steps - 1)) for t in range(steps)]
print("targets  ", found.round(3))
print("0.9 each ", usual.round(3))
print("0.9 to t ", np.round(own, 3))
assert np.allclose(found, own, rtol=1e-5), "the behaviour has changed"
assert not np.allclose(found, usual, rtol=0.1), "the behaviour has changed"
PY
