#!/bin/bash
# test_comm under mpirun with 1 to 4 ranks, and the ways a job of several ranks ends.
set -u
program=$MICRODIT_BIN/test_comm
[ -x "$program" ] || { echo "skipped: $program is not built"; exit 77; }
command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 77; }
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl=self,vader OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
failures=0
log=$(mktemp); trap 'rm -f "$log"' EXIT

# expect CODE TEXT COMMAND...: the command exits with CODE and its output holds TEXT
expect() {
  local code=$1 text=$2; shift 2
  timeout 120 "$@" >"$log" 2>&1
  local rc=$?
  if [ $rc != "$code" ] || ! grep -q -- "$text" "$log"; then
    echo "FAILED: exit $rc instead of $code, or no \"$text\": $*"; tail -40 "$log"; failures=$((failures + 1))
  fi
}
ranks() { local n=$1; shift; mpirun --oversubscribe -n "$n" "$@"; }
export -f ranks

for n in 1 2 3 4; do
  MICRODIT_TEST_SIZE=$n expect 0 PASSED bash -c "ranks $n $program --gtest_filter='*Cluster*'"
done
export MICRODIT_TEST_END=1
expect 2 "" bash -c "ranks 3 $program --gtest_filter=ClusterEnd.Abort"
MICRODIT_TEST_WATCHDOG_S=1 expect 76 "barrier of 0 bytes" bash -c "ranks 3 $program --gtest_filter=ClusterEnd.HungPeer"
expect 9 "" bash -c "ranks 3 $program --gtest_filter=ClusterEnd.ExceptionUnwindsWithoutWaitingForThePeers"
MICRODIT_TEST_EXIT=75 expect 75 "tear-down" bash -c "ranks 4 $program --gtest_filter=Cluster.AllReduce*"
# A launcher of 4 tasks that MPI knows nothing of: four jobs of size one must not do the work four times.
OMPI_COMM_WORLD_SIZE=4 expect 2 "srun --mpi=pmix" "$program" --gtest_filter=Cluster.AllReduce*
[ $failures = 0 ] && echo "all ends as expected"
exit $((failures > 0))
