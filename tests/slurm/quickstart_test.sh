#!/bin/bash
# scripts/quickstart.sh and what its end says: "Done" only when this call's chain made the pictures and the numbers. Set-up,
# build and stages are stand-ins; pipeline, jobs and Slurm are real.
source "$(dirname "$0")/cluster.sh"
[ -x "$programs/life" ] || { echo "skipped: $programs/life is not built"; exit 77; }
start_cluster
mkdir -p scripts configs/datasets configs/train configs/sample encoder .venv/bin fakes
cp "$MICRODIT_SOURCE/scripts/quickstart.sh" scripts/
printf '#!/bin/sh\n' | tee scripts/setup.sh .venv/bin/cmake >.venv/bin/python
echo "a red car" >configs/sample/prompts.txt
echo '{"model_type": "bert"}' >encoder/config.json
: >encoder/model.safetensors
printf '# images:\n#   codec: encoder\n# text:\n#   encoder: encoder\n' >configs/datasets/emoji.yaml
printf 'name: emoji\nruns: runs\n# takes: text\n' >configs/train/emoji.yaml
cat >build/bin/train <<'E2'
#!/bin/bash
stage=$(basename "$0")
case " $* " in
  *" --print-config "*) cat $(printf '%s\n' "$@" | grep '\.yaml$'); exit 0 ;;
  *" --check-settings "* | *" --version "* | *" --dry-run "*) exit 0 ;;
esac
[ "$stage" != "${FAIL:-}" ] || exit 3
[ "${SLURM_PROCID:-0}" = 0 ] || exit 0
echo "$stage" >>order
case $stage in
  generate) mkdir -p runs/emoji/images/call && touch runs/emoji/images/call/grid.png ;;
  evaluate) touch runs/emoji/metrics.json ;;
esac
exit 0
E2
for stage in download clean precompute train_codec generate evaluate; do cp build/bin/train build/bin/$stage; done
ln -s "$programs/life" build/bin/life
# The first look at the queue fails, as on a busy controller.
cat >fakes/squeue <<'E2'
#!/bin/bash
[ -e asked ] || { touch asked; exit 1; }
exec "$REAL_SQUEUE" "$@"
E2
chmod +x scripts/*.sh .venv/bin/* build/bin/* fakes/squeue
export REAL_SQUEUE; REAL_SQUEUE=$(command -v squeue)
export PATH=$PWD/fakes:$PATH

scripts/quickstart.sh --help >out 2>said; equal "--help: exit code" $? 0
contains "--help" out "MICRODIT_STEPS=N"
scripts/quickstart.sh --fast >out 2>said; equal "an unknown argument: exit code" $? 2
contains "an unknown argument" said "unknown argument '--fast'"
equal "and nothing was begun" "$(ls -d build/quickstart_began order 2>/dev/null)" ""

# A build says how far it is.
printf '#!/bin/sh\ncase "$*" in *--build*) for i in $(seq 40); do echo "[$i/40] Building $i"; done ;; esac\n' >.venv/bin/cmake
scripts/quickstart.sh >out 2>said; equal "a good chain" $? 0
contains "a build in tenths" said "^ *built 50 %"
equal "and not line by line" "$(grep -c 'built' said) $(grep -c 'Building' build/build.log)" "10 40"
for part in 1 2 3 4; do contains "part $part" said "\[$part/6\]"; done
contains "a good chain" said "^Done in"
contains "its pictures" said "runs/emoji/images/call/grid.png"
equal "a squeue that fails is not the end" "$(ls asked) $(tail -n 1 order)" "asked evaluate"

FAIL=train scripts/quickstart.sh >out 2>said; equal "a failed stage, with older outputs: exit code" $? 1
equal "and no Done" "$(grep -c '^Done' said)" 0
contains "but what failed" said "exit code 3"
FAIL=evaluate scripts/quickstart.sh >out 2>said; equal "a failed last stage" "$? $(grep -c '^Done' said)" "1 0"
FAIL=clean MICRODIT_NO_SLURM=1 scripts/quickstart.sh >out 2>said; equal "the same without a scheduler" "$? $(grep -c '^Done' said)" "3 0"
printf '#!/bin/sh\ncase "$*" in *--build*) echo "[1/2] x"; echo "a.cpp:1: error: no"; exit 1 ;; esac\n' >.venv/bin/cmake
scripts/quickstart.sh >out 2>said; equal "a build that fails" "$? $(grep -c 'error: no' said)" "1 1"
report
