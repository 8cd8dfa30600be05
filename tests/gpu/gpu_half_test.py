"""The GPU half of gpu_check, rehearsed where there is no GPU: stand-ins for nvidia-smi and for the programs, which compute on the CPU what
they are asked to compute on a GPU and change it in the fifth digit. It proves the check, not the GPU code: every row is asked for
and judged, a pass leaves the proof, a setting without effect and a path not taken fail, a smaller microbatch is tried after out of memory."""
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path[:0] = [str(SOURCE / "tests"), str(SOURCE / "scripts/bundle")]
import programs

try:
    import torch
except ImportError:
    programs.skip("no torch in this Python")
import speed
from runner import Programs

SMI = '''#!/bin/sh
case "$*" in
  -L) echo "GPU 0: Rehearsal (UUID: GPU-0)" ;;
  *name,driver*) echo "Rehearsal, 1.0, 81559 MiB" ;;
  *) while :; do echo "51200, 1980, 650.5"; sleep 0.1; done ;;
esac
'''
# `changed`: what a GPU is made out to change; `staged`: whether the log names the path through host memory; `fits`: largest microbatch.
PROGRAM = '''#!{python}
import array, json, os, pathlib, subprocess, sys
changed, staged, fits = {changed!r}, {staged!r}, {fits!r}
words = sys.argv[1:]
on_gpu = "device=cuda" in words or any("pretrain_256" in w for w in words)
words = ["device=cpu" if w == "device=cuda" else w for w in words]
if any("pretrain_256" in w for w in words):
    if [int(w.split("=")[1]) for w in words if w.startswith("microbatch_size")][0] > fits:
        sys.exit("CUDA out of memory. Tried to allocate 2.00 GiB")
    words += ["device=cpu", "precision=fp32", "batch_size=2", "microbatch_size=2", "threads_per_rank=1", "model.dim=32", "model.depth=2",
              "model.head_dim=16", "model.patch_mixer_dim=32", "model.patch_mixer_depth=1"]
    os.execv({real!r}, [{real!r}, *words])
if on_gpu and staged and os.environ.get("OMPI_COMM_WORLD_RANK") == "0":
    print("2 ranks share 1 GPUs: sums travel through host memory")
if on_gpu and "steps=1000000" in words:
    os.execv({real!r}, [{real!r}, *words])  # is killed: the signal must find the program
code = subprocess.run([{real!r}, *words]).returncode
if on_gpu and changed and code == 0 and "--output" in words:
    path = pathlib.Path(words[words.index("--output") + 1])
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    values = array.array("f", data[begin:])
    scale = 1.00001 + 0.000001 * (os.environ.get("NVIDIA_TF32_OVERRIDE") == "0")
    path.write_bytes(data[:begin] + array.array("f", [v * scale for v in values]).tobytes())
if on_gpu and changed and code == 0 and pathlib.Path({real!r}).name == "train" and os.environ.get("OMPI_COMM_WORLD_RANK", "0") == "0":
    run, name = ([w.split("=")[1] for w in words if w.startswith(key)][0] for key in ("runs=", "name="))
    path = pathlib.Path(run) / name / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(dict(line, loss=line["loss"] * 1.00001)) + chr(10) for line in lines))
sys.exit(code)
'''


def executable(path, text):
    path.write_text(text)
    path.chmod(stat.S_IRWXU)


def stand_ins(folder, changed=True, staged=True, fits=256):
    folder.mkdir()
    for name in ("probe", "train"):
        executable(folder / name, PROGRAM.format(python=sys.executable, real=str(programs.BIN / name), changed=changed, staged=staged, fits=fits))
    for name in ("convert", "loader_bench"):
        (folder / name).symlink_to(programs.BIN / name)
    return folder


def gpu_check(folder, bin_folder, *words):
    env = {**programs.environment(), "PATH": f"{folder}/smi:{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, SOURCE / "scripts/gpu_check.py", "check", "--bin", bin_folder, "--configs", SOURCE / "configs",
                           "--codec", SOURCE / "assets/emoji_codec", "--latents", programs.DATA / "latents" / programs.DATASET,
                           "--out", folder / "out", "--proof", folder / "gpu_check.json", "--limit-s", "600", *words],
                          capture_output=True, text=True, env=env)
    return done.returncode, json.loads((folder / "out/gpu_check.json").read_text()), done.stdout + done.stderr


def a_pass(folder):
    code, table, said = gpu_check(folder, stand_ins(folder / "good"), "--need-gpu")
    programs.check(code == 0 and table["verdict"] == "pass", f"exit {code}\n{said}")
    programs.check(len(table["rows"]) == 28, f"{len(table['rows'])} rows, not 28\n{said}")
    proof = json.loads((folder / "gpu_check.json").read_text())
    programs.check(proof["card"] == "Rehearsal" and proof["passed"] is True and proof["revision"], f"proof: {proof}")
    peak = {row["name"]: row["value"] for row in table["rows"]}["phase 1, peak memory"]
    programs.check(peak == 50, f"peak memory {peak}, nvidia-smi said 50 GiB")


def no_effect(folder):
    """The `GPU` gives the CPU's bits, and two ranks do not name their path: all such rows fail, and the proof goes."""
    code, table, said = gpu_check(folder, stand_ins(folder / "same", changed=False, staged=False), "--rows",
                                  "^forward|decode|loss, CUDA|two ranks on one")
    failing = {row["name"]: row["reason"] for row in table["rows"] if row["verdict"] != "ok"}
    programs.check(code == 1, f"exit {code}\n{said}")
    for row in ("forward, CUDA against CPU", "codec decode, TF32 off, CUDA against CPU", "20 training steps, loss, CUDA against CPU"):
        programs.check("not above 0" in failing.get(row, ""), f"{row}: {failing}")
    programs.check("staged path" in failing.get("20 training steps, loss, two ranks on one GPU against one", ""), f"staged: {failing}")
    programs.check(not (folder / "gpu_check.json").exists(), "the proof is still there after a failure")


def out_of_memory(folder):
    runs = Programs(stand_ins(folder / "small", fits=128), 120)
    data = speed.make_latents(runs, folder, 64)
    os.environ["PATH"] = f"{folder}/smi:{os.environ['PATH']}"
    microbatch, seen = speed.measure_largest(runs, SOURCE / "configs", folder, data, "oom")
    programs.check(microbatch == 128 and seen["rate"] > 0, f"microbatch {microbatch}, {seen}")
    programs.check(speed.PHASE_1[1].misses(microbatch) is not None, "128 where the recipe asks for 256 must be a failure")


def main():
    programs.need_data()
    programs.need_mpi()
    if torch.cuda.is_available():
        programs.skip("a GPU is here: gpu_check itself can run")
    if not (programs.BIN / "loader_bench").exists():
        programs.skip("loader_bench is not built")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "smi").mkdir()
        executable(folder / "smi/nvidia-smi", SMI)
        a_pass(folder)
        no_effect(folder)
        out_of_memory(folder)
    print("the GPU half, rehearsed: good")


main()
