#!/usr/bin/env python3
"""Pictures that `generate` made of every class of a run -> the file that score.py reads.

    pack.py RUN IMAGES_FOLDER OUT.npz key=value ...      (what the row says about the run)"""
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def number(text):
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def main():
    run, folder, out = map(Path, sys.argv[1:4])
    about = {key: number(value) for key, value in (word.split("=", 1) for word in sys.argv[4:])}
    classes = json.loads((run / "facts.json").read_text())["classes"]
    points = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    about["steps"] = max(point["step"] for point in points)
    batch = json.loads((run / "settings.json").read_text())["batch_size"]
    about["images_per_s"] = round(about["steps"] * batch / (about["train_s"] - about["setup_s"]), 1)  # as opponents.py has it
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    with ThreadPoolExecutor(2) as pool:
        images = np.stack(list(pool.map(lambda line: picture(folder / line["file"]), lines)))
    labels = np.array([classes.index(line["prompt"]) for line in lines], np.uint8)
    np.savez_compressed(out, images=images, labels=labels, about=json.dumps(about))


if __name__ == "__main__":
    main()
