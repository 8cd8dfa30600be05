#!/usr/bin/env python3
"""How many steps a training does in so many seconds, by the steps of a short one but the first three.

    steps.py RUN SECONDS"""
import json
import statistics
import sys
from pathlib import Path


def main():
    points = [json.loads(line) for line in (Path(sys.argv[1]) / "metrics.jsonl").read_text().splitlines()]
    seconds = [point["step_s"] for point in points if "step_s" in point][3:]
    print(max(1, int(float(sys.argv[2]) / statistics.mean(seconds))))


if __name__ == "__main__":
    main()
