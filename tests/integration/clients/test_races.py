"""Devices that join or connect at the moment of something else."""

import threading
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection
from django.utils import timezone

from clients import services
from clients.models import Device, EnrolmentToken, Pool
from propius import wire
from tenants.scopes import system_scope
from tests.integration import factories


def at_once(*works) -> list[object]:
    """Run all at the same time, each on its own connection; return results or errors."""
    start = threading.Barrier(len(works))
    results: list[object] = []

    def run(work):
        start.wait()
        try:
            with system_scope():
                results.append(work())
        except Exception as error:  # noqa: BLE001 - looked at by the test
            results.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return results


@pytest.mark.django_db(transaction=True)
def test_a_key_that_enrols_twice_at_once_is_one_device_and_one_use():
    pool = factories.pool()
    now = timezone.now()
    with system_scope():
        token, secret = services.create_enrolment_token(
            pool=pool, name="x", max_uses=9, expires_at=now + timedelta(hours=1),
            created_by="x", now=now,
        )  # fmt: skip
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()

    def join():
        return services.enrol(
            token=secret, public_key=public, sdk="x", name="", attributes={}, now=now
        )

    results = at_once(*[join] * 4)
    assert sorted(created for _, created in results) == [False, False, False, True]
    assert len({device.id for device, _ in results}) == 1
    with system_scope():
        assert EnrolmentToken.objects.get(id=token.id).uses == 1
        assert Device.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_of_two_pools_of_the_same_name_is_refused():
    mine = factories.tenant()

    def create():
        return services.create_pool(name="wards", tenant_id=mine.id, now=timezone.now())

    results = at_once(create, create)
    assert sum(isinstance(one, services.PoolNameTaken) for one in results) == 1
    assert sum(isinstance(one, Pool) for one in results) == 1


@pytest.mark.django_db(transaction=True)
def test_a_hello_does_not_outrun_a_revocation():
    private = Ed25519PrivateKey.generate()
    device = factories.device(factories.pool())
    now = timezone.now()
    with system_scope():
        public = private.public_key().public_bytes_raw().hex()
        Device.objects.filter(id=device.id).update(public_key=public)
    results: list[object] = []

    def hello():
        results.extend(
            at_once(
                lambda: services.connect(
                    device_id=str(device.id), nonce="ab", sdk="x", attributes={}, workloads={},
                    signature=private.sign(wire.proof("ab", str(device.id))).hex(), now=now,
                )
            )
        )  # fmt: skip

    with system_scope():
        services.revoke_device(device_id=device.id, actor="x", now=now)
        thread = threading.Thread(target=hello)
        thread.start()
        thread.join(0.5)  # it has read the row and waits to write it
    thread.join()
    assert isinstance(results[0], services.DeviceRevoked)
