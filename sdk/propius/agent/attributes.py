"""Public attributes: measured on the device, added to by plugins, then corrected by its owner.

``attributes.toml`` holds plain names and values; they replace measured ones and add labels. The
platform's schema, learnt at enrolment, decides what is sent and as which type.

A plugin is a function without arguments that returns names and values, installed as an entry point
of the group ``propius.attributes``::

    [project.entry-points."propius.attributes"]
    thermal_camera = "my_package:attributes"
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
import re
import shutil
import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import msgspec
import psutil

from propius.agent import owner_files
from propius.agent.identity import AttributeSchema, Home, write_private
from propius.agent.pace import Pace
from propius.agent.workloads import torch_is_installed
from propius.wire import Name, Scalar

log = logging.getLogger(__name__)
PLUGINS = "propius.attributes"
PLUGIN_S = 5.0
BENCHMARK_S = 1.0
REFERENCE_RATE = 10e6
"""Additions a second of a plain Python loop that count as a CPU score of 1: a small single-board
computer's core. A laptop's core scores about 3 to 6."""


SYSTEMS = {"linux": "linux", "darwin": "macos", "windows": "windows", "android": "android"}
ARCHITECTURES = {"amd64": "x86_64", "aarch64": "arm64"}


def measured(home: Home, *, without: Collection[str] = ()) -> dict[str, Scalar]:
    """Return what can be measured, but for the names that the owner gives.

    ``cpu_score``, ``memory_mb``, ``disk_free_mb``, ``cores``, ``os``, ``os_version`` (major),
    ``architecture``, ``accelerator`` (``none``, ``cuda``, ``rocm``, ``mps``), ``python`` (3.11 is
    311), ``torch`` and, after the first larger download, ``network_mbps``.
    """
    machine = platform.machine().lower()
    found: dict[str, Scalar] = {
        "memory_mb": psutil.virtual_memory().total // (1 << 20),
        # Two digits, of the rate too: more would be a fingerprint, and change at every connection.
        "disk_free_mb": _two_digits(shutil.disk_usage(home.path).free // (1 << 20)),
        "cores": os.cpu_count() or 1,
        "os": SYSTEMS.get(platform.system().lower(), "other"),
        "architecture": ARCHITECTURES.get(machine, machine),
        "accelerator": accelerator(machine),
        "python": sys.version_info.major * 100 + sys.version_info.minor,
        "torch": torch_is_installed(),
    }
    if version := re.match(r"\d+", platform.release()):
        found["os_version"] = int(version[0])
    rate = Pace(home / "pace.json").down_bytes_per_s
    if rate is not None:
        found["network_mbps"] = float(f"{rate * 8 / 1e6:.2g}")
    if "cpu_score" not in without:
        found["cpu_score"] = cpu_score(home / "cpu_score.json")
    return found


def collect(
    home: Home, schema: Iterable[AttributeSchema], overrides: Mapping[str, Scalar] | None = None
) -> dict[str, Scalar]:
    """Return the attributes to send: measured, from the owner's file, from ``overrides``.

    Names that the platform does not know are left out; without a schema all are sent.

    Raises
    ------
    owner_files.OwnerFileError
        ``attributes.toml`` cannot be read, or holds a value of another type than the schema's.
    """
    types = {one.name: one.type for one in schema}
    return told(home, types, given(home, types, overrides or {}))


def given(
    home: Home, types: Mapping[str, str], overrides: Mapping[str, Scalar]
) -> dict[str, Scalar]:
    """Return what is not measured: of plugins, the owner's file, ``overrides``. Raises as above."""
    nothing: dict[str, Scalar] = {}
    own = owner_files.read(home / "attributes.toml", dict[str, Scalar], missing=nothing)
    added = plugged_in()
    for name in [one for one in added if one in types and not _fits(added[one], types[one])]:
        log.warning("attributes.plugin told %s=%r, no %s", name, added.pop(name), types[name])
    return added | own | dict(overrides)


def told(home: Home, types: Mapping[str, str], instead: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return what is measured now and ``instead`` of it, as the platform knows it.

    Cheap: may be done at every connection. Raises :class:`owner_files.OwnerFileError`.
    """
    found = measured(home, without=instead) | dict(instead)
    if not types:
        return found
    known = {name: value for name, value in found.items() if name in types}
    for name, value in known.items():
        if not _fits(value, types[name]):
            path = home / "attributes.toml"
            raise owner_files.OwnerFileError(
                f"{path}: {name} is {value!r}; the platform wants a {types[name]}"
            )
    return known


def accelerator(machine: str) -> str:
    """Return what could speed up training here, told without loading torch."""
    if Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi"):
        return "cuda"
    if Path("/dev/kfd").exists():
        return "rocm"
    return "mps" if sys.platform == "darwin" and machine == "arm64" else "none"


def plugged_in() -> dict[str, Scalar]:
    """Return what plugins tell. One that fails or hangs is passed over, and logged."""
    found: dict[str, Scalar] = {}
    for plugin in importlib.metadata.entry_points(group=PLUGINS):
        told: dict[str, Scalar] = {}
        thread = threading.Thread(target=_ask, args=(plugin, told), daemon=True)
        thread.start()
        thread.join(PLUGIN_S)
        if thread.is_alive():
            log.warning("attributes.plugin %s says nothing after %s s", plugin.name, PLUGIN_S)
        else:
            found |= told
    return found


def _ask(plugin: importlib.metadata.EntryPoint, told: dict[str, Scalar]) -> None:
    try:
        answer = plugin.load()()
        told |= msgspec.convert(answer, dict[Name, Scalar])
    except BaseException as error:  # noqa: BLE001 - foreign code, at the edge: even sys.exit
        log.warning("attributes.plugin %s failed: %r", plugin.name, error)


def cpu_score(cache: Path, *, seconds: float = BENCHMARK_S) -> float:
    """Measure one core's speed in multiples of :data:`REFERENCE_RATE`; kept for this machine."""
    machine = f"{platform.node()} {platform.processor()} {os.cpu_count()}"
    try:
        known = json.loads(cache.read_text())
        if known["machine"] == machine:
            return float(known["score"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    score = round(_benchmark(seconds) / REFERENCE_RATE, 2)
    write_private(cache, json.dumps({"machine": machine, "score": score}).encode())
    return score


def _benchmark(seconds: float) -> float:
    """Return additions a second, the best of several short runs: other work slows single ones."""
    best, until = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        start, total = time.process_time(), 0
        for number in range(200_000):
            total += number
        best = max(best, 200_000 / max(1e-9, time.process_time() - start))
    return best


def _two_digits(value: int) -> int:
    step: int = 10 ** max(0, len(str(value)) - 2)
    return value // step * step


def _fits(value: Scalar, kind: str) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "string":
        return isinstance(value, str)
    return isinstance(value, int | float) and not isinstance(value, bool)
