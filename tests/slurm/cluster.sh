# Sourced by the tests of this folder: a Slurm cluster of their own, a work folder with the job scripts, and waiting by polling.
set -u
test_script=$(realpath "$0")
PATH=$PATH:/usr/sbin:/sbin
for program in slurmctld slurmd munged sbatch srun; do
  command -v $program >/dev/null || { echo "skipped: $program is not installed"; exit 77; }
done
MICRODIT_SOURCE=${MICRODIT_SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
work=$(mktemp -d)
chmod 711 "$work"  # munged wants to be reachable
export MICRODIT_SLURM_ROOT=$work/cluster
# Jobs must see neither this shell's settings nor an outer job.
unset MICRODIT_SITE MICRODIT_DATA MICRODIT_HOME MICRODIT_ARGS MICRODIT_LAUNCHER ${!SLURM_@} ${!SBATCH_@}
programs=${MICRODIT_BIN:-$MICRODIT_SOURCE/build/bin}
unset MICRODIT_BIN
failures=0

finish() {
  local rc=$?
  "$MICRODIT_SOURCE/scripts/local_slurm.sh" down 2>/dev/null
  rm -rf "$work"
  exit $rc
}
trap finish EXIT
trap 'exit 143' TERM INT

start_cluster() {
  local settings
  settings=$("$MICRODIT_SOURCE/scripts/local_slurm.sh" up) || { echo "FAILED: the local cluster does not start"; exit 1; }
  eval "$settings"
  cp -r "$MICRODIT_SOURCE/slurm" "$work/slurm"
  rm -rf "$work/slurm/logs" "$work/slurm/lives"  # of jobs that were submitted there
  mkdir -p "$work/build/bin" "$work/slurm/logs"
  cd "$work" || exit 1
}
job_field() { scontrol show job "$1" 2>/dev/null | grep -oE "\b$2=[^ ]*" | head -n 1 | cut -d= -f2; }
# wait_until SECONDS COMMAND...: polls
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.1
  done
}
is_over() { [ -z "$(squeue -h -j "$1" -o %A 2>/dev/null)" ]; }
wait_job() {
  wait_until "${2:-120}" is_over "$1" && return
  echo "FAILED: job $1 is not over: $(squeue -j "$1")"
  [ $failures != 0 ] || { sinfo -R; tail -n 25 "$MICRODIT_SLURM_ROOT"/log/*.log; }  # what the cluster says of it, once
  failures=$((failures + 1))
}
# equal WHAT GOT WANTED
equal() {
  [ "$2" = "$3" ] || { echo "FAILED: $1: got \"$2\", expected \"$3\""; failures=$((failures + 1)); }
}
# contains WHAT FILE TEXT
contains() {
  grep -q -- "$3" "$2" 2>/dev/null || { echo "FAILED: $1: \"$3\" is not in $2:"; tail -n 20 "$2"; failures=$((failures + 1)); }
}
# ended WHAT JOB STATE EXIT_CODE RESTARTS
ended() { equal "$1" "$(job_field "$2" JobState) $(job_field "$2" ExitCode) $(job_field "$2" Restarts)" "$3 $4 $5"; }
# Nothing here takes a node away. Where one of the cluster's own daemons died or hangs, that is told, and the test begins
# again on another cluster, once.
lost_node() { [ -n "$(sinfo -h -N -o %t 2>/dev/null | grep -E '\*|down')" ]; }
report() {
  if [ $failures != 0 ] && [ -z "${SECOND_CLUSTER:-}" ] && lost_node; then
    echo "the cluster lost a node: once more on another"
    (finish)
    cd / && SECOND_CLUSTER=1 MICRODIT_BIN=$programs exec bash "$test_script"
  fi
  [ $failures = 0 ] && echo "passed"
  exit $((failures > 0))
}
