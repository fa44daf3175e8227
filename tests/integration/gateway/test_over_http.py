"""A device with a live session sends its update over HTTP, with the ticket of the gateway."""

from __future__ import annotations

from aggregation.models import Update
from aggregation.transfer import DataPlane
from propius import wire
from tests.integration.aggregation.plane import elsewhere, exchange
from tests.integration.gateway.test_work import announce
from tests.integration.gateway.world import ONES, ZEROS, digest_of, rows


async def test_the_ticket_opens_both_ways_and_the_session_hears_of_it_by_the_same_upload(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    plane = DataPlane(elsewhere)
    auth = {"Authorization": f"Bearer {assignment.ticket}"}
    try:
        got = await exchange(
            plane, "GET", f"/data/v1/parameters/{assignment.parameters.digest}", auth
        )
        assert got.body == ZEROS
        said = {
            "Upload-Digest": digest_of(ONES),
            "Upload-Length": str(len(ONES)),
            "Update-Weight": "5",
        }
        put = await exchange(plane, "PUT", f"/data/v1/updates/{assignment.id}", auth | said, [ONES])
        assert put.status == 200
        announce(socket, assignment.id, ONES)
        assert await socket.receive() == wire.Accepted(assignment=assignment.id)
        socket.send(wire.CheckIn())
        await socket.expect(wire.Idle)
        assert await rows(lambda: Update.objects.filter(assignment_id=assignment.id).count()) == 1
    finally:
        await socket.drop()
        plane.stop()
