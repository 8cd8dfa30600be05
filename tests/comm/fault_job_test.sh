#!/bin/bash
# What a job of 4 ranks answers when one of them meets with a fault: 76 for what another node would mend, and nothing
# of the kind without a fault, without a watchdog, or for lack of memory.
set -u
program=$MICRODIT_BIN/fault_job
[ -x "$program" ] || { echo "skipped: $program is not built"; exit 77; }
command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 77; }
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl=self,vader OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
TMPDIR=$(mktemp -d); export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

# expect CODE TEXT [wrapped] SETTING...: within 30 s. "wrapped": the rank's death is kept from mpirun, as that of a node
# whose launcher notices nothing; what the survivors do decides.
expect() {
  local code=$1 text=$2; shift 2
  local command=("$program") began=$SECONDS log=$TMPDIR/log.$BASHPID
  if [ "${1:-}" = wrapped ]; then shift; command=(sh -c '"$@" || { rc=$?; [ $rc = 137 ] && sleep 60; exit $rc; }' sh "$program"); fi
  timeout -k 5 "${limit_s:-30}" mpirun --oversubscribe -n 4 "${command[@]}" "$@" >"$log" 2>&1
  local rc=$?
  if [ $rc != "$code" ] || ! grep -q -- "$text" "$log"; then
    echo "FAILED: exit $rc instead of $code, or no \"$text\": $*"; tail -30 "$log"; touch "$TMPDIR/failed"
  else
    echo "exit $rc after $((SECONDS - began)) s: $*"
  fi
}

expect 0 "step 3"
expect 0 "step 3" fault=is_slow
# Without a watchdog nobody ends the job. In the background, as all that only waits.
(limit_s=25 expect 124 "step 1" wrapped fault=dies watchdog_s=0) &
(limit_s=25 expect 124 "step 1" fault=stops watchdog_s=0) &
expect 76 "has lasted longer than 3 s" wrapped fault=dies at_step=4 &
expect 76 "has lasted longer than 3 s" fault=stops at_step=4 &
expect 76 "unhandled system error" fault=nccl
expect 76 "NCCL: remote process exited" fault=nccl_later
expect 76 "uncorrectable ECC error" fault=cuda
expect 76 "has lasted longer than 3 s" wrapped fault=dies
expect 76 "has lasted longer than 3 s" fault=stops
expect 1 "lower microbatch_size" fault=memory
expect 2 "did you mean" falt=dies
# Death that mpirun sees: its own answer, at once.
expect 137 "" fault=dies
wait
[ ! -e "$TMPDIR/failed" ] || exit 1
echo "all ends as expected"
