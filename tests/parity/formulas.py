"""Weights and inputs of goldens that are formulas, so that no file need hold them; the C++ tests have the same ones."""
import math

import torch


def wave(shape, step, phase):
    """sin(step k + phase) over the flat index, fp64."""
    return torch.sin(step * torch.arange(math.prod(shape), dtype=torch.float64) + phase).reshape(shape)


def fill(name, tensor):
    """A quadratic phase makes full-rank matrices; the phase differs by name."""
    k = torch.arange(tensor.numel(), dtype=torch.float64)
    values = torch.cos(0.37 * k + 0.0137 * k * k + sum(name.encode()) % 97).reshape(tensor.shape)
    is_norm = tensor.dim() == 1 and not name.endswith("bias")
    if is_norm:
        return 1 + 0.2 * values
    return values * (0.2 if tensor.dim() == 1 else math.sqrt(2 / tensor.shape[-1]))


def digest(gradient):
    """Its norm and its products with two fixed unit vectors."""
    g = gradient.detach().double().flatten()
    k = torch.arange(len(g), dtype=torch.float64)
    probes = [torch.cos(0.61 * k + 0.0031 * k * k), torch.sin(0.43 * k + 0.0071 * k * k)]
    return torch.stack([g.norm()] + [g @ (p / p.norm()) for p in probes])
