#!/usr/bin/env python3
"""A table of 15 M prompts, built and looked up, beside sqlite3, which a user would take: table_bench.py [ROWS] [LOOKUPS].

Both read the same JSON lines; both are asked for the same keys in no order, from files that the page cache may hold.
"""
import json
import os
import pathlib
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time

BENCH = pathlib.Path(os.environ.get("MICRODIT_BIN", pathlib.Path(__file__).resolve().parents[2] / "build/bin")) / "table_bench"


def run(*words):
    return subprocess.run([BENCH, *map(str, words)], check=True, capture_output=True, text=True).stdout


def rows_of(number):
    with subprocess.Popen([BENCH, "lines", str(number)], stdout=subprocess.PIPE) as lines:
        for line in lines.stdout:
            row = json.loads(line)
            yield f"part-{row['part_id']:06}/{row['image_name']}", row["prompt"], row["image_nsfw"], row["prompt_nsfw"]


def sqlite_build(path, number):
    begin = time.perf_counter()
    base = sqlite3.connect(path)
    base.execute("pragma journal_mode=off")
    base.execute("pragma synchronous=off")
    base.execute("create table t (key text, prompt text, image_nsfw real, prompt_nsfw real)")
    base.executemany("insert into t values (?, ?, ?, ?)", rows_of(number))
    base.execute("create index i on t (key)")
    base.commit()
    return base, time.perf_counter() - begin


def main():
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 15_000_000
    lookups = int(sys.argv[2]) if len(sys.argv) > 2 else 300_000
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        seconds, mib = map(float, run("make", folder / "t", number).split())
        base, sqlite_seconds = sqlite_build(folder / "s", number)
        keys = run("keys", number, lookups).split()
        ours, theirs = [], []
        for _ in range(4):  # the first warms up
            took, found = run("find", folder / "t", number, lookups).split()
            assert int(found) == lookups
            ours.append(lookups / float(took))
            begin = time.perf_counter()
            for key in keys:
                assert base.execute("select prompt, image_nsfw, prompt_nsfw from t where key = ?", (key,)).fetchone()
            theirs.append(lookups / (time.perf_counter() - begin))
        ours, theirs = sorted(ours[1:])[1], sorted(theirs[1:])[1]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"table of {number} rows         microdit      sqlite3     ratio")
        print(f"built, s                   {seconds:12.1f} {sqlite_seconds:12.1f} {sqlite_seconds / seconds:9.2f}")
        print(f"memory at most, MiB        {mib:12.0f} {peak:12.0f}")
        print(f"bytes                      {os.path.getsize(folder / 't'):12} {os.path.getsize(folder / 's'):12}")
        print(f"random lookups/s           {ours:12.0f} {theirs:12.0f} {ours / theirs:9.2f}")


if __name__ == "__main__":
    main()
