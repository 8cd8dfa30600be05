"""Runs nano-diffusion's network, schedules and DDIM on small cases and writes what came out.

NANO_REFERENCE=<checkout of nano256/nano-diffusion> .venv-oracles/bin/python scripts/make_nano_goldens.py
tests/parity/goldens/class_dit/: per net NAME.yaml and NAME.safetensors: inputs, outputs, losses, and of every gradient its norm
and its products with two fixed unit vectors (weights: tests/parity/formulas.py). Of `whole` weights and gradients are there whole,
and DDIM's pictures. tests/diffusion/goldens/nano_schedules.{json,safetensors}: gamma, noised pictures, DDIM's times."""
import json
import os
import sys

import torch
from safetensors.torch import save_file

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tests/parity"), os.path.join(ROOT, "tests/diffusion")]
import nano_reference as reference
from formulas import digest, fill, wave

BASE = {"kind": "class_dit", "input_size": 8, "patch_size": 2, "in_channels": 4, "dim": 32, "depth": 2, "num_heads": 4,
        "num_classes": 10, "norm": "layer", "activation": "silu", "compat": "nano"}
LOSSES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
# name -> (changes, height x width where it is not input_size, path)
NETS = {
    "layer_silu": ({}, None, "vp_cosine"),
    "rms_gelu": ({"norm": "rms", "activation": "gelu", "dim": 24, "depth": 3, "num_heads": 3, "in_channels": 3, "input_size": 6,
                  "num_classes": 5}, None, "vp_sigmoid"),
    "rms_mish_patch_4": ({"norm": "rms", "activation": "mish", "dim": 20, "depth": 1, "num_heads": 2, "in_channels": 1,
                          "patch_size": 4, "num_classes": 1}, None, "vp_linear"),
    "layer_relu_patch_1": ({"activation": "relu", "dim": 36, "num_heads": 1, "in_channels": 16, "input_size": 3, "patch_size": 1,
                            "num_classes": 100}, None, "vp_cosine"),
    "rms_silu_wide": ({"norm": "rms", "num_heads": 8}, (4, 10), "vp_cosine"),
    "one_patch": ({"dim": 12, "num_heads": 3, "input_size": 2, "in_channels": 3}, None, "vp_linear"),
    "mended_layer": ({"compat": None}, None, "vp_cosine"),
    "mended_rms": ({"compat": None, "norm": "rms", "activation": "gelu"}, None, "vp_sigmoid"),
    "whole": ({"dim": 16, "num_heads": 2, "input_size": 4, "num_classes": 3, "norm": "rms"}, None, "vp_cosine"),
}
GAMMAS = [("vp_linear", {}), ("vp_cosine", {}), ("vp_sigmoid", {}), ("vp_linear", {"clip_min": 0.01}),
          ("vp_cosine", {"start": 0.0, "end": 1.0, "tau": 1.0}), ("vp_cosine", {"start": 0.0, "end": 0.9, "tau": 0.7}),
          ("vp_cosine", {"start": 0.3, "end": 1.0, "tau": 3.0, "clip_min": 1e-4}), ("vp_cosine", {"start": 0.1, "tau": 0.5}),
          ("vp_sigmoid", {"start": 0.0, "end": 3.0, "tau": 1.0}), ("vp_sigmoid", {"start": -3.0, "end": 3.0, "tau": 0.9}),
          ("vp_sigmoid", {"start": 0.5, "end": 2.0, "tau": 0.3, "clip_min": 1e-3})]
# (T, steps): the defaults, halves that round to even, few and many steps, and where fp32 and fp64 round differently.
GRIDS = [(1000, 50), (1000, 5), (1000, 17), (1000, 1), (1000, 2), (1000, 3), (1000, 250), (1000, 1001), (100, 10), (100, 25), (10, 11),
         (10, 25), (50, 45), (250, 53), (300, 281), (500, 105), (999, 43), (4000, 64)]


def save(tensors, path):
    save_file(tensors, path)
    os.chmod(path, 0o644)


def write_config(path, cfg, objective):
    def section(values):
        return "".join(f"  {key}: {json.dumps(value)}\n" for key, value in values.items() if value is not None)
    with open(path, "w") as file:
        file.write(f"model:\n{section(cfg)}objective:\n{section({'path': objective, 'prediction': 'eps'})}")


def loss_and_gradients(nano, net, schedule, given, loss_fn):
    net.zero_grad()
    loss = reference.loss(nano, net, schedule, given["x0"], given["class"], given["t"].long(), given["noise"], loss_fn)
    loss.backward()
    return loss.detach(), {name: parameter.grad.clone() for name, parameter in net.named_parameters()}


def run_net(nano, name, folder):
    changes, shape, path = NETS[name]
    cfg = {**BASE, **changes}
    net = reference.make_net(nano, cfg)
    with torch.no_grad():
        for key, parameter in net.named_parameters():
            parameter.copy_(fill(key, parameter))
    height, width = shape or (cfg["input_size"],) * 2
    batch = (3, cfg["in_channels"], height, width)
    given = {"x0": wave(batch, 0.1, 0.0).float(), "noise": (1.4 * wave(batch, 1.3, 0.5)).float(),
             "t": torch.tensor([0.0, 371.0, 1000.0]), "class": torch.tensor([0, cfg["num_classes"] - 1, cfg["num_classes"] // 2])}
    out = dict(given)
    with torch.no_grad():
        out["sample"] = net(given["x0"], given["t"].long(), given["class"])
        out["sample.one_time"] = net(given["x0"], torch.tensor(371), given["class"])  # as the sampler calls it
    schedule = reference.make_schedule(nano, path)
    out["x_t"] = schedule(given["x0"], given["t"].long(), given["noise"], return_noise=False)
    for loss_fn in LOSSES if name == "layer_silu" else LOSSES[:1]:
        tag = "" if loss_fn == "mse_loss" else loss_fn + "."
        loss, gradients = loss_and_gradients(nano, net, schedule, given, loss_fn)
        out[f"{tag}loss"] = loss
        out |= {f"{tag}digest.{key}": digest(gradient) for key, gradient in gradients.items()}
    if name == "whole":
        out |= {f"grad.{key}": gradient for key, gradient in gradients.items()}
        for sampled, steps in (("vp_linear", 10), ("vp_cosine", 5), ("vp_cosine", 1), ("vp_sigmoid", 8)):
            sample, between = reference.ddim(nano, net, reference.make_schedule(nano, sampled), given["noise"], given["class"], steps)
            out |= {f"ddim.{sampled}.{steps}.sample": sample, f"ddim.{sampled}.{steps}.intermediates": between}
        weights = {key: tensor.clone() for key, tensor in net.state_dict().items()}  # each alias under its name, too
        save(weights, f"{folder}/whole.weights.safetensors")
        out["rows"] = wave((3, 4, cfg["dim"]), 0.7, 0.2).float()  # a condition of several rows, as wide as the network
        out["sample.rows"] = reference.forward_rows(net, given["x0"], given["t"].long(), out["rows"])
    write_config(f"{folder}/{name}.yaml", cfg, path)
    save({key: tensor.contiguous() for key, tensor in out.items()}, f"{folder}/{name}.safetensors")


def schedules(nano):
    facts, out = {"gammas": [], "grids": [], "noised": []}, {}
    everywhere, some = torch.arange(1001), torch.arange(0, 1001, 25)
    for index, (path, keys) in enumerate(GAMMAS):
        steps = everywhere if not keys else some
        gamma = reference.make_schedule(nano, path, **keys).gamma_func(steps / 1000)
        assert gamma.isfinite().all(), (path, keys)
        facts["gammas"].append({"path": path, **keys, "times": "0..1000" if not keys else "0,25..1000", "tensor": f"gamma.{index}"})
        out[f"gamma.{index}"] = gamma
    for num_timesteps, steps in GRIDS:
        facts["grids"].append({"num_timesteps": num_timesteps, "steps": steps, "times": reference.grid(nano, steps, num_timesteps)})
    x, noise = wave((5, 2, 3, 3), 0.1, 0.0).float(), wave((5, 2, 3, 3), 1.3, 0.5).float()
    times = torch.tensor([0, 1, 137, 250, 999])
    out |= {"noised.x": x, "noised.noise": noise}
    for path, num_timesteps, factor in (("vp_linear", 1000, 1.0), ("vp_cosine", 1000, 0.4), ("vp_sigmoid", 1000, 0.8), ("vp_cosine", 1500, 1.0)):
        schedule = reference.make_schedule(nano, path, num_timesteps, scale_factor=factor)
        name = f"noised.{len(facts['noised'])}"
        facts["noised"].append({"path": path, "num_timesteps": num_timesteps, "scale_factor": factor, "times": times.tolist(), "tensor": name})
        out[name] = schedule(x, times, noise, return_noise=False)
    folder = os.path.join(ROOT, "tests/diffusion/goldens")
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/nano_schedules.json", "w") as file:
        lines = {key: ",\n".join("  " + json.dumps(row) for row in rows) for key, rows in facts.items()}
        file.write("{\n" + ",\n".join(f'"{key}": [\n{rows}\n]' for key, rows in lines.items()) + "\n}\n")
    save(out, f"{folder}/nano_schedules.safetensors")


def main():
    if not reference.available():
        raise SystemExit("NANO_REFERENCE must be a checkout of nano256/nano-diffusion (diffusion/noise_schedulers.py in it)")
    torch.set_num_threads(1)
    nano = reference.load()
    folder = os.path.join(ROOT, "tests/parity/goldens/class_dit")
    os.makedirs(folder, exist_ok=True)
    for name in NETS:
        run_net(nano, name, folder)
    schedules(nano)


main()
