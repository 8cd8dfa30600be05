#!/usr/bin/env python3
"""score network=clip against transformers' CLIPModel and open_clip's layout, random weights, the same pictures and captions."""
import importlib.util
import json
import os
import pathlib
import shutil
import sys
import tempfile
import types
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

try:
    import numpy as np
    import torch
    from PIL import Image
    from safetensors.torch import save_file
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizerFast
    from transformers.utils import logging
except ImportError as missing:
    programs.skip(f"needs {missing.name} (scripts/setup.sh --oracles)")

logging.set_verbosity_error()
torch.set_grad_enabled(False)
TOKENIZER = SOURCE / "tests/encoders/goldens/clip"
CAPTIONS = ["a photo of a red flag", "two dogs and an old boat, drawn in ink " * 12, "x", "an elephant", "blue sky"]
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SIZE, PATCH, WIDTH, HEADS, LAYERS, HIDDEN, EMBEDDING = 32, 8, 128, 2, 2, 512, 48


def made_clip(act):
    vocabulary = len(json.loads((TOKENIZER / "vocab.json").read_text()))
    text = dict(vocab_size=vocabulary, hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, hidden_act=act,
                max_position_embeddings=77)
    vision = dict(hidden_size=WIDTH, intermediate_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS, image_size=SIZE,
                  patch_size=PATCH, hidden_act=act)
    return scattered(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=EMBEDDING)))


def open_clip_transformer():
    """open_clip's own towers, without what else the package imports."""
    spec = importlib.util.find_spec("open_clip")
    if spec is None:
        programs.skip("needs open_clip (scripts/setup.sh --oracles)")
    package = types.ModuleType("open_clip")
    package.__path__ = [str(pathlib.Path(spec.origin).parent)]
    sys.modules["open_clip"] = package
    for name in ("torchvision", "torchvision.ops", "torchvision.ops.misc"):
        sys.modules.setdefault(name, types.ModuleType(name)).FrozenBatchNorm2d = object
    return importlib.import_module("open_clip.transformer")


def scattered(net):
    torch.manual_seed(4)
    for parameter in net.parameters():
        parameter.add_(torch.randn_like(parameter) * (0.2 if parameter.dim() < 2 else 0.5 / parameter.shape[-1] ** 0.5))
    return net.eval()


def picture(index):
    y, x, c = np.meshgrid(np.arange(40 + index * 9), np.arange(64 - index * 5), np.arange(3), indexing="ij")
    return (127 + 90 * np.sin((index + 1) * .31 + x * (.05 + index * .04) + c * 2) + 38 * np.cos(y * .09)).clip(0, 255).astype(np.uint8)


def prepared(image, mean=MEAN, deviation=DEVIATION, squash=False):
    """The shorter side to SIZE by Pillow's bicubic, the centre (or all of it, squashed), normalised."""
    if squash:
        image = image.resize((SIZE, SIZE), Image.BICUBIC)
    width, height = image.size
    short = min(width, height)
    sides = [int(SIZE * side / short) for side in (width, height)]
    image = image.resize(sides, Image.BICUBIC)
    left, top = (round((side - SIZE) / 2) for side in sides)
    pixels = np.asarray(image.crop((left, top, left + SIZE, top + SIZE))).astype(np.float32) / 255
    return torch.from_numpy((pixels - np.float32(mean)) / np.float32(deviation)).permute(2, 0, 1).float()


class ClipScore(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="microdit_clip_")
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.pictures = self.folder / "pictures"
        self.pictures.mkdir()
        for i in range(len(CAPTIONS)):
            Image.fromarray(picture(i)).save(self.pictures / f"{i}.png")
        (self.pictures / "manifest.jsonl").write_text(
            "".join(json.dumps({"prompt": caption, "file": f"{i}.png"}) + "\n" for i, caption in enumerate(CAPTIONS)))

    def expected(self, net, tokenizer):
        ids = tokenizer(CAPTIONS, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        ends = (ids == tokenizer.eos_token_id).int().argmax(1)
        states = net.text_model(input_ids=ids).last_hidden_state
        text = net.text_projection(states[torch.arange(len(ids)), ends])
        pixels = torch.stack([prepared(Image.open(self.pictures / f"{i}.png").convert("RGB")) for i in range(len(CAPTIONS))])
        image = net.visual_projection(net.vision_model(pixel_values=pixels).pooler_output)
        return (100 * torch.nn.functional.cosine_similarity(image, text)).clamp_min(0)

    def score(self, weights, *words, **options):
        out = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        log = programs.run("score", "--pictures", self.pictures, "network=clip", f"weights={weights}", f"out={out}", "batch_size=2", *words,
                           data=self.folder / "data", **options)
        return json.loads(next(out.iterdir()).read_text()) if options.get("expect", 0) == 0 else log

    def check(self, weights, expected):
        found = self.score(weights)
        print(f"CLIP score {found['clip_score']:.6f}, theirs {expected.mean():.6f}; each {expected.numpy().round(2)}")
        self.assertGreater(expected.max(), 1)
        self.assertAlmostEqual(found["clip_score"], expected.mean().item(), delta=1e-3)
        self.assertAlmostEqual(found["standard_error"], (expected.double().std() / len(CAPTIONS) ** 0.5).item(), delta=1e-3)
        self.assertEqual(found["pictures"]["n"], len(CAPTIONS))

    def test_transformers(self):
        for act in ("quick_gelu", "gelu"):
            net, weights = made_clip(act), self.folder / act
            net.save_pretrained(weights)
            for name in ("vocab.json", "merges.txt"):
                shutil.copy(TOKENIZER / name, weights)
            tokenizer = CLIPTokenizerFast(vocab=str(weights / "vocab.json"), merges=str(weights / "merges.txt"))
            self.check(weights, self.expected(net, tokenizer))

    def test_open_clip(self):
        module, tokenizer = open_clip_transformer(), CLIPTokenizerFast(vocab=str(TOKENIZER / "vocab.json"), merges=str(TOKENIZER / "merges.txt"))
        for quick, mode in ((True, "shortest"), (False, "squash")):
            act = module.QuickGELU if quick else torch.nn.GELU
            text = dict(context_length=77, vocab_size=len(tokenizer), width=64, heads=4, layers=2)
            towers = {"visual": module.VisionTransformer(image_size=SIZE, patch_size=PATCH, width=WIDTH, layers=LAYERS, heads=HEADS, mlp_ratio=4,
                                                         output_dim=EMBEDDING, act_layer=act),
                      "text": module.TextTransformer(**text, output_dim=EMBEDDING, act_layer=act)}
            weights = self.folder / f"open_clip_{mode}"
            weights.mkdir()
            save_file({("visual." if tower == "visual" else "") + name: value.clone() for tower in towers
                       for name, value in scattered(towers[tower]).state_dict().items()}, weights / "open_clip_model.safetensors")
            model = {"embed_dim": EMBEDDING, "quick_gelu": quick, "text_cfg": text,
                     "vision_cfg": {"image_size": SIZE, "layers": LAYERS, "width": WIDTH, "patch_size": PATCH}}
            (weights / "open_clip_config.json").write_text(json.dumps(
                {"model_cfg": model, "preprocess_cfg": {"mean": [.5, .4, .3], "std": [.2, .25, .3], "interpolation": "bicubic", "resize_mode": mode}}))
            for file in TOKENIZER.iterdir():
                shutil.copy(file, weights)
            ids = torch.zeros(len(CAPTIONS), 77, dtype=torch.long)
            for row, caption in zip(ids, CAPTIONS):
                found = torch.tensor(tokenizer(caption, max_length=77, truncation=True).input_ids)
                row[:len(found)] = found
            pixels = torch.stack([prepared(Image.open(self.pictures / f"{i}.png").convert("RGB"), (.5, .4, .3), (.2, .25, .3), mode == "squash")
                                  for i in range(len(CAPTIONS))])
            cosine = torch.nn.functional.cosine_similarity(towers["visual"](pixels), towers["text"](ids))
            self.check(weights, (100 * cosine).clamp_min(0))

    def test_captions_are_needed_and_a_reference_is_not(self):
        net, weights = made_clip("gelu"), self.folder / "clip"
        net.save_pretrained(weights)
        for name in ("vocab.json", "merges.txt"):
            shutil.copy(TOKENIZER / name, weights)
        self.assertIn("has no effect", self.score(weights, "resize=clean_fid", expect=programs.USER_MISTAKE))
        self.assertIn("own captions", self.score(weights, "--reference", self.pictures, expect=programs.USER_MISTAKE))
        (self.pictures / "manifest.jsonl").unlink()
        self.assertIn("has no caption", self.score(weights, expect=programs.USER_MISTAKE))


if __name__ == "__main__":
    unittest.main(verbosity=2)
