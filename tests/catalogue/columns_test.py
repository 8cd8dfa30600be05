#!/usr/bin/env python3
"""Columns that stay beside samples: numbers or nothing, of several tables, seen by doctor.

columns_test.py [CASE ...]   (all without one)"""
import csv
import io
import math

from entries import OWN, Own, check, csv_of, run_cases, samples_of
from programs import FAILED, USER_MISTAKE
import programs


def rows_of(header, *rows):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, *rows])
    return out.getvalue()


def columns(own, name):
    return {sample["key"]: sample["columns"][name] for sample in own.samples()}


# -- columns -------------------------------------------------------------------------------------------------------------------------
def no_numbers(scratch):
    """What a double does not hold is NaN, counted with an example, in clean's summary and in doctor data."""
    values = {"0.5": 0.5, "7": 7.0, "": math.nan, " ": math.nan, "NaN": math.nan, "seven": math.nan, "9007199254740992": 2.0**53, "9007199254740993": math.nan,
              "18446744073709551617": math.nan, "-0": 0.0, "1e3": 1000.0}
    own = Own(scratch / "one", len(values))
    own.entry(OWN.replace("columns: {caption: caption}", "columns: {caption: caption, score: score}"))
    own.table("captions.csv", rows_of(("file", "caption", "score"), *((name, "x", value) for name, value in zip(own.captions, values))))
    own.run("download")
    log = own.run("clean")
    found = columns(own, "score")
    for name, (text, value) in zip(own.captions, values.items()):
        check(found[name] == value or (math.isnan(value) and math.isnan(found[name])), f"{text!r}: {found[name]}")
    check("score: no number 1 (e.g. p05.jpg: 'seven')" in log and "score: beyond 2^53 2 (e.g. p07.jpg: '9007199254740993')" in log, log)
    log = programs.run("doctor", "data", own.data / "samples/mine", data=own.data)
    check("column    score: 5 numbers from 0 to 9.0072e+15, median 7; NaN in 6" in log, log)
    check("score: no number 1" in log and "column score: 0: 1, 0.5: 1, 7: 1, 1000: 1" in log, log)
    page = (own.data / "samples/mine/data.html").read_text()
    check("<th>column score</th><th>5 in all</th>" in page and "9007199254740993" in page, "the page has no column")


def texts_alone(scratch):
    """A column without any number is refused when its table is made; as a caption it is welcome."""
    own = Own(scratch / "one", 3)
    words = OWN.replace("columns: {caption: caption}", "columns: {caption: caption, artist: artist}")
    own.entry(words)
    own.table("captions.csv", rows_of(("file", "caption", "artist"), *((name, "x", f"artist of {name}") for name in own.captions)))
    own.run("download")
    log = own.run("clean", expect=USER_MISTAKE)
    check("artist" in log and "captions.csv" in log and "holds no number, but texts such as 'artist of p00.jpg'" in log, log)
    check(not list(own.data.rglob("*.table")), "a table of it")
    own.entry(words.replace('caption: {caption: "table:caption"}', 'caption: {caption: "table:caption", artist: "table:artist"}'))
    own.run("clean")
    check({sample["captions"]["artist"] for sample in own.samples()} == {f"artist of {name}" for name in own.captions}, own.samples())


def names_of_columns(scratch):
    """A name that no file can hold is refused with its key, before any work."""
    own = Own(scratch / "one", 3)
    for name in ("a/b", "", ".", "ä", "x" * 201):
        own.entry(OWN.replace("columns: {caption: caption}", f'columns: {{caption: caption, "{name}": score}}'))
        log = own.run("clean", expect=USER_MISTAKE)
        check("mine.yaml" in log and "tables" in log and f"columns: '{name}'" in log, log)
    own.entry(OWN.replace("columns: {caption: caption}", 'columns: {a/b: caption, score: score}').replace("table:caption", "table:a/b"))
    own.table("captions.csv", rows_of(("file", "caption", "score"), *((name, "x", 1) for name in own.captions)))
    own.run("download")
    own.run("clean")
    check(columns(own, "score") == {name: 1.0 for name in own.captions}, "a caption's column may have any name")


# -- tables that are joined ----------------------------------------------------------------------------------------------------------
TWO = """name: mine
source: {folder: /path/of/pictures, pattern: ["*"]}
archive: none
record: {kind: table, image: [jpg], caption: {caption: "table:caption"}}
tables:
  - {kind: csv, file: captions.csv, key: "{file}", join: "{basename}", columns: {caption: caption}REPEATED}
  - {kind: csv, file: scores.csv, key: "{name}", join: "{stem}", columns: {score: score}}
filters: {at_least: {score: 2}}
splits: {held_out: 0.05}
recipe: configs/latents/emoji.yaml
"""


def joined(scratch):
    """Captions of one file and scores of another, by keys of their own; a picture without a score has none, one without a caption no sample."""
    own = Own(scratch / "one", 6)
    names = list(own.captions)
    scores = {name: float(i) for i, name in enumerate(names) if i != 4}
    own.entry(TWO.replace("REPEATED", ""))
    own.table("captions.csv", csv_of({name: own.captions[name] for name in names[:5]}))
    own.table("scores.csv", rows_of(("name", "score"), *((name.removesuffix(".jpg"), score) for name, score in scores.items())))
    own.run("download")
    log = own.run("clean")
    found = columns(own, "score")
    check(set(found) == set(names[2:5]) and found[names[2]] == 2 and found[names[3]] == 3 and math.isnan(found[names[4]]), found)
    check("filtered.score 2" in log and "filtered.no_caption 1 (e.g. p05.jpg)" in log, log)
    own.entry(TWO.replace("REPEATED", ", repeated: all").replace("name: mine", "name: other"))
    own.table("captions.csv", csv_of(own.captions) + "p03.jpg,once more\n")
    own.run("download")
    own.run("clean")
    found = {sample["key"]: (sample["captions"]["caption"], sample["columns"]["score"]) for sample in samples_of(own.data / "samples/other")}
    check(found["p03.jpg"] == (own.captions["p03.jpg"], 3.0) and found["p03.jpg#2"] == ("once more", 3.0) and len(found) == 5, found)


def one_after_the_other(scratch):
    """Tables of the same columns: the first that has the picture; of a column that several have, the first that has picture and column."""
    own = Own(scratch / "one", 4)
    names = list(own.captions)
    text = TWO.replace("REPEATED", "").replace("columns: {score: score}", "columns: {caption: caption, score: score}").replace("filters: {at_least: {score: 2}}\n", "")
    own.entry(text)
    own.table("captions.csv", csv_of({name: f"first of {name}" for name in names[:2]}))
    own.table("scores.csv", rows_of(("name", "caption", "score"), *((name.removesuffix(".jpg"), f"second of {name}", i) for i, name in enumerate(names) if i)))
    own.run("download")
    log = own.run("clean")
    found = {sample["key"]: (sample["captions"]["caption"], sample["columns"]["score"]) for sample in own.samples()}
    check(found[names[1]] == (f"first of {names[1]}", 1.0) and found[names[2]] == (f"second of {names[2]}", 2.0) and found[names[3]][1] == 3, (found, log))
    check(found[names[0]][0] == f"first of {names[0]}" and math.isnan(found[names[0]][1]), found)
    own.entry(text.replace('columns: {caption: caption}', 'columns: {caption: caption}, repeated: all').replace("score: score}", "score: score}, repeated: all"))
    log = own.run("clean", expect=USER_MISTAKE)
    check("repeated: all: captions.csv and scores.csv" in log, log)
    own.entry(text.replace("table:caption", "table:said"))
    log = own.run("clean", expect=USER_MISTAKE)
    check("said: no table has such a column, but: caption, score" in log, log)


# -- doctor verify -------------------------------------------------------------------------------------------------------------------
def damaged_tables(scratch):
    """A table whose bytes were changed is named by doctor verify; what it says to do makes all good."""
    own = Own(scratch / "one", 5)
    own.entry(OWN)
    own.table("captions.csv", csv_of(own.captions))
    for stage in ("download", "clean"):
        own.run(stage)
    log = programs.run("doctor", "verify", own.data / "raw", data=own.data)
    check("1 stage folders" in log and "1 tables: good" in log, log)
    table, = own.data.rglob("*.table")
    whole = table.read_bytes()
    for at in (20, len(whole) - 40, len(whole) // 2):
        table.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        log = programs.run("doctor", "verify", own.data / "raw", data=own.data, expect=FAILED)
        check(f"{table}: damaged" in log and "remove it and run clean again" in log and log.count(str(table)) == 1, log)
    table.unlink()
    own.run("clean")
    check(table.read_bytes() == whole, "another table")
    programs.run("doctor", "verify", own.data / "raw", data=own.data)


if __name__ == "__main__":
    run_cases([no_numbers, texts_alone, names_of_columns, joined, one_after_the_other, damaged_tables])
