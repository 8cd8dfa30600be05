#!/usr/bin/env python3
"""Worker processes that are killed from outside, as a job's memory limit does, are no verdict on what they read: the item fails as a
fault of this machine, the others go on, and where there is the memory the next life makes it."""
import io
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1])]
from hostile_case import png  # noqa: E402
from programs import DONE, SOURCE, write_recipe  # noqa: E402
from small_archives import Data, tar_bytes  # noqa: E402
from tiny_bert import make_bert  # noqa: E402

FAULT = 76
MEMORY = 150e6  # bytes of a worker; the large picture's takes twice that, the others' a few per cent


def tar_of(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def large_picture():
    return tar_of(("large.png", png(10000, 10000, 8, 0)), ("large.txt", b"nothing, large"))


def resident(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def takes_much(pid):
    """Of a worker: until it is one, it has its parent's memory."""
    return os.readlink(f"/proc/{pid}/exe").endswith("ingest_worker") and resident(pid) > MEMORY


def reads_a(pid):
    return re.search(rb"\0archive\0[^\0]*/a\.tar\0", pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()) is not None


def children(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        found += (task / "children").read_text().split()
    return map(int, found)


def recorded(folder):
    names = (p.name.removesuffix(".json") for p in (folder / "records").glob("*.json"))
    return sorted(name for name in names if not name.endswith((".failed", ".part")))


class KilledWorkers(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="microdit_killed_")
        self.addCleanup(place.cleanup)
        self.root = pathlib.Path(place.name)
        for i, name in enumerate("bc"):
            (self.root / f"{name}.tar").write_bytes(tar_bytes(10 * i, 4, side=16))

    def data(self, a, **keys):
        (self.root / "a.tar").write_bytes(a)
        data = Data(self.root / "d", [f"file://{self.root}/{letter}.tar" for letter in "abc"], max_failed_items=5, decode_workers=1,
                    filters="{max_damaged_fraction: 1}", **keys)
        data.run("download")
        return data

    def killing(self, data, stage, doomed, *words):
        """Exit code and log of a stage whose workers are killed when `doomed`."""
        stage = subprocess.Popen(data.command(stage, *words), env=data.env, cwd=SOURCE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 text=True)
        while stage.poll() is None:
            try:
                for child in children(stage.pid):
                    if doomed(child):
                        os.kill(child, signal.SIGKILL)
            except (OSError, IndexError):  # one that has ended meanwhile
                continue
        return stage.returncode, stage.communicate()[0]

    def check_fault(self, folder, code, log, lost, done, *words):
        self.assertEqual(code, FAULT, log)
        self.assertEqual(recorded(folder), done, log)
        failed = json.loads((folder / f"records/{lost}.failed.json").read_text())
        self.assertEqual(failed.get("kind"), "fault")
        for word in ("memory", *words):
            self.assertIn(word, failed["reason"])
        self.assertFalse((folder / "manifest.jsonl").exists())

    def test_a_picture(self):
        data = self.data(large_picture())
        folder = data.folder("samples")
        for _ in range(2):  # it is no damage in any life
            self.check_fault(folder, *self.killing(data, "clean", takes_much), "a", ["b", "c"], "a.tar", "'large'")
        data.run("clean", expect=DONE)
        self.assertEqual(recorded(folder), ["a", "b", "c"])
        make_bert(self.root / "bert", 16, 8)  # must be there, although it is not used
        recipe = write_recipe(self.root / "r.yaml", name="r", images={"codec": f"{SOURCE}/assets/emoji_codec", "sizes": [16]},
                              text={"encoder": self.root / "bert", "length": 8})
        words = (f"recipe={recipe}", "part=images")
        latents = data.folder("latents") / "r"
        self.check_fault(latents, *self.killing(data, "precompute", takes_much, *words), "a-00000.images",
                         ["b-00000.images", "c-00000.images"], "a-00000.h5", "'large'")
        data.run("precompute", *words)
        self.assertEqual(len(recorded(latents)), 3)

    def test_an_archive(self):
        noise = random.Random(1).randbytes(1 << 20)
        data = self.data(tar_of(*((f"{i:03}.{ending}", noise if ending == "png" else b"x") for i in range(64) for ending in ("png", "txt"))))
        folder = data.folder("samples")
        self.check_fault(folder, *self.killing(data, "clean", reads_a), "a", ["b", "c"], "a.tar")
        data.run("clean")
        self.assertEqual(recorded(folder), ["a", "b", "c"])


if __name__ == "__main__":
    unittest.main()
