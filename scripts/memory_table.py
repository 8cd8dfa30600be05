#!/usr/bin/env python3
"""What a rank of a training holds, by sharding and number of ranks: MicroDiT Tiny_2 through the program, on made-up latents; writes a table.

    scripts/memory_table.py [--model configs/models/tiny_2.yaml] [--ranks 1 2 4] [--rows 8] [--page docs/memory.md]
Rank 0's own account of its buffers (the log's `memory of a rank`), and what its process had resident at the most."""
import argparse
import pathlib
import re
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402

MODES = {"none": ["sharding=none"], "grad_op": ["sharding=grad_op"], "full": ["sharding=full"],
         "none, recompute: blocks": ["sharding=none", "recompute=blocks"]}
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"


def bytes_of(text):
    number, unit = re.match(r"([\d.]+) (\w+)", text).groups()
    return float(number) * UNITS[unit]


def measure(args, ranks, words):
    with tempfile.TemporaryDirectory(prefix="microdit_memory_") as folder:
        all_words = ["--config", SOURCE / "configs/train/pretrain_256.yaml", "data=[{synthetic: 4096}]", f"runs={folder}", "name=memory",
                     f"model={args.model}", "device=cpu", f"precision={args.precision}", f"batch_size={args.rows * ranks}",
                     f"microbatch_size={args.rows}", "steps=2", "threads_per_rank=1", "bucket_mb=16", "sampling.every_steps=0", "ema.decay=0",
                     "checkpoint.every_steps=1000000", "schedule.warmup_steps=1", "schedule.decay_steps=10", f"mask_ratio={args.mask_ratio}", *words]
        log = programs.run("train", *all_words, ranks=ranks)
        peak = programs.metrics(pathlib.Path(folder) / "memory")[-1]["memory_peak_gb"] * 1e9
    held = re.search(r"memory of a rank: (.*): ([\d.]+ \w+) and activations", log)
    first = re.search(r"the first step took ([\d.]+ \w+) beyond that", log)
    return {"parts": held[1], "held": bytes_of(held[2]), "step": bytes_of(first[1]), "peak": peak}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny_2")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rows", type=int, default=4, help="samples of a rank and step")
    parser.add_argument("--mask-ratio", type=float, default=0.75)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--only", nargs="+", choices=MODES, help="these ways alone")
    parser.add_argument("--page", help="write the table into this page")
    args = parser.parse_args()
    rows, first = [], {}
    for ranks in args.ranks:
        for mode, words in MODES.items():
            if args.only and mode not in args.only:
                continue
            found = measure(args, ranks, words)
            base = first.setdefault(ranks, found)
            rows.append(f"| {ranks} | {mode} | {found['held'] / 1e9:.2f} | {found['held'] / base['held']:.2f} | {found['step'] / 1e9:.2f} | "
                        f"{found['step'] / base['step']:.2f} | {found['peak'] / 1e9:.2f} | {found['parts']} |")
            print(rows[-1], flush=True)
    table = "\n".join(["| ranks | sharding | held, GB | of none | step, GB | of none | resident at most, GB | held |",
                       "|---|---|---|---|---|---|---|---|", *rows, ""])
    if args.page:
        page = pathlib.Path(args.page)
        text = page.read_text()
        page.write_text(text[:text.index(BEGIN) + len(BEGIN)] + table + text[text.index(END):])


if __name__ == "__main__":
    main()
