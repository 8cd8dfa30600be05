#!/usr/bin/env bash
# test.sh [ctest words...]: set-up, build, all tests; the only command a fresh machine needs. Where nvcc is, the programs are
# built a second time with CUDA (build-cuda/): there may be no GPU to run them on, but they must compile, link and start.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh --oracles
export PATH=$PWD/.venv/bin:$PATH

# make PRESET TARGET OPTIONS...: configures and builds, with a line every 10 %.
make() {
  local preset=$1 folder=build target=$2; shift 2
  [ "$preset" = release ] || folder=build-$preset
  cmake --preset "$preset" -DMICRODIT_WERROR=ON "$@" >"$folder-configure.log" 2>&1 || { tail -n 30 "$folder-configure.log" >&2; exit 1; }
  rm -f "$folder-configure.log"
  printf '%s  building %s (progress every 10 %%)\n' "$(date +%H:%M:%S)" "$folder" >&2
  cmake --build "$folder" --target "$target" |
    awk 'match($0, /^\[[0-9]+\/[0-9]+\]/) { split(substr($0, 2, RLENGTH - 2), n, "/"); t = int(10 * n[1] / n[2]); if (t == last) next; last = t } { print; fflush() }'
}

make release all -DMICRODIT_TESTS=ON -DMICRODIT_CUDA=OFF
if command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]; then
  # Without a GPU, .venv has only torch's own libraries; the oracles' torch brought the ones that those need.
  libraries=$(echo "$PWD"/.venv-oracles/lib/python3*/site-packages/nvidia/*/lib | tr ' ' ';')
  make cuda jobs "-DMICRODIT_CUDA_LIBRARY_PATH=$libraries"
fi
code=0
# Three at a time: on two cores the tests wait for half of their time.
ctest --test-dir build --output-on-failure --no-tests=error -j3 "$@" || code=$?
# What failed says so once more at the end, where people and logs that are cut look.
failed=build/Testing/Temporary/LastTestsFailed.log
if [ $code != 0 ] && [ -s $failed ]; then
  while IFS=: read -r _ name; do
    printf '\n==== %s\n' "$name"
    awk -v name="$name" '/^[0-9]+\/[0-9]+ Testing: / { here = ($0 ~ ": " name "$") } here' build/Testing/Temporary/LastTest.log | tail -n 40
  done <$failed
fi
exit $code
