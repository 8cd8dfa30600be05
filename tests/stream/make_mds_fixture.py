#!/usr/bin/env python3
"""The MDS folders that the tests read, written and read back by mosaicml-streaming itself; run by hand, the results are committed.

    scripts/bench_setup.sh && .venv-bench/streaming/bin/python tests/stream/make_mds_fixture.py

tests/stream/mds/: plain (two sub-folders and a merged index), zstd (two sub-folders, none merged, hashes), arrays (ndarray columns
and columns that nobody wants), pickled; and expected.json, what the library's own reader gives for each sample.
"""
import hashlib
import json
import pathlib
import shutil
import sys

import numpy as np
from streaming import LocalDataset, MDSWriter
from streaming.base.compression import decompress
from streaming.base.util import merge_index

FOLDER = pathlib.Path(__file__).resolve().parent / "mds"
LENGTH, WIDTH, CHANNELS = 3, 8, 4
PLAIN = {"caption": "str", "caption_latents": "bytes", "latents_32": "bytes", "latents_64": "bytes"}


def sample(number):
    rng = np.random.default_rng(number)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float16)
    return {"caption": f"picture {number}, été {'x' * (number % 5)}", "caption_latents": draw(LENGTH, WIDTH),
            "latents_32": draw(CHANNELS, 4, 4), "latents_64": draw(CHANNELS, 8, 8)}


def write(name, columns, numbers, encode, **settings):
    with MDSWriter(out=str(FOLDER / name), columns=columns, **settings) as writer:
        for number in numbers:
            writer.write(encode(sample(number)))


def as_bytes(one):
    return {key: value if isinstance(value, str) else value.tobytes() for key, value in one.items()}


def as_arrays(one):
    return {**one, "caption_latents": one["caption_latents"].astype(np.float32), "note": {"of": one["caption"]}, "count": 7,
            "long": 10 ** 20, "weight": np.float32(0.5)}


def read(name):
    rows = []
    for row in LocalDataset(local=str(FOLDER / name)):
        values = {key: np.frombuffer(value, np.float16) if isinstance(value, bytes) else np.asarray(value, np.float16)
                  for key, value in row.items() if "latents" in key}
        rows.append({"caption": row["caption"], "text": values["caption_latents"].tobytes().hex(), "32": values["latents_32"].tobytes().hex(),
                     "64_sha256": hashlib.sha256(values["latents_64"].tobytes()).hexdigest()})
    return rows


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    for rank in (0, 1):
        numbers = range(rank * 20, rank * 20 + 20)
        write(f"plain/{rank}", PLAIN, numbers, as_bytes, size_limit=8192)
        write(f"zstd/{rank}", PLAIN, numbers, as_bytes, size_limit=8192, compression="zstd:7", hashes=["sha256", "xxh3_64", "xxh64"])
    merge_index([str(FOLDER / "plain" / str(rank) / "index.json") for rank in (0, 1)], out=str(FOLDER / "plain"), keep_local=True)
    write("arrays", {"caption": "str", "caption_latents": "ndarray", "latents_32": "ndarray:float16:4,4,4", "latents_64": "ndarray:float16",
                     "note": "json", "count": "int", "long": "str_int", "weight": "float32"},
          range(40, 52), as_arrays, size_limit=8192, hashes=["sha1", "xxh3_128"])
    write("pickled", {**PLAIN, "extra": "pkl"}, range(2), lambda one: {**as_bytes(one), "extra": {"a": 1}})
    # Each sub-folder of the packed one alone, unpacked by the library; what that leaves is removed again.
    expected = {"plain": read("plain"), "arrays": read("arrays"), "zstd": []}
    for rank in (0, 1):
        here = FOLDER / "zstd" / str(rank)
        packed = sorted(here.glob("*.zstd"))
        for path in packed:
            path.with_suffix("").write_bytes(decompress("zstd", path.read_bytes()))
        expected["zstd"] += read(f"zstd/{rank}")
        for path in packed:
            path.with_suffix("").unlink()
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")


if __name__ == "__main__":
    sys.exit(main())
