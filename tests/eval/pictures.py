"""PNG files taken apart, with the standard library alone."""
import struct
import zlib


def chunks(png):
    """[(type, data)] of a PNG; its checksums must hold."""
    at, found = 8, []
    while at < len(png):
        (length,) = struct.unpack(">I", png[at:at + 4])
        kind, data = png[at + 4:at + 8], png[at + 8:at + 8 + length]
        assert zlib.crc32(kind + data) == struct.unpack(">I", png[at + 8 + length:at + 12 + length])[0], "a broken chunk"
        found.append((kind.decode(), data))
        at += 12 + length
    return found


def texts(png):
    """Keyword -> text of the tEXt and iTXt chunks."""
    found = {}
    for kind, data in chunks(png):
        if kind == "tEXt":
            key, text = data.split(b"\0", 1)
            found[key.decode()] = text.decode("latin-1")
        elif kind == "iTXt":
            key, rest = data.split(b"\0", 1)
            text = rest[2:].split(b"\0", 2)[2]
            found[key.decode()] = (zlib.decompress(text) if rest[0] else text).decode()
    return found


def pixels(png):
    """(width, height, RGB bytes) of an 8-bit truecolour PNG without interlace."""
    parts = chunks(png)
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", parts[0][1])
    assert (depth, colour, interlace) == (8, 2, 0), parts[0]
    raw = zlib.decompress(b"".join(data for kind, data in parts if kind == "IDAT"))
    stride, out, above = 3 * width, bytearray(), bytes(3 * width)
    for row in range(height):
        rule, line = raw[row * (stride + 1)], bytearray(raw[row * (stride + 1) + 1:(row + 1) * (stride + 1)])
        for i in range(stride):
            left, up = (line[i - 3] if i >= 3 else 0), above[i]
            corner = above[i - 3] if i >= 3 else 0
            if rule == 4:
                p = left + up - corner
                guess = min((abs(p - left), 0, left), (abs(p - up), 1, up), (abs(p - corner), 2, corner))[2]
            else:
                guess = (0, left, up, (left + up) // 2)[rule]
            line[i] = (line[i] + guess) & 255
        out += line
        above = bytes(line)
    return width, height, bytes(out)


def distance(picture, grid, left, top, factor):
    """The largest difference of a picture's pixels from those at (left, top) of a grid that shows it `factor` times as large."""
    width, height, small = picture
    grid_width, _, large = grid
    worst = 0
    for y in range(height):
        for x in range(width):
            at = 3 * ((top + factor * y) * grid_width + left + factor * x)
            here = 3 * (y * width + x)
            for c in range(3):
                worst = max(worst, abs(small[here + c] - large[at + c]))
                if worst > 64:
                    return worst
    return worst
