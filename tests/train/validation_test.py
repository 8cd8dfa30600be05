#!/usr/bin/env python3
"""Validation while training: the same numbers for any number of ranks and through kills, the best checkpoint, patience; lengths in
epochs and samples."""
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

WORDS = ["validation.every_steps=2", "validation.samples=20", "validation.batch_size=8", "validation.levels=4", "ema.decay=0.9",
         "captions=[name]", "schedule.decay_steps=8"]


class Validation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_validation_")
        cls.runs = pathlib.Path(cls.scratch.name)
        cls.log = cls.train("whole", "steps=8")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    @classmethod
    def train(cls, name, *words, **options):
        return programs.run("train", *programs.train_words(cls.runs, name, *WORDS, *words), **options)

    def found(self, name):
        """Step -> what its validation found."""
        return {line["step"]: line["validation"] for line in programs.metrics(self.runs / name) if "validation" in line}

    def test_is_measured_before_the_first_step_and_every_so_many(self):
        found = self.found("whole")
        self.assertEqual(list(found), [0, 2, 4, 6, 8])
        for values in found.values():
            for weights in ("raw", "average"):
                levels = values[weights]["levels"]
                self.assertEqual(len(levels), 4)
                self.assertAlmostEqual(values[weights]["loss"], sum(levels) / 4, places=12)
        self.assertEqual(found[0]["raw"], found[0]["average"], "nothing is averaged yet")
        self.assertNotEqual(found[8]["raw"], found[8]["average"])
        # A network that predicts nothing at step 0: the loss is the target's own mean square, which no law of times changes much.
        self.assertGreater(found[0]["raw"]["loss"], 0.5)
        self.assertIn("step 0: validation loss", self.log)
        self.assertGreater((self.runs / "whole/loss.png").stat().st_size, 5000)

    def test_levels_are_those_of_the_objective(self):
        """At step 0 the network is zero: F = 0, so the loss of a level is the mean of F*^2 = ((x0 - c_skip x) / c_out)^2."""
        zero = self.found("whole")[0]["raw"]["levels"]
        sigma_data, mean, std = 0.5, -0.6, 1.2
        nearest = []
        for share in (0.125, 0.375, 0.625, 0.875):
            sigma = math.exp(mean + std * statistics.NormalDist().inv_cdf(share))
            v = sigma_data**2  # of x0: what the latents are scaled to
            c_out2 = (sigma * sigma_data) ** 2 / (sigma**2 + sigma_data**2)
            skip = sigma_data**2 / (sigma**2 + sigma_data**2)
            nearest.append(((1 - skip) ** 2 * v + skip**2 * sigma**2) / c_out2)
        for level, expected in zip(zero, nearest):
            self.assertAlmostEqual(level, expected, delta=0.6)

    def test_any_number_of_ranks_finds_the_same_bits(self):
        for ranks in (2, 3):
            self.train(f"ranks{ranks}", "steps=1", "batch_size=6", ranks=ranks)
        self.train("ranks1", "steps=1", "batch_size=6")
        self.assertEqual(self.found("ranks1")[0], self.found("ranks2")[0])
        self.assertEqual(self.found("ranks1")[0], self.found("ranks3")[0])

    def test_goes_on_as_it_would_have(self):
        self.train("parts", "steps=3", "checkpoint.every_steps=1")
        self.train("parts", "steps=6")
        self.train("parts", "steps=8")
        self.assertEqual(self.found("parts"), self.found("whole"))

    def test_a_kill_changes_nothing(self):
        words = programs.train_words(self.runs, "killed", *WORDS, "steps=8", "checkpoint.every_steps=2")
        for wait_s in (1.2, 1.7, 2.3):
            process = subprocess.Popen(programs.command("train", *words), env=programs.environment(), cwd=SOURCE,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(wait_s)
            process.kill()
            process.wait()
        programs.run("train", *words)
        self.assertEqual(self.found("killed"), self.found("whole"))
        weights = [sorted(file.read_bytes() for file in programs.checkpoint(self.runs / name, 8).glob("*.safetensors"))
                   for name in ("killed", "whole")]
        self.assertEqual(weights[0], weights[1])

    def test_the_best_stays_and_is_led_to(self):
        self.train("best", "steps=8", "checkpoint.every_steps=1", "checkpoint.keep_last=1")
        losses = {step: values["average"]["loss"] for step, values in self.found("best").items() if step > 0}
        best = min(losses, key=losses.get)
        link = self.runs / "best/checkpoints/best"
        self.assertEqual(os.readlink(link), f"step_{best:07d}")
        self.assertTrue((link / "manifest.json").is_file())
        log = programs.run("generate", "--run", link, "--prompt", "red heart", "steps=2", "num_images=1")
        self.assertIn(f"step {best}", log)

    def test_a_stop_during_a_validation_repeats_it(self):
        words = programs.train_words(self.runs, "stopped", *WORDS, "steps=8")
        slow = [*words, "validation.samples=20", "validation.batch_size=1", "validation.levels=1000"]
        first = subprocess.Popen(programs.command("train", *slow), env=programs.environment(), cwd=SOURCE, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
        for line in first.stdout:
            if "parameters" in line:
                break
        time.sleep(1.5)
        first.terminate()
        log, _ = first.communicate(timeout=60)
        self.assertEqual(first.returncode, programs.REQUEUE, log)
        self.assertIn("saving step 0", log)
        self.assertEqual(programs.metrics(self.runs / "stopped"), [])
        programs.run("train", *words)
        self.assertEqual(self.found("stopped"), self.found("whole"))

    def test_a_best_at_the_step_where_a_life_begins_is_led_to(self):
        self.train("late", "validation.every_steps=0", "steps=4")
        for _ in range(2):
            log = self.train("late", "validation.every_steps=4", "steps=4")
            self.assertIn("the best so far", log)
            self.assertEqual(os.readlink(self.runs / "late/checkpoints/best"), "step_0000004")
        self.assertEqual([line["step"] for line in programs.metrics(self.runs / "late") if "validation" in line], [4])

    def test_the_best_stays_until_the_next_is_there(self):
        """The write of the second best fails: the first is what `best` leads to, and stays."""
        log = self.train("failing", "steps=5", "checkpoint.every_steps=1000", "checkpoint.keep_last=1",
                         env=programs.environment(LD_PRELOAD=os.environ["MICRODIT_FAULTY_DISK"], MICRODIT_FAULT="open:.step_0000004:28"))
        self.assertIn("checkpoint could not be", log)
        link = self.runs / "failing/checkpoints/best"
        self.assertEqual(os.readlink(link), "step_0000002")
        self.assertTrue((link / "manifest.json").is_file())

    def test_patience_ends_the_run(self):
        """A learning rate at which nothing gets better: step 0 counts, then each validation; nano-diffusion's rule."""
        log = self.train("patient", "steps=100", "optimizer.lr=0", "schedule.warmup_steps=0", "validation.patience=3")
        # 0 counts; step 2 is the best, as nothing was; 4, 6, 8 are not better.
        self.assertEqual(list(self.found("patient")), [0, 2, 4, 6, 8])
        self.assertIn("ended early", log)
        again = self.train("patient", "steps=100", "optimizer.lr=0", "schedule.warmup_steps=0", "validation.patience=3")
        self.assertIn("ended early", again)
        self.assertEqual(list(self.found("patient")), [0, 2, 4, 6, 8], "the same command goes on with nothing")
        self.train("after", "steps=2", f"init.from={self.runs / 'patient'}")  # it is a finished run

    def test_losses_of_other_samples_are_not_compared(self):
        self.train("anew", "steps=4", "checkpoint.every_steps=2")
        log = self.train("anew", "steps=6", "checkpoint.every_steps=2", "validation.samples=10")
        self.assertIn("validation measures something else than before", log)
        self.assertRegex(log, "step 6: validation loss .*, the best so far")
        self.assertIn("patience: 1: the validation before the first step counts", self.train("idle", "validation.patience=1", expect=2))
        self.assertIn("patience: has no effect", self.train("idle", "validation.every_steps=0", "validation.patience=3", expect=2))

    def test_without_held_out_samples_it_is_refused(self):
        log = self.train("none", "steps=2", "data=[{synthetic: 64}]", expect=programs.USER_MISTAKE)
        self.assertIn("holds nothing out", log)
        self.assertFalse((self.runs / "none").exists())

    def test_lengths_in_epochs_and_samples(self):
        shown = programs.train_words(self.runs, "epochs", *WORDS[1:], "steps=0.1ep", "validation.every_steps=32sp",
                                     "checkpoint.every_steps=0.05ep")
        programs.run("train", *shown)
        samples = json.loads((self.runs / "epochs/facts.json").read_text())["data"][0]["rows"]
        steps = math.ceil(0.1 * samples / 8)
        lines = programs.metrics(self.runs / "epochs")
        self.assertEqual(max(line["step"] for line in lines), steps)
        self.assertEqual(list(self.found("epochs")), [s for s in range(steps + 1) if s % 4 == 0])
        self.assertEqual(json.loads((self.runs / "epochs/settings.json").read_text())["steps"], "0.1ep")
        programs.run("train", *shown, "--dry-run")
        programs.run("train", *shown)  # and again: it is done
        self.train("after_epochs", "steps=2", f"init.from={self.runs / 'epochs'}")
        self.assertIn("expected steps (1000), epochs (10ep)", self.train("bad", "steps=2epochs", expect=programs.USER_MISTAKE))
        # No length but 0 is 0 steps, and every key takes every unit.
        tiny = ["schedule.decay_steps=1ep", "schedule.warmup_steps=1e-9sp", "ema.warmup=1e-9ep", "ema.start_step=1e-9sp",
                "checkpoint.every_steps=1e-9sp", "log_every_steps=1e-9ep", "sampling.every_steps=1e-9sp", "sampling.prompts=[pizza]", "sampling.steps=1"]
        self.train("tiny", "steps=2", "validation.every_steps=1e-9sp", *tiny)
        self.assertEqual(list(self.found("tiny")), [0, 1, 2])
        self.assertIn("steps=1000000000000sp: that is 1.25e+11 steps; at most 1e+09 are possible",
                      self.train("bad", "steps=1e12sp", expect=programs.USER_MISTAKE))
        for bad in ("10 ep", "ep", "-1ep", "1e", "nanep", "[1ep]"):
            log = self.train("bad", f"steps={bad}", expect=programs.USER_MISTAKE)
            self.assertIn("steps", log)


if __name__ == "__main__":
    unittest.main(verbosity=2)
