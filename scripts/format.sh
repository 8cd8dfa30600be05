#!/usr/bin/env bash
# format.sh [--check]: clang-format over all C++ and CUDA sources; --check changes nothing and fails where it would.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
  "") how=-i ;;
  --check) how="--dry-run --Werror" ;;
  *) echo "format.sh: unknown word '$1'; known: --check" >&2; exit 2 ;;
esac
git ls-files -z '*.cpp' '*.h' '*.cu' | xargs -0 clang-format $how
