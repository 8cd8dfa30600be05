#!/usr/bin/env python3
"""The tree keeps its rules: includes along the dependency table only, third parties in their owners, sizes, names, READMEs."""
import os
import pathlib
import re
import subprocess
import sys

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[1]))

# The design's table: library -> what it may include.
TABLE = {
    "core": "",
    "comm": "core",
    "lives": "core",
    "text": "core",
    "store": "core",
    "image": "core",
    "nn": "core",
    "diffusion": "core",
    "models": "core nn",
    "encoders": "core nn text",
    "checkpoint": "core comm",
    "tables": "core text",
    "stream": "core store",
    "ingest": "core comm store tables image text encoders",
    "score": "core comm store image encoders nn",
    "eval": "core comm store stream image encoders nn models diffusion checkpoint",
    "train": "core comm store stream image encoders nn models diffusion checkpoint eval",
    "explain": "core comm image nn diffusion eval",
}
TABLE = {library: set(edges.split()) for library, edges in TABLE.items()}
JOBS = set(TABLE)

# Third-party headers (beginnings of what stands in <>) -> folders that may name them.
TORCH = {"nn", "diffusion", "models", "encoders", "ingest", "score", "eval", "train", "explain", "jobs"}
OWNERS = {
    "mpi.h": {"comm"}, "nccl.h": {"comm"}, "cuda": {"comm", "nn"}, "cub/": {"nn"},
    "hdf5": {"store"}, "H5": {"store"},
    "curl/": {"ingest"}, "archive": {"ingest"}, "arrow/": {"tables"}, "parquet/": {"tables"},
    "png.h": {"image"}, "libdeflate.h": {"image"}, "jpeglib.h": {"image"}, "jerror.h": {"image"}, "tiffio.h": {"image"}, "zlib.h": {"encoders", "ingest", "score"}, "turbojpeg.h": {"image"}, "webp/": {"image"}, "pango/": {"image"},
    "zstd": {"stream"},
    "yaml-cpp/": {"core"}, "spdlog/": {"core"}, "xxh": {"core"}, "openssl/": {"core"},
    "unicode/": {"encoders", "ingest", "text"}, "pcre2": {"encoders"}, "sentencepiece": {"encoders"},
    "CLI/": {"jobs"}, "torch/": TORCH, "ATen/": TORCH, "c10/": TORCH,
    "fmt/": JOBS | {"jobs"}, "nlohmann/": JOBS | {"jobs"},
}
# The language's and the system's own.
SYSTEM = re.compile(r"[a-z_0-9]+|(unistd|fcntl|fnmatch|spawn|signal|sched|dlfcn|dirent|poll|pthread|netdb|immintrin|malloc|arm_neon)\.h|(sys|netinet|arpa|linux)/\w+\.h")

MAX_LINES = 315  # "about 300": 5 % more at most
LONGER = {}      # path -> why it is longer
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def include_faults(folder, file, text, edges):
    """What is wrong with the includes of one file of `folder` (a library's name, or jobs)."""
    faults = []
    for quote, name in INCLUDE.findall(text):
        first = name.split("/")[0]
        if quote == '"':
            if first in TABLE and "/" in name:
                if first != folder and first not in edges:
                    faults.append(f'{file}: "{name}": {folder} may not include {first}')
            elif folder != "jobs" or "/" in name:  # jobs/ has no prefix of its own
                faults.append(f'{file}: "{name}": own headers are named from src/ on ("library/file.h")')
            continue
        owner = next((owners for start, owners in OWNERS.items() if name.startswith(start)), None)
        if owner is not None:
            if folder not in owner:
                faults.append(f"{file}: <{name}> belongs to {', '.join(sorted(owner))} alone")
        elif not SYSTEM.fullmatch(name):
            faults.append(f"{file}: <{name}>: nobody owns this third party; add it to the design's table")
    return faults


def cmake_edges(text):
    """library -> edges, from the microdit_library(...) calls."""
    found = {}
    for call in re.findall(r"^microdit_library\(([^)]*)\)", text, re.M):
        words = call.split()
        keywords = {"TORCH", "EDGES", "PUBLIC", "PRIVATE"}
        edges, inside = set(), False
        for word in words[1:]:
            if word in keywords:
                inside = word == "EDGES"
            elif inside:
                edges.add(word)
        found[words[0]] = edges
    return found


def sources(*folders):
    for folder in folders:
        for path in sorted((SOURCE / folder).rglob("*")):
            if path.suffix in {".h", ".cpp", ".cu", ".cuh"}:
                yield path


def check_includes():
    faults = []
    for path in sources("src"):
        library = path.relative_to(SOURCE / "src").parts[0]
        if library not in TABLE:
            faults.append(f"{path.relative_to(SOURCE)}: src/{library} is not in the design's table")
            continue
        faults += include_faults(library, path.relative_to(SOURCE), path.read_text(), TABLE[library])
    for path in sources("jobs"):
        faults += include_faults("jobs", path.relative_to(SOURCE), path.read_text(), JOBS)
    return faults


def check_cmake():
    stated = cmake_edges((SOURCE / "CMakeLists.txt").read_text())
    faults = [f"CMakeLists.txt: {library}: edges {sorted(stated.get(library, ()))}, the design says {sorted(TABLE[library])}"
              for library in TABLE if stated.get(library) != TABLE[library]]
    return faults + [f"CMakeLists.txt: {library} is not in the design's table" for library in stated if library not in TABLE]


def check_files():
    faults = []
    for path in sources("src", "jobs", "tests"):
        name, text = path.relative_to(SOURCE), path.read_text()
        lines = text.count("\n")
        if lines > MAX_LINES and str(name) not in LONGER:
            faults.append(f"{name}: {lines} lines (about 300 are the most)")
        if not text.startswith("//"):
            faults.append(f"{name}: the first line does not say what the file is for")
    for folder in ("src", "jobs", "tests", "scripts", "slurm"):
        for path in (SOURCE / folder).rglob("*"):
            if re.fullmatch(r"(.*_)?(utils?|helpers?|common|misc)", path.stem):
                faults.append(f"{path.relative_to(SOURCE)}: the name says nothing")
    return faults


def check_scripts():
    """A script that is sourced goes on behind a mistake of its grammar."""
    faults = []
    for folder in ("scripts", "slurm", "tests"):
        for path in sorted((SOURCE / folder).rglob("*")):
            if path.suffix in {".sh", ".sbatch"}:
                faults += subprocess.run(["bash", "-n", path], capture_output=True, text=True).stderr.splitlines()
    return faults


def check_readmes():
    faults = []
    for library in TABLE:
        readme = SOURCE / "src" / library / "README.md"
        if not readme.exists():
            faults.append(f"src/{library}/README.md is missing")
        elif readme.read_text().count("\n") > 40:
            faults.append(f"src/{library}/README.md: more than 40 lines")
    return faults


def check_that_faults_are_seen():
    """The control: a made-up tree that breaks each rule."""
    wrong = {
        ("stream", '#include "ingest/catalogue.h"\n'), ("eval", '#include "train/trainer.h"\n'),
        ("models", '#include "diffusion/path.h"\n'), ("core", '  #  include "comm/communicator.h"\n'),
        ("train", "#include <mpi.h>\n"), ("ingest", "#include <hdf5.h>\n"), ("store", "#include <torch/torch.h>\n"),
        ("eval", "#include <png.h>\n"), ("train", "#include <CLI/CLI.hpp>\n"), ("core", "#include <boost/any.hpp>\n"),
        ("nn", '#include "attention.h"\n'), ("checkpoint", "#include <ATen/Parallel.h>\n"),
    }
    right = {("train", '#include "eval/painter.h"\n#include <vector>\n'), ("comm", "#include <mpi.h>\n#include <sys/stat.h>\n"),
             ("core", '#include "core/error.h"\n// #include "train/trainer.h"\n')}
    unseen = [case for case in wrong if not include_faults(case[0], "made_up.cpp", case[1], TABLE[case[0]])]
    unjust = [case for case in right if include_faults(case[0], "made_up.cpp", case[1], TABLE[case[0]])]
    edges = cmake_edges("microdit_library(comm   EDGES core PRIVATE MPI::MPI_CXX)\nmicrodit_library(nn TORCH EDGES core\n  models)")
    if unseen or unjust or edges != {"comm": {"core"}, "nn": {"core", "models"}}:
        return [f"the test itself is blind: {unseen} {unjust} {edges}"]
    return []


def main():
    faults = check_that_faults_are_seen() + check_cmake() + check_includes() + check_files() + check_scripts() + check_readmes()
    print("\n".join(faults) if faults else f"ok: {len(list(sources('src')))} files of {len(TABLE)} libraries")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
