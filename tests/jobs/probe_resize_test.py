#!/usr/bin/env python3
"""probe resize beside Pillow: each of an entry's keys `pictures.*`, what it changes and what it refuses."""
import io
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from programs import DONE, USER_MISTAKE, check, run, skip  # noqa: E402

try:
    import numpy as np
    from PIL import Image, ImageOps
except ImportError:
    skip("Pillow and numpy are not there (scripts/setup.sh --oracles)")

SIZE = 24
PILLOW = ["pictures.alpha=drop", "pictures.grey16=clip"]


def picture(height, width, mode="RGB"):
    rows = np.random.RandomState(3).randint(0, 256, (height, width, len(Image.new(mode, (1, 1)).getbands())))
    return Image.fromarray(rows.astype(np.uint8).squeeze(), mode)


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def square(image):
    """torchvision's Resize(SIZE, BICUBIC) and CenterCrop(SIZE), of a picture whose sides they reach without rounding."""
    image = image.convert("RGB")
    width, height = image.size
    short = min(width, height)
    image = image.resize((width * SIZE // short, height * SIZE // short), Image.BICUBIC)
    left, top = round((image.width - SIZE) / 2), round((image.height - SIZE) / 2)
    return np.asarray(image.crop((left, top, left + SIZE, top + SIZE)))


class Probe:
    def __init__(self, folder):
        self.input, self.output = folder / "in", folder / "out.png"

    def __call__(self, data, *words, expect=DONE):
        self.input.write_bytes(data)
        self.output.unlink(missing_ok=True)
        log = run("probe", "resize", "--input", self.input, "--output", self.output, f"size={SIZE}", *words, expect=expect)
        check(self.output.exists() == (expect == DONE), "a file that should not be there, or none")
        return log if expect != DONE else np.asarray(Image.open(self.output))


def equal(probe, data, expected, *words):
    check(np.array_equal(probe(data, *words), square(expected)), f"{words}: other pixels than Pillow's")


def main():
    with tempfile.TemporaryDirectory(prefix="microdit_probe_resize_") as place:
        probe = Probe(pathlib.Path(place))
        exif = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
        for kind in ("JPEG", "PNG", "WEBP"):
            data = saved(picture(48, 96), kind, exif=exif)
            equal(probe, data, Image.open(io.BytesIO(data)))
            equal(probe, data, ImageOps.exif_transpose(Image.open(io.BytesIO(data))), "pictures.exif=apply")
        for mode, kind in (("RGBA", "PNG"), ("RGBA", "TIFF"), ("CMYK", "TIFF"), ("CMYK", "JPEG"), ("LA", "TIFF")):
            data = saved(picture(48, 72, mode), kind)
            equal(probe, data, Image.open(io.BytesIO(data)), *PILLOW)
        grey16 = Image.fromarray(np.random.RandomState(4).randint(0, 500, (48, 48)).astype(np.uint16))
        for kind in ("PNG", "TIFF"):
            data = saved(grey16, kind)
            equal(probe, data, Image.fromarray(np.minimum(np.asarray(grey16), 255).astype(np.uint8)), *PILLOW)
            equal(probe, data, Image.fromarray((np.asarray(grey16) >> 8).astype(np.uint8)))
        moving = saved(picture(48, 48).quantize(9), "GIF", save_all=True, append_images=[picture(48, 48).rotate(90).quantize(9)])
        equal(probe, moving, Image.open(io.BytesIO(moving)))
        log = probe(moving, "pictures.frames=skip", expect=USER_MISTAKE)
        check("pictures.frames=skip" in log and "several frames" in log, log)
        log = probe(moving, "pictures.frames=last", expect=USER_MISTAKE)
        check("pictures.frames" in log and "first" in log and "skip" in log, log)
        jpeg = saved(picture(96, 96), "JPEG")
        damaged = jpeg[:len(jpeg) // 2] + b"\xff\xd9"
        probe(damaged)
        check("pictures.damaged_inside=keep" in probe(damaged, "pictures.damaged_inside=skip", expect=USER_MISTAKE), "no word of the key")
    print("ok")


if __name__ == "__main__":
    main()
