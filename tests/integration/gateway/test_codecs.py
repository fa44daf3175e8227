"""Codecs are negotiated: a device says what it can write, the job what it allows."""

from __future__ import annotations

import numpy
import pytest

from aggregation.models import Update
from jobs import constraints
from jobs.constraints import Group, Profile
from propius import arrays, codec, wire
from scheduling import admission
from scheduling.census import Census
from tests.integration import factories
from tests.integration.gateway.test_work import upload
from tests.integration.gateway.world import rows


def encoded(name: str) -> bytes:
    return arrays.save(codec.encode({"weight": numpy.ones((2, 2), "f4")}, codec=name))


@pytest.mark.parametrize(
    ("known", "chosen"),
    [(["fp16", "fp32"], "fp16"), (["fp16", "int8"], "int8"), (["new"], "fp32"), (None, "int8")],
    ids=["falls_back", "knows_it", "knows_none_but_what_all_know", "says_nothing"],
)
async def test_a_device_is_told_the_first_of_the_jobs_codecs_that_it_knows(world, known, chosen):
    await rows(lambda: world.job(codec="int8", codec_fallbacks=["bf16", "fp16", "fp32"]))
    device = await rows(world.device)
    if known is not None:
        device.workloads = device.workloads | {"codec": known}
    socket, assignment = await device.working()
    assert assignment.codec == chosen
    await socket.drop()
    socket, welcome = await device.connect()
    assert welcome.resume.codec == chosen
    data = encoded(chosen)
    assert await upload(socket, assignment.id, data) == wire.Accepted(assignment=assignment.id)
    update = await rows(lambda: Update.objects.get(assignment_id=assignment.id))
    assert update.size_bytes == len(data)
    await socket.drop()


async def test_a_job_of_whose_codecs_a_device_knows_none_is_not_offered_to_it(world):
    await rows(lambda: world.job(codec="int8"))
    device = await rows(world.device)
    device.workloads = device.workloads | {"codec": ["fp32", "fp16"]}
    socket, _ = await device.connect()
    socket.send(wire.CheckIn())
    await socket.expect(wire.Idle)
    other = await rows(lambda: world.job(codec="fp16", name="other"))
    assert (await socket.expect(wire.Assignment)).job == str(other.id)
    await socket.drop()


async def test_work_that_adapts_is_left_only_codecs_that_the_device_knows():
    from gateway.details import in_codec_of

    blob = wire.Blob(digest="a" * 64, size_bytes=1)
    told = wire.Assignment(
        id="a", job="j", job_name="j", tenant="t", round="r", number=1, attempt=1, kind="train",
        workload={"kind": "program", "adaptive": {"codecs": ["fp16", "bf16"], "min_steps": 3}},
        constraints={}, parameters=blob, program=None, codec="int8", max_update_bytes=1, seed=1,
        start_s=1, lease_s=1, deadline_s=1, ticket="t",
    )  # fmt: skip
    allowed = ["int8", "fp16", "bf16"]
    found = in_codec_of(told, allowed, {"codec": ["int8", "bf16"]})
    assert found.workload["adaptive"] == {"codecs": ["bf16"], "min_steps": 3}
    assert told.workload["adaptive"]["codecs"] == ["fp16", "bf16"]
    assert in_codec_of(told, allowed, {"codec": allowed}) is told
    assert in_codec_of(told, allowed, {"program": ["1"]}) is told


def test_jobs_that_every_device_can_answer_stay_in_the_groups_that_they_were_in(db):
    tenant, pool = factories.tenant(), str(factories.pool().id)
    plain, wide = (
        factories.job(tenant),
        factories.job(tenant, name="wide", codec="int8", codec_fallbacks=["fp32"]),
    )
    narrow = factories.job(tenant, name="narrow", codec="int8", codec_fallbacks=["fp16"])
    assert plain.constraint_group == wide.constraint_group != narrow.constraint_group
    group = Group.of(narrow.spec["effective"])
    for said, admits in ((None, True), (["fp16"], True), (["fp32"], False)):
        workloads = {"handler": ["train"]} | ({constraints.CODECS: said} if said else {})
        assert group.admits(Profile({}, workloads, pool)) is admits


def test_admission_names_the_codecs_that_too_few_devices_know(db):
    job = factories.job(factories.tenant(), codec="int8", codec_fallbacks=["fp16"])
    told = admission.judge(job, Census(()), None, now=factories.NOW).text
    assert (
        "0 devices that meet the constraints and know one of the job's codecs (fp16, int8)" in told
    )
    assert "Allow more in codec_fallbacks, relax the constraints or lower rounds.demand" in told
