"""A shipped entry on the miniature of its source, a user's own entry on a folder of pictures, and what the samples hold that come of them."""
import concurrent.futures
import csv
import hashlib
import io
import json
import os
import pathlib
import re
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import programs  # noqa: E402
from programs import SOURCE, check  # noqa: E402

try:
    import h5py
    import miniature
    import odd_pictures
    import yaml
    from source_server import SourceServer
    from template_layouts import TEMPLATES
except ImportError as missing:
    programs.skip(f"{missing}: scripts/setup.sh --oracles")


def two_at_a_time(jobs):
    """Of (function, arguments...): what two cores take."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        wrong = [done.exception() for done in [pool.submit(*job) for job in jobs]]
    for error in wrong:
        if error and not isinstance(error, AssertionError):
            raise error
    check(not any(wrong), "\n".join(str(error) for error in wrong if error))


def numbers(pattern):
    """ "a-{0000..0002}" -> its names."""
    found = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if not found:
        return [pattern]
    first, last = found.groups()
    return [pattern[:found.start()] + f"{i:0{len(first)}d}" + pattern[found.end():] for i in range(int(first), int(last) + 1)]


class Source:
    """A data root, the shipped entry NAME and a server of its miniature."""

    def __init__(self, root, name, seed=0, pictures=4, whole_list=False, crashing=True, **server):
        self.root, self.name, self.seed = pathlib.Path(root), name, seed
        self.made, self.data = self.root / "made", self.root / "data"
        self.data.mkdir(parents=True)
        self.made_of = miniature.Miniature(name, self.made, seed, pictures, layout=TEMPLATES.get(name))
        if not crashing and self.made_of.crashing:
            faults = self.made_of.crashing
            self.made = self.root / "calm"
            self.made_of = miniature.Miniature(name, self.made, seed, pictures, leave_out=faults)
        self.server = SourceServer(self.made, whole=whole_list, **server)
        self.config = SOURCE / f"configs/datasets/{name}.yaml"
        self.words = self.addresses(whole_list)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.stop()

    def addresses(self, whole_list):
        """What the entry needs here: where its hosts are, and of its files those that the miniature has."""
        source = yaml.safe_load(self.config.read_text())["source"]
        words = []
        if self.name in TEMPLATES:
            return self.of_template()
        if "folder" in source:
            return [f"source.folder={self.made}/files{source['folder']}"]
        for key in ("urls", "also"):
            if key in source:
                words.append(f"source.{key}=" + json.dumps([self.here(url) for url in source[key]]))
        if "list_file" in source:
            check(source["list_file"] == "${MICRODIT_DATA}/sa1b_links.txt", source)
            self.server.write_links(self.data / "sa1b_links.txt")
        if "hub" in source and not whole_list:
            top = self.made / "hub/datasets" / source["hub"]
            have = [name for pattern in source["pattern"] for name in numbers(pattern) if (top / name).is_file()]
            words += ["source.pattern=" + json.dumps(have), "source.small=[]"]
        return words

    def of_template(self):
        """What its first line says is to be changed."""
        if self.name == "image_folder":
            return [f"source.folder={self.made}/files/my pictures"]
        tars = sorted(self.made.rglob("shard-*.tar"))
        return {"webdataset": [f'source.urls=["{self.server.url}/web/data.example.org/tars/shard-{{00000..{len(tars) - 1:05d}}}.tar"]'],
                "hub_webdataset": ["source.hub=some-org/Pictures.v1_a", 'source.pattern=["data/**/train-*.tar"]']}[self.name]

    def here(self, url):
        return url if url.startswith("hf://") else self.server.address(url)

    def environment(self):
        return programs.environment(self.data, HF_HOME=self.root / "hf", **self.server.environment())

    def command(self, stage, *words):
        return programs.command(stage, "--config", self.config, *self.words, *words)

    def run(self, stage, *words, **options):
        return programs.run(stage, "--config", self.config, *self.words, *words, env=self.environment(), **options)

    def samples_folder(self):
        return self.data / "samples" / self.name

    def samples(self):
        return samples_of(self.samples_folder())


def texts(shard, name):
    offsets, data = shard[name + "_offsets"][:], shard[name][:].tobytes()
    return [data[a:b] for a, b in zip(offsets, offsets[1:])]


def samples_of(folder):
    """A dictionary per sample: item, key, captions, columns, width, height, split, image (its bytes)."""
    found = []
    for file in sorted(folder.glob("*.h5")):
        with h5py.File(file) as shard:
            about = json.loads(shard.attrs["microdit"])
            captions = {name: texts(shard, f"caption.{name}") for name in about["caption_sources"]}
            columns = {name.removeprefix("column."): shard[name][:] for name in shard if name.startswith("column.")}
            keys, images = texts(shard, "key"), texts(shard, "image")
            for i, (key, image) in enumerate(zip(keys, images)):
                found.append({"item": about["item"], "key": key.decode(), "image": image,
                              "captions": {name: column[i].decode() for name, column in captions.items()},
                              "columns": {name: float(column[i]) for name, column in columns.items()},
                              **{name: int(shard[name][i]) for name in ("width", "height", "split")}})
    return found


def file_hashes(folder):
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.h5"))}
    check(found, f"{folder} holds no shard")
    return found


def marks(folder):
    """Of every shard: when it was written, its inode, its bytes."""
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino, hashlib.sha256(path.read_bytes()).hexdigest()) for path in folder.glob("*.h5")}


class Own:
    """A folder of pictures, and mine.yaml, whose text is all that a user writes."""

    def __init__(self, root, count=20):
        self.root, self.folder, self.data = pathlib.Path(root), pathlib.Path(root) / "pictures", pathlib.Path(root) / "data"
        self.folder.mkdir(parents=True)
        self.captions = {f"p{i:02d}.jpg": f'picture {i}, "drawn" in é' for i in range(count)}
        for name in self.captions:
            self.put(name)

    def put(self, name):
        target = self.folder / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(odd_pictures.of_kind("jpeg", name, 40, 30))

    def entry(self, text):
        text = text.replace("/path/of/pictures", str(self.folder))
        check(len(text.strip().splitlines()) < 15, f"{len(text.splitlines())} lines")
        (self.root / "mine.yaml").write_text(text)

    def table(self, file, data):
        """Another table in the same place; it is written now, not when the one before was."""
        before = (self.folder / file).stat().st_mtime if (self.folder / file).exists() else time.time()
        (self.folder / file).write_bytes(data if isinstance(data, bytes) else data.encode())
        os.utime(self.folder / file, (before + 5, before + 5))

    def run(self, stage, *words, **options):
        return programs.run(stage, "--config", self.root / "mine.yaml", *words, data=self.data, **options)

    def measured(self, stage):
        return programs.run_measured(programs.command(stage, "--config", self.root / "mine.yaml"), self.data)

    def samples(self):
        return samples_of(self.data / "samples/mine")

    def check_captions(self, wanted, what):
        found = {sample["key"]: sample["captions"]["caption"] for sample in self.samples()}
        check(found == wanted, f"{what}: {found}, not {wanted}")


def csv_of(captions, separator=",", end="\n"):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator=end)
    writer.writerows([("file", "caption"), *captions.items()])
    return out.getvalue()


def lines_of(captions):
    return "".join(json.dumps({"file": name, "caption": said}) + "\n" for name, said in captions.items())


OWN = """name: mine
source: {folder: /path/of/pictures, pattern: ["*"]}
archive: none
record: {kind: table, image: [jpg], caption: {caption: "table:caption"}}
tables:
  - {kind: csv, file: captions.csv, key: "{file}", join: "{basename}", columns: {caption: caption}}
splits: {held_out: 0.05}
recipe: configs/latents/emoji.yaml
"""


def run_cases(cases):
    """Those that the command line names, or all; each in a folder of its own."""
    names = [case.__name__ for case in cases]
    wanted, failed = sys.argv[1:] or names, []
    check(set(wanted) <= set(names), f"cases: {names}")
    for case in [case for case in cases if case.__name__ in wanted]:
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="microdit_catalogue_") as scratch:
            try:
                case(pathlib.Path(scratch))
                said = "ok"
            except AssertionError as wrong:
                failed.append(case.__name__)
                said = f"FAILED: {wrong}"
        print(f"{case.__name__}: {time.monotonic() - begin:.1f} s: {said}", flush=True)
    check(not failed, f"failed: {failed}")
    print("ok")
