#!/usr/bin/env bash
# slurm/coco30k.sh: the prompts that it draws, the two jobs that it submits; sbatch is a stand-in that writes down its words.
set -euo pipefail
cd "${MICRODIT_SOURCE:-$(dirname "$0")/../..}"
export MICRODIT_DATA=${MICRODIT_TEST_DATA:-build/test_data} MICRODIT_BIN=${MICRODIT_BIN:-build/bin}
[ -f "$MICRODIT_DATA/samples/emoji_small/manifest.jsonl" ] || { echo "skipped: $MICRODIT_DATA has no samples (tests/emoji_small.sh makes them)"; exit 77; }
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/bin" "$scratch/run"
printf '#!/bin/sh\nprintf "%%s " "$@" >> "%s/words"; echo >> "%s/words"; echo "4711;here"\n' "$scratch" "$scratch" > "$scratch/bin/sbatch"
chmod +x "$scratch/bin/sbatch"
fail() { echo "coco30k_test.sh: $1" >&2; cat "$scratch/words" >&2 || true; exit 1; }

! PATH=$scratch/bin:$PATH slurm/coco30k.sh "$scratch/run" 2> "$scratch/log" || fail "a folder without a run was taken"
grep -q "trained run's folder" "$scratch/log" || fail "no word about the folder"
printf '{\n  "size": 64,\n  "channels": 4\n}\n' > "$scratch/run/facts.json"
PATH=$scratch/bin:$PATH DATASET=emoji_small PICTURES=3 slurm/coco30k.sh "$scratch/run" --nodes=4 > /dev/null
prompts=$scratch/run/images/zero_shot_emoji_small_3.txt out=$scratch/run/images/zero_shot_emoji_small_3
[ "$(wc -l < "$prompts")" = 3 ] || fail "not three prompts"
grep -qF -- "--parsable --job-name=zero_shot_generate --nodes=4 slurm/generate.sbatch --run $scratch/run --prompts $prompts num_images=1 seed=2024 out=$out" \
  "$scratch/words" || fail "generate was submitted otherwise"
grep -qF -- "--dependency=afterok:4711 slurm/score.sbatch --pictures $out --reference emoji_small network=inception resize=clean_fid reference_size=64" \
  "$scratch/words" || fail "score was submitted otherwise"
echo ok
