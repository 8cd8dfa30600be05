#!/usr/bin/env python3
"""Downloads on a file system without locks: fetched, continued where a stop left them, recorded as they lie."""
import errno
import hashlib
import json
import os
import random
import signal
import sys

sys.path.insert(0, os.path.dirname(__file__))
from hostile_server import Download, Server, check, wait_until  # noqa: E402
from programs import BIN  # noqa: E402

FAULTY_DISK = os.environ.get("MICRODIT_FAULTY_DISK", str(BIN.parent / "tests/libfaulty_disk.so"))
CONTENT = random.Random(5).randbytes(3_000_000)


def control():
    """A lock that another process holds is seen through the same library."""
    server = Server({"/a.bin": lambda h, _: h.ranged(CONTENT)})
    case = Download([f"{server.url}/a.bin"])
    log = case.run(expected=75, LD_PRELOAD=FAULTY_DISK, MICRODIT_FAULT=f"flock:/raw/:{errno.EWOULDBLOCK}")
    check("another process is still downloading" in log, log)
    case.remove()
    server.shutdown()


def main():
    control()
    for number in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
        disk = {"LD_PRELOAD": FAULTY_DISK, "MICRODIT_FAULT": f"flock:/raw/:{number}"}
        # Nothing more comes of the first answer until the client hangs up.
        server = Server({"/a.bin": lambda h, count: h.ranged(CONTENT, send=1_000_000) if count > 1 else (
            h.raw(f"Content-Length: {len(CONTENT)}", 'ETag: "v1"', body=CONTENT[:600_000]), h.rfile.read())})
        case = Download([f"{server.url}/a.bin"])
        process = case.start(**disk)
        partial = case.raw / ".a.bin.part"
        wait_until(lambda: partial.exists() and partial.stat().st_size > 0, "the first bytes")
        process.send_signal(signal.SIGTERM)
        log, _ = process.communicate(timeout=30)
        check(process.returncode == 75, f"exit {process.returncode}: {log}")
        begun = partial.stat().st_size
        case.run(**disk)
        ranges = [headers.get("range") for headers in server.requests("/a.bin")]
        check(ranges[:2] == [None, f"bytes={begun}-"], f"{os.strerror(number)}: {ranges}")
        check(case.left() == ["a.bin"] and (case.raw / "a.bin").read_bytes() == CONTENT, os.strerror(number))
        shard = json.loads((case.raw / "records/a.bin.json").read_text())["shards"][0]
        check(shard["sha256"] == hashlib.sha256(CONTENT).hexdigest(), shard)
        case.remove()
        server.shutdown()
    print("ok")


if __name__ == "__main__":
    main()
