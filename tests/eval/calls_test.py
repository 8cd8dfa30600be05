#!/usr/bin/env python3
"""generate: a folder per call, nothing painted over; prompts as files and people write them; what is chosen is said."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path[:0] = [str(SOURCE / "tests"), str(SOURCE / "tests/eval")]
import pictures  # noqa: E402
import programs  # noqa: E402


class Calls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_calls_")
        cls.folder = pathlib.Path(cls.scratch.name)
        programs.run("train", *programs.train_words(cls.folder, "made", "steps=3", "captions=[name]"))

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def setUp(self):
        self.run_folder = self.folder / self._testMethodName
        shutil.copytree(self.folder / "made", self.run_folder)
        self.images = self.run_folder / "images"

    def generate(self, *words, **options):
        return programs.run("generate", "--run", self.run_folder, "steps=1", "batch_size=2", *words, **options)

    def folders(self):
        return sorted(p.name for p in self.images.iterdir() if not p.is_symlink())

    def test_another_call_has_another_folder(self):
        self.generate("--prompt", "Red heart!", "num_images=3")
        first = programs.files_below(self.images / "001-red-heart")
        self.assertEqual(sorted(first), [".call.json", "000000.png", "000001.png", "000002.png", "grid.png", "manifest.jsonl"])
        self.assertEqual(os.readlink(self.images / "latest"), "001-red-heart")
        for words in (["--prompt", "blue car"], ["--prompt", "Red heart!", "seed=1"], ["--prompt", "Red heart!", "guidance=2"],
                      ["--prompt", "Red heart!", "steps=2"], ["--prompt", "Red heart!", "--prompt", "x"]):
            self.generate(*words, "num_images=1" if words[-1] != "x" else "num_images=3")
        self.assertEqual(self.folders(), ["001-red-heart", "002-blue-car", "003-red-heart", "004-red-heart", "005-red-heart",
                                          "006-red-heart"])
        self.assertEqual(programs.files_below(self.images / "001-red-heart"), first)
        self.assertEqual(os.readlink(self.images / "latest"), "006-red-heart")

    def test_the_same_call_goes_on_in_its_folder(self):
        words = ["--prompt", "pizza", "num_images=3"]
        self.generate(*words)
        self.generate("--prompt", "rocket", "num_images=1")
        folder = self.images / "001-pizza"
        first = programs.files_below(folder)
        times = {p.name: p.stat().st_mtime_ns for p in folder.glob("0*.png")}
        (folder / "000001.png").unlink()
        self.generate(*words)
        self.assertEqual(self.folders(), ["001-pizza", "002-rocket"])
        self.assertEqual(programs.files_below(folder), first)
        self.assertEqual((folder / "000002.png").stat().st_mtime_ns, times["000002.png"])
        self.assertEqual(os.readlink(self.images / "latest"), "001-pizza")

    def test_a_run_that_went_on_paints_into_a_new_folder(self):
        words = ["--prompt", "pizza", "num_images=1"]
        self.generate(*words)
        programs.run("train", *programs.train_words(self.folder, self.run_folder.name, "steps=4", "captions=[name]"))
        self.generate(*words)
        self.assertEqual(self.folders(), ["001-pizza", "002-pizza"])
        self.assertEqual([json.loads((self.images / name / ".call.json").read_text())["step"] for name in self.folders()], [3, 4])

    def test_a_named_folder_is_never_painted_over(self):
        out = self.folder / "named"
        self.generate("--prompt", "pizza", "num_images=2", f"out={out}")
        self.assertFalse(self.images.exists())
        before = programs.files_below(out)
        log = self.generate("--prompt", "rocket", "num_images=1", f"out={out}", expect=programs.USER_MISTAKE)
        self.assertIn("another folder", log)
        self.assertEqual(programs.files_below(out), before)
        foreign = self.folder / "foreign"
        foreign.mkdir()
        (foreign / "thesis.txt").write_text("x")
        self.assertIn("thesis.txt", self.generate("--prompt", "pizza", f"out={foreign}", expect=programs.USER_MISTAKE))
        self.assertEqual(sorted(programs.files_below(foreign)), ["thesis.txt"])
        shutil.copy(out / "000000.png", out / "000001.png")  # another picture under this call's name
        self.assertIn("000001.png", self.generate("--prompt", "pizza", "num_images=2", f"out={out}", expect=programs.USER_MISTAKE))

    def test_names(self):
        for i, (prompt, name) in enumerate((("a/b\\c \"d\"\n../../etc", "001-a-b-c-d-etc"), ("\u732b \U0001F431", "002-pictures"),
                                            ("word " * 2000, "003-word-word-word-word-word-word-word-word"), ("", "004-pictures"),
                                            ("-rw", "005-rw"))):
            self.generate(*([f"--prompt={prompt}"] if prompt else ["--prompt", ""]), "num_images=1")
            self.assertEqual(self.folders()[i], name)
            text = pictures.texts((self.images / name / "000000.png").read_bytes())
            self.assertEqual(json.loads(text["microdit"])["prompt"], prompt)
        self.assertIn("nothing stands after '='", self.generate("--prompt=", "num_images=1", expect=programs.USER_MISTAKE))
        self.assertIn("too long", self.generate("--prompt", "x", f"out={self.folder}/{'x' * 300}",
                                                                  expect=programs.USER_MISTAKE))

    def test_a_checkpoint_may_be_chosen(self):
        programs.run("train", *programs.train_words(self.folder, self.run_folder.name, "steps=5", "captions=[name]",
                                                    "checkpoint.keep_last=0"))
        last, first = (self.run_folder / "checkpoints" / f"step_{step:07d}" for step in (5, 3))
        self.assertTrue(first.is_dir() and last.is_dir())

        def step_of(*words, run=self.run_folder):
            programs.run("generate", "--run", run, "--prompt", "red", "num_images=1", "steps=1", *words)
            return json.loads((self.images / "latest/.call.json").read_text())["step"]
        self.assertEqual([step_of(), step_of("step=3"), step_of("step=-1"), step_of("step=5")], [5, 3, 5, 5])
        for run in (first, f"{first}/", f"{self.run_folder}/images/../checkpoints/step_0000003"):
            self.assertEqual(step_of(run=run), 3)
        self.assertEqual(step_of("step=3", run=first), 3)
        self.assertEqual(step_of(run=self.run_folder / "checkpoints"), 5)
        programs.run("evaluate", "--run", first, "prompts=2", "steps=1", "loss_draws=1")
        self.assertEqual(json.loads((self.run_folder / "metrics.json").read_text())["step"], 3)
        self.assertTrue((self.run_folder / "report.html").exists())
        self.assertFalse((first / "report.html").exists() or (first / "evaluation").exists())
        for words in (["--run", self.run_folder, "step=4"], ["--run", self.run_folder / "checkpoints/step_0000004"]):
            for name, more in (("generate", ["--prompt", "red"]), ("evaluate", [])):
                log = programs.run(name, *words, *more, expect=programs.USER_MISTAKE)
                self.assertIn("step=4", log)
                self.assertIn("there are 5, 3", log)
        log = programs.run("generate", "--run", first, "--prompt", "red", "step=5", expect=programs.USER_MISTAKE)
        self.assertIn("names another step", log)

    def test_every_prompt_is_in_the_grid(self):
        """20 prompts x 4 pictures: a line each with the caption once; as many pages as needed."""
        words = [word for i in range(20) for word in ("--prompt", f"thing {i}")]
        log = self.generate(*words, "num_images=4", "batch_size=16")
        self.assertIn("20 prompts x 4 = 80 pictures", log)
        self.assertIn("grid_2.png", log)
        latest = self.images / "latest"
        self.assertEqual(sorted(p.name for p in latest.glob("grid*")), ["grid.png", "grid_2.png"])
        cell, label, top = 128, 10 + 150, 40  # 64 pixels twice as large; the title above
        for page, name in enumerate(("grid.png", "grid_2.png")):
            grid = pictures.pixels((latest / name).read_bytes())
            self.assertEqual(grid[0], label + 4 * cell + 3 * 4 + 10)
            for line, k in ((0, 0), (0, 3), (4, 1), (9, 2)):
                picture = pictures.pixels((latest / f"{4 * (10 * page + line) + k:06d}.png").read_bytes())
                place = (label + k * (cell + 4), top + line * (cell + 8))
                self.assertEqual(pictures.distance(picture, grid, *place, 2), 0, (name, line, k))
        programs.run("evaluate", "--run", self.run_folder, "prompts=0", "loss_draws=1", "loss_samples=4")
        report = re.sub("base64,[^\"]*", "", (self.run_folder / "report.html").read_text())
        self.assertIn("<li>thing 19</li>", report)
        self.assertEqual(report.count("Generated pictures</figcaption>"), 2)

    def test_other_scripts_are_text_in_the_report(self):
        self.generate("--prompt", "\u043a\u0440\u0430\u0441\u043d\u044b\u0439", "--prompt", "a < b", "num_images=2")
        programs.run("evaluate", "--run", self.run_folder, "prompts=0", "loss_draws=1", "loss_samples=4")
        report = re.sub("base64,[^\"]*", "", (self.run_folder / "report.html").read_text())
        self.assertIn("<li>\u043a\u0440\u0430\u0441\u043d\u044b\u0439</li>", report)
        self.assertIn("<li>a &lt; b</li>", report)

    def test_a_slow_picture_is_not_silent(self):
        job = subprocess.Popen(programs.command("generate", "--run", self.run_folder, "--prompt", "red", "num_images=1", "steps=10000"),
                               env=programs.environment(), cwd=SOURCE, stderr=subprocess.PIPE, text=True)
        said = next((line for line in job.stderr if "sampler step" in line or "painted" in line), "")
        job.send_signal(signal.SIGTERM)
        job.communicate(timeout=60)
        self.assertRegex(said, r"sampler step \d+ of 10000, .* left for this batch")

    def test_seeds(self):
        for seed, seeds in (("18446744073709551615", [2**64 - 1, 0]), ("9223372036854775807", [2**63 - 1, 2**63]), ("1e3", [1000, 1001])):
            out = self.folder / f"seed_{seed}"
            self.generate("--prompt", "red", "num_images=2", f"seed={seed}", f"out={out}")
            self.assertEqual([json.loads(line)["seed"] for line in (out / "manifest.jsonl").read_text().splitlines()], seeds)
        for seed in ("-1", "18446744073709551616", "1.5"):
            self.assertIn("seed", self.generate("--prompt", "red", f"seed={seed}", expect=programs.USER_MISTAKE))

    def prompts_of(self, raw):
        file = self.folder / "prompts.txt"
        file.write_bytes(raw)
        shutil.rmtree(self.images, ignore_errors=True)
        log = self.generate("--prompts", file, "num_images=1")
        return [json.loads(line)["prompt"] for line in (self.images / "latest/manifest.jsonl").read_text().splitlines()], log

    def test_prompt_files(self):
        for raw, expected in ((b"\xef\xbb\xbfred heart\nblue\n", ["red heart", "blue"]), (b"red\r\nblue\r\n", ["red", "blue"]),
                              (b"red\rblue\r", ["red", "blue"]), (b"red\t\n  blue\n\t\n \n", ["red", "blue"]), (b"red", ["red"]),
                              ("caf\u00e9\n\u732b\n".encode(), ["caf\u00e9", "\u732b"])):
            self.assertEqual(self.prompts_of(raw)[0], expected, raw)
        found, log = self.prompts_of(b"#1 dad mug\n# comment\n\\#1 dad mug\nred\n")
        self.assertEqual(found, ["#1 dad mug", "red"])
        self.assertIn("2 lines that begin with '#' are skipped", log)

    def test_prompts_that_are_no_text(self):
        file = self.folder / "bad.txt"
        for raw, phrases in (("red\nblue\n".encode("utf-16"), ["bad.txt", "UTF-16", "iconv"]), (b"red\ncaf\xe9\n", ["bad.txt, line 2", "UTF-8"]),
                             (b"red\nblue\na\0b\n", ["bad.txt, line 3", "zero byte"]), (b"#a\n\n#b\n", ["no prompts", "2 of them"]),
                             (bytes(range(256)), ["bad.txt, line"])):
            file.write_bytes(raw)
            log = self.generate("--prompts", file, expect=programs.USER_MISTAKE)
            for phrase in phrases:
                self.assertIn(phrase, log)
        log = self.generate("--prompt", "caf\udce9", expect=programs.USER_MISTAKE)
        self.assertIn("--prompt", log)
        self.assertIn("UTF-8", log)
        self.assertFalse(self.images.exists())

    def test_a_run_whose_name_is_no_text(self):
        odd = os.fsencode(str(self.folder)) + b"/caf\xe9"
        os.rename(self.run_folder, odd)
        done = subprocess.run([programs.BIN / "generate", "--run", odd, "--prompt", "red", "num_images=1", "steps=1"],
                              env=programs.environment(), cwd=SOURCE, capture_output=True)
        os.rename(odd, self.run_folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads((self.images / "001-red/.call.json").read_text())["run"], "caf\ufffd")

    def test_cut_prompts_are_told(self):
        text = " ".join(f"word{i}" for i in range(40))
        log = self.generate("--prompt", text, "--prompt", "short", "num_images=1")
        self.assertIn("longer than 24 tokens", log)
        self.assertIn("word39", log)
        self.assertNotIn("\"short", log)
        self.assertNotIn("tokens", self.generate("--prompt", "short", "num_images=1"))

    def test_what_is_chosen_is_said(self):
        said = self.generate("--prompt", "red", "num_images=1")
        device = "cuda" if pathlib.Path("/dev/nvidia0").exists() else "cpu"
        self.assertRegex(said, rf"painting on {device}.*, fp32, 1 thread;")  # the tests set OMP_NUM_THREADS=1
        free = {name: value for name, value in programs.environment().items() if name != "OMP_NUM_THREADS"}
        said = self.generate("--prompt", "red", "num_images=2", "device=cpu", env=free)
        self.assertRegex(said, rf"painting on cpu, fp32, {len(os.sched_getaffinity(0))} thread")
        said = self.generate("--prompt", "red", "num_images=3", "threads_per_rank=2", env={**free, "OMP_NUM_THREADS": "5000"})
        self.assertIn("2 threads", said)
        self.assertNotIn("OMP_NUM_THREADS", said)
        many = len(os.sched_getaffinity(0)) + 1
        said = self.generate("--prompt", "red", "num_images=1", "precision=bf16", "device=cpu", env={**free, "OMP_NUM_THREADS": str(many)})
        self.assertIn(f"bf16, {many} threads", said)
        self.assertIn(f"warning: OMP_NUM_THREADS: {many} threads on the", said)
        fp32, bf16 = (self.images / name for name in ("001-red", "004-red"))
        self.assertEqual(json.loads((bf16 / ".call.json").read_text())["precision"], "bf16")
        a, b = (pictures.pixels((p / "000000.png").read_bytes())[2] for p in (fp32, bf16))
        self.assertNotEqual(a, b)

    def test_dry_run_writes_nothing(self):
        before = programs.files_below(self.run_folder)
        said = self.generate("--prompt", "red", "--dry-run", "device=cuda")  # needs no GPU
        for phrase in ("images/001-red", "million parameters", "nothing was written"):
            self.assertIn(phrase, said)
        self.assertIn("samples", programs.run("evaluate", "--run", self.run_folder, "--dry-run"))
        self.assertEqual(programs.files_below(self.run_folder), before)
        self.assertIn("is a file", self.generate("--prompt", "red", "--dry-run", f"out={self.run_folder}/facts.json", expect=2))
        facts = self.run_folder / "facts.json"
        text = facts.read_text()
        facts.write_text(text.replace(json.loads(text)["codec"]["sha256"], "0" * 64))
        for name, more in (("generate", ["--prompt", "red"]), ("evaluate", [])):
            self.assertIn("is not found", programs.run(name, "--run", self.run_folder, "--dry-run", *more, expect=2))

    def test_facts_that_miss_something(self):
        facts = self.run_folder / "facts.json"
        whole = json.loads(facts.read_text())
        for key in ("text_length", "codec", "captions"):
            for value in (None, {"x": "y"}):
                broken = dict(whole, **{key: value})
                if value is None:
                    broken.pop(key)
                facts.write_text(json.dumps(broken))
                for name, more in (("generate", ["--prompt", "red"]), ("evaluate", ["prompts=0"])):
                    log = programs.run(name, "--run", self.run_folder, *more, expect=programs.USER_MISTAKE)
                    self.assertIn("facts.json", log)
                    self.assertIn(key, log)

    def test_a_stop_ends_it_and_the_same_call_goes_on(self):
        words = ["--run", self.run_folder, "--prompt", "red", "num_images=400", "steps=40", "batch_size=4"]
        begun = 0
        for sent in (signal.SIGTERM, signal.SIGUSR1):
            job = subprocess.Popen(programs.command("generate", *words), env=programs.environment(), cwd=SOURCE, stderr=subprocess.PIPE)
            end = time.monotonic() + 60
            while len(list(self.images.glob("*/0*.png"))) <= begun and time.monotonic() < end:
                time.sleep(0.05)
            begun = len(list(self.images.glob("*/0*.png")))
            job.send_signal(sent)
            start = time.monotonic()
            _, said = job.communicate(timeout=60)
            self.assertEqual(job.returncode, programs.REQUEUE, said)
            self.assertLess(time.monotonic() - start, 10)
            self.assertGreater(begun, 0)
            begun = len(list(self.images.glob("*/0*.png")))  # the last batch was written to its end
            self.assertEqual(self.folders(), ["001-red"])


if __name__ == "__main__":
    programs.need_data()
    unittest.main(verbosity=2)
