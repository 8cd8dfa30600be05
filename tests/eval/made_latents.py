"""A latents folder of any size in seconds: facts, manifest and columns as precompute writes them, but nearly all rows a hole of
the file system. As a program: made_latents.py ROOT NAME SAMPLES [HELD_OUT]."""
import hashlib
import json
import pathlib
import sys

import h5py
import numpy

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1]), str(pathlib.Path(__file__).resolve().parents[1] / "jobs")]
import programs  # noqa: E402
import stored_files  # noqa: E402


def hole(file, name, shape, dtype):
    """A contiguous column of zeros that takes no room: its place in the file is given at once and never written."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.CONTIGUOUS)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(numpy.dtype(dtype)), h5py.h5s.create_simple(shape), plist)


def make(root, name, samples, held_out):
    """`root`/latents/`name`: `samples` samples of 64 px with a caption each, the last `held_out` of them held out."""
    folder = pathlib.Path(root) / "latents" / name
    (folder / "records").mkdir(parents=True)
    like = programs.DATA / "latents" / programs.DATASET
    facts = dict(json.loads((like / "facts.json").read_text()), dataset=name, sizes=[64], caption_sources=["name"])
    length, width, side = facts["text_length"], facts["text_width"], 64 // facts["downscale"]
    captions = [f"thing {i}".encode() for i in range(samples)]
    row = 2 * facts["channels"] * side * side
    small = {
        "split": numpy.array([0] * (samples - held_out) + [1] * held_out, "u1"),
        "caption_offsets": numpy.arange(samples + 1, dtype="<i8"),
        "caption_rows": numpy.arange(samples, dtype="<i4"),
        "caption_source": numpy.zeros(samples, "u1"),
        "latents_64_xxh3": numpy.full(samples, int(stored_files.xxh3(bytes(row)), 16), "<u8"),
        "text_xxh3": numpy.full(samples, int(stored_files.xxh3(bytes(2 * length * width)), 16), "<u8"),
        "text_caption": numpy.frombuffer(b"".join(captions), "u1"),
        "text_caption_offsets": numpy.cumsum([0] + [len(c) for c in captions], dtype="<i8"),
    }
    shard = folder / "made-00000.h5"
    with h5py.File(shard, "w", libver="latest") as file:
        hole(file, "latents_64", (samples, facts["channels"], side, side), "<f2")
        hole(file, "text", (samples, length, width), "<f2")
        for column, values in small.items():
            file.create_dataset(column, data=values)
        attributes = {"stage": "latents", "format": 1, "dataset": name, "item": "made", "caption_sources": ["name"]}
        hashes = {column: stored_files.xxh3(values.tobytes()) for column, values in small.items()}
        file.attrs["microdit"] = numpy.bytes_(json.dumps(attributes))
        file.attrs["microdit_columns"] = numpy.bytes_(json.dumps(hashes))
    # The manifest's SHA-256 is what `doctor verify` checks; nobody reads a hole's gigabytes for it here.
    record = {"item": "made", "of": 1, "shards": [{"file": shard.name, "rows": samples, "bytes": shard.stat().st_size,
                                                   "sha256": "0" * 64}], "details": {}}
    (folder / "facts.json").write_text(json.dumps(facts, indent=2) + "\n")
    (folder / "records/made.json").write_text(json.dumps(record, separators=(",", ":")) + "\n")
    body = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in ({"facts": facts}, record))
    last = json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest()}, separators=(",", ":"))
    (folder / "manifest.jsonl").write_text(body + last + "\n")
    return folder


if __name__ == "__main__":
    print(make(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 0))
