"""What importing the environments brings along."""

import subprocess
import sys

import pytest

DRAWS = """
import sys
import jaxrl_reward.{module}
loaded = [name for name in ("seaborn", "pandas", "matplotlib.pyplot") if name in sys.modules]
assert not loaded, loaded
"""

PONG = """
import jaxrl_reward.envs
import jax, matplotlib
matplotlib.use("Agg")
import gymnax
from matplotlib import pyplot
env, params = gymnax.make("Pong-misc")
_, state = env.reset(jax.random.key(0), params)
env.render(state, params)
assert len(pyplot.gcf().axes) == 1 and pyplot.gca().images
"""


@pytest.mark.parametrize("module", ["envs", "agents", "data", "collecting"])
def test_nothing_that_only_draws_is_loaded(module):
    subprocess.run([sys.executable, "-c", DRAWS.format(module=module)], check=True, timeout=100)


def test_gymnax_still_draws():
    subprocess.run([sys.executable, "-c", PONG], check=True, timeout=100)
