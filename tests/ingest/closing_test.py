#!/usr/bin/env python3
"""A shard on its way to a disk far away: it is read back once, and a stop does not wait for it."""
import hashlib
import io
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1])]
from programs import BIN, REQUEUE, SOURCE, environment, write_recipe  # noqa: E402
from small_archives import Data  # noqa: E402
from tiny_bert import make_bert  # noqa: E402

SLOW_DISK = pathlib.Path(os.environ.get("MICRODIT_FAULTY_DISK", BIN.parent / "tests/libfaulty_disk.so")).parent / "libslow_disk.so"
PICTURES, SIDE = 48, 600
SHARD = PICTURES * SIDE * SIDE * 3  # bytes, and a little more
AT_ONCE_S = 5


def bmp(grey):
    rows = bytes([grey]) * (SIDE * SIDE * 3)
    return struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54 + len(rows), 0, 0, 54, 40, SIDE, SIDE, 1, 24, 0, len(rows), 0, 0, 0, 0) + rows


def archive():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for i in range(PICTURES):
            for ending, data in (("bmp", bmp(i)), ("txt", b"a grey")):
                member = tarfile.TarInfo(f"{i:03}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def wait_for(condition, process):
    end = time.monotonic() + 120
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(process.stdout.read())
        time.sleep(0.02)


class Closing(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="microdit_closing_")
        self.addCleanup(place.cleanup)
        self.root = pathlib.Path(place.name)
        (self.root / "a.tar").write_bytes(archive())
        self.data = Data(self.root / "d", [f"file://{self.root}/a.tar"], record="{image: [bmp]}")
        self.data.run("download")
        self.samples = self.data.folder("samples")

    def slow(self, mb_s, **more):
        return environment(self.data.root / "data", LD_PRELOAD=SLOW_DISK, MICRODIT_SLOW_DISK=self.samples, MICRODIT_SLOW_MS="0",
                           MICRODIT_SLOW_MB_S=mb_s, **more)

    def stopped(self, stage, moment, mb_s, *words):
        """How long a stage on the slow disk goes on after a SIGTERM at the moment."""
        process = subprocess.Popen(self.data.command(stage, *words), env=self.slow(mb_s), cwd=SOURCE, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        wait_for(moment, process)
        process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        log, _ = process.communicate(timeout=120)
        self.assertEqual(process.returncode, REQUEUE, log)
        return time.monotonic() - begin

    def test_it_is_read_back_once(self):
        counts = self.root / "counts"
        self.data.run("clean")
        for shard in self.samples.glob("*.h5"):  # the control: what another life makes has the same bytes
            self.before = hashlib.sha256(shard.read_bytes()).hexdigest()
        subprocess.run(["rm", "-r", str(self.samples)], check=True)
        subprocess.run(self.data.command("clean"), env=self.slow(1e6, MICRODIT_SLOW_COUNTS=counts), cwd=SOURCE, check=True, capture_output=True)
        read = int(counts.read_text().split()[2])
        self.assertGreater(read, SHARD)
        self.assertLess(read, 1.2 * SHARD)
        record = json.loads((self.samples / "records/a.json").read_text())
        self.assertEqual(record["shards"][0]["sha256"], self.before)
        self.assertEqual(hashlib.sha256((self.samples / "a-00000.h5").read_bytes()).hexdigest(), self.before)

    def test_a_stop_while_it_is_read_back(self):
        def is_written():
            return any(file.stat().st_size > SHARD for file in self.samples.glob(".a-00000.h5.*"))

        self.assertLess(self.stopped("clean", is_written, 4), AT_ONCE_S)  # the whole file: 13 s
        self.assertEqual(list(self.samples.glob(".*")) + list(self.samples.glob("*.h5")), [])
        self.data.run("clean")
        self.assertTrue((self.samples / "a-00000.h5").exists())

    def test_a_stop_while_precompute_checks_it(self):
        self.data.run("clean")
        make_bert(self.root / "bert", 16, 8)  # must be there, although it is not used
        recipe = write_recipe(self.root / "r.yaml", name="r", images={"codec": f"{SOURCE}/assets/emoji_codec", "sizes": [16]},
                              text={"encoder": self.root / "bert", "length": 8})
        begun = []

        def is_being_read():
            if not begun and (self.data.folder("latents") / "r/facts.json").exists():
                begun.append(time.monotonic())
            return bool(begun) and time.monotonic() > begun[0] + 2

        self.assertLess(self.stopped("precompute", is_being_read, 5, f"recipe={recipe}", "part=images"), AT_ONCE_S)  # the file: 10 s


if __name__ == "__main__":
    unittest.main()
