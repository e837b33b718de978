"""Programs inside programs: what JAX itself offers no way to that stays."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax


def programs_in(params: Mapping[str, Any]) -> Iterator[Any]:
    """The jaxprs among the parameters of an equation: a loop's body, a call's function."""
    for part in jax.tree.leaves(dict(params), is_leaf=lambda x: hasattr(x, "eqns")):
        if hasattr(part, "eqns"):
            yield getattr(part, "jaxpr", part)
