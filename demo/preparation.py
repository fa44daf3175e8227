"""What needs no platform, done while it starts: the devices' data, the programs' export."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from demo import fleet
from propius.training import limits

PROGRAMS_S = 120.0


class DemoFailed(Exception):
    """The demo cannot go on; the text says why."""


class Preparation:
    """Begins at once; wait for what is needed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in (root, root / "programs", root / "models"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._threads = ThreadPoolExecutor(1)
        self._devices: Future[None] = self._threads.submit(fleet.lay_out, root)
        self._export = _start_export(root)

    def wait_devices(self) -> None:
        """Return when every device's folder is there."""
        self._devices.result()

    def wait_programs(self) -> None:
        """Return when the programs are there. Raises DemoFailed if the export fails."""
        try:
            status = self._export.wait(timeout=PROGRAMS_S)
        except subprocess.TimeoutExpired as error:
            raise DemoFailed(f"exporting takes longer than {PROGRAMS_S:.0f} s") from error
        if status != 0:
            raise DemoFailed(f"the export of the programs failed: see {_export_log(self.root)}")

    def close(self) -> None:
        """End what still runs."""
        self._threads.shutdown(cancel_futures=True)
        if self._export.poll() is None:
            self._export.kill()
            self._export.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _export_log(root: Path) -> Path:
    return root / "export.log"


def _start_export(root: Path) -> subprocess.Popen[bytes]:
    # A process of its own, so that this one never carries torch while others need the memory.
    parent = os.getpid()
    with _export_log(root).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "demo.models", str(root / "programs")],
            cwd=fleet.BASE_DIR,
            env=limits.environment([str(fleet.BASE_DIR)], threads=1),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: limits.die_with_parent(parent),
        )
