#!/usr/bin/env python3
"""The shipped entries on the miniatures of their sources, served as their hosts serve them: the samples are the original's
(goldens/README.md), a killed stage ends at the same bytes, a source that changed is said, hostile tables are refused, and a user's own
pictures take the lines that the README shows.

catalogue_test.py [CASE ...]   (all without one)"""
import collections
import concurrent.futures
import csv
import gzip
import hashlib
import io
import json
import os
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import programs  # noqa: E402
from programs import SOURCE, USER_MISTAKE, check  # noqa: E402

try:
    import h5py
    import miniature
    import numpy as np
    import odd_pictures
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
        wrong = [done.exception() for done in [pool.submit(*job) for job in jobs]]
    for error in wrong:
        if error and not isinstance(error, AssertionError):
            raise error
    check(not any(wrong), "\n".join(str(error) for error in wrong if error))


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


def killed(source, stage, draw, longest_s):
    """Five lives that end by SIGKILL at a random moment; begun anew where one came to its end before. How many began on another's work."""
    hits = amid = 0
    for _ in range(40):
        if hits == 5:
            return amid
        process = subprocess.Popen(source.command(stage, *SMALL), env=source.environment(), cwd=SOURCE, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(timeout=draw.uniform(0.05, longest_s))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            hits += 1
            amid += any(path.is_file() for path in made_by(source, stage).rglob("*"))
        else:
            check(process.returncode == 0, f"{source.name}: {stage}: exit {process.returncode} after {hits} kills")
            shutil.rmtree(made_by(source, stage))
    raise AssertionError(f"{source.name}: {stage}: {hits} of 40 lives were killed")


def made_by(source, stage):
    return source.data / {"download": "raw", "clean": "samples"}[stage] / source.name


def kills_of(scratch, name):
    draw, stages = random.Random(name), ("download", "clean")
    with Source(scratch / name, name, pictures=20, rate=400_000, crashing=False) as source:
        took = {}
        for stage in stages:
            begin = time.monotonic()
            source.run(stage, *SMALL)
            took[stage] = time.monotonic() - begin
        wanted, tables = file_hashes(source.samples_folder()), table_hashes(source)
        check(len(wanted) > 9, f"{len(wanted)} shards")
        for kind in ("killed", "tasks"):
            source.data = source.root / kind
            source.data.mkdir()
            if name == "sa1b":
                source.server.write_links(source.data / "sa1b_links.txt")
            for stage in stages:
                if kind == "killed":
                    amid = killed(source, stage, draw, 0.8 * took[stage])
                    check(amid > 0, f"{name}: {stage}: every kill came before its work")
                    source.run(stage, *SMALL)
                else:
                    source.run(stage, "task=0/2", *SMALL)
                    check(not (made_by(source, stage) / "manifest.jsonl").exists(), f"{name}: {stage}: one task closed the folder")
                    source.run(stage, "task=1/2", *SMALL)
            check(file_hashes(source.samples_folder()) == wanted, f"{name}: {kind}: other bytes")
            check(table_hashes(source) == tables, f"{name}: {kind}: another table")
            hidden = [str(p) for p in source.data.rglob("*") if p.is_file() and (p.name.startswith(".") or p.name.endswith(".part"))]
            check(not hidden, f"{name}: {kind}: left behind: {hidden}")
        print(f"{name}: {len(wanted)} shards; {took['download']:.1f} s and {took['clean']:.1f} s undisturbed")


def table_hashes(source):
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (source.data / "raw" / source.name / "tables").glob("*.table")}
    check(found, f"{source.name}: no table")
    return found


def kills(scratch):
    two_at_a_time([(kills_of, scratch, "diffusiondb"), (kills_of, scratch, "sa1b")])


# -- a source that grew or changed ---------------------------------------------------------------------------------------------------
def marks(folder):
    """Of every shard: when it was written, its inode, its bytes."""
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino, hashlib.sha256(path.read_bytes()).hexdigest()) for path in folder.glob("*.h5")}


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


class Own:
    """A folder of pictures, and mine.yaml, whose text is all that a user writes."""

    def __init__(self, root, count=20):
        self.root, self.folder, self.data = pathlib.Path(root), pathlib.Path(root) / "pictures", pathlib.Path(root) / "data"
        self.folder.mkdir(parents=True)
        self.captions = {f"p{i:02d}.jpg": f'picture {i}, "drawn" in é' for i in range(count)}
        for name in self.captions:
            self.put(name)

    def put(self, name):
        target = self.folder / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(odd_pictures.of_kind("jpeg", name, 40, 30))

    def entry(self, text):
        text = text.replace("/path/of/pictures", str(self.folder))
        check(len(text.strip().splitlines()) < 15, f"{len(text.splitlines())} lines")
        (self.root / "mine.yaml").write_text(text)

    def table(self, file, data):
        """Another table in the same place; it is written now, not when the one before was."""
        before = (self.folder / file).stat().st_mtime if (self.folder / file).exists() else time.time()
        (self.folder / file).write_bytes(data if isinstance(data, bytes) else data.encode())
        os.utime(self.folder / file, (before + 5, before + 5))

    def run(self, stage, *words, **options):
        return programs.run(stage, "--config", self.root / "mine.yaml", *words, data=self.data, **options)

    def measured(self, stage):
        return programs.run_measured(programs.command(stage, "--config", self.root / "mine.yaml"), self.data)

    def samples(self):
        return samples_of(self.data / "samples/mine")

    def check_captions(self, wanted, what):
        found = {sample["key"]: sample["captions"]["caption"] for sample in self.samples()}
        check(found == wanted, f"{what}: {found}, not {wanted}")


def csv_of(captions, separator=",", end="\n"):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator=end)
    writer.writerows([("file", "caption"), *captions.items()])
    return out.getvalue()


def lines_of(captions):
    return "".join(json.dumps({"file": name, "caption": said}) + "\n" for name, said in captions.items())


OWN = """name: mine
source: {folder: /path/of/pictures, pattern: ["*"]}
archive: none
record: {kind: table, image: [jpg], caption: {caption: "table:caption"}}
tables:
  - {kind: csv, file: captions.csv, key: "{file}", join: "{basename}", columns: {caption: caption}}
splits: {held_out: 0.05}
recipe: configs/latents/emoji.yaml
"""


def another_caption(scratch):
    """A table that changed after clean: refused with what to do, nothing is touched; done, the new caption is there alone."""
    own = Own(scratch / "changed")
    own.entry(OWN)
    own.table("captions.csv", csv_of(own.captions))
    own.run("download")
    own.run("clean")
    own.check_captions(own.captions, "first")
    before = marks(own.data / "samples/mine")
    changed = own.captions | {"p03.jpg": "another caption, and a longer one"}
    own.table("captions.csv", csv_of(changed))
    own.run("download")
    for _ in range(2):
        log = own.run("clean", expect=USER_MISTAKE)
        check("was made from" in log and '"tables":[{' in log and "to make it again: rm " in log, log)
        check(marks(own.data / "samples/mine") == before, "a refusal touched the samples")
    for path in set(re.findall(r"to make it again: rm (\S+) ", log)):
        check(pathlib.Path(path).is_relative_to(own.data / "samples/mine/records"), path)
        pathlib.Path(path).unlink()
    own.run("clean")
    own.check_captions(changed, "after the command that it named")


def added_with_its_row(scratch):
    """README: the same commands again take what was added, with a table too."""
    own = Own(scratch / "added")
    own.entry(OWN)
    own.table("captions.csv", csv_of(own.captions))
    own.run("download")
    own.run("clean")
    own.put("q.jpg")
    own.captions["q.jpg"] = "added"
    own.table("captions.csv", csv_of(own.captions))
    own.run("download")
    own.run("clean")
    own.check_captions(own.captions, "a picture and its row more")


def same_size(scratch):
    """A table that changed and kept its size: download sees it, or says what to do."""
    own = Own(scratch / "same")
    own.entry(OWN)
    own.table("captions.csv", csv_of(own.captions))
    own.run("download")
    own.run("clean")
    own.table("captions.csv", csv_of(own.captions).replace("drawn", "dream"))
    log = own.run("download", expect=USER_MISTAKE)
    check("captions.csv" in log and "to make it again: rm " in log, log)


def grown(scratch):
    two_at_a_time([(another_archive, scratch, "diffusiondb"), (another_archive, scratch, "sa1b"), (another_caption, scratch), (same_size, scratch)])


# -- hostile tables ------------------------------------------------------------------------------------------------------------------
GOOD = {f"p{i:02d}.jpg": f"caption {i}" for i in range(4)}
ROWS = [{"file": name, "caption": said} for name, said in GOOD.items()]
MORE = [*ROWS, {"file": "none.jpg", "caption": "of no picture, or the mended file had the damaged one's size: `same_size`"}]
JSON = {"kind": "json", "key": "{file}", "join": "{basename}", "columns": {"caption": "caption"}}
CSV, PARQUET, INSIDE = JSON | {"kind": "csv"}, JSON | {"kind": "parquet"}, JSON | {"member": "rows.jsonl"}
LINES = lines_of(GOOD).encode()
LONG = json.dumps({"file": "p00.jpg", "caption": "a" * 900_000}).encode() + b"\n"


def tar_claiming(data, claim):
    member = tarfile.TarInfo("rows.jsonl")
    member.size = claim
    return member.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512 + 1024)


def zip_claiming(data, claim):
    whole = bytearray(miniature.zip_bytes([("rows.jsonl", data)]))
    for signature, at in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        begin = whole.rindex(signature) + at
        whole[begin:begin + 4] = struct.pack("<I", claim)
    return bytes(whole)


def tgz_bomb(count=400):
    """Rows enough, each as long as a row may be; gzip's members one behind the other are one file."""
    head = gzip.compress(tar_claiming(b"", len(LONG) * count)[:512], mtime=0)
    return head + gzip.compress(LONG, mtime=0) * count


def parquet_of(rows):
    import pyarrow
    return miniature.parquet_bytes(pyarrow.Table.from_pylist(rows), 1000)


def long_footer():
    whole = bytearray(parquet_of(ROWS))
    whole[-8:-4] = struct.pack("<I", 1 << 30)
    return bytes(whole)


def inside(data=LINES, name="rows.jsonl"):
    return miniature.zip_bytes([(name, data)])


# name -> file, the table, its bytes, the same mended, what the refusal says
HOSTILE = {
    "member_not_there": ("t.zip", INSIDE, lambda: inside(name="other.jsonl"), inside, "holds no file rows.jsonl"),
    "no_json": ("t.jsonl", JSON, lambda: b"this is no JSON\n" * 4, lambda: LINES, "row 1: not valid JSON"),
    "deep_line": ("t.jsonl", JSON, lambda: LINES + b'{"file":"p00.jpg","caption":' + b"[" * 500_000 + b"\n", lambda: LINES, "row 5: JSON nested deeper than 200"),
    "deep_document": ("t.json", JSON | {"rows": "data"}, lambda: b'{"x":' * 1_000_000, lambda: json.dumps({"data": ROWS}).encode(), "nested deeper than 200"),
    "endless_line": ("t.jsonl", JSON, lambda: LINES + b'{"file":"p00.jpg","caption":"' + b"a" * (64 << 20), lambda: LINES, "line 5: more than 1048576 bytes"),
    "endless_row": ("t.csv", CSV, lambda: b"file,caption\np00.jpg," + b"a" * (64 << 20), lambda: csv_of(GOOD).encode(), "line 2: more than 1048576 bytes"),
    "endless_header": ("t.csv", CSV, lambda: b"a," * (16 << 20), lambda: csv_of(GOOD).encode(), "more than 4096 fields"),
    "other_column": ("t.csv", CSV, lambda: b"file,text\np00.jpg,a\n", lambda: csv_of(GOOD).encode(), "has no column 'caption', but: file, text"),
    "other_key": ("t.jsonl", JSON, lambda: LINES.replace(b"file", b"names"), lambda: LINES, "`file` is absent"),
    "missing_quote": ("t.csv", CSV, lambda: b'file,caption\np00.jpg,"a\np01.jpg,b\n', lambda: csv_of(GOOD).encode(), "line 2: a quote is not closed"),
    "wider_row": ("t.csv", CSV, lambda: b"file,caption\np00.jpg,a,b\n", lambda: csv_of(GOOD).encode(), "3 fields, the header has 2"),
    "utf16": ("t.csv", CSV, lambda: csv_of(GOOD).encode("utf-16"), lambda: csv_of(GOOD).encode(), "is UTF-16"),
    "no_utf8": ("t.csv", CSV, lambda: b"file,caption\np00.jpg,caf\xe9\n", lambda: csv_of(GOOD).encode(), "`caption` is not UTF-8"),
    "cut_parquet": ("t.parquet", PARQUET, lambda: parquet_of(ROWS)[:-30], lambda: parquet_of(ROWS), "cut short"),
    "parquet_footer": ("t.parquet", PARQUET, long_footer, lambda: parquet_of(MORE), "its footer is longer than the file"),
    "parquet_list": ("t.parquet", PARQUET, lambda: parquet_of([{"file": "p00.jpg", "caption": ["a"]}]), lambda: parquet_of(ROWS), "'caption' is a list"),
    "bomb": ("t.tgz", INSIDE, tgz_bomb, lambda: miniature.tgz_bytes([("rows.jsonl", LINES)]), "refused as a decompression bomb"),
    "tar_claims_1_GiB": ("t.tar", INSIDE, lambda: tar_claiming(LINES, 1 << 30), lambda: miniature.tar_bytes([("rows.jsonl", LINES)]), "truncated"),
    "zip_claims_1_GiB": ("t.zip", INSIDE, lambda: zip_claiming(LINES, 1 << 30), lambda: inside(LINES + lines_of({"none.jpg": "of no picture"}).encode()), "rows.jsonl: damaged"),
    "cut_tgz": ("t.tgz", INSIDE, lambda: miniature.tgz_bytes([("rows.jsonl", LINES * 2000)])[:-40], lambda: miniature.tgz_bytes([("rows.jsonl", LINES)]), "truncated"),
    "no_zip": ("t.zip", INSIDE, lambda: bytes(range(256)) * 20, inside, "is no zip"),
    "cut_document": ("t.json", JSON | {"rows": "data"}, lambda: json.dumps({"data": ROWS}).encode()[:-20], lambda: json.dumps({"data": ROWS}).encode(), "cut short"),
    "no_list": ("t.json", JSON | {"rows": "data"}, lambda: json.dumps({"other": ROWS}).encode(), lambda: json.dumps({"data": ROWS}).encode(), "no 'data' is there"),
    "one_key": ("t.jsonl", JSON | {"repeated": "all"}, lambda: LINES.splitlines(True)[0] * 2000, lambda: LINES, "more than 1000 rows"),
}
LONGEST_S, MOST_KIB = 10, 400 * 1024


def hostile_table(scratch, name):
    file, table, bad, mended, words = HOSTILE[name]
    own = Own(scratch / name, len(GOOD))
    pattern = json.dumps(["*.jpg", file])
    own.entry(f"name: mine\nsource: {{folder: /path/of/pictures, pattern: {pattern}, max_attempts: 1, backoff_s: 0}}\narchive: none\n"
              'record: {kind: table, image: [jpg], caption: {caption: "table:caption"}}\n'
              f"tables: [{json.dumps(table | {'file': file})}]\n")
    own.table(file, bad())
    said, code = "", 0
    for stage in ("download", "clean"):
        code, log, kib, seconds = own.measured(stage)
        said += log
        check(seconds < LONGEST_S and kib < MOST_KIB, f"{name}: {stage}: {seconds:.1f} s of CPU, {kib} KiB")
        if code:
            break
    check(code == USER_MISTAKE and words in said and file in said, f"{name}: exit {code}, not 2 with '{words}' and {file}:\n{said}")
    left = [str(p.relative_to(own.data)) for p in own.data.rglob("*") if p.is_file() and (p.suffix == ".part" or p.name.startswith(".") or p.suffix == ".h5")]
    check(not left, f"{name}: left behind: {left}")
    own.table(file, mended())
    for stage in ("download", "clean"):
        own.run(stage)
    own.check_captions(GOOD, f"{name}, mended")


def column_of_no_row(scratch):
    """A column that no row of JSON has is a slip in the YAML or in the table: mended, the same commands go on."""
    own = Own(scratch / "one", len(GOOD))
    own.entry(OWN.replace("kind: csv, file: captions.csv", "kind: json, file: captions.jsonl"))
    own.table("captions.jsonl", LINES.replace(b'caption"', b'text"'))
    own.run("download")
    log = own.run("clean", expect=USER_MISTAKE)
    check("caption" in log and "captions.jsonl" in log, log)
    own.table("captions.jsonl", LINES)
    own.run("download")
    own.run("clean")
    own.check_captions(GOOD, "mended")


def hostile_tables(scratch):
    two_at_a_time([(hostile_table, scratch, name) for name in HOSTILE])
    print(f"{len(HOSTILE)} tables")


# -- before a download ---------------------------------------------------------------------------------------------------------------
# name -> files of the small subset, with its tables
FILES_OF_SMALL = {"cc12m": 23, "diffusiondb": 141, "journeydb": 6, "sa1b": 2, "textcaps": 3, "coco2014": 2}


def dry_run(scratch, name):
    with Source(scratch / name, name, whole_list=True) as source:
        log = source.run("download", "subset=small", "--dry-run")
        count, inodes = (re.search(what, log) for what in (r"download \w+: (\d+) files -> ", r"(\S+) (\w+) to read, \S+ \w+ to store, (\d+) inodes"))
        check(count and int(count[1]) == FILES_OF_SMALL[name], log)
        check(inodes and float(inodes[1]) > 0 and int(inodes[3]) >= 2 * int(count[1]), log)
        check(re.search(r"about .+ at the .+ to one reader", log), log)
        stored = [p for p in (source.data / "raw").rglob("*") if p.is_file()] if (source.data / "raw").exists() else []
        check(not stored, f"{name}: a dry run stored {stored}")


def dry_runs(scratch):
    check(sorted(FILES_OF_SMALL) == sorted(SIX), "an entry without a number of files")
    two_at_a_time([(dry_run, scratch, name) for name in SIX])


# -- a user's own pictures -----------------------------------------------------------------------------------------------------------
def own(scratch):
    """The README's five lines on twenty pictures with a caption beside each; those of a table in the same folder."""
    lines = (SOURCE / "README.md").read_text().splitlines()
    begin = lines.index("    name: mine")
    end = begin + next(i for i, line in enumerate(lines[begin:]) if not line.startswith("    "))
    shown = "\n".join(line[4:] for line in lines[begin:end]) + "\n"
    check(end - begin == 5, shown)
    mine = Own(scratch / "sidecars")
    mine.entry(shown)
    for name, said in mine.captions.items():
        (mine.folder / name.replace(".jpg", ".txt")).write_text(said)
    for stage in ("download", "clean"):
        mine.run(stage)
    mine.check_captions({name.removesuffix(".jpg"): said for name, said in mine.captions.items()}, "sidecars")
    check({hashlib.sha256(sample["image"]).digest() for sample in mine.samples()}
          == {hashlib.sha256((mine.folder / name).read_bytes()).digest() for name in mine.captions}, "other pictures")
    excel = csv_of(mine.captions, ";", "\r\n").encode("utf-8-sig")
    variants = {
        "csv": (OWN, "captions.csv", csv_of(mine.captions)),
        "excel": (OWN.replace("kind: csv,", 'kind: csv, separator: ";",'), "captions.csv", excel),
        "jsonl": (OWN.replace("kind: csv, file: captions.csv", "kind: json, file: captions.jsonl"), "captions.jsonl", lines_of(mine.captions)),
    }
    for name, (text, file, data) in variants.items():
        mine = Own(scratch / name)
        mine.entry(text)
        mine.table(file, data)
        for stage in ("download", "clean"):
            mine.run(stage)
        mine.check_captions(mine.captions, name)


def own_folders(scratch):
    """Pictures in folders of their own, named by the table as they lie there."""
    mine = Own(scratch / "folders", 0)
    mine.captions = {f"{folder}/p{i}.jpg": f"picture {i} of {folder}" for folder in ("cats", "dogs") for i in range(10)}
    for name in mine.captions:
        mine.put(name)
    mine.entry(OWN.replace('"*"', '"**/*.jpg", captions.csv').replace("{basename}", "{path}"))
    mine.table("captions.csv", csv_of(mine.captions))
    for stage in ("download", "clean"):
        mine.run(stage)
    found = sorted(sample["captions"]["caption"] for sample in mine.samples())
    check(found == sorted(mine.captions.values()), f"captions {found}")


CASES = [originals, whole, journeydb_valid, kills, grown, added_with_its_row, hostile_tables, column_of_no_row, dry_runs, own, own_folders]


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
