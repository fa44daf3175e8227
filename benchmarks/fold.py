"""How fast updates are folded, and how little memory that takes.

    make bench NAME=fold
    .venv/bin/python -m benchmarks.fold --updates 4 --megabytes 1

Speed is set against torch's bare axpy over the same mapped files: both read the same page cache on
one thread. Narrow updates go through a float32 buffer in both; the bare one leaves int8's scales
out.

Memory is that of a child process for each kind of work: the peak of its resident memory
(``VmHWM``) less what was resident just before (``VmRSS``, with torch loaded). Resident are also
the pages of mapped files, though they are page cache that the kernel could take back: a fold that
did not let go of what it has read would show all of its updates here. What the page cache holds
without any process mapping it does not count. ``peak_mb`` is over ``--updates``;
``growth_share`` is how much more of a model's size ten times as many updates take, whose files are
the same ones over and over: each mapping counts anew. ``merge`` is the merging of partials.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import multiprocessing
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
from benchmarks import result
from propius import arrays, codec
from propius.encodings import SCALE

UPDATES = 20
MEGABYTES = 100
TENSORS = 8
REPEATS = 3
SEED = 0
ROWS = 25
WIDTHS = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
FEW, MANY = 10, 100
MEASURED = ("fp32", "int8")
"""Codecs whose memory is measured: without a buffer for the conversion, and with one."""
TARGETS = {
    "fp32_share_of_axpy": (">=", 0.5),
    "fp16_share_of_axpy": (">=", 0.5),
    "bf16_share_of_axpy": (">=", 0.5),
    "int8_share_of_axpy": (">=", 0.4),
    "fp32_peak_share_of_model": ("<=", 1.3),
    "int8_peak_share_of_model": ("<=", 1.3),
    "merge_peak_share_of_model": ("<=", 1.3),
    "fp32_growth_share": ("<=", 0.1),
    "int8_growth_share": ("<=", 0.1),
    "merge_growth_share": ("<=", 0.1),
}
Figures = dict[str, float]


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


def peak_mb(work: Callable[[], None]) -> float:
    """Return the peak of ``work``, beyond what this process had before it."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident_mb("VmRSS")
    work()
    return round(resident_mb("VmHWM") - before, 1)


def merge(partial: Path, count: int) -> None:
    with tempfile.TemporaryFile(dir=partial.parent) as file:
        sums.merge([partial] * count, file.write)


def folding(paths: Sequence[Path], encoding: Encoding, count: int) -> Callable[[], None]:
    """Return the fold of so many updates, of the files there are."""
    some = list(itertools.islice(itertools.cycle(paths), count))
    return functools.partial(fold, some, _weights(count), encoding)


def memory(name: str, paths: Sequence[Path], encoding: Encoding) -> Figures:
    """Measure the memory of a fold, and once of a merge."""
    model_mb = sum(one.size_bytes for one in encoding.tensors.values()) / (1 << 20)
    works: dict[str, Callable[[int], Callable[[], None]]] = {
        name: functools.partial(folding, paths, encoding)
    }
    if name == "fp32":
        partial = paths[0].with_name("partial")
        with partial.open("wb") as file:
            sums.fold(paths[:1], [1.0], encoding, file.write)
        works["merge"] = functools.partial(functools.partial, merge, partial)
    found: Figures = {}
    for what, work in works.items():
        with multiprocessing.get_context("fork").Pool(1) as child:
            counts = [work(count) for count in (len(paths), FEW, MANY)]
            peak, few, many = child.map(peak_mb, counts, chunksize=1)
        found[f"{what}_peak_mb"] = peak
        found[f"{what}_peak_share_of_model"] = round(peak / model_mb, 3)
        found[f"{what}_growth_share"] = round((many - few) / model_mb, 3)
    return found


def speed(name: str, paths: Sequence[Path], encoding: Encoding, megabytes: float) -> Figures:
    """Time folds against the bare axpy."""
    weights = _weights(len(paths))
    total = len(paths) * megabytes * 1e6
    ours = best(functools.partial(fold, paths, weights, encoding))
    bare = best(functools.partial(axpy, paths, weights))
    return {
        f"{name}_gb_per_s": round(total / ours / 1e9, 2),
        f"{name}_axpy_gb_per_s": round(total / bare / 1e9, 2),
        f"{name}_share_of_axpy": round(bare / ours, 2),
    }


def main() -> None:
    """Measure all codecs, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--updates", type=int, default=UPDATES)
    parser.add_argument("--megabytes", type=float, default=MEGABYTES)
    options = parser.parse_args()
    figures: Figures = {"updates": options.updates, "megabytes": options.megabytes}
    for name in WIDTHS:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            encoding = make(Path(folder), options.updates, options.megabytes, name)
            paths = [Path(folder) / f"update-{number}" for number in range(options.updates)]
            figures |= speed(name, paths, encoding, options.megabytes)
            if name in MEASURED:
                figures |= memory(name, paths, encoding)
        print({key: value for key, value in figures.items() if key.startswith(name)})
    print(result.line("fold", figures, TARGETS))


def _weights(count: int) -> list[float]:
    return [float(number % 7 + 1) for number in range(count)]


if __name__ == "__main__":
    main()
