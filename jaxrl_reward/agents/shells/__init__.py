"""What agents of one kind do alike: what they play or read, `init`, `iterate`, `act`, `evaluate`.

An agent of its own is a `Config` and a `Learner`: its networks, how they act, and what
an update is. `on_policy` learns from each block it plays, `off_policy` from a store of
them, `from_data` from data sets.
"""
