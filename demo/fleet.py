"""The demo's 40 devices: their folders, what they tell of themselves, their processes.

Every device is the SDK's agent with a key, a consent file, data sets and a validation split of its
own; several agents share a process. Keys stay from one demo to the next, so it can be repeated
without ever more devices in the pool.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from demo import data
from propius.agent.enrolment import enrol
from propius.agent.identity import Home
from propius.http_errors import ApiError
from propius.training import limits

BASE_DIR = Path(__file__).resolve().parent.parent
DIGITS, TUMOURS = "digits", "tumours"
LEAST_DIGITS, LEAST_TUMOURS = 12, 5
STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Model:
    """A kind of device: how many there are and what they are like."""

    name: str
    count: int
    os: str
    os_version: int
    architecture: str
    cpu_score: float
    memory_mb: int
    cores: int
    slowdown: float
    programs: bool = True


MODELS = (
    Model("workstation", 6, "linux", 6, "x86_64", 6.0, 32_768, 16, 1.5),
    Model("laptop", 8, "windows", 11, "x86_64", 4.0, 16_384, 8, 3.0),
    Model("macbook", 4, "macos", 15, "arm64", 5.0, 16_384, 8, 2.0),
    Model("phone", 10, "android", 14, "arm64", 2.5, 6_144, 8, 8.0),
    Model("board", 4, "linux", 6, "arm64", 1.2, 2_048, 4, 15.0),
    # Too small for torch: they run handlers only.
    Model("sensor", 8, "linux", 6, "arm64", 0.6, 512, 2, 20.0, programs=False),
)
REGIONS = ("north", "east", "south", "west")


@dataclass(frozen=True, slots=True)
class Device:
    """One device of the fleet."""

    number: int
    model: Model

    @property
    def name(self) -> str:
        """Name for people."""
        return f"{self.model.name}-{self.number:02d}"

    @property
    def attributes(self) -> dict[str, float | int | str | bool]:
        """Public attributes; no two devices of a model are quite alike."""
        spread = 0.9 + 0.05 * (self.number % 5)
        return {
            "cpu_score": round(self.model.cpu_score * spread, 2),
            "memory_mb": self.model.memory_mb,
            "cores": self.model.cores,
            "disk_free_mb": 4 * self.model.memory_mb,
            "os": self.model.os,
            "os_version": self.model.os_version,
            "accelerator": "none",
            "architecture": self.model.architecture,
            "torch": self.model.programs,
            "region": REGIONS[self.number % len(REGIONS)],
        }

    def folder(self, root: Path) -> Path:
        """Where it lives."""
        return root / "devices" / f"{self.number:02d}"


def devices() -> list[Device]:
    """Return the fleet, those with torch first."""
    models = [model for model in MODELS for _ in range(model.count)]
    return [Device(number, model) for number, model in enumerate(models)]


@dataclass(frozen=True, slots=True)
class Group:
    """Devices that share a process."""

    name: str
    devices: tuple[Device, ...]


def groups() -> list[Group]:
    """Return who shares a process, those without torch first: their process never loads it.

    Each has one trainer, so there are as many with torch as there are cores on a small machine.
    """
    fleet = devices()
    with_torch = tuple(device for device in fleet if device.model.programs)
    without = tuple(device for device in fleet if not device.model.programs)
    return [
        Group("fleet-handlers", without),
        Group("fleet-programs-1", with_torch[::2]),
        Group("fleet-programs-2", with_torch[1::2]),
    ]


def lay_out(root: Path) -> None:
    """Write every device's folder anew: data, consent, handlers. Its key stays if it has one."""
    fleet = devices()
    with_torch = [device for device in fleet if device.model.programs]
    digits, tumours = data.digits().train, data.breast_cancer().train
    for device in fleet:
        folder = device.folder(root)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in folder.iterdir():
            if old.is_dir():
                shutil.rmtree(old)
            elif old.name != "device.key":
                old.unlink()
        _write_owner_files(device, folder)
    for device, hand in zip(
        with_torch, data.deal(digits.y, len(with_torch), least=LEAST_DIGITS), strict=True
    ):
        data.write(device.folder(root) / f"{DIGITS}.npz", digits.take(hand))
    hands = data.deal(tumours.y, len(fleet), least=LEAST_TUMOURS)
    for device, hand in zip(fleet, hands, strict=True):
        data.write(device.folder(root) / f"{TUMOURS}.npz", tumours.take(hand))


def _write_owner_files(device: Device, folder: Path) -> None:
    held = [DIGITS, TUMOURS] if device.model.programs else [TUMOURS]
    (folder / "datasets.toml").write_text(
        "".join(f'[{name}]\npath = "{name}.npz"\n\n' for name in held)
    )
    (folder / "handlers.toml").write_text(
        '[logistic]\ntrain = "demo.handlers:train"\nevaluate = "demo.handlers:evaluate"\n'
    )
    kinds = '["program", "handler"]' if device.model.programs else '["handler"]'
    acme = '["program"]', f'["{DIGITS}"]'
    if not device.model.programs:
        acme = "[]", "[]"
    (folder / "consent.toml").write_text(
        f"# What the owner of {device.name} allows, and to whom.\n"
        "[pool]\nkinds = []\ndatasets = []\n\n"
        f"[tenants.acme]\nkinds = {acme[0]}\ndatasets = {acme[1]}\n\n"
        f"[tenants.globex]\nkinds = {kinds}\ndatasets = {json.dumps(held)}\n"
    )


def enrol_all(group: Group, root: Path, *, url: str, token: str) -> None:
    """Let the devices join the pool; those that have joined before are known by their key.

    Raises
    ------
    ApiError
        The platform refuses the token.
    """

    def one(device: Device) -> None:
        home = Home(device.folder(root))
        try:
            enrol(url, token, home, name=device.name)
        except ApiError as error:
            if error.code != "key_in_use":
                raise
            # Somebody revoked it while looking round after an earlier demo: it comes as a new one.
            (home / "device.key").unlink()
            enrol(url, token, home, name=device.name)

    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(one, group.devices):
            pass


class Hosts:
    """The processes in which the agents run; none outlives the demo."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._running: list[tuple[Path, subprocess.Popen[bytes]]] = []

    def start(self, group: Group) -> None:
        """Start the agents of these devices in a process."""
        file, log_file = (self._root / f"{group.name}.{kind}" for kind in ("json", "log"))
        file.write_text(json.dumps(self._fleet_file(group), indent=2))
        parent = os.getpid()
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "propius.agent.host", str(file)],
                cwd=self._root,
                # Devices are strangers to the platform: nothing of its settings reaches them.
                env=limits.environment([], threads=1),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the demo, which stops things in order.
                start_new_session=True,
                preexec_fn=lambda: limits.die_with_parent(parent),
            )
        self._running.append((log_file, process))

    def _fleet_file(self, group: Group) -> dict[str, object]:
        return {
            "trainers": 1,
            "import_paths": [str(BASE_DIR)],
            "start_over_s": 0.5,
            "backoff_cap_s": 3.0,
            "devices": [
                {
                    "home": str(device.folder(self._root)),
                    "slowdown": device.model.slowdown,
                    "programs": device.model.programs,
                    "attributes": device.attributes,
                }
                for device in group.devices
            ],
        }

    def ended(self) -> Iterator[str]:
        """Yield what is to be said of processes that have ended by themselves."""
        for log, process in self._running:
            if process.poll() is not None:
                yield f"{log.stem} ended with status {process.returncode}: see {log}"

    def stop(self) -> None:
        """Let the devices say good-bye, and end their processes."""
        for _, process in self._running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for _, process in self._running:
            try:
                process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running = []
