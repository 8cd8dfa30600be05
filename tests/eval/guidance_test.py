#!/usr/bin/env python3
"""Guidance happens once: what generate, evaluate and training's grids paint is what `probe sample` makes of the same network,
noise and text."""
import json
import os
import pathlib
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path[:0] = [str(SOURCE / "tests"), str(SOURCE / "tests/eval")]
import pictures  # noqa: E402
import programs  # noqa: E402

PROMPTS = ["red heart", "pizza", "dog face"]
STEPS, TOLERANCE = 4, 1e-5
MASK = (1 << 64) - 1


def mix(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def derive_seed(seed, label):
    return mix(mix(seed) ^ label)


class Guidance(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_guidance_")
        cls.folder = pathlib.Path(cls.scratch.name)
        cls.run_folder = cls.folder / "guided"
        # Weights that have moved far enough for the conditional and the null half to differ.
        prompts = "[" + ", ".join(PROMPTS) + "]"
        programs.run("train", *programs.train_words(
            cls.folder, "guided", "steps=30", "captions=[name]", "optimizer.lr=3e-3", f"sampling.prompts={prompts}",
            "sampling.every_steps=30", f"sampling.steps={STEPS}", "sampling.guidance=5", "ema.decay=0.9"))
        facts = json.loads((cls.run_folder / "facts.json").read_text())
        cls.config = cls.folder / "network.yaml"
        cls.config.write_text(json.dumps({"model": facts["model"], "objective": facts["objective"]}))
        cls.weights = cls.folder / "weights.safetensors"
        programs.run("convert", "--input", cls.run_folder, "--output", cls.weights)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def probe(self, latents, guidance, steps=STEPS, given=None, config=None, weights=None, more=()):
        file, made = self.folder / "given.safetensors", self.folder / "made.safetensors"
        programs.write_safetensors(file, {"x": latents["unit"], "text": latents["text"]} | (given or {}))
        programs.run("probe", "sample", "--config", config or self.config, "--weights", weights or self.weights, "--input", file,
                     "--output", made, f"steps={steps}", f"guidance={guidance}", *more)
        return programs.read_safetensors(made)["sample"]

    def compare(self, latents, guidance, rows, **more):
        self.assertEqual({name: shape[0] for name, (shape, _) in latents.items()}, dict.fromkeys(("unit", "text", "sample"), rows))
        difference = programs.relative_difference(latents["sample"], self.probe(latents, guidance, **more))
        print(f"{self.id().split('.')[-1]}, guidance {guidance}: relative difference {difference:.1e}")
        self.assertLessEqual(difference, TOLERANCE)
        wrong = programs.relative_difference(latents["sample"], self.probe(latents, max(guidance, 2) ** 2, **more))
        self.assertGreater(wrong, 100 * TOLERANCE, "the control: another guidance is far away")

    def test_generate(self):
        words = [word for prompt in PROMPTS for word in ("--prompt", prompt)]
        for guidance in (1, 2, 5):
            out = self.folder / f"pictures_{guidance}"
            programs.run("generate", "--run", self.run_folder, *words, "num_images=1", "batch_size=2", f"steps={STEPS}",
                         f"guidance={guidance}", "save_latents=true", f"out={out}")
            self.compare(programs.read_safetensors(out / "latents.safetensors"), guidance, len(PROMPTS))

    def test_generate_on_two_ranks_saves_the_same(self):
        programs.need_mpi()
        words = [word for prompt in PROMPTS for word in ("--prompt", prompt)]
        both = []
        for ranks in (1, 2):
            out = self.folder / f"ranks_{ranks}"
            programs.run("generate", "--run", self.run_folder, *words, "num_images=1", "batch_size=1", f"steps={STEPS}",
                         "save_latents=true", f"out={out}", ranks=ranks)
            both.append((out / "latents.safetensors").read_bytes())
        self.assertEqual(*both)

    def test_negative_prompt(self):
        out = self.folder / "negative"
        words = ["--run", self.run_folder, "--prompt", PROMPTS[0], "--prompt", PROMPTS[1], "num_images=1", "batch_size=2", f"steps={STEPS}"]
        programs.run("generate", *words, "guidance=5", f"negative={PROMPTS[2]}", "save_latents=true", f"out={out}")
        latents = programs.read_safetensors(out / "latents.safetensors")
        self.assertEqual(set(latents), {"unit", "text", "negative", "sample"})
        made = self.probe(latents, 5, given={"negative": latents["negative"]})
        self.assertLessEqual(programs.relative_difference(latents["sample"], made), TOLERANCE)
        self.assertGreater(programs.relative_difference(latents["sample"], self.probe(latents, 5)), 100 * TOLERANCE, "the null is another")
        text = (out / "000000.png").read_bytes()
        self.assertIn(f"Negative prompt: {PROMPTS[2]}\n".encode(), text)
        said = programs.run("generate", *words, "guidance=1", "negative=pizza", f"out={self.folder / 'none'}", expect=2)
        self.assertIn("negative: has no effect with guidance=1", said)

    def test_other_paths(self):
        """A run on another path is trained, painted and measured with the rules of that path."""
        for name, objective in (("flow", ["objective.path=flow", "objective.prediction=velocity", "objective.time_law=logit_normal"]),
                                ("cosine", ["objective.path=vp_cosine", "objective.prediction=v", "objective.weight=min_snr"])):
            programs.run("train", *programs.train_words(self.folder, name, "steps=6", "captions=[name]", *objective))
            run_folder = self.folder / name
            facts = json.loads((run_folder / "facts.json").read_text())
            self.assertEqual(facts["objective"]["path"], objective[0].split("=")[1])
            self.config.with_name(f"{name}.yaml").write_text(json.dumps({"model": facts["model"], "objective": facts["objective"]}))
            weights = self.folder / f"{name}.safetensors"
            programs.run("convert", "--input", run_folder, "--output", weights)
            for rule in ("auto", "dpmpp_2m"):
                out = self.folder / f"{name}_{rule}"
                programs.run("generate", "--run", run_folder, "--prompt", PROMPTS[0], "num_images=2", "guidance=2", f"steps={STEPS}",
                             f"sampler.rule={rule}" if rule != "auto" else "rule=auto", "save_latents=true", f"out={out}")
                latents = programs.read_safetensors(out / "latents.safetensors")
                made = self.probe(latents, 2, config=self.folder / f"{name}.yaml", weights=weights, more=[f"rule={rule}"])
                self.assertLessEqual(programs.relative_difference(latents["sample"], made), TOLERANCE)
            programs.run("evaluate", "--run", run_folder, "prompts=2", "loss_draws=1", "loss_samples=8", "batch_size=2", f"steps={STEPS}")

    def test_latents_are_made_for_pictures_that_are_there(self):
        out = self.folder / "later"
        words = ["--run", self.run_folder, "--prompt", PROMPTS[0], "num_images=2", f"steps={STEPS}", f"out={out}"]
        programs.run("generate", *words)
        before = programs.files_below(out)
        programs.run("generate", *words, "save_latents=true")
        after = programs.files_below(out)
        self.assertEqual(programs.read_safetensors(out / "latents.safetensors")["sample"][0][0], 2)
        self.assertEqual({name: data for name, data in after.items() if name != "latents.safetensors"}, before)

    def test_evaluate(self):
        for guidance in (1, 2, 5):
            programs.run("evaluate", "--run", self.run_folder, "prompts=3", "loss_draws=1", "loss_samples=8", "batch_size=2",
                         f"steps={STEPS}", f"guidance={guidance}", "save_latents=true")
            for split in ("trained", "held_out"):
                self.compare(programs.read_safetensors(self.run_folder / f"evaluation/latest/{split}_latents.safetensors"), guidance, 3)

    def test_grids_of_training(self):
        """The cell of each prompt is the picture that generate paints from the grid's own seed."""
        grid = pictures.pixels((self.run_folder / "samples/step_0000030.png").read_bytes())
        cell, padding = 128, 8  # 64 pixels twice as large
        for i, prompt in enumerate(PROMPTS):
            painted = {}
            for guidance in (5, 25):  # once, and twice
                out = self.folder / f"cell_{i}_{guidance}"
                programs.run("generate", "--run", self.run_folder, "--prompt", prompt, "num_images=1", f"steps={STEPS}",
                             "batch_size=3", f"seed={derive_seed(18, i)}", f"guidance={guidance}", f"out={out}")
                painted[guidance] = pictures.pixels((out / "000000.png").read_bytes())
            best = {guidance: min(pictures.distance(picture, grid, left, top, 2)
                                  for left in range(grid[0] - cell + 1) if (left - padding) % (cell + padding) == 0
                                  for top in range(grid[1] - cell + 1))
                    for guidance, picture in painted.items()}
            print(f"{prompt}: largest difference {best[5]} level(s) at guidance 5, {best[25]} at 25")
            self.assertLessEqual(best[5], 2)
            self.assertGreater(best[25], 8, "the control: another guidance is another picture")


if __name__ == "__main__":
    programs.need_data()
    unittest.main(verbosity=2)
