#!/usr/bin/env bash
# Zero-shot FID on COCO: 30,000 captions of coco2014's held-out pictures, a picture for each, against all of those pictures.
#   slurm/coco30k.sh RUN [sbatch options of generate ...]       e.g. slurm/coco30k.sh runs/finetune_512 --nodes=4 --ntasks-per-node=8 --gpus-per-node=8
# Needs data/samples/coco2014 (download, clean) and configs/weights/fid_inception.yaml downloaded. Submitting it again goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 1 ] && [ -d "$1" ] || { echo "usage: slurm/coco30k.sh RUN [sbatch options of generate ...]" >&2; exit 2; }
run=${1%/}; shift
bin=${MICRODIT_BIN:-build/bin} out=$run/images/coco30k
mkdir -p "$run/images"
"$bin/score" --reference coco2014 captions="$run/images/coco30k.txt" draw=30000 seed=2024
size=$(sed -n 's/^ *"size": *\([0-9]*\).*/\1/p' "$run/facts.json" | head -1)
painting=$(sbatch --parsable --job-name=coco30k_generate "$@" slurm/generate.sbatch --run "$run" --prompts "$run/images/coco30k.txt" \
  num_images=1 seed=2024 out="$out")
sbatch --job-name=coco30k_score --dependency="afterok:${painting%%;*}" slurm/score.sbatch --pictures "$out" --reference coco2014 \
  network=inception resize=clean_fid reference_size="$size"
echo "pictures: $out; the number: $out/scores/" >&2
