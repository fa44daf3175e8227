"""Run a Celery process: `python -m propius_site.work scheduling|aggregation|batch|beat`."""

import os
import signal
import sys

from celery.signals import worker_process_init

from propius_site.embedded import processes

POOLS = {
    # The planner is single on purpose: one plan at a time.
    "scheduling": ["--pool=solo"],
    "aggregation": ["--pool=prefork", "--concurrency=2"],
    "batch": ["--pool=solo"],
}


def main(name: str) -> None:
    processes.die_with_parent(signal.SIGTERM)
    from propius_site.celery import app

    if name == "beat":
        app.start(["beat", "--loglevel=INFO", "--pidfile="])
        return
    if name == "aggregation":
        # Before the fork: the pool's children share its pages, and the first fold need not wait.
        import torch  # noqa: F401
    app.worker_main(
        [
            "worker",
            f"--queues={name}",
            f"--hostname={name}-{os.getpid()}@%h",
            "--loglevel=INFO",
            # Workers never talk to each other; the truth is in rows.
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            *POOLS[name],
        ]
    )


@worker_process_init.connect
def bind_child(**_: object) -> None:
    """A pool's child must not outlive a worker that was killed."""
    processes.die_with_parent(signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
