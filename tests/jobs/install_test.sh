#!/bin/bash
# cmake --install: a folder that works wherever it is moved, with libraries of its own beyond the base system and MPI.
set -u
source_dir=${MICRODIT_SOURCE:?} build=$(dirname "${MICRODIT_BIN:?}")
[ -f "$build/cmake_install.cmake" ] || { echo "skipped: $build is no build folder of CMake"; exit 77; }
for program in download clean precompute train_tokenizer train_codec train generate evaluate score explain convert doctor probe life; do
  [ -x "$MICRODIT_BIN/$program" ] || { echo "skipped: $program is not built"; exit 77; }
done
work=$(mktemp -d "$build/install_test.XXXXXX")  # on the build's file system
trap 'rm -rf "$work"' EXIT
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
cmake=$(command -v cmake)
[ ! -x "$source_dir/.venv/bin/cmake" ] || cmake=$source_dir/.venv/bin/cmake
"$cmake" --install "$build" --prefix "$work/first" >"$work/log" 2>&1 || { tail -n 20 "$work/log"; exit 1; }
mv "$work/first" "$work/moved"
cd "$work/moved" || exit 1

"$source_dir/scripts/container_install.sh" --check "$work/moved" || fail "--check refuses a good folder"
for program in bin/*; do
  # LibTorch and what else is no part of the base system comes from here, not from where it was built.
  strangers=$(ldd "$program" 2>/dev/null | awk '$3 ~ "^/" {print $3}' | grep -E '/(site-packages|\.venv|opt)/|/usr/local/' || true)
  [ -z "$strangers" ] || fail "$program takes libraries from elsewhere: $strangers"
done
ldd bin/train | grep -q "libtorch_cpu.so => $work/moved/.*lib/" || fail "train does not take LibTorch from its folder: $(ldd bin/train | grep torch)"
for name in yaml-cpp hdf5; do
  ldd bin/clean | grep "lib$name" | grep -q "=> $work/moved/" || fail "clean does not take lib$name from its folder"
done
# The scripts find the programs, the programs the configs.
build/bin/train --config configs/train/emoji.yaml --print-config >/dev/null || fail "a program does not read its config"
bash slurm/download.sbatch --config configs/datasets/emoji.yaml --print-config >"$work/printed" 2>&1 || fail "a job script does not run: $(cat "$work/printed")"
[ -z "$(find . -name '*.out' -o -name .git)" ] || fail "what is no part of the product is installed"

# The check can fail.
mv lib/libtorch_cpu.so lib/hidden
! "$source_dir/scripts/container_install.sh" --check "$work/moved" 2>/dev/null || fail "--check accepts a folder without LibTorch"
[ $failures = 0 ] && echo passed
exit $((failures > 0))
