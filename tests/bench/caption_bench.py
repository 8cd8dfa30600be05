"""Caption cleaning against the original's CaptionProcessor, one thread each, CPU time, alternating: caption_bench.py [ROUNDS]. Wants 35x
on ordinary captions (mostly English, one in five with marks, numbers, addresses, markup or other scripts)."""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "scripts"))
if not os.environ.get("MICRODIT_REFERENCE"):
    print("skipped: MICRODIT_REFERENCE names no checkout of the original")
    sys.exit(77)
try:
    import caption_corpus
    import caption_parity
except ImportError as missing:
    print(f"skipped: {missing}; scripts/setup.sh --oracles")
    sys.exit(77)

BINARY = pathlib.Path(os.environ.get("MICRODIT_BIN", "build/bin")) / "caption_bench"
LINES = 2000
UNUSUAL = ["quotes_brackets", "dashes", "prices_dates", "sizes", "urls", "entities", "emoji", "scripts", "punctuation", "mojibake_cp1252"]


def ordinary():
    lines = caption_corpus.lines_of("plain_english", LINES * 4 // 5, "bench")
    for name in UNUSUAL:
        lines += caption_corpus.lines_of(name, LINES // 5 // len(UNUSUAL), "bench")
    return lines


def ours_s(path):
    said = subprocess.run([BINARY, "3", path], check=True, capture_output=True, text=True).stdout.split()
    return statistics.median(map(float, said[:-1]))


def python_s(clean, lines):
    begin = time.process_time()
    for line in lines:
        clean(line)
    return time.process_time() - begin


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    clean = caption_parity.original()
    print(f"{'captions':16} {'bytes':>6} {'Python us':>10} {'ours us':>8} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for name in ["ordinary", "plain_english", "scripts", "mojibake_cp1252", "anything"]:
            lines = ordinary() if name == "ordinary" else caption_corpus.lines_of(name, LINES, "bench")
            lines = [line for line, answer in zip(lines, caption_parity.answers(clean, lines)) if answer is not None]
            path = pathlib.Path(folder) / name
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
            pairs = [(python_s(clean, lines), ours_s(path)) for _ in range(rounds)]
            python, ours = (statistics.median(one) / len(lines) * 1e6 for one in zip(*pairs))
            size = sum(len(line.encode()) for line in lines) / len(lines)
            print(f"{name:16} {size:6.0f} {python:10.1f} {ours:8.2f} {python / ours:6.1f}", flush=True)


if __name__ == "__main__":
    main()
