#!/usr/bin/env python3
"""score as a user starts it: numbers and words, files of statistics, tasks and ranks, stops, mistakes."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

try:
    import numpy as np
    import torch
    from PIL import Image
except ImportError as missing:
    programs.skip(f"needs {missing.name} (scripts/setup.sh --oracles)")


def made_weights():
    """An EfficientNet-Lite0 of random weights, by the names of its Python package."""
    torch.manual_seed(3)
    state = {}

    def layer(conv, norm, out, into, kernel):
        state[f"{conv}.weight"] = torch.randn(out, into, kernel, kernel) * (2 / (into * kernel * kernel)) ** 0.5
        for name, low, high in (("weight", .8, 1.2), ("bias", -.2, .2), ("running_mean", -.2, .2), ("running_var", .7, 1.4)):
            state[f"{norm}.{name}"] = torch.empty(out).uniform_(low, high)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(1)
    layer("_conv_stem", "_bn0", 32, 3, 3)
    into, index = 32, 0
    for expand, out, repeats, kernel in ((1, 16, 1, 3), (6, 24, 2, 3), (6, 40, 2, 5), (6, 80, 3, 3), (6, 112, 3, 5), (6, 192, 4, 5), (6, 320, 1, 3)):
        for _ in range(repeats):
            at, wide = f"_blocks.{index}.", into * expand
            if expand > 1:
                layer(at + "_expand_conv", at + "_bn0", wide, into, 1)
            layer(at + "_depthwise_conv", at + "_bn1", wide, 1, kernel)
            layer(at + "_project_conv", at + "_bn2", out, wide, 1)
            into, index = out, index + 1
    layer("_conv_head", "_bn1", 1280, 320, 1)
    return state | {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}


def picture(index, height, width):
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    wave = 127 + 90 * np.sin((index + 1) * .31 + x * (.05 + index % 5 * .04) + c) + 38 * np.cos(y * (.02 + index % 3 * .09))
    return wave.clip(0, 255).astype(np.uint8)


def exact_distance(a, b):
    values, vectors = np.linalg.eigh(a["sigma"])
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    between = np.linalg.eigvalsh(root @ b["sigma"] @ root).clip(0)
    return float(((a["mu"] - b["mu"]) ** 2).sum() + np.trace(a["sigma"]) + np.trace(b["sigma"]) - 2 * np.sqrt(between).sum())


class Score(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_score_")
        cls.folder = pathlib.Path(cls.scratch.name)
        cls.data = cls.folder / "data"
        weights = cls.data / "weights/efficientnet-lite0"
        weights.mkdir(parents=True)
        torch.save(made_weights(), weights / "efficientnet-lite0-57934424.pth")
        for name, first, count, kinds in (("a", 0, 9, ["png", "jpg", "webp"]), ("b", 40, 7, ["png"])):
            (cls.folder / name).mkdir()
            for i in range(first, first + count):
                made = Image.fromarray(picture(i, 30 + i % 4 * 70, 50 + i % 3 * 100))
                made.save(cls.folder / name / f"{i:03d}.{kinds[i % len(kinds)]}", quality=95)
        cls.log = cls.run_score("--pictures", cls.folder / "a", "--reference", cls.folder / "b", f"save={cls.folder}/a.npz")
        [cls.numbers_file] = (cls.folder / "a/scores").iterdir()
        cls.numbers = json.loads(cls.numbers_file.read_text())

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    @classmethod
    def run_score(cls, *words, data=None, **options):
        return programs.run("score", *words, "batch_size=4", data=data or cls.data, **options)

    def statistics(self, data):
        return {path.parent.name: path.read_bytes() for path in (data / "statistics").glob("*/statistics.npz")}

    def other_data(self, name):
        """A data root with the weights and without statistics."""
        data = self.folder / name
        data.mkdir()
        (data / "weights").symlink_to(self.data / "weights")
        return data

    def test_numbers_and_words(self):
        with np.load(self.folder / "a.npz") as a, np.load(self.numbers["reference"]["statistics"]) as b:
            self.assertEqual((a["mu"].shape, a["sigma"].shape, a["sigma"].dtype), ((1280,), (1280, 1280), np.float64))
            self.assertEqual((int(a["n"]), int(b["n"])), (9, 7))
            self.assertAlmostEqual(self.numbers["frechet_distance"], exact_distance(a, b), delta=1e-4)
            about = json.loads(a["microdit"].item())
        self.assertEqual((about["network"], about["resize"], about["n"]), ("efficientnet_lite0", "clean_fid", 9))
        self.assertEqual((self.numbers["pictures"]["n"], self.numbers["reference"]["n"], self.numbers["settings"]["features"]), (9, 7, 1280))
        self.assertGreater(self.numbers["frechet_distance"], 0.01)
        self.assertNotIn("fid", self.numbers)  # another network's distance is not called so
        for word in ("no FID", "EfficientNet-Lite0", "1280 features", "resize clean_fid", "9 pictures of", "7 pictures of", "biased"):
            self.assertIn(word, self.log)

    def test_files_of_statistics_stand_for_their_pictures(self):
        with np.load(self.folder / "a.npz") as a:
            np.savez_compressed(self.folder / "foreign.npz", mu=a["mu"], sigma=a["sigma"])
        for name, warned in (("a.npz", False), ("foreign.npz", True)):
            log = self.run_score("--pictures", self.folder / "b", "--reference", self.folder / name, f"out={self.folder}/{name}.out")
            self.assertEqual("does not say which network" in log, warned)
            [numbers] = (self.folder / f"{name}.out").iterdir()
            self.assertAlmostEqual(json.loads(numbers.read_text())["frechet_distance"], self.numbers["frechet_distance"], delta=1e-6)

    def test_seven_tasks_and_two_ranks_make_the_bytes_of_one(self):
        one = self.other_data("one")
        self.run_score("--pictures", self.folder / "a", "part_size=1", data=one)
        seven = self.other_data("seven")
        for task in (6, 2, 0, 5, 1, 3, 4):
            self.assertEqual(self.statistics(seven), {})
            log = self.run_score("--pictures", self.folder / "a", "part_size=1", f"task={task}/7", data=seven)
        self.assertIn("statistics of 9 pictures", log)
        self.assertEqual(self.statistics(seven), self.statistics(one))
        if shutil.which("mpirun"):
            two = self.other_data("two")
            self.run_score("--pictures", self.folder / "a", "part_size=1", data=two, ranks=2)
            self.assertEqual(self.statistics(two), self.statistics(one))

    def test_kid_and_its_subsets(self):
        words = ["--pictures", self.folder / "a", "--reference", self.folder / "b", "part_size=2", "kid_subsets=20"]
        found = []
        for name, tasks, more in (("kid_one", 1, []), ("kid_three", 3, []), ("kid_seed", 1, ["seed=5"])):
            data = self.other_data(name)
            for task in range(tasks):
                self.assertFalse(list((self.folder / f"{name}.out").glob("*")))
                log = self.run_score(*words, *more, f"task={task}/{tasks}", f"out={self.folder / name}.out", data=data)
            [numbers] = (self.folder / f"{name}.out").iterdir()
            found.append(json.loads(numbers.read_text()))
            self.assertEqual(found[-1]["settings"]["kid"], {"subsets": 20, "subset_size": 7, "seed": 5 if more else 2024})
        self.assertIn("kernel distance (no KID)", log)
        values = [(numbers["kernel_distance"], numbers["kernel_distance_deviation"], numbers["frechet_distance"]) for numbers in found]
        self.assertEqual(values[0], values[1])
        self.assertNotEqual(values[0][:2], values[2][:2])
        self.assertEqual(values[0][2], values[2][2])
        # The same subsets of the features that are kept, all of one side's and most of the other's: near the estimate of all.
        data = self.folder / "kid_one"
        a, b = (np.concatenate([np.load(file)["features"] for file in sorted(folder.glob("features-*"))])
                for folder in (next(data.glob("statistics/a-*")), next(data.glob("statistics/b-*"))))
        self.assertEqual((a.shape, b.shape), ((9, 1280), (7, 1280)))

        def kernel(x, y):
            return (x @ y.T / 1280 + 1) ** 3

        def within(x):
            return (kernel(x, x).sum() - np.trace(kernel(x, x))) / (len(x) * (len(x) - 1))
        whole = within(a) + within(b) - 2 * kernel(a, b).mean()
        print(f"kernel distance {values[0][0]:.6f} by subsets, {whole:.6f} of all")
        self.assertLess(abs(values[0][0] - whole), 4 * values[0][1])
        # Statistics that are there get their features made, once.
        self.assertNotIn("this rank's", self.run_score(*words, data=data))
        for file in data.glob("statistics/*/features-*"):
            file.unlink()
        self.assertIn("9 of this rank's 9", self.run_score(*words, data=data))

    def test_a_stop_loses_a_part_at_most(self):
        data = self.other_data("stopped")
        many = self.folder / "many"
        many.mkdir()
        for i in range(60):
            Image.fromarray(picture(i, 64, 64)).save(many / f"{i:02d}.png")
        words = programs.command("score", "--pictures", many, "part_size=2", "batch_size=2")
        with subprocess.Popen(words, env=programs.environment(data), cwd=SOURCE, stderr=subprocess.PIPE, text=True) as job:
            deadline = time.time() + 120
            while len(list(data.glob("statistics/*/part-*"))) < 2 and time.time() < deadline:
                time.sleep(0.02)
            job.send_signal(signal.SIGTERM)
            log = job.stderr.read()
        self.assertEqual(job.returncode, programs.REQUEUE, log)
        kept = {path: path.stat().st_mtime_ns for path in data.glob("statistics/*/part-*")}
        self.assertTrue(2 <= len(kept) < 30, log)
        programs.run("score", *words[1:], data=data)
        whole = self.other_data("unstopped")
        programs.run("score", *words[1:], data=whole)
        self.assertEqual(self.statistics(data), self.statistics(whole))

    def test_the_output_of_generate_is_its_manifest(self):
        folder = self.folder / "generated"
        shutil.copytree(self.folder / "b", folder)
        names = sorted(path.name for path in folder.iterdir())
        Image.fromarray(picture(3, 40, 40)).save(folder / "grid.png")
        (folder / "manifest.jsonl").write_text("".join(json.dumps({"prompt": "p", "file": name}) + "\n" for name in names))
        (folder / ".call.json").write_text("{}")
        log = self.run_score("--pictures", folder, "--reference", self.folder / "b")
        self.assertIn("7 pictures of", log)
        [numbers] = (folder / "scores").iterdir()
        self.assertLess(abs(json.loads(numbers.read_text())["frechet_distance"]), 1e-3)
        (folder / "manifest.jsonl").unlink()  # as while it paints
        self.assertIn("has not come to its end", self.run_score("--pictures", folder, expect=programs.USER_MISTAKE))

    def test_datasets(self):
        programs.need_data()
        data = self.other_data("dataset")
        (data / "samples").symlink_to(programs.DATA / "samples")
        log = self.run_score("--pictures", self.folder / "a", "--reference", programs.DATASET, "split=all", "reference_size=32", data=data)
        self.assertIn("(split all)", log)
        prompts = [self.folder / f"prompts{i}.txt" for i in range(3)]
        for file, more in zip(prompts, ([], [], ["seed=1"])):
            programs.run("score", "--reference", programs.DATASET, "split=all", f"captions={file}", "draw=20", *more, data=data)
        one, same, other = (file.read_text().splitlines() for file in prompts)
        self.assertEqual(one, same)
        self.assertNotEqual(one, other)
        self.assertEqual((len(one), len(set(one)) > 15), (20, True))

    def test_a_dry_run_writes_nothing(self):
        data = self.other_data("dry")
        log = self.run_score("--pictures", self.folder / "b", "--reference", self.folder / "a.npz", "--dry-run", data=data)
        self.assertIn("7 pictures of", log)
        self.assertIn("nothing was written", log)
        self.assertEqual([path.name for path in data.iterdir()], ["weights"])

    def test_other_pictures_under_the_same_names_are_measured_anew(self):
        folder = self.folder / "again"
        folder.mkdir()
        distances = []
        for first in (0, 50):
            for i in range(4):
                Image.fromarray(picture(first + i, 40, 40)).save(folder / f"{i}.bmp")  # all of one size in bytes
            out = self.folder / f"again{first}"
            self.run_score("--pictures", folder, "--reference", self.folder / "b", f"out={out}")
            distances.append(json.loads(next(out.iterdir()).read_text())["frechet_distance"])
        self.assertNotEqual(*distances)

    def test_programs_that_do_more_than_compute_are_refused(self):
        class Layers(torch.nn.Module):
            def forward(self, x):
                return x.mean((2, 3)) + torch.from_file("/etc/hostname", False, 1, dtype=torch.uint8)

        class State(torch.nn.Module):
            @torch.jit.export
            def __getstate__(self):
                return 1, self.training

            @torch.jit.export
            def __setstate__(self, state: tuple[int, bool]):
                self.training = state[1]

            def forward(self, x):
                return x

        class Whole(torch.nn.Module):
            def __init__(self, layers):
                super().__init__()
                self.layers = layers

            def forward(self, x):
                return self.layers(x)
        for layers, said in ((Layers(), "calls torch.from_file"), (State(), "runs a program while it is loaded"), (torch.nn.ReLU(), "not 2048 features")):
            torch.jit.save(torch.jit.script(Whole(layers)), self.folder / "hostile.pt")
            log = self.run_score("--pictures", self.folder / "b", "network=inception", f"weights={self.folder}/hostile.pt", expect=programs.USER_MISTAKE)
            self.assertIn(said, log)

    def test_mistakes(self):
        (self.folder / "empty").mkdir()
        (self.folder / "bad").mkdir()
        (self.folder / "bad/1.png").write_bytes(b"no picture")
        (self.folder / "bad.npz").write_bytes(b"PK no zip")
        with np.load(self.folder / "a.npz") as a:
            np.savez(self.folder / "narrow.npz", mu=a["mu"][:5], sigma=a["sigma"][:5, :5])
        b = self.folder / "b"
        for words, said in (([], "--pictures is missing"), (["--pictures", self.folder / "nowhere"], "no folder of pictures"),
                            (["--pictures", self.folder / "empty"], "holds no pictures"),
                            (["--pictures", self.folder / "bad"], "bad/1.png: no picture"),
                            (["--pictures", b, "--reference", self.folder / "bad.npz"], "no .npz of numpy"),
                            (["--pictures", b, "--reference", self.folder / "narrow.npz"], "1280 features against statistics of 5"),
                            (["--pictures", b, "--reference", self.folder / "a.npz", "resize=pytorch_fid"], "made with resize"),
                            (["--pictures", b, "--reference", self.folder / "a.npz", "reference_size=9"], "no pictures to resize"),
                            (["--pictures", b, "network=inception"], "fid_inception.yaml"),
                            (["--pictures", b, "network=inception", f"weights={self.data}/weights/efficientnet-lite0/efficientnet-lite0-57934424.pth"],
                             "weights of another network"),
                            (["--pictures", b, "kid_subsets=5"], "there is no --reference"), (["--pictures", b, "seed=5"], "nothing is drawn"),
                            (["--pictures", b, "--reference", self.folder / "a.npz", "kid_subsets=5"], "KID wants the pictures"),
                            (["--pictures", b, "--reference", b, "kid_subsets=5", "part_size=1000000"], "part_size=1000000: with kid_subsets"),
                            (["--pictures", b, "dims=64"], "only inception"), (["--pictures", b, "draw=5"], "captions=FILE"),
                            (["--reference", b, f"captions={self.folder}/p.txt"], "have 0 captions"), (["--pictures", b, "split=train"], "only datasets have splits"),
                            (["--pictures", b, "save=x.txt"], "must end in .npz"), (["--pictures", b, "task=7/7"], "task")):
            with self.subTest(said=said):
                self.assertIn(said, self.run_score(*words, expect=programs.USER_MISTAKE))


if __name__ == "__main__":
    unittest.main(verbosity=2)
