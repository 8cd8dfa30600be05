#!/usr/bin/env python3
"""`subset=small` of every entry and of the three to copy from: a dry run says what the download then takes, and samples come of it. What a dry run
says where nobody answers.

small_test.py [CASE ...]   (all without one)"""
import json
import re

from entries import OWN, SOURCE, Own, Source, check, csv_of, run_cases, samples_of, two_at_a_time
import miniature
from programs import USER_MISTAKE, environment, run
from template_layouts import TEMPLATES

# name -> files of the small subset, with its tables
FILES = {"cc12m": 23, "diffusiondb": 141, "journeydb": 6, "sa1b": 2, "textcaps": 3, "coco2014": 2, "cifar10": 1, "fashion_mnist": 4,
         "image_folder": 2, "webdataset": 1, "hub_webdataset": 1}
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}


def promised(log):
    """Files, bytes to read and to store, inodes, of a dry run that says how long it takes, too."""
    files = re.search(r"download \w+: (\d+) files -> \S+, 0 of them are there already", log)
    said = re.search(r"  (\S+) (\w+) to read, (\S+) (\w+) to store, (\d+) inodes", log)
    check(files and said and re.search(r"about .+ at the .+ to one reader", log), log)
    return int(files[1]), float(said[1]) * UNITS[said[2]], float(said[3]) * UNITS[said[4]], int(said[5])


def small(scratch, name):
    with Source(scratch / name, name, whole_list=True) as source:
        source.data.joinpath("raw").mkdir()
        before = {path for path in source.data.rglob("*")}
        log = source.run("download", "subset=small", "--dry-run")
        files, to_read, to_store, inodes = promised(log)
        left = [path for path in source.data.rglob("*") if path not in before and not path.name.startswith(".quota_")]
        check(not left, f"{name}: a dry run left {left}")
        check(files == FILES[name], f"{name}: {files} files, not {FILES[name]}\n{log}")
        source.run("download", "subset=small")
        raw = source.data / f"raw/{name}-small"
        records = [json.loads(path.read_text()) for path in raw.glob("records/*.json")]
        found = sum(path.stat().st_size for path in raw.iterdir() if path.name in {r["shards"][0]["file"] for r in records})
        check(len(records) == files, f"{name}: {len(records)} records, {files} were promised")
        check(abs(to_read - found) <= 0.05 * found, f"{name}: {found} bytes, {to_read} were promised\n{log}")
        check(to_store == (0 if name in ("fashion_mnist", "image_folder") else to_read), log)
        nodes = sum(1 for path in raw.rglob("*") if not path.is_dir())
        check(abs(nodes - inodes) <= 2, f"{name}: {nodes} inodes, {inodes} were promised")
        source.run("clean", "subset=small", "filters.max_damaged_fraction=1")
        check(samples_of(source.data / f"samples/{name}-small"), f"{name}: no sample of the small subset")


def every_small(scratch):
    check(set(FILES) == {*miniature.LAYOUTS, *TEMPLATES}, "an entry without a number of files")
    two_at_a_time([(small, scratch, name) for name in FILES])


def own_table(scratch):
    """A folder whose captions are in a table among the pictures."""
    mine = Own(scratch / "mine")
    mine.entry(OWN.replace("captions.csv", "titles.csv"))
    mine.table("titles.csv", csv_of(mine.captions))
    for stage in ("download", "clean"):
        mine.run(stage, "subset=small")
    found = {sample["key"]: sample["captions"]["caption"] for sample in samples_of(mine.data / "samples/mine-small")}
    check(found == {"p00.jpg": mine.captions["p00.jpg"]}, found)


def no_answer(scratch):
    """Nobody answers, or the list of links is not there: that is said, and no 0 bytes."""
    closed = "http://127.0.0.1:1"
    cases = {"coco2014": ([f'source.urls=["{closed}/val2014.zip"]'], f"{closed}/val2014.zip: does not answer: "),
             "cc12m": (["source.max_attempts=1", "source.backoff_s=0"], f"{closed} does not answer"),
             "sa1b": ([], "sa1b_links.txt: no such file; put the list that https://ai.meta.com/datasets/segment-anything-downloads/ offers there")}
    for name, (words, said) in cases.items():
        log = run("download", "--config", SOURCE / f"configs/datasets/{name}.yaml", "--dry-run", *words, env=environment(scratch, MICRODIT_HUB=closed), expect=USER_MISTAKE)
        check(said in log and "0 B" not in log, f"{name}: {log}")


def refused(scratch):
    """A signed link that has expired: the server's answer."""
    with Source(scratch / "sa1b", "sa1b") as source:
        source.server.expire_links()
        log = source.run("download", "--dry-run", expect=USER_MISTAKE)
        check("the server answered 403" in log and "does not tell its size" in log and " 0 B" not in log, log)


if __name__ == "__main__":
    run_cases([every_small, own_table, no_answer, refused])
