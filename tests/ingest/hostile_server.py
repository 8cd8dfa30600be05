"""A server on loopback that breaks one rule per address, and the download program pointed at it."""
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from programs import BIN, check  # noqa: E402


class Server(http.server.ThreadingHTTPServer):
    """`answers`: path -> function(handler, count of this path's requests so far). Every request is kept in `seen`."""
    daemon_threads = True

    def __init__(self, answers):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.seen, self.counts = answers, [], {}
        self.host = f"127.0.0.1:{self.server_port}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass  # the client hung up: that is what most cases are about

    def requests(self, path):
        return [headers for seen, headers in self.seen if seen.split("?")[0] == path]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.split("?")[0]
        self.server.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        count = self.server.counts[path] = self.server.counts.get(path, 0) + 1
        self.close_connection = True
        self.server.answers[path](self, count)

    do_HEAD = do_GET

    def raw(self, *lines, body=b"", status="200 OK"):
        """Header lines as given, nothing added."""
        self.wfile.write(("\r\n".join([f"HTTP/1.1 {status}", *lines, "Connection: close"]) + "\r\n\r\n").encode())
        self.wfile.write(body)

    def whole(self, body, *lines, status="200 OK"):
        self.raw(f"Content-Length: {len(body)}", *lines, body=b"" if self.command == "HEAD" else body, status=status)

    def offset(self):
        wanted = self.headers.get("Range")
        return int(wanted.split("=")[1].split("-")[0]) if wanted else 0

    def ranged(self, body, *lines, send=None):
        """What an honest server does; `send`: hang up after so many bytes."""
        at = self.offset()
        rest = body[at:]
        lines = [f"Content-Length: {len(rest)}", 'ETag: "v1"', *lines]
        if at:
            lines.append(f"Content-Range: bytes {at}-{len(body) - 1}/{len(body)}")
        self.raw(*lines, body=rest[:send], status="206 Partial Content" if at else "200 OK")


class Download:
    """One entry in a data root of its own."""

    def __init__(self, urls, source="", archive="none", name="t", top=""):
        self.data = Path(tempfile.mkdtemp(prefix="microdit_http_"))
        self.config = self.data / "entry.yaml"
        text = urls if isinstance(urls, str) else "urls: [" + ", ".join(f"'{url}'" for url in urls) + "]"
        self.config.write_text(f"name: {name}\narchive: {archive}\n{top}source:\n  {text}\n  backoff_s: 0.02\n"
                               + "".join(f"  {line}\n" for line in source.splitlines()))
        self.raw = self.data / "raw" / name

    def start(self, *words, **environment):
        surroundings = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "MICRODIT_HUB")) and "proxy" not in k.lower()}
        surroundings |= {"MICRODIT_DATA": str(self.data), "HOME": str(self.data)}
        surroundings |= {k: v for k, v in environment.items() if v is not None}
        return subprocess.Popen([str(BIN / "download"), "--config", str(self.config), *words], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, env=surroundings)

    def run(self, *words, expected=0, timeout=60, **environment):
        process = self.start(*words, **environment)
        try:
            log, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"still running after {timeout} s:\n{process.communicate()[0][-3000:]}\n{self.config.read_text()}") from None
        check(process.returncode == expected,
              f"exit {process.returncode}, not {expected}:\n{self.config.read_text()}{log[-4000:]}")
        return log

    def left(self):
        """What lies in the raw folder besides records and facts."""
        if not self.raw.exists():
            return []
        return sorted(p.name for p in self.raw.iterdir() if p.name not in ("records", "facts.json", "hub.json") and "manifest" not in p.name)

    def remove(self):
        shutil.rmtree(self.data)


def wait_until(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, f"waited {seconds} s for: {what}")
        time.sleep(0.02)


def mark(part):
    """What a name under raw/ gets where a part of it is not plain."""
    return hashlib.sha256(part.encode()).hexdigest()[:8]
