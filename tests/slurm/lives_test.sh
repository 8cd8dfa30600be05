#!/bin/bash
# The exit-code contract under a real Slurm: who is requeued, how often, with which binary, and what dependents see.
source "$(dirname "$0")/cluster.sh"
export CPUS=8
start_cluster

# A stand-in for train and clean: exits with the next code of PLAN at every life, publishes what PUBLISH says.
cat >build/bin/train <<'E2'
#!/bin/bash
version=1
name=$(printf '%s\n' "$@" | sed -n 's/^name=//p')
case " $* " in
  *" --print-config "*) [ "$name" != bad ] || { echo "bad.yaml:1: unknown key" >&2; exit 2; }
    printf 'name: "%s"\nruns: runs\n' "$name"; exit 0 ;;
esac
life=${SLURM_RESTART_COUNT:-0}
run=$(dirname "$(dirname "$0")")
[ "$SLURM_PROCID" = 0 ] && {
  echo "life $life version $version size $SLURM_STEP_NUM_TASKS args $*" >>"$run/log"
  [ "${PUBLISH:-1}" = 1 ] && mkdir -p "$run/checkpoints/step_000000$life"
}
[ -z "${SLEEP:-}" ] || { trap 'exit 75' TERM; touch "$run/ready.$SLURM_PROCID"; for _ in $(seq 600); do sleep 0.1; done; }
plan=($PLAN)
trap '' TERM
exit "${plan[$life]:-0}"
E2
cat >build/bin/clean <<'E2'
#!/bin/bash
mkdir -p data/samples/x
echo "task $SLURM_ARRAY_TASK_ID life ${SLURM_RESTART_COUNT:-0} $*" >>"data/samples/x/log_$SLURM_ARRAY_TASK_ID"
[ "$SLURM_ARRAY_TASK_ID" = 1 ] && [ -z "${SLURM_RESTART_COUNT:-}" ] && exit 75
exit 0
E2
chmod +x build/bin/*
submit() { sbatch --parsable --nodes=1 --ntasks-per-node=2 "$@"; }
train() { local name=$1; shift; submit "$@" slurm/pretrain_256.sbatch --config any.yaml "name=$name"; }

progress=$(PLAN="75 75 0" train progress)
fruitless=$(PLAN="75 75 75 75 75" PUBLISH=0 train fruitless)
fault=$(PLAN="76 76 76 76 76" train fault)
mistake=$(PLAN="2" train mistake)
bad=$(PLAN="0" train bad)
cancelled=$(SLEEP=1 PLAN="0" train cancelled)
refused=$(PLAN="75 0" train refused --no-requeue)
array=$(sbatch --parsable --array=0-2 slurm/clean.sbatch --config any.yaml)
after_progress=$(sbatch --parsable --dependency=afterok:"$progress" --kill-on-invalid-dep=yes -o /dev/null --wrap true)
after_fruitless=$(sbatch --parsable --dependency=afterok:"$fruitless" --kill-on-invalid-dep=yes -o /dev/null --wrap true)

# What lies in build/ changes while the runs live: later lives must not see it.
wait_until 60 test -s runs/progress/log
sed -i 's/^version=1/version=2/' build/bin/train
sed -i 's/^launch() {/launch() { echo CHANGED SCRIPT;/' slurm/env.sh

wait_until 60 test -e runs/cancelled/ready.0 -a -e runs/cancelled/ready.1
scancel "$cancelled"
for job in $progress $fruitless $fault $mistake $bad $refused $cancelled $array $after_progress $after_fruitless; do wait_job "$job"; done

ended "stops with progress are requeued until done" "$progress" COMPLETED 0:0 2
equal "later lives run the first life's binary and config" "$(cat runs/progress/log)" \
"life 0 version 1 size 2 args --config runs/progress/life/config.yaml
life 1 version 1 size 2 args --config runs/progress/life/config.yaml
life 2 version 1 size 2 args --config runs/progress/life/config.yaml"
contains "the resolved config is kept" runs/progress/life/config.yaml 'name: "progress"'
contains "the script is kept" runs/progress/life/job.sbatch "launch train"
equal "later lives do not run a changed env.sh" "$(grep -c 'CHANGED SCRIPT' "slurm/logs/pretrain_256-$progress.out")" 0
equal "bookkeeping is removed at the end" "$(ls data/.lives | grep -cx "$progress")" 0
equal "a dependent waits for a requeued job" "$(job_field "$after_progress" JobState)" COMPLETED
ended "stops without progress end" "$fruitless" FAILED 1:0 2
contains "and say why" "slurm/logs/pretrain_256-$fruitless.out" "3 lives in a row published nothing new"
equal "a dependent of a failed job is cancelled" "$(job_field "$after_fruitless" JobState)" CANCELLED
ended "faults are requeued three times" "$fault" FAILED 76:0 3
ended "a mistake is not requeued" "$mistake" FAILED 2:0 0
ended "a bad config ends before any rank starts" "$bad" FAILED 2:0 0
contains "with the program's own message" "slurm/logs/pretrain_256-$bad.out" "bad.yaml:1"
equal "a cancelled job stays cancelled" "$(job_field "$cancelled" JobState) $(job_field "$cancelled" Restarts)" "CANCELLED 0"
contains "and says how to continue" "slurm/logs/pretrain_256-$cancelled.out" "not requeued"
ended "a site that refuses requeues" "$refused" FAILED 75:0 0
contains "hears how to go on" "slurm/logs/pretrain_256-$refused.out" "submit the same command again"
equal "one array task is requeued alone" "$(cat data/samples/x/log_*)" "task 0 life 0 --config any.yaml
task 1 life 0 --config any.yaml
task 1 life 1 --config any.yaml
task 2 life 0 --config any.yaml"
report
