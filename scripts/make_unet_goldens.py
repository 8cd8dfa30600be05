"""Runs diffusers' U-Nets on small cases and writes what came out.

.venv-oracles/bin/python scripts/make_unet_goldens.py
tests/parity/goldens/unet/: per net NAME.yaml (its config, as diffusers writes it, in our model section) and NAME.safetensors: inputs,
prediction, loss, and of every gradient its norm and its products with two fixed unit vectors (tests/parity/formulas.py); of all nets
names_and_shapes.json. The weights are a formula of name and shape, so that no file need hold them."""
import json
import math
import os
import sys

import torch
from safetensors.torch import save_file

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tests/parity")]
import unet_reference as reference
from formulas import digest, fill, wave

FOLDER = os.path.join(ROOT, "tests/parity/goldens/unet")
NETS = ("sd_odd_sizes", "text_and_classes", "classes_without_text", "ddpm", "plain_classes", "plain_without_attention")
TEXT_ROWS = 4


def weight(name, tensor):
    """formulas.fill, with all inputs of a convolution counted."""
    one = fill(name, tensor)
    return one * math.sqrt(tensor.shape[-1] * tensor.shape[0] / tensor.numel()) if tensor.dim() == 4 else one


def inputs(cfg, size, masked):
    batch = (3, cfg["in_channels"], *size)
    given = {"x_t": wave(batch, 0.1, 0.0).float(), "noise": (1.4 * wave(batch, 1.3, 0.5)).float(), "t": torch.tensor([0.0, 371.0, 999.0])}
    if "num_class_embeds" in cfg:
        given["class"] = torch.tensor([0, cfg["num_class_embeds"] - 1, cfg["num_class_embeds"] // 2])
    if reference.takes_text(cfg):
        given["text"] = wave((3, TEXT_ROWS, cfg["cross_attention_dim"]), 0.7, 0.2).float()
        if masked:
            given["text_mask"] = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1], [1, 0, 1, 0]], dtype=torch.uint8)
    return given


def run_net(name):
    cfg, size, masked = reference.NETS[name]
    net = reference.make_net(cfg)
    with torch.no_grad():
        for key, parameter in net.named_parameters():
            parameter.copy_(weight(key, parameter))
    out = inputs(cfg, size, masked)
    condition = {key: out[key].bool() if key == "text_mask" else out[key] for key in ("class", "text", "text_mask") if key in out}
    prediction = reference.forward(net, out["x_t"], out["t"].long(), condition)
    loss = torch.nn.functional.mse_loss(prediction, out["noise"])
    loss.backward()
    out |= {"sample": prediction.detach(), "loss": loss.detach()}
    out |= {f"digest.{key}": digest(parameter.grad) for key, parameter in net.named_parameters()}
    with open(f"{FOLDER}/{name}.yaml", "w") as file:
        config = {**json.loads(net.to_json_string()), **cfg}
        file.write("model:\n  kind: unet\n" + "".join(f"  {key}: {json.dumps(value)}\n" for key, value in config.items()))
    save_file({key: tensor.contiguous() for key, tensor in out.items()}, f"{FOLDER}/{name}.safetensors")
    os.chmod(f"{FOLDER}/{name}.safetensors", 0o644)
    return {key: list(tensor.shape) for key, tensor in net.state_dict().items()}


def main():
    torch.set_num_threads(1)
    os.makedirs(FOLDER, exist_ok=True)
    shapes = {name: run_net(name) for name in NETS}
    with open(f"{FOLDER}/names_and_shapes.json", "w") as file:
        file.write("{\n" + ",\n".join(f" {json.dumps(name)}: {json.dumps(one)}" for name, one in shapes.items()) + "\n}\n")


main()
