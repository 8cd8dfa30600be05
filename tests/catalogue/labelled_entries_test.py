#!/usr/bin/env python3
"""cifar10 and fashion_mnist, as shipped, on their miniatures: classes, pixels and sides of the split are what their own readers give; cifar10 from
Parquet, too."""
import collections
import hashlib
import io
import json
import pathlib
import tempfile

from entries import SOURCE, check, miniature, samples_of
from programs import run

from PIL import Image

GOLDENS = pathlib.Path(__file__).with_name("goldens")
PARQUET = ["archive=parquet", "record.kind=parquet", "record.picture=img.bytes", "record.members=[]", "splits.held_out_members=[]",
           'splits.held_out_files=["test*"]']


def words_of(name, made, parquet):
    if name == "fashion_mnist":
        return [f"source.folder={next(made.rglob('*-images-idx3*')).parent}"]
    files = sorted(made.rglob("*.parquet")) if parquet else [next(path for path in made.rglob("*binary*") if path.is_file())]
    return ["source.urls=" + json.dumps([f"file://{file}" for file in files]), *(PARQUET if parquet else [])]


def entry(scratch, name, seed, parquet=False):
    miniature.Miniature(name, scratch / "made", seed)
    for stage in ("download", "clean"):
        run(stage, "--config", SOURCE / f"configs/datasets/{name}.yaml", *words_of(name, scratch / "made", parquet), data=scratch / "data")
    samples = samples_of(scratch / "data/samples" / name)
    goldens = [json.loads(line) for line in (GOLDENS / ("seed7" if seed else "") / f"{name}.jsonl").read_text().splitlines()]
    ours = collections.Counter(
        (sample["captions"]["class"], sample["columns"]["class"], sample["split"],
         hashlib.sha256(Image.open(io.BytesIO(sample["image"])).convert("RGB").tobytes()).hexdigest()) for sample in samples)
    theirs = collections.Counter(
        (golden["caption"], float(golden["label"]), int(golden["key"].startswith("test/")), golden["pixels"]) for golden in goldens)
    check(ours == theirs, f"{name}, seed {seed}: {list((ours - theirs).elements())[:3]}, not {list((theirs - ours).elements())[:3]}")
    check(len({sample["key"] for sample in samples}) == len(samples), "one key twice")


def main():
    for name, seed, parquet in (("cifar10", 0, False), ("cifar10", 7, False), ("cifar10", 0, True), ("fashion_mnist", 0, False), ("fashion_mnist", 7, False)):
        with tempfile.TemporaryDirectory(prefix="microdit_catalogue_") as scratch:
            entry(pathlib.Path(scratch), name, seed, parquet)
    print("ok")


if __name__ == "__main__":
    main()
