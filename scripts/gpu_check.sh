#!/usr/bin/env bash
# gpu_check.sh [--reference DIR]: on a machine with a GPU, first correctness (model forward and backward, sampler, codec, text
# encoder, 20 training steps: GPU against CPU), then speed and peak memory of xl_2 beside the original's PyTorch code
# (DIR, else MICRODIT_REFERENCE). One table, under 10 minutes. Without a GPU it runs the CPU half and says so.
# Needs a build (MICRODIT_CUDA=ON for the GPU half) and a Python with torch and numpy (.venv-oracles, else python3).
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${1:-}" != --reference ] || export MICRODIT_REFERENCE=$2
python=.venv-oracles/bin/python
[ -x $python ] || python=python3
exec $python scripts/gpu_check.py
