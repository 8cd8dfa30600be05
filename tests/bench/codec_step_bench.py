"""Codec training step (MSE + 0.5 L1 + 1e-4 KL, AdamW) beside diffusers eager: alternating runs, same threads, in fp32 and in bf16 (autocast).

Usage: codec_step_bench.py [--rounds 10] [--steps 6] [--batch 16] [--pixels 64] [--threads 2]
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time

try:
    import torch
    from diffusers import AutoencoderKL
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
BIN = pathlib.Path(os.environ.get("MICRODIT_BIN", SOURCE / "build/bin"))


class Baseline:
    """The same net, loss and optimizer in PyTorch eager."""

    def __init__(self, batch, pixels, channels_last):
        torch.manual_seed(1)
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.net = AutoencoderKL(down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
                                 block_out_channels=(16, 32, 64, 128), layers_per_block=1, norm_num_groups=8,
                                 mid_block_add_attention=False).to(memory_format=self.format)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-4)
        self.image = (torch.rand(batch, 3, pixels, pixels) * 2 - 1).contiguous(memory_format=self.format)

    def step(self, bf16):
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            posterior = self.net.encode(self.image).latent_dist
            difference = self.net.decode(posterior.sample()).sample - self.image
            loss = difference.square().mean() + 0.5 * difference.abs().mean() + 1e-4 * posterior.kl().mean()
        loss.backward()
        self.optimizer.step()

    def run(self, steps, bf16):
        taken = []
        for step in range(-3, steps):
            start = time.perf_counter()
            self.step(bf16)
            if step >= 0:
                taken.append((time.perf_counter() - start) * 1000)
        return statistics.median(taken)


def compare(a, baselines, precision):
    times = {"microdit": [], **{name: [] for name in baselines}}
    for _ in range(a.rounds):
        ran = subprocess.run([BIN / "codec_step_bench", *(str(n) for n in (a.batch, a.pixels, a.threads, a.steps)), precision],
                             check=True, capture_output=True, text=True)
        times["microdit"].append(statistics.median(float(line) for line in ran.stdout.split()))
        for name, baseline in baselines.items():
            times[name].append(baseline.run(a.steps, precision == "bf16"))
    for name, values in times.items():
        ratio = statistics.median(v / m for v, m in zip(values, times["microdit"]))
        median = statistics.median(values)
        print(f"{precision} {name:24s} {median:8.1f} ms  {1000 * a.batch / median:7.1f} pictures/s  microdit is {ratio:.2f} times as fast")


def main():
    parser = argparse.ArgumentParser()
    for name, default in (("rounds", 10), ("steps", 6), ("batch", 16), ("pixels", 64), ("threads", 2)):
        parser.add_argument("--" + name, type=int, default=default)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    baselines = {"diffusers eager": Baseline(a.batch, a.pixels, False),
                 "diffusers channels-last": Baseline(a.batch, a.pixels, True)}
    print(f"codec step, batch {a.batch}, {a.pixels} px, {a.threads} threads, {a.rounds} alternations, load {os.getloadavg()[0]:.1f}")
    for precision in ("fp32", "bf16"):
        compare(a, baselines, precision)


main()
