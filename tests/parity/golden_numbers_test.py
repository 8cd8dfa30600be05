"""probe on the known golden net: the original's numbers for forward, loss and sampler; and what bad input ends in.

Standard library only: tensor files are written and read here."""
import json
import math
import os
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PROBE = os.path.join(os.environ["MICRODIT_BIN"], "probe")
MODEL = {"kind": "microdit", "input_size": 8, "patch_size": 2, "in_channels": 4, "dim": 64, "depth": 4, "head_dim": 16,
         "multiple_of": 32, "caption_channels": 24, "qkv_ratio": [0.5, 1.0], "mlp_ratio": [0.5, 4.0],
         "patch_mixer_depth": 2, "patch_mixer_dim": 32, "num_experts": 4, "expert_capacity": 2.0, "experts_every_n": 2}


def write(path, tensors):
    """{name: (shape, values)} as fp32 safetensors."""
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def read(path):
    with open(path, "rb") as file:
        raw = file.read()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + size + o for o in entry["data_offsets"])
            tensors[name] = struct.unpack(f"<{(end - begin) // 4}f", raw[begin:end])
    return tensors


def wave(function, step, *shape):
    return shape, [function(step * k) for k in range(math.prod(shape))]


def position_row(x, y, dim):
    quarter = dim // 4
    row = []
    for position in (x, y):
        angles = [position / 10000 ** (i / quarter) for i in range(quarter)]
        row += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    return row


def weights():
    with open(f"{HERE}/goldens/known_shapes.json") as file:
        shapes = json.load(file)
    tensors = {}
    for name, shape in shapes.items():
        count = math.prod(shape)
        one = 1 if "norm" in name else 0
        tensors[name] = shape, [one + 0.05 * math.cos(0.37 * k + count % 7) for k in range(count)]
    tensors["pos_embed"] = shapes["pos_embed"], [v for t in range(16) for v in position_row(t % 4, t // 4, 64)]
    tensors["mask_token"] = shapes["mask_token"], [0.0] * 16
    return tensors


class Case:
    def __init__(self, folder):
        self.folder = folder
        self.weights = weights()
        self.failures = 0
        self.config(MODEL)
        write(f"{folder}/w.safetensors", self.weights)

    def config(self, model):
        with open(f"{self.folder}/m.yaml", "w") as file:
            file.write("model: " + json.dumps(model) + "\n")

    def run(self, command, inputs, *words):
        write(f"{self.folder}/in.safetensors", inputs)
        out = f"{self.folder}/out.safetensors"
        if os.path.exists(out):
            os.remove(out)
        run = subprocess.run([PROBE, command, "--config", f"{self.folder}/m.yaml", "--weights", f"{self.folder}/w.safetensors",
                              "--input", f"{self.folder}/in.safetensors", "--output", out, *words], capture_output=True, text=True)
        return run, read(out) if os.path.exists(out) else {}

    def near(self, what, ours, expected, tolerance):
        if not abs(ours - expected) <= tolerance:
            self.failures += 1
            print(f"FAIL {what}: {ours} and not {expected} (+- {tolerance})")

    def refused(self, what, run, *words):
        if run.returncode != 2 or not all(word in run.stderr for word in words):
            self.failures += 1
            print(f"FAIL {what}: exit {run.returncode}, must be 2 and name {words}: {run.stderr}")


def numbers(case):
    x, text = wave(math.sin, 0.1, 2, 4, 8, 8), wave(math.cos, 0.05, 2, 7, 24)
    noise = wave(math.cos, 0.3, 2, 4, 8, 8)
    run, out = case.run("forward", {"x": x, "noise_label": ([2], [-0.4, 0.7]), "text": text})
    assert run.returncode == 0, run.stderr
    case.near("forward sum", sum(out["sample"]), -0.163674, 1e-4)
    case.near("forward sum|.|", sum(map(abs, out["sample"])), 27.063757, 1e-4)
    run, out = case.run("loss", {"x0": x, "text": text, "sigma": ([2], [0.3, 2.0]), "noise": noise}, "objective.sigma_data=0.9")
    assert run.returncode == 0, run.stderr
    case.near("EDM loss", out["loss"][0], 0.5577513, 2e-6)
    case.near("gradients", len(out), 1 + len(case.weights) - 2, 0)
    run, out = case.run("sample", {"x": x, "text": text}, "steps=5", "guidance=5", "objective.sigma_data=0.9")
    assert run.returncode == 0, run.stderr
    case.near("sampler sum|.|", sum(map(abs, out["sample"])), 573.38315, 5e-3)
    for ours, expected in zip(out["sample"], (0.03562, 0.12992, 0.41724, 0.50914)):
        case.near("sampler value", ours, expected, 2e-4)


def bad_input(case):
    x, text = wave(math.sin, 0.1, 2, 4, 8, 8), wave(math.cos, 0.05, 2, 7, 24)
    good = {"x": x, "noise_label": ([2], [-0.4, 0.7]), "text": text}
    case.refused("missing tensor", case.run("forward", {"x": x, "text": text})[0], "noise_label", "in.safetensors")
    case.refused("wrong shape", case.run("forward", {**good, "text": wave(math.cos, 0.05, 2, 7, 23)})[0], "text", "24")
    case.refused("no mask noise", case.run("forward", good, "mask_ratio=0.5")[0], "mask_noise")
    case.refused("unknown key", case.run("forward", good, "mask_ration=0.5")[0], "mask_ration", "mask_ratio")
    case.refused("unknown command", case.run("backward", good)[0], "forward")
    case.config({**MODEL, "dim": "wide"})
    case.refused("wrong type", case.run("forward", good)[0], "dim", "m.yaml")
    case.config({**MODEL, "dimension": 64})
    case.refused("unknown model key", case.run("forward", good)[0], "dimension")
    case.config(MODEL)
    changed = dict(case.weights)
    changed["blocks.9.norm1.weight"] = changed.pop("blocks.0.norm1.weight")
    write(f"{case.folder}/w.safetensors", changed)
    case.refused("other weights", case.run("forward", good)[0], "blocks.9.norm1.weight", "blocks.0.norm1.weight", "w.safetensors")


def main():
    if not os.path.exists(PROBE):
        print(f"skipped: {PROBE} is not built")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        case = Case(folder)
        numbers(case)
        bad_input(case)
        if case.failures:
            sys.exit(1)
    print("golden numbers and bad input: good")


if __name__ == "__main__":
    main()
