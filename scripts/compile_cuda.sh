#!/usr/bin/env bash
# compile_cuda.sh: compiles every CUDA source for sm_80, sm_90 and sm_100 and checks the host sides that are left out of a
# build without CUDA. Says so and succeeds where there is no nvcc.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v nvcc >/dev/null || { echo "compile_cuda: no nvcc here, CUDA sources not compiled" >&2; exit 0; }
out=build/cuda; mkdir -p $out
cuda=$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")
torch=$(echo .venv/lib/python3*/site-packages/torch)
for source in $(git ls-files -co --exclude-standard 'src/*.cu'); do
  object=$out/$(basename "$source").o
  [ "$object" -nt "$source" ] && continue
  nvcc -std=c++20 -O3 -Isrc -c "$source" -o "$object" -gencode arch=compute_80,code=sm_80 \
    -gencode arch=compute_90,code=sm_90 -gencode arch=compute_100,code=sm_100
done
for source in $(git ls-files -co --exclude-standard 'src/*_cuda.cpp' 'src/*/nccl*.cpp'); do
  g++ -std=c++20 -fsyntax-only -Wall -Wextra -Werror -DMICRODIT_WITH_CUDA -Isrc -isystem "$cuda/include" \
    -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include" $(pkg-config --cflags fmt mpi-cxx 2>/dev/null || mpicxx --showme:compile) "$source"
done
echo "compile_cuda: sm_80, sm_90 and sm_100 compiled" >&2
