"""CC12M's line as it is shipped, in miniature: a hub behind a token serves tars and networks with random weights in their
publishers' own files, written by diffusers, open_clip and transformers -> download -> clean -> precompute -> train -> generate.
Latents and text rows are compared with what the original makes of the same pixels, captions and weights."""
import importlib
import io
import json
import os
import pathlib
import shutil
import sys
import tarfile
import tempfile
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "encoders"))
import programs  # noqa: E402

try:
    import h5py
    import numpy as np
    import token_oracles
    import torch
    from diffusers import AutoencoderKL
    from PIL import Image
    from transformers import T5Config, T5EncoderModel
except ImportError as missing:
    programs.skip(f"{missing}: scripts/setup.sh --oracles")
from repository_hub import RepositoryHub, files_of  # noqa: E402
from tiny_bert import make_bert  # noqa: E402

SOURCE = programs.SOURCE
TOKEN, WIDTH, TOLERANCE = "hf_miniature", 32, 1e-3
NETWORKS = {"sdxl_vae": "models/stabilityai/stable-diffusion-xl-base-1.0", "dfn5b_clip_h14": "models/apple/DFN5B-CLIP-ViT-H-14-378",
            "flan_t5_large": "models/google/flan-t5-large", "t5_v1_1_xxl": "models/DeepFloyd/t5-v1_1-xxl",
            "minilm": "models/sentence-transformers/all-MiniLM-L6-v2"}
CAPTIONS = ["a photo of a red flag", "Two dogs &amp; an old boat, drawn in ink", "CafÃ© naÃ¯ve at www.example.com/x on a rainy day", "",
            "<b>sunset</b> over the sea 12345678", "日本 flag 😀", "an oil painting of " + "very " * 90 + "old ships"]


def scatter(net):
    """Weights of a size at which every part shows in the result; norms away from 1 and 0."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.dim() > 1 and "embed" not in name:
                parameter.normal_(0, 0.7 / parameter[0].numel() ** 0.5)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return net.eval()


def make_vae(folder):
    """SDXL's codec but for its widths, in the pipeline's folder."""
    net = scatter(AutoencoderKL(down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
                                block_out_channels=[8, 8, 16, 16], layers_per_block=2, norm_num_groups=4, latent_channels=4,
                                sample_size=1024, scaling_factor=0.13025))
    net.save_pretrained(folder / "vae")
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    return net


def open_clip_model():
    """open_clip/model.py alone: the package's own __init__ wants torchvision."""
    package = types.ModuleType("open_clip")
    package.__path__ = [str(token_oracles.open_clip_package())]
    sys.modules["open_clip"] = package
    for name in ("torchvision", "torchvision.ops", "torchvision.ops.misc"):
        sys.modules.setdefault(name, types.ModuleType(name)).FrozenBatchNorm2d = object
    return importlib.import_module("open_clip.model")


def make_clip(folder, tokenizer):
    """DFN5B's ViT-H-14 but for its sizes: both towers in one .bin, the vocabulary as transformers has it."""
    token_oracles.write_clip_folder(folder, token_oracles.read_merges(token_oracles.open_clip_package() / "bpe_simple_vocab_16e6.txt.gz"), tokenizer)
    model = {"embed_dim": 16, "quick_gelu": True, "vision_cfg": {"image_size": 28, "layers": 1, "width": 32, "head_width": 16, "patch_size": 14},
             "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": WIDTH, "heads": 2, "layers": 3}}
    net = scatter(open_clip_model().CLIP(**model))
    torch.save(net.state_dict(), folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}))
    return net


def make_t5(folder, sharded):
    spiece = token_oracles.ROOT / "tests/encoders/goldens/t5/spiece.model"
    pieces = token_oracles.sentencepiece.SentencePieceProcessor(str(spiece)).get_piece_size() + 100
    net = scatter(T5EncoderModel(T5Config(vocab_size=pieces, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, feed_forward_proj="gated-gelu")))
    net.save_pretrained(folder)
    shutil.copy(spiece, folder)
    if not sharded:
        return
    (folder / "model.safetensors").unlink()
    state = list(net.state_dict().items())
    index = {}
    for i, part in enumerate((state[::2], state[1::2]), 1):
        name = f"pytorch_model-{i:05d}-of-00002.bin"
        torch.save(dict(part), folder / name)
        index |= {key: name for key, _ in part}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": index}))


def make_pictures():
    """Key -> (JPEG bytes, caption): smooth colours, taller and wider than 256 px, one that is too small."""
    draw, found = np.random.default_rng(5), {}
    for i in range(18):
        size = (200, 300) if i == 17 else (256 + 9 * i, 400 - 7 * i)
        small = Image.fromarray(draw.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        file = io.BytesIO()
        small.resize(size, Image.BICUBIC).save(file, "JPEG", quality=90)
        found[f"{i:09d}"] = (file.getvalue(), CAPTIONS[i % len(CAPTIONS)])
    return found


def make_tars(pictures):
    """WebDataset members as in pixparse/cc12m-wds: jpg, txt, json."""
    tars = {}
    for number in range(2):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            for key, (jpeg, caption) in list(pictures.items())[number::2]:
                for field, body in (("jpg", jpeg), ("json", json.dumps({"key": key, "caption": caption}).encode()), ("txt", caption.encode())):
                    member = tarfile.TarInfo(f"{key}.{field}")
                    member.size = len(body)
                    tar.addfile(member, io.BytesIO(body))
        tars[f"cc12m-train-{number:04d}.tar"] = file.getvalue()
    return tars


def squares(jpeg, size=256):
    """The original's Resize (bicubic, shorter side) and CenterCrop, as torchvision computes them of a PIL image."""
    picture = Image.open(io.BytesIO(jpeg)).convert("RGB")
    width, height = picture.size
    short = min(width, height)
    picture = picture.resize((int(size * width / short), int(size * height / short)), Image.BICUBIC)
    left, top = (int(round((side - size) / 2.0)) for side in picture.size)
    pixels = np.asarray(picture.crop((left, top, left + size, top + size)), dtype=np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1).div(255).sub(0.5).div(0.5)


def cleaned(captions):
    """The original's own cleaner where it is there."""
    file = pathlib.Path(os.environ.get("MICRODIT_REFERENCE", "")) / "micro_diffusion/datasets/captions.py"
    if not file.is_file():
        return None
    spec = importlib.util.spec_from_file_location("original_captions", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [module.CaptionProcessor().clean_caption(caption) for caption in captions]


def text_rows(net, tokenizer, captions):
    """micro_diffusion's openclip_text_encoder: ln_final of all positions. (open_clip's Transformer takes batches first by now.)"""
    ids = tokenizer.SimpleTokenizer()(captions, context_length=77)
    x = net.token_embedding(ids) + net.positional_embedding
    return net.ln_final(net.transformer(x, attn_mask=net.attn_mask))


def check_close(what, ours, theirs):
    check = programs.check
    check(ours.shape == tuple(theirs.shape), f"{what}: {ours.shape}, not {tuple(theirs.shape)}")
    ours, theirs = torch.from_numpy(ours.astype(np.float32)).flatten(1), theirs.half().float().flatten(1)
    worst = ((ours - theirs).norm(dim=1) / theirs.norm(dim=1)).max().item()
    print(f"{what}: largest relative difference {worst:.2e}")
    check(worst <= TOLERANCE, f"{what}: relative difference {worst}")


def texts(shard, name):
    offsets, data = shard[name + "_offsets"][:], shard[name][:].tobytes()
    return [data[a:b].decode() for a, b in zip(offsets, offsets[1:])]


class Line:
    def __init__(self, data):
        self.data, self.tokenizer = data, token_oracles.open_clip_module()
        made = data / "made"
        self.vae, self.clip = make_vae(made / "sdxl_vae"), make_clip(made / "dfn5b_clip_h14", self.tokenizer)
        make_t5(made / "flan_t5_large", False)
        make_t5(made / "t5_v1_1_xxl", True)
        make_bert(made / "minilm", 8, 128)
        self.pictures = make_pictures()
        repositories = {NETWORKS[name]: files_of(made / name) for name in NETWORKS} | {"datasets/pixparse/cc12m-wds": make_tars(self.pictures)}
        self.hub = RepositoryHub(repositories, TOKEN, tuple(repositories))
        (data / "recipe.yaml").write_text(f"extends: {SOURCE}/configs/latents/sdxl_dfn5b.yaml\nimages: {{latent: mean, sizes: [256]}}\n")
        self.entry = data / "entry.yaml"
        self.entry.write_text(f"extends: {SOURCE}/configs/datasets/cc12m.yaml\nrecipe: {data}/recipe.yaml\n"
                              "source: {gated: true, backoff_s: 0.02, pattern: ['cc12m-train-{0000..0001}.tar'], small: []}\n")

    def run(self, program, *words, **options):
        return programs.run(program, *words, data=self.data, env=programs.environment(self.data, MICRODIT_HUB=self.hub.url, HF_TOKEN=TOKEN,
                                                                                       HF_HOME=self.data / "hf"), **options)

    def download(self):
        for name in NETWORKS:
            self.run("download", "--config", SOURCE / f"configs/weights/{name}.yaml")
        programs.check(not any("picture" in path or "model_index" in path for path in self.hub.resolved()), self.hub.resolved())
        self.run("download", "--config", self.entry)
        for recipe in ("sdxl_dfn5b", "sdxl_flan_t5", "sdxl_t5_xxl", "sdxl_minilm"):
            log = self.run("precompute", "--config", self.entry, "--dry-run", f"recipe=configs/latents/{recipe}.yaml")
            programs.check(f"recipe {recipe}: codec {self.data}/weights/sdxl-vae" in log, log)

    def compare_latents(self, folder):
        count = 0
        for file in sorted(folder.glob("*.images.h5")):
            with h5py.File(file) as shard, torch.no_grad():
                keys, rows = texts(shard, "key"), shard["latents_256_row"][:]
                batch = torch.stack([squares(self.pictures[key][0]) for key in keys])
                theirs = self.vae.encode(batch)["latent_dist"].mode() * self.vae.config.scaling_factor
                check_close(f"latents of {file.name}", shard["latents_256"][:][rows], theirs)
                count += len(keys)
        programs.check(count == 17, f"{count} pictures, not the 17 that are large enough")

    def compare_text(self, folder):
        said = set()
        for file in sorted(folder.glob("*.text.h5")):
            with h5py.File(file) as shard, torch.no_grad():
                captions = texts(shard, "text_caption")
                check_close(f"text rows of {file.name}", shard["text"][:], text_rows(self.clip, self.tokenizer, captions))
                said |= set(captions)
        wanted = cleaned(CAPTIONS)
        programs.check(wanted is None or said == set(wanted), f"{sorted(said)}, not {sorted(wanted or [])}")

    def train_and_paint(self):
        runs = self.data / "runs"
        self.run("train", "--config", SOURCE / "configs/train/pretrain_256.yaml", f"runs={runs}", "name=small", "device=cpu", "precision=fp32", "steps=20",
                 "batch_size=4", "microbatch_size=4", "schedule.warmup_steps=5", "sampling.every_steps=0", "checkpoint.every_minutes=0",
                 *programs.TINY_MODEL)
        losses = [line["loss"] for line in programs.metrics(runs / "small") if "loss" in line]
        programs.check(programs.metrics(runs / "small")[-1]["step"] == 20 and all(0 < loss < 10 for loss in losses), losses)
        self.run("generate", "--run", runs / "small", "--prompt", "a red flag", "steps=2")
        pictures = list((runs / "small/images").rglob("*.png"))
        programs.check(pictures and Image.open(pictures[0]).size == (256, 256), pictures)
        shutil.rmtree(self.data / "weights/sdxl-vae")
        log = self.run("generate", "--run", runs / "small", "--prompt", "a red flag", "steps=2", expect=programs.USER_MISTAKE)
        programs.check("to fetch it:" in log and "--config configs/weights/sdxl_vae.yaml" in log, log)


def main():
    with tempfile.TemporaryDirectory(prefix="microdit_cc12m_") as scratch:
        line = Line(pathlib.Path(scratch))
        line.download()
        line.run("clean", "--config", line.entry)
        line.run("precompute", "--config", line.entry, "device=cpu")
        folder = line.data / "latents/cc12m/sdxl_dfn5b"
        line.compare_latents(folder)
        line.compare_text(folder)
        line.train_and_paint()
    print("ok")


if __name__ == "__main__":
    main()
