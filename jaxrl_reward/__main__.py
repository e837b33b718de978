"""`python -m jaxrl_reward` is the command `jaxrl-reward`."""

import sys

from jaxrl_reward.cli import main

if __name__ == "__main__":
    sys.exit(main())
