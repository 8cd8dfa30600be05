#!/usr/bin/env python3
"""score network=clip against transformers' CLIPModel and open_clip's layout, random weights, the same pictures and captions."""
import json
import os
import pathlib
import shutil
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

try:
    import numpy as np
    import torch
    from PIL import Image
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
    torch.manual_seed(4)
    net = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=EMBEDDING)).eval()
    for parameter in net.parameters():
        parameter.add_(torch.randn_like(parameter) * (0.2 if parameter.dim() == 1 else 0.5 / parameter.shape[-1] ** 0.5))
    return net


def picture(index):
    y, x, c = np.meshgrid(np.arange(40 + index * 9), np.arange(64 - index * 5), np.arange(3), indexing="ij")
    return (127 + 90 * np.sin((index + 1) * .31 + x * (.05 + index * .04) + c * 2) + 38 * np.cos(y * .09)).clip(0, 255).astype(np.uint8)


def prepared(image):
    """The shorter side to SIZE by Pillow's bicubic, the centre, normalised."""
    width, height = image.size
    short = min(width, height)
    sides = [int(SIZE * side / short) for side in (width, height)]
    image = image.resize(sides, Image.BICUBIC)
    left, top = (round((side - SIZE) / 2) for side in sides)
    pixels = np.asarray(image.crop((left, top, left + SIZE, top + SIZE))).astype(np.float32) / 255
    return torch.from_numpy((pixels - np.float32(MEAN)) / np.float32(DEVIATION)).permute(2, 0, 1).float()


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
