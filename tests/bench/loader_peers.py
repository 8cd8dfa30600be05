"""The loaders that loader_bench.py measures beside ours, each run by the Python of its own environment (scripts/bench_setup.sh).

    loader_peers.py make {mds|webdataset} FROM TO       the rows of a latents folder, in the peer's own format and by its own writer
    loader_peers.py run {mds|webdataset|h5py} FOLDER [SAMPLES WORKERS]     prints {"samples_per_s": ..., "check": ...}

Every loader delivers tensors, batch 64, shuffled; the clock runs from the first batch to the last of a pass, so that starting
workers costs nobody anything.
"""
import json
import pathlib
import sys
import time

import numpy as np
import torch

BATCH, WORKERS = 64, 2
LATENTS, TEXT = (4, 32, 32), (77, 1024)


def shards(folder):
    lines = [json.loads(line) for line in (pathlib.Path(folder) / "manifest.jsonl").read_text().splitlines()]
    return sorted(shard["file"] for record in lines[1:-1] for shard in record.get("shards", []) if shard["file"].endswith(".images.h5"))


def open_pair(folder, images):
    import h5py
    return h5py.File(f"{folder}/{images}", "r"), h5py.File(f"{folder}/{images.replace('.images.', '.text.')}", "r")


def rows_of(folder):
    for name in shards(folder):
        images, text = open_pair(folder, name)
        latents, texts = images["latents_256"][:], text["text"][:]
        for latent, row in zip(latents, texts):
            yield latent, row


def make_mds(folder, to):
    from streaming import MDSWriter
    # The columns of micro_diffusion's precompute; the library's own shard size.
    with MDSWriter(out=to, columns={"caption": "str", "caption_latents": "bytes", "latents_256": "bytes"}, hashes=["xxh64"]) as writer:
        for latent, text in rows_of(folder):
            writer.write({"caption": "a caption", "caption_latents": text.tobytes(), "latents_256": latent.tobytes()})


def make_webdataset(folder, to):
    import webdataset
    pathlib.Path(to).mkdir(parents=True)
    with webdataset.ShardWriter(f"{to}/part-%05d.tar", maxcount=500, verbose=0) as writer:
        for i, (latent, text) in enumerate(rows_of(folder)):
            writer.write({"__key__": f"{i:08d}", "latents_256.bin": latent.tobytes(), "text.bin": text.tobytes(), "txt": "a caption"})


def half(data, shape):
    return torch.from_numpy(np.frombuffer(data, np.float16).copy()).reshape(shape)


def mds_batches(folder):
    from streaming import StreamingDataset
    from torch.utils.data import DataLoader

    class Latents(StreamingDataset):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return half(sample["latents_256"], LATENTS), half(sample["caption_latents"], TEXT)

    dataset = Latents(local=folder, shuffle=True, batch_size=BATCH, validate_hash="xxh64")
    return DataLoader(dataset, batch_size=BATCH, num_workers=WORKERS, prefetch_factor=2, drop_last=True)


def webdataset_batches(folder):
    import webdataset
    from torch.utils.data import DataLoader
    urls = sorted(map(str, pathlib.Path(folder).glob("*.tar")))
    decode = lambda sample: (half(sample["latents_256.bin"], LATENTS), half(sample["text.bin"], TEXT))
    dataset = webdataset.WebDataset(urls, shardshuffle=len(urls)).shuffle(500).map(decode).batched(
        BATCH, collation_fn=lambda rows: tuple(torch.stack(column) for column in zip(*rows)), partial=False)
    return DataLoader(dataset, batch_size=None, num_workers=WORKERS, prefetch_factor=2)


def h5py_batches(folder):
    names = shards(folder)
    pairs = [open_pair(folder, name) for name in names]
    latents, texts = [images["latents_256"] for images, _ in pairs], [text["text"] for _, text in pairs]
    owned = [text["caption_rows"][:] for _, text in pairs]
    place = [(s, r) for s, column in enumerate(latents) for r in range(column.shape[0])]
    order = np.random.default_rng(7).permutation(len(place))
    for begin in range(0, len(order) - BATCH + 1, BATCH):
        out = np.empty((BATCH, *LATENTS), np.float16), np.empty((BATCH, *TEXT), np.float16)
        for i in range(BATCH):
            shard, row = place[order[begin + i]]
            latents[shard].read_direct(out[0], np.s_[row], np.s_[i])
            texts[shard].read_direct(out[1], np.s_[owned[shard][row]], np.s_[i])
        yield tuple(map(torch.from_numpy, out))


def run(kind, folder, samples, workers):
    global WORKERS
    WORKERS = workers
    batches = {"mds": mds_batches, "webdataset": webdataset_batches, "h5py": h5py_batches}[kind](folder)
    count, check, begin = 0, 0.0, None
    for latents, text in batches:
        check += float(latents[0, 0, 0, 0]) + float(text[-1, -1, -1])
        if begin is None:
            begin = time.perf_counter()
        else:
            count += len(latents)
        if samples and count >= samples:
            break
    seconds = time.perf_counter() - begin
    print(json.dumps({"samples_per_s": round(count / seconds, 1), "check": check}), flush=True)


def main():
    words = sys.argv[1:]
    if len(words) == 4 and words[0] == "make":
        {"mds": make_mds, "webdataset": make_webdataset}[words[1]](words[2], words[3])
    elif len(words) >= 3 and words[0] == "run":
        run(words[1], words[2], *(list(map(int, words[3:])) + [0, WORKERS][len(words) - 3:]))
    else:
        sys.exit(__doc__)


main()
