"""convert: checkpoint <-> one file, both ways. doctor: finds damage, tells what it is, and says what a machine lacks."""
import json
import os
import pathlib
import resource
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import stored_files as stored  # noqa: E402

BIN = pathlib.Path(os.environ.get("MICRODIT_BIN", "build/bin")).resolve()


def run(name, *words, expect=0, **options):
    result = subprocess.run([BIN / name, *map(str, words)], capture_output=True, text=True, timeout=300, **options)
    assert result.returncode == expect, f"{name} {words}: exit {result.returncode}\n{result.stdout}{result.stderr}"
    return result.stdout + result.stderr


class Folder(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.demo = self.folder / "runs/demo"


TENSORS = {
    "weights/blocks.0.w": ([2, 3], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    "weights/bias": ([3], [0.5, -0.5, 0.25]),
    "ema/blocks.0.w": ([2, 3], [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]),
    "ema/bias": ([3], [1.0, -1.0, 2.0]),
    "exp_avg/bias": ([3], [9.0, 9.0, 9.0]),
    "exp_avg_sq/bias": ([3], [8.0, 8.0, 8.0]),
    "buffers/mask_token": ([1, 4], [7.0, 7.5, 8.0, 8.5]),
}


def named(group, tensors=TENSORS):
    return {name.split("/", 1)[1]: ("F32", shape, stored.floats(values)) for name, (shape, values) in tensors.items()
            if name.startswith((group + "/", "buffers/"))}


class Convert(Folder):
    def test_checkpoint_to_file(self):
        stored.write_checkpoint(self.demo / "checkpoints", 20, TENSORS)
        out = self.folder / "out.safetensors"
        for source in (self.demo, self.demo / "checkpoints", self.demo / "checkpoints/step_0000020"):
            for words, group in (([], "ema"), (["weights=ema"], "ema"), (["weights=raw"], "weights")):
                run("convert", "--input", source, "--output", out, "overwrite=true", *words)
                tensors, metadata = stored.read_safetensors(out)
                self.assertEqual(tensors, named(group))
                self.assertEqual((metadata["step"], metadata["buffers"]), ("20", "mask_token"))

    def test_without_ema(self):
        raw_only = {name: tensor for name, tensor in TENSORS.items() if not name.startswith("ema/")}
        stored.write_checkpoint(self.demo / "checkpoints", 20, raw_only)
        out = self.folder / "out.safetensors"
        run("convert", "--input", self.demo, "--output", out)
        self.assertEqual(stored.read_safetensors(out)[0], named("weights"))
        self.assertIn("use weights=raw", run("convert", "--input", self.demo, "--output", out, "weights=ema", "overwrite=true", expect=2))

    def test_which_step(self):
        for step in (10, 20):
            tensors = dict(TENSORS, **{"ema/bias": ([3], [float(step)] * 3)})
            stored.write_checkpoint(self.demo / "checkpoints", step, tensors)
        out = self.folder / "out.safetensors"
        for words, expected in (([], "20"), (["step=10"], "10")):
            run("convert", "--input", self.demo, "--output", out, "overwrite=true", *words)
            self.assertEqual(stored.read_safetensors(out)[1]["step"], expected)
        self.assertIn("step=15", run("convert", "--input", self.demo, "--output", out, "step=15", "overwrite=true", expect=2))
        stored.flip_bit(self.demo / "checkpoints/step_0000020/shard_00001_of_00002.safetensors", -1)
        log = run("convert", "--input", self.demo, "--output", out, "overwrite=true")
        self.assertEqual(stored.read_safetensors(out)[1]["step"], "10")
        self.assertIn("step_0000020", log)
        self.assertIn("damaged", run("convert", "--input", self.demo, "--output", out, "step=20", "overwrite=true", expect=2))

    def test_file_to_checkpoint_and_back(self):
        tensors = {"w": ("F32", [2, 2], stored.floats([1, 2, 3, 4])),
                   "half": ("F16", [2], struct.pack("<2e", 0.5, -3.0)),
                   "brain": ("BF16", [2], struct.pack("<2H", 0x3F80, 0xC040)),
                   "double": ("F64", [1], struct.pack("<d", 2.5)),
                   "pos_embed": ("F32", [1, 2], stored.floats([5, 6])),
                   "mine": ("F32", [1], stored.floats([9]))}
        expected = dict(tensors, half=("F32", [2], stored.floats([0.5, -3.0])), brain=("F32", [2], stored.floats([1.0, -3.0])),
                        double=("F32", [1], stored.floats([2.5])))
        source, out = self.folder / "in.safetensors", self.folder / "out.safetensors"
        for metadata, words, buffers in ((None, [], "pos_embed"), (None, ["buffers=[mine, pos_embed]"], "mine,pos_embed"),
                                         ({"buffers": "mine"}, [], "mine")):
            source.write_bytes(stored.safetensors(tensors, metadata)[0])
            target = self.folder / f"run_{buffers}"
            run("convert", "--input", source, "--output", target / "checkpoints", *words)
            self.assertIn("1 checkpoints: good", run("doctor", "verify", target))
            manifest = json.loads((target / "checkpoints/step_0000000/manifest.json").read_text())
            groups = {name.split("/")[0] for name in manifest["tensors"] if name.endswith("/w")}
            self.assertEqual(groups, {"weights", "ema", "exp_avg", "exp_avg_sq"})
            self.assertEqual(manifest["tensors"]["exp_avg/w"]["parts"][0]["xxh3"], stored.xxh3(bytes(16)))
            for weights in ("raw", "ema"):
                run("convert", "--input", target, "--output", out, f"weights={weights}", "overwrite=true")
                back, noted = stored.read_safetensors(out)
                self.assertEqual(back, expected)
                self.assertEqual((noted["buffers"], noted["step"]), (buffers, "0"))
            self.assertIn("already", run("convert", "--input", source, "--output", target, expect=2))

    def test_bad_input(self):
        out = self.folder / "out.safetensors"
        self.assertIn("--input", run("convert", expect=2))
        self.assertIn("does not exist", run("convert", "--input", self.folder / "no", "--output", out, expect=2))
        self.assertIn("no checkpoint", run("convert", "--input", self.folder, "--output", out, expect=2))
        stored.write_checkpoint(self.demo / "checkpoints", 20, TENSORS)
        for word, say in (("weight=raw", "weights"), ("weights=best", "best"), ("step=-7", "step")):
            self.assertIn(say, run("convert", "--input", self.demo, "--output", out, word, expect=2))
        ints = self.folder / "ints.safetensors"
        ints.write_bytes(stored.safetensors({"ids": ("I64", [1], b"\0" * 8)})[0])
        self.assertIn("ids", run("convert", "--input", ints, "--output", self.folder / "r", expect=2))
        ints.write_bytes(ints.read_bytes()[:-1])
        self.assertIn("ints.safetensors", run("convert", "--input", ints, "--output", self.folder / "r", expect=2))
        self.assertFalse(out.exists() or (self.folder / "r").exists())


class DoctorVerify(Folder):
    def setUp(self):
        super().setUp()
        for step in (10, 20):
            stored.write_checkpoint(self.demo / "checkpoints", step, TENSORS)
        self.shard = self.demo / "checkpoints/step_0000020/shard_00001_of_00002.safetensors"

    def test_good_ones_at_every_level(self):
        for where, number in ((self.shard.parent, 1), (self.demo / "checkpoints", 2), (self.demo, 2), (self.folder / "runs", 2),
                              (self.folder, 2)):
            self.assertIn(f"0 stage folders, {number} checkpoints: good", run("doctor", "verify", where))
        run("doctor", "verify", ".", cwd=self.shard.parent)

    def test_payload_names_file_and_tensor(self):
        stored.flip_bit(self.shard, -1, 5)
        last = [name for name, _ in TENSORS.items()][-1]
        said = run("doctor", "verify", self.folder, expect=1)
        self.assertIn(f"step_0000020/{self.shard.name}: tensor {last},", said)
        self.assertNotIn("step_0000010", said)

    def test_other_bytes_name_the_file(self):
        for file, byte in ((self.shard, 3), (self.shard, 40), (self.shard.parent / "manifest.json", 0),
                           (self.shard.parent / "manifest.json", 333), (self.shard.parent / "manifest.json", -1)):
            stored.flip_bit(file, byte)
            self.assertIn(f"{file.parent.name}/{file.name}:", run("doctor", "verify", self.demo, expect=1))
            stored.flip_bit(file, byte)
        run("doctor", "verify", self.demo)
        self.shard.unlink()
        self.assertIn("missing", run("doctor", "verify", self.demo, expect=1))

    def test_a_stage_folder_is_recognised(self):
        stage = self.folder / "data/latents/demo/recipe"
        (stage / "records").mkdir(parents=True)
        (stage / "facts.json").write_text("{}\n")
        (stage / "manifest.jsonl").write_text("no manifest\n")
        said = run("doctor", "verify", self.folder / "data", expect=1)
        self.assertIn("manifest.jsonl", said)
        self.assertIn("1 stage folders", said)

    def test_nothing_to_verify(self):
        (self.folder / "empty").mkdir()
        for where in ("empty", "nowhere"):
            self.assertIn(where, run("doctor", "verify", self.folder / where, expect=2))
        for words in ((), ("verify",), ("heal", "x"), ("env", "x"), ("env", "a=b")):
            run("doctor", *words, expect=2)


class DoctorEnv(Folder):
    def test_says_what_it_found(self):
        result = subprocess.run([BIN / "doctor", "env"], cwd=self.folder, capture_output=True, text=True, timeout=300)
        self.assertEqual(result.returncode, 1 if "BAD " in result.stdout else 0, result.stdout + result.stderr)
        for subject in ("processor", "memory", "files", "locale", "compiler", "libtorch", "hdf5", "mpi", "launch", "slurm",
                        "gpu", "disk", "fsync", "shards"):
            self.assertIn(f" {subject} ", result.stdout)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_too_few_files_is_bad(self):
        said = run("doctor", "env", expect=1, cwd=self.folder,
                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))
        self.assertIn("BAD   files", said)
        self.assertIn("-> ulimit -n", said)


if __name__ == "__main__":
    if not (BIN / "convert").exists() or not (BIN / "doctor").exists():
        print("skipped: convert and doctor are not built")
        sys.exit(77)
    unittest.main()
