"""The trainer child: ``python -m propius.training.child`` reads tasks, runs them, answers.

It holds no secrets and never sees the network's bytes but as files to check. torch is imported at
the first program, and never for a handler that does not want it.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import time
from math import isfinite
from typing import Any, BinaryIO

import msgspec
import numpy as np

from propius import arrays, tensors
from propius.arrays import Array
from propius.training import limits
from propius.training.data import DataCache, split_of, write_output
from propius.training.result import Result
from propius.training.tasks import (
    LENGTH_BYTES,
    CheckTask,
    Done,
    Failed,
    HandlerTask,
    ProgramTask,
    Reply,
    Request,
    Task,
)

METRICS_MAX = 1000
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of the system that say that there is no room: the work is not at fault."""


class ChildSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The child's only command-line argument, as JSON."""

    parent: int
    memory_mb: int
    nice: int
    threads: int


class HandlerError(ValueError):
    """A handler that cannot be called, or that returns something else than it should."""

    code = "bad_handler"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Worker:
    """Runs one task after the other; programs and data sets stay warm between them."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._data = DataCache()
        self._programs: Any = None

    def run(self, task: Task) -> Done:
        """Run a task. Raises whatever the task raises."""
        began = time.monotonic()
        if isinstance(task, HandlerTask):
            return self._handler(task)
        # Here and nowhere above: a child for handlers stays without torch.
        from propius.training import program_tasks

        if self._programs is None:
            self._programs = program_tasks.Programs(self._threads)
        if isinstance(task, ProgramTask):
            data = split_of(self._data.get(task.data_path), task.split)
            done: Done = self._programs.run(task, data, began)
        elif isinstance(task, CheckTask):
            done = self._programs.check(task)
        else:
            done = Done()
        return done

    def _handler(self, task: HandlerTask) -> Done:
        function = _imported(task.handler)
        parameters = arrays.load(task.parameters_path)
        expected = arrays.describe(parameters)
        data = split_of(self._data.get(task.data_path), task.split)
        result = function(parameters, dict(task.config), data)
        if not isinstance(result, Result):
            raise HandlerError(
                "handler", f"{task.handler} returned {type(result).__name__}, expected Result"
            )
        examples, metrics = _checked(task.handler, result)
        if task.action == "train":
            made: dict[str, Array] = {k: np.asarray(v) for k, v in result.parameters.items()}
            tensors.check_matches(arrays.describe(made), expected)
            data_bytes = arrays.save(made)
            tensors.check_finite(data_bytes)
            write_output(task.output_path, data_bytes)
        return Done(examples=examples, metrics=metrics)


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise HandlerError(
            "handler", f"{path!r} cannot be imported ({error}); expected module:function"
        ) from error


def _checked(handler: str, result: Result) -> tuple[int, dict[str, float]]:
    if result.examples < 1:
        raise HandlerError("examples", f"{handler} returned {result.examples}, at least 1 expected")
    if len(result.metrics) > METRICS_MAX:
        raise HandlerError(
            "metrics", f"{handler} returned {len(result.metrics)}, at most {METRICS_MAX} allowed"
        )
    metrics = {str(name)[:100]: float(value) for name, value in result.metrics.items()}
    for name, value in metrics.items():
        if not isfinite(value):
            raise HandlerError(f"metrics.{name}", f"{handler} returned {value}, not finite")
    return int(result.examples), metrics


def failed(error: Exception) -> Failed:
    """An exception in words that may leave the child."""
    text = str(error)
    if isinstance(error, MemoryError) or "allocate memory" in text or "bad_alloc" in text:
        code, field = "out_of_memory", "memory"
    elif isinstance(error, ValueError) and hasattr(error, "code"):
        code, field = str(error.code), str(getattr(error, "field", ""))
    elif isinstance(error, OSError) and error.errno in FULL:
        code, field = "disk", ""
    else:
        code, field = "task_failed", ""
        text = f"{type(error).__name__}: {text}"
    return Failed(code=code, field=field, message=text[:2000], torch_loaded="torch" in sys.modules)


def _serve(requests: BinaryIO, replies: BinaryIO, worker: Worker) -> None:
    decoder = msgspec.json.Decoder(Request)
    while len(head := requests.read(LENGTH_BYTES)) == LENGTH_BYTES:
        request = decoder.decode(requests.read(int.from_bytes(head, "big")))
        limits.cap_cpu(request.cpu_s)
        started = time.monotonic()
        reply: Reply
        try:
            done = worker.run(request.task)
            reply = msgspec.structs.replace(
                done,
                seconds=time.monotonic() - started,
                torch_loaded="torch" in sys.modules,
            )
        except Exception as error:  # noqa: BLE001 (the process's edge: told, and logged there)
            reply = failed(error)
        data = msgspec.json.encode(reply)
        replies.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
        replies.flush()


def main() -> None:
    """Cap this process, then serve until the pipe ends."""
    settings = msgspec.json.decode(sys.argv[1].encode(), type=ChildSettings)
    limits.die_with_parent(settings.parent)
    os.nice(settings.nice)
    limits.cap_memory(settings.memory_mb)
    # What a handler prints goes to the log, not between our frames.
    replies = os.fdopen(os.dup(1), "wb")
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    _serve(requests, replies, Worker(settings.threads))


if __name__ == "__main__":
    main()
