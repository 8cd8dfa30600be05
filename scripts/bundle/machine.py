"""What this machine is: the card, its driver, and what nvidia-smi says while something runs."""
import pathlib
import subprocess
import threading

import torch


def _smi(*words):
    try:
        done = subprocess.run(["nvidia-smi", *words], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def num_gpus():
    """GPUs that the machine shows in any way: one that torch cannot use is a failure to report, not a machine without."""
    listed = _smi("-L")
    seen = len([line for line in (listed or "").splitlines() if line.startswith("GPU ")])
    devices = len([p for p in pathlib.Path("/dev").glob("nvidia[0-9]*") if p.is_char_device()])
    return max(seen, devices, torch.cuda.device_count())


def facts(gpus):
    if gpus == 0:
        return {"card": None, "driver": None}
    answer = (_smi("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader") or "").splitlines()
    name, driver, memory = ([part.strip() for part in answer[0].split(",")] if answer else ["unknown"] * 3)[:3]
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name(0)
    return {"card": name, "driver": driver, "memory": memory}


class Watch:
    """Peak memory, and median clock and power, of the first GPU between entering and leaving."""

    def __enter__(self):
        self.samples, self._peak_mib = [], None
        self._process = subprocess.Popen(
            ["nvidia-smi", "-i", "0", "--query-gpu=memory.used,clocks.sm,power.draw", "--format=csv,noheader,nounits", "-lms", "250"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def _read(self):
        for line in self._process.stdout:
            try:
                self.samples.append([float(part) for part in line.split(",")])
            except ValueError:
                continue  # "[N/A]": the card does not say
            self._peak_mib = max(self._peak_mib or 0, self.samples[-1][0])

    def begin_again(self):
        """Clock and power are of what follows; the peak stays."""
        self.samples = []

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()
        self._thread.join(timeout=5)

    def peak_gib(self):
        """None when nvidia-smi said nothing."""
        return self._peak_mib and self._peak_mib / 1024

    def text(self):
        if not self.samples:
            return "nvidia-smi gave no readings"
        middle = [sorted(column)[len(column) // 2] for column in zip(*self.samples)]
        return f"median clock {middle[1]:.0f} MHz, power {middle[2]:.0f} W"
