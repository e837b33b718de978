#!/usr/bin/env bash
# navix==4.0.0, jax==0.9.2, Python 3.12.
#
# Question: which numbers do `categorical` and `categorical_first_person` observations hold?
# One would guess: the tags of entities, 0 to 10, as `env.observation_space` says (`Discrete` with 11 elements) and the
#   docstring: "-1-marked walls become their tag via entities.EntityIds" (a wall's is 2).
# Seen: walls are -1, and in the first person what lies beyond the border is 100. 16 of 25 cells of Empty-5x5 are
#   outside the space.
# Consequence: an embedding or a one-hot encoding of the 11 values that the space promises takes another row for a
#   wall (-1 is the last in NumPy's indexing, zeros in `jax.nn.one_hot`), and a crop's 100 is clipped to the player's.
# Source: navix/observations.py, categorical (only entities' tags are written over state.grid, where a wall is -1), and
#   navix/grid.py, crop (its padding value).
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

found = {}
for view in (observations.categorical, observations.categorical_first_person):
    env = nx.make("Navix-Empty-5x5-v0", observation_fn=view)
    seen = np.asarray(env.reset(jax.random.key(0)).observation)
    space = env.observation_space
    print(f"{view.__name__}: values {np.unique(seen).tolist()}, space {space.minimum} to {space.maximum}")
    print(seen)
    found[view.__name__] = np.unique(seen).tolist(), int((seen < 0).sum())
assert found["categorical"] == ([-1, 0, 8, 10], 16), "the behaviour has changed"
values = found["categorical_first_person"][0]
assert -1 in values and 100 in values, "the behaviour has changed"
PY
