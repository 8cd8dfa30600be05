#!/usr/bin/env bash
# quickstart.sh: from a bare machine to pictures that the model has just learned to paint: 23 minutes on two idle cores without
# a GPU (set-up 1, build 10, data 2, training 9 to 10, pictures and evaluation 1). The whole chain of stages runs on this machine's
# Slurm if it has one, else on a throw-away one, else directly. Run it again to continue.
#   MICRODIT_STEPS=N       training steps (default: the config's)
#   MICRODIT_NO_SLURM=1    run the stages directly
# It takes no arguments but --help.
set -euo pipefail
case ${1:-} in
  "") ;;
  --help | -h) sed -n '/^#!/d; /^#/!q; s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "quickstart.sh: unknown argument '$1'; it takes none (--help says what it does; MICRODIT_STEPS=N, MICRODIT_NO_SLURM=1)" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."
started=$(date +%s)
say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
dataset=configs/datasets/emoji.yaml train=configs/train/emoji.yaml run=runs/emoji prompts=configs/sample/prompts.txt
export MICRODIT_DATA=${MICRODIT_DATA:-$PWD/data}

say "[1/6] set-up: packages and LibTorch, about 1 min the first time"
scripts/setup.sh
export PATH=$PWD/.venv/bin:$PATH
mkdir -p build slurm/logs
touch build/quickstart_began  # older outputs prove nothing
cmake --preset release >build/configure.log 2>&1 || { tail -n 30 build/configure.log >&2; exit 1; }
say "[2/6] building, about 10 min on two cores the first time (all of it: build/build.log)"
cmake --build build --target demonstration 2>&1 | tee build/build.log |
  awk 'match($0, /^\[[0-9]+\/[0-9]+\]/) { split(substr($0, 2, RLENGTH - 2), n, "/"); t = int(10 * n[1] / n[2]); if (t == last) next; last = t; printf "          built %d %%\n", 10 * t; fflush() }' >&2 ||
  { grep -E 'error|FAILED' build/build.log | head -n 20 >&2; exit 1; }
say "[3/6] making the emoji data"
.venv/bin/python scripts/make_emoji_dataset.py --out "$MICRODIT_DATA/made/emoji" --tars 8

cores=$(nproc)
[ "$cores" -le 4 ] || cores=4
train_set=()  # one rank per core: faster than one rank with as many threads
[ -z "${MICRODIT_STEPS:-}" ] || train_set+=("steps=$MICRODIT_STEPS")

# ---- the stages, one after another, without a scheduler -----------------------------------------------------------------
directly() {
  local stage
  export MICRODIT_RANKS=$cores
  for stage in download clean precompute; do bash slurm/$stage.sbatch --config $dataset; done
  bash slurm/pretrain_256.sbatch --config $train "${train_set[@]}"
  say "[5/6] pictures"
  bash slurm/generate.sbatch --run $run --prompts $prompts
  say "[6/6] evaluation"
  bash slurm/evaluate.sbatch --run $run
}

# ---- on a Slurm ----------------------------------------------------------------------------------------------------------
own_cluster=""
close_cluster() { [ -z "$own_cluster" ] || scripts/local_slurm.sh down >/dev/null 2>&1 || true; }
trap close_cluster EXIT
trap 'exit 130' INT TERM

open_cluster() {
  [ -z "${MICRODIT_NO_SLURM:-}" ] || return 1
  if command -v sinfo >/dev/null && timeout 10 sinfo -h >/dev/null 2>&1; then say "using this machine's Slurm"; return 0; fi
  command -v slurmctld >/dev/null || return 1
  local settings
  settings=$(NODES=1 CPUS=$(nproc) scripts/local_slurm.sh up 2>build/local_slurm.log) || { say "no local Slurm here ($(tail -n 1 build/local_slurm.log)); running the stages directly"; return 1; }
  own_cluster=1
  eval "$settings"
  export MICRODIT_SITE=local
  say "started a throw-away Slurm"
}

# One line that lives while a terminal watches; now and then a line in a log.
show() {
  if [ -t 2 ]; then printf '\r\033[K%s  %s' "$(date +%H:%M:%S)" "$1" >&2
  elif [ "$1" != "${shown:-}" ] && [ $(($(date +%s) - ${shown_at:-0})) -ge 20 ]; then say "$1"; shown=$1; shown_at=$(date +%s); fi
}

# Which of the six parts a stage belongs to.
part_of() {
  case $1 in
    *generate*) echo "[5/6] $1" ;;
    *evaluate*) echo "[6/6] $1" ;;
    *) echo "[4/6] $1" ;;
  esac
}

# Waits for the jobs of the chain; says which one runs and its newest log line. A squeue that fails says nothing about them.
follow() {
  local queue line stage last failed=0 pause=15
  [ -z "$own_cluster" ] || pause=2
  while :; do
    if queue=$(timeout 60 squeue -h -o '%T %j %F' 2>/dev/null); then
      failed=0
      line=$(grep -E " ($1)\$" <<<"$queue" || true)
      [ -n "$line" ] || break
      last=$(ls -t slurm/logs/*.out 2>/dev/null | head -n 1 || true)  # none before the first job begins
      stage=$(grep -m1 RUNNING <<<"$line" | cut -d' ' -f2 || true)
      show "$(part_of "${stage:-waiting}"): $( [ -z "$last" ] || tail -n 1 "$last" | cut -c1-150)"
    else
      failed=$((failed + 1))
      [ $failed -lt 20 ] || { say "squeue does not answer; the jobs may still run: slurm/pipeline.sh --status"; exit 1; }
      show "squeue does not answer; asking again"
    fi
    sleep $pause
  done
  [ ! -t 2 ] || printf '\n' >&2
}

on_slurm() {
  local jobs ranks="--nodes=1 --ntasks-per-node=$cores --cpus-per-task=1 --gpus-per-node=0"
  jobs=$(slurm/pipeline.sh --dataset $dataset --train $train --prompts $prompts --tasks 2 --sbatch --mem=4G \
    ${train_set[@]/#/--train-set } --data-sbatch "--cpus-per-task=1 --gpus-per-node=0" --train-sbatch "$ranks" --sample-sbatch "$ranks")
  say "submitted: $(tr '\n' ';' <<<"$jobs")"
  follow "$(awk '{print $2}' <<<"$jobs" | paste -sd'|')"
}

say "[4/6] data stages and training, about 11 min; then [5/6] pictures and [6/6] evaluation, about 2 min"
if open_cluster; then on_slurm; else directly; fi

# The chain ends with the pictures and then the numbers; both must be this call's.
grid=$(find $run/images/ -name grid.png -newer build/quickstart_began 2>/dev/null | head -n 1)
if [ ! $run/metrics.json -nt build/quickstart_began ] || [ -z "$grid" ]; then
  say "something failed; the newest logs:"
  ls -t slurm/logs/*.out 2>/dev/null | head -n 3 | xargs -r tail -n 8 >&2 || true
  exit 1
fi
minutes=$((($(date +%s) - started) / 60))
cat >&2 <<TEXT

Done in $minutes minutes.
  pictures   $grid
  report     $run/report.html
  numbers    $run/metrics.json
  run        $run        (paint more: build/bin/generate --run $run --prompt "a red car")
TEXT
say "building the programs that this did not need (doctor, convert, probe, train_codec, train_tokenizer), about 1 min"
cmake --build build --target jobs >build/build_rest.log 2>&1 || { grep -E 'error|FAILED' build/build_rest.log | head -n 20 >&2; exit 1; }
