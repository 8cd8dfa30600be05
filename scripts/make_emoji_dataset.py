#!/usr/bin/env python3
"""Makes the demonstration data: about 3,600 real pictures with their names and keywords, as WebDataset tars.

Pictures: Debian's fonts-noto-color-emoji (CBDT strike, 136x128), pasted on white.
Words:    Debian's unicode-cldr-core (annotations: the name `type="tts"` and keywords of every emoji; labels.txt: its group).
Each record is KEY.json KEY.png KEY.txt; KEY is the emoji's code points, e.g. 1f468-1f3fd. The bytes depend on the
font and the annotations alone; a second run that finds its output complete does nothing.
"""
import argparse
import hashlib
import io
import json
import os
import re
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

FORMAT = 2
FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
CLDR = "/usr/share/unicode/cldr/common"
VARIATION_SELECTOR = 0xFE0F
JOINER = 0x200D
SKIN_TONES = range(0x1F3FB, 0x1F400)
SIGNS = (0x2640, 0x2642)            # woman, man
HAIR = range(0x1F9B0, 0x1F9B4)      # red, curly, bald, white
PERSON, CHILD, OLDER = 0x1F9D1, 0x1F9D2, 0x1F9D3
# One role, drawn as several people: each code point -> the one that stands for the role.
SAME_ROLE = {
    0x1F468: PERSON, 0x1F469: PERSON, 0x1F471: PERSON, 0x1F466: CHILD, 0x1F467: CHILD,
    0x1F474: OLDER, 0x1F475: OLDER, 0x1F478: 0x1F934, 0x1FAC5: 0x1F934, 0x1F57A: 0x1F483,
    0x1F930: 0x1FAC4, 0x1FAC3: 0x1FAC4, 0x1F936: 0x1F385,
}
# Sequences (people already mapped) that draw what one code point draws.
SAME_PICTURE = {
    (PERSON, 0x1F91D, PERSON): (0x1F46B,), (0x1F46C,): (0x1F46B,), (0x1F46D,): (0x1F46B,),
    (PERSON, 0x2764, 0x1F48B, PERSON): (0x1F48F,), (PERSON, 0x2764, PERSON): (0x1F491,),
    (0x1FAF1, 0x1FAF2): (0x1F91D,), (PERSON, 0x1F384): (0x1F385,),
}
# CLDR's labels end with Emoji 11. Later ones stand in the annotations behind one of their group, but for these (Emoji 14, and two signs).
LATER = {
    "Smileys & People": "🥹 🧌 🫃 🫄 🫅 🫠 🫡 🫢 🫣 🫤 🫥 🫦 🫰 🫱 🫲 🫳 🫴 🫵 🫶", "Animals & Nature": "🪷 🪸 🪹 🪺",
    "Food & Drink": "🫗 🫘 🫙", "Travel & Places": "🛝 🛞 🛟", "Activities": "🪩", "Objects": "🩻 🩼 🪪 🪫 🪬 🫧", "Symbols": "🟰 * #",
}


def code_points(text):
    """Without U+FE0F, which chooses between text and picture only."""
    return tuple(ord(c) for c in text if ord(c) != VARIATION_SELECTOR)


def key_of(points):
    return "-".join(f"{p:04x}" for p in points)


def base_of(points):
    """The emoji that all skin-tone, gender and hair variants of `points` share."""
    parts = [SAME_ROLE.get(p, p) for p in points
             if p != JOINER and p not in SKIN_TONES and p not in SIGNS and p not in HAIR]
    if not parts:  # a skin tone, a sign or hair on its own
        return points
    if len(parts) > 1 and all(p in (PERSON, CHILD) for p in parts):
        return (0x1F46A,)  # family
    return SAME_PICTURE.get(tuple(parts), tuple(parts))


def read_annotations(folder):
    """code points -> (name, keywords)."""
    names, keywords = {}, {}
    for part in ("annotations", "annotationsDerived"):
        for node in ElementTree.parse(Path(folder) / part / "en.xml").getroot().iter("annotation"):
            points = code_points(node.get("cp"))
            if node.get("type") == "tts":
                names[points] = node.text.strip()
            else:
                keywords[points] = [word.strip() for word in node.text.split("|")]
    return {points: (name, keywords.get(points, [])) for points, name in names.items() if points}


def labelled(folder):
    """code points -> group, of what labels.txt has: lines `[characters, ranges a-b and {sequences}] ; group ; subgroup`."""
    found = {}
    for line in (Path(folder) / "properties/labels.txt").read_text("utf-8").splitlines():
        if line.startswith("#") or ";" not in line:
            continue
        characters, group = (part.strip() for part in line.split(";")[:2])
        items = re.findall(r"\{[^}]*\}|\\?.", characters[1:-1] if characters.startswith("[") else characters)
        for i, item in enumerate(items):
            if item == "-" and 0 < i < len(items) - 1:
                members = [(p,) for p in range(ord(items[i - 1][-1]), ord(items[i + 1][-1]) + 1)]
            else:
                members = [code_points(item[1:-1] if item.startswith("{") else item[-1])]
            for points in members:
                found.setdefault(points, group)
    return found


def groups_of(words, folder):
    """code points -> group, of all that `words` has, in its order. A variant is of the group of what it varies."""
    known = labelled(folder)
    known.update((code_points(emoji), group) for group, emoji_of in LATER.items() for emoji in emoji_of.split())
    groups, before = {}, ""
    for points in words:
        plain = tuple(p for p in points if p not in SKIN_TONES)
        before = groups[points] = next((known[p] for p in (points, plain, points[:1]) if p in known), before)
    return groups


def ligatures(font):
    """(glyph, glyph, ...) -> glyph, from every ligature substitution of the font."""
    table = {}
    for lookup in font["GSUB"].table.LookupList.Lookup:
        for subtable in lookup.SubTable:
            subtable = getattr(subtable, "ExtSubTable", subtable)
            for first, choices in getattr(subtable, "ligatures", {}).items():
                for choice in choices:
                    table[(first, *choice.Component)] = choice.LigGlyph
    return table


def glyph_pictures(font_path, wanted):
    """Yields (code points, PNG bytes of the font) for those of `wanted` that the font draws in colour."""
    from fontTools.ttLib import TTFont

    font = TTFont(font_path, lazy=True)
    cmap, joined, strike = font.getBestCmap(), ligatures(font), font["CBDT"].strikeData[0]
    for points in wanted:
        glyphs = tuple(cmap.get(p) for p in points)
        glyph = glyphs[0] if len(glyphs) == 1 else joined.get(glyphs)
        if glyph in strike:
            yield points, strike[glyph].imageData


def on_white(png):
    """The PNG's picture as RGB on white; None when nothing is drawn."""
    from PIL import Image

    drawn = Image.open(io.BytesIO(png)).convert("RGBA")
    if drawn.getchannel("A").getextrema()[1] == 0:
        return None
    canvas = Image.new("RGB", drawn.size, (255, 255, 255))
    canvas.paste(drawn, mask=drawn.getchannel("A"))
    return canvas


def png_bytes(picture):
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def records(font_path, cldr):
    """(key, {extension: bytes}) in key order."""
    words = read_annotations(cldr)
    groups = groups_of(words, cldr)
    found = []
    for points, glyph_png in glyph_pictures(font_path, words):
        picture = on_white(glyph_png)
        if picture is None:
            continue
        name, keywords = words[points]
        facts = {"name": name, "keywords": keywords,
                 "name_and_keywords": f"{name}: {', '.join(keywords)}" if keywords else name,
                 "base": key_of(base_of(points)), "group": groups[points]}
        found.append((key_of(points), {"json": json.dumps(facts, ensure_ascii=False).encode(), "png": png_bytes(picture),
                                       "txt": name.encode()}))
    return sorted(found)


def publish(path, data):
    """Written aside, synced, renamed."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(aside, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    os.replace(aside, path)


def tar_bytes(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, files in members:
            for extension, data in files.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size, info.mode = len(data), 0o644  # times and owners stay 0
                tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def main():
    parser = argparse.ArgumentParser(description="Makes the emoji demonstration data as WebDataset tars.")
    parser.add_argument("--out", required=True, help="folder for emoji-0000.tar ...")
    parser.add_argument("--tars", type=int, default=8, help="number of tars (default 8)")
    parser.add_argument("--limit", type=int, default=0, help="only the first N pictures (tests)")
    parser.add_argument("--font", default=FONT)
    parser.add_argument("--cldr", default=CLDR, help="CLDR's `common` folder")
    args = parser.parse_args()
    if args.tars < 1:
        sys.exit("make_emoji_dataset: --tars must be at least 1")

    sources = [args.font, *(f"{args.cldr}/{path}" for path in ("annotations/en.xml", "annotationsDerived/en.xml", "properties/labels.txt"))]
    for source in sources:
        if not os.path.isfile(source):
            sys.exit(f"make_emoji_dataset: {source} is missing: install fonts-noto-color-emoji and unicode-cldr-core")
    made_from = {"format": FORMAT, "tars": args.tars, "limit": args.limit, "sources": [digest(s) for s in sources],
                 "script": digest(__file__)}

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    done_file = out / "complete.json"
    if done_file.exists():
        done = json.loads(done_file.read_text())
        if done["made_from"] == made_from and all(
                (out / name).is_file() and digest(out / name) == sha for name, sha in done["files"].items()):
            return
        done_file.unlink()

    found = records(args.font, args.cldr)
    if args.limit:
        found = found[:args.limit]
    files = {}
    for i in range(args.tars):
        name = f"emoji-{i:04d}.tar"
        data = tar_bytes(found[len(found) * i // args.tars:len(found) * (i + 1) // args.tars])
        publish(out / name, data)
        files[name] = hashlib.sha256(data).hexdigest()
    publish(done_file, json.dumps({"made_from": made_from, "files": files, "pictures": len(found)}, indent=1).encode())
    print(f"{len(found)} pictures in {args.tars} tars in {out}")


if __name__ == "__main__":
    main()
