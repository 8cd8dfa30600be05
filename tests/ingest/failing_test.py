#!/usr/bin/env python3
"""Failing items stop no other: 200 files, three of them missing at the source, one with another hash, two no whole archives.
Every command that a message prints is then done as printed."""
import hashlib
import http.server
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from programs import SOURCE, check  # noqa: E402
from small_archives import Data, files_of, tar_bytes  # noqa: E402

FILES = 200
MISSING, DAMAGED, OTHER_HASH = (3, 77, 141), (12, 150), 99
BAD_DOWNLOADS = sorted((*MISSING, OTHER_HASH))


def name(i):
    return f"part-{i:04d}"


class Server(http.server.ThreadingHTTPServer):
    """One archive per name; what is not in `files` is 404. Counts what is asked for."""
    daemon_threads = True

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked = files, []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        file = self.path[1:]
        self.server.asked.append(file)
        body = self.server.files.get(file)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")


def untouched(before, after, but=()):
    for file, state in before.items():
        if not any(word in file for word in but):
            check(after.get(file) == state, f"{file} was touched")


def named(log, items):
    for item in items:
        check(item in log, f"{item} is not named\n{log}")


def records(folder):
    return sorted(p.stem for p in (folder / "records").glob("*.json") if ".failed" not in p.name)


def failed(folder):
    return sorted(p.name.removesuffix(".failed.json") for p in (folder / "records").glob("*.failed.json"))


def do_as_printed(log, folder):
    """Every "rm FILE" of the log, once."""
    commands = sorted(set(re.findall(r"rm /\S+", log)))
    for command in commands:
        check(str(folder) in command, command)
        subprocess.run(shlex.split(command), check=True, cwd=SOURCE)
    return commands


def downloads(data, server, files):
    raw = data.folder("raw")
    log = data.run("download", expect=2)
    check(len(records(raw)) == FILES - len(BAD_DOWNLOADS), f"{len(records(raw))} files are there")
    named(log, [name(i) + ".tar: " for i in BAD_DOWNLOADS])
    check("max_failed_items=4" in log, log)
    check(failed(raw) == [name(i) + ".tar" for i in BAD_DOWNLOADS], failed(raw))
    check(not (raw / "manifest.jsonl").exists(), "closed without four files that nobody allowed to miss")
    reason = json.loads((raw / "records" / f"{name(3)}.tar.failed.json").read_text())
    check(reason["attempts"] == 2 and "404" in reason["reason"], reason)

    before = files_of(raw)
    server.asked.clear()
    data.run("download", expect=2)
    check(sorted(set(server.asked)) == [name(i) + ".tar" for i in BAD_DOWNLOADS], f"asked for {sorted(set(server.asked))[:9]}")
    untouched(before, files_of(raw), but=[".failed.json"])
    data.run("download", "max_failed_items=3", expect=2)

    log = data.run("download", "max_failed_items=4")  # as the message said
    named(log, [name(i) + ".tar" for i in BAD_DOWNLOADS])
    untouched(before, files_of(raw), but=[".failed.json"])
    head = json.loads((raw / "manifest.jsonl").read_text().splitlines()[0])
    check(sorted(head["failed"]) == [name(i) + ".tar" for i in BAD_DOWNLOADS] and head["generation"] == 1, head)
    check(str(data.root) not in json.dumps(head), "the manifest says where the data lie")


def main():
    with tempfile.TemporaryDirectory(prefix="microdit_failing_") as folder:
        files = {name(i) + ".tar": tar_bytes(3 * i, 3) for i in range(FILES)}
        good = dict(files)
        for i in MISSING:
            del files[name(i) + ".tar"]
        for i in DAMAGED:  # the archive is cut, and the server says that this is all
            files[name(i) + ".tar"] = files[name(i) + ".tar"][:2000]
        server = Server(files)
        wrong = {f"{name(OTHER_HASH)}.tar": hashlib.sha256(b"another file").hexdigest()}
        url = f"http://127.0.0.1:{server.server_port}/part-{{0000..{FILES - 1:04d}}}.tar"
        data = Data(Path(folder), [url])
        data.entry.write_text(data.entry.read_text().replace("backoff_s: 0", f"backoff_s: 0, sha256: {json.dumps(wrong)}"))
        downloads(data, server, files)

        samples, raw = data.folder("samples"), data.folder("raw")
        # With MPI a failing item of one rank harms no other.
        log = data.run("clean", ranks=2 if shutil.which("mpirun") else 1, expect=2)
        check(len(records(samples)) == FILES - 6, f"{len(records(samples))} archives are done")
        named(log, [name(i) + ": " for i in DAMAGED])
        before = files_of(samples)
        log = data.run("clean", expect=2)
        untouched(before, files_of(samples), but=[".failed.json"])
        check(failed(samples) == [name(i) for i in DAMAGED], failed(samples))
        data.run("clean", "max_failed_items=0.005", expect=2)  # below one: a fraction, here 0.98 of 196
        closing = data.run("clean", "max_failed_items=0.011")  # 2.2 of 196
        named(closing, [name(i) for i in DAMAGED])
        untouched(before, files_of(samples), but=[".failed.json"])
        head = json.loads((samples / "manifest.jsonl").read_text().splitlines()[0])
        check(sorted(head["failed"]) == [name(i) for i in DAMAGED], head)

        # The sources are mended. What the messages say leads on, without a circle.
        files.update(good)
        data.entry.write_text(data.entry.read_text().replace(wrong[f"{name(OTHER_HASH)}.tar"],
                                                             hashlib.sha256(good[f"{name(OTHER_HASH)}.tar"]).hexdigest()))
        check(len(do_as_printed(log, raw)) == len(DAMAGED), log)
        server.asked.clear()
        before_raw = files_of(raw)
        data.run("download")
        check(len(set(server.asked)) == 6, f"asked for {sorted(set(server.asked))}")
        untouched(before_raw, files_of(raw), but=["manifest.jsonl", *(name(i) for i in (*BAD_DOWNLOADS, *DAMAGED))])
        data.run("clean")
        untouched(before, files_of(samples), but=["manifest.jsonl", ".failed.json"])
        head = json.loads((samples / "manifest.jsonl").read_text().splitlines()[0])
        check(head["failed"] == {} and head["generation"] == 2, head)
        check(len(records(samples)) == FILES and not failed(samples) and not failed(raw), "not all are there")
        check((samples / "manifest.1.jsonl").exists(), "the first generation is gone")
    print(f"ok: {FILES} files, 6 of them bad")


if __name__ == "__main__":
    main()
