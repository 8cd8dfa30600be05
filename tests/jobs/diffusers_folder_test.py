#!/usr/bin/env python3
"""convert format=diffusers: runs of U-Nets as folders that diffusers loads, and that paint the same pictures from the same noise: text of
BERT (all kinds of schedulers), of CLIP, classes, both nothing; what has no equal in diffusers is refused."""
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path[:0] = [str(SOURCE / "tests"), str(SOURCE / "tests/eval")]
import programs  # noqa: E402

os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
CACHE = tempfile.TemporaryDirectory(prefix="microdit_hf_")
os.environ["HF_HOME"] = CACHE.name  # where diffusers copies pipeline.py
try:
    import numpy
    import torch
    from PIL import Image
    from diffusers import DiffusionPipeline
    from safetensors.torch import load_file
    from transformers import CLIPTextConfig, CLIPTextModel
except ImportError as missing:
    programs.skip(f"no {missing.name}")

BAR = 1e-4
SMALL = ["model.block_out_channels=[16, 32]", "model.layers_per_block=1", "model.norm_num_groups=4", "model.attention_head_dim=2"]
TRAIN = ["size=64", "batch_size=8", "threads_per_rank=1", "steps=2", "checkpoint={every_steps: 1000, every_minutes: 0}", "optimizer.lr=2e-3",
         "schedule.warmup_steps=0", "sampling={every_steps: 0, guidance: 3, rule: auto}", "ema={decay: 0.5}"]
EDM, FLOW = "objective={path: edm, prediction: edm, sigma_data: 0.5}", "objective={path: flow, prediction: velocity, shift: 3}"
COSINE = "objective={path: squaredcos_cap_v2, prediction: v}"
# objective of the run, keys of the sampler, what the folder names
SAMPLERS = [("linear", ["steps=4"], "DDIMScheduler"), ("linear", ["rule=dpmpp_2m", "steps=5"], "DPMSolverMultistepScheduler"),
            ("linear", ["rule=euler", "steps=4", "guidance=1"], "EulerDiscreteScheduler"), ("linear", ["rule=heun", "steps=3"], "HeunDiscreteScheduler"),
            ("linear", ["steps=4", "clip_x0=1", "guidance_rescale=0.5", "grid=trailing"], "DDIMScheduler"),
            ("edm", ["rule=euler", "steps=4"], "EDMEulerScheduler"), ("edm", ["rule=dpmpp_2m", "steps=5"], "EDMDPMSolverMultistepScheduler"),
            ("flow", ["steps=4"], "FlowMatchEulerDiscreteScheduler"), ("flow", ["rule=heun", "steps=3"], "FlowMatchHeunDiscreteScheduler"),
            ("flow", ["rule=dpmpp_2m", "steps=4"], "DPMSolverMultistepScheduler"), ("cosine", ["steps=4"], "DDIMScheduler")]
REFUSED = [("linear", ["grid=linspace"], "grid=leading"), ("linear", ["grid=trailing", "steps=30"], "steps that divide 1000"), ("edm", [], "rule=euler"),
           ("edm", ["s_churn=10"], "s_churn=0"), ("flow", ["grid=uniform"], "grid=shifted"), ("linear", ["guidance_min=0.5"], "guidance_min=0"),
           ("linear", ["rule=euler", "clip_x0=1"], "clip_x0=0"), ("linear", ["max_time=900"], "max_time=0"), ("cosine", ["rule=heun"], "grid=leading")]


class Folder(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        programs.need_data()
        torch.set_num_threads(1)
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_diffusers_")
        cls.root = pathlib.Path(cls.scratch.name)
        for name, words in (("linear", []), ("edm", [EDM]), ("flow", [FLOW]), ("cosine", [COSINE, "model.text_mask=true"])):
            programs.run("train", "--config", SOURCE / "configs/train/emoji_unet.yaml", f"data=[{{dataset: {programs.DATASET}}}]",
                         f"runs={cls.root}", f"name={name}", *TRAIN, *SMALL, *words)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def painted(self, run, name, words, data=programs.DATA):
        """generate's latents and pictures, and the folder for diffusers of the same sampler."""
        out, folder = self.root / f"{name}_painted", self.root / f"{name}_diffusers"
        programs.run("generate", "--run", run, "num_images=2", "save_latents=true", "seed=3", *words, f"out={out}", data=data)
        keys = [word for word in words if "=" in word and not word.startswith(("negative", "--"))]
        programs.run("convert", "--input", run, "--output", folder, "format=diffusers", *keys, data=data)
        given = load_file(out / "latents.safetensors")
        pictures = [torch.from_numpy(numpy.array(Image.open(path)).copy()).permute(2, 0, 1) / 255 for path in sorted(out.glob("0*.png"))]
        return folder, given, torch.stack(pictures)

    def load(self, folder):
        index = json.loads((folder / "model_index.json").read_text())
        own = isinstance(index["_class_name"], list)
        self.assertEqual((folder / "pipeline.py").exists(), own)
        pipe = DiffusionPipeline.from_pretrained(folder, **({"trust_remote_code": True} if own else {}))
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def check(self, name, theirs, given, decoded, pictures):
        apart = ((theirs - given["sample"]).norm() / given["sample"].norm()).item()
        pixels = (decoded.float() - pictures).abs().max().item()
        print(f"{name}: latents {apart:.1e}, pixels {pixels:.1e}", flush=True)
        self.assertLessEqual(apart, BAR, name)
        self.assertLessEqual(pixels, 0.5 / 255 + BAR, name)  # the PNG is rounded

    def test_text(self):
        """Each scheduler from generate's own noise and text rows; one of them from the prompt itself."""
        for number, (run, words, scheduler) in enumerate(SAMPLERS):
            folder, given, pictures = self.painted(self.root / run, f"text{number}", ["--prompt", "red heart", *words])
            pipe = self.load(folder)
            self.assertEqual((type(pipe).__name__, type(pipe.scheduler).__name__), ("MicroditPipeline", scheduler))
            keys = dict(word.split("=") for word in words)
            call = {"num_inference_steps": int(keys["steps"]), "guidance_scale": float(keys.get("guidance", 3)),
                    "guidance_rescale": float(keys.get("guidance_rescale", 0)), "latents": given["unit"]}
            rows = {"prompt_embeds": given["text"], "prompt_mask": given.get("text_mask")}
            theirs = pipe(**call, **rows, output_type="latent").images
            self.check(f"{scheduler} {run} {' '.join(words)}", theirs, given, pipe(**call, **rows, output_type="pt").images, pictures)
            if number in (0, len(SAMPLERS) - 1):
                text, seen = pipe.encode_prompt(["red heart"])
                self.assertLess((text - given["text"][:1]).abs().max().item(), 2e-3)
                if "text_mask" in given:
                    self.assertEqual(seen.float().tolist(), given["text_mask"][:1].tolist())
                theirs = pipe(["red heart"] * 2, **call, output_type="latent").images
                self.assertLess(((theirs - given["sample"]).norm() / given["sample"].norm()).item(), 1e-3)
                other = pipe(["a green apple"] * 2, **call, output_type="latent").images  # the control
                self.assertGreater(((other - given["sample"]).norm() / given["sample"].norm()).item(), 1e-3)
        self.assertEqual(pipe("red heart", num_inference_steps=2).images[0].size, (64, 64))

    def test_the_readme_paints(self):
        folder = self.root / "readme"
        programs.run("convert", "--input", self.root / "linear", "--output", folder, "format=diffusers", "steps=2")
        code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)[1]
        picture = self.root / "readme.png"
        exec(code.replace("FOLDER", str(folder)).replace("picture.png", str(picture)), {})
        with Image.open(picture) as painted:
            self.assertEqual(painted.size, (64, 64))
        weights = programs.read_safetensors(folder / "unet/diffusion_pytorch_model.safetensors")
        programs.run("convert", "--input", self.root / "linear", "--output", self.root / "plain.safetensors")
        self.assertEqual(weights, programs.read_safetensors(self.root / "plain.safetensors"))
        self.assertEqual((folder / "vae/config.json").read_bytes(), (SOURCE / "assets/emoji_codec/config.json").read_bytes())

    def test_refused(self):
        for run, words, said in REFUSED:
            out = self.root / "refused"
            log = programs.run("convert", "--input", self.root / run, "--output", out, "format=diffusers", *words, expect=programs.USER_MISTAKE)
            self.assertIn(said, log, words)
            self.assertFalse(out.exists())
        programs.run("train", *programs.train_words(self.root, "dit", "steps=1"))
        log = programs.run("convert", "--input", self.root / "dit", "--output", out, "format=diffusers", expect=programs.USER_MISTAKE)
        self.assertIn("microdit: diffusers has no such network", log)
        out.mkdir()
        self.assertIn("is there already", programs.run("convert", "--input", self.root / "linear", "--output", out, "format=diffusers", expect=2))
        self.assertIn("without format=diffusers", programs.run("convert", "--input", self.root / "linear", "--output", self.root / "x.safetensors",
                                                               "rule=euler", expect=programs.USER_MISTAKE))
        self.assertIn("is no run", programs.run("convert", "--input", SOURCE / "assets/emoji_codec/diffusion_pytorch_model.safetensors", "--output",
                                                self.root / "x", "format=diffusers", expect=programs.USER_MISTAKE))
        self.assertEqual([path.name for path in self.root.iterdir() if path.name.startswith(".")], [])


class Shades(Folder):
    """Runs of pixels, classes and CLIP's text on a data set of our own."""
    @classmethod
    def setUpClass(cls):
        from class_test import idx
        import gzip
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_diffusers_")
        cls.root = pathlib.Path(cls.scratch.name)
        cls.data, files, clip = cls.root / "data", cls.root / "files", cls.root / "clip"
        files.mkdir()
        for part, count in (("train", 12), ("t10k", 3)):
            pixels = bytes((37 * i + x + y) % 256 for i in range(count) for y in range(64) for x in range(64))
            (files / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels, count, 64, 64)))
            (files / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx([i % 3 for i in range(count)], count)))
        torch.manual_seed(5)
        vocabulary = len(json.loads((SOURCE / "tests/encoders/goldens/clip/vocab.json").read_text()))
        CLIPTextModel(CLIPTextConfig(vocab_size=vocabulary, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                                     eos_token_id=vocabulary - 1, bos_token_id=vocabulary - 2)).save_pretrained(clip)
        for path in (SOURCE / "tests/encoders/goldens/clip").iterdir():
            shutil.copy(path, clip)
        for recipe, text in (("pixels", "images: {codec: none, sizes: [16]}\ntext: {encoder: none}"),
                             ("clip", f"images: {{codec: {SOURCE}/assets/emoji_codec, sizes: [64]}}\ntext: {{encoder: {clip}, length: 77}}")):
            (cls.root / f"{recipe}.yaml").write_text(f"name: {recipe}\n{text}\n")
            words = ["--config", SOURCE / "configs/datasets/fashion_mnist.yaml", "name=shades", f"source.folder={files}",
                     "record.classes=[dark, light, odd]", f"recipe={cls.root / recipe}.yaml"]
            for stage in ("download", "clean", "precompute"):
                programs.run(stage, *words, data=cls.data)
        plain = {"kind": "unet", "_class_name": "UNet2DModel", "block_out_channels": [16, 32], "layers_per_block": 1, "norm_num_groups": 4,
                 "attention_head_dim": None, "down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]}
        text = plain | {"_class_name": "UNet2DConditionModel", "attention_head_dim": 2, "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
                        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"]}
        for name, recipe, size, model in (("nothing", "pixels", 16, plain), ("classes", "pixels", 16, plain | {"num_classes": 3, "learned_null": True}),
                                          ("clip", "clip", 64, text)):
            config = {"name": name, "model": model, "objective": {"path": "scaled_linear", "prediction": "eps"}, "mask_ratio": 0, "captions": ["class"],
                      "caption_drop": 0.2 if model.get("learned_null") else 0.0}
            (cls.root / "model.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in config.items()))
            words = [word.replace("size=64", f"size={size}").replace("guidance: 3", "guidance: 1") for word in TRAIN]
            programs.run("train", "--config", cls.root / "model.yaml", f"data=[{{dataset: shades, recipe: {recipe}}}]", f"runs={cls.root}", *words,
                         data=cls.data)

    test_text = test_the_readme_paints = test_refused = None

    def test_nothing(self):
        """diffusers' own pipelines; they take no noise, so the loop is theirs around the folder's parts."""
        for words, kind in ((["steps=5"], "DDIM"), (["rule=ddpm", "steps=4"], "DDPM")):
            folder, given, pictures = self.painted(self.root / "nothing", f"nothing_{kind}", words, data=self.data)
            pipe = self.load(folder)
            self.assertEqual((type(pipe).__name__, type(pipe.scheduler).__name__), (f"{kind}Pipeline", f"{kind}Scheduler"))
            self.assertEqual(pipe(num_inference_steps=2).images[0].size, (16, 16))
            if kind == "DDPM":
                continue  # the noise on the way is drawn otherwise
            pipe.scheduler.set_timesteps(5)
            x = given["unit"]
            with torch.no_grad():
                for t in pipe.scheduler.timesteps:
                    x = pipe.scheduler.step(pipe.unet(x, t).sample, t, x).prev_sample
            self.check("DDIMPipeline", x, given, (x / 2 + 0.5).clamp(0, 1), pictures)

    def test_classes(self):
        folder, given, pictures = self.painted(self.root / "classes", "classes", ["--class", "light", "steps=5", "guidance=2"], data=self.data)
        pipe = self.load(folder)
        call = {"class_labels": [1, 1], "num_inference_steps": 5, "guidance_scale": 2, "latents": given["unit"]}
        self.check("classes", pipe(**call, output_type="latent").images, given, pipe(**call, output_type="pt").images, pictures)

    def test_clip(self):
        folder, given, pictures = self.painted(self.root / "clip", "ddim", ["--prompt", "odd", "steps=5", "guidance=2"], data=self.data)
        pipe = self.load(folder)  # on the grid "leading" that of diffusers moves the times
        call = {"num_inference_steps": 5, "guidance_scale": 2, "latents": given["unit"], "prompt_embeds": given["text"]}
        self.check("MicroditPipeline", pipe(**call, output_type="latent").images, given, pipe(**call, output_type="pt").images, pictures)
        self.assertLess((pipe.encode_prompt(["odd"])[0] - given["text"][:1]).abs().max().item(), 2e-3)
        folder, given, pictures = self.painted(self.root / "clip", "clip", ["--prompt", "odd", "steps=5", "guidance=2", "rule=dpmpp_2m"], data=self.data)
        pipe = self.load(folder)
        self.assertEqual(type(pipe).__name__, "StableDiffusionPipeline")
        ids = pipe.tokenizer(["odd"], padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        rows = pipe.text_encoder(ids)[0].detach()
        self.assertLess((rows - given["text"][:1]).abs().max().item(), 2e-3)
        call = {"prompt_embeds": given["text"], "negative_prompt_embeds": torch.zeros_like(given["text"]), "num_inference_steps": 5, "guidance_scale": 2,
                "latents": given["unit"]}
        self.check("StableDiffusionPipeline", pipe(**call, output_type="latent").images, given, pipe(**call, output_type="pt").images, pictures)


if __name__ == "__main__":
    unittest.main()
