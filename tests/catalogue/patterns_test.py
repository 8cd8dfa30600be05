#!/usr/bin/env python3
"""Patterns over files and members that match nothing: a slip there would train on what was to be held out.

patterns_test.py [CASE ...]   (all without one)"""
import re
import shlex
import subprocess

from entries import Own, check, csv_of, miniature, run_cases, samples_of
from programs import USER_MISTAKE
import programs

SPLIT = """name: mine
source: {folder: /path/of/pictures, pattern: ["**/*.jpg", captions.csv]}
archive: none
record: {kind: table, image: [jpg], caption: {caption: "table:caption"}}
tables:
  - {kind: csv, file: captions.csv, key: "{file}", join: "{path}", columns: {caption: caption}}
recipe: configs/latents/emoji.yaml
"""


def folders(scratch, words=SPLIT):
    own = Own(scratch, 0)
    own.captions = {f"{folder}/p{i}.jpg": f"picture {i} of {folder}" for folder in ("train", "valid", "more") for i in range(4)}
    for name in own.captions:
        own.put(name)
    own.entry(words)
    own.table("captions.csv", csv_of(own.captions))
    own.run("download")
    return own


def files_of_no_pattern(scratch):
    """held_out_files and tables.of that mean no file: refused before any work, a dry run says so, too; of subset small a warning."""
    for key, words in {"splits.held_out_files": SPLIT + 'splits: {held_out_files: ["valdi/*"]}\n',
                       "tables.of": SPLIT.replace('join: "{path}"', 'join: "{path}", of: "valdi/*"')}.items():
        own = folders(scratch / key, words)
        for more in ([], ["--dry-run"]):
            log = own.run("clean", *more, expect=USER_MISTAKE)
            check(f"{key}: 'valdi/*' matches no file of" in log and "more/p0.jpg" in log, log)
        check(not list(own.data.rglob("*.h5")), "samples of it")
        if key == "tables.of":
            continue
        small = ["subset=small", 'source.small=["train/p0.jpg","captions.csv"]']
        own.run("download", *small)
        log = own.run("clean", *small)
        check("matches no file of" in log and "subset small may hold none" in log, log)


def members_of_no_pattern(scratch):
    """Patterns over loose files see the path in the source; one that matches none ends clean before the folder is closed."""
    own = folders(scratch / "good", SPLIT.replace("kind: table,", 'kind: table, members: ["train/*", "valid/*"],') + 'splits: {held_out_members: ["valid/*"]}\n')
    log = own.run("clean")
    sides = {sample["captions"]["caption"]: int(sample["split"]) for sample in own.samples()}
    check(sides == {said: int("valid" in said) for said in own.captions.values() if "more" not in said}, (sides, log))
    for key, words in {"splits.held_out_members": SPLIT + 'splits: {held_out_members: ["valid/*", "tset/*"]}\nshard_records: 3\n',
                       "record.members": SPLIT.replace("kind: table,", 'kind: table, members: ["train/*", "tset/*"],') + "shard_records: 3\n"}.items():
        own = folders(scratch / key, words)
        for task in ("0/2", "1/2"):
            log = own.run("clean", f"task={task}", expect=USER_MISTAKE if task == "1/2" else programs.DONE)
        check(f"{key}: 'tset/*' matches no member of the dataset" in log and ".jpg" in log and "valid/*" not in log, log)
        check(not (own.data / "samples/mine/manifest.jsonl").exists(), "closed")
        log = own.run("clean", expect=USER_MISTAKE)
        check("matches no member" in log, log)
        own.entry(words.replace(', "tset/*"', ""))
        command = re.search(r"make the samples anew: (rm -r \S+) -", log)[1]
        check(shlex.split(command)[2] == str(own.data / "samples/mine"), command)
        subprocess.run(shlex.split(command), check=True)
        own.run("clean")
        small = ["subset=small", 'source.small=["train/p0.jpg","captions.csv"]']
        own.entry(words)
        own.run("download", *small)
        log = own.run("clean", *small)
        check("matches no member" in log and "subset small may hold none" in log, log)


def members_of_archives(scratch):
    """In archives they see the path there; a kind of record that has no members takes none."""
    own = Own(scratch / "zips", 0)
    picture = miniature.odd_pictures.of_kind("jpeg", "a", 40, 30)
    (own.folder / "a.zip").write_bytes(miniature.zip_bytes([("test/a.jpg", picture), ("test/a.txt", b"a"), ("train/b.jpg", picture + b"b"), ("train/b.txt", b"b")]))
    words = 'name: mine\nsource: {folder: /path/of/pictures, pattern: "*.zip"}\narchive: zip\nsplits: {held_out_members: [PATTERN]}\nrecipe: configs/latents/emoji.yaml\n'
    own.entry(words.replace("PATTERN", '"tets/*"'))
    own.run("download")
    log = own.run("clean", expect=USER_MISTAKE)
    check("splits.held_out_members: 'tets/*' matches no member" in log and "test/a.jpg" in log, log)
    own.entry(words.replace("PATTERN", '"test/*"').replace("name: mine", "name: other"))
    own.run("download")
    own.run("clean")
    check({sample["key"]: sample["split"] for sample in samples_of(own.data / "samples/other")} == {"test/a": 1, "train/b": 0}, "sides")
    own.entry('name: mine\nsource: {folder: /path/of/pictures, pattern: "*.gz"}\narchive: gz\nrecord: {kind: idx, members: ["a"]}\nsplits: {held_out_members: ["b"]}\nrecipe: configs/latents/emoji.yaml\n')
    log = own.run("clean", expect=USER_MISTAKE)
    check("members: kind: idx has none" in log and "held_out_members: record.kind: idx has none" in log, log)


if __name__ == "__main__":
    run_cases([files_of_no_pattern, members_of_no_pattern, members_of_archives])
