#!/usr/bin/env python3
"""download: several files at once, outages waited out, stops and locks answered with 75, folders used where they lie."""
import fcntl
import io
import json
import os
import random
import signal
import socket
import sys
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from hostile_server import Download, Server, check, mark, wait_until
from programs import BIN

FAULTS = BIN.parent / "tests"  # shared libraries to preload
CONTENT = random.Random(3).randbytes(3_000_000)


def several_at_once(_):
    """All of `parallel` files are under way together; one more is not."""
    together, most, lock = threading.Barrier(3, timeout=20), [0, 0], threading.Lock()

    def answer(handler, _):
        with lock:
            most[0] += 1
            most[1] = max(most)
        together.wait()  # a single transfer at a time would never get here
        handler.ranged(CONTENT[:1000])
        with lock:
            most[0] -= 1
    server = Server({f"/{i}.bin": answer for i in range(6)})
    case = Download([f"{server.url}/{{0..5}}.bin"], "parallel: 3")
    case.run()
    check(len(case.left()) == 6 and most[1] == 3, f"{case.left()}, {most[1]} at once")
    case.remove()
    server.shutdown()


def outage(_):
    """A server that served before and is gone: waited for, continued at the byte; a stop meanwhile is 75 at once."""
    gone = threading.Event()

    def cut_then_gone(handler, count):
        if count == 1:
            handler.ranged(CONTENT, send=1_500_000)
            gone.set()
        elif gone.is_set():
            return None  # no answer at all
        else:
            handler.ranged(CONTENT)
        return None
    server = Server({"/a.bin": cut_then_gone})
    case = Download([f"{server.url}/a.bin"], "max_attempts: 3")
    process = case.start()
    wait_until(lambda: len(server.requests("/a.bin")) > 6, "more requests than max_attempts", 60)
    process.send_signal(signal.SIGTERM)
    begin = time.monotonic()
    log, _ = process.communicate(timeout=30)
    check(process.returncode == 75 and time.monotonic() - begin < 10, f"exit {process.returncode}: {log}")
    check("no service for" in log and "waiting" in log, log)
    process = case.start()  # the next life finds a partial file: the server is known
    asked = len(server.requests("/a.bin"))
    wait_until(lambda: len(server.requests("/a.bin")) > asked + 5, "the next life waits too", 60)
    gone.clear()
    log, _ = process.communicate(timeout=90)
    check(process.returncode == 0 and (case.raw / "a.bin").read_bytes() == CONTENT, log)
    check(server.requests("/a.bin")[-1].get("range") == "bytes=1500000-", server.requests("/a.bin")[-1])
    case.remove()
    server.shutdown()


def stop_while_stalled(_):
    """A stop is obeyed within 10 s by a transfer that gets no byte."""
    asked = threading.Event()

    def stall(handler, _):
        handler.raw("Content-Length: 100", body=b"x")
        asked.set()
        time.sleep(60)
    server = Server({"/a.bin": stall, "/b.bin": stall})
    case = Download([f"{server.url}/a.bin", f"{server.url}/b.bin"])
    process = case.start()
    check(asked.wait(30), "nothing was asked")
    begin = time.monotonic()
    process.send_signal(signal.SIGUSR1)
    log, _ = process.communicate(timeout=30)
    check(process.returncode == 75 and time.monotonic() - begin < 10, f"exit {process.returncode}: {log}")
    case.remove()
    server.shutdown()


def stops_within(process, seconds):
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    log, _ = process.communicate(timeout=60)
    check(process.returncode == 75 and time.monotonic() - begin < seconds, f"exit {process.returncode} after {time.monotonic() - begin} s: {log}")
    return log


def lost_name(_):
    """A name that is being looked up for 40 s: a stop does not wait for it, nor does another file."""
    server = Server({"/b.bin": lambda h, _: h.ranged(CONTENT)})
    case = Download(["http://lost.example/a.bin", f"{server.url}/b.bin"], "parallel: 2")
    process = case.start(LD_PRELOAD=str(FAULTS / "libslow_names.so"), MICRODIT_SLOW_NAMES="lost.example")
    wait_until(lambda: (case.raw / "b.bin").exists(), "the other file")
    stops_within(process, 10)
    case.remove()
    server.shutdown()


def dead_host(_):
    """A host that says to come back in an hour gets no more requests than there are threads, and keeps none of them."""
    busy = {f"/{name}.bin": lambda h, _: h.whole(b"", "Retry-After: 3600", status="503 Busy") for name in "abcdefgh"}
    dead, sound = Server(busy), Server({"/z.bin": lambda h, _: h.ranged(CONTENT)})
    for parallel in (1, 4):
        dead.seen.clear()
        case = Download([*(f"{dead.url}{path}" for path in busy), f"{sound.url}/z.bin"], f"parallel: {parallel}")
        process = case.start()
        wait_until(lambda: (case.raw / "records/z.bin.json").exists(), "the file of the other host")
        time.sleep(1)
        check(1 <= len(dead.seen) <= parallel, f"{len(dead.seen)} requests to a host that said to wait")
        log = stops_within(process, 10)
        check("set aside for 1 h" in log, log)
        check(case.left() == ["z.bin"], case.left())
        case.remove()
    dead.shutdown()
    sound.shutdown()


def silent_hosts(_):
    """A host that never gave a byte of an answer, be it that no connection reaches it or that it hangs up: its files are given up together
    after max_attempts (of hang-ups, 8 times as many: some may be single files'), others are fetched meanwhile; the next life, which finds files of the other host, does the same."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        dumb = Server({f"/{i:02d}.bin": lambda h, _: None for i in range(20)})
        sound = Server({"/z.bin": lambda h, _: h.ranged(CONTENT)})
        for nobody in (f"http://127.0.0.1:{taken.getsockname()[1]}", dumb.url):
            case = Download([f"{nobody}/{{00..19}}.bin", f"{sound.url}/z.bin"], "parallel: 1\nmax_attempts: 3")
            for life in (1, 2):
                dumb.seen.clear()
                log = case.run(expected=2)
                rounds = 2 if life == 1 else 1
                hangs_up = nobody == dumb.url
                if not hangs_up:
                    check(log.count("; set aside for") == 2 * rounds, log)  # the third failure is the end
                check(log.count(f"not asked for, as {nobody} does not answer") >= (10 if hangs_up else 19) * rounds, log)
                check("20 of 21 items failed" in log, log)
                check(len(dumb.seen) <= (24 * rounds if hangs_up else 0), dumb.seen)
                check(case.left() == ["z.bin"], case.left())
            case.remove()
        dumb.shutdown()
        sound.shutdown()


def silent_hosts_in_manifests(_):
    """Which files of a silent host were asked for is chance; what the manifest says of them is none."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        sound = Server({"/z.bin": lambda h, _: h.ranged(CONTENT)})
        manifests = set()
        for parallel, tasks in ((1, [""]), (4, [""]), (1, ["task=1/2", "task=0/2", "task=1/2"])):
            case = Download([f"{nobody}/{{00..05}}.bin", f"{sound.url}/z.bin"], f"parallel: {parallel}\nmax_attempts: 3", top="max_failed_items: 6\n")
            for task in tasks:
                case.start(*filter(None, [task])).communicate(timeout=60)
            manifests.add((case.raw / "manifest.jsonl").read_text())
            case.remove()
        check(len(manifests) == 1, "\n".join(manifests))
        check(f"{nobody} does not answer" in manifests.pop(), "why is not said")
        sound.shutdown()


def one_attempt(_):
    """Where one attempt is all that a file has, the silence of one says nothing of its host; in the next life neither."""
    server = Server({"/a.bin": lambda h, _: None} | {f"/{name}.bin": lambda h, _: h.ranged(CONTENT) for name in "bc"})
    case = Download([f"{server.url}/{name}.bin" for name in "abc"], "parallel: 1\nmax_attempts: 1")
    for _ in (1, 2):
        log = case.run(expected=2)
        check(case.left() == ["b.bin", "c.bin"] and "1 of 3 items failed" in log, log)
    case.remove()
    server.shutdown()


def dead_target(_):
    """A host that another redirects to and that never answers is given up itself, once for all of its files; those of the other host are
    fetched. The next life does the same."""
    dead = Server({f"/{i:02d}.bin": lambda h, _: None for i in range(20)})
    to = {path: lambda h, _: h.whole(b"", f"Location: {dead.url}{h.path}", status="302 Found") for path in dead.answers}
    good = Server(to | {f"/z{i}.bin": lambda h, _: h.ranged(CONTENT) for i in range(3)})
    for parallel in (1, 4):
        case = Download([f"{good.url}/{{00..19}}.bin", f"{good.url}/z{{0..2}}.bin"], f"parallel: {parallel}\nmax_attempts: 3")
        for life in (1, 2):
            dead.seen.clear()
            good.seen.clear()
            log = case.run(expected=2)
            rounds = 2 if life == 1 else 1
            # Hang-ups that were under way together count once, and 8 are a silence: from the first on, one file asks at a time.
            most = (8 * parallel + 16 + parallel) * rounds
            check(len(dead.seen) <= most and len(good.seen) <= 3 + 60 * rounds + 30 + 3 * parallel,
                  f"{len(dead.seen)} requests to the silent host (at most {most}), {len(good.seen)} to the other\n{log}")
            check(f"as {dead.url} does not answer" in log and f"as {good.url}" not in log and "20 of 23 items failed" in log, log)
            check(case.left() == ["z0.bin", "z1.bin", "z2.bin"], case.left())
        case.remove()
    dead.shutdown()
    good.shutdown()


def balanced_target(_):
    """One host sends every other request for a file to a host that never answers, the next to one that serves: every file is fetched,
    by several at once as well: as soon as one that waits is sent elsewhere, the others that wait may be, too."""
    names = [f"/{i:02d}.bin" for i in range(30)]
    for parallel in (1, 4):
        dead, mirror = Server({name: lambda h, _: None for name in names}), Server({name: lambda h, _: h.ranged(CONTENT[:1000]) for name in names})
        to = (mirror, dead)
        good = Server({name: lambda h, count, to=to: h.whole(b"", f"Location: {to[count % 2].url}{h.path}", status="302 Found") for name in names})
        case = Download([good.url + name for name in names], f"parallel: {parallel}\nmax_attempts: 3")
        case.run()
        check(len(case.left()) == 30, case.left())
        case.remove()
        for server in (good, dead, mirror):
            server.shutdown()


def outage_of_target(_):
    """A host that another redirects to, that has served and is gone: waited for, in the next life, too, without a question to the other;
    files of the other host are fetched meanwhile."""
    gone = threading.Event()

    def once_then_gone(handler, _):
        if not gone.is_set():
            handler.ranged(CONTENT)
            gone.set()
    store = Server({f"/{name}.bin": once_then_gone for name in "abc"})
    to = {path: lambda h, _: h.whole(b"", f"Location: {store.url}{h.path}", status="302 Found") for path in store.answers}
    good = Server(to | {f"/z{i}.bin": lambda h, _: h.ranged(CONTENT) for i in range(3)})
    case = Download([*(good.url + path for path in good.answers)], "parallel: 1\nmax_attempts: 2")
    for life in (1, 2):
        process = case.start()
        store.seen.clear()
        wait_until(lambda: len(store.seen) > 6, "more requests than max_attempts", 60)
        check(case.left()[-4:] == ["a.bin", "z0.bin", "z1.bin", "z2.bin"], case.left())
        log = stops_within(process, 10)
        check(f"{store.url}: no service for" in log and f"{good.url}: no service" not in log, log)
    asked = len(good.seen), len(store.seen)
    process = case.start()
    wait_until(lambda: len(store.seen) > asked[1] + 6, "the next life waits", 60)
    mine, its = len(good.seen) - asked[0], len(store.seen) - asked[1]
    check(mine <= 2 + 3 + its, f"the other host was asked {mine} times, the silent one {its}")  # 3: once for other targets
    store.answers = {path: lambda h, _: h.ranged(CONTENT) for path in store.answers}
    log, _ = process.communicate(timeout=60)
    check(process.returncode == 0 and len(case.left()) == 6, log)
    case.remove()
    store.shutdown()
    good.shutdown()


def waiting_asks_nobody_else(_):
    """Files that wait for a host that has served and is gone ask the hosts that redirect to it, near or through another hop, only in its turns;
    where several are gone, too."""
    def once(handler, _):
        if len(handler.server.seen) == 1:
            handler.ranged(CONTENT[:1000])
    names = [f"/{i:03d}.bin" for i in range(100)]
    for hops, num_stores in ((0, 1), (1, 1), (0, 2)):
        stores = [Server({name: once for name in names}) for _ in range(num_stores)]
        answers = {}
        for i, name in enumerate(names):
            store = stores[i % num_stores]
            answers["/x" * hops + name] = lambda h, _, to=store.url + name: h.whole(b"", f"Location: {to}", status="302 Found")
            if hops:
                answers[name] = lambda h, _, to="/x" + name: h.whole(b"", f"Location: {to}", status="302 Found")
        good = Server(answers)
        case = Download([good.url + name for name in names], "parallel: 4\nmax_attempts: 3")
        case.config.write_text(case.config.read_text().replace("backoff_s: 0.02", "backoff_s: 1"))
        process = case.start()
        wait_until(lambda: len(good.seen) >= (1 + hops) * len(names), "every file was sent to the store", 60)
        time.sleep(2)
        good.seen.clear()
        time.sleep(8)
        check(len(good.seen) <= 30, f"{hops} hops, {num_stores} stores: {len(good.seen)} requests in 8 s")  # 400 to 1,400 were
        log = stops_within(process, 10)
        check("no service for" in log, log)
        case.remove()
        for server in (good, *stores):
            server.shutdown()


def settled_by_redirector(_):
    """While files wait for a host that is gone, the one that redirected to it begins to answer itself: 404 settles each at once; a wish to be
    left alone is heard by all."""
    for status in ("404 Not Found", "503 Busy"):
        store = Server({f"/{i}.bin": (lambda h, _: h.ranged(CONTENT)) if i == 0 else (lambda h, _: None) for i in range(8)})
        settles = threading.Event()

        def answer(handler, _, store=store, settles=settles, status=status):
            if settles.is_set():
                handler.whole(b"", "Retry-After: 3600", status=status)
            else:
                handler.whole(b"", f"Location: {store.url}{handler.path}", status="302 Found")
        good = Server({path: answer for path in store.answers})
        case = Download([good.url + path for path in store.answers], "parallel: 2\nmax_attempts: 3")
        process = case.start()
        wait_until(lambda: (case.raw / "0.bin").exists() and len(store.seen) > 2, "the store is waited for", 60)
        settles.set()
        if status.startswith("404"):
            log, _ = process.communicate(timeout=60)  # 65 s each before
            check(process.returncode == 2 and "7 of 8 items failed" in log, log)
        else:
            time.sleep(3)
            good.seen.clear()
            time.sleep(12)
            check(len(good.seen) <= 2, good.seen)
            stops_within(process, 10)
        case.remove()
        good.shutdown()
        store.shutdown()


def odd_dates(_):
    """A part is continued where the server's date is not written as it should be and its tag is weak; not, where the file has changed."""
    for begin_date, date in ((d, d2) for d, d2 in (("2026-01-05T10:00:00Z", "2026-01-06T10:00:00Z"), ("Mon, 05 Jan 2026 10:00:00 +0000", "Tue, 06 Jan 2026 10:00:00 +0000"))):
        for changes in (False, True):
            def cut(handler, count, dates=(begin_date, date if changes else begin_date), changes=changes):
                begin = handler.offset()
                content = bytes(3_000_000) if changes and count > 1 else CONTENT
                head = f'ETag: W/"v1"\r\nLast-Modified: {dates[count > 1]}\r\nContent-Length: {len(content) - begin}'
                if begin:
                    head += f"\r\nContent-Range: bytes {begin}-{len(content) - 1}/{len(content)}"
                handler.raw(head, status="206 Partial Content" if begin else "200 OK", body=content[begin:begin + 1_100_000])
            server = Server({"/a.bin": cut})
            case = Download([f"{server.url}/a.bin"], "max_attempts: 5")
            case.run()
            check((case.raw / "a.bin").read_bytes() == (bytes(3_000_000) if changes else CONTENT), server.seen)
            check(len(server.seen) == (5 if changes else 3), server.seen)
            case.remove()
            server.shutdown()


def other_versions(_):
    """Bytes of two versions are never joined: what both answers say (tag, weak tag, date, total) must agree."""
    date = "Last-Modified: Mon, 05 Jan 2026 10:00:00 GMT"
    first, second = b"A" * 3_000_000, b"B" * 3_000_000
    for before, after, content in ((["ETag: 20260105"], ["ETag: 20260106"], second), ([date, 'ETag: W/"1"'], [date, 'ETag: W/"2"'], second),
                                   ([date], [date], second + b"B"), (['ETag: "1"'], ['ETag: "1"'], second + b"B")):
        def answer(handler, count, before=before, after=after, content=content):
            if count == 1:
                handler.raw(*before, f"Content-Length: {len(first)}", body=first[:1_200_000])
                return
            begin = handler.offset()  # whatever If-Range says
            part = [f"Content-Range: bytes {begin}-{len(content) - 1}/{len(content)}"] if begin else []
            handler.raw(*after, *part, f"Content-Length: {len(content) - begin}", body=content[begin:], status="206 Partial Content" if begin else "200 OK")
        server = Server({"/a.bin": answer})
        case = Download([f"{server.url}/a.bin"], "max_attempts: 4")
        case.run()
        check((case.raw / "a.bin").read_bytes() == content, f"{before} {after}: a mixture")
        case.remove()
        server.shutdown()


def other_length(_):
    """What an earlier version's answer said of its length is nothing that a later version has to have."""
    first, second = b"A" * 3_000_000, b"B" * 2_500_000

    def answer(handler, count):
        if count == 1:
            handler.raw(f"Content-Length: {len(first)}", 'ETag: "v1"', body=first[:1_200_000])
        else:
            handler.raw("Transfer-Encoding: chunked", 'ETag: "v2"', body=b"%x\r\n" % len(second) + second + b"\r\n0\r\n\r\n")
    server = Server({"/a.bin": answer})
    case = Download([f"{server.url}/a.bin"], "max_attempts: 3")
    case.run()
    check((case.raw / "a.bin").read_bytes() == second and len(server.seen) == 2, server.seen)
    case.remove()
    server.shutdown()


def bad_file_behind_a_known_store(_):
    """In a later life a store is known, and what it served is not: a file that it alone refuses is that file's trouble still."""
    for bad in (lambda h, _: h.whole(b"", status="503 Slow Down"), lambda h, _: None):
        store = Server({f"/{i}.bin": lambda h, _: h.ranged(CONTENT[:1000]) for i in range(3)} | {"/z.bin": bad})
        front = Server({path: lambda h, _, store=store: h.whole(b"", f"Location: {store.url}{h.path}", status="302 Found") for path in store.answers})
        case = Download([front.url + path for path in front.answers], "parallel: 1\nmax_attempts: 3")
        for _ in range(3):
            log = case.run(expected=2, timeout=30)
            check("1 of 4 items failed" in log and "no service" not in log, log)
        case.remove()
        front.shutdown()
        store.shutdown()


def after_the_patience(_):
    """A host that has served, and serves nobody for two hours, is given up as one: its files are told so without a request each."""
    served = []

    def answer(handler, _):
        if len(served) < 8:
            served.append(handler.path)
            handler.ranged(CONTENT[:100])
        else:
            handler.whole(b"", status="503 Busy")
    server = Server({f"/{i:02d}.bin": answer for i in range(60)})
    case = Download([server.url + path for path in server.answers], "parallel: 4")
    case.config.write_text(case.config.read_text().replace("backoff_s: 0.02", "backoff_s: 60"))
    log = case.run(expected=2, timeout=100, LD_PRELOAD=str(FAULTS / "libfast_clock.so"), MICRODIT_FAST_CLOCK="400")
    check("52 of 60 items failed" in log and log.count(f"not asked for, as {server.url} does not answer: no service for") >= 90, log)
    case.remove()
    server.shutdown()


def hang_ups_are_no_refusals(_):
    """One refused connection after many hang-ups is one silence, not as many."""
    hung_up = threading.Event()

    def answer(handler, _):
        if len(handler.server.seen) < 20:
            return None
        if not hung_up.is_set():
            hung_up.set()
            handler.server.socket.close()  # the next connection is refused
        return None
    server = Server({f"/{i:02d}.bin": answer for i in range(40)})
    case = Download([server.url + path for path in server.answers], "parallel: 1\nmax_attempts: 8")
    process = case.start()
    wait_until(hung_up.is_set, "twenty hang-ups")
    log, _ = process.communicate(timeout=60)
    check(process.returncode == 2 and "gave up after 8 attempts" in log, log)
    case.remove()


def quota_of_seconds(_):
    """Too many requests, with a time of few seconds: all threads wait, not each for itself."""
    busy = threading.Event()
    server = Server({f"/{i:04d}.bin": lambda h, _: h.whole(b"", "Retry-After: 4", status="429 Too Many Requests") if busy.is_set() else h.ranged(CONTENT[:1000])
                     for i in range(2000)})
    case = Download([server.url + path for path in server.answers], "parallel: 16")
    process = case.start()
    wait_until(lambda: len(server.seen) > 50, "some are served")
    busy.set()
    time.sleep(1)
    asked = len(server.seen)
    time.sleep(10)
    check(len(server.seen) - asked <= 20, f"{len(server.seen) - asked} requests in 10 s")  # 16 threads, each for itself: 40
    stops_within(process, 10)
    case.remove()
    server.shutdown()


def quota_wait(_):
    """A hub's quota that is used up keeps no thread: files of other hosts are fetched meanwhile."""
    hub, sound = Server({"/resolve/a.bin": lambda h, _: h.ranged(CONTENT)}), Server({"/z.bin": lambda h, _: h.ranged(CONTENT)})
    case = Download([f"{hub.url}/resolve/a.bin", f"{sound.url}/z.bin"], "parallel: 1")
    case.raw.parent.mkdir(parents=True)
    (case.raw.parent / ".quota_127.0.0.1.json").write_text(json.dumps({"resolvers": {"window_ends": time.time() + 600, "remaining": 0}}))
    process = case.start(MICRODIT_HUB=hub.url)
    wait_until(lambda: (case.raw / "records/z.bin.json").exists(), "the file of the other host")
    check("quota is used up" in stops_within(process, 10) and not hub.seen, hub.seen)
    case.remove()
    hub.shutdown()
    sound.shutdown()


def set_aside(_):
    """What was set aside is taken up again when its time has come, and its attempts are counted on."""
    def busy(times):
        return lambda h, count: h.whole(b"", "Retry-After: 6", status="503 Busy") if count <= times else h.ranged(CONTENT)
    server = Server({"/a.bin": busy(1), "/b.bin": busy(0)})
    case = Download([f"{server.url}/a.bin", f"{server.url}/b.bin"], "parallel: 1")
    begin = time.monotonic()
    case.run()
    check(case.left() == ["a.bin", "b.bin"] and time.monotonic() - begin > 6, f"{case.left()} after {time.monotonic() - begin} s")
    case.remove()
    server.shutdown()
    server = Server({"/a.bin": busy(9)})
    case = Download([f"{server.url}/a.bin"], "max_attempts: 2")
    log = case.run(expected=2)
    check("gave up after 2 attempts" in log and len(server.requests("/a.bin")) == 4, log)  # tried once more at the end
    case.remove()
    server.shutdown()


def bytes_read(process):
    lines = open(f"/proc/{process.pid}/io", encoding="ascii").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar"))


def lost_pages(_):
    """Of a life that was killed only what was synced is continued: a crash of the machine leaves a part's length, and zeros in it."""
    go = threading.Event()

    def answer(handler, count):
        if count > 1:
            handler.ranged(CONTENT)
            return
        handler.ranged(CONTENT, send=2_000_000)
        handler.wfile.flush()
        go.wait(20)
    server = Server({"/a.bin": answer})
    case = Download([f"{server.url}/a.bin"])
    process = case.start()
    part = case.raw / ".a.bin.part"
    wait_until(lambda: part.exists() and part.stat().st_size == 2_000_000, "two megabytes")
    process.kill()
    process.communicate()
    go.set()
    with open(part, "r+b") as file:
        file.seek(1_000_000)
        file.write(bytes(500_000))
    case.run()
    check((case.raw / "a.bin").read_bytes() == CONTENT, server.seen)
    case.remove()
    server.shutdown()


def old_bytes(_):
    """While a host says to wait, nobody reads what has come already; when the file is whole, it is read once at most."""
    content, busy = random.Random(4).randbytes(40 << 20), threading.Event()
    asked = []  # from which byte

    def answer(handler, count):
        if handler.headers.get("Range") != "bytes=0-0":  # whether the host serves at all
            asked.append(handler.offset())
        if count == 1:
            handler.ranged(content, send=30 << 20)
        elif busy.is_set():
            handler.whole(b"", "Retry-After: 6", status="503 Busy")
        else:
            handler.ranged(content)
    busy.set()
    server = Server({"/a.bin": answer})
    case = Download([f"{server.url}/a.bin"], "parallel: 1\nmax_attempts: 50")
    process = case.start()
    wait_until(lambda: len(asked) == 2, "it is set aside", 60)
    begin = bytes_read(process)
    wait_until(lambda: len(asked) == 4, "it was taken up twice", 60)
    check(bytes_read(process) - begin < 5 << 20, f"{bytes_read(process) - begin} bytes read in two waits")
    process.send_signal(signal.SIGTERM)
    check(process.wait(timeout=30) == 75, process.communicate()[0])
    process = case.start()  # the next life asks first, too
    wait_until(lambda: len(asked) == 6, "the next life has waited", 60)
    check(bytes_read(process) < 20 << 20, f"{bytes_read(process)} bytes read in the next life")
    busy.clear()
    log, _ = process.communicate(timeout=60)
    check(process.returncode == 0 and (case.raw / "a.bin").read_bytes() == content, log)
    check(asked == [0] + [30 << 20] * 6, asked)
    case.remove()
    server.shutdown()


def unreadable(_):
    """A file of the source that gives an I/O error: recorded as a fault, the others are taken, 76; it is no obstacle later."""
    case = Download("folder: IN\n  pattern: ['*.tar']", archive="tar", top="max_failed_items: 5\n")
    lies = case.data / "archives"
    lies.mkdir()
    (lies / "a.tar").symlink_to("/proc/self/mem")  # reading its first byte: EIO
    for i in range(2):
        tar_of(lies / f"b{i}.tar", i)
    case.config.write_text(case.config.read_text().replace("IN", str(lies)))
    for life in (1, 2):
        log = case.run(expected=76)
        check("a.tar: " in log and "Input/output error" in log and "exit 76" in log, log)
        failed = json.loads((case.raw / "records/a.tar.failed.json").read_text())
        check(failed["kind"] == "fault" and failed["attempts"] == life + 1, failed)
        check(case.left() == ["b0.tar", "b1.tar"] and not (case.raw / "manifest.jsonl").exists(), case.left())
    (lies / "a.tar").unlink()
    tar_of(lies / "a.tar", 7)
    case.run()
    check(case.left() == ["a.tar", "b0.tar", "b1.tar"] and not (case.raw / "records/a.tar.failed.json").exists(), case.left())
    case.remove()


def broken_output(_):
    """A fault of the stage's own folder ends it at once: nothing is recorded of the file, no other is tried."""
    server = Server({f"/{name}.bin": lambda h, _: h.ranged(CONTENT) for name in "ab"})
    case = Download([f"{server.url}/a.bin", f"{server.url}/b.bin"], "parallel: 1", top="max_failed_items: 5\n")
    log = case.run(expected=76, LD_PRELOAD=str(FAULTS / "libfaulty_disk.so"), MICRODIT_FAULT="fsync:a.bin:5")
    check("Input/output error" in log and not server.requests("/b.bin"), log)
    check(not list((case.raw / "records").glob("*.failed.json")), "a fault of the folder is recorded as the file's")
    case.remove()
    server.shutdown()


def secrets(_):
    """No message shows what a signed address or a user name in it carries, wherever a value is quoted."""
    signed = "https://user:HUSH@bucket.example/a.tar?sig=HUSH"
    for top in (f"max_failed_items: {signed}\n", f"{signed}: 1\n", f"captions: '{signed}'\n"):
        case = Download([signed], "list_fil: x", top=top)
        log = case.run(expected=2)
        check("HUSH" not in log and "bucket.example/a.tar?..." in log and "list_fil" in log, log)
        case.remove()
    for word in (f"source.urls='{signed}", f"source.urls={signed} # x", f"source.urls=[{signed}", signed, f"source.urls.0.x={signed}"):
        case = Download([signed])
        log = case.run(word, expected=2)
        check("HUSH" not in log and "bucket.example" in log, log)
        case.remove()


def locked(_):
    """A file that an orphan of an earlier life still writes: the others are fetched, then 75."""
    server = Server({f"/{name}.bin": lambda h, _: h.ranged(CONTENT[:5000]) for name in "ab"})
    case = Download([f"{server.url}/a.bin", f"{server.url}/b.bin"])
    case.raw.mkdir(parents=True)
    with open(case.raw / ".a.bin.part", "wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        log = case.run(expected=75)
    check("another process is still downloading" in log and case.left() == [".a.bin.part", "b.bin"], f"{log}{case.left()}")
    case.run()
    check(case.left() == ["a.bin", "b.bin"], case.left())
    case.remove()
    server.shutdown()


def tar_of(path, number):
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(f"{number}.txt")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"%05d" % number))


def in_place(_):
    """Archives of a folder are used where they lie: a link, a record with size, time and hash; a changed one is refused."""
    case = Download("folder: IN\n  pattern: ['*.tar']", archive="tar")
    lies = case.data / "archives"
    lies.mkdir()
    for i in range(3):
        tar_of(lies / f"{i}.tar", i)
    case.config.write_text(case.config.read_text().replace("IN", str(lies)))
    log = case.run("--dry-run")
    check("3 files" in log and "to read, 0 B to store" in log and not case.raw.exists(), log)
    case.run()
    check(all((case.raw / f"{i}.tar").is_symlink() for i in range(3)), case.left())
    record = json.loads((case.raw / "records/1.tar.json").read_text())
    check(record["details"]["inputs"] == {"file": "1.tar", "bytes": 10240, "mtime": int((lies / "1.tar").stat().st_mtime)}, record)
    for path in case.raw.rglob("*.json*"):
        check(str(case.data) not in path.read_text(), f"{path.name} holds a path")
    tar_of(lies / "3.tar", 3)  # it grows
    case.run()
    check((case.raw / "manifest.2.jsonl").exists() and len(case.left()) == 4, case.left())
    os.utime(lies / "1.tar", (1, 1))
    log = case.run(expected=2)
    check("1.tar" in log, log)
    case.remove()


def odd_addresses(_):
    """Spaces in addresses, %20 in file://."""
    server = Server({"/a%20b.bin": lambda h, _: h.ranged(b"12345")})
    case = Download([f"{server.url}/a b.bin"])
    (case.data / "c d").mkdir()
    (case.data / "c d/e.bin").write_bytes(b"6")
    case.config.write_text(case.config.read_text().replace("b.bin'", f"b.bin', 'file://{case.data}/c%20d/e.bin'"))
    case.run()
    check(case.left() == [f"a_b-{mark('a b')}.bin", "e.bin"], case.left())
    case.remove()
    server.shutdown()


def names(_):
    """Names of any length and script are fetched and stay apart; no other file of the source changes one."""
    case = Download("folder: IN\n  pattern: ['*.jpg']")
    lies = case.data / "pictures"
    lies.mkdir()
    odd = ["g0.jpg", "1." + "\u82f9" * 45 + ".jpg", "\u0420\u0438\u0441. 12 \u2014 " + "\u0412\u0438\u0434 " * 20 + ".jpg", "a.x y.jpg", "a.x_y.jpg",
           "p.part", "p.failed"]
    for name in odd:
        (lies / name).write_bytes(name.encode())
    case.config.write_text(case.config.read_text().replace("IN", str(lies)).replace("'*.jpg'", "'*'"))
    case.run()
    check({(case.raw / name).read_text() for name in case.left()} == set(odd) and "g0.jpg" in case.left(), case.left())
    case.remove()
    case = Download("list_file: LIST")
    for name in ("one", "two"):
        (case.data / name).write_text(name)
    table = case.data / "list.tsv"
    case.config.write_text(case.config.read_text().replace("LIST", str(table)))
    table.write_text(f"a b.bin\tfile://{case.data}/one\n")
    case.run()
    before = case.left()
    table.write_text(f"a_b.bin\tfile://{case.data}/two\na b.bin\tfile://{case.data}/one\n")
    case.run()
    check(case.left() == sorted([*before, "a_b.bin"]), case.left())
    check([(case.raw / name).read_text() for name in (before[0], "a_b.bin")] == ["one", "two"], case.left())
    case.remove()


def dry_run(_):
    """What it will need: bytes, inodes, time; nothing is made."""
    server = Server({f"/{i}.bin": lambda h, _: h.whole(CONTENT) for i in range(16)})
    case = Download([f"{server.url}/{{0..3}}.bin?sig=SECRET"])
    log = case.run("--dry-run")
    check("4 files" in log and "12.0 MB to read, 12.0 MB to store, 12 inodes" in log and "at the" in log and "SECRET" not in log, log)
    check(not case.raw.exists(), "a dry run left something")
    case.remove()
    case = Download([f"{server.url}/{{0..100000}}.bin"])
    check("100001 loose files" in case.run("--dry-run"), "a hundred thousand loose files, and no word")
    case.remove()
    server.shutdown()


CASES = (
    several_at_once, outage, stop_while_stalled, lost_name, dead_host, silent_hosts, silent_hosts_in_manifests, one_attempt, dead_target,
    balanced_target, outage_of_target, waiting_asks_nobody_else, settled_by_redirector, odd_dates, other_versions, other_length,
    bad_file_behind_a_known_store, after_the_patience, hang_ups_are_no_refusals, quota_of_seconds, quota_wait, set_aside, lost_pages, old_bytes,
    unreadable, broken_output, secrets, locked, in_place, odd_addresses, names, dry_run,
)


def main():
    wanted = sys.argv[1:]
    with ThreadPoolExecutor(3) as pool:  # they wait much
        done = [pool.submit(case, None) for case in CASES if not wanted or case.__name__ in wanted]
        for case in done:
            case.result()
    print("ok")


if __name__ == "__main__":
    main()
