"""probe on the net of nano-diffusion's known golden numbers: forward, loss, every gradient's name, DDIM with its intermediates.

Standard library only: tensor files are written and read here."""
import json
import math
import os
import struct
import subprocess
import sys
import tempfile

PROBE = os.path.join(os.environ["MICRODIT_BIN"], "probe")
DIM, DEPTH, CHANNELS, CLASSES, PATCH = 64, 2, 16, 10, 2
SHAPE, T, CLASS = (2, CHANNELS, 4, 4), (37, 500), (3, 7)
# Of the original on the CPU: sum, sum of magnitudes, first and last row, loss, gradient norm.
KNOWN = {"layer": (134528, -1.837357, 101.394145, (.339557, .022233, .350281, .045846), (-.116338, -.237701, -.103546, -.248049), .5620371, .942099),
         "rms": (134336, -1.679185, 56.575943, (.20459, .002535, .209383, .023273), None, .5188444, .6604728)}
FORMATS = {"F32": "f", "I64": "q"}


def write(path, tensors):
    """{name: (dtype, shape, values)} as safetensors."""
    header, data = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        raw = struct.pack(f"<{len(values)}{FORMATS[dtype]}", *values)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def read(path):
    with open(path, "rb") as file:
        raw = file.read()
    size = struct.unpack("<Q", raw[:8])[0]
    tensors = {}
    for name, entry in json.loads(raw[8:8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + o for o in entry["data_offsets"])
            tensors[name] = struct.unpack(f"<{(end - begin) // 4}f", raw[begin:end])
    return tensors


def shapes(norm):
    def normed(prefix):
        return {f"{prefix}.normalization_layer.weight": (DIM,)} | ({f"{prefix}.normalization_layer.bias": (DIM,)} if norm == "layer" else {})

    def linear(prefix, rows, columns):
        return {f"{prefix}.weight": (rows, columns), f"{prefix}.bias": (rows,)}
    found = linear("patch_embedding.lin_projection", DIM, CHANNELS * PATCH**2)
    found |= {"adaln_single.layer_embeddings": (DEPTH, 6 * DIM), **linear("adaln_single.time_mlp.0", 6 * DIM, DIM)}
    found |= {"context_embedding.weight": (CLASSES, DIM)}
    for block in (f"dit_blocks.{i}" for i in range(DEPTH)):
        found |= normed(block) | {f"{block}.multi_head_attn.in_proj_weight": (3 * DIM, DIM), f"{block}.multi_head_attn.in_proj_bias": (3 * DIM,)}
        found |= linear(f"{block}.multi_head_attn.out_proj", DIM, DIM)
        found |= linear(f"{block}.feedforward.0", 4 * DIM, DIM) | linear(f"{block}.feedforward.2", DIM, 4 * DIM)
    return found | normed("reshaper") | linear("reshaper.lin_projection", CHANNELS * PATCH**2, DIM)


def weights(norm):
    """With the buffer, and the shared tensors under every block's name, as the original's state dict has them."""
    tensors = {}
    for name, shape in shapes(norm).items():
        count = math.prod(shape)
        one = 1 if name.endswith("normalization_layer.weight") else 0
        tensors[name] = "F32", shape, [one + 0.05 * math.cos(0.37 * k + count % 7) for k in range(count)]
    shared = {name: tensor for name, tensor in tensors.items() if name.startswith("adaln_single.")}
    for block in range(DEPTH):
        tensors |= {f"dit_blocks.{block}.{name}": tensor for name, tensor in shared.items()}
    half = DIM // 2
    tensors["time_embedding.omega"] = "F32", (half,), [10 ** (-4 * k / half) for k in range(half)]
    return tensors


def wave(function, step):
    return "F32", SHAPE, [function(step * k) for k in range(math.prod(SHAPE))]


class Case:
    def __init__(self, folder, norm):
        self.folder, self.norm, self.failures = folder, norm, 0
        write(f"{folder}/w.safetensors", weights(norm))
        with open(f"{folder}/m.yaml", "w") as file:
            file.write("model: " + json.dumps({"kind": "class_dit", "input_size": 4, "patch_size": PATCH, "in_channels": CHANNELS, "dim": DIM, "depth": DEPTH,
                                               "num_heads": 4, "num_classes": CLASSES, "norm": norm, "activation": "silu", "compat": "nano"}) + "\n")

    def run(self, command, inputs, *words):
        write(f"{self.folder}/in.safetensors", {**inputs, "class": ("I64", (2,), CLASS)})
        out = f"{self.folder}/out.safetensors"
        run = subprocess.run([PROBE, command, "--config", f"{self.folder}/m.yaml", "--weights", f"{self.folder}/w.safetensors", "--input",
                              f"{self.folder}/in.safetensors", "--output", out, *words], capture_output=True, text=True)
        if run.returncode != 0:
            raise SystemExit(f"probe {command} ended with {run.returncode}: {run.stderr}")
        return read(out)

    def near(self, what, ours, expected, tolerance):
        if not abs(ours - expected) <= tolerance:
            self.failures += 1
            print(f"FAIL {self.norm} {what}: {ours} and not {expected} (+- {tolerance})")

    def numbers(self):
        count, total, magnitude, first, last, loss, norm = KNOWN[self.norm]
        self.near("parameters", sum(math.prod(shape) for shape in shapes(self.norm).values()), count, 0)
        x, times = wave(math.sin, 0.1), ("F32", (2,), T)
        sample = self.run("forward", {"x": x, "noise_label": times})["sample"]
        self.near("sum", sum(sample), total, 1e-4)
        self.near("sum|.|", sum(map(abs, sample)), magnitude, 1e-4)
        for ours, expected in zip(sample, first):
            self.near("first row", ours, expected, 2e-6)
        for ours, expected in zip(sample[-4:], last or sample[-4:]):
            self.near("last row", ours, expected, 2e-6)
        out = self.run("loss", {"x0": x, "t": times, "noise": wave(math.cos, 0.3)}, "objective.path=vp_cosine", "objective.prediction=eps")
        self.near("loss", out.pop("loss")[0], loss, 1e-6)
        self.near("gradients", sorted(out) == sorted("grad." + name for name in shapes(self.norm)), True, 0)
        self.near("gradient norm", math.sqrt(sum(v * v for gradient in out.values() for v in gradient)), norm, 2e-6)

    def ddim(self):
        out = self.run("sample", {"x": wave(math.sin, 0.1)}, "objective.path=vp_cosine", "objective.prediction=eps", "sampler.rule=ddim",
                       "sampler.steps=5", "guidance=1")
        size = math.prod(SHAPE)
        self.near("intermediates", len(out["intermediates"]), 4 * size, 0)
        self.near("first intermediate sum|.|", sum(map(abs, out["intermediates"][:size])), 1101390.9, 110)
        self.near("sample sum|.|", sum(map(abs, out["sample"])), 1.04325544e7, 1000)
        for ours, expected in zip(out["sample"], (-10989.4, 2118.16, -5012.58, 7559.32)):
            self.near("sample", ours, expected, 2)


def main():
    if not os.path.exists(PROBE):
        print(f"skipped: {PROBE} is not built")
        sys.exit(77)
    failures = 0
    for norm in KNOWN:
        with tempfile.TemporaryDirectory() as folder:
            case = Case(folder, norm)
            case.numbers()
            if norm == "layer":
                case.ddim()
            failures += case.failures
    print("the known numbers of nano-diffusion: " + (f"{failures} wrong" if failures else "good"))
    sys.exit(1 if failures else 0)


main()
