"""Warm trainer children for an agent: at most ``size`` tasks at a time, each under caps."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import BinaryIO, Self, cast

import msgspec

from propius.training import limits
from propius.training.brake import Brake
from propius.training.tasks import (
    FRAME_BYTES_MAX,
    LENGTH_BYTES,
    Done,
    Failed,
    HandlerTask,
    Reply,
    Request,
    Task,
    WarmTask,
)

# The wall clock is the cap; this one only ends children whose agent is frozen.
_CPU_GRACE_S = 5
_LOG_CHARS = 500
_LOG_BYTES_MAX = 1 << 20


class TrainerError(Exception):
    """A task that gave no result; ``code`` is stable, ``field`` names the part that is wrong."""

    code = "trainer_failed"

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class TaskFailed(TrainerError):
    """The task itself failed, in words of the program, the data or the handler."""

    def __init__(self, code: str, message: str, *, field: str = "") -> None:
        super().__init__(message, field=field)
        self.code = code


class TrainerCrashed(TrainerError):
    """The child ended in the middle of the task."""

    code = "trainer_crashed"


class TrainerTimeout(TrainerError):
    """The task took longer than it may; the child was killed."""

    code = "trainer_timeout"


class TrainerOutOfMemory(TrainerError):
    """The task needed more memory than it may; the child was replaced."""

    code = "out_of_memory"


class _Child:
    def __init__(self, process: asyncio.subprocess.Process, log: BinaryIO) -> None:
        self._process = process
        self._log = log
        self.torch_loaded = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, request: Request) -> Reply:
        """One task and its answer. Raises TrainerCrashed and its like if the child ends."""
        self._cut_log()
        stdin = cast(asyncio.StreamWriter, self._process.stdin)
        stdout = cast(asyncio.StreamReader, self._process.stdout)
        data = msgspec.json.encode(request)
        if len(data) > FRAME_BYTES_MAX:
            raise TaskFailed("task_too_large", f"the task has {len(data)} bytes", field="config")
        try:
            stdin.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
            await stdin.drain()
            length = int.from_bytes(await stdout.readexactly(LENGTH_BYTES), "big")
            reply: Reply = msgspec.json.decode(await stdout.readexactly(length), type=Reply)
            return reply
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await self._process.wait()
            raise self._ended() from error

    def _cut_log(self) -> None:
        """Forget what earlier tasks printed: a warm child would fill the disk in the end."""
        if os.fstat(self._log.fileno()).st_size > _LOG_BYTES_MAX:
            # The child writes at the same position: parent and child share the open file.
            self._log.seek(0)
            self._log.truncate()

    def _ended(self) -> TrainerError:
        if self._log.closed:
            return TrainerCrashed("the pool of trainers was closed in the middle of the task")
        code = self._process.returncode or 0
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - _LOG_CHARS))
        log = self._log.read().decode(errors="replace").strip()
        if code == -signal.SIGXCPU:
            return TrainerTimeout("the trainer used up its processor time")
        if "MemoryError" in log or "bad_alloc" in log or "allocate memory" in log:
            return TrainerOutOfMemory(f"the trainer ran out of memory: {log}")
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        return TrainerCrashed(f"the trainer {how} in the middle of the task: {log or 'no output'}")

    async def kill(self) -> None:
        if self.alive:
            # Its own session: whatever a handler started goes with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        # Closes our ends of the pipes now, not at garbage collection.
        self._process._transport.close()  # type: ignore[attr-defined]
        self._log.close()


class TrainerPool:
    """Runs tasks in child processes that stay warm; one that fails is replaced.

    Parameters
    ----------
    size
        Children, and so tasks, at a time.
    memory_mb
        Cap on what a child allocates (torch itself takes about 200).
    nice
        Added to the priority of children: 0 to 19.
    threads
        Of torch and of the linear algebra libraries, for each child.
    import_paths
        Folders from which handlers are imported.

    Examples
    --------
    >>> async def work(task):
    ...     async with TrainerPool(1, memory_mb=1024) as pool:
    ...         return await pool.run(task, timeout_s=60)
    """

    def __init__(
        self,
        size: int = 1,
        memory_mb: int = 1024,
        *,
        nice: int = 10,
        threads: int = 1,
        import_paths: Sequence[str] = (),
    ) -> None:
        self._memory_mb = memory_mb
        self._nice = nice
        self._threads = threads
        self._import_paths = tuple(import_paths)
        self._slots = asyncio.Semaphore(size)
        self._size = size
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def torch_loaded(self) -> int:
        """How many children have torch in memory, as of their last answer."""
        return sum(child.torch_loaded for child in (*self._idle, *self._busy))

    @property
    def pids(self) -> list[int]:
        """Process ids of the children that are alive."""
        return [child.pid for child in (*self._idle, *self._busy) if child.alive]

    async def warm(self, timeout_s: float = 120.0) -> None:
        """Start all children and import torch in them, so that the first task need not wait."""
        await asyncio.gather(*(self.run(WarmTask(), timeout_s) for _ in range(self._size)))

    async def run(self, task: Task, timeout_s: float, brake: Brake | None = None) -> Done:
        """Run one task, after those before it; cancelling the call kills the child.

        Parameters
        ----------
        task
            What to run.
        timeout_s
            Wall-clock cap on the task itself; waiting for a free child does not count.
        brake
            Holds the task still while it is pressed; that time does count.

        Raises
        ------
        TaskFailed
            With the code and the field of the program's, the data's or the handler's error.
        TrainerCrashed, TrainerTimeout, TrainerOutOfMemory
            When the child ended or broke a cap.
        """
        async with self._slots:
            if self._closed:
                raise TrainerCrashed("the pool of trainers is closed")
            child = self._take(task) or await self._spawn()
            if self._closed:  # While it started.
                await child.kill()
                raise TrainerCrashed("the pool of trainers is closed")
            self._busy.add(child)
            keep = False
            try:
                with (brake or Brake()).on(child.pid):
                    reply = await self._ask(child, task, timeout_s)
                child.torch_loaded = reply.torch_loaded
                keep = not (isinstance(reply, Failed) and reply.code == "out_of_memory")
            finally:
                self._busy.discard(child)
                if keep and not self._closed:
                    self._idle.append(child)
                else:
                    await child.kill()
        return _outcome(reply, self._memory_mb)

    async def _ask(self, child: _Child, task: Task, timeout_s: float) -> Reply:
        request = Request(task=task, cpu_s=math.ceil(timeout_s * self._threads) + _CPU_GRACE_S)
        try:
            async with asyncio.timeout(timeout_s):
                return await child.ask(request)
        except TimeoutError as error:
            raise TrainerTimeout(
                f"the task took longer than {timeout_s:g} s; its process was killed"
            ) from error

    def _take(self, task: Task) -> _Child | None:
        """An idle child: with torch for programs if there is one, without it for handlers."""
        self._idle = [child for child in self._idle if child.alive]
        wants_torch = not isinstance(task, HandlerTask)
        self._idle.sort(key=lambda child: child.torch_loaded is wants_torch)
        # Warming is for those that have no torch yet; a pool that is not full gets a new child.
        if isinstance(task, WarmTask) and self._idle and self._idle[-1].torch_loaded:
            full = len(self._idle) + len(self._busy) >= self._size
            return self._idle.pop(0) if full else None
        return self._idle.pop() if self._idle else None

    async def _spawn(self) -> _Child:
        settings = {"parent": os.getpid(), "memory_mb": self._memory_mb}
        settings |= {"nice": self._nice, "threads": self._threads}
        log = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 (the child's, till its end)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # The folder that we happen to be in is no place to import from.
            "-m",
            "propius.training.child",
            msgspec.json.encode(settings).decode(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=limits.environment(self._import_paths, self._threads),
            start_new_session=True,
        )
        return _Child(process, log)

    async def close(self) -> None:
        """Kill all children; tasks under way fail with TrainerCrashed."""
        self._closed = True
        children = [*self._idle, *self._busy]
        self._idle = []
        await asyncio.gather(*(child.kill() for child in children))


def _outcome(reply: Reply, memory_mb: int) -> Done:
    if isinstance(reply, Done):
        return reply
    if reply.code == "out_of_memory":
        raise TrainerOutOfMemory(
            f"the task needs more than the {memory_mb} MB that it may use: {reply.message}",
            field=reply.field,
        )
    raise TaskFailed(reply.code, reply.message, field=reply.field)
