"""Text encoders beside PyTorch eager (transformers, open_clip), the same threads, medians of alternating rounds: text_encoder_bench.py
[ROUNDS [THREADS]]. Random weights; captions of 5 to 40 words; ids are given to the originals, the program also tokenizes."""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS, THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else 3, int(sys.argv[2]) if len(sys.argv) > 2 else 1
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "encoders"))
sys.argv = sys.argv[:1]
try:
    import text_encoders_oracle_test as oracle  # skips where the originals are not installed
    import torch
    from transformers import AutoTokenizer, BertModel
except ImportError as missing:
    print(f"skipped: {missing}; scripts/setup.sh --oracles")
    sys.exit(77)

BINARY = pathlib.Path(os.environ.get("MICRODIT_BIN", "build/bin")) / "text_encoder_bench"
MINILM = pathlib.Path(os.environ.get("MICRODIT_DATA", "data")) / "weights/all-MiniLM-L6-v2"
WORDS = "a red flag on the old wooden boat beside two small dogs in deep snow under a clear evening sky drawn with ink".split()
CAPTIONS = [" ".join((WORDS * 2)[i % 7:i % 7 + 5 + i * 11 % 36]) for i in range(64)]


def compare(name, folder, place, length, original, ids):
    lines = place / "lines"
    lines.write_text("".join(json.dumps(text) + "\n" for text in CAPTIONS))
    ours, theirs = [], []
    with torch.no_grad():
        original(ids)
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            original(ids)
            theirs.append(time.perf_counter() - begin)
            done = subprocess.run([BINARY, folder, lines, str(length), "1"], capture_output=True, text=True, check=True,
                                  env=os.environ | {"OMP_NUM_THREADS": str(THREADS)})
            ours.append(float(done.stdout.split()[0]))
    theirs, ours = statistics.median(theirs), statistics.median(ours)
    print(f"{name:34} {len(CAPTIONS) / theirs:9.2f} {len(CAPTIONS) / ours:9.2f} {theirs / ours:6.2f} (wanted 1)", flush=True)


def main():
    torch.set_num_threads(THREADS)
    base = dict(hidden_size=512, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=8, projection_dim=512)
    print(f"{'captions per second':34} {'theirs':>9} {'ours':>9} {'ratio':>6}   {THREADS} thread(s), fp32, {len(CAPTIONS)} captions")
    for name, (make, length) in {"CLIP text B/32, transformers": oracle.clip(base, "quick_gelu", "alone"), "CLIP text B/32, open_clip": oracle.open_clip(base, True),
                                 "T5 v1.1 small, 120 rows": oracle.t5(120, d_model=512, d_kv=64, d_ff=1024, num_heads=6, num_layers=8)}.items():
        with tempfile.TemporaryDirectory() as place:
            place = pathlib.Path(place)
            (place / "encoder").mkdir()
            original = make(place / "encoder")
            ids = oracle.encode(place / "encoder", place, length, texts=CAPTIONS)["ids"].long()
            compare(name, place / "encoder", place, length, original, ids)
    if MINILM.exists():
        net, tokenizer = BertModel.from_pretrained(MINILM).eval(), AutoTokenizer.from_pretrained(MINILM)
        rows = tokenizer(CAPTIONS, padding="longest", return_tensors="pt")
        with tempfile.TemporaryDirectory() as place:
            compare("BERT, MiniLM L6", MINILM, pathlib.Path(place), rows["input_ids"].shape[1], lambda _: net(**rows).last_hidden_state, None)


if __name__ == "__main__":
    main()
