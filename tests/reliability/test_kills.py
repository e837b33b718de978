"""Kill -9 at random moments, resume, and compare with a run that nothing stopped."""

import random
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import killed_runs

KILLS = 20


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", sorted(killed_runs.SPECS))
def test_a_run_killed_at_a_random_moment_resumes_to_the_bit(name, tmp_path):
    spec, context = killed_runs.SPECS[name], killed_runs.processes(tmp_path / "cache")
    seconds = killed_runs.whole(context, spec, tmp_path / "whole")
    expected = killed_runs.outcome(tmp_path / "whole")
    rng = random.Random(0)
    kills = same = 0
    while kills < KILLS:
        after = rng.uniform(0.0, 1.1 * seconds)
        out = tmp_path / "cut"
        shutil.rmtree(out, ignore_errors=True)
        if not killed_runs.killed(context, spec, out, after):
            seconds = min(seconds, after)  # it was over: the machine has less to do by now
            continue
        kills += 1
        saved = sorted(path.name for path in out.glob("checkpoints/*/*"))
        killed_runs.whole(context, spec, out)
        agrees = killed_runs.outcome(out) == expected
        same += agrees
        print(f"{name} {kills}: killed after {after:.2f} s with {saved}: {agrees}", flush=True)
    assert (kills, same) == (KILLS, KILLS)
