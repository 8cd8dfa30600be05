# Pixels of decode, resize and crop against Pillow: not one may differ. Drives `test_image --gtest_filter=JobList.Runs`.
import io
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib

try:
    import numpy as np
    import PIL
    from PIL import Image, ImageOps
except ImportError as missing:
    print(f"skipped: {missing}; scripts/setup.sh makes .venv-oracles")
    sys.exit(77)

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import odd_pictures  # noqa: E402

BINARY = pathlib.Path(os.environ["MICRODIT_BIN"]) / "test_image"
RANDOM = np.random.RandomState(11)


def photo(height, width, channels=3):
    return odd_pictures.photo(height, width, channels, RANDOM)


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def on_white(image):
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGB", image.size, "white")
        ground.paste(image, mask=image.getchannel("A"))
        return ground
    return image.convert("RGB")


def chunk(kind, payload):
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def interlaced_png(pixels, bits, color_type, extra=b""):
    """Pillow writes no interlaced PNG: Adam7 by hand. `pixels` is H x W x C of samples of `bits` bits."""
    height, width, _ = pixels.shape
    raw = b""
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        part = pixels[y0::dy, x0::dx]
        if part.size == 0:
            continue
        for row in part:
            if bits == 16:
                raw += b"\0" + row.astype(">u2").tobytes()
            elif bits == 8:
                raw += b"\0" + row.astype(np.uint8).tobytes()
            else:
                flags = (row.reshape(-1, 1) >> np.arange(bits - 1, -1, -1)) & 1
                raw += b"\0" + np.packbits(flags.astype(np.uint8)).tobytes()
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def jpegs():
    rgb = Image.fromarray(photo(75, 101))
    for quality in (10, 50, 75, 95):
        for subsampling in (0, 1, 2):
            for progressive in (False, True):
                name = f"q{quality}_s{subsampling}_p{progressive:d}"
                yield name, encoded(rgb, "jpeg", quality=quality, subsampling=subsampling, progressive=progressive)
    yield "rgb_kept", encoded(rgb, "jpeg", keep_rgb=True)
    yield "440", encoded(rgb, "jpeg", quality=80, subsampling=2, restart_marker_blocks=3)
    yield "optimized", encoded(rgb, "jpeg", optimize=True)
    yield "gray", encoded(Image.fromarray(photo(33, 65)[..., 0]), "jpeg")
    yield "cmyk", encoded(Image.fromarray(photo(40, 44, 4), "CMYK"), "jpeg", quality=85)
    yield "exif_turned", encoded(rgb, "jpeg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")
    for side in (1, 7, 8, 9, 16, 17):
        yield f"side{side}", encoded(Image.fromarray(photo(side, side + 3)), "jpeg")
    yield "trailing", encoded(rgb, "jpeg") + b"trailing garbage \xff\xd8\xff"


def pngs():
    rgb = photo(41, 59)
    rgba = photo(41, 59, 4)
    palette = Image.fromarray(rgb).quantize(200)
    yield "rgb", encoded(Image.fromarray(rgb), "png")
    yield "rgba", encoded(Image.fromarray(rgba), "png")
    yield "la", encoded(Image.fromarray(rgba[..., :2], "LA"), "png")
    yield "gray", encoded(Image.fromarray(rgb[..., 0]), "png")
    yield "bilevel", encoded(Image.fromarray(rgb[..., 0] > 99), "png")
    yield "palette", encoded(palette, "png")
    yield "palette_1_transparent", encoded(palette, "png", transparency=3)
    yield "palette_many_transparent", encoded(palette, "png", transparency=bytes(RANDOM.randint(0, 256, 200).tolist()))
    for bits in (1, 2, 4):
        yield f"palette_{bits}bit", encoded(Image.fromarray(rgb).quantize(2**bits), "png", bits=bits)
    yield "gray_key", encoded(Image.fromarray(rgb[..., 0]), "png", transparency=int(rgb[3, 4, 0]))
    yield "rgb_key", encoded(Image.fromarray(rgb), "png", transparency=tuple(int(v) for v in rgb[3, 4]))
    yield "profile", encoded(Image.fromarray(rgb), "png", icc_profile=b"not a profile" * 50, dpi=(300, 300))
    yield "gamma", encoded(Image.fromarray(rgb), "png").replace(chunk(b"IEND", b""), chunk(b"tEXt", b"k\0v") + chunk(b"IEND", b""))
    wide = RANDOM.randint(0, 65536, (17, 23, 4))
    yield "i_rgb16", interlaced_png(wide[..., :3], 16, 2)
    yield "i_rgba16", interlaced_png(wide, 16, 6)
    yield "i_la16", interlaced_png(wide[..., :2], 16, 4)
    yield "i_rgb", interlaced_png(rgb, 8, 2)
    yield "i_rgba", interlaced_png(rgba, 8, 6)
    for bits in (1, 2, 4):
        yield f"i_gray{bits}", interlaced_png(RANDOM.randint(0, 2**bits, (13, 11, 1)), bits, 0)
    colors = chunk(b"PLTE", bytes(range(48))) + chunk(b"tRNS", bytes(range(0, 160, 10)))
    yield "i_palette4", interlaced_png(RANDOM.randint(0, 16, (13, 11, 1)), 4, 3, colors)
    yield "i_tiny", interlaced_png(rgb[:1, :2], 8, 2)


def webps():
    rgb, rgba = Image.fromarray(photo(45, 67)), Image.fromarray(photo(45, 67, 4))
    for quality in (5, 60, 95):
        yield f"q{quality}", encoded(rgb, "webp", quality=quality)
        yield f"alpha_q{quality}", encoded(rgba, "webp", quality=quality)
    yield "lossless", encoded(rgb, "webp", lossless=True)
    yield "alpha_lossless", encoded(rgba, "webp", lossless=True, exact=True)
    yield "odd", encoded(Image.fromarray(photo(1, 3)), "webp")


def gifs():
    colours = Image.fromarray(photo(37, 53)).quantize(200)
    few = Image.fromarray(photo(20, 31)).quantize(5)
    yield "plain", encoded(colours, "gif")
    yield "few", encoded(few, "gif", interlace=0)
    yield "interlaced", encoded(colours, "gif", interlace=1)
    yield "gray", encoded(Image.fromarray(photo(37, 53)[..., 0]), "gif")
    yield "transparent", encoded(few, "gif", transparency=2)
    yield "one", encoded(few.crop((0, 0, 1, 1)), "gif")
    yield "comment", encoded(few, "gif", comment=b"c" * 300)
    moving = [Image.fromarray(photo(20, 31)).quantize(30) for _ in range(3)]
    yield "animation", encoded(moving[0], "gif", save_all=True, append_images=moving[1:], duration=50)
    data = encoded(few, "gif")
    yield "small_frame", data[:6] + struct.pack("<HH", 40, 30) + data[10:]  # a canvas larger than its frame


def run_lengths(bits, data, palette, colours=None):
    """A BMP of 10 x 8."""
    start = 54 + len(palette)
    return struct.pack("<2sIHHIIiiHHIIiiII", b"BM", start + len(data), 0, 0, start, 40, 10, 8, 1, bits, 1 if bits == 8 else 2, len(data), 0, 0,
                       colours or len(palette) // 4, 0) + palette + data


def bmps():
    rgb = Image.fromarray(photo(21, 33))
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield mode, encoded(rgb.convert(mode), "bmp")
    data = encoded(rgb.convert("RGB"), "bmp")
    yield "top_down", data[:22] + struct.pack("<i", -21) + data[26:]
    pixels = RANDOM.randint(0, 256, 34 * 21 * 2).astype(np.uint8).tobytes()
    head = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54 + len(pixels), 0, 0, 54, 40, 34, 21, 1, 16, 0, len(pixels), 0, 0, 0, 0)
    yield "555", head + pixels
    fields = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    yield "565", struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 66 + len(pixels), 0, 0, 66, 40, 34, 21, 1, 16, 3, len(pixels), 0, 0, 0, 0) + fields + pixels
    palette = bytes(RANDOM.randint(0, 256, 1024).tolist())
    runs = b"".join(bytes((5, y, 0, 3, 1, 2, 3, 0, 2, y, 0, 0)) for y in range(8)) + b"\0\1"
    yield "rle8", run_lengths(8, runs, palette)
    yield "rle8_after_an_odd_palette", run_lengths(8, runs, palette[:1020] + b"x", 255)
    full = b"\x0a\1\0\0" * 8
    for name, data in {"empty_row": b"\0\0" + full, "long_run": b"\xff\2" + b"\xff\3\0\0" * 8, "end": full[:-2] + b"\0\1",
                       "literal_over_rows": b"\0\x0d" + bytes(range(13)) + b"\0" + b"\3\7" + b"\0\0" + full,
                       "skip": b"\3\1\0\2\2\1\4\5\0\0" + full, "skip_over_the_end": b"\0\2\xff\xff", "ends_early": full[:-4] + b"\0\1",
                       "skips_and_ends": b"\0\2\5\5\0\1", "cut": full[:-5]}.items():
        yield f"rle8_{name}", run_lengths(8, data, palette)
    nibbles = b"".join(bytes((5, 0x12 + y, 0, 5, 0x34, 0x56, 0x70 + y, 0, 0, 0)) for y in range(8))
    yield "rle4", run_lengths(4, nibbles, palette[:64])
    yield "rle4_ends_early", run_lengths(4, nibbles[:-10] + b"\0\1", palette[:64])


def tiffs():
    rgb = Image.fromarray(photo(21, 33))
    for compression in ("raw", "tiff_adobe_deflate", "tiff_lzw", "packbits"):
        yield f"rgb_{compression}", encoded(rgb, "tiff", compression=compression)
    yield "gray", encoded(rgb.convert("L"), "tiff")
    yield "palette", encoded(rgb.quantize(100), "tiff")
    yield "bilevel", encoded(rgb.convert("1"), "tiff")
    for orientation in range(1, 9):  # the one format that Pillow turns when it opens it
        for compression in ("raw", "tiff_lzw"):
            yield f"turned_{orientation}_{compression}", encoded(rgb, "tiff", compression=compression, tiffinfo={274: orientation})


class Jobs:
    def __init__(self, folder):
        self.folder, self.lines, self.expected = pathlib.Path(folder), [], {}

    def source(self, name, data):
        (self.folder / name).write_bytes(data)

    def add(self, name, source, verb, expected):
        self.lines.append(f"{name} {source} {verb}")
        self.expected[name] = expected

    def run(self):
        (self.folder / "jobs.txt").write_text("\n".join(self.lines) + "\n")
        done = subprocess.run([BINARY, "--gtest_filter=JobList.Runs"], env={**os.environ, "IMAGE_JOBS_DIR": str(self.folder)},
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def result(self, name):
        head, _, data = (self.folder / name).read_bytes().partition(b"\n")
        if not head[:1].isdigit():
            return head.decode()
        height, width = map(int, head.split())
        return np.frombuffer(data, np.uint8).reshape(height, width, 3)


def resized(image, size):
    """Pillow 13's resize; an older Pillow, which always goes horizontally first, is led through 13's order."""
    (width, height), (new_width, new_height) = image.size, size
    vertical_first = new_height < height and (width - new_width) * 2 < height - new_height
    if vertical_first and int(PIL.__version__.split(".")[0]) < 13:
        image = image.resize((width, new_height), Image.BICUBIC)
    return image.resize(size, Image.BICUBIC)


def crop_like_torchvision(image, size):
    width, height = image.size
    short, long = min(width, height), max(width, height)
    long = int(size * long / short)
    new_width, new_height = (size, long) if width <= height else (long, size)
    if (width, height) != (new_width, new_height):
        image = resized(image, (new_width, new_height))
    left, top = int(round((new_width - size) / 2.0)), int(round((new_height - size) / 2.0))
    return image.crop((left, top, left + size, top + size))


def opened(data, convert):
    """What Pillow makes of it, which may be nothing."""
    try:
        return np.asarray(convert(Image.open(io.BytesIO(data))))
    except (OSError, ValueError):
        return "bad"


def add_decoding(jobs):
    kinds = (("jpeg", jpegs()), ("png", pngs()), ("webp", webps()), ("gif", gifs()), ("bmp", bmps()), ("tiff", tiffs()))
    for kind, pictures in kinds:
        for name, data in pictures:
            jobs.source(f"{kind}_{name}", data)
            jobs.add(f"{kind}_{name}.raw", f"{kind}_{name}", "decode", opened(data, on_white))
            jobs.add(f"{kind}_{name}.pillow", f"{kind}_{name}", "as_pillow", opened(data, lambda image: image.convert("RGB")))
    # Pillow clips 16-bit grey; the high byte is the promise here.
    gray16 = RANDOM.randint(0, 65536, (15, 19)).astype(np.uint16)
    jobs.source("gray16", encoded(Image.fromarray(gray16), "png"))
    jobs.add("gray16.raw", "gray16", "decode", np.repeat((gray16 >> 8).astype(np.uint8)[..., None], 3, -1))
    jobs.add("gray16.pillow", "gray16", "as_pillow", np.repeat(np.minimum(gray16, 255).astype(np.uint8)[..., None], 3, -1))


def add_odd(jobs):
    """Decoded, and as the original makes squares of them; and how many frames there are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        odd = list(odd_pictures.pictures())
    for name, data in odd:
        image = opened_image(data)
        if image is None:
            raise AssertionError(f"Pillow does not read {name}")
        jobs.source(f"odd_{name}", data)
        rgb = image.convert("RGB")
        jobs.add(f"odd_{name}.pillow", f"odd_{name}", "as_pillow", np.asarray(rgb))
        if max(rgb.size) < 40 * min(rgb.size):
            jobs.add(f"odd_{name}.crop", f"odd_{name}", "crop_as_pillow 32", np.asarray(crop_like_torchvision(rgb, 32)))
        jobs.add(f"odd_{name}.frames", f"odd_{name}", "frames", "several" if getattr(image, "n_frames", 1) > 1 else "one")


def opened_image(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data))
            image.load()
            return image
        except (OSError, ValueError):
            return None


def turned(image):
    """As Pillow turns it; what Pillow does not get through is not turned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ImageOps.exif_transpose(image)
        except (SyntaxError, ValueError, struct.error):
            return image


def xmp(orientation, spelling):
    return {"attribute": f'<x:xmpmeta tiff:Orientation="{orientation}"/>', "element": f"<tiff:Orientation>{orientation}</tiff:Orientation>",
            "other": f"<tiff:Orientation x>{orientation}<"}[spelling].encode()


def turned_pictures():
    rgb = Image.fromarray(photo(21, 33))
    for name, block in odd_pictures.exif_blocks():
        for kind in ("jpeg", "png", "webp"):
            yield f"{kind}_{name}", encoded(rgb, kind, exif=b"Exif\0\0" + block)
    plain = encoded(rgb, "png")
    with_text = lambda *texts: plain[:33] + b"".join(chunk(*text) for text in texts) + plain[33:]  # noqa: E731
    for orientation in (3, 6, 9):
        for spelling in ("attribute", "element", "other"):
            packet = xmp(orientation, spelling)
            for kind in ("jpeg", "webp"):
                yield f"{kind}_xmp_{orientation}_{spelling}", encoded(rgb, kind, xmp=packet)
            yield f"tiff_xmp_{orientation}_{spelling}", encoded(rgb, "tiff", tiffinfo={700: packet})
            yield f"png_xmp_{orientation}_{spelling}", with_text((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet))
            yield f"png_xmp_{orientation}_{spelling}_packed", with_text((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(packet)))
    for kind in ("jpeg", "webp"):  # EXIF wins, where it has an orientation
        yield f"{kind}_both", encoded(rgb, kind, xmp=xmp(3, "element"), exif=b"Exif\0\0" + odd_pictures.exif())
        yield f"{kind}_exif_of_another_tag", encoded(rgb, kind, xmp=xmp(3, "element"), exif=b"Exif\0\0" + odd_pictures.exif(tag=275))
    for orientation in range(10):
        yield f"tiff_{orientation}", set_orientation(encoded(rgb, "tiff", tiffinfo={274: 1}), orientation)
    block = odd_pictures.exif()
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    yield "png_profile", with_text((b"tEXt", b"Raw profile type exif\0" + text))
    yield "png_profile_packed", with_text((b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)))
    yield "png_profile_damaged", with_text((b"tEXt", b"Raw profile type exif\0" + text[:-2]))
    yield "png_profile_without_digits", with_text((b"tEXt", b"Raw profile type exif\0" + text.replace(b"4949", b"49xx")))
    at = plain.rfind(b"IEND") - 4
    yield "png_exif_at_the_end", plain[:at] + chunk(b"eXIf", block) + plain[at:]
    two = encoded(rgb, "jpeg", exif=b"Exif\0\0" + block[:20])
    at = two.find(b"Exif") + 26
    yield "jpeg_in_two_segments", two[:at] + b"\xff\xe1" + struct.pack(">H", 8 + len(block) - 20) + b"Exif\0\0" + block[20:] + two[at:]


def set_orientation(tiff, orientation):
    at = tiff.find(struct.pack("<HHL", 274, 3, 1)) + 8
    return tiff[:at] + struct.pack("<H", orientation) + tiff[at + 2:]


def add_turned(jobs):
    for name, data in turned_pictures():
        jobs.source(f"turned_{name}", data)
        image = opened_image(data)
        jobs.add(f"turned_{name}.exif", f"turned_{name}", "exif", np.asarray(turned(image).convert("RGB")))
        jobs.add(f"turned_{name}.plain", f"turned_{name}", "as_pillow", np.asarray(opened_image(data).convert("RGB")))


def add_resizing(jobs):
    for height, width in [(1, 1), (2, 3), (15, 17), (97, 131), (256, 256), (480, 640), (333, 1000), (1200, 37)]:
        image = Image.fromarray(photo(height, width))
        source = f"source_{height}_{width}.png"
        jobs.source(source, encoded(image, "png", compress_level=1))
        sizes = [(width, height), (width, 31), (31, height), (1, 1), (256, 256), (width + 1, height + 1), (width * 2, height)]
        sizes += [tuple(int(v) for v in RANDOM.randint(1, 700, 2)) for _ in range(12)]
        for w, h in sizes:
            jobs.add(f"{source}_{w}_{h}", source, f"resize {w} {h}", np.asarray(resized(image, (w, h))))
        for size in (1, 8, 37, 64, 224, 256, 331):
            if size * max(height, width) // min(height, width) < 20000:
                jobs.add(f"{source}_crop{size}", source, f"crop {size}", np.asarray(crop_like_torchvision(image, size)))
    for height, width in [(int(h), int(w)) for h, w in RANDOM.randint(20, 400, (60, 2))]:  # the crop's rounding
        image = Image.fromarray(photo(height, width))
        source = f"odd_{height}_{width}.png"
        jobs.source(source, encoded(image, "png", compress_level=1))
        jobs.add(f"{source}_crop", source, "crop 64", np.asarray(crop_like_torchvision(image, 64)))
    noise = Image.fromarray(RANDOM.randint(0, 2, (300, 300, 3)).astype(np.uint8) * 255)  # overshoots and is clipped
    jobs.source("extreme.png", encoded(noise, "png"))
    for w, h in [(299, 301), (450, 450), (100, 100), (64, 200)]:
        jobs.add(f"extreme_{w}_{h}", "extreme.png", f"resize {w} {h}", np.asarray(resized(noise, (w, h))))


def add_hostile(jobs):
    png = encoded(Image.fromarray(photo(9, 9)), "png")
    bomb = zlib.compress(bytes(200 << 20), 9)
    end = chunk(b"IEND", b"")
    header = png[:33]
    jobs.source("text_bomb", header + chunk(b"zTXt", b"k\0\0" + bomb) + chunk(b"iCCP", b"k\0\0" + bomb) + png[33:])
    jobs.add("text_bomb.raw", "text_bomb", "decode", np.asarray(Image.open(io.BytesIO(png)).convert("RGB")))
    jobs.source("chunk_flood", header + chunk(b"tEXt", b"k\0v") * 20000 + png[33:])
    jobs.add("chunk_flood.raw", "chunk_flood", "decode", np.asarray(Image.open(io.BytesIO(png)).convert("RGB")))
    rows = zlib.compress(bytes(10 << 20), 9)  # fewer rows than the header promises
    huge = chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0))
    jobs.source("half_bomb", png[:8] + huge + chunk(b"IDAT", rows) + end)
    jobs.add("half_bomb.raw", "half_bomb", "decode", "bad")
    animation = encoded(Image.fromarray(photo(9, 9)), "webp", save_all=True, append_images=[Image.fromarray(photo(9, 9))])
    jobs.source("animation", animation)
    jobs.add("animation.raw", "animation", "decode", np.asarray(Image.open(io.BytesIO(animation)).convert("RGB")))
    jpeg = encoded(Image.fromarray(photo(64, 64)), "jpeg")
    inside = jpeg.find(b"\xff\xda") + 900
    stray = jpeg[:inside] + b"\xff\xe1\xff\xf0" + jpeg[inside:]  # a marker among the data whose segment leaves the file
    jobs.source("stray", stray)
    jobs.add("stray.raw", "stray", "decode", np.asarray(Image.open(io.BytesIO(stray)).convert("RGB")))
    for cut in (1, 2, 3, 100, len(jpeg) // 2, len(jpeg) - 30):
        jobs.source(f"cut{cut}", jpeg[:-cut])
        jobs.add(f"cut{cut}.raw", f"cut{cut}", "decode", "bad")


def check_encoders(jobs):
    tagged = Image.open(jobs.folder / "tagged.png")
    tagged.load()
    assert tagged.text == {"prompt": "a caf\u00e9", "emoji": "\U0001f697"}, tagged.text
    assert "time" not in tagged.info
    assert np.array_equal(np.asarray(tagged), jobs.expected["tagged.png"]), "PNG pixels"
    written = np.asarray(Image.open(jobs.folder / "written.jpg"))
    theirs = np.asarray(Image.open(io.BytesIO(encoded(Image.fromarray(jobs.expected["written.jpg"]), "jpeg", quality=90, subsampling=0))))
    assert np.array_equal(written, theirs), "JPEG pixels at quality 90"


def main():
    with tempfile.TemporaryDirectory() as folder:
        jobs = Jobs(folder)
        add_decoding(jobs)
        add_odd(jobs)
        add_turned(jobs)
        add_resizing(jobs)
        add_hostile(jobs)
        compared = list(jobs.expected)
        picture = photo(50, 70)
        jobs.source("plain.png", encoded(Image.fromarray(picture), "png"))
        jobs.add("tagged.png", "plain.png", "tag", picture)
        jobs.add("written.jpg", "plain.png", "jpeg 90", picture)
        jobs.run()
        failures = []
        for name in compared:
            expected, result = jobs.expected[name], jobs.result(name)
            if isinstance(expected, str) or isinstance(result, str):
                if not (isinstance(expected, str) and isinstance(result, str) and result.startswith(expected)):
                    failures.append(f"{name}: expected {str(expected)[:40]}, got {str(result)[:80]}")
            elif expected.shape != result.shape:
                failures.append(f"{name}: shape {result.shape}, Pillow {expected.shape}")
            elif (different := np.count_nonzero(expected != result)):
                worst = np.abs(expected.astype(int) - result.astype(int)).max()
                failures.append(f"{name}: {different} of {expected.size} values differ, by up to {worst}")
        check_encoders(jobs)
        print(f"{len(compared)} pictures compared with Pillow, {len(failures)} differ")
        print("\n".join(failures))
        sys.exit(1 if failures else 0)


main()
