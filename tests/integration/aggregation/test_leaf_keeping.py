"""What a leaf keeps: parameters by use, updates until the root has them, no upload for ever."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import msgspec
import numpy as np
import pytest

from aggregation import blobs
from aggregation.leaf import messages
from aggregation.leaf.cache import ParameterCache
from aggregation.leaf.holdings import Holding
from aggregation.leaf.journal import Journal, Member
from aggregation.leaf.keeper import Keeper, When
from aggregation.leaf.plane import LeafThreads
from aggregation.leaf.root import RootRefused
from aggregation.leaf.service import ABANDONED_S, Leaf, Options
from propius import arrays
from tests.integration.aggregation.roots import Answer, root_that

ROUND = str(uuid4())


@asynccontextmanager
async def caching(
    max_bytes: int, answer: Answer, *pinned: str
) -> AsyncIterator[tuple[ParameterCache, list[str]]]:
    threads = LeafThreads()
    async with root_that(answer) as (root, asked):
        yield ParameterCache(root, threads, max_bytes=max_bytes, pinned=lambda: pinned), asked
    threads.stop()


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_many_who_want_the_same_at_once_cause_one_fetch():
    data = bytes(1000)

    async def fetch() -> list[str]:
        free = asyncio.Event()

        async def late(request: str, body: bytes) -> tuple[int, bytes]:
            await free.wait()
            return 200, data

        async with caching(10_000, late) as (cache, asked):
            many = [asyncio.create_task(cache.ensure(digest_of(data), "ticket")) for _ in range(20)]
            while not asked:
                await asyncio.sleep(0)
            free.set()
            await asyncio.gather(*many)
            await cache.ensure(digest_of(data), "ticket")
            assert cache.fetched == len(data)
            return asked

    assert asyncio.run(fetch()) == [f"GET parameters/{digest_of(data)}"]


def test_what_was_used_longest_ago_goes_first_by_bytes_and_what_is_pinned_stays():
    sizes = {"pinned": 400, "old": 300, "used": 300, "new": 300}
    data = {name: name.encode().ljust(size, b".") for name, size in sizes.items()}
    digests = {name: digest_of(one) for name, one in data.items()}

    async def serve(request: str, body: bytes) -> tuple[int, bytes]:
        return 200, next(one for name, one in data.items() if request.endswith(digests[name]))

    async def fill() -> int:
        async with caching(700, serve, digests["pinned"]) as (cache, _):
            for age, name in ((400, "pinned"), (300, "used"), (200, "old")):
                await cache.ensure(digests[name], "ticket")
                at = time.time() - age
                os.utime(blobs.store().path(digests[name]), (at, at))
            await cache.ensure(digests["used"], "ticket")
            await cache.ensure(digests["new"], "ticket")
            return await cache.cached_bytes()

    assert asyncio.run(fill()) == 600
    there = set(blobs.store().digests())
    assert there == {digests[name] for name in ("pinned", "used", "new")}


def held(journal: Journal, value: float) -> Member:
    """An update of one value on the leaf's disk."""
    with blobs.store().writer() as writer:
        writer.write(arrays.save({"w": np.full(2, value, np.float32)}))
        digest = writer.commit()
    said = messages.Update(
        assignment=str(uuid4()), ticket="t", digest=digest, size_bytes=writer.size_bytes,
        weight=1.0,
    )  # fmt: skip
    return journal.add(ROUND, said)


RECIPE = messages.Recipe(
    round=ROUND, take=True, fold=True, strategy={"name": "fedavg"}, codecs=["fp32"],
    tensors={"w": {"dtype": "F32", "shape": [2]}}, base="0" * 64,
)  # fmt: skip


def test_what_overlaps_is_folded_anew_without_those_named_and_handed_over_again(tmp_path: Path):
    pushed: list[list[list[str]]] = []
    sums: dict[str, bytes] = {}

    async def push() -> int:
        threads, journal = LeafThreads(), Journal(tmp_path / "held")
        first, taken, last = [held(journal, value) for value in (1.0, 10.0, 100.0)]

        async def answer(request: str, body: bytes) -> tuple[int, bytes]:
            method, path = request.split(" ")
            if method == "PUT":
                sums[path.rpartition("/")[2]] = body
                return 200, b""
            said = msgspec.json.decode(body, type=messages.Partial)
            pushed.append(said.batches)
            if taken.assignment in said.batches[0]:
                errors = {taken.assignment: "this leaf does not hold it"}
                return 409, msgspec.json.encode({"code": "overlap", "errors": errors})
            assert arrays.load(sums[said.digest])["w"].tolist() == [101.0, 101.0]
            return 200, msgspec.json.encode(messages.Committed(number=0))

        async with root_that(answer) as (root, _):
            keeper = Keeper(root, journal, threads, When(count=3))
            holding = keeper.rounds[ROUND] = Holding(RECIPE)
            for one in (first, taken, last):
                holding.add(one, now=time.monotonic())
            holding.wanted = True
            running = asyncio.create_task(keeper.run())
            async with asyncio.timeout(60):
                while journal.read():
                    await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        threads.stop()
        both, rest = pushed
        assert both == [[first.assignment, taken.assignment, last.assignment]]
        assert rest == [[first.assignment, last.assignment]]
        return len(list(blobs.store().digests()))

    assert asyncio.run(push()) == 0


def test_a_note_that_the_disk_does_not_let_go_of_stops_nothing(tmp_path: Path):
    async def ask() -> list[str]:
        threads, journal = LeafThreads(), Journal(tmp_path / "held")
        stuck, after = held(journal, 1.0), held(journal, 2.0)
        found = journal.read()
        note = tmp_path / "held" / f"{stuck.assignment}.json"
        note.unlink()
        note.mkdir()
        blob = blobs.store().path(stuck.said.digest)
        blob.unlink()
        blob.mkdir()

        async def answer(request: str, body: bytes) -> tuple[int, bytes]:
            said = msgspec.json.decode(body, type=messages.Holds)
            why = messages.Why(code="round_closed", message="too late")
            refused = {one.assignment: why for one in said.updates}
            return 200, msgspec.json.encode(messages.Held(taken=[], refused=refused, push=False))

        async with root_that(answer) as (root, asked):
            keeper = Keeper(root, journal, threads, When())
            keeper._journalled |= {one.assignment: one for one in found}
            running = asyncio.create_task(keeper.run())
            for one in (stuck, after):
                with pytest.raises(RootRefused, match="too late"):
                    async with asyncio.timeout(20):
                        await keeper.take(ROUND, one.said)
            assert keeper.held == 0
            assert not (tmp_path / "held" / f"{after.assignment}.json").exists()
            running.cancel()
        threads.stop()
        return asked

    assert asyncio.run(ask()) == ["POST leaf/holds"] * 2


def test_a_keeper_whose_questions_end_ends_with_them(tmp_path: Path):
    async def run() -> None:
        threads, journal = LeafThreads(), Journal(tmp_path / "held")

        async def answer(request: str, body: bytes) -> tuple[int, bytes]:
            return 200, b""

        async with root_that(answer) as (root, _):
            keeper = Keeper(root, journal, threads, When())
            one = held(journal, 1.0)
            keeper._holder.ask(one)
            keeper._holder._asking[ROUND] = [None]  # type: ignore[list-item]
            with pytest.raises(AttributeError):
                async with asyncio.timeout(20):
                    await keeper.run()
        threads.stop()

    asyncio.run(run())


def test_uploads_that_nobody_goes_on_with_leave_the_disk(tmp_path: Path):
    async def tidy() -> None:
        leaf = Leaf(Options(root="http://127.0.0.1:9", token="t", folder=tmp_path))
        store = blobs.store()
        abandoned, fresh = store.incoming / "a.update", store.incoming / "b.update"
        for path in (abandoned, fresh):
            path.write_bytes(b"half of it")
        long_ago = time.time() - ABANDONED_S - 1
        os.utime(abandoned, (long_ago, long_ago))
        running = asyncio.create_task(leaf._tidies())
        async with asyncio.timeout(20):
            while abandoned.exists():
                await asyncio.sleep(0.01)
        running.cancel()
        assert fresh.exists()
        leaf._threads.stop()
        await leaf._root.close()

    asyncio.run(tidy())


def test_a_heartbeat_tells_the_root_how_far_each_transfer_is_and_once_that_it_ended(tmp_path: Path):
    told: list[dict[str, object]] = []
    name = str(uuid4())

    async def answer(request: str, body: bytes) -> tuple[int, bytes]:
        assert request == "POST leaf/beat"
        told.append(msgspec.json.decode(body)["transfers"])
        welcome = messages.Told(leaf="attic", keys=[], fold_batch=8, rounds={})
        return 200, msgspec.json.encode(welcome)

    async def beats() -> None:
        async with root_that(answer) as (root, _):
            leaf = Leaf(Options(root="http://127.0.0.1:9", token="t", folder=tmp_path))
            await leaf._root.close()
            leaf._root = root
            with leaf._plane.transfers.begin(name, "up", done_bytes=3, size_bytes=9) as moving:
                await leaf._beat()
                moving.reached(6)
                await leaf._beat()
            await leaf._beat()
            await leaf._beat()
            leaf._threads.stop()

    asyncio.run(beats())
    assert [one.get(name, "untold") for one in told][2:] == [None, "untold"]
    assert [one[name][:3] for one in told[:2]] == [["up", 3, 9], ["up", 6, 9]]  # type: ignore[index]
