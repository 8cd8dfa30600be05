#!/bin/bash
# scripts/local_slurm.sh: up, status, env, a second up, down while a job runs; nothing is left behind.
source "$(dirname "$0")/cluster.sh"
script=$MICRODIT_SOURCE/scripts/local_slurm.sh
"$script" status >/dev/null 2>&1; equal "status before up" $? 3
"$script" env >/dev/null 2>&1; equal "env before up" $? 1
NODES=3 start_cluster
equal "nodes" "$(sinfo -h -N -o '%N %t' | sort -u | paste -sd,)" "n1 idle,n2 idle,n3 idle"
"$script" status >status.out 2>&1; equal "status" $? 0
equal "a second up changes nothing" "$("$script" up 2>/dev/null)" "export SLURM_CONF=$SLURM_CONF"
equal "no RequeueExit" "$(grep -c RequeueExit "$SLURM_CONF")" 0

# down stops daemons, job steps and what they started.
job=$(sbatch --parsable --nodes=1 -o /dev/null --wrap 'srun sleep 4321.5')
has_step() { pgrep -f '^/?(usr/)?(bin/)?sleep 4321.5$' >/dev/null; }
wait_until 30 has_step || { echo "FAILED: the step of job $job did not start"; failures=$((failures + 1)); }
pids=$(cut -d' ' -f1 "$MICRODIT_SLURM_ROOT"/run/* 2>/dev/null | sort -u)
"$script" down 2>/dev/null; equal "down" $? 0
for pid in $pids; do
  if [ -e "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status"; then
    echo "FAILED: process $pid is left: $(tr '\0' ' ' <"/proc/$pid/cmdline")"; failures=$((failures + 1))
  fi
done
has_step && { echo "FAILED: the job's process is left"; failures=$((failures + 1)); }
equal "no folder is left" "$(ls "$MICRODIT_SLURM_ROOT" 2>/dev/null | wc -l)" 0
mkdir -p "$MICRODIT_SLURM_ROOT" && touch "$MICRODIT_SLURM_ROOT/mine"
"$script" down 2>/dev/null; equal "a folder that is not ours is refused" $? 1
equal "and left alone" "$(ls "$MICRODIT_SLURM_ROOT")" mine
report
