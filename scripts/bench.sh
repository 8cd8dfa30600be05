#!/usr/bin/env bash
# bench.sh: every benchmark of tests/bench beside what a user would run instead, alternating, 10 times each; prints tables.
# Needs .venv-oracles (scripts/setup.sh --oracles), for the loaders also scripts/bench_setup.sh; the training step and captions also a checkout of the original in MICRODIT_REFERENCE.
# Anything else that runs on the machine is in the figures: leave it alone meanwhile. COMPILE=1: torch.compile too (minutes).
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv-oracles/bin/python
[ -x $python ] || { echo "bench.sh: $python is missing: run scripts/setup.sh --oracles" >&2; exit 2; }
export PATH=$PWD/.venv/bin:$PATH
cmake --preset release >/dev/null && ninja -C build train_step_bench codec_step_bench loader_bench slow_disk checkpoint_bench picture_bench tokenize_bench caption_bench text_encoder_bench table_bench jobs >/dev/null
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo "load before: $(cut -d' ' -f1-3 /proc/loadavg)"
$python tests/bench/train_step_bench.py ${COMPILE:+--compile} || [ $? = 77 ]
$python tests/bench/unet_step_bench.py
$python tests/bench/codec_step_bench.py
build/bin/loader_bench make "$folder/latents" >/dev/null && $python tests/bench/loader_bench.py "$folder/latents"
$python tests/bench/picture_bench.py
$python tests/bench/tokenize_bench.py
$python tests/bench/text_encoder_bench.py
$python tests/bench/caption_bench.py || [ $? = 77 ]
$python tests/bench/table_bench.py
$python tests/bench/precompute_bench.py
$python tests/bench/checkpoint_bench.py
