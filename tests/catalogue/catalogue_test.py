#!/usr/bin/env python3
"""The shipped entries on the miniatures of their sources, served as their hosts serve them: the samples are the original's
(goldens/README.md), a killed stage ends at the same bytes, a source that changed is said, hostile tables are refused, and a user's own
pictures take the lines that the README shows.

catalogue_test.py [CASE ...]   (all without one)"""
import collections
import concurrent.futures
import hashlib
import io
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import programs  # noqa: E402
from programs import SOURCE, USER_MISTAKE, check  # noqa: E402

try:
    import h5py
    import miniature
    import numpy as np
    import yaml
    from PIL import Image, ImageOps
    from source_server import SourceServer
except ImportError as missing:
    programs.skip(f"{missing}: scripts/setup.sh --oracles")

GOLDENS = pathlib.Path(__file__).resolve().parent / "goldens"
SIX = ["cc12m", "diffusiondb", "journeydb", "sa1b", "textcaps", "coco2014"]
TURNED = 274  # EXIF's tag
ALL_DAMAGED = "filters.max_damaged_fraction=1"


def two_at_a_time(jobs):
    """Of (function, arguments...): what two cores take."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(*job) for job in jobs]:
            done.result()


def numbers(pattern):
    """ "a-{0000..0002}" -> its names."""
    found = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if not found:
        return [pattern]
    first, last = found.groups()
    return [pattern[:found.start()] + f"{i:0{len(first)}d}" + pattern[found.end():] for i in range(int(first), int(last) + 1)]


class Source:
    """A data root, the shipped entry NAME and a server of its miniature."""

    def __init__(self, root, name, seed=0, pictures=4, whole_list=False, crashing=True, **server):
        self.root, self.name, self.seed = pathlib.Path(root), name, seed
        self.made, self.data = self.root / "made", self.root / "data"
        self.data.mkdir(parents=True)
        self.made_of = miniature.Miniature(name, self.made, seed, pictures)
        if not crashing and self.made_of.crashing:
            faults = self.made_of.crashing
            self.made = self.root / "calm"
            self.made_of = miniature.Miniature(name, self.made, seed, pictures, leave_out=faults)
        self.server = SourceServer(self.made, whole=whole_list, **server)
        self.config = SOURCE / f"configs/datasets/{name}.yaml"
        self.words = self.addresses(whole_list)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.stop()

    def addresses(self, whole_list):
        """What the entry needs here: where its hosts are, and of its files those that the miniature has."""
        source = yaml.safe_load(self.config.read_text())["source"]
        words = []
        for key in ("urls", "also"):
            if key in source:
                words.append(f"source.{key}=" + json.dumps([self.here(url) for url in source[key]]))
        if "list_file" in source:
            check(source["list_file"] == "${MICRODIT_DATA}/sa1b_links.txt", source)
            self.server.write_links(self.data / "sa1b_links.txt")
        if "hub" in source and not whole_list:
            top = self.made / "hub/datasets" / source["hub"]
            have = [name for pattern in source["pattern"] for name in numbers(pattern) if (top / name).is_file()]
            words += ["source.pattern=" + json.dumps(have), "source.small=[]"]
        return words

    def here(self, url):
        hub = "https://huggingface.co/"
        return f"{self.server.url}/{url.removeprefix(hub)}" if url.startswith(hub) else self.server.address(url)

    def environment(self):
        return programs.environment(self.data, HF_HOME=self.root / "hf", **self.server.environment())

    def command(self, stage, *words):
        return programs.command(stage, "--config", self.config, *self.words, *words)

    def run(self, stage, *words, **options):
        return programs.run(stage, "--config", self.config, *self.words, *words, env=self.environment(), **options)

    def samples_folder(self):
        return self.data / "samples" / self.name

    def samples(self):
        return samples_of(self.samples_folder())


def texts(shard, name):
    offsets, data = shard[name + "_offsets"][:], shard[name][:].tobytes()
    return [data[a:b] for a, b in zip(offsets, offsets[1:])]


def samples_of(folder):
    """A dictionary per sample: item, key, captions, columns, width, height, split, image (its bytes)."""
    found = []
    for file in sorted(folder.glob("*.h5")):
        with h5py.File(file) as shard:
            about = json.loads(shard.attrs["microdit"])
            captions = {name: texts(shard, f"caption.{name}") for name in about["caption_sources"]}
            columns = {name.removeprefix("column."): shard[name][:] for name in shard if name.startswith("column.")}
            keys, images = texts(shard, "key"), texts(shard, "image")
            for i, (key, image) in enumerate(zip(keys, images)):
                found.append({"item": about["item"], "key": key.decode(), "image": image,
                              "captions": {name: column[i].decode() for name, column in captions.items()},
                              "columns": {name: float(column[i]) for name, column in columns.items()},
                              **{name: int(shard[name][i]) for name in ("width", "height", "split")}})
    return found


def file_hashes(folder):
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.h5"))}
    check(found, f"{folder} holds no shard")
    return found


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
        if name != "journeydb":
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


# -- killed --------------------------------------------------------------------------------------------------------------------------
SMALL = ["shard_records=3", ALL_DAMAGED]


def killed(source, stage, draw, longest_s, *words):
    """Five lives that end by SIGKILL at a random moment, however many end well before theirs; then one that ends."""
    hits = tries = 0
    while hits < 5 and tries < 40:
        tries += 1
        process = subprocess.Popen(source.command(stage, *words), env=source.environment(), cwd=SOURCE, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(timeout=draw.uniform(0.05, longest_s))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            hits += 1
        else:
            check(process.returncode == 0, f"{source.name}: {stage}: exit {process.returncode} after {hits} kills")
            break
    source.run(stage, *words)
    return hits


def kills_of(scratch, name, rate):
    draw = random.Random(name)
    with Source(scratch / name, name, rate=rate, crashing=False) as source:
        took = {}
        for stage in ("download", "clean"):
            begin = time.monotonic()
            source.run(stage, *SMALL)
            took[stage] = time.monotonic() - begin
        wanted = file_hashes(source.samples_folder())
        tables = table_hashes(source)
        check(len(wanted) > 6, f"{len(wanted)} shards")
        for kind in ("killed", "tasks"):
            source.data = source.root / kind
            source.data.mkdir()
            if source.name == "sa1b":
                source.server.write_links(source.data / "sa1b_links.txt")
            hits = collections.Counter()
            for stage in ("download", "clean"):
                if kind == "killed":
                    while hits[stage] < 5:
                        hits[stage] += killed(source, stage, draw, took[stage] / 2, *SMALL)
                        if hits[stage] < 5:  # it was done before the fifth
                            remove_folder(source, stage)
                else:
                    for task in ("0/2", "1/2"):
                        source.run(stage, f"task={task}", *SMALL)
            check(file_hashes(source.samples_folder()) == wanted, f"{name}: {kind}: other bytes")
            check(table_hashes(source) == tables, f"{name}: {kind}: another table")
            hidden = [str(p) for p in source.data.rglob("*") if p.is_file() and (p.name.startswith(".") or p.name.endswith(".part"))]
            check(not hidden, f"{name}: {kind}: left behind: {hidden}")
        print(f"{name}: {len(wanted)} shards; {took['download']:.1f} s and {took['clean']:.1f} s undisturbed")


def table_hashes(source):
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (source.data / "raw" / source.name / "tables").glob("*.table")}
    check(found, f"{source.name}: no table")
    return found


def remove_folder(source, stage):
    shutil.rmtree(source.data / {"download": "raw", "clean": "samples"}[stage] / source.name)


def kills(scratch):
    two_at_a_time([(kills_of, scratch, "diffusiondb", 200_000), (kills_of, scratch, "sa1b", 200_000)])


CASES = [originals, whole, journeydb_valid, kills]


def main():
    wanted = sys.argv[1:] or [case.__name__ for case in CASES]
    failed = []
    for case in [case for case in CASES if case.__name__ in wanted]:
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="microdit_catalogue_") as scratch:
            try:
                case(pathlib.Path(scratch))
                said = "ok"
            except AssertionError as wrong:
                failed.append(case.__name__)
                said = f"FAILED: {wrong}"
        print(f"{case.__name__}: {time.monotonic() - begin:.1f} s: {said}", flush=True)
    check(not failed, f"failed: {failed}")
    print("ok")


if __name__ == "__main__":
    main()
