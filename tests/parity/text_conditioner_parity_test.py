"""The text_conditioner against torch's own TransformerEncoder (norm_first), whose names it has, in front of a U-Net of diffusers: prediction,
loss and every gradient through `probe forward|loss`, five guided steps through `probe sample`.

Needs torch and diffusers; skips without."""
import json
import os
import subprocess
import sys
import tempfile

BAR, ROWS_BAR = 2e-5, 1e-5
VOCABULARY, LENGTH, WIDTH, ROWS = 19, 6, 16, 12


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


try:
    import torch
    from safetensors.torch import load_file, save_file
    sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(os.path.dirname(os.path.abspath(__file__)), "../diffusion")]
    import diffusers_reference
    import unet_reference
except ImportError as error:
    skip(f"no {error.name}")

MODEL = {"kind": "unet", **{key: value for key, value in unet_reference.NETS["text_and_classes"][0].items() if key != "num_class_embeds"},
         "cross_attention_dim": ROWS}
SECTION = {"vocabulary": VOCABULARY, "length": LENGTH, "width": WIDTH, "depth": 2, "heads": 4}


class Conditioner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.token_embedding = torch.nn.Embedding(VOCABULARY + 1, WIDTH)
        self.position_embedding = torch.nn.Parameter(torch.randn(LENGTH, WIDTH))
        layer = torch.nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, dropout=0, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, 2, torch.nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.projection = torch.nn.Linear(WIDTH, ROWS)

    def ours(self):
        """Its parameters by our names."""
        return {"text_conditioner." + name.removeprefix("encoder."): parameter for name, parameter in self.named_parameters()}

    def forward(self, tokens, lengths):
        """Without a token a caption is the row behind the vocabulary."""
        seen = torch.arange(tokens.shape[1]) < lengths[:, None]
        tokens = torch.where(seen, tokens, VOCABULARY)
        seen[:, 0] = True
        states = self.encoder(self.token_embedding(tokens) + self.position_embedding[:tokens.shape[1]], src_key_padding_mask=~seen)
        return self.projection(states), seen


def probe(folder, command, model, weights, inputs, *words):
    save_file({name: tensor.detach().clone() for name, tensor in weights.items()}, f"{folder}/weights.safetensors")
    save_file({name: tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor.detach().contiguous() for name, tensor in inputs.items()},
              f"{folder}/in.safetensors")
    with open(f"{folder}/model.yaml", "w") as file:
        file.write("model: " + json.dumps(model) + "\n")
    run = subprocess.run([os.path.join(os.environ["MICRODIT_BIN"], "probe"), command, "--config", f"{folder}/model.yaml", "--weights",
                          f"{folder}/weights.safetensors", "--input", f"{folder}/in.safetensors", "--output", f"{folder}/out.safetensors", *words],
                         capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"probe {command} {words} ended with {run.returncode}: {run.stderr}")
    return load_file(f"{folder}/out.safetensors")


def relative(ours, theirs, least=1e-30):
    return (ours.double() - theirs.double()).norm().item() / max(theirs.double().norm().item(), least)


def main():
    torch.set_num_threads(1)
    torch.manual_seed(7)
    conditioner, failed = Conditioner(), 0
    for name, parameter in conditioner.named_parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, 1 if "norm" in name and name.endswith("weight") else 0, 0.2)
    net = unet_reference.make_net({key: value for key, value in MODEL.items() if key != "kind"})
    tokens = torch.tensor([[4, 9, 1, 0, 0], [7, 2, 18, 3, 1], [5, 5, 5, 5, 5]])
    lengths = torch.tensor([3, 5, 0])
    x, noise, t = torch.randn(3, 4, 6, 4), torch.randn(3, 4, 6, 4), torch.tensor([0, 417, 999])
    given = {"tokens": tokens, "text_length": lengths}
    model = {**MODEL, "text_conditioner": SECTION}
    weights = {**net.state_dict(), **conditioner.ours()}

    def report(what, worst, bar):
        nonlocal failed
        failed += not worst <= bar
        print(f"{what:44s} {worst:.2e}{'' if worst <= bar else f'   ABOVE {bar}'}", flush=True)

    rows, seen = conditioner(tokens, lengths)
    theirs = unet_reference.forward(net, unet_reference.noised(x, noise, t), t, {"text": rows, "text_mask": seen})
    loss = torch.nn.functional.mse_loss(theirs, noise)
    loss.backward()
    gradients = {"grad." + name: parameter.grad for name, parameter in [*net.named_parameters(), *conditioner.ours().items()]}
    whole = sum(gradient.double().norm().item() ** 2 for gradient in gradients.values()) ** 0.5
    with tempfile.TemporaryDirectory() as folder:
        objective = ("objective.path=linear", "objective.prediction=eps")
        ours = probe(folder, "loss", model, weights, {"x0": x, "noise": noise, "t": t.float(), **given}, *objective)
        assert ours.keys() == {"loss", *gradients}, sorted(ours.keys() ^ {"loss", *gradients})
        report("loss in front of diffusers' U-Net", relative(ours["loss"], loss.detach()), BAR)
        # Of keys' bias the gradient is rounding alone.
        worst = {name: relative(ours[name], gradient, 1e-3 * whole) for name, gradient in gradients.items()}
        report(f"every gradient, worst {max(worst, key=worst.get)}", max(worst.values()), BAR)

        def network(x, t):
            with torch.no_grad():
                times = t.reshape(1).expand(len(x))
                halves = []
                for numbers in (lengths, torch.zeros_like(lengths)):
                    rows, seen = conditioner(tokens, numbers)
                    halves.append(unet_reference.forward(net, x, times, {"text": rows, "text_mask": seen}))
                return halves[1] + 7.5 * (halves[0] - halves[1])

        theirs = diffusers_reference.run("DDIMScheduler", {"clip_sample": False, "timestep_spacing": "leading"}, 5, network, noise)["x"][-1]
        ours = probe(folder, "sample", model, weights, {"x": noise, **given}, *objective, "sampler.rule=ddim", "sampler.grid=leading",
                     "sampler.steps=5", "guidance=7.5")
        report("five steps with guidance 7.5", relative(ours["sample"], theirs), BAR)

        inputs = {"x": x, "noise_label": t.float()}
        outside = probe(folder, "forward", {**MODEL, "text_mask": True}, net.state_dict(), {**inputs, "text": rows, "text_mask": seen})
        inside = probe(folder, "forward", {**MODEL, "text_conditioner": SECTION}, weights, {**inputs, **given})
        report("forward, and given the encoder's rows", relative(inside["sample"], outside["sample"]), ROWS_BAR)
    sys.exit(1 if failed else 0)


main()
