"""A leaf whose root, or whose disk, does not do what it should."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from aggregation import blobs
from aggregation.leaf import messages
from aggregation.leaf.holdings import Folded, Holding
from aggregation.leaf.journal import Journal
from aggregation.leaf.keeper import Keeper, When
from aggregation.leaf.plane import LeafThreads
from aggregation.leaf.root import Root, RootAway, RootRefused
from tests.integration.aggregation.roots import root_that

ROUND = str(uuid4())
RECIPE = messages.Recipe(
    round=ROUND, take=True, fold=True, strategy={"name": "fedavg"}, codecs=["fp32"], tensors={},
    base="0" * 64,
)  # fmt: skip


def answering(status: int, body: bytes) -> AbstractAsyncContextManager[tuple[Root, list[str]]]:
    """A root that gives every request the same answer, and the requests that it has had."""

    async def answer(request: str, sent: bytes) -> tuple[int, bytes]:
        return status, body

    return root_that(answer)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"<html>sign in</html>", RootAway),
        (200, b'{"round": 1}', RootAway),
        (409, b'["no problem document"]', RootRefused),
    ],
)
def test_an_answer_that_is_no_roots_is_an_error_that_the_leaf_knows(status, body, error):
    async def ask() -> None:
        async with answering(status, body) as (root, _):
            with pytest.raises(error):
                await root.recipe(ROUND)

    asyncio.run(ask())


def test_updates_whose_sum_is_gone_from_the_disk_are_handed_over_one_by_one(tmp_path: Path):
    with blobs.store().writer() as writer:
        writer.write(b"an update")
        digest = writer.commit()
    said = messages.Update(
        assignment=str(uuid4()), ticket="t", digest=digest, size_bytes=9, weight=1.0
    )

    async def look() -> tuple[list[str], int]:
        async with answering(200, b"") as (root, asked):
            threads = LeafThreads()
            journal = Journal(tmp_path / "held")
            member = journal.add(ROUND, said)
            keeper = Keeper(root, journal, threads, When(count=1))
            held = keeper.rounds[ROUND] = Holding(RECIPE, since=0.0)
            held.folded.append(Folded((member,), "f" * 64))
            running = asyncio.create_task(keeper.run())
            async with asyncio.timeout(20):
                while held.count:
                    await asyncio.sleep(0.01)
            running.cancel()
            threads.stop()
            return asked, len(journal.read())

    asked, left = asyncio.run(look())
    assert asked == [f"PUT leaf/updates/{said.assignment}"]
    assert left == 0


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (b'{"code": "upload_busy"}', 1),
        (b'{"code": "offset_mismatch"}', 1),
        (b"<html>a proxy's own words</html>", 1),
        (b'{"code": "round_closed"}', 0),
    ],
)
def test_an_acknowledged_update_is_given_up_only_by_a_last_word(tmp_path: Path, body, left):
    with blobs.store().writer() as writer:
        writer.write(b"an update")
        digest = writer.commit()
    said = [
        messages.Update(
            assignment=str(uuid4()), ticket="t", digest=digest, size_bytes=9, weight=1.0
        )
        for _ in range(2)
    ]

    async def look() -> tuple[int, int]:
        async with answering(409, body) as (root, asked):
            threads = LeafThreads()
            journal = Journal(tmp_path / "held")
            keeper = Keeper(root, journal, threads, When(count=1))
            held = keeper.rounds[ROUND] = Holding(msgspec.structs.replace(RECIPE, fold=False))
            for one in said:
                held.add(journal.add(ROUND, one), now=0.0)
            running = asyncio.create_task(keeper.run())
            async with asyncio.timeout(20):
                # Each is offered, whatever is said of the one before it.
                while len(set(asked)) < len(said) or held.count > left * len(said):
                    await asyncio.sleep(0.01)
            running.cancel()
            threads.stop()
            return len(journal.read()), blobs.store().path(digest).exists() if left else 0

    assert asyncio.run(look()) == (left * len(said), left)
