"""Random MicroDiT nets through `probe forward|loss|sample` and through the original; every tensor within 2e-5.

Needs MICRODIT_REFERENCE (a checkout of the original) and torch; skips without. Usage: [number of nets] [seed]."""
import json
import math
import os
import random
import subprocess
import sys
import tempfile

BAR = 2e-5
SAMPLE_BAR = 2e-4  # a chain of network calls


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


try:
    import torch
    from safetensors.torch import load_file, save_file
except ImportError as error:
    skip(f"no {error.name}")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import reference

if not reference.available():
    skip("MICRODIT_REFERENCE is not a checkout of the original")


def random_config(rng, index):
    head_dim = rng.choice([8, 16, 24, 32])
    dim = head_dim * rng.choice([2, 3, 4])
    depth = rng.randint(2, 5)
    return {
        "input_size": rng.choice([8, 12, 16]), "patch_size": rng.choice([2, 4]) if index % 3 else 2,
        "in_channels": rng.choice([3, 4, 16]), "dim": dim, "depth": depth, "head_dim": head_dim,
        "multiple_of": rng.choice([16, 32, 48]), "caption_channels": rng.choice([10, 24, 40]),
        "pos_interp_scale": rng.choice([1.0, 2.0, 1.5]), "norm_eps": rng.choice([1e-6, 1e-5]),
        "qkv_ratio": rng.choice([[0.5, 1.0], [1.0, 1.0], [0.7, 0.9]]),
        "mlp_ratio": rng.choice([[0.5, 4.0], [2.0, 3.0], [4.0, 4.0]]),
        "patch_mixer_depth": rng.randint(1, 4), "patch_mixer_dim": rng.choice([dim, head_dim, 2 * head_dim, 5 * head_dim]),
        "patch_mixer_qkv_ratio": rng.choice([1.0, 0.6]), "patch_mixer_mlp_ratio": rng.choice([1.0, 2.5, 4.0]),
        "num_experts": rng.choice([2, 4, 5, 8]), "expert_capacity": rng.choice([1.0, 1.5, 2.0]),
        "experts_every_n": rng.choice([1, 2, 3]),
    }


def fill(net, generator):
    """Weights of a trained net's size, so that no gradient vanishes because of a zero start."""
    for name, parameter in net.named_parameters():
        values = torch.randn(parameter.shape, generator=generator)
        is_norm = parameter.dim() == 1 and "bias" not in name
        parameter.data = 1 + 0.1 * values if is_norm else values * (0.1 if parameter.dim() == 1 else parameter.shape[-1] ** -0.5)
    net.mask_token.normal_(generator=generator)


def probe(command, folder, *words):
    run = subprocess.run(
        [os.path.join(os.environ["MICRODIT_BIN"], "probe"), command, "--config", f"{folder}/model.yaml", "--weights",
         f"{folder}/weights.safetensors", "--input", f"{folder}/in.safetensors", "--output", f"{folder}/out.safetensors",
         *words], capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"probe {command} {words} ended with {run.returncode}: {run.stderr}")
    return load_file(f"{folder}/out.safetensors")


def difference(ours, theirs):
    """The worst relative norm, and its tensor."""
    ours = {name: tensor for name, tensor in ours.items() if name != "intermediates"}  # a sampler's way, which the original does not tell
    assert ours.keys() == theirs.keys(), f"names differ: {sorted(ours.keys() ^ theirs.keys())}"
    worst = (0.0, "")
    for name, b in theirs.items():
        a, b = ours[name].double(), b.detach().double()
        assert a.shape == b.shape, f"{name}: {a.shape} and {b.shape}"
        norm = b.norm().item()
        if not (a.isfinite().all() and b.isfinite().all()):  # max() would pass over it
            return math.inf, name
        worst = max(worst, ((a - b).norm().item() / norm if norm else a.norm().item(), name))
    return worst


def compare(index, cfg, modules, folder, generator, sigma_scale):
    dit, utils, model = modules
    net = reference.make_dit(dit, cfg)
    fill(net, generator)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, f"{folder}/weights.safetensors")
    with open(f"{folder}/model.yaml", "w") as file:
        file.write("model: " + json.dumps({"kind": "microdit", **cfg}) + "\n")
    batch, rows = 3, 5 + index % 4
    side = cfg["input_size"]
    tokens = (side // cfg["patch_size"]) ** 2
    randn = lambda *shape: torch.randn(shape, generator=generator)
    x, noise = randn(batch, cfg["in_channels"], side, side), randn(batch, cfg["in_channels"], side, side)
    text, mask_noise = randn(batch, rows, cfg["caption_channels"]), torch.rand(batch, tokens, generator=generator)
    sigma = (randn(batch) * 1.2 - 0.6).exp() * sigma_scale
    results = {}
    for ratio in (0.0, 0.75, 0.5):
        words = [f"mask_ratio={ratio}"] if ratio else []
        label = sigma.log() / 4
        save_file({"x": x, "noise_label": label, "text": text, "mask_noise": mask_noise}, f"{folder}/in.safetensors")
        with reference.FixedMask(utils, dit, mask_noise), torch.no_grad():
            theirs = net(x, label, text.unsqueeze(1), mask_ratio=ratio)["sample"]
        results[f"forward {ratio}"] = difference(probe("forward", folder, *words), {"sample": theirs})
        save_file({"x0": 0.9 * x, "text": text, "sigma": sigma, "noise": noise, "mask_noise": mask_noise}, f"{folder}/in.safetensors")
        net.zero_grad()
        with reference.FixedMask(utils, dit, mask_noise):
            loss = reference.edm_loss(reference.edm(model, net, 0.9), 0.9 * x, text, sigma, noise, ratio)
        loss.backward()
        theirs = {"loss": loss, **{"grad." + n: p.grad for n, p in net.named_parameters() if p.grad is not None}}
        results[f"loss {ratio}"] = difference(probe("loss", folder, "objective.sigma_data=0.9", *words), theirs)
    save_file({"x": x, "text": text}, f"{folder}/in.safetensors")
    for cfg_scale in (1.0, 3.0):
        theirs = reference.edm(model, net, 0.5).edm_sampler_loop(x, text.unsqueeze(1), steps=4, cfg=cfg_scale)
        ours = probe("sample", folder, "steps=4", f"guidance={cfg_scale}", "objective.sigma_data=0.5")
        results[f"sample {cfg_scale}"] = difference(ours, {"sample": theirs})
    return results | compare_masked(net, modules, folder, generator, (x, noise, text, mask_noise, sigma))


def compare_masked(net, modules, folder, generator, given):
    """model.text_mask: every sample of a batch against the original on that sample's seen rows alone; none seen = zero rows."""
    dit, utils, model = modules
    x, noise, text, mask_noise, sigma = given
    seen = torch.rand(text.shape[:2], generator=generator) < 0.5
    seen[0], seen[1, -1] = False, True
    dirty = torch.where(seen[..., None], text, torch.tensor(float("nan")))
    rows = [text[b:b + 1, s] if s.any() else torch.zeros_like(text[b:b + 1]) for b, s in enumerate(seen)]
    one = [slice(b, b + 1) for b in range(len(x))]
    words = ["model.text_mask=true"]
    label, mask = sigma.log() / 4, seen.float()
    results = {}
    save_file({"x": x, "noise_label": label, "text": dirty, "text_mask": mask}, f"{folder}/in.safetensors")
    with torch.no_grad():
        theirs = torch.cat([net(x[b], label[b], rows[b.start].unsqueeze(1))["sample"] for b in one])
    results["forward, text mask"] = difference(probe("forward", folder, *words), {"sample": theirs})
    save_file({"x0": 0.9 * x, "text": dirty, "sigma": sigma, "noise": noise, "mask_noise": mask_noise, "text_mask": mask},
              f"{folder}/in.safetensors")
    net.zero_grad()
    losses = []
    for b in one:
        with reference.FixedMask(utils, dit, mask_noise[b]):
            losses.append(reference.edm_loss(reference.edm(model, net, 0.9), 0.9 * x[b], rows[b.start], sigma[b], noise[b], 0.5))
    loss = torch.stack(losses).mean()
    loss.backward()
    theirs = {"loss": loss, **{"grad." + n: p.grad for n, p in net.named_parameters() if p.grad is not None}}
    results["loss, text mask"] = difference(probe("loss", folder, "objective.sigma_data=0.9", "mask_ratio=0.5", *words), theirs)
    save_file({"x": x, "text": dirty, "text_mask": mask}, f"{folder}/in.safetensors")
    theirs = torch.cat([reference.edm(model, net, 0.5).edm_sampler_loop(x[b], rows[b.start].unsqueeze(1), steps=4, cfg=3.0)
                        for b in one])
    ours = probe("sample", folder, "steps=4", "guidance=3", "objective.sigma_data=0.5", *words)
    results["sample, text mask"] = difference(ours, {"sample": theirs})
    return results


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    modules = reference.load()
    torch.set_num_threads(1)
    failed = 0
    for index in range(count):
        rng = random.Random(1000 * seed + index)
        generator = torch.Generator().manual_seed(1000 * seed + index)
        cfg = random_config(rng, index)
        sigma_scale = [1.0, 1e-2, 20.0][index % 3]
        with tempfile.TemporaryDirectory() as folder:
            results = compare(index, cfg, modules, folder, generator, sigma_scale)
        for name, (worst, tensor) in results.items():
            bar = SAMPLE_BAR if name.startswith("sample") else BAR
            good = worst <= bar
            failed += not good
            print(f"net {index} (sigma x {sigma_scale:g}) {name:18s} worst {worst:.2e} {tensor}{'' if good else '   ABOVE ' + str(bar)}")
        if any(w > BAR for w, _ in results.values()):
            print(f"   {cfg}")
    sys.exit(1 if failed else 0)


main()
