"""Decode + resize against Pillow, one thread each, CPU time: picture_bench.py [ROUNDS]. Wants 2x on photographs (JPEG)."""
import io
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import numpy as np
    from PIL import Image
except ImportError as missing:
    print(f"skipped: {missing}; scripts/setup.sh --oracles")
    sys.exit(77)

BINARY = pathlib.Path(os.environ.get("MICRODIT_BIN", "build/bin")) / "picture_bench"


def photo(height, width):
    """Shapes and noise, about as hard to pack as a photograph."""
    random = np.random.RandomState(5)
    y, x = np.mgrid[0:height, 0:width] / 90.0
    layers = [127 + 90 * np.sin(x * (c + 1) / 3 + y) + random.randn(height, width) * 8 for c in range(3)]
    return Image.fromarray(np.clip(np.stack(layers, -1), 0, 255).astype(np.uint8))


def square(image, size):
    width, height = image.size
    short, long = min(width, height), max(width, height)
    long = int(size * long / short)
    width, height = (size, long) if width <= height else (long, size)
    left, top = int(round((width - size) / 2)), int(round((height - size) / 2))
    return image.resize((width, height), Image.BICUBIC).crop((left, top, left + size, top + size))


def pillow_s(data, sizes, rounds):
    for i in range(-1, rounds):
        if i == 0:
            begin = time.process_time()
        image = Image.open(io.BytesIO(data)).convert("RGB")
        for size in sizes:
            np.asarray(square(image, size))
    return (time.process_time() - begin) / rounds


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    ratios = []
    print(f"{'picture':28} {'sizes':10} {'Pillow ms':>10} {'ours ms':>9} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for width, height, kind, options in ((640, 480, "JPEG", {"quality": 90}), (1024, 768, "JPEG", {"quality": 90}),
                                             (2250, 1500, "JPEG", {"quality": 85}), (1024, 1536, "JPEG", {"quality": 90, "progressive": True}),
                                             (512, 512, "PNG", {}), (1024, 768, "WEBP", {"quality": 80})):
            path = pathlib.Path(folder) / "picture"
            photo(height, width).save(path, kind, **options)
            data = path.read_bytes()
            for sizes in ((256,), (256, 512)):
                if max(sizes) > min(width, height):
                    continue
                theirs, ours = [], []
                for _ in range(3):
                    theirs.append(pillow_s(data, sizes, rounds))
                    out = subprocess.run([BINARY, str(rounds), path, *map(str, sizes)], capture_output=True, text=True, check=True)
                    ours.append(float(out.stdout.split()[0]))
                theirs, ours = statistics.median(theirs), statistics.median(ours)
                if kind == "JPEG":
                    ratios.append(theirs / ours)
                name = f"{width} x {height} {kind}{' progressive' if 'progressive' in options else ''}"
                print(f"{name:28} {'+'.join(map(str, sizes)):10} {theirs * 1e3:10.2f} {ours * 1e3:9.2f} {theirs / ours:6.2f}", flush=True)
    print(f"JPEG: {min(ratios):.2f} to {max(ratios):.2f} times Pillow, median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
