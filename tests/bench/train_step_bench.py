"""Training step of the demonstration's net: our binary and the original's code in turn. Prints the median ratio.

MICRODIT_REFERENCE=<checkout> .venv-oracles/bin/python tests/bench/train_step_bench.py [--compile] [--threads 2]
  [--rounds 10] [--steps 10] [--bin build/bin]"""
import argparse
import os
import statistics
import subprocess
import sys

import torch
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/parity"))
import reference
from step_rate import images_per_s

BATCH, ROWS = 64, 24


class Original:
    """One training step of the original: EDM loss, backward, clip at 1, AdamW."""

    def __init__(self, compiled):
        dit, _, model = reference.load()
        with open(os.path.join(ROOT, "configs/models/emoji.yaml")) as file:
            cfg = yaml.safe_load(file)["model"]
        self.net = reference.make_dit(dit, {**cfg, "input_size": 8, "in_channels": 4, "caption_channels": 384})
        self.diffusion = reference.edm(model, self.net, 0.5)
        if compiled:
            self.diffusion.dit = torch.compile(self.net)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=6e-4, weight_decay=0.01)
        self.x, self.text = torch.randn(BATCH, 4, 8, 8), torch.randn(BATCH, 1, ROWS, 384)

    def step(self):
        self.optimizer.zero_grad()
        self.diffusion.edm_loss(self.x, self.text).backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--compile", action="store_true", help="also beside torch.compile (minutes of compiling)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--bin", default=os.path.join(ROOT, "build/bin"))
    args = parser.parse_args()
    if not reference.available():
        print("skipped: MICRODIT_REFERENCE is not a checkout of the original")
        sys.exit(77)
    torch.set_num_threads(args.threads)
    baselines = {"eager": Original(False)}
    if args.compile:
        baselines["compile"] = Original(True)
        baselines["compile"].step()
    ours, ratios, theirs = [], {name: [] for name in baselines}, {name: [] for name in baselines}
    for _ in range(args.rounds):
        command = [os.path.join(args.bin, "train_step_bench"), str(args.threads), str(args.steps), os.path.join(ROOT, "configs/models/emoji.yaml")]
        ours.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        for name, original in baselines.items():
            theirs[name].append(images_per_s(original.step, BATCH, args.steps))
            ratios[name].append(ours[-1] / theirs[name][-1])
    print(f"training step, emoji preset, batch {BATCH}, {args.threads} threads, fp32: median of {args.rounds} alternations")
    print(f"  microdit          {statistics.median(ours):7.1f} images/s")
    for name in baselines:
        print(f"  PyTorch {name:8s}  {statistics.median(theirs[name]):7.1f} images/s   ratio {statistics.median(ratios[name]):.2f}"
              f" (lowest {min(ratios[name]):.2f}, highest {max(ratios[name]):.2f})")


main()
