"""A leaf hands over an update that has come in part before: it goes on, and it counts once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
import uvicorn

import jobs.services
from aggregation import blobs, leaves, uploads
from aggregation.leaf import messages
from aggregation.leaf.root import NotNow, Root, RootRefused
from jobs.models import Assignment
from tenants.scopes import system_scope
from tests.integration.aggregation import leaves as at
from tests.integration.aggregation.plane import DATA, exchange, incoming, sha256, updates
from tests.integration.factories import NOW

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def leaf(carrier):
    """A leaf that holds the carrier's update, and its token."""
    made, token = at.make()
    report = leaves.Report(
        assignment_id=UUID(carrier.assignment.id), digest=sha256(DATA), size_bytes=len(DATA),
        weight=2.0, metrics={"loss": 0.5},
    )  # fmt: skip
    with system_scope():
        leaves.hold(leaf=made, round_id=UUID(carrier.assignment.round), reports=[report], now=NOW)
    return made, token


@pytest.fixture
def said(carrier):
    return messages.Update(
        assignment=carrier.assignment.id, ticket=carrier.ticket, digest=sha256(DATA),
        size_bytes=len(DATA), weight=2.0, metrics={"loss": 0.5},
    )  # fmt: skip


@pytest.fixture
def path():
    """The update on the leaf's disk."""
    with blobs.store().writer() as writer:
        writer.write(DATA)
        return blobs.store().path(writer.commit())


@pytest.fixture
def with_root(plane, leaf):
    """Do something with a leaf's line to the real data plane, over a real socket."""

    def do(work: Callable[[Root], Awaitable[None]]) -> None:
        async def main() -> None:
            config = uvicorn.Config(
                plane, port=0, lifespan="off", log_config=None, access_log=False
            )
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            root = Root(
                f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", leaf[1]
            )
            try:
                await work(root)
            finally:
                await root.close()
                server.should_exit = True
                await serving

        asyncio.run(main())

    return do


def leave(said: messages.Update, data: bytes) -> None:
    """Put bytes where an earlier transfer of the update leaves what it got."""
    name = f"{said.assignment}-{said.digest[:16]}.update"
    (blobs.store().incoming / name).write_bytes(data)


def test_a_broken_body_is_gone_on_with_and_counts_once(plane, leaf, said, path, with_root):
    headers = {
        "Authorization": f"Bearer {leaf[1]}", "Upload-Digest": said.digest,
        "Upload-Length": str(len(DATA)), "Content-Length": str(len(DATA)), "Update-Weight": "2.0",
    }  # fmt: skip
    place = f"/data/v1/leaf/updates/{said.assignment}"
    asyncio.run(exchange(plane, "PUT", place, headers, [DATA[:50]], breaks=True))
    assert len(incoming()) == 1

    async def twice(root: Root) -> None:
        await root.forward(said, path)
        with pytest.raises(RootRefused) as told:
            await root.forward(said, path)
        assert told.value.code == "not_held"

    with_root(twice)
    assert [(one.digest, one.weight) for one in updates()] == [(said.digest, 2.0)]
    assert incoming() == []


def test_what_was_whole_when_the_database_went_away_counts_without_being_sent_again(
    said, path, with_root
):
    leave(said, DATA)
    with_root(lambda root: root.forward(said, path))
    assert [one.digest for one in updates()] == [said.digest]


def test_wrong_bytes_of_before_are_not_held_against_the_update(said, path, with_root):
    leave(said, b"x" * 50)

    async def until_taken(root: Root) -> None:
        with pytest.raises(NotNow, match="digest_mismatch"):
            await root.forward(said, path)
        await root.forward(said, path)

    with_root(until_taken)
    assert [one.digest for one in updates()] == [said.digest]


def test_an_update_that_another_connection_sends_is_offered_again(said, path, with_root):
    with system_scope():
        device_id = Assignment.objects.get(id=said.assignment).device_id
        sink = uploads.open_upload(
            assignment_id=UUID(said.assignment), device_id=device_id, digest=said.digest,
            size_bytes=said.size_bytes, max_bytes=1 << 20,
        )  # fmt: skip

    async def until_free(root: Root) -> None:
        with pytest.raises(NotNow, match="upload_busy"):
            await root.forward(said, path)
        sink.close()
        await root.forward(said, path)

    with_root(until_free)
    assert [one.digest for one in updates()] == [said.digest]


def test_the_roots_last_word_comes_through(carrier, said, path, with_root):
    with system_scope():
        jobs.services.fail_round(
            round_id=UUID(carrier.assignment.round), code="test", message="over", now=NOW
        )

    async def refused(root: Root) -> None:
        with pytest.raises(RootRefused):
            await root.forward(said, path)

    with_root(refused)
    assert updates() == []


def test_a_blob_that_has_shrunk_on_the_leafs_disk_is_missing(said, path, with_root):
    path.chmod(0o600)
    path.write_bytes(DATA[:-1])

    async def missing(root: Root) -> None:
        with pytest.raises(blobs.BlobMissing):
            await root.forward(said, path)

    with_root(missing)
