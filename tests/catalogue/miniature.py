"""A miniature of each source of the catalogue, laid out as its servers offer it, with what such data hold of the unexpected.

miniature.py NAME FOLDER [--seed N] [--pictures N]   (NAME: see LAYOUTS; all: every one)

FOLDER/hub/datasets/ORG/NAME/...: repositories of the hub; FOLDER/web/HOST/...: files of other hosts; FOLDER/files/...: of a package.
Another seed: other names, other faults at other places. Seed 0, whose lists are in goldens/, has every fault. A fault that would end
the original's whole job is in `crashing`; `leave_out` makes the miniature without some of them, all else being the same.
Python packages: Pillow and numpy; pyarrow for what is Parquet (diffusiondb, cifar10)."""
import argparse
import gzip
import io
import json
import random
import tarfile
import uuid
import zipfile
from pathlib import Path

import numpy as np
import odd_pictures
from odd_pictures import EMPTY_WHEN_CLEANED, ODD_CAPTIONS, SIDES, caption, mac_half


SOUND = {"jpeg", "progressive", "grey", "cmyk", "turned", "png", "grey_png", "bilevel", "webp", "webp_opaque", "bmp", "tiff", "tiff_cmyk"}


class Picture:
    def __init__(self, kind, data, crash, least):
        self.kind, self.data, self.crash = kind, data, crash
        self.is_sound = kind in SOUND and not crash and least >= 256


class Miniature:
    """`crashing`: fault -> what it does to the original. `draw` decides everything, before anything is left out."""

    def __init__(self, name, folder, seed=0, pictures=4, leave_out=(), layout=None):
        self.name, self.folder, self.seed, self.plain, self.leave_out = name, Path(folder), seed, pictures, frozenset(leave_out)
        self.draw = random.Random(f"{name} {seed}")
        self.crashing = {}
        (layout or LAYOUTS[name])(self)

    def put(self, path, data):
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def some(self, things):
        """All of them, or of a held-out miniature about three quarters; in a drawn order."""
        things = list(things)
        return self.draw.sample(things, len(things) if self.seed == 0 else (len(things) * 3 + 3) // 4)

    def happens(self, fault, what):
        """Whether this miniature has a fault that ends the original's job; `what`: how it ends."""
        drawn = self.seed == 0 or self.draw.random() < 0.75
        if drawn:
            self.crashing[fault] = what
        return drawn

    def left(self, marked):
        """Of (thing, its fault or None), in their order: what is not left out. To be called when all is drawn."""
        return [thing for thing, fault in marked if fault not in self.leave_out]

    def one(self, kind, crash=None, sides=None):
        width, height = sides or (self.draw.choice([300, 400, 530]), self.draw.choice([280, 350, 600]))
        if sides and self.seed:
            width, height = (side if side in (255, 256, 511, 512, 513) else side + self.draw.randrange(40) for side in sides)
        data = odd_pictures.of_kind(kind, f"{self.name} {self.seed} {self.draw.random()}", width, height)
        return Picture(kind, data, crash, min(width, height))

    def pictures(self, kinds, crashing=(), main="jpeg"):
        """Good ones of all sides, and one small and one large of each kind."""
        found = [self.one(main, sides=sides) for sides in self.some(SIDES)] + [self.one(main) for _ in range(self.plain)]
        found += [self.one(kind, sides=sides) for kind in self.some(kinds) for sides in ((300, 280), (560, 600))]
        for kind in self.some(crashing):
            for size, sides in (("small", (300, 280)), ("large", (560, 600))):
                found.append(self.one(kind, f"{kind}_{size}", sides))
        self.draw.shuffle(found)
        return found

    def captions(self, pictures, more=()):
        """One each; the odd ones go to sound pictures first, lest they are lost with the others."""
        words = self.some([*ODD_CAPTIONS, *more]) + [caption(self.draw) for _ in pictures]
        order = sorted(range(len(pictures)), key=lambda i: not pictures[i].is_sound)
        found = dict(zip(order, words))
        return [found[i] for i in range(len(pictures))]

    def number(self, digits):
        return self.draw.randrange(10 ** (digits - 1), 10 ** digits)


# -- archives: no times, so their bytes depend on the members alone (and on zlib) ----------------------------------------------------
def tar_bytes(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if data is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tgz_bytes(members):
    return gzip.compress(tar_bytes(members), mtime=0)


def zip_bytes(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name + ("/" if data is None else ""), (2014, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o40755 << 16 | 0x10) if data is None else 0o100644 << 16
            archive.writestr(info, data or b"")
    return out.getvalue()


def mac_leftovers(name):
    """Beside NAME and in a folder of their own."""
    folder, _, base = name.removeprefix("./").rpartition("/")
    below = folder + "/" if folder else ""
    return [(f"{below}.DS_Store", b"\0\0\0\1Bud1"), (f"{below}._{base}", mac_half()), (f"__MACOSX/{below}._{base}", mac_half())]


def text(value):
    return value if isinstance(value, bytes) else value.encode()


def lines_of(rows):
    return "".join(row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


# -- the sources ---------------------------------------------------------------------------------------------------------------------
def cc12m(m):
    """hub pixparse/cc12m-wds: WebDataset tars, KEY.jpg KEY.txt KEY.json at the top."""
    pictures = m.pictures(["progressive", "grey", "cmyk", "turned", "png", "grey_png", "webp", "bmp", "bilevel", "words", "nothing"],
                          ["rgba", "la", "palette", "palette_clear", "grey16", "gif", "half", "half_png"])
    captions = m.captions(pictures, EMPTY_WHEN_CLEANED)
    wrong = m.some(["no_picture", "no_caption", "caption_not_utf8", "caption_empty", "upper", "other_ending", "deep", "dotted", "long_ending"])
    shards = 3
    for shard in range(shards):
        records = []
        for picture, words in zip(pictures[shard::shards], captions[shard::shards]):
            ends = f"{'precompute' if picture.kind == 'half' else 'the pool'} dies: the picture cannot be {'decoded' if 'half' in picture.kind else 'written as JPEG'}"
            key = f"{shard:04d}{m.draw.randrange(10 ** 5):05d}"
            about = {"url": f"https://example.com/{key}.jpg", "caption": words, "key": key, "status": "success", "similarity": float("nan")}
            record = [(f"{key}.jpg", picture.data), (f"{key}.txt", text(words)), (f"{key}.json", text(json.dumps(about)))]
            m.draw.shuffle(record)
            if not picture.crash or m.happens(picture.crash, ends):
                records.append((record, picture.crash))
        for fault in wrong[shard::shards]:
            key, jpeg, words = f"{shard:04d}{m.draw.randrange(10 ** 5):05d}", m.one("jpeg").data, text(caption(m.draw))
            records.append(({
                "no_picture": [(f"{key}.txt", words)], "no_caption": [(f"{key}.jpg", jpeg)],
                "caption_not_utf8": [(f"{key}.jpg", jpeg), (f"{key}.txt", b"caf\xe9 at night")],
                "caption_empty": [(f"{key}.jpg", jpeg), (f"{key}.txt", b"")],
                "upper": [(f"{key}.JPG", jpeg), (f"{key}.txt", words)], "other_ending": [(f"{key}.jpeg", jpeg), (f"{key}.txt", words)],
                "deep": [(f"more/{key}.jpg", jpeg), (f"more/{key}.txt", words)],
                "dotted": [(f"{key}.v2.jpg", jpeg), (f"{key}.v2.txt", words)],
                "long_ending": [(f"{key}.jpg", jpeg), (f"{key}.caption.txt", words)]}[fault], None))
        m.draw.shuffle(records)
        before = "./" if shard == m.seed % shards else ""
        members = [(before + name, data) for record in m.left(records) for name, data in record]
        if shard == (m.seed + 1) % shards:
            members += mac_leftovers(members[0][0])
        m.put(f"hub/datasets/pixparse/cc12m-wds/cc12m-train-{shard:04d}.tar", tar_bytes(members))
    info = {"splits": {"train": {"name": "train", "filenames": [f"cc12m-train-{i:04d}.tar" for i in range(shards)]}}}
    m.put("hub/datasets/pixparse/cc12m-wds/_info.json", text(json.dumps(info)))


NSFW = [0.2, 0.2001, 0.1999, 0.0, 1.0, 2.0, float("nan")]


def diffusiondb(m):
    """hub poloclub/diffusiondb: zips of WebP with a part-N.json each; one Parquet table over all, whose scores are float32."""
    repository, parts = "hub/datasets/poloclub/diffusiondb", [1, 2, 10001]
    pictures = m.pictures(["webp_rgba", "webp_opaque", "half_webp", "png", "palette", "rgba", "grey_png", "jpeg", "words", "nothing"], main="webp")
    captions = m.captions(pictures, ["", *EMPTY_WHEN_CLEANED])
    pictures += [m.one("webp") for _ in range(16)]
    captions += [caption(m.draw) for _ in range(16)]
    scores = [(a, 0.01) for a in NSFW] + [(0.01, b) for b in NSFW] + [(0.2, 0.2), (float("nan"), float("nan"))]
    rows, members = [], {part: [] for part in parts}

    def row(part, name, prompt, image_nsfw=0.01, prompt_nsfw=0.02):
        rows.append({"image_name": name, "prompt": prompt, "part_id": part, "seed": m.number(9), "step": 50, "cfg": 7.0,
                     "sampler": m.draw.randrange(1, 9), "width": 512, "height": 512, "user_name": f"{m.number(20):064x}",
                     "timestamp": 1_660_000_000_000_000 + m.number(12), "image_nsfw": image_nsfw, "prompt_nsfw": prompt_nsfw})

    def name_of():
        return f"{uuid.UUID(int=m.draw.getrandbits(128), version=4)}.webp"

    for i, (picture, words) in enumerate(zip(pictures, captions)):
        part, name = m.draw.choice(parts), name_of()
        members[part].append((name, picture.data))
        row(part, name, words, *(scores[i - len(pictures)] if i >= len(pictures) - len(scores) else ()))
    for fault in m.some(["no_row", "no_picture", "two_rows", "no_prompt", "other_part", "deep", "upper", "png_ending"]):
        part, name, data, words = m.draw.choice(parts), name_of(), m.one("webp").data, caption(m.draw)
        stem = name.removesuffix(".webp")
        member = {"deep": f"more/{name}", "upper": f"{stem}.WEBP", "png_ending": f"{stem}.png"}.get(fault, name)
        if fault != "no_picture":
            members[part].append((member, data))
        if fault == "other_part":
            part = parts[parts.index(part) - 1]
        if fault != "no_row":
            row(part, member.rsplit("/", 1)[-1], None if fault == "no_prompt" else words)
        if fault == "two_rows":
            row(part, name, caption(m.draw))
    for part in parts:
        about = {name: {"p": r["prompt"], "se": r["seed"], "c": r["cfg"], "st": r["step"], "sa": "k_euler"}
                 for r in rows if (name := r["image_name"]) and r["part_id"] == part}
        members[part].append((f"part-{part:06d}.json", text(json.dumps(about))))
    ends_there = m.happens("no_part_json", "the pool dies in download: part-N.json cannot be moved") and "no_part_json" not in m.leave_out
    for i, part in enumerate(parts):
        m.draw.shuffle(members[part])
        if i == m.seed % 3:
            members[part] += mac_leftovers(members[part][0][0])
            members[part] = [member for member in members[part] if not (ends_there and member[0] == f"part-{part:06d}.json")]
        m.put(f"{repository}/diffusiondb-large-part-{1 if part <= 10000 else 2}/part-{part:06d}.zip", zip_bytes(members[part]))
    m.draw.shuffle(rows)
    m.put(f"{repository}/metadata-large.parquet", diffusiondb_table(rows))


def diffusiondb_table(rows):
    """Types as in the real file; two row groups."""
    import pyarrow
    types = {"image_name": pyarrow.string(), "prompt": pyarrow.string(), "part_id": pyarrow.uint16(), "seed": pyarrow.uint32(),
             "step": pyarrow.uint16(), "cfg": pyarrow.float32(), "sampler": pyarrow.uint8(), "width": pyarrow.uint16(),
             "height": pyarrow.uint16(), "user_name": pyarrow.string(), "timestamp": pyarrow.timestamp("us", "UTC"),
             "image_nsfw": pyarrow.float32(), "prompt_nsfw": pyarrow.float32()}
    return parquet_bytes(pyarrow.table({name: pyarrow.array([row[name] for row in rows], kind) for name, kind in types.items()}), len(rows) // 2 + 1)


def parquet_bytes(table, rows_per_group):
    import pyarrow.parquet
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out, row_group_size=rows_per_group)
    return out.getvalue()


def journeydb(m):
    """hub JourneyDB/JourneyDB, gated: data/SPLIT/imgs/NNN.tgz and JSON lines inside .tgz, whose img_path is ./NNN/NAME."""
    repository, ids = "hub/datasets/JourneyDB/JourneyDB/data", (0, 1)
    tables = {"train": "train_anno_realease_repath.jsonl", "valid": "valid_anno_repath.jsonl"}
    endings = {"png": "png", "rgba": "png", "opaque": "png", "la": "png", "palette": "png", "grey_png": "png", "grey16": "png", "bilevel": "png",
               "half_png": "png", "gif": "gif", "gif_grey": "gif", "gif_moving": "gif", "bmp": "bmp", "tiff": "tiff", "tiff_cmyk": "tiff"}
    for split, table in tables.items():
        pictures = m.pictures([*endings, "progressive", "grey", "cmyk", "turned", "half", "words", "nothing"] if split == "train" else ["png", "rgba"])
        pictures += [m.one(kind) for kind in ("rgba", "gif", "png")]
        captions = m.captions(pictures, ["", *EMPTY_WHEN_CLEANED] if split == "train" else [])
        rows, members = [], {number: [] for number in ids}

        def row(path, prompt, **more):
            task = {"Caption": caption(m.draw), "QA": []}
            return {"img_path": path, "Task1": task, "Task2": task, "Task3": {"Caption": "", "QA": [], "score": float("nan")}, "prompt": prompt} | more

        for i, (picture, words) in enumerate(zip(pictures, captions)):
            ending = endings.get(picture.kind, "jpg") if i < len(pictures) - 3 else "jpg"
            if picture.kind == "jpeg" and m.draw.random() < 0.3:
                ending = m.draw.choice(["JPG", "jpeg", "Jpeg"])
            number, name = m.draw.choice(ids), f"{uuid.UUID(int=m.draw.getrandbits(128))}.{ending}"
            members[number].append((f"{number:03d}/{name}", picture.data))
            rows.append(row(m.draw.choice(["./", "./", "./", ""]) + f"{number:03d}/{name}", words))
        for fault in m.some(["no_row", "no_picture", "two_rows", "prompt_nan", "prompt_number", "not_asked_for", "deep", "other_ending", "parent"]):
            number, name, data, words = m.draw.choice(ids), f"{m.number(12)}.jpg", m.one("jpeg").data, caption(m.draw)
            name = {"deep": "more/" + name, "other_ending": name.replace("jpg", m.draw.choice(["webp", "tif"]))}.get(fault, name)
            where = "199" if fault == "not_asked_for" else f"{number:03d}"
            if fault not in ("no_picture", "not_asked_for"):
                members[number].append((f"{number:03d}/{name}", data))
            if fault != "no_row":
                rows.append(row(f"{'../' if fault == 'parent' else './'}{where}/{name}", {"prompt_nan": float("nan"), "prompt_number": 7}.get(fault, words)))
            if fault == "two_rows":
                rows.append(row(f"./{where}/{name}", caption(m.draw)))
        m.draw.shuffle(rows)
        rows = [(line, None) for line in rows]
        if split == "train":
            for fault, line in (("row_without_prompt", json.dumps({"img_path": f"./000/{m.number(12)}.jpg"}) + "\n"), ("row_without_path", '{"prompt": "alone"}\n'),
                                ("row_cut_short", '{"img_path": "./000/x.jpg", "pro\n'), ("empty_line", "\n")):
                at = m.draw.randrange(len(rows))
                if m.happens(fault, "convert dies at the line"):
                    rows.insert(at, (line, fault))
        for i, number in enumerate(ids):
            m.draw.shuffle(members[number])
            before = "./" if i == m.seed % 2 else ""
            found = [(f"{number:03d}", None), *members[number]]
            if i == (m.seed + 1) % 2:
                found += mac_leftovers(members[number][0][0])
            m.put(f"{repository}/{split}/imgs/{number:03d}.tgz", tgz_bytes([(before + name, data) for name, data in found]))
        m.put(f"{repository}/{split}/{table}.tgz", tgz_bytes([(("./" if split == "valid" else "") + table, lines_of(m.left(rows))), *mac_leftovers(table)]))
    m.put(f"{repository}/train/train_anno.jsonl.tgz", tgz_bytes([("train_anno.jsonl", lines_of([{"img_path": "x.jpg", "prompt": "another table"}]))]))
    m.put(f"{repository}/test/test_questions.jsonl.tgz", tgz_bytes([("test_questions.jsonl", lines_of([{"img_path": "./imgs/a.png", "Task1": {}}]))]))
    m.put(f"{repository}/test/imgs.tgz", tgz_bytes([("imgs", None), ("imgs/a.png", m.one("png").data)]))


SA1B_LIST = "sa1b_links.txt"


def sa1b(m):
    """A tab-separated list of signed links, tars of sa_N.jpg and sa_N.json, and the captions that the hub has as one .tar.gz of sa_N.txt."""
    pictures = m.pictures(["progressive", "grey", "cmyk", "turned", "png", "grey_png", "webp", "bilevel", "rgba", "palette", "grey16", "gif", "half", "half_png",
                           "words", "nothing"])
    captions = m.captions(pictures, ["", "  \n"])
    numbers = m.draw.sample(range(1, 11_000_000), len(pictures) + 12)
    tars, texts, links = {i: [] for i in m.draw.sample(range(1000), 3)}, [], []
    names = list(tars)

    def put(tar, name, data, number):
        tars[tar].append([(name, data), (f"sa_{number}.json", text(json.dumps({"image": {"image_id": number}, "annotations": []})))])

    for picture, words, number in zip(pictures, captions, numbers):
        put(m.draw.choice(names), f"sa_{number}.jpg", picture.data, number)
        texts.append((f"sa_{number}.txt", text(words)))
    faults = m.some(["no_caption", "no_picture", "dotted", "caption_not_utf8", "upper", "other_ending", "caption_deep"])
    for fault, number in zip(faults, numbers[len(pictures):]):
        ending = {"dotted": ".v2.jpg", "upper": ".JPG", "other_ending": ".png"}.get(fault, ".jpg")
        if fault != "no_picture":
            put(m.draw.choice(names), f"sa_{number}{ending}", m.one("jpeg").data, number)
        if fault != "no_caption":
            name = ("more/" if fault == "caption_deep" else "") + f"sa_{number}.txt"
            texts.append((name, b"caf\xe9" if fault == "caption_not_utf8" else text(caption(m.draw))))
    for i, (tar, pairs) in enumerate(tars.items()):
        m.draw.shuffle(pairs)
        members = [("./" * (i != m.seed % 3) + name, data) for pair in pairs for name, data in pair]
        if i == (m.seed + 1) % 3:
            members += mac_leftovers(members[0][0])
        m.put(f"web/scontent.xx.fbcdn.net/m1/v/t6/sa_{tar:06d}.tar", tar_bytes(members))
        links.append(f"sa_{tar:06d}.tar\thttps://scontent.xx.fbcdn.net/m1/v/t6/sa_{tar:06d}.tar"
                     f"?ccb=10-5&oh=00_{m.number(20):x}&oe={m.number(8):X}&_nc_sid=0fdd51\n")
    m.draw.shuffle(texts)
    half = len(texts) // 2
    m.put("hub/datasets/PixArt-alpha/SAM-LLaVA-Captions10M/SA1B_caption.tar.gz",
          tgz_bytes(texts[:half] + [("./" + name, data) for name, data in texts[half:]] + mac_leftovers(texts[0][0])))
    m.draw.shuffle(links)
    m.put(f"web/scontent.xx.fbcdn.net/{SA1B_LIST}", text("file_name\tcdn_link\n" + "".join(links)))


def textcaps(m):
    """dl.fbaipublicfiles.com: two JSON documents, an entry per caption, and one zip whose train_images/ has both splits' pictures."""
    top = "web/dl.fbaipublicfiles.com/textvqa"
    pictures = m.pictures(["progressive", "grey", "cmyk", "turned", "png", "grey_png", "rgba", "palette", "grey16", "bilevel"], ["half", "words", "nothing"])
    captions, members, data = m.captions(pictures, ["", *EMPTY_WHEN_CLEANED]), [], {"train": [], "val": []}

    def entries(split, image, strings, width, height, fault=None):
        for i in range(max(1, len(strings))):
            data[split].append(({"caption_str": strings[i] if strings else "", "caption_id": m.number(6), "image_id": image, "image_classes": ["Poster"],
                                "flickr_original_url": f"https://farm1.staticflickr.com/{m.number(4)}/{image}_o.jpg", "flickr_300k_url": None,
                                "image_width": width, "image_height": height, "set_name": split, "image_name": image,
                                "image_path": f"{'train' if split == 'train' else 'val'}/{image}.jpg", "reference_strs": strings, "reference_tokens": [s.split() for s in strings]}, fault))

    def size_said(picture):
        try:
            with odd_pictures.Image.open(io.BytesIO(picture.data)) as image:
                return image.size
        except OSError:
            return 640, 480

    for picture, words in zip(pictures, captions):
        image, split = f"{m.draw.getrandbits(64):016x}", m.draw.choice(["train", "train", "val"])
        strings = [words, *(caption(m.draw) for _ in range(m.draw.randrange(1, 5)))]
        if not picture.crash or m.happens(picture.crash, "convert dies: the data set cannot decode the picture"):
            members.append(((f"train_images/{image}.jpg", picture.data), picture.crash))
            entries(split, image, strings, *size_said(picture), picture.crash)
    for fault in m.some(["no_entry", "no_captions", "other_size", "picture_missing", "deep"]):
        image, picture, strings = f"{m.draw.getrandbits(64):016x}", m.one("jpeg"), [caption(m.draw), caption(m.draw)]
        if fault != "picture_missing":
            members.append((("train_images/" + ("more/" if fault == "deep" else "") + f"{image}.jpg", picture.data), None))
        size = (640, 480) if fault == "other_size" else size_said(picture)
        if fault == "no_captions":
            entries("val", image, [], *size)
        elif fault not in ("no_entry", "deep") and (fault != "picture_missing" or m.happens(fault, "convert dies: no such file")):
            entries("train", image, strings, *size, fault)
    for split, entries_of_split in data.items():
        m.draw.shuffle(entries_of_split)
        about = {"dataset_type": split, "dataset_name": "textcaps", "dataset_version": "0.1", "score": float("nan"), "data": m.left(entries_of_split)}
        m.put(f"{top}/data/textcaps/TextCaps_0.1_{split}.json", text(json.dumps(about)))
    m.draw.shuffle(members)
    members = m.left(members)
    m.put(f"{top}/images/train_val_images.zip", zip_bytes([("train_images", None), *members, *mac_leftovers(members[0][0])]))


def coco2014(m):
    """images.cocodataset.org: pictures in one zip, captions in a JSON document of a second one."""
    top = "web/images.cocodataset.org"
    ends = "convert dies: the picture cannot be opened, or not be written as JPEG"
    pictures = m.pictures(["progressive", "grey", "cmyk", "turned", "png", "grey_png", "bilevel"], ["rgba", "palette", "grey16", "gif", "half", "words", "nothing"])
    captions, members, images, annotations = m.captions(pictures, ["", *EMPTY_WHEN_CLEANED]), [], [], []
    numbers = m.draw.sample(range(1, 582_000), len(pictures) + 8)

    def put(number, data, words, fault=None):
        if data is not None:
            members.append(((f"val2014/COCO_val2014_{number:012d}.jpg", data), fault))
        images.append(({"id": number, "file_name": f"COCO_val2014_{number:012d}.jpg", "width": 640, "height": 480, "license": 1}, fault))
        for said in words:
            annotations.append(({"image_id": number, "id": m.number(6), "caption": said}, fault))

    for picture, words, number in zip(pictures, captions, numbers):
        why = "precompute dies: the picture cannot be decoded" if picture.kind == "half" else ends
        if not picture.crash or m.happens(picture.crash, why):
            put(number, picture.data, [words, *(caption(m.draw) + "\n" for _ in range(m.draw.randrange(1, 5)))], picture.crash)
    for fault, number in zip(m.some(["no_caption", "picture_missing", "caption_null", "not_listed", "deep"]), numbers[len(pictures):]):
        data, words = m.one("jpeg").data, [caption(m.draw)]
        if fault == "picture_missing" and m.happens(fault, "convert dies: no such file"):
            put(number, None, words, fault)
        elif fault == "caption_null" and m.happens(fault, "precompute dies: a caption that is no text"):
            put(number, data, [None], fault)
        elif fault == "no_caption":
            put(number, data, [])
        elif fault == "not_listed":
            put(number, data, words)
            images.pop()
        elif fault == "deep":
            members.append(((f"val2014/more/COCO_val2014_{number:012d}.jpg", data), None))
    for marked in (annotations, images, members):
        m.draw.shuffle(marked)
    annotations, images, members = m.left(annotations), m.left(images), m.left(members)
    about = {"info": {"year": 2014, "version": "1.0", "score": float("nan")}, "images": images, "licenses": [], "annotations": annotations}
    m.put(f"{top}/annotations/annotations_trainval2014.zip", zip_bytes([
        ("annotations/instances_val2014.json", text(json.dumps({"images": images, "annotations": []}))),
        ("annotations/captions_train2014.json", text(json.dumps({"images": [], "annotations": []}))),
        ("annotations/captions_val2014.json", text(json.dumps(about))), *mac_leftovers("annotations/captions_val2014.json")]))
    m.put(f"{top}/zips/val2014.zip", zip_bytes([("val2014", None), *members, *mac_leftovers(members[0][0])]))


CIFAR_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
FASHION_CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def labelled(m, count, width, height, channels):
    """Each class at least once where there are ten or more."""
    labels = [i % 10 for i in range(count)]
    m.draw.shuffle(labels)
    return [(label, odd_pictures.pixels(f"{m.name} {m.seed} {m.draw.random()}", width, height, channels)) for label in labels]


def cifar_batches(m):
    """Of a miniature: file's stem -> [(label, pixels)]."""
    m.draw.seed(f"{m.name} {m.seed} batches")
    return {name: labelled(m, m.plain + m.draw.randrange(3), 32, 32, 3) for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]}


def cifar10(m):
    """www.cs.toronto.edu: binary batches (a byte of label, 32x32 red, green, blue); the hub's uoft-cs/cifar10: Parquet with PNG inside."""
    batches = cifar_batches(m)
    members = [(f"cifar-10-batches-bin/{name}.bin", b"".join(bytes([label]) + image.transpose(2, 0, 1).tobytes() for label, image in rows))
               for name, rows in batches.items()]
    members += [("cifar-10-batches-bin/batches.meta.txt", text("\n".join(CIFAR_CLASSES) + "\n\n")), ("cifar-10-batches-bin/readme.html", b"<html></html>")]
    m.draw.shuffle(members)
    members = [("cifar-10-batches-bin", None), *members, *mac_leftovers("cifar-10-batches-bin/data_batch_1.bin")]
    m.put("web/www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", tgz_bytes([("./" * (m.seed % 2) + name, data) for name, data in members]))
    for split, names in (("train", [f"data_batch_{i}" for i in range(1, 6)]), ("test", ["test_batch"])):
        rows = [row for name in names for row in batches[name]]
        m.put(f"hub/datasets/uoft-cs/cifar10/plain_text/{split}-00000-of-00001.parquet", cifar_table(rows))


def cifar_table(rows):
    """As the `datasets` library writes pictures: a struct of bytes and path; what it knows of the classes is in the file's metadata."""
    import pyarrow
    about = {"info": {"features": {"img": {"_type": "Image"}, "label": {"names": CIFAR_CLASSES, "_type": "ClassLabel"}}}}
    picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema([("img", picture), ("label", pyarrow.int64())], metadata={"huggingface": json.dumps(about)})
    columns = [[{"bytes": odd_pictures.written(odd_pictures.Image.fromarray(image), "PNG"), "path": None} for _, image in rows], [label for label, _ in rows]]
    return parquet_bytes(pyarrow.Table.from_arrays([pyarrow.array(column, field.type) for column, field in zip(columns, schema)], schema=schema), 7)


def fashion_mnist(m):
    """Debian's dataset-fashion-mnist: gzipped idx files under /usr/share/datasets/fashion-mnist."""
    for split, count in (("train", m.plain * 5 + 3), ("t10k", m.plain + 1)):
        rows = labelled(m, count, 28, 28, 1)
        images = np.array([0x803, count, 28, 28], ">i4").tobytes() + b"".join(image.tobytes() for _, image in rows)
        labels = np.array([0x801, count], ">i4").tobytes() + bytes(label for label, _ in rows)
        for what, data in ((f"{split}-images-idx3-ubyte", images), (f"{split}-labels-idx1-ubyte", labels)):
            m.put(f"files/usr/share/datasets/fashion-mnist/{what}.gz", gzip.compress(data, mtime=0))


LAYOUTS = {layout.__name__: layout for layout in (cc12m, diffusiondb, journeydb, sa1b, textcaps, coco2014, cifar10, fashion_mnist)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=[*LAYOUTS, "all"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=4, help="plain ones besides those that each layout has")
    words = parser.parse_args()
    for name in LAYOUTS if words.name == "all" else [words.name]:
        made = Miniature(name, words.folder, words.seed, words.pictures)
        files = [p for p in words.folder.rglob("*") if p.is_file()]
        print(f"{name}: {len(files)} files, {sum(p.stat().st_size for p in files)} bytes so far; faults that end the original's job: {len(made.crashing)}")


if __name__ == "__main__":
    main()
