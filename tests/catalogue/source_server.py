"""The hosts of the catalogue's sources on loopback: the hub (listing by pages, token, redirects to signed addresses of its store), other
hosts under /web/HOST/, SA-1B's list of links that expire. nginx sends the bytes where it is installed (Range, If-Range, ETag are its own),
this program decides; without nginx it sends them itself.

source_server.py FOLDER [--seed N]: makes every miniature there, serves it and prints the environment that points programs at it."""
import argparse
import email.utils
import gzip
import hashlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ingest"))
import miniature  # noqa: E402
from hostile_server import wait_until  # noqa: E402
from repository_hub import COMMIT, STORED_APART, RepositoryHub  # noqa: E402

TOKEN = "hf_miniature"
GATED = ("datasets/JourneyDB/JourneyDB",)
APART = (*STORED_APART, ".zip", ".tgz", ".gz", ".parquet")
PAGE = 1000
# What a whole repository lists; those that a miniature does not have are archives without members.
WHOLE = {"datasets/pixparse/cc12m-wds": [f"cc12m-train-{i:04d}.tar" for i in range(2176)],
         "datasets/poloclub/diffusiondb": [f"diffusiondb-large-part-{1 if i <= 10000 else 2}/part-{i:06d}.zip" for i in range(1, 14001)],
         "datasets/JourneyDB/JourneyDB": [f"data/{split}/imgs/{i:03d}.tgz" for split in ("train", "valid") for i in range(200)]}
EMPTY = {".tar": bytes(10240), ".tgz": gzip.compress(bytes(10240), mtime=0), ".zip": b"PK\5\6" + bytes(18)}


class SourceServer(RepositoryHub):
    """Of a miniature's `folder`. A signed address holds for `seconds`, and for `uses` requests where that is set; each `busy_every`th
    request to the hub is told to come again later; `rate`: bytes per second of each answer (nginx alone)."""

    def __init__(self, folder, token=TOKEN, gated=GATED, seconds=3600, uses=0, busy_every=0, rate=0, whole=False, nginx=True):
        self.folder, self.seconds, self.uses, self.busy_every, self.rate = Path(folder).resolve(), seconds, uses, busy_every, rate
        self.serial, self.used, self.asked, self.list_number, self.hashes, self.read = itertools.count(1), {}, 0, 1, {}, {}
        found = {f"datasets/{p.relative_to(self.folder / 'hub/datasets')}" for p in (self.folder / "hub/datasets").glob("*/*")}
        repositories = {}
        for name in sorted(found):
            top = self.folder / "hub" / name
            repositories[name] = {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}
            for path in WHOLE.get(name, []) if whole else []:
                repositories[name].setdefault(path, EMPTY[Path(path).suffix])
        self.nginx = None
        super().__init__(repositories, token, gated)
        if nginx and Path(NGINX).exists():
            self.nginx = Nginx(self.folder, self.host)
            self.host = f"127.0.0.1:{self.nginx.port}"
            self.url = f"http://{self.host}"

    def stop(self):
        if self.nginx:
            self.nginx.stop()
        self.shutdown()
        self.server_close()

    def environment(self):
        return {"MICRODIT_HUB": self.url, "HF_TOKEN": self.token}

    def address(self, url):
        """Where a file of another host is here."""
        return f"{self.url}/web/{url.split('://')[1]}"

    # -- answers -----------------------------------------------------------------------------------------------------------------
    def serve(self, handler, path):
        path = urllib.parse.unquote(path)
        if path.startswith("/store/"):
            return self.from_store(handler, path.removeprefix("/store/"))
        if path.startswith("/web/"):
            return self.from_host(handler, path.removeprefix("/web/"))
        self.asked += 1
        if self.busy_every and self.asked % self.busy_every == 0:
            return handler.whole(b"", "Retry-After: 1", 'RateLimit: "resolvers";r=0;t=1', status="429 Too Many Requests")
        for name, files in self.repositories.items():
            said = handler.headers.get("Authorization")
            if name in self.gated and name in path and said != f"Bearer {self.token}":
                return handler.whole(b"Access to this repository is restricted.", "X-Error-Code: GatedRepo",
                                     status="401 Unauthorized" if said is None else "403 Forbidden")
            tree = f"/api/{name}/tree/{COMMIT}"
            if path == tree or path.startswith(tree + "/"):
                return self.list_page(handler, files, path.removeprefix(tree).strip("/"))
            for revision in (COMMIT, "main"):
                file = path.removeprefix(f"/{name}/resolve/{revision}/")
                if file != path and file in files:
                    return self.resolve(handler, name, file)
        return super().serve(handler, path)

    def list_page(self, handler, files, folder):
        paths = [path for path in sorted(files) if self.is_in(path, folder, handler)]
        at = int(dict(urllib.parse.parse_qsl(handler.path.partition("?")[2])).get("cursor", 0))
        more = [f'Link: <{self.url}{handler.path.split("&cursor")[0]}&cursor={at + PAGE}>; rel="next"'] if at + PAGE < len(paths) else []
        handler.whole(json.dumps([self.entry(files, path) for path in paths[at:at + PAGE]]).encode(), *more)

    def entry(self, files, path):
        entry = {"type": "file", "path": path, "size": len(files[path]), "oid": "1" * 40}
        if path.endswith(APART):
            entry["lfs"] = {"oid": self.sha256(files[path]), "size": len(files[path]), "pointerSize": 130}
        return entry

    def sha256(self, data):
        """`data` is kept by this server, or its id would be another's."""
        if id(data) not in self.hashes:
            self.hashes[id(data)] = hashlib.sha256(data).hexdigest()
        return self.hashes[id(data)]

    def resolve(self, handler, name, file):
        """What lies apart is elsewhere, at an address that says for how long it holds."""
        data = self.repositories[name][file]
        if not file.endswith(APART):
            return self.send(handler, f"hub/{name}/{file}", data)
        path, expires, serial = f"{name}/{file}", int(time.time() + self.seconds), next(self.serial)
        query = urllib.parse.urlencode({"Expires": expires, "Serial": serial, "Signature": self.signature(path, expires, serial)})
        handler.raw("Content-Length: 0", f"Location: {self.url}/store/{urllib.parse.quote(path)}?{query}", f"X-Repo-Commit: {COMMIT}",
                    f"X-Linked-Size: {len(data)}", f'X-Linked-Etag: "{self.sha256(data)}"', status="302 Found")

    def from_store(self, handler, path):
        query = dict(urllib.parse.parse_qsl(handler.path.partition("?")[2]))
        expires, serial = query.get("Expires", "0"), query.get("Serial", "0")
        self.used[serial] = self.used.get(serial, 0) + 1
        if query.get("Signature") != self.signature(path, expires, serial):
            return self.refuse(handler, "SignatureDoesNotMatch")
        if int(expires) < time.time() or (self.uses and self.used[serial] > self.uses):
            return self.refuse(handler, "Request has expired")
        owner = "/".join(path.split("/")[:3])
        self.send(handler, f"hub/{path}", self.repositories[owner][path.removeprefix(owner + "/")])

    def from_host(self, handler, path):
        """A file of another host; SA-1B's tars by signed links alone."""
        if path.startswith("scontent.") and path.endswith(".tar"):
            query = dict(urllib.parse.parse_qsl(handler.path.partition("?")[2]))
            if query.get("oh") != self.signature(path, query.get("oe"), self.list_number) or int(query["oe"], 16) < time.time():
                return handler.whole(b"URL signature expired", "Content-Type: text/plain", status="403 Forbidden")
        file = self.folder / "web" / path
        if not file.resolve().is_relative_to(self.folder / "web") or not file.is_file():
            return handler.whole(b"", status="404 Not Found")
        self.send(handler, f"web/{path}", self.read.setdefault(path, file.read_bytes()))

    def refuse(self, handler, why):
        body = f"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>{why}</Message></Error>".encode()
        handler.whole(body, "Content-Type: application/xml", status="403 Forbidden")

    def signature(self, *parts):
        return hashlib.sha256(" ".join(map(str, ("a secret", *parts))).encode()).hexdigest()[:32]

    def send(self, handler, path, data):
        if self.nginx and (self.folder / path).is_file():
            limit = [f"X-Accel-Limit-Rate: {self.rate}"] if self.rate else []
            return handler.raw("Content-Length: 0", "X-Accel-Redirect: /bytes/" + urllib.parse.quote(path), *limit)
        etag, wanted = f'"{self.sha256(data)[:16]}"', handler.headers.get("Range")
        lines = [f"ETag: {etag}", "Accept-Ranges: bytes", "Last-Modified: " + email.utils.formatdate(1.6e9, usegmt=True)]
        if not wanted or handler.headers.get("If-Range", etag) != etag:
            return handler.whole(data, *lines)
        begin, _, end = wanted.removeprefix("bytes=").partition("-")
        begin, end = int(begin), min(int(end or len(data)), len(data) - 1)
        if begin > end:
            return handler.whole(b"", f"Content-Range: bytes */{len(data)}", status="416 Range Not Satisfiable")
        handler.whole(data[begin:end + 1], f"Content-Range: bytes {begin}-{end}/{len(data)}", *lines, status="206 Partial Content")

    # -- SA-1B's list ------------------------------------------------------------------------------------------------------------
    def write_links(self, target, seconds=3600):
        """The miniature's list with addresses of this server. An earlier list's no longer hold."""
        self.list_number += 1
        lines = (self.folder / "web/scontent.xx.fbcdn.net" / miniature.SA1B_LIST).read_text().splitlines()
        for i, line in enumerate(lines[1:], 1):
            name, url = line.split("\t")
            path, oe = url.split("?")[0].split("://")[1], f"{int(time.time() + seconds):X}"
            lines[i] = f"{name}\t{self.url}/web/{path}?ccb=10-5&oh={self.signature(path, oe, self.list_number)}&oe={oe}&_nc_sid=0fdd51"
        Path(target).write_text("\n".join(lines) + "\n")

    def expire_links(self):
        self.list_number += 1


NGINX = shutil.which("nginx") or "/usr/sbin/nginx"


class Nginx:
    """In front of the program at `behind`: asks it about everything, sends FOLDER/... where it answers X-Accel-Redirect: /bytes/..."""

    def __init__(self, folder, behind):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.place = folder / ".nginx"
        self.place.mkdir(exist_ok=True)
        scratch = " ".join(f"{what}_temp_path {self.place}/{what};" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        (self.place / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {self.place}/pid; error_log {self.place}/error.log; {user}
events {{ worker_connections 256; }}
http {{
  access_log off; {scratch}
  server {{
    listen 127.0.0.1:{self.port};
    location / {{ proxy_pass http://{behind}; proxy_set_header Host $http_host; proxy_pass_request_headers on; }}
    location /bytes/ {{ internal; alias {folder}/; }}
  }}
}}
""")
        self.process = subprocess.Popen([NGINX, "-p", str(self.place), "-c", str(self.place / "nginx.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self.answers, "nginx")

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError("nginx did not start: " + (self.place / "error.log").read_text())
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        self.process.terminate()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description="Serves every miniature on loopback until it is interrupted.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    for name in miniature.LAYOUTS:
        miniature.Miniature(name, words.folder, words.seed)
    server = SourceServer(words.folder, whole=True)
    server.write_links(words.folder / miniature.SA1B_LIST)
    for name, value in server.environment().items():
        print(f"export {name}={value}")
    print(f"# SA-1B's list: {words.folder / miniature.SA1B_LIST}; other hosts: {server.url}/web/HOST/PATH", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        signal.pause()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
