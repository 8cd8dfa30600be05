#!/usr/bin/env python3
"""doctor data: counts as in the manifest, skips with their reasons, a sheet of pictures, damage by name; text and page."""
import base64
import hashlib
import io
import json
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zlib

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1]), str(pathlib.Path(__file__).resolve().parents[1] / "ingest")]
import programs  # noqa: E402
import small_archives  # noqa: E402

CELL, GAP, COLUMNS, MOST = 128, 8, 8, 48
HOSTILE = "<script>alert(1)</script> & \"more\""


def records(folder):
    """The manifest's records."""
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[1:-1]]


def rewrite(folder, old, new):
    """Another manifest that is whole in itself."""
    text = (folder / "manifest.jsonl").read_text()
    body = "\n".join(text.splitlines()[:-1]) + "\n"
    assert old in body, old
    body = body.replace(old, new)
    (folder / "manifest.jsonl").write_text(body + json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest()},
                                                           separators=(",", ":")) + "\n")


def tables(page):
    """Of every histogram: what it is of -> (sum as it says, counts of its bins)."""
    found = {}
    for of_what, total, rows in re.findall(r"<tr><th>([^<]*)</th><th>(\d+) in all</th>(.*?)</table>", page, re.S):
        found[of_what] = (int(total), [int(n) for n in re.findall(r"<tr><td>[^<]*</td><td>(\d+)</td>", rows)])
    return found


def sheet(page):
    """(width, height, rows of the upper part as bytes) of the only PNG in the page."""
    (data,) = re.findall(r'src="data:image/png;base64,([A-Za-z0-9+/=]*)"', page)
    png = base64.b64decode(data)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, body = 8, b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at:at + 8])
        if kind == b"IHDR":
            width, height, bits, colour = struct.unpack(">IIBB", png[at + 8:at + 18])
        if kind == b"IDAT":
            body += png[at + 8:at + 8 + length]
        at += length + 12
    assert (bits, colour) == (8, 2), (bits, colour)
    return width, height, unfiltered(zlib.decompress(body), width * 3, min(height, CELL + GAP))


def unfiltered(data, stride, count):
    """PNG's row filters undone, of the first rows."""
    above, rows = bytearray(stride), []
    for y in range(count):
        kind, row = data[y * (stride + 1)], bytearray(data[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for x in range(stride):
            a, b, c = (row[x - 3] if x >= 3 else 0), above[x], (above[x - 3] if x >= 3 else 0)
            if kind == 4:
                p = a + b - c
                guess = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            else:
                guess = (0, a, b, (a + b) // 2)[kind]
            row[x] = row[x] + guess & 255
        rows.append(bytes(row))
        above = row
    return rows


def coloured(rows):
    """Share of the pixels that are no grey."""
    pixels = [row[x:x + 3] for row in rows for x in range(0, len(row), 3)]
    return sum(max(p) - min(p) > 40 for p in pixels) / len(pixels)


class Case(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="microdit_data_")
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.data = self.folder / "data"

    def doctor(self, where, expect=programs.DONE, ranks=1):
        """Standard output; and the page that its last line names, or None."""
        done = subprocess.run(programs.command("doctor", "data", where, ranks=ranks), capture_output=True, text=True, timeout=300,
                              env=programs.environment(self.data), cwd=self.folder)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        last = re.fullmatch(r"  page +(.*)", (done.stdout.splitlines() or [""])[-1])
        page = (self.folder / last[1]).read_text() if last else None
        return (done.stdout if expect != programs.USER_MISTAKE else done.stderr), page


class Emoji(Case):
    def setUp(self):
        super().setUp()
        self.samples = self.data / "samples" / programs.DATASET
        self.latents = self.data / "latents" / programs.DATASET / "emoji"
        shutil.copytree(programs.DATA / "samples" / programs.DATASET, self.samples)
        shutil.copytree(programs.LATENTS, self.latents)

    def check_page(self, page, rows):
        for of_what, (total, bins) in tables(page).items():
            self.assertEqual(sum(bins), total, of_what)
        for of_what in ("shorter side in pixels", "width to height"):
            self.assertEqual(tables(page)[of_what][0], rows)
        width, height, upper = sheet(page)
        shown = min(MOST, rows)
        self.assertEqual(width, GAP + min(COLUMNS, shown) * (CELL + GAP))
        self.assertGreaterEqual(height, GAP + -(-shown // COLUMNS) * (CELL + GAP))
        self.assertGreater(coloured(upper), 0.01)
        self.assertEqual(page.count("<li><code>"), shown)
        self.assertNotIn("<script", page)
        self.assertNotRegex(page, r"https?:|href=|@import|url\(")

    def test_samples(self):
        all_records = records(self.samples)
        rows = sum(shard["rows"] for record in all_records for shard in record["shards"])
        said, page = self.doctor(self.samples)
        of_splits = re.search(rf"^  samples +{rows}: train (\d+), held_out (\d+)$", said, re.M)
        self.assertEqual(int(of_splits[1]) + int(of_splits[2]), rows)
        self.assertIn(f"{len(all_records)} items, ", said)
        self.assertIn(f"{rows} read by clean, {rows} kept, 0 left out", said)
        by_source = re.search(r"^  captions +name (\d+) .*, name_and_keywords (\d+) ", said, re.M)
        self.check_page(page, rows)
        self.assertEqual(tables(page)["characters of a caption"][0], int(by_source[1]) + int(by_source[2]))
        self.assertTrue(said.endswith(f"{self.samples}/data.html\n"), said)
        self.assertEqual(self.doctor(self.samples), (said, page))
        programs.run("doctor", "verify", self.samples)

    def test_latents(self):
        details = {record["item"].rsplit(".", 1)[1]: record["details"] for record in records(self.latents)}
        rows = sum(shard["rows"] for r in records(self.latents) if r["item"].endswith(".images") for shard in r["shards"])
        said, page = self.doctor(self.latents)
        for size, count in details["images"]["latents"].items():
            self.assertRegex(said, rf"latents .*{count} \([0-9.]+ %\) of size {size}")
        text = details["text"]
        self.assertIn(f"{text['cut']} of {text['captions']} texts", said)
        self.assertIn(f"the longest has {text['longest']} ", said)
        self.check_page(page, rows)
        self.assertEqual(tables(page)["tokens of a text"][0], text["captions"])
        self.assertEqual(self.doctor(self.latents), (said, page))

    def test_a_folder_of_folders(self):
        (self.data / "raw/x/records").mkdir(parents=True)
        (self.data / "raw/x/facts.json").write_text('{"stage": "raw"}\n')
        said, _ = self.doctor(self.data)
        self.assertEqual(len(re.findall("^  page ", said, re.M)), 2)
        for folder in (self.samples, self.latents):
            self.assertTrue((folder / "data.html").exists())

    def test_a_codec_that_is_not_there(self):
        facts = json.loads((self.latents / "facts.json").read_text())
        rewrite(self.latents, facts["codec"]["sha256"], "0" * 64)
        said, page = self.doctor(self.latents)
        self.assertIn("not shown as pictures", said)
        self.assertIn("cp -r FOLDER", page)
        self.assertNotIn("image/png", page)
        self.assertEqual(page.count("<li><code>"), MOST)

    def test_text_that_is_gone(self):
        (text,) = self.latents.glob("*.text.h5")
        text.unlink()
        said, page = self.doctor(self.latents, expect=programs.FAILED)
        self.assertIn(f"DAMAGED   {text.name}: missing: run precompute again", said)
        self.assertIn(text.name, page)
        self.assertNotIn("tokens of a text", tables(page))
        self.assertGreater(coloured(sheet(page)[2]), 0.01)

    def test_pictures_that_no_worker_could_decode(self):
        counts = re.search(r'("latents":{[^}]*})(,"failed_pictures":{})?', (self.latents / "manifest.jsonl").read_text())
        rewrite(self.latents, counts[0], counts[1] + ',"failed_pictures":{"damaged.crashed":{"count":3,"example":"<i>7</i>"}}')
        said, page = self.doctor(self.latents)
        self.assertIn("3 pictures have no latents, although clean accepted them: damaged.crashed 3 (e.g. <i>7</i>)", said)
        self.assertIn("damaged.crashed 3 (e.g. &lt;i&gt;7&lt;/i&gt;)", page)

    def test_ranks_say_it_once(self):
        if shutil.which("mpirun") is None:
            self.skipTest("mpirun is not installed")
        said, _ = self.doctor(self.data, ranks=2)
        self.assertEqual(len(re.findall("^  page ", said, re.M)), 2)

    def test_items_that_failed(self):
        rewrite(self.samples, '"failed":{}', '"failed":{"emoji-9":"it is <b>gone</b>"}')
        said, page = self.doctor(self.samples)
        self.assertIn("emoji-9: it is <b>gone</b>", said)
        self.assertIn("<td>it is &lt;b&gt;gone&lt;/b&gt;</td>", page)

    def test_nothing_to_show(self):
        (self.folder / "empty").mkdir()
        self.assertIn("no such folder", self.doctor("nowhere", expect=programs.USER_MISTAKE)[0])
        self.assertIn("no samples or latents", self.doctor("empty", expect=programs.USER_MISTAKE)[0])
        (self.samples / "manifest.jsonl").unlink()
        self.assertIn("clean makes it", self.doctor(self.samples, expect=programs.USER_MISTAKE)[0])
        self.doctor(self.data)  # the latents are still there
        programs.flip_bit(self.latents / "manifest.jsonl", 200)
        said, _ = self.doctor(self.latents, expect=programs.FAILED)
        self.assertIn("manifest.jsonl", said)


class Hostile(Case):
    """Three shards of good records, a cut picture and one that is too small."""

    def setUp(self):
        super().setUp()
        tar_file = self.folder / "t.tar"
        with tarfile.open(tar_file, "w") as tar:
            for i in range(8):
                picture = small_archives.png(2 if i == 3 else 8 + i, i)
                if i == 5:
                    picture = picture[:-20]
                extra = [("npy", b"n")] if i == 0 else []
                for ending, data in [("png", picture), ("txt", f"{HOSTILE} number {i}".encode())] + extra:
                    member = tarfile.TarInfo(f"{i:07d}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        made = small_archives.Data(self.folder, [f"file://{tar_file}"], shard_records=3,
                                   filters="{min_side: 4, max_damaged_fraction: 1}")
        for stage in ("download", "clean"):
            made.run(stage)
        self.samples = made.folder("samples")
        self.shards = sorted(self.samples.glob("*.h5"))
        self.assertEqual(len(self.shards), 3)

    def test_skips_and_markup(self):
        said, page = self.doctor(self.samples)
        self.assertIn("8 read by clean, 6 kept, 2 left out (25.0 %)", said)
        self.assertIn("1 members that `record` does not ask for (e.g. 0000000.npy)", said)
        for reason, key in (("filtered.too_small", "0000003"), ("damaged.picture", "0000005")):
            self.assertIn(f"{reason} 1 (e.g. {key})", said)
            self.assertIn(f"<tr><td>{reason}</td><td>1</td><td>12.5 %</td><td>{key}</td></tr>", page)
        self.assertNotIn("<script", page)
        self.assertIn("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot; number 0", page)
        self.assertEqual(tables(page)["shorter side in pixels"], (6, [6] + [0] * 10))
        self.assertEqual(tables(page)["characters of a caption"][0], 6)
        self.assertEqual(sheet(page)[0], GAP + 6 * (CELL + GAP))
        self.assertEqual(self.doctor(self.samples), (said, page))

    def test_a_shard_that_is_gone(self):
        rows = {shard["file"]: shard["rows"] for record in records(self.samples) for shard in record["shards"]}
        gone = self.shards[1]
        gone.unlink()
        said, page = self.doctor(self.samples, expect=programs.FAILED)
        self.assertIn(f"DAMAGED   {gone.name}: missing: run clean again", said)
        self.assertIn(f"  samples   6 ({6 - rows[gone.name]} of them can be read)", said)
        self.assertIn(f"<td>{gone.name}</td><td>missing</td><td>run clean again</td>", page)
        self.assertEqual(tables(page)["width to height"][0], 6 - rows[gone.name])

    def test_damage_inside(self):
        shard = self.shards[0]
        programs.flip_bit(shard, shard.read_bytes().index(b"alert(1)"))
        said, page = self.doctor(self.samples, expect=programs.FAILED)
        self.assertIn(f"DAMAGED   {shard.name}: column `caption.caption` does not match its checksum", said)
        self.assertIn("remove it and run clean again", page)
        with shard.open("ab") as file:
            file.write(b"x")
        said, _ = self.doctor(self.samples, expect=programs.FAILED)
        self.assertRegex(said, rf"DAMAGED   {shard.name}: has \d+ bytes, its manifest says \d+")

    def test_a_picture_that_is_hit(self):
        shard = self.shards[0]
        data = shard.read_bytes()
        programs.flip_bit(shard, data.index(b"IDAT", data.index(b"\x89PNG")) + 10)
        said, page = self.doctor(self.samples, expect=programs.FAILED)
        self.assertRegex(said, rf"DAMAGED   {shard.name}: the picture of '\d+' cannot be decoded \(damaged\.picture")
        self.assertEqual(page.count("<li><code>"), 5)

    def test_a_folder_that_takes_no_page(self):
        (self.samples / "data.html").mkdir()
        said, page = self.doctor(self.samples)
        self.assertIn("no page can be written there", said)
        self.assertTrue(said.endswith(f"{self.folder}/data-samples-t.html\n"), said)
        self.assertIn("<h2>A few samples</h2>", page)
        self.assertEqual([p.name for p in self.samples.glob(".*")], [])


if __name__ == "__main__":
    if not (programs.BIN / "doctor").exists() or not (programs.BIN / "clean").exists():
        programs.skip("doctor and clean are not built")
    programs.need_data()
    unittest.main(verbosity=2)
