#!/bin/bash
# scripts/overfit_check.sh on the small dataset: what can learn does, what cannot is said, and no loss is no success.
set -u
source_folder=${MICRODIT_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
[ -d "$MICRODIT_TEST_DATA/latents/emoji_small" ] || { echo "skipped: $MICRODIT_TEST_DATA is not there (tests/emoji_small.sh makes it)"; exit 77; }
export MICRODIT_DATA=$MICRODIT_TEST_DATA
small=(--data emoji_small --steps 120 size=64 threads_per_rank=1 model.dim=64 model.depth=2 model.head_dim=16 model.multiple_of=16 model.patch_mixer_dim=64 model.patch_mixer_depth=1 model.num_experts=2)
failures=0
log=$(mktemp); trap 'rm -f "$log"' EXIT
expect() {  # CODE TEXT WORDS...
  local code=$1 text=$2; shift 2
  "$source_folder/scripts/overfit_check.sh" "$@" >"$log" 2>&1
  local rc=$?
  if [ $rc != "$code" ] || ! grep -q -- "$text" "$log"; then
    echo "FAILED: exit $rc instead of $code, or no \"$text\": $*"; cat "$log"; failures=$((failures + 1))
  fi
}
expect 0 "8 picture(s): .*learned by heart" "${small[@]}" --bound 0.6
expect 1 "NOT learned by heart" "${small[@]}" --bound 0.6 optimizer.lr=0
expect 2 "steps has a finite loss" "${small[@]}" objective.sigma_data=1e-30 max_skipped_steps=1000
expect 2 "unknown word" --dataset emoji_small
expect 2 "train failed" --data no_such_dataset
[ $failures = 0 ] && echo "as expected"
exit $((failures > 0))
