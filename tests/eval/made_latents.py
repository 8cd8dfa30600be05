"""A latents folder of any size in seconds: facts, manifest, columns and index as precompute writes them, but nearly all rows a hole
of the file system. As a program: made_latents.py ROOT NAME SAMPLES [HELD_OUT]."""
import hashlib
import json
import pathlib
import struct
import sys

import h5py
import numpy

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1]), str(pathlib.Path(__file__).resolve().parents[1] / "jobs")]
import programs  # noqa: E402
import stored_files  # noqa: E402

RECIPE = "emoji"
# The index's element types, by their number (core/dtype.h).
DTYPES = ["?", "|u1", "|i1", "<i2", "<u2", "<f2", None, "<i4", "<u4", "<f4", "<f8", "<i8", "<u8"]
BOUNDS = [0, 64, 512]


def hole(file, name, shape, dtype):
    """A contiguous column of zeros that takes no room: its place in the file is given at once and never written."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.CONTIGUOUS)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(numpy.dtype(dtype)), h5py.h5s.create_simple(shape), plist)


def number(value):
    """Unsigned LEB128."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def text(value):
    return number(len(value)) + value.encode()


def index_bytes(manifest_sha256, generation, sizes, sources, files, items, rows, counts):
    """index.N.bin of items with the same contents, by a second hand: the format as src/store/latent_index.h says it."""
    out = b"MDLATIDX" + struct.pack("<I", 1) + bytes.fromhex(manifest_sha256) + number(generation)
    for values in (sizes, BOUNDS):
        out += number(len(values)) + b"".join(map(number, values))
    out += number(2) + number(len(sources)) + b"".join(map(text, sources))
    columns = b""
    places = b""
    total = 0
    for which, path in enumerate(files):
        with h5py.File(path) as file:
            for name in sorted(file):
                column, has_hash = file[name], name + "_xxh3" not in file
                columns += bytes([which]) + text(name) + bytes([DTYPES.index(column.dtype.str)])
                columns += number(len(column.shape) - 1) + b"".join(map(number, column.shape[1:])) + bytes([has_hash])
                places += number(column.shape[0]) + number(column.id.get_offset() or 0)
                if has_hash:
                    places += struct.pack("<Q", int(stored_files.xxh3(column[:].tobytes()), 16))
                total += 1
    out += number(total) + columns + number(len(items))
    for item in items:
        out += text(item) + number(rows)
        for path in files:
            out += number(path.stat().st_size) + struct.pack("<Q", 0)
        out += places + b"".join(map(number, counts)) + b"".join(number(rows) for _ in sources)
    return out + struct.pack("<Q", int(stored_files.xxh3(out), 16))


def write_shard(path, holes, small, part):
    with h5py.File(path, "w", libver="latest") as file:
        for name, (shape, dtype) in holes.items():
            hole(file, name, shape, dtype)
        for column, values in small.items():
            file.create_dataset(column, data=values)
        attributes = {"stage": "latents", "format": 2, "item": f"made.{part}", "caption_sources": ["name"]}
        hashes = {column: stored_files.xxh3(values.tobytes()) for column, values in small.items()}
        file.attrs["microdit"] = numpy.bytes_(json.dumps(attributes))
        file.attrs["microdit_columns"] = numpy.bytes_(json.dumps(hashes))


def make(root, name, samples, held_out, text=None, lengths=None):
    """`root`/latents/`name`/RECIPE: `samples` samples of 64 px with a caption each, the last `held_out` of them held out. `text`
    (f16 [samples, L, D]) instead of a hole, and `lengths` (i4 [samples]) instead of 3 tokens each."""
    folder = pathlib.Path(root) / "latents" / name / RECIPE
    (folder / "records").mkdir(parents=True)
    facts = dict(json.loads((programs.LATENTS / "facts.json").read_text()), dataset=name, sizes=[64], caption_sources=["name"])
    length, width, side = facts["text_length"], facts["text_width"], 64 // facts["downscale"]
    captions = [f"thing {i}".encode() for i in range(samples)]
    row = 2 * facts["channels"] * side * side
    sides = numpy.full(samples, 64, "<i4")
    write_shard(folder / "made.images.h5", {"latents_64": ((samples, facts["channels"], side, side), "<f2")}, {
        "latents_64_row": numpy.arange(samples, dtype="<i4"),
        "width": sides,
        "height": sides,
        "split": numpy.array([0] * (samples - held_out) + [1] * held_out, "u1"),
        "key": numpy.frombuffer(b"".join(captions), "u1"),
        "key_offsets": numpy.cumsum([0] + [len(c) for c in captions], dtype="<i8"),
        "latents_64_xxh3": numpy.full(samples, int(stored_files.xxh3(bytes(row)), 16), "<u8"),
    }, "images")
    rows = {"text": ((samples, length, width), "<f2")} if text is None else {}
    zeros = int(stored_files.xxh3(bytes(2 * length * width)), 16)
    hashes = [zeros] * samples if text is None else [int(stored_files.xxh3(row.tobytes()), 16) for row in text]
    write_shard(folder / "made.text.h5", rows, ({} if text is None else {"text": text}) | {
        "text_length": numpy.full(samples, 3, "<i4") if lengths is None else lengths,
        "caption_offsets": numpy.arange(samples + 1, dtype="<i8"),
        "caption_rows": numpy.arange(samples, dtype="<i4"),
        "caption_source": numpy.zeros(samples, "u1"),
        "text_caption": numpy.frombuffer(b"".join(captions), "u1"),
        "text_caption_offsets": numpy.cumsum([0] + [len(c) for c in captions], dtype="<i8"),
        "text_xxh3": numpy.array(hashes, "<u8"),
    }, "text")
    (folder / "facts.json").write_text(json.dumps(facts, indent=2) + "\n")
    close(folder, ["made"], samples, held_out)
    return folder


def close(folder, items, samples, held_out):
    """The next generation, of these items; those that are not there yet are links to the first one's files."""
    generation = 1 + len(list(folder.glob("manifest.*.jsonl")))
    facts = json.loads((folder / "facts.json").read_text())
    body = json.dumps({"facts": facts, "generation": generation, "failed": {}}, separators=(",", ":")) + "\n"
    for item in items:
        for part in ("images", "text"):
            path = folder / f"{item}.{part}.h5"
            if not path.exists():
                path.hardlink_to(folder / f"made.{part}.h5")
            # The manifest's SHA-256 is what `doctor verify` checks; nobody reads a hole's gigabytes for it here.
            record = {"item": path.stem, "shards": [{"file": path.name, "rows": samples, "bytes": path.stat().st_size,
                                                     "sha256": "0" * 64}], "details": {"inputs": {"samples_sha256": "made"}}}
            (folder / f"records/{path.stem}.json").write_text(json.dumps(record, separators=(",", ":")) + "\n")
            body += json.dumps(record, separators=(",", ":")) + "\n"
    sha256 = hashlib.sha256(body.encode()).hexdigest()
    body += json.dumps({"sha256": sha256}, separators=(",", ":")) + "\n"
    counts = [0, samples - held_out, 0, 0, held_out, 0]  # [split][bound]
    files = [folder / "made.images.h5", folder / "made.text.h5"]
    index = index_bytes(sha256, generation, [64], ["name"], files, items, samples, counts)
    for target in (f"index.{generation}.bin", "index.bin"):
        (folder / target).write_bytes(index)
    for target in (f"manifest.{generation}.jsonl", "manifest.jsonl"):
        (folder / target).write_text(body)


if __name__ == "__main__":
    print(make(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 0))
