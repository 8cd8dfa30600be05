"""U-Nets of diffusers, given ones and drawn ones, through `probe forward|loss|sample`. Every tensor of forward and loss within 2e-5, five
guided steps of DDIM within 1e-5.

Needs torch and diffusers; skips without. Usage: [number of drawn nets] [seed], or the name of a given net."""
import json
import math
import os
import random
import subprocess
import sys
import tempfile

BAR, CHAIN_BAR = 2e-5, 1e-5


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


try:
    import torch
    from safetensors.torch import load_file, save_file
    HERE = os.path.dirname(os.path.abspath(__file__))
    sys.path[:0] = [HERE, os.path.join(HERE, "../diffusion")]
    import diffusers_reference
    import unet_reference as reference
except ImportError as error:
    skip(f"no {error.name}")


def spread(net, generator):
    """Norms and biases of a trained net's size: at the start they are ones and zeros and would hide themselves."""
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def difference(ours, theirs):
    """The worst relative norm, and its tensor. A gradient far below the whole one (of keys' bias it is rounding alone) is measured by
    a thousandth of that."""
    assert ours.keys() == theirs.keys(), f"names differ: {sorted(ours.keys() ^ theirs.keys())}"
    worst = (0.0, "")
    whole = sum(g.double().norm().item() ** 2 for name, g in theirs.items() if name.startswith("grad.")) ** 0.5
    for name, b in theirs.items():
        a, b = ours[name].double(), b.detach().double()
        assert a.shape == b.shape, f"{name}: {a.shape} and {b.shape}"
        if not (a.isfinite().all() and b.isfinite().all()):  # max() would pass over it
            return math.inf, name
        worst = max(worst, ((a - b).norm().item() / max(b.norm().item(), 1e-3 * whole, 1e-30), name))
    return worst


class Case:
    def __init__(self, net, seed, folder):
        self.folder, (self.cfg, size, masked) = folder, net
        self.generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        self.net = reference.make_net(self.cfg)
        spread(self.net, self.generator)
        save_file({name: tensor.clone() for name, tensor in self.net.state_dict().items()}, f"{folder}/weights.safetensors")
        with open(f"{folder}/model.yaml", "w") as file:
            file.write("model: " + json.dumps({"kind": "unet", **self.cfg}) + "\n")
        batch = 3
        self.shape = (batch, self.cfg["in_channels"], *size)
        self.x, self.noise = self.randn(*self.shape), self.randn(*self.shape)
        self.t = torch.tensor([0, 417, 999])
        self.given = {}
        if self.cfg.get("num_class_embeds"):
            self.given["class"] = torch.randint(0, self.cfg["num_class_embeds"], (batch,), generator=self.generator)
        if reference.takes_text(self.cfg):
            self.given["text"] = self.randn(batch, 5, self.cfg["cross_attention_dim"])
            if masked:
                self.given["text_mask"] = torch.tensor([[1, 0, 0, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 0]]).bool()

    def randn(self, *shape):
        return torch.randn(shape, generator=self.generator)

    def probe(self, command, inputs, *words):
        given = {name: tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor for name, tensor in self.given.items()}
        save_file({**inputs, **given}, f"{self.folder}/in.safetensors")
        run = subprocess.run(
            [os.path.join(os.environ["MICRODIT_BIN"], "probe"), command, "--config", f"{self.folder}/model.yaml", "--weights",
             f"{self.folder}/weights.safetensors", "--input", f"{self.folder}/in.safetensors", "--output", f"{self.folder}/out.safetensors",
             *words], capture_output=True, text=True)
        if run.returncode != 0:
            raise SystemExit(f"probe {command} {words} ended with {run.returncode}: {run.stderr}\n{self.cfg}")
        return load_file(f"{self.folder}/out.safetensors")

    def forward(self):
        with torch.no_grad():
            theirs = reference.forward(self.net, self.x, self.t, self.given)
        return BAR, difference(self.probe("forward", {"x": self.x, "noise_label": self.t.float()}), {"sample": theirs})

    def loss(self):
        prediction = reference.forward(self.net, reference.noised(self.x, self.noise, self.t), self.t, self.given)
        loss = torch.nn.functional.mse_loss(prediction, self.noise)
        loss.backward()
        theirs = {"loss": loss, **{"grad." + name: p.grad for name, p in self.net.named_parameters()}}
        ours = self.probe("loss", {"x0": self.x, "noise": self.noise, "t": self.t.float()}, "objective.path=linear", "objective.prediction=eps")
        return BAR, difference(ours, theirs)

    def sample(self):
        """Led away from zero rows of text, none of them hidden: what ours makes of a caption without tokens."""
        null = {**self.given, "text": torch.zeros_like(self.given["text"])} if "text" in self.given else None
        if null:
            null.pop("text_mask", None)

        def network(x, t):
            with torch.no_grad():
                times = t.reshape(1).expand(len(x))
                conditional = reference.forward(self.net, x, times, self.given)
                return conditional if null is None else 3 * conditional - 2 * reference.forward(self.net, x, times, null)
        theirs = diffusers_reference.run("DDIMScheduler", {"clip_sample": False, "timestep_spacing": "leading"}, 5, network, self.noise)["x"][-1]
        ours = self.probe("sample", {"x": self.noise}, "objective.path=linear", "objective.prediction=eps", "sampler.rule=ddim",
                          "sampler.grid=leading", "sampler.steps=5", f"guidance={3 if null else 1}")
        return CHAIN_BAR, difference({"sample": ours["sample"]}, {"sample": theirs})


def cases(words):
    """Numbers are how many nets to draw, and the seed."""
    if words and words[0] in reference.NETS:
        return {name: reference.NETS[name] for name in words}, 1
    count, seed = (int(word) for word in [*words, "4", "1"][:2]) if len(words) != 1 else (int(words[0]), 1)
    drawn = {f"drawn {i}": reference.random_net(random.Random(1000 * seed + i)) for i in range(count)}
    return {**reference.NETS, **drawn}, seed


def refusals():
    """Every one names its key, and ends with 2. Nothing but the config is read before."""
    failed = 0
    for cfg, change in reference.REFUSED:
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/model.yaml", "w") as file:
                file.write("model: " + json.dumps({"kind": "unet", **cfg, **change}) + "\n")
            words = [word for name in ("weights", "input", "output") for word in (f"--{name}", f"{folder}/none")]
            run = subprocess.run([os.path.join(os.environ["MICRODIT_BIN"], "probe"), "forward", "--config", f"{folder}/model.yaml", *words],
                                 capture_output=True, text=True)
        key = list(change)[-1]
        if run.returncode != 2 or f"model.{key}" not in run.stderr:
            failed += 1
            print(f"{change}: not refused by its name: exit {run.returncode}, {run.stderr}", flush=True)
    print(f"{len(reference.REFUSED)} refusals, {failed} of them wrong")
    return failed


def main():
    torch.set_num_threads(1)
    nets, seed = cases(sys.argv[1:])
    failed = refusals()
    for index, (name, net) in enumerate(nets.items()):
        with tempfile.TemporaryDirectory() as folder:
            case = Case(net, 1000 * seed + index, folder)
            for what in ("forward", "loss", "sample"):
                bar, (worst, tensor) = getattr(case, what)()
                failed += not worst <= bar
                print(f"{name:24s} {what:8s} worst {worst:.2e} {tensor}{'' if worst <= bar else f'   ABOVE {bar}  {net}'}", flush=True)
    sys.exit(1 if failed else 0)


main()
