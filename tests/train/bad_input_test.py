#!/usr/bin/env python3
"""Wrong settings, damaged data and damaged checkpoints given to train: one message that says where and what, exit 2 (1 where
the user is not to blame), and nothing half-written."""
import os
import pathlib
import resource
import shutil
import signal
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

NAME = "bad"


class Folder(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_bad_")
        cls.folder = pathlib.Path(cls.scratch.name)
        # One good run of two checkpoints, which tests copy.
        cls.good_root = cls.folder / "good"
        programs.run("train", *cls.words(cls.good_root, "steps=4"))

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    @staticmethod
    def words(runs, *overrides):
        return programs.train_words(runs, NAME, "checkpoint.every_steps=2", "schedule.decay_steps=6", *overrides)

    def copy_good(self, name):
        """A copy of the good run under its own `runs` folder."""
        shutil.copytree(self.good_root, self.folder / name)
        return self.folder / name

    def refused(self, words, *phrases, code=programs.USER_MISTAKE, **options):
        log = programs.run("train", *words, expect=code, **options)
        errors = [line for line in log.splitlines() if "error:" in line]
        self.assertTrue(errors, f"no error line:\n{log}")
        for phrase in phrases:
            self.assertIn(phrase, log)
        return log


class Settings(Folder):
    """A wrong start leaves no run folder."""

    def start(self, *overrides, phrases, **options):
        runs = self.folder / "fresh"
        with self.subTest(overrides=overrides):
            self.refused(self.words(runs, "steps=2", *overrides), *phrases, **options)
            self.assertFalse((runs / NAME).exists(), f"{overrides}: a run folder was left behind")
            shutil.rmtree(runs, ignore_errors=True)

    def test_values(self):
        self.start("stepz=5", phrases=["stepz", "steps"])
        self.start("optimizer.learning_rate=1", phrases=["optimizer.learning_rate", "did you mean 'lr'"])
        self.start("learning_rate=1", phrases=["learning_rate", "did you mean 'optimizer.lr'"])
        self.start("cfg=3", phrases=["cfg", "did you mean 'sampling.guidance'"])
        self.start("epochs=3", phrases=["epochs", "did you mean 'steps'"])
        self.start("steps=many", phrases=["steps", "many"])
        self.start("steps=0", phrases=["steps", "0"])
        self.start("mask_ratio=1.5", phrases=["mask_ratio", "1.5"])
        self.start("precision=fp8", phrases=["precision", "fp8", "bf16"])
        self.start("precision=fp16", phrases=["precision: 'fp16' is not one of: fp32, bf16; nothing is computed in fp16", "take bf16"])
        self.start("schedule.kind=cosine_cycles", phrases=["schedule.kind", "cosine_cycle"])
        self.start("max_skipped_steps=-1", phrases=["max_skipped_steps", "-1"])
        self.start("validation={every_steps: 1, patience: 1}", phrases=["validation.patience", "take 2 or more"])
        self.start("optimizer.betas=[0.9]", phrases=["betas"])
        self.start("optimizer.groups={experts: {lr: 1}}", phrases=["optimizer.groups.experts", "expert"])
        self.start("recompute=every_0", phrases=["recompute", "every_0", "every_2"])
        self.start("sharding=none", "scope=node", phrases=["scope", "no effect", "sharding=grad_op"])
        self.start("sharding=full", "recompute=blocks", phrases=["recompute", "no effect"])
        self.start("ranks_per_node=2", phrases=["ranks_per_node=2", "does not divide the 1 ranks"])
        self.start("name=a/b", phrases=["name", "slash"])
        self.start("data=[]", phrases=["data"])
        self.start("objective.path=edn", phrases=["path", "edn", "edm"])
        self.start("objective.prediction=v", phrases=["prediction", "v", "there is: edm, eps, x0"])
        self.start("objective.path=flow", phrases=["objective.prediction", "edm", "there is: velocity, x0"])
        self.start("model.kind=microdot", phrases=["model.kind", "microdot", "microdit"])
        self.start("just_a_word", phrases=["just_a_word", "key=value"])

    def test_all_at_once(self):
        self.start("stepz=5", "mask_ratio=2", "precision=fp8", phrases=["stepz", "mask_ratio", "precision"])

    def test_data(self):
        self.start("data=[{dataset: nothing}]", phrases=["latents/nothing"])
        self.start("size=96", phrases=["96", "64", "precompute"])
        self.start("captions=[title]", phrases=["captions: ", "title", "name"])
        self.start("model.in_channels=7", phrases=["model.in_channels", "7", "4"])
        self.start("model.head_dim=7", phrases=["head_dim"])

    def test_ranks(self):
        self.start("batch_size=7", phrases=["batch_size=7", "2 ranks"], ranks=2)

    def test_files(self):
        self.refused(["--config", self.folder / "none.yaml"], "none.yaml")
        self.refused(["steps=2"], "--config")
        bad = self.folder / "bad.yaml"
        bad.write_text(f"extends: {SOURCE}/configs/train/emoji.yaml\nname: x\nstepz: 3\nmask_ratio: two\n")
        self.refused(["--config", bad], "bad.yaml:3", "stepz", "bad.yaml:4", "two")
        bad.write_text("name: [x\n")
        self.refused(["--config", bad], "bad.yaml")
        bad.write_text("extends: nowhere.yaml\nname: x\n")
        self.refused(["--config", bad], "nowhere.yaml")

    def test_the_control_starts(self):
        programs.run("train", *self.words(self.folder / "control", "steps=1"))
        self.assertTrue((self.folder / "control" / NAME / "report.html").exists())


class Start(Folder):
    def test_init(self):
        other = self.folder / "other.safetensors"
        programs.run("convert", "--input", self.good_root / NAME, "--output", other, "weights=raw")
        cut = self.folder / "cut.safetensors"
        cut.write_bytes(other.read_bytes()[:-100])
        wider = "model.dim=64"
        for overrides, phrases in (
                ([f"init.from={self.folder}/nowhere"], ["nowhere"]),
                ([f"init.from={self.folder}/nowhere.safetensors"], ["nowhere.safetensors"]),
                ([f"init.from={cut}"], ["cut.safetensors"]),
                ([f"init.from={other}", "init.load=all"], ["other.safetensors", "init.load=weights"]),
                ([f"init.from={other}", wider], ["other.safetensors", "shape"]),
                ([f"init.from={self.good_root / NAME}", wider], ["step_0000004", "shape"])):
            with self.subTest(overrides=overrides):
                runs = self.folder / "init"
                self.refused(self.words(runs, "steps=1", *overrides), *phrases)
                self.assertFalse((runs / NAME).exists(), "a run that never began left its folder")
                shutil.rmtree(runs, ignore_errors=True)
        programs.run("train", *self.words(self.folder / "init_control", "steps=1", f"init.from={other}"))

    def test_changed_settings(self):
        runs = self.copy_good("changed")
        before = programs.files_below(runs)
        self.refused(self.words(runs, "steps=6", "schedule.warmup_steps=6", "mask_ratio=0.5"),
                     "schedule.warmup_steps: 5 -> 6", "mask_ratio: 0.0 -> 0.5")
        self.assertEqual(programs.files_below(runs), before)
        programs.run("train", *self.words(runs, "steps=5", "log_every_steps=3", "sharding=none"))  # harmless ones may change

    def test_checkpoint_of_another_model(self):
        runs, wider = self.copy_good("another"), self.folder / "wider"
        programs.run("train", *self.words(wider, "steps=6", "model.dim=64"))
        shutil.copytree(wider / NAME / "checkpoints/step_0000006", runs / NAME / "checkpoints/step_0000006")
        self.refused(self.words(runs, "steps=8"), "step_0000006", "shape")


class Damage(Folder):
    def shard_of(self, run, step):
        return next(programs.checkpoint(run, step).glob("*.safetensors"))

    def test_newest_checkpoint(self):
        runs = self.copy_good("walk_back")
        shard = self.shard_of(runs / NAME, 4)
        programs.flip_bit(shard, shard.stat().st_size // 2)
        log = programs.run("train", *self.words(runs, "steps=6"))
        self.assertIn("step_0000004", log)
        self.assertIn("damaged", log)
        self.assertIn("(step 2)", log)
        whole = self.folder / "whole"
        shutil.copytree(self.good_root, whole)
        programs.run("train", *self.words(whole, "steps=6"))
        final = [programs.files_below(programs.checkpoint(r / NAME, 6)) for r in (runs, whole)]
        self.assertEqual(*final)
        self.assertEqual([m["step"] for m in programs.metrics(runs / NAME)], list(range(1, 7)))

    def test_every_checkpoint(self):
        runs = self.copy_good("all_damaged")
        for step in (2, 4):
            shard = self.shard_of(runs / NAME, step)
            programs.flip_bit(shard, shard.stat().st_size // 2)
        before = programs.files_below(runs / NAME / "checkpoints")
        self.refused(self.words(runs, "steps=6"), "step_0000004", "step_0000002", "damaged")
        self.assertEqual(programs.files_below(runs / NAME / "checkpoints"), before)

    def test_manifest_of_a_checkpoint(self):
        runs = self.copy_good("manifest")
        path = programs.checkpoint(runs / NAME, 4) / "manifest.json"
        programs.flip_bit(path, path.stat().st_size // 2)
        log = programs.run("train", *self.words(runs, "steps=5"))
        self.assertIn("(step 2)", log)

    def damaged_data(self, name):
        """A copy of the latents in a data root of its own."""
        root = self.folder / name
        shutil.copytree(programs.DATA / "latents", root / "latents")
        return root, next((root / programs.LATENTS.relative_to(programs.DATA)).glob("*.images.h5"))

    def test_latents(self):
        try:
            import h5py
        except ImportError:
            self.skipTest("h5py is not installed in this Python")
        root, shard = self.damaged_data("flipped")
        with h5py.File(shard) as file:
            sample = next(i for i, split in enumerate(file["split"][()]) if split == 0 and i >= 5)
            column = file["latents_64"]
            offset = column.id.get_offset() + sample * column[0].nbytes + 9
        words = self.words(self.folder / "flip", "steps=10", "batch_size=64")  # more than an epoch: every sample is read
        programs.run("train", *words, data=root)  # the control: the copy is good
        shutil.rmtree(self.folder / "flip")
        programs.flip_bit(shard, offset)
        self.refused([*words, "reading.max_bad_fraction=0"], shard.name, f"sample {sample}", data=root)
        # By default one bad row ends nothing: it is said, counted, and a neighbour is shown.
        log = programs.run("train", *words, data=root)
        self.assertIn("bad row 1 so far", log)
        self.assertIn(f"sample {sample}", log)
        self.assertGreaterEqual(programs.metrics(self.folder / "flip" / NAME)[-1]["bad_rows"], 1)

    def test_cut_latents(self):
        root, shard = self.damaged_data("cut")
        shard.write_bytes(shard.read_bytes()[:5000])
        self.refused(self.words(self.folder / "cut_run", "steps=2", "reading.max_bad_fraction=0"), shard.name, data=root)
        shard.unlink()
        self.refused(self.words(self.folder / "cut_run", "steps=2"), shard.name, data=root)
        # A new run reads the newest manifest, one that has begun its own generation's.
        for run, name in (("cut_new_run", "manifest.jsonl"), ("cut_run", "manifest.1.jsonl")):
            manifest = shard.parent / name
            programs.flip_bit(manifest, manifest.stat().st_size // 2)
            self.refused(self.words(self.folder / run, "steps=2"), name, data=root)


class FullDisk(Folder):
    def test_checkpoint_does_not_fit(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # write() then fails, as on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        runs = self.folder / "full"
        words = self.words(runs, "steps=4")
        log = self.refused(words, "checkpoints", code=programs.FAILED, preexec_fn=limit)
        self.assertIn("large", log)  # the system's own words: File too large
        self.assertEqual(list(runs.glob(f"{NAME}/checkpoints/step_*")), [])
        programs.run("train", *words)  # with room again the same command finishes, and cleans up
        self.assertEqual(sorted(p.name for p in (runs / NAME / "checkpoints").iterdir()), ["step_0000002", "step_0000004"])
        self.assertEqual(programs.files_below(programs.checkpoint(runs / NAME, 4)),
                         programs.files_below(programs.checkpoint(self.good_root / NAME, 4)))


if __name__ == "__main__":
    programs.need_data()
    unittest.main(verbosity=2)
