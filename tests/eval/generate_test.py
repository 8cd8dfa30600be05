#!/usr/bin/env python3
"""generate and evaluate on one and two ranks: the same bytes, settings inside the pictures, nothing painted twice."""
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
from pictures import pixels, texts  # noqa: E402

NAME = "painter"
SETTINGS = ["steps=3", "num_images=2", "seed=7", "batch_size=4"]
PROMPTS = ["red heart", "pizza", "dog face", "rocket", "octopus"]


class Generate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_generate_")
        cls.folder = pathlib.Path(cls.scratch.name)
        cls.run_folder = cls.folder / NAME
        programs.run("train", *programs.train_words(cls.folder, NAME, "steps=6", "captions=[name]"))
        cls.list = cls.folder / "prompts.txt"
        cls.list.write_text("# what to paint\n" + "\n\n".join(PROMPTS) + "\n")
        cls.one = cls.paint("one", "--prompts", cls.list)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    @classmethod
    def paint(cls, out, *words, ranks=1):
        """Name -> bytes of everything in the output folder."""
        programs.run("generate", "--run", cls.run_folder, *words, *SETTINGS, f"out={cls.folder / out}", ranks=ranks)
        return programs.files_below(cls.folder / out)

    def test_what_is_there(self):
        pictures = [f"{i:06d}.png" for i in range(10)]
        self.assertEqual(sorted(self.one), sorted([*pictures, ".call.json", "grid.png", "manifest.jsonl"]))
        lines = [json.loads(line) for line in self.one["manifest.jsonl"].decode().splitlines()]
        self.assertEqual([line["file"] for line in lines], pictures)
        self.assertEqual([line["prompt"] for line in lines], [p for p in PROMPTS for _ in range(2)])
        self.assertEqual([line["seed"] for line in lines], list(range(7, 17)))
        for line in lines:
            inside = texts(self.one[line["file"]])
            settings = json.loads(inside["microdit"])
            self.assertEqual(settings, {key: value for key, value in line.items() if key != "file"})
            self.assertEqual((settings["sampler"]["steps"], settings["run"], settings["step"]), (3, NAME, 6))
            self.assertEqual(settings["precision"], "fp32")
            self.assertTrue(inside["parameters"].startswith(line["prompt"] + "\n"), inside["parameters"])
            self.assertEqual(pixels(self.one[line["file"]])[:2], (64, 64))
        self.assertGreater(pixels(self.one["grid.png"])[0], 64)
        self.assertEqual(len({self.one[p] for p in pictures}), 10)

    def test_two_ranks_paint_the_same_bytes(self):
        programs.need_mpi()
        self.assertEqual(self.paint("two", "--prompts", self.list, ranks=2), self.one)

    def test_geneval_folders(self):
        """What GenEval's evaluation reads: folders of digits with metadata.jsonl and samples of digits; the pictures are the same bytes."""
        lines = [json.dumps({"tag": "single_object", "include": [{"class": prompt, "count": 1}], "prompt": prompt}) for prompt in PROMPTS]
        file = self.folder / "evaluation_metadata.jsonl"
        file.write_text("\n".join(lines) + "\n")
        painted = self.paint("geneval", "--prompts", file, "layout=geneval")
        read = {}
        for folder in sorted(path for path in (self.folder / "geneval").iterdir() if path.is_dir() and path.name.isdigit()):
            self.assertEqual(folder.joinpath("metadata.jsonl").read_text(), lines[int(folder.name)] + "\n")
            self.assertGreater(pixels(folder.joinpath("grid.png").read_bytes())[0], 128)
            for sample in sorted(path for path in (folder / "samples").iterdir() if re.match(r"\d+\.png", path.name)):
                read[len(read)] = sample.read_bytes()
        self.assertEqual(len(read), 10)
        for i, picture in read.items():
            self.assertEqual(picture, self.one[f"{i:06d}.png"])
        self.assertEqual([json.loads(line)["file"] for line in painted["manifest.jsonl"].decode().splitlines()][2:4],
                         ["00001/samples/0000.png", "00001/samples/0001.png"])
        self.assertEqual(self.paint("geneval", "--prompts", file, "layout=geneval"), painted)
        programs.run("generate", "--run", self.run_folder, "--prompts", file, *SETTINGS, f"out={self.folder / 'geneval'}", expect=programs.USER_MISTAKE)

        def refused(said, *words):
            for more in ([], ["--dry-run"]):
                log = programs.run("generate", "--run", self.run_folder, *words, *SETTINGS, "layout=geneval", *more, expect=programs.USER_MISTAKE)
                self.assertIn(said, log)
        refused("one .jsonl file alone", "--prompt", "a dog")
        refused("one .jsonl file alone", "--prompts", file, "--prompt", "a dog")
        refused("one .jsonl file alone", "--prompts", self.list)
        for text, said in (('{"prompt": "a dog"}', 'no text "tag"'), ('{"tag": "x"}', 'line 1: an object with a text "prompt"'),
                           ('{"tag": "x", "prompt": 3}', 'with a text "prompt"'), ("[1]", 'with a text "prompt"'), ("a dog", "line 1")):
            (self.folder / "wrong.jsonl").write_text(text + "\n")
            refused(said, "--prompts", self.folder / "wrong.jsonl")

    def test_a_picture_depends_on_its_seed_alone(self):
        """Prompt 2 (seeds 11 and 12) in a list of its own: the same to one level."""
        programs.run("generate", "--run", self.run_folder, "--prompt", PROMPTS[2], *SETTINGS, "seed=11", "batch_size=8",
                     f"out={self.folder / 'alone'}")
        greatest = 0
        for alone, listed in (("000000.png", "000004.png"), ("000001.png", "000005.png")):
            a, b = pixels((self.folder / "alone" / alone).read_bytes()), pixels(self.one[listed])
            self.assertEqual(a[:2], b[:2])
            greatest = max(greatest, max(abs(x - y) for x, y in zip(a[2], b[2])))
        print(f"alone and in a list: {greatest} level(s) apart at most")
        self.assertLessEqual(greatest, 1)
        other = pixels(self.one["000003.png"])[2]  # the control: another prompt and seed is far away
        self.assertGreater(max(abs(x - y) for x, y in zip(a[2], other)), 1)

    def test_a_second_run_paints_what_is_missing(self):
        out = self.folder / "again"
        first = self.paint("again", "--prompts", self.list)
        times = {p.name: p.stat().st_mtime_ns for p in out.glob("0*.png")}
        self.assertEqual(self.paint("again", "--prompts", self.list), first)
        self.assertEqual({p.name: p.stat().st_mtime_ns for p in out.glob("0*.png")}, times, "pictures were painted again")
        (out / "000002.png").unlink()
        (out / "000009.png").write_bytes(b"no picture")
        self.assertEqual(self.paint("again", "--prompts", self.list), first)
        self.assertEqual((out / "000004.png").stat().st_mtime_ns, times["000004.png"])

    def test_every_setting_changes_the_pictures(self):
        for setting in ("seed=8", "steps=4", "guidance=1", "weights=raw"):
            with self.subTest(setting=setting):
                other = self.folder / setting
                programs.run("generate", "--run", self.run_folder, "--prompt", PROMPTS[0], *SETTINGS, setting, f"out={other}")
                self.assertNotEqual((other / "000000.png").read_bytes(), self.one["000000.png"])

    def test_evaluate(self):
        shutil.rmtree(self.run_folder / "evaluation", ignore_errors=True)
        (self.run_folder / "metrics.json").unlink(missing_ok=True)
        words = ["--run", self.run_folder, "prompts=6", "loss_draws=2", "steps=2", "batch_size=4"]
        numbers = {}
        for ranks in (1, 2):
            if ranks == 2:
                programs.need_mpi()
            programs.run("evaluate", *words, ranks=ranks)
            numbers[ranks] = json.loads((self.run_folder / "metrics.json").read_text())
        self.assertEqual(numbers[1], numbers[2])
        keys = {"top1", "within_1_percent", "median_rank", "chance_top1", "prompts", "candidates"}
        for split in ("trained", "held_out"):
            found = numbers[1]["retrieval"][split]
            self.assertLessEqual(keys, set(found))
            self.assertEqual(found["prompts"], 6)
            self.assertAlmostEqual(found["chance_top1"], 1 / found["candidates"])
            self.assertTrue(0 <= found["top1"] <= found["within_1_percent"] <= 1, found)
            picture = self.run_folder / "evaluation/latest" / f"{split}_best_and_worst.png"
            self.assertEqual(pixels(picture.read_bytes())[0], 10 + 3 * (2 * 128 + 4) + 2 * 20 + 10)  # three pairs in a line
            lines = [json.loads(line) for line in picture.with_suffix(".jsonl").read_text().splitlines()]
            self.assertEqual([line["half"] for line in lines], ["Best"] * 3 + ["Worst"] * 3)
            ranks = [line["rank"] for line in lines]
            self.assertEqual(ranks, sorted(ranks))
            self.assertTrue(1 <= ranks[0] and ranks[-1] <= found["candidates"] and all(line["caption"] for line in lines))
        self.assertGreater(numbers[1]["eval_loss"], 0)
        self.assertEqual(numbers[1]["step"], 6)
        log = programs.run("evaluate", *words, "seed=8")  # the control: other noise, other prompts
        self.assertNotEqual(json.loads((self.run_folder / "metrics.json").read_text())["eval_loss"], numbers[1]["eval_loss"])
        self.assertIn("(lower is better)", log)
        # Nothing earlier is lost, and the same call has the same folder.
        folders = sorted(p.name for p in (self.run_folder / "evaluation").iterdir())
        self.assertEqual(folders, ["001-step-6", "002-step-6", "latest"])
        self.assertEqual(os.readlink(self.run_folder / "evaluation/latest"), "002-step-6")
        self.assertEqual(json.loads((self.run_folder / "evaluation/001-step-6/metrics.json").read_text()), numbers[1])
        newest = json.loads((self.run_folder / "metrics.json").read_text())
        report = re.sub("base64,[^\"]*", "", (self.run_folder / "report.html").read_text())
        for text in ("001-step-6", "Held-out captions: the best", "<th>untrained</th>", "1 = the own picture is the nearest",
                     f"<td>{newest['loss']['trained']:.4g}</td>", f"<td>{newest['loss']['untrained']:.4g}</td>"):
            self.assertIn(text, report)
        self.assertNotIn(str(newest["eval_loss"]), report)

    def test_numbers_of_before_are_kept(self):
        """A run that was evaluated before evaluations had folders."""
        run = self.folder / "older"
        shutil.copytree(self.run_folder, run)
        shutil.rmtree(run / "evaluation", ignore_errors=True)
        (run / "evaluation").mkdir()
        (run / "metrics.json").write_text('{"eval_loss": 1.25, "eval_loss_split": "held_out", "step": 5}')
        (run / "evaluation/trained_best_and_worst.png").write_bytes(self.one["grid.png"])
        programs.run("evaluate", "--run", run, "prompts=0", "loss_draws=1", "loss_samples=4")
        self.assertEqual(sorted(p.name for p in (run / "evaluation").iterdir()), ["000-earlier", "001-step-6", "latest"])
        self.assertEqual(json.loads((run / "evaluation/000-earlier/metrics.json").read_text())["eval_loss"], 1.25)
        self.assertTrue((run / "evaluation/000-earlier/trained_best_and_worst.png").exists())
        self.assertIn("<td>1.25</td>", (run / "report.html").read_text())

    def test_untrained_is_the_network_before_its_first_step(self):
        programs.run("train", *programs.train_words(self.folder, "idle", "steps=1", "captions=[name]", "optimizer.lr=0"))
        programs.run("evaluate", "--run", self.folder / "idle", "prompts=0", "loss_draws=2")
        found = json.loads((self.folder / "idle/metrics.json").read_text())
        self.assertAlmostEqual(found["loss"]["untrained"], found["eval_loss"], places=6)
        self.assertEqual(found["loss"]["held_out"], found["eval_loss"])
        self.assertGreater(found["loss"]["trained"], 0)

    def test_tensorboard_has_the_held_out_loss(self):
        try:
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        except ImportError:
            self.skipTest("tensorboard is not installed in this Python")
        programs.run("evaluate", "--run", self.run_folder, "prompts=0", "loss_draws=1", "loss_samples=4")
        found = json.loads((self.run_folder / "metrics.json").read_text())
        events = EventAccumulator(str(self.run_folder / "tensorboard/evaluation")).Reload()
        last = events.Scalars("loss/held_out")[-1]
        self.assertEqual(last.step, 6)
        self.assertAlmostEqual(last.value, found["eval_loss"], places=5)
        training = EventAccumulator(str(self.run_folder / "tensorboard")).Reload()
        self.assertEqual([e.step for e in training.Scalars("loss/train")][-1], 6, "and the training's own curve stays")


if __name__ == "__main__":
    programs.need_data()
    unittest.main(verbosity=2)
