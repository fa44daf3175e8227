"""No secret of a device is logged, at any level: its hello, its ticket, what it sends."""

from propius import wire
from tests.integration import logs
from tests.integration.gateway.test_work import download, refused, upload
from tests.integration.gateway.world import ONES, rows


async def test_what_a_device_says_and_is_given(world):
    await rows(world.job)
    device = await rows(world.device)
    secrets = {"key": device.key.private_bytes_raw().hex()}
    with logs.everything() as heard:
        socket, assignment = await device.working()
        secrets["ticket"] = assignment.ticket
        await download(socket, assignment)
        answer = await upload(socket, assignment.id, ONES)
        assert answer == wire.Accepted(assignment=assignment.id)
        await socket.drop()
        socket, _ = await device.connect()
        hello = device.hello(wire.Challenge(nonce="00" * 32, protocols=[1]))
        secrets["signature"] = hello.signature
        socket.send(hello)
        await refused(socket, "out_of_order", fatal=True)
    assert logs.told(heard, secrets) == []
    assert heard.lines
