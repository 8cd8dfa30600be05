"""Checks through `train`: devices, precisions, ranks, and a life that is killed."""
import json
import os
import threading
import time

import torch

from runner import end, load, whole_difference
from verdict import Bar, Failure

STEPS = 20
ON_CUDA = [Bar("20 training steps, loss, CUDA against CPU", most=5e-3, least=0, above=True)]
STAGED = [Bar("20 training steps, loss, two ranks on one GPU against one", most=2e-3, note="sums travel through host memory (staged path)")]
NCCL = [Bar("20 training steps, loss, two ranks on two GPUs (NCCL) against one", most=2e-3),
        Bar("20 training steps, loss, NCCL against staged", most=1e-3)]
HOST_RANKS = [Bar("20 training steps, loss, two ranks against one, CPU", most=1e-4)]
PRECISION = [Bar("train: loss of step 1, bf16 against fp32", most=2e-2, least=0, above=True),
             Bar("train: gradients of step 1, bf16 against fp32", most=1e-1, least=1e-5, note="from the checkpoint's first moments"),
             Bar("20 training steps, loss, bf16 against fp32", most=5e-2, least=0, above=True)]
KERNELS = [Bar("20 training steps, loss, our optimizer kernel against torch's operations", most=1e-3)]
KILLED_CPU = [Bar("killed and resumed, loss against the same run unbroken", most=0, note="bit for bit")]
KILLED_CUDA = [Bar("killed and resumed, loss against the same run unbroken", most=2e-3,
                   note="the GPU's attention gradients do not repeat to the last bit")]

KILLED_WORDS = ["checkpoint.every_steps=5", "checkpoint.keep_last=0", "schedule.decay_steps=1000"]


class Training:
    def __init__(self, programs, folder, configs, latents, threads):
        self.programs, self.folder, self.configs, self.latents, self.threads = programs, folder, configs, latents, threads
        self.weights = None  # once there, runs begin from them
        self._kept, self._lock = {}, threading.Lock()

    def words(self, name, device, *more):
        start = [f"init.from={self.weights}"] if self.weights else []
        return ["--config", self.configs / "train/emoji.yaml", f"data=[{{dataset: {self.latents}}}]", f"runs={self.folder}",
                f"name={name}", "batch_size=32", "mask_ratio=.5", f"device={device}", "kernels=fused", f"threads_per_rank={self.threads}",
                "sampling.every_steps=0", "checkpoint.every_minutes=0", "schedule.kind=constant", "schedule.warmup_steps=1",
                "log_every_steps=1000", *start, *more]

    def run(self, name, device, *more, steps=STEPS, ranks=1, **env):
        """The losses by step, and the log."""
        log = self.programs.run("train", *self.words(name, device, f"steps={steps}", *more), ranks=ranks, folder=self.folder, **env)
        return losses(self.folder / name, steps), log

    def first_weights(self):
        """A one-step run on the CPU: its names and shapes, as one file."""
        self.run("shapes", "cpu", steps=1)
        shapes = self.folder / "shapes.safetensors"
        self.programs.run("convert", "--input", self.folder / "shapes", "--output", shapes, "weights=raw", folder=self.folder)
        return shapes

    def kept(self, name, device, **options):
        """A run that several rows look at, made once."""
        with self._lock:
            if name not in self._kept:
                self._kept[name] = self.run(name, device, **options)
        return self._kept[name]

    def plain(self, device):
        """The run that others are compared with."""
        return self.kept(f"plain_{device}", device)[0]

    def staged(self):
        return self.kept("staged", "cuda", ranks=2, CUDA_VISIBLE_DEVICES=first_gpu())

    def cuda_rows(self, report, gpus):
        def devices():
            report.add(ON_CUDA[0].name, worst(self.plain("cuda"), self.plain("cpu")))

        def staged():
            ours, log = self.staged()
            must_say(log, "host memory", "two ranks on one GPU did not take the staged path")
            report.add(STAGED[0].name, worst(ours, self.plain("cuda")))

        def nccl():
            ours, log = self.run("nccl", "cuda", ranks=2)
            must_say(log, "host memory", "two ranks with a GPU each took the staged path", absent=True)
            report.add(NCCL[0].name, worst(ours, self.plain("cuda")))
            report.add(NCCL[1].name, worst(ours, self.staged()[0]))

        rows = [([ON_CUDA[0].name], devices), ([STAGED[0].name], staged)]
        return rows + ([([bar.name for bar in NCCL], nccl)] if gpus > 1 else [])

    def host_rank_rows(self, report):
        name = HOST_RANKS[0].name
        return [([name], lambda: report.add(name, worst(self.run("two_ranks", "cpu", ranks=2)[0], self.plain("cpu"))))]

    def precision_rows(self, report, device):
        def first_step():
            runs = {p: self.run(f"step_{p}", device, f"precision={p}", "optimizer.clip_norm=0", steps=1)[0] for p in ("bf16", "fp32")}
            report.add(PRECISION[0].name, worst(runs["bf16"], runs["fp32"]))
            moments = [first_moments(self.folder / f"step_{p}/checkpoints/step_0000001") for p in ("bf16", "fp32")]
            report.add(PRECISION[1].name, whole_difference(*moments))

        def many_steps():
            report.add(PRECISION[2].name, worst(self.run("bf16", device, "precision=bf16")[0], self.plain(device)))

        return [([PRECISION[0].name, PRECISION[1].name], first_step), ([PRECISION[2].name], many_steps)]

    def kernel_rows(self, report, device):
        name = KERNELS[0].name
        return [([name], lambda: report.add(name, worst(self.plain(device), self.run("reference", device, "kernels=reference")[0])))]

    def killed_rows(self, report, device):
        name = KILLED_CPU[0].name

        def work():
            newest = self.kill_after_a_checkpoint("killed", device)
            steps = newest + 10
            broken, log = self.run("killed", device, *KILLED_WORDS, steps=steps)
            must_say(log, "resuming from", "the second life did not resume")
            whole, _ = self.run("unbroken", device, "schedule.decay_steps=1000", steps=steps)
            report.add(name, worst(broken, whole))

        return [([name], work)]

    def kill_after_a_checkpoint(self, name, device):
        """Starts a long run, kills it once it has a checkpoint, and returns the newest one's step."""
        folder = self.folder / name / "checkpoints"
        path = self.folder / f"{name}.log"
        with open(path, "wb") as log:
            process = self.programs.start("train", *self.words(name, device, "steps=1000000", *KILLED_WORDS), log=log)
            limit = time.monotonic() + min(120, self.programs.left_s())
            try:
                while not published(folder):
                    if process.poll() is not None:
                        raise Failure(f"train ended by itself with {process.returncode}: {path.read_text(errors='replace')[-200:]}")
                    if time.monotonic() > limit:
                        raise Failure("timeout: no checkpoint to kill after")
                    time.sleep(0.005)
            finally:
                end(process)
        return max(published(folder))


def published(folder):
    return [int(p.name.removeprefix("step_")) for p in folder.glob("step_*") if (p / "manifest.json").exists()]


def first_gpu():
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]


def must_say(log, words, otherwise, absent=False):
    if (words in log) == absent:
        raise Failure(otherwise)


def losses(run, steps):
    path = run / "metrics.jsonl"
    if not path.exists():
        raise Failure(f"{path.name} is missing")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    if [line["step"] for line in lines] != list(range(1, steps + 1)):
        raise Failure(f"metrics.jsonl of {run.name} does not hold the steps 1 to {steps} once each")
    if any(line.get("skipped") for line in lines):
        raise Failure(f"{run.name}: a step was skipped as not finite")
    return {line["step"]: float("nan") if line["loss"] is None else line["loss"] for line in lines}  # JSON has no nan


def worst(ours, theirs):
    """The greatest relative difference of two runs' losses; nan when either holds one."""
    ratios = [abs(ours[step] - theirs[step]) / max(abs(theirs[step]), 1e-30) for step in theirs]
    return float("nan") if any(ratio != ratio for ratio in ratios) else max(ratios)


def first_moments(checkpoint):
    """The whole exp_avg tensors of a checkpoint: after one step, a tenth of the gradient."""
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    shards = {path.name: load(path) for path in checkpoint.glob("*.safetensors")}
    moments = {}
    for name, tensor in manifest["tensors"].items():
        if name.startswith("exp_avg/"):
            parts = sorted(tensor["parts"], key=lambda part: part["begin"])
            moments[name] = torch.cat([shards[part["file"]][f"{name}@{part['begin']}"].reshape(-1) for part in parts])
    if not moments:
        raise Failure(f"{checkpoint} holds no exp_avg")
    return moments
