"""What users have behind the three entries to copy from, image_folder, webdataset and hub_webdataset: names and faults as they occur. `kept` of such
a miniature: (caption, SHA-256 of the picture's bytes) of each sample that must come of it, by the rules of src/ingest/README.md; nothing else may."""
import hashlib
import json

from miniature import mac_leftovers, tar_bytes, text
from odd_pictures import caption, of_kind

KINDS = {"jpg": ["jpeg", "progressive", "grey", "cmyk"], "jpeg": ["jpeg"], "png": ["png", "rgba", "palette", "grey16"], "webp": ["webp"]}
STEMS = ["a cat", "U\u0308ber den Wolken", "日本の旗", "photo.2014.07", "it's 50% #1 & more", "%41", "naïve (2)", "-dash", "emoji 😀", "a" * 90]
FOLDERS = ["", "sommer 2014/", "deep/er/and.deeper/", "日本/"]


def picture(m, ending, small=False):
    kind = m.draw.choice(KINDS[ending.lower()])
    sides = (40, 50) if small else (260 + m.draw.randrange(90), 256 + m.draw.randrange(60))
    return of_kind(kind, f"{m.name} {m.seed} {m.draw.random()}", *sides)


def record(m, stem, ending=None, said=None, kept=True):
    """[(name, bytes)] of a picture and its caption."""
    ending = ending or m.draw.choice(list(KINDS))
    data, said = picture(m, ending), f"{caption(m.draw)}, number {m.draw.randrange(10 ** 9)}" if said is None else said
    if kept:
        m.kept.append((said, hashlib.sha256(data).hexdigest()))
    return [(f"{stem}.{ending}", data), (f"{stem}.txt", text(said))]


def hidden(path):
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}" if folder else f".{name}"


def faulty(m, fault, stem):
    """A record with one fault."""
    pair = record(m, stem, "jpg", kept=False)
    (name, data), (beside, said) = pair
    m.faults[fault] = stem
    return {
        "no_caption": pair[:1], "no_picture": pair[1:], "picture_of_no_bytes": [(name, b""), pair[1]], "words": [(name, b"<html>404</html>"), pair[1]],
        "small": [(name, picture(m, "jpg", small=True)), pair[1]], "caption_empty": [pair[0], (beside, b"")],
        "caption_blank": [pair[0], (beside, b" \r\n\t\n")], "caption_no_utf8": [pair[0], (beside, b"caf\xe9")],
        "other_ending": [(f"{stem}.tif", data), pair[1]], "hidden": [(hidden(name), data), (hidden(beside), said)],
        "half": [(name, data[:len(data) // 2]), pair[1]],
    }[fault]


FAULTS = ["no_caption", "no_picture", "picture_of_no_bytes", "words", "small", "caption_empty", "caption_blank", "caption_no_utf8", "other_ending", "hidden", "half"]


def records(m, folders, faults=FAULTS):
    m.kept, m.faults = [], {}
    found = [record(m, folder + stem) for folder in folders for stem in m.some(STEMS)]
    found += [record(m, f"{folder}p{i:03d}") for folder in folders for i in range(m.plain)]
    found += [faulty(m, fault, f"{m.draw.choice(folders)}{fault}") for fault in m.some(faults)]
    m.draw.shuffle(found)
    return found


def image_folder(m):
    """Files on a disk, written by people and by what shows them folders."""
    top = "files/my pictures"
    found = records(m, FOLDERS)
    found.append(record(m, f"{FOLDERS[1]}\u00dcber den Wolken"))  # beside the other form of the same name: two files
    for pair in found:
        for name, data in pair:
            m.put(f"{top}/{name}", data)
    for name, data in mac_leftovers(f"{FOLDERS[1]}a cat.jpg") + [("Thumbs.db", b"\xd0\xcf\x11\xe0"), ("desktop.ini", b"[.ShellClassInfo]\r\n"), ("notes.md", b"# mine\n")]:
        m.put(f"{top}/{name}", data)


def sharded(m, found):
    """Tars of records, in an order of their own; one without members, one with what a Mac adds and a folder's own member."""
    with_titles = []
    for pair in found:
        stem = pair[0][0].rsplit(".", 1)[0]
        with_titles.append([*pair, (f"{stem}.json", text(json.dumps({"title": caption(m.draw), "similarity": float("nan")})))] if m.draw.random() < 0.5 else pair)
    shards = [[member for pair in with_titles[i::3] for member in pair] for i in range(3)]
    shards[1] = [("./" + name, data) for name, data in shards[1]] + mac_leftovers(shards[1][0][0])
    shards[2] = [("sommer 2014", None), *shards[2]]
    return [*map(tar_bytes, shards), tar_bytes([])]


def webdataset(m):
    """Tars on a web server."""
    for i, data in enumerate(sharded(m, records(m, FOLDERS[:3]))):
        m.put(f"web/data.example.org/tars/shard-{i:05d}.tar", data)


def hub_webdataset(m):
    """Tars in a repository, in folders, beside what repositories have."""
    top = "hub/datasets/some-org/Pictures.v1_a"
    for i, data in enumerate(sharded(m, records(m, FOLDERS[:3]))):
        m.put(f"{top}/{['data', 'data/more tars', 'data/日本'][i % 3]}/train-{i:05d}.tar", data)
    m.put(f"{top}/README.md", b"---\nlicense: mit\n---\n")
    m.put(f"{top}/data/test-00000.tar", tar_bytes(record(m, "of_another_split", kept=False)))


TEMPLATES = {layout.__name__: layout for layout in (image_folder, webdataset, hub_webdataset)}
