"""What devices say when they refuse reaches the explanation of the job's wait, and no more."""

from __future__ import annotations

import asyncio

from django.utils import timezone

from propius import wire
from scheduling import explaining
from tests.integration.gateway.world import rows


async def test_refusals_of_both_kinds_are_counted_by_known_codes(world):
    needs = {"x": {"shape": [28, 28]}}
    offered = await rows(
        lambda: world.job(constraints__private={"ward": {"min": 3}}, workload__needs=needs)
    )
    sockets = []
    for code in ("dataset.x.shape", "ward is oncology"):
        socket, _ = await (await rows(world.device)).connect()
        socket.send(wire.CheckIn())
        while isinstance(offer := await socket.receive(), wire.Idle):
            pass
        refused = {offer.candidates[0].round: code}
        socket.send(wire.Choose(offer=offer.offer, ranked=[], refused=refused))
        sockets.append(socket)
    await told(offered, "dataset.x.shape", "other")

    direct = await rows(world.job)
    socket = sockets[0]
    while not isinstance(assignment := await socket.receive(), wire.Assignment):
        pass
    socket.send(wire.Decline(assignment=assignment.id, code="consent", message="not this one"))
    await told(direct, "consent")
    for one in sockets:
        await one.drop()


async def told(job, *codes: str) -> None:
    """Wait until the explanation tells of these codes, and of no other."""

    def look():
        job.refresh_from_db()
        return {one.code for one in explaining.explain(job, now=timezone.now()).refusals}

    async with asyncio.timeout(60):
        while (found := await rows(look)) != set(codes):
            assert found < set(codes)
            await asyncio.sleep(0.05)
