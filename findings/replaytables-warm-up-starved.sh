#!/usr/bin/env bash
# ReplayTables-andnp==8.0.0 (discrete-dists==1.4.0, numpy==2.4.6, lz4==4.3.3; numba left out), Python 3.11.
#
# Question: PrioritizedReplay holds 1,000 transitions of a warm-up when training begins; batches of 32 are drawn and
#   their priorities updated. How soon has each transition been drawn once?
# One would guess: soon: the defaults "strictly adhere" to Schaul et al. (2016), where a new transition has the largest
#   priority (1 at the start) so that it is seen at least once before it falls back.
# Seen: until the first update_batch the "largest priority" is 1e-16, and it stays with the rows that were added by
#   then. After one update with errors near 1 the other 968 share a chance of 1e-13 and what uniform_probability (1e-3)
#   leaves: 32 a batch, the same few rows are drawn; after 1,000 batches (32,000 draws) some 60 rows of 1,000 have been
#   seen, with uniform_probability=0 still the first batch only. new_priority_mode="mean" is the same. Rows added after the
#   first update are right, and so is a priority given with the row (extra={"priority": 1.0}).
# Consequence: the agent fits one random batch of its warm-up again and again; the rest of it is as good as lost. In
#   offline use, where all is added first, that is the whole data set.
# Source: ReplayTables/PER.py, PrioritizedReplay.__init__ (_max_priority = 1e-16) and _on_add.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --no-deps 'ReplayTables-andnp==8.0.0' 'discrete-dists==1.4.0' 'numpy==2.4.6' \
    'lz4==4.3.3'
"$dir/venv/bin/python" - <<'PY'
import numpy as np
from ReplayTables.interface import Timestep
from ReplayTables.PER import PERConfig, PrioritizedReplay


def fill(buffer, start, stop, extra=None):
    for t in range(start, stop):
        buffer.add_step(Timestep(np.array([float(t)]), 0, None if t == 0 else 0.0, 0.9, False, extra))


def drawn(warm_up, batches, extra=None, **config):
    """Which of the warm-up's rows have been drawn after so many batches of 32 with errors between .5 and 1."""
    draw = np.random.default_rng(0)
    buffer = PrioritizedReplay(10_000, 1, np.random.default_rng(1), PERConfig(**config))
    fill(buffer, 0, warm_up + 1, extra)
    seen = set()
    for _ in range(batches):
        batch = buffer.sample(32)
        seen |= set(batch.trans_id.tolist())
        buffer.update_batch(batch, priorities=draw.uniform(0.5, 1, size=32))
    return seen, buffer


for warm_up in (100, 1000, 5000):
    for batches in (1, 100, 1000):
        count = len(drawn(warm_up, batches)[0])
        print(f"warm-up of {warm_up}, {batches} batches of 32: {count} rows drawn")
    if count > 110:
        raise SystemExit("changed: the warm-up is replayed")
mean = len(drawn(1000, 1000, new_priority_mode="mean")[0])
none = len(drawn(1000, 1000, uniform_probability=0.0)[0])
given = len(drawn(1000, 1000, extra={"priority": 1.0})[0])
print(f"of 1,000 after 1,000 batches: mode mean {mean}, without the uniform part {none}, with a given priority {given}")
if mean > 110 or none > 32 or given < 900:
    raise SystemExit("changed: mean, no uniform part, or a given priority")

seen, buffer = drawn(1000, 1)
fill(buffer, 1001, 1033)
ids = buffer.sample(10_000).trans_id
late, unseen = np.mean(ids >= 1000), np.mean((ids < 1000) & ~np.isin(ids, sorted(seen)))
print(f"32 rows added after the first update get {late:.2f} of the next draws, "
      f"the {1000 - len(seen)} unseen of the warm-up {unseen:.4f}")
if late < 0.3 or unseen > 0.01:
    raise SystemExit("changed: new rows are starved as well, or the warm-up is not")
PY
