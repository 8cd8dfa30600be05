#!/usr/bin/env python3
"""Training on MDS folders where they lie: those that mosaicml-streaming wrote, and one with the rows of our own latents."""
import json
import pathlib
import shutil
import stat
import sys
import tempfile
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1]), str(pathlib.Path(__file__).resolve().parents[1] / "stream")]
import programs  # noqa: E402
from mds_writer import write_mds  # noqa: E402

FIXTURE = programs.SOURCE / "tests/stream/mds"


class Mds(unittest.TestCase):
    def setUp(self):
        programs.need_data()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.runs = self.folder / "runs"

    def train(self, name, data, *words, **options):
        base = programs.train_words(self.runs, name, f"data={json.dumps(data)}", "checkpoint.every_steps=3", *words)
        return programs.run("train", *base, **options)

    def small(self, name, folder, *words, keys={}, **options):
        """On one of the fixture's folders: 40 samples of 4 x 4 x 4 and text 3 x 8. `keys`: more of the source's."""
        return self.train(name, [{"mds": str(folder), **keys}], "size=32", "captions=[]", "model.caption_channels=8", *words, **options)

    def losses(self, name):
        return [(line["step"], line["loss"]) for line in programs.metrics(self.runs / name)]

    def copy(self, name):
        shutil.copytree(FIXTURE / name, self.folder / name)
        return self.folder / name

    def test_plain_and_packed_folders_train_alike_and_resume(self):
        self.small("plain", FIXTURE / "plain", "steps=6")
        self.small("packed", FIXTURE / "zstd", "steps=6")
        self.assertEqual(self.losses("plain"), self.losses("packed"))
        self.small("twice", FIXTURE / "zstd", "steps=3")
        self.small("twice", FIXTURE / "zstd", "steps=6")
        self.assertEqual(self.losses("twice"), self.losses("plain"))
        facts = json.loads((self.runs / "plain/facts.json").read_text())
        self.assertEqual((facts["data"][0]["rows"], facts["text_length"], facts["text_width"]), (40, 3, 8))

    def test_a_read_only_folder_stays_as_it_is(self):
        folder = self.copy("zstd")
        before = programs.files_below(folder)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
        self.small("run", folder, "steps=2")
        self.assertEqual(programs.files_below(folder), before)

    def test_two_ranks_see_what_one_sees(self):
        programs.need_mpi()
        self.small("one", FIXTURE / "zstd", "steps=4")
        self.small("two", FIXTURE / "zstd", "steps=4", ranks=2)
        self.assertLess(programs.greatest_difference(self.runs / "one", self.runs / "two", 1, 4), 1e-5)

    def test_a_changed_folder_is_refused_at_resume(self):
        folder = self.copy("plain")
        self.small("run", folder, "steps=3")
        index = json.loads((folder / "index.json").read_text())
        index["shards"].pop()
        (folder / "index.json").write_text(json.dumps(index))
        log = self.small("run", folder, "steps=6", expect=programs.USER_MISTAKE)
        self.assertIn("has changed since", log)
        self.assertIn("40", log)

    def test_what_is_refused_names_file_and_remedy(self):
        self.assertIn("column `extra` is pickled", self.small("a", FIXTURE / "pickled", "steps=2", expect=programs.USER_MISTAKE))
        folder = self.copy("plain")
        (folder / "1/shard.00001.mds").unlink()
        self.assertIn("1/shard.00001.mds: named by index.json and not there", self.small("b", folder, "steps=2", expect=programs.USER_MISTAKE))
        self.assertIn("no column `latents_48`", self.train("c", [{"mds": str(FIXTURE / "plain")}], "size=48", "captions=[]",
                                                           "model.caption_channels=8", "steps=2", expect=programs.USER_MISTAKE))
        self.assertIn("model.caption_channels", self.train("d", [{"mds": str(FIXTURE / "plain")}], "size=32", "captions=[]", "steps=2",
                                                           expect=programs.USER_MISTAKE))
        damaged = self.copy("zstd")
        programs.flip_bit(damaged / "0/shard.00001.mds.zstd", 3000)
        self.assertIn("0/shard.00001.mds.zstd", self.small("e", damaged, "steps=2", expect=programs.USER_MISTAKE))
        self.assertFalse(any((self.runs / name).exists() for name in "abcde"), "a run was left behind")

    def test_columns_have_the_names_that_the_source_gives(self):
        expected = json.loads((FIXTURE / "expected.json").read_text())["plain"]
        rows = [{"z": bytes.fromhex(row["32"]), "words": bytes.fromhex(row["text"]), "said": row["caption"].encode()} for row in expected]
        folder = self.folder / "renamed"
        write_mds(folder, {"z": "bytes", "words": "bytes", "said": "str"}, rows, 100)
        columns = {"latents": "z", "text": "words", "caption": "said"}
        self.small("plain", FIXTURE / "plain", "steps=4")
        self.small("renamed", folder, "steps=4", keys={"columns": columns})
        self.assertEqual(self.losses("renamed"), self.losses("plain"))
        log = self.small("wrong", folder, "steps=4", keys={"columns": {**columns, "text": "word"}}, expect=programs.USER_MISTAKE)
        self.assertIn("no column `word`", log)
        self.assertIn("columns: {text: NAME}", log)
        self.assertFalse((self.runs / "wrong").exists(), "a run was left behind")

    def test_doctor_finds_the_damage(self):
        folder = self.copy("arrays")
        self.assertIn("1 MDS folders: good", programs.run("doctor", "verify", folder))
        programs.flip_bit(folder / "shard.00001.mds", 2500)
        log = programs.run("doctor", "verify", folder, expect=programs.FAILED)
        self.assertIn("shard.00001.mds: its sha1 is", log)
        packed = self.copy("zstd")
        self.assertIn("good", programs.run("doctor", "verify", packed))
        programs.flip_bit(packed / "1/shard.00000.mds.zstd", 100)
        self.assertIn("1/shard.00000.mds", programs.run("doctor", "verify", packed, expect=programs.FAILED))

    def own_rows(self):
        """The train split of the small dataset, in the order of its shards."""
        try:
            import h5py
        except ImportError:
            self.skipTest("h5py is not installed")
        rows = []
        lines = (programs.LATENTS / "manifest.jsonl").read_text().splitlines()
        names = [shard["file"] for line in lines[1:-1] for shard in json.loads(line)["shards"] if shard["file"].endswith(".images.h5")]
        for name in names:
            with h5py.File(programs.LATENTS / name) as images, h5py.File(programs.LATENTS / name.replace(".images.", ".text.")) as text:
                sources = json.loads((programs.LATENTS / "facts.json").read_text())["caption_sources"]
                for row, split in enumerate(images["split"][:]):
                    if split:
                        continue
                    owned = range(text["caption_offsets"][row], text["caption_offsets"][row + 1])
                    named = [one for one in owned if sources[text["caption_source"][one]] == "name"]
                    rows.append({"latents_64": images["latents_64"][images["latents_64_row"][row]].tobytes(), "caption": b"words",
                                 "caption_latents": text["text"][text["caption_rows"][named[0]]].tobytes()})
        return rows

    def test_the_rows_of_our_own_latents_give_the_same_losses_and_mix_with_them(self):
        rows = self.own_rows()
        folder = self.folder / "same"
        write_mds(folder, {"caption": "str", "caption_latents": "bytes", "latents_64": "bytes"}, rows, 100)
        facts = json.loads((programs.LATENTS / "facts.json").read_text())
        mds = {"mds": str(folder), "codec": str(programs.SOURCE / "assets/emoji_codec"),
               "text_encoder": str(programs.DATA / "weights/all-MiniLM-L6-v2")}
        self.train("own", [{"dataset": programs.DATASET}], "steps=4", "captions=[name]")
        self.train("mds", [mds], "steps=4", "captions=[]")
        self.assertEqual(self.losses("own"), self.losses("mds"))
        mix = [{"dataset": programs.DATASET, "proportion": 1}, {**mds, "proportion": 3}]
        self.train("mix", mix, "steps=6", "captions=[]")
        self.train("mix_twice", mix, "steps=3", "captions=[]")
        self.train("mix_twice", mix, "steps=6", "captions=[]")
        self.assertEqual(self.losses("mix"), self.losses("mix_twice"))
        self.assertNotEqual(self.losses("mix"), self.losses("own"))
        self.assertEqual(facts["text_width"], json.loads((self.runs / "mds/facts.json").read_text())["text_width"])


if __name__ == "__main__":
    unittest.main()
