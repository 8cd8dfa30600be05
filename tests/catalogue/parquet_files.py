"""Parquet files as the Hugging Face hub has data sets of pictures: `image` {bytes, path}, a class, captions; and such that are wrong. Needs pyarrow."""
import io
import random
import struct
import zlib

import pyarrow
import pyarrow.parquet as parquet

import odd_pictures

IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def picture(seed, width=40, height=30):
    return odd_pictures.of_kind("png", f"parquet {seed}", width, height)


def heavy(seed, size, width=40, height=30):
    """A picture of about `size` bytes, most of them in a chunk that no decoder looks at and no codec makes smaller."""
    data = picture(seed, width, height)
    body = b"noIs" + random.Random(seed).randbytes(size)
    end = data.rindex(struct.pack(">I", 0) + b"IEND")
    return data[:end] + struct.pack(">I", size) + body + struct.pack(">I", zlib.crc32(body)) + data[end:]


def images(pictures, path="p{:04}.png"):
    return pyarrow.array([{"bytes": data, "path": path.format(i)} for i, data in enumerate(pictures)], IMAGE)


def table_of(pictures, **columns):
    return pyarrow.table({"image": images(pictures), **columns})


def written(table, **how):
    """The file's bytes; as the hub's have it, all pictures of a row group lie in one page."""
    out = io.BytesIO()
    parquet.write_table(table, out, **{"row_group_size": 100, **how})
    return out.getvalue()


def with_bad_text(texts, bad):
    """A column of strings, of which number `bad` is not UTF-8."""
    raw = [text.encode() for text in texts]
    raw[bad] = b"caf\xe9 \xff"
    as_bytes = pyarrow.array(raw, pyarrow.binary())
    return pyarrow.Array.from_buffers(pyarrow.string(), len(raw), as_bytes.buffers())


def encrypted(table, plain_footer):
    import pyarrow.parquet.encryption as encryption

    class Keys(encryption.KmsClient):
        def __init__(self, _):
            super().__init__()

        def wrap_key(self, key, _):
            return key

        def unwrap_key(self, key, _):
            return key

    factory = encryption.CryptoFactory(Keys)
    columns = [f"image.{name}" for name in ("bytes", "path")]
    rules = factory.file_encryption_properties(encryption.KmsConnectionConfig(), encryption.EncryptionConfiguration(
        footer_key="footer", column_keys={"column": columns}, plaintext_footer=plain_footer))
    out = io.BytesIO()
    with parquet.ParquetWriter(out, table.schema, encryption_properties=rules) as writer:
        writer.write_table(table)
    return out.getvalue()


def mutated(good, seed):
    """One of many wrong files of a good one: bytes changed, runs of them, lengths, cuts; the footer as often as all else."""
    draw = random.Random(f"mutated {seed}")
    data = bytearray(good)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for _ in range(draw.choice([1, 1, 2, 4, 16])):
        begin = draw.choice([footer, 0, 0])
        at = draw.randrange(begin, len(data) - (8 if draw.random() < .9 else 0))
        kind = draw.randrange(6)
        if kind == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[at] = draw.choice([0, 1, 0x7f, 0x80, 0xff])
        elif kind == 2:
            data[at:at + 4] = draw.randbytes(len(data[at:at + 4]))
        elif kind == 3:
            data[at:at + 5] = b"\xff\xff\xff\xff\x07"[:len(data[at:at + 5])]  # a large number of Thrift's
        elif kind == 4:
            length = draw.randrange(1, 64)
            other = draw.randrange(4, len(data) - 8)
            data[at:at + length] = data[other:other + len(data[at:at + length])]
        elif len(data) > 200:
            del data[at:at + draw.randrange(1, 40)]  # what follows lies elsewhere; the footer's own length is another
            footer = max(0, len(data) - 8 - int.from_bytes(data[-8:-4], "little"))
            footer = footer if footer < len(data) - 8 else 0
    return bytes(data)
