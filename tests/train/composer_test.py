#!/usr/bin/env python3
"""A training of Composer's (or of plain torch) goes on mid-run from its .pt: weights, Adam's moments, step. The files are written by torch in
their layout, from what a run of ours had at a step; it must then go on to the bit as that run did."""
import os
import pathlib
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

try:
    import torch
except ImportError:
    programs.skip("torch is not installed in this Python (scripts/setup.sh --oracles)")

MIDDLE, LAST = 4, 8


class Composer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_composer_")
        cls.folder = pathlib.Path(cls.scratch.name)
        cls.whole = cls.train("whole")
        middle = programs.read_checkpoint(programs.checkpoint(cls.whole, MIDDLE))
        cls.tensors = {kind: {} for kind in ("weights", "exp_avg", "exp_avg_sq", "buffers")}
        for name, (shape, data) in middle.items():
            kind, parameter = name.split("/", 1)
            cls.tensors[kind][parameter] = torch.frombuffer(bytearray(data), dtype=torch.float32).view(shape)
        # A state dict lists parameters as the network has them, and of each module its buffers behind them.
        file = cls.folder / "order.pt"
        programs.run("convert", "--input", programs.checkpoint(cls.whole, MIDDLE), "--output", file, "weights=raw")
        cls.order = [name for name in torch.load(file, weights_only=True) if name in cls.tensors["weights"]]

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    @classmethod
    def train(cls, name, *overrides, steps=LAST, expect=programs.DONE, ranks=1):
        words = programs.train_words(cls.folder, name, f"steps={steps}", f"checkpoint.every_steps={MIDDLE}", "schedule.decay_steps=100",
                                     "ema.decay=0", *overrides)
        cls.log = programs.run("train", *words, expect=expect, ranks=ranks)
        return cls.folder / name

    def model(self, prefix="dit."):
        state = {}
        for name in self.order:
            state[prefix + name] = self.tensors["weights"][name]
        for name, buffer in self.tensors["buffers"].items():
            state[prefix + name] = buffer
        return state

    def moments(self, name):
        return {"step": torch.tensor(float(MIDDLE)), "exp_avg": self.tensors["exp_avg"][name], "exp_avg_sq": self.tensors["exp_avg_sq"][name]}

    def save(self, name, optimizer, prefix="dit."):
        """As Composer's latest-rank0.pt lies."""
        path = self.folder / name
        torch.save({"state": {"model": self.model(prefix), "optimizers": {"AdamW": optimizer}, "rank_zero_seed": 18,
                              "timestamp": {"Timestamp": {"epoch": 0, "batch": MIDDLE, "sample": 8 * MIDDLE}}, "run_name": "theirs"},
                    "rng": [{"torch": torch.get_rng_state()}]}, path)
        return path

    def by_name(self, prefix="dit."):
        return self.save(f"named{prefix}pt", {"state": {prefix + name: self.moments(name) for name in self.order},
                                              "param_groups": [{"lr": 1e-3, "params": [prefix + name for name in self.order]}]}, prefix)

    def test_it_goes_on_to_the_bit(self):
        for label, file in (("named", self.by_name()), ("wrapped", self.by_name("_fsdp_wrapped_module.dit."))):
            run = self.train(f"from_{label}", f"init.from={file}", "init.load=all")
            self.assertIn(f"its optimizer has made {MIDDLE} updates", self.log)
            self.assertEqual([m["step"] for m in programs.metrics(run)], list(range(MIDDLE + 1, LAST + 1)))
            self.assertEqual(programs.greatest_difference(self.whole, run, MIDDLE + 1, LAST), 0)
            self.assertEqual(programs.read_checkpoint(programs.checkpoint(run, LAST)), programs.read_checkpoint(programs.checkpoint(self.whole, LAST)))

    def test_torchs_own_optimizer_numbers_its_parameters(self):
        parameters = [torch.nn.Parameter(self.tensors["weights"][name].clone()) for name in self.order]
        optimizer = torch.optim.AdamW(parameters)
        for parameter, name in zip(parameters, self.order):
            optimizer.state[parameter] = self.moments(name)
        file = self.save("numbered.pt", optimizer.state_dict())
        run = self.train("from_numbers", f"init.from={file}", "init.load=all")
        self.assertEqual(programs.greatest_difference(self.whole, run, MIDDLE + 1, LAST), 0)
        swapped = optimizer.state_dict()
        swapped["state"][0], swapped["state"][1] = swapped["state"][1], swapped["state"][0]
        self.train("from_wrong_numbers", f"init.from={self.save('swapped.pt', swapped)}", "init.load=all", expect=programs.USER_MISTAKE)
        self.assertRegex(self.log, r"swapped.pt: its optimizer numbers \d+ parameters .*init.load=weights")
        self.assertFalse((self.folder / "from_wrong_numbers").exists())

    def test_on_several_ranks_sharded_in_full(self):
        run = self.train("from_full", f"init.from={self.by_name()}", "init.load=all", "sharding=full", ranks=2)
        self.assertLess(programs.greatest_difference(self.whole, run, MIDDLE + 1, LAST), 1e-5)

    def test_the_optimizer_without_its_step(self):
        start = f"init.from={self.by_name()}"
        weights = self.train("weights_alone", start, "init.load=weights", steps=3)
        both = self.train("with_moments", start, "init.load=weights+optimizer", steps=3)
        self.assertEqual([m["step"] for m in programs.metrics(both)], [1, 2, 3])
        self.assertEqual(programs.greatest_difference(weights, both, 1, 2), 0)  # the first rate is 0
        self.assertGreater(programs.greatest_difference(weights, both, 3, 3), 0)

    def test_the_averaged_weights_of_a_file_with_both(self):
        """As nano-diffusion's trainer saves: the average is taken, and stays beside the moments."""
        file = self.folder / "nano.pt"
        other = {name: tensor + 0.01 for name, tensor in self.model("").items()}
        torch.save({"model_state_dict": self.model(""), "ema_model_state_dict": {f"ema_model.{name}": tensor for name, tensor in other.items()},
                    "optimizer_state_dict": {"state": {name: self.moments(name) for name in self.order}}}, file)
        alone = self.train("average_alone", f"init.from={file}", "init.weights=ema", steps=2)
        both = self.train("average_and_moments", f"init.from={file}", "init.weights=ema", "init.load=weights+optimizer", steps=2)
        raw = self.train("raw_and_moments", f"init.from={file}", "init.load=weights+optimizer", steps=2)
        self.assertEqual(programs.greatest_difference(alone, both, 1, 1), 0)
        self.assertGreater(programs.greatest_difference(alone, raw, 1, 1), 0)

    def test_what_is_missing_is_said(self):
        plain = self.folder / "plain.pt"
        torch.save(self.model(""), plain)
        self.train("no_moments", f"init.from={plain}", "init.load=all", expect=programs.USER_MISTAKE)
        self.assertIn("holds no optimizer and no step", self.log)
        short = self.save("short.pt", {"state": {f"dit.{name}": self.moments(name) for name in self.order[:-1]}})
        self.train("short", f"init.from={short}", "init.load=all", expect=programs.USER_MISTAKE)
        self.assertIn(f"holds no exp_avg/{self.order[-1]}", self.log)
        no_step = self.save("no_step.pt", {"state": {f"dit.{name}": {k: v for k, v in self.moments(name).items() if k != "step"} for name in self.order}})
        self.train("no_step", f"init.from={no_step}", "init.load=all", expect=programs.USER_MISTAKE)
        self.assertIn("does not say how many updates", self.log)
        self.train("done", f"init.from={self.by_name()}", "init.load=all", steps=MIDDLE, expect=programs.USER_MISTAKE)
        self.assertIn("nothing to train", self.log)
        for name in ("no_moments", "short", "no_step", "done"):
            self.assertFalse((self.folder / name).exists(), name)


if __name__ == "__main__":
    programs.need_data()
    programs.need_mpi()
    unittest.main()
