#!/usr/bin/env python3
"""Makes the pictograms data: emoji by other artists and desktop icons, from Debian's packages, as WebDataset tars.

The packages are downloaded and unpacked aside, not installed. Each record is KEY.json KEY.png KEY.txt, pictures on white.
`base` in the JSON is the emoji's base as in make_emoji_dataset.py, so that what is held out there is held out here too.
"""
import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import make_emoji_dataset as emoji

# package: (folder part, file pattern); a file's name holds code points, or words when there are none
PACKAGES = {
    "ruby-gemojione": ("assets/png", re.compile(r"^([0-9A-Fa-f]{4,6}(?:-[0-9A-Fa-f]{4,6})*)\.png$")),
    "ruby-tanuki-emoji": ("images/tanuki_emoji", re.compile(r"^emoji_u([0-9a-f]{4,6}(?:_[0-9a-f]{4,6})*)\.png$")),
    "oxygen-icon-theme": ("base/128x128", None),
    "gnome-icon-theme": ("gnome/256x256", None),
    "faenza-icon-theme": ("Faenza/", None),
}


def unpacked(package, folder):
    """The package's files below `folder`."""
    subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=True, stderr=subprocess.DEVNULL)
    [deb] = folder.glob(f"{package}_*.deb")
    subprocess.run(["dpkg", "-x", deb, folder / package], check=True)
    return folder / package


def pictures(package, root, words):
    """Yields (key, name, base, PNG bytes on white) of one package."""
    part, pattern = PACKAGES[package]
    for path in sorted(root.rglob("*.png")):
        relative = str(path.relative_to(root))
        if path.is_symlink() or part not in relative or (package == "faenza-icon-theme" and "/96/" not in relative):
            continue
        if pattern is None:
            name, base = re.sub(r"[-_.]+", " ", path.stem), f"{package}/{path.stem}"
        else:
            match = pattern.match(path.name)
            if not match:
                continue
            points = tuple(int(p, 16) for p in re.split("[-_]", match[1]) if int(p, 16) != emoji.VARIATION_SELECTOR)
            if points not in words:
                continue
            name, base = words[points][0], emoji.key_of(emoji.base_of(points))
        png = emoji.on_white(path.read_bytes())
        if png is not None:
            yield re.sub(r"[^0-9A-Za-z_-]+", "_", f"{package}_{path.parent.name}_{path.stem}"), name, base, png


def main():
    parser = argparse.ArgumentParser(description="Makes the pictograms data as WebDataset tars.")
    parser.add_argument("--out", required=True, help="folder for pictograms-0000.tar ...")
    parser.add_argument("--tars", type=int, default=4, help="number of tars (default 4)")
    parser.add_argument("--cldr", default=emoji.CLDR, help="CLDR's `common` folder")
    args = parser.parse_args()
    if not Path(args.cldr).is_dir():
        sys.exit(f"make_pictograms_dataset: {args.cldr} is missing: install unicode-cldr-core")
    words = emoji.read_annotations(args.cldr)
    found, seen = {}, set()
    with tempfile.TemporaryDirectory() as folder:
        for package in PACKAGES:
            for key, name, base, png in pictures(package, unpacked(package, Path(folder)), words):
                if png not in seen:
                    seen.add(png)
                    found[key] = {"json": json.dumps({"name": name, "base": base}, ensure_ascii=False).encode(),
                                  "png": png, "txt": name.encode()}
    members = sorted(found.items())
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for i in range(args.tars):
        part = members[len(members) * i // args.tars:len(members) * (i + 1) // args.tars]
        emoji.publish(out / f"pictograms-{i:04d}.tar", emoji.tar_bytes(part))
    print(f"{len(members)} pictures in {args.tars} tars in {out}")


if __name__ == "__main__":
    main()
