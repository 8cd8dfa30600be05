#!/usr/bin/env python3
"""`explain` through the program: its numbers against the formulas of the papers, what the toys must show, the same bytes on every
run, what is refused, and that nothing half-made is ever seen."""
import base64
import json
import math
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path[:0] = [str(SOURCE / "tests"), str(SOURCE / "tests/eval")]
import pictures  # noqa: E402
import programs  # noqa: E402

SMALL = ["toy_steps=30", "steps=[2, 3]", "guidance=[0, 2]"]
FIGURES = ["levels", "gamma", "log_snr", "time_laws", "weights", "strips", "pairs", "trajectories", "states", "steps_ddpm", "steps_flow", "guidance"]
PLANE = "What sampling does, in the plane"
UNGUIDED = {"kind": "unet", "block_out_channels": [16, 32], "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": 8,
            "down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]}


def explain(out, *words, **options):
    return programs.run("explain", f"output={out}", *words, **options)


class Explain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_explain_")
        cls.folder = pathlib.Path(cls.scratch.name)
        cls.small = cls.folder / "small"
        explain(cls.small, *SMALL)
        cls.numbers = json.loads((cls.small / "explain.json").read_text())

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def test_page_holds_its_pictures(self):
        files = programs.files_below(self.small)
        self.assertEqual(sorted(files), sorted([f"{name}.png" for name in FIGURES] + ["index.html", "explain.json"]))
        page = files["index.html"].decode()
        inside = [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]
        self.assertEqual(inside, [files[f"{name}.png"] for name in FIGURES], "in the page as beside it, in order")
        for name in FIGURES:
            width, height, pixels = pictures.pixels(files[f"{name}.png"])
            self.assertTrue(900 <= width <= 2100 and height >= 300, (name, width, height))
            self.assertGreater(len(set(pixels)), 20, name)
        self.assertNotRegex(page, r'(src|href)="(?!data:|#)', "nothing is loaded from elsewhere")
        for anchor in re.findall(r'href="#([^"]+)"', page):
            self.assertIn(f'id="{anchor}"', page)

    def test_levels_are_the_papers(self):
        paths = self.numbers["Noise levels"]["paths"]
        for path, near in (("linear", lambda i: 1e-4 + (0.02 - 1e-4) * i / 999),
                           ("scaled_linear", lambda i: (1e-4 ** .5 + (0.02 ** .5 - 1e-4 ** .5) * i / 999) ** 2)):
            gammas, gamma = [], 1.0
            for i in range(1000):
                gamma *= 1 - near(i)
                gammas.append(gamma)
            told = paths[path]
            for time_, got in zip(told["time"], told["gamma"]):
                if time_ == int(time_):
                    self.assertAlmostEqual(got / gammas[int(time_)], 1, places=4, msg=(path, time_))
        flow, edm = paths["flow"], paths["edm"]
        for t, alpha, sigma, snr in zip(flow["time"], flow["alpha"], flow["sigma"], flow["log_snr"]):
            self.assertAlmostEqual(alpha, 1 - t)
            self.assertAlmostEqual(sigma, t)
            if 0 < t < 1:
                self.assertAlmostEqual(snr, 2 * math.log((1 - t) / t), places=6)
        self.assertEqual(flow["log_snr"][0], None, "no noise: no number")
        for i, (alpha, sigma) in enumerate(zip(edm["alpha"], edm["sigma"])):
            self.assertEqual(alpha, 1)
            self.assertAlmostEqual(sigma, (0.002 ** (1 / 7) + i / 100 * (80 ** (1 / 7) - 0.002 ** (1 / 7))) ** 7, places=9)
        for path, told in paths.items():
            self.assertEqual("gamma" in told, path not in ("edm", "flow"))
            for alpha, sigma in zip(told["alpha"], told["sigma"]) if "gamma" in told else []:
                self.assertAlmostEqual(alpha ** 2 + sigma ** 2, 1, places=6)
        for t, got in enumerate(paths["vp_cosine"]["gamma"][:-1]):  # from 0.2 to 1 of a quarter turn, to the 4th power
            self.assertAlmostEqual(got, (math.cos((.2 + .8 * t / 100) * math.pi / 2) / math.cos(.1 * math.pi)) ** 4, places=5)

    def test_time_laws_are_densities(self):
        laws = self.numbers["Noise levels"]["time_laws"]
        snr = laws["log_snr"]
        width = snr[1] - snr[0]

        def moments(density):
            whole = sum(density) * width
            mean = sum(p * x for p, x in zip(density, snr)) * width / whole
            return whole, mean, math.sqrt(sum(p * (x - mean) ** 2 for p, x in zip(density, snr)) * width / whole)

        whole, mean, deviation = moments(laws["edm"]["log_normal"])  # ln sigma of mean -0.6, deviation 1.2
        self.assertAlmostEqual(whole, 1, places=3)
        self.assertAlmostEqual(mean, 1.2, places=1)
        self.assertAlmostEqual(deviation, 2.4, places=1)
        whole, mean, deviation = moments(laws["flow"]["logit_normal"])  # log SNR = -2 logit t
        self.assertAlmostEqual(mean, 0, places=2)
        self.assertAlmostEqual(deviation, 2, places=1)
        for i, x in enumerate(snr):  # t uniform: the logistic's density of logit t = -log SNR / 2
            low, high = (1 / (1 + math.exp(-(x + d) / 2)) for d in (-width / 2, width / 2))
            self.assertAlmostEqual(laws["flow"]["uniform"][i], (high - low) / width, places=4)

    def test_weights_are_the_papers(self):
        """Of an error of x0: eps counts SNR, v SNR + 1, x0 1, flow's velocity 1 / t^2, EDM's (with weight one) 1 / c_out^2."""
        weights = self.numbers["Noise levels"]["weights"]
        known = {"eps": math.exp, "v": lambda s: math.exp(s) + 1, "x0": lambda s: 1,
                 "velocity (flow)": lambda s: (1 + math.exp(s / 2)) ** 2,
                 "edm": lambda s: math.exp(s) + 1 / 0.81,
                 "eps with weight min_snr": lambda s: min(math.exp(s), 5)}
        self.assertEqual(sorted(known), sorted(weights))
        for name, told in weights.items():
            self.assertGreater(len(told["log_snr"]), 100)
            for snr, weight in zip(told["log_snr"], told["weight"]):
                self.assertAlmostEqual(weight / known[name](snr), 1, places=2, msg=(name, snr))

    def test_combinations_are_the_programs(self):
        """What the table allows is taken and what it leaves out is refused, by the program that trains on it."""
        table = self.numbers["What goes with what"]
        paths = [path for family in table for path in family["paths"]]
        self.assertEqual(sorted(paths), sorted(self.numbers["Noise levels"]["paths"]))
        self.assertEqual([family["rules"][0] for family in table], ["heun", "ddim", "ddim", "euler"])
        page = (self.small / "index.html").read_text()
        for family in table:
            for column in family.values():
                self.assertIn(", ".join(column), page)
        log = programs.run("train", *programs.train_words(self.folder, "none", "objective={path: flow, prediction: v}"), "--check-settings",
                           expect=programs.USER_MISTAKE)
        flow = next(family for family in table if family["paths"] == ["flow"])
        self.assertIn("; there is: " + ", ".join(flow["predictions"]), log)

    def test_toys_show_what_the_page_says(self):
        out = self.folder / "learned"
        explain(out, "toy_steps=1000", "steps=[2, 8, 50]", "guidance=[0, 1, 8]")
        numbers = json.loads((out / "explain.json").read_text())
        plane = numbers[PLANE]
        length, bend = plane["length_by_distance"], plane["straightness"]
        for told in (length, bend):
            print({name: round(value, 3) for name, value in told.items()})
        self.assertEqual(list(length), ["DDPM, ancestral", "DDPM, ddim", "flow, euler"])
        self.assertTrue(all(value >= 1 for value in length.values()), "no way is shorter than the distance of its ends")
        pairs = plane["pairs"]
        self.assertAlmostEqual(pairs["length_by_distance"]["flow"], 1, places=6, msg="straight")
        self.assertAlmostEqual(pairs["straightness"]["flow"], 0, places=6, msg="at an even pace")
        self.assertGreater(pairs["length_by_distance"]["DDPM"], 1.02, "an arc")
        self.assertGreater(pairs["straightness"]["DDPM"], 0.3)
        self.assertGreater(bend["DDPM, ancestral"], 5 * bend["DDPM, ddim"])
        self.assertGreater(length["DDPM, ancestral"], 5 * length["DDPM, ddim"])
        floor, distance = plane["distance_of_two_draws"], plane["distance"]
        print("distances:", {model: {rule: [round(v, 3) for v in by.values()] for rule, by in rules.items()} for model, rules in distance.items()})
        self.assertLess(floor, 0.08)
        for model, rule in (("ddpm", "ddim"), ("ddpm", "ancestral"), ("flow", "euler")):
            by_steps = distance[model][rule]
            self.assertLess(by_steps["50"], by_steps["2"])
            self.assertLess(by_steps["50"], 0.2, (model, rule))
        self.assertLess(distance["flow"]["euler"]["2"], distance["ddpm"]["ddim"]["2"], "a flow goes far in few steps")
        none, own, strong = numbers["Guidance"]["guidance"]
        print("guidance:", none, own, strong)
        self.assertLess(own["distance"], none["distance"] / 3)
        self.assertLess(own["distance"], strong["distance"], "too much overshoots")
        self.assertGreater(strong["radius_by_data"], own["radius_by_data"])
        self.assertAlmostEqual(own["radius_by_data"], 1, delta=0.1)

    def test_same_bytes(self):
        again = self.folder / "again"
        explain(again, *SMALL, env=programs.environment(OMP_NUM_THREADS=2))
        self.assertEqual(programs.files_below(again), programs.files_below(self.small))
        other = self.folder / "other"
        explain(other, *SMALL, "seed=7")
        differ = {name for name, data in programs.files_below(other).items() if data != programs.files_below(self.small)[name]}
        self.assertEqual(differ, {"strips.png", "pairs.png", "trajectories.png", "states.png", "steps_ddpm.png", "steps_flow.png", "guidance.png",
                                  "index.html", "explain.json"}, "noise and networks, not the curves")

    def test_own_picture(self):
        out = self.folder / "own"
        explain(out, *SMALL, f"picture={self.small / 'gamma.png'}")
        self.assertNotEqual((out / "strips.png").read_bytes(), (self.small / "strips.png").read_bytes())
        self.assertEqual((out / "guidance.png").read_bytes(), (self.small / "guidance.png").read_bytes())
        self.assertIn("gamma.png", (out / "index.html").read_text())

    def test_called_again(self):
        before = {name: os.stat(self.small / name).st_mtime_ns for name in os.listdir(self.small)}
        self.assertIn("nothing to do", explain(self.small, *SMALL))
        self.assertIn("holds something else", explain(self.small, *SMALL, "seed=8", expect=programs.USER_MISTAKE))
        self.assertEqual({name: os.stat(self.small / name).st_mtime_ns for name in os.listdir(self.small)}, before)
        empty = self.folder / "empty"
        empty.mkdir()
        self.assertIn("would be made", explain(empty, *SMALL, "--dry-run"))
        self.assertEqual(os.listdir(empty), [])
        explain(empty, *SMALL)
        self.assertEqual(programs.files_below(empty), programs.files_below(self.small))

    def test_killed(self):
        """A kill leaves a hidden folder, which the next call removes; a stop leaves nothing."""
        inside = self.folder / "killed"
        inside.mkdir()
        for number, code, left in ((signal.SIGTERM, programs.REQUEUE, 0), (signal.SIGKILL, -signal.SIGKILL, 1)):
            process = subprocess.Popen(programs.command("explain", f"output={inside / 'page'}", "toy_steps=1000000"), cwd=SOURCE,
                                       env=programs.environment(), stderr=subprocess.DEVNULL)
            deadline = time.time() + 120
            while not any(inside.rglob("strips.png")):
                self.assertLess(time.time(), deadline)
                self.assertIsNone(process.poll())
                time.sleep(0.05)
            process.send_signal(number)
            self.assertEqual(process.wait(60), code)
            self.assertFalse((inside / "page").exists())
            self.assertEqual(len(os.listdir(inside)), left, os.listdir(inside))
        explain(inside / "page", *SMALL)
        self.assertEqual(os.listdir(inside), ["page"])

    def test_of_a_run(self):
        """Its grids hold what `generate` paints by the same noise, pixel by pixel."""
        programs.need_data()
        programs.run("train", *programs.train_words(self.folder, "guided", "steps=20", "captions=[name]", "optimizer.lr=3e-3", "ema.decay=0.9",
                                                    "sampling={prompts: [red heart, pizza], every_steps: 0, steps: 4, guidance: 3}"))
        run, out = self.folder / "guided", self.folder / "of_run"
        explain(out, *SMALL, f"run={run}", "seed=5")
        numbers = json.loads((out / "explain.json").read_text())["A trained run"]
        self.assertEqual((numbers["prompts"], numbers["step"]), (["red heart", "pizza"], 20))
        for sheet, more, batch in (("run_guidance", "guidance=2", 2), ("run_steps", "steps=2", 1)):
            painted = self.folder / f"painted_{sheet}"
            programs.run("generate", "--run", run, "--prompt", "red heart", "num_images=1", "seed=5", f"batch_size={batch}", more, f"out={painted}")
            width, height, pixels = pictures.pixels((painted / "000000.png").read_bytes())
            rows = [pixels[3 * width * y:3 * width * (y + 1)] for y in range(height)]
            wide, high, whole = pictures.pixels((out / f"{sheet}.png").read_bytes())
            self.assertTrue(self.holds((wide, high, whole), rows, 300 // width), f"{sheet}: generate's picture is in the sheet")
            other = [rows[0]] + rows[:-1]
            self.assertFalse(self.holds((wide, high, whole), other, 300 // width), "the control: a moved one is not")
        # What hangs on the run's own rule goes with it: s_churn is not of dpmpp_2m.
        programs.run("train", *programs.train_words(self.folder, "churned", "steps=1", "captions=[name]",
                                                    "sampling={prompts: [pizza], every_steps: 0, rule: heun, s_churn: 2}"))
        explain(self.folder / "of_churned", *SMALL, f"run={self.folder / 'churned'}", "--dry-run")
        # What hangs on the run's guidance goes without it where another is shown; one that learned no null is not guided, whatever it says.
        programs.run("train", *programs.train_words(self.folder, "rescaled", "steps=1", "captions=[name]",
                                                    "sampling={prompts: [pizza], every_steps: 0, steps: 2, guidance_rescale: 0.7, guidance_max: 5}"))
        explain(self.folder / "of_rescaled", *SMALL, f"run={self.folder / 'rescaled'}")
        plain = self.folder / "plain.yaml"
        plain.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in {
            "model": UNGUIDED, "objective": {"path": "linear", "prediction": "eps"}, "caption_drop": 0, "mask_ratio": 0, "captions": ["name"],
            "sampling": {"prompts": ["unconditional"], "steps": 2}}.items()))
        programs.run("train", "--config", plain, f"data=[{{dataset: {programs.DATASET}}}]", f"runs={self.folder}", "name=plain", "size=64",
                     "batch_size=8", "steps=1", "threads_per_rank=1", "checkpoint.every_minutes=0")
        explain(self.folder / "of_plain", *SMALL, f"run={self.folder / 'plain'}")
        page = (self.folder / "of_plain/index.html").read_text()
        self.assertIn("no guidance to show", page)
        self.assertIn("with guidance 1 and one start noise", page)
        # Nothing of the toys depends on the run.
        self.assertEqual((out / "levels.png").read_bytes(), (self.small / "levels.png").read_bytes())
        self.assertIn("step", explain(self.folder / "x", f"run={run}", "step=3", expect=programs.USER_MISTAKE))
        self.assertFalse((self.folder / "x").exists())

    @staticmethod
    def holds(sheet, rows, times):
        """Whether the sheet has the picture of `rows`, each pixel `times` as large."""
        wide, high, pixels = sheet
        large = [b"".join(row[3 * x:3 * x + 3] * times for x in range(len(row) // 3)) for row in rows for _ in range(times)]
        for y in range(high - len(large) + 1):
            line = pixels[3 * wide * y:3 * wide * (y + 1)]
            at = line.find(large[0])
            while at >= 0:
                if all(pixels[3 * wide * (y + i) + at:3 * wide * (y + i) + at + len(row)] == row for i, row in enumerate(large)):
                    return True
                at = line.find(large[0], at + 1)
        return False


if __name__ == "__main__":
    unittest.main()
