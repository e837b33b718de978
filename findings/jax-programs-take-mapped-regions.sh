#!/usr/bin/env bash
# jax==0.9.2 on the CPU, Linux, Python 3.11.
#
# Question: what does a process have to spare for each program that it compiles and keeps, beside memory?
# One would guess: some kilobytes of code, so that thousands of small programs are no matter.
# Seen: mapped memory regions, of the 65,530 that Linux gives a process by default (vm.max_map_count): 100 functions of
#   one addition, jitted and kept, take 297, larger ones six each and more. They come back when the function and JAX's
#   caches let go of it, and only then.
# Consequence: a long process that keeps what it compiles (a test suite, a notebook server, a search over shapes) has
#   room for some ten to twenty thousand programs, whatever memory it has. Where there is none left, the next mapping
#   fails inside of jaxlib, in a place that says nothing of it. `jax.clear_caches()` and letting go of kept
#   executables now and then avoids that; /proc/self/maps tells how far one is.
# Source: /proc/self/maps before and after; sysctl vm.max_map_count of the kernel's documentation.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'jax==0.9.2' 'jaxlib==0.9.2'
JAX_PLATFORMS=cpu "$dir/venv/bin/python" - <<'PY'
import gc
from pathlib import Path

import jax
import jax.numpy as jnp

COUNT = 100
maps = lambda: len(Path("/proc/self/maps").read_bytes().splitlines())  # noqa: E731
x = jnp.ones(2)
jax.jit(lambda x: x + 0.5)(x)  # what starts with the first program
before = maps()
kept = [jax.jit(lambda x, i=i: x + i) for i in range(COUNT)]
for each in kept:
    each(x)
full = maps()
kept.clear()
jax.clear_caches()
gc.collect()
after = maps()
print(f"regions: {before} before, {full} with {COUNT} programs, {after} when they are freed")
assert 2 * COUNT <= full - before <= 8 * COUNT, "the behaviour has changed"
assert after - before < COUNT, "the behaviour has changed"
PY
