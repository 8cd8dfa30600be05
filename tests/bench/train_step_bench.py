"""Training step of the demonstration's net: our binary and the original's code in turn, in fp32 and bf16. Prints medians, shares of the
fastest matrix product measured in the same run, and ratios.

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

    def __init__(self, compiled, bf16):
        dit, _, model = reference.load()
        with open(os.path.join(ROOT, "configs/models/emoji.yaml")) as file:
            cfg = yaml.safe_load(file)["model"]
        self.net = reference.make_dit(dit, {**cfg, "input_size": 8, "in_channels": 4, "caption_channels": 384})
        self.diffusion = reference.edm(model, self.net, 0.5)
        self.bf16 = bf16
        if compiled:
            self.diffusion.dit = torch.compile(self.net)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=6e-4, weight_decay=0.01)
        self.x, self.text = torch.randn(BATCH, 4, 8, 8), torch.randn(BATCH, 1, ROWS, 384)

    def step(self):
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            loss = self.diffusion.edm_loss(self.x, self.text)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()


def ours(args, precision, ranks):
    """images/s, GFLOP an image, GFLOP/s of the fastest product."""
    command = [os.path.join(args.bin, "train_step_bench"), str(args.threads // ranks), str(args.steps),
               os.path.join(ROOT, "configs/models/emoji.yaml"), precision]
    env = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    if ranks > 1:
        command = ["mpirun", "-n", str(ranks), "--bind-to", "none", *command]
    return [float(word) for word in subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.split()]


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
    theirs = {}
    for compiled in (False, True) if args.compile else (False,):
        for precision in ("fp32", "bf16"):
            theirs[f"PyTorch {'compiled' if compiled else 'eager'} {precision}"] = Original(compiled, precision == "bf16")
    for original in theirs.values():
        original.step()
    own = {f"microdit {precision}, {ranks} x {args.threads // ranks}": (precision, ranks)
           for precision in ("fp32", "bf16") for ranks in ((1, args.threads) if args.threads > 1 else (1,))}
    rates, peaks, gflop = {name: [] for name in (*own, *theirs)}, {"fp32": [], "bf16": []}, 0
    for _ in range(args.rounds):
        for name, (precision, ranks) in own.items():
            rate, gflop, peak = ours(args, precision, ranks)
            rates[name].append(rate)
            peaks[precision].append(peak)
        for name, original in theirs.items():
            rates[name].append(images_per_s(original.step, BATCH, args.steps))
    peak = {precision: max(found) for precision, found in peaks.items()}
    first = next(iter(own))
    print(f"training step, emoji preset ({gflop:.3f} GFLOP an image), batch {BATCH}, {args.threads} threads in all: median of "
          f"{args.rounds} alternations; fastest matrix product: fp32 {peak['fp32']:.0f}, bf16 {peak['bf16']:.0f} GFLOP/s")
    for name, found in rates.items():
        rate = statistics.median(found)
        ratio = statistics.median(a / b for a, b in zip(found, rates[first]))
        share = f"{100 * rate * gflop / peak[name.split(',')[0].split()[-1]]:3.0f} % of its peak"
        print(f"  {name:26s} {rate:7.1f} images/s  {share}  {ratio:.2f} x our fp32  (lowest {min(found):.1f}, highest {max(found):.1f})")


main()
