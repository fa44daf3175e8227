"""A leaf whose disk is full: the device hears so, and nothing was acknowledged."""

import asyncio
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pytest

from aggregation import tickets
from aggregation.leaf import messages
from aggregation.leaf.cache import ParameterCache
from aggregation.leaf.holdings import Holding
from aggregation.leaf.journal import Journal
from aggregation.leaf.keeper import Keeper, When
from aggregation.leaf.plane import LeafPlane, LeafThreads
from aggregation.leaf.root import Root
from propius import arrays
from tests.integration.aggregation.plane import Answer, exchange, incoming, sha256

ROUND, ASSIGNMENT = UUID(int=7), UUID(int=8)
DATA = arrays.save({"weight": np.ones((2, 2), np.float32)})
RECIPE = messages.Recipe(
    round=str(ROUND), take=True, fold=True, strategy={"name": "fedavg"}, codecs=["fp32"],
    tensors={"weight": {"dtype": "F32", "shape": [2, 2]}}, base="b" * 64,
)  # fmt: skip
HEADERS = {
    "Upload-Digest": sha256(DATA), "Upload-Length": str(len(DATA)), "Upload-Offset": "0",
    "Update-Weight": "2.5", "Update-Metrics": "{}",
}  # fmt: skip


@contextmanager
def room_for(size_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


# The update itself does not fit; it does, and the note that would acknowledge it does not.
@pytest.mark.parametrize("room", [40, len(DATA)])
def test_an_update_that_does_not_fit_is_refused_before_it_is_acknowledged(room, tmp_path):
    async def put() -> tuple[Answer, bool]:
        threads = LeafThreads()
        # Nobody listens there: what is asked of the root waits.
        root = Root("http://127.0.0.1:9", "token")
        keeper = Keeper(root, Journal(tmp_path / "held"), threads, When())
        keeper.rounds[str(ROUND)] = Holding(RECIPE)
        cache = ParameterCache(root, threads, max_bytes=1 << 20, pinned=keeper.pinned)
        plane = LeafPlane(cache, keeper, threads)
        plane.keys = tickets.public_keys(now=datetime.now(UTC))
        ticket = tickets.issue(
            assignment_id=ASSIGNMENT, downloads=[], upload_bytes=1 << 20, now=datetime.now(UTC),
            round_id=str(ROUND),
        )  # fmt: skip
        headers = {"Authorization": f"Bearer {ticket}", **HEADERS}
        path = f"/data/v1/updates/{ASSIGNMENT}"
        with room_for(room):
            answer = await exchange(plane, "PUT", path, headers, [DATA])
        threads.stop()
        return answer, keeper.has(str(ASSIGNMENT)) or keeper.held > 0

    refused, is_held = asyncio.run(put())
    assert refused.code == (507, "storage_full")
    assert not is_held
    assert not incoming()
    # What an earlier process left is what counts after a restart.
    assert Journal(tmp_path / "held").read() == []
