"""The commands, one module each: `add` gives it to a parser, and `run` does it.

Nothing here loads JAX; it is loaded inside `run`.
"""

from jaxrl_reward.cli.commands import (
    collect,
    compare,
    data,
    evaluate,
    explain,
    judge,
    listing,
    plot,
    render,
    reproduce,
    search,
    sweep,
    train,
)

COMMANDS = (  # as help lists them
    train,
    search,
    evaluate,
    render,
    plot,
    explain,
    listing,
    reproduce,
    collect,
    data,
    compare,
    judge,
    sweep,
)
