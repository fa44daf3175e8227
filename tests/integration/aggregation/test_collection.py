"""Blobs go when nothing names them, and never while something does."""

import hashlib
import os
import threading
import time
from datetime import timedelta

import pytest
from django.db import connection

from aggregation import artifacts, blobs, ownership, retention, uploads
from aggregation.models import Blob, ModelVersion
from jobs import services as job_services
from jobs.models import Artifact, Round
from propius import arrays
from tenants.scopes import scope, system_scope
from tests.integration import factories
from tests.integration.aggregation.test_rounds import finish, in_thread, run
from tests.integration.aggregation.worlds import BASE, make_world, send
from tests.integration.factories import NOW, later

FILE = arrays.save(BASE)
DIGEST = hashlib.sha256(FILE).hexdigest()


def store_for(tenant, now=NOW):
    with scope(tenant.id):
        return artifacts.store_parameters(tenant_id=tenant.id, stream=[FILE], now=now)


def forget(tenant):
    with scope(tenant.id):
        Artifact.objects.filter(digest=DIGEST).delete()


def collect(seconds):
    with system_scope():
        return ownership.collect(now=later(seconds))


def age():
    """Make the file as old as the grace; the rows' time is injected."""
    os.utime(blobs.store().path(DIGEST), (1, 1))


def on_disk():
    return DIGEST in set(blobs.store().digests())


def test_what_nothing_names_is_marked_and_deleted_an_hour_later():
    tenant = factories.tenant()
    store_for(tenant)
    age()
    assert collect(0) == 0
    forget(tenant)
    assert collect(10) == 0
    assert collect(3600) == 0
    assert on_disk()
    assert collect(3610) == 1
    assert not on_disk()
    with system_scope():
        assert not Blob.objects.exists()


def test_an_upload_of_the_same_bytes_takes_the_mark_off():
    tenant = factories.tenant()
    store_for(tenant)
    forget(tenant)
    collect(0)
    store_for(tenant, later(3000))
    age()
    assert collect(4000) == 0
    assert on_disk()
    with system_scope():
        assert Blob.objects.get().marked_at is None


def test_a_file_stays_while_another_tenant_has_it():
    mine, other = factories.tenant(), factories.tenant()
    store_for(mine)
    store_for(other)
    age()
    forget(mine)
    collect(0)
    assert collect(3600) == 1
    assert on_disk()
    with system_scope():
        assert Blob.objects.get().tenant_id == other.id


def test_a_file_without_a_row_is_collected_after_the_grace():
    with blobs.store().writer() as writer:
        writer.write(FILE)
        writer.commit()
    collect(0)
    assert on_disk()
    age()
    collect(0)
    assert not on_disk()


def test_updates_and_partials_stay_until_their_round_has_ended(world):
    round_ = world.round()
    for number, bound in enumerate(world.bind(round_)):
        send(*bound, 10.0**number)
    with system_scope():
        ownership.collect(now=NOW)
        assert not Blob.objects.exclude(marked_at=None).exists()
        assert finish(round_.id)
        ownership.collect(now=NOW)
        # 6 updates and 3 partials are over; versions 0 and 1 are not.
        assert Blob.objects.exclude(marked_at=None).count() == 9
        assert Blob.objects.filter(marked_at=None).count() == 2


def test_what_was_begun_for_an_assignment_that_ended_is_removed(world):
    bound = world.bind(world.round())
    paths = []
    for assignment, device in bound[:2]:
        with system_scope():
            sink = uploads.open_upload(
                assignment_id=assignment, device_id=device.id, digest="a" * 64, size_bytes=100,
                max_bytes=1000,
            )  # fmt: skip
        sink.write(0, b"x" * 40)
        sink.close()
        paths.append(sink._path)
    with system_scope():
        job_services.give_back(
            assignment_id=bound[0][0], device_id=bound[0][1].id, status="failed", code="x",
            message="", now=NOW,
        )  # fmt: skip
    collect(0)
    assert [path.exists() for path in paths] == [True, True]
    for path in paths:
        os.utime(path, (time.time() - 301, time.time() - 301))
    collect(0)
    assert [path.exists() for path in paths] == [False, True]


def test_retention_keeps_the_last_the_best_the_pinned_and_those_in_use():
    world = make_world(retention__versions=2)
    digests = [f"{number:064x}" for number in range(7)]
    with system_scope():
        for number, digest in enumerate(digests):
            ModelVersion.objects.create(
                tenant=world.tenant, job=world.job, number=number, digest=digest, size_bytes=1,
                evaluation={"accuracy": 0.9 if number == 2 else 0.5},
                pinned=number == 3, created_at=NOW,
            )  # fmt: skip
        Round.objects.filter(job=world.job).update(base_version=1)
        retention.apply(world.job, now=NOW)
        kept = ModelVersion.objects.filter(job=world.job, released_at=None)
        assert sorted(kept.values_list("number", flat=True)) == [1, 2, 3, 5, 6]
        with pytest.raises(retention.VersionUnknown):
            retention.pin(job_id=world.job.id, number=0, pinned=True, actor="x", now=NOW)


@pytest.mark.django_db(transaction=True)
def test_a_collection_that_races_re_uploads_never_takes_what_a_row_names():
    tenant = factories.tenant()

    def upload():
        store_for(tenant, NOW + timedelta(days=2))

    def collect_now():
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE propius_system")
        ownership.collect(now=NOW + timedelta(days=2))

    for _ in range(10):
        store_for(tenant)
        forget(tenant)
        collect(0)
        age()
        run([threading.Thread(target=in_thread, args=(one,)) for one in (upload, collect_now)])
        with system_scope():
            assert Blob.objects.get(tenant=tenant).marked_at is None
        assert blobs.store().path(DIGEST).read_bytes() == FILE
        forget(tenant)
        with system_scope():
            Blob.objects.all().delete()
