"""safetensors files and checkpoints, written by a second hand: the format as its README says it, with the standard library alone."""
import ctypes
import hashlib
import json
import pathlib
import struct

xxhash = ctypes.CDLL("libxxhash.so.0")
xxhash.XXH3_64bits.restype = ctypes.c_uint64
xxhash.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def xxh3(data):
    return f"{xxhash.XXH3_64bits(data, len(data)):016x}"


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


def safetensors(tensors, metadata=None):
    """tensors: name -> (dtype, shape, bytes). Gives (file bytes, bytes before the data)."""
    header, at = ({"__metadata__": metadata} if metadata else {}), 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    head = struct.pack("<Q", len(text)) + text
    return head + b"".join(data for _, _, data in tensors.values()), len(head)


def read_safetensors(path):
    """name -> (dtype, shape, bytes), and the metadata."""
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    metadata = header.pop("__metadata__", {})
    body = data[8 + length:]
    return {name: (t["dtype"], t["shape"], body[slice(*t["data_offsets"])]) for name, t in header.items()}, metadata


def write_checkpoint(folder, step, tensors):
    """tensors: name -> (shape, values); each is cut in the middle over two shards."""
    path = pathlib.Path(folder) / f"step_{step:07d}"
    path.mkdir(parents=True)
    files, entries = [], {name: {"dtype": "F32", "shape": shape, "parts": []} for name, (shape, _) in tensors.items()}
    for rank in range(2):
        file, shard = f"shard_{rank:05d}_of_00002.safetensors", {}
        for name, (_, values) in tensors.items():
            middle = len(values) // 2
            begin, part = (0, values[:middle]) if rank == 0 else (middle, values[middle:])
            if part:
                shard[f"{name}@{begin}"] = ("F32", [len(part)], floats(part))
                entries[name]["parts"].append({"file": file, "begin": begin, "count": len(part), "xxh3": xxh3(floats(part))})
        data, head = safetensors(shard)
        (path / file).write_bytes(data)
        files.append({"file": file, "bytes": len(data), "header_bytes": head, "header_xxh3": xxh3(data[:head]),
                      "sha256": hashlib.sha256(data).hexdigest()})
    body = json.dumps({"format": "microdit checkpoint 1", "step": step, "state": {"step": step}, "files": files,
                       "tensors": entries}, indent=2)[:-2]
    (path / "manifest.json").write_text(f'{body},\n  "checksum": "{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n')
    return path


def flip_bit(path, byte, bit=0):
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)
