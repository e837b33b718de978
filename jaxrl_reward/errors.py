"""What a user did wrong, in one line that names the fix. Loads no JAX."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input: its message is one line that names the fix."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for a misspelt name, else the list of known ones."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
