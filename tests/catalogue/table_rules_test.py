#!/usr/bin/env python3
"""What a table says of a picture, and what it may not do to it: sides of the split, bounds, damage, files that changed.

table_rules_test.py [CASE ...]   (all without one)"""
import csv
import io
import json
import shutil
import tarfile
import unicodedata
import zipfile

from entries import OWN, Own, check, csv_of, lines_of, miniature, odd_pictures, run_cases, samples_of
from miniature import zip_bytes
from programs import USER_MISTAKE
import programs


def both_rows_on_one_side(scratch):
    """Two rows of one picture are two samples, never one to train on and one that is held out."""
    own = Own(scratch / "rows", 40)
    own.entry(OWN.replace('join: "{basename}"', 'join: "{basename}", repeated: all').replace("held_out: 0.05", "held_out: 0.3"))
    own.table("captions.csv", csv_of(own.captions) + "".join(f"{name},again {name}\n" for name in own.captions))
    for stage in ("download", "clean"):
        own.run(stage)
    sides = {}
    for sample in own.samples():
        sides.setdefault(sample["key"].split("#")[0], set()).add(int(sample["split"]))
    check(len(sides) == 40 and all(len(side) == 1 for side in sides.values()), sides)
    check({0} in sides.values() and {1} in sides.values(), "one side alone")


def bounds(scratch):
    """Numbers as Python compares them; text that is none is damage, whatever side it might mean; an empty cell is no number and is kept."""
    values = {"0.1": True, "nan": True, "NaN": True, "0.2": True, "0.21": False, "inf": False, "-inf": False, "90%": False, "0,9": False, "": True, " ": True}
    own = Own(scratch / "bounds", len(values))
    out = io.StringIO()
    csv.writer(out).writerows([("file", "caption", "score"), *((name, "x", value) for name, value in zip(own.captions, values))])
    own.entry(OWN.replace("columns: {caption: caption}", "columns: {caption: caption, score: score}").replace(
        "splits: {held_out: 0.05}", "filters: {at_most: {score: 0.2}, max_damaged_fraction: 1}"))
    own.table("captions.csv", out.getvalue())
    own.run("download")
    log = own.run("clean")
    kept = {sample["key"] for sample in own.samples()}
    expected = {name for name, keep in zip(own.captions, values.values()) if keep}
    check(kept == expected, f"{sorted(kept ^ expected)} differ\n{log}")
    check("damaged.score 4" in log and "filtered.score 1" in log, log)
    own.entry((own.root / "mine.yaml").read_text().replace("name: mine", "name: other").replace("at_most", "at_least"))
    own.run("download")
    own.run("clean")
    above = {sample["key"] for sample in samples_of(own.data / "samples/other")}
    expected = {name for name, value in zip(own.captions, values) if value in ("0.2", "0.21", "", " ", "nan", "NaN")}
    check(above == expected, f"at_least: {sorted(above ^ expected)} differ")


def damaged_texts(scratch):
    """A text whose bytes are spoilt is told; one of 100 KB is no longer than another's limit for captions."""
    own = Own(scratch / "texts", 6)
    names = list(own.captions)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            archive.writestr(name.replace(".jpg", ".txt"), f"text of {name}")
    spoilt = data.getvalue().replace(f"text of {names[0]}".encode(), f"texT of {names[0]}".encode(), 1)
    own.entry(OWN.replace('kind: csv, file: captions.csv, key: "{file}", join: "{basename}", columns: {caption: caption}',
                          'kind: texts, file: captions.zip, columns: {caption: text}'))
    own.table("captions.zip", spoilt)
    own.run("download")
    log = own.run("clean")
    check("1 damaged" in log and names[0].replace(".jpg", ".txt") in log, log)
    check({sample["captions"]["caption"] for sample in own.samples()} == {f"text of {name}" for name in names[1:]}, log)


def file_that_changed(scratch):
    """A table's file is what was downloaded, as any other."""
    own = Own(scratch / "changed")
    own.entry(OWN)
    own.table("captions.csv", csv_of(own.captions))
    own.run("download")
    own.table("captions.csv", csv_of(own.captions).replace("drawn", "dream") + "#")
    log = own.run("clean", expect=USER_MISTAKE)
    check("captions.csv: is not what was downloaded" in log, log)
    check(not list((own.data / "samples").rglob("*.h5")), "samples of it")


def held_out_by_path(scratch):
    """Files of a folder's sub-folders are named as they lie there."""
    own = Own(scratch / "paths", 0)
    own.captions = {f"{folder}/p{i}.jpg": f"picture {i} of {folder}" for folder in ("train", "valid") for i in range(5)}
    for name in own.captions:
        own.put(name)
    own.entry(OWN.replace('"*"', '"**/*.jpg", captions.csv').replace("{basename}", "{path}").replace("held_out: 0.05", 'held_out_files: ["valid/*"]'))
    own.table("captions.csv", csv_of(own.captions))
    for stage in ("download", "clean"):
        own.run(stage)
    sides = {sample["captions"]["caption"]: int(sample["split"]) for sample in own.samples()}
    check(sides == {said: int("valid" in said) for said in own.captions.values()}, sides)


def lines_that_are_none(scratch):
    """A few lines that are no JSON cost themselves alone; many are another file."""
    own = Own(scratch / "lines", 8)
    lines = [json.dumps({"file": name, "caption": said}) for name, said in own.captions.items()]
    own.entry(OWN.replace("kind: csv, file: captions.csv", "kind: json, file: captions.jsonl"))
    own.table("captions.jsonl", "\n".join([*lines[:4], '{"file": "p', *lines[4:]]))
    own.run("download")
    log = own.run("clean")
    check("1 damaged" in log, log)
    own.check_captions(own.captions, "all but the line")
    other = Own(scratch / "many", 8)
    other.entry(OWN.replace("kind: csv, file: captions.csv", "kind: json, file: captions.jsonl"))
    other.table("captions.jsonl", "\n".join([*lines, *["{"] * 30]))
    other.run("download")
    log = other.run("clean", expect=USER_MISTAKE)
    check("30 of 38 rows are damaged" in log, log)


def member_named(kind, name):
    if kind == "zip":
        return zip_bytes([(name, jpeg(name))])
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format={"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT}[kind]) as archive:
        member = tarfile.TarInfo(name)
        member.size = len(jpeg(name))
        archive.addfile(member, io.BytesIO(jpeg(name)))
    return out.getvalue()


def jpeg(name):
    return odd_pictures.of_kind("jpeg", name, 40, 30)


def letters_in_two_forms(scratch):
    """A row finds its picture whatever form the letters of its name have in the table and in the archive."""
    for kind in ("pax", "gnu", "zip"):
        for form, other in (("NFC", "NFC"), ("NFD", "NFD"), ("NFC", "NFD"), ("NFD", "NFC")):
            ending, name = "zip" if kind == "zip" else "tar", "Über ỗ.jpg"
            own = Own(scratch / f"{kind}{form}{other}", 0)
            own.entry(OWN.replace("archive: none", f"archive: {ending}").replace('["*"]', f'["*.{ending}", captions.csv]'))
            (own.folder / f"a.{ending}").write_bytes(member_named(kind, unicodedata.normalize(form, name)))
            own.table("captions.csv", csv_of({unicodedata.normalize(other, name): "found"}))
            own.run("download")
            log = own.run("clean", expect=None)
            check([sample["captions"]["caption"] for sample in own.samples()] == ["found"], f"{kind}, {form} in the archive, {other} in the table: {log}")


# -- a table in parts ----------------------------------------------------------------------------------------------------------------
def parts_of(captions, count):
    """Rows in turn over so many parts; each ends with a row of the first picture, of which only that of the first part counts."""
    names, (first, said) = list(captions), next(iter(captions.items()))
    parts = [{name: captions[name] for name in names[1 + i::count]} for i in range(count)]
    return [{**part, first: f"{said}{' again' * i}"} for i, part in enumerate(parts)]


def table_in(own, table, files, pattern="*"):
    """Downloads and cleans with that table of these files; what clean said."""
    for file, data in files.items():
        (own.folder / file).parent.mkdir(exist_ok=True)
        own.table(file, data)
    text = OWN.replace('{kind: csv, file: captions.csv, key: "{file}",', '{%s, key: "{file}",' % table)
    own.entry(text.replace('pattern: ["*"]', f'pattern: ["*.jpg", "{pattern}"]'))
    own.run("download")


def a_table_in_parts(scratch):
    """Files that a pattern or a list means are one table, those of a pattern in the order of their paths; members of an archive likewise."""
    import pyarrow
    captions = {f"p{i:02d}.jpg": f"picture {i}" for i in range(9)}
    parts = parts_of(captions, 3)
    rows = [[{"file": name, "caption": said} for name, said in part.items()] for part in parts]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for i, part in enumerate(parts):
            archive.writestr(f"rows/part-{i}.jsonl", lines_of(part))
        archive.writestr("rows/about.json", "{}")
    ways = {
        "pattern": ('kind: csv, file: "meta/part-*.csv"', {f"meta/part-{i}.csv": csv_of(part) for i, part in enumerate(parts)}, "meta/*"),
        "range": ('kind: csv, file: "meta/part-{0..2}.csv"', {f"meta/part-{i}.csv": csv_of(part) for i, part in enumerate(parts)}, "meta/*"),
        "list": ("kind: csv, file: [a.csv, b.csv, c.csv]", {f"{name}.csv": csv_of(part) for name, part in zip("abc", parts)}, "*.csv"),
        "parquet": ('kind: parquet, file: "meta/**/*.parquet"',
                    {f"meta/{i}.parquet": miniature.parquet_bytes(pyarrow.Table.from_pylist(part), 2) for i, part in enumerate(rows)}, "meta/*"),
        "members": ('kind: json, file: rows.zip, member: "rows/*.jsonl"', {"rows.zip": packed.getvalue()}, "*.zip"),
    }
    for name, (table, files, pattern) in ways.items():
        own = Own(scratch / name, len(captions))
        table_in(own, table, files, pattern)
        own.run("clean")
        own.check_captions(captions, name)
    own = Own(scratch / "more", len(captions))
    table_in(own, *ways["pattern"])
    own.run("clean")
    own.table("meta/part-3.csv", csv_of({"p00.jpg": "of another part"}))
    own.run("download")
    log = own.run("clean", expect=USER_MISTAKE)
    check("another table of meta/part-*.csv than there is now" in log and "rm -r" in log, log)


def parts_that_are_not_there(scratch):
    """A pattern that means nothing is told with what is there; a damaged part and its row are named."""
    own = Own(scratch / "none", 2)
    table_in(own, 'kind: csv, file: "meta/prat-*.csv"', {"meta/part-0.csv": csv_of(own.captions)}, "meta/*")
    log = own.run("clean", expect=USER_MISTAKE)
    check("tables: file: meta/prat-*.csv: no such file" in log and "which has meta/part-0.csv" in log, log)
    log = own.run("clean", "--dry-run", expect=USER_MISTAKE)
    check("meta/prat-*.csv" in log, log)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("rows/part-0.jsonl", lines_of(own.captions))
    own = Own(scratch / "archive", 2)
    table_in(own, 'kind: json, file: rows.zip, member: "*.jsonl"', {"rows.zip": packed.getvalue()}, "*.zip")
    log = own.run("clean", expect=USER_MISTAKE)
    check("rows.zip: holds no file *.jsonl, but: rows/part-0.jsonl" in log, log)
    damaged = Own(scratch / "damaged", 2)
    table_in(damaged, 'kind: csv, file: "meta/*.csv"', {"meta/a.csv": csv_of(own.captions), "meta/b.csv": b"file,caption\n" + b"x.jpg,caf\xe9\n" * 3}, "meta/*")
    log = damaged.run("clean", expect=USER_MISTAKE)
    check("3 of 5 rows are damaged (meta/b.csv: row 1: its `caption` is not UTF-8" in log, log)
    check(not list(damaged.data.rglob("*.table")), "a table of it")
    table_in(damaged, "kind: csv, file: meta/a.csv, member: rows.csv", {}, "meta/*")
    log = damaged.run("clean", expect=USER_MISTAKE)
    check("a.csv: is no archive of several files: it has no member rows.csv" in log, log)


def rows_that_are_damaged(scratch):
    """Rows of CSV with another width or bytes that are no text, and of JSON likewise, cost themselves alone, and are counted with an example; the last line says it, too."""
    own = Own(scratch / "csv", 8)
    more = {f"no picture {i}": "x" for i in range(192)}
    lines = csv_of(own.captions | more).encode().splitlines(True)
    own.entry(OWN.replace("splits:", "filters: {max_damaged_fraction: 0.5}\nsplits:"))
    names = list(own.captions)
    lines[2] = f"{names[1]},one,two\n".encode()
    lines[4] = names[3].encode() + b",caf\xe9\n"
    own.table("captions.csv", b"".join(lines))
    own.run("download")
    log = own.run("clean")
    check("2 damaged (e.g. captions.csv: the row that begins at line 3: 3 fields, the header has 2" in log, log)
    own.check_captions({name: said for name, said in own.captions.items() if name not in (names[1], names[3])}, "but for two rows")
    last = [line for line in log.splitlines() if "of 8 records kept" in line]
    check("filtered.no_row 2 (e.g. p01.jpg)" in last[-1] and "left out as damaged when the tables were made: captions.csv 2 of 200 rows" in last[-1], log)


def tables_that_are_damaged(scratch):
    """More rows than one in 100 are another file, or in another encoding, of whatever kind and size it is."""
    import pyarrow
    captions = {f"p{i:02d}.jpg": "caf\u00e9" if i % 2 else "tea" for i in range(12)}
    said = pyarrow.array([text.encode("latin-1") for text in captions.values()], pyarrow.binary())
    columns = {"file": list(captions), "caption": pyarrow.Array.from_buffers(pyarrow.string(), 12, said.buffers())}
    texts = zip_bytes([(name.replace(".jpg", ".txt"), text.encode("latin-1")) for name, text in captions.items()])
    kinds = {"parquet": ('kind: parquet, file: t.parquet, key: "{file}"', miniature.parquet_bytes(pyarrow.table(columns), 5), "write its texts as UTF-8"),
             "csv": ('kind: csv, file: t.csv, key: "{file}"', csv_of(captions).encode("latin-1"), "see `separator` and `quotes`, or convert the file to UTF-8"),
             "wide": ('kind: csv, file: t.csv, key: "{file}"', csv_of(captions).replace("caf\u00e9", "a, b").replace('"', "").encode(), "see `separator`"),
             "texts": ("kind: texts, file: t.zip", texts, "convert the texts to UTF-8")}
    for kind, (table, data, advice) in kinds.items():
        own = Own(scratch / kind, 12)
        text = OWN.replace('kind: csv, file: captions.csv, key: "{file}", join: "{basename}", columns: {caption: caption}',
                           table + (", columns: {caption: text}" if kind == "texts" else ', join: "{basename}", columns: {caption: caption}'))
        own.entry(text)
        own.table(table.split("file: ")[1].split(",")[0], data)
        own.run("download")
        log = own.run("clean", expect=USER_MISTAKE)
        check("6 of 12 rows are damaged (" in log and "more than one of 100" in log and advice in log, f"{kind}: {log}")
        check(not list((own.data / "samples").rglob("*.h5")), "samples of it")


def joined_scores(scratch, filters):
    """Five pictures of which a joined table of scores has the first three."""
    own = Own(scratch / "joined", 5)
    own.entry(OWN.replace("splits:", '  - {kind: csv, file: scores.csv, key: "{file}", join: "{basename}", columns: {score: score}}\n'
                          f"filters: {filters}\nsplits:").replace('pattern: ["*"]', 'pattern: ["*.jpg", "*.csv"]'))
    own.table("captions.csv", csv_of(own.captions))
    own.table("scores.csv", "file,score\np00.jpg,9\np01.jpg,9\np02.jpg,1\n")
    return own


def pictures_without_a_row(scratch):
    """Pictures that one table has and a joined one lacks are counted: bounds on its columns do not see them."""
    own = joined_scores(scratch, "{at_least: {score: 5}}")
    own.run("download")
    log = own.run("clean")
    check("4 of 5 records kept" in log and "filtered.score 1" in log and "scores.csv, join {basename} 2 (e.g. p03.jpg)" in log, log)
    check("so that bounds on its columns leave none of them out" in log, log)
    log = programs.run("doctor", "data", own.data / "samples/mine", data=own.data)
    check("in a joined table: scores.csv, join {basename} 2 (e.g. p03.jpg)" in log, log)


def kept_pictures_without_a_row(scratch):
    """Of pictures that a joined table lacks those are counted that are kept; bounds are named where there are some."""
    own = joined_scores(scratch, "{max_damaged_fraction: 0.5}")
    (own.folder / "p03.jpg").write_bytes(b"no picture")
    own.run("download")
    log = own.run("clean")
    check("4 of 5 records kept" in log and "; without a row in a joined table: scores.csv, join {basename} 1 (e.g. p04.jpg)" in log and "bounds" not in log, log)


def a_source_that_gives_nothing(scratch):
    """A caption source that gave no record a caption is told."""
    own = Own(scratch / "silent", 3)
    own.entry(OWN.replace('caption: {caption: "table:caption"}', 'caption: {caption: "table:caption", title: "table:title"}').replace(
        "columns: {caption: caption}", "columns: {caption: caption, title: title}"))
    own.table("captions.csv", "file,caption,title\n" + "".join(f"{name},x,\n" for name in own.captions))
    own.run("download")
    log = own.run("clean")
    check("record.caption: `title: table:title` gave none of 3 records a caption" in log and "`caption: table:caption`" not in log, log)


def halves_of_a_folder(scratch):
    """Pictures and captions of a folder that do not find each other: what is advised is about files, not about tars."""
    own = Own(scratch / "halves", 3)
    own.entry("name: mine\nsource: {folder: /path/of/pictures, pattern: ['**/*']}\narchive: none\nrecipe: configs/latents/emoji.yaml\n")
    for name in own.captions:
        text = own.folder / "texts" / name.replace(".jpg", ".txt")
        text.parent.mkdir(exist_ok=True)
        text.write_text("x")
    own.run("download")
    log = own.run("clean", expect=USER_MISTAKE)
    check("files of one folder and one stem" in log and "tar " not in log, log)


def a_table_without_any_hit(scratch):
    """A joined table whose keys are no picture's: its columns would silently have no value, and a bound on them would leave out nothing."""
    own = Own(scratch / "idle", 3)
    scores = "file,score\n" + "".join(f"images/{name},1\n" for name in own.captions)
    own.entry(OWN.replace("splits:", '  - {kind: csv, file: scores.csv, key: "{file}", join: "{basename}", columns: {score: score}}\nsplits:').replace(
        'pattern: ["*"]', 'pattern: ["*.jpg", "*.csv"]'))
    own.table("captions.csv", csv_of(own.captions))
    own.table("scores.csv", scores)
    own.run("download")
    log = own.run("clean")
    check("'scores.csv, join {basename}' matches no member" in log and "keys such as p00.jpg" in log and "no picture has a row of that table" in log, log)
    own.table("scores.csv", scores.replace("images/p01", "p01"))
    shutil.rmtree(own.data / "samples")
    own.run("download")
    check("no picture has a row" not in own.run("clean"), "it has one")


def parts_in_written_order(scratch):
    """A list of parts is read as it is written: corrections first."""
    for first, second in (("a", "b"), ("b", "a")):
        own = Own(scratch / first, 2)
        parts = {f"meta/{name}.csv": csv_of({key: f"of {name}" for key in own.captions}) for name in "ab"}
        table_in(own, f'kind: csv, file: ["meta/{first}.csv", "meta/{second}.csv"]', parts, "meta/*")
        own.run("clean")
        own.check_captions({key: f"of {first}" for key in own.captions}, first)
    own = Own(scratch / "range", 1)
    own.entry(OWN.replace("file: captions.csv", 'file: "m{b}.csv"'))
    log = own.run("download", expect=USER_MISTAKE)
    check("tables.0.file" in log and "a range is written" in log and not (own.data / "raw").exists(), log)


def late_halves(scratch):
    """A caption that comes after its picture was read without it: it is told what helps, and that works."""
    own = Own(scratch / "late", 3)
    own.entry("name: mine\nsource: {folder: /path/of/pictures, pattern: ['*']}\narchive: none\nfilters: {max_damaged_fraction: 1}\n"
              "splits: {held_out: 0.05}\nrecipe: configs/latents/emoji.yaml\n")
    names = list(own.captions)
    for name in names[:2]:
        (own.folder / name).with_suffix(".txt").write_text("early")
    for stage in ("download", "clean"):
        own.run(stage)
    (own.folder / names[2]).with_suffix(".txt").write_text("late")
    own.run("download")
    log = own.run("clean", expect=USER_MISTAKE)
    check("p02.txt: it belongs with p02.jpg" in log and f"rm -r {own.data / 'samples/mine'} {own.data / 'raw/mine'}" in log, log)
    for kind in ("samples", "raw"):
        shutil.rmtree(own.data / kind / "mine")
    for stage in ("download", "clean"):
        own.run(stage)
    check(len(own.samples()) == 3, own.samples())


if __name__ == "__main__":
    run_cases([letters_in_two_forms, a_table_in_parts, parts_that_are_not_there, both_rows_on_one_side, bounds, damaged_texts, file_that_changed, held_out_by_path, lines_that_are_none, rows_that_are_damaged,
               tables_that_are_damaged, pictures_without_a_row, kept_pictures_without_a_row, a_source_that_gives_nothing, halves_of_a_folder, a_table_without_any_hit,
               parts_in_written_order, late_halves])
