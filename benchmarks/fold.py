"""How fast updates are folded, against torch's bare axpy over the same mapped files.

    .venv/bin/python -m benchmarks.fold
    .venv/bin/python -m benchmarks.fold --updates 4 --megabytes 1

Both read the same page cache on one thread. ``rss_growth_mb`` counts mapped pages too.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aggregation import sums
from aggregation.tensor_files import MappedTensors
from propius import arrays

UPDATES = 20
MEGABYTES = 100
TENSORS = 8
REPEATS = 3
SEED = 0
TARGETS = {"fp32_share_of_axpy": 0.5, "fp16_share_of_axpy": 0.5}


def make(folder: Path, updates: int, megabytes: float, dtype: type[np.floating[Any]]) -> list[Path]:
    random = np.random.default_rng(SEED)
    size = int(megabytes * 1e6 / np.dtype(dtype).itemsize / TENSORS)
    paths = []
    for number in range(updates):
        path = folder / f"{np.dtype(dtype).name}-{number}"
        values: Any = random.standard_normal(size, dtype=np.float32).astype(dtype)
        arrays.save_file({f"layer{n}.weight": values for n in range(TENSORS)}, path)
        paths.append(path)
    return paths


def axpy(paths: Sequence[Path], weights: Sequence[float]) -> None:
    """The least that any fold must do: total += weight · update, whole tensors."""
    totals: dict[str, torch.Tensor] = {}
    for path, weight in zip(paths, weights, strict=True):
        with MappedTensors(path) as file:
            for name in file.header:
                update = file.tensor(name)
                if name not in totals:
                    totals[name] = torch.zeros(update.shape)
                totals[name].add_(update, alpha=weight)
                del update


def fold(paths: Sequence[Path], weights: Sequence[float]) -> None:
    with tempfile.TemporaryFile(dir=paths[0].parent) as file:
        sums.fold(paths, weights, file.write)


def best(work: Callable[[], None]) -> float:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def resident_mb(line: str) -> float:
    status = Path("/proc/self/status").read_text()
    return float(status.split(f"{line}:")[1].split()[0]) / 1024


def peak_growth_mb(work: Callable[[], None]) -> float:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident_mb("VmRSS")
    work()
    return round(resident_mb("VmHWM") - before, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=UPDATES)
    parser.add_argument("--megabytes", type=float, default=MEGABYTES)
    options = parser.parse_args()
    weights = [float(number % 7 + 1) for number in range(options.updates)]
    total = options.updates * options.megabytes * 1e6
    figures: dict[str, float] = {}
    for name, dtype in (("fp32", np.float32), ("fp16", np.float16)):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            paths = make(Path(folder), options.updates, options.megabytes, dtype)
            growth = peak_growth_mb(lambda: fold(paths, weights))  # noqa: B023 - called at once
            ours = best(lambda: fold(paths, weights))  # noqa: B023 - called at once
            bare = best(lambda: axpy(paths, weights))  # noqa: B023 - called at once
        figures[f"{name}_rss_growth_mb"] = growth
        figures[f"{name}_gb_per_s"] = round(total / ours / 1e9, 2)
        figures[f"{name}_axpy_gb_per_s"] = round(total / bare / 1e9, 2)
        figures[f"{name}_share_of_axpy"] = round(bare / ours, 2)
        print({key: value for key, value in figures.items() if key.startswith(name)})
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    result = {
        "benchmark": "fold",
        "figures": figures,
        "targets": TARGETS,
        "met": all(figures[name] >= least for name, least in TARGETS.items()),
        "commit": commit.strip(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} thread",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
