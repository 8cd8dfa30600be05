"""Runs the original's own download and convert (micro_diffusion, where MICRODIT_REFERENCE is) on the miniatures of tests/catalogue and
writes which samples it gives: tests/catalogue/goldens/NAME.jsonl, a line per sample, sorted by key and caption.

  key            the source's own name of the picture: TAR/KEY, part-N/NAME, SPLIT/NNN/NAME, TAR/NAME, image id, file name
  caption        as the original gives it to the tokenizer: what convert stores, and of cc12m that through its CaptionProcessor
  width, height  its columns (COCO has none): of cc12m the source's, of diffusiondb, journeydb, sa1b those of its resized copy, of
                 textcaps what the JSON says
  mode           Pillow's mode of the picture
  pixels         SHA-256 of the RGB bytes that it encodes as JPEG (resized by its rule in `mode`, then RGB)
  source_width, source_height, source_pixels   the same of the source's picture, as Pillow decodes it, neither turned nor resized

Replaced are the network (a copy from the miniature), MDSWriter (the recorder below, which encodes each column as the real one does),
merge_index, process pools (in process), and of textcaps the loading script, which the hub alone has (one row per image id and split,
the first). What ends the original's job is run alone first, and must end it; the lists are of all the rest.
A sample that its precompute could not decode or tokenize ends the job there.

Needs beside scripts/setup.sh --oracles: pandas<3 fastparquet pyarrow torchvision datasets==3.2.0 mosaicml-streaming==0.9.0; unzip, tar.

MICRODIT_REFERENCE=... python scripts/make_catalogue_goldens.py [--seed N] [--out FOLDER] [--only NAME ...]"""
import argparse
import contextlib
import gzip
import hashlib
import importlib
import importlib.util
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import tempfile
import types
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
GOLDENS = ROOT / "tests/catalogue/goldens"
sys.path.insert(0, str(ROOT / "tests/catalogue"))
import miniature  # noqa: E402


class LaterDies(BaseException):
    """What convert let through ends precompute. No Exception: convert catches those."""


def rgb_hash(image):
    return hashlib.sha256(np.asarray(image.convert("RGB")).tobytes()).hexdigest()


# -- what stands in for the streaming library ---------------------------------------------------------------------------------------
def mds_encodings():
    place = importlib.util.find_spec("streaming").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("mds_encodings", Path(place) / "base/format/mds/encodings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Recorder:
    """MDSWriter that keeps (picture, other columns) of what it could encode."""
    encodings, written = None, []

    def __init__(self, out, columns, **_):
        self.columns = columns

    def write(self, sample):
        encoded = {name: self.encodings.mds_encode(kind, sample[name]) for name, kind in sorted(self.columns.items())}
        try:
            Image.open(io.BytesIO(encoded["jpg"])).convert("RGB")
        except OSError as why:
            raise LaterDies(f"precompute: {why}") from why
        said = next(value for name, value in sample.items() if name.startswith("caption"))
        if not isinstance(said, str):
            raise LaterDies(f"precompute: a caption that is {said}")
        kept = {name: int(sample[name]) if name in sample else None for name in ("width", "height")}
        picture = sample["jpg"]
        saved = Saved.pixels.get(str(getattr(picture, "filename", "")))
        pixels = saved or (picture.mode, rgb_hash(picture))
        Recorder.written.append({"picture": picture, "caption": said, "image_id": sample.get("image_id"), "at": Now.at, **kept,
                                 "mode": pixels[0], "pixels": pixels[1]})

    def finish(self):
        pass


class Saved:
    """Image.save, remembering what was encoded into each file."""
    pixels, real = {}, Image.Image.save

    def save(self, fp, *words, **options):
        Saved.real(self, fp, *words, **options)
        if isinstance(fp, (str, Path)):
            Saved.pixels[str(fp)] = (self.mode, rgb_hash(self))


class Now:
    """The tar and the file that convert has in hand: a resized picture no longer knows its name."""
    at = tar = None


class InProcess:
    def __init__(self, processes=None):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def starmap(self, function, rows):
        for Workers.index, row in enumerate(rows):
            function(*row)


class Workers:
    index = 0


def stand_ins():
    Recorder.encodings = mds_encodings()
    modules = {name: types.ModuleType(name) for name in ("streaming", "streaming.base", "streaming.base.util")}
    modules["streaming.base"].MDSWriter = modules["streaming"].MDSWriter = Recorder
    modules["streaming.base.util"].merge_index = lambda *_, **__: None
    sys.modules.update(modules)
    Image.Image.save = Saved.save


# -- the network ---------------------------------------------------------------------------------------------------------------------
class Network:
    def __init__(self, folder):
        self.folder = folder

    def file(self, url):
        host, _, path = url.split("?")[0].removeprefix("https://").removeprefix("http://").partition("/")
        if host == "huggingface.co":
            return self.folder / "hub" / path.replace("/resolve/main", "")
        return self.folder / "web" / host / path

    def hub_download(self, repo_id, filename, local_dir, subfolder=None, **_):
        path = f"{subfolder}/{filename}" if subfolder else filename
        target = Path(local_dir) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.folder / "hub/datasets" / repo_id / path, target)

    def command(self, words, **options):
        if words[0] != "wget":
            return subprocess.run(words, check=options.get("check", False), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        url = next(word for word in words if "://" in word)
        folder = Path(words[words.index("-P") + 1]) / url.rsplit("/", 1)[1] if "-P" in words else Path(words[words.index("-O") + 1])
        return shutil.copy(self.file(url), folder)

    def get(self, url, **_):
        return types.SimpleNamespace(iter_content=lambda chunk_size: [self.file(url).read_bytes()])

    def urlopen(self, _):
        return next(self.folder.rglob(miniature.SA1B_LIST)).open("rb")


def run(part, network, words):
    """`part`'s main() with these words; fresh, since modules keep state."""
    name = f"micro_diffusion.datasets.prepare.{part}"
    sys.modules.pop(name, None)
    module = importlib.import_module(name)
    module.Pool, module.hf_hub_download, module.tqdm = InProcess, network.hub_download, lambda rows: rows
    module.current_process_index = lambda: Workers.index
    module.requests = types.SimpleNamespace(get=network.get)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    module.subprocess = types.SimpleNamespace(run=network.command, call=lambda line, **_: subprocess.call(line, shell=True, **quiet))
    module.load_dataset = lambda *_, **__: textcaps_rows(network)
    if hasattr(module, "read_tar"):
        read = module.read_tar
        module.read_tar = lambda path, out: followed(read(path, out), path)
    sys.argv = [part, *map(str, words)]
    real, urllib.request.urlopen = urllib.request.urlopen, network.urlopen
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            module.main()
    finally:
        urllib.request.urlopen = real


def followed(pairs, tar):
    for image, said in pairs:
        Now.at = f"{Path(tar).stem}/{Path(image.filename).name.removesuffix('.jpg')}"
        yield image, said
    Now.at = None


# -- each source: its commands, what it calls a picture, the source's own bytes ------------------------------------------------------
def cc12m(network, work, least=256):
    run("cc12m.download", network, ["--datadir", work / "wds", "--valid_ids", 0, 1, 2, "--num_proc", 2])
    run("cc12m.convert", network, ["--wds_dir", work / "wds", "--local_mds_dir", work / "mds", "--max_image_size", 512, "--min_image_size", least,
                                   "--num_proc", 3])
    clean = importlib.import_module("micro_diffusion.datasets.captions").CaptionProcessor().clean_caption
    return [(row["at"], clean(row["caption"]), row) for row in Recorder.written]


def diffusiondb(network, work):
    run("diffdb.download", network, ["--datadir", work, "--max_image_size", 512, "--min_image_size", 256, "--valid_ids", 1, 2, 10001, "--num_proc", 2])
    run("diffdb.convert", network, ["--images_dir", work / "raw", "--local_mds_dir", work / "mds", "--num_proc", 3, "--safety_threshold", 0.2])
    return [("/".join(Path(row["picture"].filename).parts[-2:]), row["caption"], row) for row in Recorder.written]


def journeydb(network, work):
    run("jdb.download", network, ["--datadir", work, "--max_image_size", 512, "--min_image_size", 256, "--valid_ids", 0, 1, "--num_proc", 2])
    for split, table in (("train", "train_anno_realease_repath.jsonl"), ("valid", "valid_anno_repath.jsonl")):
        run("jdb.convert", network, ["--images_dir", work / f"raw/{split}/imgs/", "--captions_jsonl", work / f"raw/{split}/{table}",
                                     "--local_mds_dir", work / f"mds/{split}"])
    return [(str(Path(row["picture"].filename).relative_to(work / "raw")).replace("/imgs/", "/"), row["caption"], row) for row in Recorder.written]


def sa1b(network, work):
    run("sa1b.download", network, ["--datadir", work, "--max_image_size", 512, "--min_image_size", 256, "--skip_existing", "--num_proc", 2])
    run("sa1b.convert", network, ["--images_dir", work / "raw", "--captions_dir", work / "captions", "--local_mds_dir", work / "mds", "--num_proc", 3])
    return [("/".join(Path(row["picture"].filename).parts[-2:]), row["caption"], row) for row in Recorder.written]


def textcaps_rows(network):
    """What the hub's loading script gives: train, then validation; the first entry of each image id."""
    import datasets
    top = network.folder / "web/dl.fbaipublicfiles.com/textvqa"
    folder = Path(tempfile.mkdtemp(dir=network.folder.parent))
    with zipfile.ZipFile(top / "images/train_val_images.zip") as archive:
        archive.extractall(folder)
    rows = []
    for split in ("train", "val"):
        seen = set()
        for entry in json.loads((top / f"data/textcaps/TextCaps_0.1_{split}.json").read_text())["data"]:
            if entry["image_id"] not in seen:
                rows.append({"image": str(folder / f"train_images/{entry['image_id']}.jpg"),
                             **{name: entry[name] for name in ("image_id", "image_width", "image_height", "reference_strs")}})
            seen.add(entry["image_id"])
    kinds = {"image": datasets.Image(), "image_id": datasets.Value("string"), "image_width": datasets.Value("int32"),
             "image_height": datasets.Value("int32"), "reference_strs": datasets.Sequence(datasets.Value("string"))}
    return datasets.Dataset.from_dict({name: [row[name] for row in rows] for name in kinds}, features=datasets.Features(kinds))


def textcaps(network, work):
    run("textcaps.convert", network, ["--local_mds_dir", work / "mds"])
    return [(row["image_id"], row["caption"], row) for row in Recorder.written]


def coco2014(network, work):
    run("coco.convert", network, ["--datadir", work / "raw", "--local_mds_dir", work / "mds"])
    return [(Path(row["picture"].filename).name, row["caption"], row) for row in Recorder.written]


ORIGINALS = {run_.__name__: run_ for run_ in (cc12m, diffusiondb, journeydb, sa1b, textcaps, coco2014)}


def source_pictures(name, folder):
    """key -> bytes, read from the miniature's archives."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".tar", ".tgz"):
            with tarfile.open(path) as archive:
                members = [(m.name.removeprefix("./"), archive.extractfile(m).read()) for m in archive if m.isfile()]
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                members = [(i.filename, archive.read(i)) for i in archive.infolist() if not i.is_dir()]
        else:
            continue
        for member, data in members:
            found[{"cc12m": f"{path.stem}/{member.removesuffix('.jpg')}", "journeydb": f"{path.parent.parent.name}/{member}",
                   "textcaps": Path(member).stem, "coco2014": Path(member).name}.get(name, f"{path.stem}/{member}")] = data
    return found


def listed(name, folder, work, **options):
    """The original's samples of the miniature in `folder`."""
    Recorder.written, Saved.pixels = [], {}
    samples = ORIGINALS[name](Network(folder), work, **options)
    sources, lines = source_pictures(name, folder), []
    for key, said, row in samples:
        with Image.open(io.BytesIO(sources[key])) as source:
            lines.append({"key": key, "caption": said, "width": row["width"], "height": row["height"], "mode": row["mode"], "pixels": row["pixels"],
                          "source_width": source.width, "source_height": source.height, "source_pixels": rgb_hash(source)})
    return lines


# -- those that the original does not have: torchvision's readers --------------------------------------------------------------------
def labelled(key, label, classes, image):
    return {"key": key, "label": int(label), "caption": classes[label], "width": image.width, "height": image.height, "pixels": rgb_hash(image)}


def cifar10(seed, folder):
    """nano-diffusion: torchvision's CIFAR10, whose pickles hold the same rows as the binary batches and the hub's Parquet."""
    import pandas
    import torchvision.datasets.cifar as reader
    made = miniature.Miniature("cifar10", folder / "made", seed)
    top = folder / "python/cifar-10-batches-py"
    top.mkdir(parents=True)
    for batch, rows in miniature.cifar_batches(made).items():
        data = np.stack([image.transpose(2, 0, 1).reshape(-1) for _, image in rows])
        (top / batch).write_bytes(pickle.dumps({"data": data, "labels": [label for label, _ in rows]}))
    (top / "batches.meta").write_bytes(pickle.dumps({"label_names": miniature.CIFAR_CLASSES}))
    reader.check_integrity = lambda *_: True
    lines = []
    for split, file in (("train", "train"), ("test", "test")):
        found = reader.CIFAR10(folder / "python", train=split == "train")
        table = pandas.read_parquet(next(folder.rglob(f"{file}-00000-of-00001.parquet")), engine="pyarrow")
        for i, (image, label) in enumerate(found):
            lines.append(labelled(f"{split}/{i:05d}", label, found.classes, image))
            same = Image.open(io.BytesIO(table["img"][i]["bytes"]))
            assert rgb_hash(same) == lines[-1]["pixels"] and table["label"][i] == label, f"Parquet differs at {split} {i}"
        assert len(table) == len(found)
    with tarfile.open(next(folder.rglob("cifar-10-binary.tar.gz"))) as archive:
        raw = {Path(m.name).name: archive.extractfile(m).read() for m in archive if m.name.endswith(".bin") and "__MACOSX" not in m.name}
    rows = b"".join(raw[f"data_batch_{i}.bin"] for i in range(1, 6)) + raw["test_batch.bin"]
    for i, line in enumerate(lines):
        one = np.frombuffer(rows[3073 * i:3073 * (i + 1)], np.uint8)
        assert one[0] == line["label"] and rgb_hash(Image.fromarray(one[1:].reshape(3, 32, 32).transpose(1, 2, 0))) == line["pixels"]
    return lines


def fashion_mnist(seed, folder):
    """torchvision's reader of idx files."""
    import torchvision.datasets.mnist as reader
    miniature.Miniature("fashion_mnist", folder / "made", seed)
    lines = []
    for file in folder.rglob("*.gz"):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
    top = next(folder.rglob("train-images-idx3-ubyte")).parent
    for split, file in (("train", "train"), ("test", "t10k")):
        images, labels = reader.read_image_file(str(top / f"{file}-images-idx3-ubyte")), reader.read_label_file(str(top / f"{file}-labels-idx1-ubyte"))
        lines += [labelled(f"{split}/{i:05d}", label, miniature.FASHION_CLASSES, Image.fromarray(image.numpy())) for i, (image, label) in enumerate(zip(images, labels))]
    return lines


# -- all of it -----------------------------------------------------------------------------------------------------------------------
def how_it_ends(name, seed, fault, faults):
    """Of the original on a miniature whose only such fault is this one."""
    with tempfile.TemporaryDirectory(prefix="microdit_goldens_") as scratch:
        scratch = Path(scratch)
        miniature.Miniature(name, scratch / "made", seed, leave_out=faults - {fault})
        try:
            listed(name, scratch / "made", scratch / "work")
        except (Exception, LaterDies) as why:
            return f"{type(why).__name__}: {why}".replace(str(scratch), "...").splitlines()[0]
    raise AssertionError(f"{name}: the original lives through {fault}")


def write(path, lines):
    lines.sort(key=lambda line: (line["key"], line["caption"], line["pixels"]))
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    print(f"{path.name}: {len(lines)} samples", flush=True)


def goldens(name, seed, out):
    with tempfile.TemporaryDirectory(prefix="microdit_goldens_") as scratch:
        scratch = Path(scratch)
        if name not in ORIGINALS:
            return write(out / f"{name}.jsonl", {"cifar10": cifar10, "fashion_mnist": fashion_mnist}[name](seed, scratch))
        faults = frozenset(miniature.Miniature(name, scratch / "all", seed).crashing)
        for fault in sorted(faults):
            print(f"{name}: {fault}: {how_it_ends(name, seed, fault, faults)}", flush=True)
        miniature.Miniature(name, scratch / "made", seed, leave_out=faults)
        write(out / f"{name}.jsonl", listed(name, scratch / "made", scratch / "work"))
        if name == "cc12m":
            write(out / "cc12m_minres512.jsonl", listed(name, scratch / "made", scratch / "work512", least=512))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=GOLDENS)
    parser.add_argument("--only", nargs="+", default=list(miniature.LAYOUTS), choices=list(miniature.LAYOUTS))
    words = parser.parse_args()
    reference = Path(os.environ.get("MICRODIT_REFERENCE", ""))
    if not (reference / "micro_diffusion/datasets/captions.py").is_file():
        sys.exit("MICRODIT_REFERENCE does not name a checkout of micro_diffusion")
    sys.path.insert(0, str(reference))
    words.out.mkdir(parents=True, exist_ok=True)
    stand_ins()
    for name in words.only:
        goldens(name, words.seed, words.out)


if __name__ == "__main__":
    main()
