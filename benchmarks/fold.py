"""How fast updates are folded, against torch's bare axpy over the same mapped files.

Narrow ones go through a float32 buffer in both; the bare one leaves int8's scales out.

    .venv/bin/python -m benchmarks.fold
    .venv/bin/python -m benchmarks.fold --updates 4 --megabytes 1

Both read the same page cache on one thread. ``rss_growth_mb`` counts mapped pages too.
"""

from __future__ import annotations

import argparse
import functools
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
from aggregation.decoding import CHUNK_ITEMS, Encoding
from aggregation.tensor_files import MappedTensors, in_chunks
from propius import arrays, codec
from propius.encodings import SCALE

UPDATES = 20
MEGABYTES = 100
TENSORS = 8
REPEATS = 3
SEED = 0
ROWS = 25
WIDTHS = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
TARGETS = {
    "fp32_share_of_axpy": 0.5,
    "fp16_share_of_axpy": 0.5,
    "bf16_share_of_axpy": 0.5,
    "int8_share_of_axpy": 0.4,
}


def make(folder: Path, updates: int, megabytes: float, name: str) -> Encoding:
    """Write updates of about ``megabytes`` each, and the model that they are about."""
    random = np.random.default_rng(SEED)
    shape = (ROWS, int(megabytes * 1e6 / WIDTHS[name] / TENSORS / ROWS))
    model = {f"layer{n}.weight": np.empty(shape, np.float32) for n in range(TENSORS)}
    for number in range(updates):
        values: Any = random.standard_normal(shape, dtype=np.float32)
        sent = codec.encode(dict.fromkeys(model, values), codec=name)
        arrays.save_file(sent, folder / f"update-{number}")
    return Encoding(name, arrays.describe(model), folder / "none")


def axpy(paths: Sequence[Path], weights: Sequence[float]) -> None:
    """The least that any fold must do: total += weight · update, through one float32 buffer."""
    totals: dict[str, torch.Tensor] = {}
    buffer = torch.empty(CHUNK_ITEMS)
    for path, weight in zip(paths, weights, strict=True):
        with MappedTensors(path) as file:
            for name in file.header:
                if name.endswith(SCALE):
                    continue
                update = file.tensor(name).reshape(-1)
                if name not in totals:
                    totals[name] = torch.zeros(update.shape)
                total = totals[name]
                if update.dtype == torch.float32:
                    total.add_(update, alpha=weight)
                else:
                    for part in in_chunks(len(update), CHUNK_ITEMS):
                        piece = buffer[: part.stop - part.start].copy_(update[part])
                        total[part].add_(piece, alpha=weight)
                del update


def fold(paths: Sequence[Path], weights: Sequence[float], encoding: Encoding) -> None:
    with tempfile.TemporaryFile(dir=paths[0].parent) as file:
        sums.fold(paths, weights, encoding, file.write)


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
    for name in WIDTHS:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            encoding = make(Path(folder), options.updates, options.megabytes, name)
            paths = [Path(folder) / f"update-{number}" for number in range(options.updates)]
            ours_of = functools.partial(fold, paths, weights, encoding)
            growth = peak_growth_mb(ours_of)
            ours = best(ours_of)
            bare = best(functools.partial(axpy, paths, weights))
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
