#!/bin/bash
# slurm/pipeline.sh and slurm/submit.sh refuse mistakes with exit code 2 before anything is submitted, with the programs' words.
source "$(dirname "$0")/cluster.sh"
for program in download clean precompute train_tokenizer train generate evaluate score life; do
  [ -x "$programs/$program" ] || { echo "skipped: $programs/$program is not built"; exit 77; }
done
start_cluster
rm -rf build && ln -s "$(dirname "$programs")" build
ln -s "$MICRODIT_SOURCE/configs" configs
ln -s "$MICRODIT_SOURCE/assets" assets
weights=$MICRODIT_SOURCE/data/weights/all-MiniLM-L6-v2
[ -d "$weights" ] || { echo "skipped: $weights is not there (scripts/setup.sh)"; exit 77; }
mkdir -p data/weights && ln -s "$weights" data/weights/
printf 'extends: configs/latents/emoji.yaml\nimages: {codec: nowhere}\n' >no_codec.yaml
printf 'extends: configs/latents/emoji.yaml\ntext: {encoder: nowhere}\n' >no_text.yaml
printf 'extends: configs/latents/emoji.yaml\ntext: {encoder: data/weights/all-MiniLM-L6-v2}\n' >here.yaml
emoji=(--dataset configs/datasets/emoji.yaml --train configs/train/emoji.yaml)
unet='kind: unet, block_out_channels: [16, 32], layers_per_block: 1, norm_num_groups: 4, attention_head_dim: 4'
settings='data: [{dataset: emoji}], size: 64, batch_size: 8, steps: 3, mask_ratio: 0, caption_drop: 0, objective: {path: linear, prediction: eps}'
echo "{name: plain, $settings, model: {$unet, down_block_types: [DownBlock2D, AttnDownBlock2D], up_block_types: [AttnUpBlock2D, UpBlock2D]}}" >plain.yaml
echo "{name: both, $settings, model: {$unet, num_classes: 3, down_block_types: [DownBlock2D, CrossAttnDownBlock2D], up_block_types: [CrossAttnUpBlock2D, UpBlock2D]}}" >both.yaml
find . -not -path './cluster*' -not -name before | sort >before

# refused WHAT TEXT ARGS...: also by a dry run
refused() {
  local what=$1 text=$2 mode
  shift 2
  for mode in "" --dry-run; do
    slurm/pipeline.sh $mode "$@" >out 2>said
    equal "$what ${mode}: exit code, lines, jobs" "$? $(wc -l <out) $(squeue -h | wc -l)" "2 0 0"
    contains "$what $mode" said "$text"
  done
}
refused "a misspelt --until" "typo: no such stage .*stages: download clean precompute emoji" "${emoji[@]}" --until typo
refused "a misspelt --from" "nowhere: no such stage" "${emoji[@]}" --from nowhere
refused "--until before --from" "clean comes before emoji" "${emoji[@]}" --from emoji --until clean
refused "a misspelt training key" "stepz" "${emoji[@]}" --train-set stepz=5
refused "a misspelt data key" "filterz" "${emoji[@]}" --data-set filterz.min_side=5
refused "a value out of range" "batch_size" "${emoji[@]}" --train-set batch_size=-1
refused "a mistake in a phase that is not the last" "stepz" "${emoji[@]}" --train configs/train/emoji.yaml,configs/train/emoji_codec.yaml --train-set stepz=5
refused "a missing dataset" "none.yaml" --dataset none.yaml
refused "a missing one of two datasets" "no file none.yaml" "${emoji[@]}" --dataset configs/datasets/emoji.yaml,none.yaml
refused "an empty name" "a file's name is empty" "${emoji[@]}" --dataset configs/datasets/emoji.yaml,
refused "one entry twice" "two entries would be called emoji" "${emoji[@]}" --dataset configs/datasets/emoji.yaml,./configs/datasets/emoji.yaml
refused "entries of one name" "pictograms.yaml are both called same" "${emoji[@]}" --dataset configs/datasets/emoji.yaml,configs/datasets/pictograms.yaml --data-set name=same
refused "a mistake in the second entry" "sdxl-vae is an entry of weights" "${emoji[@]}" --dataset configs/datasets/emoji.yaml,configs/weights/sdxl_vae.yaml
refused "a list that is not there" "sa1b.yaml: source.list_file: no file .*sa1b_links.txt" "${emoji[@]}" --dataset configs/datasets/emoji.yaml,configs/datasets/sa1b.yaml
refused "a folder that is not there" "image_folder.yaml: source.folder: no folder /path/of/pictures" "${emoji[@]}" --dataset configs/datasets/image_folder.yaml
HF_HOME=/nowhere HF_TOKEN='' HF_TOKEN_FILE='' refused "a gated set without a token" "journeydb.yaml is gated" "${emoji[@]}" --dataset configs/datasets/journeydb.yaml
refused "data that nothing makes" "emoji trains on emoji, which is not in data/latents and which no entry .*they make: pictograms" "${emoji[@]}" --dataset configs/datasets/pictograms.yaml
refused "the small subset under the whole one's name" "they make: emoji-small" "${emoji[@]}" --data-set subset=small
refused "a codec's data that nothing makes" "train_codec trains on pictograms" "${emoji[@]}" --codec configs/train/emoji_codec.yaml
refused "a tokenizer's data that nothing makes" "train_tokenizer trains on emoji" --dataset configs/datasets/pictograms.yaml --train configs/train/emoji.yaml --tokenizer configs/tokenizers/emoji.yaml
refused "a tokenizer that the recipe does not name" "text.encoder: nowhere" "${emoji[@]}" --data-set recipe=no_text.yaml --tokenizer configs/tokenizers/emoji.yaml
refused "too large an array" "MaxArraySize" "${emoji[@]}" --tasks 5000
refused "no number of tasks" "expected a number" "${emoji[@]}" --tasks 0
refused "an open quote" "quote is not closed" "${emoji[@]}" --sbatch "--comment='a"
refused "a missing codec" "images.codec: nowhere: no such folder" "${emoji[@]}" --data-set recipe=no_codec.yaml
refused "a missing text encoder" "text.encoder: nowhere" "${emoji[@]}" --data-set recipe=no_text.yaml
refused "a missing recipe" "recipe: none.yaml: no such file" "${emoji[@]}" --data-set recipe=none.yaml
refused "weights that no stage fetches" "images.codec: .*/weights/sdxl-vae: no such folder; to fetch it: build/bin/download --config [^ ]*configs/weights/sdxl_vae.yaml" --from clean
refused "the other weights, too" "text.encoder: .*; to fetch it: build/bin/download --config [^ ]*configs/weights/dfn5b_clip_h14.yaml" --from clean
mkdir -p data/weights/sdxl-vae && echo '{}' >data/weights/sdxl-vae/config.json
refused "a folder without weights" "sdxl-vae has no weights in it .*--config [^ ]*configs/weights/sdxl_vae.yaml" --from clean
rm -r data/weights/sdxl-vae
refused "an entry of weights as a dataset" "sdxl-vae is an entry of weights, not of data" "${emoji[@]}" --dataset configs/weights/sdxl_vae.yaml
refused "a folder below a file" "/dev/null/runs/emoji: cannot write there" "${emoji[@]}" --train-set runs=/dev/null/runs
MICRODIT_DATA=/proc/data refused "an unwritable data root" "/proc/data: cannot write there" "${emoji[@]}" --data-set recipe=here.yaml --until clean
refused "a first stage without its input" "samples/emoji" "${emoji[@]}" --from precompute
refused "a training without latents" "latents/emoji" "${emoji[@]}" --from emoji
refused "a phase before which nothing runs" "runs/pretrain_256 (init.from), which is not there" --from finetune_256
refused "nothing to sample from" "there is no run runs/emoji" "${emoji[@]}" --from generate
refused "pictures to score of a run of text" "score is a stage of class-conditional runs, and runs/emoji is conditioned on text" "${emoji[@]}" --score 5
refused "that stage by name" "score is a stage of class-conditional runs" "${emoji[@]}" --until score
refused "prompts of a run of nothing" "--prompts configs/sample/prompts.txt: runs/plain is conditioned on nothing" "${emoji[@]}" --train plain.yaml --prompts configs/sample/prompts.txt
refused "its pictures to score" "score is a stage of class-conditional runs, and runs/plain is conditioned on nothing" "${emoji[@]}" --train plain.yaml --score 5
refused "pictures that no prompt says all of" "a prompt says no class, and the model learns none for that" "${emoji[@]}" --train both.yaml
classes=(--dataset configs/datasets/fashion_mnist.yaml --train configs/train/nano_debug.yaml --data-set "source.folder=$work")
refused "no number of pictures" "--score 0: expected a number of pictures of each class" "${classes[@]}" --score 0
refused "no network to score with" "efficientnet-lite0.*" "${classes[@]}"
refused "the stage that can be left out" "score cannot start with these settings (above); --until evaluate leaves the stage out" "${classes[@]}"
refused "captions of classes" "CLIP scores compare with captions" "${classes[@]}" --score-set network=clip
refused "phases with one name" "would both write to runs/same" --from pretrain_256 --train-set name=same --train-set device=cpu
refused "what Slurm would refuse" "invalid partition" "${emoji[@]}" --sbatch --partition=nowhere
MICRODIT_SITE=none refused "a missing site" "no file slurm/sites/none.sh" "${emoji[@]}"
SBATCH_GRES=gpu:8 refused "GPUs for every job" "would give GPUs to every job" "${emoji[@]}"
MICRODIT_INTERNET=moon refused "another internet" "expected login, transfer or compute" "${emoji[@]}"
MICRODIT_BIN=nowhere refused "no programs" "nowhere/download is missing: build first" "${emoji[@]}"
find . -not -path './cluster*' -not -name before -not -name out -not -name said | sort | diff before - || { echo "FAILED: files were left"; failures=$((failures + 1)); }

slurm/pipeline.sh --dry-run "${emoji[@]}" --dataset configs/datasets/emoji.yaml,configs/datasets/pictograms.yaml --codec configs/train/emoji_codec.yaml >out 2>said
equal "two entries are taken" "$? $(wc -l <out)" "0 10"

slurm/pipeline.sh --dry-run "${classes[@]}" --until evaluate >out 2>said; equal "a chain of classes without its number" "$? $(wc -l <out)" "0 6"
slurm/pipeline.sh --dry-run "${emoji[@]}" --train plain.yaml >out 2>said
equal "a run of nothing is painted without prompts and not scored" "$? $(wc -l <out) $(grep -c -- --prompts out)" "0 6 0"
slurm/pipeline.sh --dry-run "${emoji[@]}" --train both.yaml --train-set model.learned_null=true --train-set caption_drop=0.1 >out 2>said
equal "one of text and classes by prompts" "$? $(wc -l <out) $(grep -c -- '--prompts configs/sample/prompts.txt' out)" "0 6 1"
slurm/pipeline.sh --dry-run "${emoji[@]}" --train both.yaml --until both >out 2>said; equal "or not at all" "$? $(wc -l <out)" "0 4"
slurm/pipeline.sh "${emoji[@]}" --until download >ids 2>said; equal "the control is submitted" "$?" 0
wait_job "$(cut -d' ' -f2 ids)"

# Missing weights of the catalogue are fetched in the download stage, before the data.
lines() { slurm/pipeline.sh --dry-run --train configs/train/emoji.yaml --until precompute "$@" 2>said | sed 's| [^ ]*/configs/weights/| configs/weights/|' | grep -oE 'slurm/download.sbatch .*\)|^build/bin/download .*|--dependency=afterok:[^ ]*' | paste -sd' '; }
equal "weights come first" "$(lines)" 'slurm/download.sbatch --config configs/weights/sdxl_vae.yaml task=0/1) --dependency=afterok:"$weights_sdxl_vae" slurm/download.sbatch --config configs/weights/dfn5b_clip_h14.yaml task=0/1) --dependency=afterok:"$weights_dfn5b_clip_h14" slurm/download.sbatch --config configs/datasets/cc12m.yaml) --dependency=afterok:"$download" --dependency=afterok:"$clean"'
equal "none where precompute is not asked for" "$(lines --until clean | grep -c weights)" 0
equal "in this shell" "$(MICRODIT_INTERNET=login lines --until precompute | grep -oE '[a-z0-9_]*.yaml' | paste -sd' ')" "sdxl_vae.yaml dfn5b_clip_h14.yaml cc12m.yaml"
mkdir -p data/weights/sdxl-vae && echo '{}' >data/weights/sdxl-vae/config.json && : >data/weights/sdxl-vae/diffusion_pytorch_model.safetensors
equal "what is there is not fetched" "$(lines | grep -oE '[a-z0-9_]*.yaml' | paste -sd' ')" "dfn5b_clip_h14.yaml cc12m.yaml"
rm -r data/weights/sdxl-vae

# Jobs say in their first second what cannot be.
job=$(sbatch --parsable --array=0 slurm/precompute.sbatch)
wait_job "$job"
ended "CC12M's precompute" "$job" FAILED 2:0 0
contains "says how its weights are fetched" "slurm/logs/precompute-${job}_0.out" "to fetch it: build/bin/download --config [^ ]*configs/weights/sdxl_vae.yaml"
job=$(MICRODIT_HUB=http://192.0.2.1 sbatch --parsable --array=0 slurm/download.sbatch subset=small)  # an address that is nobody's
mirror=$(HF_ENDPOINT=http://192.0.2.2 sbatch --parsable --array=0 slurm/download.sbatch subset=small)
wait_job "$job" 60
wait_job "$mirror" 60
ended "a download without a route" "$job" FAILED 2:0 0
contains "says where to run it" "slurm/logs/download-${job}_0.out" "on the login node"
contains "a mirror is the hub" "slurm/logs/download-${mirror}_0.out" "to http://192.0.2.2"

# submit.sh: from any folder, with the site's options for the class.
mkdir elsewhere
printf 'MICRODIT_SBATCH_CPU=(--comment=cpu)\nMICRODIT_SBATCH_GPU=(--comment=gpu)\nMICRODIT_SBATCH_LONG=(--gpus-per-node=3)\n' >slurm/sites/mine.sh
export MICRODIT_SITE=mine
of_job() { grep -oE 'JobState=[A-Z]*|TresPerNode=.*|Comment=.*|MinMemoryNode=[^ ]*' | sed 's/ *$//' | paste -sd' '; }
id=$(cd elsewhere && ../slurm/submit.sh --parsable --hold --array=0 slurm/clean.sbatch) || failures=$((failures + 1))
equal "a CPU stage asks for no GPU" "$(scontrol show job "$id" | of_job)" "JobState=PENDING MinMemoryNode=4G Comment=cpu"
id=$(cd elsewhere && ../slurm/submit.sh --parsable --hold slurm/pretrain_256.sbatch)
equal "a training asks for GPUs" "$(scontrol show job "$id" | of_job)" "JobState=PENDING MinMemoryNode=64G Comment=gpu TresPerNode=gres:gpu:3"
scancel -u "$(id -un)"
slurm/submit.sh slurm/none.sbatch >out 2>said; equal "submit.sh without a script" $? 2
report
