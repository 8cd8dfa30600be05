"""Runs the built programs the way a user does, alone or under mpirun, and reads what they leave. Standard library only."""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[1]))
BIN = pathlib.Path(os.environ.get("MICRODIT_BIN", SOURCE / "build/bin"))
DATA = pathlib.Path(os.environ.get("MICRODIT_TEST_DATA", SOURCE / "build/test_data"))
DATASET = "emoji_small"
LATENTS = DATA / "latents" / DATASET / "emoji"  # by the recipe configs/latents/emoji.yaml

DONE, USER_MISTAKE, FAILED, REQUEUE = 0, 2, 1, 75

# A MicroDiT of about 0.1 million parameters with every part in it: mixer, experts, modulation.
TINY_MODEL = ["model.dim=32", "model.depth=2", "model.head_dim=16", "model.multiple_of=16", "model.patch_mixer_dim=32",
              "model.patch_mixer_depth=1", "model.num_experts=2", "model.experts_every_n=2"]


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def need_data():
    """The small dataset of tests/emoji_small.sh; skips where it is not there."""
    if not (LATENTS / "manifest.jsonl").exists():
        skip(f"{LATENTS} is not there (tests/emoji_small.sh makes it)")


def need_mpi():
    if shutil.which("mpirun") is None:
        skip("mpirun is not installed")


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def environment(data=DATA, **extra):
    env = {name: value for name, value in os.environ.items()
           if name == "OMPI_MCA_orte_tmpdir_base" or not name.startswith(("SLURM_", "OMPI_", "PMIX_", "PMI_"))}
    env.update(MICRODIT_DATA=str(data), OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
               OMPI_MCA_mpi_yield_when_idle="1", OMPI_MCA_hwloc_base_binding_policy="none")
    env.update({name: str(value) for name, value in extra.items()})
    return env


def command(name, *words, ranks=1):
    prefix = ["mpirun", "--oversubscribe", "-n", str(ranks)] if ranks > 1 else []
    return [*prefix, str(BIN / name), *map(str, words)]


def run(name, *words, ranks=1, expect=DONE, data=DATA, limit_s=600, **options):
    """The program's log (stderr and stdout together); AssertionError when it exits with another code than expected."""
    options.setdefault("env", environment(data))
    options.setdefault("cwd", SOURCE)
    done = subprocess.run(command(name, *words, ranks=ranks), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=limit_s, errors="replace", **options)
    check(expect is None or done.returncode == expect,
          f"{name} {' '.join(map(str, words))}: exit {done.returncode}, not {expect}\n{done.stdout}")
    return done.stdout


# A process begins with the memory peak of the one that started it: a small one measures.
MEASURE = """import json, os, subprocess, sys
p = subprocess.Popen(sys.argv[1:], stdout=2, stderr=2)
_, status, used = os.wait4(p.pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), used.ru_maxrss, used.ru_utime + used.ru_stime]))"""


def run_measured(words, data, **environ):
    """Exit code, output, peak KiB and CPU seconds of a program and all that it starts."""
    done = subprocess.run([sys.executable, "-S", "-c", MEASURE, *map(str, words)], capture_output=True, timeout=300, cwd=SOURCE,
                          env=environment(data, **environ))
    code, kib, seconds = json.loads(done.stdout)
    return code, done.stderr.decode(errors="replace"), kib, seconds


def write_recipe(path, base="emoji", **sections):
    """A recipe that differs from configs/latents/`base`.yaml: images={"codec": ...}, text={"length": ...}, name=...; its path."""
    lines = [f"extends: {SOURCE}/configs/latents/{base}.yaml"]
    for key, value in sections.items():
        lines.append(f"{key}: {json.dumps(value, default=str)}")
    path.write_text("\n".join(lines) + "\n")
    return path


def has_cuda():
    """Whether this build could use a GPU; the machine may still have none."""
    return "libnccl" in subprocess.run(["ldd", BIN / "train"], capture_output=True, text=True).stdout


def train_words(runs, name, *overrides, config="emoji"):
    """The demonstration's training at the smallest size, as command-line words."""
    return ["--config", SOURCE / f"configs/train/{config}.yaml", f"data=[{{dataset: {DATASET}}}]", f"runs={runs}",
            f"name={name}", "size=64", "batch_size=8", "threads_per_rank=1", "sampling.every_steps=0",
            "checkpoint.every_minutes=0", "schedule.warmup_steps=5", *TINY_MODEL, *overrides]


def metrics(run_folder):
    """metrics.jsonl, one dictionary per line."""
    return [json.loads(line) for line in (pathlib.Path(run_folder) / "metrics.jsonl").read_text().splitlines()]


def checkpoint(run_folder, step):
    return pathlib.Path(run_folder) / "checkpoints" / f"step_{step:07d}"


def manifest(checkpoint_folder):
    return json.loads((pathlib.Path(checkpoint_folder) / "manifest.json").read_text())


def files_below(folder):
    """Relative name -> bytes, hidden files too."""
    folder = pathlib.Path(folder)
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def read_safetensors(path):
    """name -> (shape, bytes)."""
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    return {name: (t["shape"], data[8 + length:][slice(*t["data_offsets"])]) for name, t in header.items()}


def read_checkpoint(checkpoint_folder):
    """name -> (shape, bytes of the whole fp32 tensor), put together from all shards."""
    folder, whole, files = pathlib.Path(checkpoint_folder), {}, {}
    for name, tensor in manifest(folder)["tensors"].items():
        parts = []
        for part in sorted(tensor["parts"], key=lambda p: p["begin"]):
            if part["file"] not in files:
                files[part["file"]] = read_safetensors(folder / part["file"])
            parts.append(files[part["file"]][f"{name}@{part['begin']}"][1])
        whole[name] = (tensor["shape"], b"".join(parts))
    return whole


def greatest_difference(run_a, run_b, first, last, key="loss"):
    """Largest relative difference of a metric over steps first..last, which both runs must hold once each."""
    a, b = ({m["step"]: m[key] for m in metrics(r) if first <= m["step"] <= last} for r in (run_a, run_b))
    check(sorted(a) == sorted(b) == list(range(first, last + 1)), f"steps {sorted(a)} and {sorted(b)}")
    return max(abs(a[s] - b[s]) / max(abs(a[s]), 1e-30) for s in a)


def flip_bit(path, byte, bit=3):
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


def floats(tensor):
    """The values of a (shape, bytes) pair of fp32."""
    return struct.unpack(f"<{len(tensor[1]) // 4}f", tensor[1])


def write_safetensors(path, tensors, dtypes={}):
    """tensors: name -> (shape, bytes of fp32, or of what `dtypes` says)."""
    header, at = {}, 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": dtypes.get(name, "F32"), "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, data in tensors.values()))


def relative_difference(a, b):
    """|a - b| / |b| of two fp32 tensors (shape, bytes)."""
    check(a[0] == b[0], f"shapes {a[0]} and {b[0]}")
    x, y = floats(a), floats(b)
    return (sum((p - q) ** 2 for p, q in zip(x, y)) / max(sum(q * q for q in y), 1e-300)) ** 0.5
