"""Reads what `convert` wrote with the webdataset package itself, and compares it with the shards it was made of.

    .venv-bench/webdataset/bin/python tests/bench/webdataset_readback.py FOLDER TARS      FOLDER: samples/NAME or latents/NAME/RECIPE
"""
import json
import pathlib
import sys

import h5py
import numpy as np
import webdataset


def texts(shard, name):
    offsets, data = shard[name + "_offsets"][:], shard[name][:].tobytes()
    return [data[a:b].decode() for a, b in zip(offsets, offsets[1:])]


def files(folder, end):
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    return [shard["file"] for line in lines[1:-1] for shard in json.loads(line)["shards"] if shard["file"].endswith(end)]


def expected_samples(folder):
    for name in files(folder, ".h5"):
        with h5py.File(folder / name) as shard:
            offsets, pictures = shard["image_offsets"][:], shard["image"][:].tobytes()
            for row, key in enumerate(texts(shard, "key")):
                yield key, {"picture": pictures[offsets[row]:offsets[row + 1]], "width": int(shard["width"][row])}


def expected_latents(folder):
    for name in files(folder, ".images.h5"):
        with h5py.File(folder / name) as images:
            sizes = [column for column in images if column.startswith("latents_") and column[8:].isdigit()]
            for row, key in enumerate(texts(images, "key")):
                places = {size: int(images[size + "_row"][row]) for size in sizes}
                yield key, {size: images[size][place] for size, place in places.items() if place >= 0}


def main():
    folder, tars = map(pathlib.Path, sys.argv[1:])
    is_latents = json.loads((folder / "facts.json").read_text())["stage"] == "latents"
    expected = dict((expected_latents if is_latents else expected_samples)(folder))
    count = 0
    for sample in webdataset.WebDataset(sorted(map(str, tars.glob("*.tar"))), shardshuffle=False).decode():
        right = expected.pop(sample["json"]["key"])
        if is_latents:
            for size, values in right.items():
                assert np.array_equal(sample[f"{size}.npy"], values), sample["__key__"]
            assert sample["text.npy"].dtype == np.float16 and len(sample["text.npy"]) == len(sample["json"]["captions"])
        else:
            assert right["picture"] in [value for value in sample.values() if isinstance(value, bytes)], sample["__key__"]
            assert sample["json"]["width"] == right["width"] and sample["txt"] in sample["json"]["captions"].values()
        count += 1
    assert not expected, f"{len(expected)} samples are missing"
    print(f"{tars}: {count} samples read by webdataset {webdataset.__version__}, equal to {folder}")


main()
