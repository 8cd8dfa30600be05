"""Runs the original's CaptionProcessor and ftfy beside `probe clean_captions` on captions of every class and says what differs.

MICRODIT_REFERENCE=<checkout of the original> python3.11 scripts/caption_parity.py [--probe build/bin/probe] [--lines N] [--seed S]
                                                              [--classes A,B] [--gentle]
Per class: lines, share that ftfy's fix_encoding changes, lines that the original refuses (an exception), identical share; then every
difference whole. Exit code 1 below 99.9 % of a class or 99.99 % of all.
Needs CPython 3.11.2 with ftfy 6.3.1 and beautifulsoup4 4.11.2."""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import caption_corpus
import ftfy

warnings.filterwarnings("ignore")
LEAST_OF_CLASS, LEAST_OF_ALL = 0.999, 0.9999


def original():
    """The original's cleaner, from its checkout."""
    checkout = os.environ.get("MICRODIT_REFERENCE")
    if not checkout:
        sys.exit("MICRODIT_REFERENCE must name a checkout of the original")
    sys.path.insert(0, os.path.join(checkout, "micro_diffusion/datasets"))
    import captions
    return captions.CaptionProcessor().clean_caption


def gentle(text):
    return re.sub(r"\s+", " ", ftfy.fix_text(text)).strip()


def answers(clean, lines):
    """What the original makes of each line; None where it raises."""
    found = []
    for line in lines:
        try:
            found.append(clean(line))
        except (AssertionError, ValueError):  # html.parser on "<![ ", int() on very long numbers
            found.append(None)
    return found


def ours(probe, lines, how):
    with tempfile.TemporaryDirectory() as folder:
        given, made = os.path.join(folder, "in"), os.path.join(folder, "out")
        with open(given, "w", encoding="ascii") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        subprocess.run([probe, "clean_captions", "--input", given, "--output", made, f"clean={how}"], check=True, stderr=subprocess.DEVNULL)
        with open(made, encoding="utf-8") as file:
            return [json.loads(line) for line in file]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--probe", default="build/bin/probe")
    parser.add_argument("--lines", type=int, default=5000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--classes", default="")
    parser.add_argument("--gentle", action="store_true")
    args = parser.parse_args()
    clean, how = (gentle, "gentle") if args.gentle else (original(), "reference")
    names = args.classes.split(",") if args.classes else list(caption_corpus.classes(caption_corpus.Maker(0)))
    total = same_in_all = 0
    good = True
    print(f"{'class':24} {'lines':>6} {'mojibake':>8} {'refused':>7} {'identical':>9}")
    for name in names:
        lines = caption_corpus.lines_of(name, args.lines, args.seed)
        started = time.monotonic()
        expected = answers(clean, lines)
        took = time.monotonic() - started
        made = ours(args.probe, lines, how)
        changed = sum(ftfy.fix_encoding(line) != line for line in lines)
        asked = [k for k in range(len(lines)) if expected[k] is not None]
        different = [k for k in asked if expected[k] != made[k]]
        share = 1 - len(different) / max(1, len(asked))
        total, same_in_all, good = total + len(asked), same_in_all + len(asked) - len(different), good and share >= LEAST_OF_CLASS
        print(f"{name:24} {len(lines):6} {changed / len(lines):8.1%} {len(lines) - len(asked):7} {share:9.3%}   ({took:.1f} s in Python)", flush=True)
        for k in different:
            print(f"  {lines[k]!r}\n    original {expected[k]!r}\n    ours     {made[k]!r}")
    share = same_in_all / max(1, total)
    print(f"all: {total} lines, {total - same_in_all} different, {share:.4%} identical")
    sys.exit(0 if good and share >= LEAST_OF_ALL else 1)


if __name__ == "__main__":
    main()
