#!/bin/bash
# The next life where it is not easy, under a real Slurm: a busy controller, sites that refuse requeues, arrays, dependents;
# and a prefix before every program.
source "$(dirname "$0")/cluster.sh"
start_cluster
source "$MICRODIT_SOURCE/tests/slurm/stand_ins.sh"

# A scontrol that fails for 20 s from its first call on.
mkdir busy
cat >busy/scontrol <<E2
#!/bin/bash
[ -e began ] || date +%s >began
if [ \$((\$(date +%s) - \$(cat began))) -lt 20 ]; then
  echo "\$*" >>failed_calls
  echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2
  exit 1
fi
exec $(command -v scontrol) "\$@"
E2
chmod +x busy/scontrol
busy=$(PATH=$PWD/busy:$PATH train busy "75+ 0")
busy_cancelled=$(PATH=$PWD/busy:$PATH train busy_cancelled "wait 0")

# A scontrol that is not allowed to requeue.
mkdir refusing
cat >refusing/scontrol <<E2
#!/bin/bash
[ "\$1" != requeue ] || { echo "Requested operation is presently disabled for job \$2" >&2; exit 1; }
exec $(command -v scontrol) "\$@"
E2
chmod +x refusing/scontrol
refused=$(PATH=$PWD/refusing:$PATH train refused "75+ 76 0" --comment="of mine" --nice=5 --gres=gpu:1 --time=77)
by_hand=$(train by_hand "75+ 0" --no-requeue)
after_refused=$(sbatch --parsable --dependency=afterok:"$refused" --kill-on-invalid-dep=yes -o /dev/null --wrap true)
in_vain=$(MICRODIT_CONTINUE=resubmit train in_vain "75 75 75 75 75")
array=$(MICRODIT_CONTINUE=resubmit sbatch --parsable --array=0-2 slurm/clean.sbatch --config any.yaml)
after_array=$(sbatch --parsable --dependency=afterok:"$array" --kill-on-invalid-dep=yes -o /dev/null --wrap true)
marked=$(MICRODIT_PREFIX="env MARK=1" train marked "75+ 0")
marked_clean=$(MICRODIT_PREFIX="env MARK=1" sbatch --parsable --array=7 slurm/clean.sbatch --config other.yaml)
missing=$(MICRODIT_PREFIX="env MARK=1" MICRODIT_BIN=nowhere/bin MICRODIT_LIFE=build/bin/life train missing "0")

wait_until 60 test -e runs/busy_cancelled/ready.0
scancel "$busy_cancelled"
is_all_over() { [ -z "$(squeue -h -o %A)" ]; }
wait_until 240 is_all_over || { echo "FAILED: jobs are left"; squeue; failures=$((failures + 1)); }

[ "$(wc -l <failed_calls)" -ge 3 ] || { echo "FAILED: the controller was not busy"; failures=$((failures + 1)); }
ended "a busy controller is asked again" "$busy" COMPLETED 0:0 1
contains "which is said" "$(job_log "$busy")" "Slurm does not answer (.*): asked again for up to 240 s"
equal "a job that was cancelled meanwhile stays so" "$(job_field "$busy_cancelled" JobState) $(job_field "$busy_cancelled" Restarts)" "CANCELLED 0"

log=$(job_log "$refused")
ended "a site that refuses requeues" "$refused" FAILED 75:0 0
equal "is given a new job for each life" "$(grep -c 'requeue refused: .*disabled.*; goes on as job' "$log")" 2
last=$(grep -o 'goes on as job [0-9]*' "$log" | tail -n 1 | grep -o '[0-9]*$')
ended "the last one finishes" "$last" COMPLETED 0:0 0
equal "in the same log, with the first one's copies" "$(sed 's/ node .*args/ args/' runs/refused/log)" \
"life 0 version 1 size 1 lr 1 args --config $PWD/runs/refused/life/$refused/config.yaml
life 1 version 1 size 1 lr 1 args --config $PWD/runs/refused/life/$refused/config.yaml
life 2 version 1 size 1 lr 1 args --config $PWD/runs/refused/life/$refused/config.yaml"
equal "with its options" "$(job_field "$last" TimeLimit) $(job_field "$last" JobName) $(job_field "$last" NumNodes)" "01:17:00 pretrain_256 1"
equal "its comment, GPUs, and nice" "$(scontrol show job "$last" | sed -n 's/^ *\(Comment=.*\|TresPerNode=.*\)/\1/p' | sed 's/ *$//' | sort | paste -sd' ') $(job_field "$last" Nice)" \
  "Comment=of mine TresPerNode=gres:gpu:0,gres:gpu:1 5"
ended "who says --no-requeue starts each life by hand" "$by_hand" FAILED 75:0 0
contains "and is told how" "$(job_log "$by_hand")" "ended; to continue: sbatch --no-requeue $PWD/slurm/pretrain_256.sbatch --config any.yaml name=by_hand 'plan=75+ 0'"
equal "on the other node after a fault" "$(sed -n 's/^life [12] .* node \([^ ]*\) .*/\1/p' runs/refused/log | sort -u | wc -l)" 2
equal "the run is free at the end" "$(ls runs/refused/life)" "$refused"
equal "dependents wait for the last one" "$(job_field "$after_refused" JobState) $(job_field "$after_refused" Dependency)" "COMPLETED (null)"

equal "resubmission stops without progress as well" "$(grep -c '^life' runs/in_vain/log)" 3
contains "and says why" "$(job_log "$in_vain")" "3 lives in a row published nothing new"
equal "one array task goes on alone, with its share" "$(cat log_0 log_1 log_2)" "task 0 life 0 - --config any.yaml
task 1 life 0 - --config any.yaml
task 1 life 1 - --config any.yaml task=1/3
task 2 life 0 - --config any.yaml"
equal "and what waits for the array waits for it" "$(job_field "$after_array" JobState)" COMPLETED
equal "bookkeeping is left only where Slurm itself might requeue" "$(ls slurm/lives)" "microdit-$busy_cancelled"

equal "the prefix stands before every program" "$(sed -n 's/^marked \([^ ]*\) .*\(--[a-z-]*\).*/\1 \2/p' calls | sort | uniq -c | sed 's/^ *//')" \
"1 1 --check-settings
2 1 --config
1 1 --print-config"
equal "also where it does not train" "$(cat log_7)" "task 7 life 0 1 --config other.yaml"
ended "a program that is not there, behind a prefix" "$missing" FAILED 2:0 0
contains "is looked for there" "$(job_log "$missing")" "nowhere/bin/train is missing behind MICRODIT_PREFIX=\"env MARK=1\""
report
