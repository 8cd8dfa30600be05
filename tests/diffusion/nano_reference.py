"""nano-diffusion, imported from the folder NANO_REFERENCE (a checkout of nano256/nano-diffusion), on given random numbers.

Its tracker (aim) is a recorder here; omegaconf is itself where it is installed and a dictionary with attributes elsewhere."""
import importlib
import os
import sys
import types
from contextlib import contextmanager

import torch

ACTIVATIONS = {"silu": "SiLU", "gelu": "GELU", "relu": "ReLU", "mish": "Mish"}
NORMS = {"layer": "LayerNorm", "rms": "RMSNorm"}
SCHEDULES = {"vp_linear": "LinearNoiseScheduler", "vp_cosine": "CosineNoiseScheduler", "vp_sigmoid": "SigmoidNoiseScheduler"}


class Attributes(dict):
    def __getattr__(self, name):
        if name not in self:
            raise AttributeError(name)
        return self[name]


def available():
    return os.path.isfile(os.path.join(os.environ.get("NANO_REFERENCE", ""), "diffusion/noise_schedulers.py"))


def _stand_in(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


class Run:
    """What the trainer tells its tracker: (value, name, step)."""

    def __init__(self):
        self.tracked = []

    def track(self, value, name, step):
        self.tracked.append((value, name, step))

    def series(self, name):
        return [value for value, known, _ in self.tracked if known == name]


def load():
    """Namespace of the modules ema, model, modules, noise_schedulers, samplers, trainer."""
    try:
        importlib.import_module("omegaconf")
    except ImportError:
        def merge(*configs):
            return Attributes({k: v for config in configs for k, v in config.items()})
        _stand_in("omegaconf", DictConfig=Attributes, OmegaConf=types.SimpleNamespace(merge=merge, create=Attributes))
    _stand_in("aim", Run=Run, Image=None)
    # The package's own __init__ is passed by: the modules alone.
    _stand_in("diffusion").__path__ = [os.path.join(os.environ["NANO_REFERENCE"], "diffusion")]
    names = ("ema", "model", "modules", "noise_schedulers", "samplers", "trainer")
    return types.SimpleNamespace(**{name: importlib.import_module(f"diffusion.{name}") for name in names})


def nano_config(cfg, num_timesteps=1000):
    """The original's `model:` keys for the `model:` section `cfg` of our configs."""
    return {"patch_size": cfg["patch_size"], "hidden_dim": cfg["dim"], "num_attention_heads": cfg["num_heads"],
            "num_dit_blocks": cfg["depth"], "activation": ACTIVATIONS[cfg.get("activation", "silu")],
            "normalization_layer": NORMS[cfg.get("norm", "layer")], "num_context_classes": cfg["num_classes"],
            "num_timesteps": num_timesteps, "vae_name": "", "in_channels": cfg["in_channels"], "dropout": 0.0, "device": "cpu"}


def make_net(nano, cfg, wrap=Attributes):
    """The original's network. Without `compat: nano` its one slip is mended: alpha_1 scales what attention adds."""
    net = nano.model.NanoDiffusionModel(wrap(nano_config(cfg)))
    if cfg.get("compat") != "nano":
        for block in net.dit_blocks:
            block.forward = types.MethodType(_mended_forward, block)
    return net


def _mended_forward(block, x, shared, c):
    beta_1, beta_2, gamma_1, gamma_2, alpha_1, alpha_2 = block.adaln_single.get_layer_params(shared, block.layer_idx)
    queries = block.scale_and_shift(x, gamma_1, beta_1)
    keys = torch.cat((queries, c), dim=1)
    attended = block.multi_head_attn(queries, keys, keys, need_weights=False)[0]
    x = x + block.scale_and_shift(attended, alpha_1)
    return x + block.scale_and_shift(block.feedforward(block.scale_and_shift(x, gamma_2, beta_2)), alpha_2)


def forward_rows(net, x, t, rows):
    """The network on several condition rows [B, L, dim], which its blocks take as they take the class's one."""
    with torch.no_grad():
        tokens, x_pos, y_pos = net.patch_embedding(x, patch_pos=True)
        shared = net.adaln_single(net.time_embedding(t))
        for block in net.dit_blocks:
            tokens = block(tokens, shared, rows)
        return net.reshaper(tokens, x_pos, y_pos)


def make_schedule(nano, path, num_timesteps=1000, **keys):
    """`path`: vp_linear | vp_cosine | vp_sigmoid; keys: start, end, tau, clip_min, scale_factor."""
    return getattr(nano.noise_schedulers, SCHEDULES[path])({"num_timesteps": num_timesteps, **keys})


@contextmanager
def drawn(times, noises):
    """Within it torch.randint and torch.randn_like give these in turn."""
    times, noises = iter(times), iter(noises)
    randint, randn_like = torch.randint, torch.randn_like
    torch.randint = lambda *_, **__: next(times)
    torch.randn_like = lambda *_, **__: next(noises)
    try:
        yield
    finally:
        torch.randint, torch.randn_like = randint, randn_like


def make_trainer(nano, net, schedule, folder, **keys):
    return nano.trainer.NanoDiffusionTrainer(net, schedule, folder, num_sampling_steps=1, **keys)


def loss(nano, net, schedule, x0, classes, t, noise, loss_fn="mse_loss"):
    """The trainer's loss at given times and noise."""
    trainer = types.SimpleNamespace(model=net, noise_scheduler=schedule, loss_fn=getattr(torch.nn.functional, loss_fn))
    with drawn([t], [noise]):
        return nano.trainer.NanoDiffusionTrainer.compute_loss(trainer, (x0, classes))


def ddim(nano, net, schedule, x, classes, steps, num_timesteps=1000):
    """Last sample and the intermediates [steps - 1, B, C, H, W]."""
    with torch.no_grad():
        sampler = nano.samplers.DDIMSampler(net, schedule, num_timesteps, steps)
        sample, between = sampler.sample(x, classes, return_intermediates=True)
    return sample, torch.stack(between) if between else x.new_zeros(0, *x.shape)


def grid(nano, steps, num_timesteps=1000):
    """The times at which DDIM calls the network: asked of the original by a network that notes them."""
    seen = []
    schedule = make_schedule(nano, "vp_linear", num_timesteps)

    def net(x, t, _):
        seen.append(int(t))
        return x
    nano.samplers.DDIMSampler(net, schedule, num_timesteps, steps).sample(torch.zeros(1, 1, 1, 1), None)
    return seen
