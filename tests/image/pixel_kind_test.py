#!/usr/bin/env python3
"""pictures.leave_out sees what Pillow calls a picture's mode when it opens it: pictures of every kind through clean."""
import io
import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import programs  # noqa: E402
from programs import BIN, check  # noqa: E402

try:
    import h5py
    import numpy as np
    from PIL import Image
except ImportError as missing:
    programs.skip(f"{missing} (scripts/setup.sh --oracles makes .venv-oracles)")

KINDS = {"RGBA": "alpha", "LA": "alpha", "PA": "alpha", "P": "palette", "I;16": "deep", "I;16B": "deep", "I": "deep", "F": "deep"}


def pictures():
    """name -> bytes."""
    random = np.random.default_rng(3)
    rgb = Image.fromarray(random.integers(0, 256, (40, 48, 3), np.uint8))
    grey16 = Image.fromarray(random.integers(0, 65536, (40, 48), np.uint16))
    ramp = Image.frombytes("L", (48, 40), bytes(range(256)) * 7 + bytes(128))
    rgba = rgb.convert("RGBA")
    rgba.putalpha(ramp.resize(rgba.size))
    made = {"grey16": grey16, "rgb": rgb, "rgba": rgba, "l": rgb.convert("L"), "la": rgba.convert("LA"), "p": rgb.quantize(17), "one": rgb.convert("1"),
            "cmyk": rgb.convert("CMYK"), "ramp": ramp, "p256": rgb.quantize(256)}
    found = {}
    for name, picture in made.items():
        for ending in ("png", "jpg", "gif", "bmp", "tiff", "webp"):
            out = io.BytesIO()
            try:
                picture.save(out, {"jpg": "JPEG", "tiff": "TIFF"}.get(ending, ending.upper()), **({"lossless": True} if ending == "webp" else {}))
            except (OSError, ValueError, KeyError):
                continue
            found[f"{name}.{ending}"] = out.getvalue()
    return found


def main():
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place)
        raw = root / "pictures"
        raw.mkdir()
        expected = {}
        for name, data in pictures().items():
            key = name.replace(".", "_")
            (raw / f"{key}.{name.split('.')[1]}").write_bytes(data)
            (raw / f"{key}.txt").write_text("a picture")
            with Image.open(io.BytesIO(data)) as opened:
                expected[key] = KINDS.get(opened.mode)
        entry = root / "e.yaml"
        entry.write_text(f"name: e\narchive: none\nsource: {{folder: {raw}, pattern: ['*']}}\nrecord: {{image: [png, jpg, gif, bmp, tiff, webp], caption: {{c: txt}}}}\n"
                         "filters: {max_damaged_fraction: 1}\n")
        for leave_out in ("alpha", "palette", "deep"):
            data = root / leave_out
            for stage in ("download", "clean"):
                programs.run(stage, "--config", entry, f"pictures.leave_out=[{leave_out}]", data=data)
            kept = set()
            for file in (data / "samples/e").glob("*.h5"):
                with h5py.File(file) as shard:
                    ends = shard["key_offsets"][:]
                    text = shard["key"][:].tobytes().decode()
                    kept |= {text[a:b] for a, b in zip(ends, ends[1:])}
            record = json.loads(next((data / "samples/e/records").glob("files-*.json")).read_text())
            said = record.get("details", record)["skipped"]
            unread = {key for key in expected if key not in kept and expected[key] != leave_out}
            check(not kept & {key for key, kind in expected.items() if kind == leave_out}, f"{leave_out}: kept {sorted(kept & {k for k, v in expected.items() if v == leave_out})}")
            check(len(unread) <= 3, f"{leave_out}: also left out {unread}: {said}")
        check({"alpha", "palette", "deep"} <= set(expected.values()), expected)
    print(f"ok: {len(expected)} pictures")


if __name__ == "__main__":
    main()
