#!/usr/bin/env python3
"""Weights are what their SHA-256 says: data root, repository and working folder may all be others than at training time."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

DATASET = programs.DATASET


class Moved(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_moved_")
        cls.folder = pathlib.Path(cls.scratch.name)
        cls.data = cls.folder / "data"
        shutil.copytree(programs.DATA / "samples" / DATASET, cls.data / "samples" / DATASET)
        shutil.copytree((programs.DATA / "weights/all-MiniLM-L6-v2").resolve(), cls.data / "weights/all-MiniLM-L6-v2")
        cls.entry = ["--config", SOURCE / "configs/datasets/emoji.yaml", f"name={DATASET}",
                     f"source.urls=[file://{programs.DATA}/made/emoji/emoji-0003.tar]"]
        programs.run("precompute", *cls.entry, data=cls.data)
        cls.words = programs.train_words(cls.folder / "runs", "moved", "captions=[name]", "sampling.prompts=[pizza]")
        programs.run("train", *cls.words, "steps=2", data=cls.data)
        cls.run_folder = cls.folder / "runs/moved"

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def test_facts_hold_no_place_of_this_machine(self):
        facts = json.loads((self.run_folder / "facts.json").read_text())
        self.assertEqual(facts["codec"]["folder"], "assets/emoji_codec")
        self.assertEqual(facts["text_encoder"]["folder"], "weights/all-MiniLM-L6-v2")

    def test_everything_works_elsewhere(self):
        elsewhere, moved = self.folder / "elsewhere", self.folder / "another/root"
        elsewhere.mkdir()
        moved.parent.mkdir()
        os.rename(self.data, moved)
        self.addCleanup(os.rename, moved, self.data)
        options = {"data": moved, "cwd": elsewhere}
        programs.run("generate", "--run", self.run_folder, "--prompt", "pizza", "num_images=1", "steps=1", **options)
        programs.run("evaluate", "--run", self.run_folder, "prompts=2", "steps=1", "loss_draws=1", **options)
        log = programs.run("train", *self.words, "steps=4", "sampling.every_steps=4", "sampling.steps=2", **options)
        self.assertIn("step_0000002", log)
        self.assertEqual([m["step"] for m in programs.metrics(self.run_folder)], [1, 2, 3, 4])
        # Nothing to do, and nothing refused: the folder's facts name the same weights.
        latents = programs.files_below(moved / "latents" / DATASET)
        recipe = programs.write_recipe(self.folder / "recipe.yaml", images={"codec": SOURCE / "assets/emoji_codec"})
        log = programs.run("precompute", *self.entry, f"recipe={recipe}", **options)
        self.assertNotIn("encoded", log)
        self.assertEqual(programs.files_below(moved / "latents" / DATASET), latents)

    def test_another_repository(self):
        """The programs alone, with assets/ two folders above them, as after a move of the repository."""
        there = self.folder / "repository"
        (there / "build/bin").mkdir(parents=True)
        for name in ("generate", "probe"):
            shutil.copy(programs.BIN / name, there / "build/bin")
        words = [there / "build/bin/generate", "--run", self.run_folder, "--prompt", "rocket", "num_images=1", "steps=1"]
        done = self.start(words)
        self.assertEqual(done.returncode, programs.USER_MISTAKE, done.stdout)
        for phrase in ("codec", "SHA-256", "emoji_codec", "cp -r"):
            self.assertIn(phrase, done.stdout)
        other = there / "assets/emoji_codec"
        shutil.copytree(SOURCE / "assets/emoji_codec", other)
        self.assertEqual(self.start(words).returncode, 0)
        weights = other / "diffusion_pytorch_model.safetensors"
        programs.flip_bit(weights, weights.stat().st_size - 1)
        done = self.start(words)
        self.assertEqual(done.returncode, programs.USER_MISTAKE, done.stdout)
        self.assertIn("other weights", done.stdout)
        shutil.copytree(SOURCE / "assets/emoji_codec", self.data / "weights/emoji_codec")
        self.assertEqual(self.start(words).returncode, 0)
        os.rename(self.data / "weights/emoji_codec", self.run_folder / "emoji_codec")
        self.assertEqual(self.start(words).returncode, 0)

    def start(self, words):
        return subprocess.run([str(word) for word in words], env=programs.environment(self.data), cwd=self.folder, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


if __name__ == "__main__":
    programs.need_data()
    unittest.main(verbosity=2)
