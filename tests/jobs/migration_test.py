#!/usr/bin/env python3
"""docs/migration.md and the README's table of features: every command of ours is one that the programs accept, every file, key and
test that they name is there; and of the seeds' READMEs no command is left out."""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import programs  # noqa: E402

SOURCE = programs.SOURCE
PAGE = (SOURCE / "docs/migration.md").read_text()
README = (SOURCE / "README.md").read_text()
NOT_THERE = "facts.json is missing|no run|no such file"
ENVIRONMENT = {**programs.environment(), "MICRODIT_BIN": str(programs.BIN)}


def rows(text):
    """The cells of every table, without heads."""
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    return [row for row in cells if row[0] not in ("theirs", "their key", "feature", "")]


def spans(text):
    return re.findall(r"`([^`]+)`", text)


def commands(text):
    """Spans that begin with a program or script of ours or with what starts one."""
    starts = ("build/bin/", "slurm/", "scripts/", "mpirun ", "sbatch ", "srun ")
    return [span for span in spans(text) if span.startswith(starts) and not re.fullmatch(r"[\w/.]+/", span)]


def check_words(command):
    """What is wrong with a command; "" where the program accepts its words."""
    words = shlex.split(command)
    if words[0] in ("mpirun", "srun"):
        words = words[next(i for i, word in enumerate(words) if word.startswith("build/bin/")):]
    if words[0] == "sbatch":  # outside Slurm the script just runs its stage
        words[0] = "bash"
        return outcome([*words, "--print-config"])
    program = words[0]
    if not program.startswith("build/bin/"):
        if not (SOURCE / program).is_file():
            return "is not there"
        missing = [name for name in re.findall(r"configs/[\w./]+\.yaml", command) if not (SOURCE / name).is_file()]
        if program == "slurm/pipeline.sh":
            text = (SOURCE / program).read_text()
            missing += [word for word in words if word.startswith("--") and f"  {word}" not in text]
        return f"{missing} are not there" if missing else ""
    words[0] = str(programs.BIN / pathlib.Path(program).name)
    if not pathlib.Path(words[0]).exists():
        return "is not built"
    if "--config" in words and "--print-config" not in words:
        return outcome([*words, "--print-config"])
    if "--run" in words:
        return outcome(words, NOT_THERE)
    if words[1:2] == ["data"]:
        return outcome(words, "no such|not there|no folder|there is no")
    if "--input" in words or "--pictures" in words:
        return outcome(words, "does not exist|no such|not there|missing|there is no|no folder")
    return outcome([*words, "--dry-run"])


def outcome(words, refused=None):
    """`refused`: how it says that files of the example are not there, once it has taken all words."""
    with tempfile.TemporaryDirectory(prefix="microdit_migration_") as scratch:
        where = scratch if refused else SOURCE
        pathlib.Path(scratch, "classes.yaml").write_text("classes: [3, sneaker]\n")
        done = subprocess.run(words, cwd=where, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    if refused:
        return "" if done.returncode == 2 and re.search(refused, said) else f"exit {done.returncode}: {said}"
    return "" if done.returncode == 0 else f"exit {done.returncode}: {said}"


class Migration(unittest.TestCase):
    def test_every_command_is_accepted(self):
        said = {command for row in rows(PAGE) for command in commands(" ".join(row[1:]))} | {c for row in rows(README) for c in commands(row[1])}
        self.assertGreater(len(said), 50)
        said = sorted(said)
        with ThreadPoolExecutor(2) as pool:
            faults = {command: fault for command, fault in zip(said, pool.map(check_words, said)) if fault}
        self.assertFalse(faults, "\n".join(f"{command}\n    {fault}" for command, fault in faults.items()))

    def test_the_check_can_fail(self):
        for command in ("build/bin/train --config configs/train/emoji.yaml model.dims=8", "build/bin/train --config configs/train/no.yaml",
                        "build/bin/generate --run runs/x --prompt a stepps=3", "sbatch slurm/pretrain_256.sbatch --config configs/train/emoji.yaml stepps=3",
                        "slurm/no.sh", "slurm/pipeline.sh --dataset configs/datasets/no.yaml", "slurm/pipeline.sh --untill precompute"):
            self.assertTrue(check_words(command), command)

    def test_keys_are_those_of_train(self):
        """The middle column of the tables of keys."""
        known, section = set(), ""
        for line in programs.run("train", "--help").splitlines():
            if head := re.match(r"Keys of (\w+) with", line):  # of one kind of it
                section = head[1] + "."
            if key := re.match(r"([a-z_0-9.N]+) +(?:text|integer|number|true|mapping)", line):
                known.add(section + key[1])
        for row in rows(PAGE):
            if len(row) != 3:
                continue
            for span in spans(row[1]):
                key = re.match(r"([a-z_]+(?:\.[a-z_0-9]+)*)(?=$|:|=)", span)
                if key is None or span.startswith(("extends", "images.", "vp_", "checkpoints", "metrics.jsonl", "report.html")):
                    continue
                name = re.sub(r"\.\d+\.", ".N.", key[1])
                if span.endswith(".yaml") or name in ("kind",):
                    continue
                self.assertTrue(any(one == name or one.endswith(f".{name}") or one.startswith(f"{name}.") for one in known), f"{span} of {row[0]}")

    def test_no_command_of_theirs_is_left_out(self):
        """Where the originals' checkouts are (MICRODIT_REFERENCE, MICRODIT_NANO_REFERENCE)."""
        left = [cell for row in rows(PAGE) for cell in row[:1]]
        pages = {"MICRODIT_REFERENCE": ["README.md", "micro_diffusion/datasets/README.md"], "MICRODIT_NANO_REFERENCE": ["README.md"]}
        seen = 0
        for variable, names in pages.items():
            for name in names if os.environ.get(variable) else []:
                text = pathlib.Path(os.environ[variable], name).read_text()
                for program in set(re.findall(r"^ *(?:composer|python|bash|accelerate launch .*?|mlflow) +([\w/]+\.(?:py|sh)|server)", text, re.M)):
                    seen += 1
                    self.assertTrue(any(program in cell for cell in left), f"{program} of {name}")
        if not seen:
            self.skipTest("no checkout of the originals")


class Features(unittest.TestCase):
    def test_every_feature_has_a_command_and_a_test(self):
        features = [row for row in rows(README.split("## What it can do\n")[1].split("\n## ")[0])]
        self.assertGreater(len(features), 15)
        for feature, command, test in features:
            self.assertTrue(spans(command), feature)
            self.assertTrue(spans(test), feature)
            for name in spans(test):
                self.assertTrue((SOURCE / "tests" / name).is_file(), f"{feature}: tests/{name}")
            for name in re.findall(r"(?:configs|slurm|scripts|docs|examples)/[\w./-]+\w", command):
                self.assertTrue((SOURCE / name).exists(), f"{feature}: {name}")


if __name__ == "__main__":
    unittest.main()
