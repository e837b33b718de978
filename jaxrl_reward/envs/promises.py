"""What a name that is another package's promises: the same task, or what differs.

Where both can be run side by side, `scripts/bench/originals.py` does: its record says the same.
"""

_EASIER = "spring and positional are other, easier tasks than MuJoCo's"
NOTES = {
    "brax:ant": f"differs from Gymnasium's: 27 numbers for 105, bent legs at first; {_EASIER}",
    "brax:halfcheetah": "differs from Gymnasium's on spring and positional, which have other gears",
    "brax:hopper": "differs from Gymnasium's: another integrator, the fall is still paid for; "
    f"generalized is near it, {_EASIER}",
    "brax:humanoid": "differs from Gymnasium's: 244 numbers for 348, actions to 1 for 0.4; "
    f"{_EASIER}",
    "brax:inverted_pendulum": "differs from Gymnasium's: actions to 1 for 3, the fall is still "
    f"paid for; {_EASIER}",
    "brax:pusher": "differs from Gymnasium's: 1,000 steps for 100 (episode_length=100), actions "
    "to 1 for 2",
    "brax:reacher": "differs from Gymnasium's: 1,000 steps for 50 (episode_length=50), the "
    "fingertip's velocity for the joints'",
    "brax:walker2d": "differs from Gymnasium's: another integrator, the fall is still paid for; "
    f"generalized is near it, {_EASIER}",
    "gymnax:Acrobot-v1": "same as Gymnasium's",
    "gymnax:Asterix-MinAtar": "differs from MinAtar's: no sticky actions (sticky=0.1), 1,000 "
    "steps for no limit, a spawn deletes another where the board is full",
    "gymnax:Breakout-MinAtar": "differs from MinAtar's: no sticky actions (sticky=0.1), 1,000 "
    "steps for no limit",
    "gymnax:CartPole-v1": "same as Gymnasium's",
    "gymnax:Catch-bsuite": "same as bsuite's",
    "gymnax:DiscountingChain-bsuite": "differs from bsuite's: its end is a time limit",
    "gymnax:Freeway-MinAtar": "differs from MinAtar's: no sticky actions (sticky=0.1), its end "
    "is a time limit",
    "gymnax:MemoryChain-bsuite": "same as bsuite's",
    "gymnax:MountainCar-v0": "same as Gymnasium's",
    "gymnax:MountainCarContinuous-v0": "differs from Gymnasium's: the car does not stop at the "
    "left wall (wall=true)",
    "gymnax:Pendulum-v1": "same as Gymnasium's",
    "gymnax:Seaquest-MinAtar": "differs from MinAtar's: no sticky actions (sticky=0.1), 1,000 "
    "steps for no limit",
    "gymnax:SimpleBandit-bsuite": "differs from bsuite's: each episode draws its arms anew, so "
    "that none is better",
    "gymnax:SpaceInvaders-MinAtar": "differs from MinAtar's: no sticky actions (sticky=0.1), "
    "1,000 steps for no limit",
    "gymnax:UmbrellaChain-bsuite": "same as bsuite's",
}


def note(name: str) -> str:
    """What the name of an environment promises, whatever its options; "" where nothing is known."""
    return NOTES.get(name.partition(",")[0], "")
