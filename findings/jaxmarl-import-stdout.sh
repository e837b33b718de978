#!/usr/bin/env bash
# jaxmarl==0.2.0 (jax==0.9.2), Python 3.11, with or without brax.
#
# Question: output is redirected (contextlib.redirect_stdout here; a test runner or a notebook does it, too) when a
#   program imports jaxmarl: where does what it prints afterwards go?
# One would guess: where it was redirected to; an import leaves sys.stdout alone.
# Seen: "after", printed inside the same `with`, is not in the buffer but on the process's own output: the import sets
#   sys.stdout and sys.stderr to sys.__stdout__ and sys.__stderr__.
# Consequence: after `import jaxmarl`, logs that a program tees or captures end silently where they were redirected: a
#   notebook's cells, a sweep's log files by redirect_stdout, a test's captured output.
# Source: jaxmarl/environments/mabrax/mabrax_env.py silences brax's import and puts back the process's own streams, not
#   those that it found; it is imported with the package, and its `finally` runs without brax, too.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'jaxmarl==0.2.0' 'jax==0.9.2'
JAX_PLATFORMS=cpu "$dir/venv/bin/python" - <<'PY'
import contextlib
import io
import sys

kept = io.StringIO()
with contextlib.redirect_stdout(kept):
    print("before")
    import jaxmarl  # noqa: F401

    print("after")
    ours = sys.stdout is sys.__stdout__
print(f"kept: {kept.getvalue()!r}; sys.stdout was the process's own within: {ours}")
assert kept.getvalue() == "before\n" and ours, "the behaviour has changed"
PY
