#!/usr/bin/env python3
"""The three entries to copy from, on names and faults as users have them: every whole record becomes a sample, its picture's bytes as they are; no other.

templates_test.py [CASE ...]   (all without one)"""
import collections
import hashlib

from entries import Source, check, run_cases, two_at_a_time
from template_layouts import TEMPLATES

SEEDS = (0, 1, 2)


def expected(scratch, name, seed):
    with Source(scratch / f"{name}{seed}", name, seed) as source:
        source.run("download")
        log = source.run("clean", "filters.max_damaged_fraction=1")
        ours = collections.Counter((sample["captions"]["caption"], hashlib.sha256(sample["image"]).hexdigest()) for sample in source.samples())
        theirs = collections.Counter(source.made_of.kept)
        check(len(theirs) > 30, f"{name}: {len(theirs)} records")
        check(ours == theirs, f"{name}, seed {seed}: missing {list((theirs - ours).elements())[:3]}, too many {list((ours - theirs).elements())[:3]}\n{log}")
        for fault, stem in source.made_of.faults.items():
            check(fault == "hidden" or "skipped" in log, f"{name}, seed {seed}: {fault} ({stem}) is not told\n{log}")
        check({sample["split"] for sample in source.samples()} <= {0, 1}, name)


def templates(scratch):
    two_at_a_time([(expected, scratch, name, seed) for name in TEMPLATES for seed in SEEDS])


if __name__ == "__main__":
    run_cases([templates])
