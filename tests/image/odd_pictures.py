"""A few hundred odd pictures of every kind that is read, TIFFs that Pillow does not write among them: (name, bytes)."""
import io
import struct

import numpy as np
from PIL import Image

RANDOM = np.random.RandomState(5)
SIZES = [(33, 47), (1, 1), (2, 200), (150, 3)]


def photo(height, width, channels=3, random=RANDOM):
    """Smooth shapes plus noise: what both a codec's and a resampler's corner cases need."""
    y, x = np.mgrid[0:height, 0:width] / 9.0
    layers = [127 + 90 * np.sin(x * (c + 1) / 3 + y) + random.randn(height, width) * 25 for c in range(channels)]
    return np.clip(np.stack(layers, -1), 0, 255).astype(np.uint8)


def encoded(image, kind, **options):
    """Nothing where Pillow does not write this mode in this way."""
    out = io.BytesIO()
    try:
        image.save(out, kind, **options)
    except (OSError, ValueError, KeyError, RuntimeError):
        return None
    return out.getvalue()


def modes(height, width):
    rgb = Image.fromarray(photo(height, width))
    return {"1": rgb.convert("1"), "L": rgb.convert("L"), "P": rgb.quantize(77), "RGB": rgb, "RGBA": Image.fromarray(photo(height, width, 4)),
            "LA": Image.fromarray(photo(height, width, 2), "LA"), "PA": rgb.quantize(30).convert("PA"),
            "I16": Image.fromarray(RANDOM.randint(0, 400, (height, width)).astype(np.uint16)),
            "CMYK": Image.fromarray(photo(height, width, 4), "CMYK")}


def written(height, width):
    """By Pillow, mode by mode."""
    for mode, image in modes(height, width).items():
        for kind in ("png", "bmp", "gif", "webp", "jpeg"):
            yield f"{kind}_{mode}", encoded(image, kind)
        for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group3", "group4"):
            if compression.startswith("group") and mode != "1":
                continue
            yield f"tiff_{mode}_{compression}", encoded(image, "tiff", compression=compression)
        if mode not in ("1", "P", "PA"):
            yield f"tiff_{mode}_predictor", encoded(image, "tiff", compression="tiff_lzw", tiffinfo={317: 2})
    rgb = Image.fromarray(photo(height, width))
    for sampling in ("4:4:4", "4:2:2", "4:2:0"):
        for progressive in (False, True):
            yield f"jpeg_{sampling}_{progressive}", encoded(rgb, "jpeg", subsampling=sampling, progressive=progressive)
    for bits in (1, 2, 4):
        yield f"png_palette{bits}", encoded(rgb.quantize(2**bits), "png", bits=bits)
    yield "png_transparent", encoded(rgb.quantize(30), "png", transparency=bytes(range(0, 240, 8)))


def resampled():
    """Chroma in ways that Pillow does not write: the blocks of 4:2:2 in another arrangement are 4:4:0, those of 4:2:0 4:1:1."""
    rgb = Image.fromarray(photo(96, 64))
    for name, sampling, old, new in (("440", "4:2:2", 0x21, 0x12), ("411", "4:2:0", 0x22, 0x41)):
        for progressive in (False, True):
            data = encoded(rgb, "jpeg", subsampling=sampling, progressive=progressive, quality=90)
            assert data.count(bytes([3, 1, old, 0, 2, 0x11])) == 1
            yield f"jpeg_{name}_{progressive}", data.replace(bytes([3, 1, old, 0, 2, 0x11]), bytes([3, 1, new, 0, 2, 0x11]))


def moving(height, width):
    """Of several frames."""
    frames = [Image.fromarray(photo(height, width)).quantize(20 + i) for i in range(3)]
    for disposal in range(4):
        yield f"gif_disposal{disposal}", encoded(frames[0], "gif", save_all=True, append_images=frames[1:], disposal=disposal, transparency=1, duration=9)
    colours = [Image.fromarray(photo(height, width, 4)) for _ in range(2)]
    for kind in ("png", "webp", "tiff"):
        yield f"{kind}_frames", encoded(colours[0], kind, save_all=True, append_images=colours[1:])
    yield "png_frames_behind_another", encoded(colours[0], "png", save_all=True, append_images=colours[1:], default_image=True)


class TiffWriter:
    """A TIFF of one page, tag by tag."""

    def __init__(self, order):
        self.order, self.tags = order, []

    def tag(self, number, kind, *values):
        self.tags.append((number, kind, values))

    def bytes(self, pieces):
        """`pieces` are the strips or tiles; the values of the tag whose only value is None are their places."""
        self.tags.sort()
        count = {3: 2, 4: 4}
        values_of = lambda values: [0] * len(pieces) if values == (None,) else values  # noqa: E731
        start = 8 + 2 + 12 * len(self.tags) + 4
        longer = [count[kind] * len(values_of(values)) for _, kind, values in self.tags]
        at = start + sum(size for size in longer if size > 4)
        places = [at + sum(map(len, pieces[:i])) for i in range(len(pieces))]
        head, tail = struct.pack(self.order + "H", len(self.tags)), b""
        for number, kind, values in self.tags:
            values = places if values == (None,) else values
            data = struct.pack(f"{self.order}{len(values)}{'H' if kind == 3 else 'L'}", *values)
            head += struct.pack(self.order + "HHL", number, kind, len(values))
            if len(data) <= 4:
                head += data.ljust(4, b"\0")
            else:
                head += struct.pack(self.order + "L", start + len(tail))
                tail += data
        magic = b"II*\0" if self.order == "<" else b"MM\0*"
        return magic + struct.pack(self.order + "L", 8) + head + bytes(4) + tail + b"".join(pieces)


def tiff(size, bits, photometric, samples, pieces, order, extra=None, colours=None, planes=False, tile=None, rows=None):
    width, height = size
    writer = TiffWriter(order)
    for number, value in ((256, width), (257, height), (259, 1), (262, photometric), (277, samples), (284, 2 if planes else 1)):
        writer.tag(number, 3, value)
    writer.tag(258, 3, *[bits] * samples)
    if tile:
        for number, kind, values in ((322, 3, [tile[0]]), (323, 3, [tile[1]]), (324, 4, [None]), (325, 4, [len(p) for p in pieces])):
            writer.tag(number, kind, *values)
    else:
        for number, kind, values in ((273, 4, [None]), (278, 3, [rows or height]), (279, 4, [len(p) for p in pieces])):
            writer.tag(number, kind, *values)
    if colours:
        writer.tag(320, 3, *colours)
    if extra:
        writer.tag(338, 3, *extra)
    return writer.bytes(pieces)


def tiffs():
    width, height = size = 21, 13
    for order in "<>":
        for bits in (1, 2, 4, 8):
            rows = RANDOM.bytes((width * bits + 7) // 8 * height)
            for photometric in (0, 1):
                yield f"grey{bits}_{photometric}{order}", tiff(size, bits, photometric, 1, [rows], order)
            for most in (256, 65536):
                colours = [int(v) for v in RANDOM.randint(0, most, 3 * 2**bits)]
                yield f"palette{bits}_{most}{order}", tiff(size, bits, 3, 1, [rows], order, colours=colours)
        # photometric, samples, bits, extra samples: none, of nothing, alpha that is multiplied in, alpha
        for photometric, samples, bits, extra in ((1, 1, 16, None), (1, 2, 8, [0]), (1, 2, 8, [2]), (2, 3, 8, None), (2, 3, 16, None),
                                                  (2, 4, 8, None), (2, 4, 8, [0]), (2, 4, 8, [1]), (2, 4, 8, [2]), (2, 5, 8, [2, 0]),
                                                  (2, 5, 8, [1, 0]), (2, 6, 8, [0, 0, 0]), (2, 4, 16, [2]), (2, 4, 16, [1]), (2, 4, 16, [0]),
                                                  (5, 4, 8, None), (5, 4, 16, None), (5, 5, 8, [0])):
            name = f"{photometric}_{samples}x{bits}_{extra}{order}"
            each = samples * bits // 8
            pixels = np.frombuffer(RANDOM.bytes(width * height * each), np.uint8).reshape(height, width, each)
            kind = (bits, photometric, samples)
            yield name, tiff(size, *kind, [pixels.tobytes()], order, extra)
            yield f"{name}_strips", tiff(size, *kind, [pixels[y:y + 4].tobytes() for y in range(0, height, 4)], order, extra, rows=4)
            padded = np.zeros((16, 32, each), np.uint8)
            padded[:height, :width] = pixels
            yield f"{name}_tiles", tiff(size, *kind, [padded[:, x:x + 16].tobytes() for x in (0, 16)], order, extra, tile=(16, 16))
            if bits == 8 and samples == {2: 3, 5: 4}.get(photometric):
                yield f"{name}_planes", tiff(size, *kind, [pixels[..., c].tobytes() for c in range(samples)], order, extra, planes=True)


def pictures():
    for height, width in SIZES:
        for source in (written, moving):
            for name, data in source(height, width):
                if data is not None:
                    yield f"{name.replace(':', '')}_{height}x{width}", data
    yield from resampled()
    for name, data in tiffs():
        yield f"tiff_{name}".replace("<", "_little").replace(">", "_big").replace(" ", ""), data


def exif(order="<", value=6, kind=3, tag=274, count=1, begin=8, head=None):
    """An EXIF block of one tag."""
    code = {1: "B3x", 3: "H2x", 4: "L", 6: "b3x", 8: "h2x", 9: "l", 13: "L"}[kind]
    data = struct.pack(order + "HHHL" + code, 1, tag, kind, count, value) + bytes(4)
    return (head or (b"II*\0" if order == "<" else b"MM\0*")) + struct.pack(order + "L", begin) + data


def elsewhere(kind, value):
    """An orientation of 8 bytes, which lies behind the directory."""
    return b"II*\0" + struct.pack("<LHHHLLL", 8, 1, 274, kind, 1, 26, 0) + value


def exif_blocks():
    for order in "<>":
        for value in range(10):
            yield f"{value}{'little' if order == '<' else 'big'}", exif(order, value)
    for kind in (1, 4, 6, 8, 9, 13):
        yield f"of_type_{kind}", exif(kind=kind)
    yield "negative", exif(value=-6, kind=9)
    yield "rational", elsewhere(5, struct.pack("<LL", 12, 2))
    yield "rational_of_nothing", elsewhere(5, bytes(8))
    yield "double", elsewhere(12, struct.pack("<d", 8))
    yield "cut_value", elsewhere(12, b"\0\0\0")
    yield "two_values", exif(count=2, value=6)
    yield "many_values", exif(count=0x7FFFFFFF)
    yield "no_values", exif(count=0)
    yield "other_tag", exif(tag=275)
    yield "begins_beyond", exif(begin=99999)
    yield "cut", exif()[:20]
    yield "swapped_head", exif(head=b"II\0*")
    yield "big_tiff", exif(head=b"MM\0+", order=">")
    yield "no_head", exif(head=b"EX\0+")
    yield "twice_named", b"Exif\0\0" + exif()
    yield "behind_a_cut_one", b"II*\0" + struct.pack("<LHHHLL", 8, 2, 270, 2, 99, 9999) + struct.pack("<HHLHHL", 274, 3, 1, 6, 0, 0)
    yield "first_of_two", b"II*\0" + struct.pack("<LHHHLHH", 8, 2, 274, 3, 1, 6, 0) + struct.pack("<HHLHHL", 274, 3, 1, 3, 0, 0)
