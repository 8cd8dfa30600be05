"""Runs pytorch-fid and clean-fid on made pictures and writes tests/eval/goldens/fid.{json,safetensors}.

python scripts/make_fid_goldens.py, in an environment with torch, torchvision, scipy 1.15.3, pytorch-fid 0.3.0, clean-fid 0.1.35.
It takes minutes (square roots of 2048 x 2048). Weights of the network and pictures are rules (tests/eval/fid_reference.py:
made_weights, picture); here is what came out: resized pictures (some pixels of the large ones), features, distances."""
import json
import os
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import save_file

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests/eval"))
import fid_reference as reference

FOLDER = os.path.join(ROOT, "tests/eval/goldens")
SIDES = [(17, 23), (40, 31), (64, 64), (1, 1), (3, 500), (299, 299), (320, 300), (298, 600)]
SMALL, STRIDE = (11, 13), 997  # height, width; every so many-th value of a large picture is kept
FIRST, SECOND = (0, 12), (100, 10)  # the two folders: first index, pictures


def resized(facts, out):
    """pytorch-fid's (bilinear in [0, 1], no antialias), clean-fid's clean (Pillow's bicubic per channel in float) and legacy_pytorch."""
    from cleanfid.resize import build_resizer, make_resizer
    height, width = SMALL
    resizers = {"clean": make_resizer("PIL", False, "bicubic", (width, height)), "legacy_pytorch": make_resizer("PyTorch", False, "bilinear", SMALL)}
    pytorch_fid = lambda pixels, size: torch.nn.functional.interpolate(
        torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div(255), size=size, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    for index, (h, w) in enumerate(SIDES):
        pixels = reference.picture(index, h, w)
        small = {name: torch.from_numpy(np.array(resizer(pixels), dtype=np.float32)) for name, resizer in resizers.items()}
        small["pytorch_fid"] = pytorch_fid(pixels, SMALL)
        large = {name: torch.from_numpy(np.array(build_resizer(name)(pixels), dtype=np.float32)) for name in resizers}
        large["pytorch_fid"] = pytorch_fid(pixels, (299, 299))
        sums = {}
        for name in small:
            assert tuple(large[name].shape) == (299, 299, 3)
            out[f"resize.{index}.{name}.small"] = small[name]
            flat = large[name].flatten()
            out[f"resize.{index}.{name}.some"] = flat[::STRIDE]
            sums[name] = [flat.double().sum().item(), flat.double().square().sum().item()]
        facts.append({"index": index, "height": h, "width": w, "pixels_sum": int(pixels.sum()), "sums": sums})


def distances(out):
    rng = np.random.default_rng(3)

    def samples(count, dims, scale=1.0):
        return reference.statistics(rng.standard_normal((count, dims)) @ rng.standard_normal((dims, dims)) * scale + rng.standard_normal(dims))
    full, other = samples(40, 8), samples(60, 8)
    thin, thinner = samples(5, 8), samples(3, 8)
    one = (np.array([0.5]), np.array([[2.0]])), (np.array([-1.0]), np.array([[0.3]]))
    scales = np.diag(10.0 ** np.arange(-6, 2))
    cases = {"full_rank": (full, other), "equal": (full, full), "means_alone": (full, (full[0] + 0.5, full[1])),
             "rank_deficient_and_full": (thin, full), "both_rank_deficient": (thin, thinner), "zero_covariance": (full, (full[0], np.zeros((8, 8)))),
             "both_zero": ((full[0], np.zeros((8, 8))), (other[0], np.zeros((8, 8)))), "one_dimension": one,
             "diagonal": ((full[0], np.diag([1.0, 2, 3, 4, 5, 6, 7, 8])), (other[0], np.diag([8.0, 7, 6, 5, 4, 3, 2, 1]))),
             "ill_conditioned": ((full[0], scales @ other[1] @ scales), (other[0], scales @ full[1] @ scales)),
             "few_of_32": (samples(10, 32), samples(12, 32)), "constant_dimension": ((full[0], full[1] * np.outer(*[np.arange(8) != 2] * 2)), other)}
    facts = []
    for name, ((mu1, sigma1), (mu2, sigma2)) in cases.items():
        facts.append({"name": name, "sqrtm": reference.distance(mu1, sigma1, mu2, sigma2), "exact": reference.exact_distance(mu1, sigma1, mu2, sigma2)})
        out |= {f"distance.{name}.{key}": torch.from_numpy(np.array(value)) for key, value in
                (("mu1", mu1), ("sigma1", sigma1), ("mu2", mu2), ("sigma2", sigma2))}
    return facts


def features(out):
    """Three pictures through the four stages; then two folders by each implementation."""
    facts = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (first, count) in (("three", (0, 3)), ("first", FIRST), ("second", SECOND)):
            reference.write_folder(f"{folder}/{name}", first, count)
        for dims, block in ((64, 0), (192, 1), (768, 2), (2048, 3)):
            net = reference.inception((block,))
            out[f"features.{dims}"] = torch.from_numpy(reference.pytorch_fid_features(f"{folder}/three", net, dims)).float()
        for name in ("pytorch_fid", "clean", "legacy_pytorch"):
            if name == "pytorch_fid":
                both = [reference.pytorch_fid_features(f"{folder}/{side}", net, 2048) for side in ("first", "second")]
            else:
                both = [reference.clean_fid_features(f"{folder}/{side}", net, name).astype(np.float64) for side in ("first", "second")]
            out[f"folder_feature_sums.{name}"] = torch.from_numpy(np.stack([some.sum(axis=0) for some in both])[:, ::16].copy())
            (mu1, sigma1), (mu2, sigma2) = map(reference.statistics, both)
            facts.append({"name": name, "dims": 2048, "sqrtm": reference.distance(mu1, sigma1, mu2, sigma2),
                          "exact": reference.exact_distance(mu1, sigma1, mu2, sigma2)})
    return facts


def main():
    torch.set_num_threads(1)
    out, facts = {}, {"small": SMALL, "stride": STRIDE, "folders": {"first": FIRST, "second": SECOND}, "sizes": reference.SIZES, "resized": []}
    resized(facts["resized"], out)
    facts["distances"] = distances(out)
    facts["folder_distances"] = features(out)
    os.makedirs(FOLDER, exist_ok=True)
    with open(f"{FOLDER}/fid.json", "w") as file:
        json.dump(facts, file, indent=1)
        file.write("\n")
    save_file({name: tensor.contiguous() for name, tensor in out.items()}, f"{FOLDER}/fid.safetensors")
    os.chmod(f"{FOLDER}/fid.safetensors", 0o644)


main()
