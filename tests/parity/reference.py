"""The original MicroDiT, imported from the folder MICRODIT_REFERENCE with small stand-ins for its unused dependencies."""
import importlib
import os
import sys
import types
from functools import partial

import torch


class PatchEmbed(torch.nn.Module):
    """What the original takes from timm: a p x p convolution with stride p, flattened to tokens."""

    def __init__(self, img_size, patch_size, in_chans, embed_dim, bias=True):
        super().__init__()
        self.patch_size = (patch_size, patch_size)
        self.num_patches = (img_size // patch_size) ** 2
        self.proj = torch.nn.Conv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size, bias=bias)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


def _stand_in(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


class _Attributes(dict):
    __getattr__ = dict.__getitem__


def available():
    return os.path.isfile(os.path.join(os.environ.get("MICRODIT_REFERENCE", ""), "micro_diffusion/models/dit.py"))


def load():
    """Returns the original's (dit, utils, model) modules."""
    class Unused:
        pass

    _stand_in("timm")
    _stand_in("timm.models")
    _stand_in("timm.models.vision_transformer", PatchEmbed=PatchEmbed)
    _stand_in("einops", rearrange=None)
    _stand_in("torchmetrics", Metric=torch.nn.Module)
    _stand_in("open_clip")
    _stand_in("transformers", CLIPTextModel=Unused, CLIPTokenizer=Unused, T5EncoderModel=Unused, T5Tokenizer=Unused)
    _stand_in("composer")
    _stand_in("composer.models", ComposerModel=torch.nn.Module)
    _stand_in("diffusers", AutoencoderKL=Unused)
    _stand_in("easydict", EasyDict=_Attributes)
    # Only the model files: the package's own __init__ would pull in the training stack.
    root = os.environ["MICRODIT_REFERENCE"]
    for package in ("micro_diffusion", "micro_diffusion.models"):
        _stand_in(package).__path__ = [os.path.join(root, *package.split("."))]
    return tuple(importlib.import_module(f"micro_diffusion.models.{name}") for name in ("dit", "utils", "model"))


def make_dit(dit, cfg):
    """An original DiT for the `model:` section `cfg` of our configs."""
    import numpy as np

    depth = cfg["depth"]
    return dit.DiT(
        input_size=cfg["input_size"], patch_size=cfg["patch_size"], in_channels=cfg["in_channels"], dim=cfg["dim"],
        depth=depth, head_dim=cfg["head_dim"], multiple_of=cfg["multiple_of"], caption_channels=cfg["caption_channels"],
        pos_interp_scale=cfg.get("pos_interp_scale", 1.0), norm_eps=cfg.get("norm_eps", 1e-6), depth_init=True,
        qkv_multipliers=np.linspace(*cfg["qkv_ratio"], num=depth, dtype=float),
        ffn_multipliers=np.linspace(*cfg["mlp_ratio"], num=depth, dtype=float), use_patch_mixer=True,
        patch_mixer_depth=cfg["patch_mixer_depth"], patch_mixer_dim=cfg["patch_mixer_dim"],
        patch_mixer_qkv_ratio=cfg.get("patch_mixer_qkv_ratio", 1.0),
        patch_mixer_mlp_ratio=cfg.get("patch_mixer_mlp_ratio", 4.0), use_bias=False, num_experts=cfg["num_experts"],
        expert_capacity=cfg["expert_capacity"], experts_every_n=cfg["experts_every_n"])


class FixedMask:
    """Within it, the original's random mask is drawn from the given noise [B,T]."""

    def __init__(self, utils, dit, noise):
        self.dit, self.noise = dit, noise
        self.original = utils.get_mask
        self.utils = utils

    def __enter__(self):
        def get_mask(batch, length, mask_ratio, device):
            rand, torch.rand = torch.rand, lambda *shape, **kw: self.noise
            argsort = torch.argsort
            torch.argsort = partial(argsort, stable=True)
            try:
                return self.original(batch, length, mask_ratio, device)
            finally:
                torch.rand, torch.argsort = rand, argsort
        self.dit.get_mask = get_mask

    def __exit__(self, *_):
        self.dit.get_mask = self.original


def edm(model, net, sigma_data):
    """The original's LatentDiffusion around `net`, without its frozen encoders."""
    diffusion = model.LatentDiffusion.__new__(model.LatentDiffusion)
    torch.nn.Module.__init__(diffusion)
    diffusion.dit = net
    diffusion.edm_config = _Attributes(sigma_min=0.002, sigma_max=80, P_mean=-0.6, P_std=1.2, sigma_data=sigma_data,
                                       num_steps=18, rho=7, S_churn=0, S_min=0, S_max=float("inf"), S_noise=1)
    diffusion.randn_like = torch.randn_like
    return diffusion


def edm_loss(diffusion, x0, text, sigma, noise, mask_ratio=0.0):
    """The original's loss at given sigma [B] and unit noise."""
    cfg = diffusion.edm_config
    randn = torch.randn
    torch.randn = lambda *a, **k: ((sigma.log() - cfg.P_mean) / cfg.P_std).reshape(-1, 1, 1, 1)
    diffusion.randn_like = lambda x: noise
    # sigma is handed through log and exp; undo the rounding so that both sides see the same value
    exp = torch.Tensor.exp
    torch.Tensor.exp = lambda t: sigma.reshape(-1, 1, 1, 1) if t.shape == (len(sigma), 1, 1, 1) else exp(t)
    try:
        return diffusion.edm_loss(x0, text.unsqueeze(1), mask_ratio=mask_ratio)
    finally:
        torch.randn, torch.Tensor.exp = randn, exp
