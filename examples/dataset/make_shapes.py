#!/usr/bin/env python3
"""make_shapes.py FOLDER COUNT: pictures to try a dataset with, each with its caption beside it. Standard library only."""
import pathlib
import struct
import sys
import zlib

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 70), "blue": (50, 80, 220), "yellow": (240, 210, 50), "black": (20, 20, 20)}
SIDE = 80


def inside(shape, x, y, radius):
    if shape == "circle":
        return x * x + y * y < radius * radius
    if shape == "square":
        return max(abs(x), abs(y)) < radius
    return abs(x) < (y + radius) / 2 and y < radius  # triangle


def png(shape, colour, radius):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = b"".join(b"\0" + b"".join(bytes(colour if inside(shape, x - SIDE // 2, y - SIDE // 2, radius) else (255, 255, 255)) for x in range(SIDE))
                    for y in range(SIDE))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def main():
    folder, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    names = [(colour, shape) for shape in ("circle", "square", "triangle") for colour in COLOURS]
    for i in range(count):
        colour, shape = names[i % len(names)]
        (folder / f"{i:04}.png").write_bytes(png(shape, COLOURS[colour], 15 + i % 20))
        (folder / f"{i:04}.txt").write_text(f"a {colour} {shape}\n")


if __name__ == "__main__":
    main()
