#!/usr/bin/env python3
"""download: what is a file's own trouble, and what its host's."""
import random
import signal
import sys
import time

from hostile_server import Download, Server, check, wait_until

CONTENT = random.Random(3).randbytes(1000)


def ok(handler, _):
    handler.ranged(CONTENT)


def requests_while(server, seconds):
    server.seen.clear()
    time.sleep(seconds)
    return len(server.seen)


def stop(process):
    process.send_signal(signal.SIGTERM)
    log, _ = process.communicate(timeout=30)
    check(process.returncode == 75, log)
    return log


def hang_ups(_):
    """Files whose requests are hung up on, as filters do, fail by themselves; the host has others. 8 in a row are a silence of the host:
    from the first on, files that were not asked for yet go first; it is given up after max_attempts of them (32 requests)."""
    for parallel in (1, 4):
        server = Server({**{f"/a{i:02d}.bin": lambda h, _: None for i in range(20)}, **{f"/z{i}.bin": ok for i in range(10)}})
        case = Download([server.url + path for path in server.answers], f"parallel: {parallel}\nmax_attempts: 4")
        log = case.run(expected=2)
        check(case.left() == [f"z{i}.bin" for i in range(10)], (case.left(), log[-2000:]))
        case.remove()
        server.shutdown()


def told_to_wait(_):
    """429 with a time is said to all of a host's files, whatever it answers to other requests."""
    def busy(handler, _):
        if handler.command == "HEAD" or handler.headers.get("Range") == "bytes=0-0":
            ok(handler, 1)
        else:
            handler.whole(b"", "Retry-After: 600", status="429 Too Many Requests")
    server = Server({"/a.bin": ok, **{f"/b{i:02d}.bin": busy for i in range(40)}})
    case = Download([server.url + path for path in server.answers], "parallel: 1")
    process = case.start()
    wait_until(lambda: len(server.seen) >= 2, "the first was told")
    time.sleep(3)
    check(len(server.seen) <= 3, server.seen)
    log = stop(process)
    check("no service" in log, log)
    case.remove()
    server.shutdown()


def quota_of_a_hub(_):
    """A hub says by RateLimit alone when its quota is there again: no file's failure, and no thread waits for it."""
    lines = ['RateLimit: "resolvers";r=0;t=2', 'RateLimit-Policy: "fixed window";"resolvers";q=3000;w=300']

    def busy(handler, count):  # others behind the same address use it up
        if count <= 2:
            handler.whole(b"", *lines, status="429 Too Many Requests")
        else:
            ok(handler, 1)
    hub, sound = Server({"/resolve/a.bin": ok, "/resolve/b.bin": busy}), Server({"/z.bin": ok})
    case = Download([f"{hub.url}/resolve/a.bin", f"{hub.url}/resolve/b.bin", f"{sound.url}/z.bin"], "parallel: 1\nmax_attempts: 1")
    process = case.start(MICRODIT_HUB=hub.url)
    wait_until(lambda: (case.raw / "z.bin").exists(), "the file of the other host")
    check(len(hub.requests("/resolve/b.bin")) == 1, hub.seen)
    log, _ = process.communicate(timeout=30)
    check(process.returncode == 0 and case.left() == ["a.bin", "b.bin", "z.bin"], log)
    check(not any(asked.get("range") for _, asked in hub.seen), "a question to a host that said to wait")
    case.remove()
    hub.shutdown()
    sound.shutdown()


def later_life(_):
    """In a later life, too, a file that alone is to be asked for later does not keep the others of its host."""
    server = Server({"/a.bin": ok, "/b.bin": lambda h, _: h.whole(b"", "Retry-After: 3600", status="503 Busy")} | {f"/c{i}.bin": ok for i in range(4)})
    case = Download([f"{server.url}/a.bin"], "parallel: 1")
    case.run()
    case.config.write_text(case.config.read_text().replace(f"'{server.url}/a.bin'", ", ".join(f"'{server.url}{path}'" for path in server.answers)))
    process = case.start()
    wait_until(lambda: len(case.left()) == 5, "the others", 20)
    stop(process)
    case.remove()
    server.shutdown()


def no_head(_):
    """Where HEAD is refused (an address signed for GET), a file that is never served ends after its own attempts."""
    for answer in ("503", None):
        def served(handler, _):
            if handler.command == "HEAD":
                handler.whole(b"", status="403 Forbidden")
            else:
                handler.ranged(CONTENT)

        def bad(handler, _, answer=answer):
            if answer:
                handler.whole(b"", status=f"{answer} Busy")
        server = Server({"/a.bin": served, "/b.bin": bad, "/c.bin": served})
        case = Download([server.url + path for path in server.answers], "parallel: 1\nmax_attempts: 3")
        log = case.run(expected=2)
        check(case.left() == ["a.bin", "c.bin"] and "1 of 3 items failed" in log, log)
        case.remove()
        server.shutdown()


def refused_redirect(_):
    """What is asked to learn whether a host serves may be sent where nobody goes: no other file fails of that."""
    def moves(handler, count):
        if count == 1:
            handler.ranged(CONTENT)
        else:
            handler.whole(b"", "Location: ftp://x.example/a", status="302 Found")

    def late(handler, count):
        if count < 6:
            handler.whole(b"", status="503 Busy")
        else:
            handler.ranged(CONTENT)
    server = Server({"/a.bin": moves, "/b.bin": late})
    case = Download([server.url + path for path in server.answers], "parallel: 1\nmax_attempts: 8")
    case.run()
    check(case.left() == ["a.bin", "b.bin"], case.left())
    case.remove()
    server.shutdown()


def one_outage(_):
    """How long a host has been away, and how often it is asked, does not begin anew with each of its files."""
    gone = []
    server = Server({f"/{i:04d}.bin": lambda h, _: None if gone else ok(h, 1) for i in range(2000)})
    case = Download([server.url + path for path in server.answers], "parallel: 4")
    case.config.write_text(case.config.read_text().replace("backoff_s: 0.02", "backoff_s: 1"))
    process = case.start()
    wait_until(lambda: len(server.seen) > 20, "some are served")
    gone.append(1)
    time.sleep(15)  # waits of up to 1, 2, 4, 8 s
    asked = requests_while(server, 10)
    check(asked <= 12, f"{asked} requests in 10 s")  # 31 to 50 were
    log = stop(process)
    check("no service for 1" in log or "no service for 2" in log, log)  # 1x s, 2x s: counted for the host
    case.remove()
    server.shutdown()


def main():
    wanted = sys.argv[1:]
    for case in (hang_ups, told_to_wait, quota_of_a_hub, later_life, no_head, refused_redirect, one_outage):
        if not wanted or case.__name__ in wanted:
            case(None)
            print(f"{case.__name__}: ok", flush=True)


if __name__ == "__main__":
    main()
