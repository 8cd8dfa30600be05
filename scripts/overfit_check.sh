#!/usr/bin/env bash
# overfit_check.sh: can this configuration learn at all? One picture, then eight, by heart, through `train`: the loss must fall to a
# stated share of where it began. Two minutes on two cores. Wrong scales, lost gradients and labels that do not reach the network show here,
# before a cluster is paid for.
#   scripts/overfit_check.sh                                          the demonstration's configuration on its data
#   scripts/overfit_check.sh --config configs/train/unet.yaml --data DATASET [key=value ...]     yours
#   --config FILE|NAME  a training (default: emoji)      --data DATASET  (default: what the configuration says)
#   --steps N           (default: 300)                   --bound SHARE   of the first loss that must be reached (default: 0.10 and 0.20)
#   --ranks N           (default: 1)                     key=value       for train, after ours
# Exit code: 0 learned, 1 not, 2 a mistake in the call.
set -euo pipefail
cd "$(dirname "$0")/.."
die() { echo "overfit_check.sh: $*" >&2; exit 2; }
config=emoji data="" steps=300 bound="" ranks=1 more=()
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) sed -n '/^#!/d; /^#/!q; s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --config | --data | --steps | --bound | --ranks) [ -n "${2:-}" ] || die "$1: say what" ;;&
    --config) config=$2 ;;
    --data) data=$2 ;;
    --steps) steps=$2 ;;
    --bound) bound=$2 ;;
    --ranks) ranks=$2 ;;
    *=*) more+=("$1"); shift; continue ;;
    *) die "unknown word '$1' (--help)" ;;
  esac
  shift 2
done
[[ $steps =~ ^[1-9][0-9]+$ ]] && [ "$steps" -ge 50 ] || die "--steps '$steps': a whole number from 50 on"
[[ $ranks =~ ^[1-9][0-9]*$ ]] || die "--ranks '$ranks': a whole number"
[ -z "$bound" ] || [[ $bound =~ ^0?\.[0-9]+$ ]] || die "--bound '$bound': between 0 and 1"
train=${MICRODIT_BIN:-$PWD/build/bin}/train
[ -x "$train" ] || die "$train is missing: build first (cmake --preset release && cmake --build build)"
[ -n "$data" ] || data=$("$train" --config "$config" --print-config 2>/dev/null | sed -n 's/^ *-\{0,1\} *dataset: *//p' | head -n 1)
[ -n "$data" ] || die "--config $config: names no dataset: say --data DATASET"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
launch=()
[ "$ranks" = 1 ] || launch=(mpirun --oversubscribe -n "$ranks")
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

losses() { sed -n 's/.*"loss":\([-+.0-9e]*\),.*/\1/p' "$1"; }
mean() { awk '{ sum += $1 } END { printf "%.6g", sum / NR }'; }

learn() {  # PICTURES BOUND
  local run=$folder/by_heart_$1 first last share log=$folder/log
  "${launch[@]}" "$train" --config "$config" "data=[{dataset: $data, limit: $1}]" batch_size=16 \
    microbatch_size=0 caption_drop=0 mask_ratio=0 ema.decay=0 sampling.every_steps=0 checkpoint.every_steps=1000000 log_every_steps=1000000 threads_per_rank=0 \
    schedule="{kind: constant, warmup_steps: 10}" "${more[@]}" runs="$folder" name="by_heart_$1" steps="$steps" >"$log" 2>&1 || { tail -n 5 "$log" >&2; die "train failed with exit code $?"; }
  [ "$(losses "$run/metrics.jsonl" | wc -l)" = "$steps" ] || die "$1 picture(s): not every one of the $steps steps has a finite loss (the log: $(tail -n 1 "$log"))"
  first=$(losses "$run/metrics.jsonl" | head -n 10 | mean)
  last=$(losses "$run/metrics.jsonl" | tail -n 50 | mean)
  share=$(awk -v a="$last" -v b="$first" 'BEGIN { printf "%.3f", a / b }')
  [[ $share =~ ^[0-9]+\.[0-9]+$ ]] || die "$1 picture(s): loss $first -> $last says nothing"
  if awk -v s="$share" -v b="$2" 'BEGIN { exit !(s + 0 <= b + 0) }'; then
    echo "$1 picture(s): loss $first -> $last, $share of it (at most $2): learned by heart"
  else
    echo "$1 picture(s): loss $first -> $last, $share of it: NOT learned by heart (at most $2 wanted); look at the rate, the data, the gradients"
    return 1
  fi
}

failed=0
learn 1 "${bound:-0.10}" || failed=1
learn 8 "${bound:-0.20}" || failed=1
exit $failed
