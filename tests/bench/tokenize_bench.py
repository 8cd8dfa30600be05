"""Tokenizers beside the originals, one thread each, CPU time, medians of alternating rounds: tokenize_bench.py [ROUNDS].

Wants 10x open_clip's SimpleTokenizer (cleaning included; its cache of words is warm) and 3x transformers' T5Tokenizer (backend:
tokenizers, in Rust, called with all lines at once)."""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "encoders"))
try:
    import ftfy  # open_clip needs it
    import token_oracles as oracles
    PACKAGE = oracles.open_clip_package()
except (ImportError, AttributeError) as missing:
    print(f"skipped: {missing}; scripts/setup.sh --oracles")
    sys.exit(77)

BINARY = pathlib.Path(os.environ.get("MICRODIT_BIN", "build/bin")) / "tokenize_bench"
LINES = 20000


def ours_s(folder, lines):
    out = subprocess.run([BINARY, folder, lines, "1"], capture_output=True, text=True, check=True)
    return float(out.stdout.split()[0])


def theirs_s(encode, texts):
    begin = time.process_time()
    encode(texts)
    return time.process_time() - begin


def compare(name, encode, folder, lines, texts, rounds, wanted):
    encode(texts)  # the first one warms up
    theirs, ours = [], []
    for _ in range(rounds):
        theirs.append(theirs_s(encode, texts))
        ours.append(ours_s(folder, lines))
    theirs, ours = statistics.median(theirs), statistics.median(ours)
    print(f"{name:34} {len(texts) / theirs:9.0f} {len(texts) / ours:9.0f} {theirs / ours:6.1f} (wanted {wanted})", flush=True)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    maker = oracles.token_corpus.Maker(11)
    texts = [maker.caption() if i % 10 else maker.pick(maker.names) for i in range(LINES)]
    print(f"{LINES} captions of {sum(map(len, texts)) / LINES:.0f} characters, one in ten in another language")
    print(f"{'per second':34} {'theirs':>9} {'ours':>9} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        lines = place / "lines.jsonl"
        lines.write_text("".join(json.dumps(text) + "\n" for text in texts))
        (place / "open_clip").mkdir()
        gz = shutil.copy(PACKAGE / "bpe_simple_vocab_16e6.txt.gz", place / "open_clip")
        module = oracles.open_clip_module()
        tokenizer = module.SimpleTokenizer(gz)
        compare("CLIP, open_clip", lambda texts: oracles.open_clip_ids(tokenizer, texts), place / "open_clip", lines, texts, rounds, 10)
        oracles.write_clip_folder(place / "clip", oracles.read_merges(gz), module)
        clip = oracles.CLIP.from_pretrained(place / "clip")
        compare(f"CLIP, transformers ({clip.backend})", lambda texts: clip(texts)["input_ids"], place / "clip", lines, texts, rounds, "-")
        oracles.train_t5(place / "t5", 32000, 150000)
        t5 = oracles.T5.from_pretrained(place / "t5")
        compare(f"T5, T5Tokenizer ({t5.backend})", lambda texts: t5(texts)["input_ids"], place / "t5", lines, texts, rounds, 3)


if __name__ == "__main__":
    main()
