#!/usr/bin/env python3
"""U-Nets from latents to pictures: conditioned on text, on classes, on both, on nothing; resumed, masked, in bf16, on two ranks, from
diffusers' own file of weights; what is refused."""
import json
import os
import pathlib
import resource
import shutil
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

SMALL = ["model.block_out_channels=[16, 32]", "model.layers_per_block=1", "model.norm_num_groups=4", "model.attention_head_dim=2"]
QUICK = ["size=64", "batch_size=8", "threads_per_rank=1", "checkpoint={every_steps: 1000, every_minutes: 0}", "schedule.warmup_steps=5",
         "optimizer.lr=2e-3", "log_every_steps=1"]
UNCONDITIONAL = {"kind": "unet", "_class_name": "UNet2DModel", "block_out_channels": [16, 32], "layers_per_block": 1, "norm_num_groups": 4,
                 "attention_head_dim": 8, "down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]}


class Unet(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        programs.need_data()
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_unet_")
        cls.root = pathlib.Path(cls.scratch.name)
        cls.log = cls.train("text", "steps=40", "sampling={every_steps: 40, steps: 4, prompts: [pizza, fire]}")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    @classmethod
    def train(cls, name, *words, small=SMALL, config=SOURCE / "configs/train/emoji_unet.yaml", **options):
        return programs.run("train", "--config", config, f"data=[{{dataset: {programs.DATASET}}}]", f"runs={cls.root}", f"name={name}", *QUICK,
                            "sampling.every_steps=0", *small, *words, **options)

    def paint(self, run, *words, **options):
        return programs.run("generate", "--run", self.root / run, "steps=3", "num_images=1", *words, **options)

    def weights(self, run, step):
        return programs.read_checkpoint(programs.checkpoint(self.root / run, step))

    def unconditional(self, **changes):
        path = self.root / "plain.yaml"
        sections = {"model": {**UNCONDITIONAL, **changes}, "objective": {"path": "linear", "prediction": "eps"}, "caption_drop": 0,
                    "captions": ["name"], "mask_ratio": 0, "sampling": {"guidance": 1, "prompts": ["unconditional"], "steps": 3, "rule": "ddim"}}
        path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in sections.items()))
        return path

    def test_memory_that_was_freed_is_kept(self):
        """A step's large tensors lie where the last step's lay: no page is mapped anew."""
        faults = []
        for steps in (5, 15):
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
            self.train(f"kept_{steps}", f"steps={steps}", "batch_size=128", "schedule.decay_steps=100")
            faults.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before)
        self.assertLess((faults[1] - faults[0]) / 10, 300, faults)

    def test_text(self):
        """It learns, and what it paints depends on the prompt and is the same each time."""
        losses = [line["loss"] for line in programs.metrics(self.root / "text") if "loss" in line]
        self.assertLess(sum(losses[-5:]), 0.8 * sum(losses[:5]))
        self.assertTrue((self.root / "text/samples/step_0000040.png").exists())
        for name, prompt in (("a", "pizza"), ("b", "fire"), ("c", "pizza")):
            self.paint("text", "--prompt", prompt, "guidance=7.5", f"out={self.root / 'painted' / name}")
        a, b, c = ((self.root / "painted" / name / "000000.png").read_bytes() for name in "abc")
        self.assertEqual(a, c)
        self.assertNotEqual(a, b)
        model = json.loads((self.root / "text/facts.json").read_text())["model"]
        self.assertEqual((model["kind"], model["in_channels"], model["input_size"], model["layers_per_block"]), ("unet", 4, 8, 1))
        log = programs.run("evaluate", "--run", self.root / "text", "prompts=4", "candidates=16", "loss_samples=8", "steps=2")
        self.assertIn("metrics.json", log)

    def test_a_resume_goes_on_bit_by_bit(self):
        self.train("whole", "steps=4")
        self.train("parts", "steps=2")
        self.assertIn("model.layers_per_block", self.train("parts", "steps=4", "model.layers_per_block=2", expect=programs.USER_MISTAKE))
        self.train("parts", "steps=4")
        self.assertEqual(self.weights("parts", 4), self.weights("whole", 4))

    def test_bf16_a_mask_and_two_ranks(self):
        self.train("one", "steps=3", "model.text_mask=true", "threads_per_rank=1")
        self.train("two", "steps=3", "model.text_mask=true", ranks=2)
        self.assertLess(programs.greatest_difference(self.root / "one", self.root / "two", 1, 3), 1e-4)
        self.train("half", "steps=3", "model.text_mask=true", "precision=bf16")
        difference = programs.greatest_difference(self.root / "one", self.root / "half", 1, 3)
        self.assertTrue(0 < difference < 0.05, difference)
        self.paint("two", "--prompt", "pizza", f"out={self.root / 'masked'}")

    def test_unconditional(self):
        self.train("plain", "steps=3", "sampling.every_steps=3", small=[], config=self.unconditional())
        self.assertTrue((self.root / "plain/samples/step_0000003.png").exists())
        self.paint("plain", f"out={self.root / 'plain_painted'}")
        lines = [json.loads(line) for line in (self.root / "plain_painted/manifest.jsonl").read_text().splitlines()]
        self.assertEqual([line["prompt"] for line in lines], ["unconditional"])
        self.assertIn("conditioned on nothing", self.paint("plain", "--prompt", "pizza", expect=programs.USER_MISTAKE))
        self.assertIn("guidance=3", self.paint("plain", "guidance=3", expect=programs.USER_MISTAKE))
        self.assertIn("no retrieval: the run is conditioned on nothing",
                      programs.run("evaluate", "--run", self.root / "plain", "prompts=4", "candidates=16", "loss_samples=8", "steps=2"))
        for words, said in ((["caption_drop=0.1"], "caption_drop=0.1"), (["sampling.every_steps=1", "sampling.prompts=[pizza]"], "conditioned on nothing"),
                            (["mask_ratio=0.5"], "mask_ratio=0.5"), (["model.num_classes=3"], "the data have no classes"),
                            (["model.sample_size=64"], "model.input_size (or sample_size): the config says 64, the latents' manifest says 8"),
                            (["sampling.every_steps=2", "sampling.prompts=[]"], "sampling.every_steps: 2: has no effect without sampling.prompts")):
            self.assertIn(said, self.train("odd", "steps=3", *words, small=[], config=self.unconditional(), expect=programs.USER_MISTAKE))

    def test_from_diffusers_weights(self):
        """A run starts from the file that diffusers wrote, by the config beside it, and its weights leave under the same names."""
        try:
            import torch
            from diffusers import UNet2DModel
        except ImportError as error:
            self.skipTest(f"no {error.name}")
        torch.manual_seed(3)
        net = UNet2DModel(**{key: value for key, value in UNCONDITIONAL.items() if key not in ("kind", "_class_name")}, in_channels=4, out_channels=4)
        net.save_pretrained(self.root / "theirs")
        theirs = json.loads((self.root / "theirs/config.json").read_text())
        config = self.unconditional(**theirs)
        file = self.root / "theirs/diffusion_pytorch_model.safetensors"
        theirs = programs.read_safetensors(file)
        (self.root / "pipeline").mkdir()
        (self.root / "pipeline/model_index.json").write_text('{"_class_name": "DDPMPipeline"}')
        shutil.copytree(self.root / "theirs", self.root / "pipeline/unet")
        for k, start in enumerate((file, self.root / "theirs", self.root / "pipeline")):
            words = ["steps=1", f"init.from={start}", "init.load=weights", "optimizer.lr=1e-12"]
            self.train(f"continued_{k}", *words, small=[], config=config)
            programs.run("convert", "--input", self.root / f"continued_{k}", "--output", self.root / "back.safetensors", "overwrite=true")
            ours = programs.read_safetensors(self.root / "back.safetensors")
            self.assertEqual(ours.keys(), theirs.keys())
            for name in theirs:
                self.assertLess(programs.relative_difference(ours[name], theirs[name]), 1e-6, name)
            # The same names and shapes, and another network.
            said = self.train("other", *words, "model.act_fn=relu", "model.norm_num_groups=8", small=[], config=config, expect=programs.USER_MISTAKE)
            self.assertIn("""'model.act_fn="silu"' model.norm_num_groups=4""", said)
            self.assertFalse((self.root / "other").exists())
        self.assertIn("init.load=all", self.train("other", "steps=1", f"init.from={self.root / 'pipeline'}", "init.load=all", small=[], config=config,
                                                  expect=programs.USER_MISTAKE))
        (self.root / "pipeline/unet/diffusion_pytorch_model.safetensors").rename(self.root / "pipeline/unet/diffusion_pytorch_model.safetensors.index.json")
        self.assertIn("several files", self.train("other", "steps=1", f"init.from={self.root / 'pipeline'}", small=[], config=config,
                                                  expect=programs.USER_MISTAKE))


if __name__ == "__main__":
    unittest.main()
