"""Runs the built programs with limits, alone or under mpirun, and says how one ended. Tensor files in and out (torch)."""
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import torch

from verdict import Failure

OUT_OF_MEMORY = re.compile(r"out of memory|CUDA_ERROR_OUT_OF_MEMORY|std::bad_alloc|can't allocate memory", re.IGNORECASE)


def last_words(log):
    lines = [line for line in log.strip().splitlines() if line.strip()]
    return " / ".join(lines[-2:])[-300:]


def why_it_ended(code, log):
    """One line about an exit that is not 0."""
    said = last_words(log)
    if OUT_OF_MEMORY.search(log):
        return f"out of memory (exit {code}): {said}"
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = str(number)
        return f"crashed with {name} (exit {code}): {said}"
    return f"exit {code}: {said}"


class Programs:
    """The programs in one folder, with the time that is left for all of them together."""

    def __init__(self, folder, limit_s, data_maker=None):
        """`data_maker`: the program that makes random latents, when it is not in the same folder."""
        self.folder = pathlib.Path(folder).resolve()
        self.data_maker = pathlib.Path(data_maker or self.folder / "loader_bench").resolve()
        self.end = time.monotonic() + limit_s
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "OMPI_COMM_", "PMIX_RANK"))}
        # Only the programs see these folders: Python keeps the libraries that it came with.
        if os.environ.get("MICRODIT_LIBRARY_PATH"):
            self.env["LD_LIBRARY_PATH"] = os.environ["MICRODIT_LIBRARY_PATH"]
        self.env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_mpi_yield_when_idle="1",
                        OMPI_MCA_hwloc_base_binding_policy="none")

    def left_s(self):
        return max(0.0, self.end - time.monotonic())

    def command(self, name, words, ranks=1):
        program = self.folder / name  # or `name` itself, where it is a whole path
        if not os.access(program, os.X_OK):
            raise Failure(f"{program} is not there")
        prefix = []
        if ranks > 1:
            mpirun = os.environ.get("MICRODIT_MPIRUN") or shutil.which("mpirun")
            if not mpirun:
                raise Failure("mpirun is not here")
            prefix = [mpirun, "--oversubscribe", "-n", str(ranks)]
        return [*prefix, str(program), *map(str, words)]

    def start(self, name, *words, ranks=1, log, **env):
        return subprocess.Popen(self.command(name, words, ranks), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                env={**self.env, **env}, start_new_session=True)

    def run(self, name, *words, ranks=1, limit_s=120, folder, **env):
        """The program's log; Failure when it does not end with 0 in time."""
        limit_s = min(limit_s, self.left_s())
        if limit_s <= 0:
            raise Failure("no time was left for it")
        path = folder / f"{pathlib.Path(name).name}_{time.monotonic_ns()}.log"
        with open(path, "wb") as log:
            process = self.start(name, *words, ranks=ranks, log=log, **env)
            try:
                code = process.wait(timeout=limit_s)
            except subprocess.TimeoutExpired:
                raise Failure(f"timeout: {name} was still running after {limit_s:.0f} s") from None
            finally:
                end(process)
        text = path.read_text(errors="replace")
        if code != 0:
            raise Failure(f"{name}: {why_it_ended(code, text)}")
        return text


def end(process):
    """Ends a process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "U8": torch.uint8, "I64": torch.int64, "F64": torch.float64}


def save(path, tensors):
    """A safetensors file."""
    names = {dtype: name for name, dtype in TYPES.items()}
    header, blobs, at = {}, [], 0
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        data = ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size())
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + len(data)]}
        blobs.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def load(path):
    """name -> tensor of a safetensors file; integers are left out."""
    data = bytearray(path.read_bytes())
    begin = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, info in json.loads(data[8:begin]).items():
        if name == "__metadata__" or info["dtype"] in ("I32", "I64"):
            continue
        first, last = info["data_offsets"]
        values = torch.frombuffer(data[begin + first:begin + last], dtype=TYPES[info["dtype"]]) if last > first else torch.empty(0)
        tensors[name] = values.reshape(info["shape"]).double()
    return tensors


def difference(ours, theirs):
    """The worst ‖a − b‖ / ‖b‖ over all tensors; Failure when names or shapes differ or a value is not finite."""
    return max(differences(ours, theirs).values())


def differences(ours, theirs):
    if ours.keys() != theirs.keys() or not theirs:
        raise Failure(f"the tensors differ by name: {sorted(ours.keys() ^ theirs.keys())[:4]}")
    result = {}
    for name, b in theirs.items():
        a = ours[name]
        if a.shape != b.shape:
            raise Failure(f"{name}: shapes {list(a.shape)} and {list(b.shape)}")
        for which, tensor in (("first", a), ("second", b)):
            if not torch.isfinite(tensor).all():
                raise Failure(f"{name}: not finite in the {which} of the two")
        norm = b.norm().item()
        result[name] = (a - b).norm().item() / norm if norm else a.norm().item()
    return result


def whole_difference(ours, theirs):
    """‖a − b‖ / ‖b‖ of all tensors taken as one vector; checks as difference()."""
    differences(ours, theirs)
    squares = sum((ours[name] - b).square().sum().item() for name, b in theirs.items())
    return (squares / max(sum(b.square().sum().item() for b in theirs.values()), 1e-300)) ** 0.5
