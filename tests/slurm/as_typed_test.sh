#!/bin/bash
# The README's lines for a Slurm cluster as they are typed, on 2 virtual nodes whose GPUs are declared only: from the tars to a picture.
source "$(dirname "$0")/cluster.sh"
for program in download clean precompute train generate doctor life; do
  [ -x "$programs/$program" ] || { echo "skipped: $programs/$program is not built"; exit 77; }
done
made=${MICRODIT_TEST_DATA:?}/made/emoji
[ -d "$made" ] || { echo "skipped: $made is not there (tests/emoji_small.sh makes it)"; exit 77; }
start_cluster
rm -rf build && ln -s "$(dirname "$programs")" build
ln -s "$MICRODIT_SOURCE/configs" configs
ln -s "$MICRODIT_SOURCE/assets" assets
mkdir -p data/made && ln -s "$(realpath "$made")" data/made/emoji
ln -s "$(realpath "$MICRODIT_TEST_DATA/weights")" data/weights

srun -N 2 --ntasks-per-node=1 --mpi=pmix build/bin/doctor env >doctor.log 2>&1; equal "doctor env" "$? $(tail -n 1 doctor.log)" "0 2 of 2 nodes fit"

# The first lines of the chain, so that precompute has what it needs; pictures of one size save half the minutes.
sbatch --wait slurm/download.sbatch --config configs/datasets/emoji.yaml >/dev/null
clean=$(sbatch --parsable --wait slurm/clean.sbatch --config configs/datasets/emoji.yaml)
printf 'extends: configs/latents/emoji.yaml\nimages: {sizes: [64]}\n' >small.yaml
precompute=$(sbatch --parsable --wait slurm/precompute.sbatch --config configs/datasets/emoji.yaml recipe=small.yaml)
for task in 0 1 2 3; do equal "precompute task $task" "$(job_field "${precompute}_$task" JobState)" COMPLETED; done
pretrain=$(sbatch --parsable --wait slurm/pretrain_256.sbatch --config configs/train/emoji.yaml name=trial steps=50)
equal "pretrain_256" "$(job_field "$pretrain" JobState)" COMPLETED
contains "one node, 2 ranks" "slurm/logs/pretrain_256-$pretrain.out" "2 rank(s)"
equal "a GPU per rank is asked for" "$(job_field "$pretrain" TresPerNode) $(job_field "$pretrain" NumNodes)" "gres:gpu:2 1"
equal "a CPU stage asks for none" "$(job_field "$clean" TresPerNode)" ""
equal "the last checkpoint" "$(ls runs/trial/checkpoints | tail -n 1)" step_0000050
srun -N 2 --ntasks-per-node=2 build/bin/generate --run runs/trial --prompt "a red car" >generate.log 2>&1 ||
  { echo "FAILED: generate"; tail -n 20 generate.log; failures=$((failures + 1)); }
equal "pictures" "$(ls runs/trial/images/latest/)" "$(printf '%s\n' 000000.png 000001.png 000002.png 000003.png grid.png manifest.jsonl)"
srun build/bin/generate --run runs/trial --prompt "a red car" out=alone >alone.log 2>&1
for i in 0 1 2 3; do cmp "alone/00000$i.png" "runs/trial/images/latest/00000$i.png" || failures=$((failures + 1)); done
report
