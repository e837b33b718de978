"""What runs for milliseconds need not be compiled for seconds."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope="package", autouse=True)
def quickly_compiled() -> Iterator[None]:
    """Programs of these tests are compiled without most optimisations."""
    with pytest.MonkeyPatch.context():
        before = jax.config.read("jax_disable_most_optimizations")
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", before)
