"""probe encode_text beside the originals with random weights: transformers' CLIPTextModel, CLIPModel and T5EncoderModel, open_clip's
TextTransformer. Tokens are compared elsewhere: the originals get the ids that the program found. text_encoders_oracle_test.py [wide]."""
import importlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import types

try:
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel
    from transformers.utils import logging
    PACKAGE = pathlib.Path(importlib.util.find_spec("open_clip").origin).parent
except (ImportError, AttributeError) as missing:
    print(f"skipped: {missing}; scripts/setup.sh --oracles")
    sys.exit(77)

PROBE = pathlib.Path(os.environ.get("MICRODIT_BIN", "build/bin")) / "probe"
TOKENIZERS = pathlib.Path(__file__).resolve().parent / "goldens"
CAPTIONS = ["a photo of a red flag", "", "two dogs and an old boat, drawn in ink " * 12, "Côte d’Ivoire &amp; 日本 😀", "x"]
WIDE = "wide" in sys.argv
TINY = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, projection_dim=32)
LARGE = dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24 if WIDE else 2, num_attention_heads=16, projection_dim=64)


def vocabulary(name):
    if name == "t5":
        import sentencepiece
        return sentencepiece.SentencePieceProcessor(str(TOKENIZERS / "t5/spiece.model")).get_piece_size() + 100
    return len(json.loads((TOKENIZERS / "clip/vocab.json").read_text()))


def scatter(net):
    """Weights of a size at which every part shows in the result; norms away from 1 and 0."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.7 / parameter.shape[-1] ** 0.5 if "embed" not in name and "shared" not in name else 0.5)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return net.eval()


def clip(sizes, act, save):
    config = CLIPTextConfig(vocab_size=vocabulary("clip"), hidden_act=act, max_position_embeddings=77, **sizes)

    def make(folder):
        if save == "whole":  # with its picture tower
            vision = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16, projection_dim=32)
            whole = scatter(CLIPModel(CLIPConfig(text_config=config.to_dict(), vision_config=vision, projection_dim=sizes["projection_dim"])))
            whole.save_pretrained(folder)
            net = whole.text_model
        else:
            net = scatter(CLIPTextModel(config))
            net.save_pretrained(folder)
        if save == "bin":
            state = load_file(folder / "model.safetensors")
            torch.save(state, folder / "pytorch_model.bin")
            (folder / "model.safetensors").unlink()
        for file in (TOKENIZERS / "clip").iterdir():
            shutil.copy(file, folder)
        return lambda ids: net(input_ids=ids).last_hidden_state
    return make, 77


def open_clip_transformer():
    """The module alone: the package's own __init__ wants torchvision."""
    package = types.ModuleType("open_clip")
    package.__path__ = [str(PACKAGE)]
    sys.modules["open_clip"] = package
    for name in ("torchvision", "torchvision.ops", "torchvision.ops.misc"):
        sys.modules.setdefault(name, types.ModuleType(name)).FrozenBatchNorm2d = object
    return importlib.import_module("open_clip.transformer")


def open_clip(sizes, quick, custom=False):
    def make(folder):
        module = open_clip_transformer()
        text = dict(context_length=77, vocab_size=vocabulary("clip"), width=sizes["hidden_size"], heads=sizes["num_attention_heads"], layers=sizes["num_hidden_layers"])
        net = scatter(module.TextTransformer(**text, mlp_ratio=sizes["intermediate_size"] / sizes["hidden_size"], output_dim=sizes["projection_dim"],
                                             act_layer=module.QuickGELU if quick else torch.nn.GELU))
        state = {("text." if custom else "") + name: value for name, value in net.state_dict().items()}
        save_file(state | {"visual.conv1.weight": torch.zeros(2), "logit_scale": torch.zeros(1)}, folder / "open_clip_model.safetensors")
        model = {"embed_dim": sizes["projection_dim"], "quick_gelu": quick, "vision_cfg": {},
                 "text_cfg": {**text, "mlp_ratio": sizes["intermediate_size"] / sizes["hidden_size"]}}
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": {}}))
        for file in (TOKENIZERS / "clip").iterdir():
            shutil.copy(file, folder)

        def states(ids):  # what micro_diffusion takes: every position behind ln_final
            x = net.token_embedding(ids) + net.positional_embedding
            return net.ln_final(net.transformer(x, attn_mask=net.attn_mask))
        return states
    return make, 77


def t5(length, **changes):
    sizes = dict(d_model=48, d_kv=16, d_ff=80, num_layers=3, num_heads=5, feed_forward_proj="gated-gelu") | changes

    def make(folder):
        net = scatter(T5EncoderModel(T5Config(vocab_size=vocabulary("t5"), **sizes)))
        net.save_pretrained(folder)
        shutil.copy(TOKENIZERS / "t5/spiece.model", folder)
        return lambda ids: net(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state
    return make, length


CASES = {
    "clip": clip(TINY, "quick_gelu", "alone"),
    "clip, gelu, .bin": clip(TINY, "gelu", "bin"),
    "clip, with pictures' tower": clip(TINY, "quick_gelu", "whole"),
    "open_clip, quick": open_clip(TINY, True),
    "open_clip, custom": open_clip(TINY, False, custom=True),
    "open_clip, real width": open_clip(LARGE, True),
    "t5 v1.1": t5(120),
    "t5 v1.1, long": t5(300),
    "t5 v1.0": t5(40, feed_forward_proj="relu"),
    "t5, real width": t5(120, d_model=1024, d_kv=64, d_ff=2816, num_heads=16, num_layers=24 if WIDE else 2),
}


def encode(folder, place, length, *words, texts=CAPTIONS):
    lines, out = place / "captions", place / "out.safetensors"
    lines.write_text("".join(json.dumps(text) + "\n" for text in texts))
    done = subprocess.run([PROBE, "encode_text", "--encoder", folder, "--input", lines, "--output", out, f"length={length}", *words],
                          stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    return load_file(out)


def main():
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    for name, (make, length) in CASES.items():
        with tempfile.TemporaryDirectory() as place:
            place = pathlib.Path(place)
            (place / "encoder").mkdir()
            original = make(place / "encoder")
            worst = {}
            for precision, tolerance in (("fp32", 1e-4), ("bf16", 2e-2)):
                here = encode(place / "encoder", place, length, f"precision={precision}")
                with torch.no_grad():
                    expected = original(here["ids"].long())
                assert here["states"].shape == expected.shape, (name, here["states"].shape)
                worst[precision] = ((here["states"] - expected).norm(dim=2) / expected.norm(dim=2)).max().item()
                assert worst[precision] <= tolerance, (name, worst)
            print(f"{name:28} {list(expected.shape)}: largest relative difference of a row {worst['fp32']:.1e}, in bf16 {worst['bf16']:.1e}", flush=True)


if __name__ == "__main__":
    main()
