#!/usr/bin/env python3
"""precompute from end to end: pictures a second and how busy it keeps the cores: precompute_bench.py [PICTURES [SIDE]]. Ways: a rank per
core, and one rank with a thread per core. CPU time is of all its processes, start and end included. Wants 90 %."""
import io
import os
import pathlib
import resource
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "ingest")]
from picture_bench import photo  # noqa: E402
from programs import SOURCE, write_recipe  # noqa: E402
from small_archives import Data  # noqa: E402
from tiny_bert import make_bert  # noqa: E402


def archive(path, picture, first, count):
    """`picture` so many times, with captions."""
    with tarfile.open(path, "w") as tar:
        for i in range(first, first + count):
            for ending, data in (("jpg", picture), ("txt", f"a photograph, number {i}, of waves and of noise".encode())):
                member = tarfile.TarInfo(f"{i:07d}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def cpu_s():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main():
    pictures = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    side = int(sys.argv[2]) if len(sys.argv) > 2 else 128
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="microdit_bench_") as place:
        root = pathlib.Path(place)
        out = io.BytesIO()
        photo(480, 640).save(out, "JPEG", quality=90)
        for i in range(8):
            archive(root / f"{i}.tar", out.getvalue(), i * pictures // 8, pictures // 8)
        make_bert(root / "bert", 384, 64)
        recipe = root / "r.yaml"
        write_recipe(recipe, name="r", images={"codec": f"{SOURCE}/assets/emoji_codec", "sizes": [side]}, text={"encoder": root / "bert", "length": 24})
        data = Data(root / "d", [f"file://{root}/{i}.tar" for i in range(8)], recipe=recipe, shard_records=pictures // 16)
        data.run("download")
        data.run("clean")
        for way, ranks, words in (("a rank per core", cores, []), ("a thread per core", 1, [f"threads_per_rank={cores}", f"decode_workers={cores}"])):
            subprocess.run(["rm", "-rf", str(data.folder("latents"))], check=True)
            began, before = time.monotonic(), cpu_s()
            log = data.run("precompute", *words, ranks=ranks)
            wall = time.monotonic() - began
            busy = (cpu_s() - before) / wall / cores
            print(f"{way:18} {cores} cores: {pictures / wall:7.1f} pictures/s, busy {100 * busy:5.1f} %, {wall:.1f} s")
            print("  " + log.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
