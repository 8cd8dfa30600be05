#!/bin/bash
# The README's one command for a chain that is all from scratch, small, on 2 virtual nodes: own tokenizer and codec side by side, then latents,
# a U-Net with its text encoder on 2 ranks in bf16, pictures, numbers.
source "$(dirname "$0")/cluster.sh"
for program in download clean precompute train_tokenizer train_codec train generate evaluate life; do
  [ -x "$programs/$program" ] || { echo "skipped: $programs/$program is not built"; exit 77; }
done
tar=${MICRODIT_TEST_DATA:-$MICRODIT_SOURCE/build/test_data}/made/emoji/emoji-0003.tar
[ -f "$tar" ] || { echo "skipped: $tar is not there (tests/emoji_small.sh)"; exit 77; }
export CPUS=4
start_cluster
rm -rf build && ln -s "$(dirname "$programs")" build
ln -s "$MICRODIT_SOURCE/configs" configs
echo "red heart" >prompts.txt
printf 'extends: configs/tokenizers/emoji.yaml\nvocabulary: 400\n' >tokenizer.yaml
printf 'extends: configs/train/emoji_ddpm_codec.yaml\nsteps: 4\nbatch_size: 4\ncodec: {block_out_channels: [8, 8, 16, 16], norm_num_groups: 4}\nschedule: {warmup_steps: 1}\npicture_every_steps: 0\n' >codec.yaml

small=(--tasks 1 --prompts prompts.txt --data-set "source.urls=[file://$tar]" --sample-set steps=4 --sample-set num_images=1)
for word in steps=12 batch_size=16 microbatch_size=4 schedule.warmup_steps=2 sampling.every_steps=0 'model.block_out_channels=[16, 32]' \
  model.layers_per_block=1 model.norm_num_groups=4 model.attention_head_dim=2 'model.text_conditioner={width: 16, depth: 1, heads: 2}'; do
  small+=(--train-set "$word")
done
slurm/pipeline.sh --dataset configs/datasets/emoji_ddpm.yaml --tokenizer tokenizer.yaml --codec codec.yaml --train configs/train/emoji_ddpm.yaml \
  "${small[@]}" >ids 2>said ||
  { echo "FAILED: the pipeline was refused"; cat said; exit 1; }
equal "ids by stage" "$(cut -d' ' -f1 ids | paste -sd' ')" "download clean train_tokenizer train_codec precompute emoji_ddpm generate evaluate"
for job in $(cut -d' ' -f2 ids); do wait_job "$job" 400; done
while read -r stage job; do
  equal "$stage" "$(job_field "$job" JobState)" COMPLETED
done <ids
[ $failures = 0 ] || tail -n 15 slurm/logs/*.out
cat slurm/logs/*.out >logs
contains "2 ranks, bf16" logs "2 rank(s) x .*batch 16.*bf16"
equal "a picture" "$(find runs/emoji_ddpm/images -name '*.png' | grep -c '000000')" 1
equal "the tokenizer in the run's facts" "$(python3 -c 'import json; print(json.load(open("runs/emoji_ddpm/facts.json"))["text_encoder"]["kind"])')" tokenizer
report
