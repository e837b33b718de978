#!/usr/bin/env bash
# cpprb==11.0.0 (numpy==2.4.6), Python 3.11.
#
# Question: with Nstep={"size": 3, ...}, what is stored for the last transitions of an episode, which have fewer than
#   three steps left, when on_episode_end() is called as the manual asks?
# One would guess: the sum of the rewards that are left, and the episode's last state as next_obs.
# Seen: the rewards are right, but next_obs of every shortened row is an array of ONES: no state of the episode, nor
#   one that was ever added. Rule, for all sizes n = 2..5 and lengths T = 1..8: the rows T-n+1 .. T-1 (all, if T < n).
#   The same for every shape and dtype tried, for later episodes, with done = 1, and in PrioritizedReplayBuffer.
# Consequence: where the episode was cut by a clock (done = 0), n - 1 targets an episode bootstrap from a made-up state.
#   Where done = 1 the mask hides it. No column says how many steps a row holds, so gamma ** n is wrong there too.
# Source: cpprb.PyReplayBuffer, ReplayBuffer.on_episode_end and NstepBuffer.on_episode_end.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'cpprb==11.0.0' 'numpy==2.4.6'
"$dir/venv/bin/python" - <<'PY'
import cpprb

fields = {"obs": {}, "rew": {}, "next_obs": {}, "done": {}}


def stored(size, length):
    nstep = {"size": size, "gamma": 1.0, "rew": "rew", "next": "next_obs"}
    buffer = cpprb.ReplayBuffer(64, fields, Nstep=nstep)
    for t in range(length):  # states are numbered 100, 101, ...; a clock ends the episode, so done stays 0
        buffer.add(obs=100 + t, rew=1, next_obs=101 + t, done=0)
    buffer.on_episode_end()
    rows = buffer.get_all_transitions()
    return [[int(x) for x in rows[name].ravel()] for name in ("obs", "rew", "next_obs")]


obs, rew, following = stored(3, 6)
print("obs      ", obs)
print("rew      ", rew)
print("next_obs ", following)
print("right    ", [100 + min(t + 3, 6) for t in range(6)])
for size in range(2, 6):
    for length in range(1, 9):
        obs, rew, following = stored(size, length)
        whole = max(length - size + 1, 0)
        expected = [100 + t + size for t in range(whole)] + [1] * (length - whole)
        if rew != [min(size, length - t) for t in range(length)] or following != expected:
            raise SystemExit(f"changed: size {size}, length {length} stored {rew}, {following}")
print("as described: the shortened rows lead to a state of ones")
PY
