#!/usr/bin/env bash
# navix==4.0.0, jax==0.9.2, Python 3.12.
#
# Question: does `observation_fn=navix.observations.symbolic_first_person` show what is behind a wall or a closed door?
# One would guess: no. Its docstring says that "out-of-view / occluded cells are filled with the wall symbol", the
#   module's that "cells the player cannot see (behind a wall, outside the view cone) are masked", and MiniGrid, whose
#   encoding it is, hides them.
# Seen: it is a crop of the whole grid. In DoorKey-6x6, where a wall with a locked door stands between the player and
#   the goal, the goal is in the first observation of 200 of 200 episodes; `categorical_first_person` shows it in none.
#   `rgb_first_person` is not looked at here.
# Consequence: a task of partial observation is one of full observation: no agent needs memory or exploration to know
#   where the goal is, and results with this view are not comparable with MiniGrid's.
# Source: navix/observations.py, symbolic_first_person (no view_cone, where categorical_first_person has one).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.12 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'navix==4.0.0' 'jax==0.9.2' 'jaxlib==0.9.2'
JAX_PLATFORMS=cpu "$dir/venv/bin/python" - <<'PY'
import jax
import navix as nx
import numpy as np
from navix import observations

GOAL = 8  # navix.entities.EntityIds.GOAL
keys = jax.random.split(jax.random.key(0), 200)


def first(view):
    env = nx.make("Navix-DoorKey-6x6-v0", observation_fn=view)
    return np.asarray(jax.jit(jax.vmap(lambda key: env.reset(key).observation))(keys))


symbolic = first(observations.symbolic_first_person)[..., 0]
categorical = first(observations.categorical_first_person)
print("tags of one first observation, the player below in the middle:")
print(symbolic[0])
through, hidden = ((view == GOAL).any(axis=(1, 2)).sum() for view in (symbolic, categorical))
print(f"the goal is seen in {through} of 200 episodes (categorical_first_person: {hidden})")
assert (through, hidden) == (200, 0), "the behaviour has changed"
PY
