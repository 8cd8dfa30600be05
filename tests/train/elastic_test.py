#!/usr/bin/env python3
"""A checkpoint of 2 ranks continues on 1, 2 and 4 ranks, sharded or not, masked or not: same samples, same noise, same losses."""
import os
import pathlib
import shutil
import sys
import tempfile

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402
from programs import check  # noqa: E402

FIRST, LAST, BOUND = 10, 30, 1e-5
NAME = "elastic"


def same_bytes(run_a, run_b):
    return programs.read_checkpoint(programs.checkpoint(run_a, LAST)) == programs.read_checkpoint(programs.checkpoint(run_b, LAST))


def continue_on(start, folder, ranks, *overrides):
    """A copy of the started run, continued to LAST."""
    folder.mkdir()
    shutil.copytree(start, folder / NAME)
    words = programs.train_words(folder, NAME, f"steps={LAST}", *overrides)
    log = programs.run("train", *words, ranks=ranks)
    check(f"(step {FIRST})" in log, f"it did not resume from step {FIRST}:\n{log}")
    return folder / NAME


def try_mask_ratio(mask_ratio, folder):
    common = [f"mask_ratio={mask_ratio}", f"schedule.decay_steps={LAST}"]
    start = folder / "start" / NAME
    programs.run("train", *programs.train_words(start.parent, NAME, f"steps={FIRST}", *common), ranks=2)
    same = continue_on(start, folder / "two", 2, *common)
    for label, ranks, overrides in (("1 rank", 1, []), ("4 ranks", 4, []), ("2 ranks, sharding none", 2, ["sharding=none"]),
                                    ("1 rank, sharding none", 1, ["sharding=none"])):
        other = continue_on(start, folder / label.replace(" ", "_"), ranks, *common, *overrides)
        loss, norm = (programs.greatest_difference(same, other, FIRST + 1, LAST, key) for key in ("loss", "grad_norm"))
        print(f"mask {mask_ratio}: 2 ranks -> {label}: loss differs by {loss:.1e}, gradient norm by {norm:.1e}"
              f"{', final checkpoint bit-identical' if same_bytes(same, other) else ''}", flush=True)
        check(loss <= BOUND, f"{label}: the loss differs by {loss}")
        if ranks == 2:
            check(loss == 0 and same_bytes(same, other), "at one world size `none` and `grad_op` differ in bits")
    return start, same, common


def main():
    programs.need_data()
    programs.need_mpi()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="microdit_elastic_"))
    try:
        for mask_ratio in (0, 0.75):
            (folder / str(mask_ratio)).mkdir()
            start, same, common = try_mask_ratio(mask_ratio, folder / str(mask_ratio))
        # The control: other samples and noise, and the same start, differ by far more than the bound.
        control = folder / "control" / NAME
        words = programs.train_words(control.parent, NAME, f"steps={LAST}", "seed=19", *common,
                                     f"init.from={programs.checkpoint(start, FIRST)}", "init.load=all")
        programs.run("train", *words)
        difference = programs.greatest_difference(same, control, FIRST + 1, LAST)
        check(difference > 100 * BOUND, f"the comparison does not see another seed: {difference}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("ok")


if __name__ == "__main__":
    main()
