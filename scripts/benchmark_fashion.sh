#!/usr/bin/env bash
# benchmark_fashion.sh: generators of Fashion-MNIST by class, each trained for T minutes on two cores, beside one another: ours
# (configs/train/fashion.yaml) and those of torchcfm, diffusers and nano-diffusion (scripts/fashion/opponents.py). Rules: docs/benchmark_fashion.md.
#   scripts/benchmark_fashion.sh                           all cells: about six hours; nothing else may run on the machine meanwhile
#   scripts/benchmark_fashion.sh --only microdit --minutes 5 --seeds 0     one cell, about 11 minutes
# A cell (a generator, a time, a seed) that is done is not done again: stop it whenever you like and call it again.
#   --only NAMES     of microdit torchcfm diffusers nano (default: all)
#   --minutes LIST   default: 5 10, and 4 for ours
#   --seeds LIST     default: 0 1 2
#   --pictures N     of a class (default: 1000); with fewer it is a trial of ours alone, which is not scored
#   --out DIR        the cells (default: runs/benchmark_fashion); a cell is a folder with row.json, grid.png, pictures.npz and logs
#   --page FILE      also write the table and the grids into this page (docs/benchmark_fashion.md)
# On a machine with more cores it keeps to the first two that it may use.
# FASHION_DATA: the four .gz files (default: those of Debian's dataset-fashion-mnist). NANO: a checkout of nano-diffusion.
# Needs a build, .venv-oracles (scripts/setup.sh --oracles) and, but for ours alone, .venv-bench/fashion (scripts/bench_setup.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
die() { echo "benchmark_fashion.sh: $*" >&2; exit 2; }
say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
names="microdit torchcfm diffusers nano" minutes="" seeds="0 1 2" pictures=1000 out=runs/benchmark_fashion page=""
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) sed -n '/^#!/d; /^#/!q; s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --only | --minutes | --seeds | --pictures | --out | --page) [ -n "${2:-}" ] || die "$1: say what" ;;&
    --only) names=$2 ;;
    --minutes) minutes=$2 ;;
    --seeds) seeds=$2 ;;
    --pictures) pictures=$2 ;;
    --out) out=$2 ;;
    --page) page=$2 ;;
    *) die "unknown word '$1' (--help)" ;;
  esac
  shift 2
done
for name in $names; do case $name in microdit | torchcfm | diffusers | nano) ;; *) die "--only '$name': one of microdit torchcfm diffusers nano" ;; esac; done
for t in $minutes; do [[ $t =~ ^([1-9][0-9]*|[0-9]*\.[0-9]*[1-9])$ ]] || die "--minutes '$t': not a number (5, 0.5)"; done
for seed in $seeds; do [[ $seed =~ ^[0-9]+$ ]] || die "--seeds '$seed': not a whole number"; done
[[ $pictures =~ ^[1-9][0-9]{0,3}$ ]] && [ "$pictures" -le 1000 ] || die "--pictures '$pictures': 1 to 1000"
[ "$pictures" = 1000 ] || [ "$names" = microdit ] || die "--pictures $pictures: the opponents make 1000 of a class; say --only microdit"
bin=${MICRODIT_BIN:-$PWD/build/bin}
for program in download clean precompute train generate; do
  [[ $names != *microdit* ]] || [ -x "$bin/$program" ] || die "$bin/$program is missing: build first (cmake --preset release && cmake --build build)"
done
python=$PWD/.venv-bench/fashion/bin/python
[ "$names" != microdit ] || [ -x "$python" ] || python=$PWD/.venv-oracles/bin/python
[ -x "$python" ] || die "$python is missing: run scripts/setup.sh --oracles && scripts/bench_setup.sh"
[[ $names != *nano* ]] || [ -d "${NANO:-nano-diffusion}" ] || die "${NANO:-nano-diffusion} is not there: git clone https://github.com/nano256/nano-diffusion, or NANO=DIR"
export FASHION_DATA=${FASHION_DATA:-/usr/share/datasets/fashion-mnist} FASHION_CACHE=${FASHION_CACHE:-$PWD/data/fashion-bench} PYTHONPATH=$PWD/scripts/fashion
[ -f "$FASHION_DATA/train-images-idx3-ubyte.gz" ] || die "$FASHION_DATA has no train-images-idx3-ubyte.gz: apt install dataset-fashion-mnist, or FASHION_DATA=DIR"
export PATH=$PWD/.venv/bin:$PATH OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
taskset -cp "$(python3 -c "import os; print(','.join(map(str, sorted(os.sched_getaffinity(0))[:2])))")" $$ >/dev/null
mkdir -p "$out"
out=$(cd "$out" && pwd)

seconds_since() { python3 -c "import sys, time; print(round(time.time() - float(sys.argv[1]), 1))" "$1"; }

stages() {
  local stage
  for stage in download clean precompute; do
    "$bin"/$stage --config configs/datasets/fashion_mnist.yaml recipe=configs/latents/grey_28.yaml source.folder="$FASHION_DATA" || return
  done
}

ranks=(mpirun -n 2 --bind-to none)
train=("${ranks[@]}" "$bin/train" --config configs/train/fashion.yaml)

# microdit T SEED FOLDER: within T the stages, a run of 24 steps that tells how many steps fit into the rest, and the training; then the pictures.
microdit() {
  local t=$1 seed=$2 folder=$3 began steps left setup trained made run=$3/runs/fashion status=0
  began=$(date +%s.%N)
  export MICRODIT_DATA=$folder/data
  stages && "${train[@]}" runs="$folder/trial" steps=24 || return
  setup=$(seconds_since "$began")
  left=$(python3 -c "print(60 * $t - $setup)")
  # A second for the program's start and one for its checkpoint, and 15 in 1,000 for a machine that becomes slower.
  steps=$("$python" scripts/fashion/steps.py "$folder/trial/fashion" "$(python3 -c "print(($left - 2) * 0.985)")") || return
  # Should it be late all the same, then it stops where it is, as a job of Slurm at the end of its time.
  timeout -s USR1 "$(python3 -c "print(max(1, $left - 2))")" "${train[@]}" runs="$folder/runs" seed=$((18 + seed)) steps="$steps" ||
    status=$?
  trained=$(seconds_since "$began")
  [ $status = 0 ] || [ $status = 124 ] || return $status
  began=$(date +%s.%N)
  "${ranks[@]}" "$bin/generate" --run "$run" num_images="$pictures" steps=16 seed=$((2024 + 20000 * seed)) precision=bf16 batch_size=250 \
    metadata=false out="$folder/images" || return
  made=$(seconds_since "$began")
  "$python" scripts/fashion/pack.py "$run" "$folder/images" "$folder/pictures.npz" minutes="$t" seed="$seed" train_s="$trained" setup_s="$setup" generate_s="$made" \
    parameters="$(grep -oE '[0-9]+ parameters' "$folder/log.txt" | head -n 1 | cut -d' ' -f1)" precision=bf16 || return
  rm -rf "$folder/data" "$folder/images" "$folder/trial" "$folder/runs/fashion/checkpoints"
}

# opponent NAME T SEED FOLDER
opponent() {
  "$python" scripts/fashion/opponents.py "$1" --minutes "$2" --seed "$3" --out "$4/pictures.npz" --checkout "${NANO:-nano-diffusion}"
}

# What a cell was made with: rows of different machines do not go together.
about_machine() {
  python3 - <<'E2'
import json, os, re, subprocess
cpu = re.search(r"model name\s*:\s*(.*)", open("/proc/cpuinfo").read())
def git(folder):
    return subprocess.run(["git", "-C", folder, "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True).stdout.strip()
print(json.dumps({"cpu": cpu[1] if cpu else "", "cores": len(os.sched_getaffinity(0)), "microdit": git("."), "nano": git(os.environ.get("NANO", "nano-diffusion"))}))
E2
}

cell() {  # NAME T SEED
  local name=$1 t=$2 seed=$3 folder=$out/$1_$2_$3
  [ "$pictures" = 1000 ] || folder+=_of_$pictures
  [ ! -f "$folder/row.json" ] || { say "$name, $t minutes, seed $seed: done before"; return 0; }
  mkdir -p "$folder"
  if [ ! -f "$folder/made" ]; then
    rm -rf "${folder:?}"/*
    say "$name, $t minutes, seed $seed: load $(cut -d' ' -f1 /proc/loadavg) before"
    if [ "$name" = microdit ]; then microdit "$t" "$seed" "$folder"; else opponent "$name" "$t" "$seed" "$folder"; fi >"$folder/log.txt" 2>&1 &&
      [ -f "$folder/pictures.npz" ] ||
      { tail -n 5 "$folder/log.txt" >&2; say "$name, $t minutes, seed $seed: failed (all of it: $folder/log.txt); the others go on"; return 1; }
    about_machine >"$folder/machine.json"
    touch "$folder/made"
  fi
  [ "$pictures" = 1000 ] || { say "$name, $t minutes, seed $seed: made $((10 * pictures)) pictures, a trial: $folder"; return 0; }
  "$python" scripts/fashion/score.py "$folder/pictures.npz" --name "$name" --grid "$folder/grid.png" >"$folder/score.txt" 2>"$folder/score.log" ||
    { tail -n 5 "$folder/score.log" >&2; say "$name, $t minutes, seed $seed: scoring failed"; return 1; }
  head -n 1 "$folder/score.txt" >"$folder/row.partial"
  mv "$folder/row.partial" "$folder/row.json"
  say "$(tail -n 1 "$folder/score.txt")"
}

failed=0
for seed in $seeds; do
  for t in ${minutes:-5 10 4}; do
    for name in $names; do
      [ -n "$minutes" ] || [ "$t" != 4 ] || [ "$name" = microdit ] || continue
      cell "$name" "$t" "$seed" || failed=1
    done
  done
done
[ "$pictures" = 1000 ] || exit $failed
"$python" scripts/fashion/page.py "$out" ${page:+--page "$page"}
exit $failed
