#!/bin/bash
# The exit-code contract under a real Slurm: who is requeued, how often, with which binary, and what dependents see.
source "$(dirname "$0")/cluster.sh"
start_cluster
source "$MICRODIT_SOURCE/tests/slurm/stand_ins.sh"

progress=$(RANKS=2 train progress "75+ 75+ 0")
fruitless=$(train fruitless "75 75 75 75 75")
fault=$(train fault "76 76 76 76 76")
far_faults=$(train far_faults "76 76 76+ 76+ 76 0")
crash=$(train crash "-9+ -11+ 0")
failure=$(train failure "-9 0")
mistake=$(train mistake "2")
bad=$(train bad "0")
cancelled=$(RANKS=2 train cancelled "wait 0")
hung=$(MICRODIT_STOP_SECONDS=2 RANKS=2 train hung "hang+ 0")
question=$(train question "0" -- --dry-run)
( cd / && sbatch --parsable -o "$work/elsewhere.log" --gpus-per-node=0 --mem=100M "$work/slurm/pretrain_256.sbatch" ) >elsewhere.id
in_shell=$(submit -o in_shell.log --ntasks=1 --wrap "for n in 1 2; do bash slurm/pretrain_256.sbatch --config any.yaml name=in_shell plan=75; echo code \$?; done")
loading=$(train loading "load 0")
array=$(sbatch --parsable --array=0-2 slurm/clean.sbatch --config any.yaml)
read_only=$(MICRODIT_DATA=/proc/nothing_can_be_written_here train read_only "75+ 0")
after_progress=$(sbatch --parsable --dependency=afterok:"$progress" --kill-on-invalid-dep=yes -o /dev/null --wrap true)
after_fruitless=$(sbatch --parsable --dependency=afterok:"$fruitless" --kill-on-invalid-dep=yes -o /dev/null --wrap true)

# What lies in build/ changes while the runs live: later lives must not see it.
wait_until 60 test -s runs/progress/log
sed 's/^version = 1/version = 2/' build/bin/train >build/bin/train.new && chmod +x build/bin/train.new && mv build/bin/train.new build/bin/train
sed -i 's/^launch() {/launch() { echo CHANGED SCRIPT;/' slurm/env.sh
rm -f build/bin/life.new && sed 's/requeued/REQUEUED/' build/bin/life >build/bin/life.new && chmod +x build/bin/life.new && mv build/bin/life.new build/bin/life

wait_until 60 test -e runs/cancelled/ready.0 -a -e runs/cancelled/ready.1
scancel "$cancelled"
wait_until 60 test -e runs/loading/loading.0
scancel --batch -s USR1 "$loading"
wait_until 60 test -e runs/hung/ready.0 -a -e runs/hung/ready.1
scancel --batch -s USR1 "$hung"
for job in $hung $question $in_shell $(cat elsewhere.id) $progress $fruitless $fault $far_faults $crash $failure $mistake $bad $cancelled $loading $array $read_only \
  $after_progress $after_fruitless; do wait_job "$job" 180; done

kept=runs/progress/life/$progress
ended "stops with progress are requeued until done" "$progress" COMPLETED 0:0 2
equal "later lives run the first life's binary and config" "$(sed 's/ node .*args .*runs/ args --config runs/' runs/progress/log)" \
"life 0 version 1 size 2 lr 1 args --config $kept/config.yaml
life 1 version 1 size 2 lr 1 args --config $kept/config.yaml
life 2 version 1 size 2 lr 1 args --config $kept/config.yaml"
contains "the resolved config is kept" "$kept/config.yaml" 'name: "progress"'
contains "the script is kept" "$kept/job.sbatch" "launch train"
contains "who started it: the revision" "$kept/about.json" '"program": "train (stand-in, revision 1)"'
contains "who started it: the arguments" "$kept/about.json" '"plan=75+ 75+ 0"'
contains "every life is on record" "$kept/lives.jsonl" '"life":3,"job":"'"$progress"'".*"exit_code":0,"progress":false,"then":"done"'
contains "dates and hosts are in the log" "$(job_log "$progress")" "^\[20[0-9-]*T[0-9:+]* n[12]\] train: life 2 took 0:00:0[0-9] on n[12] (0.00 GPU hours), exit code 75, progress"
contains "what happened is said after it happened" "$(job_log "$progress")" "stopped with its work saved; requeued"
equal "later lives do not run a changed env.sh" "$(grep -c 'CHANGED SCRIPT' "$(job_log "$progress")")" 0
equal "later lives do not run a changed life" "$(grep -c 'REQUEUED' "$(job_log "$progress")")" 0
equal "bookkeeping is removed at the end" "$(ls slurm/lives | grep -c -- "-$progress\$")" 0
equal "the run is free at the end" "$(ls runs/progress/life)" "$progress"
equal "a dependent waits for a requeued job" "$(job_field "$after_progress" JobState)" COMPLETED
ended "stops without progress end" "$fruitless" FAILED 1:0 2
contains "and say why" "$(job_log "$fruitless")" "3 lives in a row published nothing new"
equal "a dependent of a failed job is cancelled" "$(job_field "$after_fruitless" JobState)" CANCELLED
ended "faults are requeued three times" "$fault" FAILED 76:0 3
first_node=$(sed -n 's/^life 0 .* node \([^ ]*\) .*/\1/p' runs/fault/log)
contains "without the node" "$(job_log "$fault")" "requeued, without $first_node"
equal "the next life is elsewhere" "$(grep -c "^life [1-9] .* node $first_node " runs/fault/log)" 0
contains "but the last node stays allowed" "$(job_log "$fault")" "stays allowed: without it too few nodes are left"
ended "faults with progress between are counted anew" "$far_faults" COMPLETED 0:0 5
ended "a crash after progress is a fault" "$crash" COMPLETED 0:0 2
ended "a crash without progress is a failure" "$failure" FAILED 137:0 0
ended "a mistake is not requeued" "$mistake" FAILED 2:0 0
ended "a bad config ends before any rank starts" "$bad" FAILED 2:0 0
contains "with the program's own message" "$(job_log "$bad")" "bad.yaml:1"
equal "and leaves nothing" "$(ls -d runs/bad runs/mistake/life slurm/lives/*-"$bad" 2>/dev/null)" ""
equal "a cancelled job stays cancelled" "$(job_field "$cancelled" JobState) $(job_field "$cancelled" Restarts)" "CANCELLED 0"
contains "and says how to continue" "$(job_log "$cancelled")" "left to Slurm; if the job does not start again, the same sbatch command continues it"
equal "which it has not said before it knew" "$(grep -c 'requeued$' "$(job_log "$cancelled")")" 0
ended "a signal while the program is loaded is not lost" "$loading" COMPLETED 0:0 1
equal "and came once" "$(cat runs/loading/signals.0)" 1
ended "ranks that do not stop are killed, and the job goes on" "$hung" COMPLETED 0:0 1
contains "which is said" "$(job_log "$hung")" "did not stop in time and was killed, 1 of 3 in a row; requeued"
ended "a question is answered" "$question" COMPLETED 0:0 0
equal "by the program alone" "$(grep -c '^question .*--dry-run$' calls) $(ls slurm/lives | grep -c -- "-$question\$")" "1 0"
equal "and is no run" "$(ls -d runs/question/life 2>/dev/null)" ""
ended "a job from another folder" "$(cat elsewhere.id)" FAILED 2:0 0
equal "stages that a shell starts in one job have no lives" "$(grep -o '^code .*' in_shell.log | paste -sd' ') $(ls -d runs/in_shell/life 2>/dev/null)" "code 75 code 75 "
ended "the data root need not be writable" "$read_only" COMPLETED 0:0 1
equal "one array task is requeued alone" "$(cat log_*)" "task 0 life 0 - --config any.yaml
task 1 life 0 - --config any.yaml
task 1 life 1 - --config any.yaml
task 2 life 0 - --config any.yaml"
report
