#!/usr/bin/env python3
"""Words of the command line, as people and shells write them, and signals to the jobs that do not requeue."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path[:0] = [str(SOURCE / "tests"), str(SOURCE / "tests/jobs")]
import programs  # noqa: E402
import stored_files  # noqa: E402

CONFIG = SOURCE / "configs/train/emoji.yaml"


def resolved(*words):
    """key -> text of the resolved config's lines."""
    text = programs.run("train", "--config", CONFIG, *words, "--print-config")
    lines = [line.rsplit("  # ", 1)[0] for line in text.splitlines() if ":" in line]  # without where it comes from
    return {line.split(":", 1)[0].strip(): line.split(":", 1)[1].strip() for line in lines}


class Words(unittest.TestCase):
    def refused(self, *words, phrases=(), job="train", config=True):
        log = programs.run(job, *(["--config", CONFIG] if config else []), *words, *(["--print-config"] if config else []),
                           expect=programs.USER_MISTAKE)
        for phrase in phrases:
            self.assertIn(phrase, log, words)
        return log

    def test_numbers(self):
        for word, value in (("1e-4", "0.0001"), ("1E-4", "0.0001"), ("1.e-4", "0.0001"), (".0001", "0.0001"), ("+1e-4", "0.0001"),
                            ("1_000e-7", "0.0001"), (" 1e-4 ", "0.0001")):
            self.assertEqual(resolved(f"optimizer.lr={word}")["lr"], value, word)
        for word in ("'1e-4'", "1,5e-4", "nan", "true", "1e400", ""):
            self.refused(f"optimizer.lr={word}", phrases=["optimizer.lr"])

    def test_an_unset_variable_is_no_default(self):
        for key in ("optimizer.lr", "name", "runs", "steps", "sampling.prompts", "sampling.guidance"):
            self.refused(f"{key}=", phrases=[f"{key}=", "nothing stands after '='", f"{key}=null"])
        self.assertEqual(resolved("optimizer.lr=null")["lr"], "0.00024")  # the program's default, asked for

    def test_values_that_yaml_cuts(self):
        for value in ("/a #x/runs", "#1", "&a", "!x", "%a", "*a", "@a", "`a`", "a\nb"):
            log = self.refused(f"runs={value}", phrases=["runs="])
            self.assertIn("'", log)
        for value in ("/a#x/runs", "a=b", "a&b", "100%", "user@host", "\u732b"):
            self.assertEqual(json.loads(json.dumps(resolved(f"runs={value}")["runs"].strip('"'))), value)
        self.assertEqual(resolved("runs='/a #x/runs'")["runs"], '"/a #x/runs"')

    def test_the_remedy_that_is_printed_works(self):
        for value in ("/a #x/runs", "it's #1", "#\"quoted\" 'twice' $x"):
            log = self.refused(f"runs={value}")
            remedy = log.split("to give it as text, write ", 1)[1].splitlines()[0]
            done = subprocess.run(f"{programs.BIN / 'train'} --config {CONFIG} {remedy} --print-config", shell=True, text=True,
                                  capture_output=True, env=programs.environment(), cwd=SOURCE)
            self.assertEqual(done.returncode, 0, remedy + done.stderr)
            line = next(line for line in done.stdout.splitlines() if line.startswith("runs:"))
            self.assertEqual(json.loads(line.split(":", 1)[1].rsplit("  # ", 1)[0]), value)

    def test_names(self):
        for name in ("''", "x" * 300, "a/b", ".hidden", "null"):
            self.refused(f"name={name}", phrases=["name"])

    def test_ways_to_write_a_key(self):
        for words, phrases in ((["--steps", "5"], ["steps=5"]), (["--steps=5"], ["steps=5"]), (["--optimizer.lr", "1"], ["optimizer.lr=1"]), (["--lr", "1e-4"], ["optimizer.lr=1e-4"]),
                               (["--num-epochs", "5"], ["steps=5ep"]), (["--help-all"], ["no such option and no such key"]),
                               (["data[0].dataset=x"], ["data.0.dataset=x"]), (["+steps=5"], ["emoji.yaml:9", "write steps=5"]),
                               (["++steps=5"], ["write steps=5"]), (["steps =5"], ["write steps=5"]), (["steps:5"], ["key=value"]),
                               (["~steps=5"], ["write ~steps"]), (["~stesp"], ["steps"]), (["model=tiny2"], ["model=tiny_2", "xl_2"]),
                               (["model=3"], ["model", "section", "model.KEY=value"]), (["depth=3"], ["'model.depth'"]),
                               (["--confg", "x"], ["--config"]), (["--optimizer.rl", "1"], ["optimizer.lr=1"]),
                               (["--batch-size=4"], ["batch_size=4"]), (["--multirun"], ["sweep.sh"]), (["--cfg", "job"], ["--print-config"]),
                               (["-steps=5"], ["steps=5"]), (["train=emoji"], ["leave one out"]), (["text=${steps}"], ["text"]),
                               (["name=${stpes}"], ["${steps}"]),
                               (["optimizer..lr=1"], ["empty part"]), (["Steps=5"], ["steps"]), (["optimizer.LR=1"], ["lr"])):
            self.refused(*words, phrases=phrases)
        self.refused("--run", "x", "--prompt", "y", "--num_images", "3", job="generate", config=False, phrases=["num_images=3"])

    def test_groups_references_and_origins(self):
        """What a user of Hydra types, and where each value comes from; the print is a configuration again."""
        words = ["model=tiny_2", "name=run_${seed}", "optimizer.lr=${optimizer.weight_decay}", "+data.1.dataset=x", "~schedule"]
        text = programs.run("train", "train=emoji", *words, "--print-config")
        for line in ("  dim: 512  # configs/models/tiny_2.yaml:5", 'name: run_18  # command line: name', "seed: 18  # configs/train/emoji.yaml:11",
                     "  lr: 0.01  # command line: optimizer.lr", "  - dataset: x  # command line: +data.1.dataset", "  kind: cosine  # default"):
            self.assertIn(line.strip(), [printed.strip() for printed in text.splitlines()])
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "printed.yaml"
            file.write_text(text)
            again = programs.run("train", "--config", file, "--print-config")
            self.assertEqual([line.rsplit("  # ", 1)[0] for line in again.splitlines()], [line.rsplit("  # ", 1)[0] for line in text.splitlines()])
            self.assertIn(f"seed: 18  # {file}:", again)
        self.assertIn("did you mean emoji?", programs.run("train", "--config", "emojii", "--print-config", expect=programs.USER_MISTAKE))
        self.assertIn("name: emoji  #", programs.run("download", "dataset=emoji", "--print-config"))

    def test_text_that_is_not_utf8(self):
        self.refused("name=caf\udce9", phrases=["UTF-8"])
        self.refused("+caf\udce9", phrases=["key=value"])
        with tempfile.TemporaryDirectory() as folder:
            for raw, phrase in (("name: a\n".encode("utf-16"), "UTF-16"), (b"name: caf\xe9\n", "UTF-8"), (b"name: &a\n", "anchor"),
                                (bytes(range(256)), "UTF-8")):
                file = pathlib.Path(folder) / "config.yaml"
                file.write_bytes(raw)
                log = programs.run("train", "--config", file, "--print-config", expect=programs.USER_MISTAKE)
                self.assertIn("config.yaml", log)
                self.assertIn(phrase, log)

    def test_folders_that_cannot_be(self):
        """Below a file, below /proc: the user's mistake, whatever the job."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            (folder / "file").write_text("x")
            stored_files.write_checkpoint(folder / "run/checkpoints", 1, {"weights/a": ([2], [1.0, 2.0])})
            tensors = folder / "in.safetensors"
            tensors.write_bytes(stored_files.safetensors({"a": ("F32", [2], stored_files.floats([1, 2]))})[0])
            for place in (folder / "file", "/proc/none"):
                programs.run("download", "--config", SOURCE / "configs/datasets/emoji.yaml", data=place, expect=2)
                programs.run("convert", "--input", folder / "run", "--output", f"{place}/x.safetensors", expect=2)
                programs.run("convert", "--input", tensors, "--output", f"{place}/x", expect=2)
                programs.run("probe", "decode", "--codec", SOURCE / "assets/emoji_codec", "--input", tensors, "--output",
                             f"{place}/x.safetensors", expect=2)
                programs.run("train", "--config", CONFIG, f"data=[{{dataset: {programs.DATASET}}}]", "size=64", f"runs={place}",
                             "steps=1", *programs.TINY_MODEL, expect=2)

    def test_files_that_are_something_else(self):
        with tempfile.TemporaryDirectory() as scratch:
            file = pathlib.Path(scratch) / "x.safetensors"
            for raw, phrase in ((b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git lfs pull"),
                                (b"PK\3\4" + bytes(100), "PyTorch"), (b"<!DOCTYPE html>" + bytes(100), "web page")):
                file.write_bytes(raw)
                log = programs.run("convert", "--input", file, "--output", f"{scratch}/y", expect=2)
                self.assertIn(phrase, log)
                self.assertFalse(os.path.exists(f"{scratch}/y"))


class Surroundings(unittest.TestCase):
    def test_openmps_binding_is_told_where_it_binds(self):
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("one core: nothing can be narrower")
        free = {name: value for name, value in programs.environment().items()
                if name not in ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY")}
        for said, binds in (({}, False), ({"OMP_PROC_BIND": "TRUE"}, True), ({"OMP_PROC_BIND": "close"}, True),
                            ({"OMP_PROC_BIND": "false"}, False), ({"OMP_PROC_BIND": "FALSE"}, False),
                            ({"OMP_PLACES": "cores"}, True), ({"OMP_PLACES": "cores", "OMP_PROC_BIND": "False"}, False),
                            ({"GOMP_CPU_AFFINITY": str(min(os.sched_getaffinity(0)))}, True)):
            with self.subTest(said):
                log = programs.run("train", "--config", CONFIG, "--print-config", env={**free, **said})
                self.assertEqual("keeps all threads of this program on" in log, binds, log)
                if binds:
                    self.assertIn(f"on 1 of {os.cpu_count()} cores: unset {' '.join(said)} (", log)


class Signals(unittest.TestCase):
    def test_jobs_without_a_checkpoint_end_at_once(self):
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            pipe = folder / "pipe"
            os.mkfifo(pipe)  # whoever reads it waits for ever
            (folder / "step_0000001").mkdir()
            os.mkfifo(folder / "step_0000001/manifest.json")
            jobs = (["convert", "--input", folder / "step_0000001", "--output", folder / "out"], ["doctor", "verify", folder],
                    ["probe", "clean_captions", "--input", pipe, "--output", folder / "out"])
            for sent in (signal.SIGTERM, signal.SIGUSR1):
                for job in jobs:
                    with self.subTest(job=job[0], signal=sent.name):
                        process = subprocess.Popen(programs.command(*job), env=programs.environment(), cwd=SOURCE,
                                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                        time.sleep(2)
                        self.assertIsNone(process.poll(), "it did not wait")
                        process.send_signal(sent)
                        start = time.monotonic()
                        try:
                            process.wait(timeout=20)
                        finally:
                            process.kill()
                        self.assertLess(time.monotonic() - start, 10)
                        self.assertEqual(process.returncode, -sent)


if __name__ == "__main__":
    if not (programs.BIN / "train").exists():
        programs.skip("the programs are not built")
    unittest.main(verbosity=2)
