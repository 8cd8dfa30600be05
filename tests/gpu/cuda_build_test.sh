#!/usr/bin/env bash
# The CUDA build (scripts/test.sh makes it where nvcc is): every program starts, and our kernels are in it for three cards.
set -u
cd "${MICRODIT_SOURCE:-$(dirname "$0")/../..}" || exit 1
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
[ -x "$nvcc" ] || { echo "skipped: no nvcc here"; exit 77; }
[ -x build-cuda/bin/train ] || { echo "skipped: build-cuda/ is not built (scripts/test.sh builds it)"; exit 77; }
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

for program in build/bin/*; do
  name=$(basename "$program")
  case $name in test_* | *_bench | fault_job | fuzz_*) continue ;; esac  # not what users start
  text=$(timeout 120 "build-cuda/bin/$name" --help 2>&1) || fail "build-cuda/bin/$name --help: exit $? $text"
  [[ $text == *"$name"* ]] || fail "build-cuda/bin/$name --help says: $text"
done

# The toolkit's, or that of a wheel that the oracles brought.
for cuobjdump in "$(dirname "$nvcc")/cuobjdump" .venv-oracles/lib/python3*/site-packages/triton/backends/nvidia/bin/cuobjdump; do
  [ ! -x "$cuobjdump" ] || break
done
[ -x "$cuobjdump" ] || fail "no cuobjdump here: neither beside $nvcc nor in .venv-oracles"
for architecture in sm_80 sm_90 sm_100; do
  "$cuobjdump" --list-elf build-cuda/bin/train 2>&1 | grep -q "$architecture" || fail "train holds no code for $architecture"
done
kernels=$("$cuobjdump" --dump-elf-symbols build-cuda/bin/train 2>/dev/null)
for kernel in adamw sum_pieces; do
  [[ $kernels == *"$kernel"* ]] || fail "train holds no kernel $kernel"
done

# Without a GPU the setting is refused with the reason, whatever the reason is here.
if ! nvidia-smi -L >/dev/null 2>&1; then
  text=$(MICRODIT_DATA=${MICRODIT_TEST_DATA:-build/test_data} build-cuda/bin/train --config configs/train/emoji.yaml device=cuda \
    "data=[{dataset: emoji_small}]" name=none runs="$(mktemp -d)" 2>&1)
  [ $? = 2 ] && [[ $text == *"no usable GPU"* ]] || fail "device=cuda without a GPU: $text"
fi
[ $failures = 0 ] && echo "all programs start; kernels for sm_80, sm_90, sm_100"
exit $((failures > 0))
