#!/usr/bin/env python3
"""download against a server that lies: each answer that was not asked for is refused or begun anew, with a word."""
import fcntl
import gzip
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from hostile_server import Download, Server, check

CONTENT = random.Random(7).randbytes(300_000)
SECRET = "sig=SECRET0123"
ADDRESSES = ("169.254.169.254", "10.0.0.1", "192.168.1.1", "192.0.0.8", "198.18.0.1", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]",
             "[2002:a00:1::1]", "[2001:0:a00:1::1]", "[fd00::1]", "2852039166", "0xa9.0xfe.0xa9.0xfe", "169.254.43518")


def endless(handler, line):
    handler.raw(line)
    block = b"x" * 65536
    for _ in range(4000):  # 256 MB
        handler.wfile.write((b"10000\r\n" + block + b"\r\n") if "chunked" in line else block)


def headers(handler, lines):
    handler.raw(*lines, "Content-Length: 1", body=b"x")


def informational_flood(handler, _):
    for _ in range(3000):
        handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    handler.whole(CONTENT)


def first_then(first, then):
    return lambda handler, count: (first if count == 1 else then)(handler, count)


def cut(handler, _):
    handler.ranged(CONTENT, send=100_000)


def honest(handler, _):
    handler.ranged(CONTENT)


def part(begin, end, total, status="206 Partial Content", body=None):
    content = CONTENT[begin:end + 1] if body is None else body
    return lambda handler, _: handler.raw(f"Content-Range: bytes {begin}-{end}/{total}", f"Content-Length: {len(content)}", 'ETag: "v1"',
                                          body=content, status=status)


def redirect(to):
    return lambda handler, _: handler.whole(b"", f"Location: {to}", status="302 Found")


N = len(CONTENT)
CHUNKED = b"%x\r\n" % N + CONTENT + b"\r\n0\r\n"
# name -> (the server's answer, exit code, words of the log). Exit 0: the file must have come whole.
CASES = {
    "honest": (honest, 0, []),
    "honest_chunked": (lambda h, _: h.raw("Transfer-Encoding: chunked", body=CHUNKED + b"\r\n"), 0, []),
    "whole_as_206": (part(0, N - 1, N), 0, []),
    "identity": (lambda h, _: h.whole(CONTENT, "Content-Encoding: identity"), 0, []),
    # Parts that nobody asked for.
    "part_unasked": (part(0, 99, 200), 2, ["a part only"]),
    "part_from_the_middle": (part(100, 199, 200), 2, ["the whole file was asked for"]),
    "part_without_total": (lambda h, _: h.raw("Content-Range: bytes 0-99/*", "Content-Length: 100", body=CONTENT[:100],
                                              status="206 Partial Content"), 2, ["a part only"]),
    "206_without_range": (lambda h, _: h.whole(CONTENT, status="206 Partial Content"), 2, ["206 without a Content-Range"]),
    "multipart": (lambda h, _: h.whole(b"--x\r\n", "Content-Type: multipart/byteranges; boundary=x", status="206 Partial Content"), 2,
                  ["206 without a Content-Range"]),
    "slice_as_200": (part(0, 99, N, status="200 OK"), 2, ["under status 200", "a part only"]),
    "wrong_range_words": (lambda h, _: h.whole(CONTENT, "Content-Range: pages 0-99/100"), 2, ["contradicts itself"]),
    "range_beyond_total": (part(0, 299, 200, body=CONTENT[:300]), 2, ["contradicts itself"]),
    "range_backwards": (part(99, 0, 200, body=b"x"), 2, ["contradicts itself"]),
    "range_and_length_differ": (part(0, N - 1, N, body=CONTENT[:-5]), 2, ["with 299995 bytes"]),
    # After a cut, the rest is asked for: what else comes begins anew, and the file is right in the end.
    "rest": (first_then(cut, honest), 0, ["continuing at byte 100000"]),
    "rest_as_200_slice": (lambda h, c: cut(h, c) if c == 1 else part(100_000, N - 1, N, status="200 OK")(h, c) if h.offset() else honest(h, c),
                          0, []),
    "rest_is_another_part": (lambda h, c: cut(h, c) if c == 1 else part(5, N - 1, N)(h, c) if h.offset() else honest(h, c), 0,
                             ["the rest from byte 100000 was asked for"]),
    "rest_of_another_total": (lambda h, c: cut(h, c) if c == 1 else part(100_000, N, N + 2)(h, c) if h.offset() else honest(h, c), 0,
                              ["a part only"]),
    "rest_of_another_version": (lambda h, c: cut(h, c) if c == 1 else h.raw(f"Content-Length: {N - 100_000}", 'ETag: "v2"',
                                                                            f"Content-Range: bytes 100000-{N - 1}/{N}", body=bytes(N - 100_000),
                                                                            status="206 Partial Content") if h.offset() else honest(h, c), 0,
                                ["another version"]),
    "rest_encoded": (lambda h, c: cut(h, c) if c == 1 else h.whole(gzip.compress(CONTENT), "Content-Encoding: gzip"), 2,
                     ["Content-Encoding: gzip"]),
    "rest_refused": (lambda h, c: cut(h, c) if c == 1 else h.whole(b"", status="412 Precondition Failed") if h.offset() else honest(h, c), 0,
                     ["answered 412 when asked for the rest"]),
    "rest_not_implemented": (lambda h, c: cut(h, c) if c == 1 else h.whole(b"", status="501 No") if h.offset() else honest(h, c), 0, ["501"]),
    "rest_is_a_page": (lambda h, c: cut(h, c) if c == 1 else h.whole(b"<html>back in an hour</html>") if c == 2 else honest(h, c), 0, []),
    "gone_meanwhile": (lambda h, c: cut(h, c) if c == 1 else h.whole(b"", status="404 Not Found"), 2, ["answered 404"]),
    # Encodings that nobody asked for.
    "gzip": (lambda h, _: h.whole(gzip.compress(CONTENT), "Content-Encoding: gzip"), 2, ["Content-Encoding: gzip", "not asked for"]),
    "brotli": (lambda h, _: h.whole(CONTENT, "Content-Encoding: br"), 2, ["Content-Encoding: br"]),
    "transfer_gzip": (lambda h, _: h.raw("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 2, []),
    # Sizes.
    "two_lengths": (lambda h, _: h.raw("Content-Length: 10", "Content-Length: 300000", body=CONTENT), 2, []),
    "negative_length": (lambda h, _: h.raw("Content-Length: -5", body=CONTENT), 2, []),
    "longer_than_announced": (lambda h, _: h.raw(f"Content-Range: bytes 0-{N - 1}/{N}", "Transfer-Encoding: chunked",
                                                 body=b"%x\r\n" % (N + 5) + CONTENT + b"extra\r\n0\r\n\r\n", status="206 Partial Content"), 2,
                              ["more bytes came than the 300000 that were announced", "gave up"]),
    "shorter_than_announced": (lambda h, _: h.raw(f"Content-Length: {N}", body=CONTENT[:1000]), 2, ["gave up"]),
    "chunked_cut": (lambda h, _: h.raw("Transfer-Encoding: chunked", body=CHUNKED[:5000]), 2, ["gave up"]),
    "announced_beyond_limit": (lambda h, _: h.raw("Content-Length: 99999999999999", body=b"x"), 2, ["source.max_file_bytes"]),
    "endless_chunks": (lambda h, _: endless(h, "Transfer-Encoding: chunked"), 2, ["source.max_file_bytes"]),
    "endless_stream": (lambda h, _: endless(h, "X: y"), 2, ["source.max_file_bytes"]),
    "one_byte_each": (lambda h, _: h.ranged(CONTENT, send=1), 2, ["gave up after 4 attempts"]),
    # Headers.
    "header_lines": (lambda h, _: headers(h, [f"X-{i}: y" for i in range(300)]), 2, ["of headers"]),
    "header_bytes": (lambda h, _: headers(h, [f"X-{i}: {'y' * 9000}" for i in range(10)]), 2, ["of headers"]),
    "one_long_header": (lambda h, _: headers(h, [f"X: {'y' * 2_000_000}"]), 2, []),
    "long_values": (lambda h, _: h.whole(CONTENT, f"Content-Range: {'y' * 60_000}"), 2, ["contradicts itself"]),
    "long_encoding": (lambda h, _: h.whole(CONTENT, f"Content-Encoding: {'y' * 60_000}"), 2, ["Content-Encoding: y"]),
    "long_redirect": (redirect("ftp://a/" + "y" * 60_000), 2, ["longer than"]),
    "longish_redirect": (redirect("ftp://a/" + "y" * 6_000), 2, ["only http and https"]),
    "informational_flood": (informational_flood, 2, ["of headers"]),
    "trailer_flood": (lambda h, _: h.raw("Transfer-Encoding: chunked", body=CHUNKED + b"X: y\r\n" * 3000 + b"\r\n"), 2, ["of headers"]),
    "trailer_lies": (lambda h, _: h.raw("Transfer-Encoding: chunked", body=CHUNKED + b"Content-Length: 5\r\nETag: W/\"x\"\r\n\r\n"), 0, []),
    "no_http": (lambda h, _: h.wfile.write(b"220 ftp ready\r\n"), 2, ["HTTP/0.9", "gave up after 4"]),
    "no_http_once": (first_then(lambda h, _: h.wfile.write(b"220 ftp ready\r\n"), honest), 0, []),
    "empty_answer": (lambda h, _: None, 2, ["gave up"]),
    # Statuses and redirects.
    "not_found": (lambda h, _: h.whole(b"", status="404 Not Found"), 2, ["answered 404"]),
    "forbidden": (lambda h, _: h.whole(b"", status="403 Forbidden"), 2, ["answered 403", "may have expired"]),
    "always_busy": (lambda h, _: h.whole(b"", status="503 Busy"), 2, ["gave up after 4 attempts", "503"]),
    "no_content": (lambda h, _: h.raw(status="204 No Content"), 2, ["answered 204"]),
    "endless_error_page": (lambda h, _: [h.raw("X: y", status="404 Not Found")] + [h.wfile.write(b"x" * 65536) for _ in range(4000)], 2,
                           ["answered 404"]),
    "redirect": (redirect("/honest"), 0, []),
    "redirect_loop": (redirect("/redirect_loop"), 2, ["more than 5 redirects"]),
    "redirect_nowhere": (redirect(""), 2, ["gave up"]),
    "redirect_to_long_host": (redirect("http://" + "a" * 40_000 + ".example/"), 2, ["longer than 16384 bytes"]),
    "redirect_to_longish_host": (redirect("http://" + "a" * 300 + ".example/"), 2, ["at most 253 bytes"]),
    "redirect_to_file": (redirect("file:///etc/passwd"), 2, ["only http and https", "/etc/passwd"]),
    "redirect_to_gopher": (redirect("gopher://127.0.0.1/"), 2, ["only http and https"]),
    "redirect_with_user": (redirect("http://127.0.0.1\\@127.0.0.2/x"), 2, ["with a user name"]),
    "redirect_with_secret": (redirect(f"/missing?{SECRET}"), 2, ["answered 404"]),
    "missing": (lambda h, _: h.whole(b"", status="404 Not Found"), 2, ["answered 404"]),
}
CASES |= {f"redirect_to_{i}": (redirect(f"http://{address}/x?{SECRET}"), 2, ["private address", "source.allow_hosts"])
          for i, address in enumerate(ADDRESSES)}


def every_answer(server):
    """All in one start: none of them stops another."""
    case = Download([f"{server.url}/{name}?{SECRET}" for name in CASES], "max_attempts: 4\nmax_file_bytes: 4_000_000\nparallel: 8")
    log = case.run(expected=2, timeout=240)
    for name, (_, code, words) in CASES.items():
        own = "\n".join(line for line in log.splitlines() if f"/{name}" in line.replace(":", " ").split(" ")[-1] or f"/{name}:" in line)
        for word in words:
            check(word in own, f"{name}: '{word}' is not in:\n{own}")
        check((case.raw / name).exists() == (code == 0), f"{name}: {'missing' if code == 0 else 'was published'}:\n{own}")
        check(code != 0 or (case.raw / name).read_bytes() == CONTENT, f"{name}: other bytes")
    failed = sum(code == 2 for _, code, _ in CASES.values())
    check(f"{failed} of {len(CASES)} items failed" in log, log[-3000:])
    check("SECRET" not in log, f"a query string was logged:\n{log}")
    check(max(map(len, log.splitlines())) < 2000, "a server fills the log")
    for path in case.data.rglob("*.json*"):
        check("SECRET" not in path.read_text(), f"a query string is in {path.name}")
    stays = {f".{name}.part{end}" for name in CASES for end in ("", ".etag") if name in ("gone_meanwhile", "one_byte_each", "rest_encoded")}
    left = set(case.left()) - {name for name, (_, code, _) in CASES.items() if code == 0}
    check(left <= stays, f"left behind: {left - stays}")
    check(all(r.get("accept-encoding") == "identity" for _, r in server.seen), "Accept-Encoding is not identity")
    rests = [r.get("range") for r in server.requests("/rest_is_a_page") if r.get("range") != "bytes=0-0"]
    check(rests == [None, "bytes=100000-", "bytes=100000-"], f"a page in place of the rest cost the part: {rests}")
    for name, (_, code, words) in CASES.items():  # what settles it is asked once, and once more after the others
        settled = code == 2 and "asked for" in " ".join(words)
        check(not settled or len(server.requests("/" + name)) <= 3, f"{name}: {len(server.requests('/' + name))} requests")
    case.remove()


def lies_close(server):
    """Whatever a server says of itself, the others come and the folder closes without it."""
    lies = {"host": redirect("http://" + "a" * 16_000 + ".example/"), "length": lambda h, _: h.raw("Content-Length: 20000000000000", body=b"x"),
            "digits": redirect("http://127.0.0.1:1/ after " + "1" * 12_000)}
    for name, answer in lies.items():
        server.answers[f"/lies_{name}"] = answer
    case = Download([f"{server.url}/{path}" for path in (*(f"lies_{name}" for name in lies), "honest")],
                    "max_attempts: 1\nmax_file_bytes: 99_000_000_000_000", top="max_failed_items: 3\n")
    log = case.run()
    check((case.raw / "honest").read_bytes() == CONTENT and "closed without 3 items" in log, log)
    check("must stay free" in log, log)
    case.remove()


def other_file(server):
    """A part is continued as part of its own file alone: two files of one length may have one tag."""
    other = bytes(reversed(CONTENT))
    server.answers["/one/a"] = first_then(cut, lambda h, _: h.whole(b"", status="404 Not Found"))
    server.answers["/two/a"] = lambda h, _: h.ranged(other)
    case = Download([f"{server.url}/one/a"], "max_attempts: 2")
    case.run(expected=2)
    check(".a.part" in case.left(), case.left())
    case.config.write_text(case.config.read_text().replace("/one/a", "/two/a"))
    case.run()
    check((case.raw / "a").read_bytes() == other, "two files were mixed")
    case.remove()


def secret_proxy(server):
    """The password of a proxy is in no file and no line, whatever is wrong with the proxy; certificates that cannot be read are told at once."""
    for proxy in ("ftp://user:HUSH@127.0.0.1:9", "http://user:HUSH@127.0.0.1:x", "http://user:HU SH@127.0.0.1:1", "http://user:HUSH@no.invalid:9"):
        case = Download(["http://example.invalid/honest"], "max_attempts: 1")
        log = case.run(http_proxy=proxy, expected=2)
        for text in [log, *(path.read_text() for path in case.data.rglob("*") if path.is_file())]:
            check("HUSH" not in text and "HU SH" not in text, text)
        case.remove()
    case = Download([f"{server.url}/honest"])
    log = case.run(CURL_CA_BUNDLE="/nonexistent.pem", expected=2)
    check("/nonexistent.pem" in log and "CURL_CA_BUNDLE" in log and case.left() == [], log)
    case.remove()


def held_quota(server):
    """Whoever hangs with the quota's lock stops nobody from stopping."""
    server.answers["/api/x"] = honest
    case = Download([f"{server.url}/api/x"])
    (case.data / "raw").mkdir()
    with open(case.data / "raw/.quota_127.0.0.1.json", "w") as quota:
        fcntl.flock(quota, fcntl.LOCK_EX)
        process = case.start(MICRODIT_HUB=server.url)
        time.sleep(3)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        log, _ = process.communicate(timeout=60)
        check(process.returncode == 75 and time.monotonic() - began < 10, f"{process.returncode} after {time.monotonic() - began:.1f} s: {log}")
    case.run(MICRODIT_HUB=server.url)
    case.remove()


def private_names(server):
    """A private address is reached only where the entry says it as a number, or allows its name."""
    case = Download([f"http://localhost:{server.server_port}/honest"])  # localhost is as good as its number
    case.run()
    case.remove()
    # Through a name: the proxy variables are unset, so the name must be resolved here. /etc/hosts cannot be relied on; the
    # machine's own name resolves to one of its own addresses, or to none.
    import socket
    try:
        own = socket.gethostname()
        address = socket.gethostbyname(own)
    except OSError:
        address = ""
    if address.startswith(("127.", "10.", "172.", "192.168.", "169.254.")) and own != "localhost":
        case = Download([f"http://{own}:{server.server_port}/honest"], "max_attempts: 1")
        log = case.run(expected=2)
        check("private address" in log and f"source.allow_hosts: [{own.lower()}]" in log, log)
        asked = len(server.requests("/honest"))
        case.run("--dry-run", expected=2)
        check(len(server.requests("/honest")) == asked, "a dry run reached a private address by name")
        case.remove()
        if address.startswith("127."):  # the server listens there
            case = Download([f"http://{own}:{server.server_port}/honest"], f"allow_hosts: [{own}]")
            case.run()
            case.remove()


def proxy(server):
    """Behind a proxy the proxy decides; a number of a private net is not asked of it."""
    case = Download(["http://example.invalid/honest"])
    log = case.run(http_proxy=server.url)
    check("proxy 127.0.0.1" in log, log)
    check((case.raw / "honest").read_bytes() == CONTENT, "other bytes")
    case.remove()
    case = Download(["http://example.invalid/to_link_local"])
    log = case.run(http_proxy=server.url, expected=2)
    check("private address" in log, log)
    case.remove()
    for host in ("169.254.169.254.", "10.0.0.1.:9"):  # a final dot changes no name
        server.answers["http://example.invalid/dot"] = redirect(f"http://{host}/latest")
        case = Download(["http://example.invalid/dot"])
        log = case.run(http_proxy=server.url, expected=2)
        check("private address" in log, log)
        case.remove()
    case = Download([f"{server.url}/honest"])
    case.run(http_proxy="http://127.0.0.1:1", no_proxy="127.0.0.1")
    case.remove()
    case = Download([f"{server.url}/honest"])  # nor of its own loopback: a hub behind a tunnel, and its token
    case.run(http_proxy="http://127.0.0.1:1", MICRODIT_HUB=server.url, HF_TOKEN="hf_secret1")
    case.remove()


class Tunnels(threading.Thread):
    """A proxy that answers CONNECT: with a tunnel to `server`, or with `refusal`."""

    def __init__(self, server, refusal=""):
        super().__init__(daemon=True)
        self.to, self.refusal, self.listener = server.server_port, refusal, socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.start()

    def run(self):
        while True:
            client = self.listener.accept()[0]
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += client.recv(4096)
        if self.refusal:
            client.sendall(f"HTTP/1.1 {self.refusal}\r\nContent-Length: 0\r\n\r\n".encode())
            client.close()
            return
        client.sendall(b'HTTP/1.1 200 Connection established\r\nETag: "of the proxy"\r\n\r\n')
        server = socket.create_connection(("127.0.0.1", self.to))
        threading.Thread(target=self.pump, args=(server, client), daemon=True).start()
        self.pump(client, server)

    @staticmethod
    def pump(source, to):
        try:
            while data := source.recv(65536):
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # either end hung up


def tunnel(_):
    """https through a proxy: what the server says counts, not what the proxy said before; a proxy that refuses is named."""
    with tempfile.TemporaryDirectory() as place:
        key, certificate = f"{place}/key.pem", f"{place}/ca.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", certificate, "-subj", "/CN=files.example",
                        "-addext", "subjectAltName=DNS:files.example"], check=True, capture_output=True)
        server = Server({"/good": lambda h, count: h.ranged(CONTENT, send=100_000 if count == 1 else None), "/gone": lambda h, _: h.whole(b"an error page", status="404 Not Found"),
                         "/moved": redirect("/good2"), "/good2": lambda h, _: h.ranged(CONTENT),
                         "/busy": lambda h, count: h.whole(b"a busy page", status="503 Busy") if count < 3 else h.ranged(CONTENT)})
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        case = Download([f"https://files.example/{name}" for name in ("good", "gone", "moved", "busy")], "max_attempts: 4")
        log = case.run(https_proxy=Tunnels(server).url, CURL_CA_BUNDLE=certificate, expected=2)
        check(case.left() == ["busy", "good", "moved"] and all((case.raw / name).read_bytes() == CONTENT for name in case.left()), case.left())
        check("gone: the server answered 404" in log, log)
        check(any(asked.get("range") == "bytes=100000-" and asked.get("if-range") == '"v1"' for asked in server.requests("/good")), server.requests("/good"))
        case.remove()
        case = Download(["https://files.example/good"], "max_attempts: 2")
        log = case.run(https_proxy=Tunnels(server).url, expected=2)
        check("certificate" in log, log)  # of an authority that nobody named
        log = case.run(https_proxy=Tunnels(server, "403 Forbidden").url, CURL_CA_BUNDLE=certificate, expected=2)
        check("the proxy 127.0.0.1 answered 403" in log and "no_proxy" in log, log)
        log = case.run(https_proxy=Tunnels(server, "503 No").url, CURL_CA_BUNDLE=certificate, expected=2)
        check("gave up after 2 attempts" in log and "503" in log, log)
        case.remove()
        server.shutdown()


def first_bytes(server):
    """What is no archive is refused by its first bytes, at once, and nothing of it stays."""
    page = b"\n<!DOCTYPE html><html><body>Sign in</body></html>" + b" " * 5000
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    zeros = bytes(10240)
    table = {  # archive, body, words ("" = it is taken)
        "page": ("tar", page, "web page"), "page_of_none": ("none", page, "web page"), "pointer": ("tar", pointer, "Git LFS pointer"),
        "gzip": ("tar", gzip.compress(CONTENT), "set archive: tgz"), "zip": ("tar", b"PK\x03\x04" + bytes(1000), "set archive: zip"),
        "tar_as_tgz": ("tgz", b"x" * 257 + b"ustar\x00" + bytes(1000), "set archive: tar"), "noise": ("tar", CONTENT, "is no tar"),
        "noise_as_zip": ("zip", CONTENT, "is no zip"), "nothing": ("tar", b"", "is empty"), "short": ("tar", b"abc", "is no tar"),
        "empty_tar": ("tar", zeros, ""), "tgz": ("tgz", gzip.compress(zeros), ""), "xml": ("zip", b"<?xml version='1.0'?><Error>AccessDenied", "web page"),
    }
    for name, (archive, body, words) in table.items():
        server.answers["/" + name] = lambda handler, _, body=body: handler.whole(body, 'ETag: "1"')
        case = Download([f"{server.url}/{name}"], archive=archive)
        log = case.run(expected=2 if words else 0)
        check(words in log, f"{name}: '{words}' is not in:\n{log}")
        check(case.left() == ([] if words else [name]), f"{name}: left behind {case.left()}")
        case.remove()


def tokens(server):
    """The token goes to the hub alone; elsewhere not even gated: true sends it."""
    other = Server(dict(server.answers))
    server.answers["/hub_redirect"] = redirect(f"{other.url}/honest")
    case = Download([f"{server.url}/hub_redirect"], "gated: true")
    case.run(MICRODIT_HUB=server.url, HF_TOKEN="hf_secret1")
    check(server.requests("/hub_redirect")[-1].get("authorization") == "Bearer hf_secret1", "the hub got no token")
    check("authorization" not in other.requests("/honest")[-1], "the token followed a redirect to another host")
    case.remove()
    case = Download([f"{other.url}/honest"], "gated: true")
    log = case.run(MICRODIT_HUB=server.url, HF_TOKEN="hf_secret1", expected=2)
    check("token goes to the hub" in log and "hf_secret1" not in log, log)
    case.remove()
    case = Download([f"{other.url}/honest"])
    case.run(MICRODIT_HUB=server.url, HF_TOKEN="hf_secret1")
    check("authorization" not in other.requests("/honest")[-1], "the token went to another host")
    case.remove()
    server.answers["/to_other"] = redirect(f"http://{server.host}\\@{other.host}/honest")  # whose is it?
    asked = len(other.requests("/honest"))
    case = Download([f"{server.url}/to_other"])
    log = case.run(MICRODIT_HUB=server.url, HF_TOKEN="hf_secret1", expected=2)
    check("with a user name" in log and len(other.requests("/honest")) == asked, log)
    case.remove()
    case = Download(["http://hub.example.org/x"], "gated: true\nmax_attempts: 1")
    log = case.run(MICRODIT_HUB="http://hub.example.org", HF_TOKEN="hf_secret1", expected=2)
    check("https only" in log, log)
    case.remove()
    other.shutdown()


def main():
    os.environ.pop("HF_TOKEN", None)
    server = Server({"/" + name: answer for name, (answer, _, _) in CASES.items()})
    server.answers["/to_link_local"] = redirect("http://169.254.169.254/latest")
    for path in ("/honest", "/to_link_local"):  # as a proxy is asked
        server.answers["http://example.invalid" + path] = server.answers[path]
    wanted = sys.argv[1:]
    for case in (every_answer, lies_close, other_file, secret_proxy, held_quota, private_names, proxy, tunnel, first_bytes, tokens):
        if not wanted or case.__name__ in wanted:
            case(server)
    server.shutdown()
    print(f"ok: {len(CASES)} answers")


if __name__ == "__main__":
    main()
