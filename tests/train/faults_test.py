#!/usr/bin/env python3
"""Trainings whose machine fails: a stopped peer and an I/O error end with 76 and harm nothing; a disk that is full for a while, a
second training of the same run, a missing encoder."""
import errno
import os
import pathlib
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

FAULT = 76
NAME = "faulty"
FAULTY_DISK = pathlib.Path(os.environ.get("MICRODIT_FAULTY_DISK", SOURCE / "build/tests/libfaulty_disk.so"))


def wait_for(condition, what, limit_s=120):
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit_s} s for {what}")
        time.sleep(0.05)


class Faults(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="microdit_faults_")
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def words(self, *overrides, runs="runs"):
        return programs.train_words(self.folder / runs, NAME, "checkpoint.every_steps=2", "schedule.decay_steps=100", *overrides)

    def start(self, *overrides, ranks=1, **environment):
        log = open(self.folder / "log", "w+")
        self.addCleanup(log.close)
        process = subprocess.Popen(programs.command("train", *self.words(*overrides), ranks=ranks), stdout=log, stderr=log,
                                   cwd=SOURCE, env=programs.environment(**environment), start_new_session=True)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def run_folder(self):
        return self.folder / "runs" / NAME

    def steps_done(self):
        path = self.run_folder() / "metrics.jsonl"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def disk(self, rule, **more):
        """A training's environment in which the disk fails by MICRODIT_FAULT's rule."""
        if not FAULTY_DISK.exists():
            self.skipTest(f"{FAULTY_DISK} is not built")
        return programs.environment(LD_PRELOAD=FAULTY_DISK, MICRODIT_FAULT=rule, **more)

    def stop_one_of_two(self, *overrides):
        process = self.start("steps=100000", *overrides, ranks=2)
        wait_for(lambda: self.steps_done() > 3, "the first steps")
        ranks = subprocess.run(["pgrep", "-P", str(process.pid), "-x", "train"], capture_output=True, text=True).stdout.split()
        self.assertEqual(len(ranks), 2)
        os.kill(int(ranks[1]), signal.SIGSTOP)
        return process

    def test_a_stopped_peer(self):
        programs.need_mpi()
        process = self.stop_one_of_two("watchdog_s=3")
        self.assertEqual(process.wait(timeout=60), FAULT, self.log())
        self.assertIn("has lasted longer than 3 s", self.log())

    def test_a_stopped_peer_without_watchdog(self):
        programs.need_mpi()
        process = self.stop_one_of_two("watchdog_s=0")
        with self.assertRaises(subprocess.TimeoutExpired):
            process.wait(timeout=8)

    def test_an_io_error_while_resuming_is_no_damage(self):
        programs.run("train", *self.words("steps=4"))
        before = programs.files_below(self.run_folder() / "checkpoints")
        for rule in (f"read:step_0000004/shard:{errno.EIO}", f"open:step_0000004/manifest.json:{errno.ESTALE}",
                     f"open:step_0000004/shard:{errno.EIO}", f"read:step_0000004/manifest.json:{errno.ETIMEDOUT}",
                     f"read:settings.json:{errno.EIO}"):
            with self.subTest(rule=rule):
                log = programs.run("train", *self.words("steps=6"), expect=FAULT, env=self.disk(rule))
                self.assertNotIn("skipped:", log)
                self.assertNotIn("(step 2)", log)
                self.assertNotIn("remove", log)
                self.assertEqual(programs.files_below(self.run_folder() / "checkpoints"), before)
        programs.run("train", *self.words("steps=6"), env=self.disk(f"read:nowhere:{errno.EIO}"))  # the control

    def test_a_disk_that_is_full_for_a_while(self):
        full = self.folder / "full"
        full.write_text("")
        process = self.start("steps=100000", LD_PRELOAD=FAULTY_DISK, MICRODIT_FAULT=f"write:shard_:{errno.ENOSPC}",
                             MICRODIT_FAULT_WHILE=full)
        wait_for(lambda: "could not be written" in self.log(), "a failed checkpoint")
        steps = self.steps_done()
        wait_for(lambda: self.steps_done() > steps + 4, "the training to go on")
        self.assertEqual([p for p in (self.run_folder() / "checkpoints").iterdir() if p.name.startswith("step_")], [])
        full.unlink()
        wait_for(lambda: list((self.run_folder() / "checkpoints").glob("step_*")), "a checkpoint, now that there is room")
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(process.wait(timeout=60), programs.REQUEUE, self.log())

    def test_a_disk_that_stays_full(self):
        log = programs.run("train", *self.words("steps=4"), expect=programs.FAILED,
                           env=self.disk(f"write:shard_:{errno.ENOSPC}"))
        self.assertIn("No space left on device", log)

    def test_logs_and_pictures_that_cannot_be_written(self):
        for rule in (f"write:metrics.jsonl:{errno.ENOSPC}", f"write:tfevents:{errno.EIO}", f"write:step_0000002.png:{errno.ENOSPC}",
                     f"write:report.html:{errno.EDQUOT}"):
            with self.subTest(rule=rule):
                shutil.rmtree(self.run_folder(), ignore_errors=True)
                log = programs.run("train", *self.words("steps=4", "sampling.every_steps=2", "sampling.steps=2"), env=self.disk(rule))
                self.assertIn("warning:", log)
                self.assertTrue(programs.checkpoint(self.run_folder(), 4).exists())

    def test_a_stop_is_seen_while_painting(self):
        process = self.start("steps=100000", "sampling.every_steps=3", "sampling.steps=10000", "sampling.prompts=[red heart]")
        wait_for(lambda: self.steps_done() == 3, "the first picture to be begun")
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(process.wait(timeout=60), programs.REQUEUE, self.log())
        self.assertFalse((self.run_folder() / "samples/step_0000003.png").exists())

    def test_the_others_wait_while_rank_0_measures(self):
        """What a codec is worth takes longer than watchdog_s, and only rank 0 measures it."""
        programs.need_mpi()
        words = ["--config", SOURCE / "configs/train/emoji_codec.yaml", f"data=[{{dataset: {programs.DATASET}}}]",
                 f"runs={self.folder}", "name=codec", "steps=2", "batch_size=2", "size=192", "picture_every_steps=0",
                 "threads_per_rank=1", "watchdog_s=10", "checkpoint.every_minutes=0"]
        programs.run("train_codec", *words, ranks=2)
        self.assertTrue((self.folder / "codec/codec/config.json").exists())

    def test_one_training_at_a_time(self):
        process = self.start("steps=100000")
        wait_for(lambda: self.steps_done() > 1, "the first steps")
        log = programs.run("train", *self.words("steps=100000"), expect=programs.USER_MISTAKE)
        self.assertIn(f"process {process.pid}", log)
        self.assertIn("MICRODIT_TAKE_OVER=1", log)
        steps = self.steps_done()
        wait_for(lambda: self.steps_done() > steps, "the first training to go on")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=60), programs.REQUEUE)


if __name__ == "__main__":
    programs.need_data()
    unittest.main()
