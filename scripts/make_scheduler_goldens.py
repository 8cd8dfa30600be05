"""Runs diffusers' schedulers step by step and writes every state to tests/diffusion/goldens/schedulers.{json,safetensors}.

.venv-oracles/bin/python scripts/make_scheduler_goldens.py
The network is small and in the file (net.*; formula: Network in tests/diffusion/diffusers_reference.py); its `skip` is 1 for eps, so
that chains stay bounded, else 0. unit, noise: what all cases start from and draw, noise by the step's index."""
import json
import os
import sys

import torch
from diffusers import __version__, training_utils
from safetensors.torch import save_file

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests/diffusion"))
import diffusers_reference as reference

FOLDER = os.path.join(ROOT, "tests/diffusion/goldens")
LINEAR = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
SCALED = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
BETAS = {"linear": LINEAR, "scaled_linear": SCALED, "squaredcos_cap_v2": COSINE}
EPS, SAMPLE, V = {"prediction_type": "epsilon"}, {"prediction_type": "sample"}, {"prediction_type": "v_prediction"}
PREDICTIONS = (EPS, SAMPLE, V)
OPEN = {"clip_sample": False}
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
MOST_CALLS, SHAPE = 25, (2, 3, 2, 2)


def spaced(spacing, offset=0):
    return {"timestep_spacing": spacing} | ({"steps_offset": offset} if offset else {})


def cases():
    """(kind, keys, steps, set_timesteps' keys, step's keys)"""
    found = []

    def add(kind, *keys, steps=10, at_set=None, at_step=None):
        merged = {}
        for some in keys:
            merged |= some
        found.append((kind, merged, steps, at_set or {}, at_step or {}))
    products = [(beta, prediction) for beta in BETAS.values() for prediction in PREDICTIONS]

    for beta, prediction in products:
        add("DDPMScheduler", beta, prediction, OPEN)
    for prediction in PREDICTIONS:
        add("DDPMScheduler", SCALED, prediction, {"clip_sample": True})
    add("DDPMScheduler", COSINE, EPS, {"clip_sample": True, "clip_sample_range": 2.5})
    for spacing in ("linspace", "leading", "trailing"):
        for steps in (7, 10):
            add("DDPMScheduler", LINEAR, V, OPEN, spaced(spacing), steps=steps)
    add("DDPMScheduler", SCALED, EPS, OPEN, spaced("leading", 1))
    add("DDPMScheduler", SCALED, EPS, OPEN, {"variance_type": "fixed_large"})
    add("DDPMScheduler", SCALED, EPS, OPEN, {"variance_type": "fixed_large"}, spaced("trailing"))
    add("DDPMScheduler", SCALED, EPS, OPEN, {"variance_type": "fixed_small_log"})
    add("DDPMScheduler", LINEAR, EPS, OPEN, {"num_train_timesteps": 20}, steps=20)
    add("DDPMScheduler", COSINE, SAMPLE, OPEN, steps=1)

    for beta, prediction in products:
        add("DDIMScheduler", beta, prediction, OPEN)
    for eta in (0.5, 1.0):
        add("DDIMScheduler", SCALED, EPS, OPEN, at_step={"eta": eta})
    add("DDIMScheduler", COSINE, V, OPEN, at_step={"eta": 1.0})
    add("DDIMScheduler", SCALED, EPS, OPEN, spaced("leading", 1), {"set_alpha_to_one": False})  # Stable Diffusion's
    add("DDIMScheduler", SCALED, EPS, OPEN, {"set_alpha_to_one": False})
    add("DDIMScheduler", SCALED, EPS, {"clip_sample": True})
    add("DDIMScheduler", SCALED, EPS, {"clip_sample": True}, at_step={"use_clipped_model_output": True})
    add("DDIMScheduler", SCALED, EPS, {"clip_sample": True}, at_step={"eta": 0.7, "use_clipped_model_output": True})
    for spacing in ("linspace", "leading", "trailing"):
        for steps in (7, 10):
            add("DDIMScheduler", LINEAR, V, OPEN, spaced(spacing), steps=steps)
    add("DDIMScheduler", SCALED, V, OPEN, spaced("trailing"), {"rescale_betas_zero_snr": True})
    add("DDIMScheduler", SCALED, SAMPLE, OPEN, {"num_train_timesteps": 20}, steps=20)

    for beta, prediction in products:
        add("DPMSolverMultistepScheduler", beta, prediction)
    low = {"final_sigmas_type": "sigma_min"}
    add("DPMSolverMultistepScheduler", SCALED, EPS, low)
    add("DPMSolverMultistepScheduler", SCALED, EPS, low, {"lower_order_final": False})
    add("DPMSolverMultistepScheduler", SCALED, EPS, low, {"lower_order_final": False, "euler_at_final": True})
    for final in ({}, low):
        add("DPMSolverMultistepScheduler", SCALED, V, final, steps=20)
    add("DPMSolverMultistepScheduler", SCALED, EPS, {"solver_order": 1})
    add("DPMSolverMultistepScheduler", SCALED, EPS, {"solver_type": "heun"})
    for spacing in ("leading", "trailing"):
        for steps in (7, 10):
            add("DPMSolverMultistepScheduler", LINEAR, V, spaced(spacing), steps=steps)
    add("DPMSolverMultistepScheduler", SCALED, EPS, spaced("leading", 1))
    # Not with squaredcos_cap_v2: there diffusers cuts times like 998.9999 to whole ones, and which one depends on the last bit.
    for beta in (LINEAR, SCALED):
        add("DPMSolverMultistepScheduler", beta, EPS, {"use_karras_sigmas": True})
    add("DPMSolverMultistepScheduler", COSINE, EPS, {"lambda_min_clipped": -5.1})
    for shift in (1.0, 3.0):
        add("DPMSolverMultistepScheduler", FLOW, {"flow_shift": shift})
    add("DPMSolverMultistepScheduler", FLOW, {"flow_shift": 3.0}, steps=20)
    add("DPMSolverMultistepScheduler", SCALED, EPS, steps=1)
    add("DPMSolverMultistepScheduler", SCALED, EPS, steps=2)

    # Not squaredcos_cap_v2 from its last time on (sigma / alpha = 2e4): diffusers' fp32 state has an error of 1e-4 there.
    for beta, prediction in products:
        add("EulerDiscreteScheduler", beta, prediction, spaced("leading") if beta is COSINE else {})
    add("EulerDiscreteScheduler", COSINE, EPS)
    add("EulerDiscreteScheduler", SCALED, EPS, spaced("leading", 1))
    for spacing in ("leading", "trailing"):
        for steps in (7, 10):
            add("EulerDiscreteScheduler", LINEAR, V, spaced(spacing), steps=steps)
    for beta in (LINEAR, SCALED):
        add("EulerDiscreteScheduler", beta, EPS, {"use_karras_sigmas": True})
    add("EulerDiscreteScheduler", SCALED, EPS, low)
    add("EulerDiscreteScheduler", SCALED, EPS, steps=1)

    for beta, prediction in ((SCALED, EPS), (LINEAR, V), (COSINE, SAMPLE)):
        add("HeunDiscreteScheduler", beta, prediction, spaced("leading") if beta is COSINE else {})
    add("HeunDiscreteScheduler", SCALED, EPS, {"use_karras_sigmas": True})

    for shift in (1.0, 3.0, 0.7):
        add("FlowMatchEulerDiscreteScheduler", {"shift": shift})
        add("FlowMatchHeunDiscreteScheduler", {"shift": shift})
    add("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}, steps=1)
    add("FlowMatchEulerDiscreteScheduler", {"shift": 3.0, "stochastic_sampling": True})
    flux = {"sigmas": [1 - i / 10 for i in range(10)]}
    add("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}, at_set=flux)
    for tokens in (256, 1024, 4096):  # resolution shift as Flux's pipeline has it
        mu = 0.5 + (1.15 - 0.5) / (4096 - 256) * (tokens - 256)
        add("FlowMatchEulerDiscreteScheduler", {"use_dynamic_shifting": True}, at_set={**flux, "mu": mu})
    add("FlowMatchEulerDiscreteScheduler", {"use_dynamic_shifting": True, "time_shift_type": "linear"}, at_set={"mu": 2.5})
    add("FlowMatchEulerDiscreteScheduler", {"shift": 3.0, "shift_terminal": 0.1})
    return found


def forward_process(out):
    """Noised pictures, v targets, signal-to-noise ratios and min-SNR's weights of the discrete schedules; flow's time laws."""
    facts = []
    generator = torch.Generator().manual_seed(11)
    x0, noise = torch.randn(5, 2, 3, 3, generator=generator), torch.randn(5, 2, 3, 3, generator=generator)
    t = torch.tensor([0, 1, 250, 777, 999])
    out |= {"forward.x0": x0, "forward.noise": noise}
    for name, keys in BETAS.items():
        scheduler = reference.make("DDPMScheduler", **keys)
        ratio = training_utils.compute_snr(scheduler, t)
        out |= {f"forward.{name}.alphas_cumprod": scheduler.alphas_cumprod, f"forward.{name}.betas": scheduler.betas,
                f"forward.{name}.x_t": scheduler.add_noise(x0, noise, t), f"forward.{name}.v": scheduler.get_velocity(x0, noise, t),
                f"forward.{name}.snr": ratio}
        for gamma in (1.0, 5.0):  # as diffusers' train_text_to_image.py weighs the squared error of eps and of v
            least = ratio.clamp(max=gamma)
            out |= {f"forward.{name}.min_snr_{gamma:g}.eps": least / ratio, f"forward.{name}.min_snr_{gamma:g}.v": least / (ratio + 1),
                    f"forward.{name}.min_snr_{gamma:g}.x0": least}
        facts.append({"name": name, **keys, "times": t.tolist(), "gammas": [1.0, 5.0]})
    zero = reference.make("DDPMScheduler", **SCALED, rescale_betas_zero_snr=True)
    out["forward.scaled_linear_zero_snr.alphas_cumprod"] = zero.alphas_cumprod
    flow = reference.make("FlowMatchEulerDiscreteScheduler", shift=3.0)
    times = flow.timesteps[torch.tensor([0, 1, 250, 777, 999])]
    out |= {"forward.flow.timesteps": times, "forward.flow.x_t": flow.scale_noise(x0, times, noise)}
    normal, z = torch.normal, torch.tensor([-2.0, -0.5, 0.0, 1.0, 3.0])
    torch.normal = lambda mean, std, **_: mean + std * z
    out |= {"forward.flow.z": z, "forward.flow.logit_normal": training_utils.compute_density_for_timestep_sampling("logit_normal", 5, 0.3, 1.2)}
    torch.normal = normal
    return facts


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(5)
    randn = lambda *shape: torch.randn(shape, generator=generator)
    weights = {"w1": 0.6 * randn(6, 3), "b1": 0.3 * randn(6), "u": randn(6), "w2": 0.35 * randn(3, 6), "b2": 0.1 * randn(3)}
    unit, noise = randn(*SHAPE), randn(MOST_CALLS, *SHAPE)
    out = {"unit": unit, "noise": noise, **{f"net.{name}": tensor for name, tensor in weights.items()}}
    rows = []
    for index, (kind, keys, steps, at_set, at_step) in enumerate(cases()):
        flow = kind.startswith("FlowMatch") or keys.get("use_flow_sigmas")
        skip = 1.0 if not flow and keys["prediction_type"] == "epsilon" else 0.0
        asked = {key: value for key, value in at_set.items() if key != "sigmas"} | (
            {"sigmas": at_set["sigmas"], "num_inference_steps": None} if "sigmas" in at_set else {})
        found = reference.run(kind, keys, steps, reference.Network(weights, skip), unit, noise, asked, at_step)
        assert found["x"].isfinite().all(), (kind, keys)
        draws = found.pop("used").tolist()
        found.pop("input")
        if "sigmas" not in found:
            found["sigmas"] = torch.zeros(0)
        rows.append({"case": index, "kind": kind, "keys": keys, "steps": steps, "set": at_set, "step": at_step, "skip": skip,
                     "draws": [step for step, drew in enumerate(draws) if drew]})
        out |= {f"{index}.{name}": tensor for name, tensor in found.items()}
    facts = forward_process(out)
    os.makedirs(FOLDER, exist_ok=True)
    with open(f"{FOLDER}/schedulers.json", "w") as file:
        lists = {"cases": rows, "forward": facts}
        text = ",\n".join(f'"{key}": [\n' + ",\n".join("  " + json.dumps(row) for row in some) + "\n]" for key, some in lists.items())
        file.write(f'{{\n"diffusers": "{__version__}",\n{text}\n}}\n')
    save_file({name: tensor.contiguous() for name, tensor in out.items()}, f"{FOLDER}/schedulers.safetensors")
    os.chmod(f"{FOLDER}/schedulers.safetensors", 0o644)
    print(f"{len(rows)} cases")


main()
