#!/bin/bash
# A training job that reaches its time limit checkpoints, is requeued by its script, and finishes with no hand on it.
source "$(dirname "$0")/cluster.sh"
for program in train life; do
  [ -x "$programs/$program" ] || { echo "skipped: $programs/$program is not built"; exit 77; }
done
data=${MICRODIT_TEST_DATA:?}
[ -e "$data/latents/emoji_small/emoji/manifest.jsonl" ] || { echo "skipped: $data/latents/emoji_small is not there (tests/emoji_small.sh makes it)"; exit 77; }
export CPUS=4
start_cluster
rm -rf build && ln -s "$(dirname "$programs")" build
ln -s "$MICRODIT_SOURCE/configs" configs
[ ! -e "$MICRODIT_SOURCE/assets" ] || ln -s "$MICRODIT_SOURCE/assets" assets
mkdir data && for folder in samples latents weights; do [ ! -e "$data/$folder" ] || ln -s "$(realpath "$data/$folder")" data/$folder; done

training=(--config configs/train/emoji.yaml "data=[{dataset: emoji_small}]" sampling.every_steps=0)

# How many steps this machine does in a second, four ranks at once.
job=$(sbatch --parsable --wait slurm/pretrain_256.sbatch "${training[@]}" name=speed steps=16 checkpoint.every_steps=16)
equal "the first job" "$(job_field "$job" JobState)" COMPLETED
steps=$(python3 -c "
import json
times = [json.loads(line)['time'] for line in open('runs/speed/metrics.jsonl')]
print(int(50 * 10 / (times[-1] - times[-11])))")

# Slurm looks at time limits every 30 s and sends SIGUSR1 300 s early, so at once in a job of one minute: each life gets
# up to about 30 s, and 50 s of steps need a second one.
job=$(sbatch --parsable --time=1 slurm/pretrain_256.sbatch "${training[@]}" name=limit steps="$steps")
log=slurm/logs/pretrain_256-$job.out

# Meanwhile others want the same run.
has_step() { [ -s "runs/$1/metrics.jsonl" ]; }
wait_until 120 has_step limit || { echo "FAILED: no step was done"; failures=$((failures + 1)); }
other=$(sbatch --parsable --wait slurm/pretrain_256.sbatch "${training[@]}" name=limit steps="$steps" optimizer.lr=0.5)
twice=$(sbatch --parsable --wait slurm/pretrain_256.sbatch "${training[@]}" name=limit steps="$steps")
ended "the same run with another lr" "$other" FAILED 2:0 0
contains "names the setting" "slurm/logs/pretrain_256-$other.out" "optimizer.lr"
ended "the same command again" "$twice" FAILED 2:0 0
contains "names the job" "slurm/logs/pretrain_256-$twice.out" "job $job holds this run"

wait_job "$job" 780
state=$(job_field "$job" JobState)
[ "$state" = COMPLETED ] || { echo "FAILED: the job ended as $state $(job_field "$job" ExitCode)"; tail -n 60 "$log"; failures=$((failures + 1)); }
[ "$(job_field "$job" Restarts)" -ge 1 ] || { echo "FAILED: one life was enough: $steps steps were too few"; failures=$((failures + 1)); }
contains "the script requeued it" "$log" "stopped with its work saved; requeued"
complete() { # NAME STEPS
  equal "$1: the last checkpoint is the last step" "$(ls "runs/$1/checkpoints" | sort | tail -n 1)" "$(printf 'step_%07d' "$2")"
  equal "$1: every step is logged once" "$(grep -o '"step": *[0-9]*' "runs/$1/metrics.jsonl" | sort -u | wc -l)" "$(grep -c '"step"' "runs/$1/metrics.jsonl")"
}
complete limit "$steps"
contains "who ran what is on record" "runs/limit/life/$job/about.json" '"program": "train (microdit .*revision'

# A Slurm without PMIx: mpirun starts the ranks and hands the signal on. The nodes here share one host name.
export MICRODIT_LAUNCHER="mpirun --oversubscribe --bind-to none -n 2" OMPI_MCA_btl=tcp,self OMPI_MCA_oob_tcp_if_include=lo OMPI_MCA_btl_tcp_if_include=lo
job=$(sbatch --parsable slurm/pretrain_256.sbatch "${training[@]}" name=by_mpirun steps=60)
wait_until 120 has_step by_mpirun || { echo "FAILED: no step was done"; failures=$((failures + 1)); }
scancel --batch -s USR1 "$job"
wait_job "$job" 300
ended "stopped under mpirun, requeued, done" "$job" COMPLETED 0:0 1
complete by_mpirun 60
report
