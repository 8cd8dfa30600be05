"""Codec and text encoder against Python's diffusers and transformers, both ways. Skips where they are not installed."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import types
import xml.etree.ElementTree

try:
    import torch
    from diffusers import AutoencoderKL, StableDiffusionXLImg2ImgPipeline
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer, BertModel
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
BIN = pathlib.Path(os.environ.get("MICRODIT_BIN", SOURCE / "build/bin"))
CLDR = pathlib.Path("/usr/share/unicode/cldr/common")
LENGTH = 24
EVERY = 4  # states are compared for every fourth caption, ids for all
TOLERANCE = 1e-4
BF16_TOLERANCE = 2e-2

CODECS = {
    "plain": dict(mid_block_add_attention=False, use_quant_conv=False, use_post_quant_conv=False),
    "full": dict(),
    "attention_only": dict(use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1),
    "quant_only": dict(mid_block_add_attention=False, layers_per_block=2),
    "statistics": dict(latent_channels=4, scaling_factor=0.5, latents_mean=[-1.6574, 1.886, -1.383, 2.5155],
                       latents_std=[8.4927, 5.9022, 6.5498, 5.2299]),
}
REAL_WIDTHS = dict(block_out_channels=(128, 256, 512, 512), norm_num_groups=32, layers_per_block=2)
REAL_CODECS = {
    "sdxl": dict(REAL_WIDTHS, latent_channels=4, scaling_factor=0.13025),
    "flux": dict(REAL_WIDTHS, latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False,
                 use_post_quant_conv=False),
    "quant_16": dict(REAL_WIDTHS, latent_channels=16, scaling_factor=0.7),
}
REAL_SIDE = 64


def lay_out_codec(folder, changes, image_size):
    torch.manual_seed(0)
    config = dict(dict(block_out_channels=(8, 16, 24), norm_num_groups=4, latent_channels=5, scaling_factor=0.7), **changes)
    blocks = len(config["block_out_channels"])
    net = AutoencoderKL(down_block_types=("DownEncoderBlock2D",) * blocks, up_block_types=("UpDecoderBlock2D",) * blocks,
                        **config)
    with torch.no_grad():  # norms away from 1 and 0
        for name, parameter in net.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    net.save_pretrained(folder / "theirs")
    height, width = image_size
    small = [2, config["latent_channels"], height >> (blocks - 1), width >> (blocks - 1)]
    latent = torch.randn(small)
    save_file({"image": torch.rand(2, 3, height, width) * 2 - 1, "latent": latent, "latents": latent.clone()}, folder / "input.safetensors")


def check_close(name, ours, theirs):
    assert ours.shape == theirs.shape, (name, ours.shape, theirs.shape)
    worst = (ours - theirs).abs().max().item()
    print(f"{name}: largest difference {worst:.2e}, largest value {theirs.abs().max().item():.2f}")
    assert worst <= TOLERANCE, name


def check_codec(folder):
    given = load_file(folder / "input.safetensors")
    for side in ("theirs", "ours"):
        net = AutoencoderKL.from_pretrained(folder / side)
        here = load_file(folder / f"{side}_here.safetensors")
        with torch.no_grad():
            moments = net.encode(given["image"]).latent_dist.parameters
            picture = net.decode(given["latent"]).sample
        check_close(f"{folder.name} {side} encode", here["moments"], moments)
        check_close(f"{folder.name} {side} decode", here["picture"], picture)
    ours = AutoencoderKL.from_pretrained(folder / "ours").config
    theirs = AutoencoderKL.from_pretrained(folder / "theirs").config
    for key in ("scaling_factor", "shift_factor", "latent_channels", "mid_block_add_attention", "use_quant_conv"):
        assert ours[key] == theirs[key], key


def their_latents(net, mean):
    """As a pipeline makes them of z: SDXL's own code where there are statistics or no shift, SD3's formula else."""
    if net.config.shift_factor is not None or net.config.latent_channels != 4:
        return (mean - (net.config.shift_factor or 0)) * net.config.scaling_factor
    vae = types.SimpleNamespace(config=net.config, to=lambda *_, **__: None,
                                encode=lambda _: types.SimpleNamespace(latents=mean))
    return StableDiffusionXLImg2ImgPipeline.prepare_latents(types.SimpleNamespace(vae=vae), torch.zeros(len(mean), 3, 8, 8), None,
                                                            len(mean), 1, torch.float32, "cpu", add_noise=False)


def their_z(config, latents):
    """The lines of StableDiffusionXLPipeline.__call__ and StableDiffusion3Pipeline.__call__."""
    if config.latents_mean is None:
        return latents / config.scaling_factor + (config.shift_factor or 0)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (config.latents_mean, config.latents_std))
    return latents * std / config.scaling_factor + mean


def check_relative(name, ours, theirs, most):
    assert ours.shape == theirs.shape, (name, ours.shape, theirs.shape)
    difference = ((ours - theirs).norm() / theirs.norm()).item()
    print(f"{name}: relative difference {difference:.2e}")
    assert difference <= most, name


def run_probe(command, folder, *words):
    out = folder / f"{command}.safetensors"
    subprocess.run([BIN / "probe", command, "--codec", folder / "theirs", "--input", folder / "input.safetensors",
                    "--output", out, *words], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    return load_file(out)


def check_probe(folder, with_bf16):
    net = AutoencoderKL.from_pretrained(folder / "theirs")
    given = load_file(folder / "input.safetensors")
    with torch.no_grad():
        moments = net.encode(given["image"]).latent_dist.parameters
        picture = net.decode(their_z(net.config, given["latents"])).sample
    latents = their_latents(net, moments.chunk(2, 1)[0])
    for words, most in [((), TOLERANCE)] + [(("precision=bf16",), BF16_TOLERANCE)] * with_bf16:
        name = " ".join((folder.name, "probe", *words))
        encoded = run_probe("encode", folder, *words)
        check_relative(f"{name} moments", encoded["moments"], moments, most)
        check_relative(f"{name} latents", encoded["latents"], latents, most)
        check_relative(f"{name} picture", run_probe("decode", folder, *words)["image"], picture, most)


def spellings():
    """Texts that stress cleaning and splitting, one per rule and per stretch of Unicode."""
    texts = ["", "  ", "[SEP] literally [MASK]!", "ＦＵＬＬ width", "İstanbul ΣΑΣ ẞ", "a\u0301e\u0308\u0327", "ﬁ ﬂ ½",
             "नमस्ते", "한국어 テスト カ゛", "x" * 100, "x" * 101, "a\u200db\ufe0fc", "tab\tnew\nline\r", "€100 ~50% `x` ^y_z"]
    texts += [f"a{chr(c)}b {chr(c)}" for c in range(0x20, 0x3100)]
    return texts


def lay_out_text(place, folder):
    names = ["man: medium-dark skin tone", "flag: Côte d’Ivoire", "keycap: #", "grinning face"]
    for file in (CLDR / "annotations/en.xml", CLDR / "annotationsDerived/en.xml"):
        if file.exists():
            names += [a.text for a in xml.etree.ElementTree.parse(file).iter("annotation") if a.get("type") == "tts"]
    (place / "text.json").write_text(json.dumps(
        {"folder": str(folder), "captions": names[::EVERY], "length": LENGTH, "spellings": spellings() + names}))
    return names


def check_text(place, folder, all_names):
    names = all_names[::EVERY]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertModel.from_pretrained(folder).eval()
    here = load_file(place / "text.safetensors")
    rows = tokenizer(names, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    assert torch.equal(here["ids"].long(), rows["input_ids"]), "ids differ"
    worst = 0.0
    with torch.no_grad():
        for begin in range(0, len(names), 256):
            part = {key: value[begin:begin + 256] for key, value in rows.items()}
            states = model(**part).last_hidden_state * part["attention_mask"].unsqueeze(2)
            assert here["states"].isfinite().all(), names[begin]
            worst = max(worst, (here["states"][begin:begin + 256] - states).abs().max().item())
    print(f"{len(names)} captions: largest difference of states {worst:.2e}")
    assert worst <= TOLERANCE
    texts = spellings() + all_names
    expected = tokenizer(texts)["input_ids"]
    found = json.loads((place / "spellings_here.json").read_text())
    wrong = [(t, f, e) for t, f, e in zip(texts, found, expected) if f != e]
    print(f"{len(texts)} texts, {len(all_names)} of them captions: ids of {len(wrong)} differ")
    assert not wrong, wrong[:5]


def main():
    torch.set_num_threads(1)
    weights = SOURCE / "data/weights/all-MiniLM-L6-v2"
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        for codec, changes in CODECS.items():
            (place / codec).mkdir()
            lay_out_codec(place / codec, changes, (32, 24))
        has_text = (weights / "model.safetensors").exists()
        names = lay_out_text(place, weights) if has_text else []
        subprocess.run([BIN / "test_encoders", "--gtest_filter=Oracle.*"], check=True,
                       env={**os.environ, "MICRODIT_ORACLE_DIR": str(place), "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
        for codec in CODECS:
            check_codec(place / codec)
            check_probe(place / codec, with_bf16=False)
        for codec, changes in REAL_CODECS.items():
            folder = place / codec
            folder.mkdir()
            lay_out_codec(folder, changes, (REAL_SIDE, REAL_SIDE))
            check_probe(folder, with_bf16=codec == "sdxl")
            shutil.rmtree(folder)
        if has_text:
            check_text(place, weights, names)
        else:
            print(f"text part left out: no {weights / 'model.safetensors'}")


main()
