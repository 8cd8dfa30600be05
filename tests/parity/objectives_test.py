"""`probe loss|sample` with every family of paths: chains step by step as diffusers' schedulers take them around the very same
network (`probe forward`), losses by their formulas, and combinations that do not exist. Needs torch and diffusers; skips without."""
import os
import sys
import tempfile

try:
    import diffusers  # noqa: F401
    import torch
    from safetensors.torch import load_file
except ImportError as error:
    print(f"skipped: no {error.name}")
    sys.exit(77)
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "diffusion")]
import diffusers_reference
from golden_numbers_test import Case

STEPS = 4
SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SD_WORDS = ["objective.path=scaled_linear", "objective.beta_start=0.00085", "objective.beta_end=0.012"]
PLAIN = {"clip_sample": False}
CHAINS = {  # diffusers' scheduler and its keys, our words
    ("DDIMScheduler", "eps"): (SD | PLAIN | {"prediction_type": "epsilon"}, SD_WORDS + ["objective.prediction=eps", "sampler.rule=ddim"]),
    ("DDPMScheduler", "v"): ({"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"} | PLAIN,
                             ["objective.path=squaredcos_cap_v2", "objective.prediction=v", "sampler.rule=ddpm"]),
    ("DPMSolverMultistepScheduler", "x0"): ({"beta_schedule": "linear", "prediction_type": "sample"},
                                            ["objective.path=linear", "objective.prediction=x0", "sampler.rule=dpmpp_2m"]),
    ("EulerDiscreteScheduler", "eps"): (SD | {"prediction_type": "epsilon"},
                                        SD_WORDS + ["objective.prediction=eps", "sampler.rule=euler"]),
    ("FlowMatchEulerDiscreteScheduler", "velocity"): ({"shift": 3.0}, ["objective.path=flow", "objective.prediction=velocity",
                                                                     "objective.shift=3", "sampler.rule=euler"]),
}


def tensor(shape_and_values):
    shape, values = shape_and_values
    return torch.tensor(values, dtype=torch.float32).view(shape)


def normal(seed, *shape):
    return listed(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


def listed(t):
    return list(t.shape), t.flatten().tolist()


class Network:
    """probe forward as the network of a scheduler."""

    def __init__(self, case, text):
        self.case, self.text = case, text

    def __call__(self, x, t):
        run, _ = self.case.run("forward", {"x": listed(x), "noise_label": ([2], [float(t)] * 2), "text": self.text})
        assert run.returncode == 0, run.stderr
        return load_file(f"{self.case.folder}/out.safetensors")["sample"]


def chains(case):
    x, text, noise = normal(1, 2, 4, 8, 8), normal(2, 2, 7, 24), tensor(normal(3, STEPS, 2, 4, 8, 8))
    for (kind, _), (keys, words) in CHAINS.items():
        theirs = diffusers_reference.run(kind, keys, STEPS, Network(case, text), tensor(x), noise)
        inputs = {"x": x, "text": text} | ({"step_noise": listed(noise)} if kind == "DDPMScheduler" else {})
        run, _ = case.run("sample", inputs, f"steps={STEPS}", "sampler.guidance=1", *words)
        assert run.returncode == 0, run.stderr
        out = load_file(f"{case.folder}/out.safetensors")
        states = torch.cat([out["intermediates"], out["sample"][None]])
        for step, state in enumerate(states):
            expected = theirs["x"][step + 1]
            if kind == "EulerDiscreteScheduler":  # its state is x / alpha
                expected = expected / (1 + theirs["sigmas"][step + 1] ** 2) ** 0.5
            case.near(f"{kind} step {step}", ((state - expected).norm() / expected.norm()).item(), 0, 1e-5)


def losses(case):
    x0, text, noise = normal(4, 2, 4, 8, 8), normal(5, 2, 7, 24), normal(6, 2, 4, 8, 8)
    scheduler = diffusers_reference.make("DDPMScheduler", **SD)
    steps = torch.tensor([37, 500])
    x_t = scheduler.add_noise(tensor(x0), tensor(noise), steps)
    predicted = torch.cat([Network(case, text)(x_t, t)[i:i + 1] for i, t in enumerate(steps)])
    words, inputs = SD_WORDS + ["objective.prediction=v"], {"x0": x0, "text": text, "noise": noise, "t": ([2], [37.0, 500.0])}
    target = scheduler.get_velocity(tensor(x0), tensor(noise), steps)
    snr = (scheduler.alphas_cumprod / (1 - scheduler.alphas_cumprod))[steps].view(-1, 1, 1, 1)
    squares = (predicted - target) ** 2
    for more, expected in (([], squares), (["objective.loss=l1"], (predicted - target).abs()),
                           (["objective.weight=min_snr", "objective.snr_gamma=5"], squares * snr.clamp(max=5) / (snr + 1))):
        run, out = case.run("loss", inputs, *words, *more)
        assert run.returncode == 0, run.stderr
        case.near(f"loss {more}", out["loss"][0] / expected.mean().item(), 1, 1e-5)
        case.near("gradients", len(out), 1 + len(case.weights) - 2, 0)


def refusals(case):
    x, text = normal(7, 2, 4, 8, 8), normal(8, 2, 7, 24)
    both = {"x": x, "text": text}
    flow = ["objective.path=flow", "objective.prediction=velocity", "sampler.guidance=1"]
    refused = lambda what, words, *said: case.refused(what, case.run("sample", both, *words)[0], *said)  # noqa: E731
    refused("pair", ["objective.path=flow", "objective.prediction=eps"], "objective.prediction", "velocity, x0")
    refused("rule", flow + ["sampler.rule=ddim"], "sampler.rule", "euler, heun, dpmpp_2m")
    refused("grid", flow + ["sampler.grid=karras"], "sampler.grid", "shifted, uniform, trailing")
    refused("key without effect", flow + ["sampler.s_churn=1"], "sampler.s_churn", "the path edm")
    refused("both spellings", flow + ["steps=3", "sampler.steps=4"], "steps", "differ")
    refused("no noise", ["objective.path=linear", "objective.prediction=eps", "sampler.rule=ddpm", "sampler.steps=3"], "step_noise")
    case.refused("time", case.run("loss", {"x0": x, "text": text, "noise": x, "t": ([2], [0.5, 1.5])}, *flow)[0], '"t"', "0 ... 1")
    case.refused("sigma", case.run("loss", {"x0": x, "text": text, "noise": x, "sigma": ([2], [0.5, 1.5])}, *flow)[0], '"t"')


with tempfile.TemporaryDirectory() as folder:
    case = Case(folder)
    chains(case)
    losses(case)
    refusals(case)
    print("FAILED" if case.failures else "ok")
    sys.exit(1 if case.failures else 0)
