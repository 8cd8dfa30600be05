#!/usr/bin/env bash
# test.sh [ctest words...]: set-up, build, all tests; the only command a fresh machine needs.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh --oracles
export PATH=$PWD/.venv/bin:$PATH
cmake --preset release >build-configure.log 2>&1 || { tail -n 30 build-configure.log >&2; exit 1; }
rm -f build-configure.log
printf '%s  building (progress every 10 %%)\n' "$(date +%H:%M:%S)" >&2
cmake --build build | awk 'match($0, /^\[[0-9]+\/[0-9]+\]/) { split(substr($0, 2, RLENGTH - 2), n, "/"); t = int(10 * n[1] / n[2]); if (t == last) next; last = t } { print; fflush() }'
# CUDA code has no GPU to run on here, but it must compile wherever nvcc is.
scripts/compile_cuda.sh
exec ctest --test-dir build --output-on-failure --no-tests=error -j2 "$@"
