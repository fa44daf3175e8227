"""The gateway in this process, on the real Postgres and Valkey, as the system role."""

import asyncio
import contextlib
from typing import Any

import pytest


@pytest.fixture
def system_role(transactional_db, app_role):  # type: ignore[no-untyped-def]
    """The gateway works as propius_system, in its threads and in this one."""

    from django.db import connection
    from django.db.backends.signals import connection_created

    def become(connection, **_):  # type: ignore[no-untyped-def]
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE propius_system")

    connection_created.connect(become, weak=False, dispatch_uid="tests.system_role")
    become(connection)
    yield
    connection_created.disconnect(dispatch_uid="tests.system_role")
    connection.close()  # a test may have killed it; the next use opens another


@pytest.fixture
async def gateway(system_role):  # type: ignore[no-untyped-def]
    from gateway.app import Gateway

    one = Gateway()
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    life = asyncio.create_task(one.application()({"type": "lifespan"}, said.get, heard.put))
    said.put_nowait({"type": "lifespan.startup"})
    assert (await heard.get())["type"] == "lifespan.startup.complete"
    yield one
    said.put_nowait({"type": "lifespan.shutdown"})
    assert (await heard.get())["type"] == "lifespan.shutdown.complete"
    await life


@pytest.fixture
async def world(gateway):  # type: ignore[no-untyped-def]
    """A tenant, a shared pool, what makes jobs and devices in them, and a planner that runs."""
    from django.db import OperationalError

    from tests.integration.gateway.world import World, rows

    one = await rows(lambda: World(gateway.application()))

    async def planner() -> None:
        while True:
            with contextlib.suppress(OperationalError):  # a test may kill its connection
                await rows(one.plan)
            await asyncio.sleep(0.1)

    planning = asyncio.create_task(planner())
    yield one
    planning.cancel()
    await asyncio.wait([planning])
