"""Runs nano-diffusion's trainer on small cases and writes what it did to tests/train/goldens/.

NANO_REFERENCE=<checkout of nano256/nano-diffusion> python scripts/make_nano_training_goldens.py
Python: that of .venv-oracles, or one that also has omegaconf 2.4.0, which alone can write the checkpoints as the original does.
nano_training.safetensors: batches, losses, rates, weights and their mean over seven steps of `whole` (tests/parity/goldens/
class_dit). nano_rules.json: rates, decays, what validation losses lead to. nano_checkpoints/: files of the original."""
import importlib.util
import json
import math
import os
import shutil
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tests/parity"), os.path.join(ROOT, "tests/diffusion")]
import nano_reference as reference
from formulas import digest, wave

FOLDER = os.path.join(ROOT, "tests/train/goldens")
WHOLE = {"input_size": 4, "patch_size": 2, "in_channels": 4, "dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3, "norm": "rms",
         "activation": "silu", "compat": "nano"}
TINY = {"input_size": 4, "patch_size": 2, "in_channels": 1, "dim": 8, "depth": 1, "num_heads": 2, "num_classes": 2, "norm": "layer",
        "activation": "silu", "compat": "nano"}
STEPS, BATCH = 7, 4
# What validation gave, by validation: (raw, mean or none).
PATIENCE = {
    "falls_then_rises": {"raw": [5, 4, 3, 3.5, 3.2, 3.1, 3.05, 9, 9], "interval": 1, "patience": 3, "save_every": 2, "keep": 2, "epochs": 9},
    "first_epoch_counts": {"raw": [1, 2, 2, 2], "interval": 1, "patience": 2, "save_every": 1, "keep": 3, "epochs": 4},
    "first_epoch_alone": {"raw": [1, 2, 2, 2], "interval": 1, "patience": 1, "save_every": 5, "keep": 3, "epochs": 4},
    "equal_is_no_better": {"raw": [3, 2, 2, 2, 1, 1], "interval": 1, "patience": 3, "save_every": 10, "keep": 1, "epochs": 6},
    "mean_is_tracked": {"raw": [3, 2, 1, 0.5, 0.4, 0.3], "mean": [3, 4, 5, 6, 7, 3.5], "interval": 1, "patience": 4, "save_every": 3,
                        "keep": 2, "epochs": 6},
    "every_third_epoch": {"raw": [3, 2, 4, 4, 4], "interval": 3, "patience": 3, "save_every": 4, "keep": 2, "epochs": 15},
    "never": {"raw": [3, 4, 4, 4, 4, 4], "interval": 1, "patience": None, "save_every": 2, "keep": 2, "epochs": 6},
}


def save(tensors, path):
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, path)
    os.chmod(path, 0o644)


def trained(name, tensor):
    """A weight's digest. The keys' bias has no gradient but rounding, which AdamW makes steps of: it is left out."""
    if not name.endswith("in_proj_bias"):
        return digest(tensor)
    queries, _, values = tensor.chunk(3)
    return digest(torch.cat([queries, values]))


def training(nano):
    """Seven steps in two epochs of four and three batches, so that the rate climbs again after T_max."""
    net = reference.make_net(nano, WHOLE)
    net.load_state_dict(load_file(os.path.join(ROOT, "tests/parity/goldens/class_dit/whole.weights.safetensors")))
    shape = (STEPS, BATCH, WHOLE["in_channels"], 4, 4)
    x0, noise = wave(shape, 0.1, 0.4).float(), (1.4 * wave(shape, 1.3, 0.5)).float()
    t = torch.tensor([[0, 1000, 250, 731], [3, 57, 999, 400], [1000, 1000, 0, 12], [640, 320, 160, 80], [5, 6, 7, 8], [900, 901, 950, 990],
                      [500, 500, 500, 500]])
    classes = torch.arange(STEPS * BATCH).reshape(STEPS, BATCH) % 3
    optimizer = torch.optim.AdamW(net.parameters())
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
    mean = nano.ema.EMAModel(net, decay=0.9, warmup_steps=3)
    out = {"x0": x0, "noise": noise, "t": t.float(), "class": classes}
    update, norms, done = mean.update, [], []

    def note(model):
        update(model)
        norms.append(torch.stack([p.grad.double().norm() for p in model.parameters()]).norm())
        done.append(len(done))
        if len(done) in (1, 3, STEPS):
            for name, parameter in model.named_parameters():
                out[f"step{len(done)}.digest.{name}"] = trained(name, parameter)
            for name, parameter in mean.model.named_parameters():
                out[f"step{len(done)}.mean_digest.{name}"] = trained(name, parameter)
    mean.update = note
    run = reference.Run()
    with tempfile.TemporaryDirectory() as folder, reference.drawn(list(t), list(noise)):
        trainer = reference.make_trainer(nano, net, reference.make_schedule(nano, "vp_cosine"), folder, ema_model=mean, save_every_n_epochs=100)
        batches = list(zip(x0, classes))
        for part in (batches[:4], batches[4:]):  # train() counts epochs from 0 at each call; nothing else begins anew
            trainer.train(1, optimizer, scheduler, run, part)
    out["loss"], out["lr"] = (torch.tensor(run.series(name), dtype=torch.float64) for name in ("loss_train", "learning_rate"))
    out["grad_norm"] = torch.stack(norms)
    save(out, f"{FOLDER}/nano_training.safetensors")


class Scripted(torch.nn.Module):
    """In place of the network: its loss is what the script says."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.config = {}


def patience(nano, case):
    """Runs train() on scripted validation losses; what was saved after which epoch, the files left, the epochs begun."""
    net = Scripted()
    mean = nano.ema.EMAModel(net, 0.5, 0) if "mean" in case else None
    raw, means, events = list(case["raw"]), list(case.get("mean", [])), []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = reference.make_trainer(nano, net, reference.make_schedule(nano, "vp_linear"), folder, ema_model=mean,
                                         validation_interval=case["interval"], patience=case["patience"],
                                         save_every_n_epochs=case["save_every"], keep_n_checkpoints=case["keep"])
        epochs = []

        def compute_loss(batch, with_ema_weights=False):
            if batch[1] == "train":
                epochs.append(len(epochs))
                return net.weight.sum()
            return torch.tensor(float((means if with_ema_weights else raw).pop(0)))
        save_checkpoint = trainer.save_checkpoint

        def note(epoch, optimizer, scheduler, loss, is_best=False):
            events.append({"epoch": epoch, "best": is_best, "loss": loss})
            save_checkpoint(epoch, optimizer, scheduler, loss, is_best)
        trainer.compute_loss, trainer.save_checkpoint = compute_loss, note
        trainer.train(case["epochs"], optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer), reference.Run(),
                      [(torch.zeros(1), "train")], [(torch.zeros(1), "val")])
        return {**case, "saved": events, "epochs_run": len(epochs),
                "best": trainer.best_val_loss if math.isfinite(trainer.best_val_loss) else None, "counter": trainer.intervals_since_best_val,
                "files": sorted(os.listdir(folder))}



def rates():
    found = []
    for lr, t_max, eta_min, steps in ((1e-3, 10, 0.0, 33), (1e-4, 100, 1e-6, 12), (0.5, 1, 0.1, 5)):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=t_max, eta_min=eta_min)
        used = []
        for _ in range(steps):
            used.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        found.append({"lr": lr, "T_max": t_max, "eta_min": eta_min, "used": used})
    return found


def means(nano):
    """One weight that jumps to 1, 2, 3 ...; its mean after each update and the decay that was in force."""
    found = []
    for decay, warmup, steps in ((0.9999, 1000, 6), (0.9, 4, 8), (0.5, 0, 4), (0.99, 1, 4)):
        net = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(net.weight, -1.0)
        mean = nano.ema.EMAModel(net, decay, warmup)
        decays, values = [], []
        for step in range(steps):
            torch.nn.init.constant_(net.weight, step + 1.0)
            decays.append(mean._effective_decay())
            mean.update(net)
            values.append(mean.model.weight.item())
        found.append({"decay": decay, "warmup_steps": warmup, "start": -1.0, "decays": decays, "means": values, "step": mean.step})
    return found


def checkpoints(nano):
    """Real files of the original: after two epochs of two steps, plain and compiled; the weights in them as safetensors."""
    from omegaconf import OmegaConf
    target = f"{FOLDER}/nano_checkpoints"
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(target)
    for compiled in (False, True):
        torch.manual_seed(3)
        net = reference.make_net(nano, TINY, wrap=OmegaConf.create)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        if compiled:  # names alone matter here
            net = torch.compile(net, backend="eager")
        schedule = nano.noise_schedulers.CosineNoiseScheduler(OmegaConf.create({"type": "CosineNoiseScheduler", "num_timesteps": 1000}))
        optimizer = torch.optim.AdamW(net.parameters())
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
        mean = nano.ema.EMAModel(net, 0.9, 2)
        with tempfile.TemporaryDirectory() as folder:
            trainer = reference.make_trainer(nano, net, schedule, folder, ema_model=mean, validation_interval=1, save_every_n_epochs=1)
            batches = [(torch.randn(2, 1, 4, 4), torch.tensor([0, 1])) for _ in range(2)]
            trainer.train(2, optimizer, scheduler, reference.Run(), batches, batches[:1])
            last = "checkpoint_epoch_0001.pt"
            shutil.copy(f"{folder}/{last}", f"{target}/{'compiled' if compiled else 'plain'}_{last}")
        plain = {name.removeprefix("_orig_mod."): tensor for name, tensor in net.state_dict().items()}
        averaged = {name.removeprefix("_orig_mod."): tensor for name, tensor in mean.model.state_dict().items()}
        if not compiled:
            save(plain, f"{target}/raw.safetensors")
            save(averaged, f"{target}/mean.safetensors")
        else:
            for name, kept in (("raw", plain), ("mean", averaged)):
                same = load_file(f"{target}/{name}.safetensors")
                assert all(torch.equal(same[key], tensor) for key, tensor in kept.items()), name


def main():
    if not reference.available():
        raise SystemExit("NANO_REFERENCE must be a checkout of nano256/nano-diffusion (diffusion/noise_schedulers.py in it)")
    torch.set_num_threads(1)
    nano = reference.load()
    os.makedirs(FOLDER, exist_ok=True)
    training(nano)
    facts = {"rates": rates(), "means": means(nano), "patience": {name: patience(nano, case) for name, case in PATIENCE.items()}}
    with open(f"{FOLDER}/nano_rules.json", "w") as file:
        json.dump(facts, file, indent=1)
        file.write("\n")
    if importlib.util.find_spec("omegaconf") is None:
        print("no omegaconf here: nano_checkpoints/ is left as it is")
    else:
        checkpoints(nano)


main()
