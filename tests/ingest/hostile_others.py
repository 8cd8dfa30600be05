"""Shards, weights, vocabularies and configurations that are hostile: each through the program that reads it."""
import hashlib
import json
import pathlib
import random
import struct
import tempfile

from programs import BIN
from small_archives import png, tar_bytes

try:
    import h5py
    import numpy as np
except ImportError:
    h5py = None


def outcome(result, codes, *phrases):
    """(code, text, problem, KiB, s) of a run that must end with one of `codes` and say all of `phrases`."""
    code, text, kib, seconds = result
    problem = "" if code in codes and "bug:" not in text and "Traceback" not in text else f"exit {code}, not {codes}"
    problem += "".join(f"; without '{p}'" for p in phrases if p not in text)
    return code, text, problem, kib, seconds


def hdf5_files():
    """name -> function that writes the file, and what must be said."""
    def with_file(write):
        def make(path):
            with h5py.File(path, "w", libver=("earliest", "v110")) as file:
                write(file)
        return make

    def external(file):
        file.create_dataset("x", (4,), "u1", external=[("/etc/passwd", 0, 4)])

    def reference(file):
        file["x"] = h5py.ExternalLink("/etc/passwd", "y")

    def rows_of_nothing(file):
        file.create_dataset("x", (2**40, 0), "u1")
        file.attrs["microdit"] = np.bytes_(json.dumps({"layout": {"fixed": ["x"], "variable": []}}))

    def short_offsets(file):
        file["x_offsets"], file["x"], file["xxh3"] = np.array([0, 10**9], "i8"), np.zeros(4, "u1"), np.zeros(1, "u8")
        file.attrs["microdit"] = np.bytes_(json.dumps({"layout": {"fixed": [], "variable": ["x"]}}))

    def columns(file):
        for i in range(2000):
            file[f"c{i}"] = np.zeros(1, "u1")

    def attribute(text):
        def write(file):
            file["x"], file["xxh3"] = np.zeros(4, "u1"), np.zeros(4, "u8")
            file.attrs["microdit"] = np.bytes_(text)
        return with_file(write)

    def long_attribute(path):
        """Its type says 4 GiB, the most that the format can say; 12,345 bytes are there."""
        with_file(lambda f: f.attrs.__setitem__("microdit", np.bytes_(b"q" * 12345)))(path)
        whole, size = path.read_bytes(), struct.pack("<I", 12345)
        assert whole.count(size) == 1
        path.write_bytes(whole.replace(size, b"\xf0\xff\xff\xff"))

    def spoilt(seed):
        def make(path):
            with_file(lambda f: f.create_dataset("x", data=np.arange(100, dtype="i4")))(path)
            data = bytearray(path.read_bytes())
            noise = random.Random(seed)
            for _ in range(20):
                data[noise.randrange(len(data))] = noise.randrange(256)
            path.write_bytes(data)
        return make

    yield "no HDF5", lambda p: p.write_bytes(b"q" * 3000), "not a readable shard"
    yield "signature alone", lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), "not a readable shard"
    yield "empty", lambda p: p.write_bytes(b""), "not a readable shard"
    yield "2^40 rows of nothing", with_file(rows_of_nothing), "have no bytes"
    yield "data in another file", with_file(external), "another file"
    yield "external link", with_file(reference), "soft or external link"
    yield "soft link", with_file(lambda f: f.__setitem__("x", h5py.SoftLink("/x"))), "soft or external link"
    yield "chunks", with_file(lambda f: f.create_dataset("x", (64,), "u1", chunks=(8,))), "not contiguous"
    yield "compressed", with_file(lambda f: f.create_dataset("x", (64,), "u1", chunks=(8,), compression="gzip")), "not contiguous"
    yield "strings of any length", with_file(lambda f: f.create_dataset("x", (4,), h5py.string_dtype())), "element type"
    yield "records", with_file(lambda f: f.create_dataset("x", (4,), "i4,f8")), "element type"
    yield "a group", with_file(lambda f: f.create_group("x")), "not a dataset"
    yield "nine dimensions", with_file(lambda f: f.create_dataset("x", (1,) * 9, "u1")), "9 dimensions"
    yield "2,000 columns", with_file(columns), "2000 columns"
    yield "offsets beyond the column", with_file(short_offsets), "leaves its column"
    yield "attribute that is no JSON", attribute("{" * 5000), "JSON"
    yield "layout of another kind", attribute('{"layout": [1, 2]}'), "layout"
    yield "attribute of 4 GiB", long_attribute, "not a readable shard"
    for seed in range(4):
        yield f"20 bytes changed ({seed})", spoilt(seed), "SHA-256 differs"


def shard_cases(run):
    def verify(make, says, file="a-00000.h5"):
        with tempfile.TemporaryDirectory() as place:
            folder = pathlib.Path(place) / "samples/h"
            (folder / "records").mkdir(parents=True)
            make(folder / "a-00000.h5")
            (folder / "facts.json").write_text(json.dumps({"stage": "samples", "format": 2}))
            entry = {"item": "a", "shards": [{"file": file, "rows": 1, "bytes": (folder / "a-00000.h5").stat().st_size,
                                              "sha256": "0" * 64}], "details": {}}
            (folder / "records/a.json").write_text(json.dumps(entry))
            return outcome(run([BIN / "doctor", "verify", folder], data=place), (1, 2), says)

    for name, make, says in hdf5_files() if h5py else ():
        yield f"shard: {name}", None, lambda m=make, s=says: verify(m, s)
    for file in ("../b/a-00000.h5", "/etc/passwd", ".hidden", "", "a\u0000b"):
        yield f"shard: named {file!r}", None, lambda f=file: verify(lambda p: p.write_bytes(b"x"), "shard '", f)


def weights_cases(run):
    def header(value, data=b"", length=None):
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + data

    def tensor(shape, begin, end, dtype="F32"):
        return {"x": {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}}

    files = {"empty": b"", "header of 2^60 bytes": struct.pack("<Q", 1 << 60) + b"{}", "header cut": header(b'{"x":', b""),
             "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
             "shape overflows": header(tensor([1 << 40, 1 << 40], 0, 4), bytes(4)), "data beyond the end": header(tensor([4], 0, 1 << 40), bytes(16)),
             "offsets backwards": header(tensor([1], 8, 4), bytes(8)), "size differs from the shape": header(tensor([4], 0, 4), bytes(4)),
             "negative shape": header(tensor([-1], 0, 4), bytes(4)), "unknown element type": header(tensor([1], 0, 4, "Q5"), bytes(4)),
             "hole between tensors": header({**tensor([1], 0, 4), "y": {"dtype": "F32", "shape": [1], "data_offsets": [100, 104]}}, bytes(104)),
             "nested header": header(b'{"x":' + b"[" * 100_000), "name twice": header(b'{"x":1,"x":2}')}

    def convert(data):
        with tempfile.TemporaryDirectory() as place:
            path = pathlib.Path(place) / "w.safetensors"
            path.write_bytes(data)
            return outcome(run([BIN / "convert", "--input", path, "--output", pathlib.Path(place) / "o"], data=place), (2,),
                           "w.safetensors")

    for name, data in files.items():
        yield f"weights: {name}", None, lambda d=data: convert(d)


def token_cases(run):
    texts = {"40,000 times [SEP]": "[SEP]" * 40_000, "100,000 brackets": "[" * 100_000, "200,000 letters": "a" * 200_000,
             "30,000 times <person>": "<person>" * 30_000, "100,000 combining marks": "e\u0301" * 100_000,
             "100,000 ideographs": "東" * 100_000}

    def tokenize(text):
        with tempfile.TemporaryDirectory() as place:
            root = pathlib.Path(place)
            (root / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "person", "<", ">"]))
            (root / "lines").write_text(json.dumps(text) + "\n")
            words = [BIN / "probe", "tokenize", "--encoder", root, "--input", root / "lines", "--output", root / "ids", "max_length=77"]
            code, said, kib, seconds = run(words, data=place)
            length = len(json.loads((root / "ids").read_text())) if code == 0 else 0
            return code, said, "" if 0 < length <= 77 else f"exit {code}, {length} ids", kib, seconds

    for name, text in texts.items():
        yield f"tokens: {name}", None, lambda t=text: tokenize(t)
    yield "tokens: vocabulary of 70 MB", None, lambda: vocabulary(run)


def vocabulary(run):
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place)
        (root / "vocab.txt").write_bytes(b"a\n" * 35_000_000)
        (root / "lines").write_text('"a"\n')
        return outcome(run([BIN / "probe", "tokenize", "--encoder", root, "--input", root / "lines", "--output", root / "ids"], data=place),
                       (2,), "no vocabulary")


def yaml_cases(run):
    laughs = "a: &a [x, x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20))
    texts = {"aliases of aliases": (laughs, "alias"), "nested 1,000 deep": ("name: " + "[" * 1000 + "]" * 1000, "nested"),
             "100,000 unknown keys": ("".join(f"k{i}: 1\n" for i in range(100_000)), "k"),
             "one key 20,000 times": ("name: h\n" * 20_000, "twice"), "a tag": ("name: !!python/object:os.system x\n", "tag"),
             "two documents": ("name: h\n---\nname: i\n", "document"), "zero bytes": ("name: \0h\n", ""), "tabs": ("\tname: h\n", ""),
             "UTF-16": ("name: h\n".encode("utf-16"), ""), "20 MB": (b"# " + b"x" * 20_000_000, ""), "not a mapping": ("- a\n- b\n", ""),
             "brackets without end": ("[" * 60, ""), "a secret's name": ("name: ${HF_TOKEN}\n", "HF_TOKEN")}

    def read(text, says):
        with tempfile.TemporaryDirectory() as place:
            path = pathlib.Path(place) / "e.yaml"
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            return outcome(run([BIN / "clean", "--config", path, "--print-config"], data=place), (2,), says, "e.yaml")

    for name, (text, says) in texts.items():
        yield f"yaml: {name}", None, lambda t=text, s=says: read(t, s)


def raw_manifest(folder, names, there):
    """What download leaves of so many files; of those in `there` (name -> bytes) the files, too."""
    folder.mkdir(parents=True)
    lines = [{"facts": {"stage": "raw", "format": 2, "dataset": "h", "subset": "all"}, "generation": 1, "failed": {}}]
    for name in sorted(names):
        data = there.get(name, b"x")
        shard = {"file": name, "rows": 0, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        lines.append({"item": name, "shards": [shard], "details": {"inputs": {}}})
    for name, data in there.items():
        (folder / name).write_bytes(data)
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    text += json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest()}, separators=(",", ":")) + "\n"
    for manifest in ("manifest.jsonl", "manifest.1.jsonl"):
        (folder / manifest).write_text(text)


def list_cases(run):
    """100,000 files, one item of them this task's: what is done for each of the others must not grow with their number."""
    count = 100_000

    def run_stage(root, stage, items, source, archive="none", **keys):
        (root / "h.yaml").write_text(json.dumps({"name": "h", "archive": archive, "source": source, **keys}))
        result = run([BIN / stage, "--config", root / "h.yaml", f"task={items - 1}/{items}"], data=root)
        return outcome(result, (0,), f"waits for {items - 1} more items")

    def download(kind):
        with tempfile.TemporaryDirectory() as place:
            root = pathlib.Path(place)
            (root / f"{count - 1:05}").write_bytes(b"x")
            urls = [f"file://{root}/{i:05}" for i in range(count)]
            (root / "list.tsv").write_text("".join(f"{i:05}\t{url}\n" for i, url in enumerate(urls)))
            return run_stage(root, "download", count, {"urls": urls} if kind == "urls" else {"list_file": str(root / "list.tsv")})

    def clean(archive):
        with tempfile.TemporaryDirectory() as place:
            root = pathlib.Path(place)
            source = {"urls": ["file:///nowhere"]}
            if archive == "tar":
                raw_manifest(root / "raw/h", [f"{i:05}.tar" for i in range(count)], {f"{count - 1:05}.tar": tar_bytes(0, 2)})
                return run_stage(root, "clean", count, source, archive)
            last = f"{count // 2 - 1:05}"
            raw_manifest(root / "raw/h", [f"{i:05}.{ending}" for i in range(count // 2) for ending in ("png", "txt")],
                         {f"{last}.png": png(8, 1), f"{last}.txt": b"a caption"})
            return run_stage(root, "clean", count // 2, source, shard_records=1)

    for kind in ("urls", "list_file"):
        yield f"list: {count} files ({kind})", None, lambda k=kind: download(k)
    for archive in ("tar", "none"):
        yield f"list: {count} raw files ({archive})", None, lambda a=archive: clean(a)


def cases(run):
    for source in (shard_cases, weights_cases, token_cases, yaml_cases, list_cases):
        yield from source(run)
