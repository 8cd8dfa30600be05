#!/usr/bin/env python3
"""A folder of pictures with captions beside them or in a table is trained on as the README says, word for word."""
import json
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


def of_the_readme():
    """The entries and the words of the training command."""
    section = (programs.SOURCE / "README.md").read_text().split("## Your own pictures\n")[1].split("\n## ")[0]
    entries = re.findall(r"((?:    (?:  - |\w+:).*\n)+)", section)
    words = re.search(r"build/bin/train (.*)", section)[1]
    whole = [re.sub("^    ", "", entry, flags=re.M) for entry in entries if entry.startswith("    name:")]  # not the pieces of others
    return whole, [word.strip("'") for word in re.findall(r"'[^']*'|\S+", words)]


def make_latents(entry, pictures, data):
    """All stages over the entry's folder."""
    programs.check("/path/of/pictures" in entry and entry.count("\n") < 15, entry)
    file = data / "mine.yaml"
    file.write_text(entry.replace("/path/of/pictures", str(pictures)))
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    for stage in ("download", "clean", "precompute"):
        log = programs.run(stage, "--config", file, data=data)
        programs.check("is complete" in log, log)
    programs.check("20 pictures and 20 captions" in log, log)
    programs.check({path: path.read_bytes() for path in pictures.iterdir()} == before, "the pictures were touched")


def main():
    programs.need_data()
    (sidecars, table), words = of_the_readme()
    rows = [(f"{i:02}.png", f'blue, "number" {i}') for i in range(20)]
    quoted = [[f'"{cell}"' for cell in (file, caption.replace('"', '""'))] for file, caption in rows]
    csv = "file,caption\n" + "".join(",".join(row) + "\n" for row in quoted)
    lines = "".join(json.dumps({"file": file, "caption": caption}) + "\n" for file, caption in rows)
    cases = {"sidecars": (sidecars, {pathlib.Path(file).stem + ".txt": caption for file, caption in rows}), "csv": (table, {"captions.csv": csv}),
             "json": (table.replace("kind: csv, file: captions.csv", "kind: json, file: captions.jsonl"), {"captions.jsonl": lines})}
    with tempfile.TemporaryDirectory(prefix="microdit_own_") as scratch:
        for name, (entry, texts) in cases.items():
            folder = pathlib.Path(scratch) / name
            pictures, data = folder / "pictures", folder / "data"
            pictures.mkdir(parents=True)
            data.mkdir()
            (data / "weights").symlink_to(programs.DATA / "weights")
            for i, (file, _) in enumerate(rows):
                (pictures / file).write_bytes(png(80, (12 * i, 100, 200)))
            for file, text in texts.items():
                (pictures / file).write_text(text)
            make_latents(entry, pictures, data)
            log = programs.run("train", *words, f"runs={folder}/runs", "steps=1", "batch_size=4", "sampling.every_steps=0", data=data)
            programs.check("done: 1 steps" in log, log)
    print("passed")


main()
