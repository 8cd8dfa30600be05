#!/usr/bin/env python3
"""Classes of a user's own: folders (as torchvision's ImageFolder), .cls files, a table's column, a JSON key; from pictures to a network that is
trained on them; what is no class is refused with file, member and value.

classes_test.py [CASE ...]   (all without one)"""
import csv
import io
import json
import tarfile

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


def trained(scratch):
    """From the folders to a class-conditional network and its pictures by name, without any text encoder."""
    own = folders(scratch)
    for stage in ("download", "clean", "precompute"):
        own.run(stage)
    facts = json.loads((own.data / "latents/mine/pixels/facts.json").read_text())
    check(facts["classes"] == NAMES, facts["classes"])
    words = ["--config", SOURCE / "configs/train/nano_debug.yaml", f"runs={own.root}/runs", "name=mine", "data=[{dataset: mine}]", "size=16",
             "batch_size=8", "steps=3", "validation={every_steps: 3, samples: 4}", "checkpoint={every_steps: 3}", "sampling={every_steps: 0}"]
    log = programs.run("train", *words, "model={dim: 32, depth: 1, num_heads: 2, num_classes: 3}", data=own.data, expect=USER_MISTAKE)
    check("model.num_classes=3" in log and "the data have 4 classes" in log, log)
    log = programs.run("train", *words, "model={dim: 32, depth: 1, num_heads: 2, num_classes: 4}", data=own.data)
    check("done: 3 steps" in log, log)
    programs.run("generate", "--run", own.root / "runs/mine", "steps=2", "--class", "a cat", "--class", "3", data=own.data)
    check(len(list((own.root / "runs/mine/images/latest/").glob("*.png"))) >= 2, "no pictures")
    log = programs.run("generate", "--run", own.root / "runs/mine", "steps=2", "--class", "horse", data=own.data, expect=USER_MISTAKE)
    check("horse" in log and "a cat" in log, log)


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
    cases = [(", classes: [cat, dog]", b"2", "its class is '2', but record.classes has 2, numbers 0 to 1 (cat, dog)"),
             (", classes: [cat, dog]", b"-7", "its class is '-7'"), (", classes: [cat, dog]", b"1.5", "its class is '1.5'"),
             (", classes: [cat, dog]", b"horse", "its class is 'horse'"), ("", b"horse", "which is no number from 0: name the classes in record.classes")]
    for i, (classes, label, said) in enumerate(cases):
        own = folders(scratch / str(i), TAR.replace('class: "{parent}"', "class: cls" + classes), names=[])
        in_a_tar(own, pairs([b"0", label]))
        own.run("download")
        log = own.run("clean", expect=USER_MISTAKE)
        check(said in log and "a.tar: 0001" in log, log)
    own = folders(scratch / "folder", FOLDERS.replace('"{parent}"', '"{parent}", classes: [dog]'), names=["dog", "horse"])
    own.run("download")
    log = own.run("clean", expect=USER_MISTAKE)
    check("train/horse/00.jpg" in log and "its class is 'horse'" in log, log)
    for key, said in (('class: "{nothing}"', "{nothing}"), ('class: "{parent}", classes: [a, a]', "'a' comes twice"),
                      ('class: "{parent}", caption: {c: "column:x"}', "caption")):
        own.entry(FOLDERS.replace('class: "{parent}"', key))
        log = own.run("clean", expect=USER_MISTAKE)
        check("mine.yaml" in log and said in log, log)
    own.entry(TAR)
    log = own.run("clean", expect=USER_MISTAKE)
    check("classes: name them" in log, log)


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
    run_cases([folders_are_classes, letters_in_two_forms, trained, sidecars, json_keys, columns, refused, labels_beyond, groups_of_emoji])
