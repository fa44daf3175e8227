"""Caps that the operating system keeps on a trainer child, and the environment it gets."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Libraries are mapped, not allocated: address space beyond the memory cap.
_LIBRARIES_BYTES = 8 << 30
_FILE_BYTES_MAX = 8 << 30
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "TZ")
_PR_SET_PDEATHSIG = 1


def cap_memory(memory_mb: int) -> None:
    """Let this process allocate so many MB and write no core file."""
    size = memory_mb << 20
    # Private writable memory: heap and anonymous maps. Shared maps fall under the second cap.
    _lower(resource.RLIMIT_DATA, size)
    _lower(resource.RLIMIT_AS, size + _LIBRARIES_BYTES)
    _lower(resource.RLIMIT_FSIZE, _FILE_BYTES_MAX)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(which: int, limit: int) -> None:
    """Set both limits for good, unless the machine's owner has set a lower one."""
    _, hard = resource.getrlimit(which)
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(which, (limit, limit))


def cap_cpu(cpu_s: int) -> None:
    """End this process (SIGXCPU) after so many more processor seconds, should nobody watch it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(usage.ru_utime + usage.ru_stime) + cpu_s
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when the agent ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # It ended before the call above.
        os._exit(1)


def environment(
    import_paths: Sequence[str], threads: int, source: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The child's whole environment: nothing of the parent's but what is needed to start.

    Parameters
    ----------
    import_paths
        Folders from which the owner's handlers are imported.
    threads
        For the linear algebra libraries.
    source
        The parent's environment, ``os.environ`` by default.
    """
    parent = os.environ if source is None else source
    ours = str(Path(__file__).resolve().parents[2])
    return {
        **{name: parent[name] for name in _PASSED_ON if name in parent},
        "PYTHONPATH": os.pathsep.join([*import_paths, ours]),
        **frugal(threads),
    }


def frugal(threads: int) -> dict[str, str]:
    """What makes libraries take few threads, whose stacks and arenas count as memory."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        # The same bits wherever in memory a matrix begins: a job can be run again.
        "MKL_CBWR": "AUTO,STRICT",
        "MALLOC_ARENA_MAX": "2",
    }
