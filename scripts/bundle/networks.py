"""Checks of single parts through `probe`: the CUDA path against the CPU, and bf16 against fp32."""
import json

import torch

from runner import difference, load, save, whole_difference
from verdict import Bar, Failure

EXACT = "fp32; TF32 switched off for the whole process (NVIDIA_TF32_OVERRIDE=0)"
AS_RUN = "fp32 as a job runs it: cuDNN's convolutions may use TF32, matrix products do not"
BF16 = "‖bf16 − fp32‖ / ‖fp32‖ on random weights of a trained net's size"

# Chosen before the first GPU run: fp32 differs by the order of sums; bf16 keeps 8 bits, and an expert's choice may fall
# the other way. `above 0` finds a setting that did nothing: two devices or two precisions never agree to the last bit.
PARTS_ON_CUDA = [
    Bar("forward, CUDA against CPU", most=2e-3, least=0, above=True, note=AS_RUN),
    Bar("forward, mask .75, CUDA against CPU", most=2e-3, least=0, above=True),
    Bar("loss, mask .75, CUDA against CPU", most=2e-3),
    Bar("gradients, worst tensor, CUDA against CPU", most=5e-3, least=0, above=True),
    Bar("sampler, 18 steps, CUDA against CPU", most=5e-3, least=0, above=True),
    Bar("codec encode, TF32 off, CUDA against CPU", most=5e-4, least=0, above=True, note=EXACT),
    Bar("codec encode, CUDA against CPU", most=1e-2, least=0, above=True, note=AS_RUN),
    Bar("codec decode, TF32 off, CUDA against CPU", most=5e-4, least=0, above=True, note=EXACT),
    Bar("codec decode, CUDA against CPU", most=1e-2, least=0, above=True, note=AS_RUN),
    Bar("text encoder, CUDA against CPU", most=2e-3, least=0, above=True, note="a small random BERT"),
]
PRECISION = [
    Bar("forward, mask .75, bf16 against fp32", most=5e-2, least=1e-5, note=BF16),
    Bar("loss, mask .75, bf16 against fp32", most=2e-2, least=0, above=True),
    Bar("gradients, whole, bf16 against fp32", most=1e-1, least=1e-5),
    Bar("gradients, worst tensor, bf16 against fp32", most=5e-1, least=1e-5),
]


class Inputs:
    """Random tensors of fixed seed, the demonstration's net with random weights of a trained one's size, a small BERT."""

    def __init__(self, folder, configs, shapes):
        """`shapes`: a safetensors file with the net's names and shapes (only those are taken)."""
        self.folder = folder
        draw = torch.Generator().manual_seed(0)
        normal = lambda *shape: torch.randn(shape, generator=draw)
        self.config = folder / "model.yaml"
        self.config.write_text(f"extends: {configs.resolve()}/models/emoji.yaml\n"
                               "model: {input_size: 8, in_channels: 4, caption_channels: 384}\n")
        self.weights = folder / "weights.safetensors"
        save(self.weights, random_weights(load(shapes), normal))
        mask = torch.rand((4, 16), generator=draw)
        save(folder / "forward.in", {"x": normal(4, 4, 8, 8), "noise_label": normal(4), "text": normal(4, 24, 384), "mask_noise": mask})
        save(folder / "loss.in", {"x0": 0.5 * normal(4, 4, 8, 8), "text": normal(4, 24, 384), "sigma": (1.2 * normal(4) - 0.6).exp(),
                                  "noise": normal(4, 4, 8, 8), "mask_noise": mask})
        save(folder / "sample.in", {"x": normal(2, 4, 8, 8), "text": normal(2, 24, 384)})
        save(folder / "encode.in", {"pixels": torch.randint(0, 256, (2, 64, 64, 3), generator=draw, dtype=torch.uint8)})
        save(folder / "decode.in", {"latents": 0.5 * normal(2, 4, 8, 8)})
        (folder / "encode_text.in").write_text('"red heart"\n"a photograph of an astronaut riding a horse"\n')
        self.bert = folder / "bert"
        make_bert(self.bert, normal)


def random_weights(shapes, normal):
    """As of a trained net: with the zeros of a fresh one nothing but the last layer would be seen."""
    weights = {}
    for name, old in shapes.items():
        values = normal(*old.shape)
        if name == "pos_embed":
            weights[name] = old.float()
        elif name == "mask_token":
            weights[name] = values
        elif old.dim() <= 1:
            weights[name] = (0.0 if "bias" in name else 1.0) + 0.1 * values
        else:
            weights[name] = values * old.shape[-1] ** -0.5
    return weights


def make_bert(folder, normal, width=64, wide=128, layers=2):
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "heart", "a", "photograph", "of", "an", "riding", "horse"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "config.json").write_text(json.dumps({
        "model_type": "bert", "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 4, "intermediate_size": wide,
        "max_position_embeddings": 32, "vocab_size": len(words), "type_vocab_size": 2}))
    state = {"embeddings.word_embeddings.weight": normal(len(words), width), "embeddings.position_embeddings.weight": normal(32, width),
             "embeddings.token_type_embeddings.weight": normal(2, width)}

    def linear(name, inner, outer):
        state.update({f"{name}.weight": normal(outer, inner) * inner ** -0.5, f"{name}.bias": 0.1 * normal(outer)})

    def norm(name):
        state.update({f"{name}.weight": 1 + 0.1 * normal(width), f"{name}.bias": 0.1 * normal(width)})

    norm("embeddings.LayerNorm")
    for layer in (f"encoder.layer.{i}" for i in range(layers)):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            linear(f"{layer}.attention.{part}", width, width)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", width, wide)
        linear(f"{layer}.output.dense", wide, width)
        norm(f"{layer}.output.LayerNorm")
    linear("pooler.dense", width, width)
    save(folder / "model.safetensors", state)


class Parts:
    """Runs `probe` on the inputs; every result is kept, since several rows look at it."""

    def __init__(self, programs, inputs, codec):
        self.programs, self.inputs, self.codec = programs, inputs, codec
        self.results = {}

    def probe(self, command, device, *words, tag="", **env):
        key = (command, device, words, tag)
        if key not in self.results:
            output = self.inputs.folder / f"{command}_{device}_{len(self.results)}.out"
            codec, net = ("--codec", self.codec), ("--config", self.inputs.config, "--weights", self.inputs.weights)
            what = {"encode": codec, "decode": codec, "encode_text": ("--encoder", self.inputs.bert)}.get(command, net)
            self.programs.run("probe", command, *what, "--input", self.inputs.folder / f"{command}.in", "--output", output,
                              f"device={device}", *words, folder=self.inputs.folder, **env)
            self.results[key] = load(output)
        return self.results[key]

    def cuda_rows(self, report):
        """One closure per program pair: (names, work)."""
        def on_both(command, *words, **env):
            return self.probe(command, "cuda", *words, tag=str(env), **env), self.probe(command, "cpu", *words)

        def compare(name, *arguments, **env):
            return [name], lambda: report.add(name, difference(*on_both(*arguments, **env)))

        def loss():
            gpu, cpu = on_both("loss", "mask_ratio=.75")
            report.add("loss, mask .75, CUDA against CPU", difference(*split(gpu, cpu, "loss")))
            report.add("gradients, worst tensor, CUDA against CPU", difference(*split(gpu, cpu, "grad.")))

        exact = {"NVIDIA_TF32_OVERRIDE": "0"}
        return [compare("forward, CUDA against CPU", "forward"),
                compare("forward, mask .75, CUDA against CPU", "forward", "mask_ratio=.75"),
                (["loss, mask .75, CUDA against CPU", "gradients, worst tensor, CUDA against CPU"], loss),
                compare("sampler, 18 steps, CUDA against CPU", "sample", "steps=18", "guidance=4", "objective.sigma_data=.5"),
                compare("codec encode, TF32 off, CUDA against CPU", "encode", **exact), compare("codec encode, CUDA against CPU", "encode"),
                compare("codec decode, TF32 off, CUDA against CPU", "decode", **exact), compare("codec decode, CUDA against CPU", "decode"),
                compare("text encoder, CUDA against CPU", "encode_text")]

    def precision_rows(self, report, device):
        def forward():
            both = [self.probe("forward", device, "mask_ratio=.75", *words) for words in (["precision=bf16"], [])]
            report.add("forward, mask .75, bf16 against fp32", difference(*both))

        def loss():
            both = [self.probe("loss", device, "mask_ratio=.75", *words) for words in (["precision=bf16"], [])]
            report.add("loss, mask .75, bf16 against fp32", difference(*split(*both, "loss")))
            gradients = split(*both, "grad.")
            report.add("gradients, whole, bf16 against fp32", whole_difference(*gradients))
            report.add("gradients, worst tensor, bf16 against fp32", difference(*gradients))

        return [(["forward, mask .75, bf16 against fp32"], forward),
                ([bar.name for bar in PRECISION[1:]], loss)]


def split(ours, theirs, prefix):
    both = [{name: tensor for name, tensor in side.items() if name.startswith(prefix)} for side in (ours, theirs)]
    if not both[0]:
        raise Failure(f"probe wrote no tensor {prefix}*")
    return both
