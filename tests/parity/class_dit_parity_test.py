"""Random class_dit nets through `probe forward|loss|sample` and through nano-diffusion, and through diffusers' schedulers around the
same net. Every tensor of forward and loss within 2e-5, of nano's sampler 2e-4, of diffusers' chains 1e-5.

Needs NANO_REFERENCE (a checkout of nano256/nano-diffusion), torch and diffusers; skips without. Usage: [number of nets] [seed]."""
import json
import math
import os
import random
import subprocess
import sys
import tempfile

BAR, SAMPLE_BAR, CHAIN_BAR = 2e-5, 2e-4, 1e-5


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


try:
    import torch
    from diffusers import __version__ as diffusers_version
    from safetensors.torch import load_file, save_file
except ImportError as error:
    skip(f"no {error.name}")
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../diffusion")]
import diffusers_reference
import nano_reference

if not nano_reference.available():
    skip("NANO_REFERENCE is not a checkout of nano256/nano-diffusion")

# What probe calls diffusers' things: the one place to change. (scheduler, its keys, probe's words)
PREDICTIONS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
DISCRETE = {"linear": {"beta_start": 1e-4, "beta_end": 0.02}, "scaled_linear": {"beta_start": 0.00085, "beta_end": 0.012},
            "squaredcos_cap_v2": {}}
# Only legal where diffusers itself goes from grid point to grid point: DDIM's leading grid.
RULES = {"ddim": ("DDIMScheduler", {"clip_sample": False, "timestep_spacing": "leading"}, ["sampler.grid=leading"]),
         "dpmpp_2m": ("DPMSolverMultistepScheduler", {"timestep_spacing": "trailing"}, ["sampler.grid=trailing"]),
         "euler": ("EulerDiscreteScheduler", {"timestep_spacing": "leading"}, ["sampler.grid=leading"])}
FLOW_RULES = {"euler": "FlowMatchEulerDiscreteScheduler", "heun": "FlowMatchHeunDiscreteScheduler"}


def random_config(rng, index):
    num_heads, patch = rng.choice([1, 2, 3, 4]), rng.choice([1, 2, 4])
    return {"kind": "class_dit", "patch_size": patch, "in_channels": rng.choice([1, 3, 4, 16]), "input_size": patch * rng.choice([1, 2, 3, 4]),
            "dim": 4 * num_heads * rng.choice([2, 3, 5, 8]), "depth": rng.randint(1, 4), "num_heads": num_heads,
            "num_classes": rng.choice([1, 2, 10, 77]), "norm": ["layer", "rms"][index % 2],
            "activation": list(nano_reference.ACTIVATIONS)[index // 2 % 4], "compat": "nano"}


def fill(net, generator):
    """Weights of a trained net's size: the per-layer table begins at zero and would hide itself."""
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            is_norm = parameter.dim() == 1 and "bias" not in name
            parameter.copy_(1 + 0.1 * values if is_norm else values * (0.1 if parameter.dim() == 1 else parameter.shape[-1] ** -0.5))


def difference(ours, theirs):
    """The worst relative norm, and its tensor. Gradients: where the norm is zero, absolutely."""
    assert ours.keys() == theirs.keys(), f"names differ: {sorted(ours.keys() ^ theirs.keys())}"
    worst = (0.0, "")
    for name, b in theirs.items():
        a, b = ours[name].double(), b.detach().double()
        assert a.shape == b.shape, f"{name}: {a.shape} and {b.shape}"
        norm = b.norm().item()
        if not (a.isfinite().all() and b.isfinite().all()):  # max() would pass over it
            return math.inf, name
        worst = max(worst, ((a - b).norm().item() / norm if norm else a.norm().item(), name))
    return worst


class Case:
    def __init__(self, nano, index, seed, folder):
        self.nano, self.folder = nano, folder
        self.rng, self.generator = random.Random(1000 * seed + index), torch.Generator().manual_seed(1000 * seed + index)
        self.cfg = random_config(self.rng, index)
        self.net = nano_reference.make_net(nano, self.cfg)
        fill(self.net, self.generator)
        save_file({name: tensor.clone() for name, tensor in self.net.state_dict().items()}, f"{folder}/weights.safetensors")
        with open(f"{folder}/model.yaml", "w") as file:
            file.write("model: " + json.dumps(self.cfg) + "\n")
        side, batch = self.cfg["input_size"], 3
        self.shape = (batch, self.cfg["in_channels"], side, side)
        self.x, self.noise = self.randn(*self.shape), self.randn(*self.shape)
        self.classes = torch.randint(0, self.cfg["num_classes"], (batch,), generator=self.generator)
        self.t = torch.tensor([0, self.rng.randint(1, 999), 1000])

    def randn(self, *shape):
        return torch.randn(shape, generator=self.generator)

    def probe(self, command, inputs, *words):
        save_file(inputs, f"{self.folder}/in.safetensors")
        run = subprocess.run(
            [os.path.join(os.environ["MICRODIT_BIN"], "probe"), command, "--config", f"{self.folder}/model.yaml", "--weights",
             f"{self.folder}/weights.safetensors", "--input", f"{self.folder}/in.safetensors", "--output", f"{self.folder}/out.safetensors",
             *words], capture_output=True, text=True)
        if run.returncode != 0:
            raise SystemExit(f"probe {command} {words} ended with {run.returncode}: {run.stderr}")
        return load_file(f"{self.folder}/out.safetensors")

    def forward(self):
        with torch.no_grad():
            theirs = self.net(self.x, self.t, self.classes)
        ours = self.probe("forward", {"x": self.x, "noise_label": self.t.float(), "class": self.classes})
        return {"forward": (BAR, difference(ours, {"sample": theirs}))}

    def losses(self):
        results = {}
        for path in nano_reference.SCHEDULES:
            schedule = nano_reference.make_schedule(self.nano, path)
            self.net.zero_grad()
            loss = nano_reference.loss(self.nano, self.net, schedule, self.x, self.classes, self.t, self.noise)
            loss.backward()
            theirs = {"loss": loss, **{"grad." + name: p.grad for name, p in self.net.named_parameters()}}
            ours = self.probe("loss", {"x0": self.x, "class": self.classes, "t": self.t.float(), "noise": self.noise},
                              f"objective.path={path}", "objective.prediction=eps")
            results[f"loss {path}"] = BAR, difference(ours, theirs)
        return results

    def nano_samples(self):
        results = {}
        for path in nano_reference.SCHEDULES:
            steps = self.rng.choice([2, 5, 9, 17])
            sample, between = nano_reference.ddim(self.nano, self.net, nano_reference.make_schedule(self.nano, path), self.noise, self.classes, steps)
            ours = self.probe("sample", {"x": self.noise, "class": self.classes}, f"objective.path={path}", "objective.prediction=eps",
                              "sampler.rule=ddim", f"sampler.steps={steps}", "guidance=1")
            results[f"nano ddim {path} {steps}"] = SAMPLE_BAR, difference(ours, {"sample": sample, "intermediates": between})
        return results

    def chains(self):
        """The net under one rule, path and prediction of diffusers; last states are compared."""
        def network(x, t):
            with torch.no_grad():
                return self.net(x, t.reshape(1), self.classes)
        results, steps = {}, self.rng.choice([4, 5, 10])
        prediction, path = self.rng.choice(list(PREDICTIONS)), self.rng.choice(list(DISCRETE))
        for rule, (kind, keys, words) in RULES.items():
            keys = {**keys, **DISCRETE[path], "beta_schedule": path, "prediction_type": PREDICTIONS[prediction]}
            theirs = diffusers_reference.run(kind, keys, steps, network, self.noise)["x"][-1]
            betas = [f"objective.{key}={value}" for key, value in DISCRETE[path].items()]
            ours = self.probe("sample", {"x": self.noise, "class": self.classes}, f"objective.path={path}", f"objective.prediction={prediction}",
                              f"sampler.rule={rule}", f"sampler.steps={steps}", "guidance=1", *betas, *words)
            results[f"{rule} {path} {prediction} {steps}"] = CHAIN_BAR, difference({"sample": ours["sample"]}, {"sample": theirs})
        for rule, kind in FLOW_RULES.items():
            theirs = diffusers_reference.run(kind, {"shift": 3.0}, steps, network, self.noise)["x"][-1]
            ours = self.probe("sample", {"x": self.noise, "class": self.classes}, "objective.path=flow", "objective.prediction=velocity",
                              f"sampler.rule={rule}", f"sampler.steps={steps}", "objective.shift=3", "guidance=1")
            results[f"flow {rule} {steps}"] = CHAIN_BAR, difference({"sample": ours["sample"]}, {"sample": theirs})
        return results


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    torch.set_num_threads(1)
    nano, failed = nano_reference.load(), 0
    print(f"diffusers {diffusers_version}")
    for index in range(count):
        with tempfile.TemporaryDirectory() as folder:
            case = Case(nano, index, seed, folder)
            results = case.forward() | case.losses() | case.nano_samples() | case.chains()
        for name, (bar, (worst, tensor)) in results.items():
            good = worst <= bar
            failed += not good
            print(f"net {index} {name:32s} worst {worst:.2e} {tensor}{'' if good else f'   ABOVE {bar}'}")
        if any(worst > bar for bar, (worst, _) in results.values()):
            print(f"   {case.cfg}")
    sys.exit(1 if failed else 0)


main()
