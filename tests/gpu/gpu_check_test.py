"""gpu_check on the real programs: a good run passes; programs that crash, hang, give NaN, another answer or run out of memory turn
the verdict red, each in its row and with its reason. Without a GPU this is the CPU half, which has the same judge."""
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))
import programs

try:
    import torch  # noqa: F401  what gpu_check measures with
except ImportError:
    programs.skip("no torch in this Python")

# Stands in for a program: starts the real one, and does a harm to calls that have all its words.
STAND_IN = '''#!{python}
import json, os, pathlib, subprocess, sys, time
words = sys.argv[1:]
harms = [harm for harm, needed in {harms!r} if all(any(n in w for w in words) for n in needed)]
if "crash" in harms:
    os.kill(os.getpid(), 11)
if "hang" in harms:
    time.sleep(600)
if "out of memory" in harms:
    sys.exit("CUDA out of memory. Tried to allocate 2.00 GiB")
code = subprocess.run([{real!r}, *words]).returncode
for harm, value in (("nan", "0000c07f"), ("large", "0000c842")):  # fp32 nan and 100, little-endian
    if harm in harms:
        out = pathlib.Path(words[words.index("--output") + 1])
        data = bytearray(out.read_bytes())
        begin = 8 + int.from_bytes(data[:8], "little")
        tensors = json.loads(data[8:begin])
        place = begin + tensors["loss" if "loss" in tensors else "sample"]["data_offsets"][0]
        data[place:place + 4] = bytes.fromhex(value)
        out.write_bytes(data)
if "other loss" in harms:
    run, name = ([w.split("=")[1] for w in words if w.startswith(key)][0] for key in ("runs=", "name="))
    path = pathlib.Path(run) / name / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[-1]["loss"] *= 1.5
    path.write_text("".join(json.dumps(line) + chr(10) for line in lines))
sys.exit(code)
'''

# program -> (harm, words of the calls that it befalls)
HARMS = {"probe": [("nan", ["forward.in"]), ("large", ["loss.in", "precision=bf16"])],
         "train": [("crash", ["name=step_bf16"]), ("out of memory", ["name=two_ranks"]), ("other loss", ["name=bf16"])]}
# The row that must fail -> what its reason says
ALL_BUT_SPEED = "^(?!phase 1)"
REASONS = {"forward, mask .75, bf16 against fp32": "not finite",
           "loss, mask .75, bf16 against fp32": "is above",
           "train: gradients of step 1, bf16 against fp32": "SIGSEGV",
           "20 training steps, loss, two ranks against one, CPU": "out of memory",
           "20 training steps, loss, bf16 against fp32": "is above"}


def gpu_check(folder, bin_folder, *words):
    """(exit code, the JSON table, what it printed)"""
    done = subprocess.run([sys.executable, SOURCE / "scripts/gpu_check.py", "check", "--bin", bin_folder, "--configs", SOURCE / "configs",
                           "--codec", SOURCE / "assets/emoji_codec", "--latents", programs.DATA / "latents" / programs.DATASET,
                           "--out", folder / "out", "--proof", folder / "proof.json", *words],
                          capture_output=True, text=True, env=programs.environment())
    table = folder / "out/gpu_check.json"
    if done.returncode == 2:
        return 2, None, done.stdout + done.stderr
    programs.check(table.exists(), f"gpu_check left no table:\n{done.stdout}{done.stderr}")
    return done.returncode, json.loads(table.read_text()), done.stdout + done.stderr


def with_stand_ins(folder, harms):
    """A folder of programs, some of them replaced."""
    folder.mkdir()
    for name in ("probe", "train", "convert"):
        if name in harms:
            (folder / name).write_text(STAND_IN.format(python=sys.executable, real=str(programs.BIN / name), harms=harms[name]))
            (folder / name).chmod(stat.S_IRWXU)
        else:
            (folder / name).symlink_to(programs.BIN / name)
    return folder


def failing(table):
    return {row["name"]: row["reason"] for row in table["rows"] if row["verdict"] != "ok"}


def good_programs(folder):
    code, table, said = gpu_check(folder, programs.BIN, "--rows", ALL_BUT_SPEED)
    programs.check(code == 0 and table["verdict"] == "pass", f"a good build does not pass: exit {code}\n{said}")
    programs.check(table["gpus"] > 0 or "CPU half only" in said, "a CPU half that does not say so")
    programs.check(not table["passed"] and not (folder / "proof.json").exists(), "a check of some rows, or without a GPU, left a proof")
    return table["gpus"] > 0


def harmed_programs(folder, on_gpu):
    (folder / "proof.json").write_text("{}")
    code, table, said = gpu_check(folder, with_stand_ins(folder / "harmed", HARMS), "--rows", "bf16|two ranks")
    rows = failing(table)
    programs.check(code == 1 and table["verdict"] == "fail", f"harmed programs pass: exit {code}\n{said}")
    for row, reason in REASONS.items():
        programs.check(reason in rows.get(row, ""), f"{row}: its reason must say '{reason}': {rows}")
        programs.check(f"FAIL {row}: " in said, f"{row}: no FAIL line:\n{said}")
    programs.check((folder / "proof.json").exists() != on_gpu, "the proof of an earlier pass goes when a check with a GPU fails, and only then")


def no_programs(folder):
    """Every expected row fails, with the reason."""
    hanging = with_stand_ins(folder / "hanging", {"train": [("hang", ["name=shapes"])]})
    for bin_folder, words, reason in ((hanging, ["--limit-s", "5"], "timeout"), (folder, [], "is not there")):
        code, table, _ = gpu_check(folder, bin_folder, *words)
        rows = failing(table)
        programs.check(code == 1 and len(rows) == len(table["rows"]) and set(REASONS) <= set(rows), f"{reason}: exit {code}, {rows}")
        programs.check(all(reason in why for why in rows.values()), f"{reason}: {rows}")


def no_rows(folder):
    code, _, said = gpu_check(folder, programs.BIN, "--rows", "typo")
    programs.check(code == 2 and "forward, mask .75, bf16" in said, f"--rows that fits nothing: exit {code}\n{said}")


def main():
    programs.need_data()
    programs.need_mpi()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        on_gpu = good_programs(folder)
        harmed_programs(folder, on_gpu)
        no_programs(folder)
        no_rows(folder)
        if not on_gpu:
            code, table, _ = gpu_check(folder, folder, "--need-gpu")
            programs.check(code == 1 and "GPUs here" in failing(table), f"--need-gpu without a GPU: exit {code}")
    print("gpu_check: good")


main()
