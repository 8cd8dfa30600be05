#!/usr/bin/env python3
"""The shipped entries on the miniatures of their sources, served as their hosts serve them: the samples are the original's
(goldens/README.md), two tasks give the same bytes, what is added to a source leaves the rest as it lies.

catalogue_test.py [CASE ...]   (all without one)"""
import collections
import hashlib
import io
import json
import pathlib
import re

from entries import Source, check, file_hashes, marks, run_cases, two_at_a_time
import numpy as np
from PIL import Image, ImageOps

GOLDENS = pathlib.Path(__file__).resolve().parent / "goldens"
SIX = ["cc12m", "diffusiondb", "journeydb", "sa1b", "textcaps", "coco2014"]
TURNED = 274  # EXIF's tag
ALL_DAMAGED = "filters.max_damaged_fraction=1"


def hash_of(picture):
    return hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest()


# -- the samples are the original's --------------------------------------------------------------------------------------------------
def golden_key(name, sample):
    """The original's name of a sample's picture."""
    key, item = re.sub(r"#\d+$", "", sample["key"]), sample["item"]
    base = key.rsplit("/", 1)[-1]
    if name == "journeydb":
        return f"{re.match('data_(train|valid)_imgs', item)[1]}/{key}"
    if name == "diffusiondb":
        return f"{item[item.rindex('part-'):]}/{key}"
    if name in ("cc12m", "sa1b"):
        return f"{item}/{key}"
    return base.rsplit(".", 1)[0] if name == "textcaps" else base


CAPTION = {"cc12m": "alt_text", "diffusiondb": "prompt", "journeydb": "prompt", "sa1b": "llava15", "textcaps": "first", "coco2014": "caption"}


def goldens(name, seed):
    lines = (GOLDENS / ("seed7" if seed == 7 else ".") / f"{name}.jsonl").read_text().splitlines()
    check(lines, f"{name}: no goldens of seed {seed}")
    return [json.loads(line) for line in lines]


def ours_of(name, sample):
    """(key, caption, size, pixels) as a golden has them of the source's picture; checks the columns of the size."""
    with Image.open(io.BytesIO(sample["image"])) as picture:
        size, pixels = picture.size, hash_of(picture)
        turned = name == "textcaps" and picture.getexif().get(TURNED, 1) > 4
    said = (sample["width"], sample["height"])
    check(said == (size[::-1] if turned else size), f"{name}: {sample['key']}: {said[0]}x{said[1]}, a picture of {size}, turned: {turned}")
    check(list(sample["captions"]) == [CAPTION[name]], f"{name}: {sample['key']}: captions {list(sample['captions'])}")
    return golden_key(name, sample), sample["captions"][CAPTION[name]], *size, pixels


def theirs_of(line):
    return line["key"], line["caption"], line["source_width"], line["source_height"], line["source_pixels"]


def is_large_grey_gif(sample):
    with Image.open(io.BytesIO(sample["image"])) as picture:
        return picture.format == "GIF" and picture.mode == "L" and min(picture.size) > 512


def equal_to_goldens(source, samples):
    """Every one of theirs, no other. JourneyDB's grey GIFs over 512 px are kept here: the original saves its resized copy with a palette
    and passes that over."""
    name, seed = source.name, source.seed
    ours = collections.Counter(ours_of(name, sample) for sample in samples)
    theirs = collections.Counter(map(theirs_of, goldens(name, seed)))
    kept = collections.Counter(ours_of(name, sample) for sample in samples if name == "journeydb" and is_large_grey_gif(sample))
    more = ours - theirs
    check(not theirs - ours, f"{name}, seed {seed}: missing {list((theirs - ours).elements())[:5]}")
    check(not more - kept, f"{name}, seed {seed}: too many {list((more - kept).elements())[:5]}")
    check(more.total() == ((name, seed) == ("journeydb", 7)), f"{name}, seed {seed}: {more.total()} more")
    check(len({(s["item"], s["key"]) for s in samples}) == len(samples), f"{name}: a key twice in one item")


def turned_pixels(samples, seed):
    """TextCaps: by EXIF's tag, as the original's pixels are."""
    want = {line["key"]: line["pixels"] for line in goldens("textcaps", seed)}
    count = 0
    for sample in samples:
        with Image.open(io.BytesIO(sample["image"])) as picture:
            turned = ImageOps.exif_transpose(picture)
            count += picture.getexif().get(TURNED, 1) > 4
            check(hash_of(turned) == want[golden_key("textcaps", sample)], f"textcaps: {sample['key']}: turned otherwise")
    check(count > 0, "textcaps: no turned picture in the miniature")


def scores_are_kept(source, samples):
    """DiffusionDB: the columns are the doubles of the table's floats, NaN among them."""
    import pyarrow.parquet
    table = pyarrow.parquet.read_table(source.made / "hub/datasets/poloclub/diffusiondb/metadata-large.parquet").to_pylist()
    rows = collections.defaultdict(list)
    for row in table:
        rows[f"part-{row['part_id']:06}/{row['image_name']}", row["prompt"]].append((row["image_nsfw"], row["prompt_nsfw"]))
    nans = 0
    for sample in samples:
        found = tuple(sample["columns"][name] for name in ("image_nsfw", "prompt_nsfw"))
        wanted = rows[golden_key("diffusiondb", sample), sample["captions"]["prompt"]]
        check(any(np.array_equal(found, row, equal_nan=True) for row in wanted), f"diffusiondb: {sample['key']}: {found}, not of {wanted}")
        nans += any(map(np.isnan, found))
    check(nans > 0, "diffusiondb: no NaN among the scores")


def original(scratch, name, seed):
    with Source(scratch / f"{name}{seed}", name, seed, crashing=False) as source:
        source.run("download")
        source.run("clean", ALL_DAMAGED)
        samples = source.samples()
        equal_to_goldens(source, samples)
        if name == "textcaps":
            turned_pixels(samples, seed)
        if name == "diffusiondb":
            scores_are_kept(source, samples)
        if name in ("diffusiondb", "journeydb") and seed == 0:
            check(any(sample["key"].endswith("#2") for sample in samples), f"{name}: no second row of a picture")
        splits = {sample["split"] for sample in samples}
        check(splits == {1} if name == "coco2014" else 0 in splits, f"{name}: splits {splits}")
        print(f"{name}, seed {seed}: {len(samples)} samples")


def originals(scratch):
    two_at_a_time([(original, scratch, name, seed) for name in SIX for seed in (0, 7)])


def whole_one(scratch, name, seed):
    with Source(scratch / f"{name}{seed}", name, seed) as source:
        check(source.made_of.crashing or name == "sa1b", f"{name}: nothing that would end the original's job")
        source.run("download")
        log = source.run("clean", ALL_DAMAGED)
        samples = source.samples()
        ours, theirs = collections.Counter(ours_of(name, sample) for sample in samples), collections.Counter(map(theirs_of, goldens(name, seed)))
        check(not theirs - ours, f"{name}, seed {seed}: missing {list((theirs - ours).elements())[:5]}\n{log}")
        check(source.made_of.crashing == {} or "skipped" in log, log)
        print(f"{name}, seed {seed}: {len(samples)} samples, {len(theirs)} of them the original's")


def whole(scratch):
    """With what ends the original's whole job: it costs those records alone."""
    two_at_a_time([(whole_one, scratch, name, seed) for name in SIX for seed in (0, 7)])


def journeydb_valid(scratch):
    """What the entry's first line says."""
    with Source(scratch / "one", "journeydb", crashing=False) as source:
        check("The valid split is held out" in source.config.read_text(), "the entry no longer says so")
        source.run("download")
        source.run("clean", ALL_DAMAGED)
        found = collections.Counter((golden_key("journeydb", sample).split("/")[0], sample["split"]) for sample in source.samples())
        check(set(found) == {("train", 0), ("valid", 1)}, f"folder and split: {dict(found)}")


# -- in two tasks --------------------------------------------------------------------------------------------------------------------
def tasks_of(scratch, name):
    """A table is built once for all, the last task closes the folder; the bytes are those of one task."""
    stages, words = {"download": "raw", "clean": "samples"}, ["shard_records=3", ALL_DAMAGED]
    with Source(scratch / name, name, pictures=20, crashing=False) as source:
        for stage in stages:
            source.run(stage, *words)
        wanted, tables = file_hashes(source.samples_folder()), table_hashes(source)
        check(len(wanted) > 9, f"{len(wanted)} shards")
        source.data = source.root / "tasks"
        source.data.mkdir()
        if name == "sa1b":
            source.server.write_links(source.data / "sa1b_links.txt")
        for stage, below in stages.items():
            source.run(stage, "task=0/2", *words)
            check(not (source.data / below / name / "manifest.jsonl").exists(), f"{name}: {stage}: one task closed the folder")
            source.run(stage, "task=1/2", *words)
        check(file_hashes(source.samples_folder()) == wanted, f"{name}: other bytes")
        check(table_hashes(source) == tables, f"{name}: another table")


def table_hashes(source):
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (source.data / "raw" / source.name / "tables").glob("*.table")}
    check(found, f"{source.name}: no table")
    return found


def tasks(scratch):
    two_at_a_time([(tasks_of, scratch, "diffusiondb"), (tasks_of, scratch, "sa1b")])


# -- a source that grew --------------------------------------------------------------------------------------------------------------
def another_archive(scratch, name):
    """Of its archives the last comes later: what was there stays as it lies, and all of it is the original's list."""
    with Source(scratch / name, name, crashing=False) as source:
        everything = list(source.words)
        if name == "sa1b":
            links = source.data / "sa1b_links.txt"
            lines = links.read_text().splitlines(keepends=True)
            links.write_text("".join(lines[:-1]))
        else:
            first = json.loads(source.words[0].removeprefix("source.pattern="))
            source.words[0] = "source.pattern=" + json.dumps(first[:-1])
        source.run("download")
        source.run("clean", ALL_DAMAGED)
        before = marks(source.samples_folder())
        check(before, f"{name}: no shard of the first archives")
        if name == "sa1b":
            links.write_text("".join(lines))
        source.words = everything
        source.run("download")
        source.run("clean", ALL_DAMAGED)
        after = marks(source.samples_folder())
        check(after | before == after, f"{name}: shards that were there are other ones now")
        check(len(after) > len(before), f"{name}: nothing was added")
        equal_to_goldens(source, source.samples())


def grown(scratch):
    two_at_a_time([(another_archive, scratch, name) for name in ("diffusiondb", "sa1b")])


if __name__ == "__main__":
    run_cases([originals, whole, journeydb_valid, tasks, grown])
