"""Files as torch.save writes them, of every kind that weights come in: name -> (object, options). Needs torch."""
import argparse
import collections
import datetime
import io
import pathlib
import struct
import zipfile
import zlib

import numpy
import torch

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
          torch.bool, torch.uint16, torch.uint32, torch.uint64]


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(5, 3)
        self.norm = torch.nn.BatchNorm1d(3)
        self.tied = torch.nn.Linear(5, 3)
        self.tied.weight = self.linear.weight


def of_dtypes():
    state = {}
    for dtype in DTYPES:
        values = torch.randint(0, 2 if dtype == torch.bool else 100, (2, 3))
        state[str(dtype)[6:]] = values.to(dtype)
    return state


def views():
    base = torch.randn(6, 8)
    return {"base": base, "transposed": base.t(), "rows": base[2:4], "columns": base[:, 1:5], "steps": base[::2, ::3],
            "expanded": torch.randn(1, 4).expand(3, 4), "diagonal": base.diagonal(), "same": base, "scalar": base[1, 1],
            "permuted": torch.randn(2, 3, 4).permute(2, 0, 1), "unfolded": torch.randn(10).unfold(0, 4, 2),
            "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)}


def parameters():
    attributed = torch.nn.Parameter(torch.randn(3))
    attributed.tag = "of mine"
    tensor = torch.randn(2)
    tensor.note = 3
    return {"plain": torch.nn.Parameter(torch.randn(2, 2)), "frozen": torch.nn.Parameter(torch.randn(2), requires_grad=False),
            "attributed": attributed, "tensor": tensor, "buffer": torch.nn.Buffer(torch.randn(4))}


def composer():
    net = Net()
    model = collections.OrderedDict((f"dit.{name}", value) for name, value in net.state_dict().items())
    model["vae.decoder.weight"] = torch.randn(4)
    model["text_encoder.weight"] = torch.randn(4)
    optimizer = torch.optim.AdamW(net.parameters())
    net.linear(torch.randn(2, 5)).sum().backward()
    optimizer.step()
    return {"state": {"model": model, "optimizers": {"AdamW": optimizer.state_dict()}, "run_name": "one", "timestamp": {
        "epoch": 3, "total_wct": datetime.timedelta(seconds=3)}}, "rng": [{"python": (3, tuple(range(625)), None),
        "numpy": numpy.random.RandomState(1).get_state(), "torch": torch.get_rng_state()}]}


def around():
    return {"args": argparse.Namespace(lr=0.1, size=[1, 2]), "when": datetime.date(2020, 1, 2), "scalar": numpy.float64(2.5),
            "array": numpy.arange(3), "size": torch.Size([2, 3]), "device": torch.device("cpu"), "dtype": torch.float16, "none": None,
            "big": 2 ** 200, "negative": -5, "real": 1.5, "set": {1, 2}, "bytes": b"abc", "weights": torch.randn(3)}


Pair = collections.namedtuple("Pair", "left right")


def extras():
    return {"float32": numpy.float32(1.5), "int64": numpy.int64(3), "bool": numpy.bool_(True), "complex": 1 + 2j, "range": range(3),
            "frozen": frozenset({"a", 2}), "counter": collections.Counter("aab"), "path": pathlib.PurePosixPath("/a/b"), "size": torch.Size([4]),
            "storage_of_one": torch.randn(7)[3:5], "ordered": collections.OrderedDict(a=torch.randn(1)), "text": "é" * 300, "long": -2 ** 90,
            "deep": [[[[[[torch.arange(2)]]]]]], "keys": {0: torch.ones(1), 1: torch.zeros(2)}, "pair": Pair(1, 2),
            "weights": torch.randn(2, 2)}


OBJECTS = {
    "dtypes": of_dtypes,
    "module": lambda: Net().state_dict(),
    "parameters": parameters,
    "views": views,
    "composer": composer,
    "around": around,
    "extras": extras,
    "lists": lambda: [torch.randn(2), (torch.randn(3), [torch.arange(4)]), {"a": torch.ones(1)}],
    "empty_ones": lambda: {"none": torch.zeros(0), "rows": torch.zeros(3, 0, 2), "scalar": torch.tensor(2.5), "one": torch.ones(1)},
    "no_tensor": lambda: {"epoch": 3, "weights": torch.ones(2)},
    "names": lambda: {"é日本": torch.ones(1), "with space": torch.ones(2), "a/b": torch.ones(3), "": torch.ones(4), "x" * 300: torch.ones(5)},
    "default": lambda: collections.defaultdict(dict, {"a": {"b": torch.randn(2)}}),
    "bare": lambda: torch.randn(4, 4),
    "many": lambda: {f"blocks.{i}.weight": torch.full((1,), float(i)) for i in range(3000)},
    "special": lambda: {"values": torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 1e-45])},
    "optimizer": lambda: {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.randn(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
}


def saved(value, **options):
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


def as_torch_1(data):
    """The same as torch 1.6 to 1.13 laid it out: other folder, no byteorder and no marks; sizes in the local headers."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        for info in old.infolist():
            inside = info.filename.split("/", 1)[1]
            if inside in ("data.pkl", "version") or inside.startswith("data/"):
                new.writestr(f"archive/{inside}", old.read(info))
    return out.getvalue()


def files():
    """name -> (bytes, the object torch.load gives)."""
    torch.manual_seed(1)
    made = {}
    for name, make in OBJECTS.items():
        value = make()
        made[f"{name}.pt"] = saved(value), value
        made[f"{name}_legacy.pt"] = saved(value, _use_new_zipfile_serialization=False), value
        made[f"{name}_torch_1.pt"] = as_torch_1(saved(value)), value
    for protocol in (1, 3, 4, 5):
        for name in ("module", "composer", "dtypes"):
            value = OBJECTS[name]()
            made[f"{name}_{protocol}.pt"] = saved(value, pickle_protocol=protocol), value
            made[f"{name}_{protocol}_legacy.bin"] = saved(value, pickle_protocol=protocol, _use_new_zipfile_serialization=False), value
    torch.serialization.set_crc32_options(False)
    value = OBJECTS["views"]()
    made["without_checksums.ckpt"] = saved(value), value
    torch.serialization.set_crc32_options(True)
    return made


def zip64(path, wanted, hole_bytes):
    """A state dict of a storage of `hole_bytes` zeros, a hole in the file, and behind it the floats `wanted`; as torch lays out what is
    larger than 4 GiB, without checksums."""
    small = io.BytesIO()
    torch.save({"vae.large": torch.zeros(1), "dit.w": wanted}, small)
    with zipfile.ZipFile(small) as made:
        records = {info.filename.split("/", 1)[1]: made.read(info) for info in made.infolist()}
    # The first tensor's count, size and stride in the pickle: K\1 (one byte) becomes a 4-byte number.
    large = b"J" + struct.pack("<i", hole_bytes // 4)
    body = records["data.pkl"].replace(b"K\x01tq", large + b"tq", 1)
    body = body.replace(b"QK\x00K\x01\x85", b"QK\x00" + large + b"\x85", 1)
    directory = b""
    with open(path, "wb") as out:
        for name, data, size in (("data.pkl", body, len(body)), ("data/0", b"", hole_bytes), ("data/1", records["data/1"], len(records["data/1"])),
                                 ("version", b"3\n", 2)):
            full, begin, crc = f"archive/{name}".encode(), out.tell(), zlib.crc32(data) if data else 0
            wide = size >= 0xffffffff
            sizes = struct.pack("<IQQ", 0, size, size)[4:] if wide else b""
            local = struct.pack("<HHQQ", 1, 16, size, size) if wide else b""
            fields = struct.pack("<HHHHIII", 0x800, 0, 0, 0x21, crc, *([0xffffffff] * 2 if wide else [size] * 2))
            out.write(b"PK\3\4" + struct.pack("<H", 45) + fields + struct.pack("<HH", len(full), len(local)) + full + local)
            out.write(data)
            out.seek(out.tell() + size - len(data))
            sizes += struct.pack("<Q", begin) if begin >= 0xffffffff else b""
            extra = struct.pack("<HH", 1, len(sizes)) + sizes if sizes else b""
            directory += b"PK\1\2" + struct.pack("<HH", 45, 45) + fields + struct.pack("<HHHHHII", len(full), len(extra), 0, 0, 0, 0,
                                                                                    min(begin, 0xffffffff)) + full + extra
        place = out.tell()
        out.write(directory + b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 4, 4, len(directory), place))
        out.write(b"PK\6\7" + struct.pack("<IQI", 0, place + len(directory), 1))
        out.write(b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 4, 4, len(directory), 0xffffffff, 0))


def flat(value, name=""):
    """What a file holds, by the names that microdit gives: path -> tensor."""
    if isinstance(value, torch.Tensor):
        return {name or "tensor": value}
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        return {}
    found = {}
    for key, inner in items:
        found.update(flat(inner, f"{name}.{key}" if name else str(key)))
    return found


def raw(tensor):
    """Its bytes, row-major."""
    tensor = tensor.detach().clone(memory_format=torch.contiguous_format)
    return bytes(tensor.reshape(-1).view(torch.uint8).numpy()) if tensor.numel() else b""
