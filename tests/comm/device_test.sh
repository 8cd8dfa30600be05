#!/bin/bash
# test_device under mpirun: the choice of the GPU and both ways of CUDA buffers, with real ranks.
set -u
program=$MICRODIT_BIN/test_device
[ -x "$program" ] || { echo "skipped: $program is not built"; exit 77; }
command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 77; }
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl=self,vader OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
TMPDIR=$(mktemp -d); export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
timeout -k 5 120 mpirun --oversubscribe -n 4 "$program" --gtest_filter='ChooseDevice.*:All/Paths.*:GpuMemory.*' >"$TMPDIR/log" 2>&1
rc=$?
for text in "4 ranks share 2 cards" "PASSED"; do
  grep -q -- "$text" "$TMPDIR/log" || { echo "FAILED: no \"$text\""; rc=1; }
done
[ $rc = 0 ] || { tail -60 "$TMPDIR/log"; echo "exit $rc"; }
exit $rc
