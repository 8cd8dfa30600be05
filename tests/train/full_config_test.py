#!/usr/bin/env python3
"""configs/train/nano_full.yaml names every key that train has for a class_dit, once, with a comment; what it comments out is a default."""
import os
import pathlib
import re
import sys
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

FILE = SOURCE / "configs/train/nano_full.yaml"
LINE = re.compile(r"^(?P<indent>[# ] *)?(?P<item>- )?(?P<key>[a-z]\w*):(?P<value> .*?)?(?P<comment> +# .+)?$")


def keys_of(text):
    """Dotted key -> (stands as a comment, value, its own comment). Items of lists are N."""
    found, above = {}, []
    for number, line in enumerate(text.splitlines(), 1):
        match = LINE.match(line)
        if match is None:
            programs.check(line.startswith("# ") or not line.strip(), f"{FILE.name}:{number}: no key and no comment: {line}")
            continue
        indent = len(match["indent"] or "") + len(match["item"] or "")
        del above[indent // 2:]
        if match["item"]:
            above += ["N"]
        key = ".".join([*above, match["key"]])
        above += [match["key"]]
        # `data` of validation is there twice: as it is, and as a comment that shows what it may hold.
        if key not in found or line[0] != "#":
            found[key] = (line[0] == "#", (match["value"] or "").strip(), match["comment"])
        else:
            programs.check(key == "validation.data", f"{FILE.name}:{number}: {key} is there twice")
    return found


def default(text):
    """Of --help or of the file, as something that can be compared."""
    try:
        return float(text)
    except ValueError:
        return text.strip('"')


class FullConfig(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.found = keys_of(FILE.read_text())
        table = re.split(r"\nKeys \(.*\):\n", programs.run("train", "--help"))[1].split("\nKeys of ")[0].split("\n\n")[0]
        cls.known = {}
        for line in table.splitlines():
            cells = re.split(r"  +", line)
            cls.known[cells[0]] = cells[2].removeprefix("= ")
        # --help shows the keys of microdit; the program lists those of a class_dit where one is unknown.
        said = programs.run("train", "--config", FILE, "model.qqqqqqqqqqqqqqqqqqqq=1", expect=programs.USER_MISTAKE)
        own = re.search(r"unknown key; known: (.*)", said)[1].split(", ")
        cls.known = {key: value for key, value in cls.known.items() if not key.startswith("model.") or key[6:] in own}
        cls.known |= {f"model.{key}": cls.known.get(f"model.{key}", "") for key in own}

    def test_every_key_is_there(self):
        sections = {".".join(key.split(".")[:n]) for key in self.known for n in range(1, key.count(".") + 1)}
        self.assertEqual(sorted(set(self.known) - set(self.found)), [], "keys of the program that the file does not have")
        self.assertEqual(sorted(set(self.found) - set(self.known) - sections), [], "keys of the file that the program does not have")
        self.assertGreater(len(self.known), 100)

    def test_every_key_has_a_comment(self):
        self.assertEqual([key for key, (_, value, comment) in self.found.items() if not comment and value], [])

    def test_what_is_commented_out_is_a_default(self):
        out = {key: value for key, (commented, value, _) in self.found.items() if commented and key in self.known}
        self.assertGreater(len(out), 15)
        for key, value in out.items():
            if self.known[key] != "(required)":
                self.assertEqual(default(value), default(self.known[key]), key)

    def test_it_is_what_it_says(self):
        """The program reads the file, and prints the values that it gives."""
        printed = programs.run("train", "--config", FILE, "--print-config")
        for line in ("kind: class_dit", "prediction: eps", "rule: ddim", "grid: linspace", "clip_x0: 1.0", "max_skipped_steps: 0"):
            self.assertRegex(printed, rf"(?m)^ *{line}  # ")
        self.assertRegex(printed, r"(?m)^ +steps: 50  # ")


if __name__ == "__main__":
    unittest.main(verbosity=2)
