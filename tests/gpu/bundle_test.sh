#!/usr/bin/env bash
# The bundle: small enough, without folders of this machine, alone with its own libraries; its check gives a verdict from another folder
# and turns red for a damaged program; a damaged or foreign payload is refused.
set -euo pipefail
cd "${MICRODIT_SOURCE:?}"
python=.venv-oracles/bin/python
"$python" -c 'import torch' 2>/dev/null || { echo "skipped: no .venv-oracles with torch"; exit 77; }
[ -x "$MICRODIT_BIN/loader_bench" ] || { echo "skipped: loader_bench is not built"; exit 77; }
command -v ompi_info >/dev/null || { echo "skipped: no Open MPI here"; exit 77; }
export MICRODIT_PYTHON=$PWD/$python
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
fail() { echo "FAIL $*" >&2; exit 1; }
mkdir "$folder/build"; ln -s "$(cd "$MICRODIT_BIN" && pwd)" "$folder/build/bin"
MICRODIT_TEST_DATA=${MICRODIT_TEST_DATA:?} scripts/gpu_bundle.sh "$folder/build" 2>"$folder/log" || { cat "$folder/log"; fail "gpu_bundle.sh"; }
cp -r "$folder/build/bundle" "$folder/elsewhere"; rm "$folder/build/bin"; cd "$folder"
[ "$(du -sk --apparent-size elsewhere | cut -f1)" -le $((60 * 1024)) ] || fail "larger than 60 MiB"

unpacked=$(elsewhere/run.sh unpack)
for program in "$unpacked"/bin/*; do
  ! readelf -d "$program" | grep -E 'RPATH|RUNPATH' || fail "$program has library folders of this machine"
done
# Every library that is neither packed nor of the base system or of torch's Python is missing on a bare machine.
torch=$("$MICRODIT_PYTHON" -c 'import os, torch; print(os.path.dirname(torch.__file__))')
for file in "$unpacked"/bin/* "$unpacked"/mpi/bin/mpirun "$unpacked"/mpi/lib/*/*.so "$unpacked"/lib/*; do
  LD_LIBRARY_PATH=$unpacked/lib:$torch/lib ldd "$file" 2>/dev/null | awk '$2 == "=>" { print $1, $3 }'
done | sort -u | grep -Ev "$unpacked|$torch|^(libc|libm|libdl|librt|libpthread|libresolv|libutil|libstdc\+\+|libgcc_s)\.so" \
  | grep -Ev '^lib(cuda|cudart|cupti|nccl|nv)' && fail "the libraries above are not packed"

OUT=$folder/out elsewhere/run.sh check --rows 'forward|two ranks' >check.log 2>&1 || { cat check.log; fail "a good bundle does not pass"; }
grep -q '^PASS' check.log && [ -s out/gpu_check.md ] && [ -s out/gpu_check.json ] || fail "no verdict or no table"
for harm in 'kill -SEGV $$' 'exit 0' 'sleep 60'; do
  printf '#!/bin/bash\n%s\n' "$harm" >"$unpacked/bin/probe"
  ! OUT=$folder/out elsewhere/run.sh check --rows forward --limit-s 15 >check.log 2>&1 || fail "passes with a probe that does: $harm"
  grep -q '^FAIL forward' check.log || { cat check.log; fail "no FAIL line for: $harm"; }
done

printf x >>elsewhere/payload.tar.xz; rm -r "$unpacked"
! elsewhere/run.sh check >check.log 2>&1 && grep -q damaged check.log || fail "a damaged payload is not refused"
! MICRODIT_PYTHON=/bin/false elsewhere/run.sh check >/dev/null 2>&1 || fail "goes on without Python"
echo "bundle: good"
