#!/usr/bin/env python3
"""pytorch-fid, clean-fid and the networks' own code, each in an environment of its own (scripts/bench_setup.sh): prints one JSON line.

  weights inception|efficientnet_lite0|mobilenet_v2 OUT.pth [legacy]   random weights by the network's own names
  script WEIGHTS OUT.pt                                                the same Inception as TorchScript, in clean-fid's form
  pytorch_fid A B WEIGHTS DIMS      clean_fid A B SCRIPT      clean_kid A B SCRIPT      the packages' own numbers
  features NETWORK FOLDER WEIGHTS RESIZE OUT.npz                       mu and sigma, pictures by PIL and torch alone
"""
import json
import os
import sys
import warnings

import numpy as np
import torch

warnings.filterwarnings("ignore")
torch.set_grad_enabled(False)


def inception(state=None):
    """pytorch-fid's network, given `state` instead of the download."""
    from pytorch_fid import inception as module
    if state is not None:
        module.load_state_dict_from_url = lambda *_, **__: state
        return module.fid_inception_v3()
    load, torch.nn.Module.load_state_dict = torch.nn.Module.load_state_dict, lambda *_, **__: None
    module.load_state_dict_from_url = lambda *_, **__: {}
    try:
        return module.fid_inception_v3()
    finally:
        torch.nn.Module.load_state_dict = load


def network(name):
    if name == "inception":
        return inception()
    if name == "mobilenet_v2":
        import torchvision
        return torchvision.models.mobilenet_v2(weights=None)
    from efficientnet_lite_pytorch import EfficientNet
    return EfficientNet.from_name("efficientnet-lite0")


def randomize(net):
    torch.manual_seed(5)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.uniform_(0.8, 1.2)
            module.bias.uniform_(-0.2, 0.2)
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.7, 1.4)
    return net.eval()


def write_weights(name, path, form="zip"):
    torch.save(randomize(network(name)).state_dict(), path, _use_new_zipfile_serialization=form != "legacy")
    return {}


def write_script(weights, path):
    net = inception(torch.load(weights)).eval()
    names = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", None, "Conv2d_3b_1x1", "Conv2d_4a_3x3", None,
             *(f"Mixed_{name}" for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"))]
    layers = [torch.nn.MaxPool2d(3, 2) if name is None else getattr(net, name) for name in names]
    whole = torch.nn.Module()
    whole.layers = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1))

    class Base(torch.nn.Module):
        def __init__(self, layers):
            super().__init__()
            self.layers = layers

        def forward(self, x):
            return self.layers((x - 128) / 128)
    torch.jit.save(torch.jit.trace(Base(whole.layers).eval(), torch.zeros(1, 3, 299, 299)), path)
    return {}


def pytorch_fid(a, b, weights, dims):
    from pytorch_fid import fid_score, inception as module
    state = torch.load(weights)
    module.load_state_dict_from_url = lambda *_, **__: state
    return {"fid": float(fid_score.calculate_fid_given_paths([a, b], 1, "cpu", int(dims), 0))}


def clean_network(script):
    from cleanfid import inception_torchscript
    inception_torchscript.os.path.join = lambda folder, name: folder  # the file itself is named, not /tmp
    net = inception_torchscript.InceptionV3W(script, download=False)
    inception_torchscript.os.path.join = REAL_JOIN
    return net


CLEAN = {"num_workers": 0, "batch_size": 1, "device": torch.device("cpu"), "verbose": False}


def clean_fid(a, b, script):
    from cleanfid import fid
    return {"fid": float(fid.compare_folders(a, b, clean_network(script), "clean", **CLEAN))}


def clean_kid(a, b, script):
    """Of two folders of as many pictures, at most 1000: each of its subsets is all of them."""
    from cleanfid import fid
    net = clean_network(script)
    return {"kid": fid.kernel_distance(*(fid.get_folder_features(folder, net, mode="clean", **CLEAN) for folder in (a, b)))}


REAL_JOIN = os.path.join


def resized(path, size, resize):
    from PIL import Image
    picture = np.array(Image.open(path).convert("RGB"))
    if resize == "clean_fid":
        channels = [np.asarray(Image.fromarray(picture[:, :, c].astype(np.float32), mode="F").resize((size, size), Image.BICUBIC))
                    for c in range(3)]
        return torch.from_numpy(np.stack(channels).clip(0, 255)) / 255
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    return torch.nn.functional.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)[0]


def features(name, folder, weights, resize, out):
    net = network(name).eval()
    net.load_state_dict(torch.load(weights))
    pooled = {"mobilenet_v2": lambda x: net.features(x).mean((2, 3)),
              "efficientnet_lite0": lambda x: net.extract_features(x).mean((2, 3))}[name]
    mean, deviation = torch.tensor([.485, .456, .406]).view(3, 1, 1), torch.tensor([.229, .224, .225]).view(3, 1, 1)
    rows = [pooled(((resized(os.path.join(folder, file), 224, resize) - mean) / deviation)[None])[0].double().numpy()
            for file in sorted(os.listdir(folder))]
    rows = np.stack(rows)
    np.savez_compressed(out, mu=rows.mean(0), sigma=np.cov(rows, rowvar=False))
    return {"n": len(rows)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    words = {"weights": write_weights, "script": write_script, "pytorch_fid": pytorch_fid, "clean_fid": clean_fid, "clean_kid": clean_kid,
             "features": features}
    print(json.dumps(words[sys.argv[1]](*sys.argv[2:])))
