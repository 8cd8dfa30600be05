#!/usr/bin/env python3
"""train_codec: two datasets, ranks, a stop and a resume; what it leaves is a diffusers folder with the PSNR that it says."""
import io
import json
import math
import os
import pathlib
import shutil
import sys
import tempfile

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path[:0] = [str(SOURCE / "tests"), str(SOURCE / "tests/ingest")]
import programs  # noqa: E402
import small_archives  # noqa: E402
from programs import check  # noqa: E402

SIZE, STEPS = 64, 8


def words(runs, name, *overrides):
    twice = f"data=[{{dataset: {programs.DATASET}, proportion: 3}}, {{dataset: {programs.DATA}/samples/{programs.DATASET}, proportion: 1}}]"
    return ["--config", SOURCE / "configs/train/emoji_codec.yaml", twice, f"runs={runs}", f"name={name}", f"size={SIZE}", "batch_size=4",
            f"steps={STEPS}", "augment=0.5", "codec.block_out_channels=[8, 16, 16]", "codec.norm_num_groups=4", "schedule.kind=constant",
            "schedule.warmup_steps=2", "checkpoint.every_minutes=0", "picture_every_steps=4", "log_every_steps=4", *overrides]


def held_out_pictures():
    """[N, 3, 64, 64] in [-1, 1], as Pillow decodes, resizes and crops them."""
    import h5py
    import numpy
    from PIL import Image

    pictures = []
    for path in sorted((programs.DATA / "samples" / programs.DATASET).glob("*.h5")):
        with h5py.File(path) as shard:
            offsets = shard["image_offsets"][:]
            for i in (shard["split"][:] == 1).nonzero()[0]:
                picture = Image.open(io.BytesIO(shard["image"][offsets[i]:offsets[i + 1]].tobytes())).convert("RGB")
                width, height = picture.size
                width, height = (int(SIZE * width / height), SIZE) if width > height else (SIZE, int(SIZE * height / width))
                picture = picture.resize((width, height), Image.BICUBIC)
                left, top = (width - SIZE) // 2, (height - SIZE) // 2
                pictures.append(numpy.asarray(picture.crop((left, top, left + SIZE, top + SIZE)), dtype=numpy.float32))
    return numpy.stack(pictures).transpose(0, 3, 1, 2) / 127.5 - 1


def check_with_diffusers(run):
    try:
        import diffusers
        import torch
    except ImportError:
        print("not compared with diffusers: it is not installed")
        return
    said = json.loads((run / "metrics.json").read_text())
    codec = diffusers.AutoencoderKL.from_pretrained(run / "codec").eval()
    x = torch.tensor(held_out_pictures())
    check(len(x) == said["held_out_pictures"] > 0, f"{len(x)} held-out pictures, {said}")
    with torch.no_grad():
        painted = codec.decode(codec.encode(x).latent_dist.mean).sample
    to_bytes = lambda t: ((t / 2 + 0.5).clamp(0, 1) * 255).round()  # noqa: E731
    squares = (to_bytes(painted) - to_bytes(x)).square().mean((1, 2, 3))
    pooled = 10 * math.log10(255**2 / squares.mean().item())
    mean = (10 * (255**2 / squares).log10()).mean().item()
    check(abs(pooled - said["held_out_psnr_db"]) < 0.02 and abs(mean - said["held_out_psnr_mean_of_pictures_db"]) < 0.02,
          f"diffusers: {pooled:.3f} and {mean:.3f} dB, metrics.json: {said}")
    print(f"held-out PSNR {pooled:.3f} dB with diffusers, {said['held_out_psnr_db']:.3f} said")


def check_knee(runs):
    """Of one picture's MSE m, knee * log(1 + m / knee) counts."""
    losses = []
    for knee in (0, 0.01):
        name = f"knee_{knee}"
        programs.run("train_codec", *words(runs, name, "steps=1", "batch_size=1", f"mse_knee={knee}", "l1=0", "kl=0"))
        losses.append(json.loads((runs / name / "metrics.jsonl").read_text().splitlines()[0])["loss"])
    expected = 0.01 * math.log1p(losses[0] / 0.01)
    check(abs(losses[1] / expected - 1) < 1e-5, f"an MSE of {losses[0]} counts {losses[1]}, not {expected}")


def check_damage(runs):
    """A flipped bit in a picture does not become a training picture."""
    try:
        import h5py
    except ImportError:
        print("a flipped bit was not tried: h5py is not installed")
        return
    shutil.copytree(programs.DATA / "samples" / programs.DATASET, runs / "damaged")
    for path in sorted((runs / "damaged").glob("*.h5")):
        with h5py.File(path) as shard:
            held_out = (shard["split"][:] == 1).nonzero()[0]
            if len(held_out) == 0:
                continue
            sample = int(held_out[0])
            byte = shard["image"].id.get_offset() + int(shard["image_offsets"][sample]) + 99
        break
    programs.flip_bit(path, byte)
    log = programs.run("train_codec", *words(runs, "refused", f"data=[{{dataset: {runs}/damaged}}]"), expect=2)
    check(path.name in log and f"sample {sample}" in log and "damaged" in log, log)


def check_growth(runs):
    """Samples that grow or change between two lives: the run goes on with those that it began with, or is refused."""
    for name, first in (("a", 0), ("b", 100), ("c", 200)):
        (runs / f"{name}.tar").write_bytes(small_archives.tar_bytes(first, 30, side=24))

    def samples(*names):
        data = small_archives.Data(runs / "growing", [f"file://{runs}/{name}.tar" for name in names], splits="{held_out: 0.3}")
        data.run("download")
        data.run("clean")
        return data

    def train(data, name, steps, **options):
        return programs.run("train_codec", *words(runs, name, "data=[{dataset: t}]", f"steps={steps}"), env=data.env, **options)

    data = samples("a")
    train(data, "at_once", 4)
    train(data, "grown", 2)
    data = samples("a", "b")
    train(data, "grown", 4)
    a, b = (programs.read_checkpoint(programs.checkpoint(runs / name, 4)) for name in ("at_once", "grown"))
    check(a == b, "a run whose samples grew meanwhile ends elsewhere")
    train(data, "newer", 1)
    check(json.loads((runs / "newer/facts.json").read_text())["samples"][0]["generation"] == 2, "a new run begins with the newest samples")
    facts = runs / "newer/facts.json"  # as runs were that noted names alone
    facts.write_text(facts.read_text().replace('"samples"', '"datasets"'))
    log = train(data, "newer", 2, expect=2)
    check("older microdit" in log and "name=" in log, log)
    for kind in ("raw", "samples"):
        shutil.rmtree(data.folder(kind))
    log = train(samples("c"), "grown", 6, expect=2)
    check("samples" in log and "sha256" in log, log)


def main():
    programs.need_data()
    programs.need_mpi()
    runs = pathlib.Path(tempfile.mkdtemp(prefix="microdit_codec_"))
    try:
        programs.run("train_codec", *words(runs, "whole"))
        check_with_diffusers(runs / "whole")
        programs.run("train_codec", *words(runs, "parts", "steps=3"))
        programs.run("train_codec", *words(runs, "parts"))
        a, b = (programs.read_checkpoint(programs.checkpoint(runs / name, STEPS)) for name in ("whole", "parts"))
        check(a == b, f"a run in two parts ends elsewhere: {[name for name in a if a[name] != b.get(name)]}")
        programs.run("train_codec", *words(runs, "two"), ranks=2)
        difference = programs.greatest_difference(runs / "whole", runs / "two", 1, STEPS)
        check(difference < 1e-5, f"losses of 1 and 2 ranks differ by {difference}")
        programs.run("train_codec", *words(runs, "one_dataset", f"data=[{{dataset: {programs.DATASET}}}]"))
        check(programs.greatest_difference(runs / "whole", runs / "one_dataset", 1, STEPS) > 1e-3, "the second dataset is not seen")
        check_knee(runs)
        check_damage(runs)
        check_growth(runs)
        check(len(list((runs / "whole/samples").glob("*.png"))) == 2 and (runs / "whole/report.html").exists(), "pictures and report")
        print(f"passed: 1 and 2 ranks differ by {difference:.1e}")
    finally:
        shutil.rmtree(runs, ignore_errors=True)


if __name__ == "__main__":
    main()
