"""Samples shards that agree with their manifest and not with themselves, through precompute."""
import hashlib
import json
import pathlib
import tempfile

from hostile_others import outcome
from programs import BIN, SOURCE, write_recipe
from small_archives import Data, tar_bytes
from tiny_bert import make_bert

try:
    import h5py
    import numpy as np
except ImportError:
    h5py = None

ROWS = 10


def seal(manifest, shard, data):
    """The manifest says of the shard what is true of its bytes."""
    lines = manifest.read_text().splitlines()[:-1]
    record = json.loads(lines[1])
    record["shards"] = [{"file": shard, "rows": ROWS, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}]
    lines[1] = json.dumps(record, separators=(",", ":"))
    text = "".join(line + "\n" for line in lines)
    manifest.write_text(text + json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest()}, separators=(",", ":")) + "\n")


def changes():
    """name, part, column -> (number type, its new values made of its old ones), what must be said."""
    pictures, captions, keys = "image_offsets", "caption.caption_offsets", "key_offsets"
    fits, outside = "`image_offsets` does not fit its column", "runs outside its column"
    one, nothing, falling = ("i8", lambda old: [0]), ("u1", lambda old: []), ("i8", lambda old: [*old[:3], old[1], *old[4:]])
    beyond, below = ("i8", lambda old: [*old[:-1], 2**40]), ("i8", lambda old: [-8, *old[1:]])
    few = ("i4", lambda old: old[:3])
    yield "nothing changed", "all", {}, ""
    yield "1 offset", "images", {pictures: one}, fits
    yield "1 offset, no bytes", "images", {pictures: one, "image": nothing}, f"0 pictures for {ROWS} samples"
    yield "offsets, no bytes", "images", {"image": nothing}, fits
    yield "no offsets", "images", {pictures: ("i8", lambda old: [])}, fits
    yield "offsets that fall", "images", {pictures: falling}, fits
    yield "offsets beyond the bytes", "images", {pictures: beyond}, fits
    yield "offsets below 0", "images", {pictures: below}, fits
    yield "offsets of 4 bytes", "images", {pictures: ("i4", lambda old: old)}, "8 bytes each were expected"
    yield "3 widths", "images", {"width": few}, f"column `width` has 3 rows for {ROWS} samples"
    yield "3 heights", "images", {"height": few}, f"column `height` has 3 rows for {ROWS} samples"
    yield "3 splits", "images", {"split": ("u1", lambda old: old[:3])}, f"column `split` has 3 rows for {ROWS} samples"
    yield "1 offset of keys", "images", {keys: one}, "has 0 samples, its manifest says"
    yield "offsets of keys that fall", "images", {keys: falling}, outside
    yield "offsets of keys beyond their bytes", "text", {keys: beyond}, outside
    yield "1 offset of captions", "text", {captions: one}, f"has 0 rows for {ROWS} samples"
    yield "offsets of captions that fall", "text", {captions: falling}, outside
    yield "offsets of captions beyond their bytes", "text", {captions: beyond}, outside
    yield "offsets of captions below 0", "text", {captions: below}, outside


def changes_elsewhere():
    """The same of a shard whose pictures stay in their archive."""
    fits = "do not fit one another"

    def first(number):
        return "u8", lambda old: [number, *old[1:]]
    yield "1 place", "images", {"image_offset": ("u8", lambda old: old[:1])}, fits
    yield "1 length", "images", {"image_length": ("u8", lambda old: old[:1])}, fits
    yield "1 hash", "images", {"image_xxh3": ("u8", lambda old: old[:1])}, fits
    yield "1 file", "images", {"image_file": ("u2", lambda old: old[:1])}, fits
    yield "a file that is not named", "images", {"image_file": ("u2", lambda old: [7, *old[1:]])}, fits
    for place in (2**40, 2**63, 2**64 - 8):
        yield f"a place of {place}", "images", {"image_offset": first(place)}, "a.tar: is shorter than"
    yield "a length of 2 GiB", "images", {"image_length": first(2**31 - 1)}, "a.tar: is shorter than"
    yield "a length beyond all files", "images", {"image_length": first(2**63)}, "row 0 of `image` has"


def cases(run):
    def precompute(images, part, columns, says):
        with tempfile.TemporaryDirectory(prefix="microdit_samples_") as place:
            root = pathlib.Path(place)
            (root / "a.tar").write_bytes(tar_bytes(0, ROWS, side=16))
            make_bert(root / "bert", 16, 8)
            recipe = write_recipe(root / "r.yaml", name="r", images={"codec": f"{SOURCE}/assets/emoji_codec", "sizes": [16]},
                                  text={"encoder": root / "bert", "length": 8})
            data = Data(root, [f"file://{root}/a.tar"], images=images, recipe=recipe)
            data.run("download")
            data.run("clean")
            shard = data.folder("samples") / "a-00000.h5"
            with h5py.File(shard, "r+") as file:
                del file.attrs["microdit_columns"]  # the columns' checksums
                for column, (number, change) in columns.items():
                    old = file[column][:].tolist()
                    del file[column]
                    file[column] = np.array(change(old), number)
            seal(data.folder("samples") / "manifest.jsonl", shard.name, shard.read_bytes())
            words = [BIN / "precompute", "--config", data.entry, f"part={part}"]
            return outcome(run(words, data=root / "data"), (2,) if columns else (0,), says, shard.name if columns else "")

    for images, rows in (("copy", changes()), ("reference", changes_elsewhere())):
        for name, part, columns, says in rows if h5py else ():
            yield f"samples, {images}: {name}", None, lambda i=images, p=part, c=columns, s=says: precompute(i, p, c, s)
