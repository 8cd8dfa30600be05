"""Training step of a U-Net: our binary and diffusers' network in PyTorch, in turn. Prints the median ratio.

.venv-oracles/bin/python tests/bench/unet_step_bench.py [--config configs/models/unet_emoji.yaml] [--threads 2] [--rounds 10] [--steps 5] [--bin build/bin]"""
import argparse
import os
import statistics
import subprocess
import sys

import torch
import yaml

from step_rate import images_per_s

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/parity"))
BATCH, ROWS, WIDTH = 64, 24, 384


class Theirs:
    """One training step as diffusers' examples have it: the noise's mean square error, backward, clip at 1, AdamW."""

    def __init__(self, config):
        import unet_reference
        keys = {key: value for key, value in config.items() if key != "kind"}
        self.net = unet_reference.make_net({"_class_name": "UNet2DConditionModel", "in_channels": 4, "out_channels": 4, "cross_attention_dim": WIDTH, **keys})
        self.net.train()
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=6e-4, weight_decay=0.01)
        self.x, self.text = torch.randn(BATCH, 4, 8, 8), torch.randn(BATCH, ROWS, WIDTH)

    def step(self):
        self.optimizer.zero_grad()
        t, noise = torch.randint(0, 1000, (BATCH,)), torch.randn_like(self.x)
        level = (1 - t / 1000).view(-1, 1, 1, 1)
        prediction = self.net(level.sqrt() * self.x + (1 - level).sqrt() * noise, t, self.text).sample
        torch.nn.functional.mse_loss(prediction, noise).backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", default=os.path.join(ROOT, "configs/models/unet_emoji.yaml"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--bin", default=os.path.join(ROOT, "build/bin"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with open(args.config) as file:
        net = Theirs(yaml.safe_load(file)["model"])
    ours, theirs, ratios = [], [], []
    for _ in range(args.rounds):
        command = [os.path.join(args.bin, "train_step_bench"), str(args.threads), str(args.steps), args.config]
        ours.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        theirs.append(images_per_s(net.step, BATCH, args.steps))
        ratios.append(ours[-1] / theirs[-1])
    print(f"training step, {os.path.basename(args.config)}, batch {BATCH}, {args.threads} threads, fp32: median of {args.rounds} alternations")
    print(f"  microdit            {statistics.median(ours):7.1f} images/s")
    print(f"  diffusers, PyTorch  {statistics.median(theirs):7.1f} images/s   ratio {statistics.median(ratios):.2f} (lowest {min(ratios):.2f}, highest {max(ratios):.2f})")


main()
