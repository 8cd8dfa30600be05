#!/bin/bash
# slurm/sweep.sh under a real Slurm, with the real programs: four small trainings on made-up data, one of which is killed; the same
# command again, and with one value more; what is refused.
source "$(dirname "$0")/cluster.sh"
for program in train doctor life; do [ -x "$programs/$program" ] || { echo "skipped: $programs/$program is not built"; exit 77; }; done
export CPUS=4
start_cluster
for program in train doctor life; do ln -s "$programs/$program" build/bin/$program; done
mkdir -p configs/train configs/models
cat >configs/models/small.yaml <<'E2'
model: {kind: class_dit, patch_size: 4, dim: 32, depth: 1, num_heads: 2, num_classes: 0, caption_channels: 8}
E2
sed 's/depth: 1/depth: 2/' configs/models/small.yaml >configs/models/deep.yaml
cat >configs/train/tiny.yaml <<'E2'
extends: ../models/small.yaml
name: tiny
data: [{synthetic: 64}]
size: 64
objective: {path: vp_cosine, prediction: eps}
steps: 150
batch_size: 8
caption_drop: 0
threads_per_rank: 1
schedule: {kind: constant, warmup_steps: 0}
validation: {every_steps: 0}
checkpoint: {every_steps: 50}
E2
sweep=(slurm/sweep.sh --train tiny --sbatch "--gpus-per-node=0 --cpus-per-task=1 --mem=900M" --grid optimizer.lr=1e-3,1e-2)
folder=runs/tiny_sweep

# Mistakes: nothing is submitted.
refused() {
  local what=$1 text=$2
  shift 2
  "$@" >out 2>said
  equal "$what: exit code" $? 2
  contains "$what" said "$text"
}
refused "no grid" "grid is missing" slurm/sweep.sh --train tiny
refused "an unknown key" "optimizer.rl: unknown key; did you mean 'lr'" slurm/sweep.sh --train tiny --grid optimizer.rl=1,2
refused "a value out of range" "optimizer.lr: 5 is out of range" slurm/sweep.sh --train tiny --grid optimizer.lr=1e-3,5
refused "a value twice" "given twice" slurm/sweep.sh --train tiny --grid seed=1,1
refused "a name that the sweep gives" "gives each cell its name" slurm/sweep.sh --train tiny --grid name=a,b
refused "a range without a number" "names no value" slurm/sweep.sh --train tiny --grid "seed=range(3,3)"
refused "an unknown model" "did you mean model=deep" slurm/sweep.sh --train tiny --grid model=small,dep
equal "nothing was made" "$(ls runs 2>/dev/null) $(squeue -h)" " "
"${sweep[@]}" --grid seed=1,2 --dry-run >out 2>said || { echo "FAILED: the dry run"; cat said; failures=$((failures + 1)); }
equal "a dry run names the cells" "$(cut -d: -f1 out | paste -sd' ')" "lr=1e-3,seed=1 lr=1e-3,seed=2 lr=1e-2,seed=1 lr=1e-2,seed=2"
equal "and makes nothing" "$(ls -d runs 2>/dev/null)" ""

# One cell's program is killed after its first checkpoint, in a way that ends its job.
cat >build/bin/train.killed <<'E2'
#!/bin/bash
if [ -n "${SLURM_STEP_ID:-}" ] && [[ "$*" == *lr=1e-2,seed=1* ]] && mkdir was_killed 2>/dev/null; then
  "$PROGRAMS/train" "$@" &
  for ((i = 0; i < 600; i++)); do [ ! -e runs/tiny_sweep/lr=1e-2,seed=1/checkpoints/step_0000050 ] || break; sleep 0.05; done
  kill -KILL $!
  exit 3
fi
exec "$PROGRAMS/train" "$@"
E2
chmod +x build/bin/train.killed
export PROGRAMS=$programs
rm build/bin/train && mv build/bin/train.killed build/bin/train
"${sweep[@]}" --grid "seed=range(1,3)" --at-once 2 --sbatch --hold >ids 2>said || { echo "FAILED: the sweep was refused"; cat said; exit 1; }
equal "one array, and the table behind it" "$(cut -d' ' -f1 ids | paste -sd' ')" "tiny_sweep tiny_sweep_table"
array=$(sed -n 's/^tiny_sweep //p' ids) table=$(sed -n 's/^tiny_sweep_table //p' ids)
"${sweep[@]}" --grid seed=1,2 >out 2>said
equal "while they wait nothing is submitted again" "$? $(grep -c '^tiny' out) $(grep -o '[0-9]* in the queue' said)" "0 0 4 in the queue"
scontrol release "$array"
wait_job "$array" 200; wait_job "$table" 60
ended "the table's job" "$table" COMPLETED 0:0 0
killed="lr=1e-2,seed=1"
said_table=$(slurm/sweep.sh --status $folder)
for cell in lr=1e-3,seed=1 lr=1e-3,seed=2 lr=1e-2,seed=2; do equal "$cell" "$(grep "^$cell " <<<"$said_table" | grep -c " done ")" 1; done
equal "the killed cell is named, with its exit code" "$(grep "^$killed " <<<"$said_table" | grep -cE "failed at step 1?[0-9][0-9] \(exit code 3\)")" 1
for file in index.html table.csv curves.png settings.png; do [ -s $folder/$file ] || { echo "FAILED: no $folder/$file"; failures=$((failures + 1)); }; done
contains "the page leads to the reports" $folder/index.html 'href="./lr=1e-3,seed=1/report.html"'
equal "the settings that differ are columns" "$(head -n 1 $folder/table.csv)" "run,state,optimizer.lr,seed,step,loss,held out,best held out,images/s"

# The same again: the killed cell alone goes on, from its checkpoint; then one value more.
before=$(cd $folder && find lr=1e-3,* -type f | sort | xargs sha256sum)
"${sweep[@]}" --grid seed=1,2 >ids 2>said || { echo "FAILED: the second run was refused"; cat said; failures=$((failures + 1)); }
contains "the second run" said "3 done, 0 in the queue, 1 to do"
array=$(sed -n 's/^tiny_sweep //p' ids); wait_job "$array" 100
wait_job "$(sed -n 's/^tiny_sweep_table //p' ids)" 60
ended "its array has one task" "$array" COMPLETED 0:0 0
equal "it went on from its checkpoint" "$(grep -c '"loss"' $folder/$killed/metrics.jsonl) $(ls -d $folder/$killed/life/*_* | wc -l)" "150 2"
contains "from its last checkpoint" "$(ls -t slurm/logs/tiny_sweep-"$array"_*.out | head -n 1)" "step_0000[01][05]0"
equal "the others were left alone" "$(cd $folder && find lr=1e-3,* -type f | sort | xargs sha256sum)" "$before"
"${sweep[@]}" --grid seed=1,2 >out 2>said
equal "nothing left" "$? $(grep -c 'nothing left to do' said) $(grep -c ' done ' out)" "0 1 4"
(flock 8; "${sweep[@]}" --grid seed=1,2 >out 2>said; echo $? >rc) 8>$folder/.sweep.lock
equal "two at once" "$(cat rc) $(grep -c 'another sweep.sh is at work' said)" "2 1"
refused "cells that were trained with other settings" "is trained already, with other settings" "${sweep[@]}" --grid seed=1,2 optimizer.eps=1e-7
MICRODIT_ARGS=log_every_steps=50 "${sweep[@]}" --grid seed=1,2,3 --local >out 2>said || { echo "FAILED: --local"; cat said; failures=$((failures + 1)); }
equal "a larger grid trains the new cells, here" "$(grep -o '[0-9]* to do' said) $(grep -c ' done ' out) $(wc -l <$folder/cells.txt)" "2 to do 6 6"
report
