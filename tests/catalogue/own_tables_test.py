#!/usr/bin/env python3
"""A user's own pictures in the lines that the README shows, with captions beside them or in a table; tables that changed, and hostile ones.

own_tables_test.py [CASE ...]   (all without one)"""
import gzip
import hashlib
import json
import re
import shlex
import struct
import subprocess
import tarfile

from entries import OWN, SOURCE, Own, check, csv_of, lines_of, marks, miniature, run_cases, two_at_a_time
from programs import USER_MISTAKE

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


# -- tables that changed ------------------------------------------------------------------------------------------------------------
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
        check("another table of captions.csv" in log and "to make them again: rm -r " in log, log)
        check(marks(own.data / "samples/mine") == before, "a refusal touched the samples")
    obey(own, log)
    own.run("clean")
    own.check_captions(changed, "after the command that it named")


def obey(own, log):
    """What clean says to do of samples of another table."""
    command = re.search(r"to make them again: (rm -r \S+) - then run clean again", log)[1]
    check(shlex.split(command)[2] == str(own.data / "samples/mine"), command)
    subprocess.run(shlex.split(command), check=True)


def added_with_its_row(scratch):
    """A picture and its row more: the table is another one, samples of the earlier are refused; without them all is made again."""
    own = Own(scratch / "added")
    own.entry(OWN)
    own.table("captions.csv", csv_of(own.captions))
    own.run("download")
    own.run("clean")
    own.put("q.jpg")
    own.captions["q.jpg"] = "added"
    own.table("captions.csv", csv_of(own.captions))
    own.run("download")
    log = own.run("clean", expect=USER_MISTAKE)
    obey(own, log)
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


def changed_tables(scratch):
    two_at_a_time([(another_caption, scratch), (same_size, scratch)])


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
    "deep_lines": ("t.jsonl", JSON, lambda: LINES + (b'{"file":"p00.jpg","caption":' + b"[" * 50_000 + b"\n") * 20, lambda: LINES,
                   "20 of 24 rows are damaged (t.jsonl: row 5: JSON nested deeper than 200"),
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


if __name__ == "__main__":
    run_cases([own, own_folders, changed_tables, added_with_its_row, hostile_tables, column_of_no_row])
