"""Pictures that are broken, hostile or merely odd: name -> Case. Needs Pillow."""
import io
import random
import struct
import zlib

from hostile_case import GOOD_PICTURE, Case, png, png_chunk
from PIL import Image

DAMAGED, HEADER, INSIDE = "damaged.picture", "damaged.header", "damaged.inside"
FORMAT, LARGE = "unsupported.format", "unsupported.too_large"


def picture(size=(64, 48), mode="RGB"):
    noise = random.Random(7)
    return Image.frombytes("RGB", size, noise.randbytes(size[0] * size[1] * 3)).convert(mode)


def saved(kind, image=None, **options):
    out = io.BytesIO()
    (image or picture()).save(out, kind, **options)
    return out.getvalue()


def bad(reason, data, **more):
    return Case(data, skipped={reason: 1}, **more)


def good(data):
    return Case(data, kept=2)


def set_bytes(data, at, value):
    return data[:at] + value + data[at + len(value):]


def jpeg_frame(data, at, value):
    """Overwrites bytes of the frame header: 0 length, 2 precision, 3 height, 5 width, 7 components."""
    for marker in (b"\xff\xc0", b"\xff\xc2"):
        if (place := data.find(marker)) >= 0:
            return set_bytes(data, place + 2 + at, value)
    raise AssertionError("no frame")


def repeated_scans(times):
    data = saved("JPEG", picture((512, 512)), progressive=True)
    first = data.find(b"\xff\xda")
    second = data.find(b"\xff\xda", first + 2)
    scan = data[first:data.find(b"\xff\xc4", first) if 0 < data.find(b"\xff\xc4", first) < second else second]
    return data[:first] + scan * times + data[first:]


def png_cases():
    yield "png cut", bad(DAMAGED, GOOD_PICTURE[:-40])
    yield "png signature alone", bad(HEADER, b"\x89PNG\r\n\x1a\n")
    yield "png empty size", bad(HEADER, png(0, 5))
    yield "png of 4 gigapixels", bad(LARGE, png(65535, 65535, rows=b""))
    yield "png side of 2^31", bad(LARGE, png(0x7fffffff, 1, rows=b""))
    yield "png of 179 megapixels and no data", bad(DAMAGED, png(13000, 13000, rows=zlib.compress(b"")))
    yield "png a pixel over the limit", bad(LARGE, png(13378, 13378, 1, 0, rows=b""))
    yield "png zlib spoilt", bad(DAMAGED, png(rows=b"\x78\x9c" + b"\xff" * 50))
    spoilt = bytearray(GOOD_PICTURE)
    spoilt[60] ^= 1
    yield "png checksum wrong", bad(DAMAGED, bytes(spoilt))
    yield "png without data", bad(DAMAGED, GOOD_PICTURE[:33] + png_chunk(b"IEND", b""))
    yield "png too little data", bad(DAMAGED, png(64, 64, rows=zlib.compress(bytes(100))))
    yield "png palette missing", bad(DAMAGED, png(8, 8, 8, 3))
    yield "png bit depth 3", bad(DAMAGED, png(8, 8, 3, 0))
    yield "png colour type 5", bad(DAMAGED, png(8, 8, 8, 5))
    yield "png compression method 9", bad(DAMAGED, GOOD_PICTURE[:8] + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 9, 0, 0))
                                          + GOOD_PICTURE[33:])
    yield "png critical chunk unknown", bad(DAMAGED, png(before=[png_chunk(b"EVIL", b"x")]))
    yield "png chunk of 2 GiB", bad(DAMAGED, GOOD_PICTURE[:33] + b"\x7f\xff\xff\xffIDAT" + bytes(100))
    bomb = zlib.compress(bytes(200 << 20), 9)
    for kind, start in ((b"zTXt", b"k\0\0"), (b"iCCP", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0")):
        yield f"png {kind.decode()} of 200 MiB", good(png(before=[png_chunk(kind, start + bomb)]))
    yield "png 50,000 chunks", good(png(before=[png_chunk(b"tEXt", b"k\0v")] * 50_000))
    yield "png interlaced and cut", bad(DAMAGED, png(64, 64, interlace=1, rows=zlib.compress(bytes(64 * 200))[:20]))
    yield "png of 100 megapixels of nothing", good(png(10000, 10000, 8, 0))
    yield "png rgba of 60 megapixels of nothing", good(png(8000, 7500, 8, 6))
    yield "png bytes behind the end", good(GOOD_PICTURE + b"q" * 1000)
    yield "png transparency too long", good(png(8, 8, 8, 3, before=[png_chunk(b"PLTE", bytes(6)), png_chunk(b"tRNS", bytes(200))]))


def jpeg_cases():
    data = saved("JPEG", quality=90)
    scan = data.find(b"\xff\xda")
    yield "jpg cut", bad(DAMAGED, data[:-200])
    yield "jpg cut, with an end", bad(INSIDE, data[:scan + (len(data) - scan) // 3] + b"\xff\xd9")
    yield "jpg cut, with an end, kept", Case(data[:scan + (len(data) - scan) // 3] + b"\xff\xd9", kept=2,
                                             entry={"pictures.damaged_inside": "keep"})
    yield "jpg without scan data", Case(data[:scan + 14] + b"\xff\xd9", skipped_any={INSIDE: 1, DAMAGED: 1})
    yield "jpg start alone", bad(HEADER, b"\xff\xd8\xff")
    yield "jpg start and end", bad(HEADER, b"\xff\xd8\xff\xd9")
    yield "jpg empty size", bad(HEADER, jpeg_frame(data, 3, b"\0\0\0\0"))
    yield "jpg of 4 gigapixels", bad(LARGE, jpeg_frame(data, 3, b"\xff\xff\xff\xff"))
    yield "jpg 12 bits", bad(DAMAGED, jpeg_frame(data, 2, b"\x0c"))
    yield "jpg two components", Case(jpeg_frame(data, 7, b"\2"), skipped_any={DAMAGED: 1, FORMAT: 1})
    yield "jpg 200 components", bad(DAMAGED, jpeg_frame(data, 7, b"\xc8"))
    yield "jpg sampling 15 x 15", bad(DAMAGED, jpeg_frame(data, 9, b"\xff"))
    yield "jpg sampling 0", bad(DAMAGED, jpeg_frame(data, 9, b"\0"))
    for name, frame in (("lossless", b"\xc3"), ("differential", b"\xc5"), ("arithmetic, lossless", b"\xcb")):
        place = data.find(b"\xff\xc0")
        yield f"jpg {name}", bad(DAMAGED, set_bytes(data, place, b"\xff" + frame))
    without = data.replace(b"\xff\xdb", b"\xff\xfe")
    yield "jpg without quantisation", bad(DAMAGED, without)
    yield "jpg without Huffman tables", good(data.replace(b"\xff\xc4", b"\xff\xfe"))  # the standard ones are meant
    yield "jpg segment longer than the file", bad(HEADER, data[:2] + b"\xff\xe1\xff\xff" + data[2:100])
    yield "jpg segment of length 0", bad(HEADER, data[:2] + b"\xff\xe1\0\0" + data[2:])
    yield "jpg 2,000 comments", good(data[:2] + (b"\xff\xfe\0\x06abcd") * 2000 + data[2:])
    yield "jpg 500 scans", bad(LARGE, repeated_scans(500))
    inside, stray = scan + (len(data) - scan) // 2, b"\xff\xe1\xff\xf0"  # a segment that ends beyond the file
    yield "jpg marker in its data", bad(INSIDE, data[:inside] + stray + data[inside:])
    yield "jpg marker in its data, kept", Case(data[:inside] + stray + data[inside:], kept=2,
                                               entry={"pictures.damaged_inside": "keep"})
    several = saved("JPEG", progressive=True)
    inside = several.find(b"\xff\xda") + 40
    yield "jpg marker in the first of several scans", bad(DAMAGED, several[:inside] + stray + several[inside:])
    noise = random.Random(3).randbytes(3000).replace(b"\xff", b"\xfe")
    yield "jpg noise as data", Case(data[:scan + 14] + noise + b"\xff\xd9", kept=None, skipped=None)
    yield "jpg noise as tables", Case(set_bytes(data, data.find(b"\xff\xc4") + 5, noise[:100]), skipped_any={DAMAGED: 1, INSIDE: 1})
    large = jpeg_frame(saved("JPEG", progressive=True), 3, struct.pack(">HH", 13000, 13000))
    yield "jpg progressive of 169 megapixels, no data", bad(DAMAGED, large)
    for progressive in (False, True):  # a kilobyte cannot hold half a megapixel and more
        small = saved("JPEG", Image.new("RGB", (16, 16)), progressive=progressive)
        kind = "progressive" if progressive else "baseline"
        yield f"jpg {kind} of 179 megapixels and no data", bad(DAMAGED, jpeg_frame(small, 3, struct.pack(">HH", 2730, 65500)))
        yield f"jpg {kind} of one grey", good(saved("JPEG", Image.new("L", (4000, 4000), 128), progressive=progressive, optimize=True))
    yield "jpg cmyk", good(saved("JPEG", picture(mode="CMYK")))
    yield "jpg bytes behind the end", good(data + b"q" * 5000)


def webp_cases():
    data = saved("WEBP", lossless=True)
    frames = [picture(), picture().rotate(90, expand=False)]
    moving = saved("WEBP", frames[0], save_all=True, append_images=frames[1:], lossless=True)
    yield "webp cut", bad(DAMAGED, data[:len(data) // 2])
    yield "webp header alone", bad(HEADER, b"RIFF\x10\0\0\0WEBPVP8 ")
    yield "webp RIFF size lies", Case(set_bytes(data, 4, b"\xff\xff\xff\x7f"), kept=None, skipped=None)
    yield "webp of 25 megapixels in next to no bytes", bad(LARGE, saved("WEBP", Image.new("RGB", (5000, 5000), (9, 8, 7)), lossless=True))
    yield "webp of 268 megapixels", bad(LARGE, b"RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0\x2f" + struct.pack("<I", 16382 | 16382 << 14) + bytes(13))
    yield "webp animation", good(moving)
    yield "webp animation cut", bad(DAMAGED, moving[:len(moving) // 3])
    yield "webp noise", Case(data[:30] + random.Random(5).randbytes(2000), skipped_any={DAMAGED: 1, HEADER: 1})


def gif_cases():
    data = saved("GIF", picture().convert("P"))
    start = data.find(b"\x2c", 13 + 768)
    yield "gif", good(data)
    yield "gif cut", bad(DAMAGED, data[:len(data) // 2])
    yield "gif header alone", bad(DAMAGED, b"GIF89a")
    yield "gif without picture", bad(DAMAGED, data[:start] + b"\x3b")
    yield "gif of 4 gigapixels", bad(LARGE, set_bytes(data, 6, b"\xff\xff\xff\xff"))
    yield "gif frame beyond the canvas", bad(LARGE, set_bytes(data, start + 1, b"\xff\xff\xff\xff"))
    yield "gif code size 12", bad(DAMAGED, set_bytes(data, start + 10, b"\x0c"))
    yield "gif noise as data", bad(DAMAGED, data[:start + 11] + (b"\xff" + random.Random(1).randbytes(255)) * 2 + b"\0\x3b")
    yield "gif 100,000 comments", good(data[:13 + 768] + b"\x21\xfe\x01x\0" * 100_000 + data[13 + 768:])
    yield "gif empty frame", bad(HEADER, set_bytes(data, start + 5, b"\0\0\0\0"))


def bmp_cases():
    data = saved("BMP")
    yield "bmp", good(data)
    yield "bmp cut", bad(DAMAGED, data[:-100])
    yield "bmp header of 99,999 bytes", bad(FORMAT, set_bytes(data, 14, struct.pack("<I", 9999)))
    yield "bmp empty size", bad(HEADER, set_bytes(data, 18, bytes(8)))
    yield "bmp of 4 gigapixels", bad(LARGE, set_bytes(data, 18, struct.pack("<ii", 65535, 65535)))
    yield "bmp negative width", Case(set_bytes(data, 18, struct.pack("<i", -5)), skipped_any={HEADER: 1, DAMAGED: 1})
    yield "bmp height of -2^31", bad(LARGE, set_bytes(data, 22, struct.pack("<i", -2**31)))
    yield "bmp 3 bits", bad(FORMAT, set_bytes(data, 28, b"\3"))
    yield "bmp with a JPEG in it", bad(FORMAT, set_bytes(data, 30, b"\4"))
    yield "bmp data offset beyond the end", bad(DAMAGED, set_bytes(data, 10, b"\xff\xff\xff\x7f"))
    runs = saved("BMP", picture().convert("P"))
    yield "bmp run lengths without end", bad(DAMAGED, set_bytes(set_bytes(runs, 30, b"\1"), 1078, b"\0\x02\xff\x00" * 10)[:1100])
    for name, data in (("end at once", b"\0\1"), ("skip a little and end", b"\0\2\5\5\0\1")):
        yield f"bmp run lengths {name}", bad(DAMAGED, set_bytes(set_bytes(runs, 30, b"\1"), 1078, data))


def tiff_cases():
    data = saved("TIFF")
    packed = saved("TIFF", compression="tiff_adobe_deflate")
    at = struct.unpack("<I", data[4:8])[0]
    yield "tiff", good(data)
    yield "tiff packed", good(packed)
    yield "tiff on its side", good(saved("TIFF", tiffinfo={274: 6}))
    yield "tiff cut", Case(packed[:len(packed) // 2], skipped_any={DAMAGED: 1, HEADER: 1})
    yield "tiff header alone", bad(HEADER, b"II*\0\x08\0\0\0")
    yield "tiff directory beyond the end", bad(HEADER, b"II*\0\xff\xff\xff\x7f")
    count = struct.unpack("<H", data[at:at + 2])[0]
    yield "tiff directory that loops", good(set_bytes(data, at + 2 + 12 * count, struct.pack("<I", at)))
    sides = data
    for i in range(count):
        entry = at + 2 + 12 * i
        if data[entry:entry + 2] in (b"\x00\x01", b"\x01\x01"):
            sides = set_bytes(set_bytes(sides, entry + 2, b"\4\0"), entry + 8, struct.pack("<I", 60000))
    yield "tiff of 3.6 gigapixels", bad(LARGE, sides)
    yield "tiff of floats", bad(FORMAT, saved("TIFF", Image.new("F", (8, 8))))
    grey16, alpha = saved("TIFF", Image.new("I;16", (64, 48), 300)), saved("TIFF", Image.new("RGBA", (64, 48), (1, 2, 3, 4)))
    yield "tiff of 16-bit grey", good(grey16)
    yield "tiff of 16-bit grey, to be clipped", Case(grey16, kept=2, entry={"pictures.grey16": "clip"})
    yield "tiff with alpha", good(alpha)
    yield "tiff with alpha, to be dropped", Case(alpha, kept=2, entry={"pictures.alpha": "drop"})


def other_cases():
    yield "no bytes", Case(b"", skipped_any={HEADER: 1, "damaged.no_image": 1})
    for name, data in (("one byte", b"x"), ("text", b"this is no picture " * 100), ("a web page", b"<html>404</html>"),
                       ("svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), ("pdf", b"%PDF-1.7\n" + bytes(500)),
                       ("gzip", b"\x1f\x8b\x08" + bytes(100)), ("avif", b"\0\0\0\x20ftypavif" + bytes(200)),
                       ("heic", b"\0\0\0\x20ftypheic" + bytes(200)), ("jpeg 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(200)),
                       ("jpeg xl", b"\xff\x0a" + bytes(200)), ("ico", b"\0\0\1\0\1\0\x10\x10" + bytes(200)),
                       ("psd", b"8BPS\0\1" + bytes(200)), ("zeros", bytes(100_000)), ("noise", random.Random(9).randbytes(100_000))):
        yield name, bad(FORMAT, data)


def frame_cases():
    several = "filtered.several_frames"
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        moving = saved(kind, picture(), save_all=True, append_images=[picture().rotate(180)])
        yield f"{kind} of two frames", good(moving)
        yield f"{kind} of two frames, to be left out", bad(several, moving, entry={"pictures.frames": "skip"})
        yield f"{kind} of one frame, frames skip", Case(saved(kind), kept=2, entry={"pictures.frames": "skip"})


def exif_cases():
    # A directory of 65,535 tags that is not there, one whose values lie beyond the end, one that begins nowhere.
    for name, block in (("65,535 tags", b"II*\0\x08\0\0\0\xff\xff"), ("values beyond", b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\x7f\0\0\0\x7f\0\0\0"),
                        ("no beginning", b"II*\0\xff\xff\xff\xff"), ("no header", b"x" * 60000), ("nothing", b"")):
        for kind in ("JPEG", "PNG", "WEBP"):
            yield f"{kind} exif of {name}", Case(saved(kind, exif=b"Exif\0\0" + block), kept=2, entry={"pictures.exif": "apply"})
    texts = [png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(200 << 20), 9))] * 200
    yield "png of 200 profiles of 200 MiB", Case(png(before=texts), kept=2, entry={"pictures.exif": "apply"})


def cases():
    for source in (png_cases, jpeg_cases, webp_cases, gif_cases, bmp_cases, tiff_cases, frame_cases, exif_cases, other_cases):
        yield from source()
