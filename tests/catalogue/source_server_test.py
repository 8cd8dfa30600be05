#!/usr/bin/env python3
"""The server of the miniatures keeps the promises that the catalogue's tests build on, with nginx and without."""
import json
import pathlib
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import programs  # noqa: E402
from programs import check  # noqa: E402

try:
    import miniature
    from source_server import GATED, NGINX, TOKEN, SourceServer
except ImportError as missing:
    programs.skip(f"{missing}: scripts/setup.sh --oracles")
from repository_hub import COMMIT  # noqa: E402


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def ask(url, follow=True, **headers):
    """Status, header lines, body."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *([] if follow else [Stay]))
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with opener.open(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers, refused.read()


def hub(server, made):
    top = f"{server.url}/api/datasets/pixparse/cc12m-wds"
    check(json.loads(ask(f"{top}/revision/main")[2])["sha"] == COMMIT, "commit")
    first = ask(f"{top}/tree/{COMMIT}?recursive=false")
    second = ask(first[1]["Link"].split("<")[1].split(">")[0])
    names = [entry["path"] for page in (first, second) for entry in json.loads(page[2])]
    check(len(names) == 2000 and names[-1] == "cc12m-train-1998.tar", f"{len(names)} names")
    data = (made / "hub/datasets/pixparse/cc12m-wds/cc12m-train-0001.tar").read_bytes()
    file = f"{server.url}/datasets/pixparse/cc12m-wds/resolve/{COMMIT}/cc12m-train-0001.tar"
    check(ask(file)[2] == data, "bytes")
    status, headers, _ = ask(file, follow=False)
    check(status == 302 and headers["X-Linked-Size"] == str(len(data)) and "Signature=" in headers["Location"], headers)
    signed = headers["Location"]
    whole = ask(signed)
    check(whole[2] == data and whole[1]["ETag"], whole[1])
    status, headers, rest = ask(signed, Range="bytes=1000-", If_Range=whole[1]["ETag"])
    check(status == 206 and rest == data[1000:] and headers["Content-Range"] == f"bytes 1000-{len(data) - 1}/{len(data)}", headers)
    status, _, rest = ask(signed, Range="bytes=1000-", If_Range='"another"')
    check(status == 200 and rest == data, "If-Range of another file")
    check(ask(signed.replace("Signature=", "Signature=0"))[0] == 403, "a wrong signature")
    server.uses = 1
    signed = ask(file, follow=False)[1]["Location"]
    check([ask(signed)[0] for _ in range(2)] == [200, 403], "uses")
    server.uses, server.seconds = 0, -1
    status, _, body = ask(file)
    check(status == 403 and b"expired" in body, "seconds")
    server.seconds = 3600
    server.busy_every = 2
    answers = [ask(file, follow=False) for _ in range(4)]
    check(sorted(answer[0] for answer in answers) == [302, 302, 429, 429], [answer[0] for answer in answers])
    check(next(answer[1] for answer in answers if answer[0] == 429)["Retry-After"] == "1", "Retry-After")
    server.busy_every = 0


def token(server):
    check(GATED == ("datasets/JourneyDB/JourneyDB",), GATED)
    for path in (f"/api/{GATED[0]}/revision/main", f"/{GATED[0]}/resolve/{COMMIT}/data/train/imgs/000.tgz"):
        said = [ask(server.url + path, **words)[0] for words in ({}, {"Authorization": "Bearer other"}, {"Authorization": f"Bearer {TOKEN}"})]
        check(said == [401, 403, 200], f"{path}: {said}")


def links(server, folder):
    def refused():
        rows = [line.split("\t") for line in (folder / "links.txt").read_text().splitlines()[1:]]
        return [ask(url)[0] for _, url in rows]

    server.write_links(folder / "links.txt")
    check(refused() == [200] * 3, "new links")
    server.expire_links()
    check(refused() == [403] * 3, "links of an earlier list")
    server.write_links(folder / "links.txt", seconds=1)
    time.sleep(1.1)
    check(refused() == [403] * 3, "links whose time is over")


def main():
    with tempfile.TemporaryDirectory(prefix="microdit_source_server_") as scratch:
        scratch = pathlib.Path(scratch)
        made = scratch / "made"
        for name in ("cc12m", "journeydb", "sa1b", "coco2014"):
            miniature.Miniature(name, made)
        for nginx in (True, False) if pathlib.Path(NGINX).exists() else (False,):
            server = SourceServer(made, whole=True, nginx=nginx)
            try:
                hub(server, made)
                token(server)
                links(server, scratch)
                check(ask(server.address("http://images.cocodataset.org/zips/val2014.zip"))[0] == 200, "a file of another host")
                check(ask(server.address("http://images.cocodataset.org/../../../etc/passwd"))[0] in (400, 404), "a file outside")
            finally:
                server.stop()
    print("ok")


if __name__ == "__main__":
    main()
