#!/usr/bin/env python3
"""The table of the cells, as Markdown: each generator at each time, the mean of its seeds and in brackets the highest less the lowest.

    page.py CELLS                      print it
    page.py CELLS --page FILE.md       put it between the page's marks, and each generator's first grid beside the page"""
import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path

ORDER = ["microdit", "torchcfm", "diffusers", "nano"]
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
HEAD = "| generator | T, min | runs | precision | parameters | steps | images/s | pictures, s | acc, % | FD | agree, % |\n|---|---|---|---|---|---|---|---|---|---|---|\n"


def broken_rule(about, minutes):
    """Of docs/benchmark_fashion.md; "" where none is."""
    if about.get("train_s", 0) > 60 * minutes:
        return f"trained for {about['train_s']} s, more than {minutes:g} minutes"
    if about.get("generate_s", 0) > 600 or not about.get("generate_ok", True):
        return f"its pictures took {about['generate_s']} s, more than ten minutes"
    if about.get("cpu_share", 1) < 0.9:
        return f"something else ran beside it (cpu_share {about['cpu_share']})"
    return ""


def read_cells(folder):
    """(name, minutes) -> [(seed, row, folder)], but those that broke a rule; and what they were made with."""
    cells, machines = {}, {}
    for path in sorted(Path(folder).glob("*/row.json")):
        name, minutes, seed = path.parent.name.rsplit("_", 2)
        row = json.loads(path.read_text())
        if fault := broken_rule(row["generator"], float(minutes)):
            print(f"page.py: {path.parent}: left out: {fault}; remove the folder and call the benchmark again", file=sys.stderr)
            continue
        machine = json.loads((path.parent / "machine.json").read_text())
        machines[machine["cpu"], machine["cores"]] = path.parent
        cells.setdefault((name, float(minutes)), []).append((int(seed), row | {"machine": machine}, path.parent))
    if len(machines) > 1:
        raise SystemExit(f"page.py: rows of different machines do not go together: {machines}")
    return {key: sorted(value, key=lambda cell: cell[0]) for key, value in cells.items()}


def spread(values, digits):
    text = f"{statistics.mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ({max(values) - min(values):.{digits}f})"


def table(cells):
    lines = []
    for name, minutes in sorted(cells, key=lambda key: (key[1], ORDER.index(key[0]))):
        rows = [row for _, row, _ in cells[name, minutes]]
        about = [row["generator"] for row in rows]
        lines.append(f"| {name} | {minutes:g} | {len(rows)} | {about[0].get('precision', 'fp32')} | {about[0]['parameters']} | {spread([a['steps'] for a in about], 0)} "
                     f"| {spread([a['images_per_s'] for a in about], 0)} | {spread([a['generate_s'] for a in about], 0)} "
                     f"| {spread([row['acc'] for row in rows], 2)} | {spread([row['fd'] for row in rows], 1)} "
                     f"| {spread([row['label_agreement'] for row in rows], 1)} |\n")
    first = next(iter(cells.values()))[0][1]
    machine = first["machine"]
    return (HEAD + "".join(lines) + f"\nCeiling {first['ceiling']} % and floor {first['floor']}: 10,000 real training images. "
            f"Reference {first['reference']}, version {first['version']}, torch {first['torch']}; {machine['cores']} cores of {machine['cpu']}; "
            f"nano-diffusion {machine['nano'] or 'not there'}.\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cells", type=Path)
    parser.add_argument("--page", type=Path)
    args = parser.parse_args()
    cells = read_cells(args.cells)
    if not cells:
        raise SystemExit(f"page.py: {args.cells} holds no finished cell")
    versions = {(row["reference"], row["version"], row["torch"]) for rows in cells.values() for _, row, _ in rows}
    if len(versions) > 1:
        raise SystemExit(f"page.py: rows of different references do not go together: {sorted(versions)}")
    text = table(cells)
    print(text, end="")
    if not args.page:
        return
    page = args.page.read_text()
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise SystemExit(f"page.py: {args.page} must hold '{BEGIN}' and '{END}' once each")
    before, rest = page.split(BEGIN)
    pictures = args.page.with_suffix("")
    pictures.mkdir(exist_ok=True)
    for (name, minutes), rows in cells.items():
        shutil.copy(rows[0][2] / "grid.png", pictures / f"{name}_{minutes:g}.png")
    args.page.write_text(f"{before}{BEGIN}\n{text}{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
