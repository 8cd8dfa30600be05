#!/usr/bin/env python3
"""Slow pictures through the programs: a stop of precompute, decoders that die in it, a machine that kills decoders in clean."""
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from hostile_case import png, png_chunk  # noqa: E402
from programs import REQUEUE, SOURCE, USER_MISTAKE, check, run, skip, write_recipe  # noqa: E402
from small_archives import Data  # noqa: E402

PICTURES, SIDE = 4, 13000
CODEC = Path(os.environ.get("MICRODIT_TEST_CODEC", SOURCE / "assets/emoji_codec"))
TEXT_ENCODER = Path(os.environ.get("MICRODIT_DATA", SOURCE / "data")) / "weights/all-MiniLM-L6-v2"


def slow_picture():
    """Some 20 KB, interlaced, of one bit, with a transparent grey: seconds of decoding."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    pack = zlib.compressobj(9)
    rows = b"".join(pack.compress(bytes(1 + (-(-(SIDE - x) // dx) + 7) // 8) * -(-(SIDE - y) // dy)) for x, y, dx, dy in passes)
    return png(SIDE, SIDE, 1, 0, rows=rows + pack.flush(), before=[png_chunk(b"tRNS", b"\0\1")], interlace=1)


def archive():
    out, picture = io.BytesIO(), slow_picture()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for i in range(PICTURES):
            for ending, data in (("png", picture), ("txt", b"a word")):
                member = tarfile.TarInfo(f"{i:03d}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def decoders(process):
    """The processes that decode pictures for it."""
    found = []
    for task in Path(f"/proc/{process.pid}/task").glob("*/children"):
        for pid in task.read_text().split():
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"/ingest_worker") and b"pictures" in words:
                found.append(int(pid))
    return found


def while_decoding(data, stage, *words, act):
    """Calls act(process, its decoders) until that is true. The exit code, the log, seconds since."""
    process = subprocess.Popen(data.command(stage, *words), env=data.env, cwd=SOURCE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True)
    since = time.monotonic()
    while process.poll() is None:
        try:
            pids = decoders(process)
            if pids and act(process, pids):
                since = time.monotonic()
                break
        except (FileNotFoundError, ProcessLookupError):
            pass
        time.sleep(.02)
    log = process.communicate(timeout=300)[0]
    return process.returncode, log, time.monotonic() - since


def killed(process, pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return False  # the next one, too


def one_crash(process, pids):
    time.sleep(.5)  # it is among its first pictures
    os.kill(pids[0], signal.SIGSEGV)
    return True


def crashes(process, pids):
    for pid in pids:
        os.kill(pid, signal.SIGSEGV)
    return False  # the next one, too


def stop(process, pids):
    time.sleep(.5)
    process.send_signal(signal.SIGTERM)
    return True


def main():
    if not (CODEC / "config.json").exists() or not TEXT_ENCODER.exists():
        skip(f"{CODEC} or {TEXT_ENCODER} is not there")
    with tempfile.TemporaryDirectory(prefix="microdit_worker_limits_") as folder:
        root = Path(folder)
        (root / "a.tar").write_bytes(archive())
        recipe = write_recipe(root / "r.yaml", images={"codec": CODEC, "sizes": [64, 256]}, text={"encoder": TEXT_ENCODER})
        data = Data(root, [f"file://{root}/a.tar"], decode_workers=1)
        data.run("download")

        code, log, _ = while_decoding(data, "clean", act=killed)
        check(code not in (0, 2) and "was killed twice" in log and "memory" in log, f"exit {code}\n{log}")
        data.run("clean")
        details = json.loads((data.folder("samples") / "records/a.json").read_text())["details"]
        check(details["kept"] == PICTURES and not details["skipped"], details)

        code, log, seconds = while_decoding(data, "precompute", f"recipe={recipe}", act=stop)
        check(code == REQUEUE and seconds < 5, f"exit {code} {seconds:.1f} s after the stop\n{log}")

        code, log, _ = while_decoding(data, "precompute", f"recipe={recipe}", act=one_crash)
        check(code == 0 and "have no latents" not in log, f"exit {code}\n{log}")  # it was tried again
        record = next(data.folder("latents").rglob("a-00000.images.json"))
        details = json.loads(record.read_text())["details"]
        check(details["latents"] == {"64": PICTURES, "256": PICTURES} and not details["failed_pictures"], details)

        shutil.rmtree(data.folder("latents"))
        code, log, _ = while_decoding(data, "precompute", f"recipe={recipe}", act=crashes)
        check(code == USER_MISTAKE and "damaged.crashed 1 (e.g." in log and "filters.max_damaged_fraction" in log, f"exit {code}\n{log}")
        check(not record.exists() and record.with_name("a-00000.images.failed.json").exists(), log)
        code, log, _ = while_decoding(data, "precompute", f"recipe={recipe}", "filters.max_damaged_fraction=1", act=crashes)
        check(code == 0 and f"{PICTURES} of {PICTURES} pictures have no latents" in log, f"exit {code}\n{log}")
        said = run("doctor", "data", record.parents[1], env=data.env)
        check(f"{PICTURES} pictures have no latents, although clean accepted them: damaged.crashed {PICTURES} (e.g." in said, said)
    print("ok: killed, stopped, crashed once, crashed again and again")


if __name__ == "__main__":
    main()
