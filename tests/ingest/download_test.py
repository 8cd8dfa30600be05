#!/usr/bin/env python3
"""download against a real nginx on loopback, behind a proxy that cuts, refuses and lies; each fault has its control."""
import email.utils
import hashlib
import http.client
import http.server
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

BIN = Path(os.environ["MICRODIT_BIN"])
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
SIZE = 3_000_000
CUT = 700_000

if not Path(NGINX).exists():
    print("skipped: nginx is not installed")
    sys.exit(77)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def check(condition, what):
    if not condition:
        raise AssertionError(what)


class Nginx:
    """Serves /ok with Range, /norange without, /slow at 1 MB/s; logs path, Range, If-Range and status."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.root, self.log = folder / "www", folder / "access.log"
        self.root.mkdir()
        (folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  log_format test '$uri range=$http_range ifrange=$http_if_range status=$status';
  access_log {self.log} test;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{
    listen 127.0.0.1:{self.port}; root {self.root};
    location /ok/ {{ alias {self.root}/; }}
    location /norange/ {{ alias {self.root}/; max_ranges 0; }}
    location /slow/ {{ alias {self.root}/; limit_rate 1m; }}
    location = /hop {{ return 302 /ok/a.bin; }}
    location = /loop {{ return 302 /loop; }}
    location = /leave {{ return 302 file:///etc/passwd; }}
  }}
}}
""")
        self.process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("nginx did not start: " + (folder / "error.log").read_text())

    def requests(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Proxy(http.server.ThreadingHTTPServer):
    """/cut/F ends after CUT bytes; /busy/F answers 503, 429, 500 first; /liar/F changes its content with every request."""

    def __init__(self, upstream):
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.upstream, self.seen, self.times = upstream, {}, []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class ProxyHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, headers, body=b"", send=None):
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body if send is None else body[:send])
        self.close_connection = True

    def do_GET(self):
        _, kind, name = self.path.split("/")
        count = self.server.seen[self.path] = self.server.seen.get(self.path, 0) + 1
        self.server.times.append((self.path, time.monotonic()))
        if kind == "busy" and count <= 3:
            soon = email.utils.formatdate(time.time() + 2, usegmt=True)
            status, headers = [(503, {"Retry-After": "1"}), (429, {"Retry-After": soon}), (500, {})][count - 1]
            return self.answer(status, headers)
        if kind == "down":
            return self.answer(503, {})
        if kind == "liar":
            body = bytes([count]) * 1_000_000
            return self.answer(200, {"ETag": f'"v{count}"'}, body, send=len(body) if count == 3 else 400_000)
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream)
        wanted = {k: v for k, v in self.headers.items() if k in ("Range", "If-Range")}
        upstream.request("GET", "/ok/" + name if kind != "cutnorange" else "/norange/" + name, headers=wanted)
        reply = upstream.getresponse()
        body = reply.read()
        headers = {k: v for k, v in reply.getheaders() if k in ("ETag", "Last-Modified", "Content-Range")}
        cut = kind == "cut" or (kind == "cutnorange" and count == 1)
        self.answer(reply.status, headers, body, send=CUT if cut else None)


class Case:
    def __init__(self, folder, url, sha256="", attempts=3, files=1):
        self.data = Path(tempfile.mkdtemp(dir=folder))
        self.name = url.rsplit("/", 1)[1].split("?")[0]
        known = f"\n  sha256: {{{self.name}: '{sha256}'}}" if sha256 else ""
        self.config = self.data / "entry.yaml"
        self.config.write_text(f"name: t\narchive: none\nsource:\n  urls: ['{url}']\n  max_attempts: {attempts}\n  backoff_s: 0.05{known}\n")
        self.file = self.data / "raw/t" / self.name
        self.partial = self.data / "raw/t" / f".{self.name}.part"

    def start(self):
        return subprocess.Popen([str(BIN / "download"), "--config", str(self.config)], stderr=subprocess.PIPE, text=True,
                                env={**os.environ, "MICRODIT_DATA": str(self.data), "no_proxy": "*"})

    def run(self, expected=0):
        process = self.start()
        _, log = process.communicate(timeout=120)
        check(process.returncode == expected, f"{self.config.read_text()}exit {process.returncode}, not {expected}:\n{log}")
        return log

    def is_whole(self, content):
        check(self.file.read_bytes() == content, f"{self.file} has other bytes")
        hidden = [p.name for p in self.file.parent.rglob(".*")]
        check(not hidden, f"left behind: {hidden}")
        check((self.file.parent / "manifest.jsonl").exists(), "no manifest")


def main():
    folder = Path(tempfile.mkdtemp(prefix="microdit_download_"))
    folder.chmod(0o755)  # nginx's worker is another user when root starts it
    nginx = Nginx(folder)
    proxy = Proxy(nginx.port)
    direct, faulty = f"http://127.0.0.1:{nginx.port}", f"http://127.0.0.1:{proxy.server_port}"
    content = random.Random(1).randbytes(SIZE)
    digest = hashlib.sha256(content).hexdigest()
    (nginx.root / "a.bin").write_bytes(content)
    (nginx.root / "empty.bin").write_bytes(b"")
    try:
        # Plain, then again: nothing is asked a second time.
        case = Case(folder, f"{direct}/ok/a.bin", digest)
        case.run()
        case.is_whole(content)
        asked = len(nginx.requests())
        case.run()
        check(len(nginx.requests()) == asked, "a finished file was asked for again")

        # A file whose size is 0; a redirect.
        case = Case(folder, f"{direct}/ok/empty.bin")
        case.run()
        case.is_whole(b"")
        case = Case(folder, f"{direct}/hop", digest)
        case.run()
        case.is_whole(content)

        # Cut again and again: every attempt continues where the last one ended (progress resets the attempts).
        case = Case(folder, f"{faulty}/cut/a.bin", digest, attempts=3)
        case.run()
        case.is_whole(content)
        ranges = [line.split("range=")[1].split()[0] for line in nginx.requests() if "range=bytes" in line]
        check(ranges[-4:] == [f"bytes={CUT * i}-" for i in (1, 2, 3, 4)], f"ranges {ranges}")

        # Without Range the file begins anew.
        case = Case(folder, f"{faulty}/cutnorange/a.bin", digest)
        case.run()
        case.is_whole(content)

        # The file changes under us: If-Range brings the new one whole, never a mixture.
        case = Case(folder, f"{faulty}/liar/c.bin", attempts=5)
        case.run()
        case.is_whole(bytes([3]) * 1_000_000)

        # 503 with seconds, 429 with a date, 500 without a word: waited out.
        case = Case(folder, f"{faulty}/busy/a.bin", digest, attempts=9)
        case.run()
        case.is_whole(content)
        times = [t for path, t in proxy.times if path == "/busy/a.bin"]
        check(times[1] - times[0] >= 1 and times[2] - times[1] >= 0.9, f"Retry-After was not honoured: {times}")
        check(times[3] - times[2] < 1, "a 500 without Retry-After waited too long")

        # It gives up, and says what to do; what is the user's mistake is said at once.
        log = Case(folder, f"{faulty}/down/a.bin", attempts=3).run(expected=2)
        check("gave up after 3 attempts" in log and "503" in log, log)
        check(proxy.seen["/down/a.bin"] == 6, f"{proxy.seen} requests")  # once more after all others
        case = Case(folder, f"{direct}/ok/missing.bin")
        log = case.run(expected=2)
        check(not case.partial.exists(), "an empty partial file stayed")
        check("404" in log and f"{direct}/ok/missing.bin" in log, log)
        log = Case(folder, f"{direct}/leave").run(expected=2)
        check("only http and https" in log and "file:///etc/passwd" in log, log)
        check("redirects" in Case(folder, f"{direct}/loop").run(expected=2), "redirect loop")

        # A gated data set asks for a token before it asks a server.
        case = Case(folder, f"{direct}/ok/a.bin")
        case.config.write_text(case.config.read_text() + "  gated: true\n")
        os.environ["HOME"] = str(folder)  # nobody's token lies there
        for name in ("HF_TOKEN", "HF_TOKEN_FILE"):
            os.environ.pop(name, None)
        asked = len(nginx.requests())
        check("HF_TOKEN_FILE" in case.run(expected=2), "a gated data set without a token")
        check(len(nginx.requests()) == asked, "a gated file was asked for without a token")

        # A wrong hash is an error, nothing stays; the right one is the control above.
        case = Case(folder, f"{direct}/ok/a.bin", "0" * 64)
        log = case.run(expected=2)
        check(digest in log and "0" * 64 in log and "a.bin" in log, log)
        check(not case.file.exists() and not case.partial.exists(), "a wrong file stayed")

        # kill -9, SIGTERM, then the same command: continued, not begun anew.
        case = Case(folder, f"{direct}/slow/a.bin", digest)
        for kill, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 75)):
            before = case.partial.stat().st_size if case.partial.exists() else 0
            process = case.start()
            while not case.partial.exists() or case.partial.stat().st_size < before + 300_000:
                time.sleep(0.02)
                check(process.poll() is None, "download ended early")
            process.send_signal(kill)
            process.communicate()
            check(process.returncode == code, f"exit {process.returncode} after {kill}")
        size = case.partial.stat().st_size
        case.run()
        case.is_whole(content)
        last = [line for line in nginx.requests() if line.startswith("/slow/")][-1]
        check(f"range=bytes={size}-" in last and "status=206" in last, last)
    finally:
        proxy.shutdown()
        nginx.stop()
        shutil.rmtree(folder)
    print("ok")


if __name__ == "__main__":
    main()
