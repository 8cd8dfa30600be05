#!/usr/bin/env python3
"""Classes of a user's own: folders (as torchvision's ImageFolder), .cls files, a table's column, a JSON key; from pictures to a network that is
trained on them; what is no class is refused with file, member and value.

classes_test.py [CASE ...]   (all without one)"""
import csv
import io
import json
import tarfile

import PIL.Image

from entries import Own, check, run_cases, samples_of
from programs import SOURCE, USER_MISTAKE
import odd_pictures
import programs

FOLDERS = """name: mine
source: {folder: /path/of/pictures, pattern: ["**/*"]}
archive: none
record: {image: [jpg], class: "{parent}"}
splits: {held_out: 0.2}
recipe: pixels.yaml
"""
NAMES = ["Zebra", "a cat", "café", "dog"]  # as sorted() has them: by code points, capitals first


def picture(own, path, side=16):
    target = own.folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(odd_pictures.of_kind("jpeg", path, side, side))


def folders(scratch, entry=FOLDERS, names=NAMES, each=6):
    own = Own(scratch / "one", 0)
    for name in names:
        for i in range(each):
            picture(own, f"train/{name}/{i:02d}.jpg")
    recipe = own.root / "pixels.yaml"
    recipe.write_text("name: pixels\nimages: {codec: none, sizes: [16]}\ntext: {encoder: none}\n")
    own.data.mkdir(exist_ok=True)
    own.entry(entry.replace("pixels.yaml", str(recipe)))
    return own


def classes_of(own):
    """key -> (class, its name), and the names in the facts."""
    facts = json.loads((own.data / "samples/mine/facts.json").read_text())
    return {sample["key"]: (sample["columns"]["class"], sample["captions"].get("class")) for sample in own.samples()}, facts["record"]["classes"]


def folders_are_classes(scratch):
    """Names of folders, sorted as Python sorts them, are classes 0, 1, 2 ...; a folder without a picture is none; the same for any number of ranks."""
    own = folders(scratch)
    (own.folder / "train/empty").mkdir()
    (own.folder / "train/notes").mkdir()
    (own.folder / "train/notes/readme.md").write_text("no picture")
    own.run("download")
    log = own.run("clean")
    found, names = classes_of(own)
    check(names == NAMES == sorted(NAMES), names)
    check(len(found) == 24 and "24 of 24 records kept" in log, log)
    lies_in = {path.read_bytes(): path.parent.name for path in own.folder.rglob("*.jpg")}
    check(len(lies_in) == 24, "pictures that are alike")
    for sample in own.samples():
        number, name = found[sample["key"]]
        folder = lies_in[sample["image"]]
        check((names[int(number)], name) == (folder, folder), f"{sample['key']}: {number}, {name}, not {folder}")
    alone = {path.name: path.read_bytes() for path in (own.data / "samples/mine").glob("*.h5")}
    programs.run("clean", "--config", own.root / "mine.yaml", f"source.folder={own.folder}", "shard_records=5", "name=two", data=own.data, expect=USER_MISTAKE)
    for path in list((own.data / "samples/mine").rglob("*"))[::-1]:
        path.unlink() if path.is_file() else path.rmdir()
    programs.run("clean", "--config", own.root / "mine.yaml", ranks=2, data=own.data)
    check({path.name: path.read_bytes() for path in (own.data / "samples/mine").glob("*.h5")} == alone, "two ranks make other bytes")


def letters_in_two_forms(scratch):
    """A folder whose name is written with letters apart from their marks is the class of the same name."""
    own = folders(scratch, names=["cafe\u0301", "dog"], entry=FOLDERS.replace('"{parent}"', '"{parent}", classes: [dog, café]'))
    own.run("download")
    own.run("clean")
    found, names = classes_of(own)
    check(names == ["dog", "café"] and sorted(found.values()) == [(0.0, "dog")] * 6 + [(1.0, "café")] * 6, f"{names} {found}")


def train_words(own, steps):
    """A training of so many steps on what `folders` made, measured and kept at its end."""
    return ["--config", SOURCE / "configs/train/nano_debug.yaml", f"runs={own.root}/runs", "name=mine", "data=[{dataset: mine}]", "size=16", "batch_size=8",
            f"steps={steps}", f"validation={{every_steps: {steps}, samples: 4}}", f"checkpoint={{every_steps: {steps}}}", "sampling={every_steps: 0}"]


def trained(scratch):
    """From the folders to a class-conditional network and its pictures by name, without any text encoder."""
    own = folders(scratch)
    for stage in ("download", "clean"):
        own.run(stage)
    recipe = own.root / "pixels.yaml"
    text = recipe.read_text()
    for key in ("length: 8", "batch_size: 7", "precision: bf16"):
        recipe.write_text(text.replace("encoder: none", f"encoder: none, {key}"))
        check("with encoder: none leave it out" in own.run("precompute", expect=USER_MISTAKE), key)
    recipe.write_text(text)
    own.run("precompute")
    facts = json.loads((own.data / "latents/mine/pixels/facts.json").read_text())
    check(facts["classes"] == NAMES, facts["classes"])
    words = train_words(own, 3)
    log = programs.run("train", *words, "model={dim: 32, depth: 1, num_heads: 2, num_classes: 3}", data=own.data, expect=USER_MISTAKE)
    check("model.num_classes=3" in log and "the data have 4 classes" in log, log)
    log = programs.run("train", *words, "model={dim: 32, depth: 1, num_heads: 2, num_classes: 4}", data=own.data)
    check("done: 3 steps" in log, log)
    programs.run("generate", "--run", own.root / "runs/mine", "steps=2", "--class", "a cat", "--class", "3", data=own.data)
    check(len(list((own.root / "runs/mine/images/latest/").glob("*.png"))) >= 2, "no pictures")
    log = programs.run("generate", "--run", own.root / "runs/mine", "steps=2", "--class", "horse", data=own.data, expect=USER_MISTAKE)
    check("horse" in log and "a cat" in log, log)


def grey_pixels(scratch):
    """Pictures whose 2 x 2 grey pixels are a place with four channels: through precompute, train and generate."""
    own = folders(scratch)
    for stage in ("download", "clean"):
        own.run(stage)
    recipe = own.root / "pixels.yaml"
    text = recipe.read_text()
    recipe.write_text(text.replace("none, sizes: [16]", "grey_3, sizes: [16]"))
    check("16 is no multiple of 3" in own.run("precompute", expect=USER_MISTAKE), "sizes")
    recipe.write_text(text.replace("codec: none", "codec: grey_2"))
    own.run("precompute")
    facts = json.loads((own.data / "latents/mine/pixels/facts.json").read_text())
    check((facts["channels"], facts["downscale"], facts["codec"]["kind"]) == (4, 2, "grey"), facts["codec"])
    words = train_words(own, 2)
    programs.run("train", *words, "model={patch_size: 2, dim: 32, depth: 1, num_heads: 2, num_classes: 4}", data=own.data)
    programs.run("generate", "--run", own.root / "runs/mine", "steps=2", "--class", "dog", data=own.data)
    painted = PIL.Image.open(next((own.root / "runs/mine/images/latest/").glob("0*.png")))
    check(painted.size == (16, 16), painted.size)
    red, green, blue = painted.convert("RGB").split()
    check(red.tobytes() == green.tobytes() == blue.tobytes(), "not grey")


def in_a_tar(own, members):
    with tarfile.open(own.folder / "a.tar", "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


TAR = FOLDERS.replace("archive: none", "archive: tar").replace('"**/*"', '"*.tar"')


def pairs(labels, ending="cls"):
    for i, label in enumerate(labels):
        yield f"{i:04d}.{ending}", label
        yield f"{i:04d}.jpg", odd_pictures.of_kind("jpeg", f"{i}", 16, 16)


def sidecars(scratch):
    """WebDataset's .cls: numbers, with or without names for them, and names."""
    for case, (classes, labels, wanted) in enumerate((
            ("", [b"0", b"2\n", b" 7 "], [(0.0, "0"), (2.0, "2"), (7.0, "7")]),
            (", classes: [cat, dog, eel]", [b"0", b"2\n", b"dog"], [(0.0, "cat"), (2.0, "eel"), (1.0, "dog")]))):
        own = folders(scratch / str(case), TAR.replace('class: "{parent}"', "class: cls" + classes), names=[])
        in_a_tar(own, pairs(labels))
        own.run("download")
        own.run("clean")
        found, _ = classes_of(own)
        check([found[f"{i:04d}"] for i in range(3)] == wanted, found)


def json_keys(scratch):
    """A key of KEY.json, a name or a number; a record without it is damaged, as one without its caption is."""
    entry = TAR.replace('class: "{parent}"', 'class: "json:kind", classes: [cat, dog]') + "filters: {max_damaged_fraction: 0.5}\n"
    own = folders(scratch, entry, names=[])
    in_a_tar(own, pairs([b'{"kind": "dog"}', b'{"kind": 0}', b'{"else": 1}'], "json"))
    own.run("download")
    log = own.run("clean")
    check(classes_of(own)[0] == {"0000": (1.0, "dog"), "0001": (0.0, "cat")} and "damaged.no_class 1 (e.g. 0002)" in log, log)


UNCONDITIONAL = {"kind": "unet", "block_out_channels": [8, 8], "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": 8,
                 "down_block_types": ["DownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "UpBlock2D"]}


PARQUET = """name: {name}
source: {{folder: {folder}, pattern: ["*.parquet"]}}
archive: parquet
record: {{kind: parquet, picture: image, {labels}caption: {{caption: "column:words"}}}}
tables: []
splits: {{held_out: 0}}
recipe: {recipe}
"""


def partly_labelled(scratch):
    """A class run's epoch is those that have a class, each once; a run that takes none shows all, also beside other classes or none."""
    import pyarrow
    import pyarrow.parquet
    own = folders(scratch, names=[])
    pictures = [{"bytes": odd_pictures.of_kind("jpeg", f"{i}", 16, 16), "path": f"{i}.jpg"} for i in range(40)]
    labels = [i % 2 if i % 7 == 0 else None for i in range(40)]
    pyarrow.parquet.write_table(pyarrow.table({"image": pictures, "words": ["a square"] * 40, "label": labels}), own.folder / "a.parquet")
    for name, labelled in (("mine", "label: label, classes: [cat, dog], "), ("other", "label: label, classes: [dog, cat], "), ("none", "")):
        entry = own.root / f"{name}.yaml"
        entry.write_text(PARQUET.format(name=name, folder=own.folder, labels=labelled, recipe=own.root / "pixels.yaml"))
        for stage in ("download", "clean", "precompute"):
            programs.run(stage, "--config", entry, data=own.data)
    config = own.root / "train.yaml"

    def train(name, data, expect=0, **model):
        config.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in {
            "name": name, "runs": str(own.root / "runs"), "data": [{"dataset": one} for one in data], "size": 16, "batch_size": 3, "steps": "2ep",
            "model": {**UNCONDITIONAL, **model}, "objective": {"path": "linear", "prediction": "eps"}, "caption_drop": 0, "mask_ratio": 0,
            "threads_per_rank": 1, "checkpoint": {"every_steps": 1000, "every_minutes": 0}}.items()))
        return programs.run("train", "--config", config, data=own.data, expect=expect)

    log = train("few", ["mine"], num_classes=2)
    check("6 of 40 samples have a class; the others are not shown" in log and "done: 4 steps" in log, log)
    log = train("all", ["mine", "other", "none"])
    check("120 samples of 16 px, no condition" in log and "done: 80 steps" in log, log)
    check("cannot be mixed: `classes` is" in train("mixed", ["mine", "other"], USER_MISTAKE, num_classes=2), "classes of other names")
    check("that have a class" in train("unlabelled", ["none"], USER_MISTAKE, num_classes=2), "no classes")


def columns(scratch):
    """A column of a table; a row without one has no class and is left out, and counted."""
    entry = FOLDERS.replace('image: [jpg], class: "{parent}"', 'kind: table, image: [jpg], class: "table:kind", classes: [cat, dog]') + (
        'tables: [{kind: csv, file: t.csv, key: "{file}", join: "{basename}", columns: {kind: species}}]\n')
    own = folders(scratch, entry, names=[])
    for i in range(5):
        picture(own, f"{i}.jpg")
    out = io.StringIO()
    csv.writer(out).writerows([("file", "species"), ("0.jpg", "dog"), ("1.jpg", "0"), ("2.jpg", ""), ("3.jpg", "nan"), ("4.jpg", "cat")])
    own.table("t.csv", out.getvalue())
    own.run("download")
    log = own.run("clean")
    check(classes_of(own)[0] == {"0.jpg": (1.0, "dog"), "1.jpg": (0.0, "cat"), "4.jpg": (0.0, "cat")} and "filtered.no_class 2 (e.g. 2.jpg)" in log, log)


def refused(scratch):
    """What is no class ends clean with file, member and value; and entries that cannot be."""
    cases = [(", classes: [cat, dog]", b"2", "its class is '2', but record.classes has 2, numbers 0 to 1 (cat, dog): add the names that are lacking at its end"),
             (", classes: [cat, dog]", b"-7", "its class is '-7', but record.classes has 2, numbers 0 to 1 (cat, dog): no class has such a number: mend it"),
             (", classes: [cat, dog]", b"1.5", "no class has such a number: mend it, or leave what is read with this file out (max_failed_items)"),
             (", classes: [cat, dog]", b"horse", "its class is 'horse', but record.classes has 2, numbers 0 to 1 (cat, dog): add 'horse' at the end of record.classes"), ("", b"horse", "which is no number from 0: name the classes in record.classes")]
    for i, (classes, label, said) in enumerate(cases):
        own = folders(scratch / str(i), TAR.replace('class: "{parent}"', "class: cls" + classes), names=[])
        in_a_tar(own, pairs([b"0", label]))
        own.run("download")
        log = own.run("clean", expect=USER_MISTAKE)
        check(said in log and "a.tar: 0001" in log and "filters" not in log, log)
    own = folders(scratch / "folder", FOLDERS.replace('"{parent}"', '"{parent}", classes: [dog]'), names=["dog", "horse"])
    own.run("download")
    log = own.run("clean", expect=USER_MISTAKE)
    check("train/horse/00.jpg" in log and "its class is 'horse'" in log, log)
    for key, said in (('class: "{nothing}"', "{nothing}"), ('class: "{parent}", classes: [a, a]', "'a' comes twice"),
                      ('class: "{parent}", classes: [a, " "]', "the name of class 1 is empty"), ('class: "{parent}", classes: ["dog ", dog]', "'dog' comes twice"),
                      ('class: "{parent}", classes: ["caf\u00e9", "cafe\u0301"]', "'caf\u00e9' comes twice"),
                      ("class: cls, classes: [1, 2, 3]", "'1' is the name of class 0, and a text '1' could mean either"),
                      ("class: cls, classes: [cat, '0']", "'0' is the name of class 1"),
                      ("class: JPG", "such files are the pictures"), ("class: json", "json:<key> names one in them"),
                      ('class: "{parent}", caption: {c: "column:x"}', "caption")):
        own.entry(FOLDERS.replace('class: "{parent}"', key))
        log = own.run("clean", expect=USER_MISTAKE)
        check("mine.yaml" in log and said in log, log)
    own.entry(TAR)
    log = own.run("clean", expect=USER_MISTAKE)
    check("classes: name them" in log, log)


def white_space(scratch):
    """Names of folders are classes with the white space at their ends; what is written by hand may have some, too."""
    names = ["cat", "dog ", "eel\u00a0", "\u3000fox", "nan"]
    own = folders(scratch / "folders", names=names, each=3)
    own.run("download")
    own.run("clean")
    found, there = classes_of(own)
    check(there == sorted(names) and {number for number, _ in found.values()} == set(range(5)), f"{there} {found}")
    for classes, folder in (('[" dog", cat]', "dog"), ("[dog, cat]", "dog ")):
        own = folders(scratch / folder, names=[folder, "cat"], each=3, entry=FOLDERS.replace('"{parent}"', '"{parent}", classes: ' + classes))
        own.run("download")
        own.run("clean")
        check(sorted(number for number, _ in classes_of(own)[0].values()) == [0] * 3 + [1] * 3, classes_of(own))


def without_captions(scratch):
    """A record with a class stays where its caption is lacking: a name that cleans to nothing, a caption's file that is not there. Classes without a sample are told."""
    own = folders(scratch / "names", names=["***", "cat"], entry=FOLDERS + "captions: {clean: reference}\n")
    own.run("download")
    log = own.run("clean")
    found, names = classes_of(own)
    check(names == ["***", "cat"] and sorted(found.values()) == [(0.0, "")] * 6 + [(1.0, "cat")] * 6, f"{found} {log}")
    check("kept, but without a caption: class: filtered.empty_caption 6" in log and "have no sample" not in log, log)
    own = folders(scratch / "files", names=["cat", "dog"], each=3, entry=FOLDERS.replace('"{parent}"', '"{parent}", classes: [eel, cat, dog], caption: {c: txt}'))
    (own.folder / "train/cat/00.txt").write_text("one")
    own.run("download")
    log = own.run("clean")
    check(sorted((sample["columns"]["class"], sample["captions"]["c"]) for sample in own.samples()) == [(1.0, ""), (1.0, ""), (1.0, "one"), (2.0, ""), (2.0, ""), (2.0, "")], log)
    check("kept, but without a caption: c: damaged.no_caption 5" in log and "clean: 1 of 3 classes have no sample: 0 ('eel')" in log, log)


def marks_and_controls(scratch):
    """An editor's byte order mark before a label is none of it; control characters of a label stay out of the log."""
    own = folders(scratch / "mark", TAR.replace('class: "{parent}"', "class: cls, classes: [cat, dog]"), names=[])
    in_a_tar(own, pairs([b"\xef\xbb\xbf1\n", b"\xef\xbb\xbfcat", b"0"]))
    own.run("download")
    own.run("clean")
    check([classes_of(own)[0][f"000{i}"][0] for i in range(3)] == [1.0, 0.0, 0.0], classes_of(own)[0])
    for i, label in enumerate((b"x\r\n[2026-11-27 23:59:59] clean: /data is complete\x1b[8m", "1".encode("utf-16-le"))):
        own = folders(scratch / str(i), TAR.replace('class: "{parent}"', "class: cls"), names=[])
        in_a_tar(own, pairs([b"0", label]))
        own.run("download")
        log = own.run("clean", expect=USER_MISTAKE)
        check("its class is '" in log and not set(log) & {"\x1b", "\r", "\0"} and "\n[2026-11-27 23:59:59]" not in log, repr(log))


def classes_that_come_later(scratch):
    """A name at the end of record.classes, or a folder that is sorted behind the others, goes with shards that are there; one before them does not."""
    own = folders(scratch, TAR.replace('class: "{parent}"', "class: cls, classes: [cat, dog]"), names=[])
    for name, labels in (("s0", [b"0", b"dog"]), ("s1", [b"1", b"eel"])):
        in_a_tar(own, pairs(labels))
        (own.folder / "a.tar").rename(own.folder / f"{name}.tar")
    own.run("download")
    log = own.run("clean", expect=USER_MISTAKE)
    check("add 'eel' at the end of record.classes" in log, log)
    before = {path.name: path.stat().st_mtime_ns for path in (own.data / "samples/mine").glob("*.h5")}
    log = own.run("clean", "record.classes=[eel, cat, dog]", expect=USER_MISTAKE)
    check("was made with other settings" in log, log)
    own.run("clean", "record.classes=[cat, dog, eel]")
    after = {path.name: path.stat().st_mtime_ns for path in (own.data / "samples/mine").glob("*.h5")}
    check(len(before) == 1 and before.items() < after.items(), f"{before} {after}")
    facts = json.loads((own.data / "samples/mine/facts.json").read_text())
    check(facts["record"]["classes"] == ["cat", "dog", "eel"], facts)
    check(sorted(sample["columns"]["class"] for sample in own.samples()) == [0, 1, 1, 2], own.samples())
    own.run("clean", expect=USER_MISTAKE)


def parts_of_earlier_versions(scratch):
    """Shards of an item that an earlier version left half done are kept; what it did not count is not told wrongly."""
    own = folders(scratch, TAR.replace('class: "{parent}"', "class: cls, classes: [cat, dog]"), names=[])
    in_a_tar(own, pairs([b"0", b"1"] * 40 + [b"eel"]))  # so many are in work at once
    own.run("download")
    own.run("clean", "shard_records=2", expect=USER_MISTAKE)
    parts = sorted((own.data / "samples/mine/records").glob("*.part.json"))
    check(parts, "no shard of an item that failed")
    for part in parts:
        text = json.loads(part.read_text())
        check({"captions", "classes"} <= set(text), text)
        part.write_text(json.dumps({key: value for key, value in text.items() if key not in ("captions", "classes")}))
    log = own.run("clean", "shard_records=2", "record.classes=[cat, dog, eel]")
    check(f"{len(parts)} shards of an earlier life are kept" in log and "made again" not in log and "have no sample" not in log and "gave none" not in log, log)


def labels_beyond(scratch):
    """A label beyond `classes` in files that have labels of their own ends clean, too."""
    own = Own(scratch / "one", 0)
    record = lambda label: bytes([label]) + bytes(3072)
    with tarfile.open(own.folder / "c.tar", "w") as tar:
        data = b"".join(record(label) for label in (0, 1, 2))
        info = tarfile.TarInfo("c/batch.bin")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    own.entry(TAR.replace("image: [jpg], class: \"{parent}\"", "kind: cifar, classes: [cat, dog]"))
    own.run("download")
    log = own.run("clean", expect=USER_MISTAKE)
    check("c.tar: c/batch/00000002: " in log and "its class is '2', but record.classes has 2" in log, log)


def groups_of_emoji(scratch):
    """configs/datasets/emoji_groups.yaml: every emoji's group, names of groups in the facts."""
    made = scratch / "data/made/emoji"
    made.mkdir(parents=True)
    maker = programs.SOURCE / "scripts/make_emoji_dataset.py"
    programs.subprocess.run([programs.sys.executable, maker, "--out", made, "--tars", "1", "--limit", "160"], check=True)
    words = ["--config", SOURCE / "configs/datasets/emoji_groups.yaml", f'source.urls=["file://{made}/emoji-0000.tar"]']
    for stage in ("download", "clean"):
        programs.run(stage, *words, data=scratch / "data")
    samples = samples_of(scratch / "data/samples/emoji_groups")
    groups = {sample["key"]: sample["captions"]["class"] for sample in samples}
    check(len(groups) == 160, len(groups))
    check(groups["1f170"] == "Symbols" and groups["1f1e6-1f1e8"] == "Flags", {key: groups.get(key) for key in ("1f170", "1f1e6-1f1e8")})


if __name__ == "__main__":
    run_cases([folders_are_classes, letters_in_two_forms, trained, grey_pixels, partly_labelled, sidecars, json_keys, columns, refused, white_space, without_captions,
               marks_and_controls, classes_that_come_later, parts_of_earlier_versions, labels_beyond, groups_of_emoji])
