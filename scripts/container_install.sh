#!/usr/bin/env bash
# container_install.sh [PREFIX]: in an image under construction (Debian 12, Ubuntu 24.04; root), from the sources to programs in
# PREFIX (/opt/microdit): packages, LibTorch, build, install, check; then the build and .venv are removed.
# With nvcc in the image, or MICRODIT_CUDA=ON, the build is for GPUs. containers/ has an Apptainer definition and a Dockerfile.
#   container_install.sh --check PREFIX    only the check: every program starts, and every library is found
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*" >&2; }

# Every program of the folder answers --help with the libraries that the folder and the base system have.
check() {
  local prefix=$1 program missing
  for program in "$prefix"/bin/*; do
    missing=$(ldd "$program" 2>/dev/null | grep 'not found' | grep -v libcuda.so || true)  # the driver comes with the GPU
    [ -z "$missing" ] || { say "$program: $missing"; return 1; }
    "$program" --help >/dev/null || { say "$program --help failed"; return 1; }
  done
  say "checked: $(cd "$prefix/bin" && echo *) in $prefix"
}
if [ "${1:-}" = --check ]; then check "${2:?PREFIX is missing}"; exit; fi

prefix=${1:-/opt/microdit}
# The .venv goes at the end: not the one of somebody's checkout.
[ ! -e .venv ] || { echo "container_install.sh: $PWD/.venv is there: this is for an image that is being made, in a copy of the sources" >&2; exit 2; }
cuda=${MICRODIT_CUDA:-AUTO}
[ "$cuda" != AUTO ] || cuda=$(if command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]; then echo ON; else echo OFF; fi)
case $cuda in
  ON | OFF) ;;
  *) echo "container_install.sh: MICRODIT_CUDA=$cuda: expected AUTO, ON or OFF" >&2; exit 2 ;;
esac
MICRODIT_CUDA=$cuda scripts/setup.sh
export PATH=$PWD/.venv/bin:$PATH
say "building (CUDA $cuda)"
cmake -S . -B build-container -G Ninja -DCMAKE_BUILD_TYPE=Release -DMICRODIT_TESTS=OFF -DMICRODIT_CUDA="$cuda" >build-container.log
cmake --build build-container --target jobs >>build-container.log || { grep -E 'error|FAILED' build-container.log | head -n 20 >&2; exit 1; }
cmake --install build-container --component runtime --prefix "$prefix" >>build-container.log
# What the programs need must come from the prefix alone.
rm -rf build-container build-container.log .venv
check "$prefix"
apt-get clean
rm -rf /var/lib/apt/lists/* ~/.cache
