#!/usr/bin/env python3
"""generate --from-image: the same picture again from what it says of itself; other weights, other programs' pictures, hostile ones;
pictures that say nothing."""
import json
import os
import pathlib
import shutil
import struct
import sys
import tempfile
import unittest
import zlib

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path[:0] = [str(SOURCE / "tests"), str(pathlib.Path(__file__).resolve().parent)]
import pictures  # noqa: E402
import programs  # noqa: E402

PROMPTS = ["red heart", "a \"quoted\", 100: % prompt", "\u732b in two\nlines"]
SETTINGS = ["num_images=2", "steps=3", "seed=7", "batch_size=4", "guidance=3", "negative=blue, \u00e9"]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_texts(png, *chunks):
    """The PNG without its texts, with other chunks behind its header."""
    kept = [chunk(kind.encode(), data) for kind, data in pictures.chunks(png) if kind not in ("tEXt", "iTXt")]
    return png[:8] + kept[0] + b"".join(chunks) + b"".join(kept[1:])


class FromImage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        programs.need_data()
        cls.scratch = tempfile.TemporaryDirectory(prefix="microdit_from_image_")
        cls.root = pathlib.Path(cls.scratch.name)
        cls.run_folder = cls.root / "tiny"
        programs.run("train", *programs.train_words(cls.root, "tiny", "steps=3", "captions=[name]", "model.text_mask=true"))
        words = [word for prompt in PROMPTS for word in ("--prompt", prompt)]
        cls.first = cls.root / "first"
        programs.run("generate", "--run", cls.run_folder, *words, *SETTINGS, "rule=euler", f"out={cls.first}")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def repeat(self, picture, *words, **options):
        return programs.run("generate", "--from-image", picture, *words, **options)

    def made(self, name, png):
        (self.root / name).write_bytes(png)
        return self.root / name

    def test_the_same_bytes(self):
        """Each from its own place of a batch, wherever the picture lies; by --dry-run nothing."""
        for number in (0, 3, 5):
            name = f"{number:06d}.png"
            self.repeat(self.first / name, "--run", self.run_folder, f"out={self.root / 'again' / name}")
            self.assertEqual((self.root / "again" / name / "000000.png").read_bytes(), (self.first / name).read_bytes(), name)
        programs.run("generate", "--run", self.run_folder, "--prompt", "pizza", "steps=1", "num_images=1")
        own = self.run_folder / "images/latest/000000.png"
        self.assertIn("nothing was written", self.repeat(own, "--dry-run"))
        log = self.repeat(own, f"out={self.root / 'found'}")  # its run is the folder that it lies in
        self.assertNotIn("WARN", log.upper())
        self.assertEqual((self.root / "found/000000.png").read_bytes(), own.read_bytes())

    def test_what_is_inside(self):
        for number, prompt in ((0, PROMPTS[0]), (3, PROMPTS[1]), (5, PROMPTS[2])):
            texts = pictures.texts((self.first / f"{number:06d}.png").read_bytes())
            notes = json.loads(texts["microdit"])
            self.assertEqual((notes["prompt"], notes["seed"], notes["slot"], notes["batch_size"], notes["size"]), (prompt, 7 + number, number % 4, 4, 64))
            self.assertEqual((notes["run"], notes["step"], notes["sampler"]["rule"], notes["negative"]), ("tiny", 3, "euler", "blue, \u00e9"))
            head, line = texts["parameters"].rsplit("\n", 1)
            self.assertEqual(head, f"{prompt}\nNegative prompt: blue, \u00e9")
            self.assertEqual(line, f"Steps: 3, Sampler: EDM euler, CFG scale: 3, Seed: {7 + number}, Size: 64x64, "
                                   f"Model hash: {notes['checkpoint_sha256'][:10]}, Model: tiny, Version: {notes['version']}")
            self.assertNotIn(str(self.root), json.dumps(texts))

    def test_keys_change_it(self):
        picture = self.first / "000001.png"
        for word in ("steps=4", "seed=1", "guidance=1.5", "negative=red", "weights=raw"):
            self.repeat(picture, "--run", self.run_folder, word, f"out={self.root / 'changed' / word}")
            self.assertNotEqual((self.root / "changed" / word / "000000.png").read_bytes(), picture.read_bytes(), word)
        self.repeat(picture, "--run", self.run_folder, "num_images=3", f"out={self.root / 'changed/more'}")
        notes = [json.loads(line) for line in (self.root / "changed/more/manifest.jsonl").read_text().splitlines()]
        self.assertEqual([(line["seed"], line["prompt"]) for line in notes], [(8, PROMPTS[0]), (9, PROMPTS[0]), (10, PROMPTS[0])])

    def test_other_weights(self):
        """Refused where the checkpoint is another one; painted with a warning where another one is asked for."""
        other = self.root / "other"
        programs.run("train", *programs.train_words(self.root, "other", "steps=4", "captions=[name]", "model.text_mask=true", "seed=19",
                                                    "checkpoint.every_steps=3"))
        picture = self.first / "000000.png"
        log = self.repeat(picture, "--run", other, f"out={self.root / 'refused'}", expect=programs.USER_MISTAKE)
        self.assertIn("SHA-256", log)
        self.assertFalse((self.root / "refused").exists())
        log = self.repeat(picture, "--run", other, "step=4", f"out={self.root / 'otherwise'}")
        self.assertIn("other weights than the picture's", log)
        moved = self.made("moved.png", picture.read_bytes())
        self.assertIn("--run DIR is missing", self.repeat(moved, expect=programs.USER_MISTAKE))
        self.assertIn("brings the prompt", self.repeat(moved, "--run", other, "--prompt", "x", expect=programs.USER_MISTAKE))

    def test_no_metadata(self):
        out = self.root / "silent"
        words = ["--run", self.run_folder, "--prompt", "pizza", "steps=2", "num_images=2", "trajectory=2", "metadata=false", f"out={out}"]
        programs.run("generate", *words)
        for name in ("000000.png", "000001_trajectory.png"):
            self.assertEqual({kind for kind, _ in pictures.chunks((out / name).read_bytes())}, {"IHDR", "IDAT", "IEND"})
        before, times = programs.files_below(out), {path: path.stat().st_mtime_ns for path in out.glob("0*.png")}
        programs.run("generate", *words)  # goes on in its folder, and has nothing to paint
        self.assertEqual((programs.files_below(out), {path: path.stat().st_mtime_ns for path in out.glob("0*.png")}), (before, times))
        self.assertIn("metadata=false", self.repeat(out / "000000.png", "--run", self.run_folder, expect=programs.USER_MISTAKE))
        shutil.copy(self.first / "000000.png", out / "000001.png")
        self.assertIn("another call", programs.run("generate", *words, expect=programs.USER_MISTAKE))

    def test_other_programs_pictures(self):
        png = (self.first / "000000.png").read_bytes()
        line = "pizza, (sharp:1.2)\nNegative prompt: blurry\nSteps: 2, Sampler: Euler a, CFG scale: 2.5, Seed: 12, Size: 512x512, Model: \"a, b: c\""
        for kind, data in ((b"tEXt", b"parameters\0" + line.encode()), (b"zTXt", b"parameters\0\0" + zlib.compress(line.encode())),
                           (b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(line.encode()))):
            picture = self.made("foreign.png", with_texts(png, chunk(kind, data)))
            out = self.root / f"foreign_{kind.decode()}"
            log = self.repeat(picture, "--run", self.run_folder, f"out={out}")
            self.assertIn("Sampler: Euler a", log)
            self.assertIn("Model: \"a, b: c\"", log)
            self.assertIn("512 x 512", log)
            notes = json.loads((out / "manifest.jsonl").read_text())
            self.assertEqual((notes["prompt"], notes["negative"], notes["seed"], notes["sampler"]["steps"], notes["sampler"]["guidance"]),
                             ("pizza, (sharp:1.2)", "blurry", 12, 2, 2.5))
        self.assertIn("of another program", self.repeat(picture, expect=programs.USER_MISTAKE))

    def test_hostile_pictures(self):
        png = (self.first / "000000.png").read_bytes()
        own = pictures.texts(png)["microdit"]

        def text(value):
            return chunk(b"iTXt", b"microdit\0\0\0\0\0" + value.encode())
        bomb = chunk(b"zTXt", b"microdit\0\0" + zlib.compress(b"x" * (9 << 20), 9))
        for name, data, said in (
                ("not_json", with_texts(png, text("{")), "microdit"), ("no_object", with_texts(png, text("[1]")), "no JSON object"),
                ("deep", with_texts(png, text("[" * 100000)), "microdit"), ("seed", with_texts(png, text(own.replace('"seed":7', '"seed":-7'))), "seed"),
                ("slot", with_texts(png, text(own.replace('"slot":0', '"slot":4'))), "slot"),
                ("huge", with_texts(png, text(own.replace('"batch_size":4', '"batch_size":1000000'))), "batch_size"),
                ("key", with_texts(png, text(own.replace('"seed"', '"sead"'))), "sead"),
                ("zero", with_texts(png, text(own.replace("red heart", "red\\u0000heart"))), "zero byte"),
                ("run", with_texts(png, text(own.replace('"tiny"', '"../../tiny"'))), "--run DIR is missing"),
                ("bomb", with_texts(png, bomb), "too long"), ("many", with_texts(png, *[chunk(b"tEXt", b"a\0")] * 1001), "more than 1000 texts"),
                ("checksum", png.replace(own.encode("latin-1", "replace"), own.replace("heart", "smart").encode("latin-1", "replace")), "checksum"),
                ("cut", png[:len(png) // 2], "truncated"), ("empty", b"", "not a PNG"), ("no_settings", with_texts(png, chunk(b"tEXt", b"parameters\0a red car")), "no line of settings"),
                ("silent", with_texts(png), "does not say how")):
            with self.subTest(name):
                picture = self.made(f"{name}.png", data)
                words = [] if name == "run" else ["--run", self.run_folder]
                code, log, kib, seconds = programs.run_measured(programs.command("generate", "--from-image", picture, *words, "--dry-run"), programs.DATA)
                self.assertEqual(code, programs.USER_MISTAKE, log)
                self.assertIn(said, log)
        self.assertIn("no such file", self.repeat(self.root / "nothing.png", expect=programs.USER_MISTAKE))
        strips = self.root / "strips"
        programs.run("generate", "--run", self.run_folder, "--prompt", "pizza", "steps=2", "num_images=1", "trajectory=2", f"out={strips}")
        self.assertIn("strip", self.repeat(strips / "000000_trajectory.png", "--run", self.run_folder, expect=programs.USER_MISTAKE))


if __name__ == "__main__":
    unittest.main()
