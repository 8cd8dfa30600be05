#!/usr/bin/env bash
# Zero-shot FID on COCO: 30,000 captions of coco2014's held-out pictures, a picture for each, against all of those pictures.
#   slurm/coco30k.sh RUN [sbatch options of generate ...]       e.g. slurm/coco30k.sh runs/finetune_512 --nodes=4 --ntasks-per-node=8 --gpus-per-node=8
# Needs data/samples/coco2014 (download, clean) and FID's network (download --config configs/weights/fid_inception.yaml). Again, it goes
# on with the pictures that are there. DATASET=NAME PICTURES=N before it: another dataset, fewer pictures.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 1 ] && [ -f "$1/facts.json" ] || { echo "usage: slurm/coco30k.sh RUN [sbatch options of generate ...]; RUN is a trained run's folder" >&2; exit 2; }
run=${1%/}; shift
bin=${MICRODIT_BIN:-build/bin} dataset=${DATASET:-coco2014} pictures=${PICTURES:-30000}
name=zero_shot_${dataset}_$pictures
prompts=$run/images/$name.txt
mkdir -p "$run/images"
"$bin/score" --reference "$dataset" captions="$prompts" draw="$pictures" seed=2024
size=$(sed -n 's/^ *"size": *\([0-9]*\).*/\1/p' "$run/facts.json" | head -n 1)
[ -n "$size" ] || { echo "coco30k.sh: $run/facts.json names no size" >&2; exit 2; }
painting=$(sbatch --parsable --job-name=zero_shot_generate "$@" slurm/generate.sbatch --run "$run" --prompts "$prompts" \
  num_images=1 seed=2024 out="$run/images/$name")
sbatch --job-name=zero_shot_score --dependency="afterok:${painting%%;*}" slurm/score.sbatch --pictures "$run/images/$name" \
  --reference "$dataset" network=inception resize=clean_fid reference_size="$size"
echo "pictures: $run/images/$name; the number: $run/images/$name/scores/" >&2
