#!/usr/bin/env python3
"""Pictures in a column of Parquet files, from download to clean: as the hub has them, with captions and numbers beside them; large pages and
pictures; every way of writing; and files that are wrong, which cost what they are worth in memory, time and records.

parquet_pictures_test.py [CASE ...]   (all without one)"""
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

from entries import SOURCE, check, run_cases, samples_of
from source_server import SourceServer
import programs
from programs import REQUEUE, USER_MISTAKE

try:
    import pyarrow
    import parquet_files
    from parquet_files import heavy, images, mutated, picture, table_of, with_bad_text, written
except ImportError as missing:
    programs.skip(f"{missing}: scripts/setup.sh --oracles")

KEPT_MIB = 260  # of a process that holds no large page


class Entry:
    """A data root, files and an entry about them."""

    def __init__(self, root, files, record="picture: image, caption: {caption: 'column:text'}", **keys):
        self.root, self.data = pathlib.Path(root), pathlib.Path(root) / "data"
        (self.root / "files").mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (self.root / "files" / name).write_bytes(data)
        urls = [f"file://{self.root}/files/{name}" for name in files]
        lines = ["name: mine", "source: " + json.dumps({"urls": urls}), "archive: parquet", f"record: {{kind: parquet, {record}}}"]
        lines += [f"{key}: {value}" for key, value in keys.items()]
        (self.root / "mine.yaml").write_text("\n".join(lines) + "\n")

    def run(self, stage, *words, **options):
        return programs.run(stage, "--config", self.root / "mine.yaml", *words, data=self.data, **options)

    def clean(self, expect=programs.DONE, **options):
        self.run("download")
        return self.run("clean", expect=expect, **options)

    def measured(self, stage="clean"):
        return programs.run_measured(programs.command(stage, "--config", self.root / "mine.yaml"), self.data)

    def samples(self):
        found = samples_of(self.data / "samples/mine")
        return {sample["key"]: sample for sample in found}

    def refused(self, *words):
        said = self.clean(expect=USER_MISTAKE)
        for word in words:
            check(word in said, f"'{word}' is not in\n{said}")
        return said


def texts(count):
    return [f"picture {i}, drawn" for i in range(count)]


# -- what the hub has ----------------------------------------------------------------------------------------------------------------
def hub(scratch):
    """The entry to copy, on a repository of three files and 200 pictures, one of 5 MB: from the hub to the samples."""
    folder = scratch / "made/hub/datasets/organisation/repository/data"
    folder.mkdir(parents=True)
    pictures = [heavy(i, 5_000_000, 300, 300) if i == 77 else picture(i, 300, 260 + i) for i in range(200)]
    captions = [[f"picture {i}", f"a drawing, number {i}"] if i % 9 else [f"picture {i}"] for i in range(200)]
    for part, (begin, end) in enumerate(((0, 70), (70, 140), (140, 200))):
        table = table_of(pictures[begin:end], text=[None if i == 3 else f"text {i}" for i in range(begin, end)],
                         captions=pyarrow.array(captions[begin:end], pyarrow.list_(pyarrow.string())),
                         label=pyarrow.array([i % 5 for i in range(begin, end)], pyarrow.int64()),
                         score=pyarrow.array([i / 10 for i in range(begin, end)], pyarrow.float32()))
        (folder / f"train-{part:05}-of-00003.parquet").write_bytes(written(table))
    shipped = SOURCE / "configs/datasets/hub_parquet.yaml"
    lines = [line for line in shipped.read_text().splitlines() if not line.startswith("#")]
    check(len(lines) < 15, f"{len(lines)} lines")
    readme = (SOURCE / "README.md").read_text()
    shown = re.search(r'^    source: \{hub: owner/name.*\n    archive: parquet\n    record: \{.*\}', readme, re.M)
    check(shown is not None, "README.md does not show it")
    (scratch / "mine.yaml").write_text("name: mine\n" + re.sub("^    ", "", shown[0], flags=re.M).replace("owner/name", "organisation/repository") + "\nsplits: {held_out: 0.05}\n")
    with SourceServerOf(scratch / "made") as server:
        env = programs.environment(scratch / "data", HF_HOME=scratch / "hf", **server.environment())
        for stage in ("download", "clean"):
            programs.run(stage, "--config", shipped, "record.columns={score: score}", "filters.at_least={score: 1}", env=env)
            said = programs.run(stage, "--config", scratch / "mine.yaml", env=env)
    check(re.search(r"199 of 200 records kept; skipped: filtered.no_caption 1 \(e.g. \S*train-00000-of-00003/00000003\)", said), said)
    check(sorted(s["captions"]["caption"] for s in samples_of(scratch / "data/samples/mine")) == sorted(f"text {i}" for i in range(200) if i != 3), "texts")
    found = samples_of(scratch / "data/samples/hub_parquet")
    check(len(found) == 190, f"{len(found)} samples, of which score >= 1")
    for sample in found:
        i = round(sample["columns"]["score"] * 10)
        check(sample["image"] == pictures[i], f"picture {i}")
        check(sample["captions"] == {"caption": captions[i][0]}, f"{i}: {sample['captions']}")
        check(set(sample["columns"]) == {"score"}, f"{sample['columns']}")


class SourceServerOf(SourceServer):
    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def captions(scratch):
    """Several columns, elements of lists that are shorter in some rows, nulls; classes beside them; numbers that are kept and compared."""
    count = 40
    lists = [None if i % 10 == 0 else [f"list {i} {j}" if j != 1 or i % 4 else None for j in range(i % 10)] for i in range(count)]
    table = table_of([picture(i) for i in range(count)], text=[None if i % 3 == 0 else f"text {i}" for i in range(count)],
                     lists=pyarrow.array(lists, pyarrow.list_(pyarrow.string())), label=[i % 4 for i in range(count)],
                     about=pyarrow.array([{"score": i, "also": [f"also {i}"]} for i in range(count)]))
    entry = Entry(scratch, {"a.parquet": written(table, row_group_size=7)},
                  "picture: image, label: label, classes: [a, b, c, d], columns: {score: about.score}, "
                  "caption: {text: 'column:text', first: 'column:lists/0', second: 'column:lists/1', also: 'column:about.also/0', kind: class}",
                  filters="{at_least: {score: 5}, at_most: {score: 30}}")
    entry.clean()
    found = entry.samples()
    check(set(found) == {f"a/{i:08}" for i in range(5, 31)}, f"{sorted(found)}")
    for i in range(5, 31):
        row = lists[i] or []
        wanted = {"text": f"text {i}" if i % 3 else "", "first": (row[0:1] or [""])[0], "second": (row[1:2] or [""])[0] or "",
                  "also": f"also {i}", "kind": "abcd"[i % 4]}
        sample = found[f"a/{i:08}"]
        check(sample["captions"] == wanted, f"{i}: {sample['captions']}, not {wanted}")
        check(sample["columns"] == {"score": i, "class": i % 4}, f"{i}: {sample['columns']}")
        check(sample["image"] == picture(i), f"picture {i}")


def entries(scratch):
    """What an entry asks for in vain, with what there is."""
    table = table_of([picture(i) for i in range(3)], text=texts(3), lists=[["a"]] * 3, number=[1, 2, 3], deep=[[["a"]]] * 3)
    file = {"a.parquet": written(table)}
    for number, (record, *words) in enumerate((
            ("picture: photo, caption: {c: 'column:text'}", "a.parquet: it has no column 'photo', but: image.bytes, image.path, text"),
            ("caption: {c: 'column:words'}", "it has no column 'words'"),
            ("caption: {c: 'column:lists'}", "its column 'lists' is a list (its first element is 'lists/0')"),
            ("caption: {c: 'column:text/0'}", "its column 'text' is no list"),
            ("caption: {c: 'column:deep/0'}", "a list of lists"),
            ("picture: number, caption: {c: 'column:text'}", "its column 'number' holds numbers, no pictures"),
            ("picture: lists, caption: {c: 'column:text'}", "its column 'lists' is a list"),
            ("classes: [a]", "it has no column 'label'"))):
        Entry(scratch / str(number), file, record).refused(*words)
    for record, keys, word in (("caption: {c: 'column:'}", {}, "'column:'"), ("caption: {c: class}, label: ''", {}, "name its column"),
                               ("caption: {c: 'column:text'}", {"filters": "{at_most: {number: 2}}"}, "record.columns has no 'number'"),
                               ("columns: {class: number}", {}, "is no name"), ("caption: {c: 'column:text'}, picture: ''", {}, "picture")):
        said = Entry(scratch / "wrong", file, record, **keys).run("download", expect=USER_MISTAKE)
        check(word in said, said)
    no = scratch / "other.yaml"
    for key in ("columns: {a: b}", "label: ''", "picture: image"):
        no.write_text("name: mine\nsource: {urls: ['file:///x.tar']}\nrecord: {" + key + "}\n")
        check("is of kind: parquet" in programs.run("download", "--config", no, expect=USER_MISTAKE, data=scratch), key)


# -- how it is written ---------------------------------------------------------------------------------------------------------------
def large(scratch):
    """Pictures of 1.2 and 20 MB in pages of 120 MB, however compressed: in memory that the page says."""
    pictures = [heavy(i, 20_000_000 if i == 50 else 1_200_000) for i in range(84)]
    table = table_of(pictures, text=texts(84))
    for name, how in (("zstd", {"compression": "zstd"}), ("plain", {"use_dictionary": False, "compression": "snappy"})):
        data = written(table, **how)
        check(len(data) > 115e6, f"{len(data)}")
        entry = Entry(scratch / name, {"a.parquet": data})
        entry.run("download")
        code, said, kib, _ = entry.measured()
        check(code == 0, said)
        found = entry.samples()
        check(len(found) == 84 and all(found[f"a/{i:08}"]["image"] == pictures[i] for i in range(84)), f"{name}: {len(found)} samples")
        check(kib < (3 * len(data) / 1024 + 150 * 1024), f"{name}: {kib / 1024:.0f} MiB")  # the worker, or clean with its shard


def ways(scratch):
    """Codecs, versions of pages, dictionaries, indices: the same samples. A picture as plain bytes; no rows; no row groups."""
    pictures = [picture(i) for i in range(30)]
    table = table_of(pictures, text=texts(30))
    flat = pyarrow.table({"image": pyarrow.array(pictures, pyarrow.binary()), "text": texts(30)})
    files = {f"{codec}_{version[0]}_{int(words)}.parquet": written(table, compression=codec, data_page_version=version, use_dictionary=words,
                                                                   row_group_size=11, write_page_checksum=words)
             for codec in ("none", "snappy", "gzip", "zstd", "lz4", "brotli") for version in ("1.0", "2.0") for words in (True, False)}
    files["flat.parquet"] = written(flat)
    files["large.parquet"] = written(flat.cast(pyarrow.schema([("image", pyarrow.large_binary()), ("text", pyarrow.large_string())])))
    files["words.parquet"] = written(flat.set_column(1, "text", pyarrow.array(texts(30)).dictionary_encode()))
    files["delta.parquet"] = written(flat, use_dictionary=False, column_encoding={"image": "DELTA_LENGTH_BYTE_ARRAY", "text": "DELTA_BYTE_ARRAY"})
    files["index.parquet"] = written(table, write_page_index=True, use_content_defined_chunking=True)
    files["small_pages.parquet"] = written(table, write_batch_size=2, data_page_size=100)
    files["no_rows.parquet"] = written(table.slice(0, 0))
    files["no_groups.parquet"] = parquet_files.written(table.slice(0, 0), store_schema=False)
    entry = Entry(scratch, files)
    said = entry.clean()
    found = entry.samples()
    wanted = {f"{name.removesuffix('.parquet')}/{i:08}" for name in files if not name.startswith("no_") for i in range(30)}
    check(set(found) == wanted, f"{len(found)} samples, not {len(wanted)}\n{said}")
    for key, sample in found.items():
        i = int(key[-8:])
        check(sample["image"] == pictures[i] and sample["captions"] == {"caption": f"picture {i}, drawn"}, key)


def paths(scratch):
    """Files that name their pictures and do not hold them; of some rows that is their own loss."""
    pictures = [picture(i) for i in range(10)]
    none = pyarrow.array([{"bytes": None, "path": f"cats/{i}.jpg"} for i in range(10)], parquet_files.IMAGE)
    alone = pyarrow.table({"image": none, "text": texts(10)})
    Entry(scratch / "all", {"a.parquet": written(alone)}).refused(
        "`image.bytes` is empty in all of its 10 rows, which name files alone (e.g. 'cats/0.jpg')", "record.kind: table")
    some = pyarrow.concat_tables([table_of(pictures, text=texts(10)), alone, pyarrow.table({"image": pyarrow.nulls(2, parquet_files.IMAGE), "text": texts(2)})])
    said = Entry(scratch / "some", {"a.parquet": written(some)}, filters="{max_damaged_fraction: 0.6}").clean()
    check("10 of 22 records kept" in said and "unsupported.no_bytes 10 (e.g. a/00000010)" in said and "damaged.no_image 2" in said, said)


# -- what is wrong -------------------------------------------------------------------------------------------------------------------
def rows_without_end(scratch):
    """Small files that say that they have very many rows: refused for what they say, or read as they are worth; a stop is heeded."""
    empty = pyarrow.table({"image": pyarrow.nulls(20_000_000, pyarrow.binary()), "text": pyarrow.nulls(20_000_000, pyarrow.string())})
    data = written(empty, row_group_size=20_000_000)
    check(len(data) < 100_000, f"{len(data)} bytes")
    entry = Entry(scratch / "many", {"a.parquet": data})
    entry.run("download")
    begin = time.monotonic()
    code, said, kib, _ = entry.measured()
    check(code == USER_MISTAKE and "it says that it has 20000000 rows; one of" in said, said)
    check(kib < KEPT_MIB * 1024 and time.monotonic() - begin < 10, f"{kib >> 10} MiB, {time.monotonic() - begin:.1f} s")
    fewer = Entry(scratch / "fewer", {"a.parquet": written(empty.slice(0, 999_000), row_group_size=999_000)})
    fewer.run("download")
    code, said, kib, _ = fewer.measured()
    check(code == USER_MISTAKE and "damaged.no_image 999000" in said, said)
    check(kib < KEPT_MIB * 1024, f"{kib >> 10} MiB")
    again = Entry(scratch / "again", {"a.parquet": written(empty.slice(0, 999_000), row_group_size=999_000)})
    again.run("download")
    running = subprocess.Popen(programs.command("clean", "--config", again.root / "mine.yaml"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env=programs.environment(again.data), cwd=SOURCE)
    time.sleep(1.5)
    running.send_signal(signal.SIGTERM)
    begin = time.monotonic()
    said = running.communicate(timeout=60)[0].decode()
    check(running.returncode in (REQUEUE, USER_MISTAKE), f"{running.returncode}: {said}")
    check(time.monotonic() - begin < 3, f"a stop took {time.monotonic() - begin:.1f} s")


def one_picture_without_end(scratch):
    """One picture of 1 MB that a dictionary repeats 30,000 times."""
    repeated = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 30_000, pyarrow.int32()), pyarrow.array([heavy(1, 1_000_000)]))
    data = written(pyarrow.table({"image": repeated, "text": ["a"] * 30_000}), row_group_size=30_000)
    check(len(data) < 3e6, f"{len(data)}")
    entry = Entry(scratch, {"a.parquet": data}, shard_records=200)
    entry.run("download")
    code, said, kib, _ = entry.measured()
    check(code == USER_MISTAKE and "unpacks to more than 100 times its size" in said, said)
    check(kib < 500 * 1024, f"{kib >> 10} MiB")


def not_parquet(scratch):
    """Encrypted, cut short, something else: each says what it is."""
    table = table_of([picture(i) for i in range(20)], text=texts(20))
    good = written(table)
    files = {"footer": (parquet_files.encrypted(table, False), "it is encrypted"), "columns": (parquet_files.encrypted(table, True), "ncrypt"),
             "cut": (good[:len(good) // 2], "no Parquet file, or cut short"), "empty": (b"", "empty"), "other": (b"hello, world" * 100, "is no parquet"),
             "nearly": (good[:len(good) // 3] + good[len(good) // 3 + 100:], "cannot be read as Parquet")}
    for name, (data, word) in files.items():
        entry = Entry(scratch / name, {"a.parquet": data})
        said = programs.run("download", "--config", entry.root / "mine.yaml", data=entry.data, expect=None)
        said += programs.run("clean", "--config", entry.root / "mine.yaml", data=entry.data, expect=USER_MISTAKE)
        check(word in said and "a.parquet" in said, f"{name}: {said}")


def bad_text(scratch):
    """A caption that is not UTF-8 costs its row, in a file of pictures and in a table beside pictures."""
    entry = Entry(scratch / "pictures", {"a.parquet": written(table_of([picture(i) for i in range(40)], text=with_bad_text(texts(40), 7)))})
    said = entry.clean()
    check("39 of 40 records kept; skipped: damaged.utf8 1 (e.g. a/00000007)" in said, said)
    folder = scratch / "table/pictures"
    folder.mkdir(parents=True)
    for i in range(40):
        (folder / f"p{i:02}.png").write_bytes(picture(i))
    table = pyarrow.table({"file": [f"p{i:02}.png" for i in range(40)], "caption": with_bad_text(texts(40), 7)})
    (folder / "captions.parquet").write_bytes(written(table))
    (scratch / "table/mine.yaml").write_text(f"""name: mine
source: {{folder: {folder}, pattern: ["*"]}}
archive: none
record: {{kind: table, caption: {{caption: "table:caption"}}}}
tables:
  - {{kind: parquet, file: captions.parquet, key: "{{file}}", join: "{{basename}}", columns: {{caption: caption}}}}
""")
    for stage in ("download", "clean"):
        said = programs.run(stage, "--config", scratch / "table/mine.yaml", data=scratch / "table/data")
    check("1 damaged (e.g. row 8: `caption` is not UTF-8)" in said, said)
    check("39 of 40 records kept; skipped: filtered.no_row 1 (e.g. p07.png)" in said, said)


def mutations(scratch):
    """520 files with wrong bytes: each is read as far as it is worth, or refused with a reason; nothing dies, nothing grows."""
    table = table_of([picture(i, 24, 16) for i in range(12)], text=texts(12), lists=[[f"a {i}", f"b {i}"] for i in range(12)], score=[i / 7 for i in range(12)])
    good = [written(table, compression=codec, row_group_size=5, data_page_version=version, use_dictionary=words, write_page_checksum=False)
            for codec, version, words in (("none", "1.0", False), ("snappy", "1.0", True), ("zstd", "2.0", True), ("none", "2.0", True))]
    files = {f"m{i:03}.parquet": mutated(good[i % len(good)], i) for i in range(520)}
    entry = Entry(scratch, files, "picture: image, columns: {score: score}, caption: {caption: 'column:text', a: 'column:lists/0', b: 'column:lists/1'}",
                  filters="{max_damaged_fraction: 1}", max_failed_items="100000")
    entry.run("download")
    fetched = len(list((entry.data / "raw/mine").glob("m*.parquet")))
    check(fetched > 500, f"{fetched} files whose first bytes are those of Parquet")
    begin = time.monotonic()
    code, said, kib, seconds = entry.measured()
    check(code in (0, USER_MISTAKE), f"exit {code}: {said[-3000:]}")
    check("nonsense" not in said and "died" not in said, said[-3000:])
    check(kib < KEPT_MIB * 1024, f"{kib >> 10} MiB")
    records = [json.loads(path.read_text()) for path in (entry.data / "samples/mine/records").glob("m*.json")]
    failed = sum("reason" in json.dumps(record) or "error" in record for record in records)
    check(len({re.sub(r"\..*", "", path.name) for path in (entry.data / "samples/mine/records").glob("m*.json")}) == fetched, "files without a verdict")
    print(f"  {len(records)} verdicts, {failed} refusals, {kib >> 10} MiB, {seconds:.0f} s of CPU, {time.monotonic() - begin:.0f} s", flush=True)


# -- its process ---------------------------------------------------------------------------------------------------------------------
def process(scratch):
    """The file is read by a program of its own: without it that is said; one that is killed from outside is no verdict."""
    entry = Entry(scratch, {"a.parquet": written(table_of([heavy(i, 300_000) for i in range(200)], text=texts(200)))})
    entry.run("download")
    programs_alone = scratch / "bin"
    programs_alone.mkdir()
    for name in ("clean", "ingest_worker"):
        shutil.copy2(programs.BIN / name, programs_alone / name)
    said = subprocess.run([programs_alone / "clean", "--config", entry.root / "mine.yaml"], capture_output=True, text=True,
                          env=programs.environment(entry.data), cwd=SOURCE)
    check(said.returncode == USER_MISTAKE and "the program parquet_worker is not beside this one" in said.stdout + said.stderr, f"{said}")
    shutil.rmtree(entry.data / "samples")
    running = subprocess.Popen(programs.command("clean", "--config", entry.root / "mine.yaml"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env=programs.environment(entry.data), cwd=SOURCE)
    killed = 0
    while running.poll() is None:
        for pid in map(int, (pathlib.Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split() if running.poll() is None else [])):
            try:
                if os.readlink(f"/proc/{pid}/exe").endswith("parquet_worker"):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
            except OSError:
                pass
        time.sleep(0.005)
    said = running.communicate()[0].decode()
    check(killed > 0 and running.returncode == 76 and "was killed (signal 9" in said, f"{killed} killed, {running.returncode}: {said}")
    entry.run("clean")
    check(len(entry.samples()) == 200, f"{len(entry.samples())} samples")


CASES = [hub, captions, entries, large, ways, paths, rows_without_end, one_picture_without_end, not_parquet, bad_text, mutations, process]

def need_arrow():
    """Without Arrow all that a build can say of a file is that."""
    if (programs.BIN / "parquet_worker").exists():
        return
    with tempfile.TemporaryDirectory(prefix="microdit_catalogue_") as scratch:
        said = Entry(scratch, {"a.parquet": written(table_of([picture(0)], text=["a"]))}).refused("was built without Arrow", "scripts/setup.sh")
    programs.skip(said)


if __name__ == "__main__":
    need_arrow()
    check(hashlib.sha256(heavy(1, 10)).digest() == hashlib.sha256(heavy(1, 10)).digest(), "pictures that are drawn anew each time")
    run_cases(CASES)
