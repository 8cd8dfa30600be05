#!/bin/bash
# Chains the stages with dependencies: download -> clean -> [train_tokenizer, train_codec] -> precompute -> training -> generate -> evaluate, and of
# a class-conditional run -> score: the Fréchet distance of its pictures to those that the first of its data holds out.
#
#   slurm/pipeline.sh                                       the documented default: CC12M, the four phases of XL_2
#   slurm/pipeline.sh --dataset configs/datasets/emoji.yaml --train configs/train/emoji.yaml
#   slurm/pipeline.sh --dry-run ...                         checks, prints the lines as a shell would run them, submits nothing
#   slurm/pipeline.sh --status [FILE]                       where a submitted pipeline stands (default: the newest)
#
# Options:
#   --dataset FILE[,FILE] catalogue entries: a chain of download, clean, precompute for each, none waiting for another's; training
#                         (and --codec's, --tokenizer's) waits for all of them
#   --train FILE[,FILE]   one training job per file, in this order, instead of the four phases; the last is sampled from
#   --codec FILE          train a codec with this config before precompute
#   --tokenizer FILE      train a tokenizer with this config before precompute
#   --tasks N             array tasks of download, clean, precompute (4); N%K: at most K at once
#   --prompts FILE        what generate paints (configs/sample/prompts.txt; of a run without text: 8 of every class, with trajectory=8)
#   --score N             of a class-conditional run: pictures of every class that score_generate paints and score measures (100)
#   --from STAGE --until STAGE   only this part of the chain; continues a pipeline that was stopped
#   --data-set KEY=VALUE, --train-set, --sample-set, --score-set   handed to the data stages, the training jobs, generate (both
#                         times), score (network=inception makes it FID); may repeat
#   --sbatch "OPTIONS"    for every sbatch, quoted as in a shell; --data-sbatch, --train-sbatch, --sample-sbatch: for those jobs
#                         only, after the others. They win over the site's (slurm/sites/MICRODIT_SITE.sh)
# Every mistake that can be known is refused with exit code 2 before anything is submitted. Prints one line "STAGE ID" per job
# and keeps them in slurm/logs/pipeline-DATE.txt. A job whose parent failed is cancelled; one that was requeued is waited for.
set -u -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
source slurm/checks.sh
asked=("$0" "$@")
die() { echo "pipeline: $*" >&2; exit 2; }

dataset=configs/datasets/cc12m.yaml train="" codec="" tokenizer="" tasks=4 prompts="" score=""
from="" until="" dry_run=0
data_set=() train_set=() sample_set=() score_set=() all_sbatch=() data_sbatch=() train_sbatch=() sample_sbatch=()
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry_run=1; shift; continue ;;
    --help | -h) sed -n '2,25s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    --status) shift; exec bash slurm/pipeline_status.sh "$@" ;;
  esac
  [ $# -ge 2 ] || die "$1: unknown option or missing value; see --help"
  case $1 in
    --dataset) dataset=$2 ;;
    --train) train=$2 ;;
    --codec) codec=$2 ;;
    --tokenizer) tokenizer=$2 ;;
    --tasks) tasks=$2 ;;
    --prompts) prompts=$2 ;;
    --score) score=$2 ;;
    --from) from=$2 ;;
    --until) until=$2 ;;
    --data-set) data_set+=("$2") ;;
    --train-set) train_set+=("$2") ;;
    --sample-set) sample_set+=("$2") ;;
    --score-set) score_set+=("$2") ;;
    --sbatch) split "$2"; all_sbatch+=("${pieces[@]}") ;;
    --data-sbatch) split "$2"; data_sbatch+=("${pieces[@]}") ;;
    --train-sbatch) split "$2"; train_sbatch+=("${pieces[@]}") ;;
    --sample-sbatch) split "$2"; sample_sbatch+=("${pieces[@]}") ;;
    *) die "unknown option $1; see --help" ;;
  esac
  shift 2
done
source slurm/site.sh
source slurm/pipeline_checks.sh

# ---- the chain -----------------------------------------------------------------------------------------------------------
phases=(pretrain_256 finetune_256 pretrain_512 finetune_512)
configs=("${phases[@]/%/.yaml}"); configs=("${configs[@]/#/configs/train/}")
scripts=("${phases[@]}")
if [ -n "$train" ]; then
  IFS=, read -ra configs <<<"$train"
  # One script serves any config: the phases' scripts differ in their default config alone.
  phases=() scripts=()
  for config in "${configs[@]}"; do phases+=("$(basename "$config" .yaml)"); scripts+=(pretrain_256); done
fi
stages=(download clean ${tokenizer:+train_tokenizer} ${codec:+train_codec} precompute "${phases[@]}" generate evaluate score)
wants_score=$score${score_set[*]}
[ "$from" != score ] && [ "$until" != score ] || wants_score=1
from=${from:-download} until=${until:-score}
check_stages
# is_active STAGE: within --from and --until
is_active() { [ "${position[$1]}" -ge "${position[$from]}" ] && [ "${position[$1]}" -le "${position[$until]}" ]; }

datasets=() labels=()    # the entries, and what their jobs are called behind the stage; check_datasets sets them
fetches=()               # entries of configs/weights that precompute needs and that are not there; check_data_stages sets it
declare -A phase_init=()  # init.from=... for a phase that starts from an earlier one's run under another root
check_datasets
check_files
check_data_stages
check_training
run=${runs[-1]}  # the last phase's; check_training set them, and what it takes
check_sampling
check_folders
check_first

# ---- submission ----------------------------------------------------------------------------------------------------------
# prepare STAGE SCRIPT SBATCH_OPTIONS... -- ARGUMENTS...: sets the arrays `command` (without a dependency) and `payload`
prepare() {
  local script=$2
  shift 2
  site_options "$script" || exit
  command=(sbatch --parsable --kill-on-invalid-dep=yes "${options[@]}" "${all_sbatch[@]}")
  while [ "$1" != -- ]; do command+=("$1"); shift; done
  shift
  payload=("$script" "$@")
}
# each_job HOW: calls HOW JOB SCRIPT SBATCH_OPTIONS... -- ARGUMENTS... for every job of the active stages, in order. HOW finds in
# `after` what the job waits for, and leaves in `made` what a later one would name to wait for this one.
each_job() {
  local how=$1 array="--array=0-$((${tasks%\%*} - 1))" i entry start=() ends=()
  [[ $tasks != *%* ]] || array+=%${tasks#*%}
  after=()
  job() { made=$1; "$how" "$@"; after=("$made"); }
  call() { ! is_active "$1" || job "$@"; }
  # of_entry I STAGE: the array of a data stage for entry I
  of_entry() {
    local name=$2${labels[$1]:+_${labels[$1]}} words=(-- --config "${datasets[$1]}" "${data_set[@]}")
    is_active "$2" || return 0
    [ "${tasks%\%*}" != 1 ] || words+=(task=0/1)  # a lone task may be one of many that is submitted again: the programs want to be told
    job "$name" "slurm/$2.sbatch" "$array" ${labels[$1]:+"--job-name=$name"} "${data_sbatch[@]}" "${words[@]}"
  }
  if [ "$MICRODIT_INTERNET" != login ] && is_active download; then
    for entry in "${fetches[@]}"; do
      job "weights_$(basename "$entry" .yaml)" slurm/download.sbatch --array=0 "${data_sbatch[@]}" -- --config "$entry" task=0/1
    done
  fi
  start=("${after[@]}")
  for i in "${!datasets[@]}"; do
    after=("${start[@]}")
    [ "$MICRODIT_INTERNET" = login ] || of_entry "$i" download
    of_entry "$i" clean
    [ -n "$codec$tokenizer" ] || of_entry "$i" precompute
    ends+=("${after[@]}")
  done
  after=("${ends[@]}")
  if [ -n "$codec$tokenizer" ]; then
    start=("${after[@]}") ends=()  # neither waits for the other
    if [ -n "$tokenizer" ]; then
      call train_tokenizer slurm/train_tokenizer.sbatch "${data_sbatch[@]}" -- --config "$tokenizer"
      ends=("${after[@]}")
    fi
    if [ -n "$codec" ]; then
      after=("${start[@]}")
      call train_codec slurm/train_codec.sbatch "${train_sbatch[@]}" -- --config "$codec"
      ends+=("${after[@]}")
    fi
    start=("${ends[@]}") ends=()
    for i in "${!datasets[@]}"; do
      after=("${start[@]}")
      of_entry "$i" precompute
      ends+=("${after[@]}")
    done
    after=("${ends[@]}")
  fi
  for i in "${!configs[@]}"; do
    call "${phases[$i]}" "slurm/${scripts[$i]}.sbatch" "${train_sbatch[@]}" -- --config "${configs[$i]}" "${train_set[@]}" \
      ${phase_init[$i]:+"${phase_init[$i]}"}
  done
  call generate slurm/generate.sbatch "${sample_sbatch[@]}" -- --run "$run" "${painted[@]}" "${sample_set[@]}"
  call evaluate slurm/evaluate.sbatch "${sample_sbatch[@]}" -- --run "$run"
  [ "$takes" = classes ] && is_active score || return 0
  job score_generate slurm/generate.sbatch --job-name=score_generate "${sample_sbatch[@]}" -- --run "$run" ${prompts:+--prompts "$prompts"} \
    "${sample_set[@]}" "num_images=$score" "out=$scored"
  job score slurm/score.sbatch "${sample_sbatch[@]}" -- --pictures "$scored" --reference "$reference" "reference_size=$size" \
    kid_subsets=100 "${score_set[@]}"
}

print_job() {
  local waits=""
  prepare "$@"
  made=${1//[^A-Za-z0-9_]/_}
  [ ${#after[@]} = 0 ] || { command+=("--dependency=afterok:"); waits=$(printf ':"$%s"' "${after[@]}"); }
  echo "$made=\$($(quoted "${command[@]}")${waits#:} $(quoted "${payload[@]}"))"
}
submitted=()
submit_job() {
  local id
  prepare "$@"
  [ ${#after[@]} = 0 ] || command+=("--dependency=afterok:$(IFS=:; echo "${after[*]}")")
  id=$("${command[@]}" "${payload[@]}") || {
    [ ${#submitted[@]} = 0 ] || scancel "${submitted[@]}"
    [ ${#submitted[@]} = 0 ] || echo "# cancelled: sbatch refused $1" >>"$record"
    echo "pipeline: sbatch refused $1; cancelled what was submitted: ${submitted[*]:-nothing}" >&2
    exit 1
  }
  made=${id%%;*}
  submitted+=("$made")
  echo "$1 $made" | tee -a "$record"
}

# download_here HOW...: calls HOW with each download's command, of the weights first
download_here() {
  local entry words
  for entry in "${fetches[@]}"; do
    job_words -- --config "$entry"
    "$@" ${MICRODIT_PREFIX:-} "${MICRODIT_BIN:-build/bin}/download" "${words[@]}" || return
  done
  for entry in "${datasets[@]}"; do
    job_words -- --config "$entry" "${data_set[@]}"
    "$@" ${MICRODIT_PREFIX:-} "${MICRODIT_BIN:-build/bin}/download" "${words[@]}" || return
  done
}
run_here() {
  local rc
  echo "pipeline: downloading here first (MICRODIT_INTERNET=login): $(quoted "$@")" >&2
  "$@" || { rc=$?; echo "pipeline: the download ended with exit code $rc; nothing was submitted; the same command continues" >&2; exit $rc; }
}
downloads_here=0
if [ "$MICRODIT_INTERNET" = login ] && is_active download; then downloads_here=1; fi
[ -z "$controller" ] || each_job check_job
if [ $dry_run = 1 ]; then
  [ $downloads_here = 0 ] || download_here quoted
  each_job print_job
  exit 0
fi
[ $downloads_here = 0 ] || download_here run_here
mkdir -p slurm/logs || exit
record=slurm/logs/pipeline-$(date +%Y%m%d-%H%M%S)-$$.txt
echo "# $(date -Is) $(uname -n) site ${MICRODIT_SITE:-default}: $(quoted "${asked[@]}")" >"$record"
each_job submit_job
echo "pipeline: slurm/pipeline.sh --status $record shows where it stands" >&2
