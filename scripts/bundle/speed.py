"""Phase 1 of the recipe (xl_2, 256 px, 75 % of the patches masked, bf16) on random latents: images/s and memory of the first GPU."""
import json
import statistics
import time

from machine import Watch
from runner import OUT_OF_MEMORY, end, last_words, why_it_ended
from verdict import Bar, Failure

BATCH = 256
FLOP_PER_IMAGE = 283.4e9  # forward and backward; gathers counted, not one-hot products
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # bf16 without sparsity, by datasheet
WARM_STEPS, MEASURED_STEPS = 8, 30

PHASE_1 = [Bar("phase 1, xl_2 256 px mask .75", least=0, above=True, unit="images/s"),
           Bar("phase 1, largest microbatch of 256, 128, 64 that fits", least=BATCH, note="the recipe asks for 256"),
           Bar("phase 1, peak memory", least=1, unit="GiB", note="of the whole card, read 4 times a second from nvidia-smi"),
           Bar("phase 1, last loss", least=0, most=3)]


def make_latents(programs, folder, samples=1024):
    """Random latents [4, 32, 32] and text [77, 1024]."""
    path = folder / "random"
    if not path.exists():
        programs.run(programs.data_maker, "make", path, f"samples={samples}", folder=folder)
    return path


class OutOfMemory(Failure):
    pass


def train_words(configs, folder, data, name, microbatch):
    return ["--config", configs / "train/pretrain_256.yaml", f"data=[{{dataset: {data}}}]", f"runs={folder}", f"name={name}",
            f"batch_size={BATCH}", f"microbatch_size={microbatch}", "steps=1000000", "threads_per_rank=8", "kernels=fused",
            "prefetch_threads=4", "sampling.every_steps=0",
            "checkpoint.every_steps=1000000", "checkpoint.every_minutes=0", "log_every_steps=1000000"]


def measure(programs, configs, folder, data, name, microbatch, limit_s=100):
    """Runs until enough steps are seen, then kills it (its checkpoint of 14 GB is not wanted). {rate, low, high, loss, ...}."""
    path = folder / f"{name}.log"
    begun = time.monotonic()
    with open(path, "wb") as log, Watch() as watch:
        process = programs.start("train", *train_words(configs, folder, data, name, microbatch), log=log)
        limit = begun + min(limit_s, programs.left_s())
        try:
            lines = read_metrics(folder / name)
            while len(lines) < WARM_STEPS + MEASURED_STEPS:
                if process.poll() is not None:
                    text = path.read_text(errors="replace")
                    kind = OutOfMemory if OUT_OF_MEMORY.search(text) else Failure
                    raise kind(f"train: {why_it_ended(process.returncode, text)}")
                if time.monotonic() > limit:
                    if len(lines) < WARM_STEPS + 10:
                        raise Failure(f"timeout: {len(lines)} steps in {time.monotonic() - begun:.0f} s; its log ends with: "
                                      f"{last_words(path.read_text(errors='replace'))}")
                    break
                time.sleep(0.2)
                if len(lines) < WARM_STEPS:
                    watch.begin_again()  # power and clocks of steps, not of the start
                lines = read_metrics(folder / name)
        finally:
            end(process)
    if any(line.get("skipped") or line["loss"] is None for line in lines):
        raise Failure("a step's loss was not finite")
    seconds = sorted(line["step_s"] for line in lines[WARM_STEPS:])
    first = lines[0]["time"] - (time.time() - (time.monotonic() - begun))
    tenth = len(seconds) // 10
    return {"rate": BATCH / statistics.median(seconds), "low": BATCH / seconds[-1 - tenth], "high": BATCH / seconds[tenth],
            "steps": len(seconds), "loss": lines[-1]["loss"], "peak_gib": watch.peak_gib(), "clocks": watch.text(), "first_step_s": first}


def read_metrics(run):
    path = run / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]  # a line without its end is not whole yet


def measure_largest(programs, configs, folder, data, name, microbatches=(256, 128, 64)):
    """The first microbatch that fits: (microbatch, measurement)."""
    for microbatch in microbatches:
        try:
            return microbatch, measure(programs, configs, folder, data, f"{name}_{microbatch}", microbatch)
        except OutOfMemory as failure:
            last = failure
    raise Failure(f"even microbatch {microbatches[-1]} does not fit: {last}")


def phase_1(report, notes, programs, configs, folder, card):
    data = make_latents(programs, folder)
    microbatch, seen = measure_largest(programs, configs, folder, data, "phase_1")
    report.add(PHASE_1[0].name, seen["rate"])
    report.add(PHASE_1[1].name, microbatch)
    if seen["peak_gib"] is None:
        report.fail(PHASE_1[2].name, "nvidia-smi gave no reading")
    else:
        report.add(PHASE_1[2].name, seen["peak_gib"])
    report.add(PHASE_1[3].name, seen["loss"])
    notes.append("phase 1: " + text(seen, microbatch, card))


def text(seen, microbatch, card):
    words = (f"batch {BATCH}, microbatch {microbatch}, {seen['steps']} steps after {WARM_STEPS}: median {seen['rate']:.0f} images/s, "
             f"10 % to 90 % {seen['low']:.0f} to {seen['high']:.0f}, first step after {seen['first_step_s']:.0f} s, {seen['clocks']}")
    for name, flops in PEAK_FLOPS.items():
        if name in (card or ""):
            words += f", {seen['rate'] * FLOP_PER_IMAGE / flops:.1%} of {flops / 1e12:.0f} TFLOP/s"
    return words
