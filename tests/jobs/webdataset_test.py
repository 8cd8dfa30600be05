#!/usr/bin/env python3
"""convert: samples and latents as WebDataset tars, with the bytes that the shards hold; and our own clean reads them back."""
import hashlib
import io
import json
import os
import pathlib
import sys
import tarfile
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import programs  # noqa: E402

try:
    import h5py
    import numpy as np
except ImportError:
    programs.skip("h5py is not installed: scripts/setup.sh --oracles")

SAMPLES = programs.DATA / "samples" / programs.DATASET


def texts(shard, name):
    offsets, data = shard[name + "_offsets"][:], shard[name][:].tobytes()
    return [data[a:b].decode() for a, b in zip(offsets, offsets[1:])]


def shards(folder):
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    return [shard["file"] for line in lines[1:-1] for shard in json.loads(line)["shards"]]


def members(folder):
    """Key -> {field: bytes}, over all tars; a sample's members lie side by side."""
    found = {}
    for path in sorted(folder.glob("*.tar")):
        last = None
        with tarfile.open(path) as tar:
            for member in tar:
                key, field = member.name.split(".", 1)
                assert key == last or key not in found, f"{path}: {key} is torn apart"
                assert (member.mtime, member.uid, member.uname) == (0, 0, ""), member
                last = key
                found.setdefault(key, {})[field] = tar.extractfile(member).read()
    return found


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


class WebDataset(unittest.TestCase):
    def setUp(self):
        programs.need_data()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.out = self.folder / "tars"

    def convert(self, source, expect=programs.DONE, out=None):
        return programs.run("convert", "--input", source, "--output", out or self.out, expect=expect)

    def test_samples(self):
        self.convert(SAMPLES)
        found = members(self.out)
        expected = {}
        for name in shards(SAMPLES):
            with h5py.File(SAMPLES / name) as shard:
                offsets, pictures = shard["image_offsets"][:], shard["image"][:].tobytes()
                said = {source[8:]: texts(shard, source) for source in shard if source.startswith("caption.") and not source.endswith("_offsets")}
                for row, key in enumerate(texts(shard, "key")):
                    expected[key] = (pictures[offsets[row]:offsets[row + 1]], {s: t[row] for s, t in said.items() if t[row]},
                                     int(shard["width"][row]), int(shard["split"][row]))
        self.assertEqual(len(found), len(expected))
        for sample in found.values():
            self.assertEqual(set(sample), {"png", "txt", "json"})
            said = json.loads(sample["json"])
            picture, captions, width, split = expected[said["key"]]
            self.assertEqual(sample["png"], picture)
            self.assertEqual(said["captions"], captions)
            self.assertIn(sample["txt"].decode(), captions.values())
            self.assertEqual((said["width"], said["split"]), (width, ["train", "held_out"][split]))

    def test_our_own_clean_reads_them_back(self):
        self.convert(SAMPLES)
        data = self.folder / "data"
        urls = [f"file://{path}" for path in sorted(self.out.glob("*.tar"))]
        entry = self.folder / "again.yaml"
        entry.write_text(f"name: again\nsource: {{urls: {json.dumps(urls)}}}\narchive: tar\nrecord: {{image: [png], caption: {{name: txt}}}}\n"
                         "captions: {which: [name]}\n")
        for stage in ("download", "clean"):
            programs.run(stage, "--config", entry, data=data)

        def rows(folder, source):
            found = {}
            for name in shards(folder):
                with h5py.File(folder / name) as shard:
                    offsets, pictures = shard["image_offsets"][:], shard["image"][:].tobytes()
                    for row, text in enumerate(texts(shard, source)):
                        found[hashlib.sha256(pictures[offsets[row]:offsets[row + 1]]).hexdigest()] = text
            return found
        before = rows(SAMPLES, "caption.name")
        self.assertGreater(len(before), 100)
        self.assertEqual(rows(data / "samples/again", "caption.name"), before)

    def test_latents(self):
        self.convert(programs.LATENTS)
        found = {json.loads(sample["json"])["key"]: sample for sample in members(self.out).values()}
        count = 0
        for name in shards(programs.LATENTS):
            if not name.endswith(".images.h5"):
                continue
            with h5py.File(programs.LATENTS / name) as images, h5py.File(programs.LATENTS / name.replace(".images.", ".text.")) as text:
                sizes = [column for column in images if column.startswith("latents_") and column[8:].isdigit()]
                captions = texts(text, "text_caption")
                for row, key in enumerate(texts(images, "key")):
                    sample = found[key]
                    said = json.loads(sample["json"])
                    for size in sizes:
                        place = int(images[size + "_row"][row])
                        self.assertEqual(f"{size}.npy" in sample, place >= 0)
                        if place >= 0:
                            self.assertEqual(np.load(io.BytesIO(sample[f"{size}.npy"])).tobytes(), images[size][place].tobytes())
                    owned = text["caption_rows"][text["caption_offsets"][row]:text["caption_offsets"][row + 1]]
                    self.assertEqual([caption["text"] for caption in said["captions"]], [captions[one] for one in owned])
                    rows = np.load(io.BytesIO(sample["text.npy"]))
                    self.assertEqual(rows.shape, (len(owned), *text["text"].shape[1:]))
                    self.assertEqual(rows.tobytes(), b"".join(text["text"][one].tobytes() for one in owned))
                    self.assertEqual(np.load(io.BytesIO(sample["text_ids.npy"])).shape, (len(owned), text["text_ids"].shape[1]))
                    count += 1
        self.assertEqual(len(found), count)

    def test_it_goes_on_where_it_was_ended_and_writes_the_same_bytes(self):
        self.convert(SAMPLES)
        before = hashes(self.out)
        times = {path.name: path.stat().st_mtime_ns for path in self.out.iterdir()}
        gone = sorted(self.out.glob("*.tar"))[0]
        gone.unlink()
        self.convert(SAMPLES)
        self.assertEqual(hashes(self.out), before)
        self.assertEqual({name for name, time in times.items() if (self.out / name).stat().st_mtime_ns != time}, {gone.name})

    def test_what_is_refused(self):
        self.convert(SAMPLES)
        self.assertIn("another folder", self.convert(programs.LATENTS, expect=programs.USER_MISTAKE))
        busy = self.folder / "busy"
        busy.mkdir()
        (busy / "mine").touch()
        self.assertIn("not empty", self.convert(SAMPLES, expect=programs.USER_MISTAKE, out=busy))
        self.assertEqual(os.listdir(busy), ["mine"])
        words = ["--input", SAMPLES, "--output", self.folder / "new", "step=3"]
        self.assertIn("settings are for checkpoints", programs.run("convert", *words, expect=programs.USER_MISTAKE))
        self.assertFalse((self.folder / "new").exists())


if __name__ == "__main__":
    unittest.main()
