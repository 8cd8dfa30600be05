#!/usr/bin/env python3
"""What train says that one can do next is true: each command that it prints is run as it stands. Also: Ctrl-C, a training that
diverges, and what a dry run knows of the run that is there."""
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
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

NAME = "first"
STEPS = 8


def shell(command):
    """Runs a printed command; its log, and it must end well."""
    done = subprocess.run(command, shell=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=SOURCE,
                          env=programs.environment(), timeout=600, errors="replace")
    programs.check(done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


class NextStep(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_next_")
        cls.good = pathlib.Path(cls.scratch.name) / "good"
        cls.good_log = programs.run("train", *cls.words_of(cls.good))

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    @staticmethod
    def words_of(runs, *overrides):
        return programs.train_words(runs, NAME, f"steps={STEPS}", "checkpoint.every_steps=4", *overrides)

    def setUp(self):
        """`self.runs`: a copy of the good run's root, for this test alone."""
        self.runs = pathlib.Path(self.scratch.name) / self.id().rsplit(".", 1)[-1]
        shutil.copytree(self.good, self.runs)
        self.run_folder = self.runs / NAME

    def ask(self, *overrides, expect=0, **options):
        return programs.run("train", *self.words_of(self.runs, *overrides), expect=expect, **options)

    def refused(self, *overrides, **options):
        """The log of a start that is refused and changes nothing."""
        before = programs.files_below(self.runs)
        log = self.ask(*overrides, expect=programs.USER_MISTAKE, **options)
        self.assertEqual(programs.files_below(self.runs), before)
        return log

    def commands_in(self, log):
        found = [line.strip() for line in log.splitlines() if line.startswith("  ") and " --config " in line]
        self.assertTrue(found, log)
        return found

    # ---- settings that bind a run ----

    def test_another_rate_goes_on_in_a_run_of_its_own(self):
        [command] = self.commands_in(self.refused("optimizer.lr=0.002"))
        for word in (f"name={NAME}_2", "optimizer.lr=0.002", "step_0000008", "init.load=all", "steps=16"):
            self.assertIn(word, command)
        shell(command)
        self.assertEqual([m["step"] for m in programs.metrics(self.runs / f"{NAME}_2")], list(range(9, 17)))

    def test_the_command_is_made_for_as_many_ranks(self):
        command = self.commands_in(self.refused("optimizer.lr=0.002", ranks=2))[0]  # each rank may say it
        self.assertTrue(command.startswith("mpirun -n 2 "), command)

    def test_another_network_begins_anew(self):
        log = self.refused("model.dim=64")
        [command] = self.commands_in(log)
        self.assertNotIn("init.", command)
        self.assertIn("only where all shapes agree", log)
        shell(command)
        self.assertEqual(programs.metrics(self.runs / f"{NAME}_2")[0]["step"], 1)

    def test_a_start_with_nothing_to_train(self):
        words = ["name=other", f"init.from={self.run_folder}", "init.load=all"]
        for question in ([], ["--dry-run"], ["--check-settings"]):
            self.assertIn("starts at step 8 of steps=8: nothing to train; give steps=16", self.refused(*words, *question))
        self.ask(*words, "steps=9")
        self.ask(*words[:2], "name=weights_only")

    # ---- steps ----

    def test_fewer_steps_than_there_are(self):
        for question in ([], ["--dry-run"], ["--check-settings"]):
            log = self.refused("steps=6", *question)
            self.assertIn(f"steps=6: {self.run_folder} is at step 8 already", log)
        more, branch = self.commands_in(log)
        self.assertIn("step_0000004", branch)
        shell(branch)
        self.assertEqual([m["step"] for m in programs.metrics(self.runs / f"{NAME}_2")], [5, 6])
        shell(more)
        self.assertEqual(programs.metrics(self.run_folder)[-1]["step"], 16)
        self.ask("steps=16")  # as many as there are: done already

    def test_the_end_says_how_to_go_on(self):
        command = re.search(r"continue with: (.*)", self.ask()).group(1)
        self.assertIn(f"--config {self.run_folder}/config.yaml steps=16", command)
        shell(command)
        self.assertEqual([m["step"] for m in programs.metrics(self.run_folder)], list(range(1, 17)))

    # ---- where the first weights come from ----

    def test_a_checkpoint_that_is_not_there(self):
        for start in (f"{self.run_folder}/checkpoints/step_0000003", f"{self.run_folder}/checkpoints/", f"{self.run_folder}/step_3"):
            for question in ([], ["--dry-run"]):
                log = self.refused("name=other", f"init.from={start}", *question)
                self.assertIn("no such checkpoint", log)
                self.assertIn("holds steps 4, 8", log)
        self.ask("name=other", re.search(r": (init\.from=\S+)$", log, re.M).group(1), "steps=1")
        self.assertIn("not there", self.refused("name=third", f"init.from={self.runs}/nothing", "--dry-run"))

    # ---- a dry run ----

    def test_dry_run_of_a_run_that_is_there(self):
        self.assertIn("finished at step 8; steps=16 would train 8 more", self.ask("--dry-run"))
        rate = programs.metrics(self.run_folder)[-1]["images_per_s"]
        log = self.ask("steps=100", "--dry-run")
        self.assertIn("work: 92 steps from 8 on", log)
        self.assertIn(f"at the {rate:.0f} images/s of this run's last steps", log)

    def test_dry_run_invents_no_speed(self):
        log = self.ask("name=other", "--dry-run")
        self.assertIn("how long is not known yet: the same command with name=other_speed steps=30", log)
        self.assertNotIn("1,000", log)

    def test_a_gpu_in_a_build_without(self):
        if programs.has_cuda():
            self.skipTest("this build has CUDA")
        self.assertIn("this build has no CUDA", self.refused("device=cuda", "--check-settings"))
        log = self.ask("device=cuda", "--dry-run")  # what a cluster would need can be asked here
        self.assertRegex(log, "warning: .*this build has no CUDA")
        self.assertRegex(log, r"\n +8 +1 +[\d.]+ +[\d.]+ +[\d.]+ +\d+ +\d+\n")

    # ---- trainings that diverge ----

    def test_divergence_is_said(self):
        log = self.ask("name=wild", "optimizer.lr=1", "schedule.warmup_steps=0", "optimizer.clip_norm=0", "steps=40")
        self.assertRegex(log, r"warning: step \d+: the loss diverged: .*lower optimizer.lr")
        self.assertRegex(log, r"done: 40 steps, but the loss diverged: ")
        self.assertIn("the loss diverged: ", (self.runs / "wild/report.html").read_text())

    def test_a_calm_training_is_not_accused(self):
        log = self.ask("name=calm", "steps=40")
        self.assertNotIn("diverged", log + (self.runs / "calm/report.html").read_text())

    # ---- Ctrl-C ----

    def wait_for_steps(self, process):
        metrics, end = self.runs / "long/metrics.jsonl", time.monotonic() + 120
        while not (metrics.exists() and len(metrics.read_text().splitlines()) > 3):
            self.assertIsNone(process.poll(), (self.runs / "log").read_text())
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)

    def interrupt(self, *overrides):
        """Ctrl-C after a few steps: (exit code, log)."""
        log = open(self.runs / "log", "w+")
        self.addCleanup(log.close)
        process = subprocess.Popen(programs.command("train", *self.words_of(self.runs, "name=long", "steps=100000", *overrides)),
                                   stdout=log, stderr=log, cwd=SOURCE, env=programs.environment(), start_new_session=True,
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        self.addCleanup(lambda: process.poll() is None and process.kill())
        self.wait_for_steps(process)
        process.send_signal(signal.SIGINT)
        return process.wait(timeout=120), (self.runs / "log").read_text()

    def test_an_interrupt_saves(self):
        code, log = self.interrupt("checkpoint.every_steps=100000")
        self.assertEqual(code, programs.REQUEUE, log)
        self.assertIn("again to abort", log)
        step = int(re.search(r"saving step (\d+)", log).group(1))
        self.assertTrue(programs.checkpoint(self.runs / "long", step).is_dir())
        self.assertTrue((self.runs / "long/report.html").exists())
        command = re.search(r"continue with: (.*)", log).group(1)
        shell(command.replace("steps=100000", f"steps={step + 2}"))
        self.assertEqual([m["step"] for m in programs.metrics(self.runs / "long")], list(range(1, step + 3)))


if __name__ == "__main__":
    programs.need_data()
    programs.need_mpi()
    unittest.main(verbosity=2)
