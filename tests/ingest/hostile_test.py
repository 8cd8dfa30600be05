"""Foreign bytes through the programs: each input has its reason, its memory (1 GiB above idle) and its time (10 s of CPU)."""
import hashlib
import json
import pathlib
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1])]
from programs import BIN, check, run_measured, skip  # noqa: E402

try:
    import PIL  # noqa: F401
except ImportError:
    skip("Pillow is not there (scripts/setup.sh --oracles)")
import hostile_archives  # noqa: E402
import hostile_others  # noqa: E402
import hostile_pictures  # noqa: E402
import hostile_samples  # noqa: E402
import hostile_texts  # noqa: E402
from hostile_case import GOOD_PICTURE  # noqa: E402

RSS_ABOVE_IDLE_KIB, CPU_S = 1 << 20, 10
IMAGES = ["png", "jpg", "webp", "gif", "bmp", "tiff"]


def as_archive(extension, data):
    """The case's member beside what makes a record of it, in a tar with a good record."""
    others = {".json": [("x.png", GOOD_PICTURE)], ".txt": [("x.png", GOOD_PICTURE)]}.get(extension, [("x.txt", b"a caption")])
    return hostile_archives.tar((f"x{extension}", data), *others)


def raw_folder(folder, name, data):
    """What download leaves behind."""
    folder.mkdir(parents=True)
    (folder / name).write_bytes(data)
    entry = {"item": name, "shards": [{"file": name, "rows": 1, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}],
             "details": {"inputs": {}}}
    facts = {"stage": "raw", "format": 2, "dataset": "h", "subset": "all"}
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in ({"facts": facts, "generation": 1, "failed": {}}, entry))
    text += json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest()}, separators=(",", ":")) + "\n"
    for manifest in ("manifest.jsonl", "manifest.1.jsonl"):
        (folder / manifest).write_text(text)


def clean(case, data):
    """Runs clean over one archive; returns exit code, output, {kept, skipped}, KiB, seconds."""
    with tempfile.TemporaryDirectory(prefix="microdit_hostile_") as place:
        root = pathlib.Path(place)
        raw_folder(root / "raw/h", "a.tar", data)
        entry = {"name": "h", "source": {"urls": ["file:///a.tar"]}, "archive": case.archive,
                 "record": {"image": IMAGES, "caption": {"caption": "txt", "long": "json:long"}},
                 "filters": {"max_damaged_fraction": 1}, "shard_records": 5000}
        for key, value in case.entry.items():
            section, name = key.split(".")
            entry.setdefault(section, {})[name] = value
        (root / "h.yaml").write_text(json.dumps(entry))
        code, text, kib, seconds = run_measured([BIN / "clean", "--config", root / "h.yaml"], data=root, **case.env)
        record = root / "samples/h/records/a.json"
        details = json.loads(record.read_text())["details"] if record.exists() else {}
        leftovers = [p.name for p in root.rglob(".*.tmp")]
        check(not leftovers, f"left behind: {leftovers}")
        return code, text, details, kib, seconds


def judge(case, code, text, details):
    """'' or what is wrong."""
    counts = {reason: entry["count"] for reason, entry in details.get("skipped", {}).items()}
    examples = [entry["example"] for entry in details.get("skipped", {}).values()]
    if "bug:" in text or code not in (0, 2):
        return f"exit {code}"
    if case.error:
        return "" if code == 2 and case.error in text else f"exit {code}, without '{case.error}'"
    if case.kept_or_error and code == 2:
        return "" if case.kept_or_error in text else f"exit 2, without '{case.kept_or_error}'"
    if code != 0:
        return f"exit {code}"
    if not all(examples):
        return f"a reason without example: {details['skipped']}"
    if case.skipped_any is not None:
        return "" if any(counts == {reason: count} for reason, count in case.skipped_any.items()) or (
            case.kept_or_error and not counts) else f"skipped {counts}, not one of {case.skipped_any}"
    if case.skipped is not None and counts != case.skipped and not case.kept_or_error:
        return f"skipped {counts}, not {case.skipped}"
    if case.skipped is not None and case.kept is not None and details["kept"] != case.kept and not case.kept_or_error:
        return f"{details['kept']} kept, not {case.kept}"
    return ""


def all_cases():
    for name, case in hostile_archives.cases():
        yield f"archive: {name}", case, lambda case=case: clean(case, case.data)
    for name, case in hostile_pictures.cases():
        # What a name says is nothing to the decoder.
        yield f"picture: {name}", case, lambda case=case: clean(case, as_archive(".png", case.data))
    for name, case in hostile_texts.json_cases():
        yield f"json: {name}", case, lambda case=case: clean(case, as_archive(".json", case.data))
    for name, case in hostile_texts.caption_cases():
        yield f"caption: {name}", case, lambda case=case: clean(case, as_archive(".txt", case.data))


def main():
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    idle = clean(hostile_archives.Case(b""), hostile_archives.tar())
    check(idle[0] == 0, idle[1])
    lock, wrong, most = threading.Lock(), [], {"KiB": (0, ""), "s": (0, "")}

    def one(numbered):
        name, case, run = numbered
        code, text, details, kib, seconds = run()
        problem = judge(case, code, text, details) if case else details
        if kib > idle[3] + RSS_ABOVE_IDLE_KIB:
            problem += f"; {kib >> 10} MiB"
        if seconds > CPU_S + idle[4]:
            problem += f"; {seconds:.1f} s"
        with lock:
            most["KiB"] = max(most["KiB"], (kib - idle[3], name))
            most["s"] = max(most["s"], (seconds, name))
            if problem:
                wrong.append(name)
                print(f"WRONG {name}: {problem}\n    " + text.strip().replace("\n", "\n    ")[-1500:], flush=True)

    table = [row for row in [*all_cases(), *hostile_others.cases(run_measured), *hostile_samples.cases(run_measured)]
             if only in row[0]]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, table))
    print(f"{len(table)} hostile inputs, {len(wrong)} wrong; most memory above idle {most['KiB'][0] >> 10} MiB ({most['KiB'][1]}), "
          f"most CPU {most['s'][0]:.1f} s ({most['s'][1]})")
    check(not wrong, f"{len(wrong)} inputs have another result than they must: {wrong}")
    check(only or len(table) >= 155, f"only {len(table)} inputs")


if __name__ == "__main__":
    main()
