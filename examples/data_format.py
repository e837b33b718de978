r"""A format of data of your own: tables of steps as CSV, with a column for each number.

    jaxrl-reward train bc gymnax:Pendulum-v1 --import examples/data_format.py \
        --data examples/pendulum.csv --batch-size 8 \
        --total-steps 64 --evals 2 --eval-episodes 1 --out runs/data
    jaxrl-reward evaluate runs/data --episodes 1
    jaxrl-reward render runs/data --max-steps 5 --out runs/data/episode.gif

A file is told by its suffix, or by the name before it: `--data table:PATH`.
"""

import csv

import numpy as np

from jaxrl_reward import data


def read(path):
    """Columns `obs0`, `obs1`, ..., `action0`, ..., `next_obs0`, ..., and one for each flag."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))

    def columns(name):
        found = [key for key in rows[0] if key.rstrip("0123456789") == name]
        return np.array([[float(row[key]) for key in found] for row in rows], np.float32)

    arrays = {name: columns(name) for name in ("obs", "action", "next_obs")}
    arrays |= {name: columns(name)[:, 0] for name in ("reward", "terminated", "truncated")}
    return data.make(arrays, data.Provenance(environment="gymnax:Pendulum-v1"), str(path))


data.register("table", read, suffix=".csv")
