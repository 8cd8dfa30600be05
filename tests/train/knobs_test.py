#!/usr/bin/env python3
"""Training settings through their YAML keys: each changes what it says and nothing else, and those that may change at a resume do."""
import json
import math
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

STEPS = 6


class Knobs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_knobs_")
        cls.folder = pathlib.Path(cls.scratch.name)
        cls.plain = cls.train("plain")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    @classmethod
    def train(cls, name, *overrides, steps=STEPS, **options):
        words = programs.train_words(cls.folder, name, f"steps={steps}", "checkpoint.every_steps=3", "schedule.decay_steps=100",
                                     "optimizer.clip_norm=0", *overrides)
        cls.log = programs.run("train", *words, **options)
        return cls.folder / name

    def difference(self, other, key="loss", first=1, last=STEPS):
        return programs.greatest_difference(self.plain, other, first, last, key)

    def test_microbatches_add_up_to_the_batch(self):
        for micro in (1, 3, 4):  # 3: the last slice is smaller
            other = self.train(f"micro_{micro}", f"microbatch_size={micro}")
            self.assertLess(self.difference(other), 1e-5, micro)
            self.assertLess(self.difference(other, "grad_norm"), 1e-4, micro)
        self.assertLess(self.difference(self.train("micro_2x2", "microbatch_size=3", ranks=2)), 1e-5)

    def test_masked_microbatches_too(self):
        whole = self.train("masked", "mask_ratio=0.75")
        parts = self.train("masked_micro", "mask_ratio=0.75", "microbatch_size=3")
        self.assertLess(programs.greatest_difference(whole, parts, 1, STEPS), 1e-5)

    def test_buckets_change_no_result(self):
        other = self.train("buckets", "bucket_mb=1", ranks=2)
        self.assertLess(self.difference(other), 1e-5)

    def test_the_optimizer_in_torchs_operations_is_the_same(self):
        runs = [self.train(f"kernels_{kernels}", f"kernels={kernels}", "ema.decay=0.9") for kernels in ("fused", "reference")]
        fused, reference = (programs.read_checkpoint(programs.checkpoint(run, STEPS)) for run in runs)
        for name, (_, values) in fused.items():
            pairs = [(a, b) for (a,), (b,) in zip(struct.iter_unpack("<f", values), struct.iter_unpack("<f", reference[name][1]))]
            self.assertLessEqual(math.sqrt(sum((a - b) ** 2 for a, b in pairs)), 1e-5 * math.sqrt(sum(b * b for _, b in pairs)), name)
        self.assertNotEqual(fused, reference)  # torch's square root on a CPU rounds otherwise: both ways were taken

    def test_bf16_is_near_and_not_equal(self):
        other = self.train("bf16", "precision=bf16")
        self.assertGreater(self.difference(other), 1e-6)
        self.assertLess(self.difference(other, first=1, last=1), 0.03)

    def test_clip_norm_bounds_the_update(self):
        """AdamW forgets the gradient's scale unless eps is large: then a clipped first step is shorter by the clip factor."""
        def first_step(name, clip):
            run = self.train(name, f"optimizer.clip_norm={clip}", "optimizer.eps=1000", "optimizer.weight_decay=0", steps=1)
            return programs.metrics(run)[0]["grad_norm"], programs.read_checkpoint(programs.checkpoint(run, 1))

        norm, free = first_step("unclipped", 0)
        clipped_norm, clipped = first_step("clipped", norm / 10)
        self.assertEqual(norm, clipped_norm)  # the norm that is told is the gradient's own
        names = [n for n in free if n.startswith("exp_avg/")]
        total = [math.sqrt(sum(v * v for n in names for (v,) in struct.iter_unpack("<f", t[n][1]))) for t in (free, clipped)]
        self.assertAlmostEqual(total[1] / total[0], 0.1, delta=1e-3)

    def test_roles_have_their_own_rate_and_decay(self):
        start, plain = (programs.read_checkpoint(programs.checkpoint(run, 3)) for run in (
            self.train("role_start", "optimizer.lr=0", "model.depth=3", steps=3), self.train("role_plain", "model.depth=3", steps=3)))
        expert = self.train("role_expert", "optimizer.groups={expert: {lr: 0}}", "model.depth=3", steps=3)
        weights = {name: data for name, (_, data) in programs.read_checkpoint(programs.checkpoint(expert, 3)).items()
                   if name.startswith("weights/")}
        experts = [name for name in weights if len(start[name][0]) == 3]  # stacked matrices
        self.assertTrue(experts)
        changed = {name for name, data in weights.items() if data != start[name][1]}
        self.assertFalse(changed & set(experts))
        self.assertGreater(len(changed), len(weights) // 2)  # some have no gradient before adaLN's zeros have moved
        decayed = self.train("role_decay", "optimizer={weight_decay: 0.5, groups: {norm: {weight_decay: 0}, bias: {weight_decay: 0}}}", steps=3)
        all_decayed = self.train("role_all_decay", "optimizer.weight_decay=0.5", steps=3)
        a, b = (programs.read_checkpoint(programs.checkpoint(run, 3)) for run in (decayed, all_decayed))
        norms = [name for name, (shape, _) in a.items() if name.startswith("weights/") and len(shape) == 1 and not name.endswith("bias")]
        self.assertTrue(norms)
        self.assertTrue(all(a[name] != b[name] for name in norms))
        # A run that is older than the key goes on, and its settings do not name it.
        self.assertNotIn("groups", json.loads((self.folder / "role_plain/settings.json").read_text())["optimizer"])
        with self.assertRaisesRegex(AssertionError, "optimizer.groups"):
            self.train("role_plain", "optimizer.groups={expert: {lr: 0.5}}", "model.depth=3", steps=4)
        self.assertNotEqual(plain, start)

    def test_masters_are_fp32_where_the_weights_are_bf16(self):
        """Steps far below the rounding of bf16 add up."""
        small = ["precision=bf16", "optimizer.lr=1.0e-6", "optimizer.weight_decay=0", "schedule.warmup_steps=0", "schedule.kind=constant"]
        first, last = (programs.read_checkpoint(programs.checkpoint(self.train("masters", *small, steps=6), step)) for step in (3, 6))
        moved = held = 0
        for name in first:
            if not name.startswith("weights/"):
                continue
            for (a,), (b,) in zip(struct.iter_unpack("<f", first[name][1]), struct.iter_unpack("<f", last[name][1])):
                moved += a != b
                held += struct.pack("<f", b)[:2] == b"\0\0"  # a bf16 has no more bits
        self.assertGreater(moved, 10 * held)

    def test_caption_drop(self):
        none, all_of_them = self.train("no_drop", "caption_drop=0"), self.train("all_drop", "caption_drop=1")
        self.assertGreater(programs.greatest_difference(none, all_of_them, 2, STEPS), 0)
        # With every caption dropped it does not matter which captions there are.
        other = self.train("all_drop_other", "caption_drop=1", "captions=[name_and_keywords]")
        self.assertEqual(programs.greatest_difference(all_of_them, other, 1, STEPS), 0)

    def test_a_rate_that_climbs_again(self):
        """As torch's CosineAnnealingLR with T_max 2 and eta_min 1e-4, which nano-diffusion takes; `cosine` stays at the bottom."""
        rates = {}
        for kind in ("cosine", "cosine_cycle"):
            run = self.train(kind, f"schedule={{kind: {kind}, warmup_steps: 0, decay_steps: 2, final_factor: 0.1}}", "optimizer.lr=1.0e-3")
            rates[kind] = [line["lr"] for line in programs.metrics(run)]
        for kind, expected in (("cosine", [10, 5.5, 1, 1, 1, 1]), ("cosine_cycle", [10, 5.5, 1, 5.5, 10, 5.5])):
            self.assertEqual(len(rates[kind]), STEPS)
            for found, rate in zip(rates[kind], expected):
                self.assertAlmostEqual(found, rate * 1e-4, delta=1e-12)

    def test_steps_that_are_not_finite(self):
        words = ["objective.sigma_data=1e-30", "log_every_steps=1"]
        self.train("nan", *words, "max_skipped_steps=2", expect=programs.FAILED)
        self.assertRegex(self.log, r"step 3: loss -?(nan|inf), .*not finite for 3 step\(s\) in a row, and max_skipped_steps=2: look at the data")
        self.assertEqual([line.get("skipped") for line in programs.metrics(self.folder / "nan")], [True] * 3)
        self.train("nan_at_once", *words, "max_skipped_steps=0", expect=programs.FAILED)  # as nano-diffusion does
        self.assertRegex(self.log, r"step 1: loss -?(nan|inf), .*max_skipped_steps=0")
        # A run that was well until its settings changed: where to begin anew.
        well = self.train("well", "max_skipped_steps=0", steps=3)
        for file in (well / "settings.json", well / "facts.json"):
            content = json.loads(file.read_text())
            content["objective"]["sigma_data"] = 1e-30
            file.write_text(json.dumps(content))
        self.train("well", *words, "max_skipped_steps=0", expect=programs.FAILED)
        self.assertRegex(self.log, rf"train anew from step 3, which is good \(init.from={well}\) with a lower optimizer.lr")

    def test_init_with_and_without_the_optimizer(self):
        start = f"init.from={programs.checkpoint(self.plain, STEPS)}"
        weights = self.train("init_weights", start, "init.load=weights", steps=3)
        both = self.train("init_both", start, "init.load=weights+optimizer", steps=3)
        self.assertEqual(programs.greatest_difference(weights, both, 1, 2), 0)  # the same weights; the first rate is 0
        self.assertGreater(programs.greatest_difference(weights, both, 3, 3), 0)  # other moments
        updates = [programs.manifest(programs.checkpoint(r, 3))["state"]["updates"] for r in (weights, both)]
        self.assertEqual(updates, [3, STEPS + 3])

    def test_init_from_files_of_either_format(self):
        runs = {}
        for kind in ("safetensors", "pt"):
            file = self.folder / f"weights.{kind}"
            programs.run("convert", "--input", programs.checkpoint(self.plain, STEPS), "--output", file, "weights=raw")
            runs[kind] = self.train(f"init_{kind}", f"init.from={file}", "init.load=weights", steps=3)
        self.assertEqual(programs.greatest_difference(runs["safetensors"], runs["pt"], 1, 3), 0)
        from_checkpoint = self.train("init_step", f"init.from={programs.checkpoint(self.plain, STEPS)}", "init.load=weights", steps=3)
        self.assertEqual(programs.greatest_difference(from_checkpoint, runs["pt"], 1, 1), 0)

    def test_an_unfinished_run_is_no_start(self):
        self.train("unfinished", steps=3)
        settings = self.folder / "unfinished/settings.json"
        settings.write_text(json.dumps({**json.loads(settings.read_text()), "steps": 50}))
        start = f"init.from={self.folder / 'unfinished'}"
        with self.assertRaisesRegex(AssertionError, "step 3 of 50.*init.unfinished=true"):
            self.train("after", start, steps=1)
        self.assertFalse((self.folder / "after").exists())
        self.train("after", start, "init.unfinished=true", steps=1)
        self.train("after_step", f"init.from={programs.checkpoint(self.folder / 'unfinished', 3)}", steps=1)

    def test_checkpoints_by_time(self):
        run = self.train("minutes", "checkpoint.every_steps=1000", "checkpoint.every_minutes=0.0001", "checkpoint.keep_last=0")
        self.assertGreater(len(list((run / "checkpoints").glob("step_*"))), 1)

    def test_prefetch_threads_change_nothing(self):
        self.assertEqual(self.difference(self.train("threads", "prefetch_threads=5")), 0)

    def test_a_resume_may_change_what_only_rounds(self):
        run = self.train("resumed", steps=3)
        self.train("resumed", "microbatch_size=2", "bucket_mb=2", "threads_per_rank=2", "prefetch_threads=1", "precision=bf16")
        for key in ("microbatch_size: 0 -> 2", "bucket_mb: 160 -> 2", "threads_per_rank: 1 -> 2", 'precision: "fp32" -> "bf16"'):
            self.assertRegex(self.log, f"warning: .*{key}")
        self.assertNotRegex(self.log, "warning: .*prefetch_threads")
        self.assertEqual([m["step"] for m in programs.metrics(run)], list(range(1, STEPS + 1)))

    def test_every_life_is_written_down(self):
        run = self.train("lives", steps=3)
        self.train("lives", ranks=2)
        lives = [json.loads(line) for line in (run / "lives.jsonl").read_text().splitlines()]
        self.assertEqual([life["ranks"] for life in lives], [1, 2])
        for life in lives:
            self.assertRegex(life["build"], r"microdit .*, revision \w+.*, LibTorch \d")
            self.assertIn(f"steps={STEPS}" if life is lives[1] else "steps=3", life["words"])
            self.assertRegex(life["time"], r"^\d{4}-\d\d-\d\dT[\d:]+Z$")

    def test_check_settings(self):
        def ask(*overrides, expect=0):
            words = programs.train_words(self.folder, "plain", "checkpoint.every_steps=3", "schedule.decay_steps=100",
                                         "optimizer.clip_norm=0", *overrides)
            return programs.run("train", *words, "--check-settings", expect=expect, data=self.folder / "no_data")

        before = programs.files_below(self.plain)
        ask("steps=7")
        self.assertIn("schedule.warmup_steps: 5 -> 6",
                      ask("steps=7", "schedule.warmup_steps=6", expect=programs.USER_MISTAKE))
        ask("name=another", "schedule.warmup_steps=6")  # a run that does not exist may start
        self.assertFalse((self.folder / "another").exists())
        self.assertEqual(programs.files_below(self.plain), before)

    def test_as_many_threads_as_the_surroundings_say(self):
        words = programs.train_words(self.folder, "plain", f"steps={STEPS}", "checkpoint.every_steps=3", "schedule.decay_steps=100",
                                     "optimizer.clip_norm=0", "threads_per_rank=0", "--check-settings")
        cores = len(os.sched_getaffinity(0))
        for said, taken, warnings in ((2 * cores, 2 * cores, 1), (5000, 1024, 2), (99999999999, 1024, 2), (10 ** 30, 1024, 2)):
            log = programs.run("train", *words, env=programs.environment(OMP_NUM_THREADS=said))
            self.assertIn(f"threads_per_rank: 1 -> {taken} ", log)
            self.assertEqual(log.count("warning: OMP_NUM_THREADS"), warnings, log)
            self.assertIn(f"{taken} threads on the {cores} core", log)
        for said in (1, "-3", "0", "none", "1,5000"):
            log = programs.run("train", *words, env=programs.environment(OMP_NUM_THREADS=said))
            self.assertNotIn("warning: OMP_NUM_THREADS", log)  # OpenMP itself speaks of what is no number

    def test_dry_run_needs_no_data_and_no_gpu(self):
        def ask(*overrides, expect=0, **options):
            words = programs.train_words(self.folder, "dry", *overrides)
            return programs.run("train", *words, "--dry-run", expect=expect, **options)

        device = f"device={'cuda' if programs.has_cuda() else 'cpu'}"
        log = ask(device, "sampling.every_steps=2")
        for word in ("parameters", "checkpoints:", "free", "dry run: nothing was written", *(["GPUs"] if "cuda" in device else [])):
            self.assertIn(word, log)
        self.assertIn("is not there yet", ask(device, data=self.folder / "no_data"))
        self.assertIn("batch_size=7", ask("batch_size=7", ranks=2, expect=programs.USER_MISTAKE))
        (self.folder / "file").write_text("")
        self.assertIn("runs=", ask(f"runs={self.folder}/file", expect=programs.USER_MISTAKE))
        self.assertFalse((self.folder / "dry").exists())

    def test_a_dry_run_knows_what_a_rank_will_hold(self):
        for ranks, words in ((1, []), (2, ["sharding=none", "ema.decay=0.9"]), (2, ["sharding=full", "bucket_mb=1", "precision=bf16", "model.dim=128"]),
                             (4, ["sharding=full", "scope=node", "ranks_per_node=2", "microbatch_size=1"])):
            held = []
            for extra in (["--dry-run"], []):
                log = programs.run("train", *programs.train_words(self.folder, f"held_{ranks}_{len(words)}", "steps=1", *words), *extra, ranks=ranks)
                held.append(re.search("memory of a rank: (.* and activations)", log)[1])
                flops = re.search(r"([\d.]+) GFLOP to train(?: an image)?|an image takes ([\d.]+) GFLOP", log)
                held.append(float(flops[1] or flops[2]))
            self.assertEqual(held[0], held[2], words)
            self.assertAlmostEqual(held[1] / held[3], 1, delta=0.01)

    def test_metrics_say_how_fast_and_why(self):
        lines = programs.metrics(self.train("speed", steps=70))
        for line in lines:
            self.assertTrue({"step_s", "wait_s", "images_per_s", "memory_gb", "memory_peak_gb"} <= set(line), line)
            self.assertLessEqual(line["wait_s"], line["step_s"] + 1e-4)
            self.assertLessEqual(line["memory_gb"], line["memory_peak_gb"] + 1e-3)
            self.assertEqual("loss_levels" in line, line["step"] % 25 == 0 or line["step"] == 70)
        self.assertTrue(any(line.get("checkpoint_s", 0) > 0 for line in lines))
        # Losses by noise level: the mean over the levels, weighed by how often they came, is the mean loss.
        levels = [line["loss_levels"] for line in lines if "loss_levels" in line]
        self.assertEqual([len(one) for one in levels], [8, 8, 8])
        mean = sum(line["loss"] for line in lines[:25]) / 25
        self.assertAlmostEqual(sum(levels[0]) / 8 / mean, 1, delta=0.25)
        self.assertNotIn("comm_s", lines[0])  # one rank waits for nobody
        self.assertNotIn("slowest", lines[49])
        # The rate is that of the last 50 steps, not of the whole life.
        window = 50 * 8 / sum(line["step_s"] for line in lines[-50:])
        self.assertAlmostEqual(lines[-1]["images_per_s"] / window, 1, delta=0.02)

    def test_metrics_of_several_ranks_say_who_waits_for_whom(self):
        lines = programs.metrics(self.train("speed_of_two", steps=50, ranks=2))
        self.assertTrue(all(0 < line["comm_s"] <= line["step_s"] + 1e-3 for line in lines), lines[1])
        slowest = lines[49]["slowest"]
        self.assertIn(slowest["rank"], (0, 1))
        self.assertTrue(slowest["host"])
        self.assertGreaterEqual(slowest["of_median"], 1)
        self.assertRegex(self.log, r"data wait [\d.]+ %  comm [\d.]+ %")

    def test_the_end_of_the_job_is_told(self):
        words = programs.train_words(self.folder, "job_end", "steps=100000", "log_every_steps=1", "checkpoint.every_steps=3")
        process = subprocess.Popen(programs.command("train", *words), cwd=SOURCE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   env=programs.environment(SLURM_JOB_END_TIME=int(time.time()) + 60))
        try:
            for line in process.stdout:
                if "the job ends in" in line:
                    self.assertRegex(line, r"left; the job ends in (1 min 00|\d+) s, near step \d+")
                    break
            else:
                self.fail("the log does not say that the job ends first")
        finally:
            process.kill()
            process.communicate()

    def test_tensorboard_after_a_resume(self):
        try:
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        except ImportError:
            self.skipTest("tensorboard is not installed in this Python")
        run = self.train("events", "log_every_steps=1", steps=5)
        shutil.rmtree(programs.checkpoint(run, 5))  # as if killed behind step 3's checkpoint
        self.train("events", "log_every_steps=1")
        events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
        events.Reload()
        self.assertEqual([e.step for e in events.Scalars("loss/train")], list(range(1, STEPS + 1)))

    def test_the_log_of_a_batch_job_is_short(self):
        self.train("quiet", "log_every_steps=1", steps=40)
        self.assertLessEqual(sum("images/s" in line for line in self.log.splitlines()), 4, self.log)


if __name__ == "__main__":
    programs.need_data()
    programs.need_mpi()
    unittest.main()
