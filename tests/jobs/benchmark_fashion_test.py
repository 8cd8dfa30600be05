#!/usr/bin/env python3
"""scripts/benchmark_fashion.sh, short: our cell from the files to labelled pictures within its time, also where the machine is slower than
was measured; what it refuses; the page's table."""
import gzip
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

try:
    import numpy
    import PIL  # noqa: F401
except ImportError as missing:
    programs.skip(f"no {missing.name}")

MINUTES = 0.5  # on a busy machine the trial of 24 steps alone takes 0.2


def idx(values, *shape):
    return gzip.compress(struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape) + bytes(values))


def row(acc, fd, **changes):
    about = {"parameters": 7, "steps": 100, "images_per_s": 50.5, "generate_s": 3.0}
    return {"acc": acc, "fd": fd, "label_agreement": 80, "ceiling": 88, "floor": 0.5, "reference": "ab", "version": 1, "torch": "2", "generator": about} | changes


class Benchmark(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_fashion_")
        cls.root = pathlib.Path(cls.scratch.name)
        files = cls.root / "files"
        files.mkdir()
        for part, count in (("train", 640), ("t10k", 20)):
            labels = [i % 10 for i in range(count)]
            pixels = bytes((x * (label + 1) + y) % 256 for label in labels for y in range(28) for x in range(28))
            (files / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(pixels, count, 28, 28))
            (files / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(labels, count))

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def call(self, *words, expect=0, **variables):
        done = subprocess.run([SOURCE / "scripts/benchmark_fashion.sh", *words], capture_output=True, text=True,
                              env=os.environ | {"FASHION_DATA": str(self.root / "files"), "MICRODIT_BIN": str(programs.BIN)} | variables)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_our_cell(self):
        words = ["--only", "microdit", "--minutes", str(MINUTES), "--pictures", "3", "--out", self.root / "cells"]
        shim = self.root / "shim"  # a train that tells of a machine a thousand times as fast: the training is stopped where it is
        shim.mkdir()
        for program in programs.BIN.iterdir():
            (shim / program.name).symlink_to(program)
        (shim / "train").unlink()
        (shim / "train").write_text(f"""#!/bin/bash
{programs.BIN}/train "$@" || exit
case "$*" in *steps=24*) for word in "$@"; do case $word in runs=*) sed -i -E 's/"step_s":[0-9.e-]+/"step_s":0.0003/' "${{word#runs=}}/fashion/metrics.jsonl" ;; esac; done ;; esac
""")
        (shim / "train").chmod(0o755)
        self.call(*words, "--seeds", "1", MICRODIT_BIN=str(shim))
        folder = self.root / f"cells/microdit_{MINUTES}_1_of_3"
        made = numpy.load(folder / "pictures.npz")
        self.assertEqual((made["images"].shape, made["images"].dtype), ((30, 28, 28), numpy.uint8))
        self.assertEqual(made["labels"].tolist(), [label for label in range(10) for _ in range(3)])
        self.assertGreater(len(numpy.unique(made["images"])), 50)
        about = json.loads(str(made["about"]))
        self.assertEqual(about["minutes"], MINUTES)
        self.assertTrue(0 < about["steps"] < 1000 and about["images_per_s"] > 0 and about["parameters"] > 1e6, about)
        self.assertIn("stopped", (folder / "log.txt").read_text())
        self.assertEqual([path.name for path in folder.iterdir() if path.is_dir()], ["runs"])
        stamp = (folder / "pictures.npz").stat().st_mtime_ns
        self.assertIn("trial", self.call(*words, "--seeds", "1"))
        self.assertEqual((folder / "pictures.npz").stat().st_mtime_ns, stamp)

    def test_a_cell_that_fails_is_done_again(self):
        """No pictures, no mark: the next call begins it anew."""
        words = ["--only", "microdit", "--minutes", str(MINUTES), "--pictures", "3", "--seeds", "0", "--out", self.root / "failing"]
        broken = self.root / "broken"
        broken.mkdir()
        for program in ("clean", "precompute", "train", "generate"):
            (broken / program).symlink_to(programs.BIN / program)
        (broken / "download").write_text("#!/bin/bash\nexit 3\n")
        (broken / "download").chmod(0o755)
        for _ in range(2):
            self.assertIn("failed", self.call(*words, expect=1, MICRODIT_BIN=str(broken)))
            self.assertFalse((self.root / f"failing/microdit_{MINUTES}_0_of_3/made").exists())

    def test_refusals(self):
        for words, said in ((["--fast"], "unknown word '--fast'"), (["--only", "ours"], "--only 'ours'"), (["--minutes", "five"], "--minutes 'five'"),
                            (["--seeds"], "--seeds: say what"), (["--pictures", "3"], "--only microdit"), (["--pictures", "0"], "1 to 1000")):
            self.assertIn(said, self.call(*words, expect=2))
        out = ["--only", "microdit", "--out", self.root / "refused"]
        self.assertIn("build first", self.call(*out, expect=2, MICRODIT_BIN="/nowhere"))
        self.assertIn("dataset-fashion-mnist", self.call(*out, expect=2, FASHION_DATA="/nowhere"))
        self.assertFalse((self.root / "refused").exists())

    def test_page(self):
        cells = self.root / "rows"
        broken = {"train_s": 301.0, "generate_s": 601, "generate_ok": False, "cpu_share": 0.5}
        late = []
        for seed, (key, value) in enumerate(broken.items()):
            late.append((f"nano_5_{seed}", row(99, 1)))
            late[-1][1]["generator"] |= {key: value}
        for name, values in (*late, ("microdit_5_0", row(80, 10)), ("microdit_5_1", row(82, 13)), ("torchcfm_10_0", row(70, 60))):
            (cells / name).mkdir(parents=True)
            (cells / name / "row.json").write_text(json.dumps(values))
            (cells / name / "machine.json").write_text(json.dumps({"cpu": "a", "cores": 2, "microdit": "x", "nano": "y"}))
            (cells / name / "grid.png").write_bytes(name.encode())
        page = self.root / "page.md"
        page.write_text("before\n<!-- table: begin -->\nold\n<!-- table: end -->\nafter\n")
        words = [sys.executable, SOURCE / "scripts/fashion/page.py", cells]
        for _ in range(2):
            subprocess.run([*words, "--page", page], check=True, capture_output=True)
            text = page.read_text()
            self.assertIn("| microdit | 5 | 2 | fp32 | 7 | 100 (0) | 50 (0) | 3 (0) | 81.00 (2.00) | 11.5 (3.0) | 80.0 (0.0) |\n", text)
            self.assertNotIn("| nano", text)
            self.assertIn("| torchcfm | 10 | 1 | fp32 | 7 | 100 | 50 | 3 | 70.00 | 60.0 | 80.0 |\n", text)
            self.assertEqual((text.startswith("before\n"), text.endswith("\nafter\n"), "old" in text), (True, True, False))
        self.assertEqual((self.root / "page/microdit_5.png").read_bytes(), b"microdit_5_0")
        other = cells / "torchcfm_10_0/machine.json"
        own = other.read_text()
        other.write_text(own.replace("2", "64"))
        self.assertIn("different machines", subprocess.run(words, capture_output=True, text=True).stderr)
        other.write_text(own)
        (cells / "torchcfm_10_0/row.json").write_text(json.dumps(row(70, 60, reference="cd")))
        self.assertIn("do not go together", subprocess.run(words, capture_output=True, text=True).stderr)


if __name__ == "__main__":
    unittest.main()
