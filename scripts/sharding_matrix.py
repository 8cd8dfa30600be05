#!/usr/bin/env python3
"""Every way of sharding against every other, through the program: the same bits for equal (ranks, ranks per node), and every checkpoint
continues on every number of ranks in every mode.

    scripts/sharding_matrix.py            all of it, about an hour: bits for ranks 1, 2, 4; 64 pairs of 1..8 ranks for grad_op, 9 pairs of
                                          1, 2, 4 for each other mode
    scripts/sharding_matrix.py --short    what the tests run
Needs a build and the tests' small dataset (ctest -R emoji_small).
"""
import argparse
import itertools
import os
import pathlib
import shutil
import sys
import tempfile
import time

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402
from programs import check  # noqa: E402

FIRST, LAST, BOUND = 3, 6, 1e-5
MODES = {
    "none": ["sharding=none"],
    "grad_op": ["sharding=grad_op"],
    "grad_op inside nodes": ["sharding=grad_op", "scope=node"],
    "full": ["sharding=full"],
    "full inside nodes": ["sharding=full", "scope=node"],
    "grad_op, recomputed": ["sharding=grad_op", "recompute=blocks"],
}
# A megabyte would hold the whole small net: a bucket for every block instead, so that much is in flight.
COMMON = ["bucket_mb=1", "ema.decay=0.9", "model.dim=128", "model.depth=4", "schedule.decay_steps=100"]


def train(folder, name, ranks, *words, steps=LAST, batch=8):
    started = time.monotonic()
    log = programs.run("train", *programs.train_words(folder, name, f"steps={steps}", f"checkpoint.every_steps={FIRST}", *COMMON,
                                                      f"batch_size={batch}", *words), ranks=ranks)
    return folder / name, log, time.monotonic() - started


def end_of(run):
    return programs.read_checkpoint(programs.checkpoint(run, LAST))


def try_bits(folder, ranks, per_node, microbatch, modes, precision="fp32"):
    """All modes on so many ranks, in nodes of `per_node` (0: one node), end in the same bytes and losses."""
    common = [f"ranks_per_node={per_node}", f"microbatch_size={microbatch}", f"precision={precision}"]
    name = f"bits_{ranks}_{per_node}_{microbatch}_{precision}"
    first, ends = None, None
    for mode in modes:
        run, log, _ = train(folder, f"{name}_{mode.replace(' ', '_').replace(',', '')}", ranks, *common, *MODES[mode])
        if first is None:
            first, ends = run, end_of(run)
        else:
            difference = max(programs.greatest_difference(first, run, 1, LAST, key) for key in ("loss", "grad_norm"))
            check(difference == 0, f"{ranks} ranks, nodes of {per_node}: {mode} differs from {modes[0]} by {difference}\n{log}")
            check(end_of(run) == ends, f"{ranks} ranks, nodes of {per_node}: {mode} ends in other bytes than {modes[0]}")
            shutil.rmtree(run)
    print(f"{ranks} ranks, nodes of {per_node or ranks}, microbatch {microbatch or 'whole'}, {precision}: {', '.join(modes)}: the same bits", flush=True)
    return first


def try_pairs(folder, mode, sizes, batch):
    """A checkpoint of each size continues on each: to the bit on its own, to rounding on others."""
    tag = mode.replace(" ", "_").replace(",", "")
    good = 0
    whole = {ranks: train(folder, f"whole_{tag}_{ranks}", ranks, *MODES[mode], batch=batch)[0] for ranks in sizes}
    for before, after in itertools.product(sizes, sizes):
        name = f"pair_{tag}_{before}_{after}"
        shutil.copytree(whole[before], folder / name)
        shutil.rmtree(programs.checkpoint(folder / name, LAST))
        run, log, _ = train(folder, name, after, *MODES[mode], batch=batch)
        check(f"(step {FIRST})" in log, f"{before} -> {after} ranks did not resume from step {FIRST}:\n{log}")
        difference = programs.greatest_difference(whole[before], run, FIRST + 1, LAST)
        check(difference <= BOUND, f"{mode}: {before} -> {after} ranks: the loss differs by {difference}")
        if before == after:
            check(end_of(run) == end_of(whole[before]), f"{mode}: {before} ranks do not continue to the same bytes")
        shutil.rmtree(run)
        good += 1
    print(f"{mode}: {good} of {len(sizes) ** 2} pairs of {min(sizes)} to {max(sizes)} ranks", flush=True)


def try_other_modes(folder):
    """A checkpoint of one mode continues in another, on another number of ranks."""
    start, _, _ = train(folder, "mixed", 4, *MODES["full inside nodes"], "ranks_per_node=2")
    for ranks, mode in ((2, "none"), (1, "full"), (4, "grad_op")):
        name = f"mixed_{ranks}"
        shutil.copytree(start, folder / name)
        shutil.rmtree(programs.checkpoint(folder / name, LAST))
        run, log, _ = train(folder, name, ranks, *MODES[mode])
        check(f"(step {FIRST})" in log, log)
        difference = programs.greatest_difference(start, run, FIRST + 1, LAST)
        check(difference <= BOUND, f"full inside nodes on 4 -> {mode} on {ranks}: {difference}")
    print("full inside nodes on 4 ranks -> none on 2, full on 1, grad_op on 4: the same losses", flush=True)


def main(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave the runs where they are")
    options = parser.parse_args(words)
    programs.need_data()
    programs.need_mpi()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="microdit_sharding_"))
    try:
        modes = list(MODES)
        two_levels = try_bits(folder, 4, 2, 0, modes)
        one_level = try_bits(folder, 4, 0, 0, ["grad_op"] if options.short else modes)
        # The control: nodes change the order of the sums, and so the bits, and nothing else.
        check(end_of(two_levels) != end_of(one_level), "the comparison does not see another order of summation")
        check(programs.greatest_difference(two_levels, one_level, 1, LAST) <= BOUND, "two levels add up to something else")
        try_bits(folder, 2, 0, 3, ["none", "full"] if options.short else modes, "bf16")
        if not options.short:
            for ranks, per_node in ((1, 0), (2, 0), (2, 1), (4, 1)):
                try_bits(folder, ranks, per_node, 0, modes)
            try_bits(folder, 2, 0, 3, modes)
            try_bits(folder, 4, 2, 1, modes)
            try_bits(folder, 4, 2, 0, modes, "bf16")
        try_other_modes(folder)
        if options.short:
            try_pairs(folder, "full", [1, 3], 9)
        else:
            try_pairs(folder, "grad_op", range(1, 9), 840)
            for mode in modes:
                if mode != "grad_op":
                    try_pairs(folder, mode, [1, 2, 4], 8)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
