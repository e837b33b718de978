"""What a user did wrong, in one line that names the fix. Loads no JAX."""

import difflib
import re
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input: its message is one line that names the fix."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for a misspelt name, else the list of known ones.

    Whatever the case, and `lr` is short for `learning_rate`.
    """
    names = sorted(known)
    meant = [each for each in names if name.strip("-").lower() == _initials(each)]
    spelt = {each.lower(): each for each in reversed(names)}
    close = difflib.get_close_matches(name.lower(), spelt, n=1, cutoff=0.5)
    found = meant or [spelt[each] for each in close]
    return f"did you mean {found[0]!r}?" if found else f"known: {', '.join(names)}"


def _initials(name: str) -> str:
    """Those of a name of several words; none of one word."""
    words = re.split("[-_]", name.strip("-").lower())
    return "".join(word[:1] for word in words) if words[1:] else ""
