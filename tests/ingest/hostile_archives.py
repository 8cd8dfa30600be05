"""Archives that are broken, hostile or merely odd: name -> Case. Standard library only."""
import bz2
import gzip
import io
import lzma
import struct
import zipfile
import zlib

from hostile_case import GOOD_PICTURE, Case

MEMBERS = [("ok.png", GOOD_PICTURE), ("ok.txt", b"a good one")]
MIB = 1 << 20


def header(name, size, kind=b"0", link="", checksum=None):
    """One ustar header block; `size` may be bytes, to lie."""
    block = bytearray(512)
    block[:len(name)] = name
    block[100:108] = b"0000644\0"
    block[108:124] = b"0000000\x000000000\0"
    block[124:136] = size if isinstance(size, bytes) else b"%011o\0" % size
    block[136:148] = b"00000000000\0"
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[157:157 + len(link)] = link.encode()
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % (sum(block) if checksum is None else checksum)
    return bytes(block)


def member(name, data=b"", kind=b"0", link=""):
    name = name if isinstance(name, bytes) else name.encode()
    return header(name, len(data), kind, link) + data + b"\0" * (-len(data) % 512)


def tar(*more, good=True, end=True):
    blocks = [member(*m) for m in (MEMBERS if good else [])] + [m if isinstance(m, bytes) else member(*m) for m in more]
    return b"".join(blocks) + (b"\0" * 1024 if end else b"")


def pax(records, kind=b"x"):
    text = b""
    for key, value in records:
        body = b" " + key + b"=" + value + b"\n"
        length = len(body) + 1
        while len(b"%d" % length) + len(body) != length:
            length += 1
        text += b"%d" % length + body
    return member("pax", text, kind)


def sparse(name, real):
    """A GNU sparse member: one byte of data behind a hole of `real` - 1 bytes."""
    block = bytearray(header(name.encode(), 1, b"S"))
    block[386:410] = b"%011o\0%011o\0" % (real - 1, 1)
    block[483:495] = b"%011o\0" % real
    block[257:265] = b"ustar  \0"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + b"x" + b"\0" * 511


def zipped(members, method=zipfile.ZIP_DEFLATED, change=None, attributes=None):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            info.external_attr = (attributes or {}).get(name, 0o100644 << 16)
            archive.writestr(info, data)
    data = bytearray(out.getvalue())
    if change:
        change(data)
    return bytes(data)


def patch(name, where, value, central=True, local=True):
    """Overwrites bytes of a member's headers: `where` counts from the central header; local ones lie two bytes earlier."""
    def change(data):
        at = 0
        while (at := data.find(name.encode(), at)) >= 0:
            if data[at - 46:at - 42] == b"PK\1\2" and central:
                data[at - 46 + where:at - 46 + where + len(value)] = value
            elif data[at - 30:at - 26] == b"PK\3\4" and local:
                data[at - 30 + where - 2:at - 30 + where - 2 + len(value)] = value
            at += 1
    return change


def spoil(name, offset=5):
    """Flips a byte of a member's data."""
    def change(data):
        at = data.find(name.encode())
        data[at + len(name) + offset] ^= 0x55
    return change


def overlapping(count):
    """`count` central entries for one local member of 1 MiB of zeros."""
    packed = zlib.compress(bytes(MIB), 9)[2:-4]
    crc = zlib.crc32(bytes(MIB))
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 33, crc, len(packed), MIB, 5, 0) + b"a.txt" + packed
    central = b"".join(struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 8, 0, 33, crc, len(packed), MIB, 9, 0, 0, 0, 0,
                                   0o100644 << 16, 0) + b"%05d.txt" % i for i in range(count))
    return local + central + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(central), len(local), 0)


def plain_cases():
    whole = tar()
    yield "empty file", Case(b"", error="it is empty")
    yield "no archive", Case(b"q" * 4096, error="truncated or damaged")
    yield "cut inside a member", Case(tar(("big.txt", b"a" * 5000))[:len(whole) + 1000], error="truncated or damaged")
    yield "cut between members", Case(tar(end=False), error="end mark is missing")
    yield "cut inside a header", Case(whole[:700], error="truncated or damaged")
    yield "header checksum wrong", Case(tar(header(b"x.txt", 0, checksum=1), end=True), error="truncated or damaged")
    yield "size larger than the file", Case(tar(header(b"x.txt", b"77777777777\0")), error="truncated or damaged")
    yield "size negative", Case(tar(header(b"x.txt", b"\xff" * 12)), error="truncated or damaged")
    yield "extended header of 8 GiB", Case(tar(header(b"pax", b"77777777777\0", b"x")), error="truncated or damaged")
    yield "10,000 extended headers", Case(tar(*[pax([(b"comment", b"x")])] * 10_000, ("z.txt", b"z")), error="truncated or damaged")
    yield "garbage behind the end", Case(tar() + b"q" * 4096, error="truncated or damaged")
    yield "two archives in one", Case(tar() + tar(("two.png", GOOD_PICTURE), ("two.txt", b"two"), good=False), kept=2)
    yield "100,000 members nobody wants", Case(tar(*[header(b"x.npy", 0)] * 100_000), kept=1)
    for name in ("../x.txt", "a/../../x.txt", "/etc/x.txt", "a/..\\..\\x.txt", "\\x.txt"):
        yield f"name {name}", Case(tar((name, b"evil")), skipped={"damaged.name": 1})
    yield "name of 5,000 bytes", Case(tar(pax([(b"path", b"n" * 5000 + b".txt")]), ("x.txt", b"x")), skipped={"damaged.name": 1})
    yield "name not UTF-8", Case(tar((b"caf\xe9.txt", b"x")), skipped={"damaged.name": 1})
    for name, kind, reason in (("symbolic link", b"2", "link"), ("hard link", b"1", "link"), ("device", b"3", "special"),
                               ("block device", b"4", "special"), ("pipe", b"6", "special")):
        yield name, Case(tar(("x.png", b"", kind, "ok.png")), skipped={f"unsupported.{reason}": 1})
    yield "link to itself", Case(tar(("x.png", b"", b"2", "x.png")), skipped={"unsupported.link": 1})
    yield "eight holes of 250 MiB", Case(tar(*[sparse(f"s.{e}", 250 * MIB) for e in ("png", "txt", "jpg", "json")] * 2),
                                         skipped={"unsupported.oversize": 1, "damaged.duplicate_key": 1})
    yield "holes of 90 MiB", Case(tar(*[sparse(f"{i}.png", 90 * MIB) for i in range(8)]), error="decompression bomb")
    yield "1,000 members of one stem", Case(tar(*[(f"s.{i}", b"x") for i in range(1000)]), kept=1)
    yield "20 wanted members of one stem", Case(tar(*[(f"s.e{i}", b"x") for i in range(20)]),
                                                entry={"record.image": ["png"] + [f"e{i}" for i in range(20)]},
                                                skipped={"unsupported.many_members": 1})
    yield "what a Mac adds", Case(tar(("._ok.png", b"mac"), (".DS_Store", b"mac"), ("__MACOSX/._ok.png", b"mac"),
                                      ("__MACOSX/x.png", b"mac")), kept=1)
    yield "pictures first, then captions", Case(
        tar(*[(f"{i}.png", GOOD_PICTURE) for i in range(8)], *[(f"{i}.txt", b"x") for i in range(8)], good=False),
        error="sort it", skipped=None)
    yield "one name twice", Case(tar(*MEMBERS), skipped={"damaged.duplicate_key": 1})
    yield "nothing in it", Case(tar(good=False), error="nothing is left")
    yield "extensions in capitals", Case(tar(("x.PNG", GOOD_PICTURE), ("x.TXT", b"x")), kept=2)


def named_cases():
    whole = tar()
    for name, data, says in (("gzip", gzip.compress(whole), "archive: tgz"), ("zip", zipped(MEMBERS), "archive: zip"),
                             ("bzip2", bz2.compress(whole), "is bzip2"), ("xz", lzma.compress(whole), "is xz"),
                             ("zstd", b"\x28\xb5\x2f\xfd" + bytes(600), "is zstd"), ("7z", b"7z\xbc\xaf\x27\x1c" + bytes(600), "is 7z"),
                             ("rar", b"Rar!\x1a\x07\0" + bytes(600), "is rar"), ("HDF5", b"\x89HDF\r\n\x1a\n" + bytes(600), "is hdf5"),
                             ("Parquet", b"PAR1" + bytes(600), "is parquet"),
                             ("a web page", b"\n<!DOCTYPE html><html>sign in</html>", "web page"),
                             ("a Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS")):
        yield f"{name} called tar", Case(data, error=says)
    yield "tar called tgz", Case(whole, archive="tgz", error="archive: tar")
    yield "tar called zip", Case(whole, archive="zip", error="archive: tar")


def tgz_cases():
    whole = tar()
    yield "gzip of no tar", Case(gzip.compress(b"q" * 4096), archive="tgz", error="truncated or damaged")
    yield "gzip cut", Case(gzip.compress(whole)[:-30], archive="tgz", error="truncated or damaged")
    yield "gzip of a tar cut between members", Case(gzip.compress(tar(end=False)), archive="tgz", error="end mark")
    spoilt = bytearray(gzip.compress(tar(("x.txt", bytes(range(256)) * 100))))
    spoilt[len(spoilt) // 2] ^= 0xff
    yield "gzip spoilt inside", Case(bytes(spoilt), archive="tgz", error="truncated or damaged")
    yield "bomb in a wanted member", Case(gzip.compress(tar(("x.txt", bytes(90 * MIB)))), archive="tgz", error="decompression bomb")
    yield "bomb in an unwanted member", Case(gzip.compress(tar(("x.bin", bytes(200 * MIB)))), archive="tgz", error="decompression bomb")
    yield "gzip members one behind the other", Case(
        gzip.compress(whole) + gzip.compress(tar(("two.png", GOOD_PICTURE), ("two.txt", b"two"), good=False)), archive="tgz", kept=2)
    yield "trailing zeros behind gzip", Case(gzip.compress(whole) + bytes(4096), archive="tgz", kept=1)


def zip_cases():
    good = zipped(MEMBERS)
    yield "no zip", Case(b"PK\3\4" + b"q" * 4096, archive="zip", error="truncated or damaged")
    yield "zip cut", Case(zipped([*MEMBERS, ("x.txt", bytes(range(256)) * 50)])[:-300], archive="zip", error="truncated or damaged")
    yield "empty zip", Case(zipped([]), archive="zip", error="nothing is left")
    one = [("x.txt", b"some text of this record"), *MEMBERS]
    stored = zipfile.ZIP_STORED
    yield "one wrong CRC", Case(zipped(one, stored, spoil("x.txt")), archive="zip", skipped={"damaged.crc": 1})
    yield "one member spoilt", Case(zipped([("x.txt", bytes(range(256)) * 50), *MEMBERS], change=spoil("x.txt", 0)), archive="zip",
                                    skipped_any={"damaged.member": 1, "damaged.crc": 1})
    yield "encrypted", Case(zipped(one, change=patch("x.txt", 8, b"\1\0")), archive="zip", skipped={"unsupported.encrypted": 1})
    yield "unknown compression", Case(zipped(one, change=patch("x.txt", 10, b"\x61\0")), archive="zip",
                                      skipped={"unsupported.compression": 1})
    yield "member of 200 MiB of zeros", Case(zipped([("x.txt", bytes(200 * MIB)), *MEMBERS]), archive="zip",
                                             skipped={"unsupported.oversize": 1})
    yield "5,000 entries share one member", Case(overlapping(5000), archive="zip", error="nothing is left")
    yield "300 members of 1 MiB of zeros", Case(zipped([(f"{i}.txt", bytes(MIB)) for i in range(300)]), archive="zip",
                                                error="decompression bomb")
    yield "names in UTF-8", Case(zipped([("größe/東京.png", GOOD_PICTURE), ("größe/東京.txt", b"x")]), archive="zip", kept=1,
                                 env={"LC_ALL": "C"})
    yield "names in cp437", Case(zipped([("cafX.txt", b"x"), *MEMBERS], change=lambda d: d.__setitem__(
        slice(None), bytes(d).replace(b"cafX", b"caf\x82"))), archive="zip", skipped={"damaged.name": 1})
    yield "zip name ../", Case(zipped([("../x.txt", b"x"), *MEMBERS]), archive="zip", skipped={"damaged.name": 1})
    yield "zip name /", Case(zipped([("/x.txt", b"x"), *MEMBERS]), archive="zip", skipped={"damaged.name": 1})
    yield "zip link", Case(zipped([("x.txt", b"/etc/passwd"), *MEMBERS], attributes={"x.txt": 0o120777 << 16}), archive="zip",
                           skipped={"unsupported.link": 1})
    yield "count of entries lies", Case(good[:-12] + b"\xff\x7f" + good[-10:], archive="zip", kept_or_error="truncated or damaged")
    yield "directory beyond the end", Case(good[:-6] + b"\xff\xff\xff\x7f\0\0", archive="zip", kept_or_error="truncated or damaged")
    yield "size lies", Case(zipped(one, change=patch("x.txt", 24, b"\xff\xff\xff\x7f")), archive="zip",
                            skipped_any={"unsupported.oversize": 1, "damaged.member": 1, "damaged.crc": 1})
    yield "local and central header differ", Case(zipped(one, change=patch("x.txt", 20, b"\1\0\0\0", local=False)), archive="zip",
                                                  skipped_any={"damaged.member": 1, "damaged.crc": 1, "damaged.no_image": 1}, kept_or_error="truncated or damaged")
    yield "bytes before the zip", Case(b"#!/bin/sh\nexit\n" + good, archive="zip", kept_or_error="truncated or damaged")
    yield "50,000 entries nobody wants", Case(zipped([(f"{i}.npy", b"") for i in range(50_000)] + MEMBERS, stored), archive="zip", kept=1)
    yield "zip of a Mac", Case(zipped([*MEMBERS, ("__MACOSX/._ok.png", b"mac")]), archive="zip", kept=1)
    yield "200 members spoilt", Case(zipped([(f"{i}.txt", bytes(range(256)) * 20) for i in range(200)] + MEMBERS, change=lambda d: [
        spoil(f"{i}.txt", 0)(d) for i in range(200)]), archive="zip", skipped=None, kept_or_error="broken members")


def cases():
    for source in (plain_cases, named_cases, tgz_cases, zip_cases):
        yield from source()
