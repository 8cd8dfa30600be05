#!/usr/bin/env python3
"""What a run trains on: a grown folder is no other data, a changed one is; filters, limits, made-up data and captions by share;
mistakes are named."""
import errno
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path[:0] = [str(SOURCE / "tests"), str(SOURCE / "tests/eval")]
import programs  # noqa: E402

try:
    import made_latents
except ImportError as missing:
    programs.skip(f"{missing} (scripts/setup.sh --oracles makes .venv-oracles)")


class Data(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="microdit_data_")
        self.addCleanup(self.scratch.cleanup)
        self.root = pathlib.Path(self.scratch.name)
        self.latents = made_latents.make(self.root, "made", 100, 10)

    def train(self, *words, data="[{dataset: made}]", **options):
        return programs.run("train", *programs.train_words(self.root / "runs", "run", "captions=[name]", f"data={data}",
                                                           "schedule.decay_steps=6", *words), data=self.root, **options)

    def facts(self):
        return json.loads((self.root / "runs/run/facts.json").read_text())

    def losses(self):
        return [line["loss"] for line in programs.metrics(self.root / "runs/run")]

    def test_a_grown_folder_is_no_other_data(self):
        self.train("steps=4")
        whole = self.losses()
        begun = self.facts()["data"]
        self.assertEqual((begun[0]["generation"], begun[0]["rows"], begun[0]["recipe"]), (1, 90, made_latents.RECIPE))
        self.train("steps=2", "name=run2")
        made_latents.close(self.latents, ["made", "more"], 100, 10)
        self.train("steps=6")
        self.assertEqual(self.facts()["data"], begun)
        self.train("steps=4", "name=run2")
        again = [line["loss"] for line in programs.metrics(self.root / "runs/run2")]
        self.assertEqual(again, whole, "the order is that of the generation it began with")
        self.train("steps=1", "name=fresh")
        fresh = json.loads((self.root / "runs/fresh/facts.json").read_text())["data"][0]
        self.assertEqual((fresh["generation"], fresh["rows"]), (2, 180))

    def test_a_changed_folder_is_refused(self):
        self.train("steps=2")
        before = programs.files_below(self.root / "runs")
        for path in self.latents.glob("manifest.*"):
            path.unlink()
        made_latents.close(self.latents, ["made", "more"], 100, 10)  # generation 1 again, but another
        for words in ([], ["--dry-run"]):
            log = self.train("steps=4", *words, expect=programs.USER_MISTAKE)
            for phrase in ("made/emoji", "has changed since", "SHA-256", "90 samples then", "180 now", "name=..."):
                self.assertIn(phrase, log)
        self.assertEqual(programs.files_below(self.root / "runs"), before)

    def test_sources_that_filter(self):
        self.train("steps=1", data="[{dataset: made, min_side: 64, limit: 17}]")
        self.assertEqual(self.facts()["data"][0]["rows"], 17)
        log = self.train("steps=1", "name=none", data="[{dataset: made, min_side: 512}]", expect=programs.USER_MISTAKE)
        self.assertIn("512 pixels", log)
        log = self.train("steps=1", "name=none", data="[{dataset: made, min_side: 100}]", expect=programs.USER_MISTAKE)
        self.assertIn("0, 64, 512", log)

    def test_how_rows_are_read_changes_no_loss(self):
        self.train("steps=4")
        whole = self.losses()
        cache = self.root / "node"
        self.train("steps=4", "name=other", "reading.read_ahead=false", "reading.keep_pages=false", "reading.gap_kb=0",
                   f"reading.cache_dir={cache}", "reading.cache_gb=1")
        self.assertEqual([line["loss"] for line in programs.metrics(self.root / "runs/other")], whole)
        self.assertTrue(any(path.is_file() for path in cache.rglob("*")), "nothing was copied to the node")

    def test_data_that_fit_in_memory_are_brought_in(self):
        said = "2 files fit in memory"
        self.assertIn(said, self.train("steps=1"))
        for word in ("reading.preload=false", "shuffle_run=32", "reading.keep_pages=false"):
            self.assertNotIn(said, self.train("steps=1", f"name={word[:11]}", word))
        # Files are read whole: not for the few rows of them that are wanted.
        self.assertNotIn(said, self.train("steps=1", "name=few", data="[{dataset: made, limit: 9}]"))

    def test_made_up_data(self):
        self.train("steps=3", "captions=[]", data="[{synthetic: 1000}]")
        first = self.losses()
        self.assertEqual(len(first), 3)
        log = programs.run("generate", "--run", self.root / "runs/run", "--prompt", "a", data=self.root,
                           expect=programs.USER_MISTAKE)
        self.assertIn("names no codec", log)
        self.train("steps=2", "name=mix", data="[{synthetic: 50}, {dataset: made}]")
        facts = json.loads((self.root / "runs/mix/facts.json").read_text())
        self.assertEqual([d["rows"] for d in facts["data"]], [50, 90])
        self.assertEqual(facts["codec"]["kind"], "AutoencoderKL")

    def test_captions_by_share(self):
        self.train("steps=1", "captions={name: 0.5}")
        log = self.train("steps=1", "name=a", "captions={name: 0}", expect=programs.USER_MISTAKE)
        self.assertIn("captions.name", log)
        log = self.train("steps=1", "name=a", "captions={nome: 1}", expect=programs.USER_MISTAKE)
        self.assertIn("`nome` is none of", log)

    def test_mistakes_are_named(self):
        for data, phrases in (
                ("[{dataset: made, synthetic: 5}]", ["one of dataset, mds and synthetic"]),
                ("[{recipe: emoji}]", ["one of dataset, mds and synthetic"]),
                ("[{synthetic: 5, min_side: 64}]", ["data.0.min_side", "needs `dataset`"]),
                ("[{dataset: made, codec: x}]", ["data.0.codec", "needs `mds`"]),
                ("[{dataset: made, recipe: none}]", ["none: no such folder"])):
            with self.subTest(data):
                log = self.train("steps=1", data=data, expect=programs.USER_MISTAKE)
                for phrase in phrases:
                    self.assertIn(phrase, log)
        self.other_recipe()
        log = self.train("steps=1", expect=programs.USER_MISTAKE)
        self.assertIn("several recipes (emoji, other)", log)
        self.train("steps=1", data="[{dataset: made, recipe: emoji}]")
        log = self.train("steps=2", "shuffle_run=0", "name=a", expect=programs.USER_MISTAKE)
        self.assertIn("shuffle_run", log)

    def other_recipe(self):
        other = self.latents.parent / "other"
        other.mkdir()
        (other / "facts.json").write_text("{}")

    def test_a_second_recipe_stops_no_begun_run(self):
        ways = {"named": "made", "pathed": str(self.latents.parent), "folder": str(self.latents)}
        for name, dataset in ways.items():
            self.train("steps=1", f"name={name}", data=f"[{{dataset: {dataset}}}]")
        self.other_recipe()
        for name, dataset in ways.items():
            for words in (["--check-settings"], ["--dry-run"], []):
                self.train("steps=2", f"name={name}", *words, data=f"[{{dataset: {dataset}}}]")
        # The remedy that a start of another run is told works for a begun one, too, and so does its withdrawal.
        for name in ("named", "pathed"):
            for steps, recipe in ((3, ", recipe: emoji"), (4, "")):
                self.train(f"steps={steps}", f"name={name}", data=f"[{{dataset: {ways[name]}{recipe}}}]")
            log = self.train("steps=5", f"name={name}", data=f"[{{dataset: {ways[name]}, recipe: other}}]", expect=programs.USER_MISTAKE)
            self.assertNotIn("several recipes", log)
            self.assertEqual(len(programs.metrics(self.root / "runs" / name)), 4)
        self.assertIn("recipe: emoji", self.train("steps=1", "name=fresh", expect=programs.USER_MISTAKE))
        # What a refusal says to type instead is a start that finds its recipe.
        log = self.train("steps=5", "name=named", "batch_size=6", expect=programs.USER_MISTAKE)
        command = next(line for line in log.splitlines() if line.startswith("  ") and "data.0.recipe=emoji" in line)
        subprocess.run(shlex.split(command), check=True, cwd=programs.SOURCE, env=programs.environment(self.root))
        self.assertTrue((self.root / "runs/named_2/checkpoints").is_dir())
        (self.root / "weights").symlink_to(programs.DATA / "weights")
        for stage in (["generate", "--prompt", "red", "num_images=1"], ["evaluate"]):
            programs.run(stage[0], "--run", self.root / "runs/named", *stage[1:], "--dry-run", data=self.root)

    def test_a_disk_that_fails_is_not_a_dataset_without_recipes(self):
        faulty = pathlib.Path(os.environ.get("MICRODIT_FAULTY_DISK", SOURCE / "build/tests/libfaulty_disk.so"))
        if not faulty.exists():
            self.skipTest(f"{faulty} is not built")
        for operation, number in (("list", errno.EIO), ("list", errno.ESTALE), ("stat", errno.EIO)):
            env = programs.environment(self.root, LD_PRELOAD=faulty, MICRODIT_FAULT=f"{operation}:latents/made:{number}")
            log = self.train("steps=1", env=env, expect=76)
            self.assertIn(f"latents/made{'' if operation == 'list' else '/facts.json'}: cannot be", log)
            self.assertFalse((self.root / "runs").exists())

    def test_runs_of_rows_are_recorded(self):
        self.train("steps=2", "shuffle_run=7")
        self.assertEqual(self.facts()["shuffle_run"], 7)
        log = self.train("steps=4", "shuffle_run=8", expect=programs.USER_MISTAKE)
        self.assertIn("shuffle_run", log)
        self.train("steps=2", "name=auto")
        self.assertEqual(json.loads((self.root / "runs/auto/facts.json").read_text())["shuffle_run"], 1)


if __name__ == "__main__":
    programs.need_data()
    unittest.main(verbosity=2)
