"""The SDK's own agent as the client under test: ``python -m propius.conformance.client``."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from propius.agent import enrolment
from propius.agent.agent import Agent
from propius.agent.connection import AgentStopped
from propius.agent.identity import Home
from propius.agent.log_format import configure
from propius.agent.oneshot import OneShot
from propius.agent.options import AgentOptions
from propius.agent.trainer import LocalOutcome, LocalWork

EXAMPLES = 10


class AddOne:
    """Adds 1 to each value."""

    async def run(
        self, work: LocalWork, *, timeout_s: float, progress: Callable[[float], None]
    ) -> LocalOutcome:
        """See :class:`propius.agent.trainer.Trainer`."""
        from propius import arrays

        asked = float(work.assignment.workload.get("config", {}).get("seconds", 0))
        ends = time.monotonic() + asked
        while (left_s := ends - time.monotonic()) > 0:
            progress(1 - left_s / asked)
            await asyncio.sleep(min(0.1, left_s))
        if work.assignment.kind != "train":
            return LocalOutcome(EXAMPLES, {"loss": 0.0})
        found = arrays.load(work.parameters)
        work.output.write_bytes(arrays.save({name: one + 1 for name, one in found.items()}))
        return LocalOutcome(EXAMPLES)


def prepare(home: Path) -> None:
    """Write the owner's files: one data set of ten examples, one handler."""
    import numpy as np

    rows, labels = np.zeros((EXAMPLES, 1), np.float32), np.zeros(EXAMPLES, np.int64)
    np.savez(home / "data.npz", x_train=rows, y_train=labels, x_val=rows, y_val=labels)
    (home / "datasets.toml").write_text('[numbers]\npath = "data.npz"\n')
    handler = '[add_one]\ntrain = "none:none"\nevaluate = "none:none"\n'
    (home / "handlers.toml").write_text(handler)


async def main() -> int:
    """Enrol and run, as the environment says."""
    home = Path(os.environ["PROPIUS_DEVICE_HOME"])
    enrolment.enrol(os.environ["PROPIUS_URL"], os.environ["PROPIUS_TOKEN"], Home(home))
    prepare(home)
    kind = OneShot if os.environ["PROPIUS_MODE"] == "once" else Agent
    options = AgentOptions(programs=False, backoff_base_s=0.1, backoff_cap_s=0.5)
    try:
        await kind(home=home, trainer=AddOne(), options=options).run()
    except AgentStopped as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    configure("INFO")
    sys.exit(asyncio.run(main()))
