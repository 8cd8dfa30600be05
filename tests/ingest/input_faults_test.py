#!/usr/bin/env python3
"""A disk that fails under what a stage reads is no verdict: the other items go on, exit 76, the folder stays open and nothing is
made again. What the message prints for a file that is lost for good works."""
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1])]
from programs import BIN, DONE, SOURCE, USER_MISTAKE, environment, run, write_recipe  # noqa: E402
from small_archives import Data, files_of, png, tar_bytes  # noqa: E402
from tiny_bert import make_bert  # noqa: E402

FAULT, EIO, EACCES, ESTALE = 76, 5, 13, 116
FAULTY_DISK = os.environ.get("MICRODIT_FAULTY_DISK", BIN.parent / "tests/libfaulty_disk.so")
MOMENTS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144)  # after so many reads the disk fails


def recorded(folder):
    names = (p.name.removesuffix(".json") for p in (folder / "records").glob("*.json"))
    return sorted(name for name in names if not name.endswith((".failed", ".part")))


def failures(folder):
    return {p.name.removesuffix(".failed.json"): json.loads(p.read_text()) for p in (folder / "records").glob("*.failed.json")}


def head(folder):
    return json.loads((folder / "manifest.jsonl").read_text().splitlines()[0])


class InputFaults(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="microdit_input_faults_")
        self.addCleanup(place.cleanup)
        self.root = pathlib.Path(place.name)
        for i, name in enumerate("abc"):
            (self.root / f"{name}.tar").write_bytes(tar_bytes(10 * i, 4, side=16))

    def data(self, name="d", **keys):
        urls = [f"file://{self.root}/{letter}.tar" for letter in "abc"]
        return Data(self.root / name, urls, max_failed_items=5, **keys)

    def with_recipe(self, **keys):
        if not (self.root / "bert").exists():
            make_bert(self.root / "bert", 16, 8)
        write_recipe(self.root / "r.yaml", name="r", images={"codec": f"{SOURCE}/assets/emoji_codec", "sizes": [16]},
                     text={"encoder": self.root / "bert", "length": 8})
        return self.data(recipe=self.root / "r.yaml", **keys)

    def faulty(self, data, stage, fault, *words, after=0, error=EIO):
        """Exit code and log of a stage on a disk that fails."""
        env = {**data.env, "LD_PRELOAD": str(FAULTY_DISK), "MICRODIT_FAULT": f"{fault}:{error}", "MICRODIT_FAULT_AFTER": str(after)}
        done = subprocess.run(data.command(stage, *words), env=env, cwd=SOURCE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=300)
        return done.returncode, done.stdout

    def every_moment(self, data, stage, fault, folder, done, lost, *words):
        """The fault comes ever later, until the stage does not meet it any more; how often it met it."""
        for met, after in enumerate(MOMENTS):
            shutil.rmtree(folder, ignore_errors=True)
            code, log = self.faulty(data, stage, fault, *words, after=after)
            if code == DONE:
                self.assertEqual(recorded(folder), sorted([*done, lost]), log)
                self.assertEqual(failures(folder), {}, log)
                return met
            where = f"{stage}, {fault} after {after}: exit {code}\n{log}"
            self.assertEqual(code, FAULT, where)
            self.assertEqual(recorded(folder), done, where)
            self.assertEqual(list(failures(folder)), [lost], where)
            self.assertEqual(failures(folder)[lost].get("kind"), "fault", where)
            self.assertFalse((folder / "manifest.jsonl").exists(), where)
            self.assertRegex(log, r"rm -f \S+ \S+/records/\S+\.json - then run ", where)
        return self.fail(f"{stage} never ends with {fault}")

    def test_samples_that_cannot_be_read(self):
        data = self.with_recipe()
        data.run("download")
        data.run("clean")
        for part in ("images", "text"):
            latents = data.folder("latents") / "r"
            done, lost = [f"a-00000.{part}", f"c-00000.{part}"], f"b-00000.{part}"
            for operation, least in (("stat", 1), ("open", 2), ("read", 5)):
                with self.subTest(part=part, operation=operation):
                    met = self.every_moment(data, "precompute", f"{operation}:samples/t/b-00000.h5", latents, done, lost, f"part={part}")
                    self.assertGreaterEqual(met, least)

    def test_referenced_files_that_cannot_be_read(self):
        data = self.with_recipe(images="reference")
        data.run("download")
        data.run("clean")
        for operation in ("open", "read"):
            met = self.every_moment(data, "precompute", f"{operation}:raw/t/b.tar", data.folder("latents") / "r",
                                    ["a-00000.images", "c-00000.images"], "b-00000.images", "part=images")
            self.assertGreaterEqual(met, 1)

    def test_archives_that_cannot_be_read(self):
        for images in ("copy", "reference"):
            data = self.data(images, **({"images": images} if images != "copy" else {}))
            data.run("download")
            for operation in ("stat", "open"):  # a worker, which reads it, preloads nothing
                with self.subTest(images=images, operation=operation):
                    met = self.every_moment(data, "clean", f"{operation}:raw/t/b.tar", data.folder("samples"), ["a", "c"], "b")
                    self.assertGreaterEqual(met, 1)

    def test_what_is_done_is_not_made_again(self):
        data = self.with_recipe()
        for stage, kind, file in (("download", "raw/t", "b.tar"), ("clean", "samples/t", "b-00000.h5"),
                                  ("precompute", "latents/t/r", "b-00000.text.h5")):
            data.run(stage)
            folder = data.root / "data" / kind
            before = files_of(folder)
            code, log = self.faulty(data, stage, f"stat:{kind}/{file}")
            self.assertEqual(code, FAULT, log)
            self.assertEqual(files_of(folder), before)
            self.assertIn(f"rm -f {folder / file} ", log)
            data.run(stage)
            self.assertEqual(files_of(folder), before)

    def test_a_folder_that_cannot_be_listed_is_not_empty(self):
        data = self.with_recipe()
        for stage, kind in (("download", "raw/t"), ("clean", "samples/t"), ("precompute", "latents/t/r")):
            data.run(stage)
            folder = data.root / "data" / kind
            before = files_of(folder)
            for listed, error in ((f"{kind}/records", EIO), (kind, ESTALE)):
                code, log = self.faulty(data, stage, f"list:{listed}", error=error)
                self.assertEqual(code, FAULT, log)
                self.assertIn("cannot", log)
                self.assertEqual(files_of(folder), before)

    def test_what_is_being_made_is_no_input(self):
        data = self.data()
        data.run("download")
        folder = data.folder("samples")
        for operation in ("write", "read", "stat"):
            for after in (0, 1, 2, 4):
                shutil.rmtree(folder, ignore_errors=True)
                code, log = self.faulty(data, "clean", f"{operation}:samples/t/.b-00000.h5.", after=after)
                if operation == "stat" and code == DONE:
                    break
                self.assertEqual(code, FAULT, f"{operation} after {after}\n{log}")
                self.assertEqual((recorded(folder), failures(folder)), (["a"], {}), log)  # it ended at once
                self.assertNotRegex(log, r"time = |descriptor")

    def test_what_was_just_made_is_no_input(self):
        data = self.with_recipe()
        data.run("download")
        clean, pictures = ("clean", "samples/t"), ("precompute", "latents/t/r")
        for stage, kind, made in ((*clean, "b-00000"), (*pictures, "b-00000.images")):
            for operation in ("open", "read", "stat"):
                for after in MOMENTS:
                    shutil.rmtree(data.root / "data" / kind, ignore_errors=True)
                    code, log = self.faulty(data, stage, f"{operation}:{kind}/{made}.h5", *(["part=images"] if stage == "precompute" else []),
                                            after=after)
                    if code == DONE:
                        break
                    where = f"{stage}, {operation} after {after}: exit {code}\n{log}"
                    self.assertEqual(code, FAULT, where)
                    self.assertEqual(failures(data.root / "data" / kind), {}, where)
                else:
                    self.fail(f"{stage} never ends with {operation}")
                self.assertGreaterEqual(after, 1, f"{stage}: {operation} of {made} was never met")
            data.run(stage)

    def do_as_printed(self, data, log):
        """Every "rm … - then run A and B again"."""
        ways = sorted(set(re.findall(r"(rm -f /.*) - then run ([a-z]+(?: and [a-z]+)?) again", log)))
        self.assertEqual(len(ways), 1, log)
        subprocess.run(shlex.split(ways[0][0]), check=True)
        for stage in ways[0][1].split(" and "):
            data.run(stage)
        return ways[0][1]

    def test_the_printed_way_out(self):
        data = self.with_recipe()
        data.run("download")
        raw = files_of(data.folder("raw"))
        code, log = self.faulty(data, "clean", "open:raw/t/b.tar")
        self.assertEqual(code, FAULT, log)
        self.assertEqual(self.do_as_printed(data, log), "download and clean")
        samples = files_of(data.folder("samples"))
        code, log = self.faulty(data, "precompute", "read:samples/t/b-00000.h5", "part=text")
        self.assertEqual(code, FAULT, log)
        self.assertEqual(self.do_as_printed(data, log), "clean and precompute")
        for kind, before in (("raw", raw), ("samples", samples)):
            after = files_of(data.folder(kind))
            self.assertEqual({n: f[2] for n, f in after.items()}, {n: f[2] for n, f in before.items()})
        self.assertEqual(head(data.folder("latents") / "r")["failed"], {})

    def test_a_loose_file_that_is_lost(self):
        pictures = self.root / "in"
        pictures.mkdir()
        for i in range(12):
            (pictures / f"{i:03}.png").write_bytes(png(8, i))
            (pictures / f"{i:03}.txt").write_text(f"picture {i}")
        data = self.data("loose")
        data.entry.write_text(f"name: t\nsource: {{folder: {pictures}, pattern: ['*']}}\narchive: none\nshard_records: 5\n")
        data.run("download")
        code, log = self.faulty(data, "clean", "stat:raw/t/004.png")
        self.assertEqual(code, FAULT, log)
        self.assertEqual(recorded(data.folder("samples")), ["files-00001", "files-00002"])
        for name in ("004.png", "004.txt"):  # nobody has it any more: out of the source, as said
            (pictures / name).unlink()
        way = re.search(r"rm -f (\S+/004)\.png (\S+/004)\.png\.json - then run download and clean again", log)
        self.assertTrue(way, log)
        for file in ("{0}.png {1}.png.json", "{0}.txt {1}.txt.json"):
            subprocess.run(["rm", "-f", *file.format(*way.groups()).split()], check=True)
        data.run("download")
        log = data.run("clean", expect=USER_MISTAKE)  # the ranges behind it begin elsewhere
        commands = set(re.findall(r"rm /\S+", log))
        self.assertEqual(len(commands), 2, log)
        for command in commands:
            subprocess.run(shlex.split(command), check=True)
        data.run("clean")
        self.assertEqual(sum(shard["rows"] for line in (data.folder("samples") / "manifest.jsonl").read_text().splitlines()[1:-1]
                             for shard in json.loads(line)["shards"]), 11)

    def test_manifests_say_nothing_of_chance(self):
        data = self.with_recipe()
        data.run("download")
        data.run("clean")
        latents = data.folder("latents") / "r"
        manifests = set()
        for _ in range(2):
            shutil.rmtree(latents, ignore_errors=True)
            code, log = self.faulty(data, "precompute", "read:samples/t/b-00000.h5", error=EACCES)
            self.assertEqual(code, DONE, log)
            self.assertIn("Permission denied", head(latents)["failed"]["b-00000.text"])
            self.assertNotRegex(head(latents)["failed"]["b-00000.text"], r"0x|time|descriptor")
            manifests.add((latents / "manifest.jsonl").read_bytes())
        self.assertEqual(len(manifests), 1)

        data = Data(self.root / "web", [f"file://{self.root}/a.tar", "http://127.0.0.1:1/b.tar"], max_failed_items=1)
        self.assertRegex(data.run("download"), r"after \d+ ms")
        self.assertNotRegex(head(data.folder("raw"))["failed"]["b.tar"], r"after \d+ ms")

    def test_a_sister_that_cannot_be_read(self):
        data = self.with_recipe()
        for stage in ("download", "clean", "precompute"):
            data.run(stage)
        write_recipe(self.root / "s.yaml", name="s", images={"codec": f"{SOURCE}/assets/emoji_codec", "sizes": [16]},
                     text={"encoder": self.root / "bert", "length": 6})
        latents = data.folder("latents")
        for after, taken in ((0, 2), (1, 3)):  # its size; the link, and the copy that comes instead
            shutil.rmtree(latents / "s", ignore_errors=True)
            code, log = self.faulty(data, "precompute", "any:latents/t/r/b-00000.images.h5", f"recipe={self.root}/s.yaml", after=after)
            self.assertEqual(code, DONE, log)
            self.assertIn(f"({taken} shards)", log)
            self.assertEqual((latents / "s/b-00000.images.h5").read_bytes(), (latents / "r/b-00000.images.h5").read_bytes())

    def test_doctor_passes_no_verdict(self):
        data = self.data()
        data.run("download")
        data.run("clean")
        for word in ("data", "verify"):
            env = environment(data.root / "data", LD_PRELOAD=FAULTY_DISK, MICRODIT_FAULT=f"read:samples/t/b-00000.h5:{EIO}")
            log = run("doctor", word, data.folder("samples"), env=env, expect=FAULT)
            self.assertNotIn("DAMAGED", log)


if __name__ == "__main__":
    unittest.main()
