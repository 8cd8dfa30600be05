#!/usr/bin/env python3
"""The four phases of the original's recipe, from their own YAML files at demonstration size: 64 -> 128 px, mask .75 -> 0."""
import json
import math
import os
import pathlib
import shutil
import struct
import sys
import tempfile

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs  # noqa: E402
from programs import check  # noqa: E402

# phase -> (picture side, mask, last step, phase it starts from, EMA's first step)
PHASES = {
    "pretrain_256": (64, 0.75, 6, None, 0),
    "finetune_256": (64, 0, 10, "pretrain_256", 0),
    "pretrain_512": (128, 0.75, 5, "finetune_256", 2),
    "finetune_512": (128, 0, 8, "pretrain_512", 6),
}
MICRODIT = ["model.dim=32", "model.depth=2", "model.head_dim=16", "model.multiple_of=16", "model.patch_mixer_dim=32",
            "model.patch_mixer_depth=1", "model.num_experts=2", "model.experts_every_n=2", "model.patch_size=2",
            "model.in_channels=0"]


def phase_words(runs, phase, *overrides):
    size, _, steps, before, ema_start = PHASES[phase]
    words = ["--config", SOURCE / f"configs/train/{phase}.yaml", f"data=[{{dataset: {programs.DATASET}}}]", f"runs={runs}",
             f"size={size}", "device=cpu", "precision=fp32", "batch_size=8", "microbatch_size=0", f"steps={steps}",
             "sampling.every_steps=4", "sampling.steps=2", "sampling.prompts=[red heart, pizza]", "log_every_steps=1",
             "ema.decay=0.9", f"ema.start_step={ema_start}", "checkpoint.every_minutes=0", *MICRODIT]
    if PHASES[phase][0] == 128:
        words.append("model.pos_interp_scale=2.0")
    if before:
        words.append(f"init.from={runs / before}")
    return words + list(overrides)


def group(tensors, name):
    return {key.split("/", 1)[1]: value for key, value in tensors.items() if key.startswith(name + "/")}


def differing(a, b):
    return sorted(name for name in set(a) | set(b) if a.get(name) != b.get(name))


def check_run(run, phase):
    """What every phase leaves, whatever it is."""
    size, mask, steps, before, _ = PHASES[phase]
    first = PHASES[before][2] + 1 if phase.startswith("finetune") else 1
    lines = programs.metrics(run)
    check([m["step"] for m in lines] == list(range(first, steps + 1)), f"{phase}: steps {[m['step'] for m in lines]}")
    check(all(math.isfinite(m[key]) for m in lines for key in ("loss", "grad_norm", "lr")), f"{phase}: not finite: {lines}")
    check({"step", "loss", "lr", "grad_norm", "images_per_s", "time"} <= set(lines[-1]), f"{phase}: {lines[-1]}")
    facts = json.loads((run / "facts.json").read_text())
    check(facts["size"] == size and facts["latent_size"] == size // 8 and [d["dataset"] for d in facts["data"]] == [programs.DATASET], str(facts))
    config = (run / "config.yaml").read_text()
    check(f"mask_ratio: {mask}" in config, f"{phase}: config.yaml does not hold mask_ratio {mask}")
    report = (run / "report.html").read_text()
    check("<img" in report or "data:image/png" in report, f"{phase}: the report has no picture")
    grids = [p.name for p in (run / "samples").glob("step_*.png")]
    check(grids and all((run / "samples" / g).read_bytes()[:4] == b"\x89PNG" for g in grids), f"{phase}: sample grids {grids}")
    read_tensorboard(run, lines)


def read_tensorboard(run, lines):
    """Stock TensorBoard sees the same losses and the grids."""
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        print("without tensorboard: it is not installed in this Python")
        return
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    seen = {e.step: e.value for e in events.Scalars("loss/train")}
    single = {m["step"]: struct.unpack("f", struct.pack("f", m["loss"]))[0] for m in lines}
    check(seen == single, f"{run}: TensorBoard sees {seen}, metrics.jsonl says {single}")
    check(events.Images("samples"), f"{run}: TensorBoard sees no grid")


def main():
    programs.need_data()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="microdit_phases_"))
    try:
        runs = folder / "runs"
        final, manifests = {}, {}

        def train(phase, *overrides):
            programs.run("train", *phase_words(runs, phase, *overrides))

        train("pretrain_256")
        last = PHASES["pretrain_256"][2]

        # load=all takes weights, moments, averages and counts: a run that starts so goes on as phase 1 itself does.
        shutil.copytree(runs / "pretrain_256", runs / "resumed")
        train("pretrain_256", "name=resumed", f"steps={last + 1}")
        train("pretrain_256", "name=taken_over", f"steps={last + 1}", f"schedule.decay_steps={last}",
              f"init.from={runs / 'pretrain_256'}", "init.load=all")
        resumed, taken = (programs.read_checkpoint(programs.checkpoint(runs / name, last + 1)) for name in ("resumed", "taken_over"))
        check(len(taken) > 100 and not differing(resumed, taken), f"load=all: {differing(resumed, taken)[:5]} differ")
        train("finetune_256")

        # Phase 3 takes weights only: with a rate of 0 they stay what they were; moments and counts begin anew.
        train("pretrain_512", "name=weights_only", "steps=1", "optimizer.lr=0", "sampling.every_steps=0")
        before = programs.read_checkpoint(programs.checkpoint(runs / "finetune_256", PHASES["finetune_256"][2]))
        after = programs.read_checkpoint(programs.checkpoint(runs / "weights_only", 1))
        check(not differing(group(before, "weights"), group(after, "weights")), "load=weights changed a weight")
        check(differing(group(before, "exp_avg"), group(after, "exp_avg")), "load=weights took the moments too")
        positions = [group(t, "buffers")["pos_embed"][0] for t in (before, after)]
        check(positions[1][-2] == 4 * positions[0][-2], f"position embeddings {positions}: the tokens are not 4 times as many")

        train("pretrain_512")
        train("finetune_512")
        for phase, (_, _, steps, _, _) in PHASES.items():
            check_run(runs / phase, phase)
            final[phase] = programs.read_checkpoint(programs.checkpoint(runs / phase, steps))
            manifests[phase] = programs.manifest(programs.checkpoint(runs / phase, steps))
            check(manifests[phase]["step"] == manifests[phase]["state"]["updates"] == steps, f"{phase}: {manifests[phase]['state']}")
        names = {phase: set(tensors) for phase, tensors in final.items()}
        check(len({frozenset(n) for n in names.values()}) == 1, "the phases' checkpoints differ in tensors")
        for a, b in zip(PHASES, list(PHASES)[1:]):
            check(differing(group(final[a], "weights"), group(final[b], "weights")), f"{b} learned nothing")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("ok: pretrain_256 -> finetune_256 -> pretrain_512 -> finetune_512 at 64 and 128 px")


if __name__ == "__main__":
    main()
