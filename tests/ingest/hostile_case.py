"""One hostile input and what has to become of it."""
import dataclasses
import struct
import zlib


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width=8, height=8, bits=8, colour=2, rows=None, before=(), between=(), interlace=0, end=True):
    """A PNG from its parts; `rows` is the deflated data (default: zeros)."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    if rows is None:
        rows = zlib.compress(bytes(1 + (width * channels * bits + 7) // 8) * height)
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + b"".join(before) + png_chunk(b"IDAT", rows) + b"".join(between)
            + (png_chunk(b"IEND", b"") if end else b""))


GOOD_PICTURE = png(32, 32, rows=zlib.compress(b"".join(b"\0" + bytes((x * y) % 251 for x in range(96)) for y in range(32))))


@dataclasses.dataclass
class Case:
    data: bytes  # the archive, the picture, the sidecar ... (what the table says)
    archive: str = "tar"
    kept: int = 1                 # records that stay, the good companion among them
    skipped: dict | None = dataclasses.field(default_factory=dict)  # reason -> count; None: not looked at
    skipped_any: dict | None = None   # one of these, instead
    error: str = ""               # the stage exits 2 and says this
    kept_or_error: str = ""       # either the good record stays, or the stage exits 2 and says this
    entry: dict = dataclasses.field(default_factory=dict)
    env: dict = dataclasses.field(default_factory=dict)
