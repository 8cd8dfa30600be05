#!/usr/bin/env python3
"""All from scratch, small, through the programs: own tokenizer (train_tokenizer), own codec (train_codec), token-only latents, and a text encoder
that is trained with each kind of network: 2 ranks, accumulation, bf16, resume, pictures, evaluation; what is refused."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

SECTION = ["model.text_conditioner={width: 16, depth: 1, heads: 2}"]
QUICK = ["batch_size=8", "schedule.decay_steps=12", "checkpoint={every_steps: 1000, every_minutes: 0}", "schedule.warmup_steps=2", "log_every_steps=1",
         "sampling.every_steps=0", "optimizer.lr=2e-3", "precision=fp32", "microbatch_size=0"]
KINDS = {
    "unet": ("emoji_ddpm", ["model.block_out_channels=[16, 32]", "model.layers_per_block=1", "model.norm_num_groups=4",
                            "model.attention_head_dim=2", *SECTION]),
    "dit": ("emoji_ddpm_dit", ["model.dim=32", "model.depth=2", "model.num_heads=2", *SECTION]),
    "microdit": ("emoji", [*programs.TINY_MODEL, *SECTION])}


class Chain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        programs.need_data()
        programs.need_mpi()
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_chain_")
        cls.root = pathlib.Path(cls.scratch.name)
        cls.data = cls.root / "data"
        (cls.data / "samples").mkdir(parents=True)
        (cls.data / "samples" / programs.DATASET).symlink_to((programs.DATA / "samples" / programs.DATASET).resolve())
        cls.log = cls.tokenizer("tokens")
        cls.run_program("train_codec", "--config", SOURCE / "configs/train/emoji_ddpm_codec.yaml", f"data=[{{dataset: {programs.DATASET}}}]",
                        f"runs={cls.root}", "name=codec", "batch_size=4", "steps=2", "codec.block_out_channels=[8, 8, 16, 16]",
                        "codec.norm_num_groups=4", "schedule.warmup_steps=1", "picture_every_steps=0", "checkpoint.every_minutes=0")
        cls.recipe = programs.write_recipe(cls.root / "recipe.yaml", "emoji_ddpm", images={"codec": cls.root / "codec/codec"},
                                           text={"encoder": cls.data / "weights/tokens"})
        cls.precompute()
        cls.train("unet", "steps=12")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    @classmethod
    def run_program(cls, name, *words, **options):
        return programs.run(name, *words, data=cls.data, **options)

    @classmethod
    def tokenizer(cls, name, *words, **options):
        return cls.run_program("train_tokenizer", "--config", SOURCE / "configs/tokenizers/emoji.yaml", f"name={name}",
                               f"data=[{{dataset: {programs.DATASET}}}]", *([] if any("vocabulary=" in str(word) for word in words) else ["vocabulary=400"]),
                               *words, **options)

    @classmethod
    def precompute(cls, **options):
        return cls.run_program("precompute", "--config", SOURCE / "configs/datasets/emoji_ddpm.yaml", f"name={programs.DATASET}",
                               f"recipe={cls.recipe}", **options)

    @classmethod
    def train(cls, kind, *words, name=None, data="emoji_ddpm", **options):
        config, small = KINDS[kind]
        return cls.run_program("train", "--config", SOURCE / f"configs/train/{config}.yaml",
                               f"data=[{{dataset: {programs.DATASET}, recipe: {data}}}]", f"runs={cls.root}", f"name={name or kind}", "size=64",
                               *QUICK, *small, *words, **options)

    def paint(self, run, out, *words, **options):
        self.run_program("generate", "--run", self.root / run, "steps=4", "num_images=1", f"out={self.root / out}", *words, **options)
        return (self.root / out / "000000.png").read_bytes()

    def weights(self, run, step):
        return programs.read_checkpoint(programs.checkpoint(self.root / run, step))

    def ids(self, tokenizer, *texts):
        (self.root / "lines").write_text("".join(json.dumps(text) + "\n" for text in texts))
        self.run_program("probe", "tokenize", "--encoder", self.data / "weights" / tokenizer, "--input", self.root / "lines", "--output",
                         self.root / "ids")
        return [json.loads(line) for line in (self.root / "ids").read_text().splitlines()]

    def settings(self):
        return json.loads((self.data / "weights/tokens/config.json").read_text())

    def test_a_tokenizer_is_a_function_of_captions_and_settings(self):
        self.assertIn("400 pieces from", self.log)
        self.assertIn("is there already", self.tokenizer("tokens"))
        before = programs.files_below(self.data / "weights/tokens")
        self.tokenizer("tokens", f"output={self.root / 'again'}")
        self.assertEqual(programs.files_below(self.root / "again"), before)
        manifest = json.loads((self.data / "samples" / programs.DATASET / "manifest.jsonl").read_text().splitlines()[-1])
        self.assertIn(self.settings()["made_of"]["data"][0]["sha256"], json.dumps(manifest))
        self.tokenizer("names", "captions=[name]", "vocabulary=300")
        self.assertNotEqual((self.data / "weights/names/spiece.model").read_bytes(), before["spiece.model"])
        self.tokenizer("cased", "fold_case=false")
        self.assertEqual(*self.ids("tokens", "RED Heart", "red heart"))
        self.assertNotEqual(*self.ids("cased", "RED Heart", "red heart"))
        self.tokenizer("fewer", "character_coverage=0.99")
        self.assertNotEqual((self.data / "weights/fewer/spiece.model").read_bytes(), before["spiece.model"])

    def test_held_out_captions_are_not_looked_at(self):
        import h5py
        texts = [set(), set()]
        for path in (self.data / "samples" / programs.DATASET).glob("*.h5"):
            with h5py.File(path) as shard:
                for source in ("name", "name_and_keywords"):
                    offsets, text = shard[f"caption.{source}_offsets"][:], shard[f"caption.{source}"][:].tobytes()
                    for i, split in enumerate(shard["split"][:]):
                        texts[split].add(text[offsets[i]:offsets[i + 1]])
        self.assertTrue(texts[1])
        self.assertEqual(self.settings()["made_of"]["num_captions"], len(texts[0] - {b""}))

    def test_ids_are_those_of_the_ecosystem(self):
        try:
            import sentencepiece
            from transformers import T5Tokenizer
        except ImportError as error:
            self.skipTest(f"no {error.name}")
        folder = self.data / "weights/tokens"
        texts = ["red heart", "Grinning face with big eyes", "flag: Japan", "", "  two  spaces", "ﬁne ½ Ångström", "日本語 emoji", "</s> <pad>"]
        ours = self.ids("tokens", *texts)
        self.assertEqual(ours, T5Tokenizer.from_pretrained(folder)(texts)["input_ids"])
        library = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
        self.assertEqual(len(library), 400)
        for text, ids in zip(texts[:6], ours):
            self.assertEqual(ids, [*library.encode(text), 1], text)

    def test_what_a_tokenizer_cannot_be(self):
        most = self.tokenizer("large", "vocabulary=100000", expect=programs.USER_MISTAKE)
        self.assertRegex(most, r"vocabulary=100000: the \d+ captions yield \d+ pieces at most; set vocabulary=\d+")
        number = most.split("set vocabulary=")[1].split(",")[0]
        self.tokenizer("largest", f"vocabulary={number}")
        self.assertRegex(self.tokenizer("small", "vocabulary=9", expect=programs.USER_MISTAKE), r"captions have \d+ different characters")
        self.assertIn("no such caption source", self.tokenizer("x", "captions=[title]", expect=programs.USER_MISTAKE))
        self.assertIn("other settings", self.tokenizer("tokens", "vocabulary=300", expect=programs.USER_MISTAKE))
        self.assertIn("did not make", self.tokenizer("x", f"output={self.root / 'codec'}", expect=programs.USER_MISTAKE))
        self.assertIn("nothing_here", self.tokenizer("x", "data=[{dataset: nothing_here}]", expect=programs.USER_MISTAKE))
        for folder in ("large", "small", "x"):
            self.assertFalse((self.data / "weights" / folder).exists())
        self.assertEqual([path.name for path in (self.data / "weights").iterdir() if path.name.startswith(".")], [])
        self.assertIn("is not complete yet",
                      self.tokenizer("x", "data=[{dataset: nothing_here}]", "--dry-run"))
        self.assertIn("400 pieces ->", self.tokenizer("tokens", "--dry-run"))

    def test_it_learns_and_paints_by_its_own_tokens(self):
        losses = [line["loss"] for line in programs.metrics(self.root / "unet") if "loss" in line]
        self.assertLess(sum(losses[-4:]), sum(losses[:4]))
        facts = json.loads((self.root / "unet/facts.json").read_text())
        encoder, section = facts["text_encoder"], facts["model"]["text_conditioner"]
        self.assertEqual((encoder["kind"], encoder["vocabulary"], section["vocabulary"], section["length"]), ("tokenizer", 400, 400, 24))
        self.assertEqual(facts["model"]["caption_channels"], 16)
        self.assertIn("weights/text_conditioner.token_embedding.weight", self.weights("unet", 12))
        a, b, c = (self.paint("unet", name, "--prompt", prompt) for name, prompt in (("a", "pizza"), ("b", "fire"), ("c", "pizza")))
        self.assertEqual(a, c)
        self.assertNotEqual(a, b)
        self.assertNotEqual(self.paint("unet", "d", "--prompt", "pizza", "guidance=1"), a)
        self.assertNotEqual(self.paint("unet", "e", "--prompt", "pizza", "negative=fire"), a)
        self.assertIn("longer than 24 tokens", self.run_program("generate", "--run", self.root / "unet", "steps=2", "num_images=1",
                                                                f"out={self.root / 'long'}", "--prompt", "pizza " * 40))
        self.assertIn("metrics.json", self.run_program("evaluate", "--run", self.root / "unet", "prompts=4", "candidates=16", "loss_samples=8",
                                                       "steps=2"))

    def test_pictures_again_with_probe(self):
        """save_latents says what the network was given: probe makes the same of it."""
        self.paint("unet", "saved", "--prompt", "pizza", "save_latents=true", "negative=fire", "guidance=3", "weights=raw")
        saved = self.root / "saved/latents.safetensors"
        names = programs.read_safetensors(saved).keys()
        self.assertTrue({"tokens", "text_length", "negative_tokens", "negative_length", "unit", "sample"} <= names, names)
        self.run_program("convert", "--input", self.root / "unet", "--output", self.root / "unet.safetensors", "weights=raw")
        facts = json.loads((self.root / "unet/facts.json").read_text())
        (self.root / "model.yaml").write_text(json.dumps({"model": facts["model"], "objective": facts["objective"]}))
        tensors, dtypes = {}, {}
        for name, tensor in programs.read_safetensors(saved).items():
            tensors["x" if name == "unit" else name] = tensor
            if "tokens" in name or "length" in name:
                dtypes[name] = "I64"
        programs.write_safetensors(self.root / "in.safetensors", tensors, dtypes)
        self.run_program("probe", "sample", "--config", self.root / "model.yaml", "--weights", self.root / "unet.safetensors", "--input",
                         self.root / "in.safetensors", "--output", self.root / "out.safetensors", "steps=4", "guidance=3", "rule=ddim")
        ours, theirs = programs.read_safetensors(self.root / "out.safetensors")["sample"], tensors["sample"]
        self.assertLess(programs.relative_difference(ours, theirs), 1e-4)

    def test_a_picture_painted_again_has_its_own_tokens(self):
        """--from-image paints in the picture's own place of a batch: what is saved is of that picture alone."""
        def saved(out, *words):
            self.run_program("generate", *words, f"out={self.root / out}", "save_latents=true")
            return programs.read_safetensors(self.root / out / "latents.safetensors")

        all_of_them = saved("three", "--run", self.root / "unet", "steps=2", "num_images=1", "--prompt", "pizza", "--prompt", "fire", "--prompt", "sunflower")
        again = saved("third", "--from-image", self.root / "three/000002.png", "--run", self.root / "unet")
        self.assertEqual((self.root / "third/000000.png").read_bytes(), (self.root / "three/000002.png").read_bytes())
        self.assertEqual(again.keys(), all_of_them.keys())
        for name, (shape, data) in again.items():
            self.assertEqual(shape[0], 1, name)
            self.assertEqual(data, all_of_them[name][1][-len(data):], name)

    def test_ranks_accumulation_bf16_and_resume(self):
        self.train("unet", "steps=4", name="parts")
        self.train("unet", "steps=12", name="parts")
        self.assertEqual(self.weights("parts", 12)["weights/text_conditioner.position_embedding"],
                         self.weights("unet", 12)["weights/text_conditioner.position_embedding"])
        self.train("unet", "steps=3", "microbatch_size=2", name="two", ranks=2)
        self.assertLess(programs.greatest_difference(self.root / "two", self.root / "unet", 1, 3), 1e-4)
        self.train("unet", "steps=3", "microbatch_size=2", "precision=bf16", name="half", ranks=2)
        self.assertTrue(0 < programs.greatest_difference(self.root / "half", self.root / "unet", 1, 3) < 0.05)
        self.train("unet", "steps=4", "precision=bf16", "sampling={every_steps: 4, steps: 2, prompts: [pizza, fire]}",
                   "validation={every_steps: 4, samples: 8, levels: 2}", name="half", ranks=2)
        self.assertTrue((self.root / "half/samples/step_0000004.png").exists())
        self.assertTrue(any("validation" in line for line in programs.metrics(self.root / "half")))

    def test_every_kind_of_network(self):
        for kind in ("dit", "microdit"):
            self.train(kind, "steps=2")
            pictures = {self.paint(kind, f"{kind}_{prompt}", "--prompt", prompt) for prompt in ("pizza", "fire")}
            self.assertEqual(len(pictures), 2, kind)

    def test_another_tokenizer_s_weights_are_no_start(self):
        self.tokenizer("folded", "fold_case=false")
        recipe = programs.write_recipe(self.root / "folded.yaml", "emoji_ddpm", images={"codec": self.root / "codec/codec"}, name="folded",
                                       text={"encoder": self.data / "weights/folded"})
        self.run_program("precompute", "--config", SOURCE / "configs/datasets/emoji_ddpm.yaml", f"name={programs.DATASET}", f"recipe={recipe}")
        start = f"init.from={self.root / 'unet'}"
        said = self.train("unet", "steps=1", start, name="by_another", data="folded", expect=programs.USER_MISTAKE)
        self.assertIn("tokens of another tokenizer", said)
        self.train("unet", "steps=1", start, name="by_the_same")

    def test_a_dataset_is_named_however_its_folder_is_written(self):
        folder = self.data / "samples" / programs.DATASET
        said = self.tokenizer("slash", f"data=[{{dataset: {folder}/}}]")
        made = json.loads((self.data / "weights/slash/config.json").read_text())
        self.assertIn(programs.DATASET, json.dumps(made), said)

    def test_what_is_refused(self):
        def refused(said, *words, kind="unet", **options):
            self.assertIn(said, self.train(kind, "steps=2", *words, name="refused", expect=programs.USER_MISTAKE, **options))

        refused("text_conditioner.vocabulary", "model.text_conditioner.vocabulary=7")
        refused("sampling.guidance=1", "caption_drop=0")
        refused("do not divide", "model.text_conditioner.heads=3")
        log = self.run_program("train", "--config", SOURCE / "configs/train/emoji_unet.yaml",
                               f"data=[{{dataset: {programs.DATASET}, recipe: emoji_ddpm}}]", f"runs={self.root}", "name=refused", *QUICK,
                               expect=programs.USER_MISTAKE)
        self.assertIn("model.text_conditioner", log)
        rows = [*map(str, KINDS["unet"][1])]
        log = programs.run("train", "--config", SOURCE / "configs/train/emoji_unet.yaml", f"data=[{{dataset: {programs.DATASET}}}]",
                           f"runs={self.root}", "name=refused", *QUICK, *rows, expect=programs.USER_MISTAKE)
        self.assertIn("tokens_only: true", log)
        recipe = self.recipe
        try:
            type(self).recipe = programs.write_recipe(self.root / "rows.yaml", "emoji_ddpm", name="rows", images={"codec": self.root / "codec/codec"},
                                                      text={"encoder": self.data / "weights/tokens", "tokens_only": False})
            self.assertIn("tokenizer alone", self.precompute(expect=programs.USER_MISTAKE))
        finally:
            type(self).recipe = recipe

    def test_the_readme_s_command_is_a_chain(self):
        readme = (SOURCE / "README.md").read_text()
        words = readme.split("## All from scratch")[1].split("    slurm/pipeline.sh")[1].split("\n\n")[0].replace("\\\n", " ").split()
        done = subprocess.run(["bash", "slurm/pipeline.sh", "--dry-run", *words], cwd=SOURCE, capture_output=True, text=True,
                              env=programs.environment(self.data, MICRODIT_BIN=programs.BIN))
        self.assertEqual(done.returncode, 0, done.stderr)
        jobs = [line.split("=")[0] for line in done.stdout.splitlines()]
        self.assertEqual(jobs, ["download", "clean", "train_tokenizer", "train_codec", "precompute", "emoji_ddpm", "generate", "evaluate"])
        self.assertIn('afterok:"$train_tokenizer":"$train_codec"', done.stdout)

    def test_the_tokenizer_is_found_by_what_it_is(self):
        """Elsewhere, too; another one is refused."""
        folder, moved = self.data / "weights/tokens", self.root / "moved"
        shutil.move(folder, moved)
        try:
            log = self.run_program("generate", "--run", self.root / "unet", "--prompt", "pizza", f"out={self.root / 'lost'}",
                                   expect=programs.USER_MISTAKE)
            self.assertIn("the tokenizer that the run was trained with", log)
            self.tokenizer("other_tokens", "vocabulary=300")
            shutil.copytree(self.data / "weights/other_tokens", folder)
            self.assertIn("SHA-256", self.run_program("generate", "--run", self.root / "unet", "--prompt", "pizza",
                                                      f"out={self.root / 'lost'}", expect=programs.USER_MISTAKE))
            shutil.copytree(moved, self.root / "unet/tokens")
            self.assertEqual(self.paint("unet", "found", "--prompt", "pizza"), self.paint("unet", "found_again", "--prompt", "pizza"))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.move(moved, folder)


if __name__ == "__main__":
    unittest.main()
