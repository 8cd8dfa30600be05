"""The original's PyTorch code beside ours: equal numbers, then speed in turn (ours, theirs, ours).

The code itself is not part of this project: MICRODIT_REFERENCE names a checkout of it. `original.py train ...` is the process that
trains it, started by itself so that its memory is free again afterwards."""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import types

import torch

HERE = pathlib.Path(__file__).resolve().parent
for place in (HERE, HERE.parents[1] / "tests/parity"):
    if (place / "reference.py").exists():
        sys.path.insert(0, str(place))

from runner import OUT_OF_MEMORY, difference, load
from speed import BATCH, make_latents, measure_largest, text
from verdict import Bar, Failure

EQUAL = [Bar("forward, mask .75, ours against the original", most=2e-3), Bar("loss, mask .75, ours against the original", most=2e-3),
         Bar("gradients, worst tensor, ours against the original", most=5e-3)]
EQUAL_CPU = [Bar(bar.name, most=2e-5) for bar in EQUAL]
SPEED = [Bar("ours, first", least=0, above=True, unit="images/s"), Bar("the original, compiled", least=0, above=True, unit="images/s"),
         Bar("ours, again", least=0, above=True, unit="images/s"), Bar("ours ÷ the original, compiled", least=0, above=True),
         Bar("spread of ours", most=0.1, note="|first − again| ÷ mean; above it the machine was not quiet")]
SPEED_CPU = [Bar("demonstration's net: ours, first", least=0, above=True, unit="images/s"),
             Bar("demonstration's net: the original, eager", least=0, above=True, unit="images/s"),
             Bar("demonstration's net: ours, again", least=0, above=True, unit="images/s"),
             Bar("demonstration's net: ours ÷ the original, eager", least=0, above=True)]


def need():
    import reference
    if not reference.available():
        raise Failure("MICRODIT_REFERENCE is not a checkout of the original (a folder with micro_diffusion/models/dit.py)")
    return reference


def model_section(path):
    """The `model:` section of one of our model files: flat `key: value` lines (no YAML reader is needed for them)."""
    section = {}
    for line in path.read_text().splitlines():
        if line.startswith("  ") and ":" in line:
            key, value = line.split("#")[0].strip().split(":", 1)
            value = value.strip()
            section[key] = value if value[:1].isalpha() else json.loads(value)
    return section


def equal_rows(report, bars, parts, device):
    """The same weights and inputs through both, in fp32."""
    reference = need()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    dit, utils, model = reference.load()
    inputs = parts.inputs
    section = model_section(pathlib.Path(inputs.config.read_text().split()[1]))
    net = reference.make_dit(dit, {**section, "input_size": 8, "in_channels": 4, "caption_channels": 384}).to(device)
    net.load_state_dict({name: tensor.float().to(device) for name, tensor in load(inputs.weights).items()})
    read = lambda name: {key: tensor.float().to(device) for key, tensor in load(inputs.folder / name).items()}
    given = read("forward.in")
    with reference.FixedMask(utils, dit, given["mask_noise"]), torch.no_grad():
        theirs = net(given["x"], given["noise_label"], given["text"].unsqueeze(1), mask_ratio=0.75)["sample"]
    report.add(bars[0].name, difference(parts.probe("forward", device, "mask_ratio=.75"), {"sample": theirs.cpu().double()}))
    given = read("loss.in")
    with reference.FixedMask(utils, dit, given["mask_noise"]):
        loss = reference.edm_loss(reference.edm(model, net, 0.9), given["x0"], given["text"], given["sigma"], given["noise"], 0.75)
    loss.backward()
    ours = parts.probe("loss", device, "mask_ratio=.75", "objective.sigma_data=.9")
    report.add(bars[1].name, difference({"loss": ours["loss"]}, {"loss": loss.detach().cpu().double()}))
    gradients = {f"grad.{name}": p.grad.cpu().double() for name, p in net.named_parameters() if p.grad is not None}
    report.add(bars[2].name, difference({name: t for name, t in ours.items() if name != "loss"}, gradients))


def speed_rows(report, notes, programs, configs, folder, card):
    """A-B-A on the first GPU."""
    data = make_latents(programs, folder)
    microbatch, first = measure_largest(programs, configs, folder, data, "first")
    report.add(SPEED[0].name, first["rate"])
    notes.append("ours, first: " + text(first, microbatch, card))
    # Its activations are larger than ours, and each try compiles anew: on 80 GB it begins with half a batch at a time.
    roomy = torch.cuda.get_device_properties(0).total_memory > 100 * 2**30
    theirs = train_original(programs, configs, "xl_2", "cuda", microbatch if roomy else min(microbatch, BATCH // 2), compiled=True)
    report.add(SPEED[1].name, theirs["rate"])
    notes.append("the original, torch.compile, bf16 autocast, layer norms in bf16 as its recipe says, AdamW, clip .25: "
                 f"microbatch {theirs['microbatch']}, {theirs['steps']} steps, "
                 f"median {theirs['rate']:.0f} images/s, first step after {theirs['first_step_s']:.0f} s (not counted), "
                 f"torch's peak {theirs['peak_gib']:.1f} GiB")
    _, again = measure_largest(programs, configs, folder, data, "again", (microbatch,))
    report.add(SPEED[2].name, again["rate"])
    notes.append("ours, again: " + text(again, microbatch, card))
    mean = (first["rate"] + again["rate"]) / 2
    report.add(SPEED[3].name, mean / theirs["rate"])
    report.add(SPEED[4].name, abs(first["rate"] - again["rate"]) / mean)


def speed_rows_cpu(report, notes, programs, configs, training):
    """The demonstration's net, fp32, one thread each way; torch.compile would take minutes of compiling and is left out."""
    rates = []
    for which in ("first", "again"):
        training.run(f"speed_{which}", "cpu", steps=12)
        lines = (training.folder / f"speed_{which}/metrics.jsonl").read_text().splitlines()
        rates.append(32 / statistics.median(json.loads(line)["step_s"] for line in lines[3:]))
    theirs = train_original(programs, configs, "emoji", "cpu", 32, compiled=False, threads=training.threads)
    for bar, rate in zip(SPEED_CPU, (rates[0], theirs["rate"], rates[1], sum(rates) / 2 / theirs["rate"])):
        report.add(bar.name, rate)
    notes.append(f"batch 32, mask .5, fp32, {training.threads} thread(s), medians of {theirs['steps']} steps; the original in eager mode")


def train_original(programs, configs, model, device, microbatch, compiled, threads=1):
    limit_s = programs.left_s() - (60 if compiled else 0)  # ours runs once more afterwards
    command = [sys.executable, HERE / "original.py", configs / f"models/{model}.yaml", device, microbatch, int(compiled), threads]
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=max(limit_s, 1))
    except subprocess.TimeoutExpired:
        raise Failure(f"timeout: the original had not finished (compiling included) after {limit_s:.0f} s") from None
    if done.returncode != 0:
        if OUT_OF_MEMORY.search(done.stderr) and microbatch > 16:
            return train_original(programs, configs, model, device, microbatch // 2, compiled, threads)
        raise Failure(f"the original ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return {**json.loads(done.stdout.splitlines()[-1]), "microbatch": microbatch}


def low_precision_layer_norms(net):
    """What the original's recipe switches on beside bf16: layer norms of bf16 rows, not raised to fp32."""
    def forward(norm, x):
        x = x.to(torch.bfloat16)
        weight = None if norm.weight is None else norm.weight.to(torch.bfloat16)
        with torch.autocast("cuda", enabled=False):
            return torch.nn.functional.layer_norm(x, norm.normalized_shape, weight, None, norm.eps)

    for module in net.modules():
        if type(module) is torch.nn.LayerNorm:
            module.forward = types.MethodType(forward, module)


def train(config, device, microbatch, compiled, threads, steps=20, warm=4):
    """The original's step: bf16 autocast on a GPU, EDM loss, clip, AdamW. Batches come from pinned fp16 memory, as a loader gives them."""
    begun = time.monotonic()
    torch.set_num_threads(threads)
    dit, _, model = need().load()
    import reference
    on_gpu = device == "cuda"
    batch, side, rows, width, mask = (BATCH, 32, 77, 1024, 0.75) if on_gpu else (microbatch, 8, 24, 384, 0.5)
    with torch.device(device):
        net = reference.make_dit(dit, {**model_section(config), "input_size": side, "in_channels": 4, "caption_channels": width})
    net = net.to(device)
    if on_gpu:
        low_precision_layer_norms(net)
    diffusion = reference.edm(model, net, 0.9)
    diffusion.train()
    if compiled:
        diffusion.dit = torch.compile(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2.4e-4, weight_decay=0.1)
    host = [torch.randn(microbatch, *shape).half() for shape in ((4, side, side), (1, rows, width))]
    host = [tensor.pin_memory() if on_gpu else tensor for tensor in host]
    now = (lambda: torch.cuda.synchronize() or time.perf_counter()) if on_gpu else time.perf_counter
    seconds, first = [], None
    for step in range(warm + steps):
        at = now()
        optimizer.zero_grad()
        for _ in range(batch // microbatch):
            x, text_rows = (tensor.to(device, non_blocking=True).float() for tensor in host)
            with torch.autocast(device, torch.bfloat16, enabled=on_gpu):
                loss = diffusion.edm_loss(x, text_rows, mask_ratio=mask)
            (loss * microbatch / batch).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.25)
        optimizer.step()
        seconds.append(now() - at)
        first = first or time.monotonic() - begun
    peak = torch.cuda.max_memory_reserved() / 2**30 if on_gpu else 0
    rate = batch / statistics.median(seconds[warm:])
    print(json.dumps({"rate": rate, "steps": steps, "first_step_s": first, "peak_gib": peak, "loss": loss.item()}))


if __name__ == "__main__":
    config, device, microbatch, compiled, threads = sys.argv[1:]
    train(pathlib.Path(config), device, int(microbatch), bool(int(compiled)), int(threads))
