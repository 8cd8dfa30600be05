"""A writer of MDS folders for tests that need more than the committed ones; what it writes, mosaicml-streaming reads."""
import json
import pathlib
import struct


def write_mds(folder, columns, samples, per_shard):
    """columns: name -> encoding, all of variable size; samples: dictionaries of bytes."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    names, shards = sorted(columns), []
    header = {"column_names": names, "column_encodings": [columns[name] for name in names], "column_sizes": [None] * len(names),
              "compression": None, "format": "mds", "hashes": [], "size_limit": 1 << 26, "version": 2}
    text = json.dumps(header, sort_keys=True).encode()
    for first in range(0, len(samples), per_shard):
        rows = [struct.pack(f"<{len(names)}I", *(len(row[name]) for name in names)) + b"".join(row[name] for name in names)
                for row in samples[first:first + per_shard]]
        offsets = [4 + 4 * (len(rows) + 1) + len(text)]
        for row in rows:
            offsets.append(offsets[-1] + len(row))
        data = struct.pack(f"<I{len(offsets)}I", len(rows), *offsets) + text + b"".join(rows)
        name = f"shard.{len(shards):05d}.mds"
        (folder / name).write_bytes(data)
        shards.append({**header, "samples": len(rows), "raw_data": {"basename": name, "bytes": len(data), "hashes": {}}, "zip_data": None})
    (folder / "index.json").write_text(json.dumps({"shards": shards, "version": 2}, sort_keys=True))
