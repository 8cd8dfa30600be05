#!/usr/bin/env python3
"""score against pytorch-fid, clean-fid and the Python originals of its networks, all given the same random weights and pictures.

Needs .venv-bench/pytorch-fid and .venv-bench/clean-fid (scripts/bench_setup.sh), or a folder that FID_ENVIRONMENTS names."""
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

ENVIRONMENTS = pathlib.Path(os.environ.get("FID_ENVIRONMENTS", SOURCE / ".venv-bench"))
PYTHON = {name: ENVIRONMENTS / name / "bin/python" for name in ("pytorch-fid", "clean-fid")}
for name, path in PYTHON.items():
    if not path.exists():
        programs.skip(f"{path} is not there (scripts/bench_setup.sh makes it)")
try:
    import numpy as np
    from PIL import Image
except ImportError as missing:
    programs.skip(f"needs {missing.name} (scripts/setup.sh --oracles)")

SIZES = [(40, 40), (64, 48), (33, 57), (299, 299), (400, 320)]


def picture(index, height, width):
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    wave = 127 + 90 * np.sin((index + 1) * .31 + x * (.05 + index % 5 * .04) + c) + 38 * np.cos(y * (.02 + index % 3 * .09))
    return (wave + (x // 9 + y // 7) % 2 * 20).clip(0, 255).astype(np.uint8)


def python(name, *words):
    """What tests/score/python_fid.py prints there."""
    done = subprocess.run([PYTHON[name], SOURCE / "tests/score/python_fid.py", *map(str, words)], capture_output=True, text=True,
                          env=programs.environment(), timeout=840)
    programs.check(done.returncode == 0, done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


class Fid(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_fid_")
        cls.folder = pathlib.Path(cls.scratch.name)
        for name, first, count in (("a", 0, 6), ("b", 60, 5)):
            (cls.folder / name).mkdir()
            for i in range(first, first + count):
                Image.fromarray(picture(i, *SIZES[i % len(SIZES)])).save(cls.folder / name / f"{i:03d}.png")
        cls.a, cls.b = cls.folder / "a", cls.folder / "b"
        cls.weights = cls.folder / "inception.pth"
        python("pytorch-fid", "weights", "inception", cls.weights, "legacy")  # the released file's container

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def score(self, *words, pictures=None, reference=None):
        out = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        programs.run("score", "--pictures", pictures or self.a, "--reference", reference or self.b, f"out={out}", *words, data=self.folder / "data")
        [numbers] = out.iterdir()
        return json.loads(numbers.read_text())

    def test_equals_pytorch_fid(self):
        for dims in (2048, 64):
            theirs = python("pytorch-fid", "pytorch_fid", self.a, self.b, self.weights, dims)["fid"]
            ours = self.score("network=inception", f"weights={self.weights}", "resize=pytorch_fid", f"dims={dims}")["fid"]
            print(f"pytorch-fid, {dims} features: {theirs:.7f}, ours {ours:.7f}")
            self.assertGreater(theirs, 0.01)
            self.assertAlmostEqual(ours, theirs, delta=1e-3)

    def test_equals_clean_fid(self):
        script = self.folder / "inception.pt"
        python("pytorch-fid", "script", self.weights, script)
        theirs = python("clean-fid", "clean_fid", self.a, self.b, script)["fid"]
        for weights in (script, self.weights):
            ours = self.score("network=inception", f"weights={weights}", "resize=clean_fid")["fid"]
            print(f"clean-fid: {theirs:.7f}, ours from {weights.name} {ours:.7f}")
            self.assertAlmostEqual(ours, theirs, delta=1e-3)

    def test_held_out_pictures_of_a_dataset(self):
        """Fashion-MNIST's, by the dataset's name: the distance of the same pictures as files."""
        package = pathlib.Path("/usr/share/datasets/fashion-mnist")
        if not package.is_dir():
            self.skipTest("needs Debian's package dataset-fashion-mnist")
        files, count = self.folder / "files", 12
        files.mkdir()
        for part in ("train", "t10k"):
            (self.folder / part).mkdir()
            pixels = gzip.open(package / f"{part}-images-idx3-ubyte.gz").read(16 + count * 784)[16:]
            labels = gzip.open(package / f"{part}-labels-idx1-ubyte.gz").read(8 + count)[8:]
            (files / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28) + pixels))
            (files / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(struct.pack(">4BI", 0, 0, 8, 1, count) + labels))
            for i, one in enumerate(np.frombuffer(pixels, np.uint8).reshape(count, 28, 28)):
                Image.fromarray(one).save(self.folder / part / f"{i:03d}.png")
        for stage in ("download", "clean"):
            programs.run(stage, "--config", SOURCE / "configs/datasets/fashion_mnist.yaml", "name=few", f"source.folder={files}", data=self.folder / "data")
        train, held_out, script = self.folder / "train", self.folder / "t10k", self.folder / "held_out.pt"
        python("pytorch-fid", "script", self.weights, script)
        theirs = {"pytorch_fid": python("pytorch-fid", "pytorch_fid", train, held_out, self.weights, 2048),
                  "clean_fid": python("clean-fid", "clean_fid", train, held_out, script) | python("clean-fid", "clean_kid", train, held_out, script)}
        for resize, numbers in theirs.items():
            ours = self.score("network=inception", f"weights={self.weights}", f"resize={resize}", "kid_subsets=3", pictures=train, reference="few")
            self.assertEqual(ours["settings"]["kid"]["subset_size"], count)
            for key, number in numbers.items():
                print(f"{resize}, {key} of held-out pictures: {number:.7f}, ours {ours[key]:.7f}")
                self.assertGreater(abs(number), 1e-3)  # with random weights two such sets are close
                self.assertAlmostEqual(ours[key], number, delta=1e-3 if key == "fid" else 1e-5)

    def test_small_networks_equal_their_originals(self):
        for network in ("efficientnet_lite0", "mobilenet_v2"):
            weights = self.folder / f"{network}.pth"
            python("pytorch-fid", "weights", network, weights)
            for resize in ("clean_fid", "pytorch_fid"):
                python("pytorch-fid", "features", network, self.a, weights, resize, self.folder / "theirs.npz")
                self.score(f"network={network}", f"weights={weights}", f"resize={resize}", f"save={self.folder}/ours.npz")
                with np.load(self.folder / "theirs.npz") as theirs, np.load(self.folder / "ours.npz") as ours:
                    for key in ("mu", "sigma"):
                        difference = np.linalg.norm(ours[key] - theirs[key]) / np.linalg.norm(theirs[key])
                        print(f"{network}, {resize}: {key} differs by {difference:.1e}")
                        self.assertLess(difference, 1e-4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
