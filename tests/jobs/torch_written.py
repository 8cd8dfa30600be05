"""Files as torch.save writes them, of every kind that weights come in: name -> (object, options). Needs torch."""
import argparse
import collections
import datetime
import io
import zipfile

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


OBJECTS = {
    "dtypes": of_dtypes,
    "module": lambda: Net().state_dict(),
    "parameters": parameters,
    "views": views,
    "composer": composer,
    "around": around,
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
