#!/usr/bin/env python3
"""What lies in a raw folder: names of its own, hidden files, items of nobody, partial files; and what a dry run knows of it."""
import hashlib
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from hostile_server import Download, Server, check, mark, wait_until
import programs
from programs import DONE, REQUEUE, USER_MISTAKE
from small_archives import png, tar_bytes

COMMIT = "a" * 40


class Folder:
    """A data root with a folder source of loose pictures with captions."""

    def __init__(self, pattern, top="", archive="none"):
        self.root = Path(tempfile.mkdtemp(prefix="microdit_raw_"))
        self.source, self.data, self.config = self.root / "in", self.root / "data", self.root / "t.yaml"
        self.source.mkdir()
        self.raw = self.data / "raw/t"
        self.config.write_text(f"name: t\nsource: {{folder: {self.source}, pattern: {pattern}}}\narchive: {archive}\n{top}")

    def add(self, name, seed=1, captions="txt"):
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(16, seed))
        text = f"picture {seed}"
        path.with_suffix("." + captions).write_text(text if captions == "txt" else json.dumps({"t": text}))

    def run(self, stage, *words, expect=DONE):
        return programs.run(stage, "--config", self.config, *words, data=self.data, expect=expect)

    def kept(self):
        return sum(shard["rows"] for line in (self.data / "samples/t/manifest.jsonl").read_text().splitlines()[1:-1]
                   for shard in json.loads(line)["shards"])

    def remove(self):
        shutil.rmtree(self.root)


class Hub(Server):
    """One commit with `files`: path -> bytes."""

    def __init__(self, files):
        super().__init__({})
        self.files, self.answers = files, self

    def __getitem__(self, path):
        def answer(handler, _):
            if "/revision/" in path:
                return handler.whole(json.dumps({"sha": COMMIT}).encode())
            if "/tree/" in path:
                return handler.whole(json.dumps([{"type": "file", "path": p, "size": len(b)} for p, b in self.files.items()]).encode())
            return handler.whole(self.files[path.split(COMMIT + "/")[1]])
        return answer


def own_names():
    """A source's facts.json, manifest.jsonl, records and hub.json lie beside the folder's own, which stay."""
    case = Folder("['*']", "record: {caption: {t: 'json:t'}}\n")
    for i, name in enumerate(("a", "facts", "manifest", "hub", "records")):
        case.add(f"{name}.png", i, captions="json")
    for name in ("manifest.jsonl", "manifest.1.jsonl", "records"):
        (case.source / name).write_text("not ours")
    case.run("download")
    log = case.run("download")
    check("is complete (generation 1)" in log, log)
    check(json.loads((case.raw / "facts.json").read_text())["stage"] == "raw" and (case.raw / "records").is_dir(), "facts")
    case.run("clean")
    check(case.kept() == 5, f"{case.kept()} of 5 records")
    case.remove()
    server = Server({"/facts.json": lambda h, _: h.ranged(b'{"stage": "raw", "format": 2, "dataset": "t", "subset": "all", "evil": 1}')})
    case = Download([f"{server.url}/facts.json"])
    case.run()
    check("evil" not in (case.raw / "facts.json").read_text() and case.left() == [f"facts_-{mark('facts')}.json"], case.left())
    case.run()
    case.remove()
    server.shutdown()


def hidden_files():
    """As in archives: what lies hidden, and a Mac's twins, are no records; a pattern that writes the dot means them."""
    case = Folder("['**/*.png', '**/*.txt']")
    for i in range(3):
        case.add(f"d/p{i}.png", i)
        for name in (f"d/._p{i}", f"d/.cache/q{i}", f"__MACOSX/r{i}"):
            case.add(f"{name}.png", i)
            (case.source / f"{name}.png").write_bytes(b"\0\5\26\7")
    case.run("download")
    case.run("clean")
    check(case.kept() == 3 and len(list(case.raw.glob("*.png"))) == 3, f"{case.kept()} records of 3")
    log = case.run("download", "source.pattern=['d/._*.png','d/.cache/*.png']", "name=other")
    check(len(list((case.data / "raw/other").glob("*.png"))) == 6, log)
    case.remove()


def items_of_nobody():
    """A folder with items that the entry does not name is refused before anything is fetched."""
    hub = Hub({f"data/{i}.bin": bytes([i]) * 1000 for i in range(4)})
    case = Download("hub: org/name\n  pattern: ['data/*.bin']")
    case.run(MICRODIT_HUB=hub.url)
    for file in case.left():  # as they were called once
        number = file.split("_")[1]
        record = case.raw / "records" / f"{file}.json"
        (case.raw / "records" / f"data_{number}.json").write_text(record.read_text().replace(file, f"data_{number}"))
        record.unlink()
        (case.raw / file).rename(case.raw / f"data_{number}")
    before, asked = case.left(), len(hub.seen)
    log = case.run(MICRODIT_HUB=hub.url, expected=2)
    check("4 items that the entry does not name" in log and "data_0.bin" in log and "records/ITEM.json" in log, log)
    check(case.left() == before and len(hub.seen) == asked, "fetched for nothing")
    case.remove()
    hub.shutdown()


def named_by_path():
    """source.small and source.sha256 name a file as its source does, or as raw/ does; a miss names the nearest."""
    hub = Hub({f"data/train/{i:03}.bin": b"x" * 1000 for i in range(4)})
    digest, folder = hashlib.sha256(b"x" * 1000).hexdigest(), f"data_train-{mark('data/train/')}"
    for name in ("data/train/{000..001}.bin", folder + "_{000..001}.bin"):
        case = Download("hub: org/name\n  pattern: ['data/train/*.bin']", f"small: ['{name}']")
        case.run("subset=small", "source.sha256={data/train/001.bin: '" + digest + "'}", MICRODIT_HUB=hub.url)
        check(sorted(p.name for p in (case.data / "raw").glob("t*/*.bin")) == [f"{folder}_{i:03}.bin" for i in range(2)], name)
        log = case.run("subset=small", "name=u", "source.sha256={data/train/001.bin: '" + "0" * 64 + "'}", MICRODIT_HUB=hub.url, expected=2)
        check("source.sha256 says 0000" in log, log)
        log = case.run("subset=small", "name=v", "source.small=[000.bin]", MICRODIT_HUB=hub.url, expected=2)
        check(f"most like it is data/train/000.bin, under raw/ {folder}_000.bin" in log, log)
        case.remove()
    hub.shutdown()


def dry_run_stops():
    """A dry run that waits for a server ends when it is told to."""
    server = Server({"/a.bin": lambda h, _: time.sleep(30)})
    hub = Hub({})
    hub.answers = {"/api/datasets/org/name/revision/main": lambda h, _: time.sleep(30)}
    for source, asked, words in (([f"{server.url}/a.bin"], server, {}), ("hub: org/name\n  pattern: ['*']", hub, {"MICRODIT_HUB": hub.url})):
        case = Download(source)
        process = case.start("--dry-run", **words)
        wait_until(lambda: asked.seen, "a request")
        process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        log, _ = process.communicate(timeout=60)
        check(time.monotonic() - begin < 10 and process.returncode == REQUEUE and "dry run was stopped" in log,
              f"{time.monotonic() - begin:.1f} s, exit {process.returncode}: {log}")
        case.remove()
    server.shutdown()
    hub.shutdown()


def dry_run_reads_as_clean_does():
    """A loose file that is no record's, it is so large, costs the dry run no memory and no hours."""
    case = Folder("['*']", "filters: {max_damaged_fraction: 1}\n")
    with open(case.source / "a.png", "wb") as file:
        file.truncate(300 << 20)
    (case.source / "a.txt").write_text("x")
    case.add("b.png")
    case.run("download")
    code, log, kib, _ = programs.run_measured([programs.BIN / "clean", "--config", case.config, "--dry-run"], case.data)
    check(code == DONE and "about 2 records" in log and kib < 250 << 10, f"exit {code}, {kib >> 10} MiB: {log}")
    case.remove()


def dry_run_knows_what_is_done():
    """Raw files that clean removed are not fetched again; what is pinned is not asked for."""
    case = Folder("['*.tar']", "keep_raw: false\n", archive="tar")
    (case.source / "a.tar").write_bytes(tar_bytes(0, 3))
    case.run("download")
    case.run("clean")
    check(not (case.raw / "a.tar").exists(), "keep_raw: false")
    log = case.run("download", "--dry-run")
    check("1 of them are there already" in log and "to read" not in log, log)
    (case.raw / "records/a.tar.gone").unlink()
    log = case.run("download", "--dry-run")
    check("0 of them are there already" in log and "to read" in log, log)
    case.remove()
    hub = Hub({"a.bin": b"1"})
    case = Download("hub: org/name\n  pattern: ['*']")
    case.run(MICRODIT_HUB=hub.url)
    asked = len(hub.seen)
    log = case.run("--dry-run", MICRODIT_HUB=hub.url)
    check("1 of them are there already" in log and len(hub.seen) == asked, log)
    case.remove()
    hub.shutdown()


def partial_files():
    """A folder that is closed keeps no partial file that nobody names; that of a file it is closed without, whoever tries it again goes on with."""
    body = bytes(range(256)) * 8000

    def breaks(handler, _):
        if handler.offset() == 0:
            return handler.ranged(body, send=700_000)
        return handler.raw("Content-Length: 0", status="500 No")
    server = Server({"/a.bin": breaks, "/z.bin": lambda h, _: h.ranged(b"ok")})
    case = Download([f"{server.url}/a.bin", f"{server.url}/z.bin"], "max_attempts: 2")
    case.run(expected=USER_MISTAKE)
    check((case.raw / ".a.bin.part").stat().st_size == 700_000, "the next life goes on with it")
    for name in (".other.bin.part", ".other.bin.part.etag", ".gone.bin.part.etag"):
        (case.raw / name).write_text("1")
    case.run("max_failed_items=1")
    check(case.left() == [".a.bin.part", ".a.bin.part.etag", "z.bin"], case.left())
    case.remove()
    server.shutdown()


def archives_with_a_taken_stem():
    """x.part.tar and x.failed.tar are archives like others."""
    case = Folder("['*']", archive="tar")
    for i, name in enumerate(("x.tar", "x.part.tar", "x.failed.tar")):
        (case.source / name).write_bytes(tar_bytes(10 * i, 2, side=16))
    case.run("download")
    case.run("clean")
    check(case.kept() == 6, f"{case.kept()} of 6 records")
    case.remove()


def main():
    for case in (own_names, hidden_files, items_of_nobody, named_by_path, dry_run_stops, dry_run_reads_as_clean_does,
                 dry_run_knows_what_is_done, partial_files, archives_with_a_taken_stem):
        if not sys.argv[1:] or case.__name__ in sys.argv[1:]:
            case()
    print("ok")


if __name__ == "__main__":
    main()
