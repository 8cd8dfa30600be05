#!/bin/bash
# slurm/pipeline.sh: the lines it would submit, the order in which the jobs run, and what a failed stage does to the rest.
source "$(dirname "$0")/cluster.sh"
export CPUS=4
start_cluster
mkdir -p configs/datasets configs/train configs/sample
touch configs/datasets/cc12m.yaml configs/datasets/x.yaml configs/sample/prompts.txt
for phase in pretrain_256 finetune_256 pretrain_512 finetune_512; do echo "name: $phase" >configs/train/$phase.yaml; done
echo "name: tiny" >configs/train/x.yaml

for stage in download clean precompute train_codec train generate evaluate; do
  cat >build/bin/$stage <<'E2'
#!/bin/bash
stage=$(basename "$0")
config=$(printf '%s\n' "$@" | grep '\.yaml$' | tail -n 1)
case " $* " in *" --print-config "*) cat "$config"; echo "runs: runs"; exit 0 ;; esac
[ "${SLURM_PROCID:-0}" = 0 ] && echo "$stage ${SLURM_ARRAY_TASK_ID:--} $*" >>order
[ "$stage" != "${FAIL:-}" ]
E2
done
chmod +x build/bin/*

slurm/pipeline.sh --dry-run >lines || failures=$((failures + 1))
equal "the default chain" "$(grep -o 'slurm/.*' lines)" "slurm/download.sbatch --config configs/datasets/cc12m.yaml
slurm/clean.sbatch --config configs/datasets/cc12m.yaml
slurm/precompute.sbatch --config configs/datasets/cc12m.yaml
slurm/pretrain_256.sbatch --config configs/train/pretrain_256.yaml
slurm/finetune_256.sbatch --config configs/train/finetune_256.yaml
slurm/pretrain_512.sbatch --config configs/train/pretrain_512.yaml
slurm/finetune_512.sbatch --config configs/train/finetune_512.yaml
slurm/generate.sbatch --run runs/finetune_512 --prompts configs/sample/prompts.txt
slurm/evaluate.sbatch --run runs/finetune_512"
equal "every job but the first depends on one" "$(grep -c -- '--dependency=afterok:<' lines)" 8
equal "no zombie dependents" "$(grep -vc -- '--kill-on-invalid-dep=yes' lines)" 0
equal "a dry run submits nothing" "$(squeue -h | wc -l)$(ls order 2>/dev/null)" 0
slurm/pipeline.sh --dry-run --from precompute --until pretrain_256 --tasks 7 >lines
equal "a part of the chain" "$(wc -l <lines) $(grep -c -- '--array=0-6' lines) $(grep -c dependency lines)" "2 1 1"
slurm/pipeline.sh --dry-run --dataset none.yaml >lines 2>&1; equal "a missing file: exit code" $? 2
contains "a missing file: message" lines "none.yaml"
slurm/pipeline.sh --dry-run --from nowhere >lines 2>&1; equal "an unknown stage: exit code" $? 2

slurm/pipeline.sh --dataset configs/datasets/x.yaml --train configs/train/x.yaml --codec configs/train/x.yaml --tasks 2 \
  --train-set steps=3 --train-sbatch "--nodes=1 --ntasks-per-node=1" >ids || failures=$((failures + 1))
equal "ids by stage" "$(cut -d' ' -f1 ids | paste -sd' ')" "download clean train_codec precompute x generate evaluate"
for job in $(cut -d' ' -f2 ids); do wait_job "$job"; done
equal "order and arguments" "$(sort -s -k1,1 -k2,2 order | wc -l) $(cut -d' ' -f1 order | uniq | paste -sd' ')" \
  "10 download clean train_codec precompute train generate evaluate"
contains "training arguments" order "^train - --config runs/tiny/life/config.yaml"
contains "the run that is sampled" order "^generate - --run runs/tiny --prompts configs/sample/prompts.txt"

rm -f order
FAIL=clean slurm/pipeline.sh --dataset configs/datasets/x.yaml --train configs/train/x.yaml --tasks 2 >ids
for job in $(cut -d' ' -f2 ids); do wait_job "$job"; done
equal "a failed stage stops the chain" "$(cut -d' ' -f1 order | sort -u | paste -sd' ')" "clean download"
equal "and cancels the rest" "$(job_field "$(sed -n 's/^evaluate //p' ids)" JobState)" CANCELLED
report
