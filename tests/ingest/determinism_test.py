#!/usr/bin/env python3
"""The data stages on real emoji: the bytes are the same for one task, a 3-task array, 2 MPI ranks and after kill -9 at
random moments; tar, tgz and zip give the same samples; a flipped bit is found. `--kills 20 --limit 0` is the long form."""
import argparse
import gzip
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from programs import BIN, SOURCE, check, write_recipe  # noqa: E402

CODEC = Path(os.environ.get("MICRODIT_TEST_CODEC", SOURCE / "assets/emoji_codec"))
TEXT_ENCODER = Path(os.environ.get("MICRODIT_DATA", SOURCE / "data")) / "weights/all-MiniLM-L6-v2"
ENV = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
       "OMPI_MCA_rmaps_base_oversubscribe": "1"}
for inherited in [name for name in ENV if name.startswith("SLURM_")]:
    del ENV[inherited]


class Line:
    """One data root and the three stages on it."""

    def __init__(self, root, made, tars):
        self.root, self.tars = root, tars
        (root / "made").mkdir(parents=True)
        (root / "made/emoji").symlink_to(made)
        write_recipe(root / "recipe.yaml", images={"codec": CODEC}, text={"encoder": TEXT_ENCODER})
        self.env = {**ENV, "MICRODIT_DATA": str(root)}

    def command(self, stage, *overrides):
        return [str(BIN / stage), "--config", str(SOURCE / "configs/datasets/emoji.yaml"),
                f"source.urls=['file://{self.root}/made/emoji/emoji-{{0000..{self.tars - 1:04d}}}.tar']", "shard_records=16",
                f"recipe={self.root}/recipe.yaml", *overrides]

    def run(self, stage, *overrides, prefix=(), expected=0):
        done = subprocess.run([*prefix, *self.command(stage, *overrides)], env=self.env, cwd=SOURCE, text=True,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=600)
        check(done.returncode == expected, f"{stage} {overrides}: exit {done.returncode}, not {expected}\n{done.stderr}")
        return done.stderr

    def hash(self, stage):
        """Of every file below the stage's folder, hidden ones too: names and contents."""
        folder = self.root / {"download": "raw", "clean": "samples", "precompute": "latents"}[stage] / "emoji"
        total = hashlib.sha256()
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            total.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return total.hexdigest()

    def storm(self, stage, kills, longest_s, rng):
        """Kills the stage `kills` times while it lives, starting it again each time; then lets it finish."""
        hits = 0
        while hits < kills:
            process = subprocess.Popen(self.command(stage), env=self.env, cwd=SOURCE, start_new_session=True,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(rng.uniform(0, longest_s))
            if process.poll() is None:
                hits += 1
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
            if process.returncode == 0:  # it was done: begin anew
                shutil.rmtree(self.root / {"download": "raw", "clean": "samples", "precompute": "latents"}[stage])
            else:
                check(process.returncode == -signal.SIGKILL, f"{stage}: exit {process.returncode}")
        self.run(stage)


def same_samples_from(kind, folder, made, tars, reference):
    """The same records packed as tgz or zip give the same columns."""
    import h5py

    packed = folder / f"packed_{kind}"
    packed.mkdir()
    for i in range(tars):
        tar = made / f"emoji-{i:04d}.tar"
        target = packed / f"emoji-{i:04d}.{kind}"
        if kind == "tgz":
            target.write_bytes(gzip.compress(tar.read_bytes(), mtime=0))
            continue
        with tarfile.open(tar) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
            for member in source:
                out.writestr(member.name, source.extractfile(member).read())
    line = Line(folder / kind, made, tars)
    overrides = (f"source.urls=['file://{packed}/emoji-{{0000..{tars - 1:04d}}}.{kind}']", f"archive={kind}")
    for stage in ("download", "clean"):
        line.run(stage, *overrides)
    shards = sorted((reference / "samples/emoji").glob("*.h5"))
    check(len(shards) == len(list((line.root / "samples/emoji").glob("*.h5"))) > tars, f"{len(shards)} shards")
    for shard in shards:
        with h5py.File(shard) as a, h5py.File(line.root / "samples/emoji" / shard.name) as b:
            for column in a:
                check((a[column][()] == b[column][()]).all(), f"{kind}: {shard.name}: {column}")


def check_latents(root):
    """Stock h5py reads what the design promises."""
    import h5py
    import numpy as np

    seen = 0
    folder = root / "latents/emoji/emoji"
    for shard in sorted((root / "samples/emoji").glob("*.h5")):
        with h5py.File(shard) as samples, h5py.File(folder / f"{shard.stem}.images.h5") as images, \
                h5py.File(folder / f"{shard.stem}.text.h5") as text:
            n = len(samples["width"])
            check(images["latents_64"].dtype == np.float16 and images["latents_64"].shape == (n, 4, 8, 8), shard.name)
            check(images["latents_128"].shape == (n, 4, 16, 16) and images["latents_64"].chunks is None, shard.name)
            check((images["latents_64_row"][()] == np.arange(n)).all(), shard.name)
            check((images["width"][()] == samples["width"][()]).all() and (images["split"][()] == samples["split"][()]).all(), shard.name)
            offsets, rows, source = (text[c][()] for c in ("caption_offsets", "caption_rows", "caption_source"))
            strings = {}
            for file, column in ((text, "text_caption"), (samples, "caption.name"), (samples, "caption.name_and_keywords"),
                                 (images, "key"), (samples, "key")):
                ends = file[column + "_offsets"][()]
                data = file[column][()].tobytes()
                strings[column, file is samples] = [data[a:b].decode() for a, b in zip(ends, ends[1:])]
            unique = strings["text_caption", False]
            check(strings["key", True] == strings["key", False], f"{shard.name}: the rows are in another order")
            check(len(set(unique)) == len(unique) == text["text"].shape[0], f"{shard.name}: captions are not unique")
            check(text["text"].shape[1:] == (24, 384) and text["text_ids"].shape == (len(unique), 24), shard.name)
            names, long = (strings[column, True] for column in ("caption.name", "caption.name_and_keywords"))
            for i in range(n):
                mine = [(source[k], unique[rows[k]]) for k in range(offsets[i], offsets[i + 1])]
                check(mine == [(0, names[i]), (1, long[i])], f"{shard.name} {i}")
            check(sorted(strings["key", True]) != strings["key", True] or n < 8, f"{shard.name}: the rows are as in the archive")
            seen += n
    return seen


def flipped_bit_is_found(root, made, tars):
    import h5py

    line = Line(root, made, tars)
    for stage in ("download", "clean"):
        line.run(stage)
    shard = sorted((root / "samples/emoji").glob("*.h5"))[1]
    with h5py.File(shard) as f:
        at = f["image"].id.get_offset() + int(f["image_offsets"][3]) + 20
    data = bytearray(shard.read_bytes())
    data[at] ^= 4
    shard.write_bytes(data)
    log = line.run("precompute", expected=2)
    check(shard.name in log and "sample 3 is damaged" in log, log)
    data[at] ^= 4
    shard.write_bytes(data)
    line.run("precompute")  # the control


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=5, help="kill -9 per stage")
    parser.add_argument("--limit", type=int, default=120, help="pictures; 0 = all")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    args = parser.parse_args()
    tars = 6
    folder = Path(tempfile.mkdtemp(prefix="microdit_line_"))
    try:
        made = folder / "made"
        making = subprocess.run([sys.executable, str(SOURCE / "scripts/make_emoji_dataset.py"), "--out", str(made), "--tars", str(tars),
                                 "--limit", str(args.limit)], capture_output=True, text=True)
        if making.returncode != 0:
            print(f"skipped: no emoji data: {making.stderr.strip().splitlines()[-1]}")
            sys.exit(77)
        stages = ["download", "clean"]
        if (CODEC / "config.json").exists() and TEXT_ENCODER.exists():
            stages.append("precompute")
        else:
            print(f"without precompute: {CODEC} or {TEXT_ENCODER} is not there")

        one = Line(folder / "one", made, tars)
        durations = {}
        for stage in stages:
            start = time.monotonic()
            one.run(stage)
            durations[stage] = time.monotonic() - start
        expected = {stage: one.hash(stage) for stage in stages}
        for stage in stages:  # run again: nothing to do, nothing changes
            one.run(stage)
            check(one.hash(stage) == expected[stage], f"{stage}: a second run changed its folder")

        array = Line(folder / "array", made, tars)
        for stage in stages:
            tasks = [subprocess.Popen(array.command(stage, f"task={task}/3"), env=array.env, cwd=SOURCE, text=True,
                                      stderr=subprocess.PIPE) for task in range(3)]  # all at once, as an array runs
            for task in tasks:
                _, log = task.communicate(timeout=600)
                check(task.returncode == 0, f"{stage}: a task of the array: exit {task.returncode}\n{log}")
            check(array.hash(stage) == expected[stage], f"{stage}: a 3-task array gives other bytes")

        if shutil.which("mpirun"):
            ranks = Line(folder / "ranks", made, tars)
            for stage in stages:
                ranks.run(stage, prefix=("mpirun", "-n", "2"))
                check(ranks.hash(stage) == expected[stage], f"{stage}: 2 ranks give other bytes")

        stormy, rng = Line(folder / "storm", made, tars), random.Random(args.seed)
        for stage in stages:
            longest_s = max(durations[stage] * 5 / args.kills, min(durations[stage], 2))  # in all, lives of a few runs
            stormy.storm(stage, args.kills, longest_s, rng)
            check(stormy.hash(stage) == expected[stage], f"{stage}: other bytes after kill -9 (--seed {args.seed})")

        other = Line(folder / "other", made, tars)
        for stage in ("download", "clean"):
            other.run(stage, "splits.seed=7")
        check(other.hash("clean") != expected["clean"], "the hash does not see a changed setting")  # the control

        for kind in ("tgz", "zip"):
            same_samples_from(kind, folder, made, tars, one.root)
        if "precompute" in stages:
            check(check_latents(one.root) > 0, "no latents")
            flipped_bit_is_found(folder / "flip", made, tars)
    finally:
        shutil.rmtree(folder)
    print(f"ok: {', '.join(stages)}; {args.kills} kills each; seed {args.seed}")


if __name__ == "__main__":
    main()
