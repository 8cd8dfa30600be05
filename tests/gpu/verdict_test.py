"""The judge of gpu_check: rows that are not good fail, whatever form the value has; a good list passes. No program is run."""
import math
import pathlib
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "scripts/bundle"))
import verdict
from verdict import Bar, Failure, Report, judge, passed

NEAR, FAST = Bar("difference", most=2e-3), Bar("speed", least=0, above=True, unit="images/s")
failures = 0


def expect(what, good):
    global failures
    if not good:
        failures += 1
        print(f"FAIL {what}")


def verdict_of(*values, bars=(NEAR,), fail=()):
    report = Report()
    for name, value in values:
        report.add(name, value)
    for name, reason in fail:
        report.fail(name, reason)
    return judge(list(bars), report)


def one(value, bar=NEAR):
    return passed(verdict_of((bar.name, value), bars=[bar]))


def values():
    for good in (0, 0.0, 1e-7, 2e-3, "1.5e-04"):
        expect(f"{good!r} is good", one(good))
    for bad in (1.5, "1.5e+00", 2.1e-3, math.nan, "nan", math.inf, -math.inf, "inf", None, "", "out of memory", "CPU only", True, [1e-4]):
        expect(f"{bad!r} fails", not one(bad))
    for good, bad in ((600, 0), ("580", "0"), (1e-3, -5), (7, math.nan)):
        expect(f"speed {good!r} is good", one(good, FAST))
        expect(f"speed {bad!r} fails", not one(bad, FAST))
    expect("equal where a difference must be", not one(0.0, Bar("two devices", most=1, least=0, above=True)))
    expect("nan without a bar fails", not one(math.nan, Bar("anything")))


def lists():
    both = [NEAR, FAST]
    good = verdict_of(("difference", 1e-4), ("speed", 600), bars=both)
    expect("two good rows pass", passed(good))
    missing = verdict_of(("difference", 1e-4), bars=both)
    expect("a missing row fails", not passed(missing) and "missing" in missing[1]["reason"])
    expect("a value beside a failure fails", not passed(verdict_of(("difference", 1e-4), fail=[("difference", "exit 1")])))
    expect("a row twice fails", not passed(verdict_of(("difference", 1e-4), ("difference", 1e-4))))
    expect("an unknown row fails", not passed(verdict_of(("difference", 1e-4), ("difference ", 1e-4))))
    expect("no rows at all fail", not passed([]) and not passed(judge([], Report())))


def attempts():
    def crash():
        raise Failure("train: crashed with SIGSEGV (exit -11)")

    def defect():
        return {}["no such key"]

    for work, word in ((crash, "SIGSEGV"), (defect, "KeyError"), (lambda: None, "missing")):
        report = Report()
        report.add("speed", 600)
        report.attempt(["difference", "speed"], work)
        rows = judge([NEAR, FAST], report)
        expect(f"{word} fails its row", rows[0]["verdict"] == "FAIL" and word in rows[0]["reason"])
        expect(f"{word} leaves the other row", rows[1]["verdict"] == "ok")


def tables():
    rows = verdict_of(("difference", math.nan), ("speed", 600), bars=[NEAR, FAST])
    text = verdict.markdown("check", {"card": "none"}, rows, ["a note"])
    expect("the table names the failure", "| difference | nan | ≤ 0.002 | FAIL: nan is not finite |" in text)
    expect("the table names the good row", "| speed | 600 images/s | > 0 | ok |" in text)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "rows.json"
        verdict.write_json(path, {"rows": rows})
        expect("JSON without bare NaN", '"nan"' in path.read_text() and "NaN" not in path.read_text())


for part in (values, lists, attempts, tables):
    part()
print("FAILED" if failures else "verdicts: good")
sys.exit(1 if failures else 0)
