#!/usr/bin/env python3
"""evaluate on data that fits into no memory, without a held-out split, on several ranks; stopped at any time."""
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path[:0] = [str(SOURCE / "tests"), str(SOURCE / "tests/eval")]
import programs  # noqa: E402

try:
    import made_latents
except ImportError as missing:
    programs.skip(f"{missing} (scripts/setup.sh --oracles makes .venv-oracles)")

GIB = 1 << 30
SAMPLES = int(os.environ.get("MICRODIT_EVALUATE_SAMPLES", 40_000))  # 200,000 in the long form


class Evaluate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_evaluate_")
        cls.data = pathlib.Path(cls.scratch.name)
        (cls.data / "weights").mkdir()
        (cls.data / "weights/all-MiniLM-L6-v2").symlink_to((programs.DATA / "weights/all-MiniLM-L6-v2").resolve())
        for name, samples, held_out in (("large", SAMPLES, SAMPLES // 10), ("small", 40, 8), ("whole", 30, 0)):
            made_latents.make(cls.data, name, samples, held_out)
            cls.train(name, f"data=[{{dataset: {name}}}]")
        cls.train("mixed", "data=[{dataset: whole}, {dataset: small}]")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    @classmethod
    def train(cls, name, *words):
        programs.run("train", *programs.train_words(cls.data / "runs", name, "steps=1", "captions=[name]"), *words, data=cls.data)

    def evaluate(self, run, *words, **options):
        log = programs.run("evaluate", "--run", self.data / "runs" / run, "steps=1", "loss_draws=1", *words, data=self.data, **options)
        file = self.data / "runs" / run / "metrics.json"
        return json.loads(file.read_text()) if file.exists() else {}, log

    def test_another_set_is_measured_instead_of_what_is_held_out(self):
        found, log = self.evaluate("whole", "prompts=0")
        self.assertEqual((found["eval_loss_split"], found.get("eval_data")), ("train", None))
        found, log = self.evaluate("whole", "prompts=4", "candidates=30", "validation.data=[{dataset: small}]")
        self.assertEqual((found["eval_loss_split"], found["loss_samples"]), ("held_out", 8))
        self.assertEqual([one["dataset"] for one in found["eval_data"]], ["small"])
        self.assertEqual(set(found["retrieval"]), {"trained", "held_out"})
        # From the run's own settings; and back to its own data by an empty list.
        self.train("with_set", "data=[{dataset: small}]", "validation.data=[{dataset: large}]")
        found, log = self.evaluate("with_set", "prompts=0")
        self.assertEqual((found["eval_data"][0]["dataset"], found["loss_samples"]), ("large", min(SAMPLES // 10, 10_000)))
        found, log = self.evaluate("with_set", "prompts=0", "validation.data=[]")
        self.assertEqual((found.get("eval_data"), found["loss_samples"]), (None, 8))

    def test_a_set_that_cannot_be_measured_is_refused(self):
        _, log = self.evaluate("small", "prompts=0", "validation.data=[{dataset: whole}]", expect=2)
        self.assertIn("validation.data: whole/emoji: it holds nothing out", log)
        _, log = self.evaluate("small", "prompts=0", "validation.data=[{dataset: nowhere}]", expect=2)
        self.assertIn("nowhere", log)
        other = made_latents.make(self.data, "other", 20, 5)
        facts = json.loads((other / "facts.json").read_text())
        facts["codec"]["sha256"] = "0" * 64
        (other / "facts.json").write_text(json.dumps(facts, indent=2) + "\n")
        for old in [*other.glob("manifest*"), *other.glob("index*")]:
            old.unlink()
        made_latents.close(other, ["made"], 20, 5)
        _, log = self.evaluate("small", "prompts=0", "validation.data=[{dataset: other}]", expect=2)
        self.assertIn("its `codec` is not the one of the run's data", log)

    def test_memory_does_not_grow_with_the_data(self):
        found, _ = self.evaluate("large", "prompts=4")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        print(f"{SAMPLES} samples: peak {peak / GIB:.2f} GiB")
        self.assertLessEqual(peak, 2 * GIB)
        candidates = min(SAMPLES, 20_000)
        self.assertEqual(found["loss_samples"], min(SAMPLES // 10, 10_000))
        for split in ("trained", "held_out"):
            self.assertEqual(found["retrieval"][split]["candidates"], candidates)
            self.assertAlmostEqual(found["retrieval"][split]["chance_top1"], 1 / candidates)

    def test_without_a_held_out_split(self):
        found, log = self.evaluate("whole", "prompts=3")
        self.assertEqual((found["eval_loss_split"], found["loss_samples"], sorted(found["retrieval"])), ("train", 30, ["trained"]))
        self.assertIn("only samples of split train", log)
        found, log = self.evaluate("mixed", "prompts=3")  # one of two data sets has such samples
        self.assertEqual((found["eval_loss_split"], found["loss_samples"], sorted(found["retrieval"])),
                         ("held_out", 8, ["held_out", "trained"]))
        self.assertNotIn("only samples", log)

    def test_limits(self):
        found, _ = self.evaluate("small", "prompts=4", "candidates=20", "loss_samples=5")
        self.assertEqual((found["loss_samples"], found["eval_loss_split"]), (5, "held_out"))
        self.assertEqual(found["retrieval"]["trained"]["candidates"], 20)
        whole, _ = self.evaluate("small", "prompts=4")
        self.assertEqual((whole["loss_samples"], whole["retrieval"]["held_out"]["candidates"]), (8, 40))
        self.assertNotEqual(found["eval_loss"], whole["eval_loss"])
        all_of_them, _ = self.evaluate("small", "prompts=0", "loss_samples=0")
        self.assertEqual((all_of_them["eval_loss"], all_of_them["loss_samples"]), (whole["eval_loss"], 8))
        self.assertNotIn("retrieval", all_of_them)
        log = programs.run("evaluate", "--run", self.data / "runs/small", "candidates=7", "prompts=4", data=self.data, expect=2)
        self.assertIn("twice prompts", log)

    def test_ranks_do_not_matter(self):
        programs.need_mpi()
        words = ["prompts=6", "batch_size=2", "candidates=20", "seed=3"]
        self.assertEqual(self.evaluate("small", *words)[0], self.evaluate("small", *words, ranks=3)[0])

    def test_a_stop_is_obeyed_anywhere(self):
        """While the loss is measured, while pictures are painted, and while candidates are compared."""
        cases = (("loss", "eval", ["loss_draws=10000", "prompts=0"], signal.SIGTERM),
                 ("sampling", "eval loss", ["loss_samples=1", "prompts=64", "batch_size=64", "steps=10000"], signal.SIGUSR1))
        for name, seen, words, sent in cases:
            with self.subTest(name):
                job = subprocess.Popen(
                    programs.command("evaluate", "--run", self.data / "runs/large", *words), env=programs.environment(self.data),
                    cwd=SOURCE, stderr=subprocess.PIPE, text=True)
                for line in job.stderr:
                    if ("measuring on" if name == "loss" else seen) in line:
                        break
                time.sleep(1)
                self.assertIsNone(job.poll(), "it was too quick to be stopped")
                job.send_signal(sent)
                start = time.monotonic()
                job.communicate(timeout=60)
                self.assertEqual(job.returncode, programs.REQUEUE)
                self.assertLess(time.monotonic() - start, 10)


if __name__ == "__main__":
    programs.need_data()
    unittest.main(verbosity=2)
