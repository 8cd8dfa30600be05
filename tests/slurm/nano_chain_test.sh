#!/bin/bash
# The README's one command for a class-conditional run, on 2 virtual nodes: Fashion-MNIST (a part of it) from its files to a number, with a
# kill in the middle of training; and the same run without the kill, which must be the same bytes.
source "$(dirname "$0")/cluster.sh"
for program in download clean precompute train generate evaluate score life; do
  [ -x "$programs/$program" ] || { echo "skipped: $programs/$program is not built"; exit 77; }
done
weights=$MICRODIT_SOURCE/data/weights
for network in all-MiniLM-L6-v2 efficientnet-lite0; do
  [ -d "$weights/$network" ] || { echo "skipped: $weights/$network is not there (scripts/setup.sh)"; exit 77; }
done
export CPUS=4
start_cluster
rm -rf build && ln -s "$(dirname "$programs")" build
ln -s "$MICRODIT_SOURCE/configs" configs
mkdir -p data && ln -s "$weights" data/weights

# The first pictures of Debian's package; without it, pictures by formula of the same form.
python3 - <<'E2' || { echo "FAILED: no files"; exit 1; }
import gzip, math, os, pathlib, struct
package = pathlib.Path("/usr/share/datasets/fashion-mnist")
os.mkdir("files")
for part, count in (("train", 960), ("t10k", 200)):
    if package.is_dir():
        pixels, labels = (gzip.open(package / f"{part}-{name}.gz").read()[head:][:count * size]
                          for name, head, size in (("images-idx3-ubyte", 16, 784), ("labels-idx1-ubyte", 8, 1)))
    else:
        labels = bytes(i * 7 % 10 for i in range(count))
        pixels = bytes(int(127 + 120 * math.sin((label + 1) * .1 * x + i % 13 + y * .3)) for i, label in enumerate(labels)
                       for y in range(28) for x in range(28))
    with gzip.open(f"files/{part}-images-idx3-ubyte.gz", "wb") as out:
        out.write(struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28) + pixels)
    with gzip.open(f"files/{part}-labels-idx1-ubyte.gz", "wb") as out:
        out.write(struct.pack(">4BI", 0, 0, 8, 1, count) + labels)
print("pictures of", package if package.is_dir() else "formulas")
E2

chain=(--dataset configs/datasets/fashion_mnist.yaml --train configs/train/nano_debug.yaml)
part=(--tasks 2 --data-set "source.folder=$work/files" --score 3 --sample-set steps=10 --sample-set threads_per_rank=1 --score-set threads_per_rank=1)
slurm/pipeline.sh "${chain[@]}" "${part[@]}" >ids 2>said || { echo "FAILED: the pipeline was refused"; cat said; exit 1; }
equal "ids by stage" "$(cut -d' ' -f1 ids | paste -sd' ')" "download clean precompute nano_debug generate evaluate score_generate score"
id_of() { sed -n "s/^$1 //p" ids; }
training=$(id_of nano_debug)
run=runs/nano_debug

# A rank is killed once a checkpoint is there: what was done since then is lost, and done again by the next life.
is_killable() { [ -e $run/checkpoints/step_0000008 ]; }
wait_until 300 is_killable || { echo "FAILED: no checkpoint"; tail -n 30 slurm/logs/*; failures=$((failures + 1)); }
for process in /proc/[0-9]*; do
  [ "$(readlink "$process/exe")" = "$PWD/$run/life/$training/bin/train" ] || continue
  kill -KILL "${process#/proc/}"
  break
done
for job in $(cut -d' ' -f2 ids); do wait_job "$job" 400; done
ended "training was killed, requeued, and came to its end" "$training" COMPLETED 0:0 1
for stage in generate evaluate score_generate score; do
  equal "$stage" "$(job_field "$(id_of $stage)" JobState)" COMPLETED
done
[ $failures = 0 ] || tail -n 15 slurm/logs/*.out

# The same run, left alone.
quiet=$(sbatch --parsable --wait slurm/pretrain_256.sbatch --config configs/train/nano_debug.yaml runs=quiet)
ended "the run without a kill" "$quiet" COMPLETED 0:0 0
last=$(ls $run/checkpoints | grep step_ | tail -n 1)
equal "2 epochs of 960 pictures, 64 at a time" "$last" step_0000030
for checkpoint in "$last" best; do
  diff -rq "$run/checkpoints/$checkpoint" "quiet/nano_debug/checkpoints/$checkpoint" || { echo "FAILED: $checkpoint differs"; failures=$((failures + 1)); }
done
cmp $run/samples/step_0000030.png quiet/nano_debug/samples/step_0000030.png || failures=$((failures + 1))
# numbers FOLDER: what was measured by step, without times
numbers() { python3 -c "
import json, sys
for line in open(sys.argv[1] + '/metrics.jsonl'):
    values = json.loads(line)
    print({key: value for key, value in sorted(values.items()) if not key.endswith('_s') and not key.startswith('memory') and key not in ('time', 'tflops', 'share_of_peak')})" "$1"; }
diff <(numbers $run) <(numbers quiet/nano_debug) >said || { echo "FAILED: the two runs measured otherwise:"; head -n 10 said; failures=$((failures + 1)); }

# What the chain leaves.
contains "held-out loss was measured" $run/metrics.jsonl "validation"
equal "8 of each class, and how they came to be" "$(ls $run/images/latest/ | grep -c '^[0-9]*.png') $(ls $run/images/latest/ | grep -c trajectory)" "80 80"
equal "classes by name" "$(grep -o '"prompt":"[^"]*"' $run/images/latest/manifest.jsonl | uniq | sed -n '1p;10p' | paste -sd' ')" '"prompt":"T-shirt/top" "prompt":"Ankle boot"'
scored=$run/images/score_2ep_3
python3 - $scored <<'E2' || failures=$((failures + 1))
import json, pathlib, sys
[file] = pathlib.Path(sys.argv[1], "scores").glob("*.json")
numbers = json.loads(file.read_text())
print(file.name, numbers)
assert numbers["pictures"]["n"] == 30 and numbers["reference"]["n"] == 200, numbers
assert 0 < numbers["frechet_distance"] < 1e4, numbers
assert numbers["settings"]["kid"]["subset_size"] == 30 and 0 < numbers["kernel_distance"] < 1e3, numbers
assert (numbers["settings"]["reference_size"], numbers["settings"]["resize"]) == (28, "clean_fid"), numbers
E2
[ -s $run/metrics.json ] || { echo "FAILED: evaluate left no numbers"; failures=$((failures + 1)); }
report
