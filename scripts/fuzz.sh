#!/usr/bin/env bash
# fuzz.sh [TARGET...] [--seconds N]: libFuzzer (with clang, under AddressSanitizer and UBSan) on the parsers of foreign bytes
# that are ours (tests/fuzz/targets.h), N seconds each (default 60), from the kept corpus tests/fuzz/corpus/TARGET. A finding
# is a file build/fuzz/crash-TARGET-*. --keep merges what was found new and small into the kept corpus.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=60 keep=0 targets=()
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=${2:?--seconds needs a number}; shift ;;
    --keep) keep=1 ;;
    -*) echo "fuzz.sh: unknown word '$1'; known: TARGET... --seconds N --keep" >&2; exit 2 ;;
    *) targets+=("$1") ;;
  esac
  shift
done
[ ${#targets[@]} -gt 0 ] || targets=(safetensors pickle torch manifest index tar zip json wordpiece sentencepiece http yaml gif bmp png captions json_rows csv_rows table)
command -v clang++ >/dev/null || { echo "fuzz.sh: clang++ is not installed: apt-get install clang" >&2; exit 2; }

out=build/fuzz
mkdir -p $out
flags=(-std=c++20 -O1 -gline-tables-only -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
  -Isrc -Itests -Wno-everything)
libraries=$(pkg-config --libs fmt spdlog yaml-cpp libxxhash libcrypto libpng libdeflate libwebp libwebpdemux libturbojpeg icu-uc libarchive libcurl zlib)
# One list for this script and for the replay that the tests build: tests/fuzz/sources.txt.
mapfile -t sources < <(grep -v '^#' tests/fuzz/sources.txt)
sources+=(src/core/*.cpp src/image/decode.cpp src/image/decode_{gif,bmp,png,jpeg,webp,tiff_absent}.cpp src/image/exif.cpp src/image/png_{metadata,session,inflate}.cpp)
objects=()
rules="all: objects"$'\n'
for source in "${sources[@]}" tests/fuzz/targets.cpp tests/fuzz/table_targets.cpp; do
  object=$out/${source//\//_}.o
  objects+=("$object")
  rules+="$object: $source"$'\n\t'"clang++ ${flags[*]} -MMD -MP -c $source -o $object"$'\n'
done
printf '%s\nobjects: %s\n-include %s\n' "$rules" "${objects[*]}" "${objects[*]/%.o/.d}" >$out/Makefile
make -s -j "${FUZZ_JOBS:-$(nproc)}" -f $out/Makefile

failed=0
for target in "${targets[@]}"; do
  clang++ "${flags[@]}" -fsanitize=fuzzer "-DMICRODIT_FUZZ_TARGET=\"$target\"" tests/fuzz/libfuzzer.cpp "${objects[@]}" \
    -o "$out/$target" $libraries -ljpeg -lpthread
  mkdir -p "$out/found-$target" "tests/fuzz/corpus/$target"
  if "$out/$target" "$out/found-$target" "tests/fuzz/corpus/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
      -max_len=65536 -artifact_prefix="$out/crash-$target-" -print_final_stats=1 >"$out/$target.log" 2>&1; then
    echo "$target: $(grep -o 'number_of_executed_units: [0-9]*' "$out/$target.log" | grep -o '[0-9]*') executions, no finding"
  else
    echo "$target: a finding; see $out/$target.log"; failed=1
  fi
  if [ $keep = 1 ]; then
    "$out/$target" -merge=1 -max_len=1024 "tests/fuzz/corpus/$target" "$out/found-$target" >/dev/null 2>&1 || true
  fi
done
exit $failed
