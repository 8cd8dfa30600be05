#!/bin/bash
# Chains the stages with dependencies: download -> clean -> [train_codec] -> precompute -> training -> generate -> evaluate.
#
#   slurm/pipeline.sh                                       the documented default: CC12M, the four phases of XL_2
#   slurm/pipeline.sh --dataset configs/datasets/emoji.yaml --train configs/train/emoji.yaml
#   slurm/pipeline.sh --dry-run ...                         prints the sbatch lines and submits nothing
#
# Options:
#   --dataset FILE        catalogue entry
#   --train FILE[,FILE]   one training job per file, in this order, instead of the four phases; the last is sampled from
#   --codec FILE          train a codec with this config before precompute
#   --tasks N             array tasks of download, clean, precompute (4)
#   --prompts FILE        what generate paints (configs/sample/prompts.txt)
#   --from STAGE --until STAGE   only this part of the chain; continues a pipeline that was stopped
#   --data-set KEY=VALUE, --train-set KEY=VALUE   handed to the data stages, to the training jobs (may repeat)
#   --sbatch "OPTIONS"    for every sbatch; --data-sbatch, --train-sbatch, --sample-sbatch: for those jobs only, after the others
# Prints one line "STAGE ID" per job. A job whose parent failed is cancelled; one that was requeued is waited for.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
die() { echo "pipeline: $*" >&2; exit 2; }

dataset=configs/datasets/cc12m.yaml train="" codec="" tasks=4 prompts=configs/sample/prompts.txt
from=download until=evaluate dry_run=0
data_set=() train_set=() all_sbatch=() data_sbatch=() train_sbatch=() sample_sbatch=()
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry_run=1; shift; continue ;;
    --help | -h) sed -n '2,19s/^# \{0,1\}//p' "$0"; exit 0 ;;
  esac
  [ $# -ge 2 ] || die "$1: unknown option or missing value; see --help"
  case $1 in
    --dataset) dataset=$2 ;;
    --train) train=$2 ;;
    --codec) codec=$2 ;;
    --tasks) tasks=$2 ;;
    --prompts) prompts=$2 ;;
    --from) from=$2 ;;
    --until) until=$2 ;;
    --data-set) data_set+=("$2") ;;
    --train-set) train_set+=("$2") ;;
    --sbatch) read -ra all_sbatch <<<"$2" ;;
    --data-sbatch) read -ra data_sbatch <<<"$2" ;;
    --train-sbatch) read -ra train_sbatch <<<"$2" ;;
    --sample-sbatch) read -ra sample_sbatch <<<"$2" ;;
    *) die "unknown option $1; see --help" ;;
  esac
  shift 2
done
[[ $tasks =~ ^[1-9][0-9]*$ ]] || die "--tasks $tasks: expected a number of at least 1"

phases=(pretrain_256 finetune_256 pretrain_512 finetune_512)
configs=("${phases[@]/%/.yaml}"); configs=("${configs[@]/#/configs/train/}")
if [ -n "$train" ]; then
  IFS=, read -ra configs <<<"$train"
  # One script serves any config: the phases' scripts differ in their default config alone.
  phases=(); for config in "${configs[@]}"; do phases+=(pretrain_256); done
fi
for file in "$dataset" "$prompts" ${codec:+"$codec"} "${configs[@]}"; do
  [ -f "$file" ] || die "no file $file"
done

# Site settings for sbatch, and run_folder.
MICRODIT_HOME=$PWD
source slurm/env.sh
last_config=${configs[-1]}
run=$(run_folder train --config "$last_config" "${train_set[@]}" 2>/dev/null) || {
  [ $dry_run = 1 ] || die "cannot read the run's name: $MICRODIT_BIN/train --config $last_config --print-config failed; is it built?"
  run=runs/$(basename "$last_config" .yaml)
}

previous="" submitted=() active=0
# submit STAGE SCRIPT SBATCH_OPTIONS... -- ARGUMENTS...: after the previous one
submit() {
  local stage=$1 script=$2 id
  local -a command=(sbatch --parsable --kill-on-invalid-dep=yes)
  shift 2
  [ "$stage" != "$from" ] || active=1
  [ $active = 1 ] || return 0
  [ -z "$previous" ] || command+=(--dependency=afterok:"$previous")
  command+=("${all_sbatch[@]}")
  while [ "$1" != -- ]; do command+=("$1"); shift; done
  shift
  command+=("$script" "$@")
  if [ $dry_run = 1 ]; then
    echo "${command[*]@Q}" | sed "s/'\([][A-Za-z0-9_.,:=/<>+%-]*\)'/\1/g"
    previous="<$stage>"
  else
    id=$("${command[@]}") || {
      [ ${#submitted[@]} = 0 ] || scancel "${submitted[@]}"
      echo "pipeline: sbatch refused $stage; cancelled what was submitted: ${submitted[*]:-nothing}" >&2
      exit 1
    }
    previous=${id%%;*}
    submitted+=("$previous")
    echo "$stage $previous"
  fi
  [ "$stage" != "$until" ] || active=0
}
array=--array=0-$((tasks - 1))

submit download slurm/download.sbatch "$array" "${data_sbatch[@]}" -- --config "$dataset" "${data_set[@]}"
submit clean slurm/clean.sbatch "$array" "${data_sbatch[@]}" -- --config "$dataset" "${data_set[@]}"
if [ -n "$codec" ]; then
  submit train_codec slurm/train_codec.sbatch "${train_sbatch[@]}" -- --config "$codec"
fi
submit precompute slurm/precompute.sbatch "$array" "${data_sbatch[@]}" -- --config "$dataset" "${data_set[@]}"
for i in "${!configs[@]}"; do
  name=${phases[$i]}
  [ -z "$train" ] || name=$(basename "${configs[$i]}" .yaml)
  submit "$name" "slurm/${phases[$i]}.sbatch" "${train_sbatch[@]}" -- --config "${configs[$i]}" "${train_set[@]}"
done
submit generate slurm/generate.sbatch "${sample_sbatch[@]}" -- --run "$run" --prompts "$prompts"
submit evaluate slurm/evaluate.sbatch "${sample_sbatch[@]}" -- --run "$run"
[ -n "$previous" ] || die "--from $from: no such stage; stages: download clean train_codec precompute ${phases[*]} generate evaluate"
