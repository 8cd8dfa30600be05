"""Runs the original MicroDiT on a few small nets and writes what came out to tests/parity/goldens/.

MICRODIT_REFERENCE=<checkout of the original> .venv-oracles/bin/python scripts/make_goldens.py
Per net: NAME.yaml (its `model:` section) and NAME.safetensors: the outputs whole, the loss, and of every gradient its
norm and its products with two fixed unit vectors. Weights and inputs are formulas (tests/parity/formulas.py)."""
import json
import os
import sys

import torch
from safetensors.torch import save_file

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests/parity"))
import reference
from formulas import digest, fill, wave

BASE = {"kind": "microdit", "input_size": 8, "patch_size": 2, "in_channels": 4, "dim": 48, "depth": 3, "head_dim": 16,
        "multiple_of": 32, "caption_channels": 20, "pos_interp_scale": 1.0, "norm_eps": 1e-6, "qkv_ratio": [0.5, 1.0],
        "mlp_ratio": [0.5, 4.0], "patch_mixer_depth": 2, "patch_mixer_dim": 32, "patch_mixer_qkv_ratio": 1.0,
        "patch_mixer_mlp_ratio": 4.0, "num_experts": 4, "expert_capacity": 2.0, "experts_every_n": 2}
NETS = {
    "same_width": {"patch_mixer_dim": 48},
    "every_block_experts": {"experts_every_n": 1, "num_experts": 8, "expert_capacity": 1.5, "depth": 4},
    "channels_16_interpolated": {"in_channels": 16, "pos_interp_scale": 2.0, "input_size": 16, "patch_size": 4},
    "thin_and_sparse": {"head_dim": 12, "experts_every_n": 3, "patch_mixer_depth": 3, "patch_mixer_qkv_ratio": 0.6,
                        "patch_mixer_dim": 60, "qkv_ratio": [0.7, 0.9]},
}
BATCH, ROWS, SIGMA_DATA = 2, 5, 0.6
# The net of the known golden numbers (tests/parity/golden_numbers_test.py): only its names and shapes are kept.
KNOWN = {**BASE, "dim": 64, "depth": 4, "caption_channels": 24}


def run(modules, cfg):
    dit, utils, model = modules
    net = reference.make_dit(dit, cfg)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(fill(name, parameter))
        net.mask_token.copy_(fill("mask_token", net.mask_token))
    side, tokens = cfg["input_size"], (cfg["input_size"] // cfg["patch_size"]) ** 2
    shape = (BATCH, cfg["in_channels"], side, side)
    x0, noise = wave(shape, 0.1, 0.0).float(), (1.4 * wave(shape, 1.3, 0.5)).float()
    text = wave((BATCH, ROWS, cfg["caption_channels"]), 0.7, 0.2).float()
    mask_noise, sigma = (0.5 + 0.5 * wave((BATCH, tokens), 2.1, 0.3)).float(), torch.tensor([0.3, 2.0])
    out = {}
    for tag, ratio in (("full", 0.0), ("masked", 0.75)):
        net.zero_grad()
        with reference.FixedMask(utils, dit, mask_noise):
            with torch.no_grad():
                out[f"{tag}.sample"] = net(x0, sigma.log() / 4, text.unsqueeze(1), mask_ratio=ratio)["sample"]
            loss = reference.edm_loss(reference.edm(model, net, SIGMA_DATA), x0, text, sigma, noise, ratio)
        loss.backward()
        out[f"{tag}.loss"] = loss.detach()
        for name, parameter in net.named_parameters():
            out[f"{tag}.digest.{name}"] = digest(parameter.grad)
    return out


def main():
    if not reference.available():
        raise SystemExit("MICRODIT_REFERENCE must be a checkout of the original (micro_diffusion/models/dit.py in it)")
    torch.set_num_threads(1)
    modules = reference.load()
    folder = os.path.join(ROOT, "tests/parity/goldens")
    os.makedirs(folder, exist_ok=True)
    for name, changes in NETS.items():
        cfg = {**BASE, **changes}
        with open(f"{folder}/{name}.yaml", "w") as file:
            file.write("model:\n" + "".join(f"  {key}: {json.dumps(value)}\n" for key, value in cfg.items()))
        save_file(run(modules, cfg), f"{folder}/{name}.safetensors")
        os.chmod(f"{folder}/{name}.safetensors", 0o644)
    net = reference.make_dit(modules[0], KNOWN)
    with open(f"{folder}/known_shapes.json", "w") as file:
        shapes = {name: list(t.shape) for name, t in net.state_dict().items()}
        file.write("{\n" + ",\n".join(f'"{n}": {json.dumps(s)}' for n, s in sorted(shapes.items())) + "\n}\n")


main()
