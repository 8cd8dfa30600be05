#!/usr/bin/env python3
"""The miniatures that are made here are the ones that the lists in goldens/ tell of, by every picture's pixels; seeds and what is left
out do what they promise."""
import hashlib
import io
import json
import pathlib
import sys
import tarfile
import tempfile
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import programs  # noqa: E402
from programs import check  # noqa: E402

try:
    import miniature
    import numpy as np
    from PIL import Image
except ImportError as missing:
    programs.skip(f"{missing}: scripts/setup.sh --oracles")

GOLDENS = pathlib.Path(__file__).resolve().parent / "goldens"
SEEDS = {0: GOLDENS, 7: GOLDENS / "seed7"}


def bytes_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def pictures(files):
    """Their hashes, of every archive's members that Pillow can decode."""
    found = set()
    for path, data in files.items():
        if path.endswith((".tar", ".tgz")):
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                members = [archive.extractfile(member).read() for member in archive if member.isfile()]
        elif path.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = [archive.read(member) for member in archive.namelist()]
        else:
            continue
        for member in members:
            try:
                found.add(hashlib.sha256(np.asarray(Image.open(io.BytesIO(member)).convert("RGB")).tobytes()).hexdigest())
            except (OSError, SyntaxError):
                pass
    return found


def main():
    for name in miniature.LAYOUTS:
        with tempfile.TemporaryDirectory(prefix="microdit_miniature_") as scratch:
            scratch = pathlib.Path(scratch)
            try:
                whole = miniature.Miniature(name, scratch / "whole")
            except ImportError as missing:
                print(f"{name}: not looked at: {missing}")
                continue
            miniature.Miniature(name, scratch / "again")
            check(bytes_of(scratch / "whole") == bytes_of(scratch / "again"), f"{name}: other bytes the second time")
            for seed, folder in SEEDS.items():
                made = miniature.Miniature(name, scratch / f"seed{seed}", seed)
                miniature.Miniature(name, scratch / f"less{seed}", seed, leave_out=made.crashing)
                found, less = pictures(bytes_of(scratch / f"seed{seed}")), pictures(bytes_of(scratch / f"less{seed}"))
                check(less <= found, f"{name}: leaving out changed a picture")
                lines = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
                check(lines, f"{name}: no goldens of seed {seed}")
                strange = [line["key"] for line in lines if line.get("source_pixels", None) not in {*less, None}]
                check(not strange, f"{name}, seed {seed}: pictures that are not the goldens': {strange}")
            check(bytes_of(scratch / "whole") != bytes_of(scratch / "seed7"), f"{name}: seed 7 is seed 0")
            print(f"{name}: {len(whole.crashing)} faults that end the original's job")
    print("ok")


if __name__ == "__main__":
    main()
