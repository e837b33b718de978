"""The command `data`."""

import argparse
import json
import warnings
from typing import Any

from jaxrl_reward.cli.console import columns, say
from jaxrl_reward.cli.parser import command


def add(subparsers: Any) -> None:
    """Adds the command and its flags."""
    made = command(subparsers, "data", run, "Say what a data set holds, draw it, convert it.")
    made.add_argument(
        "data",
        metavar="DATA",
        help="a file or folder, or minari:NAME; options follow commas, see `list formats`",
    )
    made.add_argument("--json", action="store_true", help="print JSON")
    made.add_argument("--out", metavar="FILE.png", help="draw returns and lengths")
    made.add_argument(
        "--to", metavar="FORMAT:PATH", help="write it as npz:PATH, d4rl:PATH or minari:NAME"
    )


def run(args: argparse.Namespace) -> None:
    """Prints an overview; then what was drawn and written."""
    from jaxrl_reward.data import formats, overview

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", module=r"jaxrl_reward\.")
        found = formats.read(args.data)
    told = tuple(dict.fromkeys(str(each.message) for each in caught))
    about = overview.overview(found, tuple(x for x in told if x not in found.provenance.assumed))
    if args.json:
        print(json.dumps(about, indent=2))
    else:
        columns(overview.lines(about))
    if args.out:
        say(f"{overview.draw(found, args.out)} shows returns and lengths")
    if args.to:
        say(f"{formats.write(found, args.to)} holds the data")
