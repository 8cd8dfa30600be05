#!/usr/bin/env python3
"""clean under stops and kills at random moments: every stop ends within 10 s, at most one shard per process is made twice,
and the bytes are those of an undisturbed run; as one task, as a 3-task array, on 2 MPI ranks.
Usage: storm_data.py [--count N] [--records N] [--seed S]: N stops and N kills each (default 100, archives of 20,000 records)."""
import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "ingest")]
from programs import REQUEUE, SOURCE, check, files_below  # noqa: E402
from small_archives import Data, tar_bytes  # noqa: E402

LONGEST_STOP_S = 10


class Life:
    """Some processes that do the stage together, each in a session of its own."""

    def __init__(self, data, ways):
        self.logs = [data.root / f"log.{number}" for number in range(len(ways))]
        self.processes = []
        for (words, ranks), log in zip(ways, self.logs):
            with log.open("w") as out:
                self.processes.append(subprocess.Popen(data.command("clean", *words, ranks=ranks), env=data.env, cwd=SOURCE,
                                                       start_new_session=True, stdout=subprocess.DEVNULL, stderr=out))

    def listens(self):
        """Each program has said its first word: from then on it knows what to do with a stop."""
        return all(log.stat().st_size > 0 or process.poll() is not None for log, process in zip(self.logs, self.processes))

    def alive(self):
        return any(process.poll() is None for process in self.processes)

    def send(self, number):
        for process in self.processes:
            try:
                if number == signal.SIGKILL:
                    kill_tree(process)
                else:
                    os.kill(process.pid, number)
            except ProcessLookupError:
                pass

    def codes(self):
        codes = [process.wait(timeout=120) for process in self.processes]
        return codes, "\n".join(log.read_text(errors="replace") for log in self.logs)


def kill_tree(process):
    """The launcher, its ranks and their workers, each by its number, parents first."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    tree = [process.pid]
    for pid in tree:
        tree += parents.get(pid, [])
    for pid in tree:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def shards(folder):
    """Of every published shard: who it is on disk."""
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in folder.glob("[!.]*.h5")}


def storm(data, ways, count, number, longest_s, rng):
    """`count` hits by signal `number` while the stage runs, then it is let finish. Returns the longest time to the end and
    the most shards that one hit cost."""
    folder, slots, hits, slowest, most = data.folder("samples"), sum(ranks for _, ranks in ways), 0, 0.0, 0
    for _ in range(20 * count + 20):
        before = shards(folder)
        life = Life(data, ways)
        while number != signal.SIGKILL and life.alive() and not life.listens():
            time.sleep(0.005)
        deadline = time.monotonic() + rng.uniform(0, longest_s)
        while life.alive() and (hits >= count or time.monotonic() < deadline):
            time.sleep(0.005)
        hit = life.alive()
        if hit:
            hits += 1
            life.send(number)
            start = time.monotonic()
        codes, log = life.codes()
        if hit:
            slowest = max(slowest, time.monotonic() - start)
        after = shards(folder)
        again = [name for name, state in before.items() if after.get(name) != state]
        check(len(again) <= slots, f"{len(again)} shards were made twice: {again}")
        most = max(most, len(again))
        if number != signal.SIGKILL:
            check(all(code in (0, REQUEUE) for code in codes), f"exit {codes}\n{log}")
        if not hit:
            check(codes == [0] * len(codes), f"exit {codes}\n{log}")
            if hits >= count:
                return slowest, most
            shutil.rmtree(folder)  # it was done: begin anew
    raise AssertionError(f"the stage is done before {count} hits: more --records")


def main(argv=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100, help="stops, and kills, of each way to run")
    parser.add_argument("--records", type=int, default=20_000, help="of the first archive; the others have a tenth")
    parser.add_argument("--shard-records", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    args = parser.parse_args(argv)
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory(prefix="microdit_storm_") as folder:
        made = Path(folder) / "made"
        made.mkdir()
        for i in range(6):
            count = args.records if i == 0 else args.records // 10
            (made / f"{i}.tar").write_bytes(tar_bytes(args.records * i, count, side=16))
        urls = [f"file://{made}/{{0..5}}.tar"]
        keys = {"shard_records": args.shard_records}
        alone = Data(Path(folder) / "alone", urls, **keys)
        alone.run("download")
        start = time.monotonic()
        alone.run("clean")
        whole_s = time.monotonic() - start
        print(f"undisturbed: {whole_s:.1f} s", flush=True)
        expected = files_below(alone.folder("samples"))
        ways = {"1 task": [([], 1)], "3 tasks": [([f"task={i}/3"], 1) for i in range(3)]}
        if shutil.which("mpirun"):
            ways["2 ranks"] = [([], 2)]
        for name, way in ways.items():
            for number in (signal.SIGUSR1, signal.SIGKILL):
                data = Data(Path(folder) / f"{name}-{number}", urls, **keys)
                data.run("download")
                slowest, most = storm(data, way, args.count, number, whole_s / 3, rng)
                check(files_below(data.folder("samples")) == expected, f"{name}, signal {number}: other bytes (--seed {args.seed})")
                if number == signal.SIGUSR1:
                    check(slowest <= LONGEST_STOP_S, f"{name}: a stop took {slowest:.1f} s")
                print(f"{name}, {args.count} x signal {int(number)}: longest end {slowest:.2f} s, at most {most} shards twice", flush=True)
                shutil.rmtree(data.root)
        control = Data(Path(folder) / "control", urls, shard_records=args.shard_records + 1)
        control.run("download")
        control.run("clean")
        check(files_below(control.folder("samples")) != expected, "the comparison does not see a changed setting")
    print(f"ok: seed {args.seed}")


if __name__ == "__main__":
    main()
