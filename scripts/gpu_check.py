"""The work of gpu_check.sh: every device path of the programs on the GPU against the CPU, then xl_2's speed."""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch

BIN = pathlib.Path(os.environ.get("MICRODIT_BIN", "build/bin"))
TOLERANCE = 2e-3  # TF32 is off in the programs; what is left is the order of sums
rows = []


def run(*words, check=True):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    if check and done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stderr[-2000:]}")
    return done


def save(path, tensors):
    """A safetensors file (little-endian, packed)."""
    names = {"float32": "F32", "uint8": "U8", "int64": "I64"}
    header, blobs, at = {}, [], 0
    for name, array in tensors.items():
        data = np.ascontiguousarray(array)
        header[name] = {"dtype": names[str(data.dtype)], "shape": list(data.shape), "data_offsets": [at, at + data.nbytes]}
        blobs.append(data.tobytes())
        at += data.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def load(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    out = {}
    for name, info in json.loads(data[8:8 + size]).items():
        if name == "__metadata__" or info["dtype"] != "F32":
            continue
        begin, end = info["data_offsets"]
        out[name] = np.frombuffer(data[8 + size + begin:8 + size + end], dtype=np.float32).reshape(info["shape"])
    return out


def worst(a, b):
    return max(float(np.linalg.norm(a[k] - b[k]) / max(np.linalg.norm(b[k]), 1e-12)) for k in b)


def on_both(name, devices, folder, *words):
    """Runs a probe on each device; the difference of all outputs goes into the table."""
    outputs = []
    for device in devices:
        path = folder / f"{name.replace(' ', '_')}_{device}.safetensors"
        run(BIN / "probe", *words, "--output", path, f"device={device}")
        outputs.append(load(path))
        if not all(np.isfinite(v).all() for v in outputs[-1].values()):
            sys.exit(f"{name} on {device}: not finite")
    rows.append((name, f"{worst(outputs[1], outputs[0]):.1e}" if len(outputs) > 1 else "CPU only"))


def correctness(devices, folder):
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    model = folder / "model.yaml"
    model.write_text("extends: %s\nmodel: {input_size: 8, in_channels: 4, caption_channels: 384}\n"
                     % pathlib.Path("configs/models/emoji.yaml").resolve())
    weights = folder / "weights.safetensors"
    train_steps(["cpu"], folder, steps=1)
    run(BIN / "convert", "--input", folder / "run_cpu", "--output", weights, "weights=raw")
    forward, loss, sample = (folder / f"{n}.safetensors" for n in ("forward", "loss", "sample"))
    save(forward, {"x": normal(4, 4, 8, 8), "noise_label": normal(4), "text": normal(4, 24, 384), "mask_noise": rng.random((4, 16), np.float32)})
    save(loss, {"x0": normal(4, 4, 8, 8), "text": normal(4, 24, 384), "sigma": np.exp(normal(4)), "noise": normal(4, 4, 8, 8),
                "mask_noise": rng.random((4, 16), np.float32)})
    save(sample, {"x": normal(2, 4, 8, 8), "text": normal(2, 24, 384)})
    net = ("--config", model, "--weights", weights)
    on_both("forward, mask .75", devices, folder, "forward", *net, "--input", forward, "mask_ratio=.75")
    on_both("loss and gradients, mask .75", devices, folder, "loss", *net, "--input", loss, "mask_ratio=.75")
    on_both("sampler, 18 steps", devices, folder, "sample", *net, "--input", sample, "steps=18", "guidance=4", "objective.sigma_data=.5")
    pixels, latents = folder / "pixels.safetensors", folder / "latents.safetensors"
    save(pixels, {"pixels": rng.integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)})
    save(latents, {"latents": normal(2, 4, 8, 8)})
    on_both("codec encode", devices, folder, "encode", "--codec", "assets/emoji_codec", "--input", pixels)
    on_both("codec decode", devices, folder, "decode", "--codec", "assets/emoji_codec", "--input", latents)
    captions = folder / "captions.jsonl"
    captions.write_text('"red heart"\n"a photograph of an astronaut riding a horse"\n')
    encoder = os.environ.get("MICRODIT_DATA", "data") + "/weights/all-MiniLM-L6-v2"
    on_both("text encoder", devices, folder, "encode_text", "--encoder", encoder, "--input", captions)


def train_steps(devices, folder, steps=20):
    losses = []
    for device in devices:
        run(BIN / "train", "--config", "configs/train/emoji.yaml", f"runs={folder}", f"name=run_{device}", f"steps={steps}",
            f"device={device}", "sampling.every_steps=0", "log_every_steps=1000")
        lines = (folder / f"run_{device}" / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    if steps > 1:
        different = max(abs(a - b) / abs(b) for a, b in zip(losses[-1], losses[0])) if len(losses) > 1 else None
        rows.append((f"{steps} training steps, loss", f"{different:.1e}" if different is not None else "CPU only"))
    for device in devices:
        if steps > 1:
            run("rm", "-r", folder / f"run_{device}")


def speed(folder):
    """xl_2 on random latents: images/s of the last steps and peak memory, at both ends of the recipe."""
    run(BIN / "loader_bench", "make", folder / "random", "4096")
    for size, mask, batch in ((256, 0.75, 256), (512, 0.0, 16)):
        name = f"xl_{size}"
        command = [BIN / "train", "--config", "configs/train/pretrain_256.yaml", f"data=[{{dataset: {folder}/random}}]", f"runs={folder}",
                   f"name={name}", "steps=12", f"size={size}", f"mask_ratio={mask}", f"batch_size={batch}", f"microbatch_size={batch}",
                   "sampling.every_steps=0", "checkpoint.every_steps=100000"]
        begun = time.time()
        done = run(*command, check=False)
        if done.returncode != 0:
            rows.append((f"xl_2 {size} px mask {mask}", done.stderr.strip().splitlines()[-1][:60]))
            continue
        times = [json.loads(line)["time"] for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
        rate = batch / statistics.median(b - a for a, b in zip(times[2:], times[3:]))
        flops = {256: 0.282e12, 512: 3.003e12}[size]
        rows.append((f"xl_2 {size} px mask {mask}", f"{rate:.0f} images/s, MFU {rate * flops / 989e12:.1%}, {time.time() - begun:.0f} s"))


def main():
    gpu = torch.cuda.is_available()
    devices = ["cpu", "cuda"] if gpu else ["cpu"]
    if not gpu:
        print("gpu_check: no GPU here; the CPU half only", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        correctness(devices, folder)
        train_steps(devices, folder)
        if gpu:
            speed(folder)
    width = max(len(r[0]) for r in rows)
    print("\n".join(f"| {a:<{width}} | {b} |" for a, b in rows))
    wrong = [r for r in rows if gpu and "e-" in r[1] and float(r[1]) > TOLERANCE]
    sys.exit(f"differs by more than {TOLERANCE}: {wrong}" if wrong else 0)


if __name__ == "__main__":
    main()
