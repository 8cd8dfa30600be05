#!/usr/bin/env python3
"""Makes the pictograms data: emoji by other artists, clip art and desktop icons, from Debian's packages, as WebDataset tars.

The packages are downloaded and unpacked aside, not installed; SVG files are drawn by rsvg-convert (package librsvg2-bin).
Each record is KEY.json KEY.png KEY.txt, pictures on white. `base` in the JSON is the emoji's base as in
make_emoji_dataset.py, so that what is held out there is held out here too; flags of other packages are left out for that.
"""
import argparse
import json
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import make_emoji_dataset as emoji

# package: (pattern of the files' paths, whether their names are code points rather than words)
PACKAGES = {
    "ruby-gemojione": (r"assets/png/[0-9A-Fa-f]{4,6}(-[0-9A-Fa-f]{4,6})*\.png$", True),
    "ruby-tanuki-emoji": (r"images/tanuki_emoji/emoji_u[0-9a-f]{4,6}(_[0-9a-f]{4,6})*\.png$", True),
    "oxygen-icon-theme": (r"/base/128x128/.*\.png$", False),
    "gnome-icon-theme": (r"/gnome/256x256/.*\.png$", False),
    "faenza-icon-theme": (r"/Faenza/.*/96/.*\.png$", False),
    "moka-icon-theme": (r"/Moka/256x256/.*\.png$", False),
    "mint-y-icons": (r"/Mint-Y/[a-z]+/(256|128)/.*\.png$", False),
    "deepin-icon-theme": (r"/bloom/apps/96/.*\.svg$", False),
    "papirus-icon-theme": (r"/Papirus/64x64/apps/.*\.svg$", False),
    "openclipart-png": (r"/png/(?!shapes/stars/|special/|.*/flags/|.*flag_).*\.png$", False),
    "tuxpaint-stamps-default": (r"/stamps/(?!.*/flags/|.*/alphabets/).*\.png$", False),
}
SIDE = 160  # pixels, largest side kept: a little more than the 128 that training looks at
LEAST_SIDE = 64
MOST_SIDE = 1600
LEAST_CONTRAST = 24  # standard deviation of the 8-bit values: below it there is little to see


def unpacked(package, folder):
    """The package's files below `folder`."""
    subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=True, stderr=subprocess.DEVNULL)
    [deb] = folder.glob(f"{package}_*.deb")
    subprocess.run(["dpkg", "-x", deb, folder / package], check=True)
    return folder / package


def png_of(path):
    """The file as PNG bytes; None for a huge picture or an SVG that cannot be drawn."""
    if path.suffix == ".png":
        png = path.read_bytes()
        return png if max(struct.unpack(">II", png[16:24])) <= MOST_SIDE else None  # IHDR: width, height
    drawn = subprocess.run(["rsvg-convert", "-w", str(SIDE), "-a", path], capture_output=True, check=False)
    return drawn.stdout if drawn.returncode == 0 and drawn.stdout else None


def squared(picture):
    """The picture centred in a white square of at most SIDE; None when it is too small, too long or nearly empty."""
    from PIL import Image, ImageStat

    if min(picture.size) < LEAST_SIDE or max(picture.size) > 2.5 * min(picture.size):
        return None
    if max(ImageStat.Stat(picture).stddev) < LEAST_CONTRAST:
        return None
    picture.thumbnail((SIDE, SIDE), Image.LANCZOS)
    side = max(picture.size)
    canvas = Image.new("RGB", (side, side), (255, 255, 255))
    canvas.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return canvas


def pictures(package, root, words):
    """Yields (key, name, base, PNG bytes on white) of one package."""
    pattern, is_emoji = PACKAGES[package]
    for path in sorted(root.rglob("*")):
        relative = str(path.relative_to(root))
        if path.is_symlink() or not re.search(pattern, relative):
            continue
        if is_emoji:
            points = tuple(int(p, 16) for p in re.split("[-_]", path.stem.removeprefix("emoji_u")))
            points = tuple(p for p in points if p != emoji.VARIATION_SELECTOR)
            if points not in words:
                continue
            name, base = words[points][0], emoji.key_of(emoji.base_of(points))
        else:
            name, base = re.sub(r"[-_.]+", " ", path.stem), f"{package}/{path.stem}"
        png = png_of(path)
        picture = emoji.on_white(png) if png else None
        square = squared(picture) if picture else None
        if square:
            key = re.sub(r"[^0-9A-Za-z_-]+", "_", f"{package}_{path.parent.name}_{path.stem}")
            yield key, name, base, emoji.png_bytes(square)


def main():
    parser = argparse.ArgumentParser(description="Makes the pictograms data as WebDataset tars.")
    parser.add_argument("--out", required=True, help="folder for pictograms-0000.tar ...")
    parser.add_argument("--tars", type=int, default=4, help="number of tars (default 4)")
    parser.add_argument("--cldr", default=emoji.CLDR, help="CLDR's `common` folder")
    args = parser.parse_args()
    if not Path(args.cldr).is_dir():
        sys.exit(f"make_pictograms_dataset: {args.cldr} is missing: install unicode-cldr-core")
    if not shutil.which("rsvg-convert"):
        sys.exit("make_pictograms_dataset: rsvg-convert is missing: install librsvg2-bin")
    words = emoji.read_annotations(args.cldr)
    found, seen = {}, set()
    with tempfile.TemporaryDirectory() as folder:
        for package in PACKAGES:
            before = len(found)
            for key, name, base, png in pictures(package, unpacked(package, Path(folder)), words):
                if png not in seen:
                    seen.add(png)
                    found[key] = {"json": json.dumps({"name": name, "base": base}, ensure_ascii=False).encode(),
                                  "png": png, "txt": name.encode()}
            print(f"{package}: {len(found) - before} pictures", flush=True)
    members = sorted(found.items())
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for i in range(args.tars):
        part = members[len(members) * i // args.tars:len(members) * (i + 1) // args.tars]
        emoji.publish(out / f"pictograms-{i:04d}.tar", emoji.tar_bytes(part))
    print(f"{len(members)} pictures in {args.tars} tars in {out}")


if __name__ == "__main__":
    main()
