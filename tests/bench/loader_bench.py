"""LatentStream beside what a user would run instead, in one run: mosaicml-streaming, WebDataset, h5py; and memcpy, the limit of all.

    loader_bench.py FOLDER [--rounds N] [--cold-only | --warm-only]      FOLDER: what `loader_bench make` wrote

Warm: everything in the page cache, let go first and read in order from each file's beginning (rows that were read in singly lie in
small pieces and are copied at half the speed: the figure would depend on who read last); the loaders take turns, medians. Ours and
memcpy are so fast that a pass would be over in a tenth of a second: they make ten, the others one each, all with the clock from the
first batch to the last.
Cold: tests/faults/slow_disk.c adds 5 ms to every open and
every read, and the bytes at 200 MB/s; mmap and io_uring are refused. All deliver tensors in batches of 64; ours checks every row.
Peers need scripts/bench_setup.sh; without it they are left out, and the table says so. BIN = $MICRODIT_BIN or build/bin.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MICRODIT_BIN", ROOT / "build/bin"))
SHIM = pathlib.Path(os.environ.get("MICRODIT_SLOW_DISK_SO", BIN.parent / "tests/libslow_disk.so"))
PEERS = ROOT / "tests/bench/loader_peers.py"
PYTHON = {"mds": ROOT / ".venv-bench/streaming/bin/python", "webdataset": ROOT / ".venv-bench/webdataset/bin/python",
          "h5py": ROOT / ".venv-oracles/bin/python"}
NAMES = {"ours": "LatentStream, 2 threads", "mds": "mosaicml-streaming 0.13, 2 workers", "webdataset": "WebDataset 1.0.2, 2 workers",
         "h5py": "h5py, 1 process", "memcpy": "memcpy of the same rows, 2 threads"}
PASSES = 10
COLD_SAMPLES = {"ours": 7680, "mds": 192, "webdataset": 192, "h5py": 192}


def call(command, env=None):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})})
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}


def clean_shared_memory():
    if PYTHON["mds"].exists():  # what a killed run of the library leaves in /dev/shm stops the next
        subprocess.run([PYTHON["mds"], "-c", "import streaming.base.util as u; u.clean_stale_shared_memory()"], capture_output=True)


def bring_in(folder):
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with open(path, "rb", buffering=0) as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while file.read(1 << 20):
                pass


class Bench:
    def __init__(self, folder):
        self.folder = {"ours": folder, "h5py": folder, "mds": folder.with_name(folder.name + ".mds"),
                       "webdataset": folder.with_name(folder.name + ".tars")}
        self.peers = [name for name in ("mds", "webdataset", "h5py") if PYTHON[name].exists()]
        for name in self.peers:
            if not self.folder[name].exists():
                part = self.folder[name].with_suffix(".part")
                shutil.rmtree(part, ignore_errors=True)
                call([PYTHON[name], PEERS, "make", name, folder, part])
                part.rename(self.folder[name])

    def run(self, name, cold):
        env = {}
        if cold:
            env = {"LD_PRELOAD": str(SHIM), "MICRODIT_SLOW_DISK": str(self.folder[name].resolve())}
        samples = COLD_SAMPLES[name] if cold else 0
        if name == "ours":
            return call([BIN / "loader_bench", "run", self.folder[name], "threads=2", f"samples={samples}", f"run={32 if cold else 1}",
                         f"passes={1 if cold else PASSES}"], env)
        if name == "memcpy":
            return call([BIN / "loader_bench", "memcpy", "threads=2", f"passes={PASSES}"])
        if name == "mds":
            clean_shared_memory()
        return call([PYTHON[name], PEERS, "run", name, self.folder[name], samples, 2], env)

    def rounds(self, count, cold):
        names = ["ours", *self.peers] + ([] if cold else ["memcpy"])
        rates = {name: [] for name in names}
        if not cold:
            for name in names:
                if name in self.folder:
                    bring_in(self.folder[name])
                self.run(name, False)
        for _ in range(count):
            for name in names:
                rates[name].append(self.run(name, cold)["samples_per_s"])
        return rates

    def resume(self, count=7):
        """Seconds from opening to the first batch at random samples of the stream, on the slow disk."""
        env = {"LD_PRELOAD": str(SHIM), "MICRODIT_SLOW_DISK": str(self.folder["ours"].resolve())}
        draw = random.Random(5)
        return [call([BIN / "loader_bench", "run", self.folder["ours"], "threads=2", "samples=64", "run=32", f"first={draw.randrange(10**9)}"],
                     env)["first_batch_s"] for _ in range(count)]


def table(title, rates):
    ours = statistics.median(rates["ours"])
    print(f"| {title} | samples/s, median | lowest - highest | ours : it |\n|---|---|---|---|")
    for name, all_rates in rates.items():
        middle = statistics.median(all_rates)
        print(f"| {NAMES[name]} | {middle:,.0f} | {min(all_rates):,.0f} - {max(all_rates):,.0f} | {ours / middle:.2f} |")
    for name in set(PYTHON) - set(rates):
        print(f"| {NAMES[name]} | not installed: scripts/bench_setup.sh | | |")
    print(flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cold-only", action="store_true")
    parser.add_argument("--warm-only", action="store_true")
    words = parser.parse_args()
    bench = Bench(words.folder)
    if not words.cold_only:
        table("warm", bench.rounds(words.rounds, False))
    if not words.warm_only:
        table("cold: 5 ms a call, 200 MB/s", bench.rounds(max(words.rounds // 2, 1), True))
        waits = bench.resume()
        print(f"resume on the cold disk, open to first batch: median {statistics.median(waits):.2f} s, longest {max(waits):.2f} s")


main()
