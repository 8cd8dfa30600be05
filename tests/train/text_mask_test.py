#!/usr/bin/env python3
"""model.text_mask through the programs: what lies in text rows behind a caption's last token changes no bit of a training, and of a
picture; without the key it does. Resume, init, data without lengths."""
import json
import os
import pathlib
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path[:0] = [str(SOURCE / "tests"), str(SOURCE / "tests/eval")]
import programs  # noqa: E402

try:
    import made_latents
    import numpy
except ImportError as missing:
    programs.skip(f"{missing} (scripts/setup.sh --oracles makes .venv-oracles)")

SAMPLES, STEPS, MASK = 40, 6, "model.text_mask=true"


def values(tensor):
    return numpy.frombuffer(tensor[1], "<f4").reshape(tensor[0])


class TextMask(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_text_mask_")
        cls.root = pathlib.Path(cls.scratch.name)
        facts = json.loads((programs.LATENTS / "facts.json").read_text())
        draw = numpy.random.default_rng(5)
        shape = (SAMPLES, facts["text_length"], facts["text_width"])
        cls.rows, cls.lengths = draw.normal(size=shape).astype("<f2"), draw.integers(2, shape[1] + 1, SAMPLES).astype("<i4")
        hidden = numpy.arange(shape[1]) >= cls.lengths[:, None]
        for name, garbage in (("clean", 0), ("dirty", 20)):
            made_latents.make(cls.root, name, SAMPLES, 8, numpy.where(hidden[..., None], garbage * cls.rows, cls.rows).astype("<f2"),
                              cls.lengths)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def train(self, name, data, *words, steps=STEPS, **options):
        base = programs.train_words(self.root / "runs", name, f"data=[{{dataset: {data}}}]", "captions=[name]", f"steps={steps}",
                                    "caption_drop=0.3", "schedule.decay_steps=20", "optimizer.lr=3e-3", "checkpoint.every_steps=3")
        return programs.run("train", *base, *words, data=self.root, **options)

    def weights(self, name, step=STEPS):
        return programs.read_checkpoint(programs.checkpoint(self.root / "runs" / name, step))

    def facts(self, name):
        return json.loads((self.root / "runs" / name / "facts.json").read_text())

    def test_hidden_rows_change_no_bit_of_a_training(self):
        for data in ("clean", "dirty"):
            self.train(f"{data}_on", data, MASK)
            self.train(f"{data}_masked", data, MASK, "mask_ratio=0.5", "microbatch_size=3")
            self.train(f"{data}_off", data)
        self.assertEqual(self.weights("clean_on"), self.weights("dirty_on"))
        self.assertEqual(self.weights("clean_masked"), self.weights("dirty_masked"))
        self.assertNotEqual(self.weights("clean_off"), self.weights("dirty_off"), "the control: every row is seen without the key")
        self.assertNotEqual(self.weights("clean_off"), self.weights("clean_on"), "rows of zeros are attended to as well")
        self.train("micro", "dirty", MASK, "microbatch_size=3")
        runs = self.root / "runs"
        self.assertLess(programs.greatest_difference(runs / "dirty_on", runs / "micro", 1, STEPS), 1e-5)
        self.assertIs(self.facts("clean_on")["model"]["text_mask"], True)
        self.assertNotIn("text_mask", self.facts("clean_off")["model"], "an older run's record is the same")

    def test_two_ranks_train_alike(self):
        programs.need_mpi()
        self.train("one", "dirty", MASK)
        self.train("two", "dirty", MASK, ranks=2)
        self.assertLess(programs.greatest_difference(self.root / "runs/one", self.root / "runs/two", 1, STEPS), 1e-5)

    def test_the_held_out_loss_does_not_see_hidden_rows_either(self):
        results = []
        for data in ("clean", "dirty"):
            self.train(f"loss_{data}", data, MASK)
            programs.run("evaluate", "--run", self.root / "runs" / f"loss_{data}", "prompts=1", "loss_draws=1", "steps=1",
                         data=self.data_with_weights())
            results.append(json.loads((self.root / f"runs/loss_{data}/evaluation/latest/metrics.json").read_text())["loss"])
        self.assertEqual(*results)

    def data_with_weights(self):
        link = self.root / "weights"
        if not link.exists():
            link.symlink_to(programs.DATA / "weights")
        return self.root

    def test_a_resume_keeps_the_key(self):
        self.train("whole", "dirty", MASK)
        self.train("parts", "dirty", MASK, steps=3)
        before = programs.files_below(self.root / "runs/parts")
        log = self.train("parts", "dirty", expect=programs.USER_MISTAKE)
        self.assertIn("model.text_mask: true -> null", log)
        self.assertEqual(programs.files_below(self.root / "runs/parts"), before)
        self.train("parts", "dirty", MASK)
        self.assertEqual(self.weights("parts"), self.weights("whole"))
        self.train("without", "dirty", steps=3)
        self.assertIn("model.text_mask: null -> true", self.train("without", "dirty", MASK, expect=programs.USER_MISTAKE))
        self.train("without", "dirty", "model.text_mask=false")

    def test_a_start_from_weights_that_know_no_mask(self):
        self.train("origin", "dirty")
        file = self.root / "origin.safetensors"
        programs.run("convert", "--input", self.root / "runs/origin", "--output", file)
        for data in ("clean", "dirty"):
            self.train(f"from_{data}", data, MASK, f"init.from={file}", "init.load=weights")
        self.assertEqual(self.weights("from_clean"), self.weights("from_dirty"))

    def test_a_learned_null_is_learned(self):
        """Dropped captions become the row that guidance leads away from: it has gradients, and no other rows' content."""
        def train(name, data, *words):
            programs.run("train", "--config", SOURCE / "configs/train/nano_debug.yaml", f"runs={self.root / 'runs'}", f"name={name}",
                         f"data=[{{dataset: {data}}}]", "size=64", "captions=[name]", "batch_size=8", "steps=3", "sampling.every_steps=0",
                         "validation={every_steps: 0, patience: 0}", "model={dim: 32, depth: 2, num_heads: 2, num_classes: 0, learned_null: true}",
                         *words, data=self.root)
            return self.weights(name, 3)

        for name, words in (("learned", ["caption_drop=0.3"]), ("learned_masked", ["caption_drop=0.3", MASK])):
            state = train(name, "dirty", *words)
            for kept in ("exp_avg", "exp_avg_sq"):
                self.assertGreater(abs(values(state[f"{kept}/null_text"])).max(), 0, name)
        self.assertEqual(*(train(f"alone_{data}", data, "caption_drop=1") for data in ("clean", "dirty")), "the null row alone is seen")

    def test_data_without_lengths_is_refused(self):
        mds = SOURCE / "tests/stream/mds/plain"
        words = programs.train_words(self.root / "runs", "mds", "steps=1", "captions=[]", "size=32", "model.caption_channels=8",
                                     f"data={json.dumps([{'mds': str(mds)}])}")
        programs.run("train", *words, "name=mds_off", data=self.root)
        for ask in ([], ["--dry-run"]):
            log = programs.run("train", *words, MASK, *ask, data=self.root, expect=programs.USER_MISTAKE)
            for phrase in ("model.text_mask", str(mds), "leave the key out", "precompute"):
                self.assertIn(phrase, log)
        self.assertFalse((self.root / "runs/mds").exists())


class Pictures(unittest.TestCase):
    """Of the small emoji, with their encoder."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_text_mask_")
        cls.folder = pathlib.Path(cls.scratch.name)
        programs.run("train", *programs.train_words(cls.folder, "run", "steps=20", "captions=[name]", "optimizer.lr=3e-3", MASK,
                                                    "sampling.every_steps=20", "sampling.steps=2", "sampling.prompts=[pizza]"))
        facts = json.loads((cls.folder / "run/facts.json").read_text())
        cls.config = cls.folder / "network.yaml"
        cls.config.write_text(json.dumps({"model": facts["model"], "objective": facts["objective"]}))
        cls.weights = cls.folder / "weights.safetensors"
        programs.run("convert", "--input", cls.folder / "run", "--output", cls.weights)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def probe(self, unit, text, mask, **options):
        given, made = self.folder / "given.safetensors", self.folder / "made.safetensors"
        tensors = {"x": unit, "text": text} | ({} if mask is None else {"text_mask": mask})
        programs.write_safetensors(given, {name: (list(t.shape), t.astype("<f4").tobytes()) for name, t in tensors.items()})
        log = programs.run("probe", "sample", "--config", self.config, "--weights", self.weights, "--input", given, "--output", made,
                           "steps=3", "guidance=4", **options)
        return log if options else values(programs.read_safetensors(made)["sample"])

    def test_the_same_prompt_padded_otherwise_is_the_same_picture(self):
        out = self.folder / "out"
        programs.run("generate", "--run", self.folder / "run", "--prompt", "pizza", "--prompt", "red heart with a long tail",
                     "num_images=1", "steps=3", "guidance=4", "save_latents=true", f"out={out}")
        painted = {name: values(t) for name, t in programs.read_safetensors(out / "latents.safetensors").items()}
        unit, text, mask, sample = (painted[name] for name in ("unit", "text", "text_mask", "sample"))
        lengths = mask.sum(1).astype(int)
        self.assertTrue((mask == (numpy.arange(mask.shape[1]) < lengths[:, None])).all())
        self.assertEqual([lengths[0] >= 3, lengths[1] > lengths[0]], [True, True])
        same = self.probe(unit, text, mask)
        numpy.testing.assert_allclose(same, sample, rtol=0, atol=1e-5 * abs(sample).max())
        dirty = numpy.where(mask[..., None] > 0, text, 7)
        numpy.testing.assert_array_equal(self.probe(unit, dirty, mask), same)
        cut = slice(0, lengths.max())  # fewer rows of padding: to rounding
        numpy.testing.assert_allclose(self.probe(unit, text[:, cut], mask[:, cut]), same, rtol=0, atol=1e-4 * abs(sample).max())
        other = self.probe(unit, text, numpy.ones_like(mask))
        self.assertGreater(abs(other - same).max(), 1e-3 * abs(sample).max(), "the control: another mask is another picture")

    def test_a_missing_mask_is_named(self):
        unit, text = numpy.zeros((1, 4, 8, 8)), numpy.zeros((1, 5, 384))
        self.assertIn('tensor "text_mask" [B, L] is missing', self.probe(unit, text, None, expect=programs.USER_MISTAKE))
        self.assertIn('tensor "text_mask" [B, L] is [1, 4]', self.probe(unit, text, numpy.ones((1, 4)), expect=programs.USER_MISTAKE))

    def test_evaluation_and_the_grid_of_training(self):
        self.assertTrue((self.folder / "run/samples/step_0000020.png").exists())
        programs.run("evaluate", "--run", self.folder / "run", "prompts=2", "loss_draws=1", "loss_samples=8", "steps=2",
                     "save_latents=true")
        latents = programs.read_safetensors(self.folder / "run/evaluation/latest/held_out_latents.safetensors")
        self.assertEqual(latents["text_mask"][0], latents["text"][0][:2])


if __name__ == "__main__":
    programs.need_data()
    unittest.main(verbosity=2)
