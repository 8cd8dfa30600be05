#!/usr/bin/env python3
"""A folder of pictures with their captions beside them is trained on as the README says, word for word."""
import pathlib
import re
import struct
import sys
import tempfile
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import programs  # noqa: E402


def png(side, colour):
    """A picture of one colour."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = (b"\0" + bytes(colour) * side) * side
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def recipe_of_the_readme():
    """The entry and the words of the training command."""
    section = (programs.SOURCE / "README.md").read_text().split("## Your own pictures\n")[1].split("\n## ")[0]
    entry = re.search(r"((?:    \w+:.*\n)+)", section)[1]
    words = re.search(r"build/bin/train (.*)", section)[1]
    return re.sub("^    ", "", entry, flags=re.M), [word.strip("'") for word in re.findall(r"'[^']*'|\S+", words)]


def main():
    programs.need_data()
    with tempfile.TemporaryDirectory(prefix="microdit_own_") as scratch:
        scratch = pathlib.Path(scratch)
        pictures = scratch / "pictures"
        pictures.mkdir()
        for i in range(20):
            (pictures / f"{i:02}.png").write_bytes(png(80, (12 * i, 100, 200)))
            (pictures / f"{i:02}.txt").write_text(f"blue number {i}")
        data = scratch / "data"
        data.mkdir()
        (data / "weights").symlink_to(programs.DATA / "weights")
        entry, words = recipe_of_the_readme()
        programs.check("/path/of/pictures" in entry, entry)
        (scratch / "mine.yaml").write_text(entry.replace("/path/of/pictures", str(pictures)))
        for stage in ("download", "clean", "precompute"):
            log = programs.run(stage, "--config", scratch / "mine.yaml", data=data)
            programs.check("is complete" in log, log)
        programs.check("20 pictures and 20 captions" in log, log)
        log = programs.run("train", *words, f"runs={scratch}/runs", "steps=1", "batch_size=4", "sampling.every_steps=0", data=data)
        programs.check("done: 1 steps" in log, log)
        programs.check(sorted(path.name for path in pictures.iterdir())[:2] == ["00.png", "00.txt"], "the pictures were moved")
    print("passed")


main()
