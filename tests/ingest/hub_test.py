#!/usr/bin/env python3
"""download from a hub on loopback: commit pinned, listing by pages, hashes and sizes from it, quotas shared, the cache read."""
import hashlib
import json
import os
import sys
import time

from hostile_server import Download, Server, check, mark

A, B = "a" * 40, "b" * 40
DATA, DATA_DEEP = f"data-{mark('data/')}", f"data_deep-{mark('data/deep/')}"


class Hub(Server):
    """Two commits of one repository; the listing comes in pages of 3; quotas by header."""

    def __init__(self):
        self.files = {f"data/part-{i:04d}.bin": bytes([i]) * (1000 + i) for i in range(7)}
        self.files["data/deep/x.bin"] = b"deep" * 100
        self.files["README.md"] = b"readme"
        self.head, self.remaining, self.reset = A, None, 1
        super().__init__({})
        self.answers = self

    def __getitem__(self, path):
        return lambda handler, count: self.serve(handler, path)

    def limits(self):
        if self.remaining is None:
            return []
        self.remaining = max(self.remaining - 1, 0)
        return [f'RateLimit: "resolvers";r={self.remaining};t={self.reset}', 'RateLimit-Policy: "fixed window";"resolvers";q=3;w=2']

    def serve(self, handler, path):
        api, resolve = "/api/datasets/org/name/", "/datasets/org/name/resolve/"
        if path == api + "revision/main":
            return handler.whole(json.dumps({"id": "org/name", "sha": self.head}).encode())
        if path.startswith(api + "tree/"):
            return self.serve_tree(handler, path.removeprefix(api + "tree/"))
        if path.startswith(resolve):
            _, name = path.removeprefix(resolve).split("/", 1)
            if self.remaining == 0:
                return handler.whole(b"", *self.limits(), status="429 Too Many Requests")
            return handler.whole(self.files[name], *self.limits())
        return handler.whole(b"", status="404 Not Found")

    def serve_tree(self, handler, rest):
        commit, _, folder = rest.partition("/")
        recursive = "recursive=true" in handler.path
        prefix = folder + "/" if folder else ""
        names = sorted(n for n in self.files if n.startswith(prefix) and (recursive or "/" not in n[len(prefix):]))
        at = int(handler.path.split("cursor=")[1]) if "cursor=" in handler.path else 0
        page = [{"type": "directory", "path": prefix + "deep", "size": 0, "oid": "0" * 40}] if at == 0 else []
        for name in names[at:at + 3]:
            body, entry = self.files[name], {"type": "file", "path": name, "oid": "1" * 40}
            entry["size"] = len(body)
            if name.endswith(".bin"):
                entry["lfs"] = {"oid": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130}
            page.append(entry)
        more = at + 3 < len(names)
        link = [f'Link: <{self.url}{handler.path.split("&cursor")[0]}&cursor={at + 3}>; rel="next"'] if more else []
        check(commit in (A, B), commit)
        handler.whole(json.dumps(page).encode(), *link)

    def paths(self, part):
        return [path for path, _ in self.seen if part in path]


def entry(hub, pattern, source="", **more):
    return Download(f"hub: org/name\n  pattern: {pattern}", source, **more)


def records(case):
    return {p.stem: json.loads(p.read_text()) for p in (case.raw / "records").glob("*.json")}


def pinned_and_listed(hub):
    case = entry(hub, "['data/*.bin']")
    case.run(MICRODIT_HUB=hub.url)
    check([p for p in case.left()] == [f"{DATA}_part-{i:04d}.bin" for i in range(7)], case.left())
    check(len(hub.paths("/tree/")) == 3 and not hub.paths("recursive=true"), hub.paths("/tree/"))
    check(not [h for _, h in hub.seen if "authorization" in h], "a token out of nothing")
    check(len(hub.seen) == 1 + 3 + 7, f"{len(hub.seen)} requests: {[p for p, _ in hub.seen]}")
    for name, record in records(case).items():
        inputs = record["details"]["inputs"]
        check(inputs["commit"] == A and inputs["hub"] == "org/name" and inputs["file"].startswith("data/part-"), inputs)
        check(hub.host not in json.dumps(record), f"{name}: the host is in the record")

    # main moves on; the pinned commit stays, nobody is asked. A new pattern asks again: what is the same keeps its commit.
    hub.head, asked = B, len(hub.seen)
    (case.raw / f"{DATA}_part-0003.bin").unlink()
    case.run(MICRODIT_HUB=hub.url)
    check([p for p, _ in hub.seen[asked:]] == [f"/datasets/org/name/resolve/{A}/data/part-0003.bin"], hub.seen[asked:])
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in case.raw.iterdir() if p.suffix == ".bin"}
    hub.files["data/part-0007.bin"] = b"new" * 500
    case.run("source.pattern=['data/*.bin','data/deep/x.bin']", MICRODIT_HUB=hub.url)
    for name, (mtime, body) in before.items():
        check((case.raw / name).stat().st_mtime_ns == mtime and (case.raw / name).read_bytes() == body, f"{name} was touched")
    commits = {name: record["details"]["inputs"]["commit"] for name, record in records(case).items()}
    check(commits[f"{DATA}_part-0007.bin"] == B and commits[f"{DATA_DEEP}_x.bin"] == B and commits[f"{DATA}_part-0000.bin"] == A, commits)
    check((case.raw / "manifest.2.jsonl").exists(), sorted(p.name for p in case.raw.iterdir()))
    del hub.files["data/part-0007.bin"]
    hub.head = A
    case.remove()


def patterns(hub):
    for pattern, names in (("['**/x.bin']", [f"{DATA_DEEP}_x.bin"]), ("['data/part-{0002..0003}.bin', README.md]", ["README.md", f"{DATA}_part-0002.bin", f"{DATA}_part-0003.bin"]),
                           ("['data/part-000[56].bin']", [f"{DATA}_part-0005.bin", f"{DATA}_part-0006.bin"])):
        case = entry(hub, pattern)
        case.run(MICRODIT_HUB=hub.url + "/")
        check(case.left() == names, f"{pattern}: {case.left()}")
        case.remove()
    case = entry(hub, "['data/*.tar']")
    log = case.run(MICRODIT_HUB=hub.url, expected=2)
    check("'data/*.tar': no such file in org/name@main" in log and not case.left(), log)
    case.remove()


def wrong_bytes(hub):
    """What the listing says of a file is what must come."""
    case = entry(hub, "['data/part-0001.bin', 'data/part-0002.bin']")
    case.run("--dry-run", MICRODIT_HUB=hub.url)
    check(not case.raw.exists(), "a dry run left something")
    real = hub.files["data/part-0001.bin"]
    listed = {**hub.files}
    tree = hub.serve_tree
    hub.serve_tree = lambda handler, rest: (setattr(hub, "files", listed), tree(handler, rest), setattr(hub, "files", served))
    for served_body, words in ((b"\x09" * len(real), "the hub says"), (real + b"x", "the listing says")):
        served = {**listed, "data/part-0001.bin": served_body}
        hub.files = served
        log = case.run(MICRODIT_HUB=hub.url, expected=2)
        check(words in log and "1 of 2 items failed" in log, log)
        check(case.left() == [f"{DATA}_part-0002.bin"], case.left())
    hub.files, hub.serve_tree = listed, tree
    case.remove()


def quotas(hub):
    """3 requests in 2 s: obeyed by two tasks together, 429 never seen twice in a row."""
    hub.remaining = 3
    import threading
    running = True

    def refill():
        while running:
            time.sleep(2)
            hub.remaining = 3
    threading.Thread(target=refill, daemon=True).start()
    case = entry(hub, "['data/*.bin']", "parallel: 2\nmax_attempts: 50")
    begin = len(hub.seen)
    first, second = case.start("task=0/2", MICRODIT_HUB=hub.url), case.start("task=1/2", MICRODIT_HUB=hub.url)
    for process in (first, second):
        log, _ = process.communicate(timeout=90)
        check(process.returncode == 0, log)
    running = False
    check(len(case.left()) == 7, case.left())
    asked = [p for p, _ in hub.seen[begin:] if "/resolve/" in p]
    check(len(asked) <= 7 + 4, f"{len(asked)} requests for 7 files: the quota was not obeyed")
    quota = json.loads(next((case.data / "raw").glob(".quota_*.json")).read_text())
    check(quota["resolvers"]["size"] == 3, quota)
    hub.remaining = None
    case.remove()


def tokens(hub):
    case = entry(hub, "[README.md]", "gated: true")
    log = case.run(MICRODIT_HUB=hub.url, expected=2)
    check("HF_TOKEN_FILE" in log, log)
    home = case.data / "hf"
    home.mkdir()
    (home / "token").write_text("hf_fromhome\n")
    case.run(HF_ENDPOINT=hub.url, HF_HOME=str(home))
    check({h.get("authorization") for _, h in hub.seen[-3:]} == {"Bearer hf_fromhome"}, hub.seen[-3:])
    secret = case.data / "secret"
    secret.write_text("hf_fromfile")
    secret.chmod(0o644)
    log = case.run(HF_ENDPOINT=hub.url, HF_TOKEN_FILE=str(secret), expected=2)
    check("chmod 600" in log and "hf_fromfile" not in log, log)
    case.remove()


def cache(hub):
    """HF_HOME's blobs are used where they lie, offline too; nothing is asked then."""
    case = entry(hub, "['data/part-0001.bin', 'data/part-0002.bin', README.md]")
    root = case.data / "hf/hub/datasets--org--name"
    for name in ("data/part-0001.bin", "README.md"):
        body = hub.files[name]
        blob = root / "blobs" / (hashlib.sha256(body).hexdigest() if name.endswith(".bin") else "2" * 40)
        link = root / "snapshots" / A / name
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(body)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (root / "refs").mkdir()
    (root / "refs/main").write_text(A)
    surroundings = {"HF_HOME": str(case.data / "hf"), "MICRODIT_HUB": hub.url}
    begin = len(hub.seen)
    log = case.run(HF_HUB_OFFLINE="1", expected=2, **surroundings)
    check("data/part-0002.bin" in log and len(hub.seen) == begin, log)
    case.run("source.pattern=['data/part-0001.bin', README.md]", HF_HUB_OFFLINE="1", **surroundings)
    check(len(hub.seen) == begin, "the hub was asked offline")
    link = case.raw / f"{DATA}_part-0001.bin"
    check(link.is_symlink() and os.readlink(link) == str((root / "blobs" / hashlib.sha256(hub.files["data/part-0001.bin"]).hexdigest()).resolve()), link)
    case.run(**surroundings)
    asked = [p for p, _ in hub.seen[begin:] if "/resolve/" in p]
    check(asked == [f"/datasets/org/name/resolve/{A}/data/part-0002.bin"], asked)
    check(not (case.raw / f"{DATA}_part-0002.bin").is_symlink() and len(case.left()) == 3, case.left())
    case.remove()


def offline_urls(hub):
    """Offline, addresses of the hub among urls are not asked for either, nor by a dry run; others are."""
    other = Server({"/z.bin": lambda h, _: h.whole(b"z")})
    case = Download(f"urls: ['hf://datasets/org/name/README.md', '{other.url}/z.bin']")
    for words in ([], ["--dry-run"]):
        log = case.run(*words, HF_HUB_OFFLINE="1", MICRODIT_HUB=hub.url, expected=2)
        check("HF_HUB_OFFLINE" in log and not hub.seen, f"{log}{hub.seen}")
    check(case.left() == ["z.bin"], case.left())
    case.remove()
    other.shutdown()


def hostile_listing(hub):
    tree = hub.serve_tree
    table = {
        "../../../etc/x": lambda h, _: h.whole(json.dumps([{"type": "file", "path": "../../../etc/x", "size": 1}]).encode()),
        "no list": lambda h, _: h.whole(b'{"error": "x"}'),
        "no JSON": lambda h, _: h.whole(b"<html>"),
        "has no end": lambda h, _: h.whole(b"[]", f'Link: <{hub.url}{h.path}>; rel="next"'),
        "has no end ": lambda h, _: h.whole(b'[{"type": "directory", "path": "d"}]', f'Link: <{hub.url}{h.path}>; rel="next"'),
        "goes on at": lambda h, _: h.whole(json.dumps([{"type": "file", "path": "x", "size": 1}]).encode(), 'Link: <http://127.0.0.1:1/x>; rel="next"'),
        "without path": lambda h, _: h.whole(b'[{"type": "file"}]'),
    }
    for what, answer in table.items():
        hub.serve_tree = answer
        case = entry(hub, "['*']", "max_attempts: 2")
        log = case.run(MICRODIT_HUB=hub.url, expected=2)
        check(what.strip() in log or what in ("../../../etc/x", "no JSON"), f"{what}: {log}")
        check(not case.left(), case.left())
        case.remove()
    hub.serve_tree = tree


def main():
    wanted = sys.argv[1:]
    for case in (pinned_and_listed, patterns, wrong_bytes, quotas, tokens, cache, offline_urls, hostile_listing):
        if not wanted or case.__name__ in wanted:
            hub = Hub()
            case(hub)
            hub.shutdown()
    print("ok")


if __name__ == "__main__":
    main()
