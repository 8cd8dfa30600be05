#!/usr/bin/env python3
"""Every entry, and the three to copy from, from their sources to latents: once undisturbed, once killed at random moments of its work in all three
stages, each time followed by the same command. The bytes are the same, nothing is left behind.

kills_test.py [NAME ...] [--kills N] [--seed N]   (all without a name; N of each: 5, or MICRODIT_KILLS)"""
import argparse
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time

from entries import SOURCE, Source, check, miniature, two_at_a_time
from programs import BIN, files_below, skip, write_recipe
from template_layouts import TEMPLATES
from tiny_bert import make_bert

STAGES = {"download": "raw", "clean": "samples", "precompute": "latents"}
SLOW_DISK = pathlib.Path(os.environ.get("MICRODIT_FAULTY_DISK", BIN.parent / "tests/libfaulty_disk.so")).parent / "libslow_disk.so"
SLOW_MS = {"fashion_mnist": 120, "image_folder": 15}  # an open or a read, where a folder is the source: nobody sends it, so its disk is slow
PICTURES = {"cifar10": 16, "fashion_mnist": 20}
LONGEST_TRANSFER_S = 1.5
TRIES = 12  # lives per kill: where one ended before its moment all begins anew


class Line:
    """One entry, the networks of `recipe`, and one data root after the other."""

    def __init__(self, root, name, recipe):
        self.source, self.words = Source(root, name, pictures=PICTURES.get(name, 10)), ["shard_records=3", "filters.max_damaged_fraction=1", f"recipe={recipe}"]
        sizes = [path.stat().st_size for path in self.source.made.rglob("*") if path.is_file()]
        self.source.server.rate = int(max(sizes) / (1 + LONGEST_TRANSFER_S))  # the first second's worth comes at once
        self.sessions = []

    def restart(self, kind):
        self.source.data = self.source.root / kind
        self.source.data.mkdir()
        (self.source.root / f"{kind}.tmp").mkdir()
        if self.source.name == "sa1b":
            self.source.server.write_links(self.source.data / "sa1b_links.txt")

    def folder(self, stage):
        return self.source.data / STAGES[stage] / self.source.name

    def start(self, stage):
        environment = self.source.environment() | {"TMPDIR": f"{self.source.data}.tmp"}
        if stage == "download" and self.source.name in SLOW_MS:
            folder = self.source.words[0].removeprefix("source.folder=")
            environment |= {"LD_PRELOAD": str(SLOW_DISK), "MICRODIT_SLOW_DISK": folder, "MICRODIT_SLOW_MS": str(SLOW_MS[self.source.name])}
        with open(self.source.root / f"{stage}.log", "wb") as log:
            life = subprocess.Popen(self.source.command(stage, *self.words), env=environment, cwd=SOURCE, stdout=log, stderr=log, start_new_session=True)
        self.sessions.append(life.pid)
        return life

    def require(self, life, stage, codes=(0,)):
        log = (self.source.root / f"{stage}.log").read_text(errors="replace")
        check(life.wait() in codes, f"{self.source.name}: {stage}: exit {life.returncode}\n{log}")

    def begun(self, stage):
        """A life of `stage` that has just written for the first time, or has ended."""
        before = state(self.folder(stage))
        life = self.start(stage)
        while life.poll() is None and state(self.folder(stage)) == before:
            time.sleep(0.002)
        return life

    def measured(self, stage):
        """Seconds from the first write of an undisturbed life to its end."""
        life = self.begun(stage)
        begin = time.monotonic()
        self.require(life, stage)
        return time.monotonic() - begin

    def kill(self, stage, draw, longest_s):
        """A life that ends by SIGKILL in the midst of its work, alone or with all that it started. False: it was done before."""
        life = self.begun(stage)
        time.sleep(draw.uniform(0, longest_s))
        how = draw.choice([os.kill, os.killpg])
        if life.poll() is None:
            how(life.pid, signal.SIGKILL)
        self.require(life, stage, (0, -signal.SIGKILL))
        return life.returncode != 0 and not any(self.folder(stage).rglob("manifest.jsonl"))

    def storm(self, stage, kills, draw, took):
        """Kills that hit a life, each followed by the same command. How many came while a file was being written."""
        amid = hits = 0
        for _ in range(TRIES * kills):
            if hits == kills:
                break
            if self.kill(stage, draw, took / max(1, kills - 1)):  # what a life has published the next need not do
                hits += 1
                amid += any(pathlib.Path(path).name.startswith(".") for path, *_ in state(self.folder(stage)))
            else:
                shutil.rmtree(self.folder(stage))
                hits, amid, took = 0, 0, 0.8 * took  # the machine may have been slower when it was measured
        check(hits == kills, f"{self.source.name}: {stage}: {hits} of {kills} kills in {TRIES * kills} lives")
        self.require(self.start(stage), stage)
        return amid

    def left(self):
        """Every file of the data root but the quota that processes share, and of the folder for temporary ones."""
        found = {name: data for name, data in files_below(self.source.data).items() if not name.startswith("raw/.quota_") and name != "sa1b_links.txt"}
        return found | files_below(f"{self.source.data}.tmp")

    def require_gone(self):
        """Nothing that a killed life started lives on."""
        alive = []
        for _ in range(100):
            alive = [pid for pid, session in sessions() if session in self.sessions]
            if not alive:
                break
            time.sleep(0.1)
        check(not alive, f"{self.source.name}: of killed lives there are still {alive}")


def state(folder):
    """Of every file below: name, size, time."""
    found, folders = set(), [folder]
    while folders:
        try:
            for entry in os.scandir(folders.pop()):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    about = entry.stat(follow_symlinks=False)
                    found.add((entry.path, about.st_size, about.st_mtime_ns))
        except OSError:  # gone meanwhile
            continue
    return found


def sessions():
    """(process, session) of all that live."""
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            yield int(stat.parent.name), int(fields[3])


def killed(scratch, name, recipe, kills, seed):
    draw = random.Random(f"{name} {seed}")
    line = Line(scratch / name, name, recipe)
    with line.source:
        line.restart("whole")
        took = {stage: line.measured(stage) for stage in STAGES}
        wanted = line.left()
        check(sum(file.endswith(".h5") for file in wanted) >= 9, f"{name}: {sorted(wanted)}")
        stages = list(STAGES)
        stages += draw.choices(stages, took.values(), k=max(0, kills - len(stages)))
        line.restart("killed")
        amid = {stage: line.storm(stage, stages.count(stage), draw, took[stage]) for stage in STAGES}
        found = line.left()
        check(sorted(found) == sorted(wanted), f"{name} --seed {seed}: missing or left behind: {sorted(set(found) ^ set(wanted))}")
        other = [file for file, data in wanted.items() if found[file] != data]
        check(not other, f"{name} --seed {seed}: other bytes: {other}")
        line.require_gone()
        said = ", ".join(f"{stage} {stages.count(stage)} ({amid[stage]} amid a file) in {took[stage]:.2f} s" for stage in STAGES)
        print(f"{name}: {len(wanted)} files; kills: {said}; {len(line.sessions)} lives", flush=True)


def main():
    names = [*miniature.LAYOUTS, *TEMPLATES]
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--kills", type=int, default=int(os.environ.get("MICRODIT_KILLS", 5)), help="of each entry, at least one per stage")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    words = parser.parse_args()
    check(set(words.names) <= set(names), f"names: {names}")
    if not SLOW_DISK.exists():
        skip(f"{SLOW_DISK} is not built")
    print(f"--seed {words.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="microdit_kills_") as scratch:
        scratch = pathlib.Path(scratch)
        make_bert(scratch / "bert", 8, 16)
        recipe = write_recipe(scratch / "recipe.yaml", images={"codec": SOURCE / "assets/emoji_codec", "sizes": [64]}, text={"encoder": scratch / "bert", "length": 16})
        two_at_a_time([(killed, scratch, name, recipe, words.kills, words.seed) for name in words.names or names])
    print("ok")


if __name__ == "__main__":
    main()
