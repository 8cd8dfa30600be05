"""How fast a training step of PyTorch's is."""
import statistics
import time


def images_per_s(step, batch, steps):
    """Of the median of `steps` calls of `step`, each of which trains on `batch` pictures; three before them do not count."""
    times = []
    for _ in range(steps + 3):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return batch / statistics.median(times[3:])
