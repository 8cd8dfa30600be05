"""Pictures and captions of all the kinds that real sources hold. Pillow and numpy; what comes depends on the arguments alone: drawn
with integers, and nothing that a library is free to do otherwise in another version (no quantization, no resizing)."""
import io
import random
import struct

import numpy as np
from PIL import Image

SIDES = [(255, 300), (300, 255), (256, 256), (256, 700), (511, 640), (640, 511), (512, 512), (512, 800), (513, 513), (513, 700), (1000, 512),
         (640, 777)]

WORDS = {"article": "a the one some my an another".split(), "adjective": "small red old bright wooden quiet striped broken golden".split(),
         "noun": "boat tower dog lamp street garden bicycle teapot mountain window".split(), "place": "near under behind above beside".split(),
         "time": ["at dusk", "in the rain", "on a Sunday", "before breakfast", "in 1987", "by night"]}

ODD_CAPTIONS = ["Ein süßer Hund – größer als ein „Pferd“", "日本の旗 and a small boat", "schÃ¶ne FuÌˆÃŸe", "&lt;b&gt;bold&lt;/b&gt; &amp;amp; loud",
                "100% cotton, 50%dead+plus", "http://www.example.com/a/b.jpg?x=1 a picture", "  spaces at the ends \t\n", "one line\nand another\n",
                "with carriage returns\r\nlike Windows\r\n", "<person> at @someone #123 ***SALE*** 10x20", "U.S.A. map..... page 12 :  end",
                "emoji 😀 and ﬁ ligature ½", "\ufeffbegins with a mark", "nul\0inside", "\u00a0no-break\u2003spaces\u00a0", "this-is-a-file_name-with_dashes-in-it",
                "naïve café", "a" * 3000]
EMPTY_WHEN_CLEANED = ["AB1234", "download free", "10x20 30×40.5", "123456789", "photo.jpg"]


def caption(draw):
    return " ".join(draw.choice(WORDS[kind]) for kind in ("article", "adjective", "noun", "place", "article", "noun", "time"))


def pixels(seed, width, height, channels=3):
    """Gradients that turn back, and three boxes."""
    draw = random.Random(f"pixels {seed}")
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for _ in range(channels):
        a, b, start = draw.randrange(40, 400), draw.randrange(40, 400), draw.randrange(512)
        wave = (x * a // width + y * b // height + start) % 510
        planes.append(np.where(wave > 255, 510 - wave, wave))
    out = np.stack(planes, axis=-1).astype(np.uint8)
    for _ in range(3):
        left, top = draw.randrange(width), draw.randrange(height)
        out[top:top + height // 4, left:left + width // 4] = [draw.randrange(256) for _ in range(channels)]
    return out


def written(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def rgb(seed, width, height):
    return Image.fromarray(pixels(seed, width, height))


def grey(seed, width, height):
    return Image.fromarray(pixels(seed, width, height, 1)[..., 0])


def with_alpha(seed, width, height, mode):
    return Image.fromarray(pixels(seed, width, height, len(mode)))


def indexed(seed, width, height, clear=False):
    """32 colours."""
    draw = random.Random(f"palette {seed}")
    image = Image.fromarray(pixels(seed, width, height, 1)[..., 0] // 8).convert("L")
    indices = Image.frombytes("P", image.size, image.tobytes())
    indices.putpalette([draw.randrange(256) for _ in range(96)] + [0] * (768 - 96))
    if clear:
        indices.info["transparency"] = 3
    return indices


def turned(seed, width, height):
    exif = Image.Exif()
    exif[0x0112] = 6
    return written(rgb(seed, width, height), "JPEG", quality=90, exif=exif.tobytes())


def half(data):
    return data[:len(data) * 6 // 10]


def opaque(seed, width, height):
    return rgb(seed, width, height).convert("RGBA")


def two_frames(seed, width, height):
    frames = [indexed(f"{seed} {i}", width, height) for i in range(2)]
    return written(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)


def grey_gif(seed, width, height):
    """All 256 values, in order: Pillow takes such a palette for none."""
    values = pixels(seed, width, height, 1)[..., 0]
    values.flat[:256] = range(256)
    return written(Image.fromarray(values), "GIF")


# kind -> function(seed, width, height): the bytes.
KINDS = {
    "jpeg": lambda *a: written(rgb(*a), "JPEG", quality=90),
    "progressive": lambda *a: written(rgb(*a), "JPEG", quality=90, progressive=True),
    "grey": lambda *a: written(grey(*a), "JPEG", quality=90),
    "cmyk": lambda *a: written(rgb(*a).convert("CMYK"), "JPEG", quality=90),
    "turned": turned,
    "half": lambda *a: half(written(rgb(*a), "JPEG", quality=90)),
    "png": lambda *a: written(rgb(*a), "PNG"),
    "rgba": lambda *a: written(with_alpha(*a, "RGBA"), "PNG"),
    "opaque": lambda *a: written(opaque(*a), "PNG"),
    "la": lambda *a: written(with_alpha(*a, "LA"), "PNG"),
    "palette": lambda *a: written(indexed(*a), "PNG"),
    "palette_clear": lambda *a: written(indexed(*a, clear=True), "PNG", transparency=3),
    "grey_png": lambda *a: written(grey(*a), "PNG"),
    "grey16": lambda *a: written(Image.fromarray(pixels(*a, 1)[..., 0].astype(np.uint16) * 200), "PNG"),
    "bilevel": lambda *a: written(Image.fromarray(pixels(*a, 1)[..., 0] > 99), "PNG"),
    "half_png": lambda *a: half(written(rgb(*a), "PNG")),
    "gif": lambda *a: written(indexed(*a), "GIF"),
    "gif_grey": grey_gif,
    "gif_moving": two_frames,
    "bmp": lambda *a: written(rgb(*a), "BMP"),
    "tiff": lambda *a: written(rgb(*a), "TIFF"),
    "tiff_cmyk": lambda *a: written(rgb(*a).convert("CMYK"), "TIFF"),
    "webp": lambda *a: written(rgb(*a), "WEBP", lossless=True, exact=True, method=0),
    "webp_rgba": lambda *a: written(with_alpha(*a, "RGBA"), "WEBP", lossless=True, exact=True, method=0),
    "webp_opaque": lambda *a: written(opaque(*a), "WEBP", lossless=True, exact=True, method=0),
    "half_webp": lambda *a: half(written(rgb(*a), "WEBP", lossless=True, exact=True, method=0)),
    "words": lambda *a: b"<html><body>404</body></html>",
    "nothing": lambda *a: b"",
}


def of_kind(kind, seed, width, height):
    return KINDS[kind](seed, width, height)


def mac_half():
    """What a Mac leaves as ._NAME beside NAME."""
    return struct.pack(">IIxxxxxxxxxxxxxxxxH", 0x00051607, 0x00020000, 1) + struct.pack(">III", 9, 38, 32) + b"com.apple.quarantine".ljust(32, b"\0")
