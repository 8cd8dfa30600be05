#!/bin/bash
# slurm/pipeline.sh: the lines it would submit, the order in which the jobs run, and what a failed stage does to the rest.
source "$(dirname "$0")/cluster.sh"
[ -x "$programs/life" ] || { echo "skipped: $programs/life is not built"; exit 77; }
start_cluster
mkdir -p configs/datasets configs/train configs/sample encoder
echo "a red car" >configs/sample/prompts.txt
echo '{"model_type": "bert"}' >encoder/config.json
: >encoder/model.safetensors
for name in cc12m x one-x two; do printf '# images:\n#   codec: encoder\n# text:\n#   encoder: encoder\n' >configs/datasets/$name.yaml; done
before=""
for phase in pretrain_256 finetune_256 pretrain_512 finetune_512; do
  printf 'name: %s\ninit:\n  from: "%s"\n' $phase "$before" >configs/train/$phase.yaml
  before=runs/$phase
done
echo "name: tiny" >configs/train/x.yaml

# Stand-ins: they print their config with runs= applied, and note when they run.
for stage in download clean precompute train_codec train_tokenizer train generate evaluate; do
  cat >build/bin/$stage <<'E2'
#!/bin/bash
stage=$(basename "$0")
config=$(printf '%s\n' "$@" | grep '\.yaml$' | tail -n 1)
runs=$(printf '%s\n' "$@" | sed -n 's/^runs=//p' | tail -n 1)
case " $* " in
  *" --print-config "*) cat "$config"; printf 'runs: "%s"\n# takes: text\n' "${runs:-runs}"; exit 0 ;;
  *" --check-settings "* | *" --version "* | *" --dry-run "*) exit 0 ;;
esac
[ "${SLURM_PROCID:-0}" = 0 ] && echo "$stage ${SLURM_ARRAY_TASK_ID:--} $*" >>order
[ "$stage" != "${FAIL:-}" ] && [ "$stage $(basename "$config" .yaml)" != "${FAIL:-}" ]
E2
done
# The rules of lives are the real ones.
ln -s "$programs/life" build/bin/life
chmod +x build/bin/*

slurm/pipeline.sh --dry-run >lines || failures=$((failures + 1))
equal "the default chain" "$(grep -o 'slurm/[a-z].*)' lines)" "slurm/download.sbatch --config configs/datasets/cc12m.yaml)
slurm/clean.sbatch --config configs/datasets/cc12m.yaml)
slurm/precompute.sbatch --config configs/datasets/cc12m.yaml)
slurm/pretrain_256.sbatch --config configs/train/pretrain_256.yaml)
slurm/finetune_256.sbatch --config configs/train/finetune_256.yaml)
slurm/pretrain_512.sbatch --config configs/train/pretrain_512.yaml)
slurm/finetune_512.sbatch --config configs/train/finetune_512.yaml)
slurm/generate.sbatch --run runs/finetune_512 --prompts configs/sample/prompts.txt)
slurm/evaluate.sbatch --run runs/finetune_512)"
equal "every job but the first depends on one" "$(grep -c -- '--dependency=afterok:"\$[a-z0-9_]*" ' lines)" 8
equal "no zombie dependents" "$(grep -vc -- '--kill-on-invalid-dep=yes' lines)" 0
equal "a dry run submits nothing" "$(squeue -h | wc -l)$(ls order slurm/logs/pipeline-* 2>/dev/null)" 0
slurm/pipeline.sh --dry-run --from precompute --until pretrain_256 --tasks 7%2 >lines
equal "a lone task is told that it is the whole" "$(slurm/pipeline.sh --dry-run --until precompute --tasks 1 | grep -c -- '--array=0-0 .* task=0/1)$')" 3
equal "a part of the chain" "$(wc -l <lines) $(grep -c -- '--array=0-6%2' lines) $(grep -c dependency lines)" "2 1 1"

# Several entries: a chain for each, training after all of them; the weights that they lack are fetched once.
both=(--dataset configs/datasets/one-x.yaml,configs/datasets/two.yaml --train configs/train/x.yaml)
# waits: what each line of `lines` makes, and what it waits for
waits() { sed -E 's/^([a-z0-9_]*)=.*--dependency=afterok:([^ ]*) .*/\1<\2/; s/^([a-z0-9_]*)=.*/\1/; s/["$]//g' lines | paste -sd' '; }
slurm/pipeline.sh --dry-run "${both[@]}" >lines || failures=$((failures + 1))
equal "two chains" "$(waits)" "download_one_x clean_one_x<download_one_x precompute_one_x<clean_one_x download_two clean_two<download_two \
precompute_two<clean_two x<precompute_one_x:precompute_two generate<x evaluate<generate"
equal "of two entries" "$(grep -o 'slurm/[cdp][a-z]*.sbatch .*)' lines | paste -sd' ')" "slurm/download.sbatch --config configs/datasets/one-x.yaml) \
slurm/clean.sbatch --config configs/datasets/one-x.yaml) slurm/precompute.sbatch --config configs/datasets/one-x.yaml) \
slurm/download.sbatch --config configs/datasets/two.yaml) slurm/clean.sbatch --config configs/datasets/two.yaml) \
slurm/precompute.sbatch --config configs/datasets/two.yaml)"
equal "jobs have their entry's name" "$(grep -o -- '--job-name=[^ ]*' lines | cut -d= -f2 | paste -sd' ')" \
  "download_one_x clean_one_x precompute_one_x download_two clean_two precompute_two"
slurm/pipeline.sh --dry-run "${both[@]}" --codec configs/train/x.yaml --from clean --until precompute >lines
equal "a codec is trained between them" "$(waits)" "clean_one_x clean_two train_codec<clean_one_x:clean_two precompute_one_x<train_codec precompute_two<train_codec"
slurm/pipeline.sh --dry-run "${both[@]}" --codec configs/train/x.yaml --tokenizer configs/train/x.yaml --from clean --until precompute >lines
equal "a tokenizer beside it" "$(waits)" "clean_one_x clean_two train_tokenizer<clean_one_x:clean_two train_codec<clean_one_x:clean_two \
precompute_one_x<train_tokenizer:train_codec precompute_two<train_tokenizer:train_codec"
equal "the tokenizer's command" "$(grep -o 'slurm/train_tokenizer.*)' lines)" "slurm/train_tokenizer.sbatch --config configs/train/x.yaml)"
slurm/pipeline.sh --dry-run "${both[@]}" --tokenizer configs/train/x.yaml --from train_tokenizer --until precompute >lines
equal "a tokenizer alone" "$(waits)" "train_tokenizer precompute_one_x<train_tokenizer precompute_two<train_tokenizer"
slurm/pipeline.sh --dry-run "${both[@]}" --from x >lines
equal "training alone" "$(waits)" "x generate<x evaluate<generate"
for name in one-x two; do
  printf '# images:\n#   codec: nowhere\n# text:\n#   encoder: encoder\n# weights:\n#   codec: configs/weights/w.yaml\n' >configs/datasets/lacks_$name.yaml
done
lacking=(--dataset configs/datasets/lacks_one-x.yaml,configs/datasets/lacks_two.yaml --train configs/train/x.yaml --until clean)
slurm/pipeline.sh --dry-run "${lacking[@]}" --until precompute >lines
equal "weights are fetched once, before both" "$(waits)" "weights_w download_lacks_one_x<weights_w clean_lacks_one_x<download_lacks_one_x \
precompute_lacks_one_x<clean_lacks_one_x download_lacks_two<weights_w clean_lacks_two<download_lacks_two precompute_lacks_two<clean_lacks_two"
MICRODIT_INTERNET=login slurm/pipeline.sh --dry-run "${lacking[@]}" --until precompute >lines
equal "in this shell, too" "$(grep -o '[a-z_-]*.yaml' lines | head -n 3 | paste -sd' ') $(grep -c download lines)" "w.yaml lacks_one-x.yaml lacks_two.yaml 3"
rm configs/datasets/lacks_*

# A dry run's lines are what is submitted, whatever the quoting: run by a shell in which sbatch only notes its words.
cat >noted.sh <<'E2'
sbatch() { printf '<%s>' "$@" >>noted; echo >>noted; echo 7; }
source ./lines
E2
awkward="it's [a] \"b\" \$HOME # x * \\ é"
slurm/pipeline.sh --dry-run --until download --data-set "name=$awkward" --sbatch "--comment='a \"b\" c' --nice=5" >lines
bash noted.sh
contains "a dry run can be pasted: values" noted "<name=$(sed 's/[][\\*$.]/\\&/g' <<<"$awkward")>"
contains "a dry run can be pasted: sbatch's options" noted '<--comment=a "b" c><--nice=5>'

# Another root: every phase refers to the runs that the phase before makes there.
mkdir -p runs/pretrain_256  # an old one, which must not be taken
slurm/pipeline.sh --dry-run --from pretrain_256 --train-set runs=scratch/runs >lines 2>said
equal "phases follow the runs' root" "$(grep -o 'init.from=[^ )]*' lines | paste -sd' ')" \
  "init.from=scratch/runs/pretrain_256 init.from=scratch/runs/finetune_256 init.from=scratch/runs/pretrain_512"
contains "and it is said" said "finetune_256 starts from scratch/runs/pretrain_256"

# Sites: each class its own options, the given ones after them.
cat >slurm/sites/mine.sh <<'E2'
MICRODIT_SBATCH=(--account=a)
MICRODIT_SBATCH_CPU=(--comment=cpu)
MICRODIT_SBATCH_TRANSFER=(--comment=transfer)
MICRODIT_SBATCH_GPU=(--comment=gpu)
MICRODIT_SBATCH_LONG=(--gpus-per-node=6 --ntasks-per-node=6)
E2
MICRODIT_SITE=mine slurm/pipeline.sh --dry-run --train configs/train/x.yaml --train-sbatch --nodes=2 >lines
equal "a site's classes" "$(sed -E 's/=\$\(.* --account=a / /; s/ slurm.*//; s/ --(array|dependency)=[^ ]*//g' lines)" "download --comment=cpu --comment=transfer
clean --comment=cpu
precompute --comment=gpu
x --comment=gpu --gpus-per-node=6 --ntasks-per-node=6 --nodes=2
generate --comment=gpu
evaluate --comment=gpu"
MICRODIT_SITE=gpus_per_node slurm/pipeline.sh --dry-run --train configs/train/x.yaml >lines 2>said
equal "an example is read; partitions that this Slurm has not are no submission" "$? $(squeue -h | wc -l)" "2 0"
contains "the example with --gpus-per-node" said "invalid partition specified"
MICRODIT_SITE=gres slurm/pipeline.sh --dry-run --train configs/train/x.yaml >lines 2>said
contains "the example with a container: its programs are looked for behind the prefix" said "is missing behind MICRODIT_PREFIX"

echo 'MICRODIT_INTERNET=login' >slurm/sites/mine.sh
rm -f order
MICRODIT_SITE=mine FAIL=download slurm/pipeline.sh --dataset configs/datasets/x.yaml --train configs/train/x.yaml >ids 2>said
equal "a failed download in the submitting shell submits nothing" "$? $(cat ids) $(cut -d' ' -f1 order) $(squeue -h | wc -l)" "1  download 0"
rm -f order
MICRODIT_SITE=mine slurm/pipeline.sh --dataset configs/datasets/x.yaml --train configs/train/x.yaml --until clean --tasks 1 >ids 2>said
equal "a download in the submitting shell is not a job" "$(cut -d' ' -f1 ids) $(head -n 1 order)" "clean download - --config configs/datasets/x.yaml"
wait_job "$(cut -d' ' -f2 ids)"
contains "a lone task runs" order "^clean 0 --config configs/datasets/x.yaml task=0/1"

rm -f order slurm/logs/pipeline-*
slurm/pipeline.sh --dataset configs/datasets/x.yaml --train configs/train/x.yaml --codec configs/train/x.yaml --tasks 2 \
  --train-set steps=3 --train-sbatch "--nodes=1 --ntasks-per-node=1" >ids 2>said || { failures=$((failures + 1)); cat said; }
equal "ids by stage" "$(cut -d' ' -f1 ids | paste -sd' ')" "download clean train_codec precompute x generate evaluate"
slurm/pipeline.sh --status >status || failures=$((failures + 1))
contains "the status of a pipeline under way" status "^evaluate .*$(sed -n 's/^evaluate //p' ids).*PENDING (Dependency)"
for job in $(cut -d' ' -f2 ids); do wait_job "$job"; done
equal "order and arguments" "$(sort -s -k1,1 -k2,2 order | wc -l) $(cut -d' ' -f1 order | uniq | paste -sd' ')" \
  "10 download clean train_codec precompute train generate evaluate"
contains "the run that is sampled" order "^generate - --run runs/tiny --prompts configs/sample/prompts.txt"
slurm/pipeline.sh --status "$(ls slurm/logs/pipeline-*)" >status
contains "the status of a finished pipeline" status "^evaluate .*COMPLETED 0:0"
contains "of its arrays" status "^clean .* 2 COMPLETED 0:0"
SLURM_CONF=/nowhere slurm/pipeline.sh --status >status 2>&1; equal "no answer is not an end" $? 1

rm -f order
slurm/pipeline.sh "${both[@]}" --tasks 2 >ids 2>said || { failures=$((failures + 1)); cat said; }
slurm/pipeline.sh --status >status
contains "the status shows the entries" status "^precompute_one_x .*PENDING ("
for job in $(cut -d' ' -f2 ids); do wait_job "$job"; done
for entry in one-x two; do
  equal "the chain of $entry" "$(grep "$entry.yaml" order | cut -d' ' -f1 | uniq -c | xargs)" "2 download 2 clean 2 precompute"
done
equal "training follows both" "$(tail -n 3 order | cut -d' ' -f1 | paste -sd' ')" "train generate evaluate"
ls slurm/logs/precompute_two-*_1.out >/dev/null || failures=$((failures + 1))
rm -f order
FAIL="clean two" slurm/pipeline.sh "${both[@]}" --tasks 1 >ids 2>said
for job in $(cut -d' ' -f2 ids); do wait_job "$job"; done
equal "a chain that fails stops the training, not the other chain" "$(cut -d' ' -f1 order | sort | uniq -c | xargs)" "2 clean 2 download 1 precompute"
equal "which is cancelled" "$(job_field "$(sed -n 's/^x //p' ids)" JobState)" CANCELLED

rm -f order
FAIL=clean slurm/pipeline.sh --dataset configs/datasets/x.yaml --train configs/train/x.yaml --tasks 2 >ids 2>said
for job in $(cut -d' ' -f2 ids); do wait_job "$job"; done
equal "a failed stage stops the chain" "$(cut -d' ' -f1 order | sort -u | paste -sd' ')" "clean download"
equal "and cancels the rest" "$(job_field "$(sed -n 's/^evaluate //p' ids)" JobState)" CANCELLED
slurm/pipeline.sh --status >status
contains "the status shows the exit code" status "^clean .*FAILED 1:0"
report
