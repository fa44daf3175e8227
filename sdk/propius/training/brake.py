"""Stops a task where it stands and lets it go on: the owner wants the machine for a while."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator


class Brake:
    """Holds the process group of a task still, now or as soon as it starts (POSIX)."""

    def __init__(self) -> None:
        self._pressed = False
        self.was_pressed = False
        self._group: int | None = None

    @property
    def pressed(self) -> bool:
        """Whether the task is to stand still."""
        return self._pressed

    def press(self) -> None:
        """Stop the task."""
        self._pressed = self.was_pressed = True
        self._tell(still=True)

    def release(self) -> None:
        """Let it go on."""
        self._pressed = False
        self._tell(still=False)

    @contextlib.contextmanager
    def on(self, group: int) -> Iterator[None]:
        """Be the brake of this process group; at the end it runs, whatever was pressed."""
        self._group = group
        try:
            if self._pressed:
                self._tell(still=True)
            yield
        finally:
            self._tell(still=False)
            self._group = None

    def _tell(self, *, still: bool) -> None:
        if self._group is not None and hasattr(signal, "SIGSTOP"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, signal.SIGSTOP if still else signal.SIGCONT)
