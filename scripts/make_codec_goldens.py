"""Runs diffusers' AutoencoderKL on a few pixels and writes network and results to tests/encoders/goldens/codec/: drawn weights in
half precision, per-channel statistics, attention named and shaped as in CompVis files.

.venv-oracles/bin/python scripts/make_codec_goldens.py"""
import os
import types

import torch
from diffusers import AutoencoderKL, StableDiffusionXLImg2ImgPipeline
from safetensors.torch import load_file, save_file

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests/encoders/goldens/codec")
WEIGHTS = os.path.join(FOLDER, "diffusion_pytorch_model.safetensors")
OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def old_name(name):
    for current, former in OLD_NAMES.items():
        name = name.replace(f".attentions.0.{current}.", f".attentions.0.{former}.")
    return name


def latents(net, mean):
    """SDXL's own code on z."""
    vae = types.SimpleNamespace(config=net.config, to=lambda *_, **__: None,
                                encode=lambda _: types.SimpleNamespace(latents=mean))
    return StableDiffusionXLImg2ImgPipeline.prepare_latents(types.SimpleNamespace(vae=vae), torch.zeros(len(mean), 3, 8, 8), None,
                                                            len(mean), 1, torch.float32, "cpu", add_noise=False)


def main():
    torch.manual_seed(0)
    net = AutoencoderKL(down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
                        block_out_channels=(4, 8), norm_num_groups=2, latent_channels=4, scaling_factor=0.5,
                        latents_mean=[-1.6574, 1.886, -1.383, 2.5155], latents_std=[8.4927, 5.9022, 6.5498, 5.2299])
    with torch.no_grad():  # norms away from 1 and 0
        for name, parameter in net.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    net.half().save_pretrained(FOLDER)
    net = AutoencoderKL.from_pretrained(FOLDER, torch_dtype=torch.float32)
    image, latent = torch.rand(1, 3, 12, 8) * 2 - 1, torch.randn(1, 4, 6, 4)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (net.config.latents_mean, net.config.latents_std))
    with torch.no_grad():
        moments = net.encode(image).latent_dist.parameters
        picture = net.decode(latent * std / net.config.scaling_factor + mean).sample  # as StableDiffusionXLPipeline has it
    save_file({"image": image, "moments": moments, "encoded": latents(net, moments[:, :4]).contiguous(), "latents": latent,
               "picture": picture}, os.path.join(FOLDER, "values.safetensors"))
    # Last: diffusers itself reads the old names, and not the 1x1 convolutions of CompVis files.
    save_file({old_name(name): tensor[:, :, None, None] if name != old_name(name) and tensor.dim() == 2 else tensor
               for name, tensor in load_file(WEIGHTS).items()}, WEIGHTS, {"format": "pt"})


main()
