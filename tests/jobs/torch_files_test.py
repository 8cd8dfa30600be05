"""PyTorch files: what torch writes is read bit for bit, what is hostile is refused, nothing is ever executed."""
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).resolve().parents[1])]
import hostile_torch  # noqa: E402
import programs  # noqa: E402
import stored_files as stored  # noqa: E402

try:
    import torch

    import torch_written as written
except ImportError:
    torch = None

# Above what the program needs for a small sound file.
MORE_KIB, CPU_S = 400 * 1024, 6
SHAPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int64": "I64", "int32": "I32", "int16": "I16",
          "int8": "I8", "uint8": "U8", "bool": "BOOL", "uint16": "U16", "uint32": "U32", "uint64": "U64"}


def convert(source, target, *words, expect=0):
    return programs.run("convert", "--input", source, "--output", target, "overwrite=true", *words, expect=expect)


def with_aliases(path):
    tensors, metadata = stored.read_safetensors(path)
    return {**tensors, **{name: tensors[kept] for name, kept in metadata.items() if kept in tensors and name != "format"}}


class Folder(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.out = self.folder / "out.safetensors"


@unittest.skipIf(torch is None, "torch is not installed")
class Written(Folder):
    def test_bit_equal_both_ways(self):
        files = written.files()
        self.assertGreaterEqual(len(files), 60)
        for name, (data, value) in files.items():
            with self.subTest(name):
                source, back = self.folder / name, self.folder / "back.pt"
                source.write_bytes(data)
                convert(source, self.out)
                expected = {key: (SHAPES[str(tensor.dtype)[6:]], list(tensor.shape), written.raw(tensor))
                            for key, tensor in written.flat(value).items()}
                self.assertEqual(with_aliases(self.out), expected)
                convert(self.out, back)
                again = torch.load(back, weights_only=True)
                self.assertEqual({key: written.raw(tensor) for key, tensor in again.items()}, {k: v[2] for k, v in expected.items()})
                self.assertTrue(all(again[k].shape == tuple(v[1]) for k, v in expected.items()))

    def test_beyond_4_gib(self):
        large, wanted = self.folder / "large.pt", torch.arange(4.0)
        written.zip64(large, wanted, 5 << 30)
        self.assertTrue(torch.equal(torch.load(large, mmap=True, weights_only=True)["dit.w"], wanted))  # it is what torch reads
        convert(large, self.out, "names=network")  # of the hole nothing is read
        self.assertEqual(with_aliases(self.out), {"w": ("F32", [4], written.raw(wanted))})

    def test_foreign_types_concern_their_own_tensors_alone(self):
        for dtype in (torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64):
            for options in ({}, {"_use_new_zipfile_serialization": False}):
                source = self.folder / "scaled.pt"
                source.write_bytes(written.saved({"dit.w": torch.ones(2), "vae.scaled": torch.ones(4).to(dtype)}, **options))
                convert(source, self.out, "names=network")
                self.assertEqual(set(with_aliases(self.out)), {"w"})
                said = convert(source, self.folder / "all.safetensors", expect=2)
                for word in ("'vae.scaled'", str(dtype)[6:], "torch.bfloat16"):
                    self.assertIn(word, said)
        header = {"dit.w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "vae.scaled": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [4, 8]}}
        text = json.dumps(header).encode()
        source = self.folder / "scaled.safetensors"
        source.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
        convert(source, self.out, "names=network")
        self.assertEqual(set(with_aliases(self.out)), {"w"})
        self.assertIn("'vae.scaled' cannot be read: its element type is F8_E4M3", convert(source, self.folder / "all.pt", expect=2))

    def test_shared_weights_are_written_once(self):
        source = self.folder / "tied.pt"
        source.write_bytes(written.saved(written.Net().state_dict()))
        log = convert(source, self.out)
        self.assertIn("'tied.weight' shares the elements of 'linear.weight'", log)
        tensors, metadata = stored.read_safetensors(self.out)
        self.assertEqual(metadata["tied.weight"], "linear.weight")
        self.assertNotIn("tied.weight", tensors)
        convert(self.out, self.folder / "back.pt")
        back = torch.load(self.folder / "back.pt", weights_only=True)
        self.assertEqual(back["tied.weight"].data_ptr(), back["linear.weight"].data_ptr())

    def test_names_of_the_network(self):
        source = self.folder / "latest-rank0.pt"
        source.write_bytes(written.saved(written.composer()))
        log = convert(source, self.out, "names=network")
        self.assertEqual(set(with_aliases(self.out)), set(written.Net().state_dict()))
        self.assertIn("no part of the network", log)
        plain = self.folder / "plain.pt"
        plain.write_bytes(written.saved({f"module._orig_mod.{k}": v for k, v in written.Net().state_dict().items()}))
        convert(source, self.out, "names=network", f"target={plain}")
        state = written.Net().state_dict()
        state["norm.bias"], state["more"] = torch.zeros(4), state.pop("linear.bias")
        plain.write_bytes(written.saved(state))
        said = convert(plain, self.folder / "not.pt", f"target={self.out}", expect=2)
        for word in ("missing (1): linear.bias", "unexpected (1): more", "other shape (1): norm.bias is [4] and must be [3]"):
            self.assertIn(word, said)
        self.assertFalse((self.folder / "not.pt").exists())

    def test_checkpoints_both_ways(self):
        source = self.folder / "latest-rank0.pt"
        net = {f"dit.w{i}": torch.randn(3, 2) for i in range(3)} | {"vae.w": torch.zeros(1)}
        source.write_bytes(written.saved({"state": {"model": net}}))
        convert(source, self.folder / "run")
        convert(self.folder / "run", self.folder / "back.pt", "weights=raw")
        back = torch.load(self.folder / "back.pt", weights_only=True)
        self.assertEqual({f"dit.{name}": written.raw(value) for name, value in back.items()},
                         {name: written.raw(value) for name, value in net.items() if name.startswith("dit.")})
        said = convert(source, self.folder / "other", f"target={self.folder / 'run'}")
        self.assertIn("all 3 names and shapes", said)

    def test_what_cannot_be_read_is_named(self):
        whole, sparse = self.folder / "whole.pt", self.folder / "sparse.pt"
        model = torch.nn.Linear(2, 2)
        save = "torch.save(torch.load('FILE', map_location='cpu', weights_only=False){}.state_dict(), 'NEW.pt')"
        for value, place in ((model, ""), ({"epoch": 3, "model": model}, "['model']"), ({"epoch": 3, "nets": [model]}, "['nets']['0']")):
            for options in ({}, {"_use_new_zipfile_serialization": False}):
                whole.write_bytes(written.saved(value, **options))
                said = convert(whole, self.out, expect=2)
                self.assertIn("torch.nn.modules.linear Linear", said)
                self.assertIn("a whole model was saved", said)
                self.assertIn(save.format(place).replace("'0'", "0"), said)
        # Beside tensors that are wanted it hinders nobody.
        whole.write_bytes(written.saved({"epoch": 3, "model": model, "state_dict": model.state_dict()}))
        convert(whole, self.out, "names=network")
        self.assertEqual(set(with_aliases(self.out)), {"weight", "bias"})
        self.out.unlink()
        for value, word in ((torch.eye(2).to_sparse(), "_rebuild_sparse_tensor"), (torch.ones(2, device="meta"), "meta"),
                            (torch.ones(2, dtype=torch.complex64), "complex64")):
            sparse.write_bytes(written.saved({"good": torch.ones(2), "other": value}))
            said = convert(sparse, self.out, expect=2)
            self.assertIn("'other'", said)
            self.assertIn(word, said)
            self.assertFalse(self.out.exists())
        script = self.folder / "script.pt"
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), script)
        self.assertIn("TorchScript", convert(script, self.out, expect=2))

    def test_a_flipped_bit_is_seen(self):
        source = self.folder / "x.pt"
        data = bytearray(written.saved({"w": torch.arange(1000.0)}))
        data[data.index(torch.arange(1000.0).numpy().tobytes()) + 1234] ^= 4
        source.write_bytes(data)
        self.assertIn("'w' is damaged", convert(source, self.out, expect=2))
        self.assertFalse(self.out.exists())


class Outputs(Folder):
    def setUp(self):
        super().setUp()
        self.source = self.folder / "in.pt"
        self.sound = hostile_torch.sound()  # with the time in it
        self.source.write_bytes(self.sound)

    def test_what_is_there_is_not_replaced_without_being_asked(self):
        self.out.write_text("mine")
        words = ("convert", "--input", self.source, "--output", self.out)
        self.assertIn("overwrite=true", programs.run(*words, expect=2))
        self.assertEqual(self.out.read_text(), "mine")
        programs.run(*words, "overwrite=true")
        self.assertEqual(set(with_aliases(self.out)), {"w"})
        self.assertIn("the input itself", convert(self.source, self.source, expect=2))
        self.assertEqual(self.source.read_bytes(), self.sound)

    def test_what_a_killed_one_left_goes(self):
        large, size = self.folder / "large.safetensors", 64 << 20
        header = json.dumps({f"t{i}": {"dtype": "U8", "shape": [size], "data_offsets": [i * size, (i + 1) * size]} for i in range(32)})
        large.write_bytes(struct.pack("<Q", len(header)) + header.encode())
        os.truncate(large, 8 + len(header) + 32 * size)  # a hole
        running = subprocess.Popen([programs.BIN / "convert", "--input", large, "--output", self.out], env=programs.environment(self.folder),
                                   stderr=subprocess.DEVNULL)
        while not list(self.folder.glob(".out.safetensors.*.tmp")):
            self.assertIsNone(running.poll())
            time.sleep(0.01)
        running.kill()
        running.wait()
        large.unlink()
        self.assertEqual(len(list(self.folder.glob(".*.tmp"))), 1)
        foreign = self.folder / ".out.safetensors.journal.tmp"
        foreign.write_text("mine")
        convert(self.source, self.out)
        self.assertEqual({path.name for path in self.folder.iterdir()}, {"in.pt", "out.safetensors", foreign.name})


class Hostile(Folder):
    def setUp(self):
        super().setUp()
        self.marker = self.folder / "executed"

    def write(self, name, data):
        path = self.folder / name
        if callable(data):
            data(path)
        else:
            path.write_bytes(data)
        return path

    def test_refused_with_a_reason_and_in_bounds(self):
        sound = self.write("sound.pt", hostile_torch.sound())
        words = [programs.BIN / "convert", "--input", sound, "--output", self.out]
        code, said, base_kib, _ = programs.run_measured(words, self.folder)
        self.assertEqual(code, 0, said)
        cases = hostile_torch.cases(self.marker)
        self.assertGreaterEqual(len(cases), 60)
        for name, (data, word) in cases.items():
            with self.subTest(name):
                self.out.unlink(missing_ok=True)
                source = self.write("hostile.pt", data)
                words = [programs.BIN / "convert", "--input", source, "--output", self.out]
                code, said, kib, seconds = programs.run_measured(words, self.folder)
                if word is None:  # read right: nothing of it needs what is hostile
                    self.assertEqual(code, 0, said)
                    self.assertEqual(set(with_aliases(self.out)), {"w"})
                else:
                    self.assertEqual(code, 2, said)
                    self.assertIn("hostile.pt: ", said)
                    self.assertIn(word, said)
                    self.assertFalse(self.out.exists())
                self.assertLess(kib, base_kib + MORE_KIB)
                self.assertLess(seconds, CPU_S)
                self.assertFalse(self.marker.exists())

    def test_nothing_is_started_and_nothing_else_opened(self):
        if shutil.which("strace") is None or subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode != 0:
            self.skipTest("strace is not here or may not trace")
        own = re.compile(r'"(/usr/|/lib|/etc/|/proc/|/sys/|/dev/|/tmp|/run/|/opt/)')
        for name, (data, word) in hostile_torch.executing(self.marker).items():
            source = self.write("hostile.pt", data)
            log = self.folder / "trace"
            subprocess.run(["strace", "-f", "-e", "trace=execve,execveat,open,openat,connect,unlink,rename", "-o", log, programs.BIN / "convert",
                            "--input", source, "--output", self.out], env=programs.environment(self.folder), capture_output=True)
            calls = log.read_text(errors="replace").splitlines()
            with self.subTest(name):
                self.assertEqual(sum("execve" in call for call in calls), 1)
                self.assertIn(str(source), "\n".join(calls))
                written_to = [call for call in calls if "O_WRONLY" in call or "O_RDWR" in call or "O_CREAT" in call]
                strange = [call for call in written_to if str(self.folder) not in call and not own.search(call)]
                self.assertEqual(strange, [])
                self.assertFalse(self.marker.exists())

    def test_other_kinds_are_named(self):
        folder = self.folder / "pipeline"
        (folder / "vae").mkdir(parents=True)
        (folder / "vae/config.json").write_text("{}")
        (folder / "model_index.json").write_text("{}")
        for name, (data, word) in hostile_torch.other_kinds().items():
            with self.subTest(name):
                self.assertIn(word, convert(self.write(name, data), self.out, expect=2))
        said = convert(folder, self.out, expect=2)
        self.assertIn("diffusers pipeline", said)
        self.assertIn("(vae)", said)
        # By content, not by name.
        swapped = self.write("called.safetensors", hostile_torch.sound())
        convert(swapped, self.out)
        convert(self.write("called.pt", self.out.read_bytes()), self.folder / "again.safetensors")
        self.assertEqual(with_aliases(self.folder / "again.safetensors"), with_aliases(self.out))


if __name__ == "__main__":
    if not (programs.BIN / "convert").exists():
        programs.skip("convert is not built")
    unittest.main()
