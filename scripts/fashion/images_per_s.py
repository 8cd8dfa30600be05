#!/usr/bin/env python3
"""What a run of ours says of itself.

    images_per_s.py RUN           images a second: the median of its steps but the first three
    images_per_s.py --about RUN   key=value words for a row: steps, images_per_s"""
import json
import statistics
import sys
from pathlib import Path


def main():
    run = Path(sys.argv[-1])
    points = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [point for point in points if "images_per_s" in point]
    rate = round(statistics.median(point["images_per_s"] for point in steps[3:]), 1)
    if sys.argv[1] != "--about":
        print(rate)
        return
    print(f"steps={steps[-1]['step']} images_per_s={rate}")


if __name__ == "__main__":
    main()
