"""What runs for milliseconds need not be compiled for seconds."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(autouse=True)
def quickly_compiled(request: pytest.FixtureRequest) -> Iterator[None]:
    """Programs of these tests are compiled without most optimisations, but for slow ones."""
    before = jax.config.read("jax_disable_most_optimizations")
    quick = request.node.get_closest_marker("slow") is None
    jax.config.update("jax_disable_most_optimizations", quick)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
