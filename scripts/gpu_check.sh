#!/usr/bin/env bash
# gpu_check.sh [check|reference] [options of gpu_check.py]: on a machine with a GPU, is every path that runs there right, and how fast
# is phase 1 (check); how fast is the original's PyTorch code beside it (reference, with MICRODIT_REFERENCE=<checkout>)?
# At most 4 minutes each. Exit 1 when a row misses its bar. Without a GPU: the CPU half, and it says so.
# Looks at build-cuda/bin, else build/bin (MICRODIT_BIN: another). Tables: <build>/gpu_check/ (OUT: another folder); a pass on a GPU
# also writes <build>/gpu_check.json, which allows this card the GPU code that has a slower reference.
# Needs Python with torch: .venv-oracles, else .venv, else python3 (MICRODIT_PYTHON: another).
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${MICRODIT_BIN:-}
[ -n "$bin" ] || { bin=build-cuda/bin; [ -x $bin/probe ] || bin=build/bin; }
build=$(dirname "$bin")
for program in probe train convert; do
  [ -x "$bin/$program" ] && continue
  echo "gpu_check.sh: $bin/$program is not built: cmake --preset release && cmake --build build --target jobs" >&2
  exit 2
done
loader_bench=$bin/loader_bench  # a build without tests has none
[ -x "$loader_bench" ] || loader_bench=build/bin/loader_bench
python=${MICRODIT_PYTHON:-}
for candidate in .venv-oracles/bin/python .venv/bin/python python3; do
  [ -z "$python" ] && "$candidate" -c 'import torch' 2>/dev/null && python=$candidate
done
[ -n "$python" ] || { echo "gpu_check.sh: no Python with torch: run scripts/setup.sh --oracles, or set MICRODIT_PYTHON" >&2; exit 2; }
data=${MICRODIT_TEST_DATA:-$build/test_data}
MICRODIT_SOURCE=$PWD MICRODIT_BIN=$(cd "$bin" && pwd) bash tests/emoji_small.sh "$data" >&2
exec "$python" scripts/gpu_check.py "$@" --bin "$bin" --loader-bench "$loader_bench" --configs configs \
  --codec assets/emoji_codec --latents "$data/latents/emoji_small" \
  --out "${OUT:-$build/gpu_check}" --proof "$build/gpu_check.json"
