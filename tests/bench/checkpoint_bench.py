"""How long a checkpoint stops the training: ours beside torch.save and torch's own asynchronous checkpoint, in turn.

.venv-oracles/bin/python tests/bench/checkpoint_bench.py [--rounds 10]      (BIN = $MICRODIT_BIN or build/bin)

All write the demonstration's state: weights, two moments and EMA, fp32. torch.save is followed by fsync, as ours is; dcp.async_save
stages a copy and writes in the background."""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import torch
    import torch.distributed.checkpoint as dcp
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("MICRODIT_BIN", os.path.join(ROOT, "build/bin"))
NUM_PARAMETERS, NUM_TENSORS = 8_300_000, 200  # the emoji preset's, about


def torch_save(state, folder):
    begin = time.perf_counter()
    with open(os.path.join(folder, "state.pt"), "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    return (time.perf_counter() - begin) * 1e3


def torch_async(state, folder):
    begin = time.perf_counter()
    future = dcp.async_save(state, checkpoint_id=os.path.join(folder, "dcp"), no_dist=True)
    blocked = (time.perf_counter() - begin) * 1e3
    future.result()
    return blocked


def ours(folder):
    ran = subprocess.run([os.path.join(BIN, "checkpoint_bench"), folder, "5", os.path.join(ROOT, "configs/models/emoji.yaml")],
                         check=True, capture_output=True, text=True)
    rows = [[float(word) for word in line.split()] for line in ran.stdout.splitlines()]
    return statistics.median(row[0] + row[1] for row in rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    state = {f"{kind}.{i}": torch.randn(NUM_PARAMETERS // NUM_TENSORS)
             for kind in ("weights", "exp_avg", "exp_avg_sq", "ema") for i in range(NUM_TENSORS)}
    times = {"microdit": [], "torch.save": [], "dcp.async_save": []}
    folder = tempfile.mkdtemp(prefix="microdit_checkpoint_bench_")
    try:
        for round_ in range(args.rounds + 1):
            taken = ours(os.path.join(folder, "ours")), torch_save(state, folder), torch_async(state, folder)
            if round_ > 0:  # the first warms up
                for name, value in zip(times, taken):
                    times[name].append(value)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"training stopped by one checkpoint of 4 x {NUM_PARAMETERS / 1e6:.1f} M fp32, median of {args.rounds} alternations")
    for name, values in times.items():
        ratio = statistics.median(v / m for v, m in zip(values, times["microdit"]))
        print(f"  {name:15s} {statistics.median(values):8.1f} ms   {ratio:5.2f} times ours")


main()
