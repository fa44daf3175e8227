"""Tasks are hints: each does what the rows say, and again is the same."""

from datetime import timedelta

from aggregation import checking, tasks
from aggregation.models import ModelVersion
from jobs.models import Artifact
from tenants.scopes import system_scope
from tests.integration.aggregation.worlds import send
from tests.integration.factories import NOW


def test_folding_closes_the_round_and_again_does_nothing(world):
    round_ = world.round()
    for number, bound in enumerate(world.bind(round_)):
        send(*bound, float(number))
    with system_scope():
        tasks.fold(str(round_.id))
        tasks.fold(str(round_.id))
        assert sorted(ModelVersion.objects.values_list("number", flat=True)) == [0, 1]


def test_the_sweep_finds_what_lost_its_hint(world, redis, django_capture_on_commit_callbacks):
    round_ = world.round()
    for number, bound in enumerate(world.bind(round_)):
        send(*bound, float(number))
    with system_scope():
        Artifact.objects.create(
            tenant=world.tenant, kind="program", digest="f" * 64, size_bytes=1,
            status="checking", created_at=NOW,
        )  # fmt: skip
    redis.flushall()
    with django_capture_on_commit_callbacks(execute=True), system_scope():
        tasks.sweep()
    hinted = {key.decode() for key in redis.keys("{p}:hint:aggregation*")}
    assert hinted == {
        f"{{p}}:hint:aggregation.fold:{round_.id}",
        f"{{p}}:hint:aggregation.check_program:{world.tenant.id}:{'f' * 64}",
    }
    with system_scope():
        assert ModelVersion.objects.get(job=world.job).number == 0


def test_a_program_that_cannot_be_checked_does_not_keep_its_jobs_waiting_for_ever(world, caplog):
    with system_scope():
        artifact = Artifact.objects.create(
            tenant=world.tenant, kind="program", digest="f" * 64, size_bytes=1,
            status="checking", created_at=NOW,
        )  # fmt: skip
        for minutes, status in ((9, "checking"), (10, "invalid")):
            checking.check_program(
                tenant_id=world.tenant.id, digest="f" * 64, now=NOW + timedelta(minutes=minutes)
            )
            artifact.refresh_from_db()
            assert artifact.status == status
    assert "10 minutes" in artifact.errors["program"]
    assert "program.check_crashed" in caplog.text
