#!/usr/bin/env python3
"""Every job but train (tests/train/bad_input_test.py) with wrong words, missing files, hostile archives, damage, a full disk:
the exit code, a message that says where and what, and nothing half-written."""
import io
import os
import pathlib
import resource
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

EMOJI = SOURCE / "configs/datasets/emoji.yaml"
CODEC = SOURCE / "configs/train/emoji_codec.yaml"
ALL = ["download", "clean", "precompute", "train_tokenizer", "train_codec", "train", "generate", "evaluate", "score", "explain", "convert", "doctor", "probe"]


def limit_file_size(limit=20_000):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # write() then fails, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


class Job(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="microdit_bad_")
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def refused(self, name, *words, phrases, code=programs.USER_MISTAKE, left=None, **options):
        """Also: the folder is as before (or holds what `left` says)."""
        before = programs.files_below(self.folder)
        with self.subTest(job=name, words=[str(w) for w in words]):
            options.setdefault("data", self.folder)
            log = programs.run(name, *words, expect=code, **options)
            self.assertIn("error:", log)
            for phrase in phrases:
                self.assertIn(phrase, log)
            if left is None:
                self.assertEqual(sorted(programs.files_below(self.folder)), sorted(before), "files were left behind")
            return log


class CommandLine(Job):
    def test_every_job(self):
        for name in ALL:
            self.refused(name, "--no-such-option", phrases=[name, "--no-such-option"])
            for option in ("--help", "--version"):
                self.assertIn(name, programs.run(name, option))

    def test_jobs_with_a_config(self):
        for name, config in (("download", EMOJI), ("clean", EMOJI), ("precompute", EMOJI), ("train_codec", CODEC)):
            self.refused(name, phrases=[name, "--config"])
            self.refused(name, "--config", self.folder / "none.yaml", phrases=["none.yaml"])
            self.refused(name, "--config", config, "nam=x", phrases=["nam", "name"])
            self.refused(name, "--config", config, "one_word", phrases=["one_word", "key=value"])
            self.refused(name, "--config", config, "device=gpu", phrases=["device", "gpu", "cuda"])
            self.refused(name, "--config", config, "threads_per_rank=none", phrases=["threads_per_rank", "none"])
            self.assertIn("name: ", programs.run(name, "--config", config, "--print-config"))

    def test_train_tokenizer(self):
        for override, phrases in (("vocabulary=3", ["vocabulary", "3"]), ("character_coverage=2", ["character_coverage"]), ("vocabulry=9", ["vocabulary"]),
                                  ("name=../x", ["name"]), ("data=[]", ["data"]), ("device=gpu", ["device", "gpu", "cuda"])):
            self.refused("train_tokenizer", "--config", SOURCE / "configs/tokenizers/emoji.yaml", override, phrases=phrases)
        self.refused("train_tokenizer", phrases=["--config"])
        self.refused("train_tokenizer", "--config", SOURCE / "configs/tokenizers/emoji.yaml", phrases=["samples/emoji"])

    def test_jobs_with_a_run(self):
        for name, more in (("generate", ["--prompt", "pizza"]), ("evaluate", [])):
            self.refused(name, *more, phrases=[name, "--run"])
            self.refused(name, "--run", self.folder / "none", *more, phrases=["none", "facts.json"])
            self.refused(name, "--run", self.folder, *more, "guidanse=4", phrases=["guidanse", "guidance"])
            self.refused(name, "--run", self.folder, *more, "steps=0", phrases=["steps", "0"])
            self.refused(name, "--run", self.folder, *more, "seed=x", phrases=["seed", "x"])
            self.refused(name, "--run", self.folder, *more, "weights=best", phrases=["weights", "best", "ema"])

    def test_prompts(self):
        self.refused("generate", "--run", self.folder, phrases=["no run (facts.json is missing)"])
        empty = self.folder / "empty.txt"
        empty.write_text("\n# nothing\n\n")
        self.refused("generate", "--run", self.folder, "--prompts", empty, phrases=["empty.txt", "no prompts"])
        self.refused("generate", "--run", self.folder, "--prompts", self.folder / "no.txt", phrases=["no.txt", "no such file"])

    def test_explain(self):
        out, picture = f"output={self.folder / 'page'}", self.folder / "cut.png"
        picture.write_bytes(DataStages.a_png()[:60])
        taken = self.folder / "taken"
        taken.mkdir()
        (taken / "mine").write_text("keep")
        (self.folder / "file").write_text("keep")
        with open(self.folder / "huge", "wb") as file:
            file.truncate(300 << 20)
        for words, phrases in (
                ([out, "toy_step=5"], ["toy_step", "toy_steps"]),
                ([out, "toy_steps=0"], ["toy_steps", "0"]),
                ([out, "toy_steps=1e9"], ["toy_steps"]),
                ([out, "steps=[]"], ["steps", "1 to 8"]),
                ([out, "steps=[1,2,3,4,5,6,7,8,9]"], ["steps", "9 values", "1 to 8"]),
                ([out, "steps=[4, 0]"], ["steps", "0"]),
                ([out, "steps=[2000]"], ["steps", "1000"]),
                ([out, "guidance=[-1]"], ["guidance", "-1"]),
                ([out, "guidance=[x]"], ["guidance", "x"]),
                ([out, "prompts=[pizza]"], ["prompts", "run="]),
                ([out, "device=cpu"], ["device", "run="]),
                ([out, f"run={self.folder / 'none'}"], ["none", "facts.json"]),
                ([out, f"picture={self.folder / 'none.png'}"], ["none.png", "no such file"]),
                ([out, f"picture={picture}"], ["picture=", "cut.png"]),
                ([out, f"picture={self.folder}"], ["picture=", "is no file"]),
                ([out, f"picture={self.folder / 'huge'}"], ["huge", "300 MB", "256"]),
                ([f"output={self.folder / 'no' / 'page'}"], ["no/page", "name another place"]),
                ([f"output={taken}"], ["taken", "holds something else"]),
                ([f"output={self.folder / 'file'}"], ["file", "no folder"]),
                (["output="], ["output"]),
                (["--config", self.folder / "none.yaml", out], ["none.yaml"])):
            for more in ([], ["--dry-run"]):
                self.refused("explain", *words, *more, phrases=phrases)

    def test_doctor_convert_probe(self):
        self.refused("doctor", phrases=["doctor env", "doctor verify", "doctor data"])
        self.refused("doctor", "verify", self.folder / "none", phrases=["none"])
        self.refused("doctor", "data", self.folder / "none", phrases=["none", "no such folder"])
        self.refused("doctor", "data", self.folder, phrases=["no samples or latents", "data/samples/NAME"])
        self.refused("convert", phrases=["input"])
        self.refused("convert", "--input", self.folder / "none", "--output", self.folder / "x.safetensors", phrases=["none"])
        self.refused("probe", phrases=["probe", "forward"])
        self.refused("probe", "forwards", phrases=["forwards", "forward"])
        self.refused("probe", "forward", phrases=["config"])
        self.refused("probe", "tokenize", "--encoder", self.folder / "none", "--input", self.folder / "x", "--output",
                     self.folder / "y", phrases=["none"])
        self.refused("probe", "resize", "--input", EMOJI, "--output", self.folder / "y.png", "size=8", phrases=["emoji.yaml"])


class DataStages(Job):
    """A tar of three small real records, and what can be wrong with it and after it."""

    def setUp(self):
        super().setUp()
        programs.need_data()
        self.data = self.folder / "data"
        self.tar = self.folder / "records.tar"
        self.words = ["--config", EMOJI, "name=made", f"source.urls=[file://{self.tar}]"]
        self.png = self.a_png()
        self.make_tar()

    @staticmethod
    def a_png():
        """An RGB picture of 40 x 40 pixels."""
        import struct
        import zlib

        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        rows = b"".join(b"\0" + bytes((x * y) % 256 for x in range(120)) for y in range(40))
        return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 40, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))

    def make_tar(self, extra=None, pictures=None):
        with tarfile.open(self.tar, "w") as out:
            members = []
            for i in range(3):
                words = f'{{"base": "{i}", "name_and_keywords": "thing {i}, many"}}'
                members += [(f"{i}.png", (pictures or [self.png] * 3)[i]), (f"{i}.txt", f"thing {i}".encode()),
                            (f"{i}.json", words.encode())]
            for name, data in members + (extra or []):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))

    def stage(self, name, *more, **options):
        return programs.run(name, *self.words, *more, data=self.data, **options)

    def stage_refused(self, name, *more, phrases, **options):
        visible = {stage: sorted((self.data / stage / "made").rglob("[!.]*.h5")) for stage in ("samples", "latents")}
        self.refused(name, *self.words, *more, phrases=phrases, data=self.data, left="records", **options)
        for stage in ("samples", "latents"):
            self.assertEqual(sorted((self.data / stage / "made").rglob("[!.]*.h5")), visible[stage], f"{name}: a shard became visible")

    def test_the_control(self):
        self.stage("download")
        self.stage("clean")
        self.assertEqual(len(list((self.data / "samples/made").glob("*.h5"))), 1)

    def test_download(self):
        self.stage_refused("download", "source.urls=[file:///no/such/file.tar]", phrases=["/no/such/file.tar", "no such file"])
        self.stage_refused("download", "source.urls=[ftp://x/y.tar]", phrases=["ftp://x/y.tar"])
        self.stage_refused("download", f"source.sha256={{records.tar: '{'0' * 64}'}}", phrases=["records.tar", "SHA-256", "0" * 64])
        self.stage_refused("download", "task=3/3", phrases=["task", "3/3"])
        self.stage_refused("download", code=programs.FAILED, phrases=["records.tar"], preexec_fn=limit_file_size)
        self.assertFalse((self.data / "raw/made/records.tar").exists())
        self.stage("download")

    def test_stages_out_of_order(self):
        self.stage_refused("clean", phrases=["raw/made", "build/bin/download"])
        recipe = programs.write_recipe(self.folder / "recipe.yaml", text={"encoder": programs.DATA / "weights/all-MiniLM-L6-v2"})
        self.stage_refused("precompute", f"recipe={recipe}", phrases=["samples/made", "build/bin/clean"])

    def test_hostile_archives(self):
        self.tar.write_bytes(self.tar.read_bytes()[:1500])
        self.stage("download")
        self.stage_refused("clean", phrases=["records.tar", "truncated"])
        shutil.rmtree(self.data)
        for name in ("../evil.png", "/tmp/evil.png"):  # costs one member, which is counted
            self.make_tar(extra=[(name, self.png)])
            self.stage("download")
            said = self.stage("clean", "filters.max_damaged_fraction=0.3")
            self.assertIn(f"damaged.name 1 (e.g. {name[:-4]})", said)
            self.assertIn("3 of 4 records kept", said)
            self.assertFalse((self.data / "evil.png").exists() or pathlib.Path("/tmp/evil.png").exists())
            shutil.rmtree(self.data)

    def test_broken_pictures(self):
        bomb = self.png[:16] + b"\x00\x01\x86\xa0" * 2 + self.png[24:]  # says 100,000 x 100,000 pixels
        self.make_tar(pictures=[bomb, self.png[:60], b"not a picture"])
        self.stage("download")
        self.stage_refused("clean", phrases=["0 of 3 records kept", "max_damaged_fraction"])

    def test_a_worker_of_another_build(self):
        """Its messages have another number: the stage says so, instead of waiting for an answer."""
        self.stage("download")
        programs_of_two = self.folder / "bin"
        programs_of_two.mkdir()
        shutil.copy(programs.BIN / "clean", programs_of_two)
        worker = (programs.BIN / "ingest_worker").read_bytes()
        other, count = re.subn(rb"microdit-messages-\d\.", b"microdit-messages-0.", worker)
        self.assertEqual(count, 1)
        (programs_of_two / "ingest_worker").write_bytes(other)
        (programs_of_two / "ingest_worker").chmod(0o755)
        done = subprocess.run([programs_of_two / "clean", *map(str, self.words)], env=programs.environment(self.data), cwd=programs.SOURCE,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        self.assertEqual(done.returncode, programs.FAILED, done.stdout)
        self.assertIn("ingest_worker: is of another build than this program; build both", done.stdout)

    def test_full_disk(self):
        self.make_tar(pictures=[self.png + bytes(1_500_000)] * 3)
        self.stage("download")
        # Room for the memory that a worker shares (2 MiB, a file too), not for the shard.
        self.stage_refused("clean", code=programs.FAILED, phrases=["samples/made"], preexec_fn=lambda: limit_file_size(3 << 20))
        self.stage_refused("clean", code=programs.FAILED, phrases=["shared memory"], preexec_fn=limit_file_size)
        self.stage("clean")

    def test_precompute(self):
        self.stage("download")
        self.stage("clean")
        weights = {"encoder": programs.DATA / "weights/all-MiniLM-L6-v2"}

        def refused(phrases, images={}, text=weights):
            recipe = programs.write_recipe(self.folder / "recipe.yaml", images=images, text=text)
            self.stage_refused("precompute", f"recipe={recipe}", phrases=phrases)

        refused(["no_codec"], images={"codec": self.folder / "no_codec"})
        refused(["no_text"], text={"encoder": self.folder / "no_text"})
        refused(["images.sizes", "63", "8"], images={"sizes": [63]})
        refused(["recipe.yaml", "ascend"], images={"sizes": [128, 64]})
        refused(["text length", "512"], text=dict(weights, length=600))
        refused(["tokens_only", "choose one"], text=dict(weights, int8=True, tokens_only=True))
        self.stage_refused("precompute", "recipe=nowhere.yaml", phrases=["recipe: nowhere.yaml", "no such file"])
        self.stage_refused("precompute", "recipe=''", phrases=["names no recipe", "configs/latents"])
        old = self.data / "latents/made"
        old.mkdir(parents=True)
        (old / "facts.json").write_text('{"stage": "latents", "format": 1}')
        recipe = programs.write_recipe(self.folder / "recipe.yaml", text=weights)
        self.stage_refused("precompute", f"recipe={recipe}", phrases=["latents/made: written by an older microdit (format 1)"])


class Codec(Job):
    def test_train_codec(self):
        words = ["--config", CODEC, f"runs={self.folder}/runs", f"data=[{{dataset: {programs.DATASET}}}]", "steps=1", "name=c"]
        for overrides, phrases in ((["data=[{dataset: nothing}]"], ["samples/nothing"]), (["data=[]"], ["data", "at least one"]),
                                   ([f"data=[{{dataset: {programs.DATASET}}}, {{dataset: {programs.DATASET}, proportion: 1}}]"], ["proportion"]), (["size=60"], ["size", "60", "8"]),
                                   (["codec.block_out_channels=[10, 12]"], ["norm_num_groups"]), (["l1=-1"], ["l1", "-1"])):
            self.refused("train_codec", *words, *overrides, phrases=phrases, data=programs.DATA)


class Painting(Job):
    """generate and evaluate on runs that are damaged or of another kind."""

    @classmethod
    def setUpClass(cls):
        programs.need_data()
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_bad_run_")
        cls.good = pathlib.Path(cls.scratch.name) / "good"
        programs.run("train", *programs.train_words(cls.good.parent, "good", "steps=2", "ema.decay=0", "captions=[name]"))

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def setUp(self):
        super().setUp()
        self.run_folder = self.folder / "run"
        shutil.copytree(self.good, self.run_folder)

    def paint(self, *words, name="generate", **options):
        more = ["--prompt", "pizza", "num_images=1"] if name == "generate" else ["prompts=0"]
        return self.refused(name, "--run", self.run_folder, *more, "steps=2", *words, data=programs.DATA, **options)

    def test_wrong_wishes(self):
        self.paint("weights=ema", phrases=["weights=ema", "raw"])
        self.paint("caption=title", name="evaluate", phrases=["title"])
        self.paint("device=cuda", phrases=["device=cuda"]) if not pathlib.Path("/dev/nvidia0").exists() else None
        self.refused("generate", "--run", self.run_folder, phrases=["nothing to paint", "--prompt"])
        (self.folder / "file").write_text("x")
        self.paint(f"out={self.folder}/file", phrases=["out=", "file"])

    def test_damaged_run(self):
        shard = next(self.run_folder.glob("checkpoints/step_*/*.safetensors"))
        programs.flip_bit(shard, shard.stat().st_size // 2)
        for name in ("generate", "evaluate"):
            self.paint(name=name, phrases=["step_0000002", "damaged"])
        shutil.rmtree(shard.parent)
        self.paint(phrases=["no checkpoint"])

    def test_run_of_another_kind(self):
        facts = self.run_folder / "facts.json"
        text = facts.read_text()
        facts.write_text(text.replace('"stage": "run"', '"stage": "codec"'))
        self.paint(phrases=["codec"])
        facts.write_text(text.replace('"dim": 32', '"dim": 64'))
        self.paint(phrases=["another model"])
        facts.write_text(text[:-20])
        self.paint(phrases=["facts.json"])

    def test_full_disk(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

        self.paint(code=programs.FAILED, phrases=["000000.png", "large"], left="folder", preexec_fn=limit)
        pictures = self.run_folder / "images/001-pizza"
        self.assertEqual([p.name for p in pictures.iterdir() if not p.name.startswith(".")], [])
        programs.run("generate", "--run", self.run_folder, "--prompt", "pizza", "num_images=1", "steps=2", data=programs.DATA)
        self.assertEqual(sorted(p.name for p in pictures.glob("[!.]*")), ["000000.png", "grid.png", "manifest.jsonl"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
