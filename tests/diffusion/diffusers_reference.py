"""diffusers' schedulers step by step around a given network, on given noise. Needs diffusers (checked against 0.42.1)."""
import importlib
from contextlib import contextmanager

import torch

MODULES = {"DDPMScheduler": "ddpm", "DDIMScheduler": "ddim", "DPMSolverMultistepScheduler": "dpmsolver_multistep",
           "EulerDiscreteScheduler": "euler_discrete", "HeunDiscreteScheduler": "heun_discrete",
           "FlowMatchEulerDiscreteScheduler": "flow_match_euler_discrete", "FlowMatchHeunDiscreteScheduler": "flow_match_heun_discrete"}


def module_of(kind):
    return importlib.import_module(f"diffusers.schedulers.scheduling_{MODULES[kind]}")


def make(kind, **keys):
    return getattr(module_of(kind), kind)(**keys)


class Network:
    """skip x + W2 tanh(W1 x + b1 + u t/1000) + b2 over the channels of each pixel: small, and different at every time."""

    def __init__(self, weights, skip=0.0):
        self.weights, self.skip = weights, skip

    def __call__(self, x, t):
        w = self.weights
        hidden = torch.einsum("oc,bchw->bohw", w["w1"], x) + (w["b1"] + w["u"] * (float(t) / 1000)).view(1, -1, 1, 1)
        return self.skip * x + torch.einsum("oc,bchw->bohw", w["w2"], hidden.tanh()) + w["b2"].view(1, -1, 1, 1)


@contextmanager
def drawn(kind, noise):
    """Within it the scheduler's randn_tensor gives `noise`; yields a list that is not empty once it was asked."""
    module, asked = module_of(kind), []
    original = getattr(module, "randn_tensor", None)

    def give(*_, **__):
        if noise is None or asked:
            raise RuntimeError(f"{kind} draws more noise than is given")
        asked.append(True)
        return noise
    module.randn_tensor = give
    try:
        yield asked
    finally:
        if original is None:
            del module.randn_tensor
        else:
            module.randn_tensor = original


def run(kind, keys, steps, network, unit, noise=None, set_keys=None, step_keys=None):
    """The sampling loop as diffusers' pipelines have it, from unit noise [B,C,H,W].

    `noise` [calls, B, C, H, W]: what the scheduler draws in each step, where it draws. Returns timesteps [calls], sigmas (where the
    scheduler has them), x [calls + 1, ...] (the state that the scheduler keeps), input [calls, ...] and output [calls, ...] of the
    network, used [calls] (whether noise was drawn)."""
    scheduler = make(kind, **keys)
    scheduler.set_timesteps(**({"num_inference_steps": steps} | (set_keys or {})))
    if hasattr(scheduler, "set_begin_index"):  # else a time that stands twice in the grid is looked up, and a step lost
        scheduler.set_begin_index(0)
    flow = kind.startswith("FlowMatch")
    x = unit * (1.0 if flow else scheduler.init_noise_sigma)
    states, inputs, outputs, used = [x], [], [], []
    for index, t in enumerate(scheduler.timesteps):
        scaled = x if flow else scheduler.scale_model_input(x, t)
        output = network(scaled, t)
        with drawn(kind, None if noise is None else noise[index]) as asked:
            x = scheduler.step(output, t, x, **(step_keys or {})).prev_sample
        inputs.append(scaled)
        outputs.append(output)
        used.append(bool(asked))
        states.append(x)
    found = {"timesteps": scheduler.timesteps.double(), "x": torch.stack(states), "output": torch.stack(outputs), "input": torch.stack(inputs),
             "used": torch.tensor(used)}
    if hasattr(scheduler, "sigmas"):
        found["sigmas"] = scheduler.sigmas.clone()
    return found
