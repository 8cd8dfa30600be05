#!/usr/bin/env python3
"""A class-conditional run from pictures of classes to pictures of classes: Fashion-MNIST's files in miniature, pixels as latents,
nano-diffusion's network and schedule; class names, numbers and files; trajectories; what is refused."""
import gzip
import json
import os
import pathlib
import re
import struct
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

NAMES = ["dark", "light", "striped"]


def idx(values, *sizes):
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, 8, len(sizes), *sizes) + bytes(values)


def picture(label, i):
    level = [30 + i % 20, 210 + i % 20][label % 2] if label < 2 else 0
    return [level if label < 2 else 255 * (x // 2 % 2) for y in range(8) for x in range(8)]


class Classes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not (programs.DATA / "weights/all-MiniLM-L6-v2").exists():
            programs.skip("no MiniLM (scripts/setup.sh --oracles)")
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_class_")
        cls.root = pathlib.Path(cls.scratch.name)
        cls.data = cls.root / "data"
        files = cls.root / "files"
        for folder in (cls.data / "weights", files):
            folder.mkdir(parents=True)
        (cls.data / "weights/all-MiniLM-L6-v2").symlink_to((programs.DATA / "weights/all-MiniLM-L6-v2").resolve())
        for part, count in (("train", 90), ("t10k", 12)):
            labels = [i % 3 for i in range(count)]
            pixels = [v for i, label in enumerate(labels) for v in picture(label, i)]
            (files / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels, count, 8, 8)))
            (files / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels, count)))
        (cls.root / "recipe.yaml").write_text("name: pixels\nimages: {codec: none, sizes: [8], flips: true}\n"
                                              "text: {encoder: '${MICRODIT_DATA}/weights/all-MiniLM-L6-v2', length: 8}\n")
        cls.words = words = ["--config", SOURCE / "configs/datasets/fashion_mnist.yaml", "name=shades", f"source.folder={files}",
                 f"record.classes=[{', '.join(NAMES)}]", f"recipe={cls.root / 'recipe.yaml'}"]
        for stage in ("download", "clean", "precompute"):
            programs.run(stage, *words, data=cls.data)
        cls.log = cls.train("shades", "steps=150")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    @classmethod
    def train(cls, name, *words, **options):
        return programs.run("train", "--config", SOURCE / "configs/train/nano_debug.yaml", f"runs={cls.root / 'runs'}", f"name={name}",
                            "data=[{dataset: shades}]", "size=8", "model={dim: 32, depth: 2, num_heads: 2, num_classes: 3}", "batch_size=32",
                            "validation={every_steps: 30, samples: 20}", "checkpoint={every_steps: 1000}", "optimizer.lr=0.01", "ema.decay=0.9",
                            "ema.warmup=10", "sampling={every_steps: 50, steps: 10, clip_x0: 1, prompts: [dark, '1', Striped]}", *words, data=cls.data, **options)

    def paint(self, *words, run="shades", **options):
        return programs.run("generate", "--run", self.root / "runs" / run, "steps=20", *words, data=self.data, **options)

    def test_facts_and_rows(self):
        facts = json.loads((self.data / "latents/shades/pixels/facts.json").read_text())
        self.assertEqual((facts["classes"], facts["flips"], facts["codec"]["kind"], facts["downscale"]), (NAMES, True, "none", 1))
        run = json.loads((self.root / "runs/shades/facts.json").read_text())
        self.assertEqual((run["classes"], run["model"]["kind"], run["data"][0]["rows"]), (NAMES, "class_dit", 180))
        self.assertTrue((self.root / "runs/shades/samples/step_0000150.png").exists())

    def test_classes_are_learned(self):
        """Dark pictures are darker than light ones: the class reaches the network, in training and in painting."""
        from PIL import Image
        # EDM's objective: a picture's level, which is decided where there is nearly noise alone, is learned in seconds.
        self.train("edm", "objective={path: edm, prediction: edm, sigma_data: 0.7, p_mean: -0.6, p_std: 1.2}", "steps=200",
                   "sampling={every_steps: 0, clip_x0: 0}")
        programs.run("generate", "--run", self.root / "runs/edm", "--class", "dark", "--class", "1", "num_images=4", "steps=10",
                     f"out={self.root / 'learned'}", data=self.data)
        means = []
        for i in range(8):
            pixels = Image.open(self.root / f"learned/{i:06d}.png").convert("L")
            means.append(sum(pixels.tobytes()) / 64)
        self.assertLess(max(means[:4]) + 40, min(means[4:]), means)

    def test_names_numbers_and_files_are_one(self):
        (self.root / "classes.yaml").write_text("classes: [1, striped]\n")
        self.paint("--classes", self.root / "classes.yaml", "num_images=1", f"out={self.root / 'file'}")
        self.paint("--prompt", "LIGHT", "--class", "2", "num_images=1", f"out={self.root / 'names'}")
        from PIL import Image
        for i in range(2):
            self.assertEqual(*[Image.open(self.root / folder / f"{i:06d}.png").tobytes() for folder in ("file", "names")])

    def test_without_a_class_every_class_is_painted(self):
        self.paint("num_images=2", f"out={self.root / 'all'}")
        lines = [json.loads(line) for line in (self.root / "all/manifest.jsonl").read_text().splitlines()]
        self.assertEqual([line["prompt"] for line in lines], [name for name in NAMES for _ in range(2)])

    def test_trajectories(self):
        from PIL import Image
        out = self.root / "way"
        self.paint("--class", "light", "num_images=2", "trajectory=5", f"out={out}")
        with Image.open(out / "000001_trajectory.png") as strip:
            self.assertGreater(strip.width, 4.5 * 128)
        (out / "000001_trajectory.png").unlink()
        (out / "000000_trajectory.png").write_bytes((out / "000000_trajectory.png").read_bytes()[:200])
        before = (out / "000001.png").read_bytes()
        self.paint("--class", "light", "num_images=2", "trajectory=5", f"out={out}")
        self.assertEqual((out / "000001.png").read_bytes(), before)
        for count in (5, 3):
            self.paint("--class", "light", "num_images=2", f"trajectory={count}", f"out={out}")
            for i in range(2):
                with Image.open(out / f"{i:06d}_trajectory.png") as strip:
                    strip.load()
                    self.assertEqual(strip.width // 128, count)

    def test_evaluate(self):
        log = programs.run("evaluate", "--run", self.root / "runs/shades", "prompts=6", "candidates=24", "steps=4", data=self.data)
        self.assertIn("no retrieval: the run is conditioned on classes", log)
        found = json.loads((self.root / "runs/shades/metrics.json").read_text())
        self.assertLess(found["eval_loss"], found["loss"]["untrained"])

    def test_a_negative_class_is_kept_with_the_latents(self):
        """What a picture was led away from: with it `probe sample` makes the same latents again."""
        self.train("led", "steps=20", "model.learned_null=true", "caption_drop=0.3", "sampling.every_steps=0",
                   "validation={every_steps: 0, patience: 0}")
        out, run = self.root / "led", self.root / "runs/led"
        words = ["--run", run, "--class", "light", "guidance=3", "steps=4", "num_images=1"]
        programs.run("generate", *words, "negative=dark", "save_latents=true", f"out={out}", data=self.data)
        for ask in (["--dry-run"], []):
            self.assertIn("is no class of this model", programs.run("generate", *words, "negative=nonsense", *ask, data=self.data, expect=2))
        facts = json.loads((run / "facts.json").read_text())
        (self.root / "led.yaml").write_text(json.dumps({"model": facts["model"], "objective": facts["objective"]}))
        programs.run("convert", "--input", run, "--output", self.root / "led.safetensors")
        latents = programs.read_safetensors(out / "latents.safetensors")
        given = {("x" if name == "unit" else name): latents[name] for name in ("unit", "class", "negative_class")}
        programs.write_safetensors(self.root / "given.safetensors", given, {"class": "I64", "negative_class": "I64"})
        programs.run("probe", "sample", "--config", self.root / "led.yaml", "--weights", self.root / "led.safetensors", "--input",
                     self.root / "given.safetensors", "--output", self.root / "made.safetensors", "steps=4", "guidance=3", "clip_x0=1")
        made = programs.read_safetensors(self.root / "made.safetensors")["sample"]
        self.assertLess(programs.relative_difference(made, latents["sample"]), 1e-5)  # of a batch of another size

    def test_its_weights_leave_and_come_back(self):
        """A shared parameter is written under each of its names, as nano-diffusion's network has it."""
        for name in ("out.safetensors", "out.pt"):
            programs.run("convert", "--input", self.root / "runs/shades", "--output", self.root / name)
            self.train(f"back_{name[4:]}", "steps=1", f"init.from={self.root / name}", "init.load=weights", "sampling.every_steps=0",
                       "validation={every_steps: 0, patience: 0}")
        names = set(programs.read_safetensors(self.root / "out.safetensors"))
        for block in range(2):
            self.assertIn(f"dit_blocks.{block}.adaln_single.layer_embeddings", names)
        self.assertIn("adaln_single.layer_embeddings", names)

    def test_pictures_that_cannot_be_are_refused_before_the_first_step(self):
        for word, said in (("sampling.guidance=4", "guidance=4: the model has learned no null condition"),
                           ("sampling.steps=5000", "steps=5000: more than the grid")):
            for words in (["--dry-run"], []):
                self.assertIn(said, self.train("nothing", word, "steps=3", *words, expect=2))
        self.assertFalse((self.root / "runs/nothing").exists())

    def test_what_cannot_be_painted_is_refused_before_a_folder_is_made(self):
        images = self.root / "runs/shades/images"
        before = sorted(images.iterdir()) if images.exists() else []
        for words in (["steps=5000"], ["max_time=2000"], ["guidance=2"], ["steps=4", "trajectory=6"]):
            for ask in (["--dry-run"], []):
                programs.run("generate", "--run", self.root / "runs/shades", "--class", "dark", *words, *ask, data=self.data, expect=2)
        self.assertEqual(sorted(images.iterdir()) if images.exists() else [], before)

    def test_a_dry_run_counts_as_the_run_does(self):
        count = int(re.search(r"(\d+) parameters", self.log).group(1))  # the shared ones once
        self.assertIn(f"model: {count} parameters", self.train("dry", "steps=3", "--dry-run"))

    def test_a_rate_that_has_ended_is_not_trained_with(self):
        """nano's cosine ends at 0: more steps of it would change nothing."""
        words = ["sampling={every_steps: 0}", "validation={every_steps: 0, patience: 0}"]
        log = self.train("over", "steps=4", *words)
        for said in ("init.load=all", "over_2", "steps=8"):
            self.assertIn(said, log[log.index("continue with"):])
        for ask in (["--dry-run"], []):
            refused = self.train("over", "steps=8", *words, *ask, expect=2)
            self.assertIn("steps=8: the learning rate is 0 from step 4 on", refused)
        self.train("over_2", "steps=8", f"init.from={self.root / 'runs/over/checkpoints/step_0000004'}", "init.load=all", *words)
        rates = [line["lr"] for line in programs.metrics(self.root / "runs/over_2")]
        self.assertTrue(len(rates) == 4 and min(rates) > 0, rates)
        self.assertIn("take fewer steps", self.train("never", "steps=8", "schedule.decay_steps=4", *words, expect=2))

    def test_what_is_refused(self):
        self.assertIn("is no class of this model; there are: 0 to 2, dark, light, striped", self.paint("--class", "blue", expect=2))
        self.assertIn("guidance=3", self.paint("--class", "dark", "guidance=3", expect=2))
        self.assertIn("caption_drop=0.1", self.train("drop", "caption_drop=0.1", expect=2))
        for words in (["--dry-run"], []):
            log = self.train("few", "model.num_classes=2", "steps=3", *words, expect=2)
            self.assertIn('model.num_classes=2: the data have 3 classes: ["dark","light","striped"]', log)
        self.assertFalse((self.root / "runs/few").exists())
        self.assertIn("head_dim: unknown key", self.train("keys", "model.head_dim=8", expect=2))

    def test_the_sampler_of_the_run_is_generates_too(self):
        """A rule under `sampling` paints the grids, and pictures where nothing else is said; what does not go together is refused
        before the first step."""
        words = ["sampling={every_steps: 2, rule: dpmpp_2m, grid: trailing, max_time: 0, clip_x0: 0.9}", "steps=2"]
        self.train("ruled", *words)
        self.train("auto", "sampling={every_steps: 2, clip_x0: 0.9}", "steps=2")
        grids = [(self.root / "runs" / name / "samples/step_0000002.png").read_bytes() for name in ("ruled", "auto")]
        self.assertNotEqual(*grids)
        given = json.loads((self.root / "runs/ruled/settings.json").read_text())["sampling"]
        self.assertEqual((given["rule"], given["grid"], given["steps"]), ("dpmpp_2m", "trailing", 10))
        painted = {}
        for name, more in (("own", []), ("said", ["rule=dpmpp_2m", "grid=trailing", "clip_x0=0.9"]), ("ddim", ["rule=ddim"])):
            self.paint("--class", "light", "num_images=1", f"out={self.root / 'ruled' / name}", *more, run="ruled")
            painted[name] = (self.root / "ruled" / name / "000000.png").read_bytes()
        self.assertEqual(painted["own"], painted["said"])
        self.assertNotEqual(painted["own"], painted["ddim"])
        programs.run("evaluate", "--run", self.root / "runs/ruled", "prompts=3", "candidates=24", "steps=2", data=self.data)
        self.assertIn("dpmpp_2m", json.dumps(json.loads((self.root / "runs/ruled/metrics.json").read_text())["sampler"]))
        for words, said in ((["sampling.rule=dpmpp_2m", "sampling.eta=0.5"], "sampling.eta: has no effect"),
                            (["sampling.grid=shifted"], 'sampling.grid: grid "shifted" does not go with path "vp_cosine"'),
                            (["sampling.rule=best"], "sampling.rule: 'best' is not one of")):
            for dry in ([], ["--dry-run"]):
                self.assertIn(said, self.train("odd", *words, *dry, "steps=2", expect=2))
        self.assertFalse((self.root / "runs/odd").exists())
        # A run that is older than these keys.
        settings = self.root / "runs/ruled/settings.json"
        content = json.loads(settings.read_text())
        content["sampling"] = {key: content["sampling"][key] for key in ("every_steps", "prompts", "steps", "guidance", "clip_x0")}
        settings.write_text(json.dumps(content))
        self.paint("--class", "light", "num_images=1", f"out={self.root / 'ruled/older'}", "rule=dpmpp_2m", "grid=trailing", run="ruled")
        self.assertEqual((self.root / "ruled/older/000000.png").read_bytes(), painted["own"])

    def test_validation_finds_the_same_bits_on_any_number_of_ranks(self):
        found = []
        for ranks in (1, 2, 3):
            self.train(f"ranks{ranks}", "validation={every_steps: 2, samples: 11, batch_size: 2, levels: 5}", "batch_size=6", "steps=1",
                       "sampling.every_steps=0", ranks=ranks)
            found.append([line["validation"] for line in programs.metrics(self.root / f"runs/ranks{ranks}") if "validation" in line])
        self.assertEqual(len(found[0][0]["raw"]["levels"]), 5)
        self.assertEqual(found[0], found[1])
        self.assertEqual(found[0], found[2])

    def test_the_report_shows_validation_by_level(self):
        page = (self.root / "runs/shades/report.html").read_text()
        lines = {line["step"]: line for line in programs.metrics(self.root / "runs/shades") if "validation" in line}
        best = max(step for step, line in lines.items() if line.get("best"))
        self.assertEqual(best, min((step for step in lines if step > 0), key=lambda step: lines[step]["validation"]["average"]["loss"]))
        self.assertIn("<h2>Validation</h2>", page)
        table = page.split("<h2>Validation</h2>")[1].split("</table>")[0]
        self.assertIn("<th>newest (step 150), raw weights</th><th>newest (step 150), average</th>"
                      f"<th>best (step {best}), raw weights</th><th>best (step {best}), average</th>", table)
        for level, name in ((0, "level 1, least noise"), (3, "level 4"), (7, "level 8, most noise")):
            row = table.split(f"<td>{name}</td>")[1].split("</tr>")[0].removeprefix("<td>").removesuffix("</td>").split("</td><td>")
            expected = [lines[step]["validation"][weights]["levels"][level] for step in (150, best) for weights in ("raw", "average")]
            self.assertEqual(len(row), 4)
            for shown, value in zip(row, expected):
                self.assertAlmostEqual(float(shown) / value, 1, delta=1e-3)
        self.assertGreater((self.root / "runs/shades/validation.png").stat().st_size, 5000)

    def test_the_full_configuration_trains(self):
        log = programs.run("train", "--config", SOURCE / "configs/train/nano_full.yaml", f"runs={self.root / 'runs'}", "name=full", "steps=2",
                           "data=[{dataset: shades}]", "size=8", "model={dim: 32, depth: 2, num_heads: 2, num_classes: 3}", "batch_size=8",
                           "threads_per_rank=1", "precision=fp32", "device=cpu", "checkpoint.every_steps=1", "validation={every_steps: 1, samples: 20}",
                           "sampling={every_steps: 2, steps: 4, prompts: [dark, '1', Striped]}", data=self.data)
        self.assertIn("done: 2 steps", log)
        self.assertTrue((self.root / "runs/full/samples/step_0000002.png").exists())
        lines = programs.metrics(self.root / "runs/full")
        self.assertEqual([line["step"] for line in lines if "validation" in line], [0, 1, 2])
        # Nothing was left out on the way: the first step's rate is the file's.
        self.assertEqual([line["lr"] for line in lines if "lr" in line][0], 1e-4)

    def test_sets_whose_classes_differ_are_not_mixed(self):
        for stage in ("download", "clean", "precompute"):
            programs.run(stage, *[word if not str(word).startswith(("name=", "record.classes")) else
                                  {"name": "name=turned", "reco": "record.classes=[striped, light, dark]"}[str(word)[:4]] for word in self.words],
                         data=self.data)
        log = self.train("mixed", "data=[{dataset: shades}, {dataset: turned}]", "steps=2", expect=2)
        self.assertIn("cannot be mixed: `classes`", log)
        log = programs.run("evaluate", "--run", self.root / "runs/shades", "validation.data=[{dataset: turned}]", "prompts=0", data=self.data, expect=2)
        self.assertIn("its classes are", log)

    def test_a_learned_null_can_be_guided_from(self):
        self.train("guided", "model.learned_null=true", "caption_drop=0.2", "sampling.guidance=2", "steps=20")
        programs.run("generate", "--run", self.root / "runs/guided", "--class", "light", "num_images=1", "steps=4", data=self.data)

    def test_unets_of_classes_and_of_classes_and_text(self):
        """With both a prompt says no class: its pictures are of the class that was learned for that, and depend on the text."""
        def config(name, kind):
            model = {"kind": "unet", "block_out_channels": [16, 32], "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": 4,
                     "num_class_embeds": 3, "learned_null": True, "down_block_types": ["DownBlock2D", f"{kind}DownBlock2D"],
                     "up_block_types": [f"{kind}UpBlock2D", "UpBlock2D"]}
            path = self.root / f"{name}.yaml"
            path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in {
                "model": model, "objective": {"path": "linear", "prediction": "eps"}, "captions": [], "caption_drop": 0.2, "mask_ratio": 0,
                "data": [{"dataset": "shades"}], "size": 8, "batch_size": 32, "threads_per_rank": 1, "optimizer": {"lr": 3e-3}, "runs": str(self.root / "runs"),
                "sampling": {"every_steps": 0, "guidance": 2, "rule": "ddim", "steps": 4, "prompts": ["dark"]}}.items()))
            return path

        def pictures(run, *words):
            out = self.root / "unets" / f"{run}{len(list(self.root.glob('unets/*')))}"
            programs.run("generate", "--run", self.root / "runs" / run, "steps=4", "num_images=1", *words, f"out={out}", data=self.data)
            return [path.read_bytes() for path in sorted(out.glob("00*.png"))]

        programs.run("train", "--config", config("unet_classes", "Attn"), "name=unet_classes", "steps=30", data=self.data)
        painted = pictures("unet_classes", "guidance=3")
        self.assertEqual(len(set(painted)), 3, "of every class a picture of its own")
        self.assertIn("is no class of this model", self.paint("--class", "blue", run="unet_classes", expect=2))
        programs.run("train", "--config", config("unet_both", "CrossAttn"), "name=unet_both", "steps=30", "sampling.every_steps=30", data=self.data)
        self.assertTrue((self.root / "runs/unet_both/samples/step_0000030.png").exists())
        self.assertNotEqual(pictures("unet_both", "--prompt", "dark"), pictures("unet_both", "--prompt", "striped"))
        # A class beside the prompt: of each another picture, noted in it, and the same picture again from the note.
        asked = [["--prompt", "dark", *words] for words in ([], ["class=dark"], ["class=2"], ["class=2", "negative=bright"])]
        painted = [pictures("unet_both", *words) for words in asked]
        self.assertEqual(len({picture for one in painted for picture in one}), 4)
        folders = {json.loads(path.read_text()).get("class", ""): path.parent for path in (self.root / "unets").glob("unet_both*/manifest.jsonl")}
        self.assertEqual(sorted(folders), ["", "2", "dark"])
        again = self.root / "unets_again"
        programs.run("generate", "--from-image", folders["dark"] / "000000.png", "--run", self.root / "runs/unet_both", f"out={again}", data=self.data)
        self.assertEqual((again / "000000.png").read_bytes(), painted[1][0])
        self.assertIn("is no class of this model", self.paint("--prompt", "dark", "class=blue", run="unet_both", expect=2))
        self.assertIn("classes alone", self.paint("class=dark", run="unet_classes", expect=2))
        for ask in (["--dry-run"], []):
            log = programs.run("evaluate", "--run", self.root / "runs/unet_both", "prompts=6", "candidates=24", "steps=5000", *ask, data=self.data, expect=2)
            self.assertIn("more than the grid", log)
        programs.run("train", "--config", config("unet_both", "CrossAttn"), "name=unet_mute", "steps=2", "model.learned_null=false", data=self.data)
        for words in ((), ("--dry-run",)):
            self.assertIn("a prompt says no class", self.paint("--prompt", "dark", *words, run="unet_mute", expect=2))
        self.assertEqual(len(set(pictures("unet_mute", "--prompt", "dark", "class=dark") + pictures("unet_mute", "--prompt", "dark", "class=light"))), 2)
        # A training says so before its first step; a null that nothing is dropped for is never learned.
        for words, phrase in ((("model.learned_null=false", "sampling.every_steps=2"), "a prompt says no class"),
                              (("caption_drop=0",), "learned from dropped conditions")):
            log = programs.run("train", "--config", config("unet_both", "CrossAttn"), "name=unet_none", "steps=2", *words, data=self.data, expect=2)
            self.assertIn(phrase, log)
            self.assertFalse((self.root / "runs/unet_none/checkpoints").exists())

    def test_losses_need_no_guidance(self):
        """A run of classes without a null is measured, whatever guidance its config says: nothing is painted for it."""
        self.train("unled", "steps=2", "sampling.every_steps=0", "sampling.guidance=4")
        for words in (("--dry-run",), ()):
            programs.run("evaluate", "--run", self.root / "runs/unled", "loss_samples=8", *words, data=self.data)


if __name__ == "__main__":
    unittest.main(verbosity=2)
