#!/usr/bin/env bash
# jax==0.9.2 (jaxlib==0.9.2, numpy==2.4.6, filelock==3.20.0), Python 3.11.
#
# Question: a folder of compiled programs was kept by JAX without a bound, as by default. Then
#   jax_compilation_cache_max_size is set, far above what lies there. What is kept from then on?
# One would guess: new programs are added, and the oldest go when the bound is reached.
# Seen: nothing is ever kept again. Each new program is compiled, and a UserWarning says that a file ending in -atime
#   is not there: entries from before the bound have no such file, and the search for what to evict reads one of
#   every entry before each write, far below the bound too. Old entries are still read, and a read gives that entry
#   its file: the folder recovers only after each of its old programs has been loaded once with the bound set.
# Consequence: a bound that is added to a shared folder later turns the cache off for everything new; where warnings
#   are filtered, without a word.
# Source: jax._src.lru_cache.LRUCache, _evict_if_needed and put.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'jax==0.9.2' 'jaxlib==0.9.2' 'numpy==2.4.6' 'filelock==3.20.0'
cat > "$dir/compile.py" <<'PY'
import sys
import warnings

import jax

folder, bound, *factors = sys.argv[1:]
jax.config.update("jax_compilation_cache_dir", folder)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.config.update("jax_compilation_cache_max_size", int(bound))
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    for factor in map(float, factors):
        jax.jit(lambda x, factor=factor: x * factor)(jax.numpy.float32(1)).block_until_ready()
print(sum("-atime" in str(each.message) for each in seen))
PY
entries() { find "$dir/$1" -name '*-cache' | wc -l; }
run() { JAX_PLATFORMS=cpu TF_CPP_MIN_LOG_LEVEL=3 "$dir/venv/bin/python" "$dir/compile.py" "$dir/$1" "${@:2}"; }

run later -1 2 3 > "$dir/out"; before=$(entries later)
run later 1000000000 5 7 > "$dir/out"; complaints=$(cat "$dir/out"); after=$(entries later)
run later 1000000000 2 3 > "$dir/out"; run later 1000000000 5 7 > "$dir/out"; read_once=$(entries later)
run bounded 1000000000 2 3 > "$dir/out"; first=$(entries bounded)
run bounded 1000000000 5 7 > "$dir/out"; second=$(entries bounded)
echo "bound set later:     $before entries, then $after, with $complaints warnings; each read once: $read_once"
echo "bound set at first:  $first entries, then $second"
if [ "$after" != "$before" ] || [ "$complaints" -lt 2 ] || [ "$read_once" -lt $((before + 2)) ] || [ "$second" -lt $((first + 2)) ]; then
  echo "changed"; exit 1
fi
echo "as described: a bound that comes later ends the keeping of programs"
