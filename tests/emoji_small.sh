#!/usr/bin/env bash
# emoji_small.sh FOLDER: the small real dataset that the end-to-end tests share: 1/8 of the emoji, through download, clean and
# precompute with the shipped codec, as dataset "emoji_small" under FOLDER (a MICRODIT_DATA). Quick if it is there already
# and no older than the codec.
set -euo pipefail
cd "${MICRODIT_SOURCE:?}"
mkdir -p "$1"
export MICRODIT_DATA; MICRODIT_DATA=$(cd "$1" && pwd)
[ ! "$MICRODIT_DATA/latents/emoji_small/emoji/manifest.jsonl" -nt assets/emoji_codec/diffusion_pytorch_model.safetensors ] || exit 0
rm -rf "$MICRODIT_DATA"/{raw,samples,latents}/emoji_small
mkdir -p "$MICRODIT_DATA/weights"
[ -e "$MICRODIT_DATA/weights/all-MiniLM-L6-v2" ] || ln -s "$PWD/data/weights/all-MiniLM-L6-v2" "$MICRODIT_DATA/weights/"
.venv/bin/python scripts/make_emoji_dataset.py --out "$MICRODIT_DATA/made/emoji" --tars 8
small=(--config configs/datasets/emoji.yaml name=emoji_small "source.urls=[file://$MICRODIT_DATA/made/emoji/emoji-0003.tar]")
for stage in download clean precompute; do "$MICRODIT_BIN/$stage" "${small[@]}"; done
