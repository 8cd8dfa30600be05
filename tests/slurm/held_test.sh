#!/bin/bash
# One run, one job, under a real Slurm: a second submission is refused and harms nothing; taking over is explicit.
source "$(dirname "$0")/cluster.sh"
start_cluster
source "$MICRODIT_SOURCE/tests/slurm/stand_ins.sh"

holder=$(train held "wait 75+ 0")
wait_until 60 test -e runs/held/ready.0
other=$(train held "wait 75+ 0" -- lr=5)
twice=$(train held "wait 75+ 0")
wait_job "$other"; wait_job "$twice"
ended "other settings on a running run" "$other" FAILED 2:0 0
contains "are named" "$(job_log "$other")" "other settings: lr: 1 -> 5"
ended "the same submission twice" "$twice" FAILED 2:0 0
contains "names the first, and where it runs" "$(job_log "$twice")" "job $holder holds this run (RUNNING on n[12], since 20"
contains "and how to take over" "$(job_log "$twice")" "MICRODIT_TAKE_OVER=1 sbatch"
equal "neither leaves a thing" "$(ls runs/held/life | paste -sd' ') $(ls slurm/lives)" "$holder owner microdit-$holder"
scancel --batch -s USR1 "$holder"
wait_job "$holder"
ended "the first one's lives go on" "$holder" COMPLETED 0:0 2
equal "with its own settings" "$(grep -c ' lr 1 ' runs/held/log)" 3
again=$(train held "0")
wait_job "$again"
ended "after its end the run is free" "$again" COMPLETED 0:0 0
equal "and each job has a folder of its own" "$(ls runs/held/life | sort -n | paste -sd' ')" "$holder $again"

# A job that waits for its next life holds its run as well, and one whose job is gone does not.
waiting=$(train waits "75+ 0")
wait_until 60 grep -qs "requeued" "$(job_log "$waiting")"
scontrol hold "$waiting"
second=$(train waits "0")
wait_job "$second"
ended "a job between two lives holds its run" "$second" FAILED 2:0 0
contains "and is named" "$(job_log "$second")" "job $waiting holds this run"
scancel "$waiting"; wait_job "$waiting"
heir=$(train waits "0")
wait_job "$heir"
ended "a job that was cancelled does not" "$heir" COMPLETED 0:0 0

robbed=$(train taken "wait wait 0")
wait_until 60 test -e runs/taken/ready.0
robber=$(MICRODIT_TAKE_OVER=1 train taken "wait wait 0")
is_taken() { grep -qs '"job":"'"$robber"'"' runs/taken/life/owner && [ "$(grep -c ^life runs/taken/log)" = 2 ]; }
wait_until 60 is_taken || { echo "FAILED: job $robber did not take over"; failures=$((failures + 1)); }
scancel --batch -s USR1 "$robbed"
wait_job "$robbed"
ended "a job whose run was taken over ends before its next life" "$robbed" FAILED 2:0 1
contains "and says who took it" "$(job_log "$robbed")" "job $robber holds this run"
scancel --batch -s USR1 "$robber"
wait_job "$robber"
ended "the one that took over goes on" "$robber" COMPLETED 0:0 1
report
