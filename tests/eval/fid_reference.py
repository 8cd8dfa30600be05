"""pytorch-fid and clean-fid on made pictures with a made Inception: weights and pictures are rules, so that no file holds them.

Needs torch, torchvision, scipy, pytorch-fid 0.3.0 and clean-fid 0.1.35 (the last two in an environment of their own)."""
import math
import os
import warnings

import numpy as np
import torch
from PIL import Image

SEED, INIT = 7, 1  # core::Purpose::init
MASK = (1 << 64) - 1


def _mix(x):
    """SplitMix64's finalizer."""
    x = (x + 0x9e3779b97f4a7c15) & MASK
    x = ((x ^ (x >> 30)) * 0xbf58476d1ce4e5b9) & MASK
    x = ((x ^ (x >> 27)) * 0x94d049bb133111eb) & MASK
    return x ^ (x >> 31)


def derive_seed(seed, label):
    return _mix(_mix(seed) ^ label)


def uniforms(count, seed, purpose, a=0, b=0):
    """The first `count` uniforms [0, 1) of core::CounterRng(seed, purpose, a, b), fp32: Philox4x32-10, 24 bits each."""
    key = derive_seed(derive_seed(seed, purpose), ((a >> 48) << 16) | (b >> 48))
    key = [key & 0xffffffff, key >> 32]
    blocks = -(-count // 4)
    words = [np.arange(blocks, dtype=np.uint64)] + [np.full(blocks, word & 0xffffffff, dtype=np.uint64) for word in
                                                    (a, ((a >> 32) & 0xffff) | (b << 16), b >> 16)]
    low = np.uint64(0xffffffff)
    for _ in range(10):
        first, second = np.uint64(0xd2511f53) * words[0], np.uint64(0xcd9e8d57) * words[2]
        words = [(second >> np.uint64(32)) ^ words[1] ^ np.uint64(key[0]), second & low,
                 (first >> np.uint64(32)) ^ words[3] ^ np.uint64(key[1]), first & low]
        key = [(key[0] + 0x9e3779b9) & 0xffffffff, (key[1] + 0xbb67ae85) & 0xffffffff]
    bits = np.stack(words, 1).reshape(-1)[:count]
    return (bits >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24)


def made_weights(shapes, seed=SEED):
    """{name: shape} -> {name: tensor}. The k-th name in byte order has v = 2 u - 1 of the stream a = k: running_var 1 + v/2, other
    vectors (bn.weight 1 + v/4, the rest v/4), matrices and filters sqrt(6 / fan_in) v. Each is exact but for one rounding."""
    made = {}
    for k, name in enumerate(sorted(shapes)):
        shape = tuple(shapes[name])
        v = 2 * uniforms(math.prod(shape), seed, INIT, a=k) - np.float32(1)
        if name.endswith("running_var"):
            v = np.float32(1) + np.float32(0.5) * v
        elif len(shape) == 1:
            v = np.float32(0.25) * v + (np.float32(1) if name.endswith("bn.weight") else np.float32(0))
        else:
            v = v * np.float32(math.sqrt(6 / math.prod(shape[1:])))
        made[name] = torch.from_numpy(v.reshape(shape))
    return made


def picture(index, height, width):
    """uint8 [H, W, 3]: whole numbers alone, smooth parts and edges."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    smooth = (index * 37 + x * (3 + index % 5) + y * (2 + index % 3) + c * 61) % 511
    smooth = np.minimum(smooth, 510 - smooth)
    edges = ((x // (5 + index % 4) + y // 7 + c) % 2) * ((x * y * (1 + index) + 13 * c) % 97)
    return ((2 * smooth + edges) // 3 + index * 5 % 41).clip(0, 255).astype(np.uint8)


SIZES = [(40, 40), (64, 48), (33, 57), (299, 299), (32, 32)]


def write_folder(folder, first, count):
    os.makedirs(folder, exist_ok=True)
    for index in range(first, first + count):
        Image.fromarray(picture(index, *SIZES[index % len(SIZES)])).save(os.path.join(folder, f"{index:04d}.png"))


def inception(blocks=(3,), seed=SEED):
    """pytorch-fid's network with made weights in place of the download."""
    from pytorch_fid import inception as module

    class Made(dict):
        """What load_state_dict is given: shapes are known once the network is there."""
    original = module.load_state_dict_from_url
    load = torch.nn.Module.load_state_dict
    module.load_state_dict_from_url = lambda *_, **__: Made()

    def load_made(net, state, *args, **kwargs):
        if isinstance(state, Made):
            state = net.state_dict() | made_weights({name: t.shape for name, t in net.state_dict().items() if t.is_floating_point()}, seed)
        return load(net, state, *args, **kwargs)
    torch.nn.Module.load_state_dict = load_made
    try:
        return module.InceptionV3(list(blocks)).eval()
    finally:
        module.load_state_dict_from_url, torch.nn.Module.load_state_dict = original, load


def write_networks(folder, seed=SEED):
    """The made network as the two files that people have: pytorch-fid's state dict, and a TorchScript file with the part of NVIDIA's
    that clean-fid's mode `clean` uses (`layers`: [B, 3, 299, 299] in (x - 128) / 128 to 2048 features)."""
    from torchvision.models.inception import inception_v3
    net = inception((0, 1, 2, 3), seed)
    names = {name: tensor.shape for name, tensor in inception_v3(num_classes=1008, aux_logits=False, init_weights=False).state_dict().items()
             if tensor.is_floating_point()}
    torch.save(made_weights(names, seed), os.path.join(folder, "pt_inception-2015-12-05-6726825d.pth"))

    class Whole(torch.nn.Module):
        def __init__(self, layers):
            super().__init__()
            self.layers = layers

        def forward(self, x):
            return self.layers(x)
    layers = torch.nn.Sequential(*net.blocks, torch.nn.Flatten(1))
    with torch.no_grad():
        example = torch.zeros(1, 3, 299, 299)
        torch.jit.trace(Whole(layers), example, check_trace=False).save(os.path.join(folder, "inception-2015-12-05.pt"))


def torchscript_features(folder, networks):
    """clean-fid's mode `clean` with its own wrapper around the file in `networks`."""
    from cleanfid import fid
    from cleanfid.inception_torchscript import InceptionV3W
    net = InceptionV3W(networks, download=False).eval()
    return fid.get_folder_features(folder, model=net, num_workers=0, batch_size=4, device=torch.device("cpu"), mode="clean", verbose=False)


def pytorch_fid_features(folder, net, dims):
    from pytorch_fid import fid_score
    files = sorted(os.path.join(folder, name) for name in os.listdir(folder))
    return fid_score.get_activations(files, net, batch_size=1, dims=dims, num_workers=0)  # pictures of several sizes


def clean_fid_features(folder, net, mode):
    """clean-fid's own reading and resizing, around the same network: clean scales (x - 128) / 128, legacy_pytorch 2 x / 255 - 1."""
    from cleanfid import fid
    net.resize_input = False
    scale = {"clean": lambda x: (x / 128 - 1), "legacy_pytorch": lambda x: 2 * (x / 255) - 1}[mode]
    net.normalize_input = False
    try:
        return fid.get_folder_features(folder, model=lambda x: net(scale(x))[0].squeeze(-1).squeeze(-1), num_workers=0, batch_size=4,
                                       device=torch.device("cpu"), mode=mode, verbose=False)
    finally:
        net.resize_input = net.normalize_input = True


def statistics(features):
    return features.mean(axis=0), np.cov(features, rowvar=False)


def distance(mu1, sigma1, mu2, sigma2):
    """pytorch-fid's, by scipy's sqrtm of the product."""
    from pytorch_fid import fid_score
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(fid_score.calculate_frechet_distance(mu1, sigma1, mu2, sigma2))


def exact_distance(mu1, sigma1, mu2, sigma2):
    """The same by eigenvalues of the symmetric S1^.5 S2 S1^.5, which stays exact for singular covariances."""
    sigma1, sigma2 = np.atleast_2d(sigma1), np.atleast_2d(sigma2)
    values, vectors = np.linalg.eigh(sigma1)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    between = np.linalg.eigvalsh(root @ sigma2 @ root).clip(0)
    return float(((np.atleast_1d(mu1) - mu2) ** 2).sum() + np.trace(sigma1) + np.trace(sigma2) - 2 * np.sqrt(between).sum())


if __name__ == "__main__":  # python fid_reference.py FOLDER: the two folders of scripts/make_fid_goldens.py and the network's files
    import sys
    write_folder(os.path.join(sys.argv[1], "first"), 0, 12)
    write_folder(os.path.join(sys.argv[1], "second"), 100, 10)
    write_networks(sys.argv[1])
