"""LatentStream beside h5py on the same folder: 10 alternations, medians, the same number of threads, batch 64.

    loader_bench.py FOLDER      (made by `loader_bench make FOLDER`; BIN = $MICRODIT_BIN or build/bin)

Both deliver whole batches in memory in random order, each pass shows every sample once. Ours also checks each row's
checksum. h5py reads each row by its own into the batch, as a map-style data set does.
"""
import json
import os
import statistics
import subprocess
import sys
import time

import h5py
import numpy as np

BATCH, THREADS, ALTERNATIONS = 64, 1, 10


def read_h5py(folder):
    manifest = [json.loads(line) for line in open(os.path.join(folder, "manifest.jsonl"))]
    names = [shard["file"] for record in manifest[1:-1] for shard in record["shards"]]
    files = [h5py.File(os.path.join(folder, name), "r") for name in names]
    latents, texts = [f["latents_256"] for f in files], [f["text"] for f in files]
    rows = [f["caption_rows"][:] for f in files]
    place = [(s, r) for s, column in enumerate(latents) for r in range(column.shape[0])]
    order = np.random.default_rng(7).permutation(len(place))
    batch_latents = np.empty((BATCH, *latents[0].shape[1:]), np.float16)
    batch_text = np.empty((BATCH, *texts[0].shape[1:]), np.float16)
    batches = max(len(place) // BATCH, 1)
    begin = time.perf_counter()
    for b in range(batches):
        for i in range(BATCH):
            shard, row = place[order[(b * BATCH + i) % len(place)]]
            latents[shard].read_direct(batch_latents, np.s_[row], np.s_[i])
            texts[shard].read_direct(batch_text, np.s_[rows[shard][row]], np.s_[i])
    seconds = time.perf_counter() - begin
    for file in files:
        file.close()
    return batches * BATCH / seconds


def read_ours(folder):
    binary = os.path.join(os.environ.get("MICRODIT_BIN", "build/bin"), "loader_bench")
    out = subprocess.run([binary, "run", folder, str(BATCH), str(THREADS)], check=True, capture_output=True, text=True)
    return json.loads(out.stdout)["samples_per_s"]


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: loader_bench.py FOLDER")
    folder = sys.argv[1]
    read_ours(folder), read_h5py(folder)  # warm the page cache
    ours, theirs = [], []
    for _ in range(ALTERNATIONS):
        ours.append(read_ours(folder))
        theirs.append(read_h5py(folder))
    a, b = statistics.median(ours), statistics.median(theirs)
    print("| loader, batch 64 | LatentStream samples/s | h5py samples/s | ratio |")
    print("|---|---|---|---|")
    print(f"| {THREADS} thread, random order, fp16 4x32x32 + 77x1024 | {a:,.0f} | {b:,.0f} | {a / b:.2f} |")


main()
