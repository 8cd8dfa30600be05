#!/usr/bin/env python3
"""The Parquet files that the tests of tables read, made by pyarrow 26.0.1: good ones with what they hold (rows.jsonl), hostile ones.

  python3 tests/tables/data/make_parquet.py        (writes beside itself)
"""
import json
import math
import pathlib
import random

import pyarrow
import pyarrow.parquet as parquet

HERE = pathlib.Path(__file__).parent
ROWS = 300


def rows():
    draw = random.Random(11)
    for i in range(ROWS):
        yield {
            "part": i // 100 + 1, "name": f"{draw.getrandbits(64):016x}.png",
            "prompt": None if i % 7 == 3 else draw.choice(["a cat", "ein Bär", "猫 " * 30, ""]) + str(i % 5),
            "nsfw": [.2, .2001, 2.0, math.nan, None][i % 5], "score": [.1, -math.inf, 1e300, None, i / 3][i % 5],
            "safe": [True, False, None][i % 3], "big": [2**64 - 1, 2**63, 7, None][i % 4], "small": i % 200 - 100,
            "word": ["one", "two", "three"][draw.randrange(3)],
        }


def table_of(all_rows):
    types = {"part": pyarrow.int32(), "name": pyarrow.string(), "prompt": pyarrow.large_string(), "nsfw": pyarrow.float32(),
             "score": pyarrow.float64(), "safe": pyarrow.bool_(), "big": pyarrow.uint64(), "small": pyarrow.int8(),
             "word": pyarrow.string()}
    return pyarrow.table({name: pyarrow.array([row[name] for row in all_rows], kind) for name, kind in types.items()})


def expected(value):
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def good():
    all_rows = list(rows())
    with open(HERE / "rows.jsonl", "w", encoding="utf-8") as out:
        for row in all_rows:
            print(json.dumps({name: expected(value) for name, value in row.items()}, ensure_ascii=False), file=out)
    table = table_of(all_rows)
    for codec in ("none", "snappy", "zstd", "gzip", "lz4", "brotli"):
        parquet.write_table(table, HERE / f"{codec}.parquet", compression=codec, row_group_size=130, data_page_size=700,
                            write_page_checksum=codec == "zstd", data_page_version="2.0" if codec == "gzip" else "1.0")
    parquet.write_table(table, HERE / "delta.parquet", compression="zstd", use_dictionary=False,
                        column_encoding={"name": "DELTA_LENGTH_BYTE_ARRAY", "prompt": "DELTA_BYTE_ARRAY",
                                         "small": "DELTA_BINARY_PACKED", "score": "BYTE_STREAM_SPLIT"})


def hostile():
    one = pyarrow.table({"key": ["a", "b"], "text": ["x", "y"]})
    parquet.write_table(pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["key", "key"]),
                        HERE / "twice.parquet")
    parquet.write_table(pyarrow.table({"key": ["a"], "text": [["x", "y"]]}), HERE / "list.parquet")
    lists = [None if i % 5 == 0 else [f"{i} {j}" if j != 2 else None for j in range(i % 5 - 1)] for i in range(3000)]
    parquet.write_table(pyarrow.table({"key": [f"k{i}" for i in range(3000)], "text": pyarrow.array(lists, pyarrow.list_(pyarrow.string()))}),
                        HERE / "lists.parquet", row_group_size=1700, data_page_size=2000, write_batch_size=500)
    parquet.write_table(pyarrow.table({"key": pyarrow.array([b"a\xff", b"b"], pyarrow.binary()), "text": ["x", "y"]}),
                        HERE / "not_utf8.parquet")
    parquet.write_table(pyarrow.table({"key": ["a\0b"], "text": ["x"]}), HERE / "zero_byte.parquet")
    parquet.write_table(pyarrow.table({"key": ["a"], "text": ["x" * (200 << 20)]}), HERE / "zstd_bomb.parquet",
                        compression="zstd", use_dictionary=False, write_statistics=False)
    value = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 1_000_000, pyarrow.int32()), pyarrow.array(["y" * 900_000]))
    parquet.write_table(pyarrow.table({"key": pyarrow.array(["k"] * 1_000_000).dictionary_encode(), "text": value}),
                        HERE / "repeated_bomb.parquet", compression="zstd", write_statistics=False, store_schema=False)
    nested = pyarrow.array([1])
    for _ in range(60):
        nested = pyarrow.StructArray.from_arrays([nested], ["a"])
    parquet.write_table(pyarrow.table({"key": ["a"], "text": nested}), HERE / "deep.parquet")
    # An index beyond the dictionary: its last byte is four of the two-bit indices.
    words = pyarrow.table({"key": [f"k{i}" for i in range(64)], "text": ["abc"[i * 7 % 5 % 3] for i in range(64)]})
    parquet.write_table(words, HERE / "index.parquet", compression="none", write_statistics=False)
    column = parquet.read_metadata(HERE / "index.parquet").row_group(0).column(1)
    raw = bytearray((HERE / "index.parquet").read_bytes())
    raw[column.dictionary_page_offset + column.total_compressed_size - 1] = 0xFF
    (HERE / "index.parquet").write_bytes(raw)
    # A page that says it unpacks to almost 2 GiB.
    parquet.write_table(pyarrow.table({"key": ["a" * 50], "text": ["b" * 8191]}), HERE / "snappy_lie.parquet", compression="snappy",
                        use_dictionary=False, write_statistics=False)
    raw = bytearray((HERE / "snappy_lie.parquet").read_bytes())
    start = parquet.read_metadata(HERE / "snappy_lie.parquet").row_group(0).column(1).data_page_offset
    assert raw[start:start + 3] == b"\x15\x00\x15", raw[start:start + 8]  # page type; then the unpacked size, zigzag
    size = raw[start + 3:start + 6]
    assert size[0] & size[1] & 0x80 and not size[2] & 0x80, size
    raw[start + 3:start + 6] = b"\xfe\xff\x7f"  # 1 MiB that are not there
    (HERE / "snappy_lie.parquet").write_bytes(raw)
    parquet.write_table(one, HERE / "two.parquet", compression="none", use_dictionary=False, write_statistics=False)


if __name__ == "__main__":
    good()
    hostile()
    for path in sorted(HERE.iterdir()):
        print(path.stat().st_size, path.name)
